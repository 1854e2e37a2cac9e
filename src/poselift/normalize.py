"""Pixels to what a lifter sees: rays, turned and scaled so that camera and person size drop out.

The functions take numpy arrays and torch tensors alike (array API), so that training and the
product run the same lines.
"""

from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace

Array = Any  # numpy array or torch tensor

# A network sees joints in units of their spread; this brings a standing person's to about +-1.
SPREAD_TO_UNIT = 0.5


@dataclass(frozen=True)
class Window:
    """Normalised windows and the way back.

    xy (..., F, J, 2): 0 where a joint is missing. R_camera_to_view (..., 3, 3): turns camera axes
    so that the person is on the optical axis.
    """

    xy: Array
    R_camera_to_view: Array

    def to_camera(self, xyz_view_m: Array) -> Array:
        """Poses (..., S, J, 3) in view axes as poses in camera axes."""
        return xyz_view_m @ self.R_camera_to_view[..., None, :, :]

    def to_view(self, xyz_camera_m: Array) -> Array:
        """Poses (..., S, J, 3) in camera axes as poses in view axes."""
        xp = array_namespace(xyz_camera_m)
        return xyz_camera_m @ xp.matrix_transpose(self.R_camera_to_view)[..., None, :, :]


def person_window(rays: Array) -> Window:
    """Normalise windows of rays (..., F, J, 2), slopes x/z and y/z; NaN = missing.

    Per window: the mean ray of all seen joints is turned onto the optical axis by the smallest
    rotation (perspective crop, Yu et al. 2021; Ray3D, Zhan et al. 2022), and the slopes that result
    are divided by their spread. One rotation and one scale serve all frames of a window, so that
    motion across the image stays visible.
    """
    xp = array_namespace(rays)
    seen = ~xp.any(xp.isnan(rays), axis=-1)
    rays = xp.where(seen[..., None], rays, xp.zeros_like(rays))
    weight = xp.astype(seen, rays.dtype)[..., None]
    count = xp.sum(weight, axis=(-3, -2, -1), keepdims=True)
    count = xp.where(count > 0, count, xp.ones_like(count))

    centre = xp.sum(rays * weight, axis=(-3, -2), keepdims=True) / count
    rotation = rotation_to_axis(centre[..., 0, 0, :])
    directions = xp.concat([rays, xp.ones_like(rays[..., :1])], axis=-1)
    turned = directions @ xp.matrix_transpose(rotation)[..., None, :, :]
    # A ray more than 84 degrees off the axis is not on this person; keep the slope finite.
    depth = xp.where(turned[..., 2:] > 0.1, turned[..., 2:], xp.full_like(turned[..., 2:], 0.1))
    slopes = turned[..., :2] / depth

    spread2 = xp.sum(slopes**2 * weight, axis=(-3, -2, -1), keepdims=True) / count
    spread = xp.sqrt(spread2)
    spread = xp.where(spread > 1e-6, spread, xp.ones_like(spread))
    return Window(slopes / spread * SPREAD_TO_UNIT * weight, rotation)


def rotation_to_axis(slope: Array) -> Array:
    """Smallest rotation (..., 3, 3) that turns the ray of `slope` (..., 2) onto (0, 0, 1)."""
    xp = array_namespace(slope)
    length = xp.sqrt(1 + xp.sum(slope**2, axis=-1))
    x, y = slope[..., 0] / length, slope[..., 1] / length
    z = 1 / length
    k = 1 / (1 + z)
    rows = [
        xp.stack([1 - k * x * x, -k * x * y, -x], axis=-1),
        xp.stack([-k * x * y, 1 - k * y * y, -y], axis=-1),
        xp.stack([x, y, z], axis=-1),
    ]
    return xp.stack(rows, axis=-2)
