"""Place in space: bones, root and floor of people whose true place is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from poselift.camera import Camera
from poselift.errors import InputError
from poselift.geometry import unit
from poselift.place import constant_bones, in_camera, in_world, root_in_camera_m
from poselift.poses import Poses2D, Poses3D
from poselift.skeleton import skeleton

H36M = skeleton("h36m17")
SIZE = (1280, 720)
K = np.array([[950.0, 0, 630], [0, 940, 370], [0, 0, 1]])
PLAIN = Camera(K, SIZE)
BENT = Camera(K, SIZE, distortion=(-0.2, 0.05, 0.001, -0.0005, 0.0))
RATE_HZ = 30.0

# Standing, feet at z = 0, facing +y of a world with z up; metres.
STANDING = {
    "pelvis": (0, 0, 0.95),
    "right_hip": (0.13, 0, 0.95),
    "right_knee": (0.14, 0.02, 0.5),
    "right_ankle": (0.15, 0, 0.0),
    "left_hip": (-0.13, 0, 0.95),
    "left_knee": (-0.14, 0.02, 0.5),
    "left_ankle": (-0.15, 0, 0.0),
    "spine": (0, -0.01, 1.2),
    "thorax": (0, 0, 1.45),
    "nose": (0, 0.1, 1.6),
    "head_top": (0, 0.02, 1.75),
    "left_shoulder": (-0.18, 0, 1.42),
    "left_elbow": (-0.3, 0.03, 1.15),
    "left_wrist": (-0.33, 0.1, 0.9),
    "right_shoulder": (0.18, 0, 1.42),
    "right_elbow": (0.3, 0.03, 1.15),
    "right_wrist": (0.33, 0.1, 0.9),
}
BODY = np.array([STANDING[joint] for joint in H36M.joints])
STAGE = np.array([0, 0, 0.7])
WORLD_TO_LEVEL_CAMERA = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


def looking_down(degrees: float, height_m: float = 1.5, camera: Camera = PLAIN) -> Camera:
    """A camera `height_m` above the floor that looks along +y, tilted down."""
    tilt = Rotation.from_euler("x", degrees, degrees=True).as_matrix()
    turn = tilt @ WORLD_TO_LEVEL_CAMERA
    return replace(camera, R_world_to_camera=turn, t_world_to_camera_m=-turn @ [0, 0, height_m])


def standing_at(x: float, y: float, frames: int = 5) -> np.ndarray:
    return np.repeat(BODY[None] + np.array([x, y, 0]), frames, axis=0)


def walk(frames: int = 40, start: tuple[float, float] = (-0.8, 5.0)) -> np.ndarray:
    """World joints (T, 17, 3) of a person who crosses the picture and swings an arm and a leg."""
    time = np.arange(frames) / RATE_HZ
    body = np.repeat(BODY[None], frames, axis=0)
    body[:, H36M.index("left_wrist"), 1] += 0.2 * np.sin(6 * time)
    body[:, H36M.index("right_ankle"), 2] += 0.1 * (1 - np.cos(6 * time))
    steps = np.stack([0.9 * time, 0.5 * np.sin(2 * time), 0 * time], axis=-1)
    return body + steps[:, None] + [*start, 0.0]


def lifted(world: np.ndarray, camera: Camera, **changes: object) -> Poses3D:
    """A perfect lifter: root-relative joints in camera axes and the exact 2D joints."""
    xyz = camera.world_to_camera(world)
    time_s = np.arange(len(world)) / RATE_HZ
    flat = Poses2D(camera.camera_to_image(xyz), np.ones(xyz.shape[:2]), time_s, SIZE, H36M)
    lens = Camera(camera.K, SIZE, distortion=camera.distortion, known=camera.known)
    poses = Poses3D(xyz - xyz[:, :1], time_s, H36M, camera=lens, observed=flat)
    return replace(poses, **changes)


def lengths(xyz: np.ndarray) -> np.ndarray:
    return np.stack([np.linalg.norm(xyz[:, n] - xyz[:, p], axis=-1) for p, n in H36M.edges], -1)


def directions(xyz: np.ndarray) -> np.ndarray:
    return np.stack([unit(xyz[:, n] - xyz[:, p]) for p, n in H36M.edges], axis=1)


def without(poses: Poses3D, frames: object) -> Poses3D:
    """The person is absent from some frames."""
    xyz, xy = poses.xyz_m.copy(), poses.observed.xy_px.copy()  # ty: ignore
    xyz[frames] = xy[frames] = np.nan
    return replace(poses, xyz_m=xyz, observed=replace(poses.observed, xy_px=xy))  # ty: ignore


def noisy(poses: Poses3D, sigma: float = 0.02) -> Poses3D:
    noise = np.random.default_rng(0).normal(size=poses.xyz_m.shape) * sigma
    noise[:, 0] = 0
    return replace(poses, xyz_m=poses.xyz_m + noise)


# Bones


def test_bones_have_one_length_over_time_and_on_both_sides():
    poses = constant_bones(noisy(lifted(walk(), PLAIN)))
    length = lengths(poses.xyz_m)
    np.testing.assert_allclose(length, np.broadcast_to(length[0], length.shape), atol=1e-12)
    by_child = dict(zip([n for _, n in H36M.edges], length[0], strict=True))
    for child, value in by_child.items():
        assert value == pytest.approx(by_child[H36M.mirror[child]])
    assert "constant bone lengths" in poses.history[-1]


def test_the_length_is_the_median_of_both_sides():
    poses = noisy(lifted(walk(), PLAIN))
    length = dict(zip([n for _, n in H36M.edges], lengths(poses.xyz_m).T, strict=True))
    after = dict(
        zip([n for _, n in H36M.edges], lengths(constant_bones(poses).xyz_m)[0], strict=True)
    )
    knees = H36M.index("left_knee"), H36M.index("right_knee")
    assert after[knees[0]] == pytest.approx(np.mean([np.median(length[n]) for n in knees]))
    assert after[H36M.index("spine")] == pytest.approx(np.median(length[H36M.index("spine")]))


def test_bones_keep_their_directions_and_the_root_its_place():
    poses = noisy(lifted(walk(), PLAIN))
    moved = replace(poses, xyz_m=poses.xyz_m + np.array([0.3, 0.2, 4]))
    same = constant_bones(moved)
    np.testing.assert_allclose(directions(same.xyz_m), directions(moved.xyz_m), atol=1e-12)
    np.testing.assert_array_equal(same.xyz_m[:, 0], moved.xyz_m[:, 0])
    assert np.abs(same.xyz_m - moved.xyz_m).max() < 0.3


def test_constant_bones_stay_as_they_are():
    """Nothing to do for bones that are constant and equal on both sides."""
    world = np.repeat(BODY[None], 5, axis=0) + np.arange(5)[:, None, None]
    poses = lifted(world, PLAIN)
    np.testing.assert_allclose(constant_bones(poses).xyz_m, poses.xyz_m, atol=1e-12)


def test_absent_frames_stay_absent_and_have_no_say():
    poses = noisy(lifted(walk(), PLAIN))
    gone = constant_bones(without(poses, slice(10, 20)))
    assert np.isnan(gone.xyz_m[10:20]).all()
    assert np.isfinite(np.delete(gone.xyz_m, np.s_[10:20], axis=0)).all()


def test_bones_work_on_a_skeleton_whose_root_is_not_its_first_joint():
    body = skeleton("mpi_inf_3dhp28")
    xyz = np.random.default_rng(0).normal(size=(6, 28, 3))
    poses = constant_bones(Poses3D(xyz, np.arange(6.0), body))
    root = body.index("pelvis")
    np.testing.assert_array_equal(poses.xyz_m[:, root], xyz[:, root])
    for parent, child in body.edges:
        length = np.linalg.norm(poses.xyz_m[:, child] - poses.xyz_m[:, parent], axis=-1)
        np.testing.assert_allclose(length, length[0])


def test_bones_of_nobody_are_nobody():
    poses = without(lifted(walk(), PLAIN), slice(None))
    assert np.isnan(constant_bones(poses).xyz_m).all()


def test_a_joint_that_is_never_there_changes_no_other():
    poses = noisy(lifted(walk(), PLAIN))
    xyz = poses.xyz_m.copy()
    elbow, wrist = H36M.index("left_elbow"), H36M.index("left_wrist")
    xyz[:, elbow] = np.nan
    same = constant_bones(replace(poses, xyz_m=xyz)).xyz_m
    assert np.isnan(same[:, [elbow, wrist]]).all()
    assert np.isfinite(np.delete(same, [elbow, wrist], axis=1)).all()
    right = H36M.index("right_elbow"), H36M.index("right_shoulder")
    expected = np.median(np.linalg.norm(xyz[:, right[0]] - xyz[:, right[1]], axis=-1))
    length = np.linalg.norm(same[:, right[0]] - same[:, right[1]], axis=-1)
    np.testing.assert_allclose(length, expected)


# Root


@pytest.mark.parametrize("camera", [PLAIN, BENT], ids=["plain", "lens"])
@pytest.mark.parametrize("pitch", [0.0, 25.0])
def test_the_root_is_found_exactly(camera, pitch):
    camera = looking_down(pitch, 2.5, camera)
    poses = lifted(walk(), camera)
    truth = camera.world_to_camera(walk())[:, 0]
    np.testing.assert_allclose(root_in_camera_m(poses), truth, atol=1e-6)


def test_the_root_is_found_from_some_of_the_joints():
    camera = looking_down(10, camera=BENT)
    poses = lifted(walk(), camera)
    xy = poses.observed.xy_px.copy()
    confidence = np.random.default_rng(1).uniform(0.2, 1, xy.shape[:2])
    lost = np.random.default_rng(0).uniform(size=xy.shape[:2]) < 0.5
    xy[lost] = np.nan
    confidence[lost] = 0
    poses = replace(poses, observed=replace(poses.observed, xy_px=xy, confidence=confidence))
    assert ((~lost).sum(1) >= 3).all()
    truth = camera.world_to_camera(walk())[:, 0]
    np.testing.assert_allclose(root_in_camera_m(poses), truth, atol=1e-6)


def test_the_root_is_found_from_the_joints_of_another_skeleton():
    """Joints that the detector lacks do not count."""
    camera = looking_down(0)
    poses = lifted(walk(), camera)
    coco = poses.observed.to(skeleton("coco17"))
    assert not coco.seen.all()
    truth = camera.world_to_camera(walk())[:, 0]
    own = [H36M.index(j) for j in H36M.joints if j in skeleton("coco17")]
    found = root_in_camera_m(replace(poses, observed=coco))
    shoulders = (BODY[11] + BODY[14]) / 2
    assert len(own) == 13
    # Pelvis and spine follow the detector's rule, so the fit is near, not exact.
    assert np.linalg.norm(BODY[8] - shoulders) > 0.02
    np.testing.assert_allclose(found, truth, atol=0.15)


def test_confidence_weighs():
    camera = looking_down(0)
    poses = lifted(walk(), camera)
    truth = camera.world_to_camera(walk())[:, 0]
    xy = poses.observed.xy_px.copy()
    xy[:, H36M.index("left_wrist")] += 200
    errors = []
    for weight in (1.0, 0.1, 1e-3, 0.0):
        confidence = np.ones(xy.shape[:2])
        confidence[:, H36M.index("left_wrist")] = weight
        observed = replace(poses.observed, xy_px=xy, confidence=confidence)
        found = root_in_camera_m(replace(poses, observed=observed))
        errors.append(np.abs(found - truth).max())
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.05
    assert errors[-1] < 1e-6


def test_joints_that_the_lifter_is_unsure_of_weigh_less():
    camera = looking_down(0)
    poses = lifted(walk(), camera)
    truth = camera.world_to_camera(walk())[:, 0]
    wrist = H36M.index("left_wrist")
    wrong = poses.xyz_m.copy()
    wrong[:, wrist] += 0.5
    errors = []
    for sd_m in (0.01, 0.1, 1.0, np.nan):
        sd = np.full(wrong.shape[:2], 0.01)
        sd[:, wrist] = sd_m
        found = root_in_camera_m(replace(poses, xyz_m=wrong, uncertainty_m=sd))
        errors.append(np.abs(found - truth).max())
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.05
    assert errors[2] < 0.01 * errors[0]
    assert errors[-1] < 1e-6
    even = replace(poses, xyz_m=wrong, uncertainty_m=np.full(wrong.shape[:2], 0.3))
    plain = root_in_camera_m(replace(poses, xyz_m=wrong))
    np.testing.assert_allclose(root_in_camera_m(even), plain, atol=1e-4)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_joints_give_no_root(count):
    poses = lifted(walk(), looking_down(0))
    xy = poses.observed.xy_px.copy()
    xy[5, count:] = np.nan
    found = root_in_camera_m(replace(poses, observed=replace(poses.observed, xy_px=xy)))
    assert np.isnan(found).any(-1).tolist() == [n == 5 for n in range(40)]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_joints_of_no_confidence_do_not_count(count):
    poses = lifted(walk(), looking_down(0))
    confidence = np.ones((40, 17))
    confidence[5, count:] = 0
    observed = replace(poses.observed, confidence=confidence)
    found = root_in_camera_m(replace(poses, observed=observed))
    assert np.isnan(found).any(-1).tolist() == [n == 5 for n in range(40)]


def test_a_joint_without_a_ray_does_not_count():
    """A detector's joint far outside the picture, where the lens folds back."""
    camera = looking_down(0, camera=replace(PLAIN, distortion=(-0.3, 0.0, 0.0, 0.0, 0.0)))
    poses = lifted(walk(), camera)
    xy = poses.observed.xy_px.copy()
    xy[:, H36M.index("left_wrist")] = 9000, -5000
    found = root_in_camera_m(replace(poses, observed=replace(poses.observed, xy_px=xy)))
    np.testing.assert_allclose(found, camera.world_to_camera(walk())[:, 0], atol=1e-6)


