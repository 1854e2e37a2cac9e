"""Render the clips on which 2D detectors are measured: many bodies, actions, rooms and cameras.

    pip install -e '.[bodies]'
    python scripts/render_set.py --mocap DIR --out DIR

Every clip becomes an MP4 and an NPZ with exact truth (`truth` below). A clip that is there is not
rendered again, so the command may be cut off and repeated. About half an hour on one core.
Clips are of two kinds by the mocap subject (src/poselift/train/split.json): subjects of training
and validation serve to fit the noise of training, test subjects to test lifters on detections.
"""

import argparse
import json
import os
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from anny import Anny
from anny.shape_distribution import SimpleShapeDistribution
from numpy.typing import NDArray
from raycast import Scene, render
from render_sample import LICENCE, clothed, display, encode, find_clip
from sample_body import FEET, Body, Performance, dress, load_model, perform, shape_body
from sample_motion import CmuMotion, read_amc, read_asf
from scipy.ndimage import gaussian_filter1d

from poselift.camera import Camera
from poselift.errors import PoseliftError
from poselift.geometry import unit
from poselift.io.files import atomic
from poselift.skeleton import skeleton
from poselift.train.posing import _CAPSULES

Array = NDArray[np.floating]

MOTION_FPS = 60
FPS = 30
FRAMES = 48
SAMPLES = 2  # squared: rays in each pixel
HIDDEN_BELOW_M, HIDDEN_BELOW_HIP_M = 0.12, 0.18  # deeper below the visible surface is hidden
NEAR_M, FAR_M = 1.2, 40.0
SIZES_PX = ((480, 480), (640, 480), (480, 640), (640, 360))
VIEW_DEG = (35.0, 80.0)  # along the longer side
PITCH_DEG = (-10.0, 25.0)
EYE_HEIGHT_M = (0.15, 2.7)
ZOOMED_OUT = (1.0, 1.9)  # distance, of the nearest that shows everything
TRUNCATED, TRUNCATED_AT = 0.2, (0.7, 0.95)  # share of clips; their distance
MOVING = 0.3  # share of clips whose camera follows and trembles
TREMBLE_DEG, TREMBLE_FRAMES = 1.0, 10
NOISE = 0.02  # most, of white
TONES = ((0.60, 0.32, 0.21), (0.72, 0.45, 0.33), (0.42, 0.21, 0.12), (0.22, 0.10, 0.06))
HAIRS = ((0.035, 0.018, 0.011), (0.25, 0.15, 0.06), (0.35, 0.33, 0.31), (0.12, 0.05, 0.02))


@dataclass(frozen=True)
class Shot:
    """What is rendered: a trial of CMU, from when, what it shows, and the person's age."""

    trial: str
    start_s: float
    action: str
    age_years: float
    female: bool

    @property
    def name(self) -> str:
        """Name of its files."""
        return f"{self.trial}-{self.start_s:g}s"


