"""What a 2D detector makes of true image points: bias, slow noise, outliers, swaps, lost joints.

Units: the longer side of the person's box, frame by frame. Figures are first guesses from rendered
bodies seen by real detectors (docs/training.md); white noise alone would be the wrong model, since
real errors persist over many frames.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from poselift.train.bodies import COCO
from poselift.train.synth import normal, uniform

_SIGMA = {  # one standard deviation of slow noise for a detector of ordinary quality
    "nose": 0.007,
    "eye": 0.007,
    "ear": 0.008,
    "shoulder": 0.008,
    "elbow": 0.010,
    "wrist": 0.013,
    "hip": 0.011,
    "knee": 0.008,
    "ankle": 0.011,
}
_ARMS = ("elbow", "wrist")
_LEGS = ("hip", "knee", "ankle")


@dataclass(frozen=True)
class NoiseConfig:
    """How bad detectors are; `level` 0 gives true points."""

    level: float = 1.0
    clean: float = 0.1  # share of clips without any noise
    quality_spread: float = 0.45  # log-normal over clips
    bias: float = 0.8  # of sigma, constant over a clip
    knot_s: tuple[float, float] = (0.08, 0.25)  # spacing of the slow noise's knots
    white: float = 0.3
    outlier: float = 0.012  # share of knots that jump, Student t with 2 degrees of freedom
    hidden_factor: float = 3.0  # noise of joints behind the own trunk
    swap: float = 0.06  # share of clips with left and right swapped for a while
    lost: float = 0.08  # share of (clip, joint) that is lost for a while
    lost_legs: float = 0.04  # share of clips cut at the waist
    lost_arm: float = 0.03


def observe(
    xy: Tensor, depth_m: Tensor, dt_s: Tensor, config: NoiseConfig, g: torch.Generator
) -> Tensor:
    """Detected COCO-17 points (B, F, 17, 2) for true image points; NaN = lost.

    depth_m (B, F, 17) tells which joints hide behind the trunk; dt_s (B) is the frame step.
    """
    if config.level == 0:
        return xy
    batch = len(xy)
    box = (xy.amax(2) - xy.amin(2)).amax(-1)[..., None, None]  # (B, F, 1, 1)
    quality = torch.exp(normal((batch, 1, 1, 1), config.quality_spread, g)) * config.level
    noisy = uniform((batch, 1, 1, 1), 0, 1, g) >= config.clean
    sigma = _sigma(g.device)[:, None] * quality * noisy
    error = normal((batch, 1, *xy.shape[2:]), config.bias, g) + normal(xy.shape, config.white, g)
    hidden = 1 + (config.hidden_factor - 1) * _behind_trunk(xy, depth_m, box[..., 0])
    error = error + _slow(xy, dt_s, config, g) * hidden[..., None]
    seen = _swap(xy + error * sigma * box, config, g)
    return torch.where(_lost(xy, config, g)[..., None], torch.nan, seen)


def _sigma(device: torch.device) -> Tensor:
    parts = [joint.removeprefix("left_").removeprefix("right_") for joint in COCO.joints]
    return torch.tensor([_SIGMA[part] for part in parts], device=device)


def _slow(xy: Tensor, dt_s: Tensor, config: NoiseConfig, g: torch.Generator) -> Tensor:
    """Noise that is drawn at knots and runs straight between them."""
    batch, frames, joints, _ = xy.shape
    spacing = uniform((batch,), *config.knot_s, g)
    at = torch.arange(frames, device=g.device) * (dt_s / spacing)[:, None]
    at = at + uniform((batch, 1), 0, 1, g)
    # A fixed number of knots keeps the draws independent of the values; late knots wrap round.
    knots = normal((batch, frames + 2, joints, 2), 1.0, g)
    chi2 = normal((2, batch, frames + 2, joints, 1), 1.0, g).square().sum(0) / 2
    jump = uniform((batch, frames + 2, joints, 1), 0, 1, g) < config.outlier
    knots = torch.where(jump, 4 * knots / chi2.clamp_min(0.05).sqrt(), knots)
    index = at.floor().long() % (frames + 1)
    share = (at - at.floor())[..., None, None]
    row = torch.arange(batch, device=g.device)[:, None]
    return knots[row, index] * (1 - share) + knots[row, index + 1] * share


def _behind_trunk(xy: Tensor, depth_m: Tensor, box: Tensor) -> Tensor:
    """1.0 where a joint is behind the own trunk (a fat line from hips to shoulders), (B, F, 17)."""
    trunk = [COCO.index(f"{side}_{joint}") for joint in ("shoulder", "hip") for side in _SIDES]
    top, bottom = xy[:, :, trunk[:2]].mean(2), xy[:, :, trunk[2:]].mean(2)
    axis = (bottom - top)[:, :, None]
    share = ((xy - top[:, :, None]) * axis).sum(-1) / axis.square().sum(-1).clamp_min(1e-9)
    gap = (xy - top[:, :, None] - share.clamp(0, 1)[..., None] * axis).norm(dim=-1)
    behind = depth_m - depth_m[:, :, trunk].mean(2, keepdim=True)
    hidden = (gap < 0.07 * box) & (behind > 0.12)
    hidden[:, :, trunk] = False
    return hidden.to(xy.dtype)


_SIDES = ("left", "right")


def _swap(xy: Tensor, config: NoiseConfig, g: torch.Generator) -> Tensor:
    batch, frames = xy.shape[:2]
    kind = uniform((batch, 1), 0, 1, g) / max(config.swap, 1e-9)  # < 1: this clip has a swap
    inside = _span(batch, frames, 2, 9, g)
    out = xy
    for parts, low, high in ((_LEGS, 0.0, 0.7), (_ARMS, 0.5, 1.0)):  # both in the overlap
        on = inside & (kind >= low) & (kind < high)
        order = torch.arange(len(COCO), device=g.device)
        for part in parts:
            left, right = COCO.index(f"left_{part}"), COCO.index(f"right_{part}")
            order[left], order[right] = right, left
        out = torch.where(on[..., None, None], out[:, :, order], out)
    return out


def _lost(xy: Tensor, config: NoiseConfig, g: torch.Generator) -> Tensor:
    """Which joints are lost, (B, F, 17)."""
    batch, frames, joints, _ = xy.shape
    span = _span(batch * joints, frames, 1, frames, g).view(batch, joints, frames)
    chosen = uniform((batch, joints, 1), 0, 1, g) < config.lost
    lost = (span & chosen).transpose(1, 2)
    cut = uniform((batch, 3), 0, 1, g)
    legs = [COCO.index(f"{side}_{part}") for side in _SIDES for part in ("knee", "ankle")]
    lost[:, :, legs] |= (cut[:, 0] < config.lost_legs)[:, None, None]
    for column, side in enumerate(_SIDES, start=1):
        arm = [COCO.index(f"{side}_{part}") for part in _ARMS]
        lost[:, :, arm] |= (cut[:, column] < config.lost_arm)[:, None, None]
    return lost


def _span(rows: int, frames: int, shortest: int, longest: int, g: torch.Generator) -> Tensor:
    """One random run of frames per row, (rows, frames); it may stick out of the window."""
    length = uniform((rows, 1), shortest, longest + 1, g).floor()
    start = (uniform((rows, 1), 0, 1, g) * (frames + length) - length).floor()
    time = torch.arange(frames, device=g.device)
    return (time >= start) & (time < start + length)
