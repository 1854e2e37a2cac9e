"""SRNet: temporal convolutions split into body parts, each told a little of the other parts.

Zeng, Sun, Huang, Liu, Xu, Lin: SRNet, Improving Generalization in 3D Human Pose Estimation with a
Split-and-Recombine Approach (ECCV 2020). Every convolution of VideoPose3D's trunk is cut into
groups of joints, the pelvis in each of them; a group sees one number per tap that is computed from
the other groups. `recombine` says how it enters: as a factor, a summand, or one more channel.

The published code fails with one group, which is a plain convolution here; a hook that was to damp
the recombination's gradient has no effect there and is left out. With `Config.faithful`, "concat"
reads the numbers as the published code does, with taps and frames mixed up wherever a layer has
several of both; the strided and the dilated graph then differ.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from poselift.models.blocks import Temporal, centre_of, checked_filters, normed, taps
from poselift.models.config import JsonConfig
from poselift.models.network import Lifted
from poselift.skeleton import skeleton

_LEG = ("{}_hip", "{}_knee", "{}_ankle")
_ARM = ("{}_shoulder", "{}_elbow", "{}_wrist")


def _limb(names: tuple[str, ...], side: str) -> tuple[str, ...]:
    return tuple(name.format(side) for name in names)


_RIGHT_LEG, _LEFT_LEG = _limb(_LEG, "right"), _limb(_LEG, "left")
_RIGHT_ARM, _LEFT_ARM = _limb(_ARM, "right"), _limb(_ARM, "left")
_TRUNK = ("spine", "thorax", "nose", "head_top")
# Joints of each group besides the pelvis, by the number of groups.
GROUPS: dict[int, tuple[tuple[str, ...], ...]] = {
    5: (_RIGHT_LEG, _LEFT_LEG, _TRUNK, _LEFT_ARM, _RIGHT_ARM),
    3: (_RIGHT_LEG + _LEFT_LEG, _TRUNK, _LEFT_ARM + _RIGHT_ARM),
    2: ((*_RIGHT_LEG, *_LEFT_LEG, "spine"), (*_TRUNK[1:], *_LEFT_ARM, *_RIGHT_ARM)),
    1: ((*_RIGHT_LEG, *_LEFT_LEG, *_TRUNK, *_LEFT_ARM, *_RIGHT_ARM),),
}


@dataclass(frozen=True)
class Config(JsonConfig):
    """Shape of the network. Raises InputError where the numbers do not fit together.

    recombine: "multiply", "add" or "concat"; source: what a group is told about, the "others" as
    published, "all" groups or "none"; filters as in `poselift.models.tcn`.
    """

    frames: int = 243
    filters: tuple[int, ...] = ()
    groups: int = 5
    recombine: str = "multiply"
    source: str = "others"
    width: int = 1024
    dropout: float = 0.0
    faithful: bool = False

    def __post_init__(self) -> None:
        self.check_counts("frames", "width")
        self.check_rates("dropout")
        self.check_choice("groups", tuple(GROUPS))
        self.check_choice("recombine", ("multiply", "add", "concat"))
        self.check_choice("source", ("others", "all", "none"))
        object.__setattr__(self, "filters", checked_filters(self.frames, self.filters))


class SRNet(Temporal):
    """Normalised 2D joints (B, F, 17, 2) to the centre's pose. Raises ShapeError."""

    columns_in: Tensor
    columns_out: Tensor

    def __init__(self, config: Config | None = None) -> None:
        c = config or Config()
        groups = joint_groups(c.groups)
        counts = [len(group) for group in groups]
        # As published, several groups have one output more than is read.
        last = shares(3 * sum(counts) + (len(groups) > 1), counts)
        first, inner = [2 * count for count in counts], shares(c.width, counts)

        def make(place: str, size: int) -> nn.Module:
            inputs = first if place == "first" else inner
            return GroupedConvolution(c, inputs, last if place == "last" else inner, size)

        super().__init__(c.filters, c.width, make, nn.LeakyReLU(), c.dropout)
        self.config = c
        self.register_buffer("columns_in", _columns_in(groups), persistent=False)
        self.register_buffer("columns_out", _columns_out(groups, last), persistent=False)

    def spread(self, coordinates: Tensor) -> Tensor:
        """Coordinates by groups, those of the pelvis in each."""
        return coordinates[..., self.columns_in]

    def gather(self, outputs: Tensor) -> Tensor:
        """Coordinates by joints, those of the pelvis from the first group."""
        return outputs[..., self.columns_out]

    def loss(self, lifted: Lifted, target_m: Tensor) -> Tensor:
        """Mean absolute error of the centre frame's coordinates in metres, as published."""
        return (lifted.centre - centre_of(target_m)).abs().mean()


