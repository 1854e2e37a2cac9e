"""The training run, top to bottom: data, network, step, validation, checkpoint.

A run is a folder: `config.json`, `log.jsonl`, `last.safetensors` (exact resume), `best.safetensors`
(averaged weights with the lowest validation error).
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from poselift.errors import InputError
from poselift.models import build, info
from poselift.models.network import Network
from poselift.models.river import River
from poselift.train import checkpoint
from poselift.train.batches import Motions, SynthConfig, generator, make_batch
from poselift.train.flow import Flow, FlowConfig
from poselift.train.growth import grown
from poselift.train.lessons import Lesson, Source, Windows, multiplies_bf16
from poselift.train.optimizers import optimizers
from poselift.train.pack import Pack, read_pack
from poselift.train.starting import begin, starting_weights

# Validation draws from streams of its own, far from those of any training step.
_VALIDATION_SEED = 20_261_123
_MET_BATCHES = 16
_GRAPHS = 128
_MEETING = 1  # rank of the streams that they draw from; steps have rank 0


@dataclass(frozen=True)
class TrainConfig:
    """One run. Saved beside its weights; the same numbers give the same run. Raises InputError."""

    lifter: str = "strided-27"
    seed: int = 0
    steps: int = 10_000
    batch: int = 256
    rate: float = 1e-3
    optimizer: str = "adamw"
    warmup: int = 200
    decay_share: float = 0.3  # of the steps, at the end, in which the rate falls to zero
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    average_half_life: float = 0.01  # of the steps: half-life of the averaged weights
    validate_every: int = 500
    validation_batches: int = 8
    save_every_s: float = 60.0
    bf16: bool = True  # products of matrices, where the machine has them
    compiled: bool = False  # the network's blocks, for speed: some minutes to begin with
    # Whose weights come first: the folder of a run, or a lifter that ships its network; of `river`
    # also a smaller one.
    start_from: str | None = None
    synth: SynthConfig = field(default_factory=SynthConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)  # of `river`
    network: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.decay_share <= 1:
            expected = "a share of the steps from 0 to 1"
            raise InputError("decay of the rate", expected=expected, found=self.decay_share)


@dataclass(frozen=True)
class Report:
    """What a caller sees while training runs."""

    step: int
    steps: int
    loss: float
    validation_mm: float | None
    best_mm: float | None
    frames_per_s: float


class Run:
    """A training run in a folder; made anew or taken up where it was cut."""

    def __init__(
        self, config: TrainConfig, pack: Pack | Path, out: Path, device: torch.device
    ) -> None:
        self.config, self.out, self.device = config, out, device
        torch.manual_seed(config.seed)
        self.model = build(config.lifter, **config.network).to(device)
        if config.start_from:
            weights = starting_weights(config.start_from)
            if isinstance(self.model, River):
                weights = grown(weights, self.model)
            begin(self.model, weights)
        self.average = build(config.lifter, **config.network).to(device).eval()
        self.average.load_state_dict(self.model.state_dict())
        self.optimizers = optimizers(config.optimizer, self.model, config.rate, config.weight_decay)
        self.frames = self.model.frames
        self.lesson = lesson(config, device)
        if config.compiled:
            # Each block, mode and length of clips is a graph of its own.
            torch._dynamo.config.recompile_limit = _GRAPHS  # ty: ignore
            for block in getattr(self.model, "blocks", [self.model]):
                block.compile(dynamic=False)
        clips = pack if isinstance(pack, Pack) else read_pack(pack)
        self.train_motions = Motions(clips, "train", device)
        self.validation_motions = Motions(clips, "validation", device)
        self.step, self.best_m = 0, math.inf
        out.mkdir(parents=True, exist_ok=True)
        self._resume()
        if self.step == 0 and not config.start_from:
            self._meet()

    def _meet(self) -> None:
        """Show a fresh network some training batches, if it asks for them."""
        if not isinstance(self.model, Network):
            return
        config, motions = self.config, self.train_motions
        draws = (generator(config.seed, i, _MEETING, self.device) for i in range(_MET_BATCHES))
        batches = (make_batch(motions, config.batch, self.frames, config.synth, g) for g in draws)
        self.model.meet((batch.xy, batch.xyz_m) for batch in batches)
        self.average.load_state_dict(self.model.state_dict())

    def _resume(self) -> None:
        last = self.out / checkpoint.LAST
        wanted = json.loads(json.dumps(asdict(self.config)))
        if last.exists():
            self._take_up(*checkpoint.load(last), wanted)
        (self.out / "config.json").write_text(json.dumps(wanted, indent=2))

    def _take_up(
        self, tensors: dict[str, Tensor], facts: dict[str, Any], wanted: dict[str, Any]
    ) -> None:
        """Go on from a checkpoint. Raises InputError where it is another run's."""
        # These may change: they only move the point where the rate begins to fall.
        free = {name: wanted[name] for name in ("steps", "decay_share")}
        stored = full_config(facts["config"]) | free
        if stored != wanted:
            changed = [name for name in wanted if stored.get(name) != wanted[name]]
            raise InputError(
                f"{self.out} holds another run",
                expected="the same configuration, or another folder",
                found=f"other values of {', '.join(changed)}",
            )
        self.model.load_state_dict(checkpoint.under("model", tensors))
        self.average.load_state_dict(checkpoint.under("average", tensors))
        state = checkpoint.under("optimizer", tensors)
        checkpoint.restore_optimizers(self.model, self.optimizers, state)
        self.step, self.best_m = facts["step"], facts["best_m"] or math.inf

    def run(self, report: Callable[[Report], None], *, minutes: float | None = None) -> None:
        """Train to the last step, or for `minutes`, then save; calls `report` after each step."""
        started = saved = time.monotonic()
        first, validation = self.step, None
        while self.step < self.config.steps:
            loss = self.train_step()
            if self.step % self.config.validate_every == 0 or self.step == self.config.steps:
                validation = self._validate(float(loss))
            now = time.monotonic()
            done = (self.step - first) * self.config.batch * self.frames
            best = None if math.isinf(self.best_m) else self.best_m * 1e3
            report(
                Report(
                    self.step,
                    self.config.steps,
                    float(loss),
                    validation,
                    best,
                    done / (now - started),
                )
            )
            if now - saved > self.config.save_every_s:
                self.save()
                saved = now
            if minutes is not None and now - started > 60 * minutes:
                break
        self.save()

    def train_step(self) -> Tensor:
        """One step; its loss."""
        config = self.config
        self.model.train()
        progress = self.step / config.steps
        if isinstance(self.model, Network):
            self.model.prepare(progress)
        g = generator(config.seed, self.step, 0, self.device)
        torch.manual_seed(int(torch.randint(2**62, (), generator=g, device=g.device)))  # dropout
        for group in (g for each in self.optimizers for g in each.param_groups):
            group["lr"] = config.rate * self._schedule()
        source = Source(self.train_motions, config.synth, config.batch)
        loss = self.lesson.loss(self.model, source, g, progress)
        for each in self.optimizers:
            each.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), config.clip_norm)
        for each in self.optimizers:
            each.step()
        self.step += 1
        self._update_average()
        return loss.detach()

    def _schedule(self) -> float:
        """Warm-up, constant, then a straight line to zero."""
        config = self.config
        warm = min(1.0, (self.step + 1) / max(1, config.warmup))
        left = (config.steps - self.step) / max(1.0, config.decay_share * config.steps)
        return min(warm, left, 1.0)

    @torch.no_grad()
    def _update_average(self) -> None:
        half_life = max(1.0, self.config.average_half_life * self.config.steps)
        keep = min(0.5 ** (1 / half_life), (1 + self.step) / (10 + self.step))
        pairs = zip(
            self.average.state_dict().values(), self.model.state_dict().values(), strict=True
        )
        for mean, value in pairs:
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1 - keep)
            else:
                mean.copy_(value)

    @torch.no_grad()
    def _validate(self, loss: float) -> float:
        """Errors on validation subjects in mm; keeps the best weights by the noisy one."""
        noisy, clean = (
            self._error_m(synth) for synth in (self.config.synth, self.config.synth.clean())
        )
        row = {
            "step": self.step,
            "loss": loss,
            "rate": self._schedule() * self.config.rate,
            "validation_noisy_mm": noisy * 1e3,
            "validation_clean_mm": clean * 1e3,
            "time": time.time(),
        }
        with (self.out / "log.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")
        if noisy < self.best_m:
            self.best_m = noisy
            facts = {"step": self.step, "config": asdict(self.config), "best_m": noisy}
            weights = checkpoint.named("average", self.average.state_dict())
            checkpoint.save(self.out / checkpoint.BEST, weights, facts)
        return noisy * 1e3

    def _error_m(self, synth: SynthConfig) -> float:
        source = Source(self.validation_motions, synth, min(256, 4 * self.config.batch))
        total = 0.0
        for index in range(self.config.validation_batches):
            g = generator(_VALIDATION_SEED, index, 0, self.device)
            total += self.lesson.error_m(self.average, source, g)
        return total / self.config.validation_batches

    def save(self) -> None:
        """Write `last.safetensors`."""
        tensors = checkpoint.named("model", self.model.state_dict())
        tensors |= checkpoint.named("average", self.average.state_dict())
        state = checkpoint.optimizer_tensors(self.model, self.optimizers)
        tensors |= checkpoint.named("optimizer", state)
        best = None if math.isinf(self.best_m) else self.best_m
        facts = {"step": self.step, "best_m": best, "config": asdict(self.config)}
        checkpoint.save(self.out / checkpoint.LAST, tensors, facts)


def lesson(config: TrainConfig, device: torch.device) -> Lesson:
    """How the lifter of a run is taught."""
    gives = info(config.lifter).gives
    bf16 = config.bf16 and multiplies_bf16(device)
    if gives == "stream":
        return Flow(bf16, config.flow)
    return Windows(gives == "all", bf16)


def full_config(stored: dict[str, Any]) -> dict[str, Any]:
    """A run's stored configuration with today's options, as JSON."""
    return _over(json.loads(json.dumps(asdict(TrainConfig()))), stored)


def _over(defaults: dict[str, Any], stored: dict[str, Any]) -> dict[str, Any]:
    """A stored configuration; what it lacks was not an option yet, and is as by default."""
    return defaults | {
        name: _over(defaults.get(name, {}), value) if isinstance(value, dict) else value
        for name, value in stored.items()
    }
