"""The product flow: source -> 2D people -> lifter -> place in space -> smooth -> files."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from poselift import io, place, signal
from poselift.camera import Camera
from poselift.detect import detectors, make_detector
from poselift.errors import InputError, UnknownNameError
from poselift.geometry import Array
from poselift.io.frames import FrameSource, Span
from poselift.io.video import open_frames
from poselift.models import DEFAULT, LIFTERS, info, load
from poselift.models.lifter import Lifter
from poselift.models.river_lifter import RiverLifter
from poselift.poses import Detection, Poses2D, Poses3D
from poselift.skeleton import Skeleton, skeleton
from poselift.track import assemble, track

Source = str | Path | Poses2D | Sequence[Poses2D]
Space = Literal["world", "camera", "root"]
# Called with the name of a step, how much is done, and the whole (None: not known).
Progress = Callable[[str, int, int | None], None]

MAX_SIDE_PX = 16_384  # of an image: beyond it a size is a mistake, and pictures fill the memory
MAX_FPS = 10_000.0
MAX_LENGTH_S = 24 * 3600.0
MAX_PX = 1e6  # from the image: beyond it no joint is meant

# What numbers among the options are, what they must be in words, and as a test.
_NUMBERS: dict[str, tuple[str, str, Callable[[Any], bool]]] = {
    "fps": ("frames per second", f"above 0, up to {MAX_FPS:g}", lambda v: 0 < v <= MAX_FPS),
    "max_people": ("most people", "1 or more", lambda v: isinstance(v, Integral) and v >= 1),
    "min_seen_s": ("least time seen", "seconds >= 0", lambda v: 0 <= v < np.inf),
    "view_deg": ("field of view", "0.1 to 179 degrees", lambda v: 0.1 <= v <= 179),
    "pitch_deg": ("camera pitch", "-90 to 90 degrees", lambda v: -90 <= v <= 90),
    "height_m": ("body height", "0.3 to 3 metres", lambda v: 0.3 < v < 3),
    "smooth_hz": ("cut-off of smoothing", "Hz above 0, or off", lambda v: 0 < v < np.inf),
}


@dataclass(frozen=True)
class Options:
    """Everything `lift` can be told; the defaults are the product's.

    Raises UnknownNameError and InputError for values that cannot be meant, before any work.
    """

    lifter: str = DEFAULT
    detector: str = "hybrid"
    detector_options: dict[str, Any] = field(default_factory=dict)
    fps: float | None = None  # for sources without time
    size_px: tuple[int, int] | None = None  # for keypoint files without image size
    layout: str | None = None  # skeleton of a keypoint file that does not name it
    start_s: float = 0.0
    end_s: float | None = None
    max_people: int | None = None  # keep those seen longest
    min_seen_s: float = 0.25  # people tracked for less are left out
    view_deg: float | None = None  # horizontal field of view of the camera, if known
    pitch_deg: float = 0.0  # how far the camera looks down; `river` is told where it is not 0
    height_m: float | None = None  # how tall people are, if known: the scale of `river`'s answers
    smooth_hz: float | None = 6.0  # cut-off of the zero-phase filter; None leaves poses raw
    constant_bones: bool = True
    space: Space = "world"
    flip: bool = True

    def __post_init__(self) -> None:
        info(self.lifter)
        if self.detector not in detectors():
            raise UnknownNameError("detector", self.detector, detectors())
        if self.layout is not None:
            skeleton(self.layout)
        if self.space not in get_args(Space):
            raise UnknownNameError("space", self.space, get_args(Space))
        for name, (what, expected, fits) in _NUMBERS.items():
            value = getattr(self, name)
            if value is not None and not (isinstance(value, Real) and fits(value)):
                raise InputError(f"{what} ({name})", expected=expected, found=value)
        if self.height_m is not None and info(self.lifter).gives != "stream":
            known = [name for name, record in LIFTERS.items() if record.gives == "stream"]
            expected = "a lifter that can be told"
            raise InputError("body height", expected=expected, found=self.lifter, known=known)
        if self.size_px is not None:
            _check_size("image size (size_px)", self.size_px)
        Span(self.start_s, self.end_s)

    @property
    def span(self) -> Span:
        """The part of the clip to read."""
        return Span(self.start_s, self.end_s)

    @classmethod
    def of(cls, **changes: Any) -> "Options":
        """Options by name. Raises UnknownNameError for a name that is none."""
        names = [option.name for option in fields(cls)]
        for name in changes:
            if name not in names:
                raise UnknownNameError("option of lift", name, names)
        return cls(**changes)


def _check_size(what: str, size_px: Sequence[int]) -> None:
    sides = [side for side in size_px if isinstance(side, Integral) and 1 <= side <= MAX_SIDE_PX]
    if len(sides) != 2 or len(size_px) != 2:
        raise InputError(what, expected=f"width and height, 1 to {MAX_SIDE_PX}", found=size_px)


def _check_pixels(xy_px: Array) -> None:
    far = np.abs(xy_px) > MAX_PX
    if far.any():
        raise InputError(
            "2D joints", expected=f"pixels within {MAX_PX:g}", found=f"{xy_px[far][0]:g}"
        )


def _check_plausible(person: Poses2D) -> None:
    """Refuse what would only fail, or fill the memory, much later."""
    _check_size("image size of the 2D joints", person.size_px)
    _check_pixels(person.xy_px)
    steps_s = np.diff(person.time_s)
    if len(steps_s) and (steps_s.sum() > MAX_LENGTH_S or np.median(steps_s) < 1 / MAX_FPS):
        raise InputError(
            "times of the frames, in seconds",
            expected=f"at most {MAX_LENGTH_S:g} s and {MAX_FPS:g} frames per second",
            found=f"{len(steps_s) + 1} frames in {steps_s.sum():g} s",
        )


def silent(step: str, done: int, whole: int | None) -> None:
    """Progress that nobody watches."""


def lift(source: Source, *, progress: Progress | None = None, **options: Any) -> list[Poses3D]:
    """3D motion of everybody in a video, image, image folder, keypoint file, or Poses2D.

    One Poses3D per person, longest seen first (people given as Poses2D or in a file of ours keep
    their order), all on the same time axis (NaN where absent); H36M-17 joints in metres (`river`:
    body28, H36M-17 first), by default in a level world with z up and the floor at 0. `history`
    tells what was assumed or left out. `progress` is called with a step, how much of it is done,
    and the whole.
    `options`: the fields of `Options`. Raises PoseliftError (InputError for a source that cannot
    be read or holds nobody, DetectorError, WeightsError, MissingExtraError).
    """
    chosen, say = Options.of(**options), progress or silent
    lifter = load(chosen.lifter)  # first: what is missing must show before long work
    return lift_people(observe(source, chosen, say), chosen, say, lifter)


# ------------------------------------------------------------------------------------------- to 2D
def observe(source: Source, options: Options, progress: Progress) -> list[Poses2D]:
    """The people of a source in 2D: read, or detected and tracked. Raises InputError for nobody."""
    if isinstance(source, str | Path):
        people = _observe_path(Path(source), options, progress)
    else:
        people = [_cut(person, options) for person in _given(source)]
    for person in people:
        _check_plausible(person)
    if options.view_deg is not None:
        people = [
            replace(p, camera=Camera.from_field_of_view(p.size_px, options.view_deg))
            for p in people
        ]
    return _longest_seen(people, options.max_people)


def _given(source: Poses2D | Sequence[Poses2D]) -> list[Poses2D]:
    """People from the caller, on one time axis, each with a number of their own."""
    people = [source] if isinstance(source, Poses2D) else source
    if not (isinstance(people, Sequence) and all(isinstance(p, Poses2D) for p in people)):
        raise InputError(
            "source to lift",
            expected="a path, Poses2D, or a list of Poses2D",
            found=type(source).__name__,
        )
    if not people:
        raise InputError("source to lift", expected="at least one person", found="nobody")
    for person in people:
        if not np.array_equal(person.time_s, people[0].time_s):
            raise InputError(
                "people to lift together",
                expected="one time axis",
                found=f"other times for person {person.person}",
            )
    if len({person.person for person in people}) < len(people):
        return [replace(person, person=number) for number, person in enumerate(people)]
    return list(people)


def _longest_seen(people: list[Poses2D], most: int | None) -> list[Poses2D]:
    """The `most` people seen in most frames, in the order that they had."""
    if most is None or len(people) <= most:
        return people
    frames = [int(person.seen.any(axis=1).sum()) for person in people]
    ranks = sorted(range(len(people)), key=lambda number: -frames[number])
    step = f"max_people {most}: {len(people) - most} people seen for less time were left out"
    return [people[number].then(step) for number in sorted(ranks[:most])]


def _observe_path(path: Path, options: Options, progress: Progress) -> list[Poses2D]:
    if io.source_kind(path) in ("video", "images"):
        return _detect(path, options, progress)
    content = io.read(path, fps=options.fps, size_px=options.size_px, layout=options.layout)
    if isinstance(content, io.KeypointFile):
        return _people_of(path, content, options)
    people = [poses for poses in content if isinstance(poses, Poses2D)]
    if len(people) < len(content):
        raise InputError(str(path), expected="2D joints to lift", found="3D poses")
    if not people:
        raise InputError(str(path), expected="at least one person", found="nobody")
    return [_cut(person, options) for person in people]


def _inside(time_s: Array, options: Options) -> NDArray[np.bool_]:
    """Which frames lie in the span that was asked for. Raises InputError where none does."""
    span = options.span  # a start of 0 is that of the clip, whatever its first time is
    inside = np.array(
        [not (span.start_s and span.before(t)) and not span.after(t) for t in time_s], dtype=bool
    )
    if not inside.any():
        last = f"frames up to {time_s[-1]:g} s" if len(time_s) else "no frames"
        raise InputError(f"no frame in {span}", found=last)
    return inside


def _cut(person: Poses2D, options: Options) -> Poses2D:
    """The frames of a person in the span that was asked for."""
    inside = _inside(person.time_s, options)
    if inside.all():
        return person
    return person.then(
        f"cut to {options.span}",
        xy_px=person.xy_px[inside],
        confidence=person.confidence[inside],
        time_s=person.time_s[inside],
    )


def _people_of(path: Path, content: io.KeypointFile, options: Options) -> list[Poses2D]:
    """Detections of a file as people: by its own identities where it has them."""
    for detection in (detection for frame in content.frames for detection in frame):
        _check_pixels(detection.xy_px)
    _check_size("image size of the 2D joints", content.size_px)
    inside = np.flatnonzero(_inside(content.time_s, options))
    frames = [content.frames[n] for n in inside]
    ids = None if content.ids is None else [content.ids[n] for n in inside]
    found = _Found(frames, content.time_s[inside], content.size_px, content.skeleton, ids)
    return found.people(path, content.notes, options)


def _detect(path: Path, options: Options, progress: Progress) -> list[Poses2D]:
    """Find people in every frame of a video or images, then follow them."""
    detector = make_detector(options.detector, **options.detector_options)
    frames: list[list[Detection]] = []
    time_s: list[float] = []
    source = open_frames(path, fps=options.fps, start_s=options.start_s, end_s=options.end_s)
    with source:
        for frame in source:
            frames.append(detector(frame.image))
            time_s.append(frame.time_s)
            # The count is an estimate: only the end of the source is the end of this step.
            whole = None if source.count is None else max(source.count, len(frames) + 1)
            progress("finding people", len(frames), whole)
    progress("finding people", len(frames), len(frames))
    for name in ("size_px", "layout"):
        if getattr(options, name) is not None:
            source.note(f"{name} was not used: it is for keypoint files")
    notes = (*source.notes, f"2D joints by detector {detector.name}")
    found = _Found(frames, np.array(time_s), source.size_px, detector.skeleton, None)
    return found.people(path, notes, options)


@dataclass(frozen=True)
class _Found:
    """Who was found in each frame; `ids` are identities, where the source has them."""

    frames: list[list[Detection]]
    time_s: Array
    size_px: tuple[int, int]
    body: Skeleton
    ids: list[list[int]] | None

    def people(self, path: Path, notes: Sequence[str], options: Options) -> list[Poses2D]:
        """Followed over time, longest seen first. Raises InputError for nobody."""
        where, least_s = (self.time_s, self.size_px, self.body), options.min_seen_s
        if self.ids is None:
            people = track(self.frames, *where, min_seen_s=least_s)
        else:
            people = assemble(self.frames, self.ids, *where, min_seen_s=least_s)
        if not people:
            short = f"only people seen in one frame, or for less than {least_s:g} s (min_seen_s)"
            found = short if any(self.frames) else f"nobody ({len(self.frames)} looked at)"
            raise InputError(str(path), expected="at least one person", found=found)
        return [replace(person, history=(*notes, *person.history)) for person in people]


# ------------------------------------------------------------------------------------------- to 3D
def lift_people(
    people: Sequence[Poses2D], options: Options, progress: Progress, lifter: Lifter | RiverLifter
) -> list[Poses3D]:
    """2D people to 3D people in the space that the options ask for.

    Somebody with too few joints in every frame is left out, which the history of the others says;
    raises InputError where that is everybody.
    """
    lifter = _told(lifter, options)
    whole = sum(len(person.time_s) for person in people)
    lifted: list[Poses3D] = []
    refused: list[InputError] = []
    done = 0
    for person in people:
        try:
            poses = lifter(person, lambda n, _, before=done: progress("lifting", before + n, whole))
            lifted.append(_settle(poses, options))
        except InputError as error:  # the options are checked: this is about the person
            refused.append(error)
        done += len(person.time_s)
    if not lifted:
        raise refused[0]
    progress("lifting", whole, whole)
    for error in refused:
        lifted = [poses.then(f"left out: {error}") for poses in lifted]
    return place.in_world(lifted, options.pitch_deg) if options.space == "world" else lifted


def _told(lifter: Lifter | RiverLifter, options: Options) -> Lifter | RiverLifter:
    """The lifter with what the options know of people and camera."""
    told = copy(lifter)
    if isinstance(told, RiverLifter):
        pitch = np.deg2rad(options.pitch_deg)
        up = (0.0, -float(np.cos(pitch)), -float(np.sin(pitch))) if pitch else None
        told.options = replace(told.options, flip=options.flip, height_m=options.height_m, up=up)
    else:
        told.options = replace(told.options, flip=options.flip)
    return told


def _settle(poses: Poses3D, options: Options) -> Poses3D:
    """Smooth, give bones one length each, place in front of the camera."""
    if options.smooth_hz is not None:
        poses = poses.then(
            f"smoothed: zero-phase low-pass {options.smooth_hz:g} Hz",
            xyz_m=signal.smooth(poses.xyz_m, poses.time_s, options.smooth_hz),
        )
    if options.constant_bones:
        poses = place.constant_bones(poses)
    return poses if options.space == "root" else place.in_camera(poses, options.smooth_hz)


@contextmanager
def frames_of(source: Path, options: Options) -> Generator[FrameSource | None, None, None]:
    """The images behind a source for drawing; None for a keypoint file."""
    if io.source_kind(source) not in ("video", "images"):
        yield None
        return
    with open_frames(
        source, fps=options.fps, start_s=options.start_s, end_s=options.end_s
    ) as frames:
        yield frames
