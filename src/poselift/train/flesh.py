"""From any known mocap skeleton to the rotations that bodies need, in world axes.

World axes: x body left, y back, z up, metres. One rotation per ASF bone that a body's bones follow.
"""

from dataclasses import dataclass

import numpy as np

from poselift.geometry import Array, unit
from poselift.train.mocap import Motion, layout, leg_length_m, to_h36m17
from poselift.train.motion import axis_rotation

MOCAP_TO_WORLD = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])

# Bones of the body table (31, in its order) and the ASF bone whose flesh each follows.
BONE_SOURCE = {
    "Hips": "root",
    "LHipJoint": "lhipjoint",
    "LeftUpLeg": "lfemur",
    "LeftLeg": "ltibia",
    "LeftFoot": "lfoot",
    "LeftToeBase": "ltoes",
    "LowerBack": "lowerback",
    "Spine": "upperback",
    "Spine1": "thorax",
    "LeftShoulder": "lclavicle",
    "LeftArm": "lhumerus",
    "LeftForeArm": "lradius",
    "LeftHand": "lhand",
    "LThumb": "lhand",
    "LeftFingerBase": "lhand",
    "LeftHandFinger1": "lhand",
    "Neck": "lowerneck",
    "Neck1": "upperneck",
    "Head": "head",
    "RightShoulder": "rclavicle",
    "RightArm": "rhumerus",
    "RightForeArm": "rradius",
    "RightHand": "rhand",
    "RThumb": "rhand",
    "RightFingerBase": "rhand",
    "RightHandFinger1": "rhand",
    "RHipJoint": "rhipjoint",
    "RightUpLeg": "rfemur",
    "RightLeg": "rtibia",
    "RightFoot": "rfoot",
    "RightToeBase": "rtoes",
}
ROTATIONS = tuple(dict.fromkeys(BONE_SOURCE.values()))
_PARENT = {
    "lhipjoint": "root",
    "lfemur": "lhipjoint",
    "ltibia": "lfemur",
    "lfoot": "ltibia",
    "ltoes": "lfoot",
    "lowerback": "root",
    "upperback": "lowerback",
    "thorax": "upperback",
    "lclavicle": "thorax",
    "lhumerus": "lclavicle",
    "lradius": "lhumerus",
    "lhand": "lradius",
    "lowerneck": "thorax",
    "upperneck": "lowerneck",
    "head": "upperneck",
}


def _row_of_parent(bone: str) -> int:
    """Row of the bone that a bone hangs on; the right side as the left; -1 for the root."""
    parent = _PARENT.get(bone) or _PARENT.get("l" + bone[1:], "")
    twin = bone[0] + parent[1:]
    return ROTATIONS.index(twin if twin in ROTATIONS else parent) if parent else -1


PARENTS = tuple(_row_of_parent(bone) for bone in ROTATIONS)  # before their children


# ASF bone to the joint of other skeletons whose flesh it is; "l" stands for either side. In CMU's
# BVH, rotations equal those of the ASF/AMC of the same trial to 0.01 degrees (9 clips).
_CMU_BVH = {
    "root": "Hips",
    "lowerback": "LowerBack",
    "upperback": "Spine",
    "thorax": "Spine1",
    "lowerneck": "Neck",
    "upperneck": "Neck1",
    "head": "Head",
    "lhipjoint": "LHipJoint",
    "lfemur": "LeftUpLeg",
    "ltibia": "LeftLeg",
    "lfoot": "LeftFoot",
    "ltoes": "LeftToeBase",
    "lclavicle": "LeftShoulder",
    "lhumerus": "LeftArm",
    "lradius": "LeftForeArm",
    "lhand": "LeftFingerBase",
}
_DAZ = {
    "root": "hip",
    "lowerback": "abdomen",
    "upperback": "chest",
    "thorax": "chest",
    "lowerneck": "neck",
    "upperneck": "neck",
    "head": "head",
    "lhipjoint": "hip",
    "lfemur": "lThigh",
    "ltibia": "lShin",
    "lfoot": "lFoot",
    "ltoes": "lFoot",
    "lclavicle": "lCollar",
    "lhumerus": "lShldr",
    "lradius": "lForeArm",
    "lhand": "lForeArm",  # Daz hands are unusable: the hand follows the forearm
}
# Directions of Daz bones in their zero pose as paired clips have it (file axes, left side); the
# file's own offsets are 7 to 20 degrees off.
_DAZ_ZERO = {
    "lfemur": (-0.011, -0.996, -0.085),
    "ltibia": (-0.011, -0.996, -0.085),
    "lfoot": (-0.006, -0.27, 0.962),
    "ltoes": (-0.006, -0.27, 0.962),
    "lclavicle": (0.968, 0.24, -0.07),
    "lhumerus": (0.99, -0.145, 0.0),
    "lradius": (0.99, -0.145, 0.0),
    "lhand": (0.99, -0.145, 0.0),
    "head": (0.012, 0.97, 0.245),
}
_DAZ_HEAD_PITCH_RAD = 0.28
# SNU's walker. Its short clips have neither head, hands, toes nor collar bones: head and collar
# bones follow the thorax, hands the forearms, toes the feet.
_SNU = {
    "root": "Hips",
    "lowerback": "Spine",
    "upperback": "Spine",
    "thorax": "Spine1",
    "lowerneck": "Spine1",
    "upperneck": "HEad",
    "head": "HEad",
    "lhipjoint": "Hips",
    "lfemur": "LeftUpLeg",
    "ltibia": "LeftLeg",
    "lfoot": "LeftFoot",
    "ltoes": "LeftToes",
    "lclavicle": "LeftShoulder1",
    "rclavicle": "RightShoulder",
    "lhumerus": "LeftArm",
    "lradius": "LeftForeArm",
    "lhand": "LeftHand",
}
_SNU_HEADLESS = _SNU | {
    "upperneck": "Spine1",
    "head": "Spine1",
    "ltoes": "LeftFoot",
    "lclavicle": "Spine1",
    "rclavicle": "Spine1",
    "lhand": "LeftForeArm",
}
# Where a body's own foot bone points when the foot is flat: SNU's toe joint lies 10 degrees lower.
FLAT_FOOT = (0.0, -0.31, 0.95)  # file axes