def test_a_root_behind_the_camera_is_no_root():
    poses = lifted(walk(), looking_down(0))
    behind = replace(poses, xyz_m=-poses.xyz_m)  # only a place behind the camera would fit
    assert np.isnan(root_in_camera_m(behind)).all()


def test_the_camera_of_the_2d_joints_serves_where_the_pose_has_none():
    camera = looking_down(0, camera=BENT)
    poses = lifted(walk(), camera)
    observed = replace(poses.observed, camera=poses.camera)
    found = root_in_camera_m(replace(poses, camera=None, observed=observed))
    np.testing.assert_allclose(found, camera.world_to_camera(walk())[:, 0], atol=1e-6)
    placed = in_camera(replace(poses, camera=None, observed=observed), None)
    assert placed.camera is observed.camera


def test_without_any_camera_one_is_guessed():
    guess = Camera.guess(SIZE)
    poses = lifted(walk(), looking_down(0, camera=guess))
    placed = in_camera(replace(poses, camera=None), None)
    np.testing.assert_array_equal(placed.camera.K, guess.K)
    assert not placed.camera.known


def test_placing_needs_the_2d_joints():
    poses = replace(lifted(walk(), PLAIN), observed=None)
    with pytest.raises(InputError, match="placing the root: expected the 2D joints"):
        root_in_camera_m(poses)
    with pytest.raises(InputError, match="placing the root: expected the 2D joints"):
        in_camera(poses)


