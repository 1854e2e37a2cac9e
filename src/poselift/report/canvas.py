"""How all pictures look: figures, colours and markers of lifters, axes, legends, PNG.

matplotlib is imported inside the functions, when the first picture is drawn. A lifter has one
colour and one marker in all pictures of a board. The colours are those of Okabe and Ito, which stay
apart for all common kinds of colour blindness; markers tell apart what colours do not.
"""

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from poselift.errors import MissingExtraError
from poselift.geometry import Array
from poselift.io.files import atomic
from poselift.report.board import Board, Runner
from poselift.report.records import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#1b1f24")
MARKERS = ("o", "s", "^", "D", "v", "p", "<", ">", "h")
INK, MIDDLE, FAINT = "#24292f", "#8c959f", "#e6e9ed"
DPI = 150
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10.0,
    "axes.edgecolor": MIDDLE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "figure.facecolor": "white",
}


@contextmanager
def style() -> Generator[None, None, None]:
    """What is drawn inside looks like all pictures, whatever the user's settings are.

    Raises MissingExtraError where matplotlib is not installed.
    """
    try:
        from matplotlib.style import context
    except ImportError as error:
        raise MissingExtraError("matplotlib", "report") from error
    with context(["default", _STYLE]):
        yield


def new_figure(width_in: float, height_in: float) -> "Figure":
    """An empty figure that no window knows of, with a layout that leaves room for all texts."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, the same bytes for the same records. Raises OutputError."""
    with style(), atomic(path) as part:
        figure.savefig(part, format="png", metadata={"Software": None})


def look(board: Board, runner: Runner) -> tuple[str, str]:
    """Colour and marker of a row, by its place on the board."""
    place = board.runners.index(runner)
    return COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]


def dash(board: Board, runner: Runner) -> str:
    """Style of a row's line: dashed once all colours are in use."""
    return "-" if board.runners.index(runner) < len(COLOURS) else "--"


def values(records: Sequence[Record | None]) -> tuple[Array, Array]:
    """Values (N) and the lengths of their bars (2, N), down and up; NaN without a record."""
    rows = [(r.value, r.low, r.high) if r else (np.nan,) * 3 for r in records]
    value, low, high = np.array(rows, dtype=np.float64).T
    return value, np.stack([np.maximum(value - low, 0), np.maximum(high - value, 0)])


def finish(
    axes: "Axes", title: str, across: str, up: str, *, grid: Literal["x", "y", "both"]
) -> None:
    """Title, names of the axes and grid."""
    axes.set(title=title, xlabel=across, ylabel=up)
    axes.grid(visible=True, axis=grid)


def turn_labels(axes: "Axes", degrees: float) -> None:
    """Write the names below an axis aslant, each ending at its tick."""
    for text in axes.get_xticklabels():
        text.set(rotation=degrees, ha="right", rotation_mode="anchor")


def legend(figure: "Figure", axes: "Axes", *, beside: bool = False) -> None:
    """One legend of all lifters, beside or below the whole figure."""
    handles, labels = axes.get_legend_handles_labels()
    if beside:
        figure.legend(handles, labels, loc="outside right center")
        return
    # 0.07 inches for a letter and 0.7 for marker and space.
    width_in = 0.07 * max(map(len, labels)) + 0.7
    columns = max(1, min(len(labels), int(figure.get_figwidth() / width_in)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
