"""Batches by (seed, step, rank): packed motion, a random body, a camera, a detector, a window.

The same triple gives the same batch, bit for bit, after a resume and for any number of workers.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from poselift.errors import FormatError, InputError
from poselift.geometry import Array
from poselift.models.lifter import LiftOptions
from poselift.normalize import Window, person_window
from poselift.skeleton import conversion, skeleton
from poselift.train.bodies import BodyTable, alignment, body_table
from poselift.train.evolve import EvolveConfig, Evolved, evolve
from poselift.train.noise import NoiseConfig, Observed, Sight, observe
from poselift.train.pack import Pack, read_pack
from poselift.train.posing import BODY, HALPE, Bodies, Posed, planted_path
from poselift.train.synth import (
    CameraConfig,
    View,
    choice,
    log_uniform,
    normal,
    quaternion_to_matrix,
    random_view,
    rotation_vector_to_matrix,
    uniform,
)

COCO = skeleton("coco17")
H36M = skeleton("h36m17")
# Name to code in the pack. The test clips of another laboratory are a track of their own.
SPLITS = {"train": 0, "validation": 1, "test": 2, "cross-corpus": 2}
_OTHER_LABORATORY = "hdm05"
_USE = LiftOptions()


@dataclass(frozen=True)
class SynthConfig:
    """All ranges of the synthesis.

    surface False: the control without bodies, in which a detector sees the joint centres of one
    average body themselves. thinned: fast clips are seen in steps of several frames, as windowed
    lifters see them in use.
    """

    camera: CameraConfig = field(default_factory=CameraConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    evolve: EvolveConfig = field(default_factory=lambda: EvolveConfig(share=0.0))
    rates_hz: tuple[float, ...] = (25.0, 30.0, 50.0, 60.0)
    rate_weights: tuple[float, ...] = (0.2, 0.4, 0.2, 0.2)
    thinned: bool = True
    speed: tuple[float, float] = (0.75, 1.33)  # play speed, log-uniform
    reverse: float = 0.1  # share of clips played backwards
    surface: bool = True
    segment_spread: float = 0.05  # log-normal factor per body segment
    definition: float = 1.0  # spread of what detectors mean by a joint, of the usual
    head_pitch_deg: float = 8.0
    fill_s: float = _USE.fill_s  # gaps up to this are bridged, as the product does

    def seen_as(self, noise: NoiseConfig) -> "SynthConfig":
        """The same scenes under another detector."""
        return replace(self, noise=noise)

    def clean(self) -> "SynthConfig":
        """The same scenes with true 2D points."""
        return self.seen_as(replace(self.noise, level=0.0))


@dataclass(frozen=True)
class Scene:
    """True motion under a camera, in camera axes; `posed` holds points, joints and capsules."""

    posed: Posed
    own: Tensor  # (26, K) which capsules a point lies on
    view: View
    dt_s: Tensor  # (B)
    clip: Tensor  # (B) index of the packed clip
    contact: Tensor  # (B, F, 2) left and right foot planted, 0 to 1
    up: Tensor  # (B, F, 3) the world's up in camera axes

    @property
    def joints_m(self) -> Tensor:
        """True body28 joints (B, F, 28, 3), camera axes; the first 17 are H36M-17."""
        return self.posed.joints_m

    def seen(self, config: NoiseConfig, g: torch.Generator) -> Observed:
        """What a detector reports."""
        posed = self.posed
        sight = Sight(
            xy=self.view.to_image(posed.surface_m),
            points_m=posed.surface_m,
            bones_m=posed.capsule_m,
            radius_m=posed.radius_m,
            own=self.own,
            dt_s=self.dt_s,
            half_size=self.view.half_size,
        )
        return observe(sight, config, g)


@dataclass(frozen=True)
class Batch:
    """What a lifter learns from: xy (B, F, 17, 2) normalised, xyz_m (B, F, 17, 3) root-relative."""

    xy: Tensor
    xyz_m: Tensor
    window: Window


class Motions:
    """The packed clips of one split on a device, and the bodies of that split in them.

    Raises FormatError, and InputError for an unknown or empty split.
    """

    def __init__(self, pack: Pack | Path, split: str, device: torch.device) -> None:
        data = pack if isinstance(pack, Pack) else read_pack(pack)
        self.device, self.split, self.digest = device, split, data.digest
        table = body_table()
        if tuple(data.bones) != table.bones:
            raise FormatError("pack", expected="the bones of bodies.npz", found="other bones")
        chosen = np.flatnonzero(of_split(data, split))
        if not len(chosen):
            raise InputError(f"pack: split {split}", expected="at least one clip", found="none")
        self.names = [str(data.name[clip]) for clip in chosen]
        self.actions = [str(data.action[clip]) for clip in chosen]

        def move(array: np.ndarray, dtype: torch.dtype | None = None) -> Tensor:
            dtype = dtype or torch.get_default_dtype()
            return torch.as_tensor(np.ascontiguousarray(array), dtype=dtype, device=device)

        self.start = move(data.start[chosen], torch.int64)
        self.frames = move(data.frames[chosen], torch.int64)
        self.rate_hz, self.weight = move(data.rate_hz[chosen]), move(data.weight[chosen])
        self.leg_m = move(data.leg_length_m[chosen])
        used, zero = np.unique(data.zero[chosen], return_inverse=True)
        self.zero = move(zero, torch.int64)
        self.quaternion = move(data.quaternion, torch.int16)
        self.root_m, self.contact = move(data.root_m), move(data.contact, torch.uint8)
        self.source = move(data.source, torch.int64)
        bodies = table.of_split(min(SPLITS[split], 2))
        self.bodies = Bodies(bodies, _alignments(bodies, data, used), device)
        self.average_body = int(np.argmin(np.abs(bodies.stature_m - 1.70)))

    def scene(self, batch: int, frames: int, config: SynthConfig, g: torch.Generator) -> Scene:
        """Random windows of `frames` frames with random bodies, seen by random cameras."""
        rate = torch.tensor(config.rates_hz, device=self.device)
        rate = rate[choice(config.rate_weights, batch, g)]
        if config.thinned:
            rate = rate / (rate / _USE.nominal_hz).round().clamp_min(1)
        clip = torch.multinomial(self.weight, batch, replacement=True, generator=g)
        speed = log_uniform((batch,), *config.speed, g)
        rotation, path, contact = self._play(clip, frames, speed / rate, config, g)
        rotation = self._nod(rotation, config, g)

        shape = torch.randint(len(self.bodies), (batch,), device=self.device, generator=g)
        if not config.surface:
            shape = torch.full_like(shape, self.average_body)
        scales = self.bodies.segment_scales(batch, config.segment_spread, g)
        turn = rotation @ self.bodies.alignments[shape, self.zero[clip]][:, None]
        evolved = evolve(turn, config.evolve, g, dt_s=speed / rate)
        legs, contact = self._legs(evolved, contact)
        offset = self.bodies.definition_offsets_m(shape, config.definition, g)
        posed = self.bodies.pose(evolved.turn, shape, scales, offset)
        if not config.surface:
            posed = replace(posed, surface_m=posed.joints_m[:, :, _HALPE_IN_BODY])
        stride = self.bodies.leg_length_m(shape, scales) / self.leg_m[clip[legs]]
        posed = posed.moved(planted_path(posed, path[legs] * stride[:, None, None], contact))
        view = random_view(posed.joints_m, 1 / rate, config.camera, g)
        seen = Posed(
            view.to_camera(posed.surface_m),
            view.to_camera(posed.joints_m),
            view.to_camera(posed.capsule_m),
            posed.radius_m,
        )
        up = view.R_world_to_camera[..., 2]
        return Scene(seen, self.bodies.own, view, 1 / rate, clip, contact, up)

    def _play(
        self, clip: Tensor, frames: int, step_s: Tensor, config: SynthConfig, g: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rotations (B, F, 31, 3, 3), roots (B, F, 3), contacts (B, F, 2) from a random start.

        At equal steps, between stored frames by cubic (Catmull-Rom) interpolation.
        """
        last = (self.frames[clip] - 1).to(step_s.dtype)
        step = step_s * self.rate_hz[clip]
        room = (last - step * (frames - 1)).clamp_min(0)
        begin = uniform((len(clip),), 0, 1, g) * room
        at = begin[:, None] + step[:, None] * torch.arange(frames, device=self.device)
        at = torch.minimum(at, last[:, None])
        back = uniform((len(clip), 1), 0, 1, g) < config.reverse
        at = torch.where(back, at.flip(1), at)
        low = at.floor()
        weights = _catmull_rom(at - low)
        first, last_index = self.start[clip][:, None], (self.frames[clip] - 1)[:, None]
        root, quaternion = torch.zeros((2, 1), device=self.device)
        for reach, weight in enumerate(weights, start=-1):
            index = first + torch.minimum((low.long() + reach).clamp_min(0), last_index)
            root = root + weight[..., None] * self.root_m[index]
            quaternion = quaternion + weight[..., None, None] * self.quaternion[index]
        contact = self.contact[first + at.round().long()].to(step_s.dtype) / 255
        return quaternion_to_matrix(quaternion)[:, :, self.source], root, contact

    def _legs(self, evolved: Evolved, contact: Tensor) -> tuple[Tensor, Tensor]:
        """Whose legs each body walks on (B), its own where they are two people's; contacts."""
        table = self.bodies.table
        left, right = (evolved.source[:, table.index(f"{side}Foot")] for side in ("Left", "Right"))
        legs = torch.where(left == right, left, torch.arange(len(left), device=self.device))
        return legs, torch.stack([contact[left, :, 0], contact[right, :, 1]], dim=-1)

    def _nod(self, rotation: Tensor, config: SynthConfig, g: torch.Generator) -> Tensor:
        """Turn the head about its left-right axis by a random angle per clip.

        How the markers sat on the head differs from subject to subject by 10 to 30 degrees.
        """
        vector = torch.zeros(len(rotation), 3, device=self.device)
        vector[:, 0] = normal((len(rotation),), config.head_pitch_deg, g).deg2rad()
        head = self.bodies.table.index("Head")
        rotation = rotation.clone()
        rotation[:, :, head] = rotation[:, :, head] @ rotation_vector_to_matrix(vector)[:, None]
        return rotation


