"""Fit of the PPCA mixture: expectation maximisation with a yaw per pose and chart, and restarts.

What rises with every iteration is the mean over poses of

    log sum_k share_k max_yaw N(turned pose; mean_k, basis_k basis_k^T + noise_k^2 I)

First every chart turns every pose to where it likes it best, which is exact: the Mahalanobis
distance of a turned pose is a trigonometric polynomial of the second degree in the yaw. Then comes
one step of EM for mixtures of PPCA (Tipping and Bishop, Neural Computation 1999), whose maximum
has a closed form. After Tome, Russell and Agapito, Lifting from the Deep, CVPR 2017, section 4.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.linalg import helmert
from scipy.special import logsumexp

from poselift.errors import InputError, ShapeError
from poselift.geometry import Array
from poselift.models.ppca.model import JOINTS, SKELETON, size

# Centred poses have one joint less to say: 16 orthonormal contrasts of the joints stand for them.
CONTRASTS = helmert(JOINTS)
_DIMENSIONS = 3 * (JOINTS - 1)
_LEAST_VARIANCE = 1e-6
_ANGLES = 100
Say = Callable[[str], None]


@dataclass(frozen=True)
class FitConfig:
    """How a mixture is fitted; a fit ends where an iteration brings less than `tolerance` nats."""

    charts: int = 5
    basis: int = 12
    restarts: int = 4
    short: int = 12  # iterations of a restart; the best of them goes on
    iterations: int = 120
    tolerance: float = 1e-3
    seed: int = 0


@dataclass(frozen=True)
class Charts:
    """Fitted charts on contrasts: share (K), mean (K, 48), basis (K, 48, n), variance (K)."""

    share: Array
    mean: Array
    basis: Array
    variance: Array

    def poses(self) -> tuple[Array, Array]:
        """Mean (K, 17, 3) and basis (K, n, 17, 3) on joints, every mean facing the viewer."""
        charts, n = len(self.share), self.basis.shape[2]
        mean = CONTRASTS.T @ self.mean.reshape(charts, JOINTS - 1, 3)
        basis = CONTRASTS.T @ self.basis.swapaxes(1, 2).reshape(charts, n, JOINTS - 1, 3)
        turn = np.stack([about_up(-heading(pose[None])[0]) for pose in mean])
        return mean @ turn.swapaxes(1, 2), basis @ turn[:, None].swapaxes(2, 3)


@dataclass(frozen=True)
class Fit:
    """A finished fit: mean log-likelihoods by iteration of the restarts, then of the best one."""

    charts: Charts
    restarts: list[list[float]]
    history: list[float] = field(default_factory=list)


def about_up(yaw: Array | float) -> Array:
    """Rotations (..., 3, 3) about z by yaw (...) in radians."""
    c, s = np.cos(yaw), np.sin(yaw)
    zero, one = np.zeros_like(c), np.ones_like(c)
    rows = [[c, -s, zero], [s, c, zero], [zero, zero, one]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def heading(poses: Array) -> Array:
    """Yaw (N) of poses (N, 17, 3), z up: the direction from the right to the left hip."""
    left = poses[:, SKELETON.index("left_hip")] - poses[:, SKELETON.index("right_hip")]
    return np.arctan2(left[:, 1], left[:, 0])


def contrasts(poses: Array) -> Array:
    """Poses (N, 17, 3) in unit size as centred contrasts (N, 16, 3). Raises InputError."""
    if poses.ndim != 3 or poses.shape[1:] != (JOINTS, 3):
        raise ShapeError("training poses", expected=f"(N, {JOINTS}, 3)", found=poses.shape)
    if not np.isfinite(poses).all():
        raise InputError("training poses", expected="finite joints", found="NaN or infinity")
    return CONTRASTS @ (poses / size(poses)[:, None, None])


def fit(poses: Array, weight: Array, config: FitConfig, say: Say = lambda line: None) -> Fit:
    """Fit a mixture to poses (N, 17, 3), z up, of any size and yaw, with weights (N).

    Raises InputError for poses that are too few or not finite, ShapeError.
    """
    data = contrasts(poses)
    least = config.charts * (config.basis + 2)
    if len(data) < least or not 0 < config.basis < _DIMENSIONS:
        raise InputError(
            "PPCA fit",
            expected=f"at least {least} poses and a basis of 1 to {_DIMENSIONS - 1}",
            found=f"{len(data)} poses, a basis of {config.basis}",
        )
    weight = np.asarray(weight, np.float64) / np.sum(weight)
    rng = np.random.default_rng(config.seed)
    tries: list[tuple[Charts, Array, list[float]]] = []
    for restart in range(config.restarts):
        charts, yaw = _start(poses, data, weight, config, rng)
        tries.append(_climb(charts, yaw, data, weight, config.short, config.tolerance))
        say(f"restart {restart}: {tries[-1][2][-1]:.3f} nats after {config.short} iterations")
    charts, yaw, history = max(tries, key=lambda tried: tried[2][-1])
    rest = config.iterations - len(history)
    charts, _, more = _climb(charts, yaw, data, weight, rest, config.tolerance)
    say(f"best: {(more or history)[-1]:.3f} nats after {len(history) + len(more)} iterations")
    return Fit(charts, [tried[2] for tried in tries], history + more)


def log_likelihood(charts: Charts, poses: Array) -> Array:
    """Log-likelihood (N) of poses (N, 17, 3) at their best yaw, in nats."""
    data = contrasts(poses)
    yaw = np.zeros((len(charts.share), len(data)))
    return logsumexp(_turned(charts, yaw, data)[1], axis=0)


def _climb(
    charts: Charts, yaw: Array, data: Array, weight: Array, iterations: int, tolerance: float
) -> tuple[Charts, Array, list[float]]:
    history: list[float] = []
    for _ in range(iterations):
        yaw, joint = _turned(charts, yaw, data)
        each = logsumexp(joint, axis=0)
        history.append(float(weight @ each))
        if len(history) > 1 and history[-1] - history[-2] < tolerance:
            break
        charts = _maximised(data, yaw, weight * np.exp(joint - each), charts.basis.shape[2])
    return charts, yaw, history


def _start(
    poses: Array, data: Array, weight: Array, config: FitConfig, rng: np.random.Generator
) -> tuple[Charts, Array]:
    """Charts around random poses that lie far apart (k-means++), after turning all to the front."""
    yaw = np.repeat(-heading(poses)[None], config.charts, axis=0)
    flat = (data @ about_up(yaw[0]).swapaxes(1, 2)).reshape(len(data), -1)
    centre = [flat[rng.choice(len(flat), p=weight)]]
    for _ in range(1, config.charts):
        nearest = np.min([np.sum((flat - c) ** 2, axis=1) for c in centre], axis=0) * weight
        centre.append(flat[rng.choice(len(flat), p=nearest / nearest.sum())])
    distance = np.stack([np.sum((flat - c) ** 2, axis=1) for c in centre])
    mine = (distance.argmin(0) == np.arange(config.charts)[:, None]).astype(float)
    # A little of everybody in every chart, or a chart with a handful of poses would be singular.
    return _maximised(data, yaw, weight * (0.9 * mine + 0.1 / config.charts), config.basis), yaw


def _turned(charts: Charts, yaw: Array, data: Array) -> tuple[Array, Array]:
    """Best yaw (K, N) of every pose for every chart, and log(share * density) (K, N) there."""
    out_yaw, joint = np.empty_like(yaw), np.empty_like(yaw)
    for k in range(len(charts.share)):
        whitened, log_determinant = _whitening(charts.basis[k], charts.variance[k])
        wave = _polynomial(charts.mean[k], whitened, data)
        out_yaw[k], distance = _lowest(wave, yaw[k])
        constant = _DIMENSIONS * np.log(2 * np.pi) + log_determinant
        joint[k] = np.log(charts.share[k]) - (constant + distance) / 2
    return out_yaw, joint


def _whitening(basis: Array, variance: float) -> tuple[Array, float]:
    """A with A^T A = covariance^-1, and the covariance's log-determinant."""
    covariance = basis @ basis.T + variance * np.eye(len(basis))
    values, vectors = np.linalg.eigh(covariance)
    return vectors.T / np.sqrt(values)[:, None], float(np.log(values).sum())


