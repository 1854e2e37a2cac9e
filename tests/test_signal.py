"""Signals: gaps, resampling and smoothing at even and uneven times."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from poselift.errors import InputError, ShapeError
from poselift.signal import OneEuro, fill_gaps, resample, smooth

laws = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def even(frames: int = 120, rate_hz: float = 30) -> np.ndarray:
    return np.arange(frames) / rate_hz


def uneven(frames: int = 120, seed: int = 0) -> np.ndarray:
    steps = np.random.default_rng(seed).uniform(0.5, 1.5, frames)
    return np.cumsum(steps) / 30


def wave(time_s: np.ndarray, hz: float) -> np.ndarray:
    return np.sin(2 * np.pi * hz * time_s)


def random_clip(seed: int, holes: bool = True) -> np.ndarray:
    random = np.random.default_rng(seed)
    clip = random.normal(size=(60, 3, 2))
    if holes:
        clip[random.random((60, 3)) < 0.05] = np.nan
    return clip


class TestFillGaps:
    def test_straight_lines_in_time(self):
        time_s = np.array([0, 1, 4, 5, 6.0])
        values = np.array([0, np.nan, np.nan, 10, np.nan])
        filled = fill_gaps(values, time_s, 5)
        np.testing.assert_array_equal(filled, [0, 2, 8, 10, np.nan])

    def test_the_limit_is_the_time_between_the_frames_around(self):
        time_s = even(6, 10)
        values = np.array([0, np.nan, 2, np.nan, np.nan, 5])
        np.testing.assert_allclose(fill_gaps(values, time_s, 0.2), [0, 1, 2, np.nan, np.nan, 5])
        np.testing.assert_allclose(fill_gaps(values, time_s, 0.3), np.arange(6))
        np.testing.assert_array_equal(fill_gaps(values, time_s, 0.1), values)

    def test_nothing_is_invented_at_the_ends(self):
        values = np.array([np.nan, 1, np.nan, 1, np.nan, np.nan])
        expected = [np.nan, 1, 1, 1, np.nan, np.nan]
        np.testing.assert_array_equal(fill_gaps(values, even(6), 99), expected)

    def test_every_joint_alone_and_input_untouched(self):
        values = np.tile(np.arange(5.0)[:, None, None], (1, 2, 2))
        values[2, 1] = np.nan
        before = values.copy()
        filled = fill_gaps(values, even(5), 1)
        np.testing.assert_allclose(filled[..., 0], np.arange(5.0)[:, None] + [0, 0])
        np.testing.assert_array_equal(values, before)

    @laws
    @given(seeds)
    def test_a_line_is_restored(self, seed):
        time_s, random = uneven(40, seed), np.random.default_rng(seed)
        line = 3 - 2 * time_s[:, None] * random.normal(size=4)
        holed = np.where(random.random(line.shape) < 0.3, np.nan, line)
        holed[[0, -1]] = line[[0, -1]]
        np.testing.assert_allclose(fill_gaps(holed, time_s, 1e9), line)

    def test_empty_and_never_seen(self):
        assert fill_gaps(np.empty((0, 3, 2)), np.empty(0), 1).shape == (0, 3, 2)
        assert np.isnan(fill_gaps(np.full((4, 2), np.nan), even(4), 1)).all()


class TestResample:
    def test_linear_in_time(self):
        found = resample(np.array([0, 10, 40.0]), np.array([0, 1, 2.0]), np.array([0.5, 1, 1.25]))
        np.testing.assert_allclose(found, [5, 10, 17.5])

    def test_gaps_stay(self):
        values = np.array([0, 1, np.nan, 3, 4])
        times = np.array([0.5, 1, 1.5, 2, 2.5, 3, 3.5])
        found = resample(values, np.arange(5.0), times)
        np.testing.assert_allclose(found, [0.5, 1, np.nan, np.nan, np.nan, 3, 3.5])

    def test_nothing_outside(self):
        found = resample(np.array([1.0, 2]), np.array([0, 1.0]), np.array([-0.1, 0, 1, 1.1]))
        np.testing.assert_array_equal(found, [np.nan, 1, 2, np.nan])

    def test_rounding_at_the_ends_is_forgiven(self):
        time_s = np.array([0.1, 0.2, 0.3])
        ends = np.array([0.1 - 1e-12, 0.1 + 0.2 + 1e-12])
        np.testing.assert_allclose(resample(np.arange(3.0), time_s, ends), [0, 2])

    @laws
    @given(seeds)
    def test_own_times_change_nothing(self, seed):
        clip = random_clip(seed)
        np.testing.assert_array_equal(resample(clip, uneven(60), uneven(60)), clip)

    @laws
    @given(seeds)
    def test_agrees_with_numpy(self, seed):
        time_s, new_s = uneven(40, seed), np.linspace(0.1, 1, 77)
        clip = random_clip(seed, holes=False)[:40]
        found = resample(clip, time_s, new_s)
        expected = np.interp(new_s, time_s, clip[:, 1, 0], left=np.nan, right=np.nan)
        np.testing.assert_allclose(found[:, 1, 0], expected)

    def test_one_frame_and_none(self):
        found = resample(np.ones((1, 2)), np.array([3.0]), np.array([2, 3, 4.0]))
        np.testing.assert_array_equal(found[:, 0], [np.nan, 1, np.nan])
        assert np.isnan(resample(np.empty((0, 2)), np.empty(0), even(4))).all()


@pytest.mark.parametrize("times", [even, uneven])
class TestSmooth:
    def test_constants_and_lines_stay(self, times):
        time_s = times()
        np.testing.assert_allclose(smooth(np.full((120, 2), 5.0), time_s, 4), 5)
        line = 1 + 2 * time_s
        np.testing.assert_allclose(smooth(line, time_s, 4), line, atol=1e-5)

    def test_slow_motion_stays_without_delay(self, times):
        time_s = times()
        slow = wave(time_s, 0.5)
        inside = slice(15, -15)
        error = np.abs(smooth(slow, time_s, 6) - slow)[inside]
        one_frame_late = np.abs(wave(time_s - 1 / 30, 0.5) - slow)[inside]
        assert error.max() < 0.1 * one_frame_late.max()

    def test_fast_noise_goes(self, times):
        time_s = times()
        slow, noise = wave(time_s, 0.5), 0.2 * wave(time_s, 10)
        left = smooth(slow + noise, time_s, 3) - slow
        assert np.abs(left[15:-15]).max() < 0.03

    def test_off(self, times):
        clip = random_clip(0)
        np.testing.assert_array_equal(smooth(clip, times(60), None), clip)

    def test_gaps_stay_and_part_the_runs(self, times):
        time_s = times()
        values = np.r_[np.zeros(60), np.ones(60)][:, None] * [1, 2]
        values[59:61] = np.nan
        smoothed = smooth(values, time_s, 3)
        np.testing.assert_array_equal(np.isnan(smoothed), np.isnan(values))
        np.testing.assert_allclose(smoothed[:59], 0, atol=1e-12)
        np.testing.assert_allclose(smoothed[61:], values[61:])

    def test_short_runs_stay(self, times):
        clip = random_clip(1, holes=False)
        clip[[10, 21]] = np.nan
        smoothed = smooth(clip, times(60), 4)
        np.testing.assert_array_equal(smoothed[:22], clip[:22])
        assert np.abs(smoothed[22:] - clip[22:]).max() > 0.1

    def test_shift_scale_and_reversal(self, times):
        clip, time_s = random_clip(2), times(60)
        smoothed = smooth(clip, time_s, 5)
        np.testing.assert_allclose(smooth(3 * clip - 7, time_s, 5), 3 * smoothed - 7, atol=1e-9)
        np.testing.assert_allclose(smooth(clip, time_s + 100, 5), smoothed, atol=1e-6)

    def test_each_joint_as_if_alone(self, times):
        clip, time_s = random_clip(3), times(60)
        alone = smooth(clip[:, 1], time_s, 5)
        np.testing.assert_allclose(smooth(clip, time_s, 5)[:, 1], alone)


@pytest.mark.parametrize("rate_hz", [25, 120])
def test_the_cut_off_is_where_0_71_is_left(rate_hz):
    time_s = even(40 * rate_hz, rate_hz)
    middle = slice(10 * rate_hz, -10 * rate_hz)
    left = smooth(wave(time_s, 4), time_s, 4)[middle]
    assert left.max() == pytest.approx(np.sqrt(0.5), rel=0.02)


def test_uneven_times_cost_little_below_the_cut_off():
    time_s = uneven(300)
    quick = wave(time_s, 3)
    assert np.abs(smooth(quick, time_s, 8) - quick)[30:-30].mean() < 0.035


@laws
@given(seeds, st.floats(0.01, 100), st.floats(-100, 100))
def test_smooth_is_equivariant(seed, scale, shift):
    clip, time_s = random_clip(seed), even(60)
    expected = scale * smooth(clip, time_s, 5) + shift
    np.testing.assert_allclose(smooth(scale * clip + shift, time_s, 5), expected, atol=1e-8)


def test_a_hole_in_time_parts_the_runs():
    values = np.r_[np.zeros(60), np.ones(60)]
    time_s = even() + np.r_[np.zeros(60), np.full(60, 10.0)]
    np.testing.assert_allclose(smooth(values, time_s, 3), values, atol=1e-12)
    assert np.abs(smooth(values, even(), 3) - values).max() > 0.1


def test_nothing_to_remove_below_half_the_rate():
    clip = random_clip(4, holes=False)
    np.testing.assert_array_equal(smooth(clip, even(60, 12), 6), clip)


def test_nobody_and_no_frames():
    assert np.isnan(smooth(np.full((30, 2), np.nan), even(30), 4)).all()
    assert smooth(np.empty((0, 2)), np.empty(0), 4).shape == (0, 2)


@pytest.mark.parametrize("cutoff_hz", [0, -1, np.nan, np.inf])
def test_impossible_cut_offs(cutoff_hz):
    with pytest.raises(InputError, match="cut-off"):
        smooth(np.zeros(30), even(30), cutoff_hz)


def test_times_must_fit_and_rise():
    calls = [
        lambda time_s: fill_gaps(np.zeros((4, 2)), time_s, 1),
        lambda time_s: resample(np.zeros((4, 2)), time_s, np.zeros(1)),
        lambda time_s: smooth(np.zeros((4, 2)), time_s, 3),
    ]
    for call in calls:
        with pytest.raises(ShapeError, match="time stamps"):
            call(even(3))
        for bad in ([0, 1, 1, 2.0], [0, np.nan, 1, 2]):
            with pytest.raises(InputError, match="finite seconds that rise"):
                call(np.array(bad))


class TestOneEuro:
    def stream(self, values, time_s, **options):
        smoother = OneEuro(**options)
        return np.array([smoother(v, t) for v, t in zip(values, time_s, strict=True)])

    def test_constants_stay(self):
        values = np.full((30, 3, 3), 2.0)
        np.testing.assert_allclose(self.stream(values, uneven(30)), 2)

    def test_still_joints_become_calmer_and_fast_ones_hardly_late(self):
        random, time_s = np.random.default_rng(0), even(300)
        noise = random.normal(0, 0.01, (300, 1, 3))
        calm = self.stream(noise, time_s)
        assert calm[60:].std() < 0.5 * noise.std()
        fast = np.zeros((300, 1, 3))
        fast[:, 0, 0] = 5 * time_s
        delay_s = (fast - self.stream(fast, time_s))[-1, 0, 0] / 5
        slow_delay_s = (fast - self.stream(fast, time_s, speed_gain=0))[-1, 0, 0] / 5
        assert delay_s < 0.01 < 0.1 < slow_delay_s

    def test_is_the_published_filter_in_one_dimension(self):
        """Written out for one coordinate, as in the paper's algorithm."""
        values, time_s = random_clip(0, holes=False)[:, :1, :1], uneven(60)
        found = self.stream(values, time_s, least_cutoff_hz=1.2, speed_gain=0.3)

        def share(cutoff_hz, step_s):
            return 1 / (1 + 1 / (2 * np.pi * cutoff_hz * step_s))

        x, dx, expected = values[0, 0, 0], 0.0, [values[0, 0, 0]]
        for new, step_s in zip(values[1:, 0, 0], np.diff(time_s), strict=True):
            a = share(1.0, step_s)
            dx = a * (new - x) / step_s + (1 - a) * dx
            a = share(1.2 + 0.3 * abs(dx), step_s)
            x = a * new + (1 - a) * x
            expected.append(x)
        np.testing.assert_allclose(found[:, 0, 0], expected)

    def test_gaps_stay_and_touch_nobody_else(self):
        values, time_s = random_clip(0), even(60)
        assert np.isnan(values).any(axis=(0, 2)).all()
        found = self.stream(values, time_s)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(values))
        alone = [self.stream(values[:, [j]], time_s)[:, 0] for j in range(3)]
        np.testing.assert_allclose(found, np.stack(alone, axis=1))

    def test_after_a_long_gap_it_starts_nearly_anew(self):
        smoother = OneEuro()
        smoother(np.zeros(3), 0.0)
        assert np.isnan(smoother(np.full(3, np.nan), 0.1)).all()
        assert smoother(np.ones(3), 100.0)[0] > 0.99

    @laws
    @given(seeds)
    def test_does_not_depend_on_place_or_axes(self, seed):
        values, time_s = random_clip(seed), even(60)
        turn = np.array([[0.6, -0.8], [0.8, 0.6]])
        expected = self.stream(values, time_s) @ turn.T + 4
        np.testing.assert_allclose(self.stream(values @ turn.T + 4, time_s), expected, atol=1e-9)

    def test_reset_forgets(self):
        smoother = OneEuro()
        smoother(np.zeros(3), 5.0)
        smoother.reset()
        np.testing.assert_array_equal(smoother(np.ones((2, 3)), 0.0), np.ones((2, 3)))

    def test_wrong_use(self):
        smoother = OneEuro()
        smoother(np.zeros((2, 3)), 1.0)
        with pytest.raises(InputError, match="after 1 s"):
            smoother(np.zeros((2, 3)), 1.0)
        with pytest.raises(ShapeError, match="frame"):
            smoother(np.zeros((3, 3)), 2.0)
        with pytest.raises(InputError, match="cut-offs above zero"):
            OneEuro(least_cutoff_hz=0)