_BONES_OF: dict[str, dict[str, str]] = {
    "asf": {},
    "cmu_bvh": _CMU_BVH,
    "daz": _DAZ,
    "snu": _SNU,
    "snu_headless": _SNU_HEADLESS,
}


@dataclass(frozen=True)
class Flesh:
    """A clip in world axes: rotation (T, 25, 3, 3) in the order of ROTATIONS, root_m (T, 3).

    h36m17_m (T, 17, 3) are the source skeleton's joints, zero_direction (25, 3) its bones in the
    pose that the rotations start from.
    """

    rotation: Array
    root_m: Array
    h36m17_m: Array
    zero_direction: Array
    leg_length_m: float
    rate_hz: float


def to_flesh(motion: Motion) -> Flesh:
    """The rotations that bodies need. Raises UnknownNameError for an unknown skeleton."""
    kind = layout(motion)
    index = [motion.index(_joint(kind, bone)) for bone in ROTATIONS]
    rotation, zero = motion.rotation[:, index], motion.zero_direction[index]
    if kind == "daz":
        head = ROTATIONS.index("head")
        rotation[:, head] = rotation[:, head] @ axis_rotation("X", np.array(_DAZ_HEAD_PITCH_RAD))
        zero = _daz_zero(zero)
    if kind.startswith("snu"):
        zero[[ROTATIONS.index("lfoot"), ROTATIONS.index("rfoot")]] = unit(np.array(FLAT_FOOT))
    world = MOCAP_TO_WORLD
    return Flesh(
        rotation=world @ rotation @ world.T,
        root_m=motion.position_m[:, 0] @ world.T,
        h36m17_m=to_h36m17(motion) @ world.T,
        zero_direction=_filled(zero) @ world.T,
        leg_length_m=leg_length_m(motion),
        rate_hz=motion.rate_hz,
    )


def _joint(kind: str, bone: str) -> str:
    """Name of an ASF bone in a skeleton of that kind."""
    names = _BONES_OF[kind]
    if kind == "asf" or bone in names:
        return names.get(bone, bone)
    left = names["l" + bone[1:]]
    for ours, twin in (("Left", "Right"), ("L", "R"), ("l", "r")):
        if left.startswith(ours):
            return twin + left.removeprefix(ours)
    return left


def _daz_zero(zero: Array) -> Array:
    zero = zero.copy()
    for bone, direction in _DAZ_ZERO.items():
        zero[ROTATIONS.index(bone)] = unit(np.array(direction))
        if bone.startswith("l"):
            zero[ROTATIONS.index("r" + bone[1:])] = unit(np.array(direction) * (-1, 1, 1))
    return zero


def _filled(zero: Array) -> Array:
    """Bones without a length point where the bone before them points; the root points up."""
    zero = zero.copy()
    zero[0] = (0.0, 1.0, 0.0)
    parent = {"ltoes": "lfoot", "lhand": "lradius", "rtoes": "rfoot", "rhand": "rradius"}
    for row, bone in enumerate(ROTATIONS):
        if not np.isfinite(zero[row]).all():
            zero[row] = zero[ROTATIONS.index(parent.get(bone, "root"))]
    return zero
