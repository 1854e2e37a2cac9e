"""From answers to records: against computations by hand, and what must not matter."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from poselift import metrics
from poselift.errors import InputError, ShapeError
from poselift.metrics import uncertainty
from poselift.report import METRICS, Answer, Evaluated, to_records
from poselift.report.measures import COVERAGE_PERCENT, PCK_CURVE_MM
from poselift.skeleton import skeleton

H36M = skeleton("h36m17")
Z_UP = np.array([0.0, 0.0, 1.0])
WHERE = {"lifter": "a", "benchmark": "open-v1", "track": "real", "mode": "offline"}


def answer(number: int, seed: int = 0, frames: int = 20, noise_m: float = 0.03) -> Answer:
    """Clip `number` (the same for all seeds) with everything that an answer may have."""
    true, random = np.random.default_rng(number), np.random.default_rng((seed, number))
    truth = true.normal(0, 0.3, (frames, 17, 3))
    truth -= truth[:, :1]
    scale = random.uniform(0.5, 1.5, (frames, 17, 2)) * noise_m / 2
    error = random.normal(size=truth.shape) * 2 * scale[..., [0, 0, 1]]
    error[:, 0] = 0
    return Answer(
        name=f"clip {number}",
        predicted_m=truth + error,
        truth_m=truth,
        time_s=np.arange(frames) / 25,
        strata={"view": ("front", "back")[number % 2]},
        predicted_root_m=np.full((frames, 3), 0.02),
        truth_root_m=np.zeros((frames, 3)),
        contact=true.random((frames, 2)) < 0.8,
        up=Z_UP,
        scale_m=scale,
    )


def run(seed: int = 0, clips: int = 6, **other) -> Evaluated:
    return Evaluated(tuple(answer(n, seed, frames=20 + 5 * n, **other) for n in range(clips)))


def scored(*runs: Evaluated, **other) -> dict[tuple[str, str], object]:
    records = to_records(runs, **{**WHERE, "draws": 100, **other})
    found = {(r.stratum, r.metric): r for r in records}
    assert len(found) == len(records)
    return found


def values(*runs: Evaluated) -> dict[str, float]:
    return {name: r.value for (stratum, name), r in scored(*runs).items() if stratum == "all"}


def test_every_metric_has_a_record_with_an_interval():
    found = scored(run())
    overall = {name for stratum, name in found if stratum == "all"}
    curve = {f"pck_{mm}" for mm in PCK_CURVE_MM} | {f"coverage_{p}" for p in COVERAGE_PERCENT}
    assert overall == set(METRICS) | curve
    for (stratum, name), record in found.items():
        assert record.low <= record.high, (stratum, name)
        assert (record.low < record.high) == (name not in ("clips", "missed_percent", "root_mm")), (
            stratum,
            name,
        )
    assert {(r.lifter, r.benchmark, r.track, r.mode, r.seeds) for r in found.values()} == {
        ("a", "open-v1", "real", "offline", 1)
    }


def test_values_against_all_frames_together():
    """Frame means over the concatenated clips, by the metrics themselves or by plain numpy."""
    answers = run().answers
    found = values(run())
    guess = np.concatenate([a.predicted_m for a in answers])
    truth = np.concatenate([a.truth_m for a in answers])
    distance = np.linalg.norm(guess - truth, axis=-1)
    assert found["mpjpe_mm"] == pytest.approx(1e3 * distance.mean(), rel=1e-5)
    assert found["pck_30"] == pytest.approx(100 * (distance < 0.03).mean(), rel=1e-5)
    p = metrics.p_mpjpe(guess, truth).mean()
    assert found["p_mpjpe_mm"] == pytest.approx(1e3 * p, rel=1e-5)
    assert found["auc"] == pytest.approx(100 * metrics.auc(guess, truth).mean(), rel=1e-5)
    errors = metrics.angle_error_deg(guess, truth, H36M)
    assert found["angle_deg"] == pytest.approx(np.mean(list(errors.values())), rel=1e-5)
    knees = np.mean([errors["left_knee"], errors["right_knee"]])
    assert found["knee_deg"] == pytest.approx(knees, rel=1e-5)
    speeds, skates = [], []
    for a in answers:
        step = np.diff(a.predicted_m - a.truth_m, axis=0) * 25
        speeds.append(1e3 * np.linalg.norm(step, axis=-1).mean(-1))
        skates.append(
            metrics.foot_skate_error(a.predicted_m, a.truth_m, a.time_s, a.contact, H36M, Z_UP)
        )
    assert found["mpjve_mm_s"] == pytest.approx(np.concatenate(speeds).mean(), rel=1e-5)
    assert found["skate_m_s"] == pytest.approx(np.nanmean(np.concatenate(skates)), rel=1e-5)
    # A root that is off by the same in all frames skates nowhere.
    assert found["placed_skate_m_s"] == pytest.approx(found["skate_m_s"], rel=1e-5)
    assert found["root_mm"] == pytest.approx(1e3 * np.linalg.norm([0.02] * 3), rel=1e-5)
    assert found["clips"] == 6
    assert found["missed_percent"] == 0


def test_claims_against_the_measures_of_uncertainty():
    """Totals per clip must give what the measures give on all values at once."""
    answers = run().answers
    found = values(run())
    claims = [
        uncertainty.exp_power(a.predicted_m[:, 1:], a.truth_m[:, 1:], a.scale_m[:, 1:])
        for a in answers
    ]
    pit, sigma, error, nll = (
        np.concatenate([getattr(c, name).ravel() for c in claims])
        for name in ("pit", "sigma_m", "error_m", "nll")
    )
    for percent in COVERAGE_PERCENT:
        share = 100 * uncertainty.coverage(pit, percent / 100)
        assert found[f"coverage_{percent}"] == pytest.approx(share, rel=1e-5)
    assert found["ece_percent"] == pytest.approx(100 * uncertainty.calibration_error(pit), rel=1e-5)
    assert found["ause"] == pytest.approx(uncertainty.sparsification_error(sigma, error), rel=1e-5)
    assert found["spearman"] == pytest.approx(stats.spearmanr(sigma, error).statistic, rel=1e-5)
    assert found["sharpness_mm"] == pytest.approx(1e3 * sigma.mean(), rel=1e-5)
    assert found["nll"] == pytest.approx(nll.mean(), rel=1e-5)


def test_a_standard_deviation_is_a_claim_too():
    rows = tuple(
        replace(a, scale_m=None, sd_m=np.full((len(a.time_s), 17), 0.03)) for a in run().answers
    )
    found = values(Evaluated(rows))
    claim = uncertainty.gaussian(rows[0].predicted_m, rows[0].truth_m, rows[0].sd_m)
    assert found["sharpness_mm"] == pytest.approx(30)
    assert "spearman" not in found  # the same for all: no order
    alone = values(Evaluated(rows[:1]))
    assert alone["coverage_50"] == pytest.approx(
        100 * uncertainty.coverage(claim.pit[:, 1:], 0.5), rel=1e-5
    )


def test_strata_and_joints():
    found = scored(run())
    for view, chosen in (("front", slice(0, None, 2)), ("back", slice(1, None, 2))):
        alone = values(Evaluated(run().answers[chosen]))
        for name in ("mpjpe_mm", "p_mpjpe_mm", "n_mpjpe_mm", "clips"):
            assert found[f"view:{view}", name].value == alone[name]
    wrist = H36M.index("left_wrist")
    off = [np.linalg.norm((a.predicted_m - a.truth_m)[:, wrist], axis=-1) for a in run().answers]
    expected = 1e3 * np.concatenate(off).mean()
    assert found["joint:left_wrist", "mpjpe_mm"].value == pytest.approx(expected, rel=1e-5)
    assert ("joint:left_wrist", "coverage_90") in found
    assert ("joint:pelvis", "mpjpe_mm") not in found


def test_seeds_are_averaged_and_widen_the_interval():
    good, bad = run(0), run(1, noise_m=0.06)
    both = scored(good, bad)
    one, other = values(good)["mpjpe_mm"], values(bad)["mpjpe_mm"]
    record = both["all", "mpjpe_mm"]
    assert record.seeds == 2
    assert record.value == pytest.approx((one + other) / 2, rel=1e-5)
    assert record.low < 1.1 * one
    assert record.high > 0.9 * other


def test_frames_without_an_answer_are_missed_and_count_nowhere_else():
    answers = list(run().answers)
    guess = answers[0].predicted_m.copy()
    guess[:5] = np.nan
    answers[0] = replace(answers[0], predicted_m=guess)
    found = values(Evaluated(tuple(answers)))
    frames = sum(len(a.time_s) for a in answers)
    assert found["missed_percent"] == pytest.approx(100 * 5 / frames, rel=1e-5)
    off = [np.linalg.norm(a.predicted_m - a.truth_m, axis=-1) for a in answers]
    near = sum((distance < 0.05).sum() for distance in off)
    assert found["pck_50"] == pytest.approx(100 * near / (17 * frames), rel=1e-5)
    assert found["mpjpe_mm"] == pytest.approx(1e3 * np.nanmean(np.concatenate(off)), rel=1e-5)
    # Nothing at all was answered: no error is known, but that is.
    nothing = [replace(a, predicted_m=np.full_like(a.predicted_m, np.nan)) for a in answers]
    found = values(Evaluated(tuple(nothing)))
    assert found["missed_percent"] == 100
    assert found["pck_50"] == 0
    assert "mpjpe_mm" not in found


def test_what_is_not_known_has_no_record():
    bare = [Answer(a.name, a.predicted_m, a.truth_m, a.time_s) for a in run().answers]
    found = values(Evaluated(tuple(bare)))
    assert "mpjpe_mm" in found
    for name in ("root_mm", "skate_m_s", "placed_skate_m_s", "coverage_50", "nll"):
        assert name not in found


def test_contact_is_found_from_the_truth():
    """A foot that stands in the truth and slides at 0.1 m/s in the answer."""
    time_s = np.arange(30) / 30
    truth = np.random.default_rng(0).normal(0, 0.3, (1, 17, 3)).repeat(30, axis=0)
    truth -= truth[:, :1]
    truth[:, [H36M.index("left_ankle"), H36M.index("right_ankle")], 2] = -1.0
    guess = truth.copy()
    for foot in ("left_ankle", "right_ankle"):
        guess[:, H36M.index(foot), 0] += 0.1 * time_s
    # The root is thought to drift across that, and upwards, which is no skating.
    drift = time_s[:, None] * [0.0, 0.24, 5.0]
    roots = {"truth_root_m": np.zeros((30, 3)), "predicted_root_m": drift}
    found = values(Evaluated((Answer("still", guess, truth, time_s, **roots, up=Z_UP),)))
    assert found["skate_m_s"] == pytest.approx(0.1, rel=1e-5)
    assert found["placed_skate_m_s"] == pytest.approx(0.26, rel=1e-5)


def test_only_what_is_relative_to_the_root_counts():
    moved = [
        replace(a, predicted_m=a.predicted_m + 3, truth_m=a.truth_m - 5) for a in run().answers
    ]
    assert values(Evaluated(tuple(moved))) == pytest.approx(values(run()), rel=1e-4)


def test_the_order_of_clips_changes_no_value():
    assert values(Evaluated(run().answers[::-1])) == pytest.approx(values(run()), rel=1e-5)


def test_the_same_answers_give_the_same_records():
    assert to_records([run()], **WHERE, draws=50) == to_records([run()], **WHERE, draws=50)


def test_other_shapes_and_clips_are_errors():
    with pytest.raises(InputError, match="at least one"):
        to_records([], **WHERE)
    with pytest.raises(InputError, match="at least one"):
        to_records([Evaluated(())], **WHERE)
    with pytest.raises(InputError, match="seeds"):
        to_records([run(), run(clips=5)], **WHERE)
    with pytest.raises(ShapeError, match="clip 0: contact"):
        replace(answer(0), contact=np.ones((20, 3), dtype=bool))
