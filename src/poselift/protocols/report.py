"""Report: our row beside the published ones, as Markdown for people and JSON for programs."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from poselift.io.files import atomic
from poselift.protocols.conventions import Conventions
from poselift.protocols.scoring import Table

MEANINGS = {
    "MPJPE": "MPJPE (protocol 1), mm",
    "P-MPJPE": "P-MPJPE (protocol 2), mm",
    "N-MPJPE": "N-MPJPE, mm",
    "MPJVE": "MPJVE, mm per frame",
    "PCK": "PCK at 150 mm, %",
    "AUC": "AUC of PCK over 0, 5, ..., 150 mm, %",
}


@cache
def published(protocol: str) -> list[dict[str, Any]]:
    """Published rows of a protocol: model, input, frames, metrics, convention, source."""
    file = files("poselift.protocols").joinpath("tables", "published.json")
    return json.loads(file.read_text(encoding="utf-8"))[protocol]


@dataclass(frozen=True, eq=False)
class Report:
    """What a run of a protocol gave. `input` is the papers' word for the 2D, None if unknown."""

    protocol: str
    title: str
    model: str
    detections: str
    input: str | None
    preset: str
    conventions: Conventions
    table: Table
    short: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def published(self) -> list[dict[str, Any]]:
        """The published rows on the same 2D (all rows where the 2D is of an unknown kind)."""
        rows = published(self.protocol)
        return [row for row in rows if self.input in (None, row["input"])]

    def to_json(self) -> dict[str, Any]:
        """Everything, for programs; NaN becomes None."""
        scores = {
            kind: {column: None if math.isnan(v) else round(v, 4) for column, v in row.items()}
            for kind, row in self.table.scores.items()
        }
        return {
            "protocol": self.protocol,
            "title": self.title,
            "model": self.model,
            "detections": self.detections,
            "input": self.input,
            "preset": self.preset,
            "conventions": self.conventions.to_json(),
            "scores": scores,
            "frames": self.table.frames,
            "missed": self.table.missed,
            "notes": list(self.notes),
            "published": self.published,
        }

    def markdown(self) -> str:
        """A table per metric: our row first, then the published ones."""
        lines = [f"# {self.title}", ""]
        lines += [f"{self.model} on 2D `{self.detections}`, conventions of `{self.preset}`."]
        lines += [f"- {note}" for note in self.notes]
        for kind in self.table.scores:
            lines += ["", f"## {MEANINGS[kind]}", "", *self._rows(kind)]
        return "\n".join(lines) + "\n"

    def _rows(self, kind: str) -> Iterator[str]:
        columns = list(self.table.scores[kind])
        shown = [self._short(column) for column in columns]
        yield _line(["model", "2D", "frames", *shown, "conventions", "source"])
        yield "|" + "---|" * (len(columns) + 5)
        ours = self.table.scores[kind]
        cells = [_number(kind, ours[column]) for column in columns]
        known = self.input or self.detections
        yield _line([f"**{self.model}**", known, "", *cells, self.preset, "this run"])
        for row in self.published:
            values = row["metrics"].get(kind, {})
            cells = [_number(kind, values.get(column, math.nan)) for column in columns]
            # An average over other columns than ours says nothing beside ours.
            if set(cells) == {"–"} or (self.conventions.by_subject and set(cells[:-1]) == {"–"}):
                continue
            about = [row["model"], row["input"], str(row.get("frames", "–"))]
            yield _line([*about, *cells, row.get("convention", "–"), row["source"]])

    def _short(self, column: str) -> str:
        subject, _, action = column.rpartition(" ")
        return f"{subject} {self.short.get(action, action)}".strip()

    def write(self, folder: Path) -> list[Path]:
        """Write PROTOCOL_DETECTIONS.md and .json. Raises OutputError."""
        name = f"{self.protocol}_{self.detections}"
        texts = {".md": self.markdown(), ".json": json.dumps(self.to_json(), indent=2) + "\n"}
        paths = []
        for suffix, text in texts.items():
            with atomic(folder / f"{name}{suffix}") as path:
                path.write_text(text, encoding="utf-8")
            paths.append(folder / f"{name}{suffix}")
        return paths


def _number(kind: str, value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}" if kind == "MPJVE" else f"{value:.1f}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def notes(
    table: Table, how: Conventions, preset: Conventions, left_out: Sequence[str], truth: bool
) -> list[str]:
    """What a reader must know beside the numbers. left_out: published subjects not judged here."""
    out = []
    if left_out:
        out.append(f"published rows are also of {', '.join(left_out)}, which was left out here")
    changed = {k: v for k, v in how.to_json().items() if v != preset.to_json()[k]}
    if changed:
        out.append("changed conventions: " + ", ".join(f"{k}={v}" for k, v in changed.items()))
    total = sum(table.frames.values())
    out.append(f"{total:,} frames count, {table.missed:,} of them have no answer")
    if table.missed:
        out.append("frames without an answer are in no error; in PCK and AUC they are wrong")
    if truth:
        out.append("the truth itself was judged: errors must be 0")
    else:
        out.append(
            "a lifter trained on other data places hips, spine and head elsewhere in the body: "
            "part of MPJPE is this, less of P-MPJPE"
        )
    return out
