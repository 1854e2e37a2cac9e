"""Does a lifter know how wrong it is? Calibration of the uncertainty that comes with poses.

Two kinds of claim are judged on one scale, the share of the claimed probability that lies nearer
than the truth (the probability integral transform, PIT), which is uniform in 0..1 for an honest
lifter:

- `exp_power`: heteroscedastic 3D exponential power distribution in ray coordinates, between Laplace
  (p = 1) and Gauss (p = 2). The error is split into `lateral` (across the ray, 2D) and `depth`
  (along it), r² = |e_lateral|² / b_lateral² + e_depth² / b_depth², density
  p exp(-r^p) / (4 π Γ(3/p) b_lateral² b_depth) with p = 1.2, which is about the tail that errors of
  `river` have on validation people (docs/log.md). Then r^p is Gamma(3/p) distributed: half of all
  truths lie within r = 1.91, 90 % within 3.58, 95 % within 4.16. One standard deviation per axis is
  1.36 b.
- `gaussian`: one standard deviation per axis, alike in all directions (`Poses3D.uncertainty_m`);
  |e| / sd is chi distributed with three degrees of freedom.

Both give a `Claim` with arrays (..., T, J); joints without truth, answer or scale are NaN there and
do not count. The measures below take those arrays, or any part of them such as one joint.
"""

from dataclasses import dataclass
from math import gamma

import numpy as np
from scipy.special import gammainc, gammaincinv
from scipy.stats import rankdata

from poselift.errors import InputError, ShapeError
from poselift.geometry import Array, unit
from poselift.metrics.common import check_pair

OPTICAL_AXIS = np.array([0.0, 0.0, 1.0])
LEVELS = np.arange(1, 100) / 100  # of probability, for the calibration error
STEPS = 100  # of the sparsification curve
POWER = 1.2  # p of the claimed distribution


@dataclass(frozen=True, eq=False)
class Claim:
    """What was claimed and what happened, (..., T, J) each, NaN where there is nothing to judge.

    pit: share of the claimed probability nearer than the truth. sigma_m: claimed standard deviation
    per axis (root mean square over the axes). error_m: distance to the truth. nll: minus the
    natural logarithm of the claimed density at the truth (density per cubic metre).
    """

    pit: Array
    sigma_m: Array
    error_m: Array
    nll: Array

    def of(self, joints: int | slice) -> "Claim":
        """The claim about one joint (..., T), or about some (..., T, J)."""
        every = (self.pit, self.sigma_m, self.error_m, self.nll)
        return Claim(*(values[..., joints] for values in every))


def exp_power(
    predicted_m: Array, true_m: Array, scale_m: Array, axis: Array = OPTICAL_AXIS
) -> Claim:
    """Judge claimed scales (..., T, J, 2), lateral and depth, for poses (..., T, J, 3).

    axis: direction of depth, (3) or whatever broadcasts over the poses, in their axes; the optical
    axis of camera poses when left out. Raises ShapeError, InputError (a scale that is not > 0).
    """
    check_pair(predicted_m, true_m)
    _check_scale(scale_m, (*true_m.shape[:-1], 2))
    error = predicted_m - true_m
    depth = np.sum(error * unit(np.asarray(axis, dtype=np.float64)), axis=-1)
    square = np.sum(error**2, axis=-1)
    b_lateral, b_depth = scale_m[..., 0], scale_m[..., 1]
    r = np.sqrt(np.maximum(square - depth**2, 0.0) / b_lateral**2 + (depth / b_depth) ** 2)
    nll = r**POWER + 2 * np.log(b_lateral) + np.log(b_depth)
    nll += np.log(4 * np.pi * gamma(3 / POWER) / POWER)
    pit = gammainc(3 / POWER, r**POWER)
    return _claim(pit, exp_power_sd(scale_m), np.sqrt(square), nll)


def exp_power_radius(level: Array) -> Array:
    """Within which r (...), in scales, shares `level` (...) of the truths are claimed to lie.

    NaN for shares outside 0 to 1.
    """
    return gammaincinv(3 / POWER, level) ** (1 / POWER)


