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
    padding = -frames % chunk
    if padding:
        q, k, v = (torch.nn.functional.pad(x, (0, 0, 0, padding)) for x in (q, k, v))
        log_a = torch.nn.functional.pad(log_a, (0, padding))
    q, k, v = (x.unflatten(2, (-1, chunk)) for x in (q, k, v))
    log_a = log_a.clamp_min(LOWEST_LOG_GATE).float().unflatten(2, (-1, chunk))
    out = parallel(q, k, v, log_a, causal=causal)
    since = log_a.cumsum(-1)  # decay from before the chunk's first frame to each frame
    until = since[..., -1:] - since  # and from each frame to the chunk's last
    out = out + _from_earlier_chunks(q, k, v, since, until)
    if not causal:
        out = out + _from_later_chunks(q, k, v, since, until, log_a)
    return out.flatten(2, 3)[:, :, :frames]


def _from_earlier_chunks(q: Tensor, k: Tensor, v: Tensor, since: Tensor, until: Tensor) -> Tensor:
    """What each frame gets from all earlier chunks; q (N, H, C, L, d), since (N, H, C, L)."""
    added = (k * until.exp().to(k.dtype)[..., None]).transpose(-1, -2) @ v
    kept = since[..., -1].exp().to(k.dtype)
    state, before = torch.zeros_like(added[:, :, 0]), []
    for number in range(q.shape[2]):
        before.append(state)
        state = kept[:, :, number, None, None] * state + added[:, :, number]
    asked = q * since.exp().to(q.dtype)[..., None] / math.sqrt(q.shape[-1])
    return asked @ torch.stack(before, dim=2)


def _from_later_chunks(
    q: Tensor, k: Tensor, v: Tensor, since: Tensor, until: Tensor, log_a: Tensor
) -> Tensor:
    """What each frame gets from all later chunks: the same with time turned round.

    From frame t to the first frame of the next chunk the decay is `until` times that frame's gate;
    from there to frame s in its chunk, `since` without it.
    """
    first = log_a[..., :1]
    inside = since - first
    added = (k * inside.exp().to(k.dtype)[..., None]).transpose(-1, -2) @ v
    kept = since[..., -1].exp().to(k.dtype)
    chunks = q.shape[2]
    state, after = torch.zeros_like(added[:, :, 0]), []
    for number in range(chunks - 1, -1, -1):
        after.append(state)
        # What is ahead of this chunk's end, seen from the end of the chunk before.
        gate = first[:, :, number, 0].exp().to(k.dtype)[..., None, None]
        state = kept[:, :, number, None, None] * state + gate * added[:, :, number]
    ahead = torch.stack(after[::-1], dim=2)
    asked = q * until.exp().to(q.dtype)[..., None] / math.sqrt(q.shape[-1])
    return asked @ ahead
