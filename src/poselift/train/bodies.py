"""Any body in any motion: detector keypoints and joint centres by a table, without a mesh.

Skinning and keypoint regression are linear, so a body collapses to a few bone-local points:

    keypoint_k = sum_j R_j p_kj + c_kj q_j,     q_child = q_parent + R_parent (h_child - h_parent)

with R_j the rotation of bone j's flesh from the rest pose and q_j its posed head. The table
(`bodies.npz`, built by scripts/build_bodies.py) holds p, c, h of sampled bodies.
"""

from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from poselift.errors import InputError
from poselift.geometry import Array, rotation_between

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


@dataclass(frozen=True)
class BodyTable:
    """S sampled bodies: metres, x left, y back, z up. P (keypoint, bone) pairs, 31 bones.

    Keypoints lie on the surface: COCO-17, toes and heels as anny's regressor has them, and
    `head_top`, the highest vertex of the bald head. Heads of bones are joint centres.
    """

    bones: tuple[str, ...]
    parents: tuple[int, ...]
    keypoints: tuple[str, ...]
    pair_keypoint: NDArray[np.int64]  # (P,)
    pair_bone: NDArray[np.int64]  # (P,)
    pair_weight: Array  # (P,)
    pair_local_m: Array  # (S, P, 3)
    head_m: Array  # (S, 31, 3)
    tail_m: Array  # (S, 31, 3)
    radius_m: Array  # (S, 31) mean distance of a bone's flesh from its axis
    stature_m: Array  # (S,) height of the rest pose
    sex: Array  # (S,) 0 male to 1 female
    age_years: Array  # (S,)
    group: NDArray[np.str_]  # (S,) child, teen, adult, senior
    split: NDArray[np.int8]  # (S,) 0 train, 1 validation, 2 test

    def index(self, bone: str) -> int:
        """Position of a bone."""
        return self.bones.index(bone)

    def of_split(self, split: int) -> "BodyTable":
        """The bodies of one split alone: 0 train, 1 validation, 2 test. Raises InputError."""
        rows = self.split == split
        if not rows.any():
            raise InputError("split of bodies", found=split, known=np.unique(self.split).tolist())
        chosen = {name: getattr(self, name)[rows] for name in _OF_EACH_BODY}
        return replace(self, **chosen)

    def posed(self, body: int, turn: Array) -> tuple[Array, Array]:
        """Heads (T, 31, 3) and keypoints (T, K, 3) of one body, its root at the origin; metres.

        turn (T, 31, 3, 3): rotation of each bone's flesh from the rest pose, world axes. This is
        the formula at the head of this file, plainly; training poses batches in torch.
        """
        rest, heads = self.head_m[body], np.zeros(turn.shape[:-1])
        for bone, parent in enumerate(self.parents):
            if parent >= 0:
                offset = rest[bone] - rest[parent]
                heads[:, bone] = heads[:, parent] + turn[:, parent] @ offset
        local = (turn[:, self.pair_bone] @ self.pair_local_m[body][..., None])[..., 0]
        pairs = local + self.pair_weight[:, None] * heads[:, self.pair_bone]
        keypoints = np.zeros((len(self.keypoints), len(turn), 3))
        np.add.at(keypoints, self.pair_keypoint, pairs.swapaxes(0, 1))
        return heads, keypoints.swapaxes(0, 1)


_OF_EACH_BODY = (
    "pair_local_m",
    "head_m",
    "tail_m",
    "radius_m",
    "stature_m",
    "sex",
    "age_years",
    "group",
    "split",
)


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
