"""Motion capture files: their readers, and H36M-17 joints of the skeletons that CMU's data use."""

from dataclasses import dataclass

import numpy as np

from poselift.errors import UnknownNameError
from poselift.geometry import Array
from poselift.skeleton import skeleton
from poselift.train.acclaim import Asf, read_amc, read_asf
from poselift.train.bvh import read_bvh
from poselift.train.motion import Motion

__all__ = [
    "Asf",
    "Motion",
    "layout",
    "leg_length_m",
    "read_amc",
    "read_asf",
    "read_bvh",
    "to_h36m17",
]

# The forearm ends at `lwrist`, whose length is half of `lradius` in every CMU skeleton; BVH files
# made from them leave that bone out, so their LeftHand lies at two thirds of the forearm. They also
# leave out `thorax`, for which Spine1 (`upperback`) stands: 6 mm off in subject 35.
CMU_BVH_FOREARM = 1.5

# Places on the head that these skeletons do not have, from the joint below the head, in the head's
# axes (x left, y up, z forward), per metre of stature: Anny's regressed nose; what is missing to
# the stature when CMU's subjects stand (median of 20 subjects: that joint is at 0.886).
_NOSE = np.array([0.0, 0.0083, 0.0671])
_HEAD_TOP = np.array([0.0, 0.114, 0.0])
_LEG_PER_STATURE = 0.491  # hip to ankle, Winter, Biomechanics, table of segment lengths


@dataclass(frozen=True)
class _Limbs:
    """Where a skeleton keeps hip, knee, ankle, shoulder, elbow, wrist and the head."""

    left: tuple[str, str, str, str, str, str]
    right: tuple[str, str, str, str, str, str]
    below_head: str  # the joint where the head begins
    head: str  # the bone whose flesh is the head
    forearm: float = 1.0  # elbow to wrist over elbow to the joint called wrist
    repeated: str = ""  # the spine joint whose offset stands for a bone that the file leaves out


_LIMBS = {
    "asf": _Limbs(
        ("lhipjoint", "lfemur", "ltibia", "lclavicle", "lhumerus", "lwrist"),
        ("rhipjoint", "rfemur", "rtibia", "rclavicle", "rhumerus", "rwrist"),
        "upperneck",
        "head",
    ),
    "cmu_bvh": _Limbs(
        ("LeftUpLeg", "LeftLeg", "LeftFoot", "LeftArm", "LeftForeArm", "LeftHand"),
        ("RightUpLeg", "RightLeg", "RightFoot", "RightArm", "RightForeArm", "RightHand"),
        "Head",
        "Head",
        CMU_BVH_FOREARM,
        "Spine1",
    ),
    "daz": _Limbs(
        ("lThigh", "lShin", "lFoot", "lShldr", "lForeArm", "lHand"),
        ("rThigh", "rShin", "rFoot", "rShldr", "rForeArm", "rHand"),
        "head",
        "head",
    ),
    "snu": _Limbs(
        ("LeftUpLeg", "LeftLeg", "LeftFoot", "LeftArm", "LeftForeArm", "LeftHand"),
        ("RightUpLeg", "RightLeg", "RightFoot", "RightArm", "RightForeArm", "RightHand"),
        "HEad",
        "HEad",
    ),
    "snu_headless": _Limbs(
        ("LeftUpLeg", "LeftLeg", "LeftFoot", "LeftArm", "LeftForeArm", "LeftForeArm_end"),
        ("RightUpLeg", "RightLeg", "RightFoot", "RightArm", "RightForeArm", "RightForeArm_end"),
        "Spine1",
        "Spine1",
    ),
}
_MARKS = {
    "asf": "lhipjoint",
    "cmu_bvh": "LHipJoint",
    "daz": "lShldr",
    "snu": "HEad",
    "snu_headless": "RightForeArm_end",
}


def layout(motion: Motion) -> str:
    """'asf', 'cmu_bvh', 'daz', 'snu' or 'snu_headless' by joint names. Raises UnknownNameError."""
    for name, mark in _MARKS.items():
        if mark in motion.names:
            return name
    raise UnknownNameError("mocap skeleton with joints", ", ".join(motion.names[:4]), _MARKS)


def leg_length_m(motion: Motion) -> float:
    """Thigh plus shank, mean of both legs."""
    limbs = _LIMBS[layout(motion)]
    total = 0.0
    for _, knee, ankle, *_ in (limbs.left, limbs.right):
        for joint in (knee, ankle):
            total += float(np.linalg.norm(motion.offset_m[motion.index(joint)]))
    return total / 2


def to_h36m17(motion: Motion) -> Array:
    """H36M-17 joints (T, 17, 3) of the source skeleton in metres, axes as in the file.

    Nose and top of the head are stand-ins (these skeletons have none): fixed in the head's axes,
    scaled by the stature that the leg length implies. Pelvis, thorax and spine are midpoints.
    """
    limbs = _LIMBS[layout(motion)]
    at: dict[str, Array] = {}
    lift: Array = np.zeros(3)
    if limbs.repeated:
        spine = motion.index(limbs.repeated)
        lift = motion.rotation[:, spine] @ motion.offset_m[spine]
    for side, names in (("left", limbs.left), ("right", limbs.right)):
        for joint, name in zip(
            ("hip", "knee", "ankle", "shoulder", "elbow", "wrist"), names, strict=True
        ):
            at[f"{side}_{joint}"] = motion.position_m[:, motion.index(name)]
        for joint in ("shoulder", "elbow", "wrist"):
            at[f"{side}_{joint}"] = at[f"{side}_{joint}"] + lift
        elbow = at[f"{side}_elbow"]
        at[f"{side}_wrist"] = elbow + limbs.forearm * (at[f"{side}_wrist"] - elbow)
    at["pelvis"] = (at["left_hip"] + at["right_hip"]) / 2
    at["thorax"] = (at["left_shoulder"] + at["right_shoulder"]) / 2
    at["spine"] = (at["pelvis"] + at["thorax"]) / 2
    stature = leg_length_m(motion) / _LEG_PER_STATURE
    base = motion.position_m[:, motion.index(limbs.below_head)] + lift
    turn = motion.rotation[:, motion.index(limbs.head)]
    at["nose"] = base + turn @ (stature * _NOSE)
    at["head_top"] = base + turn @ (stature * _HEAD_TOP)
    return np.stack([at[joint] for joint in skeleton("h36m17").joints], axis=1)
