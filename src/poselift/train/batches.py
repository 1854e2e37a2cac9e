"""Batches by (seed, step, rank): packed motion, a random body, a camera, a detector, a window.

The same triple gives the same batch after a resume and for any number of workers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from poselift.errors import FormatError, InputError
from poselift.normalize import Window, person_window
from poselift.skeleton import conversion
from poselift.train.bodies import COCO, H36M, Bodies, alignment, body_table
from poselift.train.noise import NoiseConfig, observe
from poselift.train.synth import (
    CameraConfig,
    View,
    normal,
    quaternion_to_matrix,
    random_view,
    rotation_vector_to_matrix,
    uniform,
)

# Name to code in the pack. The test clips of another laboratory are a track of their own.
SPLITS = {"train": 0, "validation": 1, "test": 2, "cross-corpus": 2}
_OTHER_LABORATORY = "hdm05"


@dataclass(frozen=True)
class SynthConfig:
    """All ranges of the synthesis."""

    camera: CameraConfig = field(default_factory=CameraConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    rate_hz: tuple[float, float] = (20.0, 45.0)  # log-uniform
    speed: tuple[float, float] = (0.8, 1.25)  # play speed, log-uniform
    segment_spread: float = 0.05  # log-normal factor per body segment
    head_pitch_deg: float = 8.0
    fill_s: float = 0.25  # gaps up to this are bridged, as the product does

    def clean(self) -> "SynthConfig":
        """The same with true 2D points and the true focal length's statistics unchanged."""
        return replace(self, noise=replace(self.noise, level=0.0))


@dataclass(frozen=True)
class Scene:
    """True motion under a camera: COCO keypoints and H36M joints (B, F, 17, 3), camera axes."""

    keypoints_m: Tensor
    joints_m: Tensor
    view: View
    dt_s: Tensor  # (B)
    clip: Tensor  # (B) index of the packed clip


@dataclass(frozen=True)
class Batch:
    """What a lifter learns from: xy (B, F, 17, 2) normalised, xyz_m (B, F, 17, 3) root-relative."""

    xy: Tensor
    xyz_m: Tensor
    window: Window


