"""Bootstrap intervals: against a plain loop, against theory, and laws."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from poselift.errors import InputError, ShapeError
from poselift.metrics.bootstrap import clip_totals, estimate, ratio

seeds = st.integers(0, 2**32 - 1)
laws = settings(max_examples=20, deadline=None)


def clips(seed: int, number: int = 12, spread: float = 10.0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [
        random.normal(random.normal(50, spread), 3, random.integers(5, 40)) for _ in range(number)
    ]


def totals(frames: list[np.ndarray]) -> np.ndarray:
    return np.stack([clip_totals(values) for values in frames])[None]


def test_the_value_is_the_mean_over_frames():
    frames = clips(0)
    frames[3][2] = np.nan
    value, low, high = estimate(totals(frames))
    assert value == pytest.approx(np.nanmean(np.concatenate(frames)))
    assert low < value < high


def test_the_interval_against_a_loop():
    """Clips and seeds drawn one by one, from another stream: quantiles agree but for chance."""
    random = np.random.default_rng(7)
    runs = [clips(seed) for seed in (1, 2, 3)]
    runs[1] = [values + 4 for values in runs[1]]
    value, low, high = estimate(np.concatenate([totals(frames) for frames in runs]), draws=4000)
    drawn = []
    for _ in range(4000):
        chosen = random.integers(12, size=12)
        means = [
            np.concatenate([runs[seed][clip] for clip in chosen]).mean()
            for seed in random.integers(3, size=3)
        ]
        drawn.append(np.mean(means))
    assert value == pytest.approx(np.mean([np.concatenate(frames).mean() for frames in runs]))
    spread = np.std(drawn)
    np.testing.assert_allclose((low, high), np.quantile(drawn, [0.025, 0.975]), atol=0.15 * spread)


def test_the_interval_holds_what_it_promises():
    """95 % intervals from 40 clips hold the true mean about 95 times in 100."""
    held = 0
    for seed in range(300):
        random = np.random.default_rng(seed)
        frames = [random.normal(random.normal(50, 10), 3, 20) for _ in range(40)]
        _, low, high = estimate(totals(frames), draws=400)
        held += low <= 50 <= high
    assert 0.9 < held / 300 < 0.98


def test_frames_of_a_clip_are_no_independent_witnesses():
    """Every frame ten times over: the same interval, as the clips are the same."""
    frames = clips(3)
    once, often = (estimate(totals([np.tile(v, n) for v in frames])) for n in (1, 10))
    np.testing.assert_allclose(once, often)


def test_seeds_that_differ_widen_the_interval():
    frames = clips(4)
    same = np.concatenate([totals(frames)] * 3)
    differ = np.concatenate([totals([v + shift for v in frames]) for shift in (-8, 0, 8)])
    narrow, wide = estimate(same), estimate(differ)
    assert narrow == pytest.approx(estimate(totals(frames)))
    assert wide[0] == pytest.approx(narrow[0])
    assert wide[2] - wide[1] > 1.2 * (narrow[2] - narrow[1])


@laws
@given(seeds, st.floats(0.1, 10), st.floats(-50, 50))
def test_intervals_move_and_scale_along(seed, scale, shift):
    frames = clips(seed)
    expected = scale * np.array(estimate(totals(frames), draws=100)) + shift
    found = estimate(totals([scale * values + shift for values in frames]), draws=100)
    np.testing.assert_allclose(found, expected, atol=1e-8)


@laws
@given(seeds)
def test_wider_levels_hold_narrower_ones(seed):
    sums = totals(clips(seed))
    bounds = [estimate(sums, level=level, draws=200)[1:] for level in (0.5, 0.9, 0.99)]
    lows, highs = zip(*bounds, strict=True)
    assert list(lows) == sorted(lows, reverse=True)
    assert list(highs) == sorted(highs)
    assert estimate(sums, draws=200) == estimate(sums, draws=200)
    assert estimate(sums, draws=200) != estimate(sums, draws=200, seed=1)


def test_any_function_of_totals():
    """Here: the standard deviation over frames, from three sums."""
    frames = clips(5)
    sums = np.array([[v.sum(), (v**2).sum(), len(v)] for v in frames])[None]

    def deviation(total):
        first, second, number = np.moveaxis(total, -1, 0)
        return np.sqrt(second / number - (first / number) ** 2)

    value, low, high = estimate(sums, deviation)
    assert value == pytest.approx(np.concatenate(frames).std())
    assert low < value < high


def test_clips_with_nothing_to_count():
    frames = clips(6)
    frames[0] = np.full(9, np.nan)
    value, low, high = estimate(totals(frames))
    assert value == pytest.approx(np.concatenate(frames[1:]).mean())
    assert np.isfinite([low, high]).all()
    nothing = estimate(totals([np.full(3, np.nan)] * 4))
    assert np.isnan(nothing).all()
    assert np.isnan(ratio(np.zeros(2)))


def test_one_clip_has_no_spread():
    value, low, high = estimate(totals(clips(7, number=1)))
    assert low == pytest.approx(value)
    assert high == pytest.approx(value)


def test_other_totals_are_errors():
    with pytest.raises(ShapeError, match="seeds, clips"):
        estimate(np.ones((4, 2)))
    with pytest.raises(ShapeError, match="seeds, clips"):
        estimate(np.ones((1, 0, 2)))
    with pytest.raises(InputError, match="level"):
        estimate(np.ones((1, 4, 2)), level=95)
