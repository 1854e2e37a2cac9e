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


def by_hand(q, k, v, log_a, causal):
    """The sums written out: o_t = sum_s (q_t k_s) D_ts v_s / sqrt(d)."""
    out = torch.zeros_like(v)
    for t in range(q.shape[2]):
        for s in range(q.shape[2]):
            if causal and s > t:
                continue
            first, last = min(s, t) + 1, max(s, t)
            left = log_a[:, :, first : last + 1].sum(-1).exp()
            weight = (q[:, :, t] * k[:, :, s]).sum(-1) * left / q.shape[-1] ** 0.5
            out[:, :, t] += weight[..., None] * v[:, :, s]
    return out


@pytest.mark.parametrize("causal", [True, False])
def test_all_three_forms_are_the_sums_written_out(causal):
    arrays = clip(11)
    expected = by_hand(*arrays, causal)
    for form in (retention.parallel, retention.recurrent, retention.chunkwise):
        assert torch.allclose(form(*arrays, causal=causal), expected, atol=1e-5)
    assert torch.allclose(retention.chunkwise(*arrays, causal=causal, chunk=4), expected, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 90), st.integers(1, 70), st.booleans(), st.integers(0, 99))
def test_forms_agree_for_any_length_and_chunk(frames, chunk, causal, seed):
    arrays = clip(frames, seed, torch.float32)
    once = retention.recurrent(*arrays, causal=causal)
    size = max(1.0, float(once.abs().max()))
    for other in (
        retention.parallel(*arrays, causal=causal),
        retention.chunkwise(*arrays, causal=causal, chunk=chunk),
    ):
        assert (other - once).abs().max() < 1e-5 * size


@pytest.mark.parametrize("causal", [True, False])
def test_ten_thousand_frames_agree(causal):
    arrays = [x[:1, :1] for x in clip(10_000, dtype=torch.float32)]
    once = retention.recurrent(*arrays, causal=causal)
    chunked = retention.chunkwise(*arrays, causal=causal)
    assert (chunked - once).abs().max() < 1e-5 * float(once.abs().max())


@pytest.mark.parametrize("causal", [True, False])
def test_clips_packed_behind_a_shut_gate_do_not_see_each_other(causal):
    one, two = clip(7, 1), clip(9, 2)
    packed = [torch.cat(pair, dim=2) for pair in zip(one, two, strict=True)]
    packed[3][..., 7] = -60.0
    together = retention.parallel(*packed, causal=causal)
    alone = torch.cat([retention.parallel(*clip_, causal=causal) for clip_ in (one, two)], dim=2)
    assert torch.allclose(together, alone, atol=1e-5)


def test_causal_answers_do_not_see_the_future_and_others_do():
    q, k, v, log_a = clip(20)
    changed = v.clone()
    changed[:, :, 12] += 1
    for causal, expected in ((True, True), (False, False)):
        before = retention.parallel(q, k, v, log_a, causal=causal)[:, :, :12]
        after = retention.parallel(q, k, changed, log_a, causal=causal)[:, :, :12]
        assert torch.equal(before, after) is expected


def test_halving_the_step_and_the_rate_of_forgetting_fit():
    """Twice the frames at half the gate forget as much in the same time."""
    slow = retention.decay(torch.full((1, 1, 11), -0.4), causal=False)
    fast = retention.decay(torch.full((1, 1, 21), -0.2), causal=False)
    assert torch.allclose(fast[..., ::2, ::2], slow, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 70), st.integers(0, 99))
def test_the_scan_is_the_loop(frames, seed):
    g = torch.Generator().manual_seed(seed)
    a = torch.rand(2, frames, 3, generator=g, dtype=torch.float64)
    b = torch.randn(2, frames, 3, generator=g, dtype=torch.float64)
    assert torch.allclose(linear_scan(a, b), linear_loop(a, b), atol=1e-12)
