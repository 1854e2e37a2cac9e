"""The pose at a known chart and rotation: mean and covariance in closed form."""

from dataclasses import dataclass

import numpy as np

from poselift.geometry import Array
from poselift.models.ppca.model import JOINTS, Index, Mixture
from poselift.models.ppca.search import best_inverse_scale, precision, rotation


@dataclass(frozen=True)
class PpcaResult:
    """Poses of N frames; all NaN (chart -1) where too few joints were seen.

    xyz_m (N, 17, 3) root-relative, view axes; covariance_m2 (N, 17, 3, 3) of that, given chart and
    rotation. chart (N); angles_rad (N, 3): yaw, pitch, roll; R_model_to_view (N, 3, 3);
    coefficients (N, n) in standard deviations; scale (N): units of the points per metre.
    xy (N, 17, 2): the fit projected back, in units of the points; xy_sd (N, 17): how sure the
    charts are of it. residual (N): root mean square of xy less the points. log_likelihood (N).
    """

    xyz_m: Array
    covariance_m2: Array
    chart: Index
    angles_rad: Array
    R_model_to_view: Array
    coefficients: Array
    scale: Array
    xy: Array
    xy_sd: Array
    residual: Array
    log_likelihood: Array


def posterior(
    mixture: Mixture, xy: Array, weight: Array, chart: Index, angles_rad: Array
) -> PpcaResult:
    """The pose at a known chart (N) and known angles (N, 3): mean and covariance.

    Where a joint was seen, its own image point counts beyond what the charts can express, in the
    ratio of the two noises (the release blends by a fixed 1.55 instead).
    """
    turn = rotation(*angles_rad.T)
    mean = np.einsum("ncd,njd->njc", turn, mixture.mean[chart])
    basis = np.einsum("ncd,nbjd->nbjc", turn, mixture.basis[chart], optimize=True)
    fit = _regress(mixture, xy, weight, chart, mean[..., :2], basis[..., :2])
    size_m = mixture.size_m
    own = np.where(weight > 0, mixture.noise[chart, None] ** 2 * fit.precision, 0.0)
    shape = mean + np.einsum("nb,nbjc->njc", fit.coefficients, basis)
    shape[..., :2] += own[..., None] * fit.off
    xyz_m = size_m * (shape - shape[:, :1])
    fixed = np.stack([own, own, np.zeros_like(own)], axis=-1)
    covariance = _covariance(basis * (1 - fixed)[:, None], fit.gram, mixture.noise[chart], fixed)
    # How the pose moves when points are taken to be larger, scale being uncertain.
    swell = np.einsum("nb,nbjc->njc", fit.swell, basis * (1 - fixed)[:, None])
    swell[..., :2] += own[..., None] * fit.inverse[:, None, None] * fit.points
    swell = (swell - swell[:, :1]) * fit.log_scale_sd[:, None, None]
    covariance = covariance + swell[..., :, None] * swell[..., None, :]
    stretch = mixture.size_spread**2 * xyz_m[..., :, None] * xyz_m[..., None, :]
    drawn = shape[..., :2] / fit.inverse[:, None, None] + fit.shift[:, None]
    return PpcaResult(
        xyz_m=xyz_m,
        covariance_m2=size_m**2 * covariance + stretch,
        chart=chart,
        angles_rad=np.angle(np.exp(1j * angles_rad)),
        R_model_to_view=turn,
        coefficients=fit.coefficients,
        scale=1 / (fit.inverse * size_m),
        xy=drawn,
        xy_sd=_image_spread(basis, fit, mixture, chart),
        residual=_residual(drawn - xy, weight),
        log_likelihood=fit.log_likelihood,
    )


@dataclass(frozen=True)
class _Fit:
    precision: Array  # (N, 17)
    gram: Array  # (N, n, n), inverse covariance of the coefficients
    coefficients: Array
    inverse: Array  # (N) 1/s
    shift: Array  # (N, 2)
    off: Array  # (N, 17, 2) what the charts leave over, in units of size
    points: Array  # (N, 17, 2) centred
    swell: Array  # (N, n) change of the coefficients by log(1/s)
    log_scale_sd: Array  # (N)
    log_likelihood: Array


