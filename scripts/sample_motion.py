"""Motion for the rendered sample: CMU ASF/AMC files, and their transfer to anny's skeleton.

Rotations are transferred, not positions: the body keeps its own proportions. ASF and AMC are
described at http://www.cs.wisc.edu/graphics/Courses/cs-838-1999/Jeff/ASF-AMC.html
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from poselift.errors import FormatError
from poselift.geometry import cross_matrix, rotation_between, unit

Array = NDArray[np.float64]

# CMU axes (x body left, y up, z forward) to anny's (x body left, y back, z up).
CMU_TO_ANNY = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
AMC_UNIT_M = 0.0254 / 0.45

_MIDDLE = {
    "Hips": "root",
    "LowerBack": "lowerback",
    "Spine": "upperback",
    "Spine1": "thorax",
    "Neck": "lowerneck",
    "Neck1": "upperneck",
    "Head": "head",
}
# anny's hand follows ASF "hand"; ASF "wrist" is the far half of the forearm.
_SIDED = {
    "{S}HipJoint": "hipjoint",
    "{Side}UpLeg": "femur",
    "{Side}Leg": "tibia",
    "{Side}Foot": "foot",
    "{Side}ToeBase": "toes",
    "{Side}Shoulder": "clavicle",
    "{Side}Arm": "humerus",
    "{Side}ForeArm": "radius",
    "{Side}Hand": "hand",
    "{Side}FingerBase": "hand",
    "{Side}HandFinger1": "hand",
    "{S}Thumb": "hand",
}
SIDES = ("Left", "Right")
ASF_OF_BONE = _MIDDLE | {
    anny.format(S=side[0], Side=side): side[0].lower() + asf
    for side in SIDES
    for anny, asf in _SIDED.items()
}
# Bones that are turned to the direction of the ASF bone, and the bone at whose head they end.
_AIMED = {"UpLeg": "Leg", "Leg": "Foot", "Foot": "ToeBase", "Arm": "ForeArm", "ForeArm": "Hand"}
END_OF_BONE = {side + bone: side + end for side in SIDES for bone, end in _AIMED.items()}
_FOLLOWERS = ("ToeBase", "FingerBase", "HandFinger1", "Thumb")  # keep the turn of their parent


@dataclass(frozen=True)
class AsfBone:
    """A bone of an ASF skeleton: CMU axes, direction and axis frame of the zero pose."""

    parent: str
    direction: Array  # (3,)
    axis: Array  # (3, 3)
    length: float  # AMC units
    dof: tuple[str, ...]


@dataclass(frozen=True)
class CmuMotion:
    """Rotations of each bone away from the ASF zero pose, in CMU axes."""

    bones: dict[str, AsfBone]
    turn: dict[str, Array]  # bone -> (T, 3, 3)
    root_m: Array  # (T, 3)


def _euler(xyz_deg: Array) -> Array:
    """Rotations (..., 3, 3) that turn about x first, then y, then z."""
    c, s = np.cos(np.deg2rad(xyz_deg)), np.sin(np.deg2rad(xyz_deg))
    cx, cy, cz = np.moveaxis(c, -1, 0)
    sx, sy, sz = np.moveaxis(s, -1, 0)
    rows = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def read_asf(path: Path) -> dict[str, AsfBone]:
    """Bones of an ASF file by name, parents before children. Raises FormatError."""
    text = path.read_text(errors="replace")
    parts = re.split(r"^:(\w+)", text, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    if not {"bonedata", "hierarchy"} <= sections.keys():
        raise FormatError(str(path), expected="sections :bonedata and :hierarchy")
    lines = [line.split() for line in sections["hierarchy"].splitlines()]
    parent = {child: words[0] for words in lines for child in words[1:]}
    records = {}
    for block in re.findall(r"begin(.*?)\bend\b", sections["bonedata"], flags=re.DOTALL):
        record = {words[0]: words[1:] for line in block.splitlines() if (words := line.split())}
        records[record["name"][0]] = record
    return {
        name: AsfBone(
            parent=parent[name],
            direction=np.array(records[name]["direction"], dtype=float),
            axis=_euler(np.array(records[name]["axis"][:3], dtype=float)),
            length=float(records[name]["length"][0]),
            dof=tuple(records[name].get("dof", ())),
        )
        for name in parent
        if name in records
    }


def read_amc(path: Path, bones: dict[str, AsfBone]) -> CmuMotion:
    """A whole AMC file on its ASF skeleton. Raises FormatError for a file without frames."""
    frames: list[dict[str, list[float]]] = []
    for line in path.read_text(errors="replace").splitlines():
        words = line.split()
        if len(words) == 1 and words[0].isdigit():
            frames.append({})
        elif words and words[0][0] not in "#:" and frames:
            frames[-1][words[0]] = [float(word) for word in words[1:]]
    if not frames:
        raise FormatError(str(path), expected="AMC frames", found="none")
    root = np.array([frame["root"] for frame in frames])
    turn = {"root": _euler(root[:, 3:6])}
    for name, bone in bones.items():
        angles = np.zeros((len(frames), 3))
        for column, dof in enumerate(bone.dof):
            angles[:, ("rx", "ry", "rz").index(dof)] = [frame[name][column] for frame in frames]
        turn[name] = turn[bone.parent] @ bone.axis @ _euler(angles) @ bone.axis.T
    return CmuMotion(bones, turn, root[:, :3] * AMC_UNIT_M)


def leg_length_m(bones: dict[str, AsfBone]) -> float:
    """Thigh plus shank of the person who was captured."""
    return (bones["lfemur"].length + bones["ltibia"].length) * AMC_UNIT_M


def zero_pose_turns(
    labels: list[str], parents: list[int], heads_m: Array, tails_m: Array, bones: dict[str, AsfBone]
) -> Array:
    """Rotation (J, 3, 3) of every anny bone from its rest pose to the ASF zero pose.

    The smallest turn from root to leaf that brings each limb bone to its ASF direction; trunk,
    neck and head stay, as their rest pose is upright like the ASF zero pose.
    """
    turns = np.tile(np.eye(3), (len(labels), 1, 1))
    for j, label in enumerate(labels):
        if label.endswith(_FOLLOWERS):
            turns[j] = turns[parents[j]]
        elif label in END_OF_BONE or label.endswith("Hand"):
            end = heads_m[labels.index(END_OF_BONE[label])] if label in END_OF_BONE else tails_m[j]
            aim = CMU_TO_ANNY @ bones[ASF_OF_BONE[label]].direction
            before = turns[parents[j]]
            turns[j] = rotation_between(before @ (end - heads_m[j]), aim) @ before
    for side in SIDES:
        _line_up_elbow(side, labels, heads_m, bones, turns)
    return turns


def _line_up_elbow(
    side: str, labels: list[str], heads_m: Array, bones: dict[str, AsfBone], turns: Array
) -> None:
    """Turn the arm about itself until its elbow hinge is that of the ASF radius (in place).

    Joint centres do not move; without it the skin of the elbow is twisted by 25 degrees.
    """
    arm, forearm, hand = (labels.index(side + part) for part in ("Arm", "ForeArm", "Hand"))
    upper, lower = heads_m[forearm] - heads_m[arm], heads_m[hand] - heads_m[forearm]
    along = unit(CMU_TO_ANNY @ bones[ASF_OF_BONE[side + "Arm"]].direction)
    ours = turns[arm] @ np.cross(upper, lower)
    theirs = CMU_TO_ANNY @ bones[ASF_OF_BONE[side + "ForeArm"]].axis[:, 0]
    ours, theirs = (unit(hinge - along * (hinge @ along)) for hinge in (ours, theirs))
    theirs = theirs if ours @ theirs > 0 else -theirs  # a hinge has no sign
    angle = np.arctan2(np.cross(ours, theirs) @ along, ours @ theirs)
    k = cross_matrix(along)
    twist = np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k
    for j, label in enumerate(labels):
        if label in (side + "Arm", side + "ForeArm", side + "Hand") or (
            label.endswith(_FOLLOWERS[1:]) and label[0] == side[0]
        ):
            turns[j] = twist @ turns[j]


def bone_turns(labels: list[str], zero_turns: Array, motion: CmuMotion) -> Array:
    """Rotation (T, J, 3, 3) of every anny bone from its rest pose, in anny's axes."""
    asf = np.stack([motion.turn[ASF_OF_BONE[label]] for label in labels], axis=1)
    return CMU_TO_ANNY @ asf @ CMU_TO_ANNY.T @ zero_turns
