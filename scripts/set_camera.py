"""Random cameras of rendered clips: still or following, near or far, some cutting the body off."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from poselift.camera import Camera
from poselift.geometry import unit

Array = NDArray[np.floating]

NEAR_M, FAR_M = 1.2, 40.0
SIZES_PX = ((480, 480), (640, 480), (480, 640), (640, 360))
VIEW_DEG = (35.0, 80.0)  # along the longer side
PITCH_DEG = (-10.0, 25.0)
EYE_HEIGHT_M = (0.15, 2.7)
ZOOMED_OUT = (1.0, 1.9)  # distance, of the nearest that shows everything
TRUNCATED, TRUNCATED_AT = 0.2, (0.7, 0.95)  # share of clips; their distance
MOVING = 0.3  # share of clips whose camera follows and trembles
TREMBLE_DEG, TREMBLE_FRAMES = 1.0, 10


class Cameras:
    """The random camera of a clip: one `Camera` per frame, still or following the body."""

    def __init__(self, vertices_m: Array, rng: np.random.Generator) -> None:
        self._cloud = vertices_m[:, ::20]
        self._size_px = SIZES_PX[rng.integers(len(SIZES_PX))]
        view = np.deg2rad(np.exp(rng.uniform(*np.log(VIEW_DEG))))
        focal = max(self._size_px) / 2 / np.tan(view / 2)
        w, h = self._size_px
        self._K = np.array([[focal, 0, w / 2], [0, focal, h / 2], [0, 0, 1]])
        azimuth, pitch = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(*PITCH_DEG))
        towards = [np.cos(azimuth), np.sin(azimuth), 0]
        self._towards = np.cos(pitch) * np.array(towards) + np.array([0, 0, np.sin(pitch)])
        moving = rng.random() < MOVING
        self._target = self._targets(moving)
        self._turn = self._turns(moving, rng)
        truncated = rng.random() < TRUNCATED
        zoom = rng.uniform(*(TRUNCATED_AT if truncated else ZOOMED_OUT))
        self.frames = self._at(self._nearest() * zoom)
        if not truncated:
            self._off_centre(rng)

    def _targets(self, moving: bool) -> Array:
        """What the camera looks at, (T, 3)."""
        low, high = self._cloud.min(axis=1), self._cloud.max(axis=1)
        if moving:
            return gaussian_filter1d((low + high) / 2, sigma=TREMBLE_FRAMES, axis=0)
        return np.tile((low.min(axis=0) + high.max(axis=0)) / 2, (len(low), 1))

    def _turns(self, moving: bool, rng: np.random.Generator) -> Array:
        """Trembling about x and y, (T, 2) radians."""
        drawn = rng.normal(size=(len(self._cloud), 2))
        smooth = gaussian_filter1d(drawn, sigma=TREMBLE_FRAMES / 4, axis=0)
        return moving * np.deg2rad(TREMBLE_DEG) * smooth / smooth.std(axis=0)

    def _at(self, distance_m: float, off: Array | None = None) -> list[Camera]:
        middle = self._target.mean(axis=0)
        eye = middle + self._towards * distance_m
        eye[2] = np.clip(eye[2], *EYE_HEIGHT_M)
        turns = self._turn + (np.zeros(2) if off is None else off)
        return [self._camera(eye, *pair) for pair in zip(self._target, turns, strict=True)]

    def _camera(self, eye: Array, target: Array, turn: Array) -> Camera:
        z = unit(target - eye)
        x = unit(np.cross(z, [0.0, 0.0, 1.0]))
        level = np.stack([x, np.cross(z, x), z])
        (c, d), (s, t) = np.cos(turn), np.sin(turn)
        about_x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
        about_y = np.array([[d, 0, t], [0, 1, 0], [-t, 0, d]])
        rotation = about_x @ about_y @ level
        return Camera(self._K, self._size_px, rotation, -rotation @ eye)

    def _shares(self, cameras: list[Camera]) -> Array:
        """Where the body lies in the images (T, N, 2), 0..1; NaN behind the camera."""
        pairs = zip(cameras, self._cloud, strict=True)
        return np.stack([camera.world_to_image(cloud) for camera, cloud in pairs]) / self._size_px

    def _nearest(self) -> float:
        """The shortest distance from which everything is seen."""
        near, far = NEAR_M, FAR_M
        while far - near > 1e-2:
            distance = (near + far) / 2
            xy = self._shares(self._at(distance))
            fits = bool(np.all((xy > 0.04) & (xy < 0.96)))
            near, far = (near, distance) if fits else (distance, far)
        return far

    def _off_centre(self, rng: np.random.Generator) -> None:
        """Turn the camera so that the body moves within the free space (in place)."""
        xy = self._shares(self.frames)
        free = np.minimum(xy.min(axis=(0, 1)), 1 - xy.max(axis=(0, 1))).clip(0)
        shift_px = rng.uniform(-1, 1, 2) * free * self._size_px
        angle = np.arctan(shift_px / self._K[0, 0])
        middle = self._target.mean(axis=0)
        eye = self.frames[0].camera_to_world(np.zeros(3))
        distance = (eye - middle) @ self._towards / (self._towards @ self._towards)
        self.frames = self._at(float(distance), np.array([-angle[1], angle[0]]))
