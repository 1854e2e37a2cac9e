"""Fit the noise of training to real detectors, and show how well both agree.

    python scripts/calibrate_noise.py CLIPS

CLIPS was written by render_set.py and detect_set.py. Writes src/poselift/train/detectors.json
(fitted on all clips of training and validation subjects), docs/noise.png and the tables between
the markers of docs/noise.md. The comparison is on clips that a fit has not seen: subjects are
parted in two halves; each is fitted and judged by the other. The picture shows the first of both.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from noise_clips import Clip, load
from noise_figure import figure
from noise_fit import fit
from noise_trial import Errors, Trial, distances, halves, pooled, trial

from poselift.errors import InputError, PoseliftError
from poselift.io.files import atomic
from poselift.train.errormodel import LENGTH_STEP, LENGTHS, PARTS
from poselift.train.noise import FAMILIES

RECORD = Path("src/poselift/train/detectors.json")
PAGE, FIGURE = Path("docs/noise.md"), Path("docs/noise.png")
BEGIN, END = "<!-- calibrate_noise.py: begin -->", "<!-- calibrate_noise.py: end -->"
DIGITS = 5
UNSURE = 0.3  # the least confidence that the product uses


def agreement_table(trials: Sequence[Trial]) -> list[str]:
    """A row per part: what was measured, and how far synthetic errors are from it.

    Distances are means over detectors and both trials, never of pooled trials: two halves fitted
    crosswise are alike when pooled, whatever the fits are worth.
    """
    lines = [
        "| joint | median, 95 % | W1 calibrated | W1 gaussian | W1 halves "
        "| KS calibrated | KS gaussian | KS halves |",
        "|---|---|---|---|---|---|---|---|",
    ]
    totals = []
    for name in PARTS:
        rows = []
        for detector in trials[0].real:
            real = [t.real[detector].of(name) for t in trials]
            if min(len(r) for r in real) == 0:
                continue
            between = distances(*real)
            for t, truth in zip(trials, real, strict=True):
                made = [distances(truth, t.made[f][detector].of(name)) for f in FAMILIES]
                rows.append(np.transpose([*made, between]).ravel())
        if not rows:
            continue
        totals.append(np.mean(rows, axis=0))
        every = [100 * real.of(name) for t in trials for real in t.real.values()]
        middle, far = np.quantile(np.concatenate(every), [0.5, 0.95])
        numbers = " | ".join(f"{v:.2f}" for v in totals[-1])
        lines.append(f"| {name.replace('_', ' ')} | {middle:.1f}, {far:.1f} | {numbers} |")
    mean = " | ".join(f"**{v:.2f}**" for v in np.mean(totals, axis=0))
    lines.append(f"| **mean** | | {mean} |")
    return lines


def detector_table(record: dict, trials: Sequence[Trial]) -> list[str]:
    """A row per detector: its figures, and the share of unsure points, measured and synthetic."""
    lines = [
        "| detector | slow, quick, s | shared | quality, habit | doubt "
        "| swaps of legs, arms, body per s, side view "
        "| a leg, an arm astray per s: visible; hidden | nobody found | missed, visible; hidden "
        f"| confidence < {UNSURE}, visible (synthetic) | hidden (synthetic) |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for detector, entry in record["detectors"].items():
        swaps = ", ".join(f"{rates[1]:.2f}" for rates in entry["swap_hz"])
        strays = "; ".join(
            ", ".join(f"{rates[which]:.2f}" for rates in entry["snap_hz"]) for which in (0, 1)
        )
        missed = np.mean([part["missed"] for part in entry["parts"].values()], axis=0)
        nobody = entry["lost_hz"] * entry["lost_s"]
        unsure = []
        for which in (False, True):
            real = pooled([t.real[detector] for t in trials])
            made = pooled([t.made["calibrated"][detector] for t in trials])
            share = [100 * unsure_share(e, which) for e in (real, made)]
            unsure.append(f"{share[0]:.1f} % ({share[1]:.1f})")
        lines.append(
            f"| {detector} | {entry['slow_s']:.2f}, {entry['quick_s']:.3f} | {entry['shared']:.2f} "
            f"| {entry['quality']:.2f}, {entry['habit']:.2f} | {entry['doubt']:.2f} "
            f"| {swaps} | {strays} | {100 * nobody:.1f} % "
            f"| {100 * missed[0]:.1f} %; {100 * missed[1]:.1f} % | {unsure[0]} | {unsure[1]} |"
        )
    return lines


def part_table(record: dict) -> list[str]:
    """A row per part and detector: the fitted figures."""
    lines = [
        "| joint | detector | offset: down the trunk, outward, along the limb | steady | slow "
        "| quick | visible: median, 95 % | hidden: median, 95 % | total sd |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in PARTS:
        for detector, entry in record["detectors"].items():
            if name not in entry["parts"]:
                continue
            part = entry["parts"][name]
            offset = ", ".join(f"{value:+.3f}" for value in part["offset"])
            spans = [
                ", ".join(
                    f"{100 * np.interp(at, LENGTH_STEP * np.arange(LENGTHS), row):.1f}"
                    for at in _LEVELS
                )
                for row in part["length"]
            ]
            quick = max(0.0, 1 - part["steady"] - part["slow"])
            lines.append(
                f"| {name.replace('_', ' ')} | {detector} | {offset} | {part['steady']:.2f} "
                f"| {part['slow']:.2f} | {quick:.2f} | {spans[0]} | {spans[1]} "
                f"| {100 * part['spread']:.1f} |"
            )
    return lines


_LEVELS = (-np.log(0.5), -np.log(0.05))


def hidden_lines(clips: Sequence[Clip]) -> list[str]:
    """How well capsules tell what ray casting found hidden."""
    capsules = np.concatenate([clip.hidden for clip in clips])
    rays = np.concatenate([clip.behind for clip in clips])
    both = (capsules & rays).sum()
    return [
        f"Hidden: {100 * rays.mean():.0f} % of points by ray casting; capsules find "
        f"{100 * both / rays.sum():.0f} % of them,",
        f"and {100 * both / capsules.sum():.0f} % of what capsules find is hidden.",
    ]


def unsure_share(errors: Errors, hidden: bool) -> float:
    """Share of placed points whose confidence is below UNSURE."""
    chosen = np.isfinite(errors.size) & (errors.hidden == hidden)
    return float((errors.confidence[chosen] < UNSURE).mean())


def rounded(value: object) -> object:
    """Numbers to DIGITS figures after the point, in nested lists and tables."""
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [rounded(entry) for entry in value]
    return round(value, DIGITS) if isinstance(value, float) else value


def insert(page: Path, lines: Sequence[str]) -> None:
    """Put the lines between the markers of a page. Raises InputError without markers."""
    text = page.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise InputError(str(page), expected=f"{BEGIN} and {END}")
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    with atomic(page) as part:
        part.write_text(head + "\n".join([BEGIN, *lines, END]) + tail, encoding="utf-8")


def main() -> None:
    """Fit, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path, help="folder of render_set.py with detections")
    args = parser.parse_args()
    torch.set_num_threads(1)
    clips = [clip for clip in load(args.clips) if clip.split != "test"]
    frames = sum(len(clip.view) for clip in clips)
    record = {
        "about": (
            f"Errors of 2D detectors on {len(clips)} rendered clips ({frames} frames); "
            "fitted by scripts/calibrate_noise.py, read by poselift.train.errormodel."
        ),
        **rounded(fit(clips)),
    }
    with atomic(RECORD) as part:
        part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    first, second = halves(clips)
    trials = trial(first, second), trial(second, first)
    agreement = agreement_table(trials)
    print("\n".join(agreement))
    subjects = len({clip.subject for clip in clips})
    lines = [
        f"{len(clips)} clips, {frames} frames, {subjects} subjects; halves of {len(first)} and "
        f"{len(second)} clips.",
        f"Detectors: {', '.join(record['detectors'])}. Errors and W1 in % of the box.",
        *hidden_lines(clips),
        "",
        *agreement,
        "",
        *detector_table(record, trials),
        "",
        *part_table(record),
    ]
    insert(PAGE, lines)
    figure(trials, FIGURE)


if __name__ == "__main__":
    os.nice(10)
    try:
        main()
    except PoseliftError as error:
        sys.exit(f"calibrate_noise: {error}")
