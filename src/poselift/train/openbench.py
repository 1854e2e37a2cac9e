"""`open-v1`: an open benchmark, made bit for bit from the motion pack and numbers in this file.

Held-out subjects in held-out bodies under fixed, seeded cameras and detectors; no lifter was
trained on any of them. Tracks differ in the detector (`clean` to `hard`, `missing`), in what
training never has (`fps`: 24 and 100 frames per second; `fov`: very long and very short lenses) or
in the motion (`cross-corpus`: another laboratory). `rendered` comes with the package: real
detectors on rendered video.

Everything is made in double precision and rounded, so that other processors give the same bits.
"""

import hashlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

from poselift.camera import Camera
from poselift.errors import FormatError, UnknownNameError
from poselift.evaluate import Clip
from poselift.geometry import Array, unit
from poselift.io.files import atomic
from poselift.poses import Poses2D
from poselift.skeleton import Skeleton, skeleton
from poselift.train.batches import Motions, Scene, SynthConfig, generator
from poselift.train.noise import PRESETS, NoiseConfig, Observed
from poselift.train.pack import Pack
from poselift.train.posing import BODY, HALPE
from poselift.train.synth import CameraConfig

NAME = "open-v1"
SEED = 20_261_124
LONGER_SIDE_PX = 1024
CLIPS, FRAMES = 64, 120
_RARE_POSES = 20_000  # training poses against which rarity is measured
RARE_M = 0.105  # a clip is rare where the nearest training pose is further, mean over its frames
SLOW_M_S, FAST_M_S = 0.25, 0.5
H36M = skeleton("h36m17")


@dataclass(frozen=True)
class Track:
    """Where a track's scenes and detections come from; equal `scenes` share motion and cameras."""

    name: str
    meaning: str
    noise: NoiseConfig
    split: str = "test"
    scenes: int = 0
    synth: SynthConfig = field(default_factory=lambda: SynthConfig(thinned=False))


_PLAIN = SynthConfig(thinned=False)
TRACKS: dict[str, Track] = {
    track.name: track
    for track in (
        Track("clean", "true 2D points", PRESETS["clean"]),
        Track("mild", "a good detector on easy video", PRESETS["mild"]),
        Track("real", "detectors as calibrated", PRESETS["real"]),
        Track("hard", "bad detectors, long occlusions", PRESETS["hard"]),
        Track("missing", "as real, and joints lost for long", PRESETS["missing"]),
        Track(
            "fps",
            "as real, at 24 and 100 frames per second",
            PRESETS["real"],
            scenes=1,
            synth=replace(_PLAIN, rates_hz=(24.0, 100.0), rate_weights=(0.5, 0.5)),
        ),
        Track(
            "fov",
            "as real, field of view 12 to 25 degrees",
            PRESETS["real"],
            scenes=2,
            synth=replace(_PLAIN, camera=CameraConfig(view_deg=(12.0, 25.0))),
        ),
        Track(
            "cross-corpus",
            "as real, HDM05's five actors",
            PRESETS["real"],
            "cross-corpus",
            scenes=3,
        ),
    )
}


