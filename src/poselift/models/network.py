"""What training, evaluation and export may expect of a lifter's network (torch)."""

from typing import NamedTuple

from torch import Tensor, nn


class Lifted(NamedTuple):
    """Root-relative metres in camera axes: centre (B, 1, J, 3) and every frame (B, F, J, 3)."""

    centre: Tensor
    every: Tensor


class Network(nn.Module):
    """A network that lifts windows of `frames` frames, with its loss."""

    frames: int

    def forward(self, joints: Tensor) -> Lifted:
        """Lift normalised windows (B, F, J, 2)."""
        raise NotImplementedError

    def loss(self, lifted: Lifted, target_m: Tensor) -> Tensor:
        """What training minimises; target_m (B, F, J, 3) is root-relative."""
        raise NotImplementedError
