"""DG-Net, our reading: joints are related by where they are and how they move, not by bones alone.

Zhang, Wang, Zhou, Luan, Wang, Qiao: Learning Dynamical Human-Joint Affinity for 3D Pose Estimation
in Videos (IEEE TIP 2021). No code is public, and what we know is the idea: a spatial graph from the
closeness of joints in each frame, a temporal graph from the likeness of their movement, both made
anew from the features of every clip. Layers, widths, weights and loss are **ours**; numbers of this
network are not numbers of the paper's.

A block relates the joints of each frame, then relates joints over the clip while it folds three
frames into one; 27 frames take three blocks. The first block compares the 2D joints themselves,
later ones a small projection of the features.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poselift.errors import InputError
from poselift.models.blocks import centre_error_m, check_window, neighbours, normed
from poselift.models.config import JsonConfig
from poselift.models.network import Lifted, Network
from poselift.skeleton import skeleton

_SMALLEST = 1e-8  # squared distance below which joints count as in one place


@dataclass(frozen=True)
class Config(JsonConfig):
    """Shape of the network. Raises InputError where the numbers do not fit together.

    frames: a power of three; nearest: other joints that a joint is related to besides those at its
    bones; descriptor: size of the projection in which joints are compared.
    """

    frames: int = 27
    width: int = 128
    nearest: int = 4
    descriptor: int = 16
    dropout: float = 0.1

    def __post_init__(self) -> None:
        self.check_counts("frames", "width", "nearest", "descriptor")
        self.check_rates("dropout")
        if self.frames != 3**self.blocks or self.frames < 3:
            raise InputError("frames", expected="3, 9, 27, 81, 243 ...", found=self.frames)
        if self.nearest > 15:
            raise InputError("nearest", expected="at most 15 of 16 others", found=self.nearest)

    @property
    def blocks(self) -> int:
        """How often three frames become one."""
        count, left = 0, self.frames
        while left > 1:
            count, left = count + 1, left // 3
        return count


class DGNet(Network):
    """Normalised 2D joints (B, F, 17, 2) to the centre's pose. Raises ShapeError."""

    def __init__(self, config: Config | None = None) -> None:
        super().__init__()
        self.config = c = config or Config()
        self.frames = c.frames
        self.embed = nn.Linear(2, c.width)
        self.joint_position = nn.Parameter(0.02 * torch.randn(17, c.width))
        self.blocks = nn.ModuleList(Block(c, first=index == 0) for index in range(c.blocks))
        self.head = nn.Linear(c.width, 3)

    def forward(self, joints: Tensor) -> Lifted:
        """Lift windows (B, F, 17, 2)."""
        check_window(joints, self.frames)
        x = self.embed(joints) + self.joint_position
        for index, block in enumerate(self.blocks):
            x = block(x, joints if index == 0 else None)
        return Lifted(self.head(x), None)

    def loss(self, lifted: Lifted, target_m: Tensor) -> Tensor:
        """Mean joint distance of the centre frame in metres."""
        return centre_error_m(lifted, target_m)


class Block(nn.Module):
    """Both graphs, one after the other: (B, L, J, C) to (B, L / 3, J, C)."""

    def __init__(self, config: Config, *, first: bool) -> None:
        super().__init__()
        width = config.width
        self.in_space = Relation(config, projected=not first)
        self.in_time = Relation(config, projected=not first)
        self.space = nn.Linear(2 * width, width, bias=False)
        self.space_norm = nn.BatchNorm1d(width)
        self.time = nn.Linear(3 * 2 * width, width, bias=False)
        self.time_norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, places: Tensor | None) -> Tensor:
        """One block; `places` (B, L, J, 2) are compared in place of the features."""
        shares = self.in_space(in_frames(self.in_space.places(x, places)))
        x = x + self._unit(self.space(messages(shares, x)), self.space_norm)
        shares = self.in_time(in_movement(self.in_time.places(x, places)))
        seen = messages(shares, x).unflatten(1, (-1, 3)).movedim(2, 3)
        return x[:, 1::3] + self._unit(self.time(seen.flatten(3)), self.time_norm)

    def _unit(self, x: Tensor, norm: nn.BatchNorm1d) -> Tensor:
        return self.dropout(F.relu(normed(norm, x)))


class Relation(nn.Module):
    """Squared distances between joints (..., J, J) to the shares that a joint takes of the others.

    A joint's weight falls from 1 at distance 0 to 0 at the nearest joint that is one too many, so
    that shares stay continuous where neighbours change; joints at its bones have a learned weight
    on top. The choice of neighbours carries no gradient, the weights do.
    """

    near: Tensor

    def __init__(self, config: Config, *, projected: bool) -> None:
        super().__init__()
        self.project = nn.Linear(config.width, config.descriptor) if projected else None
        self.bones = nn.Parameter(torch.zeros(17, 17))
        self.rank = config.nearest + 2  # itself, the nearest, one too many
        near = neighbours(skeleton("h36m17"))
        self.register_buffer("near", near, persistent=False)

    def places(self, x: Tensor, given: Tensor | None) -> Tensor:
        """Where joints are (B, L, J, D): in the features, or as given."""
        places = self.project(x) if self.project is not None else given
        assert places is not None
        return places.float()

    def forward(self, distance: Tensor) -> Tensor:
        """Rows sum to one."""
        ranked = distance.detach().topk(self.rank, dim=-1, largest=False, sorted=True).values
        limit = ranked[..., -1:].clamp_min(_SMALLEST)
        weight = F.relu(1 - distance / limit) + F.softplus(self.bones) * self.near
        return weight / weight.sum(-1, keepdim=True)


def in_frames(places: Tensor) -> Tensor:
    """Squared distances (B, L, J, J) of the joints of each frame."""
    return (places[..., :, None, :] - places[..., None, :, :]).square().sum(-1)


def in_movement(places: Tensor) -> Tensor:
    """Mean squared distances (B, 1, J, J) of the joints' tracks around their own middles."""
    return in_frames(places - places.mean(dim=1, keepdim=True)).mean(dim=1, keepdim=True)


def messages(shares: Tensor, x: Tensor) -> Tensor:
    """A joint beside its difference to its neighbours: (B, L, J, C) to (B, L, J, 2 C)."""
    return torch.cat([x, shares @ x - x], dim=-1)
