"""Rotations turn what they should, and fits agree with scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation

from poselift.geometry import (
    CAMERA_TO_LEVEL_WORLD,
    cross_matrix,
    frame_from_axes,
    rotation_between,
    similarity,
    unit,
)

EYE = np.eye(3)
seeds = st.integers(0, 2**32 - 1)


def directions(seed: int, *shape: int) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(*shape, 3)))


def assert_rotation(matrix: np.ndarray, tolerance: float = 1e-9) -> None:
    np.testing.assert_allclose(
        matrix @ np.swapaxes(matrix, -1, -2), np.broadcast_to(EYE, matrix.shape), atol=tolerance
    )
    np.testing.assert_allclose(np.linalg.det(matrix), 1, atol=tolerance)


def angle(matrix: np.ndarray) -> np.ndarray:
    return Rotation.from_matrix(matrix.reshape(-1, 3, 3)).magnitude()


def test_unit_has_length_one_and_leaves_zero_alone():
    vectors = np.array([[3.0, 0, 4], [0, 0, 0], [0, -2, 0]])
    assert unit(vectors).tolist() == [[0.6, 0, 0.8], [0, 0, 0], [0, -1, 0]]


def test_unit_of_what_is_missing_is_missing():
    assert np.isnan(unit(np.array([np.nan, 0, 1]))).all()


def test_camera_axes_to_a_level_world():
    right, down, forward = EYE
    assert (CAMERA_TO_LEVEL_WORLD @ right).tolist() == [1, 0, 0]
    assert (CAMERA_TO_LEVEL_WORLD @ down).tolist() == [0, 0, -1]
    assert (CAMERA_TO_LEVEL_WORLD @ forward).tolist() == [0, 1, 0]
    assert_rotation(CAMERA_TO_LEVEL_WORLD)


@given(seeds)
def test_rotation_between_turns_start_into_end_by_the_smallest_angle(seed):
    start, end = directions(seed, 20), directions(seed + 1, 20)
    rotation = rotation_between(3 * start, 0.2 * end)
    assert_rotation(rotation)
    np.testing.assert_allclose((rotation @ start[..., None])[..., 0], end, atol=1e-9)
    between = np.arccos(np.clip(np.sum(start * end, -1), -1, 1))
    np.testing.assert_allclose(angle(rotation), between, atol=1e-6)


@given(seeds)
def test_rotation_between_equal_directions_is_none(seed):
    start = directions(seed, 5)
    rotation = rotation_between(start, 2 * start)
    np.testing.assert_allclose(rotation, np.broadcast_to(EYE, (5, 3, 3)), atol=1e-12)


@given(seeds)
def test_rotation_between_opposite_directions_is_half_a_turn(seed):
    start = np.concatenate([directions(seed, 5), EYE, -EYE])
    rotation = rotation_between(start, -start)
    assert_rotation(rotation)
    np.testing.assert_allclose((rotation @ start[..., None])[..., 0], -start, atol=1e-12)
    np.testing.assert_allclose(angle(rotation), np.pi, atol=1e-6)


@pytest.mark.parametrize("off", [1e-2, 1e-3, 1e-4, 5e-5, 4e-5, 1e-5, 1e-6, 1e-7, 1e-9])
def test_rotation_between_almost_opposite_directions_is_still_exact(off):
    start = directions(0, 50)
    across = unit(np.cross(start, directions(1, 50)))
    end = unit(-start + off * across)
    rotation = rotation_between(start, end)
    assert_rotation(rotation, 1e-6)
    np.testing.assert_allclose((rotation @ start[..., None])[..., 0], end, atol=1e-6)


def test_rotation_between_opposite_directions_of_single_precision():
    start = directions(0, 200).astype(np.float32)
    end = (-start * np.linspace(0.3, 3, 200)[:, None]).astype(np.float32)
    rotation = rotation_between(start, end)
    assert_rotation(rotation)
    np.testing.assert_allclose((rotation @ start[..., None])[..., 0], -start, atol=1e-6)


def test_rotation_between_broadcasts():
    end = directions(0, 4, 5)
    rotation = rotation_between(EYE[0], end)
    assert rotation.shape == (4, 5, 3, 3)
    np.testing.assert_allclose(rotation[..., 0], end, atol=1e-12)


def test_rotation_between_without_a_direction():
    np.testing.assert_array_equal(rotation_between(np.zeros(3), EYE[1]), EYE)
    assert np.isnan(rotation_between(np.full(3, np.nan), EYE[1])).all()


@given(seeds)
def test_cross_matrix(seed):
    v, w = directions(seed, 7), directions(seed + 1, 7)
    np.testing.assert_allclose((cross_matrix(v) @ w[..., None])[..., 0], np.cross(v, w), atol=1e-15)


@given(seeds)
def test_frame_from_axes_is_right_handed_and_keeps_the_primary_axis(seed):
    primary, secondary = 3 * directions(seed, 6, 2), 0.1 * directions(seed + 1, 6, 2)
    frame = frame_from_axes(primary, secondary)
    assert_rotation(frame)
    np.testing.assert_allclose(frame[..., 0], primary / 3, atol=1e-12)
    along = np.sum(frame[..., 1] * secondary, -1)
    assert (along > 0).all()
    np.testing.assert_allclose(np.sum(frame[..., 2] * secondary, -1), 0, atol=1e-12)


def test_frame_from_axes_by_hand():
    frame = frame_from_axes(np.array([0.0, 0, 2]), np.array([5.0, 0, 7]))
    assert frame.T.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]


@given(seeds, st.floats(0.01, 100))
def test_similarity_recovers_what_was_applied(seed, scale):
    rng = np.random.default_rng(seed)
    source = rng.normal(size=(3, 12, 3))
    rotation = Rotation.random(3, rng=rng).as_matrix()
    shift = rng.normal(size=(3, 3))
    target = scale * source @ np.swapaxes(rotation, -1, -2) + shift[:, None]
    s, r, t = similarity(source, target)
    np.testing.assert_allclose(s, scale, rtol=1e-9)
    np.testing.assert_allclose(r, rotation, atol=1e-9)
    np.testing.assert_allclose(t, shift, atol=1e-9 * max(scale, 1))


@given(seeds)
def test_similarity_of_noisy_points_is_the_fit_of_scipy(seed):
    rng = np.random.default_rng(seed)
    source = rng.normal(size=(17, 3))
    target = 2 * source @ Rotation.random(rng=rng).as_matrix().T + rng.normal(size=(17, 3))
    scale, rotation, shift = similarity(source, target)
    a, b = source - source.mean(0), target - target.mean(0)
    np.testing.assert_allclose(rotation, Rotation.align_vectors(b, a)[0].as_matrix(), atol=1e-6)

    # procrustes also allows reflections; it is the same fit where the best one is a rotation.
    if np.linalg.det(b.T @ a) > 0:
        error = np.sum((scale * source @ rotation.T + shift - target) ** 2)
        assert error == pytest.approx(procrustes(target, source)[2] * np.sum(b**2), rel=1e-9)


def test_similarity_never_reflects():
    source = np.random.default_rng(0).normal(size=(10, 3))
    target = source * [-1, 1, 1]
    scale, rotation, _ = similarity(source, target)
    assert_rotation(rotation)
    # With that rotation, the scale of the least squares.
    a, b = source - source.mean(0), target - target.mean(0)
    assert scale == pytest.approx(np.sum(b * (a @ rotation.T)) / np.sum(a**2))
    assert 0 < scale < 1


def test_similarity_of_a_flat_body():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(10, 3)) * [1, 1, 0]
    turn = Rotation.random(rng=rng).as_matrix()
    _, rotation, _ = similarity(source, source @ turn.T)
    assert_rotation(rotation)
    np.testing.assert_allclose(rotation, turn, atol=1e-9)


def test_similarity_of_a_collapsed_body_is_finite():
    target = np.random.default_rng(0).normal(size=(10, 3))
    scale, rotation, shift = similarity(np.ones((10, 3)), target)
    assert scale == 0
    assert_rotation(rotation)
    np.testing.assert_allclose(shift, target.mean(0))