SHOTS = (
    Shot("05_05", 2.5, "dance", 24, True),
    Shot("02_06", 4.0, "bend and scoop", 30, False),
    Shot("14_02", 12.0, "box", 35, False),
    Shot("86_01", 9.0, "kick and punch", 26, True),
    Shot("13_30", 5.0, "jumping jacks", 10, False),
    Shot("49_09", 6.0, "dance", 22, True),
    Shot("01_06", 20.0, "climb and sit", 9, False),
    Shot("49_02", 4.0, "hop", 11, True),
    Shot("06_13", 10.0, "dribble", 19, False),
    Shot("86_09", 10.0, "sit", 70, True),
    Shot("131_05", 4.0, "duck", 72, False),
    Shot("02_05", 6.0, "punch", 40, False),
    Shot("55_02", 6.0, "dance", 33, True),
    Shot("10_05", 1.0, "kick a ball", 15, False),
    Shot("35_01", 0.3, "walk", 75, True),
    Shot("39_02", 1.0, "walk", 28, True),
    Shot("14_06", 25.0, "squat", 45, True),
    Shot("49_06", 1.2, "cartwheel", 17, True),
    Shot("29_02", 8.0, "signals", 50, False),
    Shot("02_10", 8.0, "wash", 68, False),
    Shot("127_03", 1.0, "run", 27, False),
    Shot("09_01", 0.0, "run", 21, False),
    Shot("14_04", 2.0, "drink", 66, True),
    Shot("49_18", 3.0, "balance", 30, True),
    Shot("13_31", 9.0, "bend over", 38, False),
    Shot("02_07", 7.0, "swordplay", 34, True),
    Shot("135_04", 4.0, "front kick", 14, False),
    Shot("08_01", 0.5, "walk", 6, True),
    Shot("16_05", 0.8, "jump", 8, True),
    Shot("02_03", 0.0, "run", 13, False),
    Shot("05_02", 4.0, "pirouette", 29, True),
    Shot("86_01", 25.0, "jump", 52, False),
    Shot("01_08", 12.0, "sit down", 12, True),
    Shot("49_15", 3.0, "fold in", 25, True),
    Shot("03_01", 1.0, "walk", 5, False),
    Shot("02_04", 1.5, "jump", 44, False),
    Shot("14_06", 5.0, "jumping jacks", 31, False),
    Shot("13_31", 3.0, "side twists", 23, True),
    Shot("05_06", 1.5, "cartwheel", 20, True),
    Shot("01_02", 10.0, "climb", 16, False),
    Shot("17_10", 5.0, "box", 42, True),
    Shot("16_08", 0.2, "run and stop", 37, False),
    Shot("06_14", 1.0, "shoot a ball", 25, False),
    Shot("11_01", 1.5, "kick a ball", 12, False),
    Shot("131_03", 3.0, "hop", 64, True),
    Shot("29_04", 6.0, "sign", 71, False),
    Shot("29_03", 6.0, "play a teapot", 7, True),
    Shot("135_07", 4.0, "roundhouse kick", 28, True),
    Shot("55_01", 5.0, "whirl", 18, True),
    Shot("14_10", 10.0, "wash windows", 58, True),
    Shot("07_01", 0.5, "walk", 48, False),
    Shot("13_11", 1.5, "jump forward", 32, False),
    Shot("01_08", 16.0, "lower to the ground", 26, False),
    Shot("05_08", 1.0, "leap", 15, True),
    Shot("14_08", 8.0, "reach up", 36, False),
    Shot("127_02", 8.0, "stretch", 41, True),
    Shot("03_03", 6.0, "walk on uneven ground", 69, True),
    Shot("06_13", 25.0, "dribble", 22, True),
    Shot("16_03", 1.0, "high jump", 30, True),
    Shot("135_02", 10.0, "karate", 24, False),
)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mocap", type=Path, required=True, help="folder with CMU ASF/AMC files")
    parser.add_argument("--out", type=Path, required=True, help="folder for the clips")
    parser.add_argument("--stills", action="store_true", help="only the middle frame of each, PNG")
    return parser.parse_args()


def split_of(trial: str) -> str:
    """train, validation or test, by the subject of a CMU trial."""
    table = json.loads(files("poselift.train").joinpath("split.json").read_text())
    subject = f"cmu_{trial.split('_')[0]}"
    named = [name for name in ("train", "validation", "test") if subject in table[name]]
    return named[0] if named else table["default"]


def load_motion(folder: Path, shot: Shot) -> CmuMotion:
    """The frames that are rendered, none interpolated. Raises InputError."""
    amc, asf = find_clip(folder, shot.trial)
    motion = read_amc(amc, read_asf(asf))
    step = MOTION_FPS // FPS
    last = max(0, len(motion.root_m) - step * FRAMES)
    start = min(round(shot.start_s * MOTION_FPS), last)
    frames = slice(start, start + step * FRAMES, step)
    turn = {bone: turns[frames] for bone, turns in motion.turn.items()}
    return CmuMotion(motion.bones, turn, motion.root_m[frames])


