"""Feet that should stand: how fast a planted foot slides over the floor.

A planted foot is judged by its ankle, which is what all skeletons have; the ankle of a rolling
foot moves a little, so that truth is not exactly 0 either. Steps count when the foot is planted in
both of their frames. `up` (3) or (..., T, 3) is the direction against gravity in the axes of the
poses: (0, 0, 1) in world axes, about (0, -1, 0) for a level camera.
"""

import numpy as np
from numpy.typing import NDArray

from poselift.errors import ShapeError
from poselift.geometry import Array, unit
from poselift.metrics.common import check_pair, check_times, counts, mean
from poselift.skeleton import Skeleton

FEET = ("left_ankle", "right_ankle")
CAMERA_UP = np.array([0.0, -1.0, 0.0])
SLOW_M_S = 0.3  # a foot in contact is slower than this
LOW_M = 0.06  # and not higher than this above its own lowest height in the clip


def foot_skate(
    xyz_m: Array, time_s: Array, contact: NDArray[np.bool_], source: Skeleton, up: Array = CAMERA_UP
) -> Array:
    """Mean horizontal speed (..., T - 1) of the planted feet in metres per second.

    xyz_m (..., T, J, 3) placed in axes that stand still; contact (..., T, 2) left and right; time_s
    (T). NaN where no foot is planted, and where one is and its ankle is NaN. Raises ShapeError,
    UnknownNameError (no ankles).
    """
    feet = _feet(xyz_m, source)
    return _slide(feet, check_times(time_s, xyz_m), contact, up)


def foot_skate_error(
    predicted_m: Array,
    true_m: Array,
    time_s: Array,
    contact: NDArray[np.bool_],
    source: Skeleton,
    up: Array = CAMERA_UP,
) -> Array:
    """Horizontal speed (..., T - 1) of the predicted planted feet against the true ones, m/s.

    What the pose adds to skating. Works for root-relative poses and moving cameras as well, where
    the speed of a foot alone says nothing. Raises as `foot_skate` does.
    """
    check_pair(predicted_m, true_m)
    known = counts(_feet(true_m, source))
    _check_contact(contact, known.shape)
    return foot_skate(predicted_m - true_m, time_s, contact & known, source, up)


def planted(
    true_m: Array, time_s: Array, source: Skeleton, up: Array = CAMERA_UP
) -> NDArray[np.bool_]:
    """Which feet stand (..., T, 2), left and right: slower than `SLOW_M_S` and low (`LOW_M`).

    true_m (..., T, J, 3) placed in axes that stand still. The speed is the slower one of the steps
    before and after; unknown feet do not stand. Raises as `foot_skate` does.
    """
    feet = _feet(true_m, source)
    step_s = np.diff(check_times(time_s, true_m))
    speed = np.linalg.norm(np.diff(feet, axis=-3), axis=-1) / step_s[:, None]
    edge = np.full_like(feet[..., :1, :, 0], np.inf)
    speed = np.where(np.isfinite(speed), speed, np.inf)
    slower = np.minimum(
        np.concatenate([edge, speed], axis=-2), np.concatenate([speed, edge], axis=-2)
    )
    height = np.sum(feet * _of_frames(up)[..., None, :], axis=-1)
    known = np.where(np.isfinite(height), height, np.inf)
    low = known - known.min(axis=-2, keepdims=True, initial=np.finfo(float).max) <= LOW_M
    return (slower < SLOW_M_S) & low


def _feet(xyz_m: Array, source: Skeleton) -> Array:
    if xyz_m.ndim < 3 or xyz_m.shape[-2:] != (len(source), 3):
        raise ShapeError(
            f"poses of {source.name}", expected=f"(..., T, {len(source)}, 3)", found=xyz_m.shape
        )
    return xyz_m[..., [source.index(joint) for joint in FEET], :]


def _check_contact(contact: NDArray[np.bool_], shape: tuple[int, ...]) -> None:
    """Raise ShapeError unless there is one truth value per foot, (..., T, 2)."""
    if contact.shape != shape or contact.dtype != bool:
        found = f"{contact.dtype} {contact.shape}"
        raise ShapeError("contact", expected=f"bool {shape}", found=found)


def _of_frames(up: Array) -> Array:
    """Unit vectors that broadcast over (..., T, 3)."""
    return unit(np.asarray(up, dtype=np.float64))


def _slide(feet: Array, time_s: Array, contact: NDArray[np.bool_], up: Array) -> Array:
    _check_contact(contact, feet.shape[:-1])
    axis = _of_frames(up)
    axis = axis[..., 1:, :] if axis.ndim > 1 else axis
    step = np.diff(feet, axis=-3)
    flat = step - axis[..., None, :] * np.sum(step * axis[..., None, :], axis=-1, keepdims=True)
    speed = np.linalg.norm(flat, axis=-1) / np.diff(time_s)[:, None]
    return mean(speed, contact[..., 1:, :] & contact[..., :-1, :])
