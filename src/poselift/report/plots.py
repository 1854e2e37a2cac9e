"""Pictures of results: one function makes one figure of a board, or None where nothing is known."""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from poselift.report.board import Board, Runner
from poselift.report.canvas import (
    COLOURS,
    INK,
    MARKERS,
    MIDDLE,
    dash,
    finish,
    legend,
    look,
    new_figure,
    style,
    turn_labels,
    values,
)
from poselift.report.labels import place_labels
from poselift.report.measures import COVERAGE_PERCENT, PCK_CURVE_MM, large
from poselift.report.records import Record
from poselift.skeleton import skeleton

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_BARS = 5  # lifters in a picture of bars; more cannot be told apart
ROW_LABELS = 14  # labels of strata beside each other
ROW_LETTERS = 70  # of labels below one panel, before they are written aslant
_COST_SPAN = 10.0  # a cost axis spans at least that factor, and so at least one of its ticks
_LATE = re.compile(r"live, (\d+) frames late")
_JOINTS = (
    *("nose", "head_top", "thorax", "spine", "right_hip", "left_hip"),
    *("right_knee", "left_knee", "right_ankle", "left_ankle"),
    *("right_shoulder", "left_shoulder", "right_elbow", "left_elbow"),
    *("right_wrist", "left_wrist"),
)


def error_by_track(board: Board) -> "Figure | None":
    """MPJPE on every track, a dot with its interval for every lifter."""
    groups = {
        track: [board.get(r, track, "mpjpe_mm") for r in board.runners] for track in board.tracks
    }
    return _dots(board, {"": groups}, "Error by track", "MPJPE (mm)")


def error_by_stratum(board: Board) -> "Figure | None":
    """MPJPE by strata of the headline track, a panel for every kind."""
    track = board.headline
    panels = {
        kind: {
            label: [board.get(r, track, "mpjpe_mm", f"{kind}:{label}") for r in board.runners]
            for label in labels
        }
        for kind, labels in board.strata(track).items()
    }
    return _dots(board, panels, f"Error by stratum, track {track}", "MPJPE (mm)")


def error_by_joint(board: Board) -> "Figure | None":
    """Mean error of every joint on the headline track, bars for the best few lifters."""
    track = board.headline
    every = [joint for joint in skeleton("body28").joints if joint not in _JOINTS]
    joints = [
        joint
        for joint in (*_JOINTS, *every)
        if any(board.get(r, track, "mpjpe_mm", f"joint:{joint}") for r in board.runners)
    ]
    if not joints:
        return None
    runners = board.with_records(track, "mpjpe_mm", f"joint:{joints[0]}")[:MOST_BARS]
    figure = new_figure(9.5, 4.4)
    axes = figure.add_subplot()
    width = 0.82 / len(runners)
    for number, runner in enumerate(runners):
        records = [board.get(runner, track, "mpjpe_mm", f"joint:{joint}") for joint in joints]
        x = np.arange(len(joints)) + (number - (len(runners) - 1) / 2) * width
        y, bars = values(records)
        colour, _ = look(board, runner)
        axes.bar(x, y, 0.9 * width, color=colour, label=board.label(runner), linewidth=0)
        axes.errorbar(x, y, bars, fmt="none", ecolor=INK, elinewidth=0.8)
    axes.set_xticks(np.arange(len(joints)), [joint.replace("_", " ") for joint in joints])
    axes.tick_params(axis="x", length=0)
    turn_labels(axes, 45)
    finish(axes, f"Error by joint, track {track}", "", "mean distance (mm)", grid="y")
    axes.set_ylim(bottom=0)
    legend(figure, axes)
    return figure


def error_by_cost(board: Board) -> "Figure | None":
    """MPJPE on the headline track over multiply-adds and over time, both logarithmic.

    Live lifters are in it where no other is; else `error_by_delay` shows what they lose.
    """
    columns = {
        "macs_per_frame": "multiply-adds per frame",
        "ms_per_frame": "milliseconds per frame",
    }
    rows = [
        (runner, cost, record)
        for runner in board.runners
        if (cost := board.cost(runner))
        and (record := board.get(runner, board.headline, "mpjpe_mm"))
    ]
    rows = [row for row in rows if not _LATE.fullmatch(row[0].mode)] or rows
    shown = [name for name in columns if any(getattr(cost, name) > 0 for _, cost, _ in rows)]
    if not shown:
        return None
    figure = new_figure(1.5 + 4.6 * len(shown), 4.4)
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    drawn = []
    for axes, name in zip(panels, shown, strict=True):
        points = [(runner, getattr(cost, name), record) for runner, cost, record in rows]
        points = [point for point in points if point[1] > 0]
        _scatter(board, axes, points)
        first = axes is panels[0]
        title = f"Error and cost, track {board.headline}" if first else ""
        finish(axes, title, columns[name], "MPJPE (mm)" if first else "", grid="both")
        drawn.append((axes, points))
    for axes, points in drawn:
        _name(board, axes, points)
    return figure