@pytest.mark.parametrize(
    "changes", [{"origin": "camera"}, {"axes": "world"}, {"axes": "world", "origin": "world"}]
)
def test_only_root_relative_poses_in_camera_axes_are_placed(changes):
    poses = lifted(walk(), looking_down(0), **changes)
    with pytest.raises(InputError, match="expected camera axes, origin root"):
        in_camera(poses)


# In camera axes


@pytest.mark.parametrize("camera", [PLAIN, BENT], ids=["plain", "lens"])
def test_unsmoothed_people_project_onto_their_2d_joints(camera):
    camera = looking_down(12, camera=camera)
    poses = lifted(walk(), camera)
    placed = in_camera(poses, None)
    assert (placed.axes, placed.origin) == ("camera", "camera")
    np.testing.assert_allclose(placed.xyz_m, camera.world_to_camera(walk()), atol=1e-6)
    np.testing.assert_allclose(
        placed.camera.camera_to_image(placed.xyz_m), poses.observed.xy_px, atol=1e-3
    )
    assert len(placed.history) == len(poses.history) + 1


def test_smoothing_stays_near_a_smooth_walk():
    camera = looking_down(0)
    placed = in_camera(lifted(walk(60), camera), 6.0)
    assert np.abs(placed.xyz_m - camera.world_to_camera(walk(60))).max() < 0.1
    pixels = placed.camera.camera_to_image(placed.xyz_m) - camera.world_to_image(walk(60))
    assert np.abs(pixels).max() < 5


