"""Any body in any motion: detector keypoints and joint centres by a table, without a mesh.

Skinning and keypoint regression are linear, so a body collapses to a few bone-local points:

    keypoint_k = sum_j R_j p_kj + c_kj q_j,     q_child = q_parent + R_parent (h_child - h_parent)

with R_j the rotation of bone j's flesh from the rest pose and q_j its posed head. The table
(`bodies.npz`, built by scripts/build_bodies.py) holds p, c, h of sampled bodies.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import torch
from torch import Tensor

from poselift.geometry import Array, rotation_between
from poselift.skeleton import skeleton

COCO = skeleton("coco17")
H36M = skeleton("h36m17")

# Bones whose direction in the rest pose is turned into the motion's zero pose, with the bone whose
# head ends them; the hand has no child and uses its own tail.
_AIMED = {
    f"{side}{bone}": f"{side}{child}" if child else ""
    for side in ("Left", "Right")
    for bone, child in {
        "UpLeg": "Leg",
        "Leg": "Foot",
        "Foot": "ToeBase",
        "Arm": "ForeArm",
        "ForeArm": "Hand",
        "Hand": "",
    }.items()
}
# Bones without a zero direction of their own that follow their parent.
_FOLLOWERS = ("ToeBase", "Thumb", "FingerBase", "HandFinger1")

# Which bone heads are H36M-17 joint centres; the rest follow from them (see `joint_centres`).
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


def _plain(bone: str) -> str:
    """A bone's name without its side."""
    for prefix in ("Left", "Right"):
        bone = bone.removeprefix(prefix)
    return bone[1:] if bone[1:] in ("HipJoint", "Thumb") else bone


@dataclass(frozen=True)
class BodyTable:
    """S sampled bodies: metres, x left, y back, z up. P (keypoint, bone) pairs, 31 bones."""

    bones: tuple[str, ...]
    parents: tuple[int, ...]
    keypoints: tuple[str, ...]
    pair_keypoint: Array  # (P,)
    pair_bone: Array  # (P,)
    pair_weight: Array  # (P,)
    pair_local_m: Array  # (S, P, 3)
    head_m: Array  # (S, 31, 3)
    tail_m: Array  # (S, 31, 3)

    def index(self, bone: str) -> int:
        """Position of a bone."""
        return self.bones.index(bone)


@cache
def body_table() -> BodyTable:
    """The table that comes with the package."""
    with files("poselift.train").joinpath("bodies.npz").open("rb") as file, np.load(file) as data:
        arrays = {name: data[name] for name in data.files if name != "source"}
    for name in ("bones", "keypoints"):
        arrays[name] = tuple(str(text) for text in arrays[name])
    arrays["parents"] = tuple(int(parent) for parent in arrays["parents"])
    return BodyTable(**arrays)


def alignment(table: BodyTable, zero_direction: dict[str, Array]) -> Array:
    """Rotations (S, 31, 3, 3) from each body's rest pose into a motion's zero pose, root to leaves.

    zero_direction: bone name to direction in the zero pose, world axes. Each aimed bone turns by
    the smallest rotation from where its parent has brought it.
    """
    head, tail = table.head_m, table.tail_m
    out = np.broadcast_to(np.eye(3), (*head.shape[:2], 3, 3)).copy()
    for bone, name in enumerate(table.bones):
        base = out[:, table.parents[bone]]
        if name in _AIMED:
            end = head[:, table.index(_AIMED[name])] if _AIMED[name] else tail[:, bone]
            aim = (base @ (end - head[:, bone])[..., None])[..., 0]
            out[:, bone] = rotation_between(aim, np.asarray(zero_direction[name])) @ base
        elif name.endswith(_FOLLOWERS):
            out[:, bone] = base
    return out


