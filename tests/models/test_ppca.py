from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from poselift.errors import FormatError, InputError, ShapeError, WeightsError
from poselift.models.ppca import (
    Mixture,
    PpcaOptions,
    ReleaseOptions,
    as_run,
    lift,
    lift_as_released,
    load,
    save,
    shipped,
)
from poselift.models.ppca.lift import tilt_prior
from poselift.models.ppca.posterior import posterior
from poselift.models.ppca.search import Grid, Pattern, roll_scores, rotation, yaw_scores
from poselift.skeleton import skeleton
from poselift.train.fit_ppca import FitConfig, about_up, fit, log_likelihood

LEVEL = PpcaOptions(pitch_deg=0.0)
FULL = PpcaOptions(rotation="full")
EDGES = skeleton("h36m17").edges


@pytest.fixture(scope="module")
def model() -> Mixture:
    return shipped()


def one_chart(model: Mixture, k: int) -> Mixture:
    keep = slice(k, k + 1)
    return replace(
        model,
        share=np.ones(1),
        mean=model.mean[keep],
        basis=model.basis[keep],
        noise=model.noise[keep],
    )


def drawn(model: Mixture, angles: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 17, 2) and root-relative poses (N, 17, 3) of a one-chart model, metres."""
    a = np.random.default_rng(seed).normal(0, 0.7, (len(angles), model.basis.shape[1]))
    shape = model.mean[0] + np.einsum("nb,bjc->njc", a, model.basis[0])
    view = model.size_m * np.einsum("ncd,njd->njc", rotation(*angles.T), shape)
    return 3.0 * view[..., :2] + (0.7, -0.2), view - view[:, :1]


def apart_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.degrees(np.abs(np.angle(np.exp(1j * (a - b)))))


def error_mm(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    return 1e3 * np.linalg.norm(found - true, axis=-1).mean(-1)


def upright(count: int, seed: int) -> np.ndarray:
    yaw = np.random.default_rng(seed).uniform(-np.pi, np.pi, count)
    return np.stack([yaw, np.zeros(count), np.zeros(count)], axis=1)


def test_a_known_yaw_is_found_within_a_cell_of_the_grid(model: Mixture) -> None:
    certain = replace(one_chart(model, 0), seen=np.full(17, 0.01), noise=np.full(1, 0.02))
    angles = upright(40, seed=1)
    xy, true = drawn(certain, angles)
    found = lift(certain, xy, options=LEVEL)
    assert np.median(apart_deg(found.angles_rad[:, 0], angles[:, 0])) < 1.9
    near = apart_deg(found.angles_rad[:, 0], angles[:, 0]) <= 3.6
    assert near.mean() >= 0.9  # under an orthographic camera a few have a twin behind the mirror
    assert error_mm(found.xyz_m, true)[near].max() < 25
    assert found.scale[near] == pytest.approx(3.0, rel=0.03)
    assert found.residual[near].max() < 0.02


def test_scale_and_place_of_the_points_do_not_count(model: Mixture) -> None:
    xy, _ = drawn(one_chart(model, 0), upright(4, seed=2))
    one, other = (lift(model, points, options=LEVEL) for points in (xy, 250 * xy + 900))
    np.testing.assert_allclose(other.xyz_m, one.xyz_m, atol=1e-6)
    np.testing.assert_allclose(other.scale, 250 * one.scale, rtol=1e-6)


def test_upside_down_people_need_the_full_rotation(model: Mixture) -> None:
    angles = upright(12, seed=3)
    angles[:, 2] = np.pi
    xy, true = drawn(one_chart(model, 0), angles)
    by_yaw, full = lift(model, xy, options=LEVEL), lift(model, xy, options=FULL)
    assert np.median(error_mm(by_yaw.xyz_m, true)) > 300
    assert np.median(error_mm(full.xyz_m, true)) < 80
    assert np.median(apart_deg(full.angles_rad[:, 2], angles[:, 2])) < 10


def test_missing_joints_are_filled_in_and_less_sure(model: Mixture) -> None:
    xy, true = drawn(one_chart(model, 0), upright(10, seed=4))
    seen = np.ones((10, 17))
    gone = [15, 16]  # right elbow and wrist
    seen[:, gone] = 0
    xy[:, gone] = np.nan
    found = lift(model, xy, seen, LEVEL)
    whole = lift(model, np.nan_to_num(xy), None, LEVEL)
    assert np.isfinite(found.xyz_m).all()
    assert np.median(error_mm(found.xyz_m, true)) < np.median(error_mm(whole.xyz_m, true))
    spread = np.trace(found.covariance_m2, axis1=-2, axis2=-1)
    assert (spread[:, 16] > spread[:, 13]).all()


def test_points_of_weight_zero_do_not_count(model: Mixture) -> None:
    xy, _ = drawn(one_chart(model, 0), upright(3, seed=5))
    seen = np.ones((3, 17))
    seen[:, 3] = 0
    wild = xy.copy()
    wild[:, 3] += 50
    same = [lift(model, points, seen, LEVEL).xyz_m for points in (xy, wild)]
    np.testing.assert_array_equal(*same)


def test_covariance_holds_the_truth(model: Mixture) -> None:
    single = replace(one_chart(model, 0), size_spread=0.0, seen=np.full(17, 0.05))
    rng = np.random.default_rng(6)
    angles = upright(300, seed=6)
    a = rng.normal(size=(300, single.basis.shape[1]))
    shape = single.mean[0] + np.einsum("nb,bjc->njc", a, single.basis[0])
    shape = shape + single.noise[0] * rng.normal(size=shape.shape)
    view = np.einsum("ncd,njd->njc", rotation(*angles.T), shape)
    xy = view[..., :2] + rng.normal(0, 0.05, (300, 17, 2))
    found = posterior(single, xy, np.ones((300, 17)), np.zeros(300, int), angles)
    off = found.xyz_m - single.size_m * (view - view[:, :1])
    solved = np.linalg.solve(found.covariance_m2[:, 1:], off[:, 1:, :, None])[..., 0]
    assert np.mean(np.sum(solved * off[:, 1:], axis=-1)) == pytest.approx(3.0, rel=0.12)


def test_search_scores_are_the_likelihood(model: Mixture) -> None:
    xy, _ = drawn(one_chart(model, 1), upright(1, seed=7))
    weight = np.linspace(0.2, 1, 17)
    weight[4] = 0
    grid = Grid.of(model, np.array([0.3, 1.9]), np.array([0.1]))
    pattern = Pattern.of(model, grid, weight)
    rolls = np.array([0.0, 2.2])
    many = np.repeat(xy, 20, axis=0)  # another way through the algebra than a single frame
    for points in (xy, many):
        scores = roll_scores(pattern, points, rolls)[0]
        np.testing.assert_allclose(yaw_scores(pattern, points)[0], scores[..., 0], rtol=1e-4)
        for k, r, turned in np.ndindex(scores.shape):
            angles = np.array([[grid.yaw[r], grid.pitch[r], rolls[turned]]])
            exact = posterior(model, xy, weight[None], np.array([k]), angles).log_likelihood[0]
            assert scores[k, r, turned] == pytest.approx(exact, rel=2e-3, abs=0.05)


def test_lifter_run_takes_windows_with_zeros(model: Mixture) -> None:
    xy, true = drawn(one_chart(model, 0), upright(4, seed=8))
    xy[3, 5:] = 0
    poses = as_run(model, LEVEL)(xy[:, None])
    assert poses.shape == (4, 17, 3)
    assert np.isfinite(poses).all()
    assert np.median(error_mm(poses[:3], true[:3])) < 120


def test_too_few_joints_give_nan(model: Mixture) -> None:
    xy, _ = drawn(one_chart(model, 0), upright(2, seed=9))
    xy[1, 5:] = np.nan
    found = lift(model, xy, options=LEVEL)
    assert np.isfinite(found.xyz_m[0]).all()
    assert np.isnan(found.xyz_m[1]).all()
    assert found.chart[1] == -1
    assert np.isnan(lift(model, xy[1:], options=FULL).xyz_m).all()


def test_answers_do_not_change(model: Mixture) -> None:
    xy, _ = drawn(one_chart(model, 0), upright(3, seed=10))
    both = [lift(model, xy, options=FULL).xyz_m for _ in range(2)]
    np.testing.assert_array_equal(*both)


def test_bad_inputs_are_refused(model: Mixture) -> None:
    with pytest.raises(ShapeError, match=r"\(N, 17, 2\)"):
        lift(model, np.zeros((17, 2)))
    with pytest.raises(ShapeError, match="visible"):
        lift(model, np.zeros((2, 17, 2)), np.ones((1, 17)))
    with pytest.raises(InputError, match="0 to 1"):
        lift(model, np.zeros((2, 17, 2)), np.full((2, 17), 1.5))
    with pytest.raises(InputError, match="yaw, full"):
        PpcaOptions(rotation="roll")  # ty: ignore[invalid-argument-type]
    with pytest.raises(ShapeError, match="mean"):
        replace(model, mean=model.mean[:, :16])
    with pytest.raises(InputError, match="height"):
        lift_as_released(model, np.zeros((1, 17, 2)))


def test_tilt_prior_prefers_level_cameras() -> None:
    level, tilted = tilt_prior(np.radians([8.0, 8.0]), np.radians([0.0, 90.0]), PpcaOptions())
    assert level > tilted + 3
    assert np.isfinite(tilted)


# --------------------------------------------------------------------------------- the release
def test_release_finds_upright_people_and_its_quirks_show(model: Mixture) -> None:
    xy, true = drawn(one_chart(model, 0), upright(12, seed=11))
    poses = lift_as_released(model, xy)
    assert np.median(error_mm(poses, true)) < 150
    hidden = np.ones((12, 17))
    hidden[0, [2, 3]] = 0
    fixed = lift_as_released(model, xy, hidden)
    faithful = lift_as_released(model, xy, hidden, ReleaseOptions(first_visibility=True))
    np.testing.assert_allclose(fixed[1:], poses[1:])
    assert not np.allclose(faithful[1:], poses[1:])
    bones = [np.linalg.norm(poses[:, c] - poses[:, p], axis=-1) for p, c in EDGES]
    assert np.sqrt(np.sum(np.square(bones), axis=0)) == pytest.approx(0.97 * 1.174883)


def test_release_caps_the_scale(model: Mixture) -> None:
    xy, _ = drawn(one_chart(model, 0), upright(1, seed=12))
    usual, capped = (
        lift_as_released(model, xy, options=ReleaseOptions(least_scale=least))
        for least in (1e-3, 0.9)
    )
    assert np.isfinite(capped).all()
    assert not np.allclose(usual, capped)


# ------------------------------------------------------------------------------------- fitting
def mixture_poses(count: int = 1500) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Poses (N, 17, 3) of two known charts at random yaw, the means, and who is of which."""
    rng = np.random.default_rng(0)
    means = [rng.normal(0, 1, (17, 3)) for _ in range(2)]
    bases = [rng.normal(0, 0.06, (3, 17, 3)) for _ in range(2)]
    which = rng.random(count) < 0.3
    a = rng.normal(size=(count, 3))
    shapes = [mean + np.einsum("nb,bjc->njc", a, b) for mean, b in zip(means, bases, strict=True)]
    poses = np.where(which[:, None, None], shapes[1], shapes[0])
    poses = poses + rng.normal(0, 0.01, poses.shape)
    turn = about_up(rng.uniform(-np.pi, np.pi, count))
    return poses @ turn.swapaxes(1, 2), means, which


