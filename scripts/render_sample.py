"""Render examples/sample: a short clip of a moving body with exact 2D and 3D truth.

    pip install -e '.[bodies]'
    python scripts/render_sample.py --mocap DIR

DIR holds the clip's AMC and ASF files from mocap.cs.cmu.edu (86_01.amc, 86.asf), in any folders.
Needs no GPU and no display; three to five minutes on one CPU core, and two more when anny is used
for the first time.
"""

import argparse
import os
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from raycast import Scene, render, vertex_normals
from sample_body import (
    CLOTHES,
    FEET,
    PHENOTYPE,
    Body,
    Outfit,
    Performance,
    dress,
    load_model,
    perform,
    shape_body,
)
from sample_motion import CmuMotion, read_amc, read_asf

from poselift.camera import Camera
from poselift.errors import InputError, PoseliftError
from poselift.geometry import unit
from poselift.skeleton import skeleton

Array = NDArray[np.floating]

LICENCE = (
    "Body: anny (Apache-2.0, NAVER Corp.) with MakeHuman data (CC0). Motion: CMU Graphics Lab"
    " Motion Capture Database, mocap.cs.cmu.edu, created with funding from NSF EIA-0196217."
    " Rendered by poselift (Apache-2.0)."
)
FOCAL = 1.25  # of the image width: 44 degrees of view
MARGIN = 0.07  # of each image side stays empty around the body
CAMERA_HEIGHT_M = 1.45
# A keypoint deeper below the visible surface than this is hidden; less is its own flesh.
HIDDEN_BELOW_M = 0.12
HIDDEN_BELOW_HIP_M = 0.18


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mocap", type=Path, required=True, help="folder with CMU ASF/AMC files")
    parser.add_argument("--out", type=Path, default=Path("examples/sample"))
    parser.add_argument("--clip", default="86_01", help="CMU subject_trial")
    parser.add_argument("--start-s", type=float, default=7.0)
    parser.add_argument("--seconds", type=float, default=4.4)
    parser.add_argument("--motion-fps", type=int, default=120, help="frame rate of the AMC file")
    parser.add_argument("--fps", type=int, default=30, help="frame rate of the video")
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), metavar=("W", "H"))
    parser.add_argument("--azimuth-deg", type=float, default=160.0, help="camera around the body")
    parser.add_argument("--samples", type=int, default=3, help="n x n rays in each pixel")
    parser.add_argument("--still", type=Path, help="write one frame as a picture instead")
    parser.add_argument("--still-s", type=float, default=0.0, help="time of the still in the clip")
    return parser.parse_args()


def find_clip(folder: Path, clip: str) -> tuple[Path, Path]:
    """Paths of the AMC file and its ASF skeleton. Raises InputError."""
    names = (f"{clip}.amc", f"{clip.split('_')[0]}.asf")
    found = [next(iter(sorted(folder.rglob(name))), None) for name in names]
    if found[0] is None or found[1] is None:
        raise InputError(f"motion in {folder}", expected=" and ".join(names), found=found)
    return found[0], found[1]


def cut(motion: CmuMotion, args: argparse.Namespace) -> CmuMotion:
    """The frames that are rendered, none interpolated. Raises InputError."""
    step, rest = divmod(args.motion_fps, args.fps)
    if rest or not step:
        raise InputError("--fps", expected=f"a divisor of {args.motion_fps}", found=args.fps)
    start = round(args.start_s * args.motion_fps)
    frames = slice(start, start + step * round(args.seconds * args.fps), step)
    if frames.stop > len(motion.root_m):
        length_s = len(motion.root_m) / args.motion_fps
        raise InputError("--start-s and --seconds", expected=f"an end by {length_s:.2f} s")
    turn = {bone: turns[frames] for bone, turns in motion.turn.items()}
    return CmuMotion(motion.bones, turn, motion.root_m[frames])


def place_camera(vertices_m: Array, size_px: tuple[int, int], azimuth_deg: float) -> Camera:
    """The nearest level-headed camera in that direction that sees the whole motion."""
    w, h = size_px
    K = np.array([[FOCAL * w, 0, w / 2], [0, FOCAL * w, h / 2], [0, 0, 1]])
    angle = np.deg2rad(azimuth_deg - 90)
    towards = np.array([np.cos(angle), np.sin(angle), 0])
    middle = (vertices_m.min(axis=(0, 1)) + vertices_m.max(axis=(0, 1))) / 2
    near, far = 1.0, 30.0
    cloud = vertices_m.reshape(-1, 3)
    while far - near > 1e-3:
        distance = (near + far) / 2
        camera = _looking_at(middle, middle * [1, 1, 0] + towards * distance, K, size_px)
        xy = camera.world_to_image(cloud) / size_px
        fits = bool(np.all((xy > MARGIN) & (xy < 1 - MARGIN)))  # NaN behind the camera: no fit
        near, far = (near, distance) if fits else (distance, far)
    return camera


def _looking_at(target_m: Array, foot_m: Array, K: Array, size_px: tuple[int, int]) -> Camera:
    eye = foot_m + np.array([0, 0, CAMERA_HEIGHT_M])
    z = unit(target_m - eye)
    x = unit(np.cross(z, [0.0, 0.0, 1.0]))
    rotation = np.stack([x, np.cross(z, x), z])
    return Camera(K, size_px, rotation, -rotation @ eye)


