"""Calibration over many clips as totals per clip, so that bootstrap intervals cost one product.

Ranks, and the thresholds at which values are dropped, are those of all clips together and stay
fixed while clips are drawn again; the values themselves are exactly those of `uncertainty`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from poselift.geometry import Array
from poselift.metrics.bootstrap import Statistic, clip_totals, ratio
from poselift.metrics.uncertainty import LEVELS, STEPS, Claim
from poselift.report.measures import COVERAGE_PERCENT

Totals = dict[str, tuple[Array, Statistic]]  # metric: totals (C, ...) and what makes them a value


def claim_totals(claims: Sequence[Claim]) -> Totals:
    """Totals of all metrics of the group "uncertainty" for one claim per clip."""
    out = mean_totals(claims)
    out["ece_percent"] = np.stack([_levels(claim.pit) for claim in claims]), _ece_percent
    sigma, error, clip = _together(claims)
    ranks = rankdata(sigma), rankdata(error)
    out["spearman"] = _per_clip(_moments(*ranks), clip, len(claims)), _correlation
    out["ause"] = _sparsification(sigma, error, clip, len(claims)), _ause
    return out


def mean_totals(claims: Sequence[Claim]) -> Totals:
    """Those of them that are means over values: coverage, claimed deviation, likelihood."""
    out: Totals = {}
    for percent in COVERAGE_PERCENT:
        inside = [_inside(claim.pit, percent / 100) for claim in claims]
        out[f"coverage_{percent}"] = _means(inside)
    out["sharpness_mm"] = _means([1e3 * claim.sigma_m for claim in claims])
    out["nll"] = _means([claim.nll for claim in claims])
    return out


def _means(values: Sequence[Array]) -> tuple[Array, Statistic]:
    return np.stack([clip_totals(each) for each in values]), ratio


def _inside(pit: Array, level: float) -> Array:
    return np.where(np.isfinite(pit), 100.0 * (pit <= level), np.nan)


def _levels(pit: Array) -> Array:
    """How many values lie within each level, and their number last."""
    known = np.sort(pit[np.isfinite(pit)])
    return np.append(np.searchsorted(known, LEVELS, side="right"), len(known)).astype(np.float64)


def _ece_percent(totals: Array) -> Array:
    number = totals[..., -1:]
    share = totals[..., :-1] / np.where(number > 0, number, np.nan)
    return 100 * np.mean(np.abs(share - LEVELS), axis=-1)


def _together(claims: Sequence[Claim]) -> tuple[Array, Array, NDArray[np.intp]]:
    """sigma, error and number of the clip (N) of all values of all clips."""
    known = [np.isfinite(claim.sigma_m) & np.isfinite(claim.error_m) for claim in claims]
    sigma = np.concatenate([c.sigma_m[k] for c, k in zip(claims, known, strict=True)])
    error = np.concatenate([c.error_m[k] for c, k in zip(claims, known, strict=True)])
    numbers = [int(np.sum(k)) for k in known]
    return sigma, error, np.repeat(np.arange(len(claims), dtype=np.intp), numbers)


def _moments(a: Array, b: Array) -> Array:
    """What a correlation needs (N, 6). Values are brought near 0 and 1 to keep their digits."""
    a, b = (values / max(len(values), 1) - 0.5 for values in (a, b))
    return np.stack([np.ones_like(a), a, b, a * a, b * b, a * b], axis=-1)


def _per_clip(values: Array, clip: NDArray[np.intp], clips: int) -> Array:
    """Sums (C, K) of values (N, K) over the values of each clip (N)."""
    sums = np.zeros((clips, values.shape[1]))
    np.add.at(sums, clip, values)
    return sums


def _correlation(totals: Array) -> Array:
    number = np.where(totals[..., 0] > 0, totals[..., 0], np.nan)
    a, b, aa, bb, ab = (totals[..., k] / number for k in range(1, 6))
    square = (aa - a * a) * (bb - b * b)
    return (ab - a * b) / np.sqrt(np.where(square > 1e-12, square, np.nan))


def _sparsification(sigma: Array, error: Array, clip: NDArray[np.intp], clips: int) -> Array:
    """Totals (C, 2, STEPS, 2): errors and their number by hundredths of the order by each."""
    out = np.zeros((clips, 2, STEPS, 2))
    for row, by in enumerate((sigma, error)):
        place = np.empty(len(by), dtype=np.int64)
        place[np.argsort(by, kind="stable")] = np.arange(len(by))
        cell = clip * STEPS + place * STEPS // max(len(by), 1)
        for column, weight in enumerate((error, np.ones_like(error))):
            counted = np.bincount(cell, weight, clips * STEPS)
            out[:, row, :, column] = counted.reshape(clips, STEPS)
    return out


def _ause(totals: Array) -> Array:
    """Mean gap of the two curves of mean error of what is kept, in mean errors."""
    kept = ratio(np.cumsum(totals, axis=-2))
    mean = kept[..., 0, -1]
    gap = kept[..., 0, :] - kept[..., 1, :]
    counted = np.isfinite(gap)
    total = np.sum(np.where(counted, gap, 0.0), axis=-1) / np.maximum(counted.sum(axis=-1), 1)
    return total / np.where(mean > 0, mean, np.nan)
