"""2D keypoints of other tools: what was detected in every frame, not yet tracked."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from poselift.errors import FormatError, InputError
from poselift.io.files import check_input_file
from poselift.io.frames import check_fps
from poselift.poses import Array, Detection
from poselift.skeleton import Skeleton, skeleton, skeletons

# Image sizes that a file without one is likely to have, by area.
USUAL_SIZES_PX = (
    (640, 480),
    (1280, 720),
    (720, 1280),
    (1920, 1080),
    (1080, 1920),
    (3840, 2160),
    (2160, 3840),
)

# More empty frames than this per frame with people: the numbers are no frames of one video.
_MOST_EMPTY = 50
_FRAMES_ALWAYS_FINE = 10_000


@dataclass(frozen=True, eq=False)
class KeypointFile:
    """Detections of every frame of a clip, as another tool wrote them.

    frames: T lists of people; time_s (T) from the first frame; size_px (width, height) of the
    image; ids: identities in the same order as the people, where the tool tracked them, else None.
    notes: what was assumed (frame rate, image size, layout) or left out.
    """

    frames: list[list[Detection]]
    time_s: Array
    size_px: tuple[int, int]
    skeleton: Skeleton
    ids: list[list[int]] | None
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class RawPerson:
    """One person as written: xy_px (J, 2), confidence (J) on the tool's own scale."""

    xy_px: Array
    confidence: Array
    score: float | None
    identity: int | None


def read_json(path: Path) -> object:
    """Parsed JSON. Raises FormatError (missing, empty, damaged, NaN or infinite numbers)."""
    check_input_file(path)

    def refuse(name: str) -> float:
        raise FormatError(
            f"{path}: keypoints", expected="finite numbers, null for a joint not seen", found=name
        )

    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except FormatError:
        raise
    except (OSError, ValueError, RecursionError) as error:  # ValueError: JSON and Unicode errors
        raise FormatError(f"{path} cannot be read as JSON", found=str(error)) from error


def layout_of(
    count: int, layout: str | None, by_count: Mapping[int, str], where: str
) -> tuple[Skeleton, str]:
    """The skeleton of `count` joints and a note on how it was chosen.

    The layout that was asked for, else the one usual in the format (`by_count`), else the only
    detector skeleton of that many joints. Raises FormatError, UnknownNameError.
    """
    if layout is not None:
        chosen = skeleton(layout)
        if len(chosen) != count:
            raise FormatError(
                f"{where}: layout {layout}", expected=f"{len(chosen)} joints", found=count
            )
        return chosen, f"layout {layout} as asked"
    fitting = [name for name in _layouts() if len(skeleton(name)) == count]
    if count in by_count:
        chosen = skeleton(by_count[count])
    elif len(fitting) == 1:
        chosen = skeleton(fitting[0])
    elif fitting:
        raise FormatError(
            f"{where}: {count} joints fit several layouts", expected="a layout", known=fitting
        )
    else:
        raise FormatError(f"{where}: {count} joints fit no layout", known=_layouts_with_counts())
    others = [name for name in fitting if name != chosen.name]
    doubt = f" ({' and '.join(others)} has as many: ask for it by layout)" if others else ""
    return chosen, f"layout {chosen.name} by its {count} joints{doubt}"


def _layouts() -> list[str]:
    return [name for name in skeletons() if skeleton(name).kind == "keypoints"]


def _layouts_with_counts() -> list[str]:
    return [f"{name} {len(skeleton(name))}" for name in _layouts()]


def joint_values(values: object, where: str) -> NDArray[np.float64]:
    """The numbers x, y, confidence of every joint, (J, 3); null is NaN. Raises FormatError."""
    try:
        array = np.asarray(values, dtype=np.float64).reshape(-1)  # None becomes NaN
    except (TypeError, ValueError, OverflowError) as error:  # whole numbers beyond a float
        raise FormatError(f"{where}: keypoints", expected="numbers", found=str(error)) from error
    if array.size == 0 or array.size % 3:
        raise FormatError(
            f"{where}: keypoints", expected="x, y, confidence of every joint", found=array.size
        )
    if np.isinf(array).any():
        raise FormatError(f"{where}: keypoints", expected="finite numbers", found="infinity")
    return array.reshape(-1, 3)


def raw_person(
    values: NDArray[np.float64], score: float | None, identity: int | None
) -> RawPerson | None:
    """A person from (J, 3); joints without confidence or place are NaN; None if none is left."""
    seen = np.isfinite(values).all(axis=1) & (values[:, 2] > 0)
    if not seen.any():
        return None
    xy = np.where(seen[:, None], values[:, :2], np.nan)
    return RawPerson(xy, np.where(seen, values[:, 2], 0.0), score, identity)