def test_smoothing_calms_distance_more_than_place_in_the_image():
    camera = looking_down(0)
    poses = lifted(np.repeat(walk(1, (0.0, 5.0)), 200, axis=0), camera)
    noise = np.random.default_rng(0).normal(size=(200, 17, 2)) * 3
    observed = replace(poses.observed, xy_px=poses.observed.xy_px + noise)
    poses = replace(poses, observed=observed)
    raw, smooth = in_camera(poses, None).xyz_m[:, 0], in_camera(poses, 6.0).xyz_m[:, 0]
    less = np.std(smooth, axis=0) / np.std(raw, axis=0)
    assert less[2] < 0.45  # white noise below 1 of 15 Hz, and more near the ends
    assert 0.45 < less[0] < 0.8


def test_absent_frames_stay_absent_in_camera():
    camera = looking_down(0)
    placed = in_camera(without(lifted(walk(), camera), slice(10, 20)), None)
    truth = camera.world_to_camera(walk())
    assert np.isnan(placed.xyz_m[10:20]).all()
    np.testing.assert_allclose(placed.xyz_m[:10], truth[:10], atol=1e-6)
    np.testing.assert_allclose(placed.xyz_m[20:], truth[20:], atol=1e-6)


def test_frames_with_too_few_2d_joints_are_bridged():
    camera = looking_down(0)
    world = np.repeat(walk(1), 30, axis=0)
    poses = lifted(world, camera)
    xy = poses.observed.xy_px.copy()
    xy[:3, 2:] = xy[12:15, 2:] = xy[-2:, 2:] = np.nan
    poses = replace(poses, observed=replace(poses.observed, xy_px=xy))
    for cutoff_hz in (None, 6.0):
        placed = in_camera(poses, cutoff_hz)
        np.testing.assert_allclose(placed.xyz_m, camera.world_to_camera(world), atol=1e-5)


