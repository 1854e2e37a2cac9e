"""Several calibrated cameras: Qualisys calibration files, and joints triangulated from all views.

Views V come first: xy_px (V, T, J, 2) and confidence (V, T, J) of the same person, one `Camera`
for each view. A joint that a view does not see is NaN there.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from poselift.camera import Camera
from poselift.errors import FormatError, ShapeError
from poselift.geometry import Array
from poselift.io.files import check_input_file

SUBPIXELS = 64  # of a pixel: Qualisys' unit of focal length and centre
DOUBTFUL_PX = 10.0  # a view that is so far off counts half
ROUNDS = 10  # of weighing the views anew
LEAST_VIEWS = 2
# How far a calibration that was disturbed may be off: standard deviations.
TURN_RAD, SHIFT_M = 0.02, 0.05


# ------------------------------------------------------------------------------------- calibration
def read_qca(path: Path) -> dict[str, Camera]:
    """Cameras of a Qualisys calibration (.qca.txt, XML) by name, in the order of the file; metres.

    The file gives focal length and centre in 1/64 pixel; k1, k2, p1, p2, k3 as in OpenCV; the
    place in millimetres; and a rotation whose rows are the camera's axes x right, y up, z backward
    in the world. Raises FormatError.
    """
    try:
        root = ET.parse(check_input_file(path)).getroot()
        cameras = {each.attrib["serial"]: _qca_camera(each) for each in root.iter("camera")}
    except (ET.ParseError, KeyError, ValueError) as error:
        expected = "cameras with fov_video, intrinsic and transform"
        raise FormatError(f"{path} is no .qca.txt", expected=expected, found=error) from error
    if not cameras:
        raise FormatError(f"{path} is no .qca.txt", expected="cameras", found="none")
    return cameras


def _qca_camera(element: ET.Element) -> Camera:
    parts = {part.tag: part.attrib for part in element}
    view, lens, place = (
        {name: float(value) for name, value in parts[tag].items()}
        for tag in ("fov_video", "intrinsic", "transform")
    )
    fx, fy, skew = (lens[n] / SUBPIXELS for n in ("focalLengthU", "focalLengthV", "skew"))
    cx, cy = (lens[n] / SUBPIXELS for n in ("centerPointU", "centerPointV"))
    K = np.array([[fx, skew, cx - view["left"]], [0, fy, cy - view["top"]], [0, 0, 1]])
    axes = np.array([[place[f"r{row}{column}"] for column in (1, 2, 3)] for row in (1, 2, 3)])
    rotation = np.diag([1.0, -1.0, -1.0]) @ axes
    centre_m = np.array([place[axis] for axis in "xyz"]) / 1000
    radial = [lens[f"radialDistortion{number}"] for number in (1, 2, 3)]
    tangential = [lens[f"tangentalDistortion{number}"] for number in (1, 2)]
    return Camera(
        K,
        (round(view["right"] - view["left"]) + 1, round(view["bottom"] - view["top"]) + 1),
        rotation,
        -rotation @ centre_m,
        (*radial[:2], *tangential, radial[2]),
    )


def resized(camera: Camera, size_px: tuple[int, int]) -> Camera:
    """The camera whose images were scaled to another size, each side by its own factor."""
    factor = np.divide(size_px, camera.size_px)
    K = camera.K.copy()
    K[:2] *= factor[:, None]
    K[:2, 2] += (factor - 1) / 2  # the middle of the first pixel is 0, not its edge
    return replace(camera, K=K, size_px=size_px)


# ----------------------------------------------------------------------------------- triangulation
def triangulate(cameras: Sequence[Camera], xy_px: Array, confidence: Array) -> Array:
    """World joints (T, J, 3) in metres on which the rays of the views agree; NaN below two views.

    Least squares of the distance in the images, weighted by confidence; each round weighs a view
    also by 1 / (1 + (distance / `DOUBTFUL_PX`)²) (Cauchy), so that one that errs hardly counts.
    Lens distortion is taken out first. Raises ShapeError.
    """
    return _meet(cameras, *_rays(cameras, xy_px, confidence))


def _rays(cameras: Sequence[Camera], xy_px: Array, confidence: Array) -> tuple[Array, Array]:
    """Slopes (V, T, J, 2) of what was seen and their weights (V, T, J); 0 where nothing was."""
    if xy_px.shape != (len(cameras), *xy_px.shape[1:3], 2) or confidence.shape != xy_px.shape[:3]:
        raise ShapeError(
            f"joints in {len(cameras)} views",
            expected="(V, T, J, 2) and confidence (V, T, J)",
            found=f"{xy_px.shape} and {confidence.shape}",
        )
    rays = np.stack([each.image_to_rays(xy) for each, xy in zip(cameras, xy_px, strict=True)])
    seen = np.isfinite(rays).all(-1) & (confidence > 0)
    return np.where(seen[..., None], rays, 0.0), np.where(seen, confidence, 0.0)


def _meet(cameras: Sequence[Camera], rays: Array, weight: Array) -> Array:
    """`triangulate` from rays."""
    usable = (weight > 0).sum(0) >= LEAST_VIEWS
    rays, weight = rays[:, usable], weight[:, usable]
    xyz = _nearest_points(cameras, rays, weight)
    for _ in range(ROUNDS):
        off_px, depth_m = _off(cameras, xyz, rays)
        far = np.sum(off_px**2, axis=-1) / DOUBTFUL_PX**2
        xyz = _nearest_points(cameras, rays, weight / depth_m**2 / (1 + far))
    out = np.full((*usable.shape, 3), np.nan)
    out[usable] = xyz
    return out


def _off(cameras: Sequence[Camera], xyz_m: Array, rays: Array) -> tuple[Array, Array]:
    """How far points (..., 3) lie beside each view's rays, (V, ..., 2) in pixels; their depths."""
    seen = np.stack([camera.world_to_camera(xyz_m) for camera in cameras])
    depth_m = np.maximum(np.abs(seen[..., 2]), 1e-6)
    focal_px = np.array([camera.K[0, 0] for camera in cameras])
    off = seen[..., :2] / depth_m[..., None] - rays
    return focal_px.reshape(-1, *[1] * (off.ndim - 1)) * off, depth_m


