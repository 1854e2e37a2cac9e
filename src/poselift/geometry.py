"""Rotations and similarity fits on plain arrays."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

# Camera axes (x right, y down, z forward) to a level world (x right, y forward, z up).
CAMERA_TO_LEVEL_WORLD = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])


def unit(vector: Array, eps: float = 1e-12) -> Array:
    """Scale vectors (..., 3) to length one; vectors shorter than `eps` stay as they are."""
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    return vector / np.where(length <= eps, 1.0, length)


def rotation_between(start: Array, end: Array) -> Array:
    """Smallest rotation (..., 3, 3) that turns direction `start` (..., 3) into `end` (..., 3).

    Rodrigues' formula. For opposite directions the axis is not unique: any perpendicular is taken.
    """
    start, end = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    a, b = np.broadcast_arrays(unit(start), unit(end))
    k = cross_matrix(np.cross(a, b))
    eye = np.broadcast_to(np.eye(3), k.shape)
    # |a + b|^2 / 2 is 1 + cosine without its loss of digits near opposite directions.
    one_plus_cosine = (np.sum((a + b) ** 2, axis=-1) / 2)[..., None, None]
    opposite = one_plus_cosine < 1e-15
    rotation = eye + k + k @ k / np.where(opposite, 1.0, one_plus_cosine)
    # Half a turn: I - 2 (I - 2 n n^T projected), i.e. 2 n n^T - I about a perpendicular n.
    n = unit(np.cross(a, _least_aligned_axis(a)))
    half_turn = 2 * n[..., :, None] * n[..., None, :] - eye
    return np.where(opposite, half_turn, rotation)


def _least_aligned_axis(direction: Array) -> Array:
    return np.eye(3)[np.argmin(np.abs(direction), axis=-1)]


def cross_matrix(vector: Array) -> Array:
    """Matrix (..., 3, 3) with `cross_matrix(v) @ w == cross(v, w)`."""
    x, y, z = np.moveaxis(vector, -1, 0)
    zero = np.zeros_like(x)
    rows = [[zero, -z, y], [z, zero, -x], [-y, x, zero]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def frame_from_axes(primary: Array, secondary: Array) -> Array:
    """Right-handed frame (..., 3, 3) as columns x, y, z.

    x follows `primary`, y is the part of `secondary` across it, z = x × y.
    """
    x = unit(primary)
    z = unit(np.cross(x, secondary))
    return np.stack([x, np.cross(z, x), z], axis=-1)


def similarity(source: Array, target: Array) -> tuple[Array, Array, Array]:
    """Best scale s (...), rotation R (..., 3, 3), shift t (..., 3): target ≈ s · source @ Rᵀ + t.

    Least squares over points (..., J, 3) without reflection (Umeyama 1991). Points with NaN in
    either set must be removed by the caller.
    """
    mean_s, mean_t = source.mean(-2, keepdims=True), target.mean(-2, keepdims=True)
    a, b = source - mean_s, target - mean_t
    u, d, vt = np.linalg.svd(np.swapaxes(b, -1, -2) @ a)
    sign = np.ones_like(d)
    sign[..., -1] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[..., None, :]) @ vt
    spread = np.sum(a**2, axis=(-1, -2))
    scale = np.sum(d * sign, axis=-1) / np.where(spread > 0, spread, 1.0)
    moved = scale[..., None, None] * mean_s @ np.swapaxes(rotation, -1, -2)
    return scale, rotation, (mean_t - moved)[..., 0, :]
