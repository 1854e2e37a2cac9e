import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from poselift.train.synth import (
    CameraConfig,
    choice,
    quaternion_to_matrix,
    random_view,
    rotation_vector_to_matrix,
    wander,
)


def views(count: int = 400, **changes):
    g = torch.Generator().manual_seed(3)
    joints = torch.randn(count, 9, 17, 3, generator=g) * torch.tensor([0.3, 0.3, 0.5])
    joints = joints + torch.tensor([5.0, -3.0, 1.0])
    dt = torch.full((count,), 1 / 30)
    return joints, random_view(joints, dt, CameraConfig(**changes), g)


def test_rotations_equal_scipy():
    vectors = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 2
    expected = torch.tensor(Rotation.from_rotvec(vectors.numpy()).as_matrix()).float()
    assert torch.allclose(rotation_vector_to_matrix(vectors), expected, atol=1e-5)
    quaternion = torch.tensor(Rotation.from_rotvec(vectors.numpy()).as_quat()[:, [3, 0, 1, 2]])
    assert torch.allclose(quaternion_to_matrix(quaternion.float()), expected, atol=1e-5)
    assert torch.equal(rotation_vector_to_matrix(torch.zeros(1, 3))[0], torch.eye(3))


def test_everybody_is_in_front_of_a_rigid_camera():
    joints, view = views()
    camera = view.to_camera(joints)
    assert (camera[..., 2] > 0).float().mean() > 0.99
    distances = torch.cdist(joints[:, 0], joints[:, 0])
    assert torch.allclose(torch.cdist(camera[:, 0], camera[:, 0]), distances, atol=1e-3)


def test_level_cameras_show_up_as_up():
    _, view = views(pitch_deg=(0.0, 0.0), roll_deg=0.0, tumble=0.0, handheld=0.0, travelling=0.0)
    up = view.R_world_to_camera[:, 0] @ torch.tensor([0.0, 0.0, 1.0])
    assert torch.allclose(up, torch.tensor([0.0, -1.0, 0.0]).expand_as(up), atol=1e-5)


def test_tumbling_cameras_roll_by_any_angle():
    _, view = views(pitch_deg=(0.0, 0.0), roll_deg=0.0, tumble=1.0, handheld=0.0, travelling=0.0)
    up = view.R_world_to_camera[:, 0] @ torch.tensor([0.0, 0.0, 1.0])
    assert up[:, :2].mean(0).abs().max() < 0.15
    assert (up[:, 1] > 0).float().mean() == pytest.approx(0.5, abs=0.1)


def test_positive_pitch_looks_down():
    _, view = views(pitch_deg=(30.0, 0.0), roll_deg=0.0, tumble=0.0, handheld=0.0, travelling=0.0)
    forward_in_world = view.R_world_to_camera[:, 0, 2]
    assert forward_in_world[:, 2] == pytest.approx(-0.5, abs=1e-4)


def test_projection_is_similar_triangles():
    joints, view = views()
    camera = view.to_camera(joints)
    xy = view.to_image(camera)
    rays = view.to_rays(xy) * view.guessed_focal[:, None, None, None]
    seen = camera[..., 2] > 0.2
    expected = camera[..., :2] / camera[..., 2:] * view.focal[:, None, None, None]
    assert torch.allclose(rays[seen], expected[seen], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "turns"), [({}, False), ({"handheld": 1.0}, True), ({"travelling": 1.0}, True)]
)
def test_only_moving_cameras_move(kind, turns):
    _, view = views(**({"handheld": 0.0, "travelling": 0.0} | kind))
    for array in (view.R_world_to_camera, view.t_world_to_camera_m):
        assert torch.allclose(array[:, 0], array[:, -1], atol=1e-5) is not turns


def test_nobody_comes_nearer_than_half_a_metre():
    joints, view = views(height_in_image=(2.0, 4.0))
    assert view.to_camera(joints)[..., 2].min() >= 0.5 - 1e-4


def test_wandering_noise_has_unit_spread_and_forgets_in_the_time_asked_for():
    g = torch.Generator().manual_seed(0)
    dt = torch.full((4000,), 0.1)
    noise = wander((4000, 9, 1), dt, 0.5, g)[..., 0]
    assert noise.std(0) == pytest.approx(torch.ones(9), abs=0.05)
    together = (noise[:, :-3] * noise[:, 3:]).mean()
    assert together == pytest.approx(np.exp(-0.3 / 0.5), abs=0.05)


def test_choices_follow_their_weights():
    drawn = choice((1.0, 0.0, 3.0), 4000, torch.Generator().manual_seed(0))
    share = torch.bincount(drawn, minlength=3) / 4000
    assert share.tolist() == pytest.approx([0.25, 0, 0.75], abs=0.03)
