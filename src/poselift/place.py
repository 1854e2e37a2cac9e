"""Place in space: constant bones, a root that moves, a level world with its floor at zero."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from poselift import signal
from poselift.camera import Camera
from poselift.errors import InputError
from poselift.geometry import CAMERA_TO_LEVEL_WORLD, Array, unit
from poselift.poses import Poses3D
from poselift.skeleton import Skeleton

# The distance of a person follows from their apparent size, so its noise is far above that of the
# place in the image; nobody changes it quickly either.
DEPTH_CUTOFF_HZ = 1.0
FLOOR_PERCENTILE = 3.0
LEAST_SD_M = 0.02  # what the 2D joints are off by where the 3D ones are certain
# Roots nearer or farther than this are no solution: the 2D does not fit the pose or the camera.
NEAREST_M, FARTHEST_M = 0.1, 5000.0


def constant_bones(poses: Poses3D) -> Poses3D:
    """The same directions with one length per bone: the median over frames and both sides.

    The skeleton's root keeps its place; missing joints stay NaN, and so do those behind them.
    """
    lengths = _bone_lengths_m(poses.xyz_m, poses.skeleton)
    xyz = poses.xyz_m.copy()
    for parent, child in _root_to_leaves(poses.skeleton):
        direction = unit(poses.xyz_m[:, child] - poses.xyz_m[:, parent])
        xyz[:, child] = xyz[:, parent] + direction * lengths[child]
    return poses.then("constant bone lengths: median over the clip, left = right", xyz_m=xyz)


def _bone_lengths_m(xyz_m: Array, skeleton: Skeleton) -> Array:
    """Length (J) of the bone that ends at each joint, the mean of both sides' medians."""
    bones = np.linalg.norm(xyz_m - xyz_m[:, skeleton.parents], axis=-1)
    never = np.isnan(bones).all(axis=0)
    length = np.nanmedian(np.where(never, 0.0, bones), axis=0)
    # A bone that is seen on one side only has the length of that side.
    sides = (~never).astype(float) + ~never[skeleton.mirror]
    return (length + length[skeleton.mirror]) / np.maximum(sides, 1)


def _root_to_leaves(skeleton: Skeleton) -> list[tuple[int, int]]:
    """Bones (parent, child), each after the bone that carries its parent."""
    done = {joint for joint, parent in enumerate(skeleton.parents) if parent < 0}
    todo, ordered = list(skeleton.edges), []
    while todo:
        ready = [edge for edge in todo if edge[0] in done]
        ordered += ready
        todo = [edge for edge in todo if edge[0] not in done]
        done |= {child for _, child in ready}
    return ordered


def root_in_camera_m(poses: Poses3D) -> Array:
    """Where the root is in camera axes, (T, 3), from the 2D joints; NaN where there is no pose.

    Joints are weighted by confidence, and where the poses say how sure they are, by the inverse of
    their variance (plus that of `LEAST_SD_M`, so that no few joints decide alone). Raises
    InputError without observed 2D, or for poses that are not root-relative in camera axes.
    """
    _check_frame("placing the root", poses, "root")
    if poses.observed is None:
        raise InputError("placing the root", expected="the 2D joints it was lifted from")
    observed = poses.observed.to(poses.skeleton)
    rays = _camera_of(poses).image_to_rays(observed.xy_px)
    weight = observed.confidence
    if poses.uncertainty_m is not None:
        weight = sure_weight(weight, poses.uncertainty_m)
    return root_on_rays_m(poses.xyz_m, rays, weight)


def sure_weight(confidence: Array, sd_m: Array) -> Array:
    """Weights of joints by confidence and the inverse of their variance.

    A joint of which nobody says how sure it is (NaN) does not count.
    """
    return np.nan_to_num(confidence / (1 + (sd_m / LEAST_SD_M) ** 2))


def root_on_rays_m(xyz_m: Array, rays: Array, weight: Array) -> Array:
    """Where the roots of frames are in camera axes, (T, 3); NaN where fewer than 3 joints count.

    xyz_m (T, J, 3): joints relative to the root in camera axes; rays (T, J, 2): slopes on which
    they were seen; weight (T, J): of each joint, 0 = none. A NaN in joint or ray counts as none.
    Per frame the shift t that brings the joints P onto their rays rho: weighted least squares of
    rho (P_z + t_z) - (P_xy + t_xy) (3 x 3 normal equations).
    """
    usable = np.isfinite(rays).all(-1) & np.isfinite(xyz_m).all(-1)
    weight = np.where(usable, weight, 0.0)[..., None]
    rays, xyz = np.where(weight > 0, rays, 0.0), np.where(weight > 0, xyz_m, 0.0)

    # Rows (1, 0, -rho_x) and (0, 1, -rho_y) times t equal rho P_z - P_xy.
    eye = np.broadcast_to(np.eye(2), (*rays.shape, 2))
    rows = np.concatenate([eye, -rays[..., None]], axis=-1)
    values = rays * xyz[..., 2:] - xyz[..., :2]
    normal = np.einsum("tjri,tjrk,tjr->tik", rows, rows, np.broadcast_to(weight, rays.shape))
    right = np.einsum("tjri,tjr,tjr->ti", rows, values, np.broadcast_to(weight, rays.shape))
    out = np.full((len(xyz), 3), np.nan)
    solvable = (weight[..., 0] > 0).sum(1) >= 3
    normal, right = normal[solvable] + 1e-9 * np.eye(3), right[solvable]
    solved = np.linalg.solve(normal, right[..., None])[..., 0]
    depth = solved[:, 2:]
    out[solvable] = np.where((depth > NEAREST_M) & (depth < FARTHEST_M), solved, np.nan)
    return out


