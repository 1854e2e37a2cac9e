"""From a finished run to weights that ship: ONNX in half precision and a record beside it."""

import json
import shlex
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from poselift.errors import WeightsError
from poselift.evaluate import Clip
from poselift.models import load, weights_record
from poselift.models.river import River
from poselift.report import Results
from poselift.train import checkpoint
from poselift.train.batches import Motions, SynthConfig, splits_of
from poselift.train.calibrate import calibration
from poselift.train.judge import Progress, judge, of_lifters
from poselift.train.loop import full_config
from poselift.train.pack import Pack
from poselift.train.runs import product_network, write_card, write_graphs
from poselift.train.starting import write_network

MEASURED = ("mpjpe_mm", "p_mpjpe_mm", "n_mpjpe_mm", "mpjve_mm_s", "angle_deg")
MEASURED_HOW = (
    "poselift evaluate clips.npz: the open benchmark open-v1, offline with flip, H36M-17 "
    "root-relative (docs/benchmark.md)"
)
_LARGEST_BYTES = 10e6
_FILES = ("file", "step_file", "network_file")
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

    The network's weights lie beside it, so that training can start from them. `river` gets its step
    too, and honest scales of its uncertainty. Returns the path by which the weights are loaded and
    the results. Raises WeightsError where a file is over 10 MB, InputError for an ablation that the
    product cannot run, UnknownNameError where the run that this one started from is gone.
    """
    model, record, facts = product_network(run)
    commands = _commands(facts)
    out.mkdir(parents=True, exist_ok=True)
    card, exported = write_graphs(model, record, out, half=True)
    card |= write_network(model, record.name, out)
    _check_size(out, card)
    differs_mm = 1e3 * (exported.half_difference_m or 0.0)
    size_mb = exported.size_bytes / 1e6
    say(f"{exported.path}: {size_mb:.2f} MB, differs from torch by at most {differs_mm:.2f} mm")
    if isinstance(model, River):
        say("calibrating the uncertainty on validation people")
        motions = Motions(pack, "validation", torch.device("cpu"))
        card["calibration"] = list(calibration(model, motions, SynthConfig()))
    path = write_card(card, out)
    results = judge(of_lifters(record.name, [load(path, threads=1)], model), tracks, progress)
    card |= {
        "licence": "Apache-2.0",
        "made": datetime.now(UTC).date().isoformat(),
        "command": commands,
        "trained_steps": facts["step"],
        "training": facts["config"],
        "export_difference_m": exported.half_difference_m,
        "data": DATA_CARD | pack_facts(pack),
        "measured": measured(results),
        "measured_how": MEASURED_HOW,
    }
    return write_card(card, out), results


def _check_size(folder: Path, card: Mapping[str, Any]) -> None:
    """Raises WeightsError for a file over 10 MB; none of them stays."""
    paths = [folder / card[name] for name in _FILES if name in card]
    for path in paths:
        size = path.stat().st_size
        if size > _LARGEST_BYTES:
            for each in paths:
                each.unlink()
            raise WeightsError(str(path), expected="under 10 MB", found=f"{size / 1e6:.1f} MB")


def measured(results: Results) -> dict[str, dict[str, float]]:
    """The metrics that a record carries: track -> metric -> value."""
    out: dict[str, dict[str, float]] = {}
    for record in results.select(stratum="all", metric=MEASURED):
        out.setdefault(record.track, {})[record.metric] = record.value
    return out


def _commands(facts: dict[str, Any]) -> list[str]:
    """The commands that made a run, those of the run that it started from first."""
    usual, config = full_config({}), full_config(facts["config"])
    commands = _commands_before(config["start_from"]) if config["start_from"] else []
    words = [f"poselift train clips.npz -o RUN --model {config['lifter']}"]
    for name in ("steps", "batch", "rate", "seed", "start_from", "validate_every"):
        if config[name] is not None:
            words.append(f"--{name.replace('_', '-')} {config[name]}")
    if config["optimizer"] != usual["optimizer"]:
        words.append(f"--optimizer {config['optimizer']}")
    lengths = config["flow"]["lengths"]
    if lengths != usual["flow"]["lengths"]:
        words += ["--lengths", *(f"{share:g}:{frames}" for share, frames in lengths)]
    if config["decay_share"] != usual["decay_share"]:
        words.append(f"--decay {config['decay_share']:g}")
    taught = {
        name: value
        for name, value in config["flow"].items()
        if name != "lengths" and value != usual["flow"].get(name)
    }
    for option, values in (("--teach", taught), ("--set", config["network"])):
        if values:
            pairs = (f"{name}={_word(value)}" for name, value in values.items())
            words += [option, *map(shlex.quote, pairs)]
    words += ["--fp32"] if not config["bf16"] else []
    words += ["--compile"] if config["compiled"] else []
    return [*commands, " ".join(words)]


def _commands_before(start: str) -> list[str]:
    """Those that made the run, or the lifter, from which another run started."""
    last = Path(start) / checkpoint.LAST
    if not last.is_file():
        return [*(weights_record(start) or {}).get("command", ())]
    before = checkpoint.load(last)[1]
    *earlier, latest = _commands(before)
    return [*earlier, f"{latest}  # stopped at step {before['step']}"]


def _word(value: Any) -> str:
    """As the command line reads it."""
    return value if isinstance(value, str) else json.dumps(value)


def pack_facts(pack: Pack) -> dict[str, str]:
    """What a record says about the motion that was trained on and its held-out parts."""
    clips = {f"{split}_clips": text for split, text in splits_of(pack).items()}
    return clips | {"pack_sha256": pack.digest}
