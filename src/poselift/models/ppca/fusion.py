"""Fusion of 2D beliefs and the 3D fit over stages: f = w b + (1 - w) b_projected.

The part of Lifting from the Deep (Tome, Russell and Agapito, CVPR 2017, section 3) that its release
lacks. b is what the detector believes, b_projected a Gaussian about the projected 3D fit, w was
learned by stage, joint, confidence and how far apart the two are. The fused belief says where the
joints are; what the detector itself saw there, and how well that agrees with the fit, goes into the
next fit, since a fit to its own projection would confirm itself. A belief is heatmaps, SimCC
distributions, or just points.
"""

from dataclasses import dataclass

import numpy as np

from poselift.errors import InputError
from poselift.geometry import Array
from poselift.models.ppca.beliefs import Belief
from poselift.models.ppca.lift import PpcaOptions, lift
from poselift.models.ppca.model import SKELETON, Mixture
from poselift.models.ppca.posterior import PpcaResult
from poselift.skeleton import Skeleton, conversion, convert, least_confidence


@dataclass(frozen=True)
class Fused:
    """What stages of fusion give: the first entries are the detector's points and their plain fit.

    xy (T + 1 arrays (N, J, 2)): 2D points by stage, in the detector's joints and units; poses: 3D
    fits by stage. A joint that H36M-17 does not name keeps the detector's belief.
    """

    xy: tuple[Array, ...]
    poses: tuple[PpcaResult, ...]


def fuse(belief: Belief, projected: Array, sd: Array, weight: Array) -> Belief:
    """w b + (1 - w) b_projected: projected (N, J, 2), sd and weight (N, J). Raises InputError."""
    if not ((weight >= 0) & (weight <= 1)).all():
        raise InputError("weights of fusion", expected="0 to 1", found="others")
    if not np.isfinite(projected).all():
        raise InputError("projected joints", expected="finite numbers", found="NaN or infinity")
    return belief.fused(projected, sd, weight)


def fuse_stages(
    mixture: Mixture,
    belief: Belief,
    source: Skeleton = SKELETON,
    options: PpcaOptions | None = None,
    stages: int = 2,
) -> Fused:
    """Fit, project, fuse, again. After two stages little changes (docs/ppca.md).

    source: the belief's joints. Frames in which too few joints are seen keep their points.
    Raises InputError for more stages than were learned, ShapeError.
    """
    if not 0 <= stages <= len(mixture.fusion):
        raise InputError("stages", expected=f"0 to {len(mixture.fusion)}", found=stages)
    sure = belief.confidence()
    visible = mixture.visibility(least_confidence(sure, source, SKELETON))

    def fitted(points: Array, agree: Array) -> PpcaResult:
        kept = visible * least_confidence(agree, source, SKELETON)
        return lift(mixture, convert(points, source, SKELETON), kept, options)

    xy, poses = [belief.points()], [fitted(belief.points(), np.ones(sure.shape))]
    seen = xy[0]
    for stage in range(stages):
        drawn = _drawn(mixture, poses[-1], seen, sure, source, stage)
        fused = fuse(belief, drawn.xy, drawn.sd, drawn.weight).points()
        xy.append(np.where(drawn.known[..., None], fused, xy[0]))
        seen, strength = belief.near(np.nan_to_num(xy[-1]))
        apart = _drawn(mixture, poses[-1], seen, sure, source, stage).apart
        poses.append(fitted(seen, strength / (1 + apart**2)))
    return Fused(tuple(xy), tuple(poses))


@dataclass(frozen=True)
class _Drawn:
    """A projected fit in a detector's joints; where none is known, the detector alone counts."""

    known: Array  # (N, J)
    xy: Array  # (N, J, 2)
    sd: Array  # (N, J)
    apart: Array
    weight: Array


def _drawn(
    mixture: Mixture, pose: PpcaResult, seen: Array, sure: Array, source: Skeleton, stage: int
) -> _Drawn:
    own, twin = shared_joints(source)
    shape = sure.shape
    known, apart = np.zeros(shape, bool), np.zeros(shape)
    xy, sd, weight = np.zeros((*shape, 2)), np.ones(shape), np.ones(shape)
    found = pose.chart >= 0
    at = np.ix_(np.flatnonzero(found), np.array(own))
    known[at], xy[at], sd[at] = True, pose.xy[found][:, twin], pose.xy_sd[found][:, twin]
    far = np.zeros((len(sure), len(SKELETON)))
    confidence = far.copy()
    far[:, twin] = np.nan_to_num(distance(mixture, pose, seen[:, own], sure[:, own], twin))
    confidence[:, twin] = sure[:, own]
    apart[at] = far[found][:, twin]
    learned = mixture.fusion.at(stage, confidence, far)
    weight[at] = np.where(sure[at] > 0, learned[found][:, twin], 0.0)
    return _Drawn(known, xy, sd, apart, weight)


def shared_joints(source: Skeleton) -> tuple[list[int], list[int]]:
    """Rows of a detector's joints that are joints of H36M-17 as they are, and their rows there."""
    matrix = conversion(source, SKELETON)
    pairs = [
        (int(np.flatnonzero(weights)[0]), row)
        for row, weights in enumerate(np.nan_to_num(matrix))
        if np.count_nonzero(weights) == 1 and weights.max() == 1
    ]
    own, twin = zip(*pairs, strict=True)
    return list(own), list(twin)


def distance(
    mixture: Mixture, pose: PpcaResult, points: Array, sure: Array, twin: list[int]
) -> Array:
    """Points less the fit's projection (N, J), in standard deviations of both together."""
    detector = mixture.seen[twin] * np.exp(mixture.fade * (1 - sure))
    detector = detector * (pose.scale * mixture.size_m)[:, None]
    off = np.linalg.norm(points - pose.xy[:, twin], axis=-1)
    return off / np.hypot(detector, pose.xy_sd[:, twin])