def draw_body(model: Anny, shot: Shot, seed: int) -> Body:
    """A body of that age and sex, from anny's distribution of people."""
    torch.manual_seed(seed)
    age = torch.distributions.Uniform(*torch.tensor([shot.age_years, shot.age_years + 1.0]))
    gender = (0.9, 1.0) if shot.female else (0.0, 0.1)
    sex = torch.distributions.Uniform(*torch.tensor(gender))
    _, phenotype = SimpleShapeDistribution(model, age, sex).sample(1)
    return shape_body(model, {name: float(value) for name, value in phenotype.items()})


class Cameras:
    """The random camera of a clip: one `Camera` per frame, still or following the body."""

    def __init__(self, vertices_m: Array, rng: np.random.Generator) -> None:
        self._cloud = vertices_m[:, ::20]
        self._size_px = SIZES_PX[rng.integers(len(SIZES_PX))]
        view = np.deg2rad(np.exp(rng.uniform(*np.log(VIEW_DEG))))
        focal = max(self._size_px) / 2 / np.tan(view / 2)
        w, h = self._size_px
        self._K = np.array([[focal, 0, w / 2], [0, focal, h / 2], [0, 0, 1]])
        azimuth, pitch = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(*PITCH_DEG))
        towards = [np.cos(azimuth), np.sin(azimuth), 0]
        self._towards = np.cos(pitch) * np.array(towards) + np.array([0, 0, np.sin(pitch)])
        moving = rng.random() < MOVING
        self._target = self._targets(moving)
        self._turn = self._turns(moving, rng)
        truncated = rng.random() < TRUNCATED
        zoom = rng.uniform(*(TRUNCATED_AT if truncated else ZOOMED_OUT))
        self.frames = self._at(self._nearest() * zoom)
        if not truncated:
            self._off_centre(rng)

    def _targets(self, moving: bool) -> Array:
        """What the camera looks at, (T, 3)."""
        low, high = self._cloud.min(axis=1), self._cloud.max(axis=1)
        if moving:
            return gaussian_filter1d((low + high) / 2, sigma=TREMBLE_FRAMES, axis=0)
        return np.tile((low.min(axis=0) + high.max(axis=0)) / 2, (len(low), 1))

    def _turns(self, moving: bool, rng: np.random.Generator) -> Array:
        """Trembling about x and y, (T, 2) radians."""
        drawn = rng.normal(size=(len(self._cloud), 2))
        smooth = gaussian_filter1d(drawn, sigma=TREMBLE_FRAMES / 4, axis=0)
        return moving * np.deg2rad(TREMBLE_DEG) * smooth / smooth.std(axis=0)

    def _at(self, distance_m: float, off: Array | None = None) -> list[Camera]:
        middle = self._target.mean(axis=0)
        eye = middle + self._towards * distance_m
        eye[2] = np.clip(eye[2], *EYE_HEIGHT_M)
        turns = self._turn + (np.zeros(2) if off is None else off)
        return [self._camera(eye, *pair) for pair in zip(self._target, turns, strict=True)]

    def _camera(self, eye: Array, target: Array, turn: Array) -> Camera:
        z = unit(target - eye)
        x = unit(np.cross(z, [0.0, 0.0, 1.0]))
        level = np.stack([x, np.cross(z, x), z])
        (c, d), (s, t) = np.cos(turn), np.sin(turn)
        about_x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
        about_y = np.array([[d, 0, t], [0, 1, 0], [-t, 0, d]])
        rotation = about_x @ about_y @ level
        return Camera(self._K, self._size_px, rotation, -rotation @ eye)

    def _shares(self, cameras: list[Camera]) -> Array:
        """Where the body lies in the images (T, N, 2), 0..1; NaN behind the camera."""
        pairs = zip(cameras, self._cloud, strict=True)
        return np.stack([camera.world_to_image(cloud) for camera, cloud in pairs]) / self._size_px

    def _nearest(self) -> float:
        """The shortest distance from which everything is seen."""
        near, far = NEAR_M, FAR_M
        while far - near > 1e-2:
            distance = (near + far) / 2
            xy = self._shares(self._at(distance))
            fits = bool(np.all((xy > 0.04) & (xy < 0.96)))
            near, far = (near, distance) if fits else (distance, far)
        return far

    def _off_centre(self, rng: np.random.Generator) -> None:
        """Turn the camera so that the body moves within the free space (in place)."""
        xy = self._shares(self.frames)
        free = np.minimum(xy.min(axis=(0, 1)), 1 - xy.max(axis=(0, 1))).clip(0)
        shift_px = rng.uniform(-1, 1, 2) * free * self._size_px
        angle = np.arctan(shift_px / self._K[0, 0])
        middle = self._target.mean(axis=0)
        eye = self.frames[0].camera_to_world(np.zeros(3))
        distance = (eye - middle) @ self._towards / (self._towards @ self._towards)
        self.frames = self._at(float(distance), np.array([-angle[1], angle[0]]))


