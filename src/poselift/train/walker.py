"""Somebody who walks past, as a few sines: plausible input where no motion capture is at hand."""

import numpy as np

from poselift.geometry import Array
from poselift.models.intake import BODY
from poselift.skeleton import part

_STRIDE_S, _SPEED_M_S, _AWAY_M = 1.1, 1.2, 4.0
# Standing: x to the left of the body, height, forward; metres from the floor below the pelvis.
_MIDDLE = {
    **{"pelvis": (0, 0.93, 0), "spine": (0, 1.17, -0.02), "thorax": (0, 1.42, -0.02)},
    **{"neck": (0, 1.48, 0), "nose": (0, 1.57, 0.1), "head_top": (0, 1.75, 0)},
}
_SIDE = {
    **{"hip": (0.1, 0.93, 0), "knee": (0.1, 0.5, 0), "ankle": (0.1, 0.08, -0.02)},
    **{"shoulder": (0.18, 1.42, -0.02), "elbow": (0.2, 1.13, 0), "wrist": (0.22, 0.88, 0.04)},
    **{"eye": (0.03, 1.6, 0.08), "ear": (0.07, 1.6, 0), "big_toe": (0.09, 0.02, 0.2)},
    **{"small_toe": (0.15, 0.02, 0.16), "heel": (0.1, 0.03, -0.07)},
}
# How far legs and arms swing, times the height below hip or shoulder.
_SWING = {"leg": 0.45, "arm": -0.4}


def walk_m(time_s: Array, seed: int = 0) -> Array:
    """Joints (T, 28, 3) of body28 in camera axes, from the camera; the seed sets the course."""
    random = np.random.default_rng(seed)
    phase = 2 * np.pi * (time_s / _STRIDE_S + random.uniform())
    out = np.stack([_joint_m(joint, phase) for joint in BODY.joints], axis=1)
    course, turn = random.uniform(0, 2 * np.pi), random.normal(0, 0.2)
    heading = course + turn * np.sin(0.7 * time_s)
    sin, cos = np.sin(heading)[:, None], np.cos(heading)[:, None]
    x, z = cos * out[..., 0] + sin * out[..., 2], cos * out[..., 2] - sin * out[..., 0]
    # Up and down a lane across the picture, so that any length stays in it.
    place = 1.5 * np.sin(_SPEED_M_S / 1.5 * time_s)
    return np.stack([x + place[:, None], 1.0 - out[..., 1], z + _AWAY_M], axis=-1)


def walk_rays(time_s: Array, seed: int = 0, sd: float = 0.003) -> Array:
    """The same as slopes (T, 28, 2), with noise and without the points that no detector prints."""
    xyz = walk_m(time_s, seed)
    rays = xyz[..., :2] / xyz[..., 2:]
    rays = rays + np.random.default_rng(seed).normal(0, sd, rays.shape)
    rays[:, [BODY.index(joint) for joint in ("spine", "thorax", "pelvis")]] = np.nan
    return rays


def _joint_m(joint: str, phase: Array) -> Array:
    """One joint's places (T, 3) about the floor below the pelvis."""
    name = part(joint)
    if name in _MIDDLE:
        return np.broadcast_to(np.array(_MIDDLE[name], dtype=float), (len(phase), 3))
    x, height, forward = _SIDE[name]
    side = 1.0 if joint.startswith("left_") else -1.0
    hangs_from = _MIDDLE["pelvis"][1] if height < 0.6 else _MIDDLE["thorax"][1]
    swing = _SWING["leg"] if height < 0.6 else _SWING["arm"]
    if name in ("eye", "ear"):
        hangs_from = height
    reach = swing * (hangs_from - height) * side * np.sin(phase)
    lift = 0.1 * np.maximum(0, side * np.cos(phase)) * (height < 0.3)
    return np.stack([np.full_like(phase, side * x), height + lift, forward + reach], axis=-1)
