"""Square image regions, turned so that a person stands upright in them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poselift.poses import Detection
from poselift.skeleton import Skeleton

Array = NDArray[np.floating]

MIN_SIDE_PX = 24.0  # fewer pixels than joints to place
MAX_SIDE_IMAGES = 4.0  # longest image sides: a face that fills the picture still fits
SIDE_PER_REACH = 2.5  # side of a region over the distance hip centre to farthest reach
MIN_JOINT_CONFIDENCE = 0.1
MIN_JOINTS = 4


@dataclass(frozen=True)
class Region:
    """A square around a person: centre (x, y), side, and how far it is turned clockwise."""

    centre_px: tuple[float, float]
    side_px: float
    angle_rad: float = 0.0

    def to_image(self, points: Array) -> Array:
        """Points (..., 2) from the square's units (0..1, y down) to image pixels."""
        offset = (np.asarray(points, dtype=np.float64) - 0.5) * self.side_px
        return self.turn(offset) + np.asarray(self.centre_px)

    def turn(self, vectors: Array) -> Array:
        """Turn the first two components of vectors (..., 2 or 3) from square to image axes."""
        cosine, sine = np.cos(self.angle_rad), np.sin(self.angle_rad)
        out = np.array(vectors, dtype=np.float64)
        x, y = out[..., 0].copy(), out[..., 1].copy()
        out[..., 0] = cosine * x - sine * y
        out[..., 1] = sine * x + cosine * y
        return out

    def usable(self, width_px: int, height_px: int) -> bool:
        """Whether the square is finite, of sensible size, and centred on or near the image."""
        x, y = self.centre_px
        if not np.isfinite([x, y, self.side_px, self.angle_rad]).all():
            return False
        margin = self.side_px / 4
        near = -margin <= x <= width_px + margin and -margin <= y <= height_px + margin
        return near and MIN_SIDE_PX <= self.side_px <= MAX_SIDE_IMAGES * max(width_px, height_px)


def upright_region(hip_px: Array, top_px: Array, reach_px: float) -> Region:
    """The region centred on the hips whose up direction points from the hips to `top_px`.

    The geometry that BlazePose was trained on (Bazarevsky et al. 2020, section 2.1: the circle
    around the mid hip, turned by the line between mid hip and mid shoulder).
    """
    x, y = (float(v) for v in np.asarray(top_px) - np.asarray(hip_px))
    centre = (float(hip_px[0]), float(hip_px[1]))
    return Region(centre, SIDE_PER_REACH * reach_px, float(np.pi / 2 - np.arctan2(-y, x)))


def region_of(person: Detection, skeleton: Skeleton) -> Region | None:
    """The region of a coarsely detected person, or None when too few joints were seen.

    Without hips (cut off by the image) it is an upright square around the joints that were seen.
    """
    seen = (person.confidence > MIN_JOINT_CONFIDENCE) & np.all(np.isfinite(person.xy_px), axis=-1)
    if seen.sum() < MIN_JOINTS:
        return None
    xy = person.xy_px[seen]
    hips = [skeleton.index(f"{side}_hip") for side in ("left", "right")]
    shoulders = [skeleton.index(f"{side}_shoulder") for side in ("left", "right")]
    if not seen[hips].all() or not seen[shoulders].any():
        low, high = xy.min(axis=0), xy.max(axis=0)
        centre = (low + high) / 2
        return Region((float(centre[0]), float(centre[1])), 1.25 * float((high - low).max()))
    hip = person.xy_px[hips].mean(axis=0)
    top = person.xy_px[[joint for joint in shoulders if seen[joint]]].mean(axis=0)
    # 1.08: toes and fingers reach beyond ankles and wrists; 1.6 torsos: crouching people.
    farthest = float(np.linalg.norm(xy - hip, axis=1).max())
    return upright_region(hip, top, max(1.08 * farthest, 1.6 * float(np.linalg.norm(top - hip))))
