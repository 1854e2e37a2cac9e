"""Honest scales: two factors, across and along the ray, fitted on people held out for validation.

The network learns its scales on training people, whom it knows better than others. Afterwards one
factor for each direction makes the claim true on validation people: the factors' ratio is the most
likely one, and their size is such that the regions of 50, 90 and 95 % hold as many truths as they
claim (least squares over the three).
"""

import numpy as np
import torch
from scipy.optimize import brentq, minimize_scalar
from torch import nn

from poselift.geometry import Array
from poselift.metrics.uncertainty import POWER, exp_power_radius
from poselift.train.batches import H36M, Motions, SynthConfig, generator
from poselift.train.flow import FRAMES, answers, clip_batch
from poselift.train.noise import PRESETS

LEVELS = (0.5, 0.9, 0.95)
_SEED = 20_261_125
_CLIPS = 24  # at a time


def calibration(
    model: nn.Module,
    motions: Motions,
    synth: SynthConfig,
    ahead: int | None = None,
    *,
    clips: int = 96,
) -> tuple[float, float]:
    """Factors of the lateral and the depth scale, from `clips` under each detector of `PRESETS`.

    ahead: how many frames ahead the network sees, None: all.
    """
    parts = [
        _residuals(model, motions, synth.seen_as(noise), ahead, clips, number)
        for number, noise in enumerate(PRESETS.values())
    ]
    across, along = (np.concatenate(both) for both in zip(*parts, strict=True))
    return fit(across, along)


@torch.no_grad()
def _residuals(
    model: nn.Module,
    motions: Motions,
    synth: SynthConfig,
    ahead: int | None,
    count: int,
    number: int,
) -> tuple[Array, Array]:
    """Errors across and along the ray of all joints of H36M-17 but the root, in claimed scales."""
    across, along = [], []
    for index in range(-(-count // _CLIPS)):
        g = generator(_SEED, index, number, motions.device)
        clips = clip_batch(motions, min(count, _CLIPS), 3 * FRAMES, synth, g, plain=True)
        out = answers(model, clips, ahead)
        error = (out[..., :3] - out[:, :, :1, :3] - clips.joints_m)[:, :, 1 : len(H36M)]
        scale = out[:, :, 1 : len(H36M), 3:].exp()
        across.append((error[..., :2].norm(dim=-1) / scale[..., 0]).flatten())
        along.append((error[..., 2].abs() / scale[..., 1]).flatten())
    return tuple(torch.cat(each).double().cpu().numpy() for each in (across, along))


def fit(across: Array, along: Array) -> tuple[float, float]:
    """Factors for errors (N) in units of the claimed scales."""

    def slope(log_ratio: float) -> float:
        """Of the likelihood in the ratio depth / lateral, the common size at its best."""
        one, other = across**2 * np.exp(2 * log_ratio / 3), along**2 * np.exp(-4 * log_ratio / 3)
        r = np.sqrt(one + other)
        return float(np.mean(one * r ** (POWER - 2)) / np.mean(r**POWER) - 2 / 3)

    ratio = float(np.exp(brentq(slope, -6.0, 6.0)))
    r = np.sqrt(across**2 + (along / ratio) ** 2)
    radii = exp_power_radius(np.array(LEVELS))

    def miss(log_size: float) -> float:
        inside = np.mean(r[:, None] <= np.exp(log_size) * radii, axis=0)
        return float(np.sum((inside - LEVELS) ** 2))

    size = np.exp(minimize_scalar(miss, bounds=(-3.0, 3.0), method="bounded").x)
    return float(size), float(size * ratio)
