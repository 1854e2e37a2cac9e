import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from poselift.models import retention
from poselift.models.scan import linear_loop, linear_scan


def clip(frames: int, seed: int = 0, dtype=torch.float64, deepest: float = 0.5):
    g = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(2, 3, frames, 4, generator=g, dtype=dtype) for _ in range(3))
    return q, k, v, -deepest * torch.rand(2, 3, frames, generator=g, dtype=dtype)


def by_hand(q, k, v, log_a, ahead):
    """The sums written out: o_t = sum_s (q_t k_s) D_ts v_s / sqrt(d)."""
    out = torch.zeros_like(v)
    for t in range(q.shape[2]):
        for s in range(q.shape[2]):
            if ahead is not None and s > t + ahead:
                continue
            first, last = min(s, t) + 1, max(s, t)
            left = log_a[:, :, first : last + 1].sum(-1).exp()
            weight = (q[:, :, t] * k[:, :, s]).sum(-1) * left / q.shape[-1] ** 0.5
            out[:, :, t] += weight[..., None] * v[:, :, s]
    return out


@pytest.mark.parametrize("ahead", [0, 1, 3, 20, None])
def test_all_forms_are_the_sums_written_out(ahead):
    arrays = clip(11)
    expected = by_hand(*arrays, ahead)
    for form in (retention.parallel, retention.recurrent, retention.chunkwise):
        assert torch.allclose(form(*arrays, ahead), expected, atol=1e-5)
    assert torch.allclose(retention.chunkwise(*arrays, ahead, chunk=4), expected, atol=1e-5)


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_frame_by_frame_with_some_frames_ahead(ahead):
    q, k, v, log_a = arrays = clip(11)
    expected = by_hand(*arrays, ahead)
    rows, state = 5, retention.first_state(q)
    chosen = torch.zeros(len(q), rows, dtype=q.dtype)
    chosen[:, ahead] = 1
    for t in range(11):
        seen = [t - r for r in range(rows)]
        *kept, gates = (
            torch.stack([x[:, :, s] if s >= 0 else 0 * x[:, :, 0] for s in seen], 1)
            for x in (q, k, v, log_a)
        )
        answer, state = retention.step_ahead(*kept, gates, chosen, state)
        if t >= ahead:
            assert torch.allclose(answer, expected[:, :, t - ahead], atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 90), st.integers(1, 70), st.sampled_from([0, 2, 8, None]), st.integers(0, 99))
def test_forms_agree_for_any_length_and_chunk(frames, chunk, ahead, seed):
    arrays = clip(frames, seed, torch.float32)
    once = retention.recurrent(*arrays, ahead)
    size = max(1.0, float(once.abs().max()))
    for other in (
        retention.parallel(*arrays, ahead),
        retention.chunkwise(*arrays, ahead, chunk=chunk),
    ):
        assert (other - once).abs().max() < 1e-5 * size


@pytest.mark.parametrize("ahead", [0, 8, None])
def test_ten_thousand_frames_agree(ahead):
    arrays = [x[:1, :1] for x in clip(10_000, dtype=torch.float32)]
    once = retention.recurrent(*arrays, ahead)
    chunked = retention.chunkwise(*arrays, ahead)
    assert (chunked - once).abs().max() < 1e-5 * float(once.abs().max())


@pytest.mark.parametrize("ahead", [0, 4, None])
def test_clips_packed_behind_a_shut_gate_do_not_see_each_other(ahead):
    one, two = clip(7, 1), clip(9, 2)
    packed = [torch.cat(pair, dim=2) for pair in zip(one, two, strict=True)]
    packed[3][..., 7] = -60.0
    together = retention.parallel(*packed, ahead)
    alone = torch.cat([retention.parallel(*clip_, ahead) for clip_ in (one, two)], dim=2)
    assert torch.allclose(together, alone, atol=1e-5)


def test_answers_see_as_far_ahead_as_said():
    q, k, v, log_a = clip(20)
    changed = v.clone()
    changed[:, :, 12] += 1
    for ahead, same in ((0, 12), (4, 8), (None, 0)):
        before = retention.parallel(q, k, v, log_a, ahead)
        after = retention.parallel(q, k, changed, log_a, ahead)
        assert [bool(x) for x in (before == after).all((0, 1, 3))[:12]] == [
            *[True] * same,
            *[False] * (12 - same),
        ]


def test_halving_the_step_and_the_rate_of_forgetting_fit():
    """Twice the frames at half the gate forget as much in the same time."""
    slow = retention.decay(torch.full((1, 1, 11), -0.4), None)
    fast = retention.decay(torch.full((1, 1, 21), -0.2), None)
    assert torch.allclose(fast[..., ::2, ::2], slow, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 70), st.integers(0, 99))
def test_the_scan_is_the_loop(frames, seed):
    g = torch.Generator().manual_seed(seed)
    a = torch.rand(2, frames, 3, generator=g, dtype=torch.float64)
    b = torch.randn(2, frames, 3, generator=g, dtype=torch.float64)
    assert torch.allclose(linear_scan(a, b), linear_loop(a, b), atol=1e-12)
