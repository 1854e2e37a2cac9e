"""OpenPose JSON: one file per frame in a folder, or a single file."""

from pathlib import Path

from poselift.errors import FormatError
from poselift.io.frames import natural_key
from poselift.io.keypoints import (
    KeypointFile,
    RawPerson,
    build,
    frame_number,
    joint_values,
    layout_of,
    raw_person,
    read_json,
)
from poselift.skeleton import Skeleton, skeleton

# BODY_25B has 25 joints too and cannot be told apart: the common one is the default.
BY_COUNT = {25: "body25", 18: "openpose18"}

_LEFT_OUT = ("face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d")


def is_openpose(document: object) -> bool:
    """Whether parsed JSON looks like a frame of OpenPose."""
    return isinstance(document, dict) and isinstance(document.get("people"), list)


def json_files(folder: Path) -> list[Path]:
    """JSON files of a folder (no hidden ones) in natural order."""
    files = [file for file in folder.glob("*.json") if not file.name.startswith(".")]
    return sorted(files, key=lambda file: natural_key(file.name))


def read_openpose(
    path: Path,
    *,
    fps: float | None = None,
    size_px: tuple[int, int] | None = None,
    layout: str | None = None,
) -> KeypointFile:
    """A folder of `*_keypoints.json`, ordered by the last number in the name, or one such file.

    Missing joints (0, 0, 0) are NaN. Missing numbers are empty frames. Hands and face are left
    out. Defaults, said in `notes`: 30 fps, the smallest usual image that holds all joints, BODY_25
    for 25 joints. Raises FormatError with the file and person, UnknownNameError, InputError.
    """
    files = json_files(path) if path.is_dir() else [path]
    if not files:
        raise FormatError(f"{path} holds no keypoints", expected="files *_keypoints.json")
    reader = _Reader(layout)
    people = {number: reader.frame(file) for number, file in _numbered(path, files).items()}
    joints = reader.skeleton or skeleton(layout or BY_COUNT[25])
    return build(people, joints, str(path), fps=fps, size_px=size_px, notes=reader.notes)


def _numbered(path: Path, files: list[Path]) -> dict[int, Path]:
    numbers = [frame_number(file.name) for file in files]
    if None in numbers:
        return dict(enumerate(files))
    numbered: dict[int, Path] = {}
    for number, file in zip(numbers, files, strict=True):
        if number in numbered:
            raise FormatError(
                f"{path} holds more than one clip",
                expected="one file per frame number",
                found=f"{numbered[number].name} and {file.name}",
            )
        numbered[number or 0] = file
    return numbered


class _Reader:
    """Reads frame after frame; all must be of the layout of the first person."""

    def __init__(self, layout: str | None) -> None:
        self.layout = layout
        self.skeleton: Skeleton | None = None
        self.notes: list[str] = []

    def frame(self, file: Path) -> list[RawPerson]:
        document = read_json(file)
        if not isinstance(document, dict) or not is_openpose(document):
            raise FormatError(f"{file} is not of OpenPose", expected='a list "people"')
        found = [self._person(p, f"{file} person {n}") for n, p in enumerate(document["people"])]
        return [person for person in found if person is not None]

    def _person(self, person: object, where: str) -> RawPerson | None:
        if not isinstance(person, dict):
            raise FormatError(where, expected="pose_keypoints_2d", found=type(person).__name__)
        flat = person.get("pose_keypoints_2d", person.get("pose_keypoints"))
        if flat is None:
            raise FormatError(where, expected="pose_keypoints_2d", found=sorted(person))
        self._note_left_out(person)
        if flat == []:
            return None  # hands or a face without a body
        values = joint_values(flat, where)
        self._check_layout(len(values), where)
        return raw_person(values, None, _identity(person.get("person_id")))

    def _check_layout(self, count: int, where: str) -> None:
        if self.skeleton is None:
            self.skeleton, note = layout_of(count, self.layout, BY_COUNT, where)
            self.notes.append(note)
        elif len(self.skeleton) != count:
            raise FormatError(where, expected=f"{len(self.skeleton)} joints as before", found=count)

    def _note_left_out(self, person: dict) -> None:
        note = "hands and face were left out"
        if note not in self.notes and any(person.get(key) for key in _LEFT_OUT):
            self.notes.append(note)


def _identity(value: object) -> int | None:
    """OpenPose writes [-1] where it did not track."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, int) and value >= 0 else None
