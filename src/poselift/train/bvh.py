"""Reader of Biovision (BVH) motions."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from poselift.errors import FormatError
from poselift.geometry import Array
from poselift.train.motion import CMU_UNIT_M, Lines, Motion, axis_rotation


@dataclass
class _Joint:
    name: str
    parent: int
    offset: Array
    channels: tuple[str, ...] = ()


def read_bvh(
    path: Path, *, unit_m: float | None = None, subject: str = "", trial: str = ""
) -> Motion:
    """Read a BVH motion. End sites become joints `<parent>_end`.

    unit_m: metres per file unit; BVH does not say it, so it may be left out only for skeletons
    known by their joint names (CMU's own bones: 0.0564 m as in its ASF files; Daz and SNU with a
    head: 0.01 m; SNU without: 1 m).
    Raises FormatError with file and line.
    """
    lines = Lines(path)
    rows = lines.words()
    motion = next((i for i, (_, words) in enumerate(rows) if words[0] == "MOTION"), None)
    if motion is None or rows[0][1][0] != "HIERARCHY":
        lines.fail(rows[-1][0] if rows else 1, "HIERARCHY, then MOTION", "no such section")
    joints = _hierarchy(lines, rows[1:motion])
    names = tuple(joint.name for joint in joints)
    scale = unit_m if unit_m is not None else _unit_m(lines, names)
    values, rate_hz = _values(lines, rows[motion + 1 :], sum(len(j.channels) for j in joints))
    rotation, position = _pose(joints, values)
    offset = np.array([joint.offset for joint in joints]) * scale
    offset[0] = 0
    parents = tuple(joint.parent for joint in joints)
    return Motion(
        names=names,
        parents=parents,
        position_m=position * scale,
        rotation=rotation,
        offset_m=offset,
        zero_direction=_directions(parents, offset),
        joint_at="start",
        rate_hz=rate_hz,
        subject=subject,
        trial=trial,
    )


def _hierarchy(lines: Lines, rows: list[tuple[int, list[str]]]) -> list[_Joint]:
    joints: list[_Joint] = []
    open_joints: list[int] = []
    current = -1
    for number, words in rows:
        word = words[0].upper()
        if word in ("ROOT", "JOINT", "END"):
            parent = open_joints[-1] if open_joints else -1
            if (parent < 0) != (word == "ROOT") or len(words) < 2:
                lines.fail(number, "one ROOT, and JOINT or End Site inside it", " ".join(words))
            name = f"{joints[parent].name}_end" if word == "END" else " ".join(words[1:])
            joints.append(_Joint(name, parent, np.zeros(3)))
            current = len(joints) - 1
        elif word == "{" and current >= 0:
            open_joints.append(current)
        elif word == "}" and open_joints:
            open_joints.pop()
        elif word == "OFFSET" and current >= 0:
            joints[current].offset = lines.numbers(number, words[1:], 3)
        elif word == "CHANNELS" and current >= 0:
            joints[current].channels = _channels(lines, number, words)
        else:
            lines.fail(number, "ROOT, JOINT, End Site, OFFSET, CHANNELS or a brace", words[0])
    if open_joints or not joints:
        lines.fail(rows[-1][0] if rows else 1, "closed braces before MOTION", "an open joint")
    return joints


def _channels(lines: Lines, number: int, words: list[str]) -> tuple[str, ...]:
    """Channels as Xp (position) or Xr (rotation)."""
    out = tuple(word[0].upper() + word[1:2].lower() for word in words[2:])
    good = all(re.fullmatch("[xyz](position|rotation)", word.lower()) for word in words[2:])
    if not good or words[1:2] != [str(len(out))]:
        lines.fail(number, "a count and as many channel names", " ".join(words))
    return out


_UNITS_M = {"LHipJoint": CMU_UNIT_M, "lShldr": 0.01, "HEad": 0.01, "RightForeArm_end": 1.0}


def _unit_m(lines: Lines, names: tuple[str, ...]) -> float:
    for mark, scale in _UNITS_M.items():
        if mark in names:
            return scale
    raise FormatError(
        str(lines.path), expected="unit_m for an unknown skeleton", found=f"root {names[0]}"
    )


def _values(lines: Lines, rows: list[tuple[int, list[str]]], channels: int) -> tuple[Array, float]:
    """Channel values (T, channels) and rate in Hz."""
    if len(rows) < 2 or rows[0][1][0] != "Frames:" or rows[1][1][:2] != ["Frame", "Time:"]:
        lines.fail(rows[0][0] if rows else 1, "Frames: and Frame Time:", "other lines")
    count = int(lines.numbers(rows[0][0], rows[0][1][1:], 1)[0])
    step_s = float(lines.numbers(rows[1][0], rows[1][1][2:], 1)[0])
    if not step_s > 0:
        lines.fail(rows[1][0], "a frame time above 0", step_s)
    body = rows[2 : 2 + count]
    for number, words in body:
        if len(words) != channels:
            lines.fail(number, f"{channels} channel values", len(words))
    if len(body) < count:
        lines.fail(rows[-1][0], f"{count} frames", len(body))
    try:
        values = np.array([list(map(float, words)) for _, words in body])
    except ValueError:
        for number, words in body:
            lines.numbers(number, words, channels)
        raise
    return values.reshape(count, channels), 1 / step_s


def _pose(joints: list[_Joint], values: Array) -> tuple[Array, Array]:
    rotation = np.empty((len(values), len(joints), 3, 3))
    position = np.empty((len(values), len(joints), 3))
    column = 0
    for index, joint in enumerate(joints):
        turn = np.broadcast_to(np.eye(3), (len(values), 3, 3))
        place = np.tile(joint.offset, (len(values), 1))
        for axis, kind in joint.channels:
            channel = values[:, column]
            column += 1
            if kind == "p":
                place[:, "XYZ".index(axis)] = channel
            else:
                turn = turn @ axis_rotation(axis, np.deg2rad(channel))
        if joint.parent < 0:
            rotation[:, index], position[:, index] = turn, place
        else:
            base = rotation[:, joint.parent]
            rotation[:, index] = base @ turn if joint.channels else base
            moved = (base @ place[..., None])[..., 0]
            position[:, index] = position[:, joint.parent] + moved
    return rotation, position


def _directions(parents: tuple[int, ...], offset_m: Array) -> Array:
    """Direction of each joint's first child that lies elsewhere; an end site has its parent's."""
    out = np.full_like(offset_m, np.nan)
    length = np.linalg.norm(offset_m, axis=-1)
    for joint in range(len(parents) - 1, 0, -1):
        if length[joint] > 0:
            out[parents[joint]] = offset_m[joint] / length[joint]
    return out
