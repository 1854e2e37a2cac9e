"""Motion capture files: ASF skeletons with AMC motions, and BVH, as joints and bone rotations.

An ASF bone's joint is the END of the bone (`lfemur` is the knee); a BVH joint is its START
(`LeftLeg` is the knee). In both, `rotation` is how far the flesh of the bone of that name has
turned from the skeleton's zero pose, so directions of bones need no knowledge of the convention.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np

from poselift.errors import FormatError, UnknownNameError
from poselift.geometry import Array, unit
from poselift.skeleton import skeleton

INCH_M = 0.0254
CMU_LENGTH = 0.45  # units per inch in every CMU skeleton
CMU_UNIT_M = INCH_M / CMU_LENGTH
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
class Asf:
    """An ASF skeleton, J bones, the root first and parents before children.

    direction (J, 3), length (J) in file units and axes (J, 3, 3) are per bone; the root has none.
    """

    path: Path
    names: tuple[str, ...]
    parents: tuple[int, ...]
    direction: Array
    length: Array
    axes: Array
    axis_order: tuple[str, ...]
    dofs: tuple[tuple[str, ...], ...]
    root_position: Array
    unit_m: float
    degrees: bool


@dataclass(frozen=True)
class Motion:
    """One clip, T frames of J joints; axes as in the file (CMU: x left, y up, z forward).

    position_m (T, J, 3): joints, where `joint_at` says which end of the bone of that name.
    rotation (T, J, 3, 3): global rotation of each bone's flesh from the zero pose.
    offset_m (J, 3): zero-pose vector from the parent's joint to the joint.
    zero_direction (J, 3): unit vector along each bone in the zero pose; NaN where it has no length.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    position_m: Array
    rotation: Array
    offset_m: Array
    zero_direction: Array
    joint_at: Literal["end", "start"]
    rate_hz: float
    subject: str
    trial: str

    def index(self, name: str) -> int:
        """Position of a joint. Raises UnknownNameError."""
        if name not in self.names:
            raise UnknownNameError("joint of this motion", name, self.names)
        return self.names.index(name)

    def every(self, step: int) -> "Motion":
        """Every `step`-th frame."""
        return replace(
            self,
            position_m=self.position_m[::step],
            rotation=self.rotation[::step],
            rate_hz=self.rate_hz / step,
        )


def axis_rotation(axis: str, angle_rad: Array) -> Array:
    """Rotations (..., 3, 3) about X, Y or Z by angles (...)."""
    angle_rad = np.asarray(angle_rad, float)
    out = np.zeros((*angle_rad.shape, 3, 3))
    turned = "XYZ".index(axis.upper())
    i, j = (turned + 1) % 3, (turned + 2) % 3
    out[..., turned, turned] = 1
    out[..., i, i] = out[..., j, j] = np.cos(angle_rad)
    out[..., j, i] = np.sin(angle_rad)
    out[..., i, j] = -out[..., j, i]
    return out


def _euler(order: str, angles_rad: dict[str, Array], shape: tuple[int, ...]) -> Array:
    """Product of rotations in which the first letter of `order` is applied first."""
    out = np.broadcast_to(np.eye(3), (*shape, 3, 3))
    for axis in order:
        if axis in angles_rad:
            out = axis_rotation(axis, angles_rad[axis]) @ out
    return out


