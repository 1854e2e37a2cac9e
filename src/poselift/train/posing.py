"""Bodies in motion, batched torch: flesh rotations in; detector points, joints, capsules out.

A body is a row of the table of `bodies.py`. One forward pass over its 31 bones gives everything:

    surface_m   HALPE-26, what a perfect detector would report, in 3D
    joints_m    body28: joint centres inside (H36M-17 first), face, vertex and feet on the surface
    capsule_m   the flesh as line segments with radii, for who hides whom
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from poselift.geometry import Array
from poselift.skeleton import part, skeleton
from poselift.train.bodies import BodyTable
from poselift.train.errormodel import HALPE
from poselift.train.synth import normal

BODY = skeleton("body28")

# Which bone heads are joint centres; the other joints follow from them or lie on the surface.
_HEADS = {
    "hip": "UpLeg",
    "knee": "Leg",
    "ankle": "Foot",
    "shoulder": "Arm",
    "elbow": "ForeArm",
    "wrist": "Hand",
}
# Bones that share a random length factor, so that left and right stay equal.
_SEGMENTS = (
    ("UpLeg",),
    ("Leg",),
    ("Foot", "ToeBase"),
    ("HipJoint",),
    ("LowerBack", "Spine", "Spine1", "Hips"),
    ("Shoulder",),
    ("Arm",),
    ("ForeArm", "Hand", "Thumb", "FingerBase", "HandFinger1"),
    ("Neck", "Neck1", "Head"),
)
# Capsules: bone at the start, bone at the end ("" for the tail of the first), whose radius.
CAPSULES = (
    ("Hips", "Spine1", "LowerBack"),
    ("Spine1", "Neck", "Spine"),
    ("Head", "", "Head"),
    *(
        (f"{side}{bone}", f"{side}{end}", f"{side}{bone}")
        for side in ("Left", "Right")
        for bone, end in (
            ("UpLeg", "Leg"),
            ("Leg", "Foot"),
            ("Foot", "ToeBase"),
            ("Arm", "ForeArm"),
            ("ForeArm", "Hand"),
        )
    ),
)
# Capsules that a point lies on or beside, and which therefore do not hide it.
_TRUNK, _HEAD = (0, 1), (1, 2)
_LIMB = {"UpLeg": 0, "Leg": 1, "Foot": 2, "Arm": 3, "ForeArm": 4}
_OWN = {
    "hip": ("UpLeg",),
    "knee": ("UpLeg", "Leg"),
    "ankle": ("Leg", "Foot"),
    "big_toe": ("Foot",),
    "small_toe": ("Foot",),
    "heel": ("Leg", "Foot"),
    "shoulder": ("Arm",),
    "elbow": ("Arm", "ForeArm"),
    "wrist": ("ForeArm",),
}
# How far the place that a detector means may lie from the surface point of the body, metres at
# 1.75 m stature: detectors and annotators differ, most where nothing on the skin marks the joint.
_DEFINITION_M = {
    "nose": 0.004,
    "eye": 0.004,
    "ear": 0.006,
    "shoulder": 0.014,
    "elbow": 0.008,
    "wrist": 0.008,
    "hip": 0.018,
    "knee": 0.010,
    "ankle": 0.008,
    "big_toe": 0.010,
    "small_toe": 0.010,
    "heel": 0.010,
    "head_top": 0.015,
}


def own_capsules() -> np.ndarray:
    """Which capsules each HALPE-26 point belongs to, bool (26, capsules)."""
    own = np.zeros((len(HALPE), len(CAPSULES)), bool)
    for row, joint in enumerate(HALPE.joints):
        if part(joint) in _OWN:
            first = 3 + 5 * joint.startswith("right_")
            own[row, [first + _LIMB[bone] for bone in _OWN[part(joint)]]] = True
        if part(joint) in ("hip", "shoulder", "pelvis", "neck"):
            own[row, list(_TRUNK)] = True
        elif joint == "head_top" or part(joint) in ("nose", "eye", "ear"):
            own[row, list(_HEAD)] = True
    return own


@dataclass(frozen=True)
class Posed:
    """Bodies at B x F frames, metres; see the head of this file for the points."""

    surface_m: Tensor  # (B, F, 26, 3)
    joints_m: Tensor  # (B, F, 28, 3)
    capsule_m: Tensor  # (B, F, K, 2, 3)
    radius_m: Tensor  # (B, K)

    def moved(self, shift_m: Tensor) -> "Posed":
        """The same, frame by frame moved by shift_m (B, F, 3)."""
        points = shift_m[:, :, None]
        return Posed(
            self.surface_m + points,
            self.joints_m + points,
            self.capsule_m + points[:, :, None],
            self.radius_m,
        )


class Bodies:
    """Poses batches of bodies on a device.

    alignments (S, Z, 31, 3, 3): `bodies.alignment` for every shape and every source skeleton.
    """

    def __init__(self, table: BodyTable, alignments: Array, device: torch.device) -> None:
        self.table, self.device = table, device

        def move(array: np.ndarray, dtype: torch.dtype | None = None) -> Tensor:
            dtype = dtype or torch.get_default_dtype()
            return torch.as_tensor(np.asarray(array), dtype=dtype, device=device)

        self.alignments = move(alignments)
        self.head_m, self.tail_m = move(table.head_m), move(table.tail_m)
        self.local_m, self.weight = move(table.pair_local_m), move(table.pair_weight)
        self.radius_m = move(table.radius_m)
        self.pair_bone = move(table.pair_bone, torch.int64)
        self.pairs = _Chooser(table, device)
        self.own = torch.as_tensor(own_capsules(), device=device)
        self.definition_m = move(
            np.array([_DEFINITION_M.get(part(joint), 0.0) for joint in HALPE.joints])
        )
        self.segments = [
            [i for i, bone in enumerate(table.bones) if _plain(bone) in group]
            for group in _SEGMENTS
        ]

    def __len__(self) -> int:
        return len(self.head_m)

    def segment_scales(self, batch: int, spread: float, g: torch.Generator) -> Tensor:
        """Random length factors (B, 31), log-normal with `spread`, equal left and right."""
        scales = torch.ones(batch, len(self.table.bones), device=self.device)
        for bones in self.segments:
            scales[:, bones] = torch.exp(normal((batch, 1), spread, g))
        return scales

    def leg_length_m(self, shape: Tensor, scales: Tensor) -> Tensor:
        """Thigh plus shank of each body, (B)."""
        total = torch.zeros(len(shape), device=self.device)
        for bone, child in (("LeftUpLeg", "LeftLeg"), ("LeftLeg", "LeftFoot")):
            b, c = self.table.index(bone), self.table.index(child)
            length = (self.head_m[shape, c] - self.head_m[shape, b]).norm(dim=-1)
            total = total + length * scales[:, b]
        return total

    def definition_offsets_m(self, shape: Tensor, factor: float, g: torch.Generator) -> Tensor:
        """Random offsets (B, 26, 3) of what a detector means by each point, in its bone's frame."""
        scales = torch.ones(len(shape), len(self.table.bones), device=self.device)
        size = self.leg_length_m(shape, scales) / 0.85
        drawn = normal((len(shape), len(HALPE), 3), factor, g)
        return drawn * self.definition_m[:, None] * size[:, None, None]

    def pose(
        self, turn: Tensor, shape: Tensor, scales: Tensor, offset_m: Tensor | None = None
    ) -> Posed:
        """Bodies with their root at the origin, world axes.

        turn (B, F, 31, 3, 3): each bone's flesh from the body's own rest pose; shape (B) and
        scales (B, 31) say which body; offset_m (B, 26, 3): `definition_offsets_m`.
        """
        head = self.head_m[shape]
        heads = self._heads(turn, head, scales)
        local = self.local_m[shape] * scales[:, self.pair_bone, None]
        pairs = (turn[:, :, self.pair_bone] @ local[:, None, :, :, None])[..., 0]
        pairs = pairs + self.weight[:, None] * heads[:, :, self.pair_bone]
        bone = self.table.index("Head")
        vertex = (self.tail_m[shape, bone] - head[:, bone]) * scales[:, bone, None]
        top = heads[:, :, bone] + (turn[:, :, bone] @ vertex[:, None, :, None])[..., 0]
        surface = self.pairs.points(pairs)
        joints = self._joint_centres(heads, surface)
        if offset_m is not None:
            surface = self._offset(surface, turn, offset_m)
        surface["neck"] = (surface["left_shoulder"] + surface["right_shoulder"]) / 2
        surface["pelvis"] = (surface["left_hip"] + surface["right_hip"]) / 2
        return Posed(
            torch.stack([surface[joint] for joint in HALPE.joints], dim=2),
            joints,
            self._capsules(heads, top),
            self._radii(shape, scales),
        )

    def _offset(
        self, surface: dict[str, Tensor], turn: Tensor, offset_m: Tensor
    ) -> dict[str, Tensor]:
        moved = {}
        for joint, point in surface.items():
            offset = offset_m[:, None, HALPE.index(joint), :, None]
            moved[joint] = point + (turn[:, :, self.pairs.main_bone[joint]] @ offset)[..., 0]
        return moved

    def _heads(self, turn: Tensor, head: Tensor, scales: Tensor) -> Tensor:
        posed: list[Tensor] = []
        for bone, parent in enumerate(self.table.parents):
            if parent < 0:
                posed.append(torch.zeros_like(turn[:, :, 0, :, 0]))
                continue
            offset = (head[:, bone] - head[:, parent]) * scales[:, parent, None]
            posed.append(posed[parent] + (turn[:, :, parent] @ offset[:, None, :, None])[..., 0])
        return torch.stack(posed, dim=2)

    def _joint_centres(self, heads: Tensor, surface: dict[str, Tensor]) -> Tensor:
        at = dict(surface)
        for side in ("Left", "Right"):
            for joint, bone in _HEADS.items():
                at[f"{side.lower()}_{joint}"] = heads[:, :, self.table.index(f"{side}{bone}")]
        at["pelvis"] = (at["left_hip"] + at["right_hip"]) / 2
        at["thorax"] = (at["left_shoulder"] + at["right_shoulder"]) / 2
        at["spine"] = (at["pelvis"] + at["thorax"]) / 2
        at["neck"] = heads[:, :, self.table.index("Neck")]
        return torch.stack([at[joint] for joint in BODY.joints], dim=2)

    def _capsules(self, heads: Tensor, top: Tensor) -> Tensor:
        ends = [
            torch.stack(
                [
                    heads[:, :, self.table.index(start)],
                    heads[:, :, self.table.index(end)] if end else top,
                ],
                dim=2,
            )
            for start, end, _ in CAPSULES
        ]
        return torch.stack(ends, dim=2)

    def _radii(self, shape: Tensor, scales: Tensor) -> Tensor:
        bones = [self.table.index(bone) for _, _, bone in CAPSULES]
        return self.radius_m[shape][:, bones] * scales[:, bones]


