"""What fusion of 2D beliefs and the 3D fit brings: tables in docs/ppca.md and a figure.

Held-out test subjects, single frames. Three kinds of detector: points with confidences, heatmaps
and SimCC distributions of a detector that takes left for right; presets of the noise model.

    python scripts/measure_ppca.py clips.npz
"""

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from poselift.geometry import Array
from poselift.io.files import atomic
from poselift.metrics.positions import mpjpe
from poselift.models.ppca import (
    Belief,
    HeatmapBelief,
    Mixture,
    PointBelief,
    PpcaOptions,
    ReleaseOptions,
    SimccBelief,
    fuse_stages,
    lift,
    lift_as_released,
    shipped,
)
from poselift.models.ppca.fusion import shared_joints
from poselift.skeleton import convert
from poselift.train.batches import COCO, H36M, Motions, SynthConfig
from poselift.train.fuse_ppca import Detections
from poselift.train.noise import PRESETS
from poselift.train.pack import read_pack
from poselift.train.ppca_data import detections, doubtful_heatmaps

FRAMES, MAPS = 600, 200
FULL = PpcaOptions(rotation="full")
NAMES = {
    "clean": "true points",
    "real": "usual noise",
    "hard": "twice the noise, more swaps",
    "missing": "people half hidden",
}


@dataclass(frozen=True)
class Row:
    """Errors by stage in mm: of seen 2D points, of lost ones (NaN at first), of 3D poses."""

    name: str
    seen: list[float]
    lost: list[float]
    pose: list[float]


def measured(name: str, mixture: Mixture, belief: Belief, data: Detections) -> Row:
    """Fusion by stages on detections of COCO-17."""
    found = fuse_stages(mixture, belief, COCO, FULL, len(mixture.fusion))
    own, _ = shared_joints(COCO)
    seen = data.seen[:, own]
    usable = found.poses[0].chart >= 0
    row = Row(name, [], [], [])
    for points, pose in zip(found.xy, found.poses, strict=True):
        off = np.linalg.norm(points - data.true_xy, axis=-1)[:, own]
        off_mm = 1e3 * mixture.size_m * off / data.size[:, None]
        row.seen.append(float(off_mm[seen & usable[:, None]].mean()))
        lost = off_mm[~seen & usable[:, None]]
        row.lost.append(float(np.median(lost)) if len(lost) else np.nan)
        truth, kept = data.xyz_m[usable], pose.xyz_m[usable]
        row.pose.append(1e3 * float(np.nanmean(mpjpe(kept, truth))))
    print(row, flush=True)
    return row


def as_simcc(belief: HeatmapBelief) -> SimccBelief:
    """The same belief, axis by axis."""
    return SimccBelief(
        belief.maps.max(2), belief.maps.max(3), belief.origin, belief.step, belief.sure
    )


def rows(mixture: Mixture, motions: Motions, config: SynthConfig) -> list[Row]:
    """All detectors."""
    out = []
    for name, words in NAMES.items():
        data = detections(motions, FRAMES, config, PRESETS[name], seed=41)
        belief = PointBelief(data.xy, data.confidence)
        out.append(measured(f"points, {words}", mixture, belief, data))
    data = detections(motions, MAPS, config, PRESETS["real"], seed=42)
    for share in (0.1, 0.3):
        maps, scaled = doubtful_heatmaps(data, share, np.random.default_rng(0))
        percent = f"{100 * share:.0f} % of joints doubtful"
        out.append(measured(f"heatmaps, {percent}", mixture, maps, scaled))
        out.append(measured(f"SimCC, {percent}", mixture, as_simcc(maps), scaled))
    return out


def fusion_table(found: list[Row]) -> list[str]:
    """Markdown of the detector alone, two stages and all of them."""
    last = len(found[0].seen) - 1
    lines = [
        f"| detector | 2D alone | 2 stages | {last} stages | lost 2D, {last} stages "
        f"| 3D alone | 1 stage | 2 stages | {last} stages |",
        "|---|" + "---|" * 8,
    ]
    for row in found:
        cells = [row.seen[0], row.seen[2], row.seen[-1], row.lost[-1]]
        cells += [row.pose[0], row.pose[1], row.pose[2], row.pose[-1]]
        text = " | ".join("-" if np.isnan(cell) else f"{cell:.1f}" for cell in cells)
        lines.append(f"| {row.name} | {text} |")
    return lines


def lift_table(mixture: Mixture, motions: Motions, config: SynthConfig) -> list[str]:
    """Markdown of the ways to lift true points: upright, tumbled, speed."""
    data = detections(motions, FRAMES, config, PRESETS["clean"], seed=43)
    camera = replace(config.camera, tumble=1.0)
    tumbled = detections(motions, FRAMES, replace(config, camera=camera), PRESETS["clean"], seed=44)
    ways = {
        "as released": lambda xy: lift_as_released(mixture, xy, None, ReleaseOptions()),
        "yaw": lambda xy: lift(mixture, xy, None, PpcaOptions()).xyz_m,
        "full rotation": lambda xy: lift(mixture, xy, None, FULL).xyz_m,
    }
    lines = [
        "| search | cameras of training | any roll | frames/s, all seen | some not seen |",
        "|---|---|---|---|---|",
    ]
    hidden = np.random.default_rng(0).random((FRAMES, 17)) < 0.05
    for name, way in ways.items():
        cells = []
        for each in (data, tumbled):
            found = way(convert(each.xy, COCO, H36M))
            cells.append(f"{1e3 * float(mpjpe(found, each.xyz_m).mean()):.1f}")
        for mask in (np.zeros_like(hidden), hidden):
            points: Array = np.where(mask[..., None], np.nan, convert(data.xy, COCO, H36M))
            started = time.process_time()
            way(points)
            cells.append(f"{FRAMES / (time.process_time() - started):.0f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return lines


def plot(path: Path, found: list[Row]) -> None:
    """2D and 3D error over stages, as shares of the detector's own."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharex=True)
    for row in found:
        if row.seen[0] < 1e-6:
            continue
        for axis, errors in zip(axes, (row.seen, row.pose), strict=True):
            axis.plot(np.array(errors) / errors[0], "o-", ms=3, label=row.name)
    for axis, what in zip(axes, ("2D error of seen joints", "3D error"), strict=True):
        axis.axhline(1, color="0.7", lw=1)
        axis.set(xlabel="stage", ylabel=f"{what}, detector alone = 1")
        axis.set_xticks(range(len(found[0].seen)))
    axes[1].legend(frameon=False, fontsize=7)
    figure.tight_layout()
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=110)


def replaced(text: str, name: str, lines: list[str]) -> str:
    """The text with the lines between a table's two marks."""
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, _, rest = text.partition(start)
    return before + start + "\n".join(lines) + "\n" + end + rest.partition(end)[2]


def main() -> None:
    """Measure, draw, and write the tables into the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", type=Path)
    parser.add_argument("--page", type=Path, default=Path("docs/ppca.md"))
    parser.add_argument("--plot", type=Path, default=Path("docs/ppca_fusion.png"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    mixture = shipped()
    motions = Motions(read_pack(args.clips), "test", torch.device("cpu"))
    config = SynthConfig()
    config = replace(config, evolve=replace(config.evolve, share=0.0))
    found = rows(mixture, motions, config)
    plot(args.plot, found)
    text = args.page.read_text(encoding="utf-8")
    text = replaced(text, "fusion table", fusion_table(found))
    text = replaced(text, "search table", lift_table(mixture, motions, config))
    with atomic(args.page) as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
