"""Training clips: read, clean and balance motion capture, and pack it into one file.

The pack holds rotations (any body can be put into the motion by `bodies.py`), never meshes, in
world axes: x body left, y back, z up, metres. Walking clips without a head (SNU) and position-only
sets (UI-PRMD) have no rotations for a whole body and are not packed.
"""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from poselift.errors import FormatError, InputError, UnknownNameError
from poselift.geometry import Array
from poselift.io.files import atomic, check_output_folder
from poselift.skeleton import skeleton
from poselift.train.archives import ARCHIVES, ClipFile, clip_files, folders, read_clip, read_index
from poselift.train.cleaning import clean
from poselift.train.flesh import BONE_SOURCE, ROTATIONS, Flesh, to_flesh
from poselift.train.motion import axis_rotation

VERSION = 1
SPLITS = ("train", "validation", "test")
Arrays = dict[str, NDArray[Any]]

H36M = skeleton("h36m17")


@cache
def _split_table() -> dict[str, Any]:
    return json.loads(files("poselift.train").joinpath("split.json").read_text(encoding="utf-8"))


def split_of(subject: str) -> int:
    """0 train, 1 validation, 2 test; whoever split.json does not list is for training.

    So the held-out people are the same for everybody, however much data they add.
    """
    table = _split_table()
    for number, split in enumerate(SPLITS):
        if subject in table[split]:
            return number
    return SPLITS.index(table["default"])


# ---------------------------------------------------------------------------------- balancing
CELL_PER_LEG = 0.45
POSE_RATE_HZ = 6.0
_ENDS = ("left_wrist", "right_wrist", "left_ankle", "right_ankle", "thorax")


def pose_cells(flesh: Flesh, part: slice) -> NDArray[np.int8]:
    """Coarse poses (n, 15) of a piece, about six a second.

    Where hands, feet and thorax lie from the pelvis, seen from the body's own heading, in cells of
    0.45 leg lengths.
    """
    step = max(1, round(flesh.rate_hz / POSE_RATE_HZ))
    joints, left = flesh.h36m17_m[part][::step], flesh.rotation[part, 0, :, 0][::step]
    turn = axis_rotation("Z", -np.arctan2(left[:, 1], left[:, 0]))
    ends = joints[:, [H36M.index(joint) for joint in _ENDS]] - joints[:, :1]
    cells = np.einsum("tij,tkj->tki", turn, ends) / (flesh.leg_length_m * CELL_PER_LEG)
    return np.floor(cells + 0.5).astype(np.int8).reshape(len(ends), -1)


def clip_weights(cells: Sequence[NDArray[np.int8]], subject: Sequence[str], factor: Array) -> Array:
    """Weights (clips), summing to one, of the clips of one split.

    A subject weighs the square root of its variety: its distinct coarse poses, each counted 1/k
    where k subjects have it, so that neither minutes nor the walking that everybody does win.
    Within a subject, a pose seen n times weighs 1/sqrt(n) each time, and a clip weighs what its
    poses weigh times the `factor` of its source.
    """
    owner = np.unique(subject, return_inverse=True)[1]
    length = [len(cell) for cell in cells]
    frame_owner = np.repeat(owner, length)
    _, pose = np.unique(np.concatenate(cells), axis=0, return_inverse=True)
    seen, seen_at, times = np.unique(
        np.stack([pose.reshape(-1), frame_owner]), axis=1, return_inverse=True, return_counts=True
    )
    sharers = np.bincount(seen[0])
    share = np.sqrt(np.bincount(seen[1], weights=1 / sharers[seen[0]]))
    each = 1 / np.sqrt(times[seen_at.reshape(-1)])
    clip = np.repeat(np.arange(len(cells)), length)
    base = np.bincount(clip, weights=each, minlength=len(cells))
    weight = factor * share[owner] * base / np.bincount(owner, weights=base)[owner]
    return weight / weight.sum()


# ------------------------------------------------------------------------------------- packing
@dataclass
class _Pack:
    """What grows while clips are read."""

    rows: dict[str, list[Any]] = field(default_factory=dict)
    zeros: list[Array] = field(default_factory=list)
    cells: list[NDArray[np.int8]] = field(default_factory=list)
    frames: int = 0

    def add(self, **values: object) -> None:
        for name, value in values.items():
            self.rows.setdefault(name, []).append(value)

    def zero(self, direction: Array) -> int:
        for row, known in enumerate(self.zeros):
            if np.abs(known - direction).max() < 1e-4:
                return row
        self.zeros.append(direction)
        return len(self.zeros) - 1


