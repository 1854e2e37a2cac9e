"""Run 2D detectors on the clips of render_set.py.

    python scripts/detect_set.py DIR [--thunder movenet_thunder.onnx]

Writes DIR/detections/CLIP.npz; clips that are done are left alone. Per detector: `NAME_px`
(T, J, 2) pixels, NaN = not placed; `NAME_confidence` (T, J); and for the hybrid `hybrid_xyz_m`
(T, 33, 3), BlazePose's own 3D joints in camera axes, metres from the mid hip. A frame in which
the detector did not find the person is NaN with confidence 0.

    hybrid    the built-in default; MediaPipe's 33 points
    movenet   MoveNet MultiPose alone; COCO-17
    thunder   MoveNet Thunder on a crop around the true box, if its file is given; COCO-17
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from poselift.detect.hybrid import Hybrid
from poselift.detect.movenet import MoveNet
from poselift.errors import PoseliftError
from poselift.io.files import atomic
from poselift.io.video import open_frames
from poselift.poses import Detection
from poselift.skeleton import convert, skeleton

Array = NDArray[np.floating]

COCO, HALPE, MEDIAPIPE = (skeleton(name) for name in ("coco17", "halpe26", "mediapipe33"))
SAME_PERSON = 0.3  # a detection whose median joint is farther off, of the box, is somebody else
CROP_MARGIN = 1.25
CROP_PX = 256


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path, help="folder written by render_set.py")
    parser.add_argument("--thunder", type=Path, help="ONNX file of MoveNet Thunder")
    return parser.parse_args()


class Thunder:
    """MoveNet Thunder on one crop, given where the person is."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options)
        self._input = self._session.get_inputs()[0].name

    def __call__(self, image: NDArray[np.uint8], low_px: Array, high_px: Array) -> Detection:
        """The person in the box (x, y) to (x, y)."""
        side = CROP_MARGIN * float((high_px - low_px).max())
        corner = (low_px + high_px) / 2 - side / 2
        scale = side / CROP_PX
        crop_to_image = np.array([[scale, 0, corner[0]], [0, scale, corner[1]]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        crop = cv2.warpAffine(image, crop_to_image, (CROP_PX, CROP_PX), flags=flags)
        rows = self._session.run(None, {self._input: crop[None].astype(np.int32)})[0]
        joints = np.asarray(rows, dtype=np.float64).reshape(17, 3)
        confidence = np.clip(joints[:, 2], 0, 1)
        return Detection(joints[:, 1::-1] * side + corner, confidence, float(confidence.mean()))


def box_side_px(true_px: Array) -> float:
    """The longer side of the box around true HALPE-26 points (26, 2)."""
    return float(np.ptp(true_px, axis=0).max())


def whose(people_px: list[Array], true_px: Array) -> int | None:
    """Which of the people's HALPE-26 points fit the true ones, if any."""
    best, best_off = None, SAME_PERSON * box_side_px(true_px)
    for index, xy_px in enumerate(people_px):
        off = np.linalg.norm(xy_px - true_px, axis=-1)
        if np.isfinite(off).any() and np.nanmedian(off) < best_off:
            best, best_off = index, float(np.nanmedian(off))
    return best


class Record:
    """Detections of one detector over a clip."""

    def __init__(self, joints: int) -> None:
        self._nobody = np.full((joints, 2), np.nan), np.zeros(joints), np.full((joints, 3), np.nan)
        self.rows: list[tuple[Array, Array, Array]] = []

    def add(self, found: tuple[Array, Array, Array] | None) -> None:
        """One frame: pixels, confidence, metres; or nobody."""
        self.rows.append(self._nobody if found is None else found)

    def arrays(self, name: str) -> dict[str, Array]:
        """What is written."""
        px, confidence, xyz = (np.stack(column) for column in zip(*self.rows, strict=True))
        out = {f"{name}_px": px, f"{name}_confidence": confidence}
        return out | ({f"{name}_xyz_m": xyz} if np.isfinite(xyz).any() else {})


def detect(clip: Path, hybrid: Hybrid, movenet: MoveNet, thunder: Thunder | None) -> dict:
    """All detectors on one clip."""
    with np.load(clip) as data:
        truth = data["surface_px"]
    records = {"hybrid": Record(len(MEDIAPIPE)), "movenet": Record(len(COCO))}
    if thunder:
        records["thunder"] = Record(len(COCO))
    hybrid.reset()
    frames = [frame.image for frame in open_frames(clip.with_suffix(".mp4"))]
    for image, true_px in zip(frames, truth, strict=True):
        size = image.shape[1], image.shape[0]
        people = hybrid.people(image)
        seen = [person.detection(*size) for person in people]
        chosen = whose([convert(p.xy_px, MEDIAPIPE, HALPE) for p in seen], true_px)
        records["hybrid"].add(
            None
            if chosen is None
            else (seen[chosen].xy_px, seen[chosen].confidence, people[chosen].xyz_m)
        )
        seen = movenet(image)
        chosen = whose([convert(p.xy_px, COCO, HALPE) for p in seen], true_px)
        records["movenet"].add(None if chosen is None else _without_3d(seen[chosen]))
        if thunder:
            low, high = true_px.min(axis=0).clip(0, size), true_px.max(axis=0).clip(0, size)
            records["thunder"].add(_without_3d(thunder(image, low, high)))
    return {key: value for name, r in records.items() for key, value in r.arrays(name).items()}


def _without_3d(person: Detection) -> tuple[Array, Array, Array]:
    return person.xy_px, person.confidence, np.full((len(person.confidence), 3), np.nan)


def each_clip(folder: Path, work: Callable[[Path], dict]) -> None:
    """Write what `work` gives for each clip that has no detections yet."""
    for clip in sorted(folder.glob("*.npz")):
        target = folder / "detections" / clip.name
        if target.exists():
            continue
        print(clip.stem, flush=True)
        with atomic(target) as part:
            np.savez_compressed(part, **work(clip))


def main() -> None:
    """Detect on every clip."""
    args = _arguments()
    cv2.setNumThreads(1)
    thunder = Thunder(args.thunder) if args.thunder else None
    hybrid, movenet = Hybrid(threads=1), MoveNet(threads=1)
    each_clip(args.clips, lambda clip: detect(clip, hybrid, movenet, thunder))


if __name__ == "__main__":
    os.nice(10)
    try:
        main()
    except PoseliftError as error:
        sys.exit(f"detect_set: {error}")
