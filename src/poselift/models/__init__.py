"""Lifters: a table of records, networks built from them, and lifters loaded with shipped weights.

A network (torch) is only needed to train or export; what the product loads is ONNX beside this
file, with a JSON record of how it was made and what it reaches.
"""

import hashlib
import json
from dataclasses import asdict, fields
from functools import cache
from importlib import import_module
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from poselift.errors import InputError, MissingExtraError, UnknownNameError, WeightsError
from poselift.models.records import LIFTERS, LifterInfo
from poselift.models.stored import is_stored, read_info, read_record, record_path

if TYPE_CHECKING:
    from poselift.models.lifter import Lifter
    from poselift.models.network import Network
    from poselift.models.river_lifter import RiverLifter

__all__ = ["ALIASES", "DEFAULT", "LIFTERS", "LifterInfo", "build", "info", "load", "table"]
DEFAULT = "river"
ALIASES = {"river": "river-small"}  # a family by the size that is meant where none is named
Part = Literal["offline", "step", "network"]
# Where a record says which file a part is in, and that file's hash.
_FIELDS: dict[Part, tuple[str, str]] = {
    "offline": ("file", "sha256"),
    "step": ("step_file", "step_sha256"),
    "network": ("network_file", "network_sha256"),
}


def named(name: str | Path) -> str:
    """A lifter's full name for an alias, everything else as it is."""
    return ALIASES.get(str(name), str(name))


def info(name: str | Path) -> LifterInfo:
    """The record of a lifter of the table, or of weights by path.

    Raises UnknownNameError, which lists the names, and WeightsError (the path).
    """
    if named(name) in LIFTERS:
        return LIFTERS[named(name)]
    if is_stored(name):
        return read_info(name)
    raise UnknownNameError("lifter", str(name), [*LIFTERS, *ALIASES])


def build(name: str, **changes: object) -> "Network":
    """A network with fresh weights; `changes` go into its Config. Needs the extra `train`.

    Raises UnknownNameError (lifter, option), InputError where the lifter has no network.
    """
    record = info(name)
    if not record.target:
        raise InputError(name, expected="a lifter with a network", found="one without")
    module_name, _, class_name = record.target.partition(":")
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise MissingExtraError("torch", "train") from error
    known = [option.name for option in fields(module.Config)]
    for option in changes:
        if option not in known:
            raise UnknownNameError(f"option of {name}", option, known)
    return getattr(module, class_name)(module.Config(**{**record.config, **changes}))


def weights_record(name: str | Path) -> dict[str, Any] | None:
    """The JSON record of weights (command, hash, measured error), or None where none are shipped.

    Raises UnknownNameError, WeightsError (a path).
    """
    record = info(name)
    return _shipped(record.name) if record.name == named(name) else read_record(name)


@cache
def _shipped(name: str) -> dict[str, Any] | None:
    file = files("poselift.models").joinpath("weights", f"{name}.json")
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def load(name: str | Path = DEFAULT, *, threads: int = 0) -> "Lifter | RiverLifter":
    """A lifter with shipped weights, or with those at a path, on so many threads (0: all).

    A path is what `poselift import-weights` or `poselift ship` wrote. Raises UnknownNameError, and
    WeightsError where no weights are shipped, the path's cannot be read, or the hash is wrong.
    """
    from poselift.models.lifter import Lifter

    record = info(name)
    if record.gives == "stream":
        from poselift.models.river_lifter import RiverLifter

        model = weights_bytes(name)
        across, along = (weights_record(name) or {}).get("calibration", (1.0, 1.0))
        return RiverLifter.from_onnx(model, record, threads, (across, along))
    if named(name) not in LIFTERS or record.target:
        return Lifter.from_onnx(weights_bytes(name), record, threads)
    from poselift.models import ppca

    return Lifter(ppca.as_run(ppca.shipped(), ppca.PpcaOptions(rotation="full")), info(name))


def weights_bytes(name: str | Path, part: Part = "offline") -> bytes:
    """A file of a lifter, shipped or at a path, checked against its hash.

    part: the graph for whole clips, the step of a lifter that streams, or the network's weights
    (safetensors), from which training can start. Raises UnknownNameError, and WeightsError where
    no weights or no such part are shipped, the path's cannot be read, or the hash is wrong.
    """
    record = weights_record(name)
    if record is None:
        shipped = [other for other in LIFTERS if weights_record(other)]
        raise WeightsError(f"no weights are shipped for {name}", known=shipped)
    file, sha256 = (record.get(field) for field in _FIELDS[part])
    if file is None:
        raise WeightsError(f"{name}: {part}", expected="a file in its record", found="none")
    content = _content(name, file)
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise WeightsError(file, expected=f"SHA-256 {sha256}", found=digest)
    return content


def _content(name: str | Path, file: str) -> bytes:
    """Of a file that lies beside the record."""
    if named(name) in LIFTERS:
        with as_file(files("poselift.models").joinpath("weights", file)) as path:
            return path.read_bytes()
    path = record_path(name).with_name(Path(file).name)
    if not path.is_file():
        raise WeightsError(f"{path}", expected="the file of its record", found="none")
    return path.read_bytes()


def table() -> list[dict[str, Any]]:
    """One record per lifter, as printed by `poselift models --json`."""
    rows = []
    for lifter in LIFTERS.values():
        weights = weights_record(lifter.name)
        row = asdict(lifter) | {"shipped": weights is not None}
        row["measured"] = weights["measured"] if weights else None
        row["weights"] = weights
        del row["target"]
        rows.append(row)
    return rows


_SHOWN = ("clean", "real", "hard", "rendered", "cross-corpus")


def markdown() -> str:
    """The measured errors of shipped weights as a table for README: MPJPE / P-MPJPE in mm."""
    lines = [f"| lifter | {' | '.join(_SHOWN)} |", "|---" * (1 + len(_SHOWN)) + "|"]
    for row in table():
        if row["measured"]:
            cells = (error_mm(row, track) for track in _SHOWN)
            lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def error_mm(row: dict[str, Any], track: str) -> str:
    """MPJPE / P-MPJPE in mm of a row of `table` on a track, "-" where it was not measured."""
    errors = (row["measured"] or {}).get(track)
    return f"{errors['mpjpe_mm']:.1f} / {errors['p_mpjpe_mm']:.1f}" if errors else "-"