def exp_power_sd(scale_m: Array) -> Array:
    """Standard deviation per axis (...), root mean square over the axes, of scales (..., 2)."""
    across, along = scale_m[..., 0], scale_m[..., 1]
    # Each axis of the unit distribution has variance E[r²] / 3.
    variance = gamma(5 / POWER) / gamma(3 / POWER) / 3
    return np.sqrt(variance * (2 * across**2 + along**2) / 3)


def gaussian(predicted_m: Array, true_m: Array, sd_m: Array) -> Claim:
    """Judge standard deviations per axis (..., T, J) for poses (..., T, J, 3).

    Raises ShapeError, InputError (a deviation that is not > 0).
    """
    check_pair(predicted_m, true_m)
    _check_scale(sd_m, true_m.shape[:-1])
    error = np.linalg.norm(predicted_m - true_m, axis=-1)
    z = error / sd_m
    nll = z**2 / 2 + 3 * np.log(sd_m) + 1.5 * np.log(2 * np.pi)
    return _claim(gammainc(1.5, z**2 / 2), sd_m, error, nll)


def coverage(pit: Array, level: float) -> float:
    """Share of truths within the claimed region of probability `level`; honest: equal to it."""
    return float(reliability(pit, np.array([level]))[0])


def reliability(pit: Array, levels: Array = LEVELS) -> Array:
    """Share of truths within each claimed region of probability levels (L), NaN without values."""
    known = np.sort(pit[np.isfinite(pit)])
    if not len(known):
        return np.full(len(levels), np.nan)
    return np.searchsorted(known, levels, side="right") / len(known)


def calibration_error(pit: Array) -> float:
    """Mean distance of `reliability` from the claim over `LEVELS`: 0 honest, at most 0.5."""
    return float(np.mean(np.abs(reliability(pit) - LEVELS)))


def sparsification_error(sigma_m: Array, error_m: Array) -> float:
    """AUSE: how much worse than an oracle sigma sorts out errors; 0 is perfect.

    Drop the values with the largest sigma, 0 to 99 % of them, and follow the mean error of the
    rest; the oracle drops the largest errors. Mean gap between the curves, in units of the mean
    error (Ilg et al., ECCV 2018). NaN without values or errors.
    """
    sigma, error = _known(sigma_m, error_m)
    if not len(error) or not error.any():
        return float("nan")
    keep = np.ceil(len(error) * np.arange(STEPS, 0, -1) / STEPS).astype(int) - 1
    by_sigma, oracle = (
        _mean_of_first(error[np.argsort(by, kind="stable")]) for by in (sigma, error)
    )
    return float(np.mean(by_sigma[keep] - oracle[keep]) / error.mean())


def spearman(sigma_m: Array, error_m: Array) -> float:
    """Rank correlation of claimed deviation and error, -1 to 1; NaN where either is constant."""
    a, b = (rankdata(values) for values in _known(sigma_m, error_m))
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _claim(pit: Array, sigma: Array, error: Array, nll: Array) -> Claim:
    known = np.isfinite(error) & np.isfinite(sigma)
    return Claim(*(np.where(known, values, np.nan) for values in (pit, sigma, error, nll)))


def _known(sigma_m: Array, error_m: Array) -> tuple[Array, Array]:
    known = np.isfinite(sigma_m) & np.isfinite(error_m)
    return sigma_m[known], error_m[known]


def _mean_of_first(values: Array) -> Array:
    return np.cumsum(values) / np.arange(1, len(values) + 1)


def _check_scale(scale_m: Array, shape: tuple[int, ...]) -> None:
    if scale_m.shape != shape:
        raise ShapeError("scales of uncertainty", expected=str(shape), found=scale_m.shape)
    wrong = scale_m <= 0  # NaN is no claim and passes
    if wrong.any():
        raise InputError(
            "scales of uncertainty", expected="metres > 0 or NaN", found=f"{scale_m[wrong][0]:g}"
        )
