"""From a finished run to weights that ship: ONNX in half precision and a record beside it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from poselift.errors import WeightsError
from poselift.evaluate import Scores, constant_pose, score
from poselift.models import LifterInfo, build, info
from poselift.models.export import export_onnx
from poselift.models.lifter import Lifter
from poselift.models.network import Network
from poselift.train import checkpoint
from poselift.train.batches import splits_of
from poselift.train.heldout import heldout_clips, mean_pose_m

DATA_CARD = {
    "motion": "CMU Graphics Lab Motion Capture Database (mocap.cs.cmu.edu, NSF EIA-0196217): free "
    "for research and commercial use; the data itself is not part of this package. The track "
    "cross-corpus is HDM05 (CC BY-SA 3.0), used for testing only",
    "bodies": "60 shapes sampled from anny 0.6.2 (Apache-2.0, NAVER; MakeHuman data CC0)",
    "images": "none: cameras and 2D detections are synthetic",
    "split": "by subject: src/poselift/train/split.json",
    "limits": "metric scale from body proportions alone (no height input); acts that the motion "
    "capture lacks (swimming, riding, long lying) and infants are outside the training data",
}
Say = Callable[[str], None]


def network(run: Path) -> tuple[Network, LifterInfo, dict[str, Any]]:
    """The averaged network of a run's best step, its lifter's record, and the run's facts."""
    tensors, facts = checkpoint.load(run / "best.safetensors")
    config = facts["config"]
    model = build(config["lifter"], **config["network"]).eval()
    model.load_state_dict(checkpoint.under("average", tensors))
    return model, info(config["lifter"]), facts


def lifter_from_run(run: Path) -> Lifter:
    """A lifter with a run's best averaged weights, run by torch."""
    model, record, _ = network(run)

    @torch.inference_mode()
    def forward(xy: np.ndarray) -> np.ndarray:
        return model(torch.as_tensor(xy, dtype=torch.float32)).centre[:, 0].double().numpy()

    return Lifter(forward, record)


def measure(lifter: Lifter, pack: Path, say: Say) -> dict[str, dict[str, dict[str, float]]]:
    """Scores on held-out clips, clean and noisy 2D, beside the mean pose: split -> track -> row."""
    baseline = constant_pose(mean_pose_m(pack))
    available = [split for split in splits_of(pack) if split != "train"]
    measured: dict[str, dict[str, dict[str, float]]] = {}
    for split in available:
        measured[split] = {}
        for track, noisy in (("clean", False), ("noisy", True)):
            clips = heldout_clips(pack, split, noisy=noisy)
            scores: Scores = score(lifter, clips)
            measured[split][track] = scores.to_json()
            say(f"{split} {track}: {scores.mpjpe_mm:.1f} mm MPJPE, {scores.p_mpjpe_mm:.1f} P-MPJPE")
        measured[split]["mean_pose"] = score(baseline, clips).to_json()
    return measured


def ship(run: Path, pack: Path, out: Path, say: Say) -> Path:
    """Export, check against torch, measure through onnxruntime, write `<name>.onnx` and `.json`."""
    model, record, facts = network(run)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{record.name}.onnx"
    frames = torch.randn(2, record.frames, 17, 2)
    exported = export_onnx(model, frames, path, half=True)
    content = path.read_bytes()
    if len(content) > 10e6:
        raise WeightsError(str(path), expected="under 10 MB", found=f"{len(content) / 1e6:.1f} MB")
    differs_mm = 1e3 * (exported.half_difference_m or 0.0)
    say(f"{path}: {len(content) / 1e6:.2f} MB, differs from torch by at most {differs_mm:.2f} mm")
    lifter = Lifter.from_onnx(content, record)
    card = {
        "name": record.name,
        "file": path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "licence": "Apache-2.0",
        "made": datetime.now(UTC).date().isoformat(),
        "command": _commands(facts),
        "trained_steps": facts["step"],
        "training": facts["config"],
        "export_difference_m": exported.half_difference_m,
        "data": DATA_CARD | _pack_facts(pack),
        "measured": measure(lifter, pack, say),
        "measured_how": "poselift evaluate: 64 clips of 120 frames per track, errors in mm, "
        "H36M-17 root-relative; 'noisy' is the training noise model at level 1",
        "lifter": {name: value for name, value in asdict(record).items() if name != "target"},
    }
    path.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return path


def _commands(facts: dict[str, Any]) -> list[str]:
    """The commands that made a run, those of the run that it started from first."""
    config, commands = facts["config"], []
    first = config["start_from"] and Path(config["start_from"]) / "last.safetensors"
    if first:
        before = checkpoint.load(first)[1]
        commands = _commands({**before, "config": {"start_from": None} | before["config"]})
        commands[-1] += f"  # stopped at step {before['step']}"
    words = [f"poselift train clips.npz -o RUN --model {config['lifter']}"]
    for name in ("steps", "batch", "rate", "seed", "start_from"):
        if config[name] is not None:
            words.append(f"--{name.replace('_', '-')} {config[name]}")
    return [*commands, " ".join(words)]


def _pack_facts(pack: Path) -> dict[str, Any]:
    return {f"{split}_clips": text for split, text in splits_of(pack).items()}
