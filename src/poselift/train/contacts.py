"""When a foot is planted, from the captured skeleton's own ankles and foot directions.

A foot rests while its ankle or its ball hardly moves. A resting foot is planted unless it is held
in the air: then it came there, or leaves, from below. So no height of the floor is needed, and
stairs, slopes and boxes count as floors; jumps have no contact, as everything moves.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, minimum_filter1d, uniform_filter1d

from poselift.geometry import Array
from poselift.skeleton import skeleton
from poselift.train.flesh import ROTATIONS, Flesh

# A foot comes to rest below the first speed and leaves above the second: the ball of a foot on
# the floor stays below 0.3 m/s in walking and 0.6 m/s in fast running.
REST_BELOW_M_S, MOVES_ABOVE_M_S = 0.3, 0.6
SHORTEST_S, GAP_S = 0.07, 0.05
# A held foot is this much lower shortly before or after.
HELD_ABOVE_M, AROUND_S = 0.04, 0.15
RAMP_S = 0.05
_BALL_PER_LEG = 0.16  # ankle to ball of the foot over hip to ankle

H36M = skeleton("h36m17")


def contacts(flesh: Flesh) -> NDArray[np.uint8]:
    """How surely the left and the right foot are planted (T, 2), 0 to 255, with short ramps."""
    out = np.zeros((len(flesh.root_m), 2), np.uint8)
    for side, name in enumerate(("left", "right")):
        points = _foot_points_m(flesh, name)
        rests = _resting(_speed_m_s(points, flesh.rate_hz).min(-1), flesh.rate_hz)
        planted = np.zeros(len(rests))
        height = points[..., 2].min(-1)
        for start, stop in _runs(rests):
            planted[start:stop] = not _held(height, start, stop, flesh.rate_hz)
        width = 2 * round(RAMP_S * flesh.rate_hz / 2) + 1
        inside = minimum_filter1d(planted, width, mode="nearest")
        out[:, side] = np.rint(255 * uniform_filter1d(inside, width, mode="nearest"))
    return out


def _foot_points_m(flesh: Flesh, side: str) -> Array:
    """Ankle and ball (T, 2, 3)."""
    row = ROTATIONS.index(f"{side[0]}foot")
    ankle = flesh.h36m17_m[:, H36M.index(f"{side}_ankle")]
    along = flesh.rotation[:, row] @ flesh.zero_direction[row]
    return np.stack([ankle, ankle + _BALL_PER_LEG * flesh.leg_length_m * along], axis=1)


def _speed_m_s(points: Array, rate_hz: float) -> Array:
    """Speed (T, P) of points (T, P, 3) over about 1/30 s around each frame."""
    if len(points) < 2:
        return np.zeros(points.shape[:2])
    reach = min(max(1, round(rate_hz / 60)), len(points) - 1)
    ahead = np.minimum(np.arange(len(points)) + reach, len(points) - 1)
    behind = np.maximum(np.arange(len(points)) - reach, 0)
    way = np.linalg.norm(points[ahead] - points[behind], axis=-1)
    return way * rate_hz / (ahead - behind)[:, None]


def _resting(speed: Array, rate_hz: float) -> NDArray[np.bool_]:
    """Frames (T) of rest: hysteresis on the speed, short gaps closed, short rests dropped."""
    slow = speed < MOVES_ABOVE_M_S
    rests = np.zeros(len(speed), bool)
    for start, stop in _runs(slow):
        rests[start:stop] = (speed[start:stop] < REST_BELOW_M_S).any()
    gap = 2 * round(GAP_S * rate_hz / 2) + 1
    closed = maximum_filter1d(rests.astype(np.uint8), gap, mode="constant")
    rests |= minimum_filter1d(closed, gap, mode="constant", cval=1) > 0
    for start, stop in _runs(rests):
        if stop - start < SHORTEST_S * rate_hz:
            rests[start:stop] = False
    return rests


def _held(height_m: Array, start: int, stop: int, rate_hz: float) -> bool:
    """Whether a foot that rests from start to stop is lower shortly before or after."""
    reach = max(1, round(AROUND_S * rate_hz))
    around = np.concatenate(
        [height_m[max(0, start - reach) : start], height_m[stop : stop + reach]]
    )
    return bool(len(around)) and around.min() < height_m[start:stop].min() - HELD_ABOVE_M


def _runs(flags: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Starts and stops (n, 2) of stretches of True."""
    return np.flatnonzero(np.diff(flags, prepend=False, append=False)).reshape(-1, 2)
