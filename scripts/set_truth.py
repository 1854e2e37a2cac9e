"""The exact truth of a rendered clip, in camera axes."""

import numpy as np
from numpy.typing import NDArray
from sample_body import FEET, Body, Performance

from poselift.camera import Camera
from poselift.geometry import unit
from poselift.skeleton import skeleton
from poselift.train.posing import CAPSULES

Array = NDArray[np.floating]

HIDDEN_BELOW_M, HIDDEN_BELOW_HIP_M = 0.12, 0.18  # deeper below the visible surface is hidden


def surface(body: Body, performance: Performance) -> Array:
    """HALPE-26 on the skin (T, 26, 3), world; neck and pelvis between shoulders and hips."""
    names = (*skeleton("coco17").joints, *FEET)
    at = dict(zip(names, performance.keypoints_m.swapaxes(0, 1), strict=True))
    at["head_top"] = performance.vertices_m[:, body.vertices_m[:, 2].argmax()]
    at["neck"] = (at["left_shoulder"] + at["right_shoulder"]) / 2
    at["pelvis"] = (at["left_hip"] + at["right_hip"]) / 2
    return np.stack([at[joint] for joint in skeleton("halpe26").joints], axis=1)


def inside(body: Body, performance: Performance, surface_m: Array) -> Array:
    """body28 (T, 28, 3), world: joint centres, the bone's head for the neck, skin for the rest."""
    h36m, halpe = skeleton("h36m17").joints, skeleton("halpe26").joints
    at = dict(zip(halpe, surface_m.swapaxes(0, 1), strict=True))
    at |= dict(zip(h36m, performance.joints_m.swapaxes(0, 1), strict=True))
    at["head_top"] = surface_m[:, halpe.index("head_top")]
    at["neck"] = performance.heads_m[:, body.labels.index("Neck")]
    return np.stack([at[joint] for joint in skeleton("body28").joints], axis=1)


def capsules(body: Body, performance: Performance, top_m: Array) -> tuple[Array, Array]:
    """Flesh as in poselift.train.posing: ends (T, K, 2, 3), world, and radii (K,)."""
    ends, radii = [], []
    most = body.skinning.argmax(axis=1)
    for start, end, flesh in CAPSULES:
        bone = body.labels.index(flesh)
        heads = [performance.heads_m[:, body.labels.index(name)] for name in (start, end or start)]
        ends.append(np.stack([heads[0], heads[1] if end else top_m], axis=1))
        axis = unit(body.tails_m[bone] - body.heads_m[bone])
        out = body.vertices_m[most == bone] - body.heads_m[bone]
        radii.append(np.linalg.norm(np.cross(out, axis), axis=-1).mean())
    return np.stack(ends, axis=1), np.array(radii)


def truth(
    body: Body, performance: Performance, cameras: list[Camera], depth_m: Array
) -> dict[str, np.ndarray]:
    """Arrays of a clip. Camera axes: x right, y down, z forward, metres.

    surface_m (T, 26, 3), surface_px (T, 26, 2), hidden (T, 26): HALPE-26, what a perfect detector
    reports; joints_m (T, 28, 3): body28; capsule_m (T, K, 2, 3), radius_m (K); K; size_px.
    """
    halpe = skeleton("halpe26").joints
    skin = surface(body, performance)
    ends, radii = capsules(body, performance, skin[:, halpe.index("head_top")])
    flesh = [HIDDEN_BELOW_HIP_M if name.endswith("hip") else HIDDEN_BELOW_M for name in halpe]

    def seen(points: Array) -> Array:
        flat = points.reshape(len(points), -1, 3)
        pairs = zip(cameras, flat, strict=True)
        return np.stack([camera.world_to_camera(xyz) for camera, xyz in pairs]).reshape(
            points.shape
        )

    camera_m = seen(skin)
    pixels = [camera.camera_to_image(xyz) for camera, xyz in zip(cameras, camera_m, strict=True)]
    return {
        "size_px": np.array(cameras[0].size_px),
        "K": cameras[0].K,
        "surface_m": camera_m,
        "surface_px": np.stack(pixels),
        "hidden": depth_m > np.array(flesh),
        "joints_m": seen(inside(body, performance, skin)),
        "capsule_m": seen(ends),
        "radius_m": radii,
    }