@dataclass(frozen=True)
class SubjectCount:
    """What came of a subject's clips."""

    subject: str
    split: str
    clips: int
    seconds: float
    weight: float
    dropped: dict[str, float]  # reason to seconds


@dataclass(frozen=True)
class Summary:
    """What `build` did."""

    path: Path
    subjects: tuple[SubjectCount, ...]
    left_out: dict[str, str]  # clip to reason
    frames: int
    digest: str


def build(
    source: Path,
    out: Path,
    *,
    rate_hz: float = 60.0,
    archives: Sequence[str] = tuple(ARCHIVES),
    cache_dir: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Summary:
    """Pack all clips of `source` into `out` (.npz), at no more than `rate_hz`.

    source: a folder with archives NAME.tar.xz or unpacked folders NAME (see `ARCHIVES`) and
    perhaps an index.csv; or any folder of ASF/AMC or BVH files of CMU's database.
    cache_dir: where archives are unpacked (default ~/.cache/poselift/mocap).
    progress: called with the step, how many clips are done and how many there are.
    Clips that cannot be read, and trials that an earlier archive has, are left out and listed.
    Raises InputError, OutputError.
    """
    check_output_folder(out.parent)
    index = read_index(source / "index.csv")
    clips = [
        clip
        for name, folder in folders(source, archives, cache_dir)
        for clip in clip_files(folder, name, index)
    ]
    if not clips:
        raise InputError(str(source), expected="AMC or BVH files", found="none", known=ARCHIVES)
    pack, dropped, left_out = _Pack(), {}, {}
    known: dict[tuple[str, str], ClipFile] = {}
    for done, clip in enumerate(clips):
        if progress:
            progress("reading clips", done + 1, len(clips))
        twin = known.setdefault(_trial(clip), clip)
        if twin.archive != clip.archive:
            left_out[clip.name] = f"the same trial as {twin.name}"
            continue
        try:
            reasons = _add_clip(pack, clip, rate_hz)
        except (FormatError, UnknownNameError) as error:
            left_out[clip.name] = str(error)
            continue
        dropped.setdefault(clip.subject, Counter()).update(reasons)
    arrays = _arrays(pack, sorted({clip.archive for clip in clips}))
    digest = _digest(arrays)
    arrays["digest"] = np.array(digest)
    with atomic(out) as path:
        np.savez(path, allow_pickle=False, **arrays)
    return Summary(out, _count(arrays, dropped), left_out, pack.frames, digest)


def _trial(clip: ClipFile) -> tuple[str, str]:
    """The same for conversions of one trial: cmu_39 and 10 of 39_10.amc and of 039_10_w1.bvh."""
    number = re.match("0*([0-9]+)", clip.trial)
    return clip.subject, number[1] if number else clip.trial


def _add_clip(pack: _Pack, clip: ClipFile, rate_hz: float) -> dict[str, float]:
    """Read, clean and add a clip; seconds dropped by reason."""
    motion = read_clip(clip)
    motion = motion.every(max(1, math.ceil(motion.rate_hz / rate_hz - 1e-3)))
    flesh = to_flesh(motion)
    pieces, dropped = clean(flesh)
    zero = pack.zero(flesh.zero_direction) if pieces else -1
    for number, (start, stop) in enumerate(pieces):
        part = slice(start, stop)
        pack.add(
            quaternion=quantised(flesh.rotation[part]),
            root_m=flesh.root_m[part].astype(np.float32),
            h36m17_m=flesh.h36m17_m[part].astype(np.float32),
            start=pack.frames,
            frames=stop - start,
            rate_hz=flesh.rate_hz,
            subject=clip.subject,
            name=clip.name + (f"#{number}" if len(pieces) > 1 else ""),
            archive=clip.archive,
            split=split_of(clip.subject),
            leg_length_m=flesh.leg_length_m,
            zero=zero,
        )
        pack.cells.append(pose_cells(flesh, part))
        pack.frames += stop - start
    return {reason: frames / flesh.rate_hz for reason, frames in dropped.items()}


def quantised(rotation: Array) -> NDArray[np.int16]:
    """Quaternions wxyz * 32767 as int16 (T, R, 4), without sign changes over time."""
    frames, bones = rotation.shape[:2]
    flat = Rotation.from_matrix(rotation.reshape(-1, 3, 3)).as_quat(scalar_first=True)
    quaternion = flat.reshape(frames, bones, 4)
    turned = np.sum(quaternion[1:] * quaternion[:-1], axis=-1) < 0
    sign = np.cumprod(np.where(turned, -1.0, 1.0), axis=0)
    quaternion[1:] *= sign[..., None]
    return np.rint(quaternion * 32767).astype(np.int16)


def _arrays(pack: _Pack, archives: list[str]) -> Arrays:
    rows = pack.rows
    if not rows:
        raise InputError("mocap", expected="at least one usable clip", found="none")
    return {
        "version": np.array(VERSION),
        "bones": np.array(list(BONE_SOURCE)),
        "source": np.array([ROTATIONS.index(name) for name in BONE_SOURCE.values()], np.int16),
        "rotation_names": np.array(ROTATIONS),
        "quaternion": np.concatenate(rows["quaternion"]),
        "root_m": np.concatenate(rows["root_m"]),
        "h36m17_m": np.concatenate(rows["h36m17_m"]),
        "start": np.array(rows["start"], np.int64),
        "frames": np.array(rows["frames"], np.int64),
        "rate_hz": np.array(rows["rate_hz"], np.float32),
        "subject": np.array(rows["subject"]),
        "name": np.array(rows["name"]),
        "archive": np.array(rows["archive"]),
        "split": np.array(rows["split"], np.int8),
        "weight": _weights(pack).astype(np.float32),
        "leg_length_m": np.array(rows["leg_length_m"], np.float32),
        "zero": np.array(rows["zero"], np.int16),
        "zero_direction_m": np.array(pack.zeros, np.float32),
        "licence": np.array([f"{name}: {ARCHIVES[name].licence}" for name in archives]),
        "credit": np.array([f"{name}: {ARCHIVES[name].credit}" for name in archives]),
    }


def _weights(pack: _Pack) -> Array:
    """`clip_weights` of every split by itself."""
    split = np.array(pack.rows["split"])
    factor = np.array([ARCHIVES[name].weight for name in pack.rows["archive"]])
    weight = np.zeros(len(split))
    for number in np.unique(split):
        mine = np.flatnonzero(split == number)
        cells = [pack.cells[clip] for clip in mine]
        subject = [pack.rows["subject"][clip] for clip in mine]
        weight[mine] = clip_weights(cells, subject, factor[mine])
    return weight


def _digest(arrays: Arrays) -> str:
    """SHA-256 over names, shapes and contents."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        sha.update(f"{name} {array.dtype.str} {array.shape}".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def _count(arrays: Arrays, dropped: dict[str, Counter[str]]) -> tuple[SubjectCount, ...]:
    out = []
    for subject in sorted(dropped, key=lambda name: (split_of(name), name)):
        mine = arrays["subject"] == subject
        seconds = float((arrays["frames"][mine] / arrays["rate_hz"][mine]).sum())
        weight = float(arrays["weight"][mine].sum())
        split = SPLITS[split_of(subject)]
        clips = int(mine.sum())
        out.append(SubjectCount(subject, split, clips, seconds, weight, dict(dropped[subject])))
    return tuple(out)


def print_summary(summary: Summary) -> None:
    """Print the counts as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{summary.path.name}: {summary.frames} frames")
    for column in ("subject", "split", "clips", "seconds", "weight %", "dropped (s)"):
        table.add_column(column, justify="left" if column in ("subject", "split") else "right")
    for row in summary.subjects:
        lost = ", ".join(f"{reason} {seconds:.1f}" for reason, seconds in row.dropped.items())
        table.add_row(
            row.subject,
            row.split,
            str(row.clips),
            f"{row.seconds:.0f}",
            f"{100 * row.weight:.1f}",
            lost,
        )
    console = Console()
    console.print(table)
    for name, message in summary.left_out.items():
        console.print(f"left out: {name}: {message}", markup=False)