def _regress(
    mixture: Mixture, xy: Array, weight: Array, chart: Index, mean: Array, basis: Array
) -> _Fit:
    """Weighted ridge regression of points (N, 17, 2) with the scale of highest likelihood."""
    p = np.take_along_axis(precision(mixture, weight), chart[None, :, None], 0)[0]
    share = (p / p.sum(-1, keepdims=True))[..., None]
    middles = [np.sum(part * share, axis=-2, keepdims=True) for part in (xy, mean)]
    y, m = xy - middles[0], mean - middles[1]
    f = basis - np.sum(basis * share[:, None], axis=-2, keepdims=True)
    weighted = f * p[:, None, :, None]
    gram = np.einsum("nbjc,ndjc->nbd", weighted, f, optimize=True) + np.eye(basis.shape[1])
    ends = np.stack([np.einsum("nbjc,njc->nb", weighted, part) for part in (y, m)], axis=-1)
    solved = np.linalg.solve(gram, ends)
    both = np.stack([y, m], axis=-1)
    left = np.einsum("njcu,nj,njcv->nuv", both, p, both, optimize=True)
    left = left - ends.swapaxes(-1, -2) @ solved
    a, b, c = np.maximum(left[:, 0, 0], 1e-12), left[:, 0, 1], left[:, 1, 1]
    dimensions = 2.0 * ((weight > 0).sum(1) - 1)
    inverse = best_inverse_scale(a, b, dimensions)
    coefficients = inverse[:, None] * solved[..., 0] - solved[..., 1]
    drawn = m + np.einsum("nb,nbjc->njc", coefficients, f)
    # The projection of the uncentred pose lands on the points when this is added to it.
    whole = mean + np.einsum("nb,nbjc->njc", coefficients, basis)
    shift = middles[0][:, 0] - np.sum(whole * share, axis=1) / inverse[:, None]
    quadratic = a * inverse**2 - 2 * b * inverse + c
    log_likelihood = np.log(mixture.share[chart]) + dimensions * np.log(inverse)
    log_likelihood = log_likelihood + _log_volume(p, gram) - quadratic / 2
    return _Fit(
        precision=p,
        gram=gram,
        coefficients=coefficients,
        inverse=inverse,
        shift=shift,
        off=inverse[:, None, None] * y - drawn,
        points=y,
        swell=inverse[:, None] * solved[..., 0],
        log_scale_sd=(dimensions + a * inverse**2) ** -0.5,
        log_likelihood=log_likelihood,
    )


def _log_volume(p: Array, gram: Array) -> Array:
    """Half the log-determinant (N) of the points' inverse covariance, shift integrated out."""
    points = np.log(np.where(p > 0, p, 1.0)).sum(-1) - np.log(p.sum(-1))
    return points - np.linalg.slogdet(gram)[1] / 2


def _covariance(basis: Array, gram: Array, noise: Array, fixed: Array) -> Array:
    """Covariances (N, 17, 3, 3) of root-relative joints in units of size.

    basis (N, n, 17, 3), of which what the own image point fixes (N, 17, 3) has been taken away.
    """
    apart = basis - basis[:, :, :1]
    solved = np.linalg.solve(gram, apart.reshape(*gram.shape[:2], -1)).reshape(apart.shape)
    spread = np.einsum("nbjc,nbjd->njcd", apart, solved, optimize=True)
    own = noise[:, None, None] ** 2 * (1 - fixed)
    own = own + own[:, :1]
    own[:, 0] = 0
    return spread + own[..., None] * np.eye(3)


def _image_spread(basis: Array, fit: _Fit, mixture: Mixture, chart: Index) -> Array:
    """Standard deviation (N, 17) of the projection as the charts alone have it."""
    flat = basis[..., :2].reshape(*fit.gram.shape[:2], -1)
    solved = np.linalg.solve(fit.gram, flat)
    variance = np.sum(flat * solved, axis=1).reshape(len(flat), JOINTS, 2).mean(-1)
    return np.sqrt(variance + mixture.noise[chart, None] ** 2) / fit.inverse[:, None]


def _residual(off: Array, weight: Array) -> Array:
    seen = weight > 0
    total = np.sum(np.where(seen[..., None], off, 0.0) ** 2, axis=(1, 2))
    return np.sqrt(total / (2 * seen.sum(1)))
