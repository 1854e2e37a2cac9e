"""The measured errors of 2D detectors as tables: `detectors.json`, fitted by calibrate_noise.py.

An error is an offset that follows the body plus a random vector. The vector's direction and rank
come from Gaussian noise with the measured correlation in time and between points; its length is
looked up in the measured distribution at that rank. So the marginal distribution, heavy tails and
all, is the measured one, and whatever is in the tail stays there as long as for real detectors.
"""

import json
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files

import torch
from torch import Tensor

from poselift.skeleton import part
from poselift.train.sight import HALPE, Sight
from poselift.train.synth import normal, wander

DERIVED = ("head_top", "neck", "pelvis")  # detectors' users make them from other points
POINTS = tuple(joint for joint in HALPE.joints if joint not in DERIVED)
ROWS = [HALPE.index(joint) for joint in POINTS]
SIDES = ("left", "right")
PARTS = tuple(dict.fromkeys(joint.split("_", 1)[-1] for joint in POINTS))
GROUPS = {"legs": ("knee", "ankle", "big_toe", "small_toe", "heel"), "arms": ("elbow", "wrist")}
GROUPS["body"] = PARTS
# Lengths are tabulated at equal steps of -log(1 - rank), which resolves the tail.
LENGTH_STEP = 0.3
LENGTHS = 24
CONFIDENCES = 11  # at equal steps of the rank
_SAME_AS = {"small_toe": "big_toe"}  # no detector at hand reports it
_MOST = 1 - 1e-6  # rank of the greatest error


@dataclass(frozen=True)
class Tables:
    """Figures of N detectors (or of N clips, each with its own); P = 23 points of `POINTS`.

    Lengths are in units of the longer side of the person's box.
    """

    offset: Tensor  # (N, P, 3) of the vectors down the trunk, from the twin, from the parent
    steady: Tensor  # (N, P) share of the variance that stays over a clip
    slow: Tensor  # (N, P) share that forgets itself in `slow_s`, the rest does in `quick_s`
    length: Tensor  # (N, P, 2, LENGTHS) visible and hidden
    confidence: Tensor  # (N, P, 2, CONFIDENCES)
    spread: Tensor  # (N, P) total standard deviation of one coordinate
    missed: Tensor  # (N, P, 2) share without a place though inside the image
    slow_s: Tensor  # (N)
    quick_s: Tensor  # (N) so short that it is nearly white
    shared: Tensor  # (N) share of the variance of directions that all points have in common
    quality: Tensor  # (N) share of the variance of lengths (as normal scores) of whole clips
    habit: Tensor  # (N) ... of single points over a clip
    doubt: Tensor  # (N) correlation of lower confidence with greater length, normal scores
    doubt_steady: Tensor  # (N) share of the rest of the confidence that stays over a clip
    swap_hz: Tensor  # (N, 3, 3) legs, arms, body by front, side, back
    swap_s: Tensor  # (N, 3)
    snap_hz: Tensor  # (N, 2, 2) a leg, an arm that goes to the other one's place; visible, hidden
    snap_s: Tensor  # (N, 2)
    astray: Tensor  # (N) confidence of points in another's place, of usual
    lost_hz: Tensor  # (N) nobody found
    lost_s: Tensor  # (N)
    outside_lost: Tensor  # (N) share of points outside the image that are not reported

    def __len__(self) -> int:
        return len(self.slow_s)

    def rows(self, index: Tensor) -> "Tables":
        """The detectors of that index."""
        return Tables(*(getattr(self, field.name)[index] for field in fields(self)))

    def mixed(self, other: "Tables", share: Tensor) -> "Tables":
        """Between these (share 0) and others (share 1), row by row; share (N)."""
        values = []
        for field in fields(self):
            one, two = getattr(self, field.name), getattr(other, field.name)
            values.append(one + (two - one) * share.view(-1, *[1] * (one.ndim - 1)))
        return Tables(*values)


def tables(device: torch.device) -> Tables:
    """The detectors that come with the package, in torch's default precision."""
    return _tables(device, torch.get_default_dtype())


@cache
def _tables(device: torch.device, dtype: torch.dtype) -> Tables:
    return from_record(_record(), device, dtype)


@cache
def _record() -> dict:
    return json.loads(files("poselift.train").joinpath("detectors.json").read_text())


def from_record(record: dict, device: torch.device, dtype: torch.dtype = torch.float32) -> Tables:
    """Tables from what detectors.json holds; parts that a detector lacks are another's."""
    values: dict[str, list] = {field.name: [] for field in fields(Tables)}
    known = {part for entry in record["detectors"].values() for part in entry["parts"]}
    anywhere = {
        name: next(e["parts"][name] for e in record["detectors"].values() if name in e["parts"])
        for name in known
    }
    for entry in record["detectors"].values():
        parts = anywhere | entry["parts"]
        rows = [parts[_SAME_AS.get(part(joint), part(joint))] for joint in POINTS]
        for name, column in values.items():
            column.append([row[name] for row in rows] if name in rows[0] else entry[name])
    return Tables(**{k: torch.tensor(v, dtype=dtype, device=device) for k, v in values.items()})


