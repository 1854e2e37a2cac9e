"""What a detector's points are worth to the PPCA mixture, learned from synthetic detections.

First how far points lie from the joints' projections, by joint and confidence (`seen`, `fade`);
then, stage by stage, how much to believe them beside the projected fit (`FusionWeights`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from poselift.errors import ShapeError
from poselift.geometry import Array
from poselift.models.ppca.beliefs import PointBelief
from poselift.models.ppca.fusion import distance, fuse_stages, shared_joints
from poselift.models.ppca.lift import PpcaOptions
from poselift.models.ppca.model import JOINTS, SKELETON, FusionWeights, Index, Mixture, size
from poselift.skeleton import convert, least_confidence, part, skeleton
from poselift.train.fit_ppca import Say

COCO = skeleton("coco17")

# Left and right are worth the same.
_PARTS = [part(joint) for joint in SKELETON.joints]
_KINDS = list(dict.fromkeys(_PARTS))
_PULL = 1e-5  # towards weights of a half, where the detections do not say
_SHARPEST = 1e-3  # rounds the corner of the distance at zero
_KIND = np.array([_KINDS.index(part) for part in _PARTS])


@dataclass(frozen=True)
class Detections:
    """Synthetic detections in N images.

    xy (N, 17, 2) COCO-17 as a detector reports it (NaN: lost), with confidence (N, 17); true_xy as
    a perfect detector would; joint_xy (N, 17, 2) where the joint centres of H36M-17 are; xyz_m
    (N, 17, 3) those, root-relative in view axes.
    """

    xy: Array
    confidence: Array
    true_xy: Array
    joint_xy: Array
    xyz_m: Array

    def __post_init__(self) -> None:
        count = len(self.xy)
        for name, last in (("xy", 2), ("true_xy", 2), ("joint_xy", 2), ("xyz_m", 3)):
            if getattr(self, name).shape != (count, JOINTS, last):
                raise ShapeError(
                    f"detections: {name}",
                    expected=str((count, JOINTS, last)),
                    found=getattr(self, name).shape,
                )

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which points were reported (N, 17), COCO-17."""
        return np.isfinite(self.xy).all(-1) & (self.confidence > 0)

    @property
    def size(self) -> Array:
        """Image units per unit of a person's size (N)."""
        return size(self.xyz_m) * self._scale()

    def _scale(self) -> Array:
        flat = self.xyz_m[..., :2] - self.xyz_m[..., :2].mean(1, keepdims=True)
        drawn = self.joint_xy - self.joint_xy.mean(1, keepdims=True)
        return np.sum(flat * drawn, axis=(1, 2)) / np.sum(flat**2, axis=(1, 2))


def learn_spread(mixture: Mixture, data: Detections) -> Mixture:
    """The mixture with `seen` and `fade` by maximum likelihood.

    Of a Laplacian's kind, exp(-distance / scale), which outliers move less than a Gaussian.
    """
    confidence = least_confidence(data.confidence, COCO, SKELETON)
    off = np.linalg.norm(convert(data.xy, COCO, SKELETON) - data.joint_xy, axis=-1)
    seen = np.isfinite(off) & (confidence > 0)
    off = (off / data.size[:, None])[seen]
    lacking = 1 - confidence[seen]
    kind = np.broadcast_to(_KIND, seen.shape)[seen]

    def loss(x: Array) -> tuple[float, Array]:
        log_scale = x[kind] + x[-1] * lacking
        ratio = off * np.exp(-log_scale)
        slope = (2 - ratio) / len(off)
        gradient = np.append(np.bincount(kind, slope, len(_KINDS)), slope @ lacking)
        return float(np.mean(2 * log_scale + ratio)), gradient

    start = np.append(np.full(len(_KINDS), np.log(0.05)), 1.0)
    found = minimize(loss, start, jac=True, method="L-BFGS-B").x
    # exp(-r / b) in the plane has the mean distance 2 b, a Gaussian sqrt(pi / 2) of its deviation.
    spread = np.exp(found[:-1]) * 2 / np.sqrt(np.pi / 2)
    return replace(mixture, seen=spread[_KIND], fade=float(found[-1]))


def learn_fusion(
    mixture: Mixture,
    data: Detections,
    stages: int,
    options: PpcaOptions,
    say: Say = lambda line: None,
) -> Mixture:
    """The mixture with weights for so many stages, each learned on what the one before leaves.

    What is least is the mean distance of the fused points from the true ones, in units of size;
    of squares, a few gross errors would make it mistrust every point.
    """
    mixture = replace(mixture, fusion=FusionWeights(np.empty((0, JOINTS)), np.empty((0, 2))))
    belief = PointBelief(data.xy, data.confidence)
    own, twin = shared_joints(COCO)
    xy, true_xy, confidence = data.xy[:, own], data.true_xy[:, own], data.confidence[:, own]
    start = np.zeros(len(_KINDS) + 2)
    for stage in range(stages):
        pose = fuse_stages(mixture, belief, COCO, options, stage).poses[-1]
        found = (pose.chart >= 0)[:, None] & data.seen[:, own]
        apart = distance(mixture, pose, xy, confidence, twin)
        unit = np.broadcast_to(data.size[:, None], found.shape)[found][:, None]
        towards = (xy - pose.xy[:, twin])[found] / unit
        wanted = (true_xy - pose.xy[:, twin])[found] / unit
        features = np.stack([confidence, np.log1p(apart**2)], axis=-1)[found]
        kind = np.broadcast_to(_KIND[twin], found.shape)[found]
        start = minimize(
            _loss(towards, wanted, features, kind), start, jac=True, method="L-BFGS-B"
        ).x
        bias, slope = start[: len(_KINDS)][_KIND], start[len(_KINDS) :]
        known = mixture.fusion
        weights = FusionWeights(
            np.concatenate([known.bias, bias[None]]), np.concatenate([known.slope, slope[None]])
        )
        mixture = replace(mixture, fusion=weights)
        say(f"stage {stage + 1}: slopes {slope.round(2)}")
    return mixture


def _loss(
    towards: Array, wanted: Array, features: Array, kind: Index
) -> Callable[[Array], tuple[float, Array]]:
    """Mean distance of weight * towards from wanted (M, 2), by logistic weights."""

    def loss(x: Array) -> tuple[float, Array]:
        weight = expit(x[kind] + features @ x[len(_KINDS) :])
        off = weight[:, None] * towards - wanted
        length = np.sqrt(np.sum(off**2, axis=1) + _SHARPEST**2)
        slope = np.sum(off * towards, axis=1) / length * weight * (1 - weight) / len(off)
        gradient = np.append(np.bincount(kind, slope, len(_KINDS)), slope @ features)
        return float(length.mean() + _PULL * x @ x), gradient + 2 * _PULL * x

    return loss
