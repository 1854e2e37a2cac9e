"""Held-out clips with truth, fixed by (pack, split, seed): what records of weights are measured on.

A clip is a held-out subject's motion in a sampled body, under a virtual camera, as a detector would
report it (COCO-17 pixels). The lifter is told what it would be told in use: mostly nothing about
the camera.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from poselift.camera import Camera
from poselift.evaluate import Clip
from poselift.geometry import Array
from poselift.poses import Poses2D
from poselift.train.batches import Motions, SynthConfig, generator, make_batch
from poselift.train.bodies import COCO
from poselift.train.noise import observe

LONGER_SIDE_PX = 1000
RATE_HZ = (24.0, 60.0)
_SEED = 4711


def heldout_clips(
    pack: Path, split: str, *, noisy: bool, clips: int = 64, frames: int = 120
) -> list[Clip]:
    """Clips of a split. Clean and noisy ones of the same split share motion, body and camera."""
    device = torch.device("cpu")
    motions = Motions(pack, split, device)
    config = SynthConfig(rate_hz=RATE_HZ)
    scene = motions.scene(clips, frames, config, generator(_SEED, 0, 0, device))
    noise = config.noise if noisy else replace(config.noise, level=0.0)
    xy = scene.view.to_image(scene.keypoints_m)
    depth = scene.keypoints_m[..., 2]
    xy = observe(xy, depth, scene.dt_s, noise, generator(_SEED, 1, 0, device)).double().numpy()
    truth = (scene.joints_m - scene.joints_m[:, :, :1]).double().numpy()
    out = []
    for row in range(clips):
        half, focal = scene.view.half_size[row], scene.view.guessed_focal[row]
        width, height = (round(float(2 * side) * LONGER_SIDE_PX) for side in half)
        observed = _poses(xy[row], float(scene.dt_s[row]), (width, height), float(focal))
        name = f"{motions.names[scene.clip[row]]} #{row}"
        out.append(Clip(name, observed, truth[row]))
    return out


def _poses(xy: Array, dt_s: float, size_px: tuple[int, int], focal: float) -> Poses2D:
    middle = np.array(size_px) / 2
    f = focal * LONGER_SIDE_PX
    K = np.array([[f, 0, middle[0]], [0, f, middle[1]], [0, 0, 1]])
    xy_px = xy * LONGER_SIDE_PX + middle
    confidence = np.isfinite(xy_px).all(-1).astype(float)
    return Poses2D(
        xy_px,
        confidence,
        np.arange(len(xy)) * dt_s,
        size_px,
        COCO,
        camera=Camera(K, size_px),
        history=("synthetic detections",),
    )


def mean_pose_m(pack: Path, frames: int = 27, batches: int = 20) -> Array:
    """Mean root-relative pose (17, 3) of training windows, the baseline of every record."""
    motions = Motions(pack, "train", torch.device("cpu"))
    total = np.zeros((17, 3))
    for step in range(batches):
        g = generator(_SEED, 100 + step, 0, motions.device)
        batch = make_batch(motions, 256, frames, SynthConfig(), g)
        total += batch.xyz_m[:, frames // 2].double().mean(0).numpy()
    return total / batches
