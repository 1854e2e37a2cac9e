import json
import math
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
import torch

from poselift.errors import InputError
from poselift.skeleton import convert, skeleton
from poselift.train.errormodel import (
    CONFIDENCES,
    LENGTH_STEP,
    LENGTHS,
    POINTS,
    SIDES,
    Tables,
    from_record,
    look_up,
    tables,
)
from poselift.train.noise import PRESETS, NoiseConfig, Observed, Sight, observe
from poselift.train.sight import BACK, FRONT, HALPE, SIDE, behind_flesh, seen_from

CPU = torch.device("cpu")
ROWS = [HALPE.index(joint) for joint in POINTS]
# A person of 1.8 m who faces the camera; x is its left, y down, z away from the camera.
PLACES = {
    "nose": (0.0, -0.75, -0.08),
    "eye": (0.03, -0.78, -0.06),
    "ear": (0.07, -0.76, 0.0),
    "shoulder": (0.18, -0.5, 0.0),
    "elbow": (0.45, -0.5, 0.0),
    "wrist": (0.7, -0.5, 0.0),
    "hip": (0.12, 0.0, 0.0),
    "knee": (0.14, 0.45, 0.0),
    "ankle": (0.15, 0.88, 0.0),
    "big_toe": (0.16, 0.93, -0.15),
    "small_toe": (0.2, 0.93, -0.12),
    "heel": (0.15, 0.93, 0.05),
    "head_top": (0.0, -0.9, 0.0),
    "neck": (0.0, -0.5, 0.0),
    "pelvis": (0.0, 0.0, 0.0),
}
DISTANCE_M, FOCAL = 4.0, 1.0
# Nothing but what is asked for.
PLAIN = NoiseConfig(
    level=1,
    clean=0,
    blend=0,
    widen=0,
    widen_part=0,
    drift=(1, 1),
    swaps=0,
    snaps=0,
    losses=0,
    occluder=0,
    lost_hz=0,
    nobody_hz=0,
    lost_limb=0,
    blind=0,
    gamma=(1, 1),
)


def person(turn_deg: float = 0.0) -> torch.Tensor:
    """HALPE-26 (26, 3) in camera axes; at 0 degrees it faces the camera, at 90 it looks aside."""
    rows = []
    for joint in HALPE.joints:
        x, y, z = PLACES[joint.removeprefix("left_").removeprefix("right_")]
        rows.append((-x if joint.startswith("right_") else x, y, z))
    angle = torch.tensor(turn_deg).deg2rad()
    c, s = angle.cos(), angle.sin()
    about_y = torch.stack([c, c * 0, s, c * 0, c * 0 + 1, c * 0, -s, c * 0, c]).view(3, 3)
    return torch.tensor(rows) @ about_y.T + torch.tensor([0.0, 0.0, DISTANCE_M])


def sight(
    batch: int = 400, frames: int = 30, points_m: torch.Tensor | None = None, dt_s: float = 1 / 30
) -> Sight:
    """That person in the middle of square images, with one capsule, the trunk."""
    points = person() if points_m is None else points_m
    xy = FOCAL * points[:, :2] / points[:, 2:]
    trunk = torch.tensor([[[0.0, -0.5, DISTANCE_M], [0.0, 0.0, DISTANCE_M]]])
    own = torch.zeros(26, 1, dtype=torch.bool)
    own[[HALPE.index(f"{s}_{p}") for s in ("left", "right") for p in ("hip", "shoulder")]] = True
    own[[HALPE.index("neck"), HALPE.index("pelvis")]] = True
    return Sight(
        xy=xy.expand(batch, frames, 26, 2),
        points_m=points.expand(batch, frames, 26, 3),
        bones_m=trunk.expand(batch, frames, 1, 2, 3),
        radius_m=torch.full((batch, 1), 0.15),
        own=own,
        dt_s=torch.full((batch,), dt_s),
        half_size=torch.full((batch, 2), 0.5),
    )


