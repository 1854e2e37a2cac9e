"""Our own files: NPZ (exact) and JSON (readable) of one or several people, 2D or 3D.

Both hold the same entries. Lengths are in metres or pixels, times in seconds, a
missing joint is NaN in NPZ and null in JSON. The people of one file share time, skeleton and axes.
"""

import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from poselift.camera import Camera
from poselift.errors import FormatError, InputError, PoseliftError
from poselift.io.files import atomic, check_input_file
from poselift.poses import Array, Poses2D, Poses3D
from poselift.skeleton import Skeleton, skeleton, skeletons

FORMAT = "poselift poses"
VERSION = 1

AXES = {
    "image": "x right, y down, origin top left",
    "camera": "x right, y down, z forward",
    "world": "right-handed, z up",
}
_OBSERVED = "observed_"
_DECIMALS = {"xyz_m": 6, "uncertainty_m": 6, "scale_m": 6, "xy_px": 3, "confidence": 6}

# What numpy and zipfile raise for files that are damaged, or no archives (a lone .npy: TypeError).
_NPZ_FAULTS = (
    OSError,
    ValueError,
    TypeError,
    EOFError,
    KeyError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)

Poses = Poses2D | Poses3D
Document = dict[str, Any]


def write_npz(path: Path, people: Sequence[Poses]) -> list[Path]:
    """Write people as NPZ without pickles. Raises InputError (people that differ), OutputError."""
    document = _flat(_encode(people))
    arrays: Document = {key: np.asarray(value) for key, value in document.items()}
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return [path]


def write_json(path: Path, people: Sequence[Poses]) -> list[Path]:
    """Write people as JSON, metres to 1e-6 and pixels to 1e-3. Raises InputError, OutputError."""
    text = json.dumps(_plain(_encode(people)), allow_nan=False, ensure_ascii=False)
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return [path]


def is_native(document: object) -> bool:
    """Whether parsed JSON is a file of ours."""
    return isinstance(document, dict) and document.get("format") == FORMAT