@dataclass(frozen=True)
class TrackData:
    """A track as arrays. B clips of F frames: pixels, metres in camera axes, seconds."""

    name: str
    xy_px: Array  # (B, F, 26, 2) HALPE-26, NaN = not seen
    confidence: Array  # (B, F, 26)
    joints_m: Array  # (B, F, 28, 3) body28
    hidden: Array  # (B, F, 26)
    contact: Array  # (B, F, 2)
    up: Array  # (B, F, 3)
    step_s: Array  # (B)
    size_px: Array  # (B, 2)
    focal_px: Array  # (B) what the lifter is told
    clip: tuple[str, ...]
    action: tuple[str, ...]
    distance_m: Array  # (B) from the nearest training poses

    def digest(self) -> str:
        """SHA-256 of all that a lifter is given and judged by."""
        sha = hashlib.sha256()
        for name in _ARRAYS:
            array = np.ascontiguousarray(getattr(self, name))
            sha.update(f"{name} {array.dtype.str} {array.shape}".encode())
            sha.update(array.tobytes())
        sha.update("\n".join((*self.clip, *self.action)).encode())
        return sha.hexdigest()

    def clips(self, detector: str = "coco17") -> list[Clip]:
        """What evaluation takes; `detector` names the keypoints of HALPE-26 that are shown."""
        shown = skeleton(detector)
        rows = [HALPE.index(joint) for joint in shown.joints]
        return [self._clip(row, shown, rows) for row in range(len(self.xy_px))]

    def _clip(self, row: int, shown: Skeleton, columns: list[int]) -> Clip:
        width, height = (int(side) for side in self.size_px[row])
        f = float(self.focal_px[row])
        K = np.array([[f, 0, width / 2], [0, f, height / 2], [0, 0, 1.0]])
        time_s = np.arange(self.xy_px.shape[1]) * float(self.step_s[row])
        observed = Poses2D(
            self.xy_px[row][:, columns],
            self.confidence[row][:, columns],
            time_s,
            (width, height),
            shown,
            camera=Camera(K, (width, height)),
            history=(f"{NAME} {self.name}",),
        )
        joints = self.joints_m[row].astype(np.float64)
        return Clip(
            name=f"{self.clip[row]} #{row}",
            observed=observed,
            truth_m=joints[:, : len(H36M)] - joints[:, :1],
            root_m=joints[:, 0],
            contact=self.contact[row] > 0.5,
            up=self.up[row].astype(np.float64),
            strata=self._strata(row),
        )

    def _strata(self, row: int) -> dict[str, str]:
        joints, up = self.joints_m[row].astype(np.float64), self.up[row].astype(np.float64)
        relative = joints[:, : len(H36M)] - joints[:, :1]
        speed = np.linalg.norm(np.diff(relative, axis=0), axis=-1).mean() / self.step_s[row]
        lost = (self.hidden[row] | np.isnan(self.xy_px[row]).any(-1))[:, :17].mean()
        return {
            "action": self.action[row],
            "view": _view(joints, up),
            "speed": "slow" if speed < SLOW_M_S else "fast" if speed > FAST_M_S else "medium",
            "occlusion": "little" if lost < 0.1 else "much" if lost > 0.3 else "some",
            "pose": "rare" if self.distance_m[row] > RARE_M else "common",
        }


_ARRAYS = (
    *("xy_px", "confidence", "joints_m", "hidden", "contact", "up"),
    *("step_s", "size_px", "focal_px", "distance_m"),
)


def _view(joints_m: Array, up: Array) -> str:
    """front, side or back: where the camera stands, seen from the middle frame's body."""
    middle = len(joints_m) // 2
    left = joints_m[middle, BODY.index("left_hip")] - joints_m[middle, BODY.index("right_hip")]
    forward = np.cross(left, up[middle])
    towards = -joints_m[middle, 0]
    flat = [v - up[middle] * (v @ up[middle]) for v in (forward, towards)]
    cosine = float(unit(flat[0]) @ unit(flat[1]))
    return "front" if cosine > 0.5 else "back" if cosine < -0.5 else "side"


