"""The pair of NPZ files of VideoPose3D, which most of the field reads: 3D in the world, 2D."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from poselift.camera import Camera
from poselift.errors import FormatError, InputError, UnknownNameError
from poselift.geometry import Array
from poselift.poses import Poses2D, Poses3D
from poselift.protocols.legacy import read_entry
from poselift.protocols.videos import (
    Video,
    check_metres,
    entry,
    find_file,
    listed,
    numbers,
    seen_as_confidence,
    true_joints,
)
from poselift.skeleton import Skeleton, skeleton

# What detections of this lineage come in; told apart by number of joints and left/right lists.
_OBSERVED = ("h36m17", "h36m16", "mpii16", "coco17", "humaneva15")
_SIDES = ("left", "right")


@dataclass(frozen=True)
class Source:
    """What the 3D file of a dataset holds: `stored` joints a frame, of which those at `kept`."""

    skeleton: Skeleton
    stored: int
    kept: list[int]
    cameras: list[str]
    rate_hz: float


@dataclass(frozen=True, eq=False)
class Pair:
    """Both files of a dataset as dictionaries subject -> action -> arrays."""

    path_3d: Path
    path_2d: Path
    positions_3d: Any
    positions_2d: Any
    observed: Skeleton

    def actions(self, subject: str) -> list[str]:
        """Names of a subject's takes. Raises FormatError, InputError (missing subject)."""
        for path, name in ((self.path_3d, "positions_3d"), (self.path_2d, "positions_2d")):
            takes = entry(getattr(self, name), subject, f"{path}: {name}")
            if not isinstance(takes, Mapping):
                where = f"{path}: {name}[{subject!r}]"
                raise FormatError(where, expected="a dictionary", found=type(takes).__name__)
        return list(self.positions_3d[subject])

    def videos(
        self, subject: str, action: str, column: str, cameras: Sequence[Camera], source: Source
    ) -> Iterator[Video]:
        """One video per camera of a take. Raises FormatError, InputError."""
        where = f"{self.path_3d}: positions_3d[{subject!r}][{action!r}]"
        stored = self.positions_3d[subject][action]
        world_m = true_joints(stored, source.stored, 1.0, where)[:, source.kept]
        time_s = np.arange(len(world_m)) / source.rate_hz
        for number, (name, camera) in enumerate(zip(source.cameras, cameras, strict=True)):
            observed = self._observed(subject, action, number, len(world_m), len(cameras))
            truth = Poses3D(
                camera.world_to_camera(world_m), time_s, source.skeleton, origin="camera"
            )
            check_metres(truth, where)
            yield Video(
                name=f"{subject} {action} {name}",
                subject=subject.rpartition("/")[2],
                column=column,
                observed=Poses2D(
                    observed[..., :2],
                    seen_as_confidence(observed),
                    time_s,
                    camera.size_px,
                    self.observed,
                    camera=camera if camera.known else None,
                    history=(f"{self.path_2d.name}: {subject}, {action}, camera {name}",),
                ),
                truth=truth,
                counted=np.ones(len(world_m), dtype=np.bool_),
            )

    def _observed(self, subject: str, action: str, camera: int, frames: int, count: int) -> Array:
        """Detections (frames, J, 2 or 3); what a video has beyond the 3D frames is cut."""
        where = f"{self.path_2d}: positions_2d[{subject!r}]"
        takes = listed(self.positions_2d[subject], action, count, where)
        where = f"{where}[{action!r}][{camera}]"
        values = numbers(takes[camera], (None, len(self.observed), None), where)
        if values.shape[-1] not in (2, 3):
            raise FormatError(where, expected="x, y and perhaps confidence", found=values.shape)
        if len(values) < frames:
            raise FormatError(where, expected=f"at least {frames} frames", found=len(values))
        if np.isinf(values).any():
            raise FormatError(f"{where} is damaged", expected="numbers", found="infinity")
        return values[:frames]


def read_pair(folder: Path, dataset: str, detections: str) -> Pair:
    """Both files of `dataset` in `folder`: data_3d_DATASET.npz, data_2d_DATASET_DETECTIONS.npz.

    Raises UnknownNameError (no such detections, with those that are there), FormatError.
    """
    path_3d = find_file(folder, f"data_3d_{dataset}.npz")
    path_2d = folder / f"data_2d_{dataset}_{detections}.npz"
    if not path_2d.is_file():
        pattern = re.compile(rf"data_2d_{dataset}_(.+)\.npz")
        matches = [pattern.fullmatch(path.name) for path in folder.iterdir()]
        there = [match[1] for match in matches if match]
        raise UnknownNameError(f"2D detections in {folder}", detections, there)
    return Pair(
        path_3d,
        path_2d,
        read_entry(path_3d, "positions_3d"),
        read_entry(path_2d, "positions_2d"),
        _skeleton(read_entry(path_2d, "metadata"), f"{path_2d}: metadata"),
    )


def _skeleton(metadata: object, where: str) -> Skeleton:
    """The skeleton of the detections, by its number of joints and which are left and right."""
    count = entry(metadata, "num_joints", where)
    left_right = entry(metadata, "keypoints_symmetry", where)
    try:
        left, right = (sorted(int(joint) for joint in side) for side in left_right)
    except (TypeError, ValueError) as error:
        what = f"{where}.keypoints_symmetry"
        raise FormatError(what, expected="two lists of joints", found=repr(left_right)) from error
    for name in _OBSERVED:
        known = skeleton(name)
        sides = [[known.index(j) for j in known.joints if known.side(j) == s] for s in _SIDES]
        if len(known) == count and sides == [left, right]:
            return known
    raise InputError(
        f"{where}: skeleton",
        expected="the joints and sides of a known one",
        found=f"{count} joints, left {left}, right {right}",
        known=_OBSERVED,
    )
