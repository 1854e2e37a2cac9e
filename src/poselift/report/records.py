"""Results on file: records of metrics and of costs, read strictly, merged and chosen from.

`results.json` is {"records": [...], "costs": [...], "meta": {...}}, one record a line, sorted, so
that two versions can be compared line by line.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, TypeVar

from poselift.errors import FormatError, UnknownNameError
from poselift.io.files import atomic, check_input_file
from poselift.report.measures import metric, track_order

ALL = "all"


@dataclass(frozen=True)
class Record:
    """One number: a lifter's metric on a track of a benchmark, with its interval over `seeds` runs.

    mode: how the lifter was run ("offline", "live", ...). stratum: "all", "joint:left_wrist" or
    "view:front". Units by `report.measures.METRICS`. command: what makes the number.
    Raises FormatError (another type, not finite, low above high, no seeds), UnknownNameError.
    """

    lifter: str
    benchmark: str
    track: str
    mode: str
    metric: str
    value: float
    low: float
    high: float
    seeds: int
    stratum: str = ALL
    command: str = ""

    def __post_init__(self) -> None:
        _check_types(self)
        metric(self.metric)
        if self.low > self.high:
            raise FormatError(
                f"{self.lifter} {self.metric}",
                expected="low <= high",
                found=f"{self.low} and {self.high}",
            )
        if self.seeds < 1:
            raise FormatError(f"{self.lifter} {self.metric}", expected="seeds >= 1", found="0")

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two records the same measurement."""
        names = ("lifter", "benchmark", "track", "mode", "stratum", "metric")
        return tuple(getattr(self, name) for name in names)


@dataclass(frozen=True)
class Cost:
    """What a lifter costs: multiply-adds and milliseconds per answered frame on `threads` threads.

    receptive_frames: the frames that one answer looks at. Raises FormatError.
    """

    lifter: str
    parameters: int
    macs_per_frame: float
    ms_per_frame: float
    threads: int
    receptive_frames: int

    def __post_init__(self) -> None:
        _check_types(self)
        for name in ("parameters", "macs_per_frame", "ms_per_frame", "threads", "receptive_frames"):
            if getattr(self, name) < 0:
                raise FormatError(
                    f"cost of {self.lifter}: {name}", expected=">= 0", found=getattr(self, name)
                )

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two costs the same measurement."""
        return (self.lifter, f"{self.threads:4d}")


@dataclass(frozen=True)
class Results:
    """Records and costs, each key once (the later one counts) in a fixed order; meta: free text."""

    records: tuple[Record, ...] = ()
    costs: tuple[Cost, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        records = {record.key: record for record in self.records}
        costs = {cost.key: cost for cost in self.costs}
        object.__setattr__(self, "records", tuple(sorted(records.values(), key=_order)))
        object.__setattr__(self, "costs", tuple(costs[key] for key in sorted(costs)))

    def merged(self, newer: "Results") -> "Results":
        """Both together; where both have a key, the newer one stays."""
        meta = {**self.meta, **newer.meta}
        return Results((*self.records, *newer.records), (*self.costs, *newer.costs), meta)

    def select(self, **wanted: str | Iterable[str]) -> tuple[Record, ...]:
        """Records whose fields are as wanted, by one text or a choice of several.

        `select(track="real", metric=("mpjpe_mm", "auc"))`. Raises UnknownNameError for a field.
        """
        names = [each.name for each in fields(Record) if each.type is str]
        for name in wanted:
            if name not in names:
                raise UnknownNameError("field of records", name, names)
        choices = {k: {v} if isinstance(v, str) else set(v) for k, v in wanted.items()}
        return tuple(
            record
            for record in self.records
            if all(getattr(record, name) in choice for name, choice in choices.items())
        )

    def cost(self, lifter: str) -> Cost | None:
        """The cost of a lifter on the fewest threads, None where it was not measured."""
        return next((cost for cost in self.costs if cost.lifter == lifter), None)


def read_results(path: str | os.PathLike[str]) -> Results:
    """Results that `write_results` wrote. Raises FormatError, which names the record."""
    path = check_input_file(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(str(path), expected="JSON", found=str(error)) from error
    if not isinstance(document, dict) or set(document) != {"records", "costs", "meta"}:
        found = sorted(document) if isinstance(document, dict) else type(document).__name__
        raise FormatError(str(path), expected="an object of records, costs and meta", found=found)
    meta = document["meta"]
    texts = isinstance(meta, dict) and all(isinstance(text, str) for text in meta.values())
    if not texts:
        raise FormatError(f"{path}: meta", expected="an object of texts", found=meta)
    records = _rows(Record, document["records"], f"{path}: records")
    return Results(records, _rows(Cost, document["costs"], f"{path}: costs"), meta)


def write_results(results: Results, path: str | os.PathLike[str]) -> None:
    """Write results as JSON, whole or not at all. Raises OutputError."""
    with atomic(path) as part:
        part.write_text(to_json(results), encoding="utf-8")


def to_json(results: Results) -> str:
    """Results as text: one record a line, always in the same order."""
    return (
        "{\n"
        f'"records": {_lines(results.records)},\n'
        f'"costs": {_lines(results.costs)},\n'
        f'"meta": {json.dumps(dict(results.meta), indent=2, sort_keys=True, ensure_ascii=False)}\n'
        "}\n"
    )


def rounded(value: float) -> float:
    """Six digits: more than any of these numbers knows, and files stay small."""
    return float(f"{value:.6g}")


Row = TypeVar("Row", Record, Cost)


def _rows(kind: type[Row], rows: object, where: str) -> tuple[Row, ...]:
    if not isinstance(rows, list):
        raise FormatError(where, expected="a list", found=type(rows).__name__)
    return tuple(_row(kind, row, f"{where}[{number}]") for number, row in enumerate(rows))


def _row(kind: type[Row], row: Any, where: str) -> Row:
    if not isinstance(row, dict):
        raise FormatError(where, expected="an object", found=type(row).__name__)
    known = {each.name: each for each in fields(kind)}
    for name in row:
        if name not in known:
            raise FormatError(f"{where}: unknown field", found=repr(name), known=known)
    for name, each in known.items():
        if each.default is MISSING and name not in row:
            raise FormatError(where, expected=f"field {name}", found=sorted(row))
    try:
        return kind(**row)
    except (FormatError, UnknownNameError) as error:
        raise FormatError(f"{where}: {error}") from error


def _check_types(row: Record | Cost) -> None:
    for each in fields(row):
        value, what = getattr(row, each.name), f"{type(row).__name__}.{each.name}"
        if each.type is float:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not math.isfinite(value):
                raise FormatError(what, expected="a finite number", found=repr(value))
        elif each.type is int and type(value) is not int:  # True is no number here
            raise FormatError(what, expected="a whole number", found=repr(value))
        elif each.type is str and not isinstance(value, str):
            raise FormatError(what, expected="text", found=repr(value))
        elif value == "" and each.default is MISSING:
            raise FormatError(what, expected="a name", found="nothing")


def _order(record: Record) -> tuple[object, ...]:
    overall = record.stratum != ALL
    return (record.benchmark, track_order(record.track), overall, *record.key)


def _lines(rows: Iterable[Record | Cost]) -> str:
    lines = [
        json.dumps({k: v for k, v in asdict(row).items() if v != ""}, ensure_ascii=False)
        for row in rows
    ]
    return "[\n" + ",\n".join(lines) + "\n]" if lines else "[]"
