"""Temporal mixers: what carries information from frame to frame, everything else being equal.

Each maps tokens (N, T, C) with frame steps dt_s (N, T) to (N, T, C). `sides` 2 looks both ways, 1
only back; then `step` gives the same answers frame by frame: tokens (N, C), steps (N) and a state
(None at first) to answers (N, C) and the next state. All states but attention's have a fixed size.
They answer the survey's question whether recurrent layers help (docs/recurrence.md):

attention   softmax attention, the survey's choice; needs a table of positions
lstm, gru   the classic recurrences, sequential in training: the control
mingru      gates that do not see the state (Feng et al. 2024): trained by a parallel scan
scan        selective state space (Gu and Dao 2023, Mamba) in plain torch
retention   gated retention with decay in seconds (models/retention.py)
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poselift.errors import UnknownNameError
from poselift.models import retention
from poselift.models.intake import GAP_S, NEW_S
from poselift.models.scan import linear_scan


class Mixer(nn.Module):
    """What all mixers can do."""

    def forward(self, x: Tensor, dt_s: Tensor) -> Tensor:
        """All frames: tokens (N, T, C) and steps (N, T) to answers (N, T, C)."""
        raise NotImplementedError

    def step(self, x: Tensor, dt_s: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One frame: tokens (N, C), steps (N), state to answers (N, C) and the next state."""
        raise NotImplementedError


