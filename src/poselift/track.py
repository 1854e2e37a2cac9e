"""Identities over time: which detection is which person, and one Poses2D for each person."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from poselift.errors import InputError, ShapeError
from poselift.poses import Detection, Poses2D
from poselift.skeleton import Skeleton, skeleton

Array = NDArray[np.floating]
Frames = Sequence[Sequence[Detection]]

MIN_COMMON_JOINTS = 4
TOLERANCE = 0.15  # distance at which a joint counts 0.6, in body sizes, from frame to frame
TOLERANCE_GROWTH_S = 0.5  # time not seen that doubles it
MIN_SIMILARITY = 0.15
COAST_S = 0.5  # time constant in which a person out of sight is assumed to stop
STITCH_REACH = 0.5  # body sizes between the end of one track and the start of the next ...
STITCH_SPEED = 1.0  # ... and body sizes per second of the gap on top
STITCH_SIZE_RATIO = 1.5
STITCH_LEAD = 0.25  # body sizes by which the best partner must beat the next one


def similarity(
    first_px: Array, second_px: Array, body: Skeleton, tolerance: float = TOLERANCE
) -> float:
    """How alike two poses (J, 2) in pixels lie, 0..1: mean of exp(-d² / 2 (tolerance · size)²).

    The object keypoint similarity of COCO with one tolerance for all joints, over the joints that
    both have; size is the longer of the two diagonals. 0 with fewer than four joints in common.
    Skeletons with faces and hands are compared on their COCO-17 joints.
    """
    a, b = (points[body_joints(body)] for points in (first_px, second_px))
    both = _here(a) & _here(b)
    if both.sum() < MIN_COMMON_JOINTS:
        return 0.0
    scale = tolerance * max(_size(a), _size(b), 1.0)
    square = ((a[both] - b[both]) ** 2).sum(axis=-1)
    return float(np.exp(-square / (2 * scale**2)).mean())


@lru_cache(maxsize=64)
def _joints_of(name: str, joints: tuple[str, ...]) -> tuple[int, ...]:
    coco = skeleton("coco17")
    shared = tuple(i for i, joint in enumerate(joints) if joint in coco)
    return shared if len(shared) >= 2 * MIN_COMMON_JOINTS else tuple(range(len(joints)))


def body_joints(body: Skeleton) -> list[int]:
    """Indices of the joints that poses are compared on: those of COCO-17, else all."""
    return list(_joints_of(body.name, body.joints))


@dataclass
class _Track:
    """One person as last seen; xy_px on all joints, velocity in pixels per second."""

    person: int
    xy_px: Array
    time_s: float
    velocity: Array = field(default_factory=lambda: np.zeros(2))
    sightings: int = 1

    def predicted_px(self, time_s: float) -> Array:
        away_s = time_s - self.time_s
        return self.xy_px + self.velocity * COAST_S * (1 - np.exp(-away_s / COAST_S))

    def see(self, xy_px: Array, time_s: float) -> None:
        moved = (xy_px - self.xy_px)[_here(xy_px - self.xy_px)]
        if len(moved):
            speed = np.median(moved, axis=0) / (time_s - self.time_s)
            weight = 0.5 if self.sightings > 1 else 1.0
            self.velocity = (1 - weight) * self.velocity + weight * speed
        self.xy_px, self.time_s = xy_px, time_s
        self.sightings += 1


class Tracker:
    """Gives every detection of a video the number of its person, frame by frame.

    A person not seen for longer than `max_gap_s` is forgotten; numbers start at 0 and are never
    used again. The best assignment over all pairs is taken (Hungarian method), with similarity to
    where each person should be by now if they kept their velocity. The order of the detections
    within a frame does not matter. Raises InputError.
    """

    def __init__(self, body: Skeleton, *, max_gap_s: float = 0.5) -> None:
        if not max_gap_s >= 0:
            raise InputError("max_gap_s", expected="seconds >= 0", found=max_gap_s)
        self._body = body
        self._max_gap_s = max_gap_s
        self._tracks: list[_Track] = []
        self._time_s = -np.inf
        self._next = 0

    def update(self, detections: Sequence[Detection], time_s: float) -> list[int]:
        """The person of each detection of the frame at `time_s`.

        Raises InputError when time does not rise, ShapeError for detections of another skeleton.
        """
        if not (np.isfinite(time_s) and time_s > self._time_s):
            raise InputError(
                "time of a frame", expected=f"later than {self._time_s:g} s", found=f"{time_s:g} s"
            )
        _check_joints(detections, self._body)
        self._time_s = time_s
        oldest = time_s - self._max_gap_s * (1 + 1e-9)
        self._tracks = [track for track in self._tracks if track.time_s >= oldest]
        ids = [-1] * len(detections)
        order = _canonical_order(detections)
        pairs = self._assign([detections[i] for i in order], time_s)
        for position, index in enumerate(order):
            track = pairs.get(position) or self._start(detections[index], time_s)
            if position in pairs:
                track.see(detections[index].xy_px, time_s)
            ids[index] = track.person
        return ids

    def _assign(self, detections: list[Detection], time_s: float) -> dict[int, _Track]:
        if not detections or not self._tracks:
            return {}
        alike = np.zeros((len(detections), len(self._tracks)))
        for column, track in enumerate(self._tracks):
            tolerance = TOLERANCE * (1 + (time_s - track.time_s) / TOLERANCE_GROWTH_S)
            expected = track.predicted_px(time_s)
            for row, detection in enumerate(detections):
                alike[row, column] = similarity(detection.xy_px, expected, self._body, tolerance)
        alike[alike < MIN_SIMILARITY] = 0.0
        rows, columns = linear_sum_assignment(alike, maximize=True)
        return {
            int(row): self._tracks[column]
            for row, column in zip(rows, columns, strict=True)
            if alike[row, column] > 0
        }

    def _start(self, detection: Detection, time_s: float) -> _Track:
        track = _Track(self._next, np.asarray(detection.xy_px, dtype=np.float64), time_s)
        self._tracks.append(track)
        self._next += 1
        return track


def track(
    frames: Frames,
    time_s: Array,
    size_px: tuple[int, int],
    body: Skeleton,
    *,
    max_gap_s: float = 0.5,
    stitch_gap_s: float = 2.0,
    min_seen_s: float = 0.25,
    min_frames: int = 2,
) -> list[Poses2D]:
    """One Poses2D for each person in a clip: `Tracker`, then `stitch`, then `assemble`."""
    _check_frames(frames, time_s)
    tracker = Tracker(body, max_gap_s=max_gap_s)
    ids = [tracker.update(frame, float(t)) for frame, t in zip(frames, time_s, strict=True)]
    ids = stitch(frames, ids, time_s, body, max_gap_s=stitch_gap_s)
    return assemble(
        frames, ids, time_s, size_px, body, min_seen_s=min_seen_s, min_frames=min_frames
    )


def stitch(
    frames: Frames,
    ids: Sequence[Sequence[int]],
    time_s: Array,
    body: Skeleton,
    *,
    max_gap_s: float = 2.0,
) -> list[list[int]]:
    """Join a track that ends to one that starts later nearby and at about the same size.

    Only gaps of at most `max_gap_s` are bridged, and only where one partner is clearly the
    nearest: mixing two people up is worse than splitting one. Looks are not compared.
    """
    _check_frames(frames, time_s, ids)
    spans = _spans(frames, ids, time_s, body)
    first: dict[int, int] = {}
    last: dict[int, int] = {}  # of each chain of tracks, by its first
    for name in sorted(spans, key=lambda name: (spans[name].start[0], name)):
        first[name] = chain = _chain(name, last, spans, max_gap_s)
        last[chain] = name
    return [[first.get(person, person) for person in frame] for frame in ids]


def _chain(name: int, last: dict[int, int], spans: dict[int, "_Span"], max_gap_s: float) -> int:
    """The chain that track `name` continues, else `name` itself."""
    span = spans[name]
    leaps = sorted((_leap(spans[end], span, max_gap_s), chain) for chain, end in last.items())
    if not leaps or np.isinf(leaps[0][0]):
        return name
    best, chain = leaps[0]
    meanwhile = [
        other
        for key, other in spans.items()
        if key != name and other.start[0] <= span.end[0] and other.end[0] >= span.start[0]
    ]
    rivals = [leap for leap, _ in leaps[1:]]
    rivals += [_leap(spans[last[chain]], other, max_gap_s) for other in meanwhile]
    return chain if min(rivals, default=np.inf) >= best + STITCH_LEAD else name


def assemble(
    frames: Frames,
    ids: Sequence[Sequence[int]],
    time_s: Array,
    size_px: tuple[int, int],
    body: Skeleton,
    *,
    min_seen_s: float = 0.25,
    min_frames: int = 2,
) -> list[Poses2D]:
    """One Poses2D over the whole clip (NaN where absent) for each identity, longest seen first.

    People seen for less than `min_seen_s`, or in fewer than `min_frames` frames, are left out;
    both limits shrink to the length of the clip, so a single image keeps everybody. `person`
    counts from 0 in the order returned. Raises ShapeError, InputError.
    """
    _check_frames(frames, time_s, ids)
    xy_px, confidence = _spread(frames, ids, body)
    time_s = np.asarray(time_s, dtype=np.float64)
    duration_s = np.gradient(time_s) if len(time_s) > 1 else np.zeros(len(time_s))
    seen = {name: np.any(_here(xy), axis=-1) for name, xy in xy_px.items()}
    lasted_s = {name: float(duration_s[present].sum()) for name, present in seen.items()}
    least_s = min(min_seen_s, float(duration_s.sum())) * (1 - 1e-9)
    least = min(min_frames, len(time_s))
    kept = [n for n in seen if lasted_s[n] >= least_s and seen[n].sum() >= max(least, 1)]
    kept.sort(key=lambda name: (-seen[name].sum(), name))
    left_out = len(seen) - len(kept)
    return [
        Poses2D(
            xy_px[name],
            confidence[name],
            time_s,
            size_px,
            body,
            person=person,
            history=(_summary(seen[name], time_s, left_out, min_seen_s, min_frames),),
        )
        for person, name in enumerate(kept)
    ]


def _spread(
    frames: Frames, ids: Sequence[Sequence[int]], body: Skeleton
) -> tuple[dict[int, Array], dict[int, Array]]:
    """xy_px (T, J, 2) and confidence (T, J) of every identity."""
    xy_px: dict[int, Array] = {}
    confidence: dict[int, Array] = {}
    for index, (frame, people) in enumerate(zip(frames, ids, strict=True)):
        _check_joints(frame, body)
        for detection, person in zip(frame, people, strict=True):
            xy = xy_px.setdefault(person, np.full((len(frames), len(body), 2), np.nan))
            value = confidence.setdefault(person, np.zeros((len(frames), len(body))))
            here = _here(detection.xy_px)
            xy[index] = np.where(here[:, None], detection.xy_px, np.nan)
            value[index] = np.where(here, np.nan_to_num(detection.confidence), 0.0)
    return xy_px, confidence


def _summary(
    present: NDArray[np.bool_], time_s: Array, left_out: int, min_seen_s: float, min_frames: int
) -> str:
    at = np.flatnonzero(present)
    text = (
        f"tracked: seen in {len(at)} of {len(present)} frames, "
        f"{time_s[at[0]]:.2f} s to {time_s[at[-1]]:.2f} s"
    )
    if left_out:
        text += f"; {left_out} other tracks under {min_seen_s:g} s or {min_frames} frames left out"
    return text


@dataclass(frozen=True)
class _Span:
    """Where a track starts and ends: time, centre in pixels, body size in pixels."""

    start: tuple[float, Array, float]
    end: tuple[float, Array, float]


def _spans(
    frames: Frames, ids: Sequence[Sequence[int]], time_s: Array, body: Skeleton
) -> dict[int, _Span]:
    spans: dict[int, _Span] = {}
    for frame, people, t in zip(frames, ids, time_s, strict=True):
        for detection, person in zip(frame, people, strict=True):
            xy = detection.xy_px[body_joints(body)]
            xy = xy[_here(xy)]
            if len(xy) < MIN_COMMON_JOINTS:
                continue
            sight = (float(t), np.median(xy, axis=0), _size(xy))
            first = spans[person].start if person in spans else sight
            spans[person] = _Span(first, sight)
    return spans


def _leap(before: _Span, after: _Span, max_gap_s: float) -> float:
    """Body sizes between the end of one track and the start of another; inf if implausible."""
    (end_s, end_px, end_size), (start_s, start_px, start_size) = before.end, after.start
    gap_s = start_s - end_s
    size = max(end_size, start_size, 1.0)
    alike = size <= STITCH_SIZE_RATIO * max(min(end_size, start_size), 1.0)
    if not 0 < gap_s <= max_gap_s or not alike:
        return np.inf
    leap = float(np.linalg.norm(start_px - end_px)) / size
    return leap if leap <= STITCH_REACH + STITCH_SPEED * gap_s else np.inf


def _here(xy_px: Array) -> NDArray[np.bool_]:
    """Which points (..., 2) were seen."""
    return np.all(np.isfinite(xy_px), axis=-1)


def _size(xy_px: Array) -> float:
    """Diagonal of the box around the finite points (J, 2): steadier than its area."""
    finite = xy_px[_here(xy_px)]
    return float(np.linalg.norm(np.ptp(finite, axis=0))) if len(finite) else 0.0


def _canonical_order(detections: Sequence[Detection]) -> list[int]:
    """An order that depends on what was detected only: best score first, then coordinates."""
    keys = [
        (-detection.score, np.nan_to_num(detection.xy_px, nan=-1e9).ravel().tolist())
        for detection in detections
    ]
    return sorted(range(len(keys)), key=keys.__getitem__)


def _check_joints(detections: Sequence[Detection], body: Skeleton) -> None:
    for detection in detections:
        if detection.xy_px.shape != (len(body), 2) or detection.confidence.shape != (len(body),):
            raise ShapeError(
                f"detection on skeleton {body.name}",
                expected=f"{len(body)} joints with x, y and a confidence",
                found=f"{detection.xy_px.shape} and {detection.confidence.shape}",
            )


def _check_frames(
    frames: Frames, time_s: Array, ids: Sequence[Sequence[int]] | None = None
) -> None:
    if len(frames) != len(time_s):
        raise ShapeError("time stamps", expected=f"{len(frames)} (frames)", found=len(time_s))
    if ids is None:
        return
    if [len(frame) for frame in frames] != [len(people) for people in ids]:
        raise ShapeError("identities", expected="one for every detection", found="another number")
    for index, people in enumerate(ids):
        if len(set(people)) != len(people):
            raise InputError(
                "identities", expected="each once in a frame", found=f"{people} in frame {index}"
            )
