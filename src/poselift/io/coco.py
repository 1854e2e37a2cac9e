"""COCO keypoint results: one JSON list of people of all frames (AlphaPose writes the same)."""

from collections.abc import Sequence
from pathlib import Path

from poselift.errors import FormatError
from poselift.io.keypoints import (
    KeypointFile,
    RawPerson,
    build,
    frame_number,
    joint_values,
    layout_of,
    raw_person,
)
from poselift.skeleton import Skeleton

BY_COUNT = {17: "coco17", 26: "halpe26", 133: "coco_wholebody133", 136: "halpe136"}

_PERSON = 1  # COCO's category


def is_coco(document: object) -> bool:
    """Whether parsed JSON looks like a list of COCO results."""
    if not isinstance(document, list):
        return False
    return all(isinstance(e, dict) and {"image_id", "keypoints"} <= set(e) for e in document)


def read_coco(
    path: Path,
    document: object,
    *,
    fps: float | None = None,
    size_px: tuple[int, int] | None = None,
    layout: str | None = None,
) -> KeypointFile:
    """People of a parsed list of results, in the order of image_id (or of the last number in it).

    Missing numbers are empty frames; a joint of visibility 0 is NaN. Defaults, said in `notes`:
    30 fps, the smallest usual image that holds all joints, the usual layout of that many joints.
    Raises FormatError with the entry, UnknownNameError, InputError.
    """
    if not isinstance(document, list) or not is_coco(document):
        raise FormatError(f"{path} is not COCO results", expected="a list of image_id, keypoints")
    notes: list[str] = []
    entries = _persons(path, document, notes)
    joints, note = _layout(path, entries[0], layout)
    notes.append(note)
    numbers = _Numbers()
    people: dict[int, list[RawPerson]] = {}
    for n, entry in enumerate(entries):
        where = f"{path} entry {n} (image_id {entry['image_id']})"
        frame = people.setdefault(numbers.of(entry["image_id"], where), [])
        person = _person(entry, joints, where)
        if person is not None:
            frame.append(person)
    return build(people, joints, str(path), fps=fps, size_px=size_px, notes=notes)


def _persons(path: Path, entries: Sequence[dict], notes: list[str]) -> list[dict]:
    """Entries of people; a file of one category is taken to be of people whatever its number."""
    categories = {str(entry.get("category_id", _PERSON)) for entry in entries}  # any JSON value
    people = [entry for entry in entries if entry.get("category_id", _PERSON) == _PERSON]
    if len(categories) == 1:
        people = list(entries)
    if not people:
        raise FormatError(
            f"{path} holds no people",
            expected=f"entries of category {_PERSON}",
            found=f"categories {sorted(categories)}" if categories else "an empty list",
        )
    if len(people) < len(entries):
        notes.append(f"entries of other categories left out: {len(entries) - len(people)}")
    return people


def _layout(path: Path, entry: dict, layout: str | None) -> tuple[Skeleton, str]:
    count = len(joint_values(entry["keypoints"], f"{path} entry 0"))
    return layout_of(count, layout, BY_COUNT, str(path))


class _Numbers:
    """Frame numbers of image_id; two images of one number would be two clips in one file."""

    def __init__(self) -> None:
        self._images: dict[int, object] = {}

    def of(self, image_id: object, where: str) -> int:
        """The number, or the last one in the name. Raises FormatError."""
        number = frame_number(image_id) if isinstance(image_id, str) else image_id
        if not isinstance(number, int):
            raise FormatError(where, expected="a number, or a name with one, in image_id")
        if self._images.setdefault(number, image_id) != image_id:
            raise FormatError(
                f"{where}: more than one clip in the file",
                expected="one image per frame number",
                found=f"{self._images[number]} and {image_id}",
            )
        return number


def _person(entry: dict, joints: Skeleton, where: str) -> RawPerson | None:
    values = joint_values(entry["keypoints"], where)
    if len(values) != len(joints):
        raise FormatError(where, expected=f"{len(joints)} joints as before", found=len(values))
    score = entry.get("score")
    if score is not None and not (isinstance(score, int | float) and abs(score) < 1e300):
        raise FormatError(where, expected="a finite score", found=score)
    identity = entry.get("track_id", entry.get("idx"))  # idx: AlphaPose
    known = isinstance(identity, int)
    return raw_person(values, None if score is None else float(score), identity if known else None)
