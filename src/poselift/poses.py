"""Detection, Poses2D and Poses3D: a person in an image and over time. The waist of the house.

Everything below makes these words, everything above uses them. Arrays are locked; NaN = not seen;
time is in seconds. `history` tells in plain words what was done, oldest first.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from poselift.camera import Camera
from poselift.errors import InputError, ShapeError
from poselift.skeleton import Skeleton, conversion, convert, least_confidence

Array = NDArray[np.floating]
Axes = Literal["camera", "world"]
Origin = Literal["root", "camera", "world"]


@dataclass(frozen=True, eq=False)
class Detection:
    """One person in one image: xy_px (J, 2), confidence (J) in 0..1, score of the whole person."""

    xy_px: Array
    confidence: Array
    score: float


@dataclass(frozen=True, eq=False)
class Poses2D:
    """One person's 2D joints over time, in pixels, origin top left, y down.

    xy_px (T, J, 2), confidence (T, J) in 0..1, time_s (T) rising, size_px (width, height).
    A joint that was not seen is NaN with confidence 0; a frame without the person is all NaN.
    Raises ShapeError, InputError (infinite coordinates, confidence outside 0..1, times that do not
    rise).
    """

    xy_px: Array
    confidence: Array
    time_s: Array
    size_px: tuple[int, int]
    skeleton: Skeleton
    person: int = 0
    camera: Camera | None = None
    history: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        frames, joints = len(self.time_s), len(self.skeleton)
        shapes = {"xy_px": (frames, joints, 2), "confidence": (frames, joints), "time_s": (frames,)}
        _lock(self, shapes)
        if np.isinf(self.xy_px).any():
            raise InputError("2D joints", expected="finite pixels or NaN", found="infinity")
        outside = ~((self.confidence >= 0) & (self.confidence <= 1))
        if outside.any():
            raise InputError(
                "confidence", expected="0 to 1", found=f"{self.confidence[outside][0]:g}"
            )
        _check_time(self.time_s)
        if min(self.size_px) <= 0:
            raise InputError("image size", expected="width and height > 0", found=self.size_px)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which joints were seen, (T, J)."""
        return np.all(np.isfinite(self.xy_px), axis=-1)

    @property
    def rate_hz(self) -> float:
        """Frames per second by the median time step (0 for a single frame)."""
        return _rate_hz(self.time_s)

    def to(self, target: Skeleton) -> "Poses2D":
        """The same person on another skeleton; what cannot be had is NaN."""
        if target == self.skeleton:
            return self
        xy = convert(self.xy_px, self.skeleton, target)
        confidence = least_confidence(self.confidence, self.skeleton, target)
        confidence = np.where(np.isnan(xy).any(axis=-1), 0.0, confidence)
        return self.then(
            f"joints: {self.skeleton.name} to {target.name}",
            xy_px=xy,
            confidence=confidence,
            skeleton=target,
        )

    def then(self, step: str, **changes: object) -> "Poses2D":
        """A copy with `changes` that remembers `step`."""
        return replace(self, history=(*self.history, step), **changes)


@dataclass(frozen=True, eq=False)
class Poses3D:
    """One person's 3D joints over time, in metres.

    xyz_m (T, J, 3), time_s (T). `axes` "camera": x right, y down, z forward; "world": right-handed,
    z up. `origin` "root": every frame is relative to the skeleton's first joint; "camera", "world":
    places in that frame. uncertainty_m (T, J) is one standard deviation per axis, or None;
    scale_m (T, J, 2) the claimed scales of error across and along the line of sight
    (poselift.metrics.uncertainty), or None.
    `observed` is the 2D that it was lifted from (same frames), or None.
    Raises ShapeError, InputError (infinite coordinates, times that do not rise).
    """

    xyz_m: Array
    time_s: Array
    skeleton: Skeleton
    axes: Axes = "camera"
    origin: Origin = "root"
    person: int = 0
    uncertainty_m: Array | None = None
    scale_m: Array | None = None
    camera: Camera | None = None
    observed: Poses2D | None = None
    history: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        frames, joints = len(self.time_s), len(self.skeleton)
        shapes: dict[str, tuple[int, ...]] = {"xyz_m": (frames, joints, 3), "time_s": (frames,)}
        if self.uncertainty_m is not None:
            shapes["uncertainty_m"] = (frames, joints)
        if self.scale_m is not None:
            shapes["scale_m"] = (frames, joints, 2)
        _lock(self, shapes)
        if np.isinf(self.xyz_m).any():
            raise InputError("3D joints", expected="finite metres or NaN", found="infinity")
        _check_time(self.time_s)
        if self.observed is not None and len(self.observed.time_s) != frames:
            raise ShapeError(
                "observed 2D", expected=f"{frames} frames", found=len(self.observed.time_s)
            )

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Frames that hold a pose, (T)."""
        return np.all(np.isfinite(self.xyz_m), axis=(1, 2))

    @property
    def rate_hz(self) -> float:
        """Frames per second by the median time step (0 for a single frame)."""
        return _rate_hz(self.time_s)

    def to(self, target: Skeleton) -> "Poses3D":
        """The same person on another skeleton; what cannot be had is NaN.

        Uncertainty goes along with joints that are taken over as they are.
        """
        if target == self.skeleton:
            return self
        sd, scale = self.uncertainty_m, self.scale_m
        return self.then(
            f"joints: {self.skeleton.name} to {target.name}",
            xyz_m=convert(self.xyz_m, self.skeleton, target),
            uncertainty_m=None if sd is None else _copied(sd, self.skeleton, target),
            scale_m=None if scale is None else _copied(scale, self.skeleton, target),
            skeleton=target,
        )

    def then(self, step: str, **changes: object) -> "Poses3D":
        """A copy with `changes` that remembers `step`."""
        return replace(self, history=(*self.history, step), **changes)


def _copied(values: Array, source: Skeleton, target: Skeleton) -> Array:
    """Values (T, J, ...) of joints that are taken over one to one, NaN for those made up."""
    out = np.full((len(values), len(target), *values.shape[2:]), np.nan)
    for row, weights in enumerate(conversion(source, target)):
        if np.array_equal(weights[weights != 0], [1.0]):
            out[:, row] = values[:, np.argmax(weights)]
    return out


def _lock(poses: Poses2D | Poses3D, shapes: dict[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        array = np.array(getattr(poses, name), dtype=np.float64)
        if array.shape != shape:
            raise ShapeError(
                f"{type(poses).__name__}.{name} of skeleton {poses.skeleton.name}",
                expected=str(shape),
                found=array.shape,
            )
        array.flags.writeable = False
        object.__setattr__(poses, name, array)


def _check_time(time_s: Array) -> None:
    bad = ~np.isfinite(time_s)
    bad[1:] |= ~(time_s[1:] > time_s[:-1])
    if bad.any():
        frame = int(np.argmax(bad))
        before = f" after {time_s[frame - 1]:g} s" if frame else ""
        raise InputError(
            "time stamps",
            expected="finite seconds, each later than the last",
            found=f"{time_s[frame]:g} s at frame {frame}{before}",
        )


def _rate_hz(time_s: Array) -> float:
    return float(1 / np.median(np.diff(time_s))) if len(time_s) > 1 else 0.0
