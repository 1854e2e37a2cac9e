"""Studies: the same training with one thing changed, several seeds, judged alike.

A study is a list of variants; each is a training configuration. `train_study` trains what is not
trained yet (one folder for each variant and seed, taken up where it was cut), so that it can be
stopped at any time and spread over processes with `only`. Their results are judged by
`judge.judge_runs` under the variant's name.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from poselift.errors import UnknownNameError
from poselift.models import info
from poselift.report import Results
from poselift.train.batches import SynthConfig
from poselift.train.evolve import EvolveConfig
from poselift.train.flow import FlowConfig
from poselift.train.loop import Report, Run, TrainConfig
from poselift.train.noise import NoiseConfig
from poselift.train.pack import Pack
from poselift.train.speed import step_s

# Small enough for two CPU cores in minutes: a Strided Transformer of 27 frames, 0.5 M parameters.
_SMALL = {"width": 96, "hidden": 192, "layers": 2, "heads": 4}


@dataclass(frozen=True)
class Variant:
    """One row of a study."""

    name: str
    meaning: str
    lifter: str
    synth: SynthConfig = field(default_factory=SynthConfig)
    network: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)  # of TrainConfig
    seeds: int = 1

    def config(self, seed: int, steps: int, batch: int) -> TrainConfig:
        """The training configuration of one seed."""
        base = TrainConfig(
            lifter=self.lifter,
            seed=seed,
            steps=steps,
            batch=batch,
            validate_every=max(1, steps // 10),
            synth=self.synth,
            network=self.network,
        )
        return replace(base, **self.changes)


@dataclass(frozen=True)
class Study:
    """Variants that are compared, and how long each is trained.

    minutes: instead of `steps`, as many as fit into so much computing time of one thread.
    """

    name: str
    question: str
    steps: int
    batch: int
    variants: tuple[Variant, ...]
    minutes: float | None = None
    tracks: tuple[str, ...] = ("clean", "real", "hard", "rendered", "cross-corpus")


def _small(name: str, meaning: str, synth: SynthConfig) -> Variant:
    return Variant(f"small/{name}", meaning, "strided-27", synth, _SMALL, seeds=2)


_PLAIN = SynthConfig()
_EVOLVED = replace(_PLAIN, evolve=EvolveConfig(share=0.4))
_DATA = Study(
    "data",
    "What do bodies, evolution and the calibrated detector bring?",
    steps=2000,
    batch=128,
    variants=(
        _small("base", "bodies, calibrated detector, no evolution", _PLAIN),
        _small(
            "skeleton",
            "no bodies: a detector sees the joint centres of one body",
            replace(_PLAIN, surface=False, definition=0.0),
        ),
        _small("evolved", "base with evolved motion", _EVOLVED),
        _small(
            "gaussian",
            "base with white noise of the same spread",
            replace(_PLAIN, noise=NoiseConfig(family="gaussian")),
        ),
    ),
)


# Small enough for two CPU cores.
_SHELL = {"width": 48, "depth": 3}


def _mixer(name: str, meaning: str, **network: Any) -> Variant:
    return Variant(f"mixed/{name}", meaning, "mixed", _PLAIN, _SHELL | network)


_MIXERS = Study(
    "mixers",
    "Do recurrent layers help?",
    steps=1500,
    batch=32,
    variants=(
        _mixer("attention", "attention, both ways", mixer="attention"),
        _mixer("lstm", "LSTM, both ways", mixer="lstm"),
        _mixer("gru", "GRU, both ways", mixer="gru"),
        _mixer("mingru", "minGRU, both ways", mixer="mingru"),
        replace(
            _mixer("scan", "selective scan, both ways", mixer="scan"), changes={"compiled": True}
        ),
        _mixer("retention", "gated retention, both ways", mixer="retention"),
        _mixer("retention-causal", "retention, live", mixer="retention", sides=1),
        _mixer("retention-delay4", "retention, 4 frames late", mixer="retention", sides=1, delay=4),
    ),
)


def _lifter(
    name: str,
    meaning: str = "",
    *,
    variant: str = "",
    synth: SynthConfig = _PLAIN,
    seeds: int = 1,
    **changes: Any,
) -> Variant:
    label = f"{name}/{variant}" if variant else name
    return Variant(label, meaning or info(name).citation, name, synth, {}, changes, seeds)


# The dearest of all, and answers for all frames of a window: fewer windows, more answers.
_MIXSTE = _lifter(
    "mixste-27-narrow",
    "MixSTE at a quarter of its width",
    rate=5e-4,
    batch=32,
    steps=1000,
    compiled=True,
)
_SURVEY = Study(
    "survey",
    "The survey's systems, trained alike: same data, same number of windows",
    steps=2000,
    batch=128,
    variants=(
        _lifter("semgcn", seeds=3),
        _lifter("semgcn-nonlocal", seeds=3),
        _lifter("cascade-2x2", seeds=3),
        _lifter(
            "cascade-2x2",
            "the same on evolved motion",
            variant="evolved",
            synth=_EVOLVED,
            seeds=3,
        ),
        _lifter("srnet-1", seeds=3),
        _lifter("tcn-1", seeds=3),
        _lifter("tcn-27"),
        _lifter("srnet-27"),
        _lifter("strided-27"),
        _lifter("dgnet-27"),
        _MIXSTE,
    ),
)
_MUON: dict[str, Any] = {"optimizer": "muon", "rate": 5e-3}
_TIME = Study(
    "time",
    "The survey's systems and ours, each trained for four minutes of one CPU core",
    steps=2000,
    batch=128,
    minutes=4,
    variants=(
        *(_lifter(name) for name in ("semgcn", "semgcn-nonlocal", "cascade-2x2", "srnet-1")),
        *(_lifter(name) for name in ("tcn-1", "tcn-27", "srnet-27", "strided-27", "dgnet-27")),
        _lifter("mixste-27-narrow", rate=5e-4, batch=32),
        _lifter("river-nano", rate=2e-3, batch=32),
        *(_lifter(name, variant="muon", **_MUON) for name in ("strided-27", "tcn-1", "srnet-1")),
        _lifter("river-nano", variant="muon", batch=32, **_MUON),
    ),
    tracks=("clean", "real", "rendered"),
)
_FULL = Study(
    "full",
    "The survey's systems and ours at full size, for a GPU",
    steps=60_000,
    batch=512,
    variants=(
        *(_lifter(name, batch=1024, seeds=3) for name in ("semgcn-nonlocal", "cascade-3x3")),
        *(_lifter(name) for name in ("tcn-243", "srnet-243", "strided-243", "strided-351")),
        _lifter("dgnet-243", batch=256),
        replace(
            _lifter("mixste-243", rate=5e-4, batch=64),
            network={"checkpointed": True},
        ),
        *(
            _lifter(name, batch=256, compiled=True, **_MUON)
            for name in ("river-nano", "river-small", "river-base")
        ),
    ),
)


def _river(name: str, meaning: str, synth: SynthConfig = _PLAIN, **changes: Any) -> Variant:
    network = _SHELL | changes.pop("network", {})
    usual = {"rate": 2e-3, "compiled": True}
    return Variant(f"river/{name}", meaning, "river-nano", synth, network, usual | changes)


_RIVER = Study(
    "river",
    "What do the parts of river and of its training bring?",
    steps=1500,
    batch=32,
    variants=(
        replace(_river("base", "as it is, smaller"), seeds=3),
        _river("faster", "at the rate of muon", rate=_MUON["rate"]),
        _river("muon", "orthogonalised steps", **_MUON),
        _river("no-bias", "attention without the skeleton", network={"skeleton_bias": False}),
        _river("frames", "memory by frames, not seconds", network={"seconds": False}),
        _river("off-axis", "people moved, not turned", flow=FlowConfig(on_axis=False)),
        _river("no-offsets", "all detectors agree on joints", replace(_PLAIN, definition=0.0)),
        _river(
            "skeleton",
            "no bodies: a detector sees the joint centres of one body",
            replace(_PLAIN, surface=False, definition=0.0),
        ),
        _river(
            "gaussian",
            "white noise of the same spread",
            replace(_PLAIN, noise=NoiseConfig(family="gaussian")),
        ),
        _river("evolved", "evolved motion", _EVOLVED),
        _river("taught", "live answers learn from those both ways", flow=FlowConfig(taught=0.5)),
        _river("no-velocity", "no loss of velocity", flow=FlowConfig(velocity_s=0.0)),
        _river("no-scales", "no uncertainty", flow=FlowConfig(scales=0.0)),
        _river("coco17", "one detector's skeleton alone", flow=FlowConfig(detector="coco17")),
        _river("both-ways", "whole clips alone", flow=FlowConfig(both_ways=1.0)),
    ),
    tracks=("clean", "real", "fps", "rendered"),
)
STUDIES = {study.name: study for study in (_DATA, _SURVEY, _TIME, _MIXERS, _RIVER, _FULL)}


def study_named(name: str) -> Study:
    """The study of that name. Raises UnknownNameError."""
    if name not in STUDIES:
        raise UnknownNameError("study", name, STUDIES)
    return STUDIES[name]


def folder(out: Path, variant: Variant, seed: int) -> Path:
    """Where one run is."""
    return out / f"{variant.name.replace('/', '-')}-seed{seed}"


def train_study(
    study: Study,
    pack: Pack,
    out: Path,
    report: Callable[[Report], None],
    *,
    only: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    steps: int | None = None,
    batch: int | None = None,
    device: torch.device | None = None,
) -> dict[str, list[Path]]:
    """Train all variants (or `only` those named) with all seeds; runs by variant.

    steps, batch: instead of the study's.

    Raises UnknownNameError for a variant that the study does not have.
    """
    names = [variant.name for variant in study.variants]
    for name in only:
        if name not in names:
            raise UnknownNameError(f"variant of {study.name}", name, names)
    device = device or torch.device("cpu")
    runs: dict[str, list[Path]] = {}
    for variant in study.variants:
        if only and variant.name not in only:
            continue
        for seed in range(variant.seeds) if seeds is None else seeds:
            path = folder(out, variant, seed)
            config = variant.config(seed, study.steps, study.batch)
            config = replace(config, batch=batch or config.batch)
            if steps:
                config = replace(config, steps=steps, validate_every=max(1, steps // 10))
            elif study.minutes:
                config = _for_minutes(config, study.minutes, pack, path, device)
            Run(config, pack, path, device).run(report)
            runs.setdefault(variant.name, []).append(path)
    return runs


def _for_minutes(
    config: TrainConfig, minutes: float, pack: Pack, path: Path, device: torch.device
) -> TrainConfig:
    """The configuration with as many steps as fit; a run that was begun keeps its number."""
    begun = path / "config.json"
    if begun.is_file():
        steps = json.loads(begun.read_text())["steps"]
    else:
        steps = max(10, round(60 * minutes / step_s(config, pack, device)))
    return replace(config, steps=steps, validate_every=max(1, steps // 10))


def as_study(study: Study, results: Results) -> Results:
    """The same results with the study's command, under a name and in tables of their own."""
    name = f"study: {study.name}"
    command = f"poselift study {study.name} clips.npz -o runs/{study.name}"
    renamed = (replace(r, benchmark=name, command=command) for r in results.records)
    return replace(results, records=tuple(renamed))


PRESETS = {
    "tiny": TrainConfig(
        lifter="strided-27", steps=600, batch=64, validate_every=200, network=_SMALL
    ),
    "full": TrainConfig(lifter="strided-27", steps=60_000, batch=512, validate_every=2000),
}


def preset(name: str) -> TrainConfig:
    """The training of `poselift reproduce`. Raises UnknownNameError."""
    if name not in PRESETS:
        raise UnknownNameError("preset", name, PRESETS)
    return PRESETS[name]
