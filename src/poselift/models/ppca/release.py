"""The fit of the Lifting from the Deep release, re-made from its description, quirks and all.

Differs from `lift` in that scale is a linear unknown (which may come out negative and is then
capped), that charts are chosen by a sum of residual and log-determinants, and that detections are
blended in by a fixed weight. Written from facts about the release (Tome, Russell and Agapito, CVPR
2017, inference code only); our charts, our least squares.
"""

from dataclasses import dataclass

import numpy as np

from poselift.errors import InputError
from poselift.geometry import Array
from poselift.models.ppca.lift import checked
from poselift.models.ppca.model import JOINTS, Mixture, size
from poselift.models.ppca.search import Grid, by_weights, rotation


@dataclass(frozen=True)
class ReleaseOptions:
    """The release's constants.

    least_scale: where the scale comes out smaller, the pose is fitted again with this one; prior:
    weight of the coefficients; blend: of the detections against the model in the image plane;
    size_m: length of all 16 bones together (root of the sum of squares), 0.97 times 1.174883.
    first_visibility: its bug of taking the first person's visible joints for everybody.
    """

    angles: int = 100
    least_scale: float = 1e-3
    prior: float = 5.2
    blend: float = 1.55
    size_m: float = 0.97 * 1.174883
    first_visibility: bool = False


def lift_as_released(
    mixture: Mixture,
    xy: Array,
    visible: Array | None = None,
    options: ReleaseOptions | None = None,
) -> Array:
    """Poses (N, 17, 3), metres, root-relative, view axes, of points (N, 17, 2) as for `lift`.

    Raises ShapeError; InputError for a frame without two seen joints of different height.
    """
    options = options or ReleaseOptions()
    xy, weight = checked(xy, visible)
    if options.first_visibility:
        weight = np.repeat(weight[:1], len(weight), axis=0)
    points = _normalised(xy, weight)
    yaw = 2 * np.pi * np.arange(options.angles) / options.angles
    grid = Grid.of(mixture, yaw, np.zeros(1))
    out = np.empty((len(xy), JOINTS, 3))
    for row, frames in by_weights(weight, most=64):
        out[frames] = _fitted(mixture, grid, row, points[frames], options)
    return out


def _normalised(xy: Array, weight: Array) -> Array:
    """Points about the mean of the seen ones; the seen joints' height is 2."""
    seen = weight > 0
    high = np.where(seen, xy[..., 1], -np.inf).max(1)
    low = np.where(seen, xy[..., 1], np.inf).min(1)
    if not (high > low).all():
        raise InputError("points", expected="seen joints of different height", found="others")
    total = np.sum(np.where(seen[..., None], xy, 0.0), axis=1) / seen.sum(1)[:, None]
    return (xy - total[:, None]) / ((high - low) / 2)[:, None, None]


def _fitted(
    mixture: Mixture, grid: Grid, weight: Array, xy: Array, options: ReleaseOptions
) -> Array:
    """Poses of frames (N, 17, 2) with the same weights (17)."""
    best = np.full(len(xy), np.inf)
    out = np.empty((len(xy), JOINTS, 3))
    n = mixture.basis.shape[1]
    for k in range(mixture.charts):
        sure = 1 / mixture.noise[k]
        solved, residual = _least_squares(grid, k, weight, xy, sure, options)
        # Columns of the basis are deviations; of the noise there is one for what is left.
        lengths = np.sqrt(np.sum(mixture.basis[k] ** 2, axis=(1, 2)))
        volume = np.log(lengths).sum() - (3 * JOINTS - n) * np.log(sure)
        angle = residual.argmin(1)
        row = np.arange(len(xy))
        chosen = solved[row, angle]
        cost = residual[row, angle] / 2 + chosen[:, 0] ** 2 * volume
        better = np.flatnonzero(cost < best)
        best[better] = cost[better]
        yaw = grid.yaw[angle[better]]
        out[better] = _rebuilt(mixture, k, yaw, chosen[better], weight, xy[better], options)
    return out


def _least_squares(
    grid: Grid, k: int, weight: Array, xy: Array, sure: float, options: ReleaseOptions
) -> tuple[Array, Array]:
    """Scale and coefficients (N, R, 1 + n) and residual (N, R) of a chart at every angle."""
    columns = np.concatenate([grid.mean[k][:, None], grid.basis[k]], axis=1).astype(np.float64)
    w2 = (sure * weight) ** 2
    share = w2 / w2.sum()
    columns = columns - (columns * share).sum(-1, keepdims=True)
    points = xy - np.einsum("njc,j->nc", xy, share)[:, None]
    flat = (columns * w2).reshape(*columns.shape[:2], -1)
    normal = flat @ columns.reshape(flat.shape).swapaxes(-1, -2)
    normal = normal + np.diag([0.0] + [options.prior**2] * (columns.shape[1] - 1))
    targets = np.einsum("rbd,nd->nrb", flat, points.swapaxes(1, 2).reshape(len(xy), -1))
    length2 = np.einsum("njc,j->n", points**2, w2)
    solved = np.einsum("rab,nrb->nra", np.linalg.inv(normal), targets)
    capped = solved[..., 0] < options.least_scale
    fixed = targets[..., 1:] - options.least_scale * normal[:, 1:, 0]
    again = np.einsum("rab,nrb->nra", np.linalg.inv(normal[:, 1:, 1:]), fixed)
    scale = np.full((*again.shape[:2], 1), options.least_scale)
    solved = np.where(capped[..., None], np.concatenate([scale, again], axis=-1), solved)
    quadratic = np.einsum("nra,rab,nrb->nr", solved, normal, solved, optimize=True)
    return solved, length2[:, None] - 2 * np.sum(solved * targets, axis=-1) + quadratic


def _rebuilt(
    mixture: Mixture,
    k: int,
    yaw: Array,
    solved: Array,
    weight: Array,
    xy: Array,
    options: ReleaseOptions,
) -> Array:
    scale = solved[:, 0]
    coefficients = solved[:, 1:] / scale[:, None]
    shape = mixture.mean[k] + np.einsum("nb,bjc->njc", coefficients, mixture.basis[k])
    turn = rotation(yaw, np.zeros_like(yaw), np.zeros_like(yaw))
    pose = scale[:, None, None] * np.einsum("ncd,njd->njc", turn, shape)
    share = (weight / weight.sum())[:, None]
    pose[..., :2] -= np.sum(pose[..., :2] * share, axis=1, keepdims=True)
    points = xy - np.sum(xy * share, axis=1, keepdims=True)
    blend = options.blend * weight[:, None]
    pose[..., :2] = (pose[..., :2] + blend * points) / (1 + blend)
    pose = pose - pose[:, :1]
    return pose * (options.size_m / (4 * size(pose)))[:, None, None]
