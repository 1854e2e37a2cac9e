"""Camera: pinhole with optional distortion; world, camera and image in one place.

x_camera = R_world_to_camera @ x_world + t_world_to_camera_m. Camera axes: x right, y down,
z forward. Image: pixels, origin at the top left corner, y down.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from poselift.errors import ShapeError

Array = NDArray[np.floating]

# Focal length of an unknown camera, in units of the longer image side: 45 degrees of view.
GUESSED_FOCAL = 1.2


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera. `known` is False where the intrinsics are a guess.

    `distortion` holds k1, k2, p1, p2, k3 in OpenCV's order and meaning, or is empty.
    """

    K: Array
    size_px: tuple[int, int]
    R_world_to_camera: Array = field(default_factory=lambda: np.eye(3))
    t_world_to_camera_m: Array = field(default_factory=lambda: np.zeros(3))
    distortion: tuple[float, ...] = ()
    known: bool = True

    def __post_init__(self) -> None:
        shapes = {"K": (3, 3), "R_world_to_camera": (3, 3), "t_world_to_camera_m": (3,)}
        for name, shape in shapes.items():
            array = np.array(getattr(self, name), dtype=np.float64)
            if array.shape != shape:
                raise ShapeError(f"camera {name}", expected=str(shape), found=array.shape)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if len(self.distortion) not in (0, 5):
            raise ShapeError(
                "camera distortion", expected="0 or 5 numbers", found=len(self.distortion)
            )

    @classmethod
    def guess(cls, size_px: tuple[int, int]) -> "Camera":
        """A camera of `GUESSED_FOCAL` times the longer side, centred, for images without one."""
        w, h = size_px
        f = GUESSED_FOCAL * max(w, h)
        return cls(np.array([[f, 0, w / 2], [0, f, h / 2], [0, 0, 1.0]]), size_px, known=False)

    @classmethod
    def from_field_of_view(cls, size_px: tuple[int, int], horizontal_deg: float) -> "Camera":
        """A centred camera with square pixels and the given horizontal field of view."""
        w, h = size_px
        f = w / 2 / np.tan(np.deg2rad(horizontal_deg) / 2)
        return cls(np.array([[f, 0, w / 2], [0, f, h / 2], [0, 0, 1.0]]), size_px)

    def world_to_camera(self, xyz_world_m: Array) -> Array:
        """World points (..., 3) in camera axes."""
        return xyz_world_m @ self.R_world_to_camera.T + self.t_world_to_camera_m

    def camera_to_world(self, xyz_camera_m: Array) -> Array:
        """Camera points (..., 3) in world axes."""
        return (xyz_camera_m - self.t_world_to_camera_m) @ self.R_world_to_camera

    def camera_to_image(self, xyz_camera_m: Array) -> Array:
        """Camera points (..., 3) as pixels (..., 2); NaN behind the camera."""
        z = xyz_camera_m[..., 2:]
        xy = xyz_camera_m[..., :2] / np.where(z > 0, z, np.nan)
        return self._distort(xy) @ self.K[:2, :2].T + self.K[:2, 2]

    def world_to_image(self, xyz_world_m: Array) -> Array:
        """World points (..., 3) as pixels (..., 2); NaN behind the camera."""
        return self.camera_to_image(self.world_to_camera(xyz_world_m))

    def image_to_rays(self, xy_px: ArrayLike) -> Array:
        """Pixels (..., 2) as ray slopes (..., 2): the point x/z, y/z of the ray in camera axes."""
        xy = (np.asarray(xy_px, dtype=np.float64) - self.K[:2, 2]) @ np.linalg.inv(self.K[:2, :2]).T
        if not self.distortion:
            return xy
        guess = xy
        for _ in range(20):  # fixed point: mild lenses converge in a few rounds
            guess = guess - (self._distort(guess) - xy)
        return guess

    def _distort(self, xy: Array) -> Array:
        if not self.distortion:
            return xy
        k1, k2, p1, p2, k3 = self.distortion
        x, y = xy[..., 0], xy[..., 1]
        r2 = x**2 + y**2
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        dx = 2 * p1 * x * y + p2 * (r2 + 2 * x**2)
        dy = p1 * (r2 + 2 * y**2) + 2 * p2 * x * y
        return np.stack([x * radial + dx, y * radial + dy], axis=-1)
