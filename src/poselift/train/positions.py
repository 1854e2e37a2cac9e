"""Rotations from joint positions: what a body needs where only joint centres were recorded.

Zero pose: standing upright, legs straight down, arms stretched out sideways, palms down. A limb's
bone takes its measured direction; how far it is turned about itself follows from the plane in
which knee or elbow is bent (soles are level near the floor), and, the straighter the limb is, from
the foot and from the smallest turn out of the bone that carries it. World axes: x body left, y
back, z up.
"""

import math
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter1d, minimum_filter1d
from scipy.spatial.transform import Rotation

from poselift.geometry import Array, frame_from_axes, rotation_between, unit
from poselift.skeleton import skeleton
from poselift.train.flesh import FLAT_FOOT, MOCAP_TO_WORLD, ROTATIONS, Flesh
from poselift.train.uiprmd import Points

# Joint centres are known to 0.5 mm per frame; slow exercises lose nothing to this filter.
SMOOTH_S = 0.02
# How UI-PRMD's joints lie when people stand upright with arms down (medians over subjects): trunk
# and neck lean by definition, not by posture; the toe is a marker on top of the foot.
_ZERO = {
    "lowerback": (0.0, 0.0, 1.0),
    "thorax": (0.0, math.sin(math.radians(4)), math.cos(math.radians(4))),
    "neck": (0.0, -math.sin(math.radians(9)), math.cos(math.radians(9))),
    "clavicle": (0.965, 0.0, -0.26),  # left
    "ankle to toe": (0.0, -math.cos(math.radians(10)), -math.sin(math.radians(10))),
}
_DOWN, _UP, _FRONT = (
    np.array([0.0, 0.0, -1.0]),
    np.array([0.0, 0.0, 1.0]),
    np.array([0.0, -1.0, 0.0]),
)
# What a bent limb's plane tells grows with the square of the sine of the bend; these are weights
# of the other evidence on that scale, and the time over which all of it is averaged.
_FOOT_TELLS, _PARENT_TELLS, _TWIST_S = 0.1, 0.03, 0.12
_SOLE_NEAR_M = 0.06
_HEAD_TOP_M = 0.12

H36M = skeleton("h36m17")


def fit(points: Points, rate_hz: float) -> Flesh:
    """Rotations of all bones from joint centres, at a whole fraction of their rate."""
    step = max(1, math.ceil(points.rate_hz / rate_hz - 1e-3))
    at = {
        name: gaussian_filter1d(xyz, SMOOTH_S * points.rate_hz, axis=0, mode="nearest")
        @ MOCAP_TO_WORLD.T
        for name, xyz in points.at_m.items()
    }
    turn = _trunk(at)
    for side, sign in (("l", 1.0), ("r", -1.0)):
        turn |= _arm(at, turn["thorax"], side, sign, points.rate_hz)
        turn |= _leg(at, turn["root"], side, points.rate_hz)
    rotation = np.stack([turn[bone] for bone in ROTATIONS], axis=1)
    return Flesh(
        rotation=rotation[::step],
        root_m=at["pelvis"][::step],
        h36m17_m=_h36m17(at, turn["head"])[::step],
        zero_direction=_zero_directions(),
        leg_length_m=_leg_length_m(at),
        rate_hz=points.rate_hz / step,
    )


def _zero_directions() -> Array:
    """Directions (25, 3) of the bones in the zero pose."""
    flat = MOCAP_TO_WORLD @ unit(np.array(FLAT_FOOT))
    left = {"femur": _DOWN, "tibia": _DOWN, "foot": flat, "toes": flat}
    left |= dict.fromkeys(("hipjoint", "humerus", "radius", "hand"), np.array([1.0, 0.0, 0.0]))
    left["clavicle"] = unit(np.array(_ZERO["clavicle"]))
    rows = []
    for bone in ROTATIONS:
        paired = bone[1:] in left
        direction = left[bone[1:]] if paired else _UP
        rows.append(direction * (-1, 1, 1) if paired and bone[0] == "r" else direction)
    return np.array(rows)


def _trunk(at: dict[str, Array]) -> dict[str, Array]:
    """Pelvis by hips and spine, thorax by spine and shoulders, head by neck and face."""
    left = at["lhip"] - at["rhip"]
    root = _between(left, at["spine"] - at["pelvis"], (1, 0, 0), _ZERO["lowerback"])
    shoulders = at["lshoulder"] - at["rshoulder"]
    thorax = _between(at["thorax"] - at["spine"], shoulders, _ZERO["thorax"], (1, 0, 0))
    neck = _carried(thorax, np.array(_ZERO["neck"]), at["head"] - at["thorax"])
    face = at["headfront"] - at["head"]
    head = _between(face, at["head"] - at["thorax"], _FRONT, _ZERO["neck"])
    return {
        "root": root,
        "lhipjoint": root,
        "rhipjoint": root,
        "lowerback": _halfway(root, thorax),
        "upperback": thorax,
        "thorax": thorax,
        "lowerneck": neck,
        "upperneck": neck,
        "head": head,
    }