def detector(**figures: object) -> Tables:
    """One detector with errors of 1 % of the box (3 % hidden), all white, and these figures."""
    part = {
        "offset": [0.0, 0.0, 0.0],
        "steady": 0.0,
        "slow": 0.0,
        "spread": 0.02,
        "missed": [0.0, 0.0],
        "length": [[0.01] * LENGTHS, [0.03] * LENGTHS],
        "confidence": [[i / (CONFIDENCES - 1) for i in range(CONFIDENCES)]] * 2,
    }
    entry: dict = {
        "slow_s": 0.2,
        "quick_s": 0.001,
        "shared": 0.0,
        "quality": 0.0,
        "habit": 0.0,
        "doubt": 0.0,
        "doubt_steady": 0.0,
        "swap_hz": [[0.0] * 3] * 3,
        "swap_s": [0.2] * 3,
        "snap_hz": [[0.0] * 2] * 2,
        "snap_s": [0.2] * 2,
        "astray": 1.0,
        "lost_hz": 0.0,
        "lost_s": 0.2,
        "outside_lost": 0.5,
    }
    entry |= {key: value for key, value in figures.items() if key in entry}
    part |= {key: value for key, value in figures.items() if key in part}
    parts = {joint.removeprefix("left_").removeprefix("right_"): part for joint in POINTS}
    return from_record({"detectors": {"made up": entry | {"parts": parts}}}, CPU)


def seen(of: Sight, known: Tables, seed: int = 0, **config: object) -> Observed:
    g = torch.Generator().manual_seed(seed)
    return observe(of, replace(PLAIN, **config), g, known)


def error(out: Observed, of: Sight) -> torch.Tensor:
    """Errors (B, F, 23, 2) of the box."""
    return ((out.xy - of.xy) / of.box())[:, :, ROWS]


def at(joint: str) -> int:
    return POINTS.index(joint)


def correlation(values: torch.Tensor, lag: int) -> float:
    later = (values[:, lag:] * values[:, : values.shape[1] - lag]).sum(-1).mean()
    return float(later / values.square().sum(-1).mean())


RAMP = [0.02 * (2 * LENGTH_STEP * k) ** 0.5 for k in range(LENGTHS)]  # a Gaussian of 2 %


def test_level_zero_gives_the_truth():
    of = sight(5)
    out = observe(of, PRESETS["clean"], torch.Generator().manual_seed(0))
    assert torch.equal(out.xy, of.xy)
    assert (out.confidence == 1).all()


def test_the_generator_alone_decides():
    of = sight(20)
    torch.manual_seed(1)
    first = observe(of, PRESETS["hard"], torch.Generator().manual_seed(3))
    torch.manual_seed(2)
    second = observe(of, PRESETS["hard"], torch.Generator().manual_seed(3))
    third = observe(of, PRESETS["hard"], torch.Generator().manual_seed(4))
    assert torch.equal(first.xy.nan_to_num(9), second.xy.nan_to_num(9))
    assert torch.equal(first.confidence, second.confidence)
    assert not torch.equal(first.xy.nan_to_num(9), third.xy.nan_to_num(9))


def test_errors_have_the_tabulated_length():
    of = sight(20)
    length = error(seen(of, detector()), of).norm(dim=-1)
    assert torch.allclose(length, torch.tensor(0.01), atol=1e-5)
    twice = error(seen(of, detector(), level=2), of).norm(dim=-1)
    assert torch.allclose(twice, torch.tensor(0.02), atol=1e-5)


def test_errors_follow_the_tabulated_distribution():
    of = sight(100)
    lengths = error(seen(of, detector(length=[RAMP, RAMP])), of).norm(dim=-1)
    for share in (0.3, 0.6, 0.9):  # of a Gaussian's length: Rayleigh's quantiles
        expected = 0.02 * (-2 * torch.log1p(torch.tensor(-share))).sqrt()
        assert lengths.quantile(share) == pytest.approx(expected.item(), rel=0.05)