class Bodies:
    """Poses batches of bodies on a device.

    alignments (S, Z, 31, 3, 3): `alignment` for every shape and every source skeleton.
    """

    def __init__(self, table: BodyTable, alignments: Array, device: torch.device) -> None:
        self.table, self.device = table, device

        def move(array: Array) -> Tensor:
            return torch.as_tensor(np.asarray(array), device=device)

        self.alignments = move(alignments.astype(np.float32))
        self.head_m, self.tail_m = move(table.head_m), move(table.tail_m)
        self.local_m, self.weight = move(table.pair_local_m), move(table.pair_weight)
        self.pair_bone = move(table.pair_bone)
        coco = [table.keypoints.index(joint) for joint in COCO.joints]
        chooser = np.zeros((len(COCO), len(table.pair_keypoint)), np.float32)
        for row, keypoint in enumerate(coco):
            chooser[row, table.pair_keypoint == keypoint] = 1
        self.chooser = move(chooser)
        self.segments = [
            [i for i, bone in enumerate(table.bones) if _plain(bone) in group]
            for group in _SEGMENTS
        ]

    def __len__(self) -> int:
        return len(self.head_m)

    def segment_scales(self, batch: int, spread: float, generator: torch.Generator) -> Tensor:
        """Random length factors (B, 31), log-normal with `spread`, equal left and right."""
        scales = torch.ones(batch, len(self.table.bones), device=self.device)
        for bones in self.segments:
            noise = torch.randn(batch, 1, device=self.device, generator=generator)
            scales[:, bones] = torch.exp(spread * noise)
        return scales

    def leg_length_m(self, shape: Tensor, scales: Tensor) -> Tensor:
        """Thigh plus shank of each body, (B)."""
        total = torch.zeros(len(shape), device=self.device)
        for bone, child in (("LeftUpLeg", "LeftLeg"), ("LeftLeg", "LeftFoot")):
            b, c = self.table.index(bone), self.table.index(child)
            length = (self.head_m[shape, c] - self.head_m[shape, b]).norm(dim=-1)
            total = total + length * scales[:, b]
        return total

    def pose(
        self, shape: Tensor, zero: Tensor, scales: Tensor, rotation: Tensor, root_m: Tensor
    ) -> tuple[Tensor, Tensor]:
        """COCO-17 keypoints and H36M-17 joint centres, both (B, T, 17, 3), world axes, metres.

        shape, zero (B) choose body and source skeleton; rotation (B, T, 31, 3, 3) is the flesh
        rotation from the motion's zero pose; root_m (B, T, 3).
        """
        turn = rotation @ self.alignments[shape, zero][:, None]
        head = self.head_m[shape]
        heads = self._heads(turn, head, scales, root_m)
        local = self.local_m[shape] * scales[:, self.pair_bone, None]
        at = self.pair_bone
        pairs = (turn[:, :, at] @ local[:, None, :, :, None])[..., 0]
        pairs = pairs + self.weight[:, None] * heads[:, :, at]
        keypoints = torch.einsum("kp,btpc->btkc", self.chooser, pairs)
        bone = self.table.index("Head")
        vertex = (self.tail_m[shape, bone] - head[:, bone]) * scales[:, bone, None]
        top = heads[:, :, bone] + (turn[:, :, bone] @ vertex[:, None, :, None])[..., 0]
        return keypoints, self._joint_centres(heads, keypoints, top)

    def _heads(self, turn: Tensor, head: Tensor, scales: Tensor, root_m: Tensor) -> Tensor:
        posed: list[Tensor] = []
        for bone, parent in enumerate(self.table.parents):
            if parent < 0:
                posed.append(root_m)
                continue
            offset = (head[:, bone] - head[:, parent]) * scales[:, parent, None]
            posed.append(posed[parent] + (turn[:, :, parent] @ offset[:, None, :, None])[..., 0])
        return torch.stack(posed, dim=2)

    def _joint_centres(self, heads: Tensor, keypoints: Tensor, top: Tensor) -> Tensor:
        at = {
            f"{side.lower()}_{joint}": heads[:, :, self.table.index(f"{side}{bone}")]
            for side in ("Left", "Right")
            for joint, bone in _HEADS.items()
        }
        at["pelvis"] = (at["left_hip"] + at["right_hip"]) / 2
        at["thorax"] = (at["left_shoulder"] + at["right_shoulder"]) / 2
        at["spine"] = (at["pelvis"] + at["thorax"]) / 2
        at["nose"] = keypoints[:, :, COCO.index("nose")]
        at["head_top"] = top
        return torch.stack([at[joint] for joint in H36M.joints], dim=2)
