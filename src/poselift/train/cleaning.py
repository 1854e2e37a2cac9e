"""Which frames of a clip are fit for training: cuts at glitches, T-pose starts, wrong sides."""

import math
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from poselift.geometry import Array, rotation_between, unit
from poselift.skeleton import skeleton
from poselift.train.flesh import ROTATIONS, Flesh

# A joint jumps when it is faster than MAX_SPEED and more than twice as fast as around that frame
# (a kick reaches 13 m/s smoothly), or faster than anybody.
MAX_SPEED_M_S = 12.0
IMPOSSIBLE_SPEED_M_S = 25.0
# A bone jumps when it turns by more than 70 degrees in a frame of 60 Hz: angles of hips and
# shoulders flip by half a turn where their axes meet. Toes move no keypoint and may.
MAX_TURN_RAD_S = 75.0
MAX_THIGH_TWIST_DEG = 130.0
MAX_HEAD_TURN_DEG = 100.0
MIN_PIECE_S = 0.5
T_POSE_DEG = 20.0

H36M = skeleton("h36m17")
_TURNING = [row for row, bone in enumerate(ROTATIONS) if not bone.endswith("toes")]


def clean(flesh: Flesh) -> tuple[list[tuple[int, int]], Counter[str]]:
    """Usable pieces [start, stop) and how many frames were dropped why."""
    frames = len(flesh.root_m)
    finite = np.isfinite(flesh.rotation).all((1, 2, 3)) & np.isfinite(flesh.h36m17_m).all((1, 2))
    if finite.any() and wrong_sides(flesh):
        return [], Counter({"left is right": frames})
    good, dropped = np.ones(frames, bool), Counter()
    for reason, fit in (
        ("not finite", finite),
        ("T-pose start", ~t_pose_start(flesh)),
        ("twisted thigh", thigh_twist_deg(flesh) < MAX_THIGH_TWIST_DEG),
        ("twisted head", head_turn_deg(flesh) < MAX_HEAD_TURN_DEG),
    ):
        dropped[reason] = int(np.sum(good & ~fit))
        good &= fit
    shortest = math.ceil(MIN_PIECE_S * flesh.rate_hz)
    pieces = []
    for start, stop in _runs(good, jumps(flesh)):
        if stop - start >= shortest:
            pieces.append((start, stop))
        else:
            dropped["too short" if stop - start == frames else "between jumps"] += stop - start
    return pieces, +dropped


def _runs(good: Array, cuts: Array) -> Iterator[tuple[int, int]]:
    """Stretches of good frames, cut also before the frames `cuts`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], good.astype(np.int8), [0]])))
    for start, stop in edges.reshape(-1, 2):
        inner = [int(cut) for cut in cuts if start < cut < stop]
        yield from pairwise([int(start), *inner, int(stop)])


def jumps(flesh: Flesh) -> Array:
    """Frames (n) that do not continue the frame before them."""
    step = np.linalg.norm(np.diff(flesh.h36m17_m, axis=0), axis=-1) * flesh.rate_hz
    around = median_filter(step, size=(7, 1), mode="nearest") if len(step) else step
    jump = (step > MAX_SPEED_M_S) & (step > 2 * around) | (step > IMPOSSIBLE_SPEED_M_S)
    rotation = flesh.rotation[:, _TURNING]
    cosine = (np.einsum("tbij,tbij->tb", rotation[1:], rotation[:-1]) - 1) / 2
    turn = np.arccos(np.clip(cosine, -1, 1)) * flesh.rate_hz
    return np.flatnonzero(jump.any(-1) | (turn > MAX_TURN_RAD_S).any(-1)) + 1


def wrong_sides(flesh: Flesh) -> bool:
    """Whether hips or shoulders lie left-right against the pelvis's own left."""
    left = flesh.rotation[:, 0, :, 0]
    for joint in ("hip", "shoulder"):
        across = _joint(flesh, f"left_{joint}") - _joint(flesh, f"right_{joint}")
        if np.nanmedian(np.sum(across * left, axis=-1)) < 0:
            return True
    return False


def t_pose_start(flesh: Flesh) -> NDArray[np.bool_]:
    """Frames (T) of the leading T-pose: legs straight down and arms stretched out sideways."""
    near = math.cos(math.radians(T_POSE_DEG))
    left = flesh.rotation[:, 0, :, 0]
    standing = np.ones(len(left), bool)
    for side, sign in (("left", 1), ("right", -1)):
        for start, end in pairwise(("shoulder", "elbow", "wrist")):
            standing &= _direction(flesh, side, start, end, left) * sign > near
        for start, end in pairwise(("hip", "knee", "ankle")):
            standing &= _direction(flesh, side, start, end, np.array([0, 0, -1.0])) > near
    return np.logical_and.accumulate(standing)


def thigh_twist_deg(flesh: Flesh) -> Array:
    """Larger twist (T) of the thighs about their own axes against the pelvis.

    The twist of a swing-twist split; 0 where a thigh is swung beyond 120 degrees, where the split
    loses its meaning.
    """
    out = np.zeros(len(flesh.rotation))
    for bone in ("lfemur", "rfemur"):
        row = ROTATIONS.index(bone)
        turn = np.swapaxes(flesh.rotation[:, 0], -1, -2) @ flesh.rotation[:, row]
        axis = unit(flesh.zero_direction[row])
        swung = turn @ axis
        twist = _twist_deg(turn, axis, swung)
        out = np.maximum(out, np.where(swung @ axis > -0.5, twist, 0.0))
    return out


def _twist_deg(turn: Array, axis: Array, swung: Array) -> Array:
    """Angle (T) that is left of `turn` when the smallest rotation from axis to swung is undone."""
    across = unit(np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))]))
    left_over = np.swapaxes(rotation_between(axis, swung), -1, -2) @ turn @ across
    return np.degrees(np.abs(np.arctan2(left_over @ np.cross(axis, across), left_over @ across)))


def head_turn_deg(flesh: Flesh) -> Array:
    """Angle (T) between head and thorax."""
    head, thorax = (flesh.rotation[:, ROTATIONS.index(bone)] for bone in ("head", "thorax"))
    cosine = (np.einsum("tij,tij->t", head, thorax) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def _joint(flesh: Flesh, joint: str) -> Array:
    return flesh.h36m17_m[:, H36M.index(joint)]


def _direction(flesh: Flesh, side: str, start: str, end: str, along: Array) -> Array:
    """Cosine (T) between a limb segment and a direction."""
    segment = unit(_joint(flesh, f"{side}_{end}") - _joint(flesh, f"{side}_{start}"))
    return np.sum(segment * along, axis=-1)


# --------------------------------------------------------------------------------- head pitch
UPRIGHT_DEG = 30.0


def gaze_pitch_deg(flesh: Flesh) -> Array:
    """How far the face looks up (T) while the thorax is within 30 degrees of upright, else NaN."""
    head, thorax = (flesh.rotation[:, ROTATIONS.index(bone)] for bone in ("head", "thorax"))
    upright = thorax[:, 2, 2] > math.cos(math.radians(UPRIGHT_DEG))
    pitch = np.degrees(np.arcsin(np.clip(-head[:, 2, 1], -1, 1)))  # the face looks along -y
    return np.where(upright, pitch, np.nan)
