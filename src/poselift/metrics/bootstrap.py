"""Intervals for any mean over clips, by drawing clips (and seeds) again: the percentile bootstrap.

Frames of a clip resemble each other, so the clip is the unit that is drawn, with all its frames
(cluster bootstrap, Davison & Hinkley 1997). A metric enters as the totals of every clip, most often
(sum over frames, number of frames), so that drawing is one matrix product and long clips weigh what
they should. Training seeds are a level above: seeds are drawn, and one draw of clips is shared by
all of them, since all seeds answered the same clips.

The same numbers of clips, draws and seed give the same draws, so that lifters are compared on the
same clips in every draw.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from poselift.errors import InputError, ShapeError
from poselift.geometry import Array

DRAWS = 1000
LEVEL = 0.95

Statistic = Callable[[Array], Array]


def ratio(totals: Array) -> Array:
    """Sum by number: totals (..., 2) to means (...), NaN where nothing was counted."""
    return totals[..., 0] / np.where(totals[..., 1] > 0, totals[..., 1], np.nan)


def clip_totals(values: Array) -> Array:
    """(sum, number) of the finite values of one clip: what `ratio` makes a mean of."""
    known = np.isfinite(values)
    return np.array([np.sum(np.where(known, values, 0.0)), np.sum(known)], dtype=np.float64)


def estimate(
    totals: Array,
    statistic: Statistic = ratio,
    *,
    draws: int = DRAWS,
    level: float = LEVEL,
    seed: int = 0,
) -> tuple[float, float, float]:
    """A value and its interval (value, low, high) from totals (S, C, ...) of S seeds and C clips.

    statistic: summed totals (..., K) to values (...); the value is its mean over seeds. Draws in
    which it is NaN (nothing counted) do not count; all three are NaN where it always is. With one
    clip and one seed there is nothing to draw: low and high equal the value. Few seeds (under
    five) make the part that seeds play look smaller than it is. Raises ShapeError, InputError.
    """
    if totals.ndim < 3 or 0 in totals.shape:
        raise ShapeError(
            "totals", expected="(seeds, clips, numbers), at least one each", found=totals.shape
        )
    if not 0 < level < 1 or draws < 1:
        raise InputError(
            "bootstrap", expected="0 < level < 1 and draws >= 1", found=f"{level}, {draws}"
        )
    seeds, clips = totals.shape[:2]
    value = _mean_of_known(statistic(totals.sum(axis=1)), np.ones((1, seeds)))[0]
    of_seeds, of_clips = _drawn(seeds, clips, draws, seed)
    per_seed = statistic(np.einsum("dc,sc...->ds...", of_clips, totals, optimize=True))
    values = _mean_of_known(per_seed, of_seeds)
    values = values[np.isfinite(values)]
    if not len(values) or not np.isfinite(value):
        return float("nan"), float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(value), float(low), float(high)


def _mean_of_known(values: Array, weights: Array) -> Array:
    """Weighted mean (D) of values (D, S), or (S) for all D, over seeds where it is finite."""
    known = np.isfinite(values)
    weights = weights * known
    total = np.sum(weights * np.where(known, values, 0.0), axis=-1)
    return total / np.where(weights.sum(axis=-1) > 0, weights.sum(axis=-1), np.nan)


@lru_cache(maxsize=8)
def _drawn(seeds: int, clips: int, draws: int, seed: int) -> tuple[Array, Array]:
    """How often each seed (D, S) and each clip (D, C) is drawn, with replacement."""
    random = np.random.default_rng(seed)
    of_clips = random.multinomial(clips, np.full(clips, 1 / clips), size=draws)
    of_seeds = random.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)
    return of_seeds.astype(np.float64), of_clips.astype(np.float64)
