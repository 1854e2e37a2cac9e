"""Training clips: unpack, read, clean and balance motion capture, and pack it into one file.

The pack holds rotations (any body can be put into the motion by `bodies.py`), never meshes, in
world axes: x body left, y back, z up, metres.
"""

import csv
import hashlib
import json
import math
import os
import re
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from poselift.errors import FormatError, InputError, OutputError
from poselift.geometry import Array, unit
from poselift.skeleton import skeleton
from poselift.train.mocap import (
    Asf,
    Motion,
    axis_rotation,
    layout,
    leg_length_m,
    read_amc,
    read_asf,
    read_bvh,
    to_h36m17,
)

VERSION = 1
SPLITS = ("train", "validation", "test")
MOCAP_TO_WORLD = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
CAPTURE_RATE_HZ = 120.0  # of AMC files that no index lists; CMU captured at 120 Hz
# Listed with another rate than they have: a jump in 16_01 falls at 1 g only at 120 Hz.
_TRUE_RATE_HZ = {"cmu_asfamc/16/16_01.amc": 120.0}

H36M = skeleton("h36m17")


@dataclass(frozen=True)
class Archive:
    """What is known about a source of clips."""

    weight: float
    licence: str
    credit: str


_CMU = (
    "CMU: free for research and commercial use; the data itself must not be resold",
    "CMU Graphics Lab Motion Capture Database, mocap.cs.cmu.edu, NSF EIA-0196217",
)
_DAZ = 0.5  # shared skeletons and calibrated zero directions: rotations within 1 to 9 degrees
ARCHIVES = {
    "cmu_asfamc": Archive(1.0, *_CMU),
    "hdm05_asfamc": Archive(
        1.0,
        "CC BY-SA 3.0; test only",
        "Mueller et al., Documentation Mocap Database HDM05, Universitaet Bonn, 2007",
    ),
    "cmu_bvh_own_skeleton": Archive(1.0, *_CMU),
    "cmu_bvh_shared_skeleton": Archive(_DAZ, _CMU[0] + "; conversion MIT", _CMU[1]),
    "cmu_dance_martial_bvh": Archive(_DAZ, _CMU[0] + "; collection MIT", _CMU[1]),
}

# Bones of the body table (31, in its order) and the ASF bone whose flesh each follows.
BONE_SOURCE = {
    "Hips": "root",
    "LHipJoint": "lhipjoint",
    "LeftUpLeg": "lfemur",
    "LeftLeg": "ltibia",
    "LeftFoot": "lfoot",
    "LeftToeBase": "ltoes",
    "LowerBack": "lowerback",
    "Spine": "upperback",
    "Spine1": "thorax",
    "LeftShoulder": "lclavicle",
    "LeftArm": "lhumerus",
    "LeftForeArm": "lradius",
    "LeftHand": "lhand",
    "LThumb": "lhand",
    "LeftFingerBase": "lhand",
    "LeftHandFinger1": "lhand",
    "Neck": "lowerneck",
    "Neck1": "upperneck",
    "Head": "head",
    "RightShoulder": "rclavicle",
    "RightArm": "rhumerus",
    "RightForeArm": "rradius",
    "RightHand": "rhand",
    "RThumb": "rhand",
    "RightFingerBase": "rhand",
    "RightHandFinger1": "rhand",
    "RHipJoint": "rhipjoint",
    "RightUpLeg": "rfemur",
    "RightLeg": "rtibia",
    "RightFoot": "rfoot",
    "RightToeBase": "rtoes",
}
ROTATIONS = tuple(dict.fromkeys(BONE_SOURCE.values()))


def _sided(middle: dict[str, str], left: dict[str, str], sides: tuple[str, str]) -> dict[str, str]:
    """Names for both sides from those of the left, whose prefix is swapped."""
    right = {}
    for ours, theirs in left.items():
        old, new = sides if theirs.startswith(sides[0]) else ("L", "R")
        right["r" + ours[1:]] = theirs.replace(old, new, 1) if theirs.startswith(old) else theirs
    return {**middle, **left, **right}