def read_npz(path: Path) -> list[Poses2D] | list[Poses3D]:
    """People of an NPZ file of ours. Raises FormatError."""
    check_input_file(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            flat = {key: _unboxed(arrays[key]) for key in arrays.files}
        document = _nested(flat)
    except _NPZ_FAULTS as error:
        raise FormatError(f"{path} cannot be read as NPZ", found=str(error)) from error
    return _decode(path, document)


def read_json_poses(path: Path, document: object) -> list[Poses2D] | list[Poses3D]:
    """People of a JSON file of ours, from its parsed content. Raises FormatError."""
    if not isinstance(document, dict):
        raise FormatError(f"{path} is not of poselift", expected="a JSON object")
    return _decode(path, document)


# Words to entries


def _encode(people: Sequence[Poses]) -> Document:
    if not people or not len(people[0].time_s):
        raise InputError("nothing to write", expected="at least one person and one frame")
    first = people[0]
    document: Document = {
        "format": FORMAT,
        "version": VERSION,
        "kind": "2d" if isinstance(first, Poses2D) else "3d",
        "skeleton": first.skeleton.name,
        "skeleton_kind": first.skeleton.kind,
        "joint_names": list(first.skeleton.joints),
        "parents": first.skeleton.parents,
        "time_s": first.time_s,
        "person": [poses.person for poses in people],
        "history": [list(poses.history) for poses in people],
        **_camera_entries(first.camera),
    }
    entries = _entries_2d(people) if isinstance(first, Poses2D) else _entries_3d(people)
    _check_shared(people, document)
    return document | entries


def _entries_2d(people: Sequence[Poses]) -> Document:
    poses = [p for p in people if isinstance(p, Poses2D)]
    _check_kind(people, poses)
    return {
        "units": "px",
        "axes": "image",
        "axes_meaning": AXES["image"],
        "size_px": list(poses[0].size_px),
        "xy_px": np.stack([p.xy_px for p in poses]),
        "confidence": np.stack([p.confidence for p in poses]),
    }


def _entries_3d(people: Sequence[Poses]) -> Document:
    poses = [p for p in people if isinstance(p, Poses3D)]
    _check_kind(people, poses)
    document: Document = {
        "units": "m",
        "axes": poses[0].axes,
        "axes_meaning": AXES[poses[0].axes],
        "origin": poses[0].origin,
        "xyz_m": np.stack([p.xyz_m for p in poses]),
    }
    uncertainty = _all_or_none("uncertainty", [p.uncertainty_m for p in poses])
    if uncertainty:
        document["uncertainty_m"] = np.stack(uncertainty)
    scales = _all_or_none("scales of uncertainty", [p.scale_m for p in poses])
    if scales:
        document["scale_m"] = np.stack(scales)
    observed = _all_or_none("observed 2D", [p.observed for p in poses])
    if observed:
        document["observed"] = _encode(observed)
    return document


def _camera_entries(camera: Camera | None) -> Document:
    if camera is None:
        return {}
    return {
        "camera_K": camera.K,
        "camera_size_px": list(camera.size_px),
        "camera_R_world_to_camera": camera.R_world_to_camera,
        "camera_t_world_to_camera_m": camera.t_world_to_camera_m,
        "camera_distortion": list(camera.distortion),
        "camera_known": camera.known,
    }


def _check_kind(people: Sequence[Poses], same: Sequence[Poses]) -> None:
    if len(same) < len(people):
        raise InputError("people of one file", expected="all 2D or all 3D", found="both")


def _check_shared(people: Sequence[Poses], first: Document) -> None:
    if len({poses.person for poses in people}) < len(people):
        raise InputError("people of one file", expected="different numbers", found=first["person"])
    names = ("time_s", "skeleton", "axes", "origin", "size_px")
    for poses in people:
        for name in names:
            value, expected = getattr(poses, name, None), getattr(people[0], name, None)
            if not np.array_equal(np.asarray(value), np.asarray(expected)):
                raise InputError(f"people of one file differ in {name}", expected="the same")
        camera = _plain(_camera_entries(poses.camera))
        if camera != _plain(_camera_entries(people[0].camera)):
            raise InputError("people of one file differ in camera", expected="the same")


def _all_or_none(what: str, values: Sequence[Any]) -> list[Any]:
    given = [value for value in values if value is not None]
    if given and len(given) < len(values):
        raise InputError(
            f"{what} of the people of one file", expected="for all or none", found=len(given)
        )
    return given


# Entries to words


def _decode(path: Path, document: Document) -> list[Any]:
    if document.get("format") != FORMAT:
        raise FormatError(f"{path} is not of poselift", expected=f"format {FORMAT!r}")
    if document.get("version") != VERSION:
        raise FormatError(
            f"{path} is of another version", expected=str(VERSION), found=document.get("version")
        )
    decoders: dict[object, Callable[[Document], list[Any]]] = {"2d": _decode_2d, "3d": _decode_3d}
    kind = document.get("kind")
    if kind not in decoders:
        raise FormatError(f"{path}: kind", found=repr(kind), known=decoders)
    try:
        return decoders[kind](document)
    except KeyError as error:
        raise FormatError(f"{path} lacks an entry", expected=error.args[0]) from error
    except (PoseliftError, TypeError, ValueError, IndexError) as error:
        raise FormatError(f"{path} is damaged", found=str(error)) from error


def _decode_2d(document: Document) -> list[Poses2D]:
    xy, confidence = _array(document["xy_px"]), _array(document["confidence"])
    width, height = document["size_px"]
    people = zip(xy, confidence, _common(document), strict=True)
    return [
        Poses2D(points, weights, size_px=(int(width), int(height)), **common)
        for points, weights, common in people
    ]


def _decode_3d(document: Document) -> list[Poses3D]:
    xyz = _array(document["xyz_m"])
    nothing = [None] * len(xyz)
    uncertainty = _array(document["uncertainty_m"]) if "uncertainty_m" in document else nothing
    scales = _array(document["scale_m"]) if "scale_m" in document else nothing
    observed = _decode_2d(document["observed"]) if "observed" in document else nothing
    axes, origin = document["axes"], document["origin"]
    if axes not in ("camera", "world") or origin not in ("root", "camera", "world"):
        raise FormatError("axes and origin", found=f"{axes} and {origin}")
    claims: Iterable[Document] = (
        {"uncertainty_m": sd, "scale_m": scale, "observed": flat}
        for sd, scale, flat in zip(uncertainty, scales, observed, strict=True)
    )
    return [
        Poses3D(points, axes=axes, origin=origin, **claim, **common)
        for points, claim, common in zip(xyz, claims, _common(document), strict=True)
    ]


def _common(document: Document) -> list[Document]:
    shared = {
        "time_s": _array(document["time_s"]),
        "skeleton": _skeleton(document),
        "camera": _camera(document),
    }
    pairs = zip(document["person"], document["history"], strict=True)
    return [{**shared, "person": int(n), "history": tuple(history)} for n, history in pairs]


def _skeleton(document: Document) -> Skeleton:
    """The skeleton of the table if it is the same, else one of the file's own."""
    joints = [str(joint) for joint in document["joint_names"]]
    parents = [joints[p] if p >= 0 else "" for p in document["parents"]]
    name = document["skeleton"]
    if not isinstance(name, str):
        raise FormatError("skeleton", expected="a name", found=repr(name))
    parent_of = dict(zip(joints, parents, strict=True))
    own = Skeleton(name, parent_of, str(document["skeleton_kind"]))
    if name in skeletons() and list(skeleton(name).parent_of.items()) == list(parent_of.items()):
        return skeleton(name)
    return own


def _camera(document: Document) -> Camera | None:
    if "camera_K" not in document:
        return None
    width, height = document["camera_size_px"]
    return Camera(
        K=_array(document["camera_K"]),
        size_px=(int(width), int(height)),
        R_world_to_camera=_array(document["camera_R_world_to_camera"]),
        t_world_to_camera_m=_array(document["camera_t_world_to_camera_m"]),
        distortion=tuple(float(k) for k in document["camera_distortion"]),
        known=bool(document["camera_known"]),
    )


def _array(value: object) -> Array:
    return np.asarray(value, dtype=np.float64)  # None becomes NaN


# Entries in NPZ: flat, arrays only. Entries in JSON: nested, plain numbers.


def _flat(document: Document) -> Document:
    flat = {key: value for key, value in document.items() if key != "observed"}
    flat["history"] = [json.dumps(steps) for steps in document["history"]]
    if "observed" in document:
        observed = _flat(document["observed"])
        flat |= {_OBSERVED + key: value for key, value in observed.items()}
    return flat


def _nested(flat: Document) -> Document:
    document = {key: value for key, value in flat.items() if not key.startswith(_OBSERVED)}
    if "history" in document:
        document["history"] = [json.loads(str(steps)) for steps in document["history"]]
    observed = {
        key.removeprefix(_OBSERVED): value
        for key, value in flat.items()
        if key.startswith(_OBSERVED)
    }
    return document | {"observed": _nested(observed)} if observed else document


def _unboxed(value: np.ndarray) -> object:
    return value.item() if value.ndim == 0 else value


def _plain(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _plain(item, key) for key, item in value.items()}
    if not isinstance(value, np.ndarray):
        return value
    rounded = np.round(value, _DECIMALS[name]) if name in _DECIMALS else value
    plain = rounded.astype(object)
    plain[np.isnan(rounded)] = None
    return plain.tolist()