def frame_number(name: str) -> int | None:
    """The last number in a file name: 12 of `clip2_000012_keypoints.json`."""
    numbers = re.findall(r"[0-9]+", Path(name).stem)
    return int(numbers[-1]) if numbers else None


def build(
    people: Mapping[int, Sequence[RawPerson]],
    joints: Skeleton,
    where: str,
    *,
    fps: float | None,
    size_px: tuple[int, int] | None,
    notes: Iterable[str],
) -> KeypointFile:
    """A clip from people by frame number; numbers that are left out become empty frames.

    Raises FormatError (normalised coordinates, numbers too far apart), InputError (fps, size).
    """
    notes = list(notes)
    rate = check_fps(fps)
    if fps is None:
        notes.append(f"no frame rate in the file: {rate:g} frames per second assumed (fps)")
    first, count = _range(people, where)
    if count > len(people):
        notes.append(f"frames that the file leaves out, taken as empty: {count - len(people)}")
    everybody = [person for frame in people.values() for person in frame]
    size_px = _size(everybody, size_px, where, notes)
    to_unit = _confidence_scale(everybody, notes)
    frames = [[to_unit(p) for p in people.get(first + n, ())] for n in range(count)]
    return KeypointFile(
        frames=frames,
        time_s=np.arange(count) / rate,
        size_px=size_px,
        skeleton=joints,
        ids=_identities([people.get(first + n, ()) for n in range(count)]),
        notes=tuple(notes),
    )


def _range(people: Mapping[int, Sequence[RawPerson]], where: str) -> tuple[int, int]:
    first = min(people)
    count = max(people) - first + 1
    if count > max(_FRAMES_ALWAYS_FINE, _MOST_EMPTY * len(people)):
        raise FormatError(
            f"{where}: frame numbers are too far apart for one video",
            expected="consecutive frames",
            found=f"{len(people)} of {count}",
        )
    return first, count


def _size(
    everybody: Sequence[RawPerson],
    size_px: tuple[int, int] | None,
    where: str,
    notes: list[str],
) -> tuple[int, int]:
    points = [person.xy_px for person in everybody]
    extent = np.nanmax(np.abs(np.concatenate(points)), axis=0) if points else np.zeros(2)
    if points and (extent <= 2).all():
        raise FormatError(
            f"{where}: coordinates", expected="pixels", found="numbers within 0..1 of the image"
        )
    if size_px is not None:
        if len(size_px) != 2 or min(size_px) <= 0:
            raise InputError("image size", expected="width and height > 0", found=size_px)
        if (extent > np.multiply(size_px, 1.5)).any():
            notes.append(
                f"joints lie far outside the image of {size_px[0]} x {size_px[1]}: is it the size?"
            )
        return (int(size_px[0]), int(size_px[1]))
    width, height = _usual_size(extent)
    notes.append(f"no image size in the file: {width} x {height} px assumed (size_px)")
    return width, height


def _usual_size(extent: NDArray[np.floating]) -> tuple[int, int]:
    for size in USUAL_SIZES_PX:
        if (extent <= size).all():
            return size
    width, height = (int(side) for side in np.ceil(extent))
    return width, height


def _confidence_scale(
    everybody: Sequence[RawPerson], notes: list[str]
) -> Callable[[RawPerson], Detection]:
    """How to turn people with the tool's own confidence into detections with 0..1."""
    values = np.concatenate([person.confidence for person in everybody] or [np.zeros(1)])
    top = values.max()
    if top > 1 and np.isin(values, (0, 1, 2)).all():
        notes.append("confidence: visibility 2 taken as 1, visibility 1 (hidden) as 0.5")
        return lambda person: _detection(person, person.confidence / 2)
    if top > 1:
        notes.append(f"confidence: above 1 in the file (up to {top:g}), cut to 1")
    return lambda person: _detection(person, np.minimum(person.confidence, 1.0))


def _detection(person: RawPerson, confidence: Array) -> Detection:
    score = person.score
    if score is None:
        score = float(confidence[confidence > 0].mean())
    return Detection(person.xy_px, confidence, score)


def _identities(frames: Sequence[Sequence[RawPerson]]) -> list[list[int]] | None:
    """Identities, if everybody has one and no frame holds one twice."""
    ids: list[list[int]] = []
    for frame in frames:
        known = [person.identity for person in frame if person.identity is not None]
        if len(known) < len(frame) or len(set(known)) < len(known):
            return None
        ids.append(known)
    return ids if any(ids) else None