def _check_frame(what: str, poses: Poses3D, origin: str) -> None:
    if (poses.axes, poses.origin) != ("camera", origin):
        raise InputError(
            what,
            expected=f"camera axes, origin {origin}",
            found=f"{poses.axes} axes, origin {poses.origin}",
        )


def _camera_of(poses: Poses3D) -> Camera:
    """The camera of the pose, else of its 2D joints, else a guess."""
    flat = poses.observed
    camera = poses.camera or (flat.camera if flat else None)
    if camera is None and flat is None:
        raise InputError(f"person {poses.person}", expected="a camera or 2D joints", found="none")
    return camera or Camera.guess(flat.size_px)  # ty: ignore


def in_camera(poses: Poses3D, cutoff_hz: float | None = 6.0) -> Poses3D:
    """Root-relative poses moved to their place in camera axes (origin: the camera).

    Place in the image and distance are smoothed apart (`cutoff_hz`, `DEPTH_CUTOFF_HZ`); None = raw.
    """
    root = root_in_camera_m(poses)
    slopes, depth = root[:, :2] / root[:, 2:], np.log(root[:, 2:])
    bridged = signal.fill_gaps(np.concatenate([slopes, depth], 1), poses.time_s, np.inf)
    bridged = _hold_ends(bridged, poses.person)
    if cutoff_hz is not None:
        slopes = signal.smooth(bridged[:, :2], poses.time_s, cutoff_hz)
        depth = signal.smooth(bridged[:, 2:], poses.time_s, min(cutoff_hz, DEPTH_CUTOFF_HZ))
    else:
        slopes, depth = bridged[:, :2], bridged[:, 2:]
    distance = np.exp(depth)
    root = np.concatenate([slopes * distance, distance], axis=1)
    return poses.then(
        "root placed on the rays of the 2D joints",
        xyz_m=poses.xyz_m + root[:, None],
        origin="camera",
        camera=_camera_of(poses),
    )


def _hold_ends(values: Array, person: int) -> Array:
    """Repeat the first and the last known row outward."""
    known = np.flatnonzero(np.isfinite(values).all(-1))
    if not len(known):
        raise InputError(
            f"placing the root of person {person}",
            expected="a frame with 3 or more seen joints that fit a place "
            f"{NEAREST_M:g} m to {FARTHEST_M:g} m in front of the camera",
            found="none",
        )
    return values[np.clip(np.arange(len(values)), known[0], known[-1])]


def in_world(people: Sequence[Poses3D], pitch_deg: float = 0.0) -> list[Poses3D]:
    """Everybody of a clip in one level world: z up, floor at z = 0, metres.

    people: camera axes, origin "camera". The camera is taken as level except for `pitch_deg`
    (positive looks down); an orientation that it carries is replaced. The floor is where the lowest
    joints are; the origin lies on it below the first root of the first person who is seen. Raises
    InputError (another origin, nobody seen).
    """
    if not people:
        return []
    for poses in people:
        _check_frame("the level world", poses, "camera")
    pitch = np.deg2rad(pitch_deg)
    tilt = np.array(
        [
            [1, 0, 0],
            [0, np.cos(pitch), np.sin(pitch)],
            [0, -np.sin(pitch), np.cos(pitch)],
        ]
    )
    turn = CAMERA_TO_LEVEL_WORLD @ tilt
    turned = [poses.xyz_m @ turn.T for poses in people]
    shift = -_world_origin(turned, [poses.skeleton.parents.index(-1) for poses in people])
    step = f"level world, camera pitch {pitch_deg:g} degrees (assumed), floor at the lowest joints"
    return [
        poses.then(
            step,
            xyz_m=xyz + shift,
            axes="world",
            origin="world",
            camera=replace(
                _camera_of(poses),
                R_world_to_camera=turn.T,
                t_world_to_camera_m=-turn.T @ shift,
            ),
        )
        for poses, xyz in zip(people, turned, strict=True)
    ]


def _world_origin(people_m: list[Array], roots: list[int]) -> Array:
    places = [xyz[:, root] for xyz, root in zip(people_m, roots, strict=True)]
    first = [place[np.isfinite(place).all(1)][:1] for place in places]
    heights = [xyz[..., 2][np.isfinite(xyz[..., 2]).any(1)] for xyz in people_m]
    lowest = np.concatenate([np.nanmin(height, axis=1) for height in heights])
    if not sum(map(len, first)):
        raise InputError("the level world", expected="a frame with a pose", found="none")
    x, y, _ = np.concatenate(first)[0]
    return np.array([x, y, np.percentile(lowest, FLOOR_PERCENTILE)])