def test_look_up_goes_on_beyond_the_table():
    table = torch.tensor([[[[0.0, 1.0, 3.0], [5.0, 5.0, 6.0]]]])
    row = torch.tensor([[[0]], [[1]]]).view(1, 2, 1)
    out = look_up(table, row, torch.tensor([1.5, 3.0]).view(1, 2, 1))
    assert out.flatten().tolist() == [2.0, 7.0]


def test_a_joint_behind_the_trunk_is_hidden_and_noisier():
    points = person()
    wrist = HALPE.index("left_wrist")
    points[wrist] = torch.tensor([0.0, -0.3, DISTANCE_M + 0.3])
    of = sight(10, points_m=points)
    out = seen(of, detector())
    assert out.hidden[:, :, wrist].all()
    assert out.hidden.float().mean() == pytest.approx(1 / 26)
    length = error(out, of).norm(dim=-1)
    assert torch.allclose(length[:, :, at("left_wrist")], torch.tensor(0.03), atol=1e-5)
    points[wrist, 2] = DISTANCE_M - 0.3
    assert not behind_flesh(sight(1, 1, points)).any()


def test_own_flesh_hides_only_from_the_far_side():
    points = person()
    hip = HALPE.index("left_hip")
    points[hip] = torch.tensor([0.0, 0.0, DISTANCE_M + 0.1])
    assert behind_flesh(sight(1, 1, points))[0, 0, hip]
    points[hip, 2] = DISTANCE_M
    assert not behind_flesh(sight(1, 1, points))[0, 0, hip]


def test_views_are_told_apart():
    views = [int(seen_from(sight(1, 1, person(turn)))[0, 0]) for turn in (0, 90, 180, 270)]
    assert views == [FRONT, SIDE, BACK, SIDE]


def test_steady_errors_stay_over_a_clip():
    of = sight(50)
    out = error(seen(of, detector(steady=1.0)), of)
    assert torch.allclose(out, out[:, :1].expand_as(out), atol=1e-5)
    white = error(seen(of, detector()), of)
    assert abs(correlation(white.flatten(2), 1)) < 0.05


@pytest.mark.parametrize("rate_hz", [15, 60])
def test_slow_errors_are_forgotten_in_seconds_not_frames(rate_hz: int):
    of = sight(100, frames=rate_hz, dt_s=1 / rate_hz)
    known = detector(slow=1.0, slow_s=0.2, length=[RAMP, RAMP])
    values = error(seen(of, known), of).flatten(2)
    lag = rate_hz // 5
    assert correlation(values, lag) == pytest.approx(torch.tensor(-1.0).exp().item(), abs=0.06)


def test_clips_share_their_quality():
    of = sight(200, frames=5)

    def spread(quality: float) -> float:
        lengths = error(seen(of, detector(length=[RAMP, RAMP], quality=quality)), of).norm(dim=-1)
        return lengths.flatten(1).mean(1).std().item()

    assert spread(0.5) > 4 * spread(0.0)


def test_points_keep_their_habits_over_a_clip():
    of = sight(200, frames=20)

    def spread(habit: float) -> float:
        lengths = error(seen(of, detector(length=[RAMP, RAMP], habit=habit)), of).norm(dim=-1)
        return lengths.mean(1).std().item()

    assert spread(0.5) > 2 * spread(0.0)


def test_points_err_in_common_directions():
    of = sight(50)

    def alike(shared: float) -> float:
        out = error(seen(of, detector(length=[RAMP, RAMP], shared=shared)), of)
        return float((out[:, :, 0] * out[:, :, 5]).sum() / out[:, :, 0].square().sum())

    assert alike(0.6) == pytest.approx(0.6, abs=0.1)
    assert abs(alike(0.0)) < 0.1