class _Chooser:
    """Sums the (keypoint, bone) pairs of the table to keypoints by name."""

    def __init__(self, table: BodyTable, device: torch.device) -> None:
        self.names = [name for name in table.keypoints if name in HALPE]
        matrix = np.zeros((len(self.names), len(table.pair_keypoint)))
        self.main_bone: dict[str, int] = {}
        for row, name in enumerate(self.names):
            mine = np.flatnonzero(table.pair_keypoint == table.keypoints.index(name))
            matrix[row, mine] = 1
            heaviest = mine[np.argmax(table.pair_weight[mine])]
            self.main_bone[name] = int(table.pair_bone[heaviest])
        self.matrix = torch.as_tensor(matrix, dtype=torch.get_default_dtype(), device=device)

    def points(self, pairs: Tensor) -> dict[str, Tensor]:
        """Keypoints (B, F, 3) by name from pairs (B, F, P, 3)."""
        return dict(zip(self.names, (self.matrix @ pairs).unbind(2), strict=True))


def _plain(bone: str) -> str:
    """A bone's name without its side."""
    for prefix in ("Left", "Right"):
        bone = bone.removeprefix(prefix)
    return bone[1:] if bone[1:] in ("HipJoint", "Thumb") else bone


def planted_path(posed: Posed, path_m: Tensor, contact: Tensor) -> Tensor:
    """The root's path (B, F, 3) in which planted feet do not slide.

    posed: bodies with the root at the origin; path_m (B, F, 3): the captured root's path, scaled;
    contact (B, F, 2): how planted the left and right foot are, 0 to 1. From frame to frame the root
    moves so that the lowest point of a planted foot stays; without one, it moves as captured.
    """
    feet = torch.stack([posed.surface_m[:, :, rows] for rows in _foot_rows()], dim=2)
    height = (feet[:, 1:] + feet[:, :-1])[..., 2] / 2
    lowest = torch.softmax(-height / 0.01, dim=-1)
    slide = (lowest[..., None] * feet.diff(dim=1)).sum(3)  # (B, F - 1, 2, 3)
    hold = torch.minimum(contact[:, 1:], contact[:, :-1])
    share = hold / hold.sum(-1, keepdim=True).clamp_min(1e-6)
    still = -(share[..., None] * slide).sum(2)
    firm = hold.amax(-1, keepdim=True)
    step = firm * still + (1 - firm) * path_m.diff(dim=1)
    return torch.cat([path_m[:, :1], path_m[:, :1] + step.cumsum(1)], dim=1)


def _foot_rows() -> Sequence[list[int]]:
    return [
        [HALPE.index(f"{side}_{point}") for point in ("heel", "big_toe", "small_toe")]
        for side in ("left", "right")
    ]
