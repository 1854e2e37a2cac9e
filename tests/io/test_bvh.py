import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from poselift.errors import InputError, OutputError
from poselift.io.bvh import write_bvh, write_bvh_people
from poselift.io.bvh_motion import continuous_angles
from poselift.place import constant_bones
from poselift.poses import Poses2D, Poses3D
from poselift.skeleton import Skeleton, skeleton

with warnings.catch_warnings():
    warnings.simplefilter("ignore", PendingDeprecationWarning)  # of the reader's own import
    import bvhio

H36M = skeleton("h36m17")

# A standing person in world axes (z up) who faces -y: the left hand is at +x.
STANDING = {
    "pelvis": (0, 0, 0.95),
    "right_hip": (-0.13, 0, 0.95),
    "right_knee": (-0.14, -0.02, 0.5),
    "right_ankle": (-0.14, 0.02, 0.08),
    "left_hip": (0.13, 0, 0.95),
    "left_knee": (0.14, -0.02, 0.5),
    "left_ankle": (0.14, 0.02, 0.08),
    "spine": (0, 0.01, 1.2),
    "thorax": (0, 0, 1.45),
    "nose": (0, -0.1, 1.57),
    "head_top": (0, -0.02, 1.74),
    "left_shoulder": (0.16, 0, 1.42),
    "left_elbow": (0.2, 0, 1.14),
    "left_wrist": (0.21, -0.05, 0.9),
    "right_shoulder": (-0.16, 0, 1.42),
    "right_elbow": (-0.2, 0, 1.14),
    "right_wrist": (-0.21, -0.05, 0.9),
}
REST = np.array([STANDING[joint] for joint in H36M.joints], float)


def poses_of(xyz_m: np.ndarray, rate_hz: float = 30, **options: object) -> Poses3D:
    time_s = options.pop("time_s", np.arange(len(xyz_m)) / rate_hz)
    return Poses3D(xyz_m, time_s, H36M, **{"axes": "world", "origin": "world", **options})


