"""The picture of docs/recurrence.md from its times and the study's results.

python scripts/plot_recurrence.py TIMES.json docs/results.json -o docs/recurrence.png
"""

import argparse
import json
from pathlib import Path

import numpy as np

from poselift.report import read_results
from poselift.report.canvas import COLOURS, INK, MARKERS, finish, new_figure, save, style

STUDY = "study: mixers"
TRACK = "real"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("times", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    return parser.parse_args()


def training_times(axes, rows: list[dict], look: dict) -> None:
    """Microseconds of a training step for each frame, by length of the clips."""
    for mixer, (colour, marker) in look.items():
        own = [row for row in rows if row["mixer"] == mixer and row["frames"]]
        frames, spent = ([row[key] for row in own] for key in ("frames", "us_per_frame"))
        axes.plot(frames, spent, color=colour, marker=marker, label=mixer)
    axes.set(xscale="log", yscale="log", xticks=[27, 81, 243, 351])
    axes.set_xticklabels(["27", "81", "243", "351"])
    axes.set_yticks([500, 1000, 2000, 5000], ["500", "1000", "2000", "5000"])
    axes.minorticks_off()
    finish(axes, "Training", "frames in a clip", "µs per frame, one CPU thread", grid="both")


def live_times(axes, rows: list[dict], look: dict) -> None:
    """Milliseconds for each frame of a stream."""
    spent = {row["mixer"]: row["ms_per_frame"] for row in rows if not row["frames"]}
    names = list(look)[::-1]
    axes.barh(names, [spent[name] for name in names], color=[look[name][0] for name in names])
    for place, name in enumerate(names):
        axes.annotate(
            f"{spent[name]:.1f}",
            (spent[name], place),
            (4, 0),
            textcoords="offset points",
            va="center",
            color=INK,
        )
    axes.set(xscale="log", xlim=(0.3, 200))
    finish(axes, "Live", "ms per frame (attention: last 243 frames again)", "", grid="x")


def errors(axes, path: Path, look: dict) -> None:
    """Error of each variant with its interval."""
    records = read_results(path).select(
        benchmark=STUDY, track=TRACK, metric="mpjpe_mm", stratum="all"
    )
    records = sorted(records, key=lambda record: -record.value)
    names = [record.lifter.partition("/")[2] for record in records]
    colours = [look[name.partition("-")[0]][0] for name in names]
    value, low, high = np.array([(r.value, r.low, r.high) for r in records]).T
    for place, colour in enumerate(colours):
        axes.plot([low[place], high[place]], [place, place], color=colour, lw=1.2)
        axes.plot(value[place], place, "o", color=colour)
    axes.set(yticks=range(len(names)), yticklabels=names)
    finish(axes, "Accuracy", f"MPJPE (mm), open-v1 {TRACK}", "", grid="x")


def main() -> None:
    """Draw the three panels."""
    args = _arguments()
    rows = json.loads(args.times.read_text(encoding="utf-8"))["rows"]
    mixers = list(dict.fromkeys(row["mixer"] for row in rows))
    look = {name: (COLOURS[i], MARKERS[i]) for i, name in enumerate(mixers)}
    with style():
        figure = new_figure(11, 3.8)
        left, middle, right = figure.subplots(1, 3)
        training_times(left, rows, look)
        live_times(middle, rows, look)
        errors(right, args.results, look)
        left.legend(fontsize=8)
        save(figure, args.out)


if __name__ == "__main__":
    main()
