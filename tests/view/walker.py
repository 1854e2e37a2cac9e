"""A stick man that walks in circles: H36M-17, metres, z up, with the 2D that a camera sees."""

import numpy as np

from poselift.camera import Camera
from poselift.poses import Poses2D, Poses3D
from poselift.skeleton import skeleton

H36M = skeleton("h36m17")
COCO = skeleton("coco17")


def camera(size_px=(640, 360)):
    """A camera 6 m in front (at -y), 1.4 m up, looking along +y."""
    k = np.array([[600.0, 0, size_px[0] / 2], [0, 600.0, size_px[1] / 2], [0, 0, 1]])
    rotation = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    return Camera(k, size_px, rotation, -rotation @ np.array([0, -6.0, 1.4]))


def joints(time_s, *, centre=(0.0, 0.0), radius_m=0.8, phase=0.0):
    """Joints (T, 17, 3) of a walk along a circle."""
    stride = 2 * np.pi * 0.9 * time_s + phase
    turn = 0.9 * time_s / max(radius_m, 0.3) + phase
    forward = np.stack([-np.sin(turn), np.cos(turn), 0 * turn], -1)
    left = np.stack([-np.cos(turn), -np.sin(turn), 0 * turn], -1)
    up = np.array([0.0, 0, 1])
    root = np.stack([centre[0] + radius_m * np.cos(turn), centre[1] + radius_m * np.sin(turn)], -1)
    root = np.concatenate([root, 0.93 + 0.02 * np.cos(2 * stride)[:, None]], -1)
    out = {"pelvis": root}
    out["spine"] = root + 0.24 * up
    out["thorax"] = root + 0.5 * up + 0.02 * forward
    out["nose"] = out["thorax"] + 0.14 * up + 0.06 * forward
    out["head_top"] = out["nose"] + 0.13 * up - 0.04 * forward
    for side, sign in (("left", 1.0), ("right", -1.0)):
        swing = sign * 0.5 * np.sin(stride)
        bend = 0.15 + 0.5 * np.clip(np.sin(stride * 1.0 + (np.pi / 2) + (sign < 0) * np.pi), 0, 1)
        hip = root + sign * 0.12 * left
        knee = hip + 0.44 * _leg(swing, forward, up)
        out[f"{side}_hip"], out[f"{side}_knee"] = hip, knee
        out[f"{side}_ankle"] = knee + 0.44 * _leg(swing - bend, forward, up)
        shoulder = out["thorax"] + sign * 0.18 * left
        elbow = shoulder + 0.28 * _leg(-0.9 * swing, forward, up)
        out[f"{side}_shoulder"], out[f"{side}_elbow"] = shoulder, elbow
        out[f"{side}_wrist"] = elbow + 0.25 * _leg(-0.9 * swing + 0.5, forward, up)
    return np.stack([out[name] for name in H36M.joints], axis=1)


def _leg(angle, forward, up):
    return np.sin(angle)[:, None] * forward - np.cos(angle)[:, None] * up


def two_people(seconds=4.0, rate_hz=30.0):
    """Two walkers on one time axis; the second is absent in the middle third."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    first = joints(time_s)
    second = joints(time_s, centre=(0.9, 0.9), radius_m=0.5, phase=2.0)
    second[len(time_s) // 3 : 2 * len(time_s) // 3] = np.nan
    return [person(xyz, time_s, number) for number, xyz in enumerate((first, second))]


def person(xyz_m, time_s, number=0):
    """Poses3D with observed COCO-17 of what `camera()` sees."""
    view = camera()
    flat = view.world_to_image(xyz_m)
    seen = Poses2D(
        flat,
        np.isfinite(flat).all(-1).astype(float),
        time_s,
        view.size_px,
        H36M,
        person=number,
    )
    return Poses3D(
        xyz_m,
        time_s,
        H36M,
        axes="world",
        origin="world",
        person=number,
        camera=view,
        uncertainty_m=np.full(xyz_m.shape[:2], 0.04),
        observed=seen.to(COCO),
    )
