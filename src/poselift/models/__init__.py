"""Lifters: a table of records, networks built from them, and lifters loaded with shipped weights.

A network (torch) is only needed to train or export; what the product loads is ONNX beside this
file, with a JSON record of how it was made and what it reaches.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import import_module
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any, Literal

from poselift.errors import MissingExtraError, UnknownNameError, WeightsError

if TYPE_CHECKING:
    from poselift.models.lifter import Lifter
    from poselift.models.network import Network

DEFAULT = "strided-27"


@dataclass(frozen=True)
class LifterInfo:
    """What is known about a lifter before it is loaded.

    frames: receptive field; gives: which of them one run returns; target: "module:Class" of the
    network, whose `Config` takes `config`.
    """

    name: str
    target: str
    frames: int
    parameters: int
    gives: Literal["centre", "all", "stream"]
    citation: str
    original_licence: str
    config: Mapping[str, object] = field(default_factory=dict)
    skeleton_in: str = "h36m17"
    skeleton_out: str = "h36m17"
    licence: str = "Apache-2.0"


_STRIDED = {
    "target": "poselift.models.strided:Strided",
    "gives": "centre",
    "citation": "Li et al., Exploiting Temporal Contexts with Strided Transformer, TMM 2022",
    "original_licence": "MIT",
}
_STRIDED_PARAMETERS = {27: 4_014_438, 81: 4_069_734, 243: 4_235_622, 351: 4_346_214}

LIFTERS: dict[str, LifterInfo] = {
    f"strided-{frames}": LifterInfo(
        name=f"strided-{frames}",
        frames=frames,
        parameters=parameters,
        config={"frames": frames},
        **_STRIDED,  # ty: ignore[invalid-argument-type]
    )
    for frames, parameters in _STRIDED_PARAMETERS.items()
}


def info(name: str) -> LifterInfo:
    """The record of a lifter. Raises UnknownNameError, which lists the names."""
    if name not in LIFTERS:
        raise UnknownNameError("lifter", name, LIFTERS)
    return LIFTERS[name]


def build(name: str, **changes: object) -> "Network":
    """A network with fresh weights; `changes` go into its Config. Needs the extra `train`."""
    record = info(name)
    module_name, _, class_name = record.target.partition(":")
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise MissingExtraError("torch", "train") from error
    return getattr(module, class_name)(module.Config(**{**record.config, **changes}))


@cache
def weights_record(name: str) -> dict[str, Any] | None:
    """The JSON record of shipped weights (data, command, hash, measured error), or None."""
    file = files("poselift.models").joinpath("weights", f"{info(name).name}.json")
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def load(name: str = DEFAULT) -> "Lifter":
    """A lifter with shipped weights, ready to use.

    Raises UnknownNameError, and WeightsError where no weights are shipped or the hash is wrong.
    """
    from poselift.models.lifter import Lifter

    record = weights_record(name)
    if record is None:
        shipped = [other for other in LIFTERS if weights_record(other)]
        raise WeightsError(f"no weights are shipped for {name}", known=shipped)
    with as_file(files("poselift.models").joinpath("weights", record["file"])) as path:
        content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != record["sha256"]:
        raise WeightsError(record["file"], expected=f"SHA-256 {record['sha256']}", found=digest)
    return Lifter.from_onnx(content, info(name))


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


def markdown() -> str:
    """The measured errors of shipped weights as a table for README, in mm."""
    lines = [
        "| lifter | track | MPJPE clean | noisy | P-MPJPE clean | noisy | mean pose, MPJPE |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in table():
        for track, errors in (row["measured"] or {}).items():
            kinds = [(k, m) for m in ("mpjpe_mm", "p_mpjpe_mm") for k in ("clean", "noisy")]
            values = [errors[kind][metric] for kind, metric in kinds]
            values.append(errors["mean_pose"]["mpjpe_mm"])
            cells = " | ".join(f"{value:.1f}" for value in values)
            lines.append(f"| {row['name']} | {track} | {cells} |")
    return "\n".join(lines)
