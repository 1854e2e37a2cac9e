"""What `river` is given of a person: points and facts, with the camera taken out, frame by frame.

Camera and distance drop out causally, so that a live stream and a whole clip see the same numbers:
the mean direction of the trunk, followed with a short memory, is turned onto the optical axis by
the smallest rotation (perspective crop, Yu et al. 2021); what is left is divided by the person's
apparent size, so that points come near to metres. The functions take numpy arrays and torch
tensors alike (array API), so that training and the product run the same lines.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from poselift.errors import InputError
from poselift.normalize import rotation_to_axis
from poselift.skeleton import Skeleton, conversion, part, skeleton

Array = Any  # numpy array or torch tensor

BODY = skeleton("body28")
TRUNK = ("pelvis", "hip", "spine", "thorax", "neck", "shoulder")
# How far joints are from the middle of the trunk, root mean square over people in motion, metres.
REACH_M = {
    **{"pelvis": 0.25, "hip": 0.27, "spine": 0.05, "thorax": 0.27, "neck": 0.30, "shoulder": 0.31},
    **{"nose": 0.42, "eye": 0.45, "ear": 0.45, "head_top": 0.53, "elbow": 0.36, "wrist": 0.42},
    **{"knee": 0.58, "ankle": 0.90, "heel": 0.95, "big_toe": 0.97, "small_toe": 0.96},
}
INSIDE = ("spine", "thorax")  # of body28, on no surface
_ELSEWHERE = 0.02  # weight of points beside the trunk when a person is followed
LEAST_CONFIDENCE = 0.1  # points below count as not seen
FOLLOW_S = 0.2  # memory of where a person is and how large
GAP_S = 1.0  # after a longer step, the frames before are another matter
NEW_S = 1000.0  # "time since the last frame" of a first frame: nothing before it counts
FARTHEST = 8.0  # points further out are mistakes
DELAYS = (0, 2, 4, 8)  # frames that a live answer may come late
MODES = ("both ways", *(f"{delay} late" for delay in DELAYS))
FACTS = 12 + len(MODES)
POINT = 4


@dataclass(frozen=True)
class Known:
    """What is known of a clip beside its points; arrays (..., T) or whatever broadcasts to it.

    camera: 1 where the focal length is not a guess; centres: 1 where points are joint centres of a
    body rather than a detector's keypoints; height_m: NaN where unknown; up (..., T, 3): against
    gravity in camera axes, NaN where unknown.
    """

    camera: Array
    centres: Array
    height_m: Array
    up: Array

    def mirrored(self) -> "Known":
        """The same of the person in a mirror."""
        return replace(self, up=_reflected(self.up))


def told(camera: bool, centres: bool, height_m: float | None, up: Sequence[float] | None) -> Known:
    """What is known of all frames of a clip, as arrays for T of any length."""
    above = np.full(3, np.nan) if up is None else np.asarray(up, dtype=np.float64)
    return Known(
        camera=np.array([float(camera)]),
        centres=np.array([float(centres)]),
        height_m=np.array([np.nan if height_m is None else height_m]),
        up=(above / np.linalg.norm(above))[None],
    )


def mirrored(points: Array) -> Array:
    """Points of body28 (..., 28, C) as in a mirror: left is right, and the first axis turned."""
    return _reflected(points[..., BODY.mirror, :])


def _reflected(vectors: Array) -> Array:
    xp = array_namespace(vectors)
    return xp.concat([-vectors[..., :1], vectors[..., 1:]], axis=-1)


@dataclass(frozen=True)
class Intake:
    """points (..., T, 28, 4): x, y, confidence, seen; facts (..., T, FACTS) but for the mode;
    R_camera_to_view (..., T, 3, 3): camera axes to those that answers are in.
    """

    points: Array
    facts: Array
    R_camera_to_view: Array

    def to_camera(self, xyz_view_m: Array) -> Array:
        """Poses (..., T, J, 3) in view axes as poses in camera axes."""
        return xyz_view_m @ self.R_camera_to_view

    def to_view(self, xyz_camera_m: Array) -> Array:
        """Poses (..., T, J, 3) in camera axes as poses in view axes."""
        xp = array_namespace(xyz_camera_m)
        return xyz_camera_m @ xp.matrix_transpose(self.R_camera_to_view)


# What is remembered of the frames before: sums of direction and size with their weights.
Followed = tuple[Array, Array, Array, Array]


def intake(
    rays: Array,
    confidence: Array,
    dt_s: Array,
    known: Known,
    before: Followed | None = None,
    *,
    on_axis: bool = True,
) -> tuple[Intake, Followed]:
    """Prepare T frames that follow those of `before`.

    rays (..., T, 28, 2): slopes of body28 points, NaN = not seen; confidence (..., T, 28);
    dt_s (..., T): seconds since the frame before, `NEW_S` for a first one. on_axis: without it
    people are moved to the middle of the image but not turned, which is for ablation.
    """
    xp = array_namespace(rays)
    seen = ~xp.any(xp.isnan(rays), axis=-1)
    mask = xp.astype(seen, rays.dtype)
    slopes = xp.where(seen[..., None], rays, xp.zeros_like(rays))
    direction = xp.concat([slopes, xp.ones_like(slopes[..., :1])], axis=-1)
    direction = direction / xp.linalg.vector_norm(direction, axis=-1, keepdims=True)
    weight = mask * _row(xp, _WEIGHT, rays)
    whole = xp.sum(weight, axis=-1)
    nearly = xp.where(whole > 0, whole, xp.ones_like(whole))[..., None]
    middle = xp.sum(direction * weight[..., None], axis=-2) / nearly

    before = before or _nothing(xp, middle)
    ahead, *sums = _remembered(xp, middle, whole, dt_s, before[:2])
    lost = ahead[..., 2:] < 0.01  # nobody so far: straight ahead
    ahead = xp.where(lost, _row(xp, (0.0, 0.0, 1.0), rays), ahead)
    centre = ahead[..., :2] / ahead[..., 2:]
    rotation = rotation_to_axis(centre if on_axis else xp.zeros_like(centre))
    turned = direction @ xp.matrix_transpose(rotation)
    # A ray more than 84 degrees off the axis is not on this person; keep the slope finite.
    floor = xp.full_like(turned[..., 2:], 0.1)
    turned = turned[..., :2] / xp.where(turned[..., 2:] > 0.1, turned[..., 2:], floor)
    turned = turned if on_axis else turned - centre[..., None, :]

    own = xp.sum(turned * weight[..., None], axis=-2, keepdims=True) / nearly[..., None]
    reach = xp.sum(mask * _row(xp, _REACH2, rays), axis=-1)
    size2 = xp.sum(xp.sum((turned - own) ** 2, axis=-1) * mask, axis=-1)
    size2 = size2 / xp.where(reach > 0, reach, xp.ones_like(reach))
    size2, *more = _remembered(xp, size2[..., None], reach, dt_s, before[2:])
    size = xp.sqrt(xp.where(size2 > 1e-12, size2, xp.ones_like(size2)))

    place = turned / size[..., None, :]
    place = xp.where(xp.abs(place) > FARTHEST, xp.sign(place) * FARTHEST, place)
    sure = xp.where(seen, confidence, xp.zeros_like(confidence))
    points = xp.concat([place * mask[..., None], sure[..., None], mask[..., None]], axis=-1)
    facts = _facts(xp, size, centre, dt_s, known, rotation)
    return Intake(points, facts, rotation), (*sums, *more)


def mode(name: str) -> Array:
    """The mode as the last facts (len(MODES)). Raises InputError."""
    if name not in MODES:
        raise InputError("mode", found=repr(name), known=MODES)
    return np.eye(len(MODES))[MODES.index(name)]


def with_mode(facts: Array, name: str) -> Array:
    """Facts (..., FACTS - modes) with a mode at their end. Raises InputError."""
    xp = array_namespace(facts)
    told = _row(xp, tuple(mode(name)), facts)
    return xp.concat([facts, xp.broadcast_to(told, (*facts.shape[:-1], len(MODES)))], axis=-1)


@cache
def columns(layout: Skeleton) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Which joints of a skeleton are which points: indices in `layout` and in body28.

    Points are taken over by name or under another name, never made up from several; keypoints
    that claim to lie inside the body (MPII's thorax) mean something else and are left out.
    """
    matrix = np.nan_to_num(conversion(layout, BODY))
    same = [
        (int(np.argmax(row)), target)
        for target, row in enumerate(matrix)
        if np.count_nonzero(row) == 1 and row.max() == 1
    ]
    # A joint that the layout has under the same name is taken even where a rule is preferred.
    named = {target: source for source, target in same}
    named |= {BODY.index(joint): layout.index(joint) for joint in BODY.joints if joint in layout}
    if layout.kind == "keypoints":
        named = {target: s for target, s in named.items() if BODY.joints[target] not in INSIDE}
    targets = tuple(sorted(named))
    return tuple(named[target] for target in targets), targets


