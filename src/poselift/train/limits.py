"""Joint limits: which directions of bones the training poses know, as tables on the sphere.

A bone is held to be possible where people were seen to hold it. Three kinds of tables:

    attached to the trunk   the bone's direction as the chest or the pelvis sees it
    hinge                   forearm and shank as the flesh of upper arm and thigh sees them: how far
                            an elbow or a knee bends, no further back than straight, no sideways
    reach                   forearm and shank as the trunk sees them, given where the bone above
                            points: what a shoulder or a hip can still turn to

Left and right share their tables (the right side is looked up in a mirror). The tables
(`limits.npz`) are made by scripts/learn_limits.py, where counting and widening are described. They
know nothing of self-penetration: a hand may pass through the trunk.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from poselift.geometry import Array, unit
from poselift.skeleton import part
from poselift.train.bodies import BodyTable, body_table

FINE_DEG, COARSE_DEG = 4.0, 12.0

# What is checked: bone, the bone that sees it, where it ends ("" for its own tail). The first nine
# are EvoSkeleton's; where the chest points and where its left side points are ours.
CHECKED = {
    "head": ("Head", "Spine1", ""),
    "left_upper_arm": ("LeftArm", "Spine1", "LeftForeArm"),
    "left_forearm": ("LeftForeArm", "Spine1", "LeftHand"),
    "right_upper_arm": ("RightArm", "Spine1", "RightForeArm"),
    "right_forearm": ("RightForeArm", "Spine1", "RightHand"),
    "left_thigh": ("LeftUpLeg", "Hips", "LeftLeg"),
    "left_shank": ("LeftLeg", "Hips", "LeftFoot"),
    "right_thigh": ("RightUpLeg", "Hips", "RightLeg"),
    "right_shank": ("RightLeg", "Hips", "RightFoot"),
    "spine": ("Spine1", "Hips", "Neck"),
    "girdle": ("Spine1", "Hips", "LeftShoulder"),
}
PAPER_BONES = 9
# Those that hang on the trunk, or are the trunk.
TRUNK_CHECKED = tuple(name for name in CHECKED if not name.endswith(("forearm", "shank")))
# The distal bones' places in CHECKED, those of the bones above them, and their flesh.
_DISTAL = {
    "left_forearm": ("left_upper_arm", "LeftArm"),
    "right_forearm": ("right_upper_arm", "RightArm"),
    "left_shank": ("left_thigh", "LeftUpLeg"),
    "right_shank": ("right_thigh", "RightUpLeg"),
}
# Rows of the fine tables (names without a side) and of reach.
HINGES = REACHES = ("forearm", "shank")
TABLES = ("head", "upper_arm", "thigh", "spine", "girdle", *HINGES)


class Sphere:
    """Bins of about `step_deg` by `step_deg` on the sphere: rings of equal height in angle."""

    def __init__(self, step_deg: float, device: torch.device) -> None:
        rings = round(180 / step_deg)
        middle = (np.arange(rings) + 0.5) * np.pi / rings
        counts = np.maximum(1, np.rint(2 * rings * np.sin(middle))).astype(np.int64)
        self.bins = int(counts.sum())
        self.counts = torch.as_tensor(counts, device=device)
        self.starts = torch.as_tensor(np.cumsum(counts) - counts, device=device)

    def bin(self, direction: Tensor) -> Tensor:
        """Bin (...) of unit vectors (..., 3)."""
        rings = len(self.counts)
        x, y, z = direction.unbind(-1)
        ring = (torch.acos(z.clamp(-1, 1)) * (rings / torch.pi)).long().clamp(0, rings - 1)
        count = self.counts[ring]
        column = (torch.atan2(y, x) / (2 * torch.pi) % 1 * count).long()
        return self.starts[ring] + torch.minimum(column, count - 1)

    def centres(self) -> Tensor:
        """The middle of each bin, unit vectors (bins, 3)."""
        rings = len(self.counts)
        ring = torch.repeat_interleave(
            torch.arange(rings, device=self.counts.device), self.counts, output_size=self.bins
        )
        column = torch.arange(self.bins, device=ring.device) - self.starts[ring]
        down = (ring + 0.5) * (torch.pi / rings)
        around = (column + 0.5) * (2 * torch.pi) / self.counts[ring]
        flat = torch.sin(down)
        return torch.stack(
            [flat * torch.cos(around), flat * torch.sin(around), torch.cos(down)], dim=-1
        )


def rest_directions(table: BodyTable) -> Array:
    """Directions (11, 3) of the bones of CHECKED in the rest pose, mean over all bodies."""
    head, tail = table.head_m, table.tail_m
    rows = []
    for bone, _, end in CHECKED.values():
        at = table.index(bone)
        tip = head[:, table.index(end)] if end else tail[:, at]
        rows.append(unit(tip - head[:, at]).mean(0))
    rows[list(CHECKED).index("girdle")] = np.array([1.0, 0.0, 0.0])  # across, not to the shoulder
    return unit(np.array(rows))


class Directions:
    """Turned bones as trunk and neighbours see them; the right side in a mirror."""

    def __init__(self, rest: Array, device: torch.device) -> None:
        table, names = body_table(), list(CHECKED)
        distal = [names.index(name) for name in _DISTAL]
        bones = [table.index(bone) for bone, _, _ in CHECKED.values()]
        seen_by = [table.index(trunk) for _, trunk, _ in CHECKED.values()]
        seen_by += [table.index(flesh) for _, flesh in _DISTAL.values()]
        mirror = np.ones((len(names), 3))
        mirror[[name.startswith("right_") for name in names], 0] = -1
        rows = list(range(len(names))) + distal
        self.bone = torch.as_tensor(np.array(bones)[rows], device=device)
        self.seen_by = torch.as_tensor(np.array(seen_by), device=device)
        self.rest = torch.as_tensor(rest[rows], dtype=torch.get_default_dtype(), device=device)
        self.mirror = torch.as_tensor(mirror[rows], dtype=torch.get_default_dtype(), device=device)

    def __call__(self, turn: Tensor) -> tuple[Tensor, Tensor]:
        """Seen from the trunk (..., 11, 3) and hinges (..., 4, 3) of turn (..., 31, 3, 3)."""
        rest, mirror = self.rest.to(turn.dtype), self.mirror.to(turn.dtype)
        world = turn[..., self.bone, :, :] @ rest[:, :, None]
        seen = (turn[..., self.seen_by, :, :].transpose(-1, -2) @ world)[..., 0] * mirror
        return seen[..., : len(CHECKED), :], seen[..., len(CHECKED) :, :]


@dataclass(frozen=True)
class LimitTables:
    """What limits.npz holds: fine (7, bins), reach (2, coarse, coarse), rest directions (11, 3)."""

    fine: NDArray[np.bool_]
    reach: NDArray[np.bool_]
    rest: Array


class Limits:
    """Says which bones of turned bodies are possible, on a device."""

    def __init__(self, tables: LimitTables, device: torch.device) -> None:
        names = list(CHECKED)
        self.directions = Directions(tables.rest, device)
        self.fine_sphere, self.coarse_sphere = (
            Sphere(step, device) for step in (FINE_DEG, COARSE_DEG)
        )
        self.fine = torch.as_tensor(tables.fine, device=device)
        self.reach = torch.as_tensor(tables.reach, device=device)

        def move(values: list[int]) -> Tensor:
            return torch.as_tensor(values, device=device)

        self.table = move([TABLES.index(part(name)) for name in names])
        self.distal = move([names.index(name) for name in _DISTAL])
        self.above = move([names.index(above) for above, _ in _DISTAL.values()])
        self.reach_table = move([REACHES.index(part(name)) for name in _DISTAL])

    def possible(self, turn: Tensor) -> Tensor:
        """Which bones of CHECKED are possible, bool (..., 11), for turn (..., 31, 3, 3).

        turn: the rotation of each bone's flesh from the body's rest pose, world axes.
        """
        seen, (above, below) = self.looked_up(turn)
        out = self.fine[self.table, self.fine_sphere.bin(seen)]
        reached = self.reach[self.reach_table, above, below]
        return out.index_copy(-1, self.distal, out[..., self.distal] & reached)

    def looked_up(self, turn: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Directions (..., 11, 3) for the fine tables; coarse bins (..., 4) twice for reach.

        Of the distal bones, the first have the hinge; the bins are those of the bone above and of
        the distal bone itself, as the trunk sees them.
        """
        seen, hinge = self.directions(turn)
        above = self.coarse_sphere.bin(seen[..., self.above, :])
        below = self.coarse_sphere.bin(seen[..., self.distal, :])
        return seen.index_copy(-2, self.distal, hinge), (above, below)


def read_tables() -> LimitTables:
    """The tables that come with the package."""
    with files("poselift.train").joinpath("limits.npz").open("rb") as file, np.load(file) as data:
        return LimitTables(
            _unpacked(data["fine"], data["fine_shape"]),
            _unpacked(data["reach"], data["reach_shape"]),
            data["rest"],
        )


def _unpacked(bits: NDArray[np.uint8], shape: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(bool)


@cache
def limits_on(device: torch.device) -> Limits:
    """The packaged limits on a device, made once."""
    return Limits(read_tables(), device)
