"""Fit the PPCA mixture that ships (src/poselift/models/weights/ppca.npz) and its record.

Poses of the training subjects in random bodies; the number of charts is the least whose mean
log-likelihood on validation subjects is within one nat of the best. What detectors' points are
worth is then learned from synthetic detections of training subjects.

    poselift mocap build MOCAP -o clips.npz
    python scripts/fit_ppca.py clips.npz
    python scripts/measure_ppca.py clips.npz
"""

import argparse
import hashlib
import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from poselift.cli.judging import CACHE
from poselift.errors import WeightsError
from poselift.geometry import Array
from poselift.io.files import atomic
from poselift.models import info
from poselift.models.lifter import Lifter
from poselift.models.ppca.lift import PpcaOptions, as_run
from poselift.models.ppca.model import (
    JOINTS,
    LARGEST_BYTES,
    FusionWeights,
    Mixture,
    load,
    save,
    size,
)
from poselift.progress import progress_on_stderr
from poselift.report import Results
from poselift.train.batches import Motions, SynthConfig
from poselift.train.fit_ppca import Fit, FitConfig, fit, log_likelihood
from poselift.train.fuse_ppca import learn_fusion, learn_spread
from poselift.train.judge import ALL_TRACKS, judge, of_lifters, tracks_of
from poselift.train.noise import PRESETS
from poselift.train.openbench import NAME
from poselift.train.pack import Pack, read_pack
from poselift.train.ppca_data import detections, world_poses
from poselift.train.ship import DATA_CARD, MEASURED_HOW, measured, pack_facts

CHARTS, BASIS = (1, 3, 5, 8), 12
POSES, CHOOSING, CHECKING, DETECTED = 20_000, 8_000, 4_000, 2_000
STAGES = 4
CPU = torch.device("cpu")
FULL = PpcaOptions(rotation="full")


def chosen(poses: Array, checking: Array) -> tuple[int, dict[int, float]]:
    """The number of charts, and the validation log-likelihood of all numbers tried."""
    weight = np.ones(len(poses))
    scores = {}
    for charts in CHARTS:
        config = FitConfig(charts, BASIS, restarts=2, iterations=40, tolerance=0.01)
        found = fit(poses, weight, config)
        scores[charts] = float(log_likelihood(found.charts, checking).mean())
        print(f"{charts} charts: {scores[charts]:.2f} nats on validation subjects", flush=True)
    return min(k for k, score in scores.items() if score > max(scores.values()) - 1), scores


def mixture_of(found: Fit, poses: Array) -> Mixture:
    """A mixture that knows nothing about detectors yet."""
    mean, basis = found.charts.poses()
    sizes = size(poses)
    return Mixture(
        share=found.charts.share,
        mean=mean,
        basis=basis,
        noise=np.sqrt(found.charts.variance),
        size_m=float(np.median(sizes)),
        size_spread=float(np.log(sizes).std()),
        seen=np.full(JOINTS, 0.1),
        fade=1.0,
        fusion=FusionWeights(np.empty((0, JOINTS)), np.empty((0, 2))),
    )


def judged(path: Path, pack: Pack) -> Results:
    """The mixture as it ships on all tracks of the open benchmark."""
    lifter = Lifter(as_run(load(path), FULL), info("ppca"))
    with progress_on_stderr(False) as progress:
        tracks, _ = tracks_of(pack, ALL_TRACKS, CACHE / NAME, progress)
        return judge(of_lifters("ppca", [lifter], None), tracks, progress)


def plot(path: Path, found: Fit, scores: dict[int, float]) -> None:
    """Log-likelihood over iterations, of every restart and of the best one to its end."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), width_ratios=(2, 1))
    for number, history in enumerate(found.restarts):
        left.plot(history, lw=1, label=f"restart {number}")
    left.plot(found.history, "k", lw=2, alpha=0.6, label="best, to its end")
    left.set(xlabel="iteration", ylabel="log-likelihood per training pose (nats)")
    left.set_ylim(bottom=found.history[min(3, len(found.history) - 1)])
    left.legend(frameon=False)
    right.plot(list(scores), list(scores.values()), "o-")
    right.set(xlabel="charts", ylabel="on validation subjects (nats)")
    figure.tight_layout()
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=110)


def write_record(path: Path, settings: FitConfig, found: Fit, facts: dict[str, Any]) -> float:
    """Write the JSON beside the model; its size in kB. Raises WeightsError where that is much."""
    content = path.read_bytes()
    if len(content) > LARGEST_BYTES:
        raise WeightsError(str(path), expected=f"{LARGEST_BYTES} bytes", found=len(content))
    card = {
        "name": "ppca",
        "file": path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "licence": "Apache-2.0",
        "made": datetime.now(UTC).date().isoformat(),
        "command": ["python scripts/fit_ppca.py clips.npz"],
        "trained_steps": len(found.history),
        "training": asdict(settings) | {"poses": POSES, "detections": DETECTED, "stages": STAGES},
        **facts,
        "measured_how": MEASURED_HOW,
    }
    with atomic(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return len(content) / 1e3


def main() -> None:
    """Fit, learn, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", type=Path)
    parser.add_argument("--out", type=Path, default=Path("src/poselift/models/weights/ppca.npz"))
    parser.add_argument("--plot", type=Path, default=Path("docs/ppca_convergence.png"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    pack = read_pack(args.clips)
    training, validation = (Motions(pack, split, CPU) for split in ("train", "validation"))
    config = SynthConfig()

    poses = world_poses(training, POSES, config, seed=1)
    checking = world_poses(validation, CHECKING, config, seed=2)
    charts, scores = chosen(poses[:CHOOSING], checking)
    settings = FitConfig(charts, BASIS)
    found = fit(poses, np.ones(len(poses)), settings, print)
    plot(args.plot, found, scores)
    mixture = mixture_of(found, poses)
    data = detections(training, DETECTED, config, PRESETS["real"], seed=3)
    mixture = learn_fusion(learn_spread(mixture, data), data, STAGES, FULL, print)
    save(args.out, mixture)
    kilobytes = write_record(
        args.out,
        settings,
        found,
        {
            "log_likelihood": {
                "train": found.history[-1],
                "validation": float(log_likelihood(found.charts, checking).mean()),
                "validation_by_charts": scores,
            },
            "data": DATA_CARD | pack_facts(pack),
            "measured": measured(judged(args.out, pack)),
        },
    )
    print(f"{args.out}: {kilobytes:.1f} kB")


if __name__ == "__main__":
    main()