def _facts(xp: Any, size: Array, centre: Array, dt_s: Array, known: Known, turn: Array) -> Array:
    one = xp.ones_like(size)
    height = known.height_m[..., None] * one
    tall = ~xp.isnan(height)
    up = (turn @ (known.up[..., None] * one[..., None]))[..., 0]
    risen = ~xp.any(xp.isnan(up), axis=-1, keepdims=True)
    step = xp.log(dt_s * 30)[..., None]
    step = xp.where(step > 3, 3 * one, xp.where(step < -2, -2 * one, step))
    parts = [
        xp.log(size),
        centre,
        known.camera[..., None] * one,
        known.centres[..., None] * one,
        xp.where(tall, 5 * xp.log(xp.where(tall, height, one) / 1.7), 0 * one),
        xp.where(tall, one, 0 * one),
        xp.where(risen, up, xp.zeros_like(up)),
        xp.where(risen, one, 0 * one),
        step,
    ]
    return xp.concat(parts, axis=-1)


def _nothing(xp: Any, middle: Array) -> Followed:
    none = xp.zeros_like(middle[..., 0, :1])
    return xp.zeros_like(middle[..., 0, :]), none, none, none


def _remembered(
    xp: Any, values: Array, weight: Array, dt_s: Array, before: Sequence[Array]
) -> tuple[Array, Array, Array]:
    """Weighted means (..., T, K) over the last `FOLLOW_S`, and the sums after the last frame."""
    total, share = before
    keep = xp.exp(-dt_s / FOLLOW_S)[..., None]
    added = (1 - keep) * weight[..., None]
    out = []
    for t in range(values.shape[-2]):
        total = keep[..., t, :] * total + added[..., t, :] * values[..., t, :]
        share = keep[..., t, :] * share + added[..., t, :]
        known = share > 1e-9
        out.append(xp.where(known, total / xp.where(known, share, xp.ones_like(share)), total * 0))
    return xp.stack(out, axis=-2), total, share


def _row(xp: Any, values: Sequence[float], like: Array) -> Array:
    device = {"device": like.device} if hasattr(like, "is_cuda") else {}
    return xp.asarray(values, dtype=like.dtype, **device)


_WEIGHT = tuple(1.0 if part(joint) in TRUNK else _ELSEWHERE for joint in BODY.joints)
_REACH2 = tuple(REACH_M[part(joint)] ** 2 for joint in BODY.joints)
