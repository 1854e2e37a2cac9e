"""Cameras of the datasets: tables of calibration and the lens of Human3.6M."""

import json
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from poselift.camera import Camera
from poselift.errors import UnknownNameError
from poselift.geometry import Array


class H36MCamera(Camera):
    """A camera with the lens of Human3.6M, as VideoPose3D and its descendants project.

    With slopes x and r2 = |x|²: f · (x · (1 + k1 r2 + k2 r2² + k3 r2³ + p·x) + p · r2) + c pixels.
    `distortion` is k1, k2, p1, p2, k3 in the order of that lineage; the dataset's own metadata and
    mmpose have p1 and p2 the other way round. OpenCV's lens has twice the term p·x: it is up to
    0.2 pixels off, whichever way p is given.
    """

    def _distort(self, xy: Array) -> Array:
        _, p, radial, r2 = self._terms(xy)
        return xy * (radial + xy @ p)[..., None] + p * r2[..., None]

    def _newton_step(self, xy: Array, off: Array) -> Array:
        (k1, k2, k3), p, radial, r2 = self._terms(xy)
        rise = 2 * (k1 + r2 * (2 * k2 + r2 * 3 * k3))  # of `radial` along x, divided by x
        scale = radial + xy @ p
        gradient = rise[..., None] * xy + p
        jacobian = scale[..., None, None] * np.eye(2)
        jacobian = jacobian + xy[..., :, None] * gradient[..., None, :]
        jacobian = jacobian + 2 * p[:, None] * xy[..., None, :]
        return np.linalg.solve(jacobian, off[..., None])[..., 0]

    def _terms(self, xy: Array) -> tuple[tuple[float, float, float], Array, Array, Array]:
        """k1 to k3, p (2), the radial factor and r2 of slopes (..., 2)."""
        k1, k2, p1, p2, k3 = self.distortion
        r2 = np.sum(xy**2, axis=-1)
        return (k1, k2, k3), np.array([p1, p2]), 1 + r2 * (k1 + r2 * (k2 + r2 * k3)), r2


def mirrored(camera: Camera) -> Camera:
    """The camera that sees the mirrored scene mirrored; it stands nowhere in the world."""
    K, distortion = camera.K.copy(), list(camera.distortion)
    K[0, 2] = camera.size_px[0] - K[0, 2]
    if distortion:  # the coefficient that moves x by r2: p1 here, p2 in OpenCV's lens
        distortion[2 if isinstance(camera, H36MCamera) else 3] *= -1
    return replace(
        camera,
        K=K,
        R_world_to_camera=np.eye(3),
        t_world_to_camera_m=np.zeros(3),
        distortion=tuple(distortion),
    )


@cache
def _table(name: str) -> dict[str, Any]:
    file = files("poselift.protocols").joinpath("tables", f"{name}_cameras.json")
    return json.loads(file.read_text(encoding="utf-8"))


def h36m_cameras(subject: str) -> list[H36MCamera]:
    """The four cameras of a subject of Human3.6M, in the order of the files; metres."""
    cameras = []
    for camera, place in _calibrated("h36m", subject):
        (fx, fy), (cx, cy) = camera["focal_px"], camera["centre_px"]
        (k1, k2, k3), (p1, p2) = camera["k"], camera["p"]
        rotation, shift_m = _world_to_camera(place)
        cameras.append(
            H36MCamera(
                np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]),
                tuple(camera["size_px"]),
                rotation,
                shift_m,
                (k1, k2, p1, p2, k3),
            )
        )
    return cameras


def humaneva_cameras(subject: str) -> list[Camera]:
    """The three cameras of a subject of HumanEva-I; their intrinsics are a guess."""
    cameras = []
    for camera, place in _calibrated("humaneva", subject):
        guess = Camera.guess(tuple(camera["size_px"]))
        rotation, shift_m = _world_to_camera(place)
        cameras.append(Camera(guess.K, guess.size_px, rotation, shift_m, known=False))
    return cameras


def _calibrated(dataset: str, subject: str) -> Iterable[tuple[dict[str, Any], dict[str, Any]]]:
    table = _table(dataset)
    if subject not in table["subjects"]:
        raise UnknownNameError(f"subject of {dataset} with cameras", subject, table["subjects"])
    return zip(table["cameras"], table["subjects"][subject], strict=True)


def camera_names(dataset: str) -> list[str]:
    """Names of a dataset's cameras in the order of the files."""
    return [camera["id"] for camera in _table(dataset)["cameras"]]


def _world_to_camera(place: dict[str, list[float]]) -> tuple[Array, Array]:
    """Rotation and shift in metres of a camera given by its orientation and centre in the world."""
    w, x, y, z = np.array(place["quaternion_wxyz"]) / np.linalg.norm(place["quaternion_wxyz"])
    camera_to_world = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    centre_m = np.array(place["position_mm"]) / 1000
    return camera_to_world.T, -camera_to_world.T @ centre_m
