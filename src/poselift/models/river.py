"""`river`: one network for every latency and every detector.

Seventeen tokens per frame, one for each part of the body. A token is made of the points that lie on
its part (a foot: toes and heel), whatever of them the detector has. A block is attention between
the parts of a frame, biased by the skeleton; gated retention along each part's own track, whose
decay is per second, so that the frame rate may change; and a feed-forward part; each normalised
before and added after. Each joint is read off its part's token: place, and the scales of its
uncertainty across and along the ray.

The same weights run over a whole clip looking both ways, over a whole clip looking back, or frame
by frame with a state of fixed size (`step`), which gives what looking back gives. A live answer may
come a few frames late: then the last block alone sees that many frames ahead, by the very product
that looks both ways, cut off. The facts say which mode is asked for (models/intake.py). A step in
time of more than `GAP_S` parts what is before from what is after: so clips can follow each other in
a row.

Source: retentive networks (Sun et al. 2023) and gated linear attention (Yang et al. 2024), put
together for joints here; uncertainty as in poselift.metrics.uncertainty.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poselift.errors import InputError, ShapeError
from poselift.models.config import JsonConfig
from poselift.models.intake import BODY, DELAYS, FACTS, GAP_S, MODES, POINT
from poselift.models.joints import JointAttention, hops
from poselift.models.mixers import Retention

# Parts of the body: which points lie on each, and the part that it hangs on.
PARTS: dict[str, tuple[tuple[str, ...], str]] = {
    "pelvis": (("pelvis",), ""),
    "trunk": (("spine", "thorax", "neck"), "pelvis"),
    "head": (("nose", "head_top", "left_eye", "right_eye", "left_ear", "right_ear"), "trunk"),
    **{
        f"{side}_{part}": (
            tuple(f"{side}_{joint}" for joint in joints),
            on if middle else f"{side}_{on}",
        )
        for side in ("left", "right")
        for part, joints, on, middle in (
            ("hip", ("hip",), "pelvis", True),
            ("knee", ("knee",), "hip", False),
            ("ankle", ("ankle",), "knee", False),
            ("foot", ("big_toe", "small_toe", "heel"), "ankle", False),
            ("shoulder", ("shoulder",), "trunk", True),
            ("elbow", ("elbow",), "shoulder", False),
            ("wrist", ("wrist",), "elbow", False),
        )
    },
}
PART_OF = [
    next(i for i, (points, _) in enumerate(PARTS.values()) if joint in points)
    for joint in BODY.joints
]
LEAST_SCALE_M = 0.003


@dataclass(frozen=True)
class Config(JsonConfig):
    """Shape of the network.

    skeleton_bias: attention between parts knows how far apart they are; seconds: memory fades by
    time, without it by frames, as if all clips had 30 per second. Both are for ablation.
    """

    width: int = 64
    depth: int = 4
    heads: int = 4
    ratio: int = 2
    skeleton_bias: bool = True
    seconds: bool = True

    def __post_init__(self) -> None:
        self.check_counts("width", "depth", "heads", "ratio")
        if self.width % self.heads:
            raise InputError("width", expected=f"a multiple of {self.heads}", found=self.width)


class State(NamedTuple):
    """What a stream remembers: past (L, N, 3, C), memory (L, N, H, d, d) and, of the last frames in
    the last block, tokens (N, D, C) and what mixes them (N, D, 4 C + H); N is people x parts.
    """

    past: Tensor
    memory: Tensor
    tokens: Tensor
    mixing: Tensor


class River(nn.Module):
    """Points (B, T, 28, 4) and facts (B, T, FACTS) to poses; see the head of this file."""

    part_of: Tensor
    gather: Tensor
    late: Tensor
    frames = 27  # what a window is where work is counted; any length goes

    def __init__(self, config: Config | None = None) -> None:
        super().__init__()
        self.config = c = config or Config()
        parts = list(PARTS)
        edges = [(parts.index(on), i) for i, (_, on) in enumerate(PARTS.values()) if on]
        self.enter = nn.Parameter(torch.randn(len(BODY), POINT, c.width) * POINT**-0.5)
        self.part = nn.Parameter(0.02 * torch.randn(len(parts), c.width))
        self.facts = nn.Linear(FACTS, c.width)
        distance = hops(len(parts), edges) if c.skeleton_bias else None
        self.blocks = nn.ModuleList(Block(c, distance) for _ in range(c.depth))
        self.norm = nn.RMSNorm(c.width)
        self.leave = nn.Parameter(torch.randn(len(BODY), c.width, 5) * 0.3 * c.width**-0.5)
        self.leave_bias = nn.Parameter(torch.zeros(len(BODY), 5))
        with torch.no_grad():
            self.enter[:, :2] *= 3  # places spread by 0.3 about the trunk
            self.leave_bias[:, 3:] = -3.0  # scales of 5 cm to begin with
        self.register_buffer("part_of", torch.tensor(PART_OF), persistent=False)
        share = F.one_hot(self.part_of, len(parts)).T.float()
        self.register_buffer("gather", share, persistent=False)
        late = F.one_hot(torch.tensor([0, *DELAYS]), max(DELAYS) + 1).float()
        self.register_buffer("late", late, persistent=False)  # of MODES

    def forward(
        self, points: Tensor, facts: Tensor, dt_s: Tensor, ahead: int | None = None
    ) -> Tensor:
        """Every frame's joints (B, T, 28, 5): metres from the pelvis in view axes, ln scales in m.

        dt_s (B, T): seconds since the frame before, `intake.NEW_S` for a clip's first. ahead: how
        many frames ahead are seen, None: all; the mode in the facts must say the same.
        """
        facts, dt_s = self._clock(facts, dt_s)
        x = self._embed(points, facts)
        *blocks, last = self._stack()
        for block in blocks:
            x = block(x, dt_s, None if ahead is None else 0)
        return self._read(last(x, dt_s, ahead))

    def step(
        self, points: Tensor, facts: Tensor, dt_s: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """One frame: points (B, 28, 4), facts (B, FACTS), dt_s (B) to joints (B, 28, 5).

        The answer is about the frame as many frames ago as the mode in the facts says.
        """
        facts, dt_s = self._clock(facts, dt_s)
        x = self._embed(points[:, None], facts[:, None])
        past, memory = [], []
        *blocks, last = self._stack()
        for number, block in enumerate(blocks):
            x, (p, m) = block.step(x, dt_s, (state.past[number], state.memory[number]))
            past.append(p)
            memory.append(m)
        chosen = facts[:, -len(MODES) :] @ self.late
        x, (p, m, *kept) = last.step_ahead(
            x, dt_s, chosen, (state.past[-1], state.memory[-1], state.tokens, state.mixing)
        )
        return self._read(x)[:, 0], State(torch.stack([*past, p]), torch.stack([*memory, m]), *kept)

    def first_state(self, people: int = 1) -> State:
        """The state before the first frame."""
        c, rows, wait = self.config, people * len(PARTS), max(DELAYS)
        each, mixing = c.width // c.heads, self._stack()[-1].time.kept
        shapes = ((c.depth, rows, 3, c.width), (c.depth, rows, c.heads, each, each))
        shapes = (*shapes, (rows, wait, c.width), (rows, wait, mixing))
        return State(*(self.part.new_zeros(shape) for shape in shapes))

    def _clock(self, facts: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
        """What the network is told of time."""
        if self.config.seconds:
            return facts, dt_s
        step = torch.arange(FACTS, device=facts.device) == FACTS - len(MODES) - 1
        return facts.masked_fill(step, 0.0), torch.where(dt_s > GAP_S, dt_s, 1 / 30)

    def _stack(self) -> "list[Block]":
        return [block for block in self.blocks if isinstance(block, Block)]

    def _embed(self, points: Tensor, facts: Tensor) -> Tensor:
        if points.shape[2:] != (len(BODY), POINT):
            expected = f"(B, T, {len(BODY)}, {POINT})"
            raise ShapeError("points", expected=expected, found=tuple(points.shape))
        joints = torch.einsum("btji,jic->btjc", points, self.enter)
        x = self.gather.to(joints.dtype) @ joints + self.part
        return (x + self.facts(facts)[:, :, None]).float()  # the sum of all blocks keeps 32 bits

    def _read(self, x: Tensor) -> Tensor:
        tokens = self.norm(x)[:, :, self.part_of]
        return torch.einsum("btjc,jco->btjo", tokens, self.leave).float() + self.leave_bias


class Block(nn.Module):
    """Parts, time, feed-forward on tokens (B, T, P, C)."""

    def __init__(self, config: Config, distance: Tensor | None) -> None:
        super().__init__()
        width = config.width
        self.parts_norm = nn.RMSNorm(width)
        self.parts = JointAttention(width, config.heads, distance)
        self.time_norm = nn.RMSNorm(width)
        self.time = Retention(width, config.heads, sides=2)
        self.norm = nn.RMSNorm(width)
        self.forward_part = nn.Sequential(
            nn.Linear(width, config.ratio * width),
            nn.GELU(approximate="tanh"),
            nn.Linear(config.ratio * width, width),
        )

    def forward(self, x: Tensor, dt_s: Tensor, ahead: int | None) -> Tensor:
        """One block; dt_s (B, T)."""
        batch, frames, parts, width = x.shape
        x = x + self.parts(self.parts_norm(x))
        tracks = self.time_norm(x).transpose(1, 2).reshape(batch * parts, frames, width)
        mixed = self.time.mix(tracks, dt_s.repeat_interleave(parts, 0), ahead)
        x = x + mixed.view(batch, parts, frames, width).transpose(1, 2)
        return x + self.forward_part(self.norm(x))

    def step(
        self, x: Tensor, dt_s: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """One frame (B, 1, P, C)."""
        x = x + self.parts(self.parts_norm(x))
        tracks = self.time_norm(x).flatten(0, 2)
        mixed, state = self.time.step(tracks, dt_s.repeat_interleave(x.shape[2], 0), state)
        x = x + mixed.view(x.shape)
        return x + self.forward_part(self.norm(x)), state

    def step_ahead(
        self, x: Tensor, dt_s: Tensor, chosen: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One frame in, the answer about an earlier one out; see `Retention.step_ahead`."""
        shape, parts = x.shape, x.shape[2]
        past, memory, tokens, mixing = state
        x = x + self.parts(self.parts_norm(x))
        tracks = self.time_norm(x).flatten(0, 2)
        dt_s, chosen = (each.repeat_interleave(parts, 0) for each in (dt_s, chosen))
        mixed, (past, memory, mixing) = self.time.step_ahead(
            tracks, dt_s, chosen, (past, memory, mixing)
        )
        tokens = torch.cat([x.flatten(0, 2)[:, None], tokens], dim=1)
        x = ((chosen[..., None] * tokens).sum(1) + mixed).view(shape)
        return x + self.forward_part(self.norm(x)), (past, memory, tokens[:, :-1], mixing)