def test_offsets_follow_the_body():
    of = sight(2, 2)
    out = error(seen(of, detector(length=[[0.0] * LENGTHS] * 2, offset=[0.1, 0.2, 0.0])), of)
    xy = of.xy / of.box()
    shoulders, hips = (
        xy[:, :, [HALPE.index(f"{s}_{p}") for s in ("left", "right")]].mean(2)
        for p in ("shoulder", "hip")
    )
    outward = xy[:, :, HALPE.index("left_knee")] - xy[:, :, HALPE.index("right_knee")]
    expected = 0.1 * (hips - shoulders) + 0.2 * outward
    assert torch.allclose(out[:, :, at("left_knee")], expected, atol=1e-5)


def test_swaps_depend_on_the_view():
    swap = [[0.0, 2.0, 0.0], [0.0] * 3, [0.0] * 3]  # legs, seen from the side
    known = detector(length=[[0.0] * LENGTHS] * 2, swap_hz=swap, astray=0.5)
    shares = []
    for turn in (0.0, 75.0):
        of = sight(points_m=person(turn), dt_s=0.02)
        knees = [HALPE.index(f"{side}_knee") for side in ("left", "right")]
        out = seen(of, known, swaps=1)
        changed = (out.xy - of.xy)[:, :, knees[0], 0].abs() > 1e-4
        assert torch.equal(out.xy[:, :, knees[0]][changed], of.xy[:, :, knees[1]][changed])
        assert torch.allclose(out.xy[:, :, at("nose")], of.xy[:, :, at("nose")])
        shares.append(changed.float().mean().item())
    assert shares[0] == 0
    assert shares[1] == pytest.approx(1 - math.exp(-2.0 * 0.2), abs=0.05)
    low, usual = (out.confidence[:, :, knees[0]][which].mean() for which in (changed, ~changed))
    assert low < 0.65 * usual


def test_a_limb_goes_astray_to_the_other():
    known = detector(length=[[0.0] * LENGTHS] * 2, snap_hz=[[1.0, 1.0], [0.0, 0.0]])
    of = sight()
    out = seen(of, known, snaps=1)
    left, right = (out.xy[:, :, HALPE.index(f"{side}_ankle")] for side in ("left", "right"))
    together = (left - right).norm(dim=-1) < 1e-5
    assert 0.1 < together.float().mean() < 0.5
    wrists = [HALPE.index(f"{side}_wrist") for side in ("left", "right")]
    assert torch.allclose(out.xy[:, :, wrists], of.xy[:, :, wrists])


def test_confidence_falls_with_the_error():
    of = sight(100)
    out = seen(of, detector(doubt=0.8, length=[RAMP, RAMP]))
    size, confidence = error(out, of).norm(dim=-1), out.confidence[:, :, ROWS]
    small, large = size < size.quantile(0.2), size > size.quantile(0.8)
    assert confidence[small].mean() > confidence[large].mean() + 0.4
    blind = seen(of, detector(doubt=0.8), blind=1)
    assert (blind.confidence == 1).all()


def test_confidence_is_recalibrated_per_clip():
    of = sight(200, frames=10)
    same = seen(of, detector(confidence=[[0.5] * CONFIDENCES] * 2)).confidence
    other = seen(of, detector(confidence=[[0.5] * CONFIDENCES] * 2), gamma=(0.5, 2.0)).confidence
    assert torch.allclose(same, torch.tensor(0.5))
    assert torch.allclose(other.amax((1, 2)), other.amin((1, 2)))
    assert 0.25 <= other.min() < 0.35
    assert 0.6 < other.max() <= 0.5**0.5 + 1e-6


