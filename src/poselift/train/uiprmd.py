"""Reader of UI-PRMD's joint centres, which come as one .npz with all recordings."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from poselift.errors import FormatError
from poselift.geometry import Array
from poselift.train.pack import read_arrays

# Spread of a bone's length in a recording, at which its joint centres are no longer trusted.
MAX_BONE_SD_MM = 28.0
JOINTS = (
    "pelvis", "rhip", "rknee", "rankle", "rheel", "rtoe", "lhip", "lknee", "lankle", "lheel",
    "ltoe", "spine", "thorax", "head", "headfront", "lshoulder", "lelbow", "lwrist", "lhand",
    "rshoulder", "relbow", "rwrist", "rhand",
)  # fmt: skip
_FIELDS = ("xyz_mm", "names", "fps", "clip", "subject", "action", "start", "frames", "bone_sd_mm")


@dataclass(frozen=True)
class Points:
    """Joint centres by name, each (T, 3) in metres; axes x left, y up, z forward."""

    at_m: dict[str, Array]
    rate_hz: float


def recordings(path: Path) -> Iterator[tuple[str, str, str]]:
    """(recording, subject, what it shows) of all. Raises FormatError."""
    data = _load(path)
    for clip, subject, action in zip(data["clip"], data["subject"], data["action"], strict=True):
        yield str(clip), f"uiprmd_{int(subject):02d}", str(action)


def read_points(path: Path, clip: str) -> Points:
    """Joint centres of a recording. Raises FormatError, also where they are not to be trusted."""
    data = _load(path)
    row = int(np.flatnonzero(data["clip"] == clip)[0])
    spread = float(data["bone_sd_mm"][row])
    if not spread <= MAX_BONE_SD_MM:
        raise FormatError(
            "bone lengths of the recording",
            expected=f"a spread (sd) of up to {MAX_BONE_SD_MM:g} mm",
            found=f"{spread:.1f}",
        )
    start, frames = int(data["start"][row]), int(data["frames"][row])
    xyz_m = data["xyz_mm"][start : start + frames] / 1000
    names = [str(name) for name in data["names"]]
    return Points({name: xyz_m[:, names.index(name)] for name in JOINTS}, float(data["fps"]))


@lru_cache(maxsize=1)
def _load(path: Path) -> dict[str, Any]:
    """All arrays, with sizes that fit each other. Raises FormatError."""
    data = read_arrays(path)
    for name in _FIELDS:
        if name not in data:
            raise FormatError(f"{path}: {name}", expected="this field", found="none")
    names = data["names"].tolist()
    if not set(JOINTS) <= set(names):
        missing = sorted(set(JOINTS) - set(names))
        raise FormatError(f"{path}: names", expected=missing[0], found=", ".join(names))
    if data["xyz_mm"].shape[1:] != (len(names), 3):
        shape = data["xyz_mm"].shape
        raise FormatError(f"{path}: xyz_mm", expected=f"(frames, {len(names)}, 3)", found=shape)
    clips = len(data["clip"])
    for name in ("subject", "action", "start", "frames", "bone_sd_mm"):
        if data[name].shape != (clips,):
            found = data[name].shape
            raise FormatError(f"{path}: {name}", expected=f"({clips},)", found=found)
    stop = data["start"] + data["frames"]
    if clips and not (data["start"].min() >= 0 and stop.max() <= len(data["xyz_mm"])):
        raise FormatError(f"{path}: start", expected="clips inside xyz_mm", found=int(stop.max()))
    return data
