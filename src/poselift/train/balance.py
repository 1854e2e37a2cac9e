"""How varied clips are, and what each weighs, so that walking does not drown the rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poselift.geometry import Array
from poselift.skeleton import skeleton
from poselift.train.flesh import Flesh
from poselift.train.motion import axis_rotation

H36M = skeleton("h36m17")
CELL_PER_LEG = 0.45
POSE_RATE_HZ = 6.0
_ENDS = ("left_wrist", "right_wrist", "left_ankle", "right_ankle", "thorax")
Cells = NDArray[np.int8]


def pose_cells(flesh: Flesh, part: slice) -> Cells:
    """Coarse poses (n, 15) of a piece, about six a second.

    Where hands, feet and thorax lie from the pelvis, seen from the body's own heading, in cells of
    0.45 leg lengths.
    """
    step = max(1, round(flesh.rate_hz / POSE_RATE_HZ))
    joints, left = flesh.h36m17_m[part][::step], flesh.rotation[part, 0, :, 0][::step]
    turn = axis_rotation("Z", -np.arctan2(left[:, 1], left[:, 0]))
    ends = joints[:, [H36M.index(joint) for joint in _ENDS]] - joints[:, :1]
    cells = np.einsum("tij,tkj->tki", turn, ends) / (flesh.leg_length_m * CELL_PER_LEG)
    return np.floor(cells + 0.5).astype(np.int8).reshape(len(ends), -1)


def clip_weights(cells: Sequence[Cells], subject: Sequence[str], factor: Array) -> Array:
    """Weights (clips), summing to one, of the clips of one split.

    A subject weighs the square root of its variety: its distinct coarse poses, each counted 1/k
    where k subjects have it, so that neither minutes nor the walking that everybody does win.
    Within a subject, a pose seen n times weighs 1/sqrt(n) each time, and a clip weighs what its
    poses weigh times the `factor` of its source.
    """
    owner = np.unique(subject, return_inverse=True)[1]
    length = [len(cell) for cell in cells]
    frame_owner = np.repeat(owner, length)
    pose = _pose_numbers(cells)
    seen, seen_at, times = np.unique(
        np.stack([pose, frame_owner]), axis=1, return_inverse=True, return_counts=True
    )
    sharers = np.bincount(seen[0])
    share = np.sqrt(np.bincount(seen[1], weights=1 / sharers[seen[0]]))
    each = 1 / np.sqrt(times[seen_at.reshape(-1)])
    clip = np.repeat(np.arange(len(cells)), length)
    base = np.bincount(clip, weights=each, minlength=len(cells))
    weight = factor * share[owner] * base / np.bincount(owner, weights=base)[owner]
    return weight / weight.sum()


@dataclass(frozen=True)
class Diversity:
    """Coarse poses of a set of clips: how many differ, and how many that is in effect.

    effective, weighted: exp of the entropy of the poses, each frame counted once or by its clip's
    weight: as many equally frequent poses would be as varied.
    """

    poses: int
    distinct: int
    effective: float
    weighted: float


def diversity(cells: Sequence[Cells], weight: Array) -> Diversity:
    """Diversity of clips with those weights."""
    pose = _pose_numbers(cells)
    length = np.array([len(cell) for cell in cells])
    frame_weight = np.repeat(weight / length, length)
    return Diversity(
        poses=len(pose),
        distinct=int(pose.max()) + 1,
        effective=_exp_entropy(np.bincount(pose)),
        weighted=_exp_entropy(np.bincount(pose, weights=frame_weight)),
    )


def _pose_numbers(cells: Sequence[Cells]) -> NDArray[np.intp]:
    """Equal coarse poses of all clips get equal numbers from 0."""
    rows = np.concatenate(cells)
    keys = np.ascontiguousarray(rows).view(f"V{rows.shape[1]}").reshape(-1)
    return np.unique(keys, return_inverse=True)[1].reshape(-1)


def _exp_entropy(mass: NDArray[Any]) -> float:
    share = mass[mass > 0] / mass.sum()
    return float(np.exp(-(share * np.log(share)).sum()))