def moving(frames: int, seed: int = 0, wild: float = 0.35) -> np.ndarray:
    """Bones that swing smoothly about their rest directions; constant lengths."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, frames)[:, None, None]
    phase, speed = rng.uniform(0, 2 * np.pi, (2, 1, 17, 3))
    swing = wild * np.sin(2 * np.pi * t * (1 + speed / 4) + phase)
    turns = Rotation.from_rotvec(swing.reshape(-1, 3)).as_matrix().reshape(frames, 17, 3, 3)
    xyz = np.repeat(REST[None], frames, axis=0)
    for joint, parent in enumerate(H36M.parents):
        if parent >= 0:
            xyz[:, joint] = xyz[:, parent] + turns[:, joint] @ (REST[joint] - REST[parent])
    return xyz


def whirled(xyz: np.ndarray, axis: tuple[float, float, float], turns: float) -> np.ndarray:
    """The whole person turned about the pelvis, moving along."""
    angle = np.linspace(0, 2 * np.pi * turns, len(xyz))[:, None] * np.array(axis)
    rotation = Rotation.from_rotvec(angle).as_matrix()
    pelvis = xyz[:, :1]
    walk = np.linspace(0, 1, len(xyz))[:, None, None] * np.array([1.0, 2.0, 0.1])
    return (xyz - pelvis) @ np.swapaxes(rotation, 1, 2) + pelvis + walk


def read_back(path: Path, joints: Skeleton = H36M) -> tuple[np.ndarray, float]:
    """Joint positions (T, J, 3) in metres, BVH axes, by another reader; and the frame time."""
    motion = bvhio.readAsBvh(str(path))
    found: dict[str, np.ndarray] = {}

    def walk(joint: bvhio.BvhJoint, rotation: np.ndarray, place: np.ndarray) -> None:
        quaternion = [list(key.Rotation) for key in joint.Keyframes]  # w, x, y, z
        own = Rotation.from_quat(np.array(quaternion)[:, [1, 2, 3, 0]]).as_matrix()
        step = np.array([list(key.Position) for key in joint.Keyframes])
        place = place + (rotation @ step[..., None])[..., 0]
        found[joint.Name] = place / 100
        for child in joint.Children:
            walk(child, rotation @ own, place)

    frames = motion.FrameCount
    walk(motion.Root, np.broadcast_to(np.eye(3), (frames, 3, 3)), np.zeros((frames, 3)))
    return np.stack([found[joint] for joint in joints.joints], axis=1), motion.FrameTime


def world_of(bvh_xyz: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(bvh_xyz, -1, 0)
    return np.stack([x, -z, y], axis=-1)


MOTIONS = {
    "standing": np.repeat(REST[None], 3, axis=0),
    "moving": moving(40),
    "wild": moving(60, seed=1, wild=2.5),
    "somersault": whirled(moving(80, seed=2), (1, 0, 0), 2),
    "cartwheel": whirled(moving(80, seed=3), (0, 1, 0), 1),
    "spin": whirled(moving(80, seed=4), (0, 0, 1), -3),
    "lying on the back": whirled(moving(20, seed=5), (0, 0, 0), 0)[..., [0, 2, 1]] * (1, -1, 1),
    "lying on the side": whirled(moving(20, seed=6), (0, 0, 0), 0)[..., [2, 1, 0]] * (1, 1, -1),
    "upside down": moving(20, seed=7) * (1, -1, -1),
}


@pytest.mark.parametrize("name", MOTIONS)
def test_another_reader_finds_the_joints(tmp_path: Path, name: str) -> None:
    poses = poses_of(MOTIONS[name])
    write_bvh(tmp_path / "a.bvh", poses)
    found, step_s = read_back(tmp_path / "a.bvh")
    error = np.linalg.norm(world_of(found) - poses.xyz_m, axis=-1)
    assert error.max() < 1e-3
    assert step_s == pytest.approx(1 / 30, abs=1e-6)


def test_face_and_feet_are_found_too(tmp_path: Path) -> None:
    body = skeleton("body28")
    xyz = moving(20)
    added = np.random.default_rng(0).normal(0, 0.1, (len(body) - 17, 3))
    xyz = np.concatenate([xyz, np.empty((20, len(added), 3))], axis=1)
    on = {**dict.fromkeys(body.joints[17:21], "nose"), "neck": "thorax"}
    for joint, offset in zip(body.joints[17:], added, strict=True):
        near = on.get(joint, f"{joint.partition('_')[0]}_ankle")
        xyz[:, body.index(joint)] = xyz[:, body.index(near)] + offset
    poses = Poses3D(xyz, np.arange(20) / 30, body, axes="world", origin="world")
    poses = constant_bones(poses)
    write_bvh(tmp_path / "a.bvh", poses)
    found, _ = read_back(tmp_path / "a.bvh", body)
    assert np.linalg.norm(world_of(found) - poses.xyz_m, axis=-1).max() < 1e-3


def with_median_bones(xyz_m: np.ndarray) -> np.ndarray:
    """The same directions, every bone at its median length."""
    out = xyz_m.copy()
    for joint, parent in enumerate(H36M.parents):  # parents come first in H36M-17
        if parent >= 0:
            bone = xyz_m[:, joint] - xyz_m[:, parent]
            length = np.linalg.norm(bone, axis=-1, keepdims=True)
            out[:, joint] = out[:, parent] + bone / np.maximum(length, 1e-12) * np.median(length)
    return out


def test_lengths_that_vary_become_constant(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, (30, 17, 3))
    poses = poses_of(moving(30) + noise)
    write_bvh(tmp_path / "a.bvh", poses)
    found, _ = read_back(tmp_path / "a.bvh")
    expected = with_median_bones(poses.xyz_m)
    assert np.linalg.norm(world_of(found) - expected, axis=-1).max() < 1e-3


def test_camera_axes_are_turned_upright(tmp_path: Path) -> None:
    world = moving(5)
    camera = np.stack([world[..., 0], -world[..., 2], world[..., 1]], axis=-1)
    write_bvh(tmp_path / "a.bvh", poses_of(camera, axes="camera", origin="camera"))
    found, _ = read_back(tmp_path / "a.bvh")
    np.testing.assert_allclose(world_of(found), world, atol=1e-3)


def test_rest_pose_is_a_t_pose_facing_z(tmp_path: Path) -> None:
    write_bvh(tmp_path / "a.bvh", poses_of(moving(5)))
    rest = bvhio.readAsBvh(str(tmp_path / "a.bvh")).Root
    place: dict[str, np.ndarray] = {}

    def walk(joint: bvhio.BvhJoint, at: np.ndarray) -> None:
        place[joint.Name] = at + np.array(list(joint.Offset))
        for child in joint.Children:
            walk(child, place[joint.Name])

    walk(rest, np.zeros(3))
    left, right = place["left_wrist"], place["right_wrist"]
    assert left[0] > 60  # centimetres
    np.testing.assert_allclose(left * (-1, 1, 1), right, atol=3)
    np.testing.assert_allclose(left[1:], place["thorax"][1:], atol=1e-3)
    assert place["nose"][2] > 5
    assert place["left_ankle"][1] < -80
    assert place["head_top"][1] > place["thorax"][1] > 40
    assert (tmp_path / "a.bvh").read_text().count("End Site") == 5  # head, hands, feet


def test_upright_person_needs_small_turns(tmp_path: Path) -> None:
    write_bvh(tmp_path / "a.bvh", poses_of(np.repeat(REST[None], 2, axis=0)))
    numbers = (tmp_path / "a.bvh").read_text().splitlines()[-1].split()
    root = np.array(numbers[:6], float)
    np.testing.assert_allclose(root[:3], [0, 95, 0], atol=1e-3)
    assert np.abs(root[3:]).max() < 3  # faces +Z, stands upright


@pytest.mark.parametrize("name", ["moving", "somersault", "spin", "upside down"])
def test_curves_have_no_jumps(tmp_path: Path, name: str) -> None:
    write_bvh(tmp_path / "a.bvh", poses_of(MOTIONS[name]))
    rows = np.loadtxt((tmp_path / "a.bvh").read_text().split("Frame Time:")[1].splitlines()[1:])
    assert np.abs(np.diff(rows[:, 3:], axis=0)).max() < 60


def test_gaps_are_held(tmp_path: Path) -> None:
    xyz = moving(10)
    gappy = xyz.copy()
    gappy[:2] = gappy[5:7] = np.nan
    wrist = H36M.index("left_wrist")
    gappy[8, wrist] = np.nan
    write_bvh(tmp_path / "a.bvh", poses_of(gappy))
    found = world_of(read_back(tmp_path / "a.bvh")[0])
    for frame, source in ((0, 2), (1, 2), (5, 4), (6, 4), (7, 7)):
        np.testing.assert_allclose(found[frame], xyz[source], atol=1e-3)
    elbow = H36M.index("left_elbow")
    held = xyz[8, elbow] + xyz[7, wrist] - xyz[7, elbow]
    np.testing.assert_allclose(found[8, wrist], held, atol=1e-3)
    others = [joint for joint in range(17) if joint != wrist]
    np.testing.assert_allclose(found[8, others], xyz[8, others], atol=1e-3)


def test_irregular_times_are_resampled(tmp_path: Path) -> None:
    time_s = np.array([5.0, 5.1, 5.2, 5.5, 5.6])
    xyz = REST + time_s[:, None, None] * [1.0, 0, 0]
    write_bvh(tmp_path / "a.bvh", poses_of(xyz, time_s=time_s))
    found, step_s = read_back(tmp_path / "a.bvh")
    assert step_s == pytest.approx(0.1)
    expected = REST + (5 + 0.1 * np.arange(7))[:, None, None] * [1.0, 0, 0]
    np.testing.assert_allclose(world_of(found), expected, atol=1e-3)


def test_single_frame(tmp_path: Path) -> None:
    write_bvh(tmp_path / "a.bvh", poses_of(REST[None]))
    found, _ = read_back(tmp_path / "a.bvh")
    np.testing.assert_allclose(world_of(found), REST[None], atol=1e-3)


def test_people_get_files_of_their_own(tmp_path: Path) -> None:
    people = [poses_of(moving(3)), poses_of(moving(3) + 1.0, person=4)]
    paths = write_bvh_people(tmp_path / "motion.bvh", people)
    assert [path.name for path in paths] == ["motion.bvh", "motion_person2.bvh"]
    found, _ = read_back(paths[1])
    np.testing.assert_allclose(world_of(found), people[1].xyz_m, atol=1e-3)


@pytest.mark.parametrize("name", ["h36m16", "smpl24", "mpi_inf_3dhp28", "humaneva15", "mpii16"])
def test_other_skeletons(tmp_path: Path, name: str) -> None:
    joints = skeleton(name)
    rng = np.random.default_rng(3)
    xyz = rng.normal(0, 0.3, (1, len(joints), 3)).cumsum(axis=0) + np.zeros((4, 1, 1))
    rotation = Rotation.from_rotvec(np.outer(np.arange(4), (0.3, 0.2, 0.1))).as_matrix()
    poses = Poses3D(xyz @ rotation, np.arange(4) / 30, joints, "world", "world")
    write_bvh(tmp_path / "a.bvh", poses)
    found, _ = read_back(tmp_path / "a.bvh", joints)
    np.testing.assert_allclose(world_of(found), poses.xyz_m, atol=1e-3)


def test_degenerate_bodies_do_not_crash(tmp_path: Path) -> None:
    xyz = np.zeros((3, 17, 3))  # all joints at one place
    write_bvh(tmp_path / "a.bvh", poses_of(xyz))
    found, _ = read_back(tmp_path / "a.bvh")
    assert np.abs(found).max() < 1e-3
    line = moving(6)
    line[2:4, H36M.index("left_hip")] = line[2:4, H36M.index("right_hip")]  # no hip line
    write_bvh(tmp_path / "b.bvh", poses_of(line))
    found, _ = read_back(tmp_path / "b.bvh")
    expected = with_median_bones(line)
    others = [n for n, joint in enumerate(H36M.joints) if not joint.startswith("left_")]
    np.testing.assert_allclose(world_of(found)[:, others], expected[:, others], atol=1e-3)


def test_refusals(tmp_path: Path) -> None:
    path = tmp_path / "a.bvh"
    coco = skeleton("coco17")
    flat = Poses2D(np.zeros((2, 17, 2)), np.ones((2, 17)), [0, 1], (10, 10), coco)
    with pytest.raises(InputError, match="3D poses"):
        write_bvh_people(path, [flat])
    with pytest.raises(InputError, match="3D poses"):
        write_bvh_people(path, [])
    with pytest.raises(InputError, match=r"pelvis.*coco17.*h36m17"):
        write_bvh(path, Poses3D(np.zeros((2, 17, 3)), [0, 1], coco))
    xyz = moving(3)
    xyz[:, H36M.index("nose")] = np.nan
    with pytest.raises(InputError, match="nose, head_top"):
        write_bvh(path, poses_of(xyz))
    assert list(tmp_path.iterdir()) == []
    path.mkdir()
    with pytest.raises(OutputError):
        write_bvh(path, poses_of(moving(3)))


def test_angles_go_on_through_gimbal_lock() -> None:
    middle = np.linspace(0, 4 * np.pi, 200)
    steady = np.stack([np.full(200, 0.3), middle, np.full(200, -0.2)], axis=1)
    turns = Rotation.from_euler("YZX", steady).as_matrix()
    np.testing.assert_allclose(continuous_angles(turns[:, None], ["YZX"])[:, 0], steady, atol=1e-9)
    locked = Rotation.from_euler("YZX", np.tile([0.3, np.pi / 2, -0.2], (50, 1))).as_matrix()
    locked += np.random.default_rng(0).normal(0, 1e-12, locked.shape)
    assert np.ptp(continuous_angles(locked[:, None], ["YZX"]), axis=0).max() < 1e-6


@pytest.mark.parametrize("order", ["XYZ", "YZX", "ZXY", "ZYX", "XZY", "YXZ"])
def test_angles_agree_with_scipy(order: str) -> None:
    rng = np.random.default_rng(0)
    turns = np.concatenate([Rotation.random(200, rng=rng).as_matrix(), [np.eye(3)]])
    for degrees in ((10, 90, 20), (-30, -90, 50), (0, 90, 0)):  # gimbal lock
        locked = Rotation.from_euler(order, degrees, degrees=True).as_matrix()
        turns = np.concatenate([turns, locked[None]])
    angles = continuous_angles(turns[:, None], [order])[:, 0]
    np.testing.assert_allclose(Rotation.from_euler(order, angles).as_matrix(), turns, atol=1e-9)