def _nearest_points(cameras: Sequence[Camera], rays: Array, weight: Array) -> Array:
    """Points (N, 3) with the least weighted squares of x - ray · z over views; rays (V, N, 2)."""
    normal, right = np.zeros((rays.shape[1], 3, 3)), np.zeros((rays.shape[1], 3))
    for camera, ray, each in zip(cameras, rays, weight, strict=True):
        R, t = camera.R_world_to_camera, camera.t_world_to_camera_m
        rows = R[:2] - ray[..., None] * R[2]  # (N, 2, 3)
        scaled = rows * each[:, None, None]
        normal += np.einsum("nri,nrk->nik", rows, scaled)
        right += np.einsum("nri,nr->ni", scaled, ray * t[2] - t[:2])
    # Views along one line have no solution: a weak pull keeps the matrix invertible.
    size = np.trace(normal, axis1=1, axis2=2)[:, None, None]
    return np.linalg.solve(normal + 1e-12 * size * np.eye(3), right[..., None])[..., 0]


# ----------------------------------------------------------------------------------------- quality
def off_rays_m(cameras: Sequence[Camera], xyz_world_m: Array, xy_px: Array) -> Array:
    """How far (V, T, J) in metres joints (T, J, 3) lie beside what each view saw, at their depth.

    NaN where the view did not see the joint. Raises ShapeError.
    """
    rays, weight = _rays(cameras, xy_px, np.ones(xy_px.shape[:3]))
    off_px, depth_m = _off(cameras, xyz_world_m, rays)
    focal_px = np.array([camera.K[0, 0] for camera in cameras])[:, None, None]
    off_m = np.linalg.norm(off_px, axis=-1) * depth_m / focal_px
    return np.where(weight > 0, off_m, np.nan)


def left_out_m(cameras: Sequence[Camera], xy_px: Array, confidence: Array) -> Array:
    """`off_rays_m` (V, T, J) of each view from the joints that the other views alone give."""
    off = []
    for view, camera in enumerate(cameras):
        others = [other for other in range(len(cameras)) if other != view]
        xyz = triangulate([cameras[other] for other in others], xy_px[others], confidence[others])
        off.append(off_rays_m([camera], xyz, xy_px[[view]])[0])
    return np.stack(off)


def refined(cameras: Sequence[Camera], xy_px: Array, confidence: Array) -> list[Camera]:
    """The cameras turned and moved so that the views agree on the joints; lenses stay.

    For cameras that were touched, or placed badly, after their lenses were measured. Robust least
    squares (soft L1) of the distance in the images; turns and shifts are pulled to none with
    standard deviations `TURN_RAD` and `SHIFT_M`, which also holds the scale and the world in place.
    Raises ShapeError.
    """
    rays, weight = _rays(cameras, xy_px, confidence)

    def residuals(moves: Array) -> Array:
        placed = _moved(cameras, moves)
        off_px, _ = _off(placed, _meet(placed, rays, weight), rays)
        off_px = np.nan_to_num(off_px) * np.sqrt(weight)[..., None]
        pull = moves.reshape(-1, 2, 3) / np.array([TURN_RAD, SHIFT_M])[:, None]
        return np.concatenate([off_px.ravel(), pull.ravel()])

    found = least_squares(
        residuals, np.zeros(6 * len(cameras)), loss="soft_l1", f_scale=DOUBTFUL_PX, max_nfev=20
    )
    return _moved(cameras, found.x)


def _moved(cameras: Sequence[Camera], moves: Array) -> list[Camera]:
    """Each camera turned by a rotation vector and shifted, in its own axes; moves (6 V)."""
    out = []
    for camera, (turn, shift_m) in zip(cameras, moves.reshape(-1, 2, 3), strict=True):
        R = Rotation.from_rotvec(turn).as_matrix()
        t_m = R @ camera.t_world_to_camera_m + shift_m
        R = R @ camera.R_world_to_camera
        out.append(replace(camera, R_world_to_camera=R, t_world_to_camera_m=t_m))
    return out
