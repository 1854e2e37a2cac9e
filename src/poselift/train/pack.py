"""The packed motion file: rotations and roots of many clips, quantised, in a few megabytes."""

import hashlib
import zipfile
import zlib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from poselift.errors import FormatError, InputError
from poselift.io.files import atomic, check_input_file
from poselift.train.codec import decoded, encoded, loosened, squeezed
from poselift.train.flesh import ROTATIONS

FORMAT = "poselift motion pack 2"
UNITS = "metres, hertz; world axes x body left, y back, z up; wxyz quaternions * 32767"
# What numpy and zipfile raise for damaged files; TypeError for a lone array.
_NPZ_FAULTS = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    EOFError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Pack:
    """C clips of N frames together, back to back.

    quaternion (N, 25, 4): int16, wxyz * 32767, how far the flesh of each bone of `flesh.ROTATIONS`
    has turned from its clip's zero pose, world axes (x body left, y back, z up); within a clip no
    quaternion changes its sign.
    root_m (N, 3): float32, the root bone in world axes. contact (N, 2): uint8, how surely the left
    and right foot are planted, 0 to 255.
    Per clip: start, frames, rate_hz, subject, name, archive, action, split (row of `SPLITS`),
    weight (sums to one in a split), leg_length_m (hip to ankle), zero (row of zero_direction_m).
    zero_direction_m (Z, 25, 3): unit vectors along the bones in the zero pose.
    bones: the 31 bones of the body table; source (31): the rotation that each follows.
    licence, credit: one text per archive. digest: SHA-256 of all the rest; "" before writing.
    """

    quaternion: NDArray[np.int16]
    root_m: NDArray[np.float32]
    contact: NDArray[np.uint8]
    start: NDArray[np.int64]
    frames: NDArray[np.int64]
    rate_hz: NDArray[np.float32]
    subject: NDArray[np.str_]
    name: NDArray[np.str_]
    archive: NDArray[np.str_]
    action: NDArray[np.str_]
    split: NDArray[np.int8]
    weight: NDArray[np.float32]
    leg_length_m: NDArray[np.float32]
    zero: NDArray[np.int16]
    zero_direction_m: NDArray[np.float32]
    bones: tuple[str, ...]
    source: NDArray[np.int16]
    licence: tuple[str, ...]
    credit: tuple[str, ...]
    digest: str = ""

    PER_CLIP: ClassVar[dict[str, str]] = {
        "frames": "i8",
        "rate_hz": "f4",
        "subject": "U",
        "name": "U",
        "archive": "U",
        "action": "U",
        "split": "i1",
        "weight": "f4",
        "leg_length_m": "f4",
        "zero": "i2",
    }


def write_pack(path: Path, pack: Pack) -> None:
    """Write a pack. Raises InputError for one that breaks its words, OutputError."""
    _check_sizes(pack)
    motion = encoded(pack.quaternion, pack.root_m, pack.frames)
    quaternion, root_m = decoded(motion, pack.frames)
    held = replace(pack, quaternion=quaternion, root_m=root_m)  # as the file holds it
    arrays: dict[str, Any] = {name: getattr(pack, name) for name in Pack.PER_CLIP}
    arrays |= {
        "format": np.array(FORMAT),
        "units": np.array(UNITS),
        "motion": squeezed(motion),
        "contact": squeezed(pack.contact.T),
        "zero_direction_m": pack.zero_direction_m,
        "bones": np.array(pack.bones),
        "source": pack.source,
        "licence": np.array(pack.licence),
        "credit": np.array(pack.credit),
        "digest": np.array(_digest(held)),
    }
    with atomic(path) as fresh:
        np.savez_compressed(fresh, allow_pickle=False, **arrays)


def _check_sizes(pack: Pack) -> None:
    if not np.array_equal(pack.start, np.cumsum(pack.frames) - pack.frames):
        raise InputError("pack: start", expected="clips back to back", found="gaps or overlaps")
    total = int(pack.frames.sum())
    for name, size in (("quaternion", (len(ROTATIONS), 4)), ("root_m", (3,)), ("contact", (2,))):
        shape = getattr(pack, name).shape
        if shape != (total, *size):
            raise InputError(f"pack: {name}", expected=str((total, *size)), found=shape)


