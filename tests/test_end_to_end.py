"""The whole way: the rendered clip in, 3D out, held against its exact truth."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import poselift
from poselift import metrics
from poselift.poses import Poses3D
from poselift.skeleton import convert, skeleton

SAMPLE = Path(__file__).parent.parent / "examples" / "sample"
BODY, H36M, COCO = skeleton("body28"), skeleton("h36m17"), skeleton("coco17")

# Mean errors over the clip in millimetres, root-relative, in camera axes.
MAX_MPJPE_MM = 80
MAX_P_MPJPE_MM = 50
# Distances in the image, in heights of the person's box.
MAX_REPROJECTION = 0.03
MAX_2D_ERROR = 0.06


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray]:
    with np.load(SAMPLE / "sample_truth.npz", allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture(scope="session")
def people() -> list[Poses3D]:
    """Everybody in the clip; every frame is looked at, once for all tests."""
    return poselift.lift(SAMPLE / "sample.mp4", detector_options={"mode": "fast"})


@pytest.fixture(scope="session")
def one(people) -> Poses3D:
    return people[0]


def in_camera_axes(truth: dict[str, np.ndarray]) -> np.ndarray:
    """True joints (T, 17, 3) relative to the pelvis, metres."""
    xyz = truth["joints_xyz_m"]
    return (xyz - xyz[:, :1]) @ truth["R_world_to_camera"].T


def lifted_in_camera_axes(poses: Poses3D) -> np.ndarray:
    """Lifted joints (T, 17, 3) relative to the pelvis, metres."""
    xyz = poses.to(H36M).xyz_m
    return (xyz - xyz[:, :1]) @ poses.camera.R_world_to_camera.T


def box_height_px(truth: dict[str, np.ndarray]) -> np.ndarray:
    return truth["box_px"][:, 3] - truth["box_px"][:, 1]


def joint(poses: Poses3D, name: str) -> np.ndarray:
    return poses.xyz_m[:, poses.skeleton.index(name)]


def test_one_person_in_every_frame(people, one, truth):
    assert len(people) == 1
    assert one.seen.all()
    np.testing.assert_allclose(one.time_s, truth["time_s"], atol=1e-6)
    assert (one.axes, one.origin, one.skeleton) == ("world", "world", BODY)
    assert one.observed.size_px == tuple(truth["size_px"])


def test_joints_are_where_they_are(one, truth):
    assert list(truth["joint_names"]) == list(H36M.joints)
    seen = lifted_in_camera_axes(one)
    real = in_camera_axes(truth)
    mpjpe = 1e3 * metrics.mpjpe(seen, real).mean()
    p_mpjpe = 1e3 * metrics.p_mpjpe(seen, real).mean()
    print(f"MPJPE {mpjpe:.1f} mm, P-MPJPE {p_mpjpe:.1f} mm")
    assert mpjpe < MAX_MPJPE_MM
    assert p_mpjpe < MAX_P_MPJPE_MM
    swapped = seen[:, H36M.mirror]
    assert 1e3 * metrics.mpjpe(swapped, real).mean() > 1.5 * mpjpe  # the bounds can tell sides


def test_left_is_left(one, truth):
    """Each wrist and ankle is nearer to its own place than to that of the other side."""
    seen = lifted_in_camera_axes(one)
    real = in_camera_axes(truth)
    for name in ("left_wrist", "right_wrist", "left_ankle", "right_ankle"):
        own = H36M.index(name)
        other = H36M.mirror[own]
        apart = np.linalg.norm(real[:, own] - real[:, other], axis=-1) > 0.3
        assert apart.sum() > 20
        nearer = np.linalg.norm(seen[:, own] - real[:, own], axis=-1) < np.linalg.norm(
            seen[:, own] - real[:, other], axis=-1
        )
        assert nearer[apart].mean() > 0.9, name


def test_the_world_is_upright_with_feet_on_its_floor(one, truth):
    feet = [joint(one, f"{side}_ankle")[:, 2] for side in ("left", "right")]
    assert (joint(one, "head_top")[:, 2] > np.maximum(*feet) + 0.3).all()
    lowest = one.xyz_m[..., 2].min(axis=1)
    assert abs(np.median(lowest)) < 0.15
    real = truth["joints_xyz_m"]
    height = np.ptp(one.xyz_m[..., 2], axis=1).max() / np.ptp(real[..., 2], axis=1).max()
    assert 0.8 < height < 1.25


def test_the_way_through_the_room(one, truth):
    """She walks off: as far as she does, within the scale that one camera cannot tell."""
    real = np.linalg.norm(np.diff(truth["joints_xyz_m"][[0, -1], 0, :2], axis=0))
    seen = np.linalg.norm(np.diff(one.xyz_m[[0, -1], 0, :2], axis=0))
    assert 0.6 < seen / real < 1.6


def test_the_camera_sees_the_joints_where_the_detector_did(one, truth):
    seen = one.camera.world_to_image(one.to(H36M).xyz_m)
    observed = one.observed.to(H36M).xy_px
    off = np.linalg.norm(seen - observed, axis=-1) / box_height_px(truth)[:, None]
    print(f"reprojection: median {np.nanmedian(off):.4f} of the box")
    assert np.nanmedian(off) < MAX_REPROJECTION


def test_the_2d_is_where_the_body_is(one, truth):
    found = convert(one.observed.xy_px, one.observed.skeleton, COCO)
    off = np.linalg.norm(found - truth["coco17_xy_px"], axis=-1) / box_height_px(truth)[:, None]
    assert np.nanmean(off) < MAX_2D_ERROR


def test_bones_keep_their_length(one):
    for parent, child in BODY.edges:
        length = np.linalg.norm(one.xyz_m[:, child] - one.xyz_m[:, parent], axis=-1)
        assert length.std() < 1e-6
        twin = [BODY.mirror[parent], BODY.mirror[child]]
        other = np.linalg.norm(one.xyz_m[:, twin[1]] - one.xyz_m[:, twin[0]], axis=-1)
        assert length.mean() == pytest.approx(other.mean(), abs=1e-6)


def test_motion_is_smooth(one, truth):
    def jerk(xyz_m):
        return np.linalg.norm(np.diff(xyz_m, 3, axis=0), axis=-1).mean()

    assert jerk(one.xyz_m) < 2 * jerk(truth["joints_xyz_m"])


def test_npz_and_json_give_it_back(one, tmp_path):
    for name, exact in (("a.npz", True), ("a.json", False)):
        poselift.write(tmp_path / name, [one])
        (back,) = poselift.read(tmp_path / name)
        tolerance = {"atol": 0, "rtol": 0} if exact else {"atol": 1e-6}
        np.testing.assert_allclose(back.xyz_m, one.xyz_m, **tolerance)
        np.testing.assert_allclose(back.time_s, one.time_s, atol=1e-12)
        np.testing.assert_allclose(back.observed.xy_px, one.observed.xy_px, atol=1e-3)
        np.testing.assert_allclose(back.camera.K, one.camera.K)
        assert (back.axes, back.origin, back.skeleton) == (one.axes, one.origin, one.skeleton)
        assert back.history == one.history


def test_bvh_holds_the_same_motion(one, tmp_path):
    bvhio = pytest.importorskip("bvhio", reason="bvhio is in the group dev")
    (path,) = poselift.write(tmp_path / "motion.bvh", [one])
    motion = bvhio.readAsBvh(str(path))
    assert motion.FrameCount == len(one.time_s)
    assert pytest.approx(1 / 30, abs=1e-6) == motion.FrameTime
    places: dict[str, np.ndarray] = {}

    def walk(bone, rotation: np.ndarray, place: np.ndarray) -> None:
        turns = np.array([list(key.Rotation) for key in bone.Keyframes])  # w, x, y, z
        steps = np.array([list(key.Position) for key in bone.Keyframes])
        place = place + (rotation @ steps[..., None])[..., 0]
        places[bone.Name] = place / 100
        turned = rotation @ Rotation.from_quat(turns[:, [1, 2, 3, 0]]).as_matrix()
        for child in bone.Children:
            walk(child, turned, place)

    frames = len(one.time_s)
    walk(motion.Root, np.broadcast_to(np.eye(3), (frames, 3, 3)), np.zeros((frames, 3)))
    found = np.stack([places[name] for name in BODY.joints], axis=1)
    upright = one.xyz_m[..., [0, 2, 1]] * [1, 1, -1]  # y up
    assert 1e3 * np.abs(found - upright).max() < 1.0