def test_the_gaussian_control_is_white_and_as_large():
    of = sight(200)
    known = detector(steady=1.0, spread=0.05, doubt=0.8, offset=[0.3, 0, 0])
    out = seen(of, known, family="gaussian", swaps=1, snaps=1)
    values = error(out, of)
    assert values.std() == pytest.approx(0.05, rel=0.02)
    assert abs(correlation(values.flatten(2), 1)) < 0.02
    with pytest.raises(InputError, match="calibrated"):
        NoiseConfig(family="white")


def test_points_outside_the_image_are_lost_or_guessed_inside():
    of = replace(sight(), half_size=torch.tensor([[0.5, 0.15]]).expand(400, 2))
    out = seen(of, detector(confidence=[[1.0] * CONFIDENCES] * 2))
    ankle, hip = HALPE.index("left_ankle"), HALPE.index("left_hip")
    lost = torch.isnan(out.xy[:, :, ankle, 0])
    assert lost.float().mean() == pytest.approx(0.5, abs=0.07)
    assert (out.xy[:, :, ankle, 1][~lost] <= 0.15).all()
    assert (out.confidence[:, :, ankle][~lost] < 0.5).all()
    assert (out.confidence[:, :, ankle][lost] == 0).all()
    assert not torch.isnan(out.xy[:, :, hip]).any()


def test_occluders_hide_points_for_a_while():
    of = sight(frames=60)
    out = seen(of, detector(), occluder=1.0, occluder_s=(0.5, 0.5), covered_lost=1.0)
    lost = torch.isnan(out.xy[:, :, ROWS, 0])
    assert torch.equal(lost, out.hidden[:, :, ROWS])
    per_point = lost.sum(1)
    assert set(per_point[per_point > 0].unique().tolist()) <= set(range(1, 17))
    assert 0.02 < lost.float().mean() < 0.2
    guessed = seen(of, detector(), occluder=1.0, covered_lost=0.0)
    length = error(guessed, of).norm(dim=-1)
    assert not torch.isnan(length).any()
    assert (length > 0.03).any()


def test_points_and_people_drop_out_for_a_while():
    of = sight()
    out = seen(of, detector(), lost_hz=0.5, lost_s=0.2)
    lost = torch.isnan(out.xy[:, :, ROWS, 0])
    assert lost.float().mean() == pytest.approx(1 - math.exp(-0.5 * 0.2), abs=0.015)
    assert lost[:, 1:][lost[:, :-1]].float().mean() == pytest.approx(0.85, abs=0.04)  # spells
    nobody = torch.isnan(seen(of, detector(lost_hz=0.5), losses=1).xy[..., 0])
    assert torch.equal(nobody.any(-1), nobody.all(-1))
    assert 0.05 < nobody.float().mean() < 0.15
    assumed = torch.isnan(seen(of, detector(), nobody_hz=0.5, nobody_s=0.2).xy[..., 0])
    assert torch.equal(assumed.any(-1), assumed.all(-1))
    assert assumed.float().mean() == pytest.approx(1 - math.exp(-0.5 * 0.2), abs=0.03)
    missed = torch.isnan(seen(of, detector(missed=[0.2, 0.0]), losses=1).xy[:, :, ROWS, 0])
    assert missed.float().mean() == pytest.approx(0.2, abs=0.01)


def test_limbs_are_lost_for_whole_clips():
    out = torch.isnan(seen(sight(frames=3), detector(), lost_limb=0.4).xy[..., 0])
    knee, wrist = out[:, :, HALPE.index("left_knee")], out[:, :, HALPE.index("left_wrist")]
    assert torch.equal(knee.any(1), knee.all(1))
    assert knee.float().mean() == pytest.approx(0.4, abs=0.08)
    assert wrist.float().mean() == pytest.approx(0.2, abs=0.08)


def test_neck_pelvis_and_head_top_follow_from_the_others():
    out = seen(sight(50), detector(), lost_hz=1.0)
    shoulders = [HALPE.index(f"{side}_shoulder") for side in ("left", "right")]
    middle, neck = out.xy[:, :, shoulders].mean(2), out.xy[:, :, HALPE.index("neck")]
    assert torch.allclose(middle, neck, equal_nan=True, atol=1e-6)
    assert torch.isnan(neck).any()
    least = out.confidence[:, :, shoulders].amin(2)
    assert torch.equal(out.confidence[:, :, HALPE.index("neck")], least)


