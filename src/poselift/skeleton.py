"""Skeletons: named joints with parents, and conversion between them by joint name.

A name means one place on the body in every skeleton: `nose` is the tip of the nose, `head_top` the
top of the head, `left_hip` the hip that the source reports. The tables are in `skeletons.json`
beside this file (orders: docs/words.md).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from poselift.errors import InputError, ShapeError, UnknownNameError

# Joints that a source does not name, built from joints that it does name: weights sum to one.
# The first rule whose joints the source has is taken; a NaN in any of them makes the result NaN.
RULES: dict[str, tuple[dict[str, float], ...]] = {
    "pelvis": ({"left_hip": 0.5, "right_hip": 0.5},),
    "thorax": ({"left_shoulder": 0.5, "right_shoulder": 0.5},),
    "neck": ({"left_shoulder": 0.5, "right_shoulder": 0.5},),
    "spine": (
        {"left_hip": 0.25, "right_hip": 0.25, "left_shoulder": 0.25, "right_shoulder": 0.25},
        {"pelvis": 0.5, "thorax": 0.5},
        {"pelvis": 0.5, "neck": 0.5},
    ),
    # The line from between the shoulders through the ears, prolonged by 0.6, ends near the vertex.
    "head_top": (
        {"left_ear": 0.8, "right_ear": 0.8, "left_shoulder": -0.3, "right_shoulder": -0.3},
        {"left_eye": 0.8, "right_eye": 0.8, "left_shoulder": -0.3, "right_shoulder": -0.3},
    ),
    "left_big_toe": ({"left_foot_index": 1.0},),
    "right_big_toe": ({"right_foot_index": 1.0},),
    "left_foot_index": ({"left_big_toe": 1.0},),
    "right_foot_index": ({"right_big_toe": 1.0},),
}

# On the way from a detector's points to the joints of a body, these follow the rules even where the
# detector prints one of its own making, so that the joints mean the same whatever the detector.
PREFER_RULES = ("thorax", "spine", "head_top")


@dataclass(frozen=True)
class Skeleton:
    """An ordered table joint -> parent ("" for a root). The order counts.

    Raises InputError for a table that is empty, names an unknown parent, or runs in a circle.
    """

    name: str
    parent_of: Mapping[str, str] = field(hash=False)
    kind: str = "keypoints"  # "keypoints" from detectors, "joints" from bodies

    def __post_init__(self) -> None:
        if not self.parent_of:
            raise InputError(f"skeleton {self.name}", expected="at least one joint", found="none")
        for joint, parent in self.parent_of.items():
            if parent and parent not in self.parent_of:
                raise InputError(
                    f"skeleton {self.name}: parent of {joint}", found=parent, known=self.parent_of
                )
            self._check_reaches_root(joint)

    def _check_reaches_root(self, joint: str) -> None:
        above = joint
        for _ in self.parent_of:
            above = self.parent_of.get(above, "")
            if not above:
                return
        raise InputError(
            f"skeleton {self.name}", expected="a tree", found=f"a circle of parents above {joint}"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Skeleton):
            return NotImplemented
        # Mappings are equal in any order, tables of joints are not.
        mine, theirs = list(self.parent_of.items()), list(other.parent_of.items())
        return (self.name, self.kind, mine) == (other.name, other.kind, theirs)

    @cached_property
    def joints(self) -> tuple[str, ...]:
        """Joint names in order."""
        return tuple(self.parent_of)

    def __len__(self) -> int:
        return len(self.parent_of)

    def __contains__(self, joint: object) -> bool:
        return joint in self.parent_of

    def index(self, joint: str) -> int:
        """Position of a joint. Raises UnknownNameError."""
        if joint not in self.parent_of:
            raise UnknownNameError(f"joint of {self.name}", joint, self.parent_of)
        return self.joints.index(joint)

    @cached_property
    def parents(self) -> list[int]:
        """Index of each joint's parent, -1 for a root."""
        return [self.joints.index(p) if p else -1 for p in self.parent_of.values()]

    @cached_property
    def edges(self) -> list[tuple[int, int]]:
        """Bones as (parent, child) indices."""
        return [(p, j) for j, p in enumerate(self.parents) if p >= 0]

    @cached_property
    def mirror(self) -> list[int]:
        """Index of each joint's left/right twin (itself on the midline)."""
        return [self.joints.index(_twin(joint, self.parent_of)[0]) for joint in self.joints]

    def side(self, joint: str) -> str:
        """'left', 'right' or 'middle'."""
        return _twin(joint, self.parent_of)[1]


