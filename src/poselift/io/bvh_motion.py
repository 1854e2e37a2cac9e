"""Joint positions to gap-free bones at a constant rate, and rotations to angles, for BVH."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from poselift.errors import InputError
from poselift.geometry import Array, frame_from_axes, unit
from poselift.io.frames import DEFAULT_FPS
from poselift.poses import Poses3D
from poselift.skeleton import Skeleton

# Columns: where x, y, z of the input point in BVH axes (x left of somebody facing +Z, y up).
_TO_BVH = {
    "camera": np.diag([1.0, -1.0, -1.0]),
    "world": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]),
}


@dataclass(frozen=True, eq=False)
class Bones:
    """A gap-free motion in BVH axes at a constant rate: root_m (T, 3), direction (T, J, 3).

    direction and length_m (J) are of the bone that ends at the joint.
    """

    root_m: Array
    direction: Array
    length_m: Array
    step_s: float


def gap_free_bones(poses: Poses3D) -> Bones:
    """Bones in BVH axes; missing ones held, irregular times resampled.

    Raises InputError for a bone that no frame shows.
    """
    parents = poses.skeleton.parents
    xyz = poses.xyz_m @ _TO_BVH[poses.axes].T
    vectors = _vectors(xyz, parents)
    seen = np.isfinite(vectors).all(axis=-1).sum(axis=0)
    never = [joint for joint, frames in zip(poses.skeleton.joints, seen, strict=True) if not frames]
    if never:
        raise InputError("BVH: joints that no frame shows", found=", ".join(never))
    moves = np.concatenate([xyz[:, parents.index(-1), None], vectors], axis=1)
    step_s, moves = _steady(poses, _held(moves))
    return Bones(moves[:, 0], unit(moves[:, 1:]), _median_lengths(vectors), step_s)


def _vectors(xyz_m: Array, parents: Sequence[int]) -> Array:
    """From each joint's parent to the joint, (T, J, 3); zero for a root."""
    source = [joint if parent < 0 else parent for joint, parent in enumerate(parents)]
    return xyz_m - xyz_m[:, source]


def _median_lengths(vectors: Array) -> Array:
    """Median length (J) over the frames that show the bone; 0 for one that is never seen."""
    lengths = np.linalg.norm(vectors, axis=-1)
    never = np.isnan(lengths).all(axis=0)
    return np.nanmedian(np.where(never, 0.0, lengths), axis=0)


def _held(moves: Array) -> Array:
    """Missing vectors (T, N, 3) as in the last frame that has them, else in the first."""
    seen = ~np.isnan(moves).any(axis=-1)
    frames = np.arange(len(moves))[:, None]
    last = np.maximum.accumulate(np.where(seen, frames, -1), axis=0)
    source = np.where(last >= 0, last, np.argmax(seen, axis=0))
    return np.take_along_axis(moves, source[..., None], axis=0)


def _steady(poses: Poses3D, moves: Array) -> tuple[float, Array]:
    """Frame time and vectors at the median rate, linear in time between frames."""
    time_s = poses.time_s
    if len(time_s) < 2:
        return 1 / DEFAULT_FPS, moves
    step_s = 1 / poses.rate_hz
    steady = np.arange(round((time_s[-1] - time_s[0]) / step_s) + 1) * step_s
    if len(steady) == len(time_s) and np.abs(time_s - time_s[0] - steady).max() < 0.05 * step_s:
        return float((time_s[-1] - time_s[0]) / (len(time_s) - 1)), moves
    flat = moves.reshape(len(moves), -1)
    columns = [np.interp(steady, time_s - time_s[0], column) for column in flat.T]
    return step_s, np.stack(columns, axis=1).reshape(-1, *moves.shape[1:])


def bone_places(joints: Skeleton, bones: Bones) -> Array:
    """Joint positions (T, J, 3) of the bones."""
    place = np.repeat(bones.root_m[:, None], len(joints), axis=1)
    vectors = bones.direction * bones.length_m[:, None]
    for joint in _root_first(joints.parents):
        if joints.parents[joint] >= 0:
            place[:, joint] = place[:, joints.parents[joint]] + vectors[:, joint]
    return place


def trunk_frame(line: Array, trunk: Array) -> Array:
    """Frame by a left-right line and the trunk; where they give none, that of the frame before."""
    frame = frame_from_axes(line, trunk)
    clear = np.linalg.norm(np.cross(unit(line), unit(trunk)), axis=-1) > 1e-3
    if not clear.any():
        return np.broadcast_to(np.eye(3), frame.shape)
    flat = np.where(clear[:, None], frame.reshape(-1, 9), np.nan)
    return _held(flat[:, None])[:, 0].reshape(-1, 3, 3)


def _root_first(parents: Sequence[int]) -> list[int]:
    """Joints in an order in which parents come before children."""

    def depth(joint: int) -> int:
        return 0 if parents[joint] < 0 else 1 + depth(parents[joint])

    return sorted(range(len(parents)), key=depth)


# Rotations to angles


def continuous_angles(rotation: Array, orders: Sequence[str]) -> Array:
    """Angles (T, N, 3) in radians of rotations (T, N, 3, 3), without jumps from frame to frame.

    orders: N words like "ZXY", for R = R_z R_x R_y. Every rotation has two triples of angles, each
    up to full turns: the one closest to the frame before is taken.
    """
    first = np.stack([_angles(rotation[:, n], order) for n, order in enumerate(orders)], axis=1)
    second = first * (1, -1, 1) + np.pi
    angles = np.empty_like(first)
    last = np.zeros(first.shape[1:])
    for t, pair in enumerate(np.stack([first, second], axis=1)):
        near = pair - 2 * np.pi * np.round((pair - last) / (2 * np.pi))
        take_second = np.argmin(np.abs(near - last).sum(axis=-1), axis=0).astype(bool)
        angles[t] = last = np.where(take_second[:, None], near[1], near[0])
    return angles


def _angles(rotation: Array, order: str) -> Array:
    i, j, k = ("XYZ".index(axis) for axis in order)
    sign = 1.0 if (j - i) % 3 == 1 else -1.0
    # In gimbal lock the first angle is free: zero. The others follow from what is left to turn.
    locked = np.hypot(rotation[:, j, k], rotation[:, k, k]) < 1e-6
    a = np.where(locked, 0.0, np.arctan2(-sign * rotation[:, j, k], rotation[:, k, k]))
    cos, sin = np.cos(a), sign * np.sin(a)
    row_j = cos[:, None] * rotation[:, j] + sin[:, None] * rotation[:, k]
    kk = cos * rotation[:, k, k] - sin * rotation[:, j, k]
    b = np.arctan2(sign * rotation[:, i, k], kk)
    c = np.arctan2(sign * row_j[:, i], row_j[:, j])
    return np.stack([a, b, c], axis=1)