class GroupedConvolution(nn.Module):
    """One convolution per group, each told of the others, (B, L, sum C) to (B, L', sum O)."""

    def __init__(self, config: Config, inputs: list[int], outputs: list[int], size: int) -> None:
        super().__init__()
        self.inputs, self.size = inputs, size
        self.recombine, self.source = config.recombine, config.source
        self.faithful = config.faithful
        told = [self._told(i) for i in range(len(inputs))]
        extra = int(config.recombine == "concat" and all(told))
        self.own = nn.ModuleList(
            nn.Linear(size * (mine + extra), out, bias=False)
            for mine, out in zip(inputs, outputs, strict=True)
        )
        self.hints = nn.ModuleList(nn.Linear(size * count, size) for count in told if count)
        for name, weight in self.hints.named_parameters():
            if name.endswith("weight"):
                nn.init.zeros_(weight)
        norms = len(self.hints) if config.recombine == "multiply" else 0
        self.norms = nn.ModuleList(nn.BatchNorm1d(size) for _ in range(norms))

    def _told(self, group: int) -> int:
        """Channels that a group is told about."""
        total = sum(self.inputs)
        return {"others": total - self.inputs[group], "all": total, "none": 0}[self.source]

    def forward(self, x: Tensor, dilation: int | None) -> Tensor:
        """Convolve in the strided or the dilated graph."""
        parts = taps(x, self.size, dilation).split(self.inputs, dim=-1)
        if self.hints:
            parts = [self._recombined(parts, i) for i in range(len(parts))]
        pairs = zip(self.own, parts, strict=True)
        return torch.cat([own(part.flatten(2)) for own, part in pairs], dim=-1)

    def _recombined(self, parts: tuple[Tensor, ...], group: int) -> Tensor:
        """A group's taps (B, L, size, C) with one number per tap from the other groups."""
        others = [p for i, p in enumerate(parts) if self.source == "all" or i != group]
        hint = self.hints[group](torch.cat(others, dim=-1).flatten(2))
        if self.recombine == "multiply":
            return parts[group] * normed(self.norms[group], hint).sigmoid()[..., None]
        hint = nn.functional.leaky_relu(hint)
        if self.recombine == "add":
            return parts[group] + hint[..., None]
        if self.faithful:
            hint = hint.transpose(1, 2).reshape(hint.shape)
        return torch.cat([parts[group], hint[..., None]], dim=-1)


def joint_groups(count: int) -> list[list[int]]:
    """Indices of the joints of each group, the pelvis first."""
    h36m = skeleton("h36m17")
    return [[h36m.index(joint) for joint in ("pelvis", *group)] for group in GROUPS[count]]


def shares(total: int, counts: list[int]) -> list[int]:
    """`total` in proportion to `counts`, rounded down; the last takes the rest."""
    parts = [total * count // sum(counts) for count in counts[:-1]]
    return [*parts, total - sum(parts)]


def _columns_in(groups: list[list[int]]) -> Tensor:
    return torch.tensor(
        [2 * joint + axis for group in groups for joint in group for axis in (0, 1)]
    )


def _columns_out(groups: list[list[int]], outputs: list[int]) -> Tensor:
    """Where each joint's coordinates stand, in the first group that has it."""
    columns, start = torch.zeros(17, 3, dtype=torch.int64), sum(outputs)
    for group, width in zip(reversed(groups), reversed(outputs), strict=True):
        start -= width
        columns[group] = start + torch.arange(3 * len(group)).view(-1, 3)
    return columns.flatten()
