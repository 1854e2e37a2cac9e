"""How well lifters do on real video: one person seen by four calibrated cameras.

    pip download --no-deps pose2sim==0.10.49
    python scripts/measure_real_pixels.py pose2sim-0.10.49-py3-none-any.whl -o out/real

The clip is `Demo_SinglePerson` of Pose2Sim (BSD-3), given as a wheel, an sdist or a folder. The
default detector watches each view; what it saw is kept in the output folder (camNN.json,
camNN-blazepose-3d.json), so that a second run is quick. The truth is triangulated from all views;
docs/benchmark.md ("Real pixels") says how good it is. Writes real-pixels.json and prints Markdown.
"""

import argparse
import json
import os
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from poselift import io, signal
from poselift.camera import Camera
from poselift.detect.hybrid import Hybrid
from poselift.errors import FormatError, InputError, PoseliftError
from poselift.evaluate import Lift
from poselift.geometry import Array, unit
from poselift.io.files import atomic
from poselift.io.video import open_frames
from poselift.metrics.positions import align, mpjpe, n_mpjpe, p_mpjpe, relative
from poselift.models import load
from poselift.poses import Poses2D, Poses3D
from poselift.protocols.multiview import left_out_m, read_qca, refined, resized, triangulate
from poselift.skeleton import convert, skeleton
from poselift.track import track

DEMO, CALIBRATION = "Demo_SinglePerson", "calibration/Calib.qca.txt"
H36M, BLAZEPOSE = skeleton("h36m17"), "blazepose-3d"
LIMBS = ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
BODY = [f"{side}_{limb}" for limb in LIMBS for side in ("left", "right")]
JUDGED = [H36M.index(joint) for joint in BODY]
# Of root-relative metrics: the pelvis, whose error is 0, does not count.
WITHOUT_ROOT = (len(BODY) + 1) / len(BODY)
EVERY = 7  # frames between those that cameras are refined on
SMOOTH_HZ = 6.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="wheel, sdist or folder of pose2sim 0.10.49")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/real"))
    parser.add_argument("--model", nargs="+", default=["strided-27", "ppca", BLAZEPOSE])
    parser.add_argument("--as-calibrated", action="store_true", help="do not refine the cameras")
    parser.add_argument("--picture", type=Path, help="draw the first model's answer")
    parser.add_argument("--at", type=float, default=0.8, help="time of the picture in seconds")
    return parser.parse_args()


# ------------------------------------------------------------------------------------------- input
def demo_folder(source: Path, output: Path) -> Path:
    """The folder Demo_SinglePerson, unpacked below `output` where it lies in an archive."""
    if source.is_file():
        _unpack(source, output / DEMO)
        return output / DEMO
    for calibration in (source / CALIBRATION, *source.rglob(f"{DEMO}/{CALIBRATION}")):
        if calibration.is_file():
            return calibration.parent.parent
    raise FormatError(f"{source}", expected=f"{DEMO}/{CALIBRATION}", found="none")


def _unpack(archive: Path, folder: Path) -> None:
    """Write the calibration and the videos of the clip."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            _copy({name: lambda n=name: file.read(n) for name in file.namelist()}, folder)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as file:
            members = [each for each in file.getmembers() if each.isfile()]
            _copy({m.name: lambda m=m: file.extractfile(m).read() for m in members}, folder)  # ty: ignore
    else:
        raise FormatError(f"{archive}", expected="a wheel or an sdist", found="another file")


def _copy(content: dict, folder: Path) -> None:
    for name, read in content.items():
        _, found, inside = name.partition(f"/{DEMO}/")
        if found and (inside == CALIBRATION or Path(inside).match("videos/*.mp4")):
            with atomic(folder / inside) as temporary:
                temporary.write_bytes(read())


def watched(video: Path, output: Path) -> tuple[Poses2D, Poses3D]:
    """The person seen longest, and BlazePose's own 3D of them; detected where not kept."""
    kept = output / f"{video.stem}.json", output / f"{video.stem}-{BLAZEPOSE}.json"
    if not all(path.is_file() for path in kept):
        print(f"finding people in {video.name}", file=sys.stderr, flush=True)
        for path, poses in zip(kept, _watch(video), strict=True):
            io.write(path, [poses])
    person, own = (io.read(path)[0] for path in kept)  # ty: ignore
    return person, own