class _Lines:
    """Lines of a text file with their numbers, for messages."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.text = path.read_text(encoding="latin-1")
        except OSError as error:
            raise FormatError(str(path), expected="a readable file", found=error) from error

    def fail(self, line: int, expected: str, found: object) -> NoReturn:
        raise FormatError(f"{self.path}:{line}", expected=expected, found=found)

    def numbers(self, line: int, words: Sequence[str], count: int) -> Array:
        try:
            values = np.array(words[:count], float)
        except ValueError:
            values = np.array([])
        if len(values) != count:
            self.fail(line, f"{count} numbers", " ".join(words) or "none")
        return values

    def words(self, first: int = 1) -> list[tuple[int, list[str]]]:
        """(line number, words) of every line that is neither empty nor a comment."""
        rows = enumerate(self.text.splitlines(), 1)
        split = ((n, row.split("#", 1)[0].split()) for n, row in rows if n >= first)
        return [(n, words) for n, words in split if words]


# --------------------------------------------------------------------------------------- ASF
def read_asf(path: Path) -> Asf:
    """Read an ASF skeleton (Acclaim, version 1.10). Raises FormatError with file and line."""
    lines = _Lines(path)
    sections: dict[str, list[tuple[int, list[str]]]] = {}
    current: list[tuple[int, list[str]]] = []
    for number, words in lines.words():
        if words[0].startswith(":"):
            current = sections.setdefault(words[0].lower(), [])
        else:
            current.append((number, words))
    for name in (":root", ":bonedata", ":hierarchy"):
        if not sections.get(name):
            lines.fail(lines.text.count("\n") + 1, f"a section {name}", "the end of the file")
    units = {words[0]: (n, words[1:]) for n, words in sections.get(":units", [])}
    bones = {"root": _asf_root(lines, sections[":root"]), **_asf_bones(lines, sections)}
    names, parents = _asf_hierarchy(lines, sections[":hierarchy"], bones)
    chosen = [bones[name] for name in names]
    length = lines.numbers(*units.get("length", (1, ["1"])), 1)[0]
    return Asf(
        path,
        names,
        parents,
        np.array([bone.direction for bone in chosen]),
        np.array([bone.length for bone in chosen]),
        np.array([bone.axes for bone in chosen]),
        tuple(bone.axis_order for bone in chosen),
        tuple(bone.dofs for bone in chosen),
        bones["root"].direction,
        INCH_M / float(length),
        units.get("angle", (0, ["deg"]))[1][:1] != ["rad"],
    )


@dataclass(frozen=True)
class _Bone:
    direction: Array  # the root keeps its position here
    length: float
    axes: Array
    axis_order: str
    dofs: tuple[str, ...]


def _fields(lines: _Lines, rows: list[tuple[int, list[str]]], need: Sequence[str]) -> dict:
    fields = {words[0].lower(): (number, words[1:]) for number, words in rows}
    missing = [name for name in need if name not in fields]
    if missing:
        lines.fail(rows[-1][0] if rows else 1, f"a field '{missing[0]}'", " ".join(fields))
    return fields


def _order(lines: _Lines, number: int, word: str) -> str:
    if sorted(word.upper()) != ["X", "Y", "Z"]:
        lines.fail(number, "an axis order like XYZ", word)
    return word.upper()


def _frame(lines: _Lines, number: int, words: Sequence[str], order: str) -> Array:
    angles = np.deg2rad(lines.numbers(number, words, 3))
    return _euler(order, dict(zip(order, angles, strict=True)), ())


def _asf_root(lines: _Lines, rows: list[tuple[int, list[str]]]) -> _Bone:
    fields = _fields(lines, rows, ("order", "axis"))
    number, words = fields["axis"]
    order = _order(lines, number, "".join(words))
    turn = _frame(lines, *fields.get("orientation", (number, ["0"] * 3)), order)
    place = lines.numbers(*fields.get("position", (number, ["0"] * 3)), 3)
    return _Bone(place, 0.0, turn, order, tuple(word.lower() for word in fields["order"][1]))


def _asf_bones(lines: _Lines, sections: dict) -> dict[str, _Bone]:
    bones: dict[str, _Bone] = {}
    rows: list[tuple[int, list[str]]] = []
    for number, words in sections[":bonedata"]:
        if words[0] == "begin":
            rows = []
        elif words[0] != "end":
            rows.append((number, words))
        else:
            fields = _fields(lines, rows, ("name", "direction", "length", "axis"))
            at, axis = fields["axis"]
            order = _order(lines, at, axis[-1] if len(axis) > 3 else "XYZ")
            dofs = tuple(word.lower() for word in fields.get("dof", (0, []))[1])
            if not set(dofs) <= {"rx", "ry", "rz"}:
                lines.fail(fields["dof"][0], "dof of rx, ry, rz", " ".join(dofs))
            direction = unit(lines.numbers(*fields["direction"], 3))
            length = float(lines.numbers(*fields["length"], 1)[0])
            name = fields["name"][1][0]
            bones[name] = _Bone(direction, length, _frame(lines, at, axis, order), order, dofs)
            rows = []
    if rows:
        lines.fail(rows[-1][0], "'end' of a bone", "the end of the section")
    return bones


def _asf_hierarchy(
    lines: _Lines, rows: list[tuple[int, list[str]]], bones: dict[str, _Bone]
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    names, parents = ["root"], [-1]
    for number, words in rows:
        if words[0] in ("begin", "end"):
            continue
        if words[0] not in names:
            lines.fail(number, "a parent that is named above", words[0])
        for name in words[1:]:
            if name not in bones or name in names:
                lines.fail(number, "bones of :bonedata, each once", name)
            names.append(name)
            parents.append(names.index(words[0]))
    return tuple(names), tuple(parents)


# --------------------------------------------------------------------------------------- AMC
def read_amc(asf: Asf, path: Path, *, rate_hz: float, subject: str = "", trial: str = "") -> Motion:
    """Read an AMC motion of that skeleton; the file does not say its rate.

    G_bone = G_parent C M Cᵀ with C the bone's axes and M the rotation of its dof, and a joint lies
    at its parent's joint + G_bone direction length. Raises FormatError with file and line.
    """
    lines = _Lines(path)
    values = _amc_values(lines, asf)
    frames = len(values["root"])
    to_rad = np.pi / 180 if asf.degrees and ":RADIANS" not in lines.text[:2000].upper() else 1.0
    rotation = np.empty((frames, len(asf.names), 3, 3))
    position = np.empty((frames, len(asf.names), 3))
    for bone, (name, parent) in enumerate(zip(asf.names, asf.parents, strict=True)):
        angles = {
            dof[1].upper(): values[name][:, i] * to_rad
            for i, dof in enumerate(asf.dofs[bone])
            if dof[0] == "r" and name in values
        }
        turn = _euler(asf.axis_order[bone], angles, (frames,))
        if angles:
            turn = asf.axes[bone] @ turn @ asf.axes[bone].T
        if parent < 0:
            rotation[:, bone] = turn
            place = [values[name][:, asf.dofs[bone].index(f"t{axis}")] for axis in "xyz"]
            position[:, bone] = np.stack(place, axis=-1) + asf.root_position
        else:
            rotation[:, bone] = rotation[:, parent] @ turn if angles else rotation[:, parent]
            along = asf.direction[bone] * asf.length[bone]
            position[:, bone] = position[:, parent] + rotation[:, bone] @ along
    offset = asf.direction * asf.length[:, None] * asf.unit_m
    offset[0] = 0
    direction = np.where(asf.length[:, None] > 0, asf.direction, np.nan)
    return Motion(
        asf.names, asf.parents, position * asf.unit_m, rotation, offset, direction,
        "end", rate_hz, subject, trial,
    )  # fmt: skip


_FRAME = re.compile(r"^[ \t]*\d+[ \t\r]*$", re.MULTILINE)


def _amc_values(lines: _Lines, asf: Asf) -> dict[str, Array]:
    """Angles (T, dof) per bone. Every frame must list what the first one lists, in its order."""
    start = _FRAME.search(lines.text)
    if not start:
        lines.fail(1, "a line with a frame number", "none")
    first_line = lines.text.count("\n", 0, start.start()) + 1
    body = lines.text[start.start() :]
    if "#" in body:
        body = re.sub("#.*", "", body)
    second = _FRAME.search(body, start.end() - start.start())
    layout = _amc_layout(lines, asf, body[: second.start() if second else None], first_line)
    tokens = body.split()
    size = 1 + sum(1 + count for _, count in layout)
    frames, rest = divmod(len(tokens), size)
    if rest:
        _amc_blame(lines, layout, first_line)
    out, at = {}, 1
    for name, count in layout:
        if tokens[at::size].count(name) != frames:
            _amc_blame(lines, layout, first_line)
        try:
            columns = [
                np.fromiter(map(float, tokens[at + 1 + i :: size]), float, frames)
                for i in range(count)
            ]
        except ValueError:
            _amc_blame(lines, layout, first_line)
        out[name] = np.stack(columns, axis=-1)
        at += 1 + count
    return out


def _amc_layout(lines: _Lines, asf: Asf, frame: str, first_line: int) -> list[tuple[str, int]]:
    layout = []
    for number, row in enumerate(frame.splitlines()[1:], first_line + 1):
        words = row.split()
        if not words:
            continue
        if words[0] not in asf.names:
            lines.fail(number, f"a bone of {asf.path.name}", words[0])
        dofs = asf.dofs[asf.names.index(words[0])]
        if len(words) - 1 != len(dofs):
            lines.fail(number, f"{words[0]} with {len(dofs)} values", " ".join(words))
        layout.append((words[0], len(dofs)))
    missing = [
        name
        for name, dofs in zip(asf.names, asf.dofs, strict=True)
        if dofs and name not in dict(layout)
    ]
    if missing:
        lines.fail(first_line, f"values of {missing[0]} in the first frame", "none")
    return layout


def _amc_blame(lines: _Lines, layout: list[tuple[str, int]], first_line: int) -> NoReturn:
    """Say which line breaks the layout of the first frame."""
    wanted = [("", 0), *layout]
    rows, last = lines.words(first_line), first_line
    for i, (number, words) in enumerate(rows):
        name, count = wanted[i % len(wanted)]
        last = number
        if not name:
            if len(words) > 1 or not words[0].isdigit():
                lines.fail(number, "a frame number", " ".join(words))
        elif words[0] != name:
            lines.fail(number, f"{name} with {count} values", " ".join(words))
        else:
            lines.numbers(number, words[1:], count)
            if len(words) - 1 != count:
                lines.fail(number, f"{name} with {count} values", " ".join(words))
    lines.fail(last, f"{wanted[len(rows) % len(wanted)][0]} next", "the end of the file")


# --------------------------------------------------------------------------------------- BVH
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
    known by their joint names (CMU's own bones: 0.0564 m as in its ASF files; Daz: 0.01 m).
    Raises FormatError with file and line.
    """
    lines = _Lines(path)
    rows = lines.words()
    motion = next((i for i, (_, words) in enumerate(rows) if words[0] == "MOTION"), None)
    if motion is None or rows[0][1][0] != "HIERARCHY":
        lines.fail(rows[-1][0] if rows else 1, "HIERARCHY, then MOTION", "no such section")
    joints = _bvh_hierarchy(lines, rows[1:motion])
    names = tuple(joint.name for joint in joints)
    scale = unit_m if unit_m is not None else _bvh_unit(lines, names)
    values, rate_hz = _bvh_values(lines, rows[motion + 1 :], sum(len(j.channels) for j in joints))
    rotation, position = _bvh_pose(joints, values)
    offset = np.array([joint.offset for joint in joints]) * scale
    offset[0] = 0
    parents = tuple(joint.parent for joint in joints)
    return Motion(
        names, parents, position * scale, rotation, offset, _bvh_directions(parents, offset),
        "start", rate_hz, subject, trial,
    )  # fmt: skip


