"""How `river` is taught: any detector's points, any frame rate, every latency with one network.

Losses are those of docs/river.md: place in view axes, velocity in camera axes per second, and the
scales of the uncertainty on residuals that they cannot change.
"""

from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor, nn

from poselift.camera import GUESSED_FOCAL
from poselift.errors import InputError, UnknownNameError
from poselift.metrics.uncertainty import POWER
from poselift.models.intake import (
    BODY,
    DELAYS,
    LEAST_CONFIDENCE,
    MODES,
    NEW_S,
    Intake,
    Known,
    columns,
    intake,
    mirrored,
    with_mode,
)
from poselift.skeleton import skeleton
from poselift.train.batches import H36M, Motions, Scene, SynthConfig
from poselift.train.lessons import Source
from poselift.train.noise import Observed
from poselift.train.posing import HALPE
from poselift.train.synth import choice, normal, uniform

FRAMES = 27  # of what is counted as a window
RATES_HZ = (15.0, 25.0, 30.0, 50.0, 60.0, 100.0)
RATE_WEIGHTS = (0.1, 0.25, 0.3, 0.15, 0.15, 0.05)
# Which detectors are seen, and how often; "random" drops parts of HALPE-26.
LAYOUTS = {
    **{"coco17": 0.4, "halpe26": 0.15, "mediapipe33": 0.15, "body25": 0.08},
    **{"h36m17": 0.1, "mpii16": 0.04, "random": 0.08},
}
DELAY_WEIGHTS = (0.4, 0.15, 0.3, 0.15)  # of DELAYS
HEIGHT_KNOWN, UP_KNOWN, UP_DEG = 0.25, 0.3, 3.0
# Stature over thigh + shank + pelvis-thorax + thorax-vertex: mean of the table of bodies.
STATURE_OF_CHAIN = 1.042
FACE_AND_FEET = 0.3  # weight of what H36M-17 lacks


@dataclass(frozen=True)
class FlowConfig:
    """What is taught how much. Raises InputError and UnknownNameError.

    lengths: (share of the run, frames of a clip from there on): clips grow, many motions first,
    long memory later; both_ways: share of steps, the others are live; velocity_s, scales:
    weights of the losses beside the place; taught: weight of what a live answer lacks of
    the same network's answer both ways; detector: the only one of LAYOUTS that is seen, None: all;
    on_axis: people are turned onto the optical axis (`intake`).
    """

    lengths: tuple[tuple[float, int], ...] = ((0.0, 9), (0.3, 27), (0.8, 81))
    both_ways: float = 0.55
    velocity_s: float = 0.02
    scales: float = 0.003
    taught: float = 0.0
    detector: str | None = None
    on_axis: bool = True

    def __post_init__(self) -> None:
        shares, frames = zip(*self.lengths, strict=True)
        rising = shares[0] == 0 and sorted(shares) == [*shares] and shares[-1] <= 1
        if not rising or min(frames) < 2:
            expected = "shares that rise from 0 to at most 1, each with 2 or more frames"
            raise InputError("lengths of clips", expected=expected, found=self.lengths)
        for name in ("both_ways", "velocity_s", "scales", "taught"):
            weight, most = getattr(self, name), 1 if name == "both_ways" else float("inf")
            if not (isinstance(weight, int | float) and 0 <= weight <= most):
                expected = "a share from 0 to 1" if most == 1 else "a weight of at least 0"
                raise InputError(name, expected=expected, found=weight)
        if not isinstance(self.on_axis, bool):
            raise InputError("on_axis", expected="true or false", found=self.on_axis)
        if self.detector not in (None, *LAYOUTS):
            raise UnknownNameError("detector", str(self.detector), LAYOUTS)


@dataclass(frozen=True)
class Clips:
    """What `river` learns from: facts lack the mode; true joints in view axes from the pelvis."""

    seen: Intake
    dt_s: Tensor  # (B, T)
    joints_m: Tensor  # (B, T, 28, 3)