class Attention(Mixer):
    """Softmax attention over at most `frames` frames, with learned positions."""

    def __init__(self, width: int, heads: int, sides: int, frames: int) -> None:
        super().__init__()
        self.heads, self.sides = heads, sides
        self.position = nn.Parameter(0.02 * torch.randn(frames, width))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, dt_s: Tensor) -> Tensor:
        """Mix frames."""
        rows, frames, width = x.shape
        x = x + self.position[:frames]
        qkv = self.qkv(x).view(rows, frames, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if self.sides == 1:
            ahead = torch.ones(frames, frames, dtype=torch.bool, device=x.device).triu(1)
            scores = scores.masked_fill(ahead, float("-inf"))
        mixed = scores.softmax(-1) @ v
        return self.out(mixed.transpose(1, 2).reshape(rows, frames, width))

    def step(self, x: Tensor, dt_s: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One frame; the state holds all frames so far, at most as many as there are positions."""
        seen = x[:, None] if state is None else torch.cat([state, x[:, None]], dim=1)
        seen = seen[:, -len(self.position) :]
        return self(seen, dt_s[:, None].expand(seen.shape[:2]))[:, -1], seen


class Classic(Mixer):
    """nn.LSTM or nn.GRU; two sides share the width."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU], width: int, sides: int) -> None:
        super().__init__()
        self.cell = kind(width, width // sides, batch_first=True, bidirectional=sides == 2)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, dt_s: Tensor) -> Tensor:
        """Mix frames."""
        return self.out(self.cell(x)[0])

    def step(self, x: Tensor, dt_s: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One frame."""
        y, state = self.cell(x[:, None], state)
        return self.out(y[:, 0]), state


class MinGRU(Mixer):
    """h = (1 - z) h + z g, with z and g from the input alone."""

    def __init__(self, width: int, sides: int) -> None:
        super().__init__()
        self.sides = sides
        self.gate = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, dt_s: Tensor) -> Tensor:
        """Mix frames; half of the channels run backwards where there are two sides."""
        keep, added = self._gates(x)
        return self.out(_two_ways(keep, added, self.sides).to(x.dtype))

    def step(self, x: Tensor, dt_s: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One frame."""
        keep, added = self._gates(x)
        state = added if state is None else keep * state + added
        return self.out(state.to(x.dtype)), state

    def _gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.sigmoid(self.gate(x).float())
        return 1 - z, z * self.value(x).float()


class SelectiveScan(Mixer):
    """h = exp(-rate dt) h + dt B x, y = C h + D x, with dt, B, C from the input; gated."""

    def __init__(self, width: int, sides: int, states: int = 8) -> None:
        super().__init__()
        self.sides, self.states = sides, states
        self.enter = nn.Linear(width, 2 * width, bias=False)
        self.taps = CausalTaps(width)
        self.select = nn.Linear(width, width + 2 * states)
        self.log_rate = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(width, 1))
        self.skip = nn.Parameter(torch.ones(width))
        self.out = nn.Linear(width, width, bias=False)
        with torch.no_grad():
            self.select.bias[:width] = torch.linspace(-5, 0, width)

    def forward(self, x: Tensor, dt_s: Tensor) -> Tensor:
        """Mix frames."""
        x, gate = self.enter(x).chunk(2, -1)
        x = self.taps(x)
        keep, added, read = self._select(x)
        return self._leave(x, gate, _two_ways(keep, added, self.sides), read)

    def step(self, x: Tensor, dt_s: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One frame."""
        past, hidden = state or (None, None)
        x, gate = self.enter(x).chunk(2, -1)
        x, past = self.taps.step(x, past)
        keep, added, read = self._select(x)
        hidden = added if hidden is None else keep * hidden + added
        return self._leave(x, gate, hidden, read), (past, hidden)

    def _select(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        width = x.shape[-1]
        chosen = self.select(x).float()
        step = F.softplus(chosen[..., :width])[..., None]
        write, read = chosen[..., width:].chunk(2, -1)
        keep = torch.exp(-step * self.log_rate.exp())
        return keep, step * write[..., None, :] * x.float()[..., None], read

    def _leave(self, x: Tensor, gate: Tensor, state: Tensor, read: Tensor) -> Tensor:
        y = (state * read[..., None, :]).sum(-1) + self.skip * x
        return self.out(y.to(x.dtype) * F.silu(gate))


class Retention(Mixer):
    """Gated retention; each head forgets at a rate per second that the input sets."""

    def __init__(self, width: int, heads: int, sides: int) -> None:
        super().__init__()
        self.heads, self.sides = heads, sides
        self.taps = CausalTaps(width)
        self.qkvg = nn.Linear(width, 4 * width, bias=False)
        self.rate = nn.Linear(width, heads)
        self.norm = nn.RMSNorm(width // heads)
        self.out = nn.Linear(width, width, bias=False)
        # Memories of 0.06 to 6 seconds, evenly on a log scale.
        rates = torch.logspace(0, -2, heads) / 0.06
        with torch.no_grad():
            self.rate.weight.zero_()
            self.rate.bias.copy_(torch.log(torch.expm1(rates)))

    def forward(self, x: Tensor, dt_s: Tensor) -> Tensor:
        """Mix frames."""
        return self.mix(x, dt_s, 0 if self.sides == 1 else None)

    def mix(self, x: Tensor, dt_s: Tensor, ahead: int | None) -> Tensor:
        """Mix frames, each with those before it and `ahead` after it, None: all."""
        q, k, v, log_a, gate = self._project(self.taps(x, dt_s), dt_s)
        arrays = (y.transpose(1, 2) for y in (q, k, v, log_a))
        return self._leave(retention.mixed(*arrays, ahead).transpose(1, 2), gate)

    def step(self, x: Tensor, dt_s: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One frame."""
        past, memory = state or (None, None)
        x, past = self.taps.step(x, past, dt_s)
        q, k, v, log_a, gate = self._project(x, dt_s)
        memory = retention.first_state(q) if memory is None else memory
        mixed, memory = retention.step(q, k, v, log_a, memory)
        return self._leave(mixed, gate), (past, memory)

    def step_ahead(
        self, x: Tensor, dt_s: Tensor, chosen: Tensor, state: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """One frame in, the answer about an earlier one out.

        x (N, C), dt_s (N); chosen (N, R): 1 at how many frames ago that was; state: past of the
        taps, memory, and what is kept of the R - 1 last frames (N, R - 1, `kept`).
        """
        past, memory, rows = state
        x, past = self.taps.step(x, past, dt_s)
        q, k, v, log_a, gate = self._project(x, dt_s)
        newest = torch.cat([*(y.flatten(-2) for y in (q, k, v)), gate, log_a], dim=-1)
        rows = torch.cat([newest[:, None], rows], dim=1)
        *arrays, gate, log_a = rows.split([*[x.shape[-1]] * 4, self.heads], dim=-1)
        q, k, v = (y.unflatten(-1, (self.heads, -1)) for y in arrays)
        mixed, memory = retention.step_ahead(q, k, v, log_a, chosen, memory)
        gate = (chosen[..., None] * gate).sum(1)
        return self._leave(mixed, gate), (past, memory, rows[:, :-1])

    @property
    def kept(self) -> int:
        """Numbers that `step_ahead` keeps of a frame."""
        return 4 * self.out.in_features + self.heads

    def _project(self, x: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Queries, keys, values (..., H, d), logarithms of the gates (..., H), output gate."""
        dt_s = torch.where(dt_s > GAP_S, NEW_S, dt_s)
        q, k, v, gate = self.qkvg(x).chunk(4, -1)
        q, k, v = (y.unflatten(-1, (self.heads, -1)) for y in (q, k, v))
        return q, k, v, -F.softplus(self.rate(x).float()) * dt_s[..., None], gate

    def _leave(self, mixed: Tensor, gate: Tensor) -> Tensor:
        return self.out(self.norm(mixed.float()).flatten(-2) * F.silu(gate))


class CausalTaps(nn.Module):
    """x plus SiLU of a short depth-wise convolution over the last frames.

    Where frame steps are given, nothing from before a step longer than `GAP_S` is seen.
    """

    def __init__(self, width: int, taps: int = 4) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(taps, width) / taps)

    def forward(self, x: Tensor, dt_s: Tensor | None = None) -> Tensor:
        """(N, T, C), steps (N, T) to the same."""
        mixed, earlier = self.weight[0] * x, x
        near = None if dt_s is None else (dt_s <= GAP_S).to(x.dtype)[..., None]
        for weight in self.weight[1:]:
            earlier = _delayed(earlier)
            earlier = earlier if near is None else earlier * near
            mixed = mixed + weight * earlier
        return x + F.silu(mixed)

    def step(
        self, x: Tensor, past: Tensor | None, dt_s: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """One frame (N, C) after the last ones, newest first (N, taps - 1, C)."""
        if past is None:
            past = torch.zeros_like(x)[:, None].repeat(1, len(self.weight) - 1, 1)
        if dt_s is not None:
            past = past * (dt_s <= GAP_S).to(x.dtype)[:, None, None]
        seen = torch.cat([x[:, None], past], dim=1)
        return x + F.silu((self.weight * seen).sum(1)), seen[:, :-1]


def _delayed(x: Tensor) -> Tensor:
    """(N, T, C) one frame later."""
    return F.pad(x, (0, 0, 1, 0))[:, :-1]


def _two_ways(a: Tensor, b: Tensor, sides: int) -> Tensor:
    """The scan over (N, T, C, ...); of two sides, the second half of C runs from the end."""
    if sides == 1:
        return linear_scan(a, b)
    (a1, a2), (b1, b2) = a.chunk(2, 2), b.chunk(2, 2)
    return torch.cat([linear_scan(a1, b1), linear_scan(a2.flip(1), b2.flip(1)).flip(1)], dim=2)


MIXERS: dict[str, Callable[[int, int, int, int], Mixer]] = {
    "attention": Attention,
    "lstm": lambda width, heads, sides, frames: Classic(nn.LSTM, width, sides),
    "gru": lambda width, heads, sides, frames: Classic(nn.GRU, width, sides),
    "mingru": lambda width, heads, sides, frames: MinGRU(width, sides),
    "scan": lambda width, heads, sides, frames: SelectiveScan(width, sides),
    "retention": lambda width, heads, sides, frames: Retention(width, heads, sides),
}


def mixer(name: str, width: int, heads: int, sides: int, frames: int) -> Mixer:
    """The mixer of that name. Raises UnknownNameError."""
    if name not in MIXERS:
        raise UnknownNameError("temporal mixer", name, MIXERS)
    return MIXERS[name](width, heads, sides, frames)