# ASF bone to the joint of other skeletons whose flesh it is. In CMU's BVH, rotations equal those of
# the ASF/AMC of the same trial to 0.01 degrees (nine clips of subject 35).
_CMU_BVH = _sided(
    {
        "root": "Hips",
        "lowerback": "LowerBack",
        "upperback": "Spine",
        "thorax": "Spine1",
        "lowerneck": "Neck",
        "upperneck": "Neck1",
        "head": "Head",
    },
    {
        "lhipjoint": "LHipJoint",
        "lfemur": "LeftUpLeg",
        "ltibia": "LeftLeg",
        "lfoot": "LeftFoot",
        "ltoes": "LeftToeBase",
        "lclavicle": "LeftShoulder",
        "lhumerus": "LeftArm",
        "lradius": "LeftForeArm",
        "lhand": "LeftFingerBase",
    },
    ("Left", "Right"),
)
_DAZ_BONES = _sided(
    {
        "root": "hip",
        "lowerback": "abdomen",
        "upperback": "chest",
        "thorax": "chest",
        "lowerneck": "neck",
        "upperneck": "neck",
        "head": "head",
    },
    {
        "lhipjoint": "hip",
        "lfemur": "lThigh",
        "ltibia": "lShin",
        "lfoot": "lFoot",
        "ltoes": "lFoot",
        "lclavicle": "lCollar",
        "lhumerus": "lShldr",
        "lradius": "lForeArm",
        "lhand": "lForeArm",  # Daz hands are unusable: the hand follows the forearm
    },
    ("l", "r"),
)
# Directions of Daz bones in their zero pose as paired clips have it (file axes, left side); the
# file's own offsets are 7 to 20 degrees off.
_DAZ_ZERO = {
    "lfemur": (-0.011, -0.996, -0.085),
    "ltibia": (-0.011, -0.996, -0.085),
    "lfoot": (-0.006, -0.27, 0.962),
    "ltoes": (-0.006, -0.27, 0.962),
    "lclavicle": (0.968, 0.24, -0.07),
    "lhumerus": (0.99, -0.145, 0.0),
    "lradius": (0.99, -0.145, 0.0),
    "lhand": (0.99, -0.145, 0.0),
    "head": (0.012, 0.97, 0.245),
}
_DAZ_HEAD_PITCH_RAD = 0.28
_DAZ_BROKEN = ("cmu_01",)  # left forearm 110 degrees off


# ------------------------------------------------------------------------------------- reading
@dataclass(frozen=True)
class Flesh:
    """A clip in world axes: rotations (T, 25, 3, 3), root_m (T, 3), joints (T, 17, 3)."""

    rotation: Array
    root_m: Array
    h36m17_m: Array
    zero_direction: Array  # (25, 3)
    leg_length_m: float
    rate_hz: float


def to_flesh(motion: Motion) -> Flesh:
    """The rotations that bodies need, in world axes. Raises UnknownNameError."""
    kind = layout(motion)
    names = {"asf": {}, "cmu_bvh": _CMU_BVH, "daz": _DAZ_BONES}[kind]
    index = [motion.index(names.get(bone, bone)) for bone in ROTATIONS]
    rotation = motion.rotation[:, index]
    zero = motion.zero_direction[index]
    if kind == "daz":
        rotation = rotation.copy()
        head = ROTATIONS.index("head")
        rotation[:, head] = rotation[:, head] @ axis_rotation("X", np.array(_DAZ_HEAD_PITCH_RAD))
        for bone, direction in _DAZ_ZERO.items():
            zero[ROTATIONS.index(bone)] = unit(np.array(direction))
            if bone.startswith("l"):
                mirrored = unit(np.array(direction) * (-1, 1, 1))
                zero[ROTATIONS.index("r" + bone[1:])] = mirrored
    world = MOCAP_TO_WORLD
    return Flesh(
        world @ rotation @ world.T,
        motion.position_m[:, 0] @ world.T,
        to_h36m17(motion) @ world.T,
        _filled(zero) @ world.T,
        leg_length_m(motion),
        motion.rate_hz,
    )


def _filled(zero: Array) -> Array:
    """Bones without a length get the direction of what they hang on: up, or the bone before."""
    zero = zero.copy()
    zero[0] = (0.0, 1.0, 0.0)
    for bone, hangs_on in (("toes", "foot"), ("hand", "radius")):
        for side in "lr":
            at = ROTATIONS.index(side + bone)
            if not np.isfinite(zero[at]).all():
                zero[at] = zero[ROTATIONS.index(side + hangs_on)]
    return np.nan_to_num(zero)


@dataclass(frozen=True)
class ClipFile:
    """A clip that is not read yet."""

    path: Path
    archive: str
    name: str
    subject: str
    trial: str
    rate_hz: float  # as stored in the file; 0 for BVH, which says it


def clip_files(folder: Path, archive: str, index: dict[str, dict[str, str]]) -> list[ClipFile]:
    """All AMC and BVH files below a folder, in the order of their names."""
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".amc", ".bvh"))
    out = []
    for path in found:
        name = f"{archive}/{path.relative_to(folder).as_posix()}"
        rate = _rate_hz(name, index.get(name)) if path.suffix.lower() == ".amc" else 0.0
        subject, trial = _subject(path, archive)
        out.append(ClipFile(path, archive, name, subject, trial, rate))
    return out