@contextmanager
def _double() -> Generator[None]:
    """Double precision and one thread order, so that every machine makes the same clips."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def make_track(
    pack: Pack,
    track: Track,
    library_m: Array | None = None,
    *,
    clips: int = CLIPS,
    frames: int = FRAMES,
) -> TrackData:
    """Make a track; the benchmark's own have CLIPS of FRAMES.

    library_m: `training_poses` of the same pack, made here when left out.
    """
    device = torch.device("cpu")
    library_m = training_poses(pack) if library_m is None else library_m
    with _double(), torch.no_grad():
        motions = Motions(pack, track.split, device)
        scene_stream = generator(SEED, track.scenes, 0, device)
        scene = motions.scene(clips, frames, track.synth, scene_stream)
        observed = scene.seen(track.noise, generator(SEED, track.scenes, 1, device))
    return _rounded(track.name, motions, scene, observed, library_m)


def _rounded(
    name: str, motions: Motions, scene: Scene, observed: Observed, library_m: Array
) -> TrackData:
    side = LONGER_SIDE_PX
    half = scene.view.half_size.numpy()
    size = np.rint(2 * half * side)
    xy = observed.xy.numpy() * side + size[:, None, None] / 2
    joints = scene.joints_m.numpy()
    rows = scene.clip.tolist()
    poses = aligned_poses(joints[:, ::5, : len(H36M)], scene.up.numpy()[:, ::5])
    return TrackData(
        name,
        xy_px=_grid(xy, 1 / 64),
        confidence=_grid(observed.confidence.numpy(), 1 / 1024),
        joints_m=_grid(joints, 2.0**-15),
        hidden=observed.hidden.numpy(),
        contact=_grid(scene.contact.numpy(), 1 / 256),
        up=_grid(scene.up.numpy(), 2.0**-15),
        step_s=scene.dt_s.numpy(),
        size_px=size.astype(np.int64),
        focal_px=_grid(scene.view.guessed_focal.numpy() * side, 1 / 64),
        clip=tuple(motions.names[row] for row in rows),
        action=tuple(motions.actions[row] for row in rows),
        distance_m=_grid(_nearest_m(poses, library_m).mean(-1), 2.0**-12),
    )


def _grid(values: Array, step: float) -> Array:
    """Rounded to multiples of `step`, a power of two, as 32-bit floats."""
    return (np.rint(np.asarray(values, np.float64) / step) * step).astype(np.float32)


def aligned_poses(joints_m: Array, up: Array) -> Array:
    """Root-relative poses (..., 17, 3) seen from the body: x left, y back, z up.

    Heights and limbs stay in metres; joints_m (..., 17, 3) and up (..., 3) share any axes.
    """
    relative = joints_m - joints_m[..., :1, :]
    left = joints_m[..., H36M.index("left_hip"), :] - joints_m[..., H36M.index("right_hip"), :]
    left = unit(left - up * np.sum(left * up, axis=-1, keepdims=True))
    axes = np.stack([left, np.cross(up, left), up], axis=-2)
    return relative @ np.swapaxes(axes, -1, -2)


def training_poses(pack: Pack) -> Array:
    """Poses (N, 17, 3) of the training split as `aligned_poses`, drawn by weight."""
    with _double(), torch.no_grad():
        motions = Motions(pack, "train", torch.device("cpu"))
        scene = motions.scene(_RARE_POSES, 1, _PLAIN, generator(SEED, 100, 0, torch.device("cpu")))
    return aligned_poses(scene.joints_m[:, 0, : len(H36M)].numpy(), scene.up[:, 0].numpy())


def _nearest_m(poses: Array, library_m: Array) -> Array:
    """Root mean square joint distance (B, F) of poses (B, F, 17, 3) to the nearest of a library."""
    flat, known = poses.reshape(-1, 51), library_m.reshape(-1, 51)
    square = np.sum(known**2, -1)
    parts = np.array_split(flat, max(1, len(flat) // 500))
    nearest = [np.maximum(np.sum(p**2, -1) + (square - 2 * p @ known.T).min(-1), 0) for p in parts]
    return np.sqrt(np.concatenate(nearest) / len(H36M)).reshape(poses.shape[:2])


def load_or_make(
    pack: Pack, folder: Path, names: list[str], progress: Callable[[str, int, int], None]
) -> dict[str, TrackData]:
    """Tracks by name, from files in `folder` where they are, else made and kept there.

    Raises UnknownNameError, FormatError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    out, library = {}, None
    for number, name in enumerate(names, start=1):
        if name not in TRACKS:
            raise UnknownNameError("track", name, TRACKS)
        path = folder / f"{NAME}-{name}-{_key(pack, TRACKS[name])}.npz"
        if not path.exists():
            library = training_poses(pack) if library is None else library
            save(make_track(pack, TRACKS[name], library), path)
        out[name] = read(path)
        progress("making the benchmark", number, len(names))
    return out


def _key(pack: Pack, track: Track) -> str:
    """What decides about a track, in 12 letters: motion, settings, bodies, detectors."""
    sha = hashlib.sha256(f"{pack.digest} {track}".encode())
    for name in ("bodies.npz", "detectors.json"):
        sha.update(files("poselift.train").joinpath(name).read_bytes())
    return sha.hexdigest()[:12]


def save(track: TrackData, path: Path) -> None:
    """Write a track as .npz."""
    with atomic(path) as part, part.open("wb") as file:
        arrays = {name: getattr(track, name) for name in _ARRAYS}
        np.savez_compressed(
            file,
            name=np.array(track.name),
            clip=np.array(track.clip),
            action=np.array(track.action),
            digest=np.array(track.digest()),
            **arrays,
        )


def read(path: Path) -> TrackData:
    """A track that `save` wrote. Raises FormatError where it is broken or was changed."""
    try:
        with np.load(path, allow_pickle=False) as data:
            texts = {name: tuple(map(str, data[name])) for name in ("clip", "action")}
            arrays = {name: data[name] for name in _ARRAYS}
            track = TrackData(str(data["name"]), **arrays, **texts)
            digest = str(data["digest"])
    except (OSError, ValueError, KeyError) as error:
        raise FormatError(str(path), expected=f"a track of {NAME}", found=str(error)) from error
    if track.digest() != digest:
        raise FormatError(str(path), expected=f"content with hash {digest}", found=track.digest())
    return track
