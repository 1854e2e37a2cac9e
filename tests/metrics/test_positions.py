"""Metrics: against independent computations, and the laws that they must obey."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation

from poselift import metrics
from poselift.errors import ShapeError

EDGES = [(0, 1), (1, 2), (0, 3), (3, 4)]
PAIRWISE = [
    metrics.mpjpe,
    metrics.p_mpjpe,
    metrics.n_mpjpe,
    metrics.mpjve,
    metrics.pck,
    metrics.auc,
    metrics.root_error,
    metrics.answered,
]
seeds = st.integers(0, 2**32 - 1)
laws = settings(max_examples=25, deadline=None)


def clip(seed: int, frames: int = 6, joints: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.4, (frames, joints, 3))


def pair(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    truth = clip(seed)
    return truth + np.random.default_rng(seed + 1).normal(0, 0.05, truth.shape), truth


def test_mpjpe_of_known_distances():
    truth = np.zeros((2, 4, 3))
    found = truth.copy()
    found[0, :, 0], found[1, 0] = 0.1, [0.3, 0.4, 0]
    np.testing.assert_allclose(metrics.mpjpe(found, truth), [0.1, 0.125])


def test_p_mpjpe_against_scipy():
    found, truth = pair()
    for frame, error in enumerate(metrics.p_mpjpe(found, truth)):
        # scipy brings the truth to unit size; bring the distance back.
        unit_truth, aligned, _ = procrustes(truth[frame], found[frame])
        size = np.linalg.norm(truth[frame] - truth[frame].mean(0))
        distance = np.linalg.norm(unit_truth - aligned, axis=-1).mean() * size
        rotation, _ = orthogonal_procrustes(
            found[frame] - found[frame].mean(0), truth[frame] - truth[frame].mean(0)
        )
        assert np.linalg.det(rotation) > 0  # scipy allows mirrors, the metric does not
        assert error == pytest.approx(distance, rel=1e-9)


def test_p_mpjpe_does_not_mirror():
    truth = clip(3)
    assert np.all(metrics.p_mpjpe(truth * [-1, 1, 1], truth) > 0.01)


@laws
@given(seeds, st.floats(0.2, 5))
def test_p_mpjpe_ignores_similarity_of_the_prediction(seed, scale):
    found, truth = pair(seed)
    random = np.random.default_rng(seed)
    turn = Rotation.random(6, rng=random).as_matrix()
    moved = scale * found @ np.swapaxes(turn, -1, -2) + random.normal(size=(6, 1, 3))
    np.testing.assert_allclose(metrics.p_mpjpe(moved, truth), metrics.p_mpjpe(found, truth))
    np.testing.assert_allclose(metrics.align(moved, truth), metrics.align(found, truth), atol=1e-9)


def test_n_mpjpe_is_the_best_scale():
    found, truth = (metrics.relative(each) for each in pair())
    error = metrics.n_mpjpe(found, truth)
    for frame in range(6):
        scale = np.linalg.lstsq(found[frame].reshape(-1, 1), truth[frame].ravel(), rcond=None)[0]
        distance = np.linalg.norm(scale * found[frame] - truth[frame], axis=-1)
        assert error[frame] == pytest.approx(distance.mean())


@laws
@given(seeds, st.floats(0.2, 5))
def test_n_mpjpe_ignores_scale_and_place(seed, scale):
    found, truth = pair(seed)
    shift = np.random.default_rng(seed).normal(size=(6, 1, 3))
    error = metrics.n_mpjpe(found, truth)
    np.testing.assert_allclose(metrics.n_mpjpe(scale * found + shift, truth - shift), error)


@laws
@given(seeds, st.floats(0.1, 10))
def test_errors_grow_with_the_scale_of_both(seed, scale):
    found, truth = pair(seed)
    for metric in (metrics.mpjpe, metrics.p_mpjpe, metrics.n_mpjpe, metrics.mpjve):
        expected = scale * metric(found, truth)
        np.testing.assert_allclose(metric(scale * found, scale * truth), expected)


@laws
@given(seeds)
def test_errors_do_not_depend_on_the_camera(seed):
    found, truth = pair(seed)
    turn = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    for metric in PAIRWISE:
        expected = metric(found, truth)
        np.testing.assert_allclose(metric(found @ turn.T + 1, truth @ turn.T + 1), expected)


@laws
@given(seeds, st.permutations(range(1, 5)))
def test_errors_do_not_depend_on_the_order_of_joints(seed, order):
    found, truth = pair(seed)
    order = [0, *order]
    for metric in PAIRWISE:
        expected = metric(found, truth)
        np.testing.assert_allclose(metric(found[:, order], truth[:, order]), expected)


@laws
@given(seeds)
def test_joints_without_truth_do_not_count(seed):
    """The same as leaving the joint out, whatever is predicted for it."""
    found, truth = pair(seed)
    truth[2, 3] = np.nan
    truth[4, 1, 0] = np.nan
    wild = found.copy()
    wild[2, 3], wild[4, 1] = np.nan, 1e3
    others = {2: [0, 1, 2, 4], 4: [0, 2, 3, 4]}
    for metric in PAIRWISE:
        error = metric(wild, truth)
        np.testing.assert_allclose(error, metric(found, truth))
        if metric is metrics.mpjve:
            continue
        for frame, kept in others.items():
            alone = metric(found[[frame]][:, kept], truth[[frame]][:, kept])
            assert error[frame] == pytest.approx(alone[0])


def test_velocity_needs_both_frames():
    found, truth = pair()
    truth[2, 3] = np.nan
    steps = np.linalg.norm(np.diff(found - truth, axis=0), axis=-1)
    expected = np.array([np.nanmean(step) for step in steps])
    np.testing.assert_allclose(metrics.mpjve(found, truth), expected)
    assert np.isnan(steps).sum() == 2


def test_nothing_to_measure_is_nan():
    found, truth = pair()
    truth[1] = np.nan
    for metric in PAIRWISE:
        error = metric(found, truth)
        assert np.isnan(error[1])
        assert np.isfinite(error[3:]).all()


def test_no_answer_is_no_gain():
    found, truth = pair()
    found[1, 2] = np.nan
    for metric in (metrics.mpjpe, metrics.p_mpjpe, metrics.n_mpjpe):
        assert np.isnan(metric(found, truth)).tolist() == [False, True] + [False] * 4
    assert metrics.pck(found, truth, 10.0).tolist() == [1, 0.8, 1, 1, 1, 1]
    assert metrics.answered(found, truth).tolist() == [1, 0.8, 1, 1, 1, 1]


@pytest.mark.parametrize("place", [0.0, 0.7])
def test_a_collapsed_pose_is_an_error_not_a_crash(place):
    truth = clip(1)
    collapsed = np.full_like(truth, place)
    spread = np.linalg.norm(truth - truth.mean(1, keepdims=True), axis=-1).mean(-1)
    np.testing.assert_allclose(metrics.p_mpjpe(collapsed, truth), spread)
    to_root = np.linalg.norm(metrics.relative(truth), axis=-1).mean(-1)
    np.testing.assert_allclose(metrics.n_mpjpe(collapsed, truth), to_root)


def test_too_few_joints_to_align():
    found, truth = pair()
    truth[0, 2:] = np.nan
    assert np.isnan(metrics.p_mpjpe(found, truth)).tolist() == [True] + [False] * 5


def test_velocity_per_frame_and_per_second():
    time_s = np.array([0, 0.1, 0.3, 0.4])
    truth = np.zeros((4, 2, 3))
    found = truth.copy()
    found[..., 0] = 2 * time_s[:, None] + 5  # 2 m/s too fast, constant offset
    np.testing.assert_allclose(metrics.mpjve(found, truth), [0.2, 0.4, 0.2])
    np.testing.assert_allclose(metrics.mpjve_per_second(found, truth, time_s), [2, 2, 2])
    np.testing.assert_allclose(metrics.acceleration_error(found, truth, time_s), 0, atol=1e-12)


def test_acceleration_of_a_fall_at_uneven_times():
    time_s = np.array([0, 0.1, 0.25, 0.3, 0.5])
    truth = clip(0, frames=5)
    found = truth.copy()
    found[..., 1] += 0.5 * 9.81 * time_s[:, None] ** 2
    error = metrics.acceleration_error(found, truth, time_s)
    np.testing.assert_allclose(error, [9.81] * 3)
    truth[1, 0] = np.nan
    np.testing.assert_allclose(metrics.acceleration_error(found, truth, time_s), [9.81] * 3)
    assert metrics.acceleration_error(found[:2], truth[:2], time_s[:2]).shape == (0,)


def test_pck_and_auc():
    truth = np.zeros((1, 4, 3))
    found = truth.copy()
    found[0, :, 2] = [0, 0.0749, 0.1499, 0.1501]
    assert metrics.pck(found, truth).tolist() == [0.75]
    assert len(metrics.AUC_THRESHOLDS_M) == 31
    # Thresholds 0, 5, ..., 150 mm above each distance: 30, 16, 1 and 0 of 31.
    assert metrics.auc(found, truth)[0] == pytest.approx((30 + 16 + 1) / (4 * 31))


def test_bone_length_deviation():
    turns = Rotation.random(7, rng=np.random.default_rng(0)).as_matrix()
    rigid = clip(0, frames=1) @ np.swapaxes(turns, -1, -2)
    np.testing.assert_allclose(metrics.bone_length_deviation(rigid, EDGES), 0, atol=1e-12)
    stretched = rigid.copy()
    bone = rigid[:, 2] - rigid[:, 1]
    length = np.linalg.norm(bone[0])
    stretch = np.array([0, 0.1, 0, 0.1, 0, 0.1, np.nan])
    stretched[:, 2] += bone / length * stretch[:, None]
    np.testing.assert_allclose(
        metrics.bone_length_deviation(stretched, EDGES), [0, 0.05, 0, 0], atol=1e-12
    )


def test_root_error():
    found, truth = pair()
    expected = np.linalg.norm(found[:, 2] - truth[:, 2], axis=-1)
    np.testing.assert_allclose(metrics.root_error(found, truth, root=2), expected)


def test_people_and_models_in_front():
    found, truth = (np.stack([each, each[::-1]]) for each in pair())
    time_s = np.arange(6) / 30
    for metric in PAIRWISE:
        np.testing.assert_allclose(metric(found, truth)[1], metric(found[1], truth[1]))
    for metric in (metrics.mpjve_per_second, metrics.acceleration_error):
        both = metric(found, truth, time_s)
        np.testing.assert_allclose(both[1], metric(found[1], truth[1], time_s))
    both = metrics.bone_length_deviation(found, EDGES)
    np.testing.assert_allclose(both[1], metrics.bone_length_deviation(found[1], EDGES))


def test_other_shapes_are_errors():
    found, truth = pair()
    for metric in PAIRWISE:
        with pytest.raises(ShapeError):
            metric(found[:, :4], truth)
        with pytest.raises(ShapeError):
            metric(found[..., :2], truth[..., :2])
    with pytest.raises(ShapeError, match="time stamps"):
        metrics.mpjve_per_second(found, truth, np.arange(5) / 30)
