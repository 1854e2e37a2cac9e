"""Rotation search: how well every chart explains 2D points at every rotation of a grid.

Scaled orthographic view of a chart at a rotation: xy = s (F a + m + noise) + shift, with s and
shift unknown. Shift and coefficients are integrated out (weighted centring, ridge regression);
what is left is quadratic in 1/s, so the best scale has a closed form and is never negative:

    log p = D log(1/s) - (A / s^2 - 2 B / s + C) / 2 + what does not depend on s

Frames with the same weights share all matrices, so a video in which the same joints are seen
costs two matrix products a frame.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from poselift.geometry import CAMERA_TO_LEVEL_WORLD, Array
from poselift.models.ppca.model import Index, Mixture

_LEVEL_WORLD_TO_VIEW = CAMERA_TO_LEVEL_WORLD.T
_TINY = 1e-12
_FEW = 12  # points up to which their coefficients are whitened one by one


def rotation(yaw: Array, pitch: Array, roll: Array) -> Array:
    """Model axes to view axes (..., 3, 3), radians.

    yaw turns the person about the vertical, pitch is how far the camera looks down, roll turns the
    image clockwise; all 0 is a level camera in front of the person.
    """
    yaw, pitch, roll = np.broadcast_arrays(yaw, pitch, roll)
    zero, one = np.zeros(yaw.shape), np.ones(yaw.shape)
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))

    def matrix(*entries: Array) -> Array:
        return np.stack(entries, axis=-1).reshape(*yaw.shape, 3, 3)

    about_up = matrix(cy, -sy, zero, sy, cy, zero, zero, zero, one)
    about_x = matrix(one, zero, zero, zero, cp, -sp, zero, sp, cp)
    about_axis = matrix(cr, -sr, zero, sr, cr, zero, zero, zero, one)
    return about_axis @ about_x @ _LEVEL_WORLD_TO_VIEW @ about_up


def precision(mixture: Mixture, weight: Array) -> Array:
    """1 / variance (K, ..., 17) of an image coordinate in units of size; 0 where weight is 0."""
    shape = (-1, *[1] * weight.ndim)
    noise2 = (mixture.noise**2).reshape(shape)
    seen = np.divide(mixture.seen**2, weight, out=np.full(weight.shape, np.inf), where=weight > 0)
    return 1 / (noise2 + seen)


def best_inverse_scale(a: Array, b: Array, dimensions: Array | float) -> Array:
    """The 1/s that maximises D log(1/s) - (A / s^2 - 2 B / s) / 2."""
    return (b + np.sqrt(b**2 + 4 * a * dimensions)) / (2 * a)


@dataclass(frozen=True)
class Grid:
    """Charts seen at R rotations without roll: basis (K, R, n, 2, 17), mean (K, R, 2, 17)."""

    yaw: Array
    pitch: Array
    basis: Array
    mean: Array

    @classmethod
    def of(cls, mixture: Mixture, yaw: Array, pitch: Array) -> "Grid":
        """All pairs of yaw and pitch."""
        yaw, pitch = (each.reshape(-1) for each in np.meshgrid(yaw, pitch, indexing="ij"))
        turn = rotation(yaw, pitch, np.zeros_like(yaw))[:, :2]
        basis = np.einsum("rcd,kbjd->krbcj", turn, mixture.basis, optimize=True)
        mean = np.einsum("rcd,kjd->krcj", turn, mixture.mean)
        # Single precision is enough to find the best cell, and twice as fast.
        return cls(yaw, pitch, basis.astype(np.float32), mean.astype(np.float32))


@dataclass(frozen=True)
class Pattern:
    """A grid under one set of weights: everything that does not depend on the points.

    mean (K, R, 34) centred and times precision; basis (K, R, n, 34) too; lower (K, R, n, n):
    Cholesky factor of the coefficients' inverse covariance; middle (K, R, n): the mean, whitened;
    constant (K, R): the rest of log p, with C in it.
    """

    precision: Array  # (K, 17)
    mean: Array
    basis: Array
    lower: Array
    middle: Array
    constant: Array
    dimensions: int

    @classmethod
    def of(cls, mixture: Mixture, grid: Grid, weight: Array) -> "Pattern":
        """The matrices for weights (17)."""
        p = precision(mixture, weight).astype(np.float32)
        share = p / p.sum(-1, keepdims=True)
        mean = grid.mean - np.einsum("krcj,kj->krc", grid.mean, share)[..., None]
        basis = grid.basis - np.einsum("krbcj,kj->krbc", grid.basis, share)[..., None]
        weighted = (basis * p[:, None, None, None]).reshape(*basis.shape[:3], -1)
        basis = basis.reshape(weighted.shape)
        gram = weighted @ basis.swapaxes(-1, -2) + np.eye(basis.shape[2], dtype=p.dtype)
        lower = np.linalg.cholesky(gram)
        flat = mean.reshape(*mean.shape[:2], -1)
        pull = (mean * p[:, None, None]).reshape(flat.shape)
        middle = forward(lower, weighted @ flat[..., None])[..., 0]
        spread = np.sum(pull * flat, axis=-1) - np.sum(middle**2, axis=-1)
        log_gram = 2 * np.log(np.diagonal(lower, axis1=-2, axis2=-1)).sum(-1)
        seen = weight > 0
        log_points = np.log(p[:, seen]).sum(-1) - np.log(p.sum(-1))
        constant = (np.log(mixture.share) + log_points)[:, None] - (log_gram + spread) / 2
        return cls(p, pull, weighted, lower, middle, constant, 2 * (int(seen.sum()) - 1))

    @cached_property
    def whiten(self) -> Array:
        """Whitened coefficients of points: (K, R * n, 34)."""
        charts, rotations, n, _ = self.basis.shape
        return forward(self.lower, self.basis).reshape(charts, rotations * n, -1)

    def drawn(self, flat: Array) -> Array:
        """Whitened coefficients (K, N, R, n) of centred points (K, N, 34)."""
        charts, rotations, n, _ = self.basis.shape
        if flat.shape[1] < _FEW:  # cheaper than whitening the whole basis
            ends = self.basis @ flat.swapaxes(-1, -2)[:, None]
            return np.moveaxis(forward(self.lower, ends), 3, 1)
        return (flat @ self.whiten.swapaxes(-1, -2)).reshape(charts, -1, rotations, n)

    def centred(self, xy: Array) -> tuple[Array, Array]:
        """Points (K, N, 2, 17) without their mean by weights, and their squared length (K, N)."""
        share = self.precision / self.precision.sum(-1, keepdims=True)
        points = xy.swapaxes(-1, -2).astype(self.precision.dtype)
        centred = points - np.einsum("ncj,kj->knc", points, share)[..., None]
        return centred, np.einsum("kncj,kj->kn", centred**2, self.precision)

    def score(self, a: Array, b: Array) -> Array:
        """log p at the best scale, of A and B (K, N, R, ...)."""
        ends = [1] * (a.ndim - 3)
        constant = self.constant.reshape(len(self.constant), 1, -1, *ends)
        inverse = best_inverse_scale(a, b, self.dimensions)
        # At its maximum A/s^2 - B/s = D, so the quadratic is (D - B/s) / 2.
        return constant + self.dimensions * (np.log(inverse) - 0.5) + b * inverse / 2


def forward(lower: Array, right: Array) -> Array:
    """lower^-1 right for many small triangular (..., n, n) and right (..., n, d).

    The loop runs over the rows, numpy over everything else.
    """
    n = lower.shape[-1]
    factor = np.moveaxis(lower.reshape(-1, n, n), 0, -1).copy()
    out = np.moveaxis(right.reshape(len(lower.reshape(-1, n, n)), n, -1), 0, -1).copy()
    for row in range(n):
        if row:
            out[row] -= np.einsum("jb,jdb->db", factor[row, :row], out[:row])
        out[row] /= factor[row, row]
    return np.moveaxis(out, -1, 0).reshape(right.shape)


def yaw_scores(pattern: Pattern, xy: Array) -> Array:
    """log p (N, K, R) of points (N, 17, 2), 0 where a joint is missing."""
    points, length2 = pattern.centred(xy)
    flat = points.reshape(*points.shape[:2], -1)
    drawn = pattern.drawn(flat)
    a = np.maximum(length2[..., None] - np.einsum("knrb,knrb->knr", drawn, drawn), _TINY)
    b = flat @ pattern.mean.swapaxes(-1, -2)
    b = b - np.einsum("knrb,krb->knr", drawn, pattern.middle)
    return pattern.score(a, b).swapaxes(0, 1)


def roll_scores(pattern: Pattern, xy: Array, roll: Array) -> Array:
    """log p (N, K, R, L) of points (N, 17, 2) for every roll (L) beside the grid's rotations.

    Rolling the image back by r turns points to cos(r) p + sin(r) q with q a quarter turn of p, so
    A and B for all rolls follow from one look at p and one at q.
    """
    points, length2 = pattern.centred(xy)
    charts, frames = length2.shape
    quarter = np.stack([points[..., 1, :], -points[..., 0, :]], axis=-2)
    flat = np.concatenate([points, quarter], axis=1).reshape(charts, 2 * frames, -1)
    drawn = pattern.drawn(flat)
    p, q = drawn[:, :frames], drawn[:, frames:]
    squares = [np.einsum("knrb,knrb->knr", u, v) for u, v in ((p, p), (p, q), (q, q))]
    pull = flat @ pattern.mean.swapaxes(-1, -2)
    pull = pull - np.einsum("knrb,krb->knr", drawn, pattern.middle)
    c, s = np.cos(roll).astype(flat.dtype), np.sin(roll).astype(flat.dtype)
    drawn2 = np.stack(squares, axis=-1) @ np.stack([c**2, 2 * s * c, s**2])
    a = np.maximum(length2[..., None, None] - drawn2, _TINY)
    b = np.stack([pull[:, :frames], pull[:, frames:]], axis=-1) @ np.stack([c, s])
    return pattern.score(a, b).swapaxes(0, 1)


def by_weights(weight: Array, most: int) -> Iterator[tuple[Array, Index]]:
    """Distinct rows of weight (N, 17) and the frames of each, at most `most` at a time."""
    rows, which = np.unique(weight, axis=0, return_inverse=True)
    order = np.argsort(which.reshape(-1), kind="stable")
    counts = np.bincount(which.reshape(-1), minlength=len(rows))
    for row, mine in zip(rows, np.split(order, np.cumsum(counts)[:-1]), strict=True):
        for start in range(0, len(mine), most):
            yield row, mine[start : start + most]