def error_by_delay(board: Board) -> "Figure | None":
    """MPJPE of live lifters over how late they answer, and of the whole clip; a line per track."""
    live: dict[str, dict[int, Runner]] = {}
    for runner in board.runners:
        if late := _LATE.fullmatch(runner.mode):
            live.setdefault(runner.lifter.rpartition("@")[0], {})[int(late[1])] = runner
    live = {lifter: runners for lifter, runners in live.items() if len(runners) > 1}
    if not live:
        return None
    figure = new_figure(1.8 + 4.2 * len(live), 4.4)
    panels = figure.subplots(1, len(live), sharey=True, squeeze=False)[0]
    for axes, (lifter, runners) in zip(panels, live.items(), strict=True):
        first = axes is panels[0]
        _delay_panel(board, axes, lifter, runners)
        title = "Error by delay" if first else ""
        finish(axes, title, f"{lifter}: frames late", "MPJPE (mm)" if first else "", grid="y")
    legend(figure, figure.axes[0], beside=True)
    return figure


def _delay_panel(board: Board, axes: "Axes", lifter: str, runners: dict[int, Runner]) -> None:
    delays = sorted(runners)
    rows = [*(runners[delay] for delay in delays), Runner(lifter, "offline")]
    judged = [t for t in board.tracks if all(board.get(r, t, "mpjpe_mm") for r in rows[:-1])]
    for place, track in enumerate(judged):
        # Without intervals: they are of the clips, which all delays share.
        y, _ = values([board.get(row, track, "mpjpe_mm") for row in rows])
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        axes.plot(
            np.arange(len(rows)),
            y,
            color=colour,
            marker=marker,
            markeredgecolor="white",
            label=track,
        )
    axes.set_xticks(np.arange(len(rows)), [*map(str, delays), "whole clip"])
    axes.axvline(len(delays) - 0.5, color=MIDDLE, linewidth=1, linestyle=(0, (4, 3)))


def pck_curves(board: Board) -> "Figure | None":
    """Share of joints within a distance, on the headline track."""
    names = [f"pck_{mm}" for mm in PCK_CURVE_MM]
    return _curves(
        board, names, list(PCK_CURVE_MM), "Joints within a distance", "distance (mm)", "PCK (%)"
    )