def look_up(table: Tensor, row: Tensor, at: Tensor) -> Tensor:
    """Straight lines between entries of table (B, P, 2, L), at places `at` (B, F, P) from 0.

    row (B, F, P), 0 or 1, chooses along the third axis. Beyond the table its last step goes on.
    """
    points, last = table.shape[1], table.shape[-1]
    low = at.floor().long().clamp(0, last - 2)
    first = (torch.arange(points, device=at.device) * 2 + row) * last + low
    flat = table.flatten(1)
    begin, end = (flat.gather(1, (first + i).flatten(1)).view_as(at) for i in (0, 1))
    return begin + (end - begin) * (at - low)


class Ranks:
    """Correlated Gaussian noise, and what the tables make of it."""

    def __init__(self, sight: Sight, hidden: Tensor, of: Tables, g: torch.Generator) -> None:
        self.of, self.sight, (batch, frames, points) = of, sight, hidden.shape
        quick = (1 - of.steady - of.slow).clamp_min(0)
        flat, single = (batch, frames, 2 * (points + 1)), of.shared[:, None, None, None]
        parts = (
            (of.steady, normal((batch, 1, flat[2]), 1.0, g)),
            (of.slow, wander(flat, sight.dt_s / of.slow_s, 1.0, g)),
            (quick, wander(flat, sight.dt_s / of.quick_s, 1.0, g)),
        )
        # The last column is what all points have in common.
        z = sum(
            share.sqrt()[:, None, :, None]
            * ((1 - single).sqrt() * noise[:, :, :-1] + single.sqrt() * noise[:, :, -1:])
            for share, noise in ((share, noise.unflatten(2, (-1, 2))) for share, noise in parts)
        )
        radius = z.norm(dim=-1, keepdim=True).clamp_min(1e-6)
        self.direction = z / radius
        # |z|^2 / 2 is exponential, so its rank is known; clips and points have good and bad days.
        own = torch.special.ndtri((1 - torch.exp(-(radius[..., 0] ** 2) / 2)).clamp(1e-6, _MOST))
        clip, point = of.quality[:, None, None], of.habit[:, None, None]
        self.score = (1 - clip - point).clamp_min(0).sqrt() * own
        self.score = self.score + clip.sqrt() * normal((batch, 1, 1), 1.0, g)
        self.score = self.score + point.sqrt() * normal((batch, 1, points), 1.0, g)
        self.row = hidden.long()

    def vector(self) -> Tensor:
        """Errors (B, F, P, 2), of the box."""
        at = -torch.log1p(-torch.special.ndtr(self.score).clamp_max(_MOST)) / LENGTH_STEP
        length = look_up(self.of.length, self.row, at)[..., None]
        return self.direction * length.clamp_min(0)

    def confidence(self, g: torch.Generator) -> Tensor:
        """Confidence (B, F, P): lower for greater errors, as measured."""
        doubt, steady = self.of.doubt[:, None, None], self.of.doubt_steady[:, None, None]
        batch, frames, points = self.score.shape
        rest = steady.sqrt() * normal((batch, 1, points), 1.0, g)
        wandering = wander((batch, frames, points), self.sight.dt_s / self.of.slow_s, 1.0, g)
        rest = rest + (1 - steady).sqrt() * wandering
        score = (1 - doubt**2).sqrt() * rest - doubt * self.score
        at = torch.special.ndtr(score) * (self.of.confidence.shape[-1] - 1)
        return look_up(self.of.confidence, self.row, at).clamp(0, 1)


def body_vectors(sight: Sight) -> Tensor:
    """Vectors that an offset can follow, (B, F, 23, 2, 3), in units of the box.

    Down the trunk; from the twin on the other side; from the parent (nose, eyes: from between the
    ears; ears: from the nose).
    """
    xy = sight.xy / sight.box()
    ears, shoulders, hips = (xy[:, :, pair].mean(2, keepdim=True) for pair in _PAIRS)
    here = xy[:, :, ROWS]
    down = (hips - shoulders).expand_as(here)
    parent = torch.cat([xy, ears], dim=2)[:, :, _PARENT]
    return torch.stack([down, here - xy[:, :, _TWIN], here - parent], dim=-1)


def offset(sight: Sight, of: Tables) -> Tensor:
    """Mean errors of the detectors on the points, (B, F, P, 2), of the box."""
    return (body_vectors(sight) * of.offset[:, None, :, None]).sum(-1)


def _parent(joint: str) -> int:
    if part(joint) in ("nose", "eye"):
        return len(HALPE)  # between the ears, see above
    return HALPE.index("nose") if part(joint) == "ear" else HALPE.parents[HALPE.index(joint)]


_PAIRS = [[HALPE.index(f"{side}_{p}") for side in SIDES] for p in ("ear", "shoulder", "hip")]
_TWIN = [HALPE.mirror[row] for row in ROWS]
_PARENT = [_parent(joint) for joint in POINTS]
