"""Render the clips on which 2D detectors are measured: many bodies, actions, rooms and cameras.

    pip install -e '.[bodies]'
    python scripts/render_set.py --mocap DIR --out DIR

Every clip becomes an MP4 and an NPZ with exact truth (set_truth.py). A clip that is there is not
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
from sample_body import Body, dress, load_model, perform, shape_body
from sample_motion import CmuMotion, read_amc, read_asf
from set_camera import Cameras
from set_truth import surface, truth

from poselift.camera import Camera
from poselift.errors import InputError, PoseliftError
from poselift.geometry import unit
from poselift.io.files import atomic

Array = NDArray[np.floating]

FPS = 30
FRAMES = 48
SAMPLES = 2  # squared: rays in each pixel
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
)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mocap", type=Path, required=True, help="folder with CMU ASF/AMC files")
    parser.add_argument("--out", type=Path, required=True, help="folder for the clips")
    parser.add_argument("--motion-fps", type=int, default=120, help="frame rate of the AMC files")
    parser.add_argument("--stills", action="store_true", help="only the middle frame of each, PNG")
    return parser.parse_args()


def split_of(trial: str) -> str:
    """train, validation or test, by the subject of a CMU trial."""
    table = json.loads(files("poselift.train").joinpath("split.json").read_text())
    subject = f"cmu_{trial.split('_')[0]}"
    named = [name for name in ("train", "validation", "test") if subject in table[name]]
    return named[0] if named else table["default"]


def load_motion(folder: Path, shot: Shot, motion_fps: int) -> CmuMotion:
    """The frames that are rendered, none interpolated. Raises InputError."""
    step, rest = divmod(motion_fps, FPS)
    if rest or not step:
        raise InputError("--motion-fps", expected=f"a multiple of {FPS}", found=motion_fps)
    amc, asf = find_clip(folder, shot.trial)
    motion = read_amc(amc, read_asf(asf))
    last = max(0, len(motion.root_m) - step * FRAMES)
    start = min(round(shot.start_s * motion_fps), last)
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


def about(shot: Shot, frames: int) -> dict[str, np.ndarray]:
    """What is known of a clip besides its geometry."""
    entries = {
        "time_s": np.arange(frames) / FPS,
        "split": split_of(shot.trial),
        "trial": shot.trial,
        "action": shot.action,
        "age_years": shot.age_years,
        "female": shot.female,
        "licence": LICENCE,
    }
    return {name: np.asarray(value) for name, value in entries.items()}


def shoot(model: Anny, shot: Shot, seed: int, args: argparse.Namespace) -> None:
    """Render one clip and write it; the NPZ last, as the sign that it is complete."""
    rng = np.random.default_rng([21, seed])
    body = draw_body(model, shot, seed)
    performance = perform(body, load_motion(args.mocap, shot, args.motion_fps))
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
        arrays = truth(body, performance, cameras, np.array(depths))
        np.savez_compressed(part, **arrays, **about(shot, len(frames)))


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