def look(body: Body, cameras: list[Camera], vertices_m: Array, rng: np.random.Generator) -> tuple:
    """A room around everything, and clothes: Scene and Outfit."""
    outfit = dress(body, TONES[rng.integers(len(TONES))])
    garments = [tuple(rng.uniform(0.02, 0.7, 3)) for _ in range(3)]
    eyes = np.array([camera.camera_to_world(np.zeros(3)) for camera in cameras])
    towards = unit(eyes[0] * [1, 1, 0])
    aside = np.array([-towards[1], towards[0], 0]) * rng.uniform(-1.5, 1.5)
    lamp = aside + towards * rng.uniform(0.0, 2.0) + [0, 0, 2.9]
    half = max(np.abs(eyes[:, :2]).max(), np.abs(vertices_m[..., :2]).max()) + rng.uniform(0.5, 2)
    clothes = (*garments, HAIRS[rng.integers(len(HAIRS))])
    floor, wall = (tuple(rng.uniform(0.5, 1.5, 3)) for _ in range(2))
    scene = Scene(
        body.faces, outfit.skin, outfit.inside_m, clothes, tuple(lamp), float(half), floor, wall
    )
    return scene, outfit


def surface(body: Body, performance: Performance) -> Array:
    """HALPE-26 on the skin (T, 26, 3), world; neck and pelvis between shoulders and hips."""
    names = (*skeleton("coco17").joints, *FEET)
    at = dict(zip(names, performance.keypoints_m.swapaxes(0, 1), strict=True))
    at["head_top"] = performance.vertices_m[:, body.vertices_m[:, 2].argmax()]
    at["neck"] = (at["left_shoulder"] + at["right_shoulder"]) / 2
    at["pelvis"] = (at["left_hip"] + at["right_hip"]) / 2
    return np.stack([at[joint] for joint in skeleton("halpe26").joints], axis=1)


def inside(body: Body, performance: Performance, surface_m: Array) -> Array:
    """body28 (T, 28, 3), world: joint centres, the bone's head for the neck, skin for the rest."""
    h36m, halpe = skeleton("h36m17").joints, skeleton("halpe26").joints
    at = dict(zip(halpe, surface_m.swapaxes(0, 1), strict=True))
    at |= dict(zip(h36m, performance.joints_m.swapaxes(0, 1), strict=True))
    at["head_top"] = surface_m[:, halpe.index("head_top")]
    at["neck"] = performance.heads_m[:, body.labels.index("Neck")]
    return np.stack([at[joint] for joint in skeleton("body28").joints], axis=1)


def capsules(body: Body, performance: Performance, top_m: Array) -> tuple[Array, Array]:
    """Flesh as in poselift.train.posing: ends (T, K, 2, 3), world, and radii (K,)."""
    ends, radii = [], []
    most = body.skinning.argmax(axis=1)
    for start, end, flesh in _CAPSULES:
        bone = body.labels.index(flesh)
        heads = [performance.heads_m[:, body.labels.index(name)] for name in (start, end or start)]
        ends.append(np.stack([heads[0], heads[1] if end else top_m], axis=1))
        axis = unit(body.tails_m[bone] - body.heads_m[bone])
        out = body.vertices_m[most == bone] - body.heads_m[bone]
        radii.append(np.linalg.norm(np.cross(out, axis), axis=-1).mean())
    return np.stack(ends, axis=1), np.array(radii)


