"""The 3D view as an image: floor, shadows and people from a camera that may turn slowly."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from poselift.camera import Camera
from poselift.geometry import unit
from poselift.view.draw import Image, blank, disc, label, mix, stroke
from poselift.view.stage import Stage
from poselift.view.style import BACKGROUND_RGB, RGB, SIDE_RGB, Body, accent, body, head_centre

Array = NDArray[np.floating]

FIELD_OF_VIEW_DEG = 32.0
ELEVATION_DEG = 14.0
_FLOOR_RGB: RGB = (47, 52, 62)
_GRID_RGB: RGB = (104, 112, 128)
_TEXT_RGB: RGB = (205, 211, 220)
_GRID_REACH_M = 60.0  # lines further away would only be a grey haze
_FLOOR_OF_RADIUS = 2.3  # how far the floor reaches, by the radius of the stage
_FADE_STEPS = 10


def look_at(
    centre_m: Array,
    radius_m: float,
    azimuth_rad: float,
    elevation_deg: float,
    size_px: tuple[int, int],
) -> Camera:
    """A camera that sees a ball of radius_m around centre_m (3) from the given side."""
    elevation = np.deg2rad(elevation_deg)
    flat = np.array([np.cos(azimuth_rad), np.sin(azimuth_rad), 0.0])
    back = np.cos(elevation) * flat + np.sin(elevation) * np.array([0.0, 0.0, 1.0])
    right = unit(np.cross(-back, [0.0, 0.0, 1.0]))
    rotation = np.stack([right, np.cross(-back, right), -back])
    eye = centre_m + back * radius_m / np.sin(np.deg2rad(FIELD_OF_VIEW_DEG) / 2)
    focal = min(size_px) / 2 / np.tan(np.deg2rad(FIELD_OF_VIEW_DEG) / 2)
    intrinsics = np.array([[focal, 0, size_px[0] / 2], [0, focal, size_px[1] / 2], [0, 0, 1.0]])
    return Camera(intrinsics, size_px, rotation, -rotation @ eye)


@dataclass(frozen=True)
class _Part:
    """A limb or a ball on the image, with its distance for drawing order."""

    depth_m: float
    start_px: Array
    end_px: Array | None
    width_px: float
    rgb: RGB


class Panel3D:
    """Draws the people of a stage, seen from `swing_deg` left and right of the stage's front.

    One swing takes `period_s`; swing_deg 0 keeps the camera still. The camera follows the people
    where they walk farther than the view is wide.
    """

    def __init__(
        self,
        shown: Stage,
        size_px: tuple[int, int] = (640, 640),
        *,
        swing_deg: float = 28.0,
        period_s: float = 14.0,
    ) -> None:
        self.stage, self.size_px = shown, size_px
        self._swing_rad, self._period_s = np.deg2rad(swing_deg), period_s
        self._bodies = [
            body(poses.skeleton, xyz) for poses, xyz in zip(shown.people, shown.xyz_m, strict=True)
        ]
        self._behind: tuple[bytes, Image] | None = None

    def draw(self, frame: int | None, time_s: float) -> Image:
        """The view (H, W, 3) of pose frame `frame` (None: nobody) with `time_s` written on it."""
        view = self._camera(frame, time_s)
        image = self._background(view).copy()
        if frame is not None:
            self._shadows(image, view, frame)
            self._people(image, view, frame)
        self._text(image, time_s)
        return image

    def _camera(self, frame: int | None, time_s: float) -> Camera:
        phase = 2 * np.pi * (time_s - self.stage.time_s[0]) / self._period_s
        # Starts off the front: straight from the front, depth would not show.
        azimuth = self.stage.azimuth_rad + self._swing_rad * np.cos(phase)
        index = frame if frame is not None else self._nearest(time_s)
        centre = self.stage.centre_m[index]
        return look_at(centre, self.stage.radius_m, azimuth, ELEVATION_DEG, self.size_px)

    def _nearest(self, time_s: float) -> int:
        return int(np.abs(self.stage.time_s - time_s).argmin())

    def _background(self, view: Camera) -> Image:
        key = view.R_world_to_camera.tobytes() + view.t_world_to_camera_m.tobytes()
        if self._behind is None or self._behind[0] != key:
            self._behind = key, self._floor(view)
        return self._behind[1]

    def _floor(self, view: Camera) -> Image:
        image = blank(self.size_px)
        eye = -view.R_world_to_camera.T @ view.t_world_to_camera_m
        distance = self.stage.radius_m / np.sin(np.deg2rad(FIELD_OF_VIEW_DEG) / 2)
        centre = (eye + view.R_world_to_camera[2] * distance)[:2]
        reach = _FLOOR_OF_RADIUS * self.stage.radius_m
        angle = np.linspace(0, 2 * np.pi, 73)
        ring = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        for step in range(_FADE_STEPS):
            share = 1 - step / _FADE_STEPS
            disc_px = self._on_floor(view, centre + ring * reach * share)
            rgb = mix(BACKGROUND_RGB, _FLOOR_RGB, (step + 1) / _FADE_STEPS)
            cv2.fillPoly(image, [_fixed(disc_px)], rgb, cv2.LINE_AA, 4)
        self._grid(image, view, centre, reach)
        return image

    def _grid(self, image: Image, view: Camera, centre: Array, reach: float) -> None:
        """Lines 1 m apart, through whole metres of the world, that fade outwards."""
        reach = min(reach, _GRID_REACH_M)
        segments = _grid_segments(centre, reach)
        away = np.linalg.norm(segments.mean(axis=1) - centre, axis=-1) / reach
        pixels = self._on_floor(view, segments)
        for step in range(_FADE_STEPS):
            chosen = (away >= step / _FADE_STEPS) & (away < (step + 1) / _FADE_STEPS)
            if chosen.any():
                rgb = mix(_GRID_RGB, BACKGROUND_RGB, step / _FADE_STEPS)
                cv2.polylines(image, list(_fixed(pixels[chosen])), False, rgb, 1, cv2.LINE_AA, 4)

    def _on_floor(self, view: Camera, xy_m: Array) -> Array:
        height = np.full((*xy_m.shape[:-1], 1), self.stage.floor_m)
        return view.world_to_image(np.concatenate([xy_m, height], axis=-1))

    def _shadows(self, image: Image, view: Camera, frame: int) -> None:
        mask = np.zeros(image.shape[:2], dtype=np.uint8)
        touched: list[Array] = []
        for shape, xyz in zip(self._bodies, self.stage.xyz_m, strict=True):
            points = self._on_floor(view, xyz[frame, :, :2])
            scale = _px_per_metre(view, self.stage.centre_m[frame])
            for bone, radius in zip(shape.bones, shape.bone_radius_m, strict=True):
                ends = points[[bone.start, bone.end]]
                if np.isfinite(ends).all():
                    width = max(round(2 * radius * scale), 1)
                    cv2.line(mask, *_pair(ends), (255,), width, cv2.LINE_AA, 4)
                    touched.append(ends)
        if touched:
            _darken(image, mask, np.concatenate(touched))

    def _people(self, image: Image, view: Camera, frame: int) -> None:
        parts: list[_Part] = []
        for person, (shape, xyz) in enumerate(zip(self._bodies, self.stage.xyz_m, strict=True)):
            parts += _parts(view, shape, xyz[frame], person)
        near, far = self._depths()
        for part in sorted(parts, key=lambda part: -part.depth_m):
            fog = round(16 * min(max((part.depth_m - near) / (far - near), 0.0), 1.0)) / 16
            _draw_part(image, part, mix(part.rgb, BACKGROUND_RGB, 0.3 * fog))
        if len(self._bodies) > 1:
            self._tags(image, view, frame)

    def _depths(self) -> tuple[float, float]:
        distance = self.stage.radius_m / np.sin(np.deg2rad(FIELD_OF_VIEW_DEG) / 2)
        return distance - self.stage.radius_m, distance + self.stage.radius_m

    def _tags(self, image: Image, view: Camera, frame: int) -> None:
        size = max(self.size_px[1] // 36, 12)
        for person, xyz in enumerate(self.stage.xyz_m):
            points = xyz[frame][np.isfinite(xyz[frame]).all(axis=-1)]
            if len(points):
                top = points[points[:, 2].argmax()] + np.array([0.0, 0.0, 0.22])
                x, y = view.world_to_image(top)
                label(image, str(person + 1), (int(x) - size // 3, int(y)), accent(person), size)

    def _text(self, image: Image, time_s: float) -> None:
        width, height = self.size_px
        size = max(height // 36, 10)
        label(image, f"{time_s:.2f} s", (width - size, 2 * size), _TEXT_RGB, size, right=True)
        label(image, "grid 1 m", (size, height - size), _TEXT_RGB, size)
        x = width - size
        for side in ("right", "left"):
            label(image, side, (x, height - size), SIDE_RGB[side], size, right=True)
            x -= 4 * size


def _parts(view: Camera, shape: Body, xyz_m: Array, person: int) -> list[_Part]:
    """What is seen of one person: limbs, joints, head."""
    points = view.world_to_camera(xyz_m)
    pixels = view.camera_to_image(points)
    focal = view.K[0, 0]
    parts = []
    for bone, radius in zip(shape.bones, shape.bone_radius_m, strict=True):
        depth = 0.5 * (points[bone.start, 2] + points[bone.end, 2])
        if np.isfinite(depth):
            width = 2 * radius * focal / depth
            rgb = SIDE_RGB[bone.side]
            parts.append(_Part(depth, pixels[bone.start], pixels[bone.end], width, rgb))
    balls, radii = points[list(shape.joints)], shape.joint_radius_m
    if shape.head:
        balls = np.concatenate([balls, head_centre(points, shape.head)[None]])
        radii = np.append(radii, shape.head_radius_m)
    for ball, radius, pixel in zip(balls, radii, view.camera_to_image(balls), strict=True):
        depth = ball[2]
        if np.isfinite(depth):
            # A joint lies on its limbs: nearer than their middle by its own radius.
            width = 2 * radius * focal / depth
            parts.append(_Part(depth - radius, pixel, None, width, accent(person)))
    return parts


def _draw_part(image: Image, part: _Part, rgb: RGB) -> None:
    """A limb or ball with a dark rim and a highlight towards the upper left, as lit from there."""
    shift = np.array([-0.16, -0.2]) * part.width_px
    bright = mix(rgb, (255, 255, 255), 0.35)
    rim = mix(rgb, BACKGROUND_RGB, 0.62)
    if part.end_px is None:
        radius = part.width_px / 2
        disc(image, part.start_px, radius + 1.2, rim)
        disc(image, part.start_px, radius, rgb)
        disc(image, part.start_px + shift, 0.4 * radius, bright)
        return
    stroke(image, part.start_px, part.end_px, part.width_px + 2.4, rim)
    stroke(image, part.start_px, part.end_px, part.width_px, rgb)
    if part.width_px >= 5:
        stroke(image, part.start_px + shift, part.end_px + shift, 0.22 * part.width_px, bright)


def _grid_segments(centre: Array, reach: float) -> Array:
    """Pieces of 0.5 m (N, 2, 2) of all lines through whole metres within reach of centre."""
    low, high = np.ceil(centre - reach).astype(int), np.floor(centre + reach).astype(int)
    segments = []
    for axis in (0, 1):
        along = np.arange(2 * low[1 - axis], 2 * high[1 - axis] + 1) / 2
        for place in range(low[axis], high[axis] + 1):
            ends = np.empty((len(along) - 1, 2, 2))
            ends[:, :, axis] = place
            ends[:, 0, 1 - axis], ends[:, 1, 1 - axis] = along[:-1], along[1:]
            segments.append(ends)
    return np.concatenate(segments)


def _darken(image: Image, mask: Image, points_px: Array) -> None:
    """Soften the mask and darken the image by it, only around points_px (N, 2)."""
    margin = 24
    height, width = mask.shape
    x0, y0 = np.clip(points_px.min(axis=0) - margin, 0, [width, height]).astype(int)
    x1, y1 = np.clip(points_px.max(axis=0) + margin, 0, [width, height]).astype(int)
    if x1 <= x0 or y1 <= y0:
        return
    soft = cv2.blur(mask[y0:y1, x0:x1], (9, 9))
    light = cv2.cvtColor(cv2.convertScaleAbs(soft, alpha=-0.55, beta=255), cv2.COLOR_GRAY2RGB)
    image[y0:y1, x0:x1] = cv2.multiply(image[y0:y1, x0:x1], light, scale=1 / 255)


def _px_per_metre(view: Camera, point_m: Array) -> float:
    return float(view.K[0, 0] / view.world_to_camera(point_m)[2])


def _fixed(points_px: Array) -> NDArray[np.int32]:
    return np.round(np.clip(points_px, -(2.0**14), 2.0**14) * 16).astype(np.int32)


def _pair(ends_px: Array) -> Sequence[tuple[int, int]]:
    start, end = _fixed(ends_px)
    return (int(start[0]), int(start[1])), (int(end[0]), int(end[1]))
