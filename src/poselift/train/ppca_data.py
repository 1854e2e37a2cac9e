"""Poses and synthetic detections for the PPCA mixture, drawn from packed motions as frames."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from poselift.geometry import Array
from poselift.models.ppca.beliefs import HeatmapBelief
from poselift.normalize import person_window
from poselift.train.batches import COCO, H36M, Motions, Scene, SynthConfig, generator
from poselift.train.fuse_ppca import Detections
from poselift.train.noise import NoiseConfig

_AT_ONCE = 2000
# Synthetic heatmaps: 64 x 64 pixels over a square of 8 sizes of a person (about 2.2 m).
_PIXELS, _REACH = 64, 4.0
_DOT_PIXELS = 1.2


def world_poses(motions: Motions, count: int, config: SynthConfig, seed: int) -> Array:
    """Root-relative H36M-17 joints (count, 17, 3) in metres, z up, of random bodies and frames."""
    out = []
    for step, batch in enumerate(_batches(count)):
        scene = motions.scene(batch, 1, config, generator(seed, step, 0, motions.device))
        joints = scene.joints_m[:, 0, : len(H36M)]
        out.append((joints - joints[:, :1]) @ scene.view.R_world_to_camera[:, 0])
    return torch.cat(out).double().cpu().numpy()


def detections(
    motions: Motions, count: int, config: SynthConfig, noise: NoiseConfig, seed: int
) -> Detections:
    """Detections in the view plane of the person: slopes, the person on the optical axis.

    The same seed gives the same scenes whatever the noise is.
    """
    parts = []
    for step, batch in enumerate(_batches(count)):
        scene = motions.scene(batch, 1, config, generator(seed, step, 0, motions.device))
        parts.append(_detected(scene, noise, seed, step))
    return Detections(*(np.concatenate(rows) for rows in zip(*parts, strict=True)))


def _batches(count: int) -> list[int]:
    return [min(_AT_ONCE, count - done) for done in range(0, count, _AT_ONCE)]


def _detected(scene: Scene, noise: NoiseConfig, seed: int, step: int) -> tuple[Array, ...]:
    device = scene.joints_m.device
    seen = scene.seen(noise, generator(seed, step, 1, device))
    true = scene.seen(replace(noise, level=0.0), generator(seed, step, 2, device))
    joints = scene.joints_m[:, :, : len(H36M)]
    points = (
        seen.xy[:, :, : len(COCO)],
        true.xy[:, :, : len(COCO)],
        scene.view.to_image(joints),
    )
    rays = [scene.view.to_rays(each) for each in points]
    window = person_window(rays[1])
    xy, true_xy, joint_xy = (_frame(_turned(ray, window.R_camera_to_view)) for ray in rays)
    confidence = _frame(seen.confidence)[:, : len(COCO)]
    confidence = np.where(np.isfinite(xy).all(-1), confidence, 0.0)
    xyz_m = _frame(window.to_view(joints - joints[:, :, :1]))
    return xy, confidence, true_xy, joint_xy, xyz_m


def _turned(rays: Tensor, turn: Tensor) -> Tensor:
    directions = torch.cat([rays, torch.ones_like(rays[..., :1])], dim=-1)
    directions = directions @ turn.transpose(-1, -2)[:, None]
    return directions[..., :2] / directions[..., 2:].clamp_min(0.1)


def _frame(values: Tensor) -> Array:
    return values[:, 0].double().cpu().numpy()


def doubtful_heatmaps(
    data: Detections, share: float, rng: np.random.Generator
) -> tuple[HeatmapBelief, Detections]:
    """Heatmaps about the detections, and these in the maps' units: sizes of the person.

    The share `share` of joints has a second peak where the joint of the other side was detected,
    0.5 to 1.5 times as high: a detector that is not sure which side it sees.
    """
    centre = np.nanmean(data.true_xy, axis=1, keepdims=True)
    unit = data.size[:, None, None]
    xy, true_xy, joint_xy = (
        (each - centre) / unit for each in (data.xy, data.true_xy, data.joint_xy)
    )
    step = 2 * _REACH / _PIXELS
    bins = -_REACH + step * np.arange(_PIXELS)

    def dots(points: Array) -> Array:
        lines = np.exp(-(((bins - points[..., None]) / (_DOT_PIXELS * step)) ** 2) / 2)
        return np.nan_to_num(lines[..., 1, :, None] * lines[..., 0, None, :])

    twin = xy[:, COCO.mirror]
    doubtful = (rng.random(data.confidence.shape) < share) & np.isfinite(twin).all(-1)
    height = np.where(doubtful, rng.uniform(0.5, 1.5, doubtful.shape), 0.0)
    maps = dots(xy) + height[..., None, None] * dots(twin)
    belief = HeatmapBelief(maps, np.array([-_REACH, -_REACH]), step, data.confidence)
    return belief, Detections(xy, data.confidence, true_xy, joint_xy, data.xyz_m)
