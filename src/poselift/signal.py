"""Signals over time: fill gaps, resample, smooth a whole clip, smooth a stream.

Time is axis 0 and in seconds, evenly spaced or not; NaN = not seen. Every value along the other
axes is a signal of its own.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from poselift.errors import InputError, ShapeError
from poselift.geometry import Array

# Second order, run forwards and backwards.
ORDER = 2
# A run of frames must be longer than what the filter needs beyond either end.
LEAST_PAD = 9
# Steps that differ by less than this share count as even.
JITTER = 0.01


def fill_gaps(values: Array, time_s: Array, max_gap_s: float) -> Array:
    """Bridge NaN gaps by straight lines in time; values (T, ...), time_s (T).

    A gap is as long as the time between the frames seen around it; longer ones than `max_gap_s`
    and those at either end stay. Raises ShapeError, InputError (times that do not rise).
    """
    _check(values, time_s)
    flat, seen = _signals(values)
    frames = np.arange(len(flat))[:, None]
    before = np.maximum.accumulate(np.where(seen, frames, -1), axis=0)
    after = np.where(seen, frames, len(flat))[::-1]
    after = np.minimum.accumulate(after, axis=0)[::-1]
    inside = (before >= 0) & (after < len(flat)) & ~seen
    frame, signal = np.nonzero(inside)
    a, b = before[inside], after[inside]
    length_s = time_s[b] - time_s[a]
    weight = (time_s[frame] - time_s[a]) / length_s
    bridge = (1 - weight) * flat[a, signal] + weight * flat[b, signal]
    short = length_s <= max_gap_s * (1 + 1e-9)
    filled = flat.copy()
    filled[frame[short], signal[short]] = bridge[short]
    return filled.reshape(values.shape)


def resample(values: Array, time_s: Array, new_time_s: Array) -> Array:
    """Values (T, ...) at other times (N), linear between neighbouring frames; gives (N, ...).

    Between a frame and one that was not seen, and before the first and after the last frame, the
    result is NaN; on a frame it is that frame's value. Raises ShapeError, InputError.
    """
    _check(values, time_s)
    new_time_s = np.asarray(new_time_s, dtype=np.float64)
    if len(time_s) == 0:
        return np.full((len(new_time_s), *values.shape[1:]), np.nan)
    # Rounding must not push a time off the frame that it means.
    near = 1e-9 * max(time_s[-1] - time_s[0], 1.0)
    left = np.searchsorted(time_s, new_time_s + near, side="right") - 1
    a, b = np.clip(left, 0, len(time_s) - 1), np.clip(left + 1, 0, len(time_s) - 1)
    step_s = np.where(b > a, time_s[b] - time_s[a], 1.0)
    weight = (new_time_s - time_s[a]) / step_s
    on_frame = np.abs(new_time_s - time_s[a]) <= near
    outside = (left < 0) | ((b == a) & ~on_frame)
    wide = (-1, *[1] * (values.ndim - 1))
    mixed = (1 - weight).reshape(wide) * values[a] + weight.reshape(wide) * values[b]
    result = np.where(on_frame.reshape(wide), values[a], mixed)
    return np.where(outside.reshape(wide), np.nan, result)


def smooth(values: Array, time_s: Array, cutoff_hz: float | None) -> Array:
    """Low-pass values (T, ...) without delay: a Butterworth filter run both ways.

    At `cutoff_hz` an oscillation keeps 0.71 of its size (the cut-off is corrected for two passes,
    Winter, Biomechanics, 2009). None means no smoothing. NaN stays; each run of seen frames is
    filtered on its own, and a time step longer than 1 / cutoff_hz also ends a run. Uneven runs are
    resampled evenly and back. Runs of 10 frames or less, and runs whose frame rate is no more than
    twice the cut-off, are returned as they are. Raises ShapeError, InputError.
    """
    _check(values, time_s)
    if cutoff_hz is None:
        return np.array(values, dtype=np.float64)
    if not (np.isfinite(cutoff_hz) and cutoff_hz > 0):
        raise InputError("cut-off", expected="Hz above zero, or None", found=cutoff_hz)
    flat, seen = _signals(values)
    flat = flat.copy()
    patterns, of_signal = np.unique(seen, axis=1, return_inverse=True)
    for number, pattern in enumerate(patterns.T):
        signals = np.flatnonzero(of_signal.ravel() == number)
        for run in _runs(pattern, time_s, 1 / cutoff_hz):
            flat[run, signals] = _smooth_run(flat[run, signals], time_s[run.ravel()], cutoff_hz)
    return flat.reshape(values.shape)


def _runs(seen: NDArray[np.bool_], time_s: Array, longest_s: float) -> Iterator[NDArray[np.intp]]:
    """Frames (n, 1) of each run that is long enough to be filtered."""
    frames = np.flatnonzero(seen)
    broken = (np.diff(frames) > 1) | (np.diff(time_s[frames]) > longest_s)
    for run in np.split(frames, np.flatnonzero(broken) + 1):
        if len(run) > LEAST_PAD + 1:
            yield run[:, None]


def _smooth_run(values: Array, time_s: Array, cutoff_hz: float) -> Array:
    """Filter (n, signals) without NaN."""
    steps_s = np.diff(time_s)
    step_s = float(np.median(steps_s))
    if 2 * cutoff_hz * step_s >= 1:
        return values
    if np.ptp(steps_s) <= JITTER * step_s:
        return _low_pass(values, 1 / step_s, cutoff_hz)
    # Finer than the frames, so that the way back loses little of what is below the cut-off.
    step_s = min(step_s, 0.05 / cutoff_hz)
    count = int(np.ceil((time_s[-1] - time_s[0]) / step_s)) + 1
    even_s = np.linspace(time_s[0], time_s[-1], count)
    rate_hz = (count - 1) / (time_s[-1] - time_s[0])
    even = _low_pass(resample(values, time_s, even_s), rate_hz, cutoff_hz)
    return resample(even, even_s, time_s)


def _low_pass(values: Array, rate_hz: float, cutoff_hz: float) -> Array:
    # Two passes square the gain; warp the cut-off so that the product is 1/sqrt(2) there.
    correction = (np.sqrt(2) - 1) ** (1 / (2 * ORDER))
    warped = np.tan(np.pi * cutoff_hz / rate_hz) / correction
    sos = butter(ORDER, 2 * np.arctan(warped) / np.pi, output="sos")
    pad = min(len(values) - 1, max(LEAST_PAD, round(2 * rate_hz / cutoff_hz)))
    return sosfiltfilt(sos, values, axis=0, padlen=pad)


class OneEuro:
    """Causal smoothing of a stream: still joints are smoothed much, fast ones hardly delayed.

    Casiez, Roussel, Vogel: 1 € Filter (CHI 2012), with the speed taken over all coordinates of a
    joint, so that the result does not depend on the direction of the axes. The cut-off is
    least_cutoff_hz + speed_gain · speed; `speed_gain` is in Hz per (unit of the values per second).
    """

    def __init__(
        self,
        least_cutoff_hz: float = 1.0,
        speed_gain: float = 5.0,
        speed_cutoff_hz: float = 1.0,
    ) -> None:
        if not (least_cutoff_hz > 0 and speed_cutoff_hz > 0 and speed_gain >= 0):
            raise InputError(
                "one euro filter",
                expected="cut-offs above zero, a speed gain of zero or more",
                found=(least_cutoff_hz, speed_gain, speed_cutoff_hz),
            )
        self.least_cutoff_hz = least_cutoff_hz
        self.speed_gain = speed_gain
        self.speed_cutoff_hz = speed_cutoff_hz
        self.reset()

    def reset(self) -> None:
        """Forget everything, as before the first frame."""
        self._now_s = -np.inf
        self._value: Array = np.empty(0)  # (..., C), NaN where nothing was seen yet
        self._velocity: Array = np.empty(0)
        self._seen_s: Array = np.empty(0)  # (..., 1)

    def __call__(self, values: Array, time_s: float) -> Array:
        """Smooth one frame (..., C); a joint with a NaN coordinate is NaN and changes nothing.

        After a gap a joint goes on from where it was last, the less so the longer the gap was.
        Raises InputError where `time_s` is not later than the last frame's, and ShapeError where
        the shape changes.
        """
        values = np.asarray(values, dtype=np.float64)
        if not self._now_s < time_s < np.inf:
            raise InputError("time of a frame", expected=f"after {self._now_s:g} s", found=time_s)
        if np.isinf(self._now_s):
            self._value = np.full_like(values, np.nan)
            self._velocity = np.zeros_like(values)
            self._seen_s = np.full((*values.shape[:-1], 1), -np.inf)
        if values.shape != self._value.shape:
            raise ShapeError("frame", expected=str(self._value.shape), found=values.shape)
        self._now_s = time_s
        seen = np.all(np.isfinite(values), axis=-1, keepdims=True)
        known = np.all(np.isfinite(self._value), axis=-1, keepdims=True)
        self._follow(values, time_s, seen & known)
        self._value = np.where(seen & ~known, values, self._value)
        self._seen_s = np.where(seen, time_s, self._seen_s)
        return np.where(seen, self._value, np.nan)

    def _follow(self, values: Array, time_s: float, moved: NDArray[np.bool_]) -> None:
        """Move the joints in `moved` (..., 1) towards their new places."""
        last = np.where(moved, self._value, 0.0)
        new = np.where(moved, values, 0.0)
        step_s = np.where(moved, time_s - self._seen_s, 1.0)
        share = _share(np.full_like(step_s, self.speed_cutoff_hz), step_s)
        velocity = self._velocity + share * ((new - last) / step_s - self._velocity)
        speed = np.linalg.norm(velocity, axis=-1, keepdims=True)
        share = _share(self.least_cutoff_hz + self.speed_gain * speed, step_s)
        self._velocity = np.where(moved, velocity, self._velocity)
        self._value = np.where(moved, last + share * (new - last), self._value)


def _share(cutoff_hz: Array, step_s: Array) -> Array:
    """How far a first-order low-pass goes towards its input in one step."""
    turn = 2 * np.pi * cutoff_hz * step_s
    return turn / (turn + 1)


def _signals(values: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Values as (T, signals), and where they were seen."""
    flat = np.asarray(values, dtype=np.float64).reshape(len(values), int(np.prod(values.shape[1:])))
    return flat, np.isfinite(flat)


def _check(values: Array, time_s: Array) -> None:
    if time_s.shape != (len(values),):
        raise ShapeError("time stamps", expected=f"({len(values)},)", found=time_s.shape)
    if not np.isfinite(time_s).all() or (np.diff(time_s) <= 0).any():
        raise InputError("time stamps", expected="finite seconds that rise", found=time_s)