# How tables write the sides: ours, then BVH (LeftArm, LHipJoint), then ASF (lfemur).
_SIDES = (("left_", "right_"), ("Left", "Right"), ("L", "R"), ("l", "r"))


def _twin(joint: str, names: Mapping[str, str]) -> tuple[str, str]:
    """The joint on the other side and the side of this one, among `names`."""
    for left, right in _SIDES:
        for side, mine, other in (("left", left, right), ("right", right, left)):
            twin = other + joint.removeprefix(mine)
            if joint.startswith(mine) and twin in names:
                return twin, side
    return joint, "middle"


@cache
def _table() -> dict[str, Skeleton]:
    text = files("poselift").joinpath("skeletons.json").read_text(encoding="utf-8")
    return {
        name: Skeleton(name, entry["joints"], entry["kind"])
        for name, entry in json.loads(text).items()
    }


def part(joint: str) -> str:
    """A joint's name without its side."""
    return joint.removeprefix("left_").removeprefix("right_")


def skeletons() -> list[str]:
    """Names of all skeletons."""
    return list(_table())


def skeleton(name: str) -> Skeleton:
    """The skeleton of that name. Raises UnknownNameError, which lists the names."""
    if name not in _table():
        raise UnknownNameError("skeleton", name, _table())
    return _table()[name]


def conversion(source: Skeleton, target: Skeleton) -> NDArray[np.float64]:
    """Matrix (J_target, J_source) that turns joints of `source` into those of `target`.

    Same names are copied (but see `PREFER_RULES`), missing ones follow `RULES`; a row of NaN marks
    what cannot be had.
    """
    matrix = np.zeros((len(target), len(source)))
    for row, joint in enumerate(target.joints):
        weights = _weights(joint, source, target)
        if weights is None:
            matrix[row] = np.nan
            continue
        for name, weight in weights.items():
            matrix[row, source.index(name)] = weight
    return matrix


def _weights(joint: str, source: Skeleton, target: Skeleton) -> dict[str, float] | None:
    rules = [rule for rule in RULES.get(joint, ()) if all(name in source for name in rule)]
    to_body = (source.kind, target.kind) == ("keypoints", "joints")
    if joint in source and not (to_body and joint in PREFER_RULES and rules):
        return {joint: 1.0}
    return rules[0] if rules else None


def convert(
    points: NDArray[np.floating], source: Skeleton, target: Skeleton
) -> NDArray[np.floating]:
    """Joints (..., J_source, C) of one skeleton as those of another (..., J_target, C).

    A joint that the source lacks, or that is built from a NaN, is NaN. Raises ShapeError.
    """
    if points.ndim < 2 or points.shape[-2] != len(source):
        raise ShapeError(
            f"points of {source.name}",
            expected=f"(..., {len(source)}, C)",
            found=points.shape,
        )
    matrix = conversion(source, target)
    out = np.full((*points.shape[:-2], len(target), points.shape[-1]), np.nan)
    for row, weights in enumerate(matrix):
        if np.isnan(weights).any():
            continue
        used = np.flatnonzero(weights)  # a NaN elsewhere must not spread through 0 * NaN
        out[..., row, :] = np.einsum("...jc,j->...c", points[..., used, :], weights[used])
    return out


def least_confidence(
    confidence: NDArray[np.floating], source: Skeleton, target: Skeleton
) -> NDArray[np.floating]:
    """Confidence (..., J_source) carried over: the least of the joints a target joint uses.

    0 for a joint that cannot be had. Raises ShapeError.
    """
    if confidence.ndim < 1 or confidence.shape[-1] != len(source):
        raise ShapeError(
            f"confidence of {source.name}",
            expected=f"(..., {len(source)})",
            found=confidence.shape,
        )
    matrix = conversion(source, target)
    out = np.full((*confidence.shape[:-1], len(target)), 0.0)
    for row, weights in enumerate(matrix):
        if not np.isnan(weights).any():
            out[..., row] = confidence[..., np.flatnonzero(weights)].min(axis=-1)
    return out
