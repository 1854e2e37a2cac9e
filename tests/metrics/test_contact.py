"""Foot skate: known slides, a loop, and laws."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy.spatial.transform import Rotation

from poselift import metrics
from poselift.errors import ShapeError, UnknownNameError
from poselift.skeleton import Skeleton, skeleton

H36M = skeleton("h36m17")
LEFT, RIGHT = H36M.index("left_ankle"), H36M.index("right_ankle")
Z_UP = np.array([0.0, 0.0, 1.0])
seeds = st.integers(0, 2**32 - 1)
laws = settings(max_examples=25, deadline=None)


def clip(seed: int, frames: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.4, (frames, 17, 3))


def test_a_foot_that_slides_and_one_in_the_air():
    time_s = np.array([0, 0.1, 0.2, 0.4, 0.5])
    xyz = np.zeros((5, 17, 3))
    xyz[:, LEFT, 0] = 0.3 * time_s
    xyz[:, LEFT, 2] = 5 * time_s  # upwards does not count
    xyz[:, RIGHT, 1] = -2 * time_s
    contact = np.array([[1, 0], [1, 0], [1, 1], [1, 1], [0, 0]], dtype=bool)
    skate = metrics.foot_skate(xyz, time_s, contact, H36M, Z_UP)
    np.testing.assert_allclose(skate, [0.3, 0.3, (0.3 + 2) / 2, np.nan])


def test_skate_against_a_loop():
    random = np.random.default_rng(0)
    found, truth = clip(1), clip(2)
    time_s = np.cumsum(random.uniform(0.01, 0.1, 7))
    contact = random.random((7, 2)) < 0.8
    up = random.normal(size=3)
    expected = []
    for t in range(6):
        speeds = []
        for side, ankle in enumerate((LEFT, RIGHT)):
            if contact[t, side] and contact[t + 1, side]:
                gap = (found - truth)[:, ankle]
                step = (gap[t + 1] - gap[t]) / (time_s[t + 1] - time_s[t])
                speeds.append(np.linalg.norm(np.cross(step, up / np.linalg.norm(up))))
        expected.append(np.mean(speeds) if speeds else np.nan)
    error = metrics.foot_skate_error(found, truth, time_s, contact, H36M, up)
    np.testing.assert_allclose(error, expected)
    assert np.isfinite(error).any()


@laws
@given(seeds, st.floats(0.2, 4))
def test_skate_turns_scales_and_moves_along(seed, scale):
    random = np.random.default_rng(seed)
    xyz, time_s = clip(seed), np.arange(7) / 30
    contact = random.random((7, 2)) < 0.7
    skate = metrics.foot_skate(xyz, time_s, contact, H36M, Z_UP)
    turn = Rotation.random(rng=random).as_matrix()
    moved = scale * xyz @ turn.T + random.normal(size=3)
    turned = metrics.foot_skate(moved, time_s, contact, H36M, turn @ Z_UP)
    np.testing.assert_allclose(turned, scale * skate)
    slower = metrics.foot_skate(xyz, 2 * time_s, contact, H36M, Z_UP)
    np.testing.assert_allclose(slower, skate / 2)
    per_frame = np.broadcast_to(Z_UP, (7, 3))
    np.testing.assert_array_equal(metrics.foot_skate(xyz, time_s, contact, H36M, per_frame), skate)


@laws
@given(seeds)
def test_the_error_ignores_the_path_of_the_body(seed):
    """What lets root-relative poses be judged: the same path under both changes nothing."""
    found, truth = clip(seed), clip(seed + 1)
    contact = np.random.default_rng(seed).random((7, 2)) < 0.7
    path = clip(seed + 2)[:, :1]
    time_s = np.arange(7) / 30
    error = metrics.foot_skate_error(found, truth, time_s, contact, H36M)
    moved = metrics.foot_skate_error(found + path, truth + path, time_s, contact, H36M)
    np.testing.assert_allclose(moved, error)
    same = metrics.foot_skate_error(truth, truth, time_s, contact, H36M)
    np.testing.assert_array_equal(same[np.isfinite(error)], 0)


def test_truth_decides_what_counts_and_no_answer_is_no_gain():
    found, truth, time_s = clip(1), clip(2), np.arange(7) / 30
    contact = np.ones((7, 2), dtype=bool)
    found[1, LEFT] = np.nan
    truth[5, LEFT] = np.nan
    error = metrics.foot_skate_error(found, truth, time_s, contact, H36M)
    assert np.isnan(error).tolist() == [True, True] + [False] * 4
    only_right = contact & [False, True]
    expected = metrics.foot_skate_error(found, truth, time_s, only_right, H36M)
    np.testing.assert_allclose(error[4:], expected[4:])


def test_planted_feet_of_a_walk():
    """The left foot stands, swings and stands again; the right one hangs high and still."""
    time_s = np.arange(30) / 30
    truth = np.zeros((30, 17, 3))
    swing = np.clip((time_s - 1 / 3) * 3, 0, 1)
    truth[:, LEFT, 0] = swing
    truth[:, LEFT, 2] = 0.1 * np.sin(np.pi * swing)
    truth[:, RIGHT, 2] = np.where(np.arange(30) < 3, 0.0, 0.5)
    truth[7, LEFT] = np.nan
    stands = metrics.planted(truth, time_s, H36M, Z_UP)
    left = np.r_[np.ones(11), np.zeros(9), np.ones(10)].astype(bool)
    left[7] = False
    np.testing.assert_array_equal(stands[:, 0], left)
    assert stands[:, 1].tolist() == [True] * 3 + [False] * 27
    assert not metrics.planted(np.full_like(truth, np.nan), time_s, H36M, Z_UP).any()


def test_contact_and_ankles_are_needed():
    xyz, time_s = clip(0), np.arange(7) / 30
    with pytest.raises(ShapeError, match="contact"):
        metrics.foot_skate(xyz, time_s, np.ones((6, 2), dtype=bool), H36M)
    with pytest.raises(ShapeError, match="bool"):
        metrics.foot_skate(xyz, time_s, np.ones((7, 2)), H36M)
    stump = Skeleton("stump", {"pelvis": ""})
    with pytest.raises(UnknownNameError, match="left_ankle"):
        metrics.foot_skate(xyz[:, :1], time_s, np.ones((7, 2), dtype=bool), stump)
