"""Gated retention: one linear recurrence over time in three forms that give the same numbers.

    recurrent   S_t = a_t S_{t-1} + k_t v_t',   o_t = q_t' S_t / sqrt(d)      O(1) per frame
    parallel    O = ((Q K' / sqrt(d)) * D) V,   D_ts = a_{s+1} ... a_t        one product
    chunkwise   parallel inside chunks, recurrent between them                any length

after Sun et al. (RetNet, 2023) with gates as in Yang et al. (gated linear attention, 2024). A
bidirectional answer adds what lies ahead with the decay between: D_ts = a_{t+1} ... a_s for s > t.
Gates are given as their logarithm, so that a decay of rate r over dt seconds is log a = -r dt,
whatever the frame rate. Arrays: q, k, v (N, H, T, d); log_a (N, H, T), at most 0.
"""

import math

import torch
from torch import Tensor

CHUNK = 64
# A gate this low forgets everything; deeper ones would only lose digits in the sums.
LOWEST_LOG_GATE = -20.0


def mixed(q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, *, causal: bool) -> Tensor:
    """All answers (N, H, T, d) by whichever form is faster; an exported graph is for any length."""
    if torch.compiler.is_exporting() or q.shape[2] > CHUNK * 3 // 2:
        return chunkwise(q, k, v, log_a, causal=causal)
    return parallel(q, k, v, log_a, causal=causal)


def parallel(q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, *, causal: bool) -> Tensor:
    """All answers (N, H, T, d) by one masked product of T x T."""
    scores = (q @ k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
    return (scores * decay(log_a, causal=causal).to(scores.dtype)) @ v


def decay(log_a: Tensor, *, causal: bool) -> Tensor:
    """D (N, H, T, T): how much of frame s is left at frame t."""
    # Running sums lose digits as they grow, so they are kept about the middle of the clip.
    total = log_a.clamp_min(LOWEST_LOG_GATE).float().cumsum(-1)
    total = total - total[..., total.shape[-1] // 2, None]
    left = torch.exp(-(total[..., :, None] - total[..., None, :]).abs())
    return left.tril() if causal else left


def recurrent(q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, *, causal: bool) -> Tensor:
    """All answers (N, H, T, d) frame by frame; twice over the clip where it is not causal."""
    out = _scan(q, k, v, log_a)
    if causal:
        return out
    # What lies ahead: the same from the end, where frame t has decayed by a_{t+1}, not a_t.
    ahead = log_a.roll(-1, -1)
    ahead[..., -1] = 0
    back = _scan(*(x.flip(2) for x in (q, k, v)), ahead.flip(2)).flip(2)
    own = (q * k).sum(-1, keepdim=True) * v / math.sqrt(q.shape[-1])
    return out + back - own


def _scan(q: Tensor, k: Tensor, v: Tensor, log_a: Tensor) -> Tensor:
    state = first_state(q)
    out = []
    for t in range(q.shape[2]):
        answer, state = step(q[:, :, t], k[:, :, t], v[:, :, t], log_a[:, :, t], state)
        out.append(answer)
    return torch.stack(out, dim=2)


def first_state(q: Tensor) -> Tensor:
    """The empty state (N, H, d, d)."""
    return q.new_zeros(*q.shape[:2], q.shape[-1], q.shape[-1])


def step(q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """One frame: q, k, v (N, H, d), log_a (N, H), state (N, H, d, d) to answer and new state."""
    keep = log_a.clamp_min(LOWEST_LOG_GATE).exp()[..., None, None]
    state = keep * state + k[..., :, None] * v[..., None, :]
    return (q[..., None, :] @ state)[..., 0, :] / math.sqrt(q.shape[-1]), state


def chunkwise(
    q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, *, causal: bool, chunk: int = CHUNK
) -> Tensor:
    """All answers (N, H, T, d) with memory that grows with T, not its square."""
    frames = q.shape[2]
    chunks = (frames + chunk - 1) // chunk
    padding = chunks * chunk - frames
    q, k, v = (torch.nn.functional.pad(x, (0, 0, 0, padding)) for x in (q, k, v))
    q, k, v = (x.unflatten(2, (chunks, chunk)) for x in (q, k, v))
    log_a = torch.nn.functional.pad(log_a, (0, padding)).unflatten(2, (chunks, chunk))
    log_a = log_a.clamp_min(LOWEST_LOG_GATE).float()
    out = parallel(q, k, v, log_a, causal=causal)
    since = log_a.cumsum(-1)  # decay from before the chunk's first frame to each frame
    until = since[..., -1:] - since  # and from each frame to the chunk's last
    between = _between_chunks(since[..., -1]).to(v.dtype)
    out = out + _carried(q, k, v, since, until, between)
    if not causal:
        # From frame t to the end of its chunk, and from the start of frame s's chunk up to it.
        out = out + _carried(q, k, v, until, since, between.transpose(-1, -2))
    return out.flatten(2, 3)[:, :, :frames]


def _between_chunks(log_kept: Tensor) -> Tensor:
    """What is left (N, H, C, C) at the start of a chunk of the end of an earlier one, else 0.

    log_kept (N, H, C): a whole chunk's decay. Each sum is its own, so that none loses digits.
    """
    chunks = log_kept.shape[-1]
    before = torch.nn.functional.pad(log_kept, (1, 0))[..., :chunks, None]
    passed = before.expand(*before.shape[:-1], chunks).tril(-2).cumsum(-2)
    return passed.exp().tril(-1)


def _carried(
    q: Tensor, k: Tensor, v: Tensor, to_asked: Tensor, from_added: Tensor, between: Tensor
) -> Tensor:
    """What frames get from other chunks; q (N, H, C, L, d), log decays in chunks (N, H, C, L)."""
    added = (k * from_added.exp().to(k.dtype)[..., None]).transpose(-1, -2) @ v
    states = (between @ added.flatten(-2)).unflatten(-1, added.shape[-2:])
    asked = q * to_asked.exp().to(q.dtype)[..., None] / math.sqrt(q.shape[-1])
    return asked @ states
