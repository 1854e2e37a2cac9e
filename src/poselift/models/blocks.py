"""What several lifters share: the window's check, the centre's error, convolutions over time.

A temporal network is written once for two graphs on the same weights. The *strided* graph folds a
window of exactly the receptive field into one answer (`dilation` None): cheap, for training and
windows. The *dilated* graph slides over a clip of any length and answers for every frame that has
its whole receptive field: cheaper than one window per frame.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from poselift.errors import InputError, ShapeError
from poselift.models.network import Lifted, Network
from poselift.skeleton import Skeleton

# The published filters of VideoPose3D and its descendants, by receptive field.
FILTERS: dict[int, tuple[int, ...]] = {
    1: (1, 1, 1),
    27: (3, 3, 3),
    81: (3, 3, 3, 3),
    243: (3, 3, 3, 3, 3),
}
_FIRST_MOMENTUM, _LAST_MOMENTUM = 0.1, 0.001


def check_window(joints: Tensor, frames: int, count: int = 17) -> None:
    """Raises ShapeError where `joints` is not (B, frames, count, 2)."""
    if joints.shape[1:] != (frames, count, 2):
        expected = f"(B, {frames}, {count}, 2)"
        raise ShapeError("2D joints", expected=expected, found=tuple(joints.shape))


def centre_of(target_m: Tensor) -> Tensor:
    """The middle frame (B, 1, J, 3) of (B, F, J, 3)."""
    middle = target_m.shape[1] // 2
    return target_m[:, middle : middle + 1]


def centre_error_m(lifted: Lifted, target_m: Tensor) -> Tensor:
    """MPJPE of the centre frame in metres; target_m (B, F, J, 3), the predicted root is free."""
    return (lifted.centre - centre_of(target_m)).norm(dim=-1).mean()


def normed(norm: nn.Module, x: Tensor) -> Tensor:
    """Batch norm over the last axis of (..., C)."""
    return norm(x.flatten(0, -2)).view_as(x)


def neighbours(graph: Skeleton) -> Tensor:
    """Where a joint and a joint are the same or share a bone: (J, J), true or false."""
    near = torch.eye(len(graph), dtype=torch.bool)
    for parent, child in graph.edges:
        near[parent, child] = near[child, parent] = True
    return near


def checked_filters(frames: int, filters: tuple[int, ...]) -> tuple[int, ...]:
    """The filters, or the published ones of `frames`. Raises InputError."""
    chosen = tuple(filters) or FILTERS.get(frames)
    if chosen is None:
        raise InputError(
            f"no published filters for {frames} frames",
            expected="filters that multiply to the frames",
            known=FILTERS,
        )
    if math.prod(chosen) != frames or any(size < 1 or size % 2 == 0 for size in chosen):
        raise InputError(
            f"filters for {frames} frames",
            expected=f"odd numbers that multiply to {frames}",
            found=chosen,
        )
    return chosen


def taps(x: Tensor, size: int, dilation: int | None) -> Tensor:
    """What each answer of a convolution sees: (B, L, C) to (B, L', size, C).

    Without dilation the groups of `size` frames one after another.
    """
    if dilation is None:
        return x.unflatten(1, (-1, size))
    answers = x.shape[1] - dilation * (size - 1)
    return torch.stack([x[:, i * dilation :][:, :answers] for i in range(size)], dim=2)


def middle(x: Tensor, size: int, dilation: int | None) -> Tensor:
    """The middle tap of each answer: (B, L, C) to (B, L', C)."""
    if dilation is None:
        return x[:, size // 2 :: size]
    reach = dilation * (size // 2)
    return x[:, reach : x.shape[1] - reach]


class Convolution(nn.Module):
    """A convolution of `size` frames as a linear layer on its taps, (B, L, C) to (B, L', O).

    `linear.weight` (O, size C) holds the taps one after another.
    """

    def __init__(self, inputs: int, outputs: int, size: int, bias: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(size * inputs, outputs, bias=bias)
        self.size = size

    def forward(self, x: Tensor, dilation: int | None) -> Tensor:
        """Convolve in the strided or the dilated graph."""
        return self.linear(taps(x, self.size, dilation).flatten(2))


class Unit(nn.Module):
    """Convolution, batch norm, activation, dropout."""

    def __init__(
        self, convolution: nn.Module, width: int, activation: nn.Module, rate: float
    ) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = nn.BatchNorm1d(width)
        self.activation = activation
        self.dropout = nn.Dropout(rate)

    def forward(self, x: Tensor, dilation: int | None) -> Tensor:
        """(B, L, C) to (B, L', O)."""
        x = normed(self.norm, self.convolution(x, dilation))
        return self.dropout(self.activation(x))


class Residual(nn.Module):
    """A convolution over time and one on each frame, added to the middle tap."""

    def __init__(self, wide: Unit, point: Unit, size: int) -> None:
        super().__init__()
        self.wide, self.point, self.size = wide, point, size

    def forward(self, x: Tensor, dilation: int | None) -> Tensor:
        """(B, L, C) to (B, L', C)."""
        return middle(x, self.size, dilation) + self.point(self.wide(x, dilation), None)


class Temporal(Network):
    """The trunk of VideoPose3D: a convolution, residual blocks, a convolution; 17 joints.

    `make(place, size)` gives the convolution of `size` frames at "first", "inner" or "last".
    """

    def __init__(
        self,
        filters: tuple[int, ...],
        width: int,
        make: Callable[[str, int], nn.Module],
        activation: nn.Module,
        dropout: float,
    ) -> None:
        super().__init__()
        self.frames = math.prod(filters)
        self.filters = filters

        def unit(place: str, size: int) -> Unit:
            return Unit(make(place, size), width, activation, dropout)

        self.first = unit("first", filters[0])
        self.blocks = nn.ModuleList(
            Residual(unit("inner", size), unit("inner", 1), size) for size in filters[1:]
        )
        self.last = make("last", 1)

    def prepare(self, progress: float) -> None:
        """Batch norms follow the batches less and less: momentum 0.1 to 0.001."""
        momentum = _FIRST_MOMENTUM * (_LAST_MOMENTUM / _FIRST_MOMENTUM) ** progress
        for module in self.modules():
            if isinstance(module, Unit):
                module.norm.momentum = momentum

    def forward(self, joints: Tensor) -> Lifted:
        """Lift windows (B, F, 17, 2) of the receptive field, in the strided graph."""
        check_window(joints, self.frames)
        return Lifted(self._run(joints, dilated=False), None)

    def lift_clip(self, joints: Tensor) -> Tensor:
        """Poses (B, T - F + 1, 17, 3) of clips (B, T, 17, 2), in the dilated graph.

        The answer at i is that of the window of frames i to i + F - 1. Raises ShapeError.
        """
        if joints.shape[1] < self.frames or joints.shape[2:] != (17, 2):
            expected = f"(B, {self.frames} or more, 17, 2)"
            raise ShapeError("2D joints", expected=expected, found=tuple(joints.shape))
        return self._run(joints, dilated=True)

    def _run(self, joints: Tensor, *, dilated: bool) -> Tensor:
        x = self.first(self.spread(joints.flatten(2)), 1 if dilated else None)
        dilation = self.filters[0]
        for block, size in zip(self.blocks, self.filters[1:], strict=True):
            x = block(x, dilation if dilated else None)
            dilation *= size
        return self.gather(self.last(x, None)).unflatten(2, (17, 3))

    def spread(self, coordinates: Tensor) -> Tensor:
        """The first convolution's input (B, L, C) from coordinates (B, L, 34)."""
        return coordinates

    def gather(self, outputs: Tensor) -> Tensor:
        """Coordinates (B, L, 51) from the last convolution's output."""
        return outputs