def _rate_hz(name: str, row: dict[str, str] | None) -> float:
    """Rate of an AMC file: listed files of 100 Hz and more are stored at half their rate."""
    if row is None:
        return CAPTURE_RATE_HZ
    listed = _TRUE_RATE_HZ.get(name) or float(row.get("fps") or CAPTURE_RATE_HZ)
    return listed / 2 if listed >= 100 else listed


def _subject(path: Path, archive: str) -> tuple[str, str]:
    """(subject, trial): cmu_02 of 02_01.amc, hdm05_bd of HDM_bd_..., else folder or name."""
    words = path.stem.split("_")
    if archive.startswith("hdm05"):
        return f"hdm05_{words[1]}", "_".join(words[2:])
    if archive == "cmu_dance_martial_bvh":
        return f"cmu_{path.parent.name}", path.stem
    if words[0].isdigit():
        return f"cmu_{int(words[0]):02d}", "_".join(words[1:])
    return f"cmu_{re.split('[0-9_]', path.stem)[0]}", path.stem


@cache
def _asf(path: Path) -> Asf:
    return read_asf(path)


def read_clip(clip: ClipFile) -> Motion:
    """Read an AMC (with the ASF beside it) or a BVH file. Raises FormatError."""
    if clip.path.suffix.lower() == ".bvh":
        return read_bvh(clip.path, subject=clip.subject, trial=clip.trial)
    fitting = [p for p in clip.path.parent.glob("*.asf") if clip.path.stem.startswith(p.stem)]
    if not fitting:
        raise FormatError(
            str(clip.path), expected="an .asf in its folder whose name begins its own", found="none"
        )
    asf = _asf(max(fitting, key=lambda p: len(p.stem)))
    return read_amc(asf, clip.path, rate_hz=clip.rate_hz, subject=clip.subject, trial=clip.trial)


# ------------------------------------------------------------------------------------ cleaning
MAX_SPEED_M_S = 12.0
MIN_PIECE_S = 0.5


def clean(flesh: Flesh) -> tuple[list[tuple[int, int]], Counter[str]]:
    """Usable pieces [start, stop) and how many frames were dropped why."""
    frames = len(flesh.root_m)
    dropped: Counter[str] = Counter()
    if frames and _mirrored(flesh):
        return [], Counter({"left is right": frames})
    good = np.isfinite(flesh.rotation).all((1, 2, 3)) & np.isfinite(flesh.h36m17_m).all((1, 2))
    dropped["not finite"] = int((~good).sum())
    lead = int(np.argmin(np.append(_t_pose(flesh), False)))
    dropped["T-pose start"] = int(good[:lead].sum())
    good[:lead] = False
    speed = np.linalg.norm(np.diff(flesh.h36m17_m, axis=0), axis=-1).max(-1) * flesh.rate_hz
    cut = np.flatnonzero(~(speed <= MAX_SPEED_M_S)) + 1
    pieces = []
    shortest = math.ceil(MIN_PIECE_S * flesh.rate_hz)
    for start, stop in _runs(good, cut):
        if stop - start >= shortest:
            pieces.append((start, stop))
        else:
            dropped["short piece between jumps" if len(cut) else "short clip"] += stop - start
    return pieces, +dropped


def _runs(good: Array, cuts: Array) -> Iterator[tuple[int, int]]:
    """Stretches of good frames, cut also before the frames `cuts`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], good.astype(np.int8), [0]])))
    for start, stop in edges.reshape(-1, 2):
        inner = [int(cut) for cut in cuts if start < cut < stop]
        yield from zip([int(start), *inner], [*inner, int(stop)], strict=True)


def _mirrored(flesh: Flesh) -> bool:
    """Whether hips or shoulders lie left-right against the pelvis's own left."""
    left = flesh.rotation[:, 0, :, 0]
    for joint in ("hip", "shoulder"):
        across = (
            flesh.h36m17_m[:, H36M.index(f"left_{joint}")]
            - flesh.h36m17_m[:, H36M.index(f"right_{joint}")]
        )
        if np.nanmedian(np.sum(across * left, axis=-1)) < 0:
            return True
    return False