def _watch(video: Path) -> tuple[Poses2D, Poses3D]:
    detector = Hybrid()
    with open_frames(video) as source:
        looks, time_s = zip(*((detector.people(f.image), f.time_s) for f in source), strict=True)
    frames = [[person.detection(*source.size_px) for person in people] for people in looks]
    people = track(frames, np.array(time_s), source.size_px, Hybrid.skeleton)
    if not people:
        raise InputError(f"{video}", expected="a person", found="nobody")
    xyz = np.full((len(frames), len(Hybrid.skeleton), 3), np.nan)
    for frame, (seen, marks) in enumerate(zip(frames, looks, strict=True)):
        for detection, each in zip(seen, marks, strict=True):
            if np.array_equal(detection.xy_px, people[0].xy_px[frame], equal_nan=True):
                xyz[frame] = each.xyz_m
    own = Poses3D(xyz, people[0].time_s, Hybrid.skeleton).to(H36M)
    return people[0], own.then("relative to the pelvis", xyz_m=relative(own.xyz_m))


# --------------------------------------------------------------------------------------- reference
@dataclass(frozen=True)
class Views:
    """The views with their cameras, the true H36M-17 joints (T, 17, 3) in the world, and errors.

    left_out_m: median leave-one-out error, metres, with the cameras as calibrated and as used.
    """

    names: list[str]
    people: list[Poses2D]
    cameras: list[Camera]
    truth_m: Array
    left_out_m: dict[str, float]


def reference(
    names: list[str], people: list[Poses2D], cameras: list[Camera], refine: bool
) -> Views:
    """Truth from all views: 33 points triangulated, smoothed, turned into H36M-17."""
    xy = np.stack([person.xy_px for person in people])
    confidence = np.stack([person.confidence for person in people])
    body = [Hybrid.skeleton.index(joint) for joint in BODY]
    seen = xy[:, :, body], confidence[:, :, body]
    quality = {"as calibrated": float(np.nanmedian(left_out_m(cameras, *seen)))}
    if refine:
        cameras = refined(cameras, *(values[:, ::EVERY] for values in seen))
        quality["refined"] = float(np.nanmedian(left_out_m(cameras, *seen)))
    points = triangulate(cameras, xy, confidence)
    points = signal.smooth(points, people[0].time_s, SMOOTH_HZ)
    return Views(names, people, cameras, convert(points, Hybrid.skeleton, H36M), quality)


# ----------------------------------------------------------------------------------------- judging
def answers(views: Views, own: list[Poses3D], model: str, known: bool) -> list[Array]:
    """What a lifter says of each view: H36M-17 relative to the pelvis, camera axes."""
    if model == BLAZEPOSE:
        return [poses.xyz_m for poses in own]
    lift: Lift = load(model)
    given = [
        replace(person, camera=camera if known else None)
        for person, camera in zip(views.people, views.cameras, strict=True)
    ]
    return [relative(lift(person).to(H36M).xyz_m) for person in given]


def errors_mm(predicted_m: Array, true_m: Array) -> dict[str, float]:
    """Means over frames and the judged joints; poses (T, 17, 3) in camera axes."""
    rooted = [0, *JUDGED]
    pair = relative(predicted_m)[:, rooted], relative(true_m)[:, rooted]
    each = {
        "mpjpe": WITHOUT_ROOT * mpjpe(*pair),
        "p_mpjpe": p_mpjpe(predicted_m[:, JUDGED], true_m[:, JUDGED]),
        "n_mpjpe": WITHOUT_ROOT * n_mpjpe(*pair),
    }
    return {f"{name}_mm": round(1e3 * float(np.mean(value)), 2) for name, value in each.items()}


def agreed_mm(predicted_m: Sequence[Array], true_m: Sequence[Array]) -> float:
    """Mean P-MPJPE over views once each joint's usual offset, as in the other views, is taken out.

    Offsets are fixed to the body. What they explain is another idea of where a joint is (a
    detector's points, centres of joints), or an error that is the same from all sides.
    """
    errors = []
    for predicted, true in zip(predicted_m, true_m, strict=True):
        pairs = zip(predicted[:, None, JUDGED], true[:, None, JUDGED], strict=True)
        aligned = np.concatenate([align(one, other) for one, other in pairs])
        errors.append(np.einsum("tij,tkj->tki", body_axes(true), aligned - true[:, JUDGED]))
    left = []
    for view, error in enumerate(errors):
        others = np.concatenate([each for n, each in enumerate(errors) if n != view])
        left.append(np.linalg.norm(error - np.nanmean(others, axis=0), axis=-1).mean())
    return round(1e3 * float(np.mean(left)), 2)


def body_axes(poses_m: Array) -> Array:
    """Rows (T, 3, 3): to the left, up and forward of the trunk of poses (T, 17, 3)."""
    up = unit(poses_m[:, H36M.index("thorax")] - poses_m[:, H36M.index("pelvis")])
    across = poses_m[:, H36M.index("left_hip")] - poses_m[:, H36M.index("right_hip")]
    across = unit(across - np.sum(across * up, axis=-1, keepdims=True) * up)
    return np.stack([across, up, np.cross(across, up)], axis=1)