def test_a_single_image():
    camera = looking_down(0)
    placed = in_camera(lifted(walk(1), camera))
    np.testing.assert_allclose(placed.xyz_m, camera.world_to_camera(walk(1)), atol=1e-6)


def test_nobody_to_place():
    poses = lifted(walk(), looking_down(0))
    xy = np.full_like(poses.observed.xy_px, np.nan)
    nobody = replace(poses, observed=replace(poses.observed, xy_px=xy))
    with pytest.raises(InputError, match="expected a frame with 3 or more seen joints"):
        in_camera(nobody)


# In the world


def placed(world: np.ndarray, camera: Camera) -> Poses3D:
    return in_camera(lifted(world, camera), None)


@pytest.mark.parametrize("pitch", [0.0, 20.0, -15.0, 60.0])
def test_a_camera_that_looks_down_and_is_told_so_gives_an_upright_person(pitch):
    world = standing_at(0.4, 6.0)
    [poses] = in_world([placed(world, looking_down(pitch, 3.0))], pitch)
    assert (poses.axes, poses.origin) == ("world", "world")
    # The true world, but for the origin, which is below the first root.
    np.testing.assert_allclose(poses.xyz_m, world - [0.4, 6.0, 0], atol=1e-5)


def test_a_wrong_pitch_leans_the_person_by_as_much():
    world = standing_at(0.0, 6.0)
    [poses] = in_world([placed(world, looking_down(20, 3.0))], 0.0)
    trunk = unit(poses.xyz_m[0, 8] - poses.xyz_m[0, 0])
    assert np.rad2deg(np.arccos(trunk[2])) == pytest.approx(20, abs=0.1)


def test_the_world_is_right_handed_with_z_up():
    [poses] = in_world([placed(walk(), looking_down(0))])
    xyz = poses.xyz_m
    up = xyz[:, 8] - xyz[:, 0]
    assert (up[:, 2] > 0.4).all()
    left = xyz[:, 4] - xyz[:, 1]
    forward = np.array([0.0, 1, 0])  # away from the camera, as the person faces
    assert (np.cross(left, forward) @ [0, 0, 1] < 0).all()
    assert np.linalg.det(poses.camera.R_world_to_camera) == pytest.approx(1)


def test_the_floor_is_at_0_and_the_origin_below_the_first_root():
    [poses] = in_world([placed(walk(), looking_down(8, 1.8))], 8)
    lowest = poses.xyz_m[..., 2].min(1)
    np.testing.assert_allclose(lowest, 0, atol=1e-5)
    np.testing.assert_allclose(poses.xyz_m[0, 0, :2], 0, atol=1e-9)