def truth(
    shot: Shot, body: Body, performance: Performance, cameras: list[Camera], depth_m: Array
) -> dict[str, np.ndarray]:
    """Arrays of a clip. Camera axes: x right, y down, z forward, metres.

    surface_m (T, 26, 3), surface_px (T, 26, 2), hidden (T, 26): HALPE-26, what a perfect detector
    reports; joints_m (T, 28, 3): body28; capsule_m (T, K, 2, 3), radius_m (K); K; size_px.
    """
    halpe = skeleton("halpe26").joints
    skin = surface(body, performance)
    ends, radii = capsules(body, performance, skin[:, halpe.index("head_top")])
    flesh = [HIDDEN_BELOW_HIP_M if name.endswith("hip") else HIDDEN_BELOW_M for name in halpe]

    def seen(points: Array) -> Array:
        flat = points.reshape(len(points), -1, 3)
        pairs = zip(cameras, flat, strict=True)
        return np.stack([camera.world_to_camera(xyz) for camera, xyz in pairs]).reshape(
            points.shape
        )

    camera_m = seen(skin)
    pixels = [camera.camera_to_image(xyz) for camera, xyz in zip(cameras, camera_m, strict=True)]
    return {
        "time_s": np.arange(len(skin)) / FPS,
        "size_px": np.array(cameras[0].size_px),
        "K": cameras[0].K,
        "surface_m": camera_m,
        "surface_px": np.stack(pixels),
        "hidden": depth_m > np.array(flesh),
        "joints_m": seen(inside(body, performance, skin)),
        "capsule_m": seen(ends),
        "radius_m": radii,
        "split": np.array(split_of(shot.trial)),
        "trial": np.array(shot.trial),
        "action": np.array(shot.action),
        "age_years": np.array(shot.age_years),
        "female": np.array(shot.female),
        "licence": np.array(LICENCE),
    }


def shoot(model: Anny, shot: Shot, seed: int, args: argparse.Namespace) -> None:
    """Render one clip and write it; the NPZ last, as the sign that it is complete."""
    rng = np.random.default_rng([21, seed])
    body = draw_body(model, shot, seed)
    performance = perform(body, load_motion(args.mocap, shot))
    cameras = Cameras(performance.vertices_m, rng).frames
    scene, outfit = look(body, cameras, performance.vertices_m, rng)
    exposure, grain = rng.uniform(0.6, 1.3), rng.uniform(0, NOISE)
    points = surface(body, performance)
    frames, depths = [], []
    for i in [len(cameras) // 2] if args.stills else range(len(cameras)):
        vertices = clothed(performance, outfit, body, i)
        linear, _, depth = render(scene, vertices, cameras[i], SAMPLES, points[i])
        pixels = display(linear * exposure) + rng.normal(0, 255 * grain, (*linear.shape[:2], 1))
        frames.append(pixels.clip(0, 255).astype(np.uint8))
        depths.append(depth)
    if args.stills:
        from PIL import Image

        Image.fromarray(frames[0]).save(args.out / f"{shot.name}.png")
        return
    with atomic(args.out / f"{shot.name}.mp4") as part:
        encode(part, frames, FPS)
    with atomic(args.out / f"{shot.name}.npz") as part:
        np.savez_compressed(part, **truth(shot, body, performance, cameras, np.array(depths)))


def main() -> None:
    """Render all clips that are not there yet."""
    args = _arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    model = load_model()
    for seed, shot in enumerate(SHOTS):
        print(f"{seed + 1}/{len(SHOTS)} {split_of(shot.trial)} {shot.name}", flush=True)
        if not (args.out / f"{shot.name}.npz").exists():
            shoot(model, shot, seed, args)


if __name__ == "__main__":
    os.nice(10)
    try:
        main()
    except PoseliftError as error:
        sys.exit(f"render_set: {error}")