def _arm(
    at: dict[str, Array], thorax: Array, side: str, sign: float, rate_hz: float
) -> dict[str, Array]:
    joints = [at[side + name] for name in ("shoulder", "elbow", "wrist", "hand")]
    upper, lower, hand = (end - start for start, end in pairwise(joints))
    out = np.array([sign, 0.0, 0.0])
    along = np.array(_ZERO["clavicle"]) * (sign, 1, 1)
    clavicle = _carried(thorax, along, joints[0] - at["thorax"])
    hinge = np.array([0.0, 0.0, -sign])  # forearms bend to the front
    humerus = _carried(clavicle, out, upper)
    bent = np.cross(unit(upper), unit(lower))
    humerus = _twisted(humerus, out, hinge, [bent], rate_hz)
    radius = _carried(humerus, out, lower)
    return {
        f"{side}clavicle": clavicle,
        f"{side}humerus": humerus,
        f"{side}radius": radius,
        f"{side}hand": _carried(radius, out, hand),
    }


def _leg(at: dict[str, Array], root: Array, side: str, rate_hz: float) -> dict[str, Array]:
    joints = [at[side + name] for name in ("hip", "knee", "ankle", "toe")]
    thigh, shank, foot = (end - start for start, end in pairwise(joints))
    hinge = np.array([1.0, 0.0, 0.0])  # shanks bend to the back
    bent = np.cross(unit(thigh), unit(shank))
    toes_out = math.sqrt(_FOOT_TELLS) * np.cross(unit(foot), unit(thigh))
    femur = _carried(root, _DOWN, thigh)
    femur = _twisted(femur, _DOWN, hinge, [bent, toes_out], rate_hz)
    tibia = _carried(femur, _DOWN, shank)
    toe = np.array(_ZERO["ankle to toe"])
    level = _near_floor(at, side, rate_hz)[:, None] * np.cross(_UP, unit(foot))
    turned = _twisted(_carried(tibia, toe, foot), toe, hinge, [level], rate_hz)
    return {
        f"{side}femur": femur,
        f"{side}tibia": tibia,
        f"{side}foot": turned,
        f"{side}toes": turned,
    }


def _near_floor(at: dict[str, Array], side: str, rate_hz: float) -> Array:
    """1 for a foot (T) where it is lowest around a second, 0 from 6 cm above."""
    lowest = np.minimum(at[f"{side}toe"][:, 2], at[f"{side}heel"][:, 2])
    floor = minimum_filter1d(lowest, 2 * round(rate_hz) + 1, mode="nearest")
    return np.clip(1 - (lowest - floor) / _SOLE_NEAR_M, 0, 1)


def _between(
    primary: Array, secondary: Array, zero_primary: object, zero_secondary: object
) -> Array:
    """Rotations (T, 3, 3) that bring one direction exactly and a second one as near as can be."""
    zero = frame_from_axes(np.array(zero_primary, float), np.array(zero_secondary, float))
    return frame_from_axes(primary, secondary) @ zero.T


def _carried(parent: Array, zero: Array, direction: Array) -> Array:
    """The parent's rotations (T, 3, 3), turned on by the least that brings `zero` to directions."""
    return rotation_between(parent @ unit(zero), direction) @ parent


def _twisted(
    carried: Array, along: Array, hinge: Array, seen: list[Array], rate_hz: float
) -> Array:
    """Rotations turned about the bone so that the hinge lies as `seen` vectors (T, 3) say.

    seen: each points along the hinge and weighs its own length squared. Angles are averaged over
    time as vectors, together with a little of no twist at all, so that they do not jump.
    """
    across = np.cross(along, hinge)
    x = carried @ hinge
    y = carried @ across
    evidence = np.full(len(carried), _PARENT_TELLS, complex)
    for vector in seen:
        flat = np.einsum("ti,ti->t", vector, x) + 1j * np.einsum("ti,ti->t", vector, y)
        evidence = evidence + flat * np.abs(flat)
    width = _TWIST_S * rate_hz
    smooth = gaussian_filter1d(evidence.real, width) + 1j * gaussian_filter1d(evidence.imag, width)
    turn = np.angle(smooth)[:, None] * along
    return carried @ Rotation.from_rotvec(turn).as_matrix()


def _halfway(a: Array, b: Array) -> Array:
    half = Rotation.from_matrix(np.swapaxes(a, -1, -2) @ b).as_rotvec() / 2
    return a @ Rotation.from_rotvec(half).as_matrix()


def _leg_length_m(at: dict[str, Array]) -> float:
    total = 0.0
    for side in "lr":
        for start, end in (("hip", "knee"), ("knee", "ankle")):
            total += float(np.median(np.linalg.norm(at[side + end] - at[side + start], axis=-1)))
    return total / 2


def _h36m17(at: dict[str, Array], head: Array) -> Array:
    """H36M-17 joints (T, 17, 3); the top of the head is a stand-in."""
    joints = {
        f"{side}_{joint}": at[side[0] + joint]
        for side in ("left", "right")
        for joint in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
    }
    joints["pelvis"] = (at["lhip"] + at["rhip"]) / 2
    joints["thorax"] = (at["lshoulder"] + at["rshoulder"]) / 2
    joints["spine"] = (joints["pelvis"] + joints["thorax"]) / 2
    joints["nose"] = at["headfront"]
    joints["head_top"] = at["head"] + head @ (_HEAD_TOP_M * _UP)
    return np.stack([joints[joint] for joint in H36M.joints], axis=1)