def read_pack(path: Path) -> Pack:
    """Read a pack. Raises FormatError that names the file and the field that is wrong."""
    arrays = read_arrays(path)
    found = str(arrays.get("format", "another tool's file"))
    if found != FORMAT:
        raise FormatError(str(path), expected=f"format {FORMAT!r}", found=found)
    _Checked(path, arrays).all()
    pack = _from_arrays(path, arrays)
    if _digest(pack) != pack.digest:
        raise FormatError(f"{path}: digest", expected=pack.digest, found=_digest(pack))
    return pack


def read_arrays(path: Path) -> dict[str, Any]:
    """All arrays of an .npz file without objects. Raises FormatError."""
    check_input_file(path)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except _NPZ_FAULTS as error:
        raise FormatError(str(path), expected="a sound .npz", found=error) from error


# ------------------------------------------------------------------------------------- checking
@dataclass(frozen=True)
class _Checked:
    """The tables of a file, held against what their words promise."""

    path: Path
    arrays: dict[str, Any]

    def all(self) -> None:
        clips = len(self.array("frames", "i8", (None,)))
        for name, kind in Pack.PER_CLIP.items():
            self.array(name, kind, (clips,))
        rows = len(self.array("zero_direction_m", "f4", (None, len(ROTATIONS), 3)))
        bones = len(self.array("bones", "U", (None,)))
        archives = len(self.array("licence", "U", (None,)))
        for name, kind, shape in (
            ("source", "i2", (bones,)),
            ("credit", "U", (archives,)),
            ("digest", "U", ()),
            ("motion", "u1", (None,)),
            ("contact", "u1", (None,)),
        ):
            self.array(name, kind, shape)
        self.range("frames", 1, None)
        self.range("split", 0, len(SPLITS) - 1)
        self.range("zero", 0, rows - 1)
        self.range("source", 0, len(ROTATIONS) - 1)
        for name in ("rate_hz", "leg_length_m"):
            self.range(name, 1e-3, 1e3)
        self.range("weight", 0, 1)

    def array(self, name: str, kind: str, shape: tuple[int | None, ...]) -> Any:
        """An array of that kind (U: texts) and shape (None: any size)."""
        if name not in self.arrays:
            raise FormatError(f"{self.path}: {name}", expected="this field", found="none")
        array = self.arrays[name]
        same = array.dtype.kind == "U" if kind == "U" else array.dtype == np.dtype(kind)
        fits = len(array.shape) == len(shape) and all(
            want in (None, size) for want, size in zip(shape, array.shape, strict=True)
        )
        if not (same and fits):
            words = f"{kind} {shape}".replace("None", "any")
            found = f"{array.dtype.str} {array.shape}"
            raise FormatError(f"{self.path}: {name}", expected=words, found=found)
        return array

    def range(self, name: str, low: float, high: float | None) -> None:
        array = self.arrays[name]
        bad = ~(array >= low) if high is None else ~((array >= low) & (array <= high))
        if bad.any():
            words = f"{low} or more" if high is None else f"{low} to {high}"
            raise FormatError(f"{self.path}: {name}", expected=words, found=array[bad][0])


def _from_arrays(path: Path, arrays: dict[str, Any]) -> Pack:
    frames = arrays["frames"]
    total, channels = int(frames.sum()), 3 * len(ROTATIONS) + 3
    unpacked = {}
    for name, kind, count in (("motion", np.int32, channels), ("contact", np.uint8, 2)):
        try:
            unpacked[name] = loosened(arrays[name], kind, (count, total))
        except FormatError as error:
            raise FormatError(f"{path}: {name}: {error}") from error
    quaternion, root_m = decoded(unpacked["motion"], frames)
    return Pack(
        quaternion=quaternion,
        root_m=root_m,
        contact=np.ascontiguousarray(unpacked["contact"].T),
        start=np.cumsum(frames) - frames,
        zero_direction_m=arrays["zero_direction_m"],
        source=arrays["source"],
        bones=tuple(map(str, arrays["bones"])),
        licence=tuple(map(str, arrays["licence"])),
        credit=tuple(map(str, arrays["credit"])),
        digest=str(arrays["digest"]),
        **{name: arrays[name] for name in Pack.PER_CLIP},
    )


def _digest(pack: Pack) -> str:
    """SHA-256 over names, kinds, shapes and contents of all fields but the digest."""
    sha = hashlib.sha256()
    for field in fields(pack):
        if field.name != "digest":
            array = np.ascontiguousarray(getattr(pack, field.name))
            if array.dtype.kind == "U":
                array = np.array("\0".join(array.reshape(-1).tolist()))
            sha.update(f"{field.name} {array.dtype.str} {array.shape}".encode())
            sha.update(array.tobytes())
    return sha.hexdigest()