def reliability(board: Board) -> "Figure | None":
    """Claimed against found share of truths; honest lifters lie on the diagonal."""
    names = [f"coverage_{percent}" for percent in COVERAGE_PERCENT]
    figure = _curves(
        *(board, names, list(COVERAGE_PERCENT), "Reliability of the claimed uncertainty"),
        *("claimed share of truths (%)", "found share (%)"),
    )
    if figure:
        axes = figure.axes[0]
        axes.plot([0, 100], [0, 100], color=MIDDLE, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
        for x, y, text in ((28, 88, "too cautious"), (72, 10, "too sure")):
            axes.text(x, y, text, ha="center", color="#57606a", style="italic")
    return figure


# File name, caption and maker of every picture.
PLOTS: dict[str, tuple[str, Callable[[Board], "Figure | None"]]] = {
    "tracks": ("Error by track", error_by_track),
    "cost": ("Error and cost", error_by_cost),
    "delay": ("Error by delay", error_by_delay),
    "joints": ("Error by joint", error_by_joint),
    "strata": ("Error by stratum", error_by_stratum),
    "pck": ("Joints within a distance", pck_curves),
    "reliability": ("Reliability of the claimed uncertainty", reliability),
}


def draw(board: Board) -> dict[str, "Figure"]:
    """All pictures that the records of a board allow, by name. Raises MissingExtraError."""
    with style():
        made = {name: make(board) for name, (_, make) in PLOTS.items()}
    return {name: figure for name, figure in made.items() if figure is not None}


Panels = dict[str, dict[str, list[Record | None]]]  # panel, label on the axis, one per runner


def _dots(board: Board, panels: Panels, title: str, what: str) -> "Figure | None":
    """Dots with intervals beside each other, one per lifter, over the labels of every panel."""
    panels = {name: group for name, group in panels.items() if any(map(any, group.values()))}
    if not panels:
        return None
    together = [records for group in panels.values() for records in group.values()]
    places = [n for n in range(len(board.runners)) if any(records[n] for records in together)]
    rows = _rows(panels)
    figure = new_figure(9.5, 0.9 + 3.2 * len(rows))
    grids = figure.add_gridspec(len(rows), 1)
    for row, names in enumerate(rows):
        widths = [len(panels[name]) + 0.6 for name in names]
        grid = grids[row].subgridspec(1, len(names), width_ratios=widths)
        shared = None
        for column, name in enumerate(names):
            axes = figure.add_subplot(grid[column], sharey=shared)
            shared = shared or axes
            _dot_panel(board, axes, panels[name], places)
            heading = title if row == column == 0 else ""
            finish(axes, heading, name, what if column == 0 else "", grid="y")
            axes.tick_params(axis="x", length=0)
            axes.tick_params(axis="y", labelleft=column == 0)
    legend(figure, figure.axes[0])
    return figure


def _rows(panels: Panels) -> list[list[str]]:
    """Panels beside each other as long as their labels fit."""
    rows: list[list[str]] = [[]]
    for name in sorted(panels, key=lambda name: len(panels[name])):
        used = sum(len(panels[other]) for other in rows[-1])
        if rows[-1] and used + len(panels[name]) > ROW_LABELS:
            rows.append([])
        rows[-1].append(name)
    return rows


def _dot_panel(
    board: Board, axes: "Axes", group: dict[str, list[Record | None]], places: Sequence[int]
) -> None:
    """The rows at those places of the board, beside each other over every label."""
    step = min(0.12, 0.7 / len(places))
    for number, place in enumerate(places):
        runner = board.runners[place]
        x = np.arange(len(group)) + (number - (len(places) - 1) / 2) * step
        y, bars = values([records[place] for records in group.values()])
        colour, marker = look(board, runner)
        axes.errorbar(
            *(x, y, bars),
            fmt=marker,
            color=colour,
            elinewidth=1.2,
            markeredgecolor="white",
            markeredgewidth=0.5,
            label=board.label(runner),
        )
    axes.set_xlim(-0.6, len(group) - 0.4)
    axes.set_xticks(np.arange(len(group)), list(group))
    if sum(map(len, group)) > ROW_LETTERS:
        turn_labels(axes, 40)


Point = tuple[Runner, float, Record]


def _scatter(board: Board, axes: "Axes", points: Sequence[Point]) -> None:
    for runner, x, record in points:
        colour, marker = look(board, runner)
        _, bars = values([record])
        axes.errorbar(
            *(x, record.value, bars),
            fmt=marker,
            color=colour,
            markersize=7.5,
            elinewidth=1.2,
            markeredgecolor="white",
            markeredgewidth=0.6,
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: large(value))
    axes.xaxis.set_minor_formatter("")
    axes.margins(x=0.16, y=0.16)
    # Costs that hardly differ would spread over the whole width, with ticks that say nothing.
    least, most = (choose(x for _, x, _ in points) for choose in (min, max))
    if most < _COST_SPAN * least:
        middle = (least * most) ** 0.5
        axes.set_xlim(middle / _COST_SPAN**0.6, middle * _COST_SPAN**0.6)


def _name(board: Board, axes: "Axes", points: Sequence[Point]) -> None:
    """Write the lifters' names beside their points, once both panels have their final limits."""
    names = [board.label(runner) for runner, _, _ in points]
    colours = [look(board, runner)[0] for runner, _, _ in points]
    place_labels(axes, [(x, record.value) for _, x, record in points], names, colours)


def _curves(
    board: Board, names: Sequence[str], x: Sequence[float], title: str, across: str, up: str
) -> "Figure | None":
    """A line with its band for every lifter that has those metrics on the headline track."""
    track = board.headline
    runners = [r for r in board.runners if any(board.get(r, track, name) for name in names)]
    if not runners:
        return None
    figure = new_figure(6.8, 4.6)
    axes = figure.add_subplot()
    for runner in runners:
        y, bars = values([board.get(runner, track, name) for name in names])
        colour, marker = look(board, runner)
        axes.fill_between(x, y - bars[0], y + bars[1], color=colour, alpha=0.15, linewidth=0)
        axes.plot(
            *(x, y),
            color=colour,
            linestyle=dash(board, runner),
            marker=marker,
            markeredgecolor="white",
            markeredgewidth=0.5,
            clip_on=False,
            label=board.label(runner),
        )
    finish(axes, f"{title}, track {track}", across, up, grid="both")
    axes.set(xlim=(0, max(x)), ylim=(0, 100))
    legend(figure, axes, beside=True)
    return figure
