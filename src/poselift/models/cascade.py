"""EvoSkeleton's cascade: fully connected networks, each trained on what the earlier ones left.

Li, Ke, Pratama, Tai, Tang, Cheng: Cascaded Deep Monocular 3D Human Pose Estimation with
Evolutionary Training Data (CVPR 2020). One frame; 17 joints in, 16 out, the pelvis is zero. The sum
of the stages is the answer. A stage is the network of Martinez et al. (ICCV 2017).

`prepare` goes through the stages in equal shares of a run: stages that had their turn are frozen,
those to come count nothing. A network that never hears of `prepare` uses all its stages.

Everything happens in standardised coordinates, by means and deviations of the training data that
`meet` takes before the first step, else 0 and 1. A joint that is missing (0, 0) stays 0.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from poselift.errors import InputError
from poselift.models.blocks import centre_of, check_window
from poselift.models.config import JsonConfig
from poselift.models.network import Lifted, Network


@dataclass(frozen=True)
class Config(JsonConfig):
    """Shape of the network. Raises InputError where the numbers do not fit together.

    blocks: residual blocks in each stage; leaky: leaky ReLU instead of ReLU.
    """

    stages: int = 2
    blocks: int = 2
    width: int = 1024
    dropout: float = 0.5
    leaky: bool = False

    def __post_init__(self) -> None:
        self.check_counts("stages", "blocks", "width")
        self.check_rates("dropout")


class Cascade(Network):
    """Normalised 2D joints (B, 1, 17, 2) to that frame's pose. Raises ShapeError."""

    counted: Tensor
    input_mean: Tensor
    input_deviation: Tensor
    target_mean_m: Tensor
    target_deviation_m: Tensor

    frames = 1

    def __init__(self, config: Config | None = None) -> None:
        super().__init__()
        self.config = c = config or Config()
        self.stages = nn.ModuleList(Stage(c) for _ in range(c.stages))
        self.current: int | None = None  # the stage in training; None: all of them
        # Kept with the weights: how many stages count.
        self.register_buffer("counted", torch.tensor(c.stages))
        self.register_buffer("input_mean", torch.zeros(17, 2))
        self.register_buffer("input_deviation", torch.ones(17, 2))
        self.register_buffer("target_mean_m", torch.zeros(16, 3))
        self.register_buffer("target_deviation_m", torch.ones(16, 3))

    def prepare(self, progress: float) -> None:
        """Train the stage whose turn it is after this share of the run."""
        self.current = min(int(progress * len(self.stages)), len(self.stages) - 1)
        self.counted.fill_(self.current + 1)
        for index, stage in enumerate(self.stages):
            stage.requires_grad_(index == self.current)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Training mode for the stage whose turn it is; frozen stages answer as in evaluation."""
        super().train(mode)
        for index, stage in enumerate(self.stages):
            stage.train(mode and self.current in (None, index))
        return self

    @torch.no_grad()
    def meet(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Take means and deviations from windows (B, 1, 17, 2) and targets in m (B, 1, 17, 3).

        Missing joints do not count; what never varies keeps the deviation 1. Raises InputError.
        """
        inputs, targets = Moments(), Moments()
        for joints, target_m in batches:
            inputs.add(joints.flatten(0, 1), _seen(joints.flatten(0, 1)))
            poses = target_m.flatten(0, 1)[:, 1:]
            targets.add(poses, torch.ones_like(poses[..., :1], dtype=torch.bool))
        for name, moments in (("input{}", inputs), ("target{}_m", targets)):
            mean, deviation = moments.result()
            getattr(self, name.format("_mean")).copy_(mean)
            getattr(self, name.format("_deviation")).copy_(deviation)

    def forward(self, joints: Tensor) -> Lifted:
        """Lift frames (B, 1, 17, 2)."""
        check_window(joints, 1)
        points = joints[:, 0]
        points = (points - self.input_mean) / self.input_deviation * _seen(joints[:, 0])
        flat, answer = points.flatten(1), joints.new_zeros(1)
        in_turn = self.training and self.current is not None
        stages = self.stages[: self.current + 1] if in_turn else self.stages
        for index, stage in enumerate(stages):
            answer = answer + stage(flat) * (index < self.counted)
        pose = self.target_mean_m + self.target_deviation_m * answer.unflatten(1, (16, 3))
        return Lifted(nn.functional.pad(pose, (0, 0, 1, 0))[:, None], None)

    def loss(self, lifted: Lifted, target_m: Tensor) -> Tensor:
        """Mean squared error of the standardised coordinates.

        The error of the sum of stages is that of the last one on what the earlier ones left.
        """
        error_m = (lifted.centre - centre_of(target_m))[..., 1:, :]
        return (error_m / self.target_deviation_m).square().mean()


class Stage(nn.Module):
    """34 standardised coordinates to 48, through residual blocks."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.width
        self.first = _unit(config, 2 * 17)
        self.blocks = nn.ModuleList(
            nn.Sequential(_unit(config, width), _unit(config, width)) for _ in range(config.blocks)
        )
        self.last = nn.Linear(width, 3 * 16)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 34) to (B, 48)."""
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return self.last(x)


class Moments:
    """Running means and deviations of points (N, J, C), over those that are seen."""

    def __init__(self) -> None:
        self.count, self.total, self.squares = torch.zeros(3, 1, 1, dtype=torch.float64)

    def add(self, points: Tensor, seen: Tensor) -> None:
        """Count points (N, J, C) where seen (N, J, 1)."""
        points, seen = points.double().cpu(), seen.cpu()
        self.count = self.count + seen.sum(0)
        self.total = self.total + (points * seen).sum(0)
        self.squares = self.squares + (points.square() * seen).sum(0)

    def result(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation (J, C). Raises InputError where a joint was never seen."""
        if not self.count.all():
            raise InputError("standardisation", expected="every joint seen", found="one never seen")
        mean = self.total / self.count
        deviation = (self.squares / self.count - mean.square()).clamp_min(0).sqrt()
        return mean, torch.where(deviation > 1e-6, deviation, 1.0)


def _unit(config: Config, inputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, config.width),
        nn.BatchNorm1d(config.width),
        nn.LeakyReLU() if config.leaky else nn.ReLU(),
        nn.Dropout(config.dropout),
    )


def _seen(points: Tensor) -> Tensor:
    return (points != 0).any(dim=-1, keepdim=True)
