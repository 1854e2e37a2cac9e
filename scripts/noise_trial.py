"""Synthetic errors beside measured ones, on the same motion."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from noise_clips import Array, Clip
from noise_fit import columns, fit
from noise_time import GROSS, LAGS
from numpy.typing import NDArray
from scipy.stats import ks_2samp, wasserstein_distance

from poselift.train.errormodel import ROWS, from_record
from poselift.train.noise import FAMILIES, NoiseConfig, Sight, observe

DRAWS = 16  # synthetic detections of every clip


def plain(family: str) -> NoiseConfig:
    """Noise as it was measured, without what is assumed beyond."""
    return NoiseConfig(
        level=1,
        family=family,
        clean=0,
        blend=0,
        widen=0,
        widen_part=0,
        drift=(1, 1),
        occluder=0,
        lost_hz=0,
        nobody_hz=0,
        lost_limb=0,
        blind=0,
        gamma=(1, 1),
    )


@dataclass(frozen=True)
class Errors:
    """N clips of one detector: error (N, F, P, 2) of the box, NaN = not placed; the rest (N, F, P).

    Only what is inside the image counts.
    """

    error: Array
    confidence: Array
    hidden: NDArray[np.bool_]

    @property
    def size(self) -> Array:
        """Length of the errors, (N, F, P)."""
        return np.linalg.norm(self.error, axis=-1)

    def of(self, name: str) -> Array:
        """Lengths of the errors of one part, flat, without NaN."""
        size = self.size[..., columns(name)]
        return size[np.isfinite(size)]


def pooled(parts: Sequence[Errors]) -> Errors:
    """All clips together."""
    return Errors(*(np.concatenate([getattr(e, f.name) for e in parts]) for f in fields(Errors)))


def measured(clip: Clip, detector: str) -> Errors:
    """What a detector did on a clip."""
    error = np.where(clip.outside[..., None], np.nan, clip.seen[detector] - clip.true)
    return Errors(error[None], clip.confidence[detector][None], clip.hidden[None])


def synthetic(clip: Clip, record: dict, detector: str, family: str, seed: int) -> Errors:
    """DRAWS times what the model of that detector does on the same clip."""
    known = from_record(record, torch.device("cpu"))
    known = known.rows(torch.tensor([list(record["detectors"]).index(detector)]))
    g = torch.Generator().manual_seed(seed)
    out = observe(repeated(clip.sight, DRAWS), plain(family), g, known)
    box = clip.sight.box().numpy()
    error = out.xy[:, :, ROWS].numpy() / box - clip.true
    reported = np.isfinite(clip.seen[detector]).any(axis=(0, 2)) & ~clip.outside
    error = np.where(reported[..., None], error, np.nan)
    return Errors(error, out.confidence[:, :, ROWS].numpy(), out.hidden[:, :, ROWS].numpy())


def repeated(sight: Sight, times: int) -> Sight:
    """The same clip several times."""
    values = {f.name: getattr(sight, f.name) for f in fields(sight)}
    return Sight(
        **{k: v if k == "own" else v.expand(times, *v.shape[1:]) for k, v in values.items()}
    )


def halves(clips: Sequence[Clip]) -> tuple[list[Clip], list[Clip]]:
    """Two parts without a common subject, of about equal size."""
    subjects = sorted({clip.subject for clip in clips})
    count = {s: sum(clip.subject == s for clip in clips) for s in subjects}
    first: set[str] = set()
    for subject in sorted(subjects, key=lambda s: (-count[s], s)):
        here = sum(count[s] for s in first)
        if 2 * (here + count[subject]) <= len(clips) + 1:
            first.add(subject)
    return [c for c in clips if c.subject in first], [c for c in clips if c.subject not in first]


@dataclass(frozen=True)
class Trial:
    """One half of the clips, and what the fit on the other half makes of the same motion."""

    real: dict[str, Errors]  # detector -> measured
    made: dict[str, dict[str, Errors]]  # family -> detector -> synthetic


def trial(fitted: Sequence[Clip], unseen: Sequence[Clip]) -> Trial:
    """Judge the fit on some clips by others."""
    record = fit(fitted)
    names = list(record["detectors"])
    return Trial(
        real={d: pooled([measured(c, d) for c in unseen]) for d in names},
        made={
            f: {
                d: pooled([synthetic(c, record, d, f, seed) for seed, c in enumerate(unseen)])
                for d in names
            }
            for f in FAMILIES
        },
    )


def distances(one: Array, two: Array) -> tuple[float, float]:
    """Wasserstein-1 distance, in % of the box, and Kolmogorov-Smirnov distance."""
    return 100 * float(wasserstein_distance(one, two)), float(ks_2samp(one, two).statistic)


def persistence(errors: Errors) -> Array:
    """Correlation (LAGS,) of errors about zero with themselves some frames later.

    Of those up to GROSS: the few beyond, swapped limbs among them, would decide everything.
    """
    error = np.where(errors.size[..., None] < GROSS, errors.error, np.nan)
    variance = np.nanmean((error**2).sum(axis=-1))
    lags = [
        np.nanmean((error[:, lag:] * error[:, : error.shape[1] - lag]).sum(axis=-1))
        for lag in range(LAGS)
    ]
    return np.array(lags) / variance
