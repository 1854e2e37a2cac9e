"""3D poses as BVH: joint rotations, constant bone lengths, for animation programs.

What is in the file: Y up, centimetres, the first joint at the height and place of the input; camera
axes are turned upright. The rest pose is a T-pose facing +Z with the left hand at +X. One frame
time for all: irregular times are resampled linearly at the median rate. Joints that are missing for
a while stay as they were in the last frame that has them (before the first one: as in that one).

A bone turns by the smallest rotation from its rest direction in its parent's frame: positions do
not tell the twist about a bone, so none is added. Pelvis and chest do have frames: pelvis by hip
line and trunk, chest by shoulder line and trunk. Where several bones start at one joint, each gets
a joint of no length of its own (`pelvis_left_hip`), so that all positions are exact.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from poselift.errors import InputError
from poselift.geometry import Array, rotation_between
from poselift.io.bvh_motion import (
    Bones,
    bone_places,
    continuous_angles,
    gap_free_bones,
    trunk_frame,
)
from poselift.io.files import atomic
from poselift.poses import Poses2D, Poses3D
from poselift.skeleton import Skeleton, skeleton, skeletons

__all__ = ["CM_PER_M", "write_bvh", "write_bvh_people"]

CM_PER_M = 100.0

# Direction of the bone that ends at a joint, in the rest pose; x is for the left side.
_SIDEWAYS, _DOWN, _UP, _AHEAD = (1.0, 0, 0), (0, -1.0, 0), (0, 1.0, 0), (0, 0, 1.0)
_REST = {
    **dict.fromkeys(("hip", "clavicle", "collar", "shoulder", "elbow", "wrist", "hand"), _SIDEWAYS),
    **dict.fromkeys(("knee", "ankle"), _DOWN),
    **dict.fromkeys(("foot", "toe", "big_toe", "small_toe", "foot_index"), _AHEAD),
    **dict.fromkeys(("spine", "thorax", "neck", "upper_neck", "head", "head_top"), _UP),
    "heel": (0, -0.6, -0.8),
    "nose": (0, 0.8, 0.6),
    "eye": (0.6, 0.64, -0.48),
    "ear": (0.48, -0.36, -0.8),
}

# Order of turns by the main axis of the bone. The bone's own axis (its twist) is the middle one:
# it stays small, so the angles stay away from gimbal lock. The trunk turns about y first and
# somersaults about x; only lying on the side is near the lock.
_ORDERS = ("ZXY", "XYZ", "YZX")
_TRUNK_ORDER = "YZX"


@dataclass(frozen=True)
class _Node:
    """A joint of the file: `moves` is the joint of ours at its place, `turns` where its bone ends.

    moves -1: a joint of no length; turns -1: no bone of its own; frame: "pelvis", "chest" or "".
    """

    name: str
    parent: int
    moves: int
    turns: int
    frame: str
    order: str


def write_bvh_people(path: Path, people: Sequence[Poses2D | Poses3D]) -> list[Path]:
    """One file per person: `motion.bvh`, `motion_person2.bvh`, ... Returns their paths.

    Raises InputError (2D, nobody, a skeleton without a pelvis, joints never seen), OutputError.
    """
    poses = [p for p in people if isinstance(p, Poses3D)]
    if not poses or len(poses) < len(people):
        raise InputError("BVH", expected="3D poses of at least one person", found=len(poses))
    names = [path.stem] + [f"{path.stem}_person{n}" for n in range(2, len(poses) + 1)]
    paths = [path.with_name(name + path.suffix) for name in names]
    for file, person in zip(paths, poses, strict=True):
        write_bvh(file, person)
    return paths


def write_bvh(path: Path, poses: Poses3D) -> None:
    """One person as BVH, as this page says at its head.

    Raises InputError (a skeleton without a pelvis, joints never seen), OutputError.
    """
    nodes, rest = _tree(poses.skeleton), _rest_directions(poses.skeleton)
    bones = gap_free_bones(poses)
    turns = _local_rotations(poses.skeleton, nodes, rest, bones)
    angles = np.rad2deg(continuous_angles(turns, [node.order for node in nodes]))
    table = np.concatenate([bones.root_m * CM_PER_M, angles.reshape(len(angles), -1)], axis=1)
    with atomic(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
        _write_hierarchy(file, nodes, rest * bones.length_m[:, None] * CM_PER_M)
        file.write(f"MOTION\nFrames: {len(table)}\nFrame Time: {bones.step_s:.9f}\n")
        np.savetxt(file, np.round(table, 4) + 0.0, fmt="%.4f")  # + 0.0: no "-0.0000"


# The tree of the file


def _tree(joints: Skeleton) -> list[_Node]:
    """Joints of the file, parents first and depth first, as BVH wants them."""
    _check(joints)
    children: list[list[int]] = [[] for _ in joints.joints]
    for parent, child in joints.edges:
        children[parent].append(child)
    root = joints.parents.index(-1)
    frames = {root: "pelvis", _chest(joints): "chest"}
    nodes: list[_Node] = []

    def add(joint: int, parent: int) -> None:
        name, own = joints.joints[joint], len(nodes)
        frame = frames.get(joint, "")
        single = children[joint] if len(children[joint]) == 1 and not frame else [-1]
        nodes.append(_Node(name, parent, joint, single[0], frame, _order(joints, single[0])))
        for child in children[joint]:
            at = own
            if child != single[0]:
                at = len(nodes)
                order = _order(joints, child)
                nodes.append(_Node(f"{name}_{joints.joints[child]}", own, -1, child, "", order))
            add(child, at)

    add(root, -1)
    return nodes


def _check(joints: Skeleton) -> None:
    if not _usable(joints):
        raise InputError(
            "BVH needs a skeleton that starts at the pelvis",
            expected="poses.to(skeleton(name))",
            found=joints.name,
            known=[name for name in skeletons() if _usable(skeleton(name))],
        )


def _usable(joints: Skeleton) -> bool:
    roots = [joint for joint, parent in joints.parent_of.items() if not parent]
    line = ("left_hip", "right_hip", "left_shoulder", "right_shoulder")
    known = all(_kind(joint) in _REST for joint in joints.joints if joint not in roots)
    return roots == ["pelvis"] and known and all(joint in joints for joint in line)


def _kind(joint: str) -> str:
    """`left_hip` is a hip, `spine2` a spine."""
    return re.sub(r"^(left|right)_|[0-9]+$", "", joint)


def _chest(joints: Skeleton) -> int:
    """The last joint on the way from the pelvis that carries both shoulders."""
    left, right = (_path(joints, f"{side}_shoulder") for side in ("left", "right"))
    return [a for a, b in zip(left, right, strict=False) if a == b][-1]


def _path(joints: Skeleton, joint: str) -> list[int]:
    """Joints from the root to `joint`."""
    path = [joints.index(joint)]
    while joints.parents[path[-1]] >= 0:
        path.append(joints.parents[path[-1]])
    return path[::-1]


def _order(joints: Skeleton, child: int) -> str:
    if child < 0:
        return _TRUNK_ORDER
    direction = _REST[_kind(joints.joints[child])]
    return _ORDERS[int(np.argmax(np.abs(direction)))]


def _rest_directions(joints: Skeleton) -> Array:
    """Unit direction (J, 3) of the bone that ends at each joint; zero for the root."""
    rest = np.zeros((len(joints), 3))
    for index, joint in enumerate(joints.joints):
        if joints.parents[index] >= 0:
            rest[index] = _REST[_kind(joint)]
            rest[index, 0] *= -1 if joints.side(joint) == "right" else 1
    return rest


# Rotations


def _local_rotations(
    joints: Skeleton, nodes: Sequence[_Node], rest: Array, bones: Bones
) -> NDArray[np.float64]:
    """Rotation of each node in its parent's frame, (T, N, 3, 3)."""
    count = len(bones.root_m)
    up_right = np.broadcast_to(np.eye(3), (count, 3, 3))
    frames = _body_frames(joints, bones)
    whole = np.empty((count, len(nodes), 3, 3))
    local = np.empty_like(whole)
    for n, node in enumerate(nodes):
        parent = whole[:, node.parent] if node.parent >= 0 else up_right
        back = np.swapaxes(parent, -1, -2)
        if node.frame:
            local[:, n] = back @ frames[node.frame]
        elif node.turns >= 0:
            seen = (back @ bones.direction[:, node.turns, :, None])[..., 0]
            local[:, n] = rotation_between(rest[node.turns], seen)
        else:
            local[:, n] = up_right
        whole[:, n] = parent @ local[:, n]
    return local