def test_lost_points_have_no_confidence_and_others_have():
    out = observe(sight(100), PRESETS["hard"], torch.Generator().manual_seed(0))
    lost = torch.isnan(out.xy).any(-1)
    assert (out.confidence[lost] == 0).all()
    assert out.confidence.min() >= 0
    assert out.confidence.max() <= 1


def test_presets_get_worse():
    of = sight(300)
    medians, lost = [], []
    for name in ("clean", "mild", "real", "hard"):
        out = observe(of, PRESETS[name], torch.Generator().manual_seed(0))
        medians.append(error(out, of).norm(dim=-1).nanmedian().item())
        lost.append(torch.isnan(out.xy).float().mean().item())
    assert medians == sorted(medians)
    assert lost == sorted(lost)
    missing = observe(of, PRESETS["missing"], torch.Generator().manual_seed(0))
    assert torch.isnan(missing.xy).float().mean() > 2 * lost[2]
    assert 0.005 < medians[1] < medians[2] < 0.04


def test_the_measured_detectors_are_complete():
    record = json.loads(files("poselift.train").joinpath("detectors.json").read_text())
    known = tables(CPU)
    assert len(known) == len(record["detectors"]) >= 2
    assert (known.length.diff(dim=-1) >= 0).all()
    assert (known.confidence.diff(dim=-1) >= 0).all()
    assert (known.steady + known.slow <= 1 + 1e-4).all()
    medians = known.length[..., round(0.7 / LENGTH_STEP)].mean((0, 1))
    assert 1.3 < medians[1] / medians[0] < 6  # hidden points are noisier
    between = known.rows(torch.tensor([0])).mixed(known.rows(torch.tensor([1])), torch.ones(1))
    assert torch.allclose(between.length[0], known.length[1])


def test_the_rendered_track_holds_together():
    with files("poselift.train").joinpath("rendered-v1.npz").open("rb") as file:
        track = dict(np.load(file, allow_pickle=False))
    split = json.loads(files("poselift.train").joinpath("split.json").read_text())
    subjects = {f"cmu_{str(name).split('_')[0]}" for name in track["name"]}
    assert subjects <= set(split["test"])
    body, coco = skeleton("body28"), skeleton("coco17")
    nose_m = track["joints_m"][:, :, body.index("nose")]
    there = np.isfinite(nose_m[..., 0])
    assert (there.sum(1) == track["frames"]).all()
    projected = np.einsum("nij,ntj->nti", track["K"], nose_m)
    projected = projected[..., :2] / projected[..., 2:]
    off_px = np.linalg.norm(projected - track["surface_px"][:, :, HALPE.index("nose")], axis=-1)
    assert off_px[there].max() < 0.1
    assert np.isfinite(track["joints_m"][there]).all()

    box_px = np.ptp(track["surface_px"], axis=2).max(-1)
    converted = convert(track["hybrid_px"], skeleton("mediapipe33"), coco)
    for seen_px in (converted, track["movenet_px"]):
        off = np.linalg.norm(seen_px - track["surface_px"][:, :, : len(coco)], axis=-1)
        assert 0.005 < np.nanmedian(off / box_px[..., None]) < 0.03
    wrists = [skeleton("mediapipe33").index(f"{side}_wrist") for side in ("left", "right")]
    theirs = np.diff(track["blazepose_m"][:, :, wrists], axis=2)
    ours = np.diff(track["joints_m"][:, :, [body.index(f"{s}_wrist") for s in SIDES]], axis=2)
    assert np.nanmedian(np.linalg.norm(theirs - ours, axis=-1)) < 0.2  # the same axes