def judged(views: Views, own: list[Poses3D], models: Sequence[str]) -> list[dict]:
    """A row for each lifter and camera: errors by view and their mean."""
    truths = [camera.world_to_camera(views.truth_m) for camera in views.cameras]
    rows = []
    for model in models:
        for camera in ("none",) if model == BLAZEPOSE else ("guessed", "known"):
            found = answers(views, own, model, camera == "known")
            scores = {
                name: errors_mm(predicted, true)
                for name, predicted, true in zip(views.names, found, truths, strict=True)
            }
            kinds = next(iter(scores.values()))
            mean = {k: round(float(np.mean([s[k] for s in scores.values()])), 2) for k in kinds}
            mean["agreed_mm"] = agreed_mm(found, truths)
            rows.append({"lifter": model, "camera": camera, "views": scores, "mean": mean})
    return rows


def markdown(views: Views, rows: list[dict]) -> str:
    """P-MPJPE by view and the means of all metrics, in mm; last P-MPJPE without usual offsets."""
    heads = [*views.names, "P-MPJPE", "N-MPJPE", "MPJPE", "without offsets"]
    lines = [f"| lifter | camera | {' | '.join(heads)} |", "|---" * (2 + len(heads)) + "|"]
    for row in rows:
        cells = [row["views"][name]["p_mpjpe_mm"] for name in views.names]
        cells += [row["mean"][f"{name}_mm"] for name in ("p_mpjpe", "n_mpjpe", "mpjpe", "agreed")]
        text = " | ".join(f"{cell:.1f}" for cell in cells)
        lines.append(f"| {row['lifter']} | {row['camera']} | {text} |")
    quality = ", ".join(f"{1e3 * value:.1f} mm {name}" for name, value in views.left_out_m.items())
    return "\n".join([*lines, "", f"Reference, median leave-one-out error: {quality}."])


# ----------------------------------------------------------------------------------------- picture
def draw(path: Path, views: Views, videos: list[Path], found: list[Array], at_s: float) -> None:
    """One frame of each view with its 2D; below, lifted on triangulated, seen from the side."""
    from matplotlib.figure import Figure

    from poselift.view.draw import draw_2d

    figure = Figure(figsize=(3 * len(videos), 8), layout="constrained")
    axes = figure.subplots(2, len(videos), squeeze=False)
    for column, (video, person) in enumerate(zip(videos, views.people, strict=True)):
        frame = int(np.searchsorted(person.time_s, at_s).clip(0, len(person.time_s) - 1))
        with open_frames(video, start_s=person.time_s[frame]) as source:
            image = next(iter(source)).image.copy()
        draw_2d(image, person, frame)
        axes[0, column].imshow(image)
        axes[0, column].set_title(views.names[column])
        truth = relative(views.cameras[column].world_to_camera(views.truth_m))[frame]
        lifted = align(found[column][frame][None], truth[None])[0]
        for pose, colour in ((truth, "0.6"), (lifted, "tab:orange")):
            for edge in H36M.edges:  # depth to the right
                axes[1, column].plot(*pose[edge, 2:0:-1].T, "-o", color=colour, ms=3, lw=2)
        axes[1, column].invert_yaxis()
        axes[1, column].set_aspect("equal")
    for each in axes.ravel():
        each.set_axis_off()
    axes[1, 0].set_title("grey: triangulated, orange: lifted; from the side", loc="left")
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=80)


def main() -> None:
    """Detect, triangulate, judge; print and write."""
    args = _arguments()
    for model in args.model:
        if model != BLAZEPOSE:
            load(model)  # what is missing must show before long work
    folder = demo_folder(args.source, args.output)
    cameras = read_qca(folder / CALIBRATION)
    videos = [folder / "videos" / f"{name}.mp4" for name in cameras]
    seen = [watched(video, args.output) for video in videos]
    people, own = [each[0] for each in seen], [each[1] for each in seen]
    fitted = [resized(c, p.size_px) for c, p in zip(cameras.values(), people, strict=True)]
    views = reference(list(cameras), people, fitted, not args.as_calibrated)
    rows = judged(views, own, args.model)
    document = {"left_out_m": views.left_out_m, "joints": BODY, "rows": rows}
    with atomic(args.output / "real-pixels.json") as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(markdown(views, rows))
    if args.picture:
        found = answers(views, own, args.model[0], known=False)
        draw(args.picture, views, videos, found, args.at)


if __name__ == "__main__":
    os.nice(5)
    try:
        main()
    except PoseliftError as error:
        sys.exit(f"measure_real_pixels: {error}")