class Flow:
    """The lesson of `river`."""

    def __init__(self, bf16: bool, config: FlowConfig) -> None:
        self.bf16, self.config = bf16, config

    def loss(self, model: nn.Module, source: Source, g: torch.Generator, progress: float) -> Tensor:
        """A batch in one mode; the length of its clips goes by `progress`."""
        c = self.config
        frames = [length for start, length in c.lengths if progress >= start][-1]
        with torch.no_grad():
            count = max(1, source.windows * FRAMES // frames)
            clips = clip_batch(
                source.motions, count, frames, source.synth, g, c.detector, on_axis=c.on_axis
            )
        live = bool(uniform((), 0, 1, g) >= c.both_ways)
        ahead = DELAYS[int(choice(DELAY_WEIGHTS, 1, g))] if live else None
        with torch.autocast(g.device.type, torch.bfloat16, enabled=self.bf16):
            out = answers(model, clips, ahead)
        total = loss(out, clips, c)
        if live and c.taught:
            with torch.no_grad(), torch.autocast(g.device.type, torch.bfloat16, enabled=self.bf16):
                known = answers(model, clips, None)
            total = total + c.taught * (out - known)[..., :3].norm(dim=-1).mean()
        return total

    def error_m(self, model: nn.Module, source: Source, g: torch.Generator) -> float:
        """MPJPE looking both ways, or at once where nothing else is taught."""
        count = max(1, source.windows // 9)
        clips = clip_batch(
            source.motions,
            count,
            3 * FRAMES,
            source.synth,
            g,
            plain=True,
            on_axis=self.config.on_axis,
        )
        guess = answers(model, clips, None if self.config.both_ways else 0)[..., :3]
        error = (guess - guess[:, :, :1] - clips.joints_m)[:, :, : len(H36M)]
        return float(error.norm(dim=-1).mean())


def answers(model: nn.Module, clips: Clips, ahead: int | None) -> Tensor:
    """The network's answers (B, T, 28, 5), seeing so many frames ahead, None: all."""
    mode = MODES[0] if ahead is None else f"{ahead} late"
    return model(clips.seen.points, with_mode(clips.seen.facts, mode), clips.dt_s, ahead)


def clip_batch(
    motions: Motions,
    batch: int,
    frames: int,
    config: SynthConfig,
    g: torch.Generator,
    detector: str | None = None,
    *,
    plain: bool = False,
    on_axis: bool = True,
) -> Clips:
    """Clips of random detectors, or of one, half of them mirrored. plain: COCO-17, nothing told."""
    scene = motions.scene(batch, frames, _at_any_rate(config), g)
    observed = scene.seen(config.noise, g)
    detector = "coco17" if plain else detector
    kinds = LAYOUTS if detector is None else {detector: 1.0}
    kind = choice(tuple(kinds.values()), batch, g)
    xy, confidence, centres = _as_layouts(scene, observed, tuple(kinds), kind, g)
    rays = scene.view.to_rays(xy)
    joints = scene.joints_m - scene.joints_m[:, :, :1]
    up, height = _told(scene, plain, g)
    flip = uniform((batch, 1, 1, 1), 0, 1, g) < 0.5
    rays, joints = (torch.where(flip, mirrored(x), x) for x in (rays, joints))
    confidence = torch.where(flip[..., 0], confidence[..., BODY.mirror], confidence)
    up = torch.where(flip[..., 0], up * up.new_tensor([-1.0, 1.0, 1.0]), up)
    told = (scene.view.guessed_focal != GUESSED_FOCAL).to(rays.dtype)
    known = Known(told[:, None], centres[:, None], height[:, None], up)
    dt_s = scene.dt_s[:, None].repeat(1, frames)
    dt_s[:, 0] = NEW_S
    seen, _ = intake(rays, confidence, dt_s, known, on_axis=on_axis)
    return Clips(seen, dt_s, seen.to_view(joints))


def loss(out: Tensor, clips: Clips, config: FlowConfig) -> Tensor:
    """Of answers (B, T, 28, 5)."""
    guess, target = out[..., :3], clips.joints_m
    weight = torch.full((len(BODY),), FACE_AND_FEET, device=out.device)
    weight[: len(H36M)] = 1
    weight = weight / weight.sum()
    error = guess - target
    place = (error.norm(dim=-1) * weight).sum(-1).mean()
    moved = (error @ clips.seen.R_camera_to_view).diff(dim=1) / clips.dt_s[:, 1:, None, None]
    velocity = (moved.norm(dim=-1) * weight).sum(-1).mean()
    across = error[..., :2].detach().norm(dim=-1)
    along = error[..., 2].detach().abs()
    doubt = (scales_nll(across, along, out[..., 3:]) * weight).sum(-1).mean()
    return place + config.velocity_s * velocity + config.scales * doubt


def scales_nll(across_m: Tensor, along_m: Tensor, log_scales: Tensor) -> Tensor:
    """Minus log density of what poselift.metrics.uncertainty claims, less its constant."""
    b = log_scales.clamp(-6.0, 1.0)
    r2 = (across_m * torch.exp(-b[..., 0])) ** 2 + (along_m * torch.exp(-b[..., 1])) ** 2
    return (r2 + 1e-6) ** (POWER / 2) + 2 * b[..., 0] + b[..., 1]


def _at_any_rate(config: SynthConfig) -> SynthConfig:
    return replace(config, rates_hz=RATES_HZ, rate_weights=RATE_WEIGHTS, thinned=False)


def _as_layouts(
    scene: Scene, observed: Observed, kinds: tuple[str, ...], kind: Tensor, g: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """What each clip's detector prints: xy (B, T, 28, 2), confidence, and 1 for joint centres."""
    rows = _halpe_rows(scene.dt_s.device)
    xy, confidence = observed.xy[:, :, rows], observed.confidence[:, :, rows]
    centres = torch.tensor([name == "h36m17" for name in kinds], device=rows.device)[kind]
    true = scene.view.to_image(scene.posed.surface_m)[:, :, rows]
    inside = scene.view.to_image(scene.joints_m) + xy - true
    xy = torch.where(centres[:, None, None, None], inside, xy)
    printed = torch.stack([_printed(name, rows.device) for name in kinds])[kind]
    dropped = torch.tensor([name == "random" for name in kinds], device=rows.device)[kind]
    printed = printed & ~(dropped[:, None] & _random_parts(len(kind), g))
    seen = printed[:, None] & (confidence >= LEAST_CONFIDENCE)
    return torch.where(seen[..., None], xy, torch.nan), confidence, centres.to(xy.dtype)


def _random_parts(batch: int, g: torch.Generator) -> Tensor:
    """Points (B, 28) to drop: single ones, the lower or the upper half, the face."""
    share = uniform((batch, 1), 0, 0.5, g)
    out = uniform((batch, len(BODY)), 0, 1, g) < share
    for group in (("hip", "knee", "ankle", "toe", "heel", "pelvis"), ("nose", "eye", "ear", "top")):
        member = torch.tensor([any(p in joint for p in group) for joint in BODY.joints])
        out = out | (member.to(g.device) & (uniform((batch, 1), 0, 1, g) < 0.4))
    return out


@cache
def _halpe_rows(device: torch.device) -> Tensor:
    """Which HALPE-26 point stands for each of body28; those inside borrow a neighbour's error."""
    near = {"spine": "pelvis", "thorax": "neck"}
    rows = [HALPE.index(near.get(joint, joint)) for joint in BODY.joints]
    return torch.tensor(rows, device=device)


@cache
def _printed(name: str, device: torch.device) -> Tensor:
    """Which points (28) a detector of that layout prints."""
    out = torch.zeros(len(BODY), dtype=torch.bool)
    out[list(columns(skeleton("halpe26" if name == "random" else name))[1])] = True
    return out.to(device)


def _told(scene: Scene, plain: bool, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Up (B, T, 3) in camera axes and stature (B), NaN where the lifter is not told."""
    batch, device = len(scene.dt_s), scene.dt_s.device
    tilt = normal((batch, 1, 3), UP_DEG, g).deg2rad()
    up = torch.nn.functional.normalize(scene.up + tilt, dim=-1)
    tells = uniform((batch, 2), 0, 1, g)
    up = torch.where((tells[:, 0] < UP_KNOWN)[:, None, None], up, torch.nan)
    height = stature_m(scene.joints_m[:, 0])
    height = torch.where(tells[:, 1] < HEIGHT_KNOWN, height, torch.nan)
    if plain:
        return torch.full_like(up, torch.nan), torch.full((batch,), torch.nan, device=device)
    return up, height


def stature_m(joints_m: Tensor) -> Tensor:
    """About how tall bodies (B, 28, 3) stand, from the lengths of their bones."""
    total = torch.zeros_like(joints_m[:, 0, 0])
    for chain, share in _CHAINS:
        for one, other in pairwise(chain):
            bone = joints_m[:, BODY.index(one)] - joints_m[:, BODY.index(other)]
            total = total + share * bone.norm(dim=-1)
    return STATURE_OF_CHAIN * total


_CHAINS = (
    *(((f"{s}_hip", f"{s}_knee", f"{s}_ankle"), 0.5) for s in ("left", "right")),
    (("pelvis", "thorax", "head_top"), 1.0),
)
