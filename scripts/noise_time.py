"""How errors persist: correlations in time, and the Gaussian noise that makes such errors."""

from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np
from noise_clips import Array
from scipy.special import log_ndtr, ndtri

from poselift.train.errormodel import LENGTH_STEP, LENGTHS

LAGS = 25  # frames
CORRELATIONS = np.linspace(0, 1, 26)
GROSS = 0.1  # of the box; what is beyond shall not decide the correlations
SLOW_S = tuple(float(s) for s in np.geomspace(0.12, 0.8, 12))  # to choose from
QUICK_S = tuple(float(s) for s in np.geomspace(0.01, 0.16, 8))


def mean_of(arrays: Iterable[Array]) -> float:
    """Mean of everything that is not NaN."""
    flat = np.concatenate([a.ravel() for a in arrays])
    return float(np.nanmean(flat))


def gaussian(residual: Array, rank: Array) -> Array:
    """The residual's direction with the length that its rank has in a Gaussian of unit spread."""
    norm = np.linalg.norm(residual, axis=-1, keepdims=True)
    return residual / np.maximum(norm, 1e-9) * np.sqrt(-2 * np.log1p(-rank))[..., None]


def correlation(series: list[Array]) -> Array:
    """Correlation (LAGS,) of vectors (F, P, C) with themselves some frames later."""
    variance = mean_of([(s**2).sum(axis=-1) for s in series])
    out = [1.0]
    for lag in range(1, LAGS):
        out.append(mean_of([(s[lag:] * s[:-lag]).sum(axis=-1) for s in series]) / variance)
    return np.array(out)


def shares(curve: Array, dt: float, slow_s: float, quick_s: float = 0.0) -> tuple[float, float]:
    """Steady and slow share of what has that correlation; without `quick_s` they are everything."""
    time = dt * np.arange(1, LAGS)
    slow = np.exp(-time / slow_s)
    quick = np.exp(-time / quick_s) if quick_s else slow
    basis = np.stack([1 - quick, slow - quick], axis=1)
    found = np.clip(np.linalg.lstsq(basis, curve[1:] - quick, rcond=None)[0], 0, 1)
    steady, slowly = (float(share) for share in found / max(1.0, found.sum()))
    return steady, slowly if quick_s else 1 - steady


def time_constants(curves: list[Array], dt: float) -> tuple[float, float]:
    """The slow and the quick one that fit all parts best."""
    time = dt * np.arange(1, LAGS)

    def misfit(pair: tuple[float, float]) -> float:
        slow, quick = (np.exp(-time / constant) for constant in pair)
        total = 0.0
        for curve in curves:
            steady, slowly = shares(curve, dt, *pair)
            model = steady + slowly * slow + (1 - steady - slowly) * quick
            total += float(((model - curve[1:]) ** 2).sum())
        return total

    return min(product(SLOW_S, QUICK_S), key=misfit)


def strengthened(seen: Array | float, kept: float, lengths: Sequence[float]) -> Array:
    """Correlation of the Gaussian vectors behind errors whose correlation was seen.

    The errors have these lengths (a table as in errormodel) up to GROSS; the share `kept` of the
    score of the length is the same for both.
    """
    rng = np.random.default_rng(0)
    first, fresh = rng.normal(size=(2, 20_000, 2))
    same = np.sqrt(kept) * rng.normal(size=len(first))

    def error(z: Array) -> Array:
        radius = np.linalg.norm(z, axis=-1, keepdims=True)
        own = ndtri(np.clip(1 - np.exp(-(radius[:, 0] ** 2) / 2), 1e-9, 1 - 1e-9))
        at = -log_ndtr(-np.sqrt(1 - kept) * own - same) / LENGTH_STEP
        return z / radius * np.interp(at, np.arange(LENGTHS), np.minimum(lengths, GROSS))[:, None]

    one = error(first)
    others = (error(c * first + np.sqrt(1 - c**2) * fresh) for c in CORRELATIONS)
    weaker = np.array([(one * other).sum() for other in others])
    return np.interp(seen, np.maximum.accumulate(weaker / weaker[-1]), CORRELATIONS)