class Motions:
    """The packed clips of one split on a device, and any body in them."""

    def __init__(self, pack: Path, split: str, device: torch.device) -> None:
        if split not in SPLITS:
            raise InputError("split", found=repr(split), known=SPLITS)
        data = _read_pack(pack)
        self.device, self.split = device, split
        table = body_table()
        if tuple(map(str, data["bones"])) != table.bones:
            raise FormatError(str(pack), expected="the bones of bodies.npz", found="other bones")
        chosen = np.flatnonzero(_of_split(data, split))
        if not len(chosen):
            raise InputError(f"{pack}: split {split}", expected="at least one clip", found="none")
        self.names = [str(data["name"][clip]) for clip in chosen]

        def move(array: np.ndarray, dtype: torch.dtype | None = None) -> Tensor:
            return torch.as_tensor(np.ascontiguousarray(array), dtype=dtype, device=device)

        self.start = move(data["start"][chosen], torch.int64)
        self.frames = move(data["frames"][chosen], torch.int64)
        self.rate_hz = move(data["rate_hz"][chosen], torch.float32)
        self.weight = move(data["weight"][chosen], torch.float32)
        self.leg_m = move(data["leg_length_m"][chosen], torch.float32)
        self.zero = move(data["zero"][chosen], torch.int64)
        self.quaternion = move(data["quaternion"])
        self.root_m = move(data["root_m"], torch.float32)
        self.source = move(data["source"], torch.int64)
        self.bodies = Bodies(table, _alignments(data), device)

    def scene(self, batch: int, frames: int, config: SynthConfig, g: torch.Generator) -> Scene:
        """Random windows of `frames` frames with random bodies, seen by random cameras."""
        low, high = np.log(config.rate_hz)
        dt = torch.exp(-uniform((batch,), low, high, g))
        clip = torch.multinomial(self.weight, batch, replacement=True, generator=g)
        low, high = np.log(config.speed)
        speed = torch.exp(uniform((batch,), low, high, g))
        rotation, root = self._play(clip, frames, dt * speed, g)
        rotation = self._nod(rotation, config, g)

        shape = torch.randint(len(self.bodies), (batch,), device=self.device, generator=g)
        scales = self.bodies.segment_scales(batch, config.segment_spread, g)
        stride = self.bodies.leg_length_m(shape, scales) / self.leg_m[clip]
        keypoints, joints = self.bodies.pose(
            shape, self.zero[clip], scales, rotation, root * stride[:, None, None]
        )
        view = random_view(joints, dt, config.camera, g)
        return Scene(view.to_camera(keypoints), view.to_camera(joints), view, dt, clip)

    def _play(
        self, clip: Tensor, frames: int, step_s: Tensor, g: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Rotations (B, F, 31, 3, 3) and roots (B, F, 3) at equal steps from a random start."""
        last = (self.frames[clip] - 1).float()
        step = step_s * self.rate_hz[clip]
        room = (last - step * (frames - 1)).clamp_min(0)
        begin = uniform((len(clip),), 0, 1, g) * room
        at = begin[:, None] + step[:, None] * torch.arange(frames, device=self.device)
        at = torch.minimum(at, last[:, None])
        low = at.floor().long()
        high = torch.minimum(low + 1, last.long()[:, None])
        share = (at - low)[..., None]
        low, high = low + self.start[clip][:, None], high + self.start[clip][:, None]
        root = self.root_m[low] * (1 - share) + self.root_m[high] * share
        share = share[..., None]
        mixed = self.quaternion[low].float() * (1 - share) + self.quaternion[high].float() * share
        return quaternion_to_matrix(mixed)[:, :, self.source], root

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


def generator(seed: int, step: int, rank: int, device: torch.device) -> torch.Generator:
    """The random stream of one batch."""
    state = np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state >> np.uint64(1)))


def make_batch(
    motions: Motions, batch: int, frames: int, config: SynthConfig, g: torch.Generator
) -> Batch:
    """One training batch; half of its windows are mirrored."""
    scene = motions.scene(batch, frames, config, g)
    xy = scene.view.to_image(scene.keypoints_m)
    xy = observe(xy, scene.keypoints_m[..., 2], scene.dt_s, config.noise, g)
    xy = _outside_is_lost(xy, scene.view.half_size)
    rays = fill_gaps(scene.view.to_rays(to_h36m(xy)), scene.dt_s, config.fill_s)
    window = person_window(rays)
    target = window.to_view(scene.joints_m - scene.joints_m[:, :, :1])
    mirrored = uniform((batch, 1, 1, 1), 0, 1, g) < 0.5
    return Batch(
        torch.where(mirrored, mirror(window.xy), window.xy),
        torch.where(mirrored, mirror(target), target),
        window,
    )


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


def _outside_is_lost(xy: Tensor, half_size: Tensor) -> Tensor:
    """Points far outside the image are no longer reported."""
    margin = 1.1 * half_size[:, None, None]
    return torch.where((xy.abs() > margin).any(-1, keepdim=True), torch.nan, xy)


def splits_of(pack: Path) -> dict[str, str]:
    """The splits that a pack holds clips of, each with how much: "12 clips of 3 subjects, ..."."""
    data = _read_pack(pack, ("split", "archive", "subject", "frames", "rate_hz"))
    seconds = data["frames"] / data["rate_hz"]
    out = {}
    for split in SPLITS:
        chosen = _of_split(data, split)
        if chosen.any():
            subjects = len(set(data["subject"][chosen]))
            minutes = seconds[chosen].sum() / 60
            out[split] = f"{chosen.sum()} clips of {subjects} subjects, {minutes:.0f} minutes"
    return out


def _of_split(data: dict[str, np.ndarray], split: str) -> np.ndarray:
    other = np.char.startswith(data["archive"], _OTHER_LABORATORY)
    return (data["split"] == SPLITS[split]) & (other == (split == "cross-corpus"))


def _read_pack(pack: Path, names: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """The arrays of a pack, or only those named. Raises FormatError."""
    try:
        with np.load(pack, allow_pickle=False) as data:
            return {name: data[name] for name in names or data.files}
    except (OSError, ValueError, KeyError) as error:
        raise FormatError(
            str(pack), expected="a pack made by `poselift mocap build`", found=str(error)
        ) from error


def _alignments(data: dict[str, np.ndarray]) -> np.ndarray:
    """Alignments (S, Z, 31, 3, 3) of every body with every source skeleton."""
    table = body_table()
    return np.stack(
        [
            alignment(table, dict(zip(table.bones, zero[data["source"]], strict=True)))
            for zero in data["zero_direction_m"]
        ],
        axis=1,
    )