def _bvh_hierarchy(lines: _Lines, rows: list[tuple[int, list[str]]]) -> list[_Joint]:
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


def _channels(lines: _Lines, number: int, words: list[str]) -> tuple[str, ...]:
    """Channels as Xp (position) or Xr (rotation)."""
    out = tuple(word[0].upper() + word[1:2].lower() for word in words[2:])
    good = all(re.fullmatch("[xyz](position|rotation)", word.lower()) for word in words[2:])
    if not good or words[1:2] != [str(len(out))]:
        lines.fail(number, "a count and as many channel names", " ".join(words))
    return out


def _bvh_unit(lines: _Lines, names: tuple[str, ...]) -> float:
    for mark, scale in (("LHipJoint", CMU_UNIT_M), ("lShldr", 0.01)):
        if mark in names:
            return scale
    raise FormatError(
        str(lines.path), expected="unit_m for an unknown skeleton", found=f"root {names[0]}"
    )


def _bvh_values(
    lines: _Lines, rows: list[tuple[int, list[str]]], channels: int
) -> tuple[Array, float]:
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


def _bvh_pose(joints: list[_Joint], values: Array) -> tuple[Array, Array]:
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


def _bvh_directions(parents: tuple[int, ...], offset_m: Array) -> Array:
    """Direction of each joint's first child that lies elsewhere; an end site has its parent's."""
    out = np.full_like(offset_m, np.nan)
    length = np.linalg.norm(offset_m, axis=-1)
    for joint in range(len(parents) - 1, 0, -1):
        if length[joint] > 0:
            out[parents[joint]] = offset_m[joint] / length[joint]
    return out


# ------------------------------------------------------------------------------------ H36M-17
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
}
_MARKS = {"asf": "lhipjoint", "cmu_bvh": "LHipJoint", "daz": "lShldr"}


def layout(motion: Motion) -> str:
    """'asf', 'cmu_bvh' or 'daz' by the joint names. Raises UnknownNameError."""
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
