"""A small ray caster on warp (CPU or GPU, no OpenGL): one clothed mesh in a procedural room."""

from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import NDArray

from poselift.camera import Camera
from poselift.geometry import unit

Array = NDArray[np.floating]

CEILING_M = wp.constant(3.0)
PLANK_M = wp.constant(0.14)
PICTURE_EVERY_M = wp.constant(1.7)
Colours = wp.types.matrix(shape=(4, 3), dtype=wp.float32)


@dataclass(frozen=True)
class Scene:
    """What stays the same from frame to frame. Colours are linear light."""

    faces: NDArray[np.int32]  # (F, 3)
    skin: Array  # (V, 3)
    inside_m: Array  # (V, 4) > 0 inside shirt, trousers, shoes, hair
    clothes: tuple[tuple[float, float, float], ...]  # their four colours
    lamp_m: tuple[float, float, float]
    room_half_m: float
    floor_tint: tuple[float, float, float] = (1.0, 1.0, 1.0)  # factors on the room's own colours
    wall_tint: tuple[float, float, float] = (1.0, 1.0, 1.0)


@wp.func
def chance(x: float, y: float) -> float:
    """A number in 0..1 that looks random."""
    s = wp.sin(x * 127.1 + y * 311.7) * 43758.5453
    return s - wp.floor(s)


@wp.func
def noise(x: float, y: float) -> float:
    """Smooth value noise in 0..1."""
    i, j = wp.floor(x), wp.floor(y)
    u, v = x - i, y - j
    u, v = u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v)
    low = wp.lerp(chance(i, j), chance(i + 1.0, j), u)
    high = wp.lerp(chance(i, j + 1.0), chance(i + 1.0, j + 1.0), u)
    return wp.lerp(low, high, v)


@wp.func
def floor_colour(p: wp.vec3) -> wp.vec3:
    """Wooden planks along y."""
    row = wp.floor(p[0] / PLANK_M)
    along = p[1] + chance(row, 3.0) * 2.0
    board = chance(row, wp.floor(along / 1.3))
    grain = noise(p[0] * 60.0, p[1] * 4.0 + board * 50.0)
    k = 0.78 + 0.25 * board + 0.15 * grain
    if p[0] / PLANK_M - row < 0.02 or along / 1.3 - wp.floor(along / 1.3) < 0.003:
        k = k * 0.5
    return wp.vec3(0.30, 0.175, 0.09) * k


@wp.func
def wall_colour(axis: int, sign: float, a: float, z: float, half: float) -> wp.vec3:
    """Painted plaster with a skirting board and framed pictures; `a` runs along the wall."""
    if z < 0.10:
        return wp.vec3(0.62, 0.60, 0.56)
    k = 0.94 + 0.06 * noise(a * 2.0 + 7.0 * float(axis), z * 2.0) + 0.03 * noise(a * 40.0, z * 40.0)
    colour = wp.vec3(0.47, 0.53, 0.50) * k
    cell = wp.floor(a / PICTURE_EVERY_M)
    which = chance(cell + 11.0 * float(axis) + 3.0 * sign, 2.0)
    x = (a / PICTURE_EVERY_M - cell - 0.5) * PICTURE_EVERY_M
    y = z - 1.55
    half_w, half_h = 0.22 + 0.22 * which, 0.40 - 0.15 * which
    whole = wp.abs((cell + 0.5) * PICTURE_EVERY_M) + half_w < half  # none bent round a corner
    if whole and which > 0.2 and wp.abs(x) < half_w and wp.abs(y) < half_h:
        rim = wp.min(half_w - wp.abs(x), half_h - wp.abs(y))
        if rim < 0.02:
            return wp.vec3(0.05, 0.035, 0.025)
        if rim < 0.07:
            return wp.vec3(0.75, 0.74, 0.70)
        hill = 0.25 * noise(x * 7.0 + which * 30.0, 1.0) - 0.12
        if y > hill:
            return wp.lerp(wp.vec3(0.75, 0.45, 0.25), wp.vec3(0.15, 0.35, 0.6), y / half_h + 0.2)
        return wp.vec3(0.06, 0.17 + 0.2 * which, 0.14) * (0.7 + 0.6 * noise(x * 12.0, y * 12.0))
    return colour


