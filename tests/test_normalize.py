"""Windows: what is exactly true of them, and that numpy and torch agree."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from poselift.camera import Camera
from poselift.normalize import SPREAD_TO_UNIT, Window, person_window

seeds = st.integers(0, 2**32 - 1)


def person(seed: int = 0, *lead: int, frames: int = 9, joints: int = 17) -> np.ndarray:
    """Joints of a moving person in camera axes, 3 to 6 m away, somewhere in the picture."""
    rng = np.random.default_rng(seed)
    place = np.array([rng.uniform(-1, 1), rng.uniform(-0.5, 0.5), rng.uniform(3, 6)])
    body = rng.normal(size=(*lead, 1, joints, 3)) * [0.25, 0.5, 0.2]
    motion = np.cumsum(rng.normal(size=(*lead, frames, 1, 3)) * 0.02, axis=-3)
    return place + body + motion + rng.normal(size=(*lead, frames, joints, 3)) * 0.05


def rays_of(xyz: np.ndarray) -> np.ndarray:
    return xyz[..., :2] / xyz[..., 2:]


def some_missing(rays: np.ndarray, seed: int = 0, share: float = 0.3) -> np.ndarray:
    rays = rays.copy()
    rays[np.random.default_rng(seed).uniform(size=rays.shape[:-1]) < share] = np.nan
    return rays


def spread(window: Window, seen: np.ndarray) -> np.ndarray:
    return np.sqrt((window.xy[seen] ** 2).sum(-1).mean())


@given(seeds)
def test_a_window_is_centred_and_of_one_size(seed):
    rays = some_missing(rays_of(person(seed)), seed)
    window = person_window(rays)
    seen = ~np.isnan(rays).any(-1)
    assert window.xy.shape == rays.shape
    assert spread(window, seen) == pytest.approx(SPREAD_TO_UNIT)
    # The mean of the slopes before the turn is on the axis; after it, nearly so.
    assert np.abs(window.xy[seen].mean(0)).max() < 0.1 * SPREAD_TO_UNIT


@given(seeds)
def test_the_mean_ray_is_turned_onto_the_axis(seed):
    rays = some_missing(rays_of(person(seed)), seed)
    turn = person_window(rays).R_camera_to_view
    centre = np.append(np.nanmean(rays, axis=(0, 1)), 1)
    np.testing.assert_allclose(turn @ centre, [0, 0, np.linalg.norm(centre)], atol=1e-12)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)
    # The smallest turn: by the angle between ray and axis, about a line across both.
    vector = Rotation.from_matrix(turn).as_rotvec()
    assert np.linalg.norm(vector) == pytest.approx(np.arctan(np.linalg.norm(centre[:2])))
    np.testing.assert_allclose([vector @ centre, vector[2]], 0, atol=1e-12)


@given(seeds)
def test_to_camera_and_to_view_undo_each_other(seed):
    window = person_window(rays_of(person(seed, 2, 3)))
    poses = np.random.default_rng(seed).normal(size=(2, 3, 4, 17, 3))
    np.testing.assert_allclose(window.to_camera(window.to_view(poses)), poses, atol=1e-12)
    np.testing.assert_allclose(window.to_view(window.to_camera(poses)), poses, atol=1e-12)
    one = window.R_camera_to_view[1, 2] @ poses[1, 2, 3, 4]
    np.testing.assert_allclose(window.to_view(poses)[1, 2, 3, 4], one, atol=1e-12)


@given(seeds)
def test_a_window_is_the_picture_of_the_turned_person(seed):
    """Ties `xy` to `R_camera_to_view`: the network's input and its frame are the same view."""
    xyz = person(seed)
    window = person_window(rays_of(xyz))
    turned = rays_of(window.to_view(xyz))
    scale = SPREAD_TO_UNIT / np.sqrt((turned**2).sum(-1).mean())
    np.testing.assert_allclose(window.xy, turned * scale, atol=1e-12)


