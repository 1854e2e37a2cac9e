"""People as solid figures in a viser scene: limbs, joints, floor, camera with its picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from poselift.camera import Camera
from poselift.poses import Poses3D
from poselift.view.draw import Image
from poselift.view.panel import look_at
from poselift.view.stage import Stage, stage
from poselift.view.style import SIDE_RGB, Body, accent, body, head_centre

if TYPE_CHECKING:
    import viser

Array = NDArray[np.floating]

_GRAIN_M = 2.0**-10  # places are rounded to about 1 mm: recordings shrink to less than half
_GRAIN_TURN = 2.0**-9
_GRAIN_LENGTH_M = 2.0**-7  # lengths that do not change are not sent again
_SKY_LIGHT = 1.7
_DEEPEN = 1.5  # the browser's film-like tones pale colours; this power brings them back
_HIDDEN = 1e-5  # scale of a part that is not seen; zero would make its matrix singular
_VIEW_DEG = 45.0
_OFF_FRONT_DEG = 24.0  # straight from the front, depth would not show
_ELEVATION_DEG = 12.0
_WIDEST_M = 6.0


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """A small RGB image (H, W, 3) of the video, from time_s on."""

    image: Image
    time_s: float


class Scene:
    """The people of a stage in a viser server; `show(frame)` moves them.

    Nodes: /floor, /person 1 (limbs, joints, uncertainty), /camera.
    """

    def __init__(
        self, server: "viser.ViserServer", shown: Stage, thumbnails: Sequence[Thumbnail] = ()
    ) -> None:
        self.stage = shown
        self._thumbnails = thumbnails
        self._shown_thumbnail: Thumbnail | None = None
        api = server.scene
        api.set_up_direction("+z")
        api.configure_environment_map(None)  # its light would wash out the colours of the sides
        api.add_light_hemisphere("/sky", ground_color=(120, 120, 130), intensity=_SKY_LIGHT)
        server.gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False)
        _add_floor(api, shown)
        many = len(shown.people) > 1
        self.figures = [
            Figure(api, number, poses, xyz, tag=many)
            for number, (poses, xyz) in enumerate(zip(shown.people, shown.xyz_m, strict=True))
        ]
        self.frustum = _add_frustum(api, shown)
        _aim(server, shown)
        self.show(0)

    def show(self, frame: int) -> None:
        """Move everybody to pose frame `frame`."""
        for figure in self.figures:
            figure.show(frame)
        self._show_picture(float(self.stage.time_s[frame]))

    def _show_picture(self, time_s: float) -> None:
        if self.frustum is None:
            return
        past = [t for t in self._thumbnails if t.time_s <= time_s + 1e-6]
        if past and past[-1] is not self._shown_thumbnail:
            self._shown_thumbnail = past[-1]
            self.frustum.image = past[-1].image


class Figure:
    """One person as batched meshes: every limb is one spindle, every joint one ball."""

    def __init__(
        self, api: "viser.SceneApi", number: int, poses: Poses3D, xyz_m: Array, *, tag: bool
    ) -> None:
        self.name = f"/person {number + 1}"
        self.enabled = True
        self._xyz_m, self._body = xyz_m, body(poses.skeleton, xyz_m)
        self._uncertainty_m = poses.uncertainty_m
        self._root = api.add_frame(self.name, show_axes=False)
        self._limbs = _add_batch(
            api, f"{self.name}/limbs", _spindle(), [SIDE_RGB[b.side] for b in self._body.bones]
        )
        balls = len(self._body.joints) + bool(self._body.head)
        self._joints = _add_batch(api, f"{self.name}/joints", _ball(), [accent(number)] * balls)
        self.halo = self._add_halo(api, number)
        self._tag = api.add_label(f"{self.name}/number", str(number + 1)) if tag else None

    def _add_halo(self, api: "viser.SceneApi", number: int) -> "viser.BatchedMeshHandle | None":
        if self._uncertainty_m is None:
            return None
        colours = [accent(number)] * len(self._body.joints)
        name = f"{self.name}/uncertainty"
        halo = _add_batch(api, name, _ball(), colours, opacity=0.28)
        halo.visible = False
        return halo

    def show(self, frame: int) -> None:
        """Move to pose frame `frame`; vanish where the person is absent or switched off."""
        xyz = self._xyz_m[frame]
        seen = np.isfinite(xyz).all(axis=-1)
        self._root.visible = bool(seen.any()) and self.enabled
        if not seen.any():
            return
        places, turns, scales = _limb_poses(xyz, self._body)
        self._limbs.batched_positions = places
        self._limbs.batched_wxyzs = turns
        self._limbs.batched_scales = scales
        balls = xyz[list(self._body.joints)]
        sizes = self._body.joint_radius_m
        if self._body.head:
            balls = np.concatenate([balls, head_centre(xyz, self._body.head)[None]])
            sizes = np.append(sizes, self._body.head_radius_m)
        _place_balls(self._joints, balls, sizes)
        if self.halo is not None and self._uncertainty_m is not None:
            joints = list(self._body.joints)
            _place_balls(self.halo, xyz[joints], self._uncertainty_m[frame, joints])
        if self._tag is not None:
            top = xyz[seen][xyz[seen, 2].argmax()]
            self._tag.position = tuple(_grain(top + np.array([0.0, 0.0, 0.2])).tolist())


def scene(
    server: "viser.ViserServer",
    people: Sequence[Poses3D],
    *,
    thumbnails: Sequence[Thumbnail] = (),
) -> Scene:
    """Build the scene of `people` (one time axis) in a viser server, at the first frame.

    Floor with a 1 m grid at z = 0 of the world, z up; limbs blue (left), orange (right), white
    (middle); the camera that filmed as a frustum with its picture. Raises InputError.
    """
    return Scene(server, stage(people), thumbnails)


def _add_floor(api: "viser.SceneApi", shown: Stage) -> None:
    centre = np.round(shown.centre_m[0, :2])
    reach = float(np.abs(shown.centre_m[:, :2] - centre).max()) + 3 * shown.radius_m
    side = 2 * float(np.ceil(reach))
    api.add_grid(
        "/floor",
        side,
        side,
        cell_size=1.0,
        section_size=1.0,
        cell_thickness=0.6,
        section_thickness=0.9,
        cell_color=(96, 103, 116),
        section_color=(96, 103, 116),
        plane_color=(38, 42, 50),
        plane_opacity=1.0,
        shadow_opacity=0.6,
        fade_from="camera",
        fade_distance=max(2.2 * side, 12.0),
        fade_strength=1.0,
        position=(float(centre[0]), float(centre[1]), shown.floor_m),
    )


def _add_frustum(api: "viser.SceneApi", shown: Stage) -> "viser.CameraFrustumHandle | None":
    """The first camera whose place in the shown world is known."""
    for poses in shown.people:
        if poses.camera is not None and (poses.axes, poses.origin) in (
            ("world", "world"),
            ("camera", "camera"),
        ):
            camera = poses.camera
            height_px = camera.size_px[1]
            return api.add_camera_frustum(
                "/camera",
                fov=2 * float(np.arctan(height_px / 2 / camera.K[1, 1])),
                aspect=camera.size_px[0] / height_px,
                scale=0.45,
                thickness=0.012,
                color=(150, 158, 172),
                wxyz=_quaternion(camera.R_world_to_camera.T),
                position=tuple(_eye(camera).tolist()),
                cast_shadow=False,
                jpeg_quality=70,
            )
    return None


def _aim(server: "viser.ViserServer", shown: Stage) -> None:
    """Start from the front, slightly to the side and above, with the whole way in view."""
    centre_m, radius_m = _whole(shown)
    azimuth = shown.azimuth_rad + np.deg2rad(_OFF_FRONT_DEG)
    back = centre_m - _eye(look_at(centre_m, radius_m, azimuth, _ELEVATION_DEG, (100, 100)))
    distance = radius_m / np.sin(np.deg2rad(_VIEW_DEG) / 2)
    eye = centre_m - back / np.linalg.norm(back) * distance
    start = server.initial_camera
    start.position, start.look_at = _triple(eye), _triple(centre_m)
    start.up, start.fov = (0.0, 0.0, 1.0), float(np.deg2rad(_VIEW_DEG))


def _whole(shown: Stage) -> tuple[Array, float]:
    """Centre (3) and radius of the whole way, or of its start where people would be too small."""
    path = shown.centre_m
    middle = 0.5 * (path.min(axis=0) + path.max(axis=0))
    radius_m = shown.radius_m + float(np.linalg.norm(path - middle, axis=-1).max())
    return (middle, radius_m) if radius_m <= _WIDEST_M else (path[0], shown.radius_m)


def _add_batch(
    api: "viser.SceneApi",
    name: str,
    mesh: tuple[Array, NDArray[np.integer]],
    colours: Sequence[tuple[int, int, int]],
    opacity: float | None = None,
) -> "viser.BatchedMeshHandle":
    count = len(colours)
    return api.add_batched_meshes_simple(
        name,
        mesh[0],
        mesh[1],
        batched_wxyzs=np.tile(np.array([1.0, 0, 0, 0]), (count, 1)),
        batched_positions=np.zeros((count, 3)),
        batched_scales=np.full((count, 3), _HIDDEN),
        batched_colors=_deepened(colours),
        opacity=opacity,
        lod="off",
        cast_shadow=opacity is None,
        receive_shadow=opacity is None,
    )


def _deepened(colours: Sequence[tuple[int, int, int]]) -> NDArray[np.uint8]:
    shares = np.array(colours, dtype=np.float64).reshape(len(colours), 3) / 255
    return np.round(255 * shares**_DEEPEN).astype(np.uint8)


def _limb_poses(xyz_m: Array, shape: Body) -> tuple[Array, Array, Array]:
    """Middle (N, 3), turn of the z axis onto the bone (N, 4, wxyz) and scale (N, 3) of limbs."""
    start = xyz_m[[bone.start for bone in shape.bones]]
    end = xyz_m[[bone.end for bone in shape.bones]]
    seen = np.isfinite(start + end).all(axis=-1, keepdims=True)
    along = np.where(seen, end - start, [0.0, 0.0, 1.0])
    length = np.maximum(np.linalg.norm(along, axis=-1), 1e-6)
    along = along / length[:, None]
    along = np.where(along[:, 2:] < 0, -along, along)  # spindles are symmetric: turn < 90 degrees
    x, y, z = along.T
    turns = np.stack([1 + z, -y, x, np.zeros_like(x)], axis=-1)
    turns = turns / np.linalg.norm(turns, axis=-1, keepdims=True)
    radius = shape.bone_radius_m
    scales = np.stack([radius, radius, _grain(length, _GRAIN_LENGTH_M)], axis=-1)
    middle = np.where(seen, 0.5 * (start + end), 0.0)
    return _grain(middle), _grain(turns, _GRAIN_TURN), np.where(seen, scales, _HIDDEN)


def _place_balls(batch: "viser.BatchedMeshHandle", xyz_m: Array, radius_m: Array) -> None:
    seen = np.isfinite(xyz_m).all(axis=-1) & np.isfinite(radius_m)
    batch.batched_positions = _grain(np.where(seen[:, None], xyz_m, 0.0))
    sizes = np.where(seen, _grain(radius_m, _GRAIN_M), _HIDDEN)
    batch.batched_scales = np.repeat(np.maximum(sizes, _HIDDEN)[:, None], 3, axis=1)


def _spindle() -> tuple[Array, NDArray[np.integer]]:
    """A limb of length 1 along z and radius 1, thinner towards its ends."""
    z = np.linspace(-0.5, 0.5, 9)
    return _lathe(0.72 + 0.28 * np.cos(np.pi * z) ** 0.8, z, 12)


def _ball() -> tuple[Array, NDArray[np.integer]]:
    angle = np.linspace(-np.pi / 2, np.pi / 2, 11)
    return _lathe(np.cos(angle), np.sin(angle), 16)


def _lathe(radius: Array, z: Array, sides: int) -> tuple[Array, NDArray[np.integer]]:
    """Vertices (V, 3) and outward faces (F, 3) of a profile turned about the z axis."""
    angle = np.arange(sides) * 2 * np.pi / sides
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    flat = radius[:, None, None] * ring
    height = np.broadcast_to(z[:, None, None], (*flat.shape[:2], 1))
    level, side = np.meshgrid(np.arange(len(z) - 1), np.arange(sides), indexing="ij")
    a, b = level * sides + side, level * sides + (side + 1) % sides
    faces = [np.stack([a, b, b + sides], axis=-1), np.stack([a, b + sides, a + sides], axis=-1)]
    vertices = np.concatenate([flat, height], axis=-1).reshape(-1, 3)
    return vertices, np.concatenate([f.reshape(-1, 3) for f in faces])


def _grain(values: Array, step: float = _GRAIN_M) -> Array:
    return np.round(values / step) * step


def _eye(camera: Camera) -> Array:
    return -camera.R_world_to_camera.T @ camera.t_world_to_camera_m


def _triple(point: Array) -> tuple[float, float, float]:
    x, y, z = point.tolist()
    return x, y, z


def _quaternion(rotation: Array) -> tuple[float, float, float, float]:
    """wxyz of a rotation matrix (3, 3)."""
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(rotation).as_quat().tolist()
    return w, x, y, z
