"""Speed and memory of detector, lifter and the whole pipeline on one video, and of synthesis."""

import resource
import sys
import time
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from poselift.detect import make_detector
from poselift.detect.network import usable_cores
from poselift.errors import InputError
from poselift.io.video import open_frames
from poselift.models import DEFAULT, load
from poselift.pipeline import Options
from poselift.poses import Poses2D
from poselift.results import lift_to

Rows = dict[str, float | str]

MODES = ("accurate", "fast")
_DETECTOR_FRAMES = 60
_LIFTER_S = 0.5  # short clips are lifted again and again for so long


def bench(source: Path, frames: int | None = None) -> Rows:
    """Figures of one run on this machine, by name (units in the names).

    frames: only the first so many of the clip are used. Raises PoseliftError (InputError for a
    clip of less than 2 frames).
    """
    if frames is not None and frames < 2:
        raise InputError("frames to measure", expected="at least 2", found=frames)
    rows: Rows = {"source": source.name, "cores": float(usable_cores())}
    for mode in MODES:
        rows[f"detector {mode}, ms per frame"] = _detector_ms(
            source, mode, min(frames or _DETECTOR_FRAMES, _DETECTOR_FRAMES)
        )
    with TemporaryDirectory() as folder:
        started = time.perf_counter()
        result = lift_to(source, Path(folder), Options(end_s=_end_s(source, frames)))
        spent_s = time.perf_counter() - started
    poses = result.people[0]
    rows["people"] = float(len(result.people))
    rows["frames of the pipeline"] = float(len(poses.time_s))
    if poses.observed is not None:
        rows[f"lifter {DEFAULT} with flip, output frames per s"] = _lifter_rate(poses.observed)
    rows["whole pipeline with all files, frames per s"] = len(poses.time_s) / spent_s
    rows["peak memory, MB"] = _peak_mb()
    rows["synthesis for training, frames per s"] = _synthesis_rate()
    return rows


def _synthesis_rate() -> float | str:
    """Frames per second of complete synthesis on all cores, where torch is there."""
    if find_spec("torch") is None:
        return "needs torch"
    import torch

    from poselift.train.speed import synthesis_rate

    return synthesis_rate(torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def _detector_ms(source: Path, mode: str, frames: int) -> float:
    """Mean time of the hybrid detector over `frames` frames but the first, which warms up."""
    detector = make_detector("hybrid", mode=mode)
    spent_s, seen = 0.0, 0
    with open_frames(source) as video:
        for frame in islice(video, frames):
            started = time.perf_counter()
            detector(frame.image)
            if frame.index:
                spent_s += time.perf_counter() - started
                seen += 1
    if not seen:
        raise InputError(str(source), expected="a video of 2 frames or more", found="fewer")
    return 1e3 * spent_s / seen


def _end_s(source: Path, frames: int | None) -> float | None:
    """When the last of `frames` frames is shown."""
    if frames is None:
        return None
    with open_frames(source) as video:
        return [frame.time_s for frame in islice(video, frames)][-1]


def _lifter_rate(poses: Poses2D) -> float:
    """Poses per second of the default lifter, after one run that warms up."""
    lifter = load(DEFAULT)
    lifter(poses)
    started, runs = time.perf_counter(), 0
    while not runs or time.perf_counter() - started < _LIFTER_S:
        lifter(poses)
        runs += 1
    return runs * len(poses.time_s) / (time.perf_counter() - started)


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)
