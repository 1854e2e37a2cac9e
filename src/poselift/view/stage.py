"""The stage on which people are shown: one time axis, level world, floor, where to look."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poselift.camera import Camera
from poselift.errors import InputError
from poselift.geometry import CAMERA_TO_LEVEL_WORLD, unit
from poselift.poses import Poses3D

Array = NDArray[np.floating]

_SIDE_BY_SIDE_M = 1.2  # between people that have no common place
_WIDE_M = 3.0  # motion wider than this is followed, not shown whole
_FOLLOW_S = 2.0
_SMALLEST_RADIUS_M = 0.9  # a standing adult fits


@dataclass(frozen=True, eq=False)
class Stage:
    """People on common times in a level world (z up, metres), and where to look.

    xyz_m (P, T, J) holds one array (T, J, 3) per person; centre_m (T, 3) is what the view looks
    at, radius_m what it must show, azimuth_rad the side to look from (0: from +x, pi/2: from +y).
    `notes` tells what was assumed.
    """

    people: tuple[Poses3D, ...]
    xyz_m: tuple[Array, ...]
    time_s: Array
    centre_m: Array
    radius_m: float
    floor_m: float
    azimuth_rad: float
    notes: tuple[str, ...] = ()

    def index_at(self, time_s: float) -> int | None:
        """The frame nearest to `time_s`, None where it is more than 3/4 of a time step away."""
        index = int(np.abs(self.time_s - time_s).argmin())
        step = float(np.median(np.diff(self.time_s))) if len(self.time_s) > 1 else np.inf
        return index if abs(self.time_s[index] - time_s) <= 0.75 * step else None


def stage(people: Sequence[Poses3D]) -> Stage:
    """Put people on a stage.

    Raises InputError for nobody, for nobody seen in any frame, and for different time axes.
    """
    if not people:
        raise InputError("people to show", expected="at least one person", found="none")
    time_s = people[0].time_s
    for poses in people[1:]:
        if len(poses.time_s) != len(time_s) or not np.allclose(poses.time_s, time_s, atol=1e-6):
            raise InputError(
                "people to show",
                expected=f"one time axis ({_span(time_s)})",
                found=f"person {poses.person} with {_span(poses.time_s)}",
            )
    notes: list[str] = []
    xyz_m = tuple(_in_world(poses, place, notes) for place, poses in enumerate(people))
    if not any(np.isfinite(xyz).all(axis=-1).any() for xyz in xyz_m):
        raise InputError("people to show", expected="a pose in at least one frame", found="none")
    floor_m = _floor(xyz_m, notes)
    centre_m, radius_m = _framing(xyz_m, time_s, floor_m)
    azimuth = _front(people, xyz_m)
    return Stage(
        tuple(people),
        xyz_m,
        time_s,
        centre_m,
        radius_m,
        floor_m,
        azimuth,
        tuple(dict.fromkeys(notes)),
    )


def _span(time_s: Array) -> str:
    if not len(time_s):
        return "no frames"
    return f"{len(time_s)} frames, {time_s[0]:g} to {time_s[-1]:g} s"


def _in_world(poses: Poses3D, place: int, notes: list[str]) -> Array:
    """Joints (T, J, 3) in a level world."""
    xyz_m = poses.xyz_m
    if poses.axes == "camera":
        if poses.camera is not None and poses.origin == "camera":
            xyz_m = poses.camera.camera_to_world(xyz_m)
            notes.append("camera axes turned to the world by the camera's own place")
        else:
            xyz_m = xyz_m @ CAMERA_TO_LEVEL_WORLD.T
            notes.append("camera axes: shown as if the camera were level")
    if poses.origin == "root":
        xyz_m = xyz_m + np.array([place * _SIDE_BY_SIDE_M, 0.0, 0.0])
        notes.append("relative to the root joint: where people walk is not shown")
    return xyz_m


def _floor(xyz_m: tuple[Array, ...], notes: list[str]) -> float:
    """Height of the floor: 0 where somebody is near it, else the lowest joint (1st percentile)."""
    heights = np.concatenate([xyz[..., 2].ravel() for xyz in xyz_m])
    lowest = float(np.nanpercentile(heights, 1))
    if -0.15 <= lowest <= 1.0:
        return 0.0
    notes.append("no floor known: drawn at the lowest joint")
    return lowest


def _framing(xyz_m: tuple[Array, ...], time_s: Array, floor_m: float) -> tuple[Array, float]:
    """What to look at (T, 3) and the radius (m) to show around it."""
    low, high = _boxes(xyz_m)
    whole_low, whole_high = np.nanmin(low, axis=0), np.nanmax(high, axis=0)
    middle_z = 0.5 * (floor_m + max(whole_high[2], floor_m + 0.5))
    extent = whole_high - whole_low
    centre = np.broadcast_to(0.5 * (whole_low + whole_high), low.shape).copy()
    if max(extent[:2]) > _WIDE_M:
        centre = _smooth(_filled(0.5 * (low + high)), time_s)
    centre[:, 2] = middle_z
    across = np.maximum(np.abs(low - centre), np.abs(high - centre))[:, :2]
    reach = np.nanpercentile(np.linalg.norm(across, axis=-1), 98)
    return centre, float(max(_SMALLEST_RADIUS_M, 0.92 * reach, 0.6 * (whole_high[2] - floor_m)))


def _boxes(xyz_m: tuple[Array, ...]) -> tuple[Array, Array]:
    """Lowest and highest corner (T, 3) around all joints of a frame, NaN where there are none."""
    points = np.concatenate(xyz_m, axis=1)
    seen = np.isfinite(points).all(axis=-1, keepdims=True)
    low = np.where(seen, points, np.inf).min(axis=1)
    high = np.where(seen, points, -np.inf).max(axis=1)
    return np.where(np.isinf(low), np.nan, low), np.where(np.isinf(high), np.nan, high)


def _filled(path_m: Array) -> Array:
    """A path (T, 3) with its gaps filled by straight lines."""
    seen = np.flatnonzero(np.isfinite(path_m).all(axis=-1))
    frames = np.arange(len(path_m))
    return np.stack([np.interp(frames, seen, path_m[seen, axis]) for axis in range(3)], axis=-1)


def _smooth(path_m: Array, time_s: Array) -> Array:
    """Two passes of a moving mean over `_FOLLOW_S`, mirrored at the ends."""
    step = float(np.median(np.diff(time_s))) if len(time_s) > 1 else 1.0
    half = min(max(round(_FOLLOW_S / step / 2), 1), len(path_m) - 1)
    for _ in range(2):
        padded = np.pad(path_m, ((half, half), (0, 0)), mode="reflect", reflect_type="odd")
        total: Array = np.cumsum(np.vstack([np.zeros(3), padded]), axis=0, dtype=np.float64)
        path_m = (total[2 * half + 1 :] - total[: -2 * half - 1]) / (2 * half + 1)
    return path_m


def _front(people: Sequence[Poses3D], xyz_m: tuple[Array, ...]) -> float:
    """The side to look from: that of the camera, else the side that people face on the whole."""
    for poses in people:
        if poses.camera is not None:
            return _towards_camera(poses, poses.camera)
    facing = np.nansum([_facing(p, xyz) for p, xyz in zip(people, xyz_m, strict=True)], axis=0)
    return float(np.arctan2(facing[1], facing[0])) if np.linalg.norm(facing) > 0.1 else -np.pi / 2


def _towards_camera(poses: Poses3D, camera: Camera) -> float:
    forward = camera.R_world_to_camera[2]
    if poses.axes == "camera" and poses.origin != "camera":
        forward = CAMERA_TO_LEVEL_WORLD @ np.array([0.0, 0.0, 1.0])
    return float(np.arctan2(-forward[1], -forward[0]))


def _facing(poses: Poses3D, xyz_m: Array) -> Array:
    """Mean horizontal direction (3) that a person faces: (left - right) x up at hips, shoulders."""
    directions = [np.zeros((1, 3))]
    for joint in ("hip", "shoulder"):
        left, right = f"left_{joint}", f"right_{joint}"
        if left in poses.skeleton and right in poses.skeleton:
            across = xyz_m[:, poses.skeleton.index(left)] - xyz_m[:, poses.skeleton.index(right)]
            directions.append(unit(np.cross(across, [0.0, 0.0, 1.0])))
    every = np.concatenate(directions)
    return every[np.isfinite(every).all(axis=-1)].mean(axis=0)