@given(seeds, st.floats(0.2, 5))
def test_the_distance_scale_of_the_world_drops_out(seed, scale):
    """A person twice as large and twice as far away gives the same picture."""
    xyz = person(seed)
    np.testing.assert_allclose(
        person_window(rays_of(scale * xyz)).xy, person_window(rays_of(xyz)).xy, atol=1e-12
    )


@given(seeds, st.floats(300, 3000))
def test_the_focal_length_drops_out_where_it_is_known(seed, focal):
    xyz = person(seed)
    lens = (-0.1, 0.02, 0.001, -0.001, 0.0)
    camera = Camera(np.array([[focal, 0, 600], [0, focal * 1.1, 400], [0, 0, 1]]), (1200, 800))
    bent = Camera(camera.K, camera.size_px, distortion=lens)
    expected = person_window(rays_of(xyz)).xy
    for cam in (camera, bent):
        rays = cam.image_to_rays(cam.camera_to_image(xyz))
        np.testing.assert_allclose(person_window(rays).xy, expected, atol=1e-7)


@given(seeds, st.floats(-180, 180))
def test_rolling_the_camera_rolls_the_window_and_nothing_else(seed, degrees):
    xyz = person(seed)
    roll = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    window, rolled = person_window(rays_of(xyz)), person_window(rays_of(xyz @ roll.T))
    np.testing.assert_allclose(rolled.xy, window.xy @ roll[:2, :2].T, atol=1e-9)
    np.testing.assert_allclose(
        rolled.R_camera_to_view, roll @ window.R_camera_to_view @ roll.T, atol=1e-9
    )


@given(seeds)
def test_a_mirrored_picture_gives_a_mirrored_window(seed):
    rays = some_missing(rays_of(person(seed)), seed)
    np.testing.assert_allclose(
        person_window(rays * [-1, 1]).xy, person_window(rays).xy * [-1, 1], atol=1e-12
    )


@pytest.mark.parametrize("degrees", [5, 15, 25])
@pytest.mark.parametrize("axis", ["x", "y"])
def test_panning_and_tilting_the_camera_nearly_drops_out(degrees, axis):
    """Up to a roll, and up to the mean of slopes not being the slope of a mean ray."""
    for seed in range(5):
        xyz = person(seed)
        turn = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
        a, b = person_window(rays_of(xyz)).xy, person_window(rays_of(xyz @ turn.T)).xy
        u, _, vt = np.linalg.svd(b.reshape(-1, 2).T @ a.reshape(-1, 2))
        roll = u @ vt
        assert np.linalg.det(roll) > 0
        off = np.abs(a @ roll.T - b).max()
        assert off < 0.06 * SPREAD_TO_UNIT
        # Without the turn onto the axis the same pan moves the picture by several sizes.
        raw = np.abs(rays_of(xyz) - rays_of(xyz @ turn.T)).mean() / rays_of(xyz).std()
        assert off / SPREAD_TO_UNIT < 0.2 * raw


def test_a_narrow_scaling_of_the_slopes_nearly_drops_out():
    """A wrong guess of the focal length costs little where the person is far and central."""
    xyz = person(3) * [0.3, 0.3, 1] + [0, 0, 20]
    rays = rays_of(xyz)
    np.testing.assert_allclose(person_window(1.3 * rays).xy, person_window(rays).xy, atol=0.01)


def test_motion_across_the_picture_stays_visible():
    still = person(0, frames=1)
    moving = still + np.linspace(-1, 1, 9)[:, None, None] * [1.0, 0, 0]
    window = person_window(rays_of(moving))
    middle = window.xy.mean(axis=-2)
    assert (np.diff(middle[:, 0]) > 0.05).all()


@given(seeds)
def test_the_order_of_joints_and_frames_does_not_matter(seed):
    rays = some_missing(rays_of(person(seed)), seed)
    rng = np.random.default_rng(seed)
    frames, joints = rng.permutation(9), rng.permutation(17)
    mixed = person_window(rays[frames][:, joints])
    whole = person_window(rays)
    np.testing.assert_allclose(mixed.xy, whole.xy[frames][:, joints], atol=1e-12)
    np.testing.assert_allclose(mixed.R_camera_to_view, whole.R_camera_to_view, atol=1e-12)


