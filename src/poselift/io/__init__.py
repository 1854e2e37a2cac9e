"""Files in and out: video, images, keypoints of other tools, our own poses, CSV, BVH.

`read` and `write` choose by suffix and content. Video and images: `poselift.io.video`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from poselift.errors import FormatError, InputError, UnknownNameError
from poselift.io import bvh, coco, csv, native, openpose
from poselift.io.files import atomic, check_input_file, check_output_folder
from poselift.io.frames import IMAGE_SUFFIXES
from poselift.io.keypoints import KeypointFile, read_json
from poselift.poses import Poses2D, Poses3D

__all__ = [
    "READABLE",
    "WRITERS",
    "KeypointFile",
    "atomic",
    "check_input_file",
    "check_output_folder",
    "read",
    "source_kind",
    "write",
]

Kind = Literal["video", "images", "keypoints", "poses"]
People = Sequence[Poses2D] | Sequence[Poses3D]

WRITERS: dict[str, Callable[[Path, Sequence[Poses2D | Poses3D]], list[Path]]] = {
    ".npz": native.write_npz,
    ".json": native.write_json,
    ".csv": csv.write_csv,
    ".bvh": bvh.write_bvh_people,
}

READABLE = (
    "poselift .npz",
    "poselift .json",
    "OpenPose .json",
    "a folder of OpenPose .json",
    "COCO results .json",
)

# Files that we write for others and cannot lift again.
_WRITE_ONLY = frozenset(WRITERS) - {".npz", ".json"}


def read(
    path: str | os.PathLike[str],
    *,
    fps: float | None = None,
    size_px: tuple[int, int] | None = None,
    layout: str | None = None,
) -> KeypointFile | list[Poses2D] | list[Poses3D]:
    """Keypoints of another tool (KeypointFile), or people of a file of ours (Poses2D or Poses3D).

    fps, size_px (width, height) and layout (the name of a skeleton) tell what OpenPose and COCO
    files lack; a file of ours has them. Raises FormatError, InputError, UnknownNameError.
    """
    path = Path(path)
    options = {"fps": fps, "size_px": size_px, "layout": layout}
    if path.is_dir():
        return openpose.read_openpose(path, fps=fps, size_px=size_px, layout=layout)
    if path.suffix.lower() == ".npz":
        _refuse(path, options)
        return native.read_npz(path)
    if path.suffix.lower() != ".json":
        raise FormatError(f"{check_input_file(path)} cannot be read as poses", known=READABLE)
    document = read_json(path)
    kind = _json_kind(path, document)
    if kind == "poselift":
        _refuse(path, options)
        return native.read_json_poses(path, document)
    if kind == "coco":
        return coco.read_coco(path, document, fps=fps, size_px=size_px, layout=layout)
    return openpose.read_openpose(path, fps=fps, size_px=size_px, layout=layout)


def write(path: str | os.PathLike[str], people: People) -> list[Path]:
    """Write people; the suffix chooses the format. Returns the files written.

    Raises UnknownNameError (suffix), InputError (what the format cannot hold), OutputError.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITERS:
        raise UnknownNameError("output format", path.suffix, WRITERS)
    return WRITERS[path.suffix.lower()](path, people)


def source_kind(path: str | os.PathLike[str]) -> Kind:
    """What a path holds: "video", "images" (also one image), "keypoints" or "poses".

    JSON is told apart by content; everything without a suffix of ours is taken for a video, which
    `open_frames` then checks. Raises FormatError.
    """
    path = Path(path)
    if path.is_dir():
        return _folder_kind(path)
    suffix = check_input_file(path).suffix.lower()
    if suffix in _WRITE_ONLY:
        raise FormatError(f"{path}: {suffix} files are written, not read", known=READABLE)
    if suffix == ".json":
        return "poses" if _json_kind(path, read_json(path)) == "poselift" else "keypoints"
    if suffix in IMAGE_SUFFIXES:
        return "images"
    return "poses" if suffix == ".npz" else "video"


def _folder_kind(folder: Path) -> Kind:
    suffixes = {file.suffix.lower() for file in folder.iterdir() if not file.name.startswith(".")}
    images = bool(suffixes & IMAGE_SUFFIXES)
    if images and ".json" in suffixes:
        raise FormatError(f"{folder} holds images and JSON", expected="one of them")
    if not images and ".json" not in suffixes:
        raise FormatError(f"{folder} holds neither images nor keypoints (*_keypoints.json)")
    return "images" if images else "keypoints"


def _json_kind(path: Path, document: object) -> str:
    if native.is_native(document):
        return "poselift"
    if openpose.is_openpose(document):
        return "openpose"
    if coco.is_coco(document):
        return "coco"
    raise FormatError(f"{path} is JSON of no known layout", known=READABLE)


def _refuse(path: Path, options: Mapping[str, object]) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise InputError(f"{path} has its own {' and '.join(given)}", expected="no such option")
