"""Weights as files of the user's: an ONNX graph and the JSON record beside it, named by path.

`poselift import-weights` and `poselift ship` write such pairs. A path is that of the graph, of the
record, or of a folder that holds one pair.
"""

import json
from pathlib import Path
from typing import Any

from poselift.errors import WeightsError
from poselift.models.records import LifterInfo


def is_stored(name: str | Path) -> bool:
    """Whether this is a path of weights, and no name."""
    path = Path(name)
    return path.suffix in (".onnx", ".json") or (path.is_dir() and any(path.glob("*.onnx")))


def record_path(name: str | Path) -> Path:
    """The record's file. Raises WeightsError where there is none, or several in a folder."""
    path = Path(name)
    if not path.is_dir():
        found = path.with_suffix(".json")
    else:
        graphs = sorted(path.glob("*.onnx"))
        # The step of a stream lies beside the graph for whole clips and shares its record.
        graphs = [graph for graph in graphs if graph.with_suffix(".json").is_file()] or graphs
        if len(graphs) != 1:
            known = [graph.name for graph in graphs]
            raise WeightsError(
                f"{path}",
                expected="the path of one graph",
                found="a folder of several",
                known=known,
            )
        found = graphs[0].with_suffix(".json")
    if not found.is_file():
        raise WeightsError(f"{path}", expected=f"a record {found.name} beside the graph")
    return found


def read_record(name: str | Path) -> dict[str, Any]:
    """The record: name, file, sha256, lifter and whatever else. Raises WeightsError."""
    path = record_path(name)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        missing = [field for field in ("file", "sha256", "lifter") if field not in record]
    except (ValueError, TypeError) as error:
        raise WeightsError(
            f"{path}", expected="a record of weights in JSON", found=error
        ) from error
    if missing:
        raise WeightsError(
            f"{path}", expected="a record of weights", found=f"none of its {', '.join(missing)}"
        )
    return record


def read_info(name: str | Path) -> LifterInfo:
    """What the record says of the lifter; it has no network to train. Raises WeightsError."""
    lifter = read_record(name)["lifter"]
    try:
        return LifterInfo(**lifter, target="")
    except TypeError as error:
        raise WeightsError(
            f"{record_path(name)}", expected="the fields of a lifter", found=error
        ) from error
