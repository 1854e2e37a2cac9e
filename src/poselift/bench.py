"""Speed and memory of detector, lifter and the whole pipeline on one video."""

import resource
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from poselift.detect import make_detector
from poselift.detect.network import usable_cores
from poselift.errors import InputError
from poselift.io.video import open_frames
from poselift.models import DEFAULT, load
from poselift.pipeline import Options, observe
from poselift.results import KINDS, lift_to

Rows = dict[str, float | str]


def bench(source: Path, frames: int = 60) -> Rows:
    """Figures of one run on this machine, by name (units in the names)."""

    def quiet(step: str, done: int, whole: int | None) -> None:
        pass

    rows: Rows = {"source": source.name, "cores": float(usable_cores())}
    for mode in ("accurate", "fast"):
        rows[f"detector {mode}, ms per frame"] = _detector_ms(source, mode, frames)
    people = observe(source, Options(), quiet)
    lifter = load(DEFAULT)
    lifter(people[0])
    started = time.perf_counter()
    lifter(people[0])
    rows[f"lifter {DEFAULT} with flip, output frames per s"] = len(people[0].time_s) / (
        time.perf_counter() - started
    )
    with TemporaryDirectory() as folder:
        started = time.perf_counter()
        result = lift_to(source, Path(folder), Options(), KINDS, quiet)
        rows["whole pipeline with all files, frames per s"] = len(result.people[0].time_s) / (
            time.perf_counter() - started
        )
    rows["peak memory, MB"] = _peak_mb()
    return rows


def _detector_ms(source: Path, mode: str, frames: int) -> float:
    detector = make_detector("hybrid", mode=mode)
    spent, seen = 0.0, 0
    with open_frames(source) as video:
        for frame in video:
            started = time.perf_counter()
            detector(frame.image)
            if frame.index:  # the first image warms up
                spent += time.perf_counter() - started
                seen += 1
            if seen == frames:
                break
    if not seen:
        raise InputError(str(source), expected="a video of 2 frames or more", found="fewer")
    return 1e3 * spent / seen


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)
