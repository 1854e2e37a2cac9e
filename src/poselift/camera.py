"""Camera: pinhole with optional distortion; world, camera and image in one place.

x_camera = R_world_to_camera @ x_world + t_world_to_camera_m. Camera axes: x right, y down,
z forward. Image: pixels, origin at the top left corner, y down.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from poselift.errors import InputError, ShapeError

Array = NDArray[np.floating]

# Focal length of an unknown camera, in units of the longer image side: 45 degrees of view.
GUESSED_FOCAL = 1.2


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera. `known` is False where the intrinsics are a guess.

    `distortion` holds k1, k2, p1, p2, k3 in OpenCV's order and meaning, or is empty.
    Raises ShapeError, InputError (a matrix without focal lengths).
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
        if not (np.isfinite(self.K).all() and self.K[0, 0] > 0 and self.K[1, 1] > 0):
            raise InputError(
                "camera K", expected="focal lengths above 0", found=np.diag(self.K)[:2].tolist()
            )
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
        """A centred camera with square pixels and the given horizontal field of view.

        Raises InputError.
        """
        if not 0 < horizontal_deg < 180:
            raise InputError(
                "field of view", expected="between 0 and 180 degrees", found=horizontal_deg
            )
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
        """Pixels (..., 2) as ray slopes (..., 2): the point x/z, y/z of the ray in camera axes.

        NaN for pixels that the lens cannot have seen: its distortion folds back before them.
        """
        xy = (np.asarray(xy_px, dtype=np.float64) - self.K[:2, 2]) @ np.linalg.inv(self.K[:2, :2]).T
        return self._undistort(xy) if self.distortion else xy

    def _undistort(self, xy: Array) -> Array:
        """Solve `_distort(slopes) == xy` by Newton's method, within the radius where it rises."""
        limit = self._fold_radius()
        slopes = xy
        for _ in range(30):
            slopes = slopes - self._newton_step(slopes, self._distort(slopes) - xy)
            radius = np.linalg.norm(slopes, axis=-1, keepdims=True)
            slopes = slopes * np.minimum(1, limit / np.maximum(radius, 1e-12))
        off = np.linalg.norm(self._distort(slopes) - xy, axis=-1, keepdims=True)
        return np.where(off < 1e-9, slopes, np.nan)

    def _fold_radius(self) -> float:
        """Where radial distortion stops rising with the radius; infinite if it never does."""
        k1, k2, _, _, k3 = self.distortion
        squares = np.roots([7 * k3, 5 * k2, 3 * k1, 1])
        folds = squares[(np.abs(squares.imag) < 1e-12) & (squares.real > 0)].real
        return float(np.sqrt(folds.min())) if len(folds) else np.inf

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

    def _newton_step(self, xy: Array, off: Array) -> Array:
        """What `_distort` says to take off `xy` where its result is `off` too large."""
        k1, k2, p1, p2, k3 = self.distortion
        x, y = xy[..., 0], xy[..., 1]
        r2 = x**2 + y**2
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        rise = 2 * (k1 + r2 * (2 * k2 + r2 * 3 * k3))  # of `radial` along x, divided by x
        dx_dx = radial + x * x * rise + 2 * p1 * y + 6 * p2 * x
        dy_dy = radial + y * y * rise + 6 * p1 * y + 2 * p2 * x
        across = x * y * rise + 2 * p1 * x + 2 * p2 * y
        det = dx_dx * dy_dy - across**2
        det = np.where(np.abs(det) > 1e-12, det, 1e-12)
        step_x = dy_dy * off[..., 0] - across * off[..., 1]
        step_y = dx_dx * off[..., 1] - across * off[..., 0]
        return np.stack([step_x, step_y], axis=-1) / det[..., None]
