"""How people look in every picture: colours, which bones are drawn, how thick limbs are."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from poselift.skeleton import Skeleton

Array = NDArray[np.floating]
RGB = tuple[int, int, int]

# Blue and orange stay apart for every common kind of colour blindness.
SIDE_RGB: dict[str, RGB] = {
    "left": (64, 156, 255),
    "right": (255, 112, 67),
    "middle": (222, 226, 232),
}
ACCENT_RGB: tuple[RGB, ...] = (
    (255, 209, 102),
    (94, 221, 161),
    (214, 140, 255),
    (255, 128, 171),
    (120, 226, 236),
    (190, 214, 90),
)
BACKGROUND_RGB: RGB = (24, 27, 33)

# Skeletons are trees, so trunks of detectors lack a side: these bars close shoulders and hips
# where no joint between the two does.
_BARS = (
    ("left_shoulder", "right_shoulder", ("neck", "thorax")),
    ("left_hip", "right_hip", ("pelvis",)),
)
_DENSE = ("face_",)  # points of a surface: lines along the tree would be a star
_HEAD = ("nose", "head_top", "left_eye", "right_eye", "left_ear", "right_ear")
_LIMB, _TRUNK = 0.13, 0.18  # radius by length of a bone
_HEAD_OF_STATURE = 0.056  # radius of the head by body height


@dataclass(frozen=True)
class Bone:
    """One drawn bone between the joints with indices start and end."""

    start: int
    end: int
    side: str


@dataclass(frozen=True, eq=False)
class Body:
    """What is drawn of one person: bones and radii, joints and radii, and which joints are a head.

    `head` is empty for skeletons that name no head joints.
    """

    bones: tuple[Bone, ...]
    bone_radius_m: Array
    joints: tuple[int, ...]
    joint_radius_m: Array
    head: tuple[int, ...]
    head_radius_m: float


def accent(person: int) -> RGB:
    """The colour of person number `person` (from 0); colours repeat after six."""
    return ACCENT_RGB[person % len(ACCENT_RGB)]


def bones(skeleton: Skeleton) -> tuple[Bone, ...]:
    """The bones that are drawn, with side 'left', 'right' or 'middle'."""
    drawn = [
        Bone(start, end, skeleton.side(skeleton.joints[end]))
        for start, end in skeleton.edges
        if not skeleton.joints[end].startswith(_DENSE)
    ]
    for left, right, between in _BARS:
        closed = any(joint in skeleton for joint in between)
        if left in skeleton and right in skeleton and not closed:
            drawn.append(Bone(skeleton.index(left), skeleton.index(right), "middle"))
    return tuple(drawn)


def body(skeleton: Skeleton, xyz_m: Array) -> Body:
    """Bones, joints and thicknesses for a person with joints xyz_m (T, J, 3), NaN allowed.

    Thickness follows the person's own median bone lengths, so children and adults look right on
    any skeleton.
    """
    head = tuple(skeleton.index(joint) for joint in _HEAD if joint in skeleton)
    limbs = tuple(bone for bone in bones(skeleton) if not (bone.start in head and bone.end in head))
    length_m = np.array([_median_length(xyz_m, bone) for bone in limbs])
    share = np.array([_TRUNK if bone.side == "middle" else _LIMB for bone in limbs])
    radius_m = np.clip(share * length_m, 0.006, 0.055)
    joints = tuple(sorted({j for bone in limbs for j in (bone.start, bone.end)} - set(head)))
    joint_radius_m = np.array([_joint_radius(joint, limbs, radius_m) for joint in joints])
    return Body(limbs, radius_m, joints, joint_radius_m, head, _head_radius(skeleton, xyz_m))


def head_centre(xyz_m: Array, head: tuple[int, ...]) -> Array:
    """Centre (..., 3) of the head from the head joints of (..., J, 3) that are seen, else NaN."""
    points = xyz_m[..., list(head), :]
    seen = np.isfinite(points).all(axis=-1, keepdims=True)
    count = seen.sum(axis=-2)
    total = np.where(seen, points, 0.0).sum(axis=-2)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _median_length(xyz_m: Array, bone: Bone) -> float:
    length = np.linalg.norm(xyz_m[:, bone.end] - xyz_m[:, bone.start], axis=-1)
    seen = length[np.isfinite(length)]
    return float(np.median(seen)) if len(seen) else 0.0


def _joint_radius(joint: int, limbs: tuple[Bone, ...], radius_m: Array) -> float:
    meeting = [
        r for bone, r in zip(limbs, radius_m, strict=True) if joint in (bone.start, bone.end)
    ]
    return 0.8 * float(min(meeting)) + 0.006


def _head_radius(skeleton: Skeleton, xyz_m: Array) -> float:
    """From the length of the legs, which every body skeleton has; a usual adult's otherwise."""
    chains = [(f"{side}_hip", f"{side}_knee", f"{side}_ankle") for side in ("left", "right")]
    legs = [
        sum(
            _median_length(xyz_m, Bone(skeleton.index(a), skeleton.index(b), side="middle"))
            for a, b in pairwise(chain)
        )
        for chain in chains
        if all(joint in skeleton for joint in chain)
    ]
    leg_m = float(np.median(legs)) if legs else 0.0
    return _HEAD_OF_STATURE * (leg_m / 0.49 if leg_m > 0 else 1.7)
