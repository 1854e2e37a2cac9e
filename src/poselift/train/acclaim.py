"""Readers of Acclaim files: ASF skeletons and AMC motions."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from poselift.errors import InputError
from poselift.geometry import Array, unit
from poselift.train.motion import INCH_M, Lines, Motion, euler

Row = tuple[int, list[str]]  # line number and words


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


def read_asf(path: Path) -> Asf:
    """Read an ASF skeleton (Acclaim, version 1.10). Raises FormatError with file and line."""
    lines = Lines(path)
    sections: dict[str, list[Row]] = {}
    current: list[Row] = []
    for number, words in lines.words():
        if words[0].startswith(":"):
            current = sections.setdefault(words[0].lower(), [])
        else:
            current.append((number, words))
    for name in (":root", ":bonedata", ":hierarchy"):
        if not sections.get(name):
            lines.fail(lines.text.count("\n") + 1, f"a section {name}", "the end of the file")
    units = {words[0]: (n, words[1:]) for n, words in sections.get(":units", [])}
    angle_line, angle = units.get("angle", (1, ["deg"]))
    if angle[:1] != ["deg"]:
        lines.fail(angle_line, "angles in deg", " ".join(angle))
    root, root_position = _asf_root(lines, sections[":root"])
    bones = {"root": root, **_asf_bones(lines, sections[":bonedata"])}
    names, parents = _asf_hierarchy(lines, sections[":hierarchy"], bones)
    chosen = [bones[name] for name in names]
    length = lines.numbers(*units.get("length", (1, ["1"])), 1)[0]
    return Asf(
        path,
        names,
        parents,
        direction=np.array([bone.direction for bone in chosen]),
        length=np.array([bone.length for bone in chosen]),
        axes=np.array([bone.axes for bone in chosen]),
        axis_order=tuple(bone.axis_order for bone in chosen),
        dofs=tuple(bone.dofs for bone in chosen),
        root_position=root_position,
        unit_m=INCH_M / float(length),
    )


@dataclass(frozen=True)
class _Bone:
    direction: Array
    length: float
    axes: Array
    axis_order: str
    dofs: tuple[str, ...]


def _fields(lines: Lines, rows: list[Row], need: Sequence[str]) -> dict[str, Row]:
    fields = {words[0].lower(): (number, words[1:]) for number, words in rows}
    missing = [name for name in need if name not in fields]
    if missing:
        lines.fail(rows[-1][0] if rows else 1, f"a field '{missing[0]}'", " ".join(fields))
    return fields


def _order(lines: Lines, number: int, word: str) -> str:
    if sorted(word.upper()) != ["X", "Y", "Z"]:
        lines.fail(number, "an axis order like XYZ", word)
    return word.upper()


def _frame(lines: Lines, number: int, words: Sequence[str], order: str) -> Array:
    angles = np.deg2rad(lines.numbers(number, words, 3))
    return euler(order, dict(zip(order, angles, strict=True)), ())


def _asf_root(lines: Lines, rows: list[Row]) -> tuple[_Bone, Array]:
    """The root, and where it starts in file units."""
    fields = _fields(lines, rows, ("order", "axis"))
    number, words = fields["axis"]
    order = _order(lines, number, "".join(words))
    turn = _frame(lines, *fields.get("orientation", (number, ["0"] * 3)), order)
    place = lines.numbers(*fields.get("position", (number, ["0"] * 3)), 3)
    dofs = tuple(word.lower() for word in fields["order"][1])
    if sorted(dofs) != ["rx", "ry", "rz", "tx", "ty", "tz"]:
        lines.fail(fields["order"][0], "an order of TX TY TZ RX RY RZ", " ".join(dofs))
    return _Bone(np.zeros(3), 0.0, turn, order, dofs), place


def _asf_bones(lines: Lines, section: list[Row]) -> dict[str, _Bone]:
    bones: dict[str, _Bone] = {}
    rows: list[Row] = []
    for number, words in section:
        if words[0] == "begin":
            rows = []
        elif words[0] != "end":
            rows.append((number, words))
        else:
            name, bone = _asf_bone(lines, rows)
            bones[name] = bone
            rows = []
    if rows:
        lines.fail(rows[-1][0], "'end' of a bone", "the end of the section")
    return bones


def _asf_bone(lines: Lines, rows: list[Row]) -> tuple[str, _Bone]:
    fields = _fields(lines, rows, ("name", "direction", "length", "axis"))
    at, axis = fields["axis"]
    order = _order(lines, at, axis[-1] if len(axis) > 3 else "XYZ")
    dofs = tuple(word.lower() for word in fields.get("dof", (0, []))[1])
    if not set(dofs) <= {"rx", "ry", "rz"}:
        lines.fail(fields["dof"][0], "dof of rx, ry, rz", " ".join(dofs))
    direction = unit(lines.numbers(*fields["direction"], 3))
    length = float(lines.numbers(*fields["length"], 1)[0])
    frame = _frame(lines, at, axis, order)
    return " ".join(fields["name"][1]), _Bone(direction, length, frame, order, dofs)


def _asf_hierarchy(
    lines: Lines, rows: list[Row], bones: dict[str, _Bone]
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


def read_amc(asf: Asf, path: Path, *, rate_hz: float, subject: str = "", trial: str = "") -> Motion:
    """Read an AMC motion of that skeleton; the file does not say its rate.

    G_bone = G_parent C M Cᵀ with C the bone's axes and M the rotation of its dof, and a joint lies
    at its parent's joint + G_bone direction length. Raises FormatError with file and line.
    """
    if not rate_hz > 0:
        raise InputError("rate of an AMC motion", expected="a rate above 0 Hz", found=rate_hz)
    lines = Lines(path)
    values = _amc_values(lines, asf)
    radians = ":RADIANS" in lines.text[:2000].upper()
    rotation, position = _amc_pose(asf, values, 1.0 if radians else np.pi / 180)
    offset = asf.direction * asf.length[:, None] * asf.unit_m
    direction = np.where(asf.length[:, None] > 0, asf.direction, np.nan)
    return Motion(
        names=asf.names,
        parents=asf.parents,
        position_m=position * asf.unit_m,
        rotation=rotation,
        offset_m=offset,
        zero_direction=direction,
        joint_at="end",
        rate_hz=rate_hz,
        subject=subject,
        trial=trial,
    )


def _amc_pose(asf: Asf, values: dict[str, Array], to_rad: float) -> tuple[Array, Array]:
    """Global rotations (T, J, 3, 3) and ends of bones (T, J, 3) in file units."""
    frames = len(values["root"])
    rotation = np.empty((frames, len(asf.names), 3, 3))
    position = np.empty((frames, len(asf.names), 3))
    for bone, (name, parent) in enumerate(zip(asf.names, asf.parents, strict=True)):
        angles = {
            dof[1].upper(): values[name][:, column] * to_rad
            for column, dof in enumerate(asf.dofs[bone])
            if dof[0] == "r"
        }
        turn = euler(asf.axis_order[bone], angles, (frames,))
        turn = asf.axes[bone] @ turn @ asf.axes[bone].T if angles else turn
        if parent < 0:
            place = [values[name][:, asf.dofs[bone].index(f"t{axis}")] for axis in "xyz"]
            rotation[:, bone] = turn
            position[:, bone] = np.stack(place, axis=-1) + asf.root_position
        else:
            rotation[:, bone] = rotation[:, parent] @ turn if angles else rotation[:, parent]
            along = asf.direction[bone] * asf.length[bone]
            position[:, bone] = position[:, parent] + rotation[:, bone] @ along
    return rotation, position


_FRAME = re.compile(r"^[ \t]*\d+[ \t\r]*$", re.MULTILINE)


def _amc_values(lines: Lines, asf: Asf) -> dict[str, Array]:
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
    if rest or not all(map(str.isdigit, tokens[::size])):
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


def _amc_layout(lines: Lines, asf: Asf, frame: str, first_line: int) -> list[tuple[str, int]]:
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


def _amc_blame(lines: Lines, layout: list[tuple[str, int]], first_line: int) -> NoReturn:
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
