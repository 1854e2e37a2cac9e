"""Drawing on RGB images: smooth strokes, labels, and the 2D skeleton over a video frame."""

from functools import cache, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from poselift.errors import ShapeError
from poselift.poses import Poses2D
from poselift.skeleton import Skeleton
from poselift.view.style import BACKGROUND_RGB, RGB, SIDE_RGB, Bone, accent, bones

Array = NDArray[np.floating]
Image = NDArray[np.uint8]
Point = tuple[int, int]

_SHIFT = 4  # OpenCV takes points in 1/16 pixel: motion does not jump from pixel to pixel
_FAR_PX = 2.0**14  # points outside the image are drawn no farther away, which OpenCV can clip
_LOW_CONFIDENCE = 0.3  # bones with less are thin


def blank(size_px: tuple[int, int]) -> Image:
    """A dark canvas (H, W, 3) for size_px (width, height)."""
    return _dark(size_px).copy()


@lru_cache(maxsize=4)
def _dark(size_px: tuple[int, int]) -> Image:
    # Filling with three different bytes is 50 times slower than copying.
    return np.full((size_px[1], size_px[0], 3), BACKGROUND_RGB, dtype=np.uint8)


@lru_cache(maxsize=4096)
def mix(a: RGB, b: RGB, share: float) -> RGB:
    """The colour `share` of the way from a to b."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def stroke(image: Image, start: Array, end: Array, width_px: float, rgb: RGB) -> None:
    """A smooth line with round ends between pixel positions (2)."""
    thickness = max(round(width_px), 1)
    cv2.line(image, _fixed(start), _fixed(end), rgb, thickness, cv2.LINE_AA, _SHIFT)


def disc(image: Image, centre: Array, radius_px: float, rgb: RGB) -> None:
    """A smooth filled circle."""
    radius = max(round(radius_px * 2**_SHIFT), 1)
    cv2.circle(image, _fixed(centre), radius, rgb, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def label(
    image: Image, text: str, at: Point, rgb: RGB, size_px: int, *, right: bool = False
) -> None:
    """Text with its baseline at `at` (left end, or right end), about size_px high, dark rim."""
    scale = size_px / 30
    font, thick = cv2.FONT_HERSHEY_DUPLEX, max(round(size_px / 18), 1)
    if right:
        (width, _), _ = cv2.getTextSize(text, font, scale, thick)
        at = (at[0] - width, at[1])
    cv2.putText(image, text, at, font, scale, BACKGROUND_RGB, thick + 2, cv2.LINE_AA)
    cv2.putText(image, text, at, font, scale, rgb, thick, cv2.LINE_AA)


def draw_2d(
    image: Image,
    poses: Poses2D,
    frame: int,
    *,
    person: int = 0,
    scale: float = 1.0,
    tag: str = "",
) -> None:
    """Draw one person's 2D skeleton of one frame onto `image` (H, W, 3) RGB, in place.

    Left limbs are blue, right ones orange, the middle is white, joints have the person's own
    colour. `scale` is the size of `image` by that of the pixels in `poses`. Joints that were not
    seen are left out, bones of low confidence are thin. Raises ShapeError.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ShapeError(
            "image to draw on", expected="uint8 (H, W, 3)", found=f"{image.dtype} {image.shape}"
        )
    xy_px = poses.xy_px[frame] * scale
    seen = np.isfinite(xy_px).all(axis=-1)
    if not seen.any():
        return
    low, high = xy_px[seen].min(axis=0), xy_px[seen].max(axis=0)
    width_px = float(np.clip(0.012 * np.linalg.norm(high - low), 1.5, 9.0))
    _limbs(image, xy_px, poses, frame, width_px)
    # Dense points (faces, hands) would hide each other as large dots.
    dot_px = width_px * (0.75 if seen.sum() <= 40 else 0.4)
    dot_px = max(dot_px, 1.6)
    for joint in np.flatnonzero(seen):
        disc(image, xy_px[joint], dot_px + 1.0, BACKGROUND_RGB)
        disc(image, xy_px[joint], dot_px, accent(person))
    if tag:
        _tag(image, tag, np.array([xy_px[seen, 0].mean(), low[1]]), accent(person))


def _limbs(image: Image, xy_px: Array, poses: Poses2D, frame: int, width_px: float) -> None:
    shown = [
        bone
        for bone in _bones_of(poses.skeleton)
        if np.isfinite(xy_px[[bone.start, bone.end]]).all()
    ]
    certain = poses.confidence[frame] >= _LOW_CONFIDENCE
    widths = [width_px * (1 if certain[[b.start, b.end]].all() else 0.4) for b in shown]
    for bone, width in zip(shown, widths, strict=True):
        stroke(image, xy_px[bone.start], xy_px[bone.end], width + 2.5, BACKGROUND_RGB)
    for bone, width in zip(shown, widths, strict=True):
        stroke(image, xy_px[bone.start], xy_px[bone.end], width, SIDE_RGB[bone.side])


def _tag(image: Image, text: str, above_px: Array, rgb: RGB) -> None:
    size_px = max(image.shape[0] // 40, 12)
    x, y = np.clip(above_px, 0, [image.shape[1] - size_px, image.shape[0]])
    label(image, text, (int(x) - size_px // 3, max(int(y) - size_px // 2, size_px)), rgb, size_px)


@cache
def _bones_of(skeleton: Skeleton) -> tuple[Bone, ...]:
    return bones(skeleton)


def _fixed(point: Array) -> Point:
    x, y = point.tolist()  # plain floats: a NumPy call on two numbers costs more than drawing them
    return (
        round(max(min(x, _FAR_PX), -_FAR_PX) * 2**_SHIFT),
        round(max(min(y, _FAR_PX), -_FAR_PX) * 2**_SHIFT),
    )
