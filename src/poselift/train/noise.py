"""What a 2D detector makes of true image points: the errors that real detectors were measured at.

The unit of errors is the longer side of the person's box, frame by frame. What is measured and
what is assumed, and how well both agree with real detectors: docs/noise.md.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from poselift.errors import InputError
from poselift.skeleton import conversion, skeleton
from poselift.train.absence import covered_points, lost_points, spells, truncated
from poselift.train.errormodel import (
    DERIVED,
    GROUPS,
    POINTS,
    ROWS,
    SIDES,
    Ranks,
    Tables,
    offset,
    tables,
)
from poselift.train.sight import HALPE, Sight, behind_flesh, seen_from
from poselift.train.synth import log_uniform, normal, uniform

__all__ = ["PRESETS", "NoiseConfig", "Observed", "Sight", "observe"]

FAMILIES = ("calibrated", "gaussian")
_COVERED_FACTOR = 1.5  # errors behind an occluder, of those behind the own body


@dataclass(frozen=True)
class NoiseConfig:
    """How bad detectors are. Shares are of clips, times in seconds.

    level multiplies all measured errors; 0 gives true points with confidence 1. family "gaussian"
    is the control of the ablation: white noise of the same standard deviation, and nothing that
    persists. `swaps`, `snaps`, `losses` multiply measured rates.
    """

    level: float = 1.3  # real video is worse than the renders that were measured
    family: str = "calibrated"
    clean: float = 0.05  # clips without errors of place
    blend: float = 0.5  # clips of a detector between two measured ones
    widen: float = 0.35  # log-normal factor per clip
    widen_part: float = 0.2  # ... and per point
    drift: tuple[float, float] = (0.5, 1.5)  # offsets of place, of the measured ones
    swaps: float = 1.0
    snaps: float = 1.0
    losses: float = 1.0
    occluder: float = 0.25  # clips with something in front of the person for a while
    occluder_s: tuple[float, float] = (0.2, 2.0)
    covered_lost: float = 0.5  # of covered points; the rest is guessed
    lost_hz: float = 0.06  # each point for a while
    lost_s: float = 0.3
    nobody_hz: float = 0.1  # the whole person, beyond what was measured
    nobody_s: float = 0.2
    lost_limb: float = 0.04  # legs for the whole clip; each arm: half as often
    blind: float = 0.1  # clips whose confidence is 1 whatever happens
    gamma: tuple[float, float] = (0.5, 2.0)  # confidence is raised to this power
    outside_margin: float = 0.02  # points this far outside the image (of the box) are cut off

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise InputError("family of noise", found=repr(self.family), known=FAMILIES)


_REAL = NoiseConfig()
PRESETS = {
    "clean": replace(_REAL, level=0.0),
    "mild": replace(
        _REAL,
        level=0.7,
        swaps=0.3,
        snaps=0.3,
        losses=0.3,
        occluder=0.05,
        lost_hz=0.02,
        lost_limb=0,
        nobody_hz=0.02,
    ),
    "real": _REAL,
    "hard": replace(
        _REAL,
        level=2.0,
        clean=0.0,
        swaps=3.0,
        snaps=3.0,
        losses=3.0,
        occluder=0.5,
        lost_hz=0.12,
        nobody_hz=0.3,
    ),
    "missing": replace(_REAL, occluder=0.6, occluder_s=(1.0, 4.0), lost_hz=0.3, lost_s=0.8),
}


@dataclass(frozen=True)
class Observed:
    """Detections of HALPE-26: xy (B, F, 26, 2) image units, NaN = lost; confidence (B, F, 26) in
    0..1, 0 where lost; hidden (B, F, 26): truly behind the own body or an occluder.
    """

    xy: Tensor
    confidence: Tensor
    hidden: Tensor


def observe(
    sight: Sight, config: NoiseConfig, g: torch.Generator, known: Tables | None = None
) -> Observed:
    """What a random detector per clip reports of true points; all draws are from `g`.

    known: the detectors to draw from, by default those that were measured.
    """
    hidden = behind_flesh(sight)
    if config.level == 0:
        return Observed(sight.xy, torch.ones_like(sight.xy[..., 0]), hidden)
    batch = len(sight.xy)
    detector = _draw(tables(g.device) if known is None else known, batch, config, g)
    covered = covered_points(sight, config, g)
    hidden = hidden | covered
    rank = Ranks(sight, hidden[:, :, ROWS], detector, g)
    order = _confused(sight, hidden, detector, config, g)
    place = sight.xy.gather(2, order[..., None].expand_as(sight.xy))[:, :, ROWS]
    size = config.level * torch.exp(normal((batch, 1, 1, 1), config.widen, g))
    size = size * torch.exp(normal((batch, 1, len(POINTS), 1), config.widen_part, g))
    size = size * (uniform((batch, 1, 1, 1), 0, 1, g) >= config.clean)
    far = 1 + (_COVERED_FACTOR - 1) * covered[:, :, ROWS, None]
    drift = offset(sight, detector) * uniform((batch, 1, len(POINTS), 1), *config.drift, g)
    error = rank.vector() * far + drift
    if config.family == "gaussian":  # confidence, too, knows nothing of these errors
        error = normal(error.shape, 1.0, g) * detector.spread[:, None, :, None]
    seen = place + error * size * sight.box()
    astray = (order != torch.arange(len(HALPE), device=g.device))[:, :, ROWS]
    confidence = rank.confidence(g)
    confidence = torch.where(astray, confidence * detector.astray[:, None, None], confidence)
    confidence = _recalibrated(confidence, config, g)
    seen, confidence, cut = truncated(seen, confidence, sight, detector, config, g)
    lost = cut | lost_points(sight, hidden[:, :, ROWS], covered[:, :, ROWS], detector, config, g)
    return _with_derived(
        torch.where(lost[..., None], torch.nan, seen),
        torch.where(lost, torch.zeros_like(confidence), confidence),
        hidden,
    )


def _draw(known: Tables, batch: int, config: NoiseConfig, g: torch.Generator) -> Tables:
    """A detector for each clip: a measured one, or one between two of them."""
    one, two = torch.randint(len(known), (2, batch), device=g.device, generator=g)
    share = uniform((batch,), 0, 1, g) * (uniform((batch,), 0, 1, g) < config.blend)
    return known.rows(one).mixed(known.rows(two), share)


def _confused(
    sight: Sight, hidden: Tensor, of: Tables, config: NoiseConfig, g: torch.Generator
) -> Tensor:
    """In whose place each point is reported, (B, F, 26): its own, or its twin's on the other side.

    Both limbs may change places, or one goes to where the other is.
    """
    batch, frames, points = hidden.shape
    order = torch.arange(points, device=hidden.device).expand(batch, frames, points)
    if config.family == "gaussian":
        return order
    view = seen_from(sight)[:, None].expand(-1, len(GROUPS), -1)
    rate = of.swap_hz.gather(2, view).transpose(1, 2) * config.swaps
    swapped = spells(rate, of.swap_s, sight.dt_s, g)
    for group, parts in enumerate(GROUPS.values()):
        order = _exchanged(order, swapped[:, :, group], parts, SIDES)
    for group, parts in enumerate((GROUPS["legs"], GROUPS["arms"])):
        ends = [[HALPE.index(f"{side}_{p}") for p in parts[:2]] for side in SIDES]
        unseen = torch.stack([hidden[:, :, rows].any(2) for rows in ends], dim=2)
        seen_hz, unseen_hz = of.snap_hz[:, group, :, None, None].unbind(1)
        rate = torch.where(unseen, unseen_hz, seen_hz) * config.snaps
        snapped = spells(rate, of.snap_s[:, group, None].expand(-1, 2), sight.dt_s, g)
        for column, side in enumerate(SIDES):
            order = _exchanged(order, snapped[:, :, column], parts, (side,))
    return order


def _exchanged(order: Tensor, on: Tensor, parts: tuple[str, ...], sides: tuple[str, ...]) -> Tensor:
    """The order with these parts of these sides taken from the other side where `on` (B, F)."""
    chosen = {f"{side}_{p}" for p in parts for side in sides}
    take = [HALPE.mirror[i] if joint in chosen else i for i, joint in enumerate(HALPE.joints)]
    return torch.where(on[..., None], order[:, :, torch.tensor(take, device=order.device)], order)


def _recalibrated(confidence: Tensor, config: NoiseConfig, g: torch.Generator) -> Tensor:
    """Confidence on another random scale per clip, and none at all in some clips."""
    batch = len(confidence)
    warped = confidence ** log_uniform((batch, 1, 1), *config.gamma, g)
    blind = uniform((batch, 1, 1), 0, 1, g) < config.blind
    return torch.where(blind, torch.ones_like(warped), warped)


def _with_derived(xy: Tensor, confidence: Tensor, hidden: Tensor) -> Observed:
    """Add head top, neck and pelvis by the rules of poselift.skeleton; NaN spreads."""
    coco = skeleton("coco17")
    rules = torch.as_tensor(conversion(coco, HALPE), dtype=xy.dtype, device=xy.device)
    full_xy = xy.new_full((*xy.shape[:2], len(HALPE), 2), torch.nan)
    full_confidence = xy.new_zeros((*xy.shape[:2], len(HALPE)))
    full_xy[:, :, ROWS], full_confidence[:, :, ROWS] = xy, confidence
    for joint in DERIVED:
        row = HALPE.index(joint)
        sources = [int(i) for i in torch.nonzero(rules[row])[:, 0]]
        full_xy[:, :, row] = (rules[row, sources, None] * full_xy[:, :, sources]).sum(2)
        full_confidence[:, :, row] = full_confidence[:, :, sources].amin(2)
    return Observed(full_xy, full_confidence, hidden)
