"""Where clips come from: archives, their licences, safe unpacking, and the files in them."""

import csv
import hashlib
import json
import lzma
import re
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from poselift.errors import FormatError, InputError, OutputError
from poselift.train.actions import action_of
from poselift.train.mocap import Asf, Motion, read_amc, read_asf, read_bvh
from poselift.train.pack import SPLITS
from poselift.train.uiprmd import recordings

CMU_RATE_HZ = 120.0  # of AMC files that no index lists
# Rates of listed files whose header or listing is wrong: the jumper of 16_01 falls at 1 g only at
# 60 Hz, and at 60 Hz salsa dancers would take over four steps a second.
_STORED_RATE_HZ = {"cmu_asfamc/16/16_01.amc": 60.0, "cmu_dance_martial_bvh/salsa/": 30.0}
# Clips (archive and subject or trial) that must not be used, and why.
_BROKEN = {
    "cmu_bvh_shared_skeleton/01_": "a sound left forearm (this conversion's is 110 degrees off)",
    "cmu_bvh_shared_skeleton/07_12": "feet near the floor (these sink by 0.8 m at 12 m/s)",
}


@dataclass(frozen=True)
class Archive:
    """What is known about a source of clips.

    weight: of its clips against those of `cmu_asfamc`. rate_hz: of slow motion, less is enough.
    apart: another laboratory's, for a test of its own.
    """

    weight: float
    licence: str
    credit: str
    rate_hz: float = 60.0
    apart: bool = False


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
        apart=True,
    ),
    "cmu_bvh_own_skeleton": Archive(1.0, *_CMU),
    "cmu_bvh_shared_skeleton": Archive(_DAZ, _CMU[0] + "; conversion MIT", _CMU[1]),
    "cmu_dance_martial_bvh": Archive(_DAZ, _CMU[0] + "; collection MIT", _CMU[1]),
    "snu_walking_bvh": Archive(
        0.5,
        "MIT",
        "Lee, Kim and Lee, Data-driven biped control, 2010, snumrl/DataDrivenBipedController",
    ),
    "uiprmd_50hz": Archive(
        0.3,  # ten exercises, ten times each, well and badly
        "PDDL 1.0",
        "Vakanski et al., UI-PRMD: a data set of human body movements for physical rehabilitation "
        "exercises, 2018",
        rate_hz=25.0,
    ),
}


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


def track_of(archive: str, subject: str) -> str:
    """The name of a subject's split; "cross-corpus" for clips of another laboratory."""
    return "cross-corpus" if ARCHIVES[archive].apart else SPLITS[split_of(subject)]


@dataclass(frozen=True)
class ClipFile:
    """A clip that is not read yet."""

    path: Path
    archive: str
    name: str
    subject: str
    trial: str
    action: str
    rate_hz: float | None  # as stored; None where the file says it


def clip_files(folder: Path, archive: str, index: dict[str, dict[str, str]]) -> list[ClipFile]:
    """All AMC and BVH files below a folder, in the order of their names; or all of UI-PRMD's file.

    Raises FormatError.
    """
    if folder.suffix == ".npz":
        return [
            ClipFile(folder, archive, f"{archive}/{trial}", subject, trial, action_of(text), None)
            for trial, subject, text in recordings(folder)
        ]
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".amc", ".bvh"))
    out = []
    for path in found:
        name = f"{archive}/{path.relative_to(folder).as_posix()}"
        row = index.get(name, {})
        rate = _rate_hz(name, row)
        subject, trial = _subject(path, archive)
        action = action_of(row.get("description") or name.split("/", 1)[1])
        out.append(ClipFile(path, archive, name, subject, trial, action, rate))
    return out


def _rate_hz(name: str, row: dict[str, str]) -> float | None:
    """Rate of a file: listed files of 100 Hz and more are stored at half their rate."""
    bvh = name.lower().endswith(".bvh")
    if not row:
        return None if bvh else CMU_RATE_HZ
    for start, rate in _STORED_RATE_HZ.items():
        if name.startswith(start):
            return rate
    if bvh:
        return None
    listed = float(row.get("fps") or CMU_RATE_HZ)
    return listed / 2 if listed >= 100 else listed


def _subject(path: Path, archive: str) -> tuple[str, str]:
    """(subject, trial): cmu_02 of 02_01.amc, hdm05_bd of HDM_bd_..., else folder or name."""
    words = path.stem.split("_")
    if archive.startswith("snu"):
        return "snu", path.stem
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
    for start, reason in _BROKEN.items():
        if clip.name.startswith(start):
            raise FormatError(clip.name, expected=reason)
    if clip.path.suffix.lower() == ".bvh":
        motion = read_bvh(clip.path, subject=clip.subject, trial=clip.trial)
        return motion if clip.rate_hz is None else replace(motion, rate_hz=clip.rate_hz)
    fitting = [p for p in clip.path.parent.glob("*.asf") if clip.path.stem.startswith(p.stem)]
    if not fitting:
        raise FormatError(
            str(clip.path), expected="an .asf in its folder whose name begins its own", found="none"
        )
    asf = _asf(max(fitting, key=lambda p: len(p.stem)))
    return read_amc(
        asf, clip.path, rate_hz=clip.rate_hz or CMU_RATE_HZ, subject=clip.subject, trial=clip.trial
    )


def read_index(path: Path) -> dict[str, dict[str, str]]:
    """Rows of an index.csv by the file that they describe; none without it. Raises FormatError."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if rows and None in (rows[0].get("file"), rows[0].get("fps")):
        raise FormatError(str(path), expected="columns file and fps", found=", ".join(rows[0]))
    return {row["file"]: row for row in rows}


def folders(
    source: Path, archives: Sequence[str], cache_dir: Path | None
) -> Iterator[tuple[str, Path]]:
    """(archive, unpacked folder, or UI-PRMD's .npz) of what `source` has of `archives`.

    A folder with none of them counts as files of CMU's own layout. Raises InputError.
    """
    unknown = [name for name in archives if name not in ARCHIVES]
    if unknown:
        raise InputError("archive", found=unknown[0], known=ARCHIVES)
    if not source.is_dir():
        raise InputError(str(source), expected="a folder", found="no folder")
    cache_dir = cache_dir or Path.home() / ".cache" / "poselift" / "mocap"
    found = False
    for name in archives:
        if (source / name).is_dir():
            found = True
            yield name, source / name
        elif (source / f"{name}.tar.xz").is_file():
            found = True
            yield name, unpack(source / f"{name}.tar.xz", cache_dir) / name
        elif (source / f"{name}.npz").is_file():
            found = True
            yield name, source / f"{name}.npz"
    if not found:
        yield "cmu_asfamc", source


def unpack(archive: Path, cache_dir: Path) -> Path:
    """Folder with an archive's content; unpacked only when not done yet. Raises FormatError."""
    stat = archive.stat()
    key = hashlib.sha256(f"{archive.name} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()
    folder = cache_dir / f"{archive.name.split('.')[0]}-{key[:12]}"
    if folder.is_dir():
        return folder
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_dir) as scratch:
            fresh = Path(scratch) / "content"
            with tarfile.open(archive) as tar:
                tar.extractall(fresh, filter="data")
            fresh.rename(folder)
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise FormatError(str(archive), expected="a sound tar.xz archive", found=error) from error
    except OSError as error:
        raise OutputError(str(cache_dir), expected="room to unpack", found=error) from error
    return folder