@wp.func
def room(origin: wp.vec3, ray: wp.vec3, half: float, floor_tint: wp.vec3, wall_tint: wp.vec3):
    """Distance, colour and normal of the room along a ray from inside it."""
    t = CEILING_M * 100.0
    colour = wp.vec3(0.0)
    normal = wp.vec3(0.0)
    if ray[2] < 0.0:
        t = -origin[2] / ray[2]
        colour = wp.cw_mul(floor_colour(origin + t * ray), floor_tint)
        normal = wp.vec3(0.0, 0.0, 1.0)
    if ray[2] > 0.0:
        t = (CEILING_M - origin[2]) / ray[2]
        colour = wp.vec3(0.75, 0.75, 0.73)
        normal = wp.vec3(0.0, 0.0, -1.0)
    for axis in range(2):
        if wp.abs(ray[axis]) > 1.0e-5:
            sign = wp.sign(ray[axis])
            at_wall = (sign * half - origin[axis]) / ray[axis]
            if at_wall < t:
                t = at_wall
                p = origin + t * ray
                colour = wp.cw_mul(wall_colour(axis, sign, p[1 - axis], p[2], half), wall_tint)
                normal = wp.vec3(0.0)
                normal[axis] = -sign
    return t, colour, normal


@wp.func
def body_colour(skin: wp.vec3, inside: wp.vec4, clothes: Colours):
    """Shoes over shirt over trousers over hair over skin."""
    colour = skin
    for layer in range(4):
        which = wp.where(layer == 0, 3, wp.where(layer == 1, 1, wp.where(layer == 2, 0, 2)))
        if inside[which] > 0.0:
            colour = clothes[which]
    return colour


@wp.func
def light_at(
    mesh: wp.uint64, p: wp.vec3, n: wp.vec3, ray: wp.vec3, lamp: wp.vec3, dice: wp.vec2
) -> float:
    """A square lamp with soft shadow, sky with ambient occlusion, and a little light at the eye."""
    to_lamp = lamp + wp.vec3(dice[0] - 0.5, dice[1] - 0.5, 0.0) * 0.8 - p
    distance = wp.length(to_lamp)
    to_lamp = to_lamp / distance
    start = p + n * 0.006
    key = wp.dot(n, to_lamp)
    # Fades before the light grazes, where the flat faces of the mesh would throw jagged shadows.
    key = key * wp.smoothstep(0.0, 0.25, key)
    if key > 0.0 and wp.mesh_query_ray_anyhit(mesh, start, to_lamp, distance):
        key = 0.0
    height, turn = 1.0 - 2.0 * dice[0], 2.0 * wp.pi * dice[1]
    ring = wp.sqrt(1.0 - height * height)
    ball = wp.vec3(ring * wp.cos(turn), ring * wp.sin(turn), height)
    shut_in = wp.mesh_query_ray_anyhit(mesh, start, wp.normalize(n * 1.001 + ball), 0.7)
    sky = wp.where(shut_in, 0.2, 1.0)
    eye = wp.max(-wp.dot(n, ray), 0.0)
    ambient = 0.42 * (0.8 + 0.2 * n[2]) * sky + 0.10 * eye
    return ambient + key * wp.min(8.5 / (distance * distance), 1.6)