def test_a_few_bad_frames_do_not_sink_the_floor():
    poses = placed(walk(100), looking_down(0))
    xyz = poses.xyz_m.copy()
    xyz[40, H36M.index("left_ankle"), 1] += 1.0  # one foot a metre into the ground
    [moved] = in_world([replace(poses, xyz_m=xyz)])
    lowest = np.delete(moved.xyz_m[..., 2].min(1), 40)
    np.testing.assert_allclose(lowest, 0, atol=0.01)


@pytest.mark.parametrize("camera", [PLAIN, BENT], ids=["plain", "lens"])
@pytest.mark.parametrize("pitch", [0.0, 20.0])
def test_the_camera_in_the_world_sees_what_was_seen(camera, pitch):
    [poses] = in_world([placed(walk(), looking_down(pitch, 2.0, camera))], pitch)
    seen = poses.camera.world_to_image(poses.xyz_m)
    np.testing.assert_allclose(seen, poses.observed.xy_px, atol=1e-3)
    assert poses.camera.distortion == camera.distortion
    assert poses.camera.known


def test_the_camera_stands_where_it_stood():
    world = standing_at(0.4, 6.0)
    [poses] = in_world([placed(world, looking_down(20, 3.0))], 20)
    centre = poses.camera.camera_to_world(np.zeros(3))
    np.testing.assert_allclose(centre, [-0.4, -6, 3], atol=1e-4)


def test_people_share_one_floor_and_one_camera():
    camera = looking_down(10, 2.0)
    low, high = walk(), walk(start=(0.3, 6.5)) + STAGE  # the second stands on a stage
    people = in_world([placed(low, camera), placed(high, camera)], 10)
    shift = people[0].xyz_m[0, 0] - low[0, 0]
    np.testing.assert_allclose(people[0].xyz_m, low + shift, atol=1e-4)
    np.testing.assert_allclose(people[1].xyz_m, high + shift, atol=1e-4)
    assert people[0].xyz_m[..., 2].min() == pytest.approx(0, abs=1e-4)
    assert people[1].xyz_m[..., 2].min() == pytest.approx(0.7, abs=1e-4)
    first, second = (p.camera for p in people)
    np.testing.assert_array_equal(first.R_world_to_camera, second.R_world_to_camera)
    np.testing.assert_array_equal(first.t_world_to_camera_m, second.t_world_to_camera_m)


def test_the_lower_person_sets_the_floor_whoever_is_first():
    camera = looking_down(0)
    people = in_world([placed(walk() + STAGE, camera), placed(walk(), camera)])
    assert people[1].xyz_m[..., 2].min() == pytest.approx(0, abs=1e-4)
    assert people[0].xyz_m[..., 2].min() == pytest.approx(0.7, abs=1e-4)


def test_absent_frames_stay_absent_in_the_world():
    camera = looking_down(0)
    poses = in_camera(without(lifted(walk(), camera), np.s_[[0, 1, 20]]), None)
    [moved] = in_world([poses])
    assert np.flatnonzero(np.isnan(moved.xyz_m).all((1, 2))).tolist() == [0, 1, 20]
    assert np.isnan(moved.xyz_m).any((1, 2)).sum() == 3
    np.testing.assert_allclose(moved.xyz_m[2, 0, :2], 0, atol=1e-9)


def test_somebody_who_is_never_there_harms_nobody():
    camera = looking_down(0)
    here = placed(walk(), camera)
    gone = replace(here, xyz_m=np.full_like(here.xyz_m, np.nan))
    alone = in_world([here])[0]
    for people in ([gone, here], [here, gone]):
        moved = in_world(people)
        np.testing.assert_array_equal(moved[people.index(here)].xyz_m, alone.xyz_m)
        assert np.isnan(moved[people.index(gone)].xyz_m).all()
    with pytest.raises(InputError, match="expected a frame with a pose"):
        in_world([gone])


def test_nobody_in_the_world():
    assert in_world([]) == []


@pytest.mark.parametrize("changes", [{"origin": "root"}, {"axes": "world", "origin": "world"}])
def test_only_people_placed_in_camera_axes_come_to_the_world(changes):
    poses = replace(placed(walk(), looking_down(0)), **changes)
    with pytest.raises(InputError, match="expected camera axes, origin camera"):
        in_world([poses])


def test_the_history_says_what_was_assumed():
    [poses] = in_world([placed(walk(), looking_down(12.5))], 12.5)
    assert "12.5 degrees" in poses.history[-1]
    assert "floor" in poses.history[-1]