@given(seeds)
def test_missing_joints_are_0_and_have_no_say(seed):
    rays = rays_of(person(seed))
    lost = np.random.default_rng(seed).uniform(size=17) < 0.5
    lost[0] = False
    gone = rays.copy()
    gone[:, lost] = np.nan
    window, alone = person_window(gone), person_window(rays[:, ~lost])
    assert (window.xy[:, lost] == 0).all()
    np.testing.assert_allclose(window.xy[:, ~lost], alone.xy, atol=1e-12)


def test_half_a_ray_is_no_ray():
    rays = rays_of(person())
    half = rays.copy()
    half[2, 3, 1] = np.nan
    both = rays.copy()
    both[2, 3] = np.nan
    np.testing.assert_array_equal(person_window(half).xy, person_window(both).xy)


def test_nobody_gives_zeros_and_no_turn():
    window = person_window(np.full((2, 9, 17, 2), np.nan))
    assert (window.xy == 0).all()
    np.testing.assert_array_equal(window.R_camera_to_view, np.broadcast_to(np.eye(3), (2, 3, 3)))


def test_a_single_joint_is_on_the_axis():
    rays = np.full((9, 17, 2), np.nan)
    rays[4, 5] = 0.4, -0.3
    window = person_window(rays)
    np.testing.assert_allclose(window.xy, 0, atol=1e-9)
    onto = window.R_camera_to_view @ [0.4, -0.3, 1]
    np.testing.assert_allclose(onto, [0, 0, np.sqrt(1.25)], atol=1e-12)


def test_a_ray_far_off_the_person_stays_finite():
    rays = rays_of(person())
    rays[0, 0] = -1e6, 1e6
    assert np.isfinite(person_window(rays).xy).all()


@given(seeds)
def test_windows_of_a_batch_do_not_know_each_other(seed):
    rays = some_missing(rays_of(person(seed, 2, 3)), seed)
    rays[1, 1] = np.nan
    batch = person_window(rays)
    for i, j in np.ndindex(2, 3):
        one = person_window(rays[i, j])
        np.testing.assert_allclose(batch.xy[i, j], one.xy, atol=1e-12)
        np.testing.assert_allclose(batch.R_camera_to_view[i, j], one.R_camera_to_view, atol=1e-12)


def test_the_input_is_left_alone():
    rays = some_missing(rays_of(person()))
    before = rays.copy()
    person_window(rays)
    np.testing.assert_array_equal(rays, before)


def test_single_precision_stays_single():
    rays = some_missing(rays_of(person())).astype(np.float32)
    window = person_window(rays)
    assert window.xy.dtype == window.R_camera_to_view.dtype == np.float32
    np.testing.assert_allclose(window.xy, person_window(rays.astype(float)).xy, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numpy_and_torch_agree(dtype):
    torch = pytest.importorskip("torch")
    rays = some_missing(rays_of(person(0, 4))).astype(dtype)
    rays[2] = np.nan
    poses = np.random.default_rng(1).normal(size=(4, 1, 17, 3)).astype(dtype)
    ours, theirs = person_window(rays), person_window(torch.as_tensor(rays))
    atol = 1e-5 if dtype == "float32" else 1e-12
    assert theirs.xy.dtype == getattr(torch, dtype)
    np.testing.assert_allclose(theirs.xy.numpy(), ours.xy, atol=atol)
    np.testing.assert_allclose(theirs.R_camera_to_view.numpy(), ours.R_camera_to_view, atol=atol)
    for way in ("to_camera", "to_view"):
        there = getattr(theirs, way)(torch.as_tensor(poses)).numpy()
        np.testing.assert_allclose(there, getattr(ours, way)(poses), atol=atol)
