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
from typing import TYPE_CHECKING, Any

from poselift.errors import InputError, MissingExtraError, UnknownNameError, WeightsError
from poselift.models.records import LIFTERS, LifterInfo

if TYPE_CHECKING:
    from poselift.models.lifter import Lifter
    from poselift.models.network import Network

__all__ = ["DEFAULT", "LIFTERS", "LifterInfo", "build", "info", "load", "table"]
DEFAULT = "strided-27"


def info(name: str) -> LifterInfo:
    """The record of a lifter. Raises UnknownNameError, which lists the names."""
    if name not in LIFTERS:
        raise UnknownNameError("lifter", name, LIFTERS)
    return LIFTERS[name]


def build(name: str, **changes: object) -> "Network":
    """A network with fresh weights; `changes` go into its Config. Needs the extra `train`.

    Raises UnknownNameError (lifter, option), InputError where the lifter has no network.
    """
    record = info(name)
    if not record.target:
        raise InputError(name, expected="a lifter with a network", found="one that is fitted")
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


@cache
def weights_record(name: str) -> dict[str, Any] | None:
    """The JSON record of shipped weights (data, command, hash, measured error), or None."""
    file = files("poselift.models").joinpath("weights", f"{info(name).name}.json")
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def load(name: str = DEFAULT, *, threads: int = 0) -> "Lifter":
    """A lifter with shipped weights, ready to use, on so many threads (0: all).

    Raises UnknownNameError, and WeightsError where no weights are shipped or the hash is wrong.
    """
    from poselift.models.lifter import Lifter

    if info(name).target:
        return Lifter.from_onnx(weights_bytes(name), info(name), threads)
    from poselift.models import ppca

    return Lifter(ppca.as_run(ppca.shipped(), ppca.PpcaOptions(rotation="full")), info(name))


def weights_bytes(name: str) -> bytes:
    """The shipped graph of a lifter, checked against its hash.

    Raises UnknownNameError, and WeightsError where no weights are shipped or the hash is wrong.
    """
    record = weights_record(name)
    if record is None:
        shipped = [other for other in LIFTERS if weights_record(other)]
        raise WeightsError(f"no weights are shipped for {name}", known=shipped)
    with as_file(files("poselift.models").joinpath("weights", record["file"])) as path:
        content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != record["sha256"]:
        raise WeightsError(record["file"], expected=f"SHA-256 {record['sha256']}", found=digest)
    return content


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