def _t_pose(flesh: Flesh) -> Array:
    """Frames (T) with straight legs and both arms stretched out sideways, within 20 degrees."""
    near = math.cos(math.radians(20))
    at = {joint: flesh.h36m17_m[:, i] for i, joint in enumerate(H36M.joints)}
    left = flesh.rotation[:, 0, :, 0]
    out = np.ones(len(flesh.root_m), bool)
    for side, sign in (("left", 1), ("right", -1)):
        chain = [at[f"{side}_{joint}"] for joint in ("shoulder", "elbow", "wrist")]
        for start, end in zip(chain, chain[1:], strict=False):
            out &= np.sum(unit(end - start) * left, axis=-1) * sign > near
        chain = [at[f"{side}_{joint}"] for joint in ("hip", "knee", "ankle")]
        for start, end in zip(chain, chain[1:], strict=False):
            out &= -unit(end - start)[:, 2] > near
    return out


# ---------------------------------------------------------------------------------- balancing
CELL_LEG = 0.45  # edge of a pose cell in leg lengths
POSE_RATE_HZ = 6.0
_ENDS = ("left_wrist", "right_wrist", "left_ankle", "right_ankle", "thorax")


def pose_cells(h36m17_m: Array, left: Array, leg_m: float, rate_hz: float) -> Array:
    """Coarse poses (n, 15) of a clip: where hands, feet and thorax lie from the pelvis.

    Seen from the body's own heading, in cells of 0.45 leg lengths, about six times a second.
    """
    step = max(1, round(rate_hz / POSE_RATE_HZ))
    joints, left = h36m17_m[::step], left[::step]
    heading = np.arctan2(left[:, 1], left[:, 0])
    turn = axis_rotation("Z", -heading)
    ends = joints[:, [H36M.index(joint) for joint in _ENDS]] - joints[:, :1]
    ends = np.einsum("tij,tkj->tki", turn, ends) / (leg_m * CELL_LEG)
    return np.floor(ends + 0.5).astype(np.int8).reshape(len(ends), -1)


def clip_weights(cells: Sequence[Array], split: Array, factor: Array) -> Array:
    """Weight per clip, summing to one in every split.

    A pose that has been seen n times in the split weighs 1/sqrt(n) each time, so ten minutes of
    walking weigh little more than three; a clip weighs what its poses weigh, times its source's
    factor.
    """
    weight = np.zeros(len(cells))
    for number in np.unique(split):
        clips = np.flatnonzero(split == number)
        stacked = np.concatenate([cells[clip] for clip in clips])
        _, which, count = np.unique(stacked, axis=0, return_inverse=True, return_counts=True)
        each = 1 / np.sqrt(count[which.reshape(-1)])
        ends = np.cumsum([len(cells[clip]) for clip in clips])[:-1]
        weight[clips] = [part.sum() for part in np.split(each, ends)]
        weight[clips] *= factor[clips]
        weight[clips] /= weight[clips].sum()
    return weight


@cache
def _split_table() -> dict[str, list[str]]:
    return json.loads(files("poselift.train").joinpath("split.json").read_text(encoding="utf-8"))


def split_of(subject: str) -> int:
    """0 train, 1 validation, 2 test; whoever the table does not list is for training."""
    table = _split_table()
    for number, split in enumerate(SPLITS):
        if subject in table[split]:
            return number
    return SPLITS.index(str(table["default"]))


# ------------------------------------------------------------------------------------- packing
@dataclass
class _Pack:
    """What grows while clips are read."""

    rows: dict[str, list] = field(default_factory=dict)
    zeros: list[Array] = field(default_factory=list)
    cells: list[Array] = field(default_factory=list)
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
    unreadable: dict[str, str]  # clip to message
    frames: int
    digest: str


