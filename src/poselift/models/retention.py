"""Gated retention: one linear recurrence over time in three forms that give the same numbers.

    recurrent   S_t = a_t S_{t-1} + k_t v_t',   o_t = q_t' S_t / sqrt(d)      O(1) per frame
    parallel    O = ((Q K' / sqrt(d)) * D) V,   D_ts = a_{s+1} ... a_t        one product
    chunkwise   parallel inside chunks, recurrent between them                any length

after Sun et al. (RetNet, 2023) with gates as in Yang et al. (gated linear attention, 2024). A
bidirectional answer adds what lies ahead with the decay between: D_ts = a_{t+1} ... a_s for s > t.
`ahead` says how many frames ahead count: 0 none, None all.
Gates are given as their logarithm, so that a decay of rate r over dt seconds is log a = -r dt,
whatever the frame rate. Arrays: q, k, v (N, H, T, d); log_a (N, H, T), at most 0.
"""

import math

import torch
from torch import Tensor

CHUNK = 64
# A gate this low forgets everything; deeper ones would only lose digits in the sums.
LOWEST_LOG_GATE = -20.0


def mixed(q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, ahead: int | None) -> Tensor:
    """All answers (N, H, T, d) by whichever form is faster; an exported graph is for any length."""
    if torch.compiler.is_exporting() or q.shape[2] > CHUNK * 3 // 2:
        return chunkwise(q, k, v, log_a, ahead)
    return parallel(q, k, v, log_a, ahead)


def parallel(q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, ahead: int | None) -> Tensor:
    """All answers (N, H, T, d) by one masked product of T x T."""
    scores = (q @ k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
    return (scores * decay(log_a, ahead).to(scores.dtype)) @ v


def decay(log_a: Tensor, ahead: int | None) -> Tensor:
    """D (N, H, T, T): how much of frame s is left at frame t."""
    # Running sums lose digits as they grow, so they are kept about the middle of the clip.
    total = log_a.clamp_min(LOWEST_LOG_GATE).float().cumsum(-1)
    total = total - total[..., total.shape[-1] // 2, None]
    left = torch.exp(-(total[..., :, None] - total[..., None, :]).abs())
    return left if ahead is None else left.tril(ahead)


def recurrent(q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, ahead: int | None) -> Tensor:
    """All answers (N, H, T, d) frame by frame; from both ends where all that is ahead counts."""
    out = _scan(q, k, v, log_a)
    if ahead is not None:
        return out + _near(q, k, v, log_a, ahead)
    # What lies ahead: the same from the end, where frame t has decayed by a_{t+1}, not a_t.
    gates = log_a.roll(-1, -1)
    gates[..., -1] = 0
    back = _scan(*(x.flip(2) for x in (q, k, v)), gates.flip(2)).flip(2)
    own = (q * k).sum(-1, keepdim=True) * v / math.sqrt(q.shape[-1])
    return out + back - own


def _near(q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, ahead: int) -> Tensor:
    """What the next `ahead` frames add to each answer (N, H, T, d)."""
    frames, out = q.shape[2], torch.zeros_like(v)
    log_a = log_a.clamp_min(LOWEST_LOG_GATE).float()
    between = torch.zeros_like(log_a)
    for shift in range(1, min(ahead, frames - 1) + 1):
        between = between[..., : frames - shift] + log_a[..., shift:]
        scores = (q[:, :, :-shift] * k[:, :, shift:]).sum(-1) / math.sqrt(q.shape[-1])
        near = (scores * between.exp().to(scores.dtype))[..., None] * v[:, :, shift:]
        out = out + torch.nn.functional.pad(near, (0, 0, 0, shift))
    return out


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


def step_ahead(
    q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, chosen: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """The answer about one of the last R frames, which sees those after it, and the state after it.

    q, k, v (N, R, H, d), log_a (N, R, H), newest first; chosen (N, R): 1 for the frame asked about,
    which is the one after that of `state`, else 0.
    """
    log_a = log_a.clamp_min(LOWEST_LOG_GATE)
    asked, *own = ((chosen[..., None, None] * x).sum(1) for x in (q, k, v))
    answer, state = step(asked, *own, (chosen[..., None] * log_a).sum(1), state)
    newer = (1 - chosen.cumsum(1))[..., None]
    # Decay from the frame after the chosen one up to each newer one.
    upto = torch.ones(2 * [q.shape[1]], dtype=log_a.dtype, device=q.device).triu()
    left = newer * (upto @ (newer * log_a)).exp()
    scores = (asked[:, None] * k).sum(-1) / math.sqrt(q.shape[-1])
    return answer + ((scores * left)[..., None] * v).sum(1), state


def chunkwise(
    q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, ahead: int | None, *, chunk: int = CHUNK
) -> Tensor:
    """All answers (N, H, T, d) with memory that grows with T, not its square."""
    if ahead:
        near = _near(q, k, v, log_a, ahead)
        return chunkwise(q, k, v, log_a, 0, chunk=chunk) + near
    frames = q.shape[2]
    chunks = (frames + chunk - 1) // chunk
    padding = chunks * chunk - frames
    q, k, v = (torch.nn.functional.pad(x, (0, 0, 0, padding)) for x in (q, k, v))
    q, k, v = (x.unflatten(2, (chunks, chunk)) for x in (q, k, v))
    log_a = torch.nn.functional.pad(log_a, (0, padding)).unflatten(2, (chunks, chunk))
    log_a = log_a.clamp_min(LOWEST_LOG_GATE).float()
    out = parallel(q, k, v, log_a, ahead)
    since = log_a.cumsum(-1)  # decay from before the chunk's first frame to each frame
    until = since[..., -1:] - since  # and from each frame to the chunk's last
    between = _between_chunks(since[..., -1]).to(v.dtype)
    out = out + _carried(q, k, v, since, until, between)
    if ahead is None:
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
