"""The picture of docs/noise.md: measured and synthetic errors."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
from noise_time import LAGS
from noise_trial import Trial, persistence

from poselift.io.files import atomic
from poselift.train.errormodel import PARTS

COLOURS = {"calibrated": "tab:blue", "gaussian": "tab:orange"}
LEAST = 20  # points of which a mean is shown


def figure(trials: Sequence[Trial], path: Path) -> None:
    """Quantiles of all joints, persistence, confidence, visible and hidden in one picture.

    All of the first trial; persistence also of the second.
    """
    result = trials[0]
    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [n for n in PARTS if any(len(r.of(n)) for r in result.real.values())]
    fig, axes = pyplot.subplots(4, 4, figsize=(15, 14), layout="constrained")
    panels = iter(axes.flat)
    for name in names:
        _quantiles(next(panels), name, result)
    for detector in result.real:
        _persistence(next(panels), detector, trials)
    _confidence(next(panels), result)
    _hidden(next(panels), result)
    for axis in panels:
        axis.axis("off")
    with atomic(path) as part:
        fig.savefig(part, dpi=70)
    pyplot.close(fig)


def _quantiles(axis, name: str, result: Trial) -> None:
    """Measured against synthetic quantiles of the errors of a part."""
    levels = np.linspace(0.02, 0.99, 60)
    for detector, style in zip(result.real, ("-", "--", ":"), strict=False):
        truth = result.real[detector].of(name)
        if not len(truth):
            continue
        for family, colour in COLOURS.items():
            made = result.made[family][detector].of(name)
            axis.loglog(
                100 * np.quantile(truth, levels),
                100 * np.quantile(made, levels),
                style,
                color=colour,
                label=f"{detector}, {family}",
            )
    axis.plot([0.1, 50], [0.1, 50], "k", linewidth=0.5)
    axis.set(title=name.replace("_", " "), xlim=(0.1, 50), ylim=(0.1, 50))
    axis.set(xlabel="measured error, % of box", ylabel="synthetic")
    if name == "nose":
        axis.legend(fontsize=7)


def _persistence(axis, detector: str, trials: Sequence[Trial]) -> None:
    """Correlation of errors in time, of each half."""
    time_s = np.arange(LAGS) / 30
    for trial, style in zip(trials, ("-", "--"), strict=True):
        axis.plot(time_s, persistence(trial.real[detector]), f"k{style}", label="measured")
        for family, colour in COLOURS.items():
            made = persistence(trial.made[family][detector])
            axis.plot(time_s, made, style, color=colour, label=family)
    axis.set(title=f"{detector}: correlation of errors", xlabel="seconds apart", ylim=(-0.05, 1))
    axis.legend(fontsize=7)


def _confidence(axis, result: Trial) -> None:
    """Mean confidence of points by their error."""
    edges = np.geomspace(0.003, 0.3, 9)
    middle = 100 * np.sqrt(edges[1:] * edges[:-1])
    for detector, colour in zip(result.real, ("tab:red", "tab:green", "tab:purple"), strict=False):
        for made, style in ((False, "-"), (True, "--")):
            of = result.made["calibrated"] if made else result.real
            size, confidence = of[detector].size, of[detector].confidence
            bins = [(size >= low) & (size < high) for low, high in pairwise(edges)]
            mean = [confidence[b].mean() if b.sum() > LEAST else np.nan for b in bins]
            label = f"{detector}, {'synthetic' if made else 'measured'}"
            axis.semilogx(middle, mean, style, color=colour, label=label)
    axis.set(title="confidence", xlabel="error, % of box", ylim=(0, 1.02))
    axis.legend(fontsize=7)


def _hidden(axis, result: Trial) -> None:
    """Median error of visible and hidden points."""
    place = np.arange(len(result.real))
    for offset, (label, of, colour) in enumerate(
        (("measured", result.real, "k"), ("synthetic", result.made["calibrated"], "tab:blue"))
    ):
        for which, alpha in ((False, 0.5), (True, 1.0)):
            height = [
                100 * np.nanmedian(e.size[e.hidden == which]) for e in (of[d] for d in result.real)
            ]
            x = place + 0.4 * offset + 0.2 * which - 0.3
            text = f"{label}, {'hidden' if which else 'visible'}"
            axis.bar(x, height, 0.2, color=colour, alpha=alpha, label=text)
    axis.set_xticks(place, list(result.real))
    axis.set(title="median error, % of box")
    axis.legend(fontsize=7)
