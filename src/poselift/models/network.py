"""What training, evaluation and export may expect of a lifter's network (torch)."""

from collections.abc import Iterable
from typing import NamedTuple

from torch import Tensor, nn


class Lifted(NamedTuple):
    """Root-relative metres in camera axes: centre (B, 1, J, 3) and every frame (B, F, J, 3).

    `every` is None where a network answers for the centre only.
    """

    centre: Tensor
    every: Tensor | None


class Network(nn.Module):
    """A network that lifts windows of `frames` frames, with its loss."""

    frames: int

    def meet(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Called once before the first step of a fresh run, with some of its training data.

        Windows (B, F, J, 2) and root-relative targets in m (B, F, J, 3). Networks that work in the
        data's own units measure them here; batches that nobody asks for are never made.
        """

    def prepare(self, progress: float) -> None:
        """Called before every training step with the share of the run that is done, 0 to 1.

        Networks that are trained in stages freeze and unfreeze their parts here.
        """

    def forward(self, joints: Tensor) -> Lifted:
        """Lift normalised windows (B, F, J, 2)."""
        raise NotImplementedError

    def loss(self, lifted: Lifted, target_m: Tensor) -> Tensor:
        """What training minimises; target_m (B, F, J, 3) is root-relative."""
        raise NotImplementedError