@wp.kernel
def cast(
    mesh: wp.uint64,
    skin: wp.array(dtype=wp.vec3),
    inside: wp.array(dtype=wp.vec4),
    normals: wp.array(dtype=wp.vec3),
    clothes: Colours,
    eye: wp.vec3,
    camera_to_world: wp.mat33,
    inverse_K: wp.mat33,
    width: int,
    grid: int,
    lamp: wp.vec3,
    half: float,
    floor_tint: wp.vec3,
    wall_tint: wp.vec3,
    image: wp.array(dtype=wp.vec3),
    on_body: wp.array(dtype=float),
):
    """One thread a pixel, grid x grid samples in it."""
    tid = wp.tid()
    total = wp.vec3(0.0)
    hits = wp.float32(0.0)
    state = wp.rand_init(17, tid)
    shuffle = int(wp.randf(state) * float(grid * grid))
    for s in range(grid * grid):
        x = float(tid % width) + (float(s % grid) + 0.5) / float(grid)
        y = float(tid / width) + (float(s / grid) + 0.5) / float(grid)
        ray = wp.normalize(camera_to_world * (inverse_K * wp.vec3(x, y, 1.0)))
        t, colour, n = room(eye, ray, half, floor_tint, wall_tint)
        query = wp.mesh_query_ray(mesh, eye, ray, t)
        if query.result:
            hits += 1.0
            t = query.t
            a = wp.mesh_get_index(mesh, query.face * 3)
            b = wp.mesh_get_index(mesh, query.face * 3 + 1)
            c = wp.mesh_get_index(mesh, query.face * 3 + 2)
            u, v = query.u, query.v
            w = 1.0 - u - v
            colour = body_colour(
                skin[a] * u + skin[b] * v + skin[c] * w,
                inside[a] * u + inside[b] * v + inside[c] * w,
                clothes,
            )
            n = wp.normalize(normals[a] * u + normals[b] * v + normals[c] * w)
            if wp.dot(n, ray) > 0.0:
                n = -n
        # One sample in each cell of the lamp, in an order that differs between pixels.
        cell = (s * 7 + shuffle) % (grid * grid)
        dice = wp.vec2(float(cell % grid) + wp.randf(state), float(cell / grid) + wp.randf(state))
        total += colour * light_at(mesh, eye + t * ray, n, ray, lamp, dice / float(grid))
    image[tid] = total / float(grid * grid)
    on_body[tid] = hits / float(grid * grid)


@wp.kernel
def free_path(
    mesh: wp.uint64,
    eye: wp.vec3,
    points: wp.array(dtype=wp.vec3),
    gap: wp.array(dtype=float),
):
    """Distance from the first surface on the way to each point, to the point; 0 if none."""
    i = wp.tid()
    way = points[i] - eye
    length = wp.length(way)
    query = wp.mesh_query_ray(mesh, eye, way / length, length)
    if query.result:
        gap[i] = length - query.t


def vertex_normals(vertices_m: Array, faces: NDArray[np.int32]) -> Array:
    """Area-weighted unit normals (V, 3)."""
    corner = vertices_m[faces]
    across = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    total = np.zeros_like(vertices_m)
    for i in range(3):
        np.add.at(total, faces[:, i], across)
    return unit(total)


def _vec(values: Array) -> wp.array:
    kind = wp.vec4 if values.shape[-1] == 4 else wp.vec3
    return wp.array(np.asarray(values, dtype=np.float32), dtype=kind)


def render(
    scene: Scene, vertices_m: Array, camera: Camera, samples: int, points_m: Array
) -> tuple[Array, Array, Array]:
    """One picture: linear colours (h, w, 3), share of the body in each pixel (h, w), and the depth
    of the points (N, 3) below the surface that the camera sees in their place (N,), metres.
    """
    w, h = camera.size_px
    mesh = wp.Mesh(_vec(vertices_m), wp.array(scene.faces.ravel(), dtype=wp.int32))
    image, on_body = wp.zeros(w * h, dtype=wp.vec3), wp.zeros(w * h, dtype=float)
    eye = wp.vec3(*camera.camera_to_world(np.zeros(3)))
    inputs = [
        mesh.id,
        _vec(scene.skin),
        _vec(scene.inside_m),
        _vec(vertex_normals(vertices_m, scene.faces)),
        Colours(*np.ravel(scene.clothes)),
        eye,
        wp.mat33(*camera.R_world_to_camera.T.ravel()),
        wp.mat33(*np.linalg.inv(camera.K).ravel()),
        w,
        samples,
        wp.vec3(*scene.lamp_m),
        scene.room_half_m,
        wp.vec3(*scene.floor_tint),
        wp.vec3(*scene.wall_tint),
    ]
    wp.launch(cast, dim=w * h, inputs=inputs, outputs=[image, on_body])
    gap = wp.zeros(len(points_m), dtype=float)
    wp.launch(free_path, dim=len(points_m), inputs=[mesh.id, eye, _vec(points_m)], outputs=[gap])
    return (
        image.numpy().reshape(h, w, 3),
        on_body.numpy().reshape(h, w),
        gap.numpy(),
    )
