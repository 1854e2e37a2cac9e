"""From a finished run to weights that ship: ONNX in half precision and a record beside it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from poselift.errors import WeightsError
from poselift.evaluate import Clip
from poselift.io.files import atomic
from poselift.models.lifter import Lifter
from poselift.report import Results
from poselift.train import checkpoint
from poselift.train.batches import splits_of
from poselift.train.judge import Progress, judge, of_lifters
from poselift.train.pack import Pack
from poselift.train.runs import export, network

MEASURED = ("mpjpe_mm", "p_mpjpe_mm", "n_mpjpe_mm", "mpjve_mm_s", "angle_deg")
MEASURED_HOW = (
    "poselift evaluate clips.npz: the open benchmark open-v1, offline with flip, H36M-17 "
    "root-relative (docs/benchmark.md)"
)
_LARGEST_BYTES = 10e6
DATA_CARD = {
    "motion": "CMU Graphics Lab Motion Capture Database (mocap.cs.cmu.edu, NSF EIA-0196217): free "
    "for research and commercial use; UI-PRMD (PDDL 1.0); SNU walking (MIT). The data itself is "
    "not part of this package. The track cross-corpus is HDM05 (CC BY-SA 3.0), for testing only",
    "bodies": "512 shapes sampled from anny 0.6.2 (Apache-2.0, NAVER; MakeHuman data CC0), of "
    "which 404 are trained on",
    "images": "none: cameras and 2D detections are synthetic",
    "split": "by subject: src/poselift/train/split.json; by body: src/poselift/train/bodies.npz",
    "limits": "metric scale from body proportions alone (no height input); acts that the motion "
    "capture lacks (swimming, riding, long lying) and infants are outside the training data",
}
Say = Callable[[str], None]


def ship(
    run: Path,
    pack: Pack,
    tracks: dict[str, list[Clip]],
    out: Path,
    say: Say,
    progress: Progress,
) -> tuple[Path, Results]:
    """Export, check against torch, judge through onnxruntime, write `<name>.onnx` and `.json`.

    Returns the graph's path and the results. Raises WeightsError where the file is over 10 MB.
    """
    model, record, facts = network(run)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{record.name}.onnx"
    exported = export(model, record, path, half=True)
    content = path.read_bytes()
    if len(content) > _LARGEST_BYTES:
        path.unlink()
        raise WeightsError(str(path), expected="under 10 MB", found=f"{len(content) / 1e6:.1f} MB")
    differs_mm = 1e3 * (exported.half_difference_m or 0.0)
    say(f"{path}: {len(content) / 1e6:.2f} MB, differs from torch by at most {differs_mm:.2f} mm")
    lifter = Lifter.from_onnx(content, record, threads=1)
    results = judge(of_lifters(record.name, [lifter], model), tracks, progress)
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
        "data": DATA_CARD | pack_facts(pack),
        "measured": measured(results),
        "measured_how": MEASURED_HOW,
        "lifter": {name: value for name, value in asdict(record).items() if name != "target"},
    }
    with atomic(path.with_suffix(".json")) as part:
        part.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return path, results


def measured(results: Results) -> dict[str, dict[str, float]]:
    """The metrics that a record carries: track -> metric -> value."""
    out: dict[str, dict[str, float]] = {}
    for record in results.select(stratum="all", metric=MEASURED):
        out.setdefault(record.track, {})[record.metric] = record.value
    return out


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


def pack_facts(pack: Pack) -> dict[str, str]:
    """What a record says about the motion that was trained on and its held-out parts."""
    clips = {f"{split}_clips": text for split, text in splits_of(pack).items()}
    return clips | {"pack_sha256": pack.digest}
