"""The product flow: source -> 2D people -> lifter -> place in space -> smooth -> files."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from poselift import io, place, signal
from poselift.camera import Camera
from poselift.errors import InputError, UnknownNameError
from poselift.geometry import Array
from poselift.io.frames import FrameSource
from poselift.io.video import open_frames
from poselift.models import DEFAULT, load
from poselift.models.lifter import Lifter
from poselift.poses import Detection, Poses2D, Poses3D
from poselift.track import assemble, track

Source = str | Path | Poses2D | Sequence[Poses2D]
# Called with the name of a step, how much is done, and the whole (None: not known).
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Options:
    """Everything `lift` can be told; the defaults are the product's."""

    lifter: str = DEFAULT
    detector: str = "hybrid"
    detector_options: dict[str, Any] = field(default_factory=dict)
    fps: float | None = None  # for sources without time
    size_px: tuple[int, int] | None = None  # for keypoint files without image size
    layout: str | None = None  # skeleton of a keypoint file that does not name it
    start_s: float = 0.0
    end_s: float | None = None
    max_people: int | None = None  # keep those seen longest
    min_seen_s: float = 0.25  # people seen for less are left out
    view_deg: float | None = None  # horizontal field of view of the camera, if known
    pitch_deg: float = 0.0  # how far the camera looks down
    smooth_hz: float | None = 6.0  # cut-off of the zero-phase filter; None leaves poses raw
    constant_bones: bool = True
    space: Literal["world", "camera", "root"] = "world"
    flip: bool = True

    @classmethod
    def of(cls, **changes: Any) -> "Options":
        """Options by name. Raises UnknownNameError for a name that is none."""
        names = [option.name for option in fields(cls)]
        for name in changes:
            if name not in names:
                raise UnknownNameError("option of lift", name, names)
        return cls(**changes)


def lift(source: Source, *, progress: Progress | None = None, **options: Any) -> list[Poses3D]:
    """3D motion of everybody in a video, image, image folder, keypoint file, or Poses2D.

    One Poses3D per person, longest seen first, all on the same time axis (NaN where absent);
    H36M-17 joints in metres, by default in a level world with z up and the floor at 0.
    `options`: the fields of `Options`. Raises PoseliftError (InputError for a source that cannot
    be read or holds nobody, DetectorError, WeightsError, MissingExtraError).
    """
    chosen = Options.of(**options)
    say = progress or (lambda step, done, whole: None)
    return lift_people(observe(source, chosen, say), chosen, say)


def observe(source: Source, options: Options, progress: Progress) -> list[Poses2D]:
    """The people of a source in 2D: read, or detected and tracked. Raises InputError for nobody."""
    if isinstance(source, Poses2D):
        people = [source]
    elif isinstance(source, str | Path):
        people = _observe_path(Path(source), options, progress)
    else:
        people = list(source)
    if not people:
        raise InputError(str(source), expected="at least one person", found="nobody")
    if options.view_deg is not None:
        people = [
            replace(p, camera=Camera.from_field_of_view(p.size_px, options.view_deg))
            for p in people
        ]
    return people[: options.max_people]


def _observe_path(path: Path, options: Options, progress: Progress) -> list[Poses2D]:
    if io.source_kind(path) in ("video", "images"):
        return _detect(path, options, progress)
    content = io.read(path, fps=options.fps, size_px=options.size_px, layout=options.layout)
    if isinstance(content, io.KeypointFile):
        return _people_of(content, options)
    people = [poses for poses in content if isinstance(poses, Poses2D)]
    if len(people) < len(content):
        raise InputError(str(path), expected="2D joints to lift", found="3D poses")
    return people


def _people_of(content: io.KeypointFile, options: Options) -> list[Poses2D]:
    """Detections of a file as people: by its own identities where it has them."""
    arguments = (content.time_s, content.size_px, content.skeleton)
    if content.ids is None:
        people = track(content.frames, *arguments, min_seen_s=options.min_seen_s)
    else:
        people = assemble(content.frames, content.ids, *arguments, min_seen_s=options.min_seen_s)
    return [_noted(person, content.notes) for person in people]


def _noted(person: Poses2D, notes: Sequence[str]) -> Poses2D:
    return replace(person, history=(*notes, *person.history))


def _detect(path: Path, options: Options, progress: Progress) -> list[Poses2D]:
    """Find people in every frame of a video or images, then follow them."""
    from poselift.detect import make_detector

    detector = make_detector(options.detector, **options.detector_options)
    frames: list[list[Detection]] = []
    time_s: list[float] = []
    source = open_frames(path, fps=options.fps, start_s=options.start_s, end_s=options.end_s)
    with source:
        for frame in source:
            frames.append(detector(frame.image))
            time_s.append(frame.time_s)
            progress("finding people", len(frames), source.count)
    people = track(
        frames,
        np.array(time_s),
        source.size_px,
        detector.skeleton,
        min_seen_s=options.min_seen_s,
    )
    notes = (*source.notes, f"2D joints by detector {detector.name}")
    return [_noted(person, notes) for person in people]


def lift_people(
    people: Sequence[Poses2D], options: Options, progress: Progress, lifter: Lifter | None = None
) -> list[Poses3D]:
    """2D people to 3D people in the space that the options ask for.

    Somebody with too few joints in every frame is left out; raises InputError where that is all.
    """
    lifter = lifter or load(options.lifter)
    lifter = Lifter(lifter.run, lifter.info, replace(lifter.options, flip=options.flip))
    whole = sum(len(person.time_s) for person in people)
    lifted: list[Poses3D] = []
    refused: list[InputError] = []
    done = 0
    for person in people:
        try:
            poses = lifter(person, lambda n, _, before=done: progress("lifting", before + n, whole))
            lifted.append(_settle(poses, options))
        except InputError as error:
            refused.append(error)
        done += len(person.time_s)
    if not lifted:
        raise refused[0]
    progress("lifting", whole, whole)
    if options.space == "root":
        return lifted
    placed = [place.in_camera(poses, options.smooth_hz) for poses in lifted]
    if options.space == "camera":
        return placed
    return place.in_world(placed, options.pitch_deg)


def _settle(poses: Poses3D, options: Options) -> Poses3D:
    """Smooth, then give bones one length each."""
    if options.smooth_hz is not None:
        poses = poses.then(
            f"smoothed: zero-phase low-pass {options.smooth_hz:g} Hz",
            xyz_m=_smooth(poses.xyz_m, poses.time_s, options.smooth_hz),
        )
    return place.constant_bones(poses) if options.constant_bones else poses


def _smooth(xyz_m: Array, time_s: Array, cutoff_hz: float) -> Array:
    return signal.smooth(xyz_m, time_s, cutoff_hz)


@contextmanager
def frames_of(source: Path, options: Options) -> Iterator[FrameSource | None]:
    """The images behind a source for drawing; None for a keypoint file."""
    if io.source_kind(source) not in ("video", "images"):
        yield None
        return
    with open_frames(
        source, fps=options.fps, start_s=options.start_s, end_s=options.end_s
    ) as frames:
        yield frames
