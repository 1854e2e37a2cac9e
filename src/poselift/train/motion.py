"""A motion as joints and bone rotations, and what its readers share.

An ASF bone's joint is the END of the bone (`lfemur` is the knee); a BVH joint is its START
(`LeftLeg` is the knee). In both, `rotation` is how far the flesh of the bone of that name has
turned from the skeleton's zero pose, so directions of bones need no knowledge of the convention.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np

from poselift.errors import FormatError, UnknownNameError
from poselift.geometry import Array

INCH_M = 0.0254
CMU_UNITS_PER_INCH = 0.45
CMU_UNIT_M = INCH_M / CMU_UNITS_PER_INCH


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


def euler(order: str, angles_rad: dict[str, Array], shape: tuple[int, ...]) -> Array:
    """Product of rotations in which the first letter of `order` is applied first."""
    out = np.broadcast_to(np.eye(3), (*shape, 3, 3))
    for axis in order:
        if axis in angles_rad:
            out = axis_rotation(axis, angles_rad[axis]) @ out
    return out


class Lines:
    """Lines of a text file with their numbers, for messages."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.text = path.read_text(encoding="latin-1")
        except OSError as error:
            raise FormatError(str(path), expected="a readable file", found=error) from error

    def fail(self, line: int, expected: str, found: object) -> NoReturn:
        """Raise FormatError that names file and line."""
        raise FormatError(f"{self.path}:{line}", expected=expected, found=found)

    def numbers(self, line: int, words: Sequence[str], count: int) -> Array:
        """The first `count` words as numbers. Raises FormatError."""
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
