"""A report in a folder: JSON for programs, Markdown and pictures for people."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from poselift.io.files import atomic, check_output_folder
from poselift.report.board import Board, benchmarks
from poselift.report.canvas import save
from poselift.report.markdown import report
from poselift.report.plots import PLOTS, draw
from poselift.report.records import Results, write_results

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_report(
    folder: str | os.PathLike[str],
    results: Results,
    title: str,
    *,
    name: str = "report",
    pictures: bool = True,
) -> list[Path]:
    """Write NAME.json, NAME.md and NAME-*.png and give their paths.

    Every file appears whole or not at all, the JSON first and the Markdown, which shows the
    pictures, last. Without `pictures` matplotlib is not needed. Raises OutputError,
    MissingExtraError (before anything is written).
    """
    folder = check_output_folder(folder)
    figures: dict[Path, Figure] = {}
    shown: dict[str, list[tuple[str, str]]] = {}
    names = benchmarks(results)
    for benchmark in names if pictures else ():
        of = f"{_plain(benchmark)}-" if len(names) > 1 else ""
        for plot, figure in draw(Board(results, benchmark)).items():
            path = folder / f"{name}-{of}{plot}.png"
            figures[path] = figure
            shown.setdefault(benchmark, []).append((path.name, PLOTS[plot][0]))
    numbers, text = folder / f"{name}.json", folder / f"{name}.md"
    write_results(results, numbers)
    for path, figure in figures.items():
        save(figure, path)
    with atomic(text) as part:
        part.write_text(report(results, title, shown), encoding="utf-8")
    return [numbers, *figures, text]


def _plain(name: str) -> str:
    """A name as part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
