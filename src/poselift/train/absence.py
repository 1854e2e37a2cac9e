"""What a detector does not report: points behind occluders, outside the image, lost for a while."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from poselift.skeleton import part
from poselift.train.errormodel import GROUPS, POINTS, ROWS, SIDES, Tables
from poselift.train.sight import Sight
from poselift.train.synth import uniform

if TYPE_CHECKING:
    from poselift.train.noise import NoiseConfig

_GUESSED = 0.3  # confidence of points that are guessed, of usual


def spells(rate_hz: Tensor, mean_s: Tensor, dt_s: Tensor, g: torch.Generator) -> Tensor:
    """Spells that begin at rate_hz (B, F, C) and last mean_s (B, C) on average; bool (B, F, C)."""
    dt, mean = dt_s[:, None, None], mean_s[:, None]
    time = dt * torch.arange(rate_hz.shape[1], device=rate_hz.device)[:, None]
    chance = torch.cat([rate_hz[:, :1] * mean, rate_hz[:, 1:] * dt], dim=1)  # or began before
    begins = uniform(tuple(chance.shape), 0, 1, g) < chance
    lasts = -mean * torch.log1p(-uniform(tuple(chance.shape), 0, 1, g).clamp_max(1 - 1e-6))
    ends = torch.where(begins, time + lasts, torch.full_like(lasts, -1.0))
    return time < ends.cummax(1).values


def covered_points(sight: Sight, config: "NoiseConfig", g: torch.Generator) -> Tensor:
    """Points behind a rectangle or half plane that stands in the image for a while, (B, F, 26)."""
    batch, frames = sight.xy.shape[:2]
    low, high = sight.xy.flatten(1, 2).amin(1), sight.xy.flatten(1, 2).amax(1)
    centre = low + (high - low) * uniform((batch, 2), 0, 1, g)
    half = sight.box().mean(1)[..., 0] * uniform((batch, 2), 0.05, 0.3, g)
    kind = torch.randint(len(_ENDLESS), (batch,), device=g.device, generator=g)
    endless = torch.tensor(_ENDLESS, device=g.device)[kind]
    reach = torch.where(endless, torch.inf, torch.cat([half, half], dim=1))[:, None, None]
    away = sight.xy - centre[:, None, None]
    inside = ((away > -reach[..., :2]) & (away < reach[..., 2:])).all(-1)
    lasts = uniform((batch, 1), *config.occluder_s, g)
    begins = uniform((batch, 1), 0, 1, g) * (sight.dt_s[:, None] * frames + lasts) - lasts
    time = sight.dt_s[:, None] * torch.arange(frames, device=g.device)
    on = (time >= begins) & (time < begins + lasts)
    on = on & (uniform((batch, 1), 0, 1, g) < config.occluder)
    return inside & on[..., None]


# To which sides (left, up, right, down) an occluder has no end: rectangle, table, walls.
_RECTANGLE, _TABLE = (False, False, False, False), (True, False, True, True)
_WALLS = ((True, True, False, True), (False, True, True, True))
_ENDLESS = (_RECTANGLE, _RECTANGLE, _RECTANGLE, _RECTANGLE, _TABLE, _TABLE, *_WALLS)


def truncated(
    seen: Tensor,
    confidence: Tensor,
    sight: Sight,
    of: Tables,
    config: "NoiseConfig",
    g: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Points outside the image are lost, or guessed at its border with little confidence."""
    half = sight.half_size[:, None, None]
    beyond = sight.xy[:, :, ROWS].abs() - half - config.outside_margin * sight.box()
    outside = (beyond > 0).any(-1)
    drawn = uniform((len(seen), 1, len(POINTS)), 0, 1, g)
    cut = outside & (drawn < of.outside_lost[:, None, None])
    guessed = torch.minimum(torch.maximum(seen, -half), half)
    place = torch.where(outside[..., None], guessed, seen)
    return place, torch.where(outside, _GUESSED * confidence, confidence), cut


def lost_points(
    sight: Sight,
    hidden: Tensor,
    covered: Tensor,
    of: Tables,
    config: "NoiseConfig",
    g: torch.Generator,
) -> Tensor:
    """Which points are not reported although inside the image, (B, F, 23).

    hidden, covered (B, F, 23): by anything, and by an occluder.
    """
    batch, frames, points = hidden.shape
    lost = covered & (uniform((batch, 1, points), 0, 1, g) < config.covered_lost)
    seen_missed, unseen_missed = (config.losses * of.missed[:, None]).unbind(-1)
    missed = torch.where(hidden, unseen_missed, seen_missed)
    lost = lost | (uniform((batch, frames, points), 0, 1, g) < missed)
    rate = torch.full((batch, frames, points), config.lost_hz, device=g.device)
    lasts = torch.full((batch, points), config.lost_s, device=g.device)
    lost = lost | spells(rate, lasts, sight.dt_s, g)
    rate = torch.stack([config.losses * of.lost_hz, torch.full_like(of.lost_hz, config.nobody_hz)])
    lasts = torch.stack([of.lost_s, torch.full_like(of.lost_s, config.nobody_s)])
    nobody = spells(rate.T[:, None].expand(-1, frames, -1), lasts.T, sight.dt_s, g)
    lost = lost | nobody.any(-1, keepdim=True)
    limb = uniform((batch, len(_LIMBS)), 0, 1, g)
    for column, (share, parts, sides) in enumerate(_LIMBS):
        mine = [joint.split("_")[0] in sides and part(joint) in parts for joint in POINTS]
        gone = limb[:, column, None, None] < share * config.lost_limb
        lost = lost | (gone & torch.tensor(mine, device=g.device))
    return lost


_LIMBS = (
    (1.0, GROUPS["legs"], SIDES),
    (0.5, GROUPS["arms"], ("left",)),
    (0.5, GROUPS["arms"], ("right",)),
)