def _body_frames(joints: Skeleton, bones: Bones) -> dict[str, Array]:
    """Frames (T, 3, 3) of pelvis and chest: x to the left, y along the trunk, z ahead."""
    place = bone_places(joints, bones)
    trunk = place[:, _chest(joints)] - bones.root_m
    lines = {"pelvis": "hip", "chest": "shoulder"}
    return {
        frame: trunk_frame(
            place[:, joints.index(f"left_{part}")] - place[:, joints.index(f"right_{part}")], trunk
        )
        for frame, part in lines.items()
    }


# Text


def _write_hierarchy(file: TextIO, nodes: Sequence[_Node], offset_cm: Array) -> None:
    """The HIERARCHY part; offset_cm (J, 3) of our joints in the rest pose."""
    children: list[list[int]] = [[] for _ in nodes]
    for n, node in enumerate(nodes):
        if node.parent >= 0:
            children[node.parent].append(n)

    def write(n: int, depth: int) -> None:
        node, tab = nodes[n], "\t" * depth
        offset = offset_cm[node.moves] if node.moves >= 0 else np.zeros(3)
        places = "" if depth else "Xposition Yposition Zposition "
        turns = " ".join(f"{axis}rotation" for axis in node.order)
        file.write(f"{tab}{'JOINT' if depth else 'ROOT'} {node.name}\n{tab}{{\n")
        file.write(f"{tab}\tOFFSET {_numbers(offset)}\n")
        file.write(f"{tab}\tCHANNELS {3 if depth else 6} {places}{turns}\n")
        for child in children[n]:
            write(child, depth + 1)
        if not children[n]:  # programs draw the last bone up to here: a tenth of the one before
            end = _numbers(offset / 10)
            file.write(f"{tab}\tEnd Site\n{tab}\t{{\n{tab}\t\tOFFSET {end}\n{tab}\t}}\n")
        file.write(f"{tab}}}\n")

    file.write("HIERARCHY\n")
    write(0, 0)


def _numbers(values: Array) -> str:
    return " ".join(f"{value:.4f}" for value in values + 0.0)
