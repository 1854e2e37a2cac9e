"""The shell in which temporal mixers are compared: only what mixes along time is changed.

One token per joint and frame. A block is attention between the joints of a frame, with a bias for
how far apart they are on the skeleton; a temporal mixer along each joint's own track, so that
nothing leaks between joints in time; and a feed-forward part; each normalised before and added
after. No table of positions in time (but in the `attention` mixer, which needs one), so any length
goes, and the mixer gets the frame steps in seconds. Input and output are the survey's
(docs/recurrence.md).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from poselift.errors import InputError, ShapeError
from poselift.models.config import JsonConfig
from poselift.models.joints import JointAttention, hops
from poselift.models.mixers import Mixer, mixer
from poselift.models.network import Lifted, Network
from poselift.skeleton import Skeleton, skeleton

_NOMINAL_STEP_S = 1 / 28  # of windows that carry no time stamps: 25 to 30 frames per second
_VELOCITY_S = 0.02  # weight of the velocity error against that of the place


@dataclass(frozen=True)
class Config(JsonConfig):
    """Shape of the network. `sides` 2 looks both ways in time, 1 only back.

    `delay`: a network that looks back answers for the frame this many frames ago.
    """

    frames: int = 27
    width: int = 64
    depth: int = 4
    heads: int = 4
    ratio: int = 2
    mixer: str = "retention"
    sides: int = 2
    delay: int = 0
    skeleton: str = "h36m17"

    def __post_init__(self) -> None:
        self.check_counts("frames", "width", "depth", "heads", "ratio")
        self.check_choice("sides", (1, 2))
        if self.width % self.heads:
            raise InputError("width", expected=f"a multiple of {self.heads}", found=self.width)
        if not 0 <= self.delay < self.frames or (self.delay and self.sides == 2):
            raise InputError(
                "delay", expected="0, or with 1 side fewer than the frames", found=self.delay
            )


class Mixed(Network):
    """Normalised 2D joints (B, F, 17, 2) to a pose for every frame."""

    def __init__(self, config: Config | None = None) -> None:
        super().__init__()
        self.config = c = config or Config()
        self.frames = c.frames
        joints = skeleton(c.skeleton)
        self.embed = nn.Linear(2, c.width)
        self.joint = nn.Parameter(0.02 * torch.randn(len(joints), c.width))
        self.blocks = nn.ModuleList(Block(c, joints) for _ in range(c.depth))
        self.norm = nn.RMSNorm(c.width)
        self.head = nn.Linear(c.width, 3)

    def forward(self, joints: Tensor) -> Lifted:
        """Lift windows (B, F, J, 2); the last `delay` frames repeat the last answer."""
        if joints.shape[2:] != (len(self.joint), 2):
            expected = f"(B, F, {len(self.joint)}, 2)"
            raise ShapeError("2D joints", expected=expected, found=tuple(joints.shape))
        x = self.embed(joints).float() + self.joint  # the sum of all blocks stays in 32 bits
        dt_s = torch.full(x.shape[:2], _NOMINAL_STEP_S, device=x.device)
        for block in self.blocks:
            x = block(x, dt_s)
        every = self.head(self.norm(x))
        if delay := self.config.delay:
            every = torch.cat([every[:, delay:], every[:, -1:].expand(-1, delay, -1, -1)], dim=1)
        middle = every.shape[1] // 2
        return Lifted(every[:, middle : middle + 1], every)

    def step(self, joints: Tensor, dt_s: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One frame (B, J, 2), `dt_s` (B) after the last, of a network with one side.

        The state is None at first. The answer (B, J, 3) is for the frame `delay` frames ago.
        """
        x = (self.embed(joints).float() + self.joint)[:, None]
        after = []
        for block, before in zip(self.blocks, state or [None] * len(self.blocks), strict=True):
            assert isinstance(block, Block)
            x, kept = block.step(x, dt_s, before)
            after.append(kept)
        return self.head(self.norm(x))[:, 0], after

    def loss(self, lifted: Lifted, target_m: Tensor) -> Tensor:
        """MPJPE over all frames, and the error of the velocity."""
        assert lifted.every is not None
        every = lifted.every.float()
        place = (every - target_m).norm(dim=-1).mean()
        if target_m.shape[1] < 2:
            return place
        moved = every.diff(dim=1) - target_m.diff(dim=1)
        return place + _VELOCITY_S / _NOMINAL_STEP_S * moved.norm(dim=-1).mean()


class Block(nn.Module):
    """Joints, time, feed-forward on tokens (B, T, J, C)."""

    time: Mixer

    def __init__(self, config: Config, joints: Skeleton) -> None:
        super().__init__()
        width = config.width
        self.joint_norm = nn.RMSNorm(width)
        self.joints = JointAttention(width, config.heads, hops(len(joints), joints.edges))
        self.time_norm = nn.RMSNorm(width)
        self.time = mixer(config.mixer, width, config.heads, config.sides, config.frames)
        self.norm = nn.RMSNorm(width)
        self.forward_part = nn.Sequential(
            nn.Linear(width, config.ratio * width),
            nn.GELU(approximate="tanh"),
            nn.Linear(config.ratio * width, width),
        )

    def forward(self, x: Tensor, dt_s: Tensor) -> Tensor:
        """One block; dt_s (B, T)."""
        batch, frames, joints, width = x.shape
        x = x + self.joints(self.joint_norm(x))
        tracks = self.time_norm(x).transpose(1, 2).reshape(batch * joints, frames, width)
        mixed = self.time(tracks, dt_s.repeat_interleave(joints, 0))
        x = x + mixed.view(batch, joints, frames, width).transpose(1, 2)
        return x + self.forward_part(self.norm(x))

    def step(self, x: Tensor, dt_s: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One frame (B, 1, J, C)."""
        x = x + self.joints(self.joint_norm(x))
        tracks = self.time_norm(x).flatten(0, 2)
        mixed, state = self.time.step(tracks, dt_s.repeat_interleave(x.shape[2], 0), state)
        x = x + mixed.view(x.shape)
        return x + self.forward_part(self.norm(x)), state
