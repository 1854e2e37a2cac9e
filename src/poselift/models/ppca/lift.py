"""From 2D joints of one frame to 3D: chart and rotation by search, the pose in closed form.

After Tome, Russell and Agapito, Lifting from the Deep, CVPR 2017, with the likelihood of the PPCA
mixture in the place of the release's weighted sums (those are in `release.py`).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from poselift.errors import InputError, ShapeError
from poselift.geometry import Array
from poselift.models.lifter import Run
from poselift.models.ppca.model import JOINTS, Index, Mixture
from poselift.models.ppca.posterior import PpcaResult, posterior
from poselift.models.ppca.search import (
    Grid,
    Pattern,
    by_weights,
    roll_scores,
    rotation,
    yaw_scores,
)


@dataclass(frozen=True)
class PpcaOptions:
    """How the rotation is searched.

    rotation: "yaw" takes the camera's pitch as `pitch_deg` and its roll as 0, as the paper does,
    and fails for people who are not upright; "full" searches all three. upright: how sure a full
    search is beforehand that cameras are about level: pitch and its standard deviation, roll's;
    tumbled: share of people for whom that does not hold.
    """

    rotation: Literal["yaw", "full"] = "yaw"
    angles: int = 100  # of yaw, when only yaw is searched: 3.6 degrees
    pitch_deg: float = 8.0
    full_angles: tuple[int, int, int] = (16, 7, 12)  # yaw, pitch (-80 to 80), roll
    upright_deg: tuple[float, float, float] = (8.0, 20.0, 5.0)
    tumbled: float = 0.08
    refine_deg: float = 0.5  # a full search is refined down to this step
    least_joints: int = 6  # frames with fewer seen joints are NaN
    batch: int = 64  # frames whose scores are in memory at once

    def __post_init__(self) -> None:
        if self.rotation not in ("yaw", "full"):
            raise InputError("rotation", found=repr(self.rotation), known=("yaw", "full"))
        if min(self.angles, *self.full_angles) < 1:
            raise InputError("angles", expected="at least 1", found=self.angles)


def lift(
    mixture: Mixture, xy: Array, visible: Array | None = None, options: PpcaOptions | None = None
) -> PpcaResult:
    """Lift points (N, 17, 2), H36M-17, each frame by itself.

    Any unit and origin; x right, y down. visible (N, 17): weights from 0 (not seen) to 1, see
    `Mixture.visibility`; by default what is finite is seen. Raises ShapeError, InputError.
    """
    options = options or PpcaOptions()
    xy, weight = checked(xy, visible)
    out = _blank(len(xy), mixture.basis.shape[1])
    usable = np.flatnonzero((weight > 0).sum(1) >= options.least_joints)
    if not len(usable):
        return out
    xy, weight = xy[usable], weight[usable]
    chart, angles = _searched(mixture, xy, weight, options)
    if options.rotation == "full":
        angles = _refined(mixture, xy, weight, chart, angles, options)
    found = posterior(mixture, xy, weight, chart, angles)
    for name, values in vars(found).items():
        getattr(out, name)[usable] = values
    return out


def as_run(mixture: Mixture, options: PpcaOptions | None = None) -> Run:
    """What `poselift.models.lifter.Lifter` runs: windows of one frame, 0 where a joint is missing.

    Frames with too few joints give a body in its mean pose.
    """
    resting = mixture.mean[mixture.share.argmax()] * mixture.size_m
    turn = rotation(np.array(0.0), np.array(0.0), np.array(0.0))
    resting = (resting - resting[:1]) @ turn.T

    def run(xy: Array) -> Array:
        points = xy[:, xy.shape[1] // 2]
        seen = (points != 0).any(-1)
        found = lift(mixture, points, seen.astype(float), options).xyz_m
        return np.where(np.isnan(found), resting, found)

    return run


def checked(xy: Array, visible: Array | None) -> tuple[Array, Array]:
    """Points (N, 17, 2) with 0 for what is not seen, and weights. Raises ShapeError, InputError."""
    xy = np.asarray(xy, np.float64)
    if xy.ndim != 3 or xy.shape[1:] != (JOINTS, 2):
        raise ShapeError("points", expected=f"(N, {JOINTS}, 2)", found=xy.shape)
    finite = np.isfinite(xy).all(-1)
    weight = finite.astype(float) if visible is None else np.asarray(visible, np.float64)
    if weight.shape != finite.shape:
        raise ShapeError("visible", expected=str(finite.shape), found=weight.shape)
    if not ((weight >= 0) & (weight <= 1)).all():
        raise InputError("visible", expected="weights from 0 to 1", found="others")
    weight = np.where(finite, weight, 0.0)
    return np.where(weight[..., None] > 0, xy, 0.0), weight


def _blank(frames: int, n: int) -> PpcaResult:
    def nan(*shape: int) -> Array:
        return np.full((frames, *shape), np.nan)

    return PpcaResult(
        xyz_m=nan(JOINTS, 3),
        covariance_m2=nan(JOINTS, 3, 3),
        chart=np.full(frames, -1),
        angles_rad=nan(3),
        R_model_to_view=nan(3, 3),
        coefficients=nan(n),
        scale=nan(),
        xy=nan(JOINTS, 2),
        xy_sd=nan(JOINTS),
        residual=nan(),
        log_likelihood=nan(),
    )


def _searched(
    mixture: Mixture, xy: Array, weight: Array, options: PpcaOptions
) -> tuple[Index, Array]:
    """Chart (N) and yaw, pitch, roll (N, 3) of the best cell of the grid."""
    full = options.rotation == "full"
    yaws, pitches, rolls = options.full_angles if full else (options.angles, 1, 1)
    yaw, roll = (2 * np.pi * np.arange(count) / count for count in (yaws, rolls))
    limit = np.radians(80)
    pitch = np.linspace(-limit, limit, pitches) if full else np.radians([options.pitch_deg])
    grid = Grid.of(mixture, yaw, pitch)
    prior = tilt_prior(grid.pitch[:, None], roll, options) if full else np.zeros((yaws, 1))
    chart, angles = np.empty(len(xy), int), np.empty((len(xy), 3))
    known: tuple[bytes, Pattern] | None = None
    for row, frames in by_weights(weight, options.batch):
        if known is None or known[0] != row.tobytes():
            known = row.tobytes(), Pattern.of(mixture, grid, row)
        if full:
            score = roll_scores(known[1], xy[frames], roll)
        else:
            score = yaw_scores(known[1], xy[frames])[..., None]
        score = score + prior
        best = score.reshape(len(frames), -1).argmax(1)
        chart[frames], at, rolled = np.unravel_index(best, score.shape[1:])
        angles[frames] = np.stack([grid.yaw[at], grid.pitch[at], roll[rolled]], axis=1)
    return chart, angles


def tilt_prior(pitch: Array, roll: Array, options: PpcaOptions) -> Array:
    """Log-density of pitch and roll, in radians, up to a constant."""
    mean, *spreads = np.radians(options.upright_deg)
    off = np.stack(np.broadcast_arrays(pitch - mean, np.angle(np.exp(1j * np.asarray(roll)))))
    off = off / np.reshape(spreads, (2, *[1] * (off.ndim - 1)))
    level = np.exp(-(off**2).sum(0) / 2) / (2 * np.pi * np.prod(spreads))
    anywhere = np.cos(np.minimum(np.abs(pitch), np.pi / 2)) / (4 * np.pi)
    return np.log((1 - options.tumbled) * level + options.tumbled * anywhere + 1e-300)


def _refined(
    mixture: Mixture,
    xy: Array,
    weight: Array,
    chart: Index,
    angles: Array,
    options: PpcaOptions,
) -> Array:
    """Angles with a higher posterior, by steps that halve from half a cell of the grid."""
    step = np.pi / np.array(
        [options.full_angles[0], 2 * options.full_angles[1], options.full_angles[2]]
    )

    def value(tried: Array) -> Array:
        fit = posterior(mixture, xy, weight, chart, tried)
        return fit.log_likelihood + tilt_prior(tried[:, 1], tried[:, 2], options)

    best = value(angles)
    while step.max() > np.radians(options.refine_deg):
        for axis in (0, 1, 2):
            for sign in (1, -1):
                tried = angles.copy()
                tried[:, axis] += sign * step[axis]
                found = value(tried)
                angles = np.where((found > best)[:, None], tried, angles)
                best = np.maximum(found, best)
        step = step / 2
    return angles
