"""What a 2D detector believes: points, SimCC distributions or heatmaps, and mixing into them.

Any image unit; x right, y down. Mixing is the part of Lifting from the Deep's fusion that depends
on what a detector gives: f = w b + (1 - w) b_projected.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from poselift.errors import ShapeError
from poselift.geometry import Array
from poselift.models.ppca.model import Index

_TINY = 1e-12
_REACH = 2  # bins to either side of the highest one that its local mean takes in
_SIGHT = 6  # bins to either side in which a peak counts as near


class Belief(Protocol):
    """Where J joints are in N images, in any image unit: x right, y down."""

    def points(self) -> Array:
        """The places (N, J, 2) most believed in; NaN where there is no belief."""
        ...

    def confidence(self) -> Array:
        """How sure the detector is (N, J), 0 to 1."""
        ...

    def fused(self, xy: Array, sd: Array, weight: Array) -> "Belief":
        """weight (N, J) of this and the rest a Gaussian at xy (N, J, 2) with sd (N, J)."""
        ...

    def near(self, xy: Array) -> tuple[Array, Array]:
        """What is seen near xy (N, J, 2): places (N, J, 2), and strength (N, J) of the highest."""
        ...


@dataclass(frozen=True)
class PointBelief:
    """Points and confidences, of a detector that tells no more: xy (N, J, 2), NaN for missing."""

    xy: Array
    sure: Array

    def __post_init__(self) -> None:
        if self.xy.ndim != 3 or self.xy.shape[2] != 2 or self.sure.shape != self.xy.shape[:2]:
            raise ShapeError(
                "points and confidences",
                expected="(N, J, 2) and (N, J)",
                found=f"{self.xy.shape} and {self.sure.shape}",
            )

    def points(self) -> Array:
        """The points."""
        return self.xy

    def confidence(self) -> Array:
        """Confidences, 0 where a point is missing."""
        return np.where(np.isfinite(self.xy).all(-1), np.clip(self.sure, 0, 1), 0.0)

    def fused(self, xy: Array, sd: Array, weight: Array) -> "PointBelief":
        """The mean of the mixture, whatever the spreads are."""
        weight = np.where(self.confidence() > 0, weight, 0.0)[..., None]
        return PointBelief(weight * np.nan_to_num(self.xy) + (1 - weight) * xy, self.sure)

    def near(self, xy: Array) -> tuple[Array, Array]:
        """There is only the point itself."""
        return self.xy, np.ones(xy.shape[:2])


@dataclass(frozen=True)
class SimccBelief:
    """Separate distributions of x (N, J, W) and y (N, J, H), as SimCC detectors give them.

    Bin i of x lies at origin (2)[0] + i * step, in image units. sure (N, J): by default the lesser
    of the two highest values.
    """

    x: Array
    y: Array
    origin: Array
    step: float
    sure: Array | None = None

    def __post_init__(self) -> None:
        if self.x.ndim != 3 or self.y.ndim != 3 or self.x.shape[:2] != self.y.shape[:2]:
            raise ShapeError(
                "SimCC distributions",
                expected="(N, J, W) and (N, J, H)",
                found=f"{self.x.shape} and {self.y.shape}",
            )

    def points(self) -> Array:
        """Local means about the highest bins."""
        lines = [np.maximum(values, 0) for values in (self.x, self.y)]
        at = [_line_mean(line, line.argmax(-1))[0] for line in lines]
        return np.asarray(self.origin) + self.step * np.stack(at, axis=-1)

    def confidence(self) -> Array:
        """As the detector says."""
        if self.sure is not None:
            return np.clip(self.sure, 0, 1)
        return np.clip(np.minimum(self.x.max(-1), self.y.max(-1)), 0, 1)

    def fused(self, xy: Array, sd: Array, weight: Array) -> "SimccBelief":
        """Each axis by itself."""
        both = []
        for axis, values in enumerate((self.x, self.y)):
            drawn = _gaussian(xy[..., axis], sd, self.origin[axis], self.step, values.shape[-1])
            mixed = weight[..., None] * _unit(values, 1) + (1 - weight[..., None]) * drawn
            both.append(mixed)
        return SimccBelief(*both, self.origin, self.step, self.confidence())

    def near(self, xy: Array) -> tuple[Array, Array]:
        """Local means about the highest bins near by, and the lesser strength of both axes."""
        cell = np.rint((xy - np.asarray(self.origin)) / self.step).astype(int)
        lines = [np.maximum(values, 0) for values in (self.x, self.y)]
        peaks = [_line_peak(line, cell[..., axis]) for axis, line in enumerate(lines)]
        found = [_line_mean(*pair) for pair in zip(lines, peaks, strict=True)]
        at = np.stack([place for place, _ in found], axis=-1)
        strength = np.minimum(*(highest for _, highest in found))
        return np.asarray(self.origin) + self.step * at, strength


@dataclass(frozen=True)
class HeatmapBelief:
    """Heatmaps (N, J, H, W); pixel (row, column) lies at origin (2) + step * (column, row).

    sure (N, J): by default the highest value of each map.
    """

    maps: Array
    origin: Array
    step: float
    sure: Array | None = None

    def __post_init__(self) -> None:
        if self.maps.ndim != 4:
            raise ShapeError("heatmaps", expected="(N, J, H, W)", found=self.maps.shape)

    def points(self) -> Array:
        """Local means about the highest pixels."""
        maps = np.maximum(self.maps, 0)
        flat = maps.reshape(*maps.shape[:2], -1).argmax(-1)
        cell = np.stack(np.divmod(flat, maps.shape[-1])[::-1], axis=-1)
        return np.asarray(self.origin) + self.step * _map_mean(maps, cell)[0]

    def confidence(self) -> Array:
        """As the detector says."""
        sure = self.maps.max((2, 3)) if self.sure is None else self.sure
        return np.clip(sure, 0, 1)

    def fused(self, xy: Array, sd: Array, weight: Array) -> "HeatmapBelief":
        """Pixel by pixel."""
        height, width = self.maps.shape[2:]
        x = _gaussian(xy[..., 0], sd, self.origin[0], self.step, width)
        y = _gaussian(xy[..., 1], sd, self.origin[1], self.step, height)
        drawn = y[..., :, None] * x[..., None, :]
        weight = weight[..., None, None]
        mixed = weight * _unit(self.maps, 2) + (1 - weight) * drawn
        return HeatmapBelief(mixed, self.origin, self.step, self.confidence())

    def near(self, xy: Array) -> tuple[Array, Array]:
        """Local means about the highest pixels near by, and those."""
        cell = np.rint((xy - np.asarray(self.origin)) / self.step).astype(int)
        maps = np.maximum(self.maps, 0)
        at, strength = _map_mean(maps, _map_peak(maps, cell))
        return np.asarray(self.origin) + self.step * at, strength


def _line_mean(values: Array, cell: Index) -> tuple[Array, Array]:
    """Mean bin (N, J) near `cell` (N, J) of (N, J, W), and the highest value there of all."""
    bins = np.arange(values.shape[-1])
    near = np.abs(bins - cell.clip(0, len(bins) - 1)[..., None]) <= _REACH
    kept = values * near
    mean = (kept * bins).sum(-1) / (kept.sum(-1) + _TINY)
    return mean, kept.max(-1) / (values.max(-1) + _TINY)


def _line_peak(values: Array, cell: Index) -> Index:
    """Highest bin (N, J) of values (N, J, W) within sight of `cell` (N, J)."""
    bins = np.arange(values.shape[-1])
    near = np.abs(bins - cell.clip(0, len(bins) - 1)[..., None]) <= _SIGHT
    return np.where(near, values, -1.0).argmax(-1)


def _map_mean(maps: Array, cell: Index) -> tuple[Array, Array]:
    """The same as `_line_mean` (N, J, 2), x first, of maps (N, J, H, W)."""
    near, column, row = _around(maps, cell, _REACH)
    near = np.maximum(near, 0)
    total = near.sum((2, 3)) + _TINY
    x = (near.sum(2) * column).sum(-1) / total
    y = (near.sum(3) * row).sum(-1) / total
    return np.stack([x, y], axis=-1), near.max((2, 3)) / (maps.max((2, 3)) + _TINY)


def _map_peak(maps: Array, cell: Index) -> Index:
    """Highest pixel (N, J, 2), x first, of maps (N, J, H, W) within sight of `cell`."""
    near, column, row = _around(maps, cell, _SIGHT)
    down, across = np.divmod(near.reshape(*near.shape[:2], -1).argmax(-1), near.shape[-1])
    return np.stack(
        [
            np.take_along_axis(line, at[..., None], -1)[..., 0]
            for line, at in ((column, across), (row, down))
        ],
        axis=-1,
    )


def _around(maps: Array, cell: Index, reach: int) -> tuple[Array, Index, Index]:
    """Windows (N, J, 2 r + 1, 2 r + 1) of maps, -1 outside, and their columns and rows."""
    height, width = maps.shape[2:]
    steps = np.arange(-reach, reach + 1)
    column = cell[..., 0].clip(0, width - 1)[..., None] + steps
    row = cell[..., 1].clip(0, height - 1)[..., None] + steps
    inside = ((row >= 0) & (row < height))[..., :, None]
    inside = inside & ((column >= 0) & (column < width))[..., None, :]
    frame, joint = (index[..., None, None] for index in np.ogrid[: len(maps), : maps.shape[1]])
    rows, columns = row.clip(0, height - 1)[..., None], column.clip(0, width - 1)[:, :, None]
    return np.where(inside, maps[frame, joint, rows, columns], -1.0), column, row


def _unit(values: Array, axes: int) -> Array:
    """Non-negative values that sum to one over the last `axes` axes."""
    values = np.maximum(values, 0)
    return values / (values.sum(tuple(range(-axes, 0)), keepdims=True) + _TINY)


def _gaussian(at: Array, sd: Array, origin: float, step: float, count: int) -> Array:
    """Gaussians (N, J, count) that sum to one, never narrower than a bin."""
    bins = origin + step * np.arange(count)
    off = (bins - at[..., None]) / np.maximum(sd, step)[..., None]
    return _unit(np.exp(-(off**2) / 2), 1)