def test_em_finds_a_known_mixture_and_never_falls() -> None:
    poses, means, which = mixture_poses()
    config = FitConfig(charts=2, basis=3, restarts=3, short=5, iterations=30)
    found = fit(poses, np.ones(len(poses)), config)
    assert sorted(found.charts.share) == pytest.approx([which.mean(), 1 - which.mean()], abs=0.01)
    for history in (*found.restarts, found.history):
        assert np.diff(history).min() > -1e-9
    assert found.history[-1] > found.history[0] + 1
    mean, basis = found.charts.poses()
    noise = np.sqrt(found.charts.variance)
    model = replace(shipped(), share=found.charts.share, mean=mean, basis=basis, noise=noise)
    for true in means:
        unit = (true - true.mean(0)) / np.sqrt(
            np.mean([np.sum((true[c] - true[p]) ** 2) for p, c in EDGES])
        )
        yaw = np.linspace(-np.pi, np.pi, 721)
        turned = unit @ about_up(yaw).swapaxes(1, 2)
        off = np.linalg.norm(turned[:, None] - model.mean, axis=-1).mean(-1).min()
        assert off < 0.02


def test_fit_is_the_same_every_time_and_yaw_does_not_count() -> None:
    poses, _, _ = mixture_poses(400)
    config = FitConfig(charts=2, basis=2, restarts=1, short=3, iterations=5)
    weight = np.random.default_rng(1).uniform(0.5, 1, len(poses))
    one, other = (fit(poses, weight, config).charts for _ in range(2))
    np.testing.assert_array_equal(one.mean, other.mean)
    turned = 3 * poses @ about_up(1.1).T
    np.testing.assert_allclose(
        log_likelihood(one, turned), log_likelihood(one, poses), rtol=1e-6, atol=1e-6
    )