def build(
    source: Path,
    out: Path,
    *,
    rate_hz: float = 60.0,
    archives: Sequence[str] = tuple(ARCHIVES),
    cache: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Summary:
    """Pack all clips of `source` into `out` (.npz), at no more than `rate_hz`.

    source: a folder with archives NAME.tar.xz or unpacked folders NAME (see `ARCHIVES`) and
    perhaps an index.csv; or any folder of ASF/AMC or BVH files of CMU's database.
    cache: where archives are unpacked (default ~/.cache/poselift/mocap).
    progress: called with a clip's name, how many are done and how many there are.
    Clips that cannot be read are left out and listed. Raises InputError, OutputError.
    """
    index = _read_index(source / "index.csv")
    clips = [
        clip
        for name, folder in _folders(source, archives, cache)
        for clip in clip_files(folder, name, index)
    ]
    if not clips:
        raise InputError(str(source), expected="AMC or BVH files", found="none", known=ARCHIVES)
    pack, unreadable = _Pack(), {}
    dropped: dict[str, Counter[str]] = {}
    for done, clip in enumerate(clips):
        if progress:
            progress(clip.name, done, len(clips))
        try:
            reasons = _add_clip(pack, clip, rate_hz)
        except FormatError as error:
            unreadable[clip.name] = str(error)
            continue
        dropped.setdefault(clip.subject, Counter()).update(reasons)
    arrays = _arrays(pack, sorted({clip.archive for clip in clips}))
    digest = _digest(arrays)
    arrays["digest"] = np.array(digest)
    _write(out, arrays)
    return Summary(out, _count(arrays, dropped), unreadable, pack.frames, digest)


def _read_index(path: Path) -> dict[str, dict[str, str]]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def _folders(
    source: Path, archives: Sequence[str], cache: Path | None
) -> Iterator[tuple[str, Path]]:
    unknown = [name for name in archives if name not in ARCHIVES]
    if unknown:
        raise InputError("archive", found=unknown[0], known=ARCHIVES)
    if not source.is_dir():
        raise InputError(str(source), expected="a folder", found="no folder")
    cache = cache or Path.home() / ".cache" / "poselift" / "mocap"
    found = False
    for name in archives:
        if (source / name).is_dir():
            found = True
            yield name, source / name
        elif (source / f"{name}.tar.xz").is_file():
            found = True
            yield name, unpack(source / f"{name}.tar.xz", cache) / name
    if not found:
        yield "cmu_asfamc", source


def unpack(archive: Path, cache: Path) -> Path:
    """Folder with an archive's content; unpacked only when not done yet. Raises FormatError."""
    stat = archive.stat()
    key = hashlib.sha256(f"{archive.name} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()
    folder = cache / f"{archive.name.split('.')[0]}-{key[:12]}"
    if folder.is_dir():
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            fresh = Path(scratch) / "content"
            with tarfile.open(archive) as tar:
                tar.extractall(fresh, filter="data")
            fresh.rename(folder)
    except tarfile.TarError as error:
        raise FormatError(str(archive), expected="a tar.xz archive", found=error) from error
    except OSError as error:
        raise OutputError(str(cache), expected="room to unpack", found=error) from error
    return folder


def _add_clip(pack: _Pack, clip: ClipFile, rate_hz: float) -> dict[str, float]:
    """Read, clean and add a clip; seconds dropped by reason."""
    if clip.archive == "cmu_bvh_shared_skeleton" and clip.subject in _DAZ_BROKEN:
        return {}
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
        left = flesh.rotation[part, 0, :, 0]
        pack.cells.append(pose_cells(flesh.h36m17_m[part], left, flesh.leg_length_m, flesh.rate_hz))
        pack.frames += stop - start
    return {reason: frames / flesh.rate_hz for reason, frames in dropped.items()}


def quantised(rotation: Array) -> Array:
    """Quaternions wxyz * 32767 as int16 (T, R, 4), without sign changes over time."""
    frames, bones = rotation.shape[:2]
    flat = Rotation.from_matrix(rotation.reshape(-1, 3, 3)).as_quat(scalar_first=True)
    quaternion = flat.reshape(frames, bones, 4)
    turned = np.sum(quaternion[1:] * quaternion[:-1], axis=-1) < 0
    sign = np.cumprod(np.where(turned, -1.0, 1.0), axis=0)
    quaternion[1:] *= sign[..., None]
    return np.rint(quaternion * 32767).astype(np.int16)


def _arrays(pack: _Pack, archives: list[str]) -> dict[str, Array]:
    rows = pack.rows
    if not rows:
        raise InputError("mocap", expected="at least one usable clip", found="none")
    factor = np.array([ARCHIVES[name].weight for name in rows["archive"]])
    split = np.array(rows["split"], np.int8)
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
        "split": split,
        "weight": clip_weights(pack.cells, split, factor).astype(np.float32),
        "leg_length_m": np.array(rows["leg_length_m"], np.float32),
        "zero": np.array(rows["zero"], np.int16),
        "zero_direction_m": np.array(pack.zeros, np.float32),
        "licence": np.array([f"{name}: {ARCHIVES[name].licence}" for name in archives]),
        "credit": np.array([f"{name}: {ARCHIVES[name].credit}" for name in archives]),
    }


def _digest(arrays: dict[str, Array]) -> str:
    """SHA-256 over names, shapes and contents."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        sha.update(f"{name} {array.dtype.str} {array.shape}".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def _write(out: Path, arrays: dict[str, Array]) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=out.parent, suffix=".npz")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **arrays)
            Path(name).replace(out)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(str(out), expected="a place to write", found=error) from error


def _count(arrays: dict[str, Array], dropped: dict[str, Counter[str]]) -> tuple[SubjectCount, ...]:
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
    for name, message in summary.unreadable.items():
        console.print(f"left out: {name}: {message}", markup=False)