def build_scene(body: Body, outfit: Outfit, camera: Camera) -> Scene:
    """A square room around body and camera, lit from above the camera's right shoulder."""
    eye = camera.camera_to_world(np.zeros(3))
    right, forward = camera.R_world_to_camera[0], unit(-eye * [1, 1, 0])
    lamp = right * 1.3 - forward * 1.5 + [0, 0, 2.9]
    half = float(np.abs(eye[:2]).max() + 1.0)
    return Scene(body.faces, outfit.skin, outfit.inside_m, CLOTHES, tuple(lamp), half)


def clothed(performance: Performance, outfit: Outfit, body: Body, frame: int) -> Array:
    """Vertices (V, 3) of the clothed body."""
    skin = performance.vertices_m[frame]
    return skin + vertex_normals(skin, body.faces) * outfit.lift_m[:, None]


def display(linear: Array) -> NDArray[np.uint8]:
    """Linear light to 8-bit sRGB-like colours with a soft shoulder."""
    toned = 1 - np.exp(-1.5 * np.clip(linear, 0, None))
    return np.round(255 * np.clip(toned / (1 - np.exp(-1.8)), 0, 1) ** (1 / 2.2)).astype(np.uint8)


def encode(path: Path, frames: list[NDArray[np.uint8]], fps: int) -> None:
    """Write H.264 in MP4; frame i is shown at exactly i / fps seconds."""
    h, w = frames[0].shape[:2]
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        container.metadata["comment"] = LICENCE
        options = {"crf": "19", "preset": "slow", "bf": "0", "threads": "1"}
        stream: Any = container.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = w, h, "yuv420p"
        for i, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def truth(
    performance: Performance, camera: Camera, depth_m: Array, box_px: Array, fps: int
) -> dict[str, np.ndarray]:
    """Arrays of the truth file; examples/sample/README.md says what each is."""
    names = (*skeleton("coco17").joints, *FEET)
    flesh = [HIDDEN_BELOW_HIP_M if name.endswith("hip") else HIDDEN_BELOW_M for name in names]
    hidden = depth_m > np.array(flesh)
    split = len(skeleton("coco17"))
    coco, feet = np.split(performance.keypoints_m, [split], axis=1)
    return {
        "time_s": np.arange(len(coco)) / fps,
        "size_px": np.array(camera.size_px),
        "K": camera.K,
        "R_world_to_camera": camera.R_world_to_camera,
        "t_world_to_camera_m": camera.t_world_to_camera_m,
        "coco17_xyz_m": coco,
        "coco17_xy_px": camera.world_to_image(coco),
        "coco17_names": np.array(skeleton("coco17").joints),
        "feet_xyz_m": feet,
        "feet_xy_px": camera.world_to_image(feet),
        "feet_names": np.array(FEET),
        "joints_xyz_m": performance.joints_m,
        "joint_names": np.array(skeleton("h36m17").joints),
        "occluded": hidden[:, :split],
        "feet_occluded": hidden[:, split:],
        "box_px": box_px,
        "licence": np.array(LICENCE),
    }


def write(path: Path, save: Callable[[Path], object]) -> None:
    """Write beside the path and rename last, so that no half file is ever seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".part-{path.name}")
    save(part)
    part.replace(path)


def _box_px(on_body: Array) -> list[int]:
    ys, xs = np.nonzero(on_body > 0.5)
    return [int(v) for v in (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)]


def main() -> None:
    """Render what the command line asks for."""
    args = _arguments()
    amc, asf = find_clip(args.mocap, args.clip)
    motion = cut(read_amc(amc, read_asf(asf)), args)
    body = shape_body(load_model(), PHENOTYPE)
    performance, outfit = perform(body, motion), dress(body)
    camera = place_camera(performance.vertices_m, tuple(args.size), args.azimuth_deg)
    scene = build_scene(body, outfit, camera)

    def shoot(frame: int) -> tuple[Array, Array, Array]:
        vertices, points = clothed(performance, outfit, body, frame), performance.keypoints_m[frame]
        return render(scene, vertices, camera, args.samples, points)

    if args.still:
        picture = Image.fromarray(display(shoot(round(args.still_s * args.fps))[0]))
        write(args.still, lambda part: picture.save(part, quality=92))
        return
    frames, depths, boxes = [], [], []
    for i in range(len(performance.vertices_m)):
        linear, on_body, depth = shoot(i)
        frames.append(display(linear))
        depths.append(depth)
        boxes.append(_box_px(on_body))
        print(f"\rframe {i + 1}/{len(performance.vertices_m)}", end="", flush=True)
    print()
    arrays = truth(performance, camera, np.array(depths), np.array(boxes), args.fps)
    write(args.out / "sample.mp4", lambda part: encode(part, frames, args.fps))
    write(args.out / "sample_truth.npz", lambda part: _save_npz(part, arrays))


def _save_npz(path: Path, arrays: dict[str, Any]) -> None:
    with path.open("wb") as file:  # a name would get another ".npz"
        np.savez_compressed(file, allow_pickle=False, **arrays)


if __name__ == "__main__":
    os.nice(10)
    try:
        main()
    except PoseliftError as error:
        sys.exit(f"render_sample: {error}")