def test_fit_refuses_what_it_cannot_use() -> None:
    poses, _, _ = mixture_poses(50)
    with pytest.raises(InputError, match="at least"):
        fit(poses[:10], np.ones(10), FitConfig(charts=2, basis=6))
    with pytest.raises(InputError, match="finite"):
        fit(np.where(poses > 1, np.nan, poses), np.ones(50), FitConfig(charts=1, basis=2))
    with pytest.raises(ShapeError, match="training poses"):
        fit(poses[:, :16], np.ones(50), FitConfig(charts=1, basis=2))


# ------------------------------------------------------------------------------------- storage
def test_a_model_comes_back_as_it_was_written(model: Mixture, tmp_path: Path) -> None:
    save(tmp_path / "model.npz", model)
    again = load(tmp_path / "model.npz")
    for name in ("share", "mean", "basis", "noise", "size_m", "size_spread", "seen", "fade"):
        np.testing.assert_array_equal(getattr(again, name), getattr(model, name))
    np.testing.assert_array_equal(again.fusion.bias, model.fusion.bias)
    assert (tmp_path / "model.npz").stat().st_size < 300_000


def test_damaged_and_absent_files_are_refused(model: Mixture, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="does not exist"):
        load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_bytes(b"no archive")
    with pytest.raises(WeightsError, match="PPCA mixture"):
        load(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", share=np.ones(2))
    with pytest.raises(WeightsError, match="PPCA mixture"):
        load(tmp_path / "other.npz")


def test_shipped_model_is_sound(model: Mixture) -> None:
    assert model.share.sum() == pytest.approx(1)
    assert 0.2 < model.size_m < 0.35
    assert len(model.fusion) >= 2
    standing = rotation(*np.zeros((3, 1)))[0] @ model.mean[..., None]
    y = standing[..., 1, 0]
    assert (y[:, 10] < y[:, [3, 6]].mean(1)).all()  # head above the ankles: y points down
