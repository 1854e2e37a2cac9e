"""Videos with truth: what a protocol makes of a user's files, and the checks that all share."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poselift.errors import FormatError, InputError
from poselift.evaluate import Lift
from poselift.geometry import Array
from poselift.poses import Poses2D, Poses3D
from poselift.protocols.cameras import mirrored

# A thigh is 0.3 to 0.6 m long; outside of this the file is in other units or not of people.
_THIGH_M = (0.1, 1.0)


@dataclass(frozen=True, eq=False)
class Video:
    """One video of one camera: observed 2D, and the true 3D in camera axes with absolute places.

    column: the action or sequence under which it counts; counted (T): the frames that are judged.
    """

    name: str
    subject: str
    column: str
    observed: Poses2D
    truth: Poses3D
    counted: NDArray[np.bool_]


Answer = Callable[[Video], Poses3D]


def find_file(folder: Path, name: str) -> Path:
    """A file that a protocol needs. Raises FormatError, which lists what is there."""
    path = folder / name
    if not path.is_file():
        there = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else ()
        raise FormatError(
            f"{path} does not exist", expected=f"a folder with {name}", known=there[:30]
        )
    return path


def entry(table: object, key: str, where: str) -> Any:
    """What `table` holds under `key`. Raises FormatError (no table), InputError (no such key)."""
    if not isinstance(table, Mapping):
        raise FormatError(where, expected="a dictionary", found=type(table).__name__)
    if key not in table:
        raise InputError(f"{where} lacks an entry", expected=repr(key), known=list(table)[:40])
    return table[key]


def listed(table: object, key: str, count: int | None, where: str) -> Sequence[Any]:
    """The list under `key`, of `count` elements. Raises FormatError, InputError (no such key)."""
    values = entry(table, key, where)
    if not isinstance(values, list | tuple | np.ndarray) or getattr(values, "ndim", 1) == 0:
        raise FormatError(f"{where}: {key}", expected="a list", found=type(values).__name__)
    if count is not None and len(values) != count:
        raise FormatError(f"{where}: {key}", expected=f"{count} elements", found=len(values))
    return values


@contextmanager
def about(where: str) -> Generator[None, None, None]:
    """Errors of the values made inside name the file and field that they came from."""
    try:
        yield
    except InputError as error:
        raise FormatError(f"{where}: {error}") from error


def numbers(value: object, shape: Sequence[int | None], where: str) -> Array:
    """`value` as float64 of `shape` (None: any length above 0). Raises FormatError."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise FormatError(where, expected="an array of numbers", found=str(error)) from error
    fits = len(array.shape) == len(shape) and array.size > 0
    if not fits or any(n not in (None, m) for n, m in zip(shape, array.shape, strict=True)):
        text = ", ".join("any" if n is None else str(n) for n in shape)
        raise FormatError(where, expected=f"shape ({text})", found=array.shape)
    return array


def true_joints(value: object, joints: int, unit_m: float, where: str) -> Array:
    """True joints (T, joints, 3) in metres of an array in units of `unit_m`.

    Raises FormatError for another shape or a value that is not finite.
    """
    xyz_m = numbers(value, (None, joints, 3), where) * unit_m
    bad = ~np.isfinite(xyz_m).all(axis=(1, 2))
    if bad.any():
        raise FormatError(
            f"{where} is damaged", expected="finite numbers", found=f"frame {int(np.argmax(bad))}"
        )
    return xyz_m


def seen_as_confidence(points: Array) -> Array:
    """Confidence (T, J) of points (T, J, 2 or 3): 0 where not seen, else the third value or 1."""
    seen = np.isfinite(points[..., :2]).all(axis=-1)
    given = np.ones(seen.shape) if points.shape[-1] == 2 else np.nan_to_num(points[..., 2])
    return np.where(seen, given, 0.0).clip(0.0, 1.0)


def check_metres(truth: Poses3D, where: str) -> None:
    """Raises FormatError where thighs are no human thighs: other units or another skeleton."""
    hip, knee = truth.skeleton.index("left_hip"), truth.skeleton.index("left_knee")
    thigh_m = float(np.median(np.linalg.norm(truth.xyz_m[:, hip] - truth.xyz_m[:, knee], axis=-1)))
    if not _THIGH_M[0] < thigh_m < _THIGH_M[1]:
        raise FormatError(
            f"{where}: units or joint order",
            expected=f"thighs of {_THIGH_M[0]} to {_THIGH_M[1]} m",
            found=f"{thigh_m:.3g} m",
        )


def flipped(lift: Lift) -> Lift:
    """The mean of a lifter's answer and its un-mirrored answer to the mirrored video."""

    def both(observed: Poses2D) -> Poses3D:
        plain, twin = lift(observed), lift(_mirrored(observed))
        turned = twin.xyz_m[:, twin.skeleton.mirror] * np.array([-1.0, 1.0, 1.0])
        return plain.then("averaged with the mirrored video", xyz_m=(plain.xyz_m + turned) / 2)

    return both


def _mirrored(observed: Poses2D) -> Poses2D:
    order, width = observed.skeleton.mirror, observed.size_px[0]
    xy_px = observed.xy_px[:, order].copy()
    xy_px[..., 0] = width - xy_px[..., 0]
    return observed.then(
        "mirrored",
        xy_px=xy_px,
        confidence=observed.confidence[:, order],
        camera=observed.camera and mirrored(observed.camera),
    )