def _catmull_rom(s: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights of the values at -1, 0, 1, 2 for a place s in 0..1."""
    return (
        ((-0.5 * s + 1) * s - 0.5) * s,
        (1.5 * s - 2.5) * s * s + 1,
        ((-1.5 * s + 2) * s + 0.5) * s,
        (0.5 * s - 0.5) * s * s,
    )


_HALPE_IN_BODY = [BODY.index(joint) for joint in HALPE.joints]


def generator(seed: int, step: int, rank: int, device: torch.device) -> torch.Generator:
    """The random stream of one batch."""
    state = np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state >> np.uint64(1)))


def make_batch(
    motions: Motions, batch: int, frames: int, config: SynthConfig, g: torch.Generator
) -> Batch:
    """One training batch of windows; half of them are mirrored."""
    scene = motions.scene(batch, frames, config, g)
    seen = window_batch(scene, scene.seen(config.noise, g), config)
    mirrored = uniform((batch, 1, 1, 1), 0, 1, g) < 0.5
    return Batch(
        torch.where(mirrored, mirror(seen.xy), seen.xy),
        torch.where(mirrored, mirror(seen.xyz_m), seen.xyz_m),
        seen.window,
    )


def window_batch(scene: Scene, observed: Observed, config: SynthConfig) -> Batch:
    """Scenes as a windowed lifter meets them: COCO-17 to H36M-17, gaps bridged, normalised."""
    sure = observed.confidence[:, :, : len(COCO), None] >= _USE.least_confidence
    coco = torch.where(sure, observed.xy[:, :, : len(COCO)], torch.nan)
    rays = fill_gaps(scene.view.to_rays(to_h36m(coco)), scene.dt_s, config.fill_s)
    window = person_window(rays)
    joints = scene.joints_m[:, :, : len(H36M)]
    return Batch(window.xy, window.to_view(joints - joints[:, :, :1]), window)


def mirror(joints: Tensor) -> Tensor:
    """Joints (..., 17, C) seen in a mirror: x changes sign, left and right change places."""
    flipped = joints[..., H36M.mirror, :]
    return torch.cat([-flipped[..., :1], flipped[..., 1:]], dim=-1)


def to_h36m(coco: Tensor) -> Tensor:
    """COCO-17 points (..., 17, C) as H36M-17 by the rules of poselift.skeleton; NaN spreads."""
    matrix = torch.as_tensor(conversion(COCO, H36M), dtype=coco.dtype, device=coco.device)
    lost = torch.isnan(coco).any(-1, keepdim=True)
    missing = (matrix != 0).to(coco.dtype) @ lost.to(coco.dtype) > 0
    return torch.where(missing, torch.nan, matrix @ torch.nan_to_num(coco))


def fill_gaps(values: Tensor, dt_s: Tensor, longest_s: float) -> Tensor:
    """Bridge NaN gaps up to `longest_s` in values (B, F, J, C) by straight lines in time.

    The twin on a device of poselift.signal.fill_gaps, against which it is tested.
    """
    frames = values.shape[1]
    time = torch.arange(frames, device=values.device)[None, :, None]
    seen = ~torch.isnan(values).any(-1)
    before = torch.where(seen, time, -1).cummax(1).values
    after = torch.where(seen, time, frames).flip(1).cummin(1).values.flip(1)
    inside = (before >= 0) & (after < frames)
    inside &= (after - before) * dt_s[:, None, None] <= longest_s + 1e-6
    low, high = before.clamp_min(0), after.clamp_max(frames - 1)
    share = (time - low) / (high - low).clamp_min(1)

    def take(index: Tensor) -> Tensor:
        return values.gather(1, index[..., None].expand_as(values))

    line = take(low) + (take(high) - take(low)) * share[..., None]
    return torch.where((~seen & inside)[..., None], line, values)


def splits_of(pack: Pack) -> dict[str, str]:
    """The splits that a pack holds clips of, each with how much: "12 clips of 3 subjects, ..."."""
    seconds = pack.frames / pack.rate_hz
    out = {}
    for split in SPLITS:
        chosen = of_split(pack, split)
        if chosen.any():
            subjects = len(set(pack.subject[chosen]))
            minutes = seconds[chosen].sum() / 60
            out[split] = f"{chosen.sum()} clips of {subjects} subjects, {minutes:.0f} minutes"
    return out


def of_split(pack: Pack, split: str) -> np.ndarray:
    """Which clips (C) belong to a split. Raises InputError."""
    if split not in SPLITS:
        raise InputError("split", found=repr(split), known=SPLITS)
    other = np.char.startswith(pack.archive, _OTHER_LABORATORY)
    return (pack.split == SPLITS[split]) & (other == (split == "cross-corpus"))


def _alignments(table: BodyTable, pack: Pack, used: np.ndarray) -> Array:
    """Alignments (S, Z, 31, 3, 3) of every body with the source skeletons `used`."""
    directions = pack.zero_direction_m[used][:, pack.source]
    return np.stack(
        [alignment(table, dict(zip(table.bones, zero, strict=True))) for zero in directions],
        axis=1,
    )
