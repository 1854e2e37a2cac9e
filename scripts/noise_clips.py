"""Rendered clips with detections, as the fit of the noise sees them.

All places and errors are in units of the longer side of the person's box; P points of
poselift.train.errormodel.POINTS.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from poselift.skeleton import convert, part, skeleton
from poselift.train.errormodel import GROUPS, HALPE, POINTS, ROWS, body_vectors
from poselift.train.posing import own_capsules
from poselift.train.sight import Sight, behind_flesh, seen_from

Array = NDArray[np.floating]
Mask = NDArray[np.bool_]

DETECTORS = {"hybrid": "mediapipe33", "movenet": "coco17", "thunder": "coco17"}
MARGIN = 0.02  # as NoiseConfig.outside_margin
# Which points show that a limb was taken for the other side's.
TELLING = {"legs": ("knee", "ankle"), "arms": ("elbow", "wrist"), "body": ("shoulder", "hip")}
APART = 0.12  # sum over two points; nearer together nothing can be told
SWAPPED = 0.5  # the sum of distances to the other side's points, of that to the own ones
ASTRAY = 0.4  # the same for one limb


@dataclass(frozen=True)
class Clip:
    """Truth and detections of one clip."""

    name: str
    subject: str
    split: str
    sight: Sight  # a batch of one
    hidden: Mask  # (F, P) by capsules, as in training
    behind: Mask  # (F, P) by ray casting
    outside: Mask  # (F, P)
    true: Array  # (F, P, 2)
    vectors: Array  # (F, P, 2, 3)
    view: NDArray[np.int64]  # (F,)
    dt_s: float
    seen: dict[str, Array]  # detector -> (F, P, 2)
    confidence: dict[str, Array]  # detector -> (F, P)


def load(folder: Path) -> list[Clip]:
    """All clips with detections, by name."""
    return [_load(path, folder / path.name) for path in sorted(folder.glob("detections/*.npz"))]


def _load(detections: Path, truth: Path) -> Clip:
    with np.load(truth) as data, np.load(detections) as found:
        size, longer = data["size_px"], float(data["size_px"].max())

        def place(px: Array) -> Array:
            return (px - size / 2) / longer

        def tensor(array: Array) -> torch.Tensor:
            return torch.as_tensor(array, dtype=torch.float32)[None]

        dt = float(np.diff(data["time_s"]).mean())
        sight = Sight(
            xy=tensor(place(data["surface_px"])),
            points_m=tensor(data["surface_m"]),
            bones_m=tensor(data["capsule_m"]),
            radius_m=tensor(data["radius_m"]),
            own=torch.as_tensor(own_capsules()),
            dt_s=torch.tensor([dt]),
            half_size=tensor(size / 2 / longer),
        )
        box = sight.box()[0].numpy()
        true = sight.xy[0, :, ROWS].numpy() / box
        half = size / 2 / longer
        seen, confidence = {}, {}
        for name, layout in DETECTORS.items():
            if f"{name}_px" in found:
                points = convert(found[f"{name}_px"], skeleton(layout), HALPE)[:, ROWS]
                seen[name] = place(points) / box
                confidence[name] = _named(found[f"{name}_confidence"], layout)
        return Clip(
            name=truth.stem,
            subject=str(data["trial"]).split("_")[0],
            split=str(data["split"]),
            sight=sight,
            hidden=behind_flesh(sight)[0, :, ROWS].numpy(),
            behind=data["hidden"][:, ROWS],
            outside=(np.abs(true * box) - half - MARGIN * box > 0).any(axis=-1),
            true=true,
            vectors=body_vectors(sight)[0].numpy(),
            view=seen_from(sight)[0].numpy(),
            dt_s=dt,
            seen=seen,
            confidence=confidence,
        )


def _named(confidence: Array, layout: str) -> Array:
    """Confidence (F, P) by the name of the point; 0 where the detector has no such point."""
    joints = skeleton(layout).joints
    also = {"left_big_toe": "left_foot_index", "right_big_toe": "right_foot_index"}
    out = np.zeros((len(confidence), len(POINTS)))
    for column, joint in enumerate(POINTS):
        name = joint if joint in joints else also.get(joint, "")
        if name in joints:
            out[:, column] = confidence[:, joints.index(name)]
    return out


@dataclass(frozen=True)
class Seen:
    """One detector on one clip."""

    clip: Clip
    error: Array  # (F, P, 2), NaN where lost
    confidence: Array  # (F, P)
    found: Mask  # (F,)
    swapped: dict[str, Mask]  # group -> (F,)
    snapped: dict[str, Mask]  # group -> (F, 2) left, right
    confused: Mask  # (F, P) part of a swapped or snapped limb

    @property
    def usable(self) -> Mask:
        """Points (F, P) whose error is of the ordinary kind."""
        return np.isfinite(self.error[..., 0]) & ~self.clip.outside & ~self.confused


def look(clip: Clip, detector: str) -> Seen:
    """Errors, and which limbs were taken for others."""
    seen, true = clip.seen[detector], clip.true
    swapped, snapped = {}, {}
    confused = np.zeros(seen.shape[:2], bool)
    for group, telling in TELLING.items():
        left, right = ([POINTS.index(f"{side}_{p}") for p in telling] for side in ("left", "right"))

        def off(of: list[int], to: list[int]) -> Array:
            return np.linalg.norm(seen[:, of] - true[:, to], axis=-1).sum(axis=1)

        apart = np.linalg.norm(true[:, left] - true[:, right], axis=-1).sum(axis=1) > APART
        straight, crossed = off(left, left) + off(right, right), off(left, right) + off(right, left)
        swapped[group] = apart & (crossed < SWAPPED * straight)
        strays = (
            off(left, right) < ASTRAY * off(left, left),
            off(right, left) < ASTRAY * off(right, right),
        )
        snapped[group] = np.stack([apart & ~swapped[group] & stray for stray in strays], axis=1)
        for column, joint in enumerate(POINTS):
            if part(joint) in GROUPS[group]:
                confused[:, column] |= swapped[group]
                if group != "body":
                    confused[:, column] |= snapped[group][:, int(joint.startswith("right"))]
    for group in ("legs", "arms"):
        swapped[group] &= ~swapped["body"]
    return Seen(
        clip=clip,
        error=seen - true,
        confidence=clip.confidence[detector],
        found=(clip.confidence[detector] > 0).any(axis=1),
        swapped=swapped,
        snapped=snapped,
        confused=confused,
    )