def _polynomial(mean: Array, whitening: Array, data: Array) -> Array:
    """Squared distance of turned poses: (N, 5) times (1, cos, sin, cos 2, sin 2) of the yaw."""
    x, y, z = np.moveaxis(data, -1, 0)
    zero = np.zeros_like(x)

    def whiten(*axes: Array) -> Array:
        return np.stack(axes, axis=-1).reshape(len(data), -1) @ whitening.T

    # turned = u cos + v sin + w
    u, v = whiten(x, y, zero), whiten(-y, x, zero)
    w = whiten(zero, zero, z) - whitening @ mean
    uu, vv, ww = (np.sum(part**2, axis=1) for part in (u, v, w))
    uv, uw, vw = (np.sum(a * b, axis=1) for a, b in ((u, v), (u, w), (v, w)))
    return np.stack([ww + (uu + vv) / 2, 2 * uw, 2 * vw, (uu - vv) / 2, uv], axis=1)


def _waves(yaw: Array) -> Array:
    return np.stack(
        [np.ones_like(yaw), np.cos(yaw), np.sin(yaw), np.cos(2 * yaw), np.sin(2 * yaw)], axis=-1
    )


def _lowest(wave: Array, known: Array) -> tuple[Array, Array]:
    """Yaw (N) with the least distance and that distance: a grid, then Newton's steps.

    The yaw that was known stays where it is no worse, so that the likelihood never falls.
    """
    grid = np.arange(_ANGLES) * 2 * np.pi / _ANGLES
    yaw = grid[(wave @ _waves(grid).T).argmin(1)]
    _, a1, b1, a2, b2 = wave.T
    for _ in range(3):
        c, s, c2, s2 = np.cos(yaw), np.sin(yaw), np.cos(2 * yaw), np.sin(2 * yaw)
        slope = -a1 * s + b1 * c + 2 * (b2 * c2 - a2 * s2)
        bend = -a1 * c - b1 * s - 4 * (a2 * c2 + b2 * s2)
        step = slope / np.where(bend > 1e-9, bend, np.inf)
        yaw = yaw - np.clip(step, -np.pi / _ANGLES, np.pi / _ANGLES)
    options = np.stack([yaw, known], axis=1)
    distance = np.einsum("nc,nac->na", wave, _waves(options))
    best = distance.argmin(1)[:, None]
    chosen = [np.take_along_axis(each, best, 1)[:, 0] for each in (options, distance)]
    return chosen[0], chosen[1]


def _maximised(data: Array, yaw: Array, responsibility: Array, basis: int) -> Charts:
    """The charts that responsibilities (K, N), which sum to one, ask for."""
    parts = []
    for turn, mine in zip(about_up(yaw), responsibility, strict=True):
        flat = (data @ turn.swapaxes(1, 2)).reshape(len(data), -1)
        total = mine.sum()
        mean = mine @ flat / total
        centred = flat - mean
        values, vectors = np.linalg.eigh((centred * mine[:, None]).T @ centred / total)
        variance = max(float(values[:-basis].mean()), _LEAST_VARIANCE)
        kept = np.sqrt(np.clip(values[-basis:] - variance, 0, None))
        parts.append((total, mean, (vectors[:, -basis:] * kept)[:, ::-1], variance))
    share, mean, vectors, variance = (np.array(part) for part in zip(*parts, strict=True))
    return Charts(share / share.sum(), mean, vectors, variance)
