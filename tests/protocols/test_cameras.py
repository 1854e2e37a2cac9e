"""Cameras of the datasets: Human3.6M's lens and the place of every camera."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poselift.camera import Camera
from poselift.errors import UnknownNameError
from poselift.protocols.cameras import (
    H36MCamera,
    camera_names,
    h36m_cameras,
    humaneva_cameras,
    mirrored,
)

from .datasets import body_m, h36m_pixels, h36m_table, into_camera

SUBJECTS = ("S1", "S5", "S6", "S7", "S8", "S9", "S11")


def people_m() -> np.ndarray:
    """World joints over the whole capture area."""
    places = np.array([[x, y, 0] for x in (-1.5, 0, 1.5) for y in (-1.5, 0, 1.5)])
    return (body_m(1)[0] + places[:, None]).reshape(-1, 3)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_projection_is_that_of_the_formula(subject):
    table = h36m_table()
    for number, camera in enumerate(h36m_cameras(subject)):
        seen = into_camera(people_m(), table["subjects"][subject][number])
        np.testing.assert_allclose(camera.world_to_camera(people_m()), seen, atol=1e-6)
        expected = h36m_pixels(seen, table["cameras"][number])
        np.testing.assert_allclose(camera.camera_to_image(seen), expected, atol=1e-9)


def test_one_point_by_hand():
    # Camera 54138969 and the slopes (0.2, -0.1): r2 = 0.05.
    camera = h36m_cameras("S9")[0]
    k1, k2, k3 = -0.20709891617298126, 0.24777518212795258, -0.0030751503072679043
    p1, p2 = -0.0009756988729350269, -0.00142447161488235
    factor = 1 + k1 * 0.05 + k2 * 0.0025 + k3 * 0.000125 + p1 * 0.2 - p2 * 0.1
    x = 1145.0494384765625 * (0.2 * factor + p1 * 0.05) + 512.54150390625
    y = 1143.7811279296875 * (-0.1 * factor + p2 * 0.05) + 515.4514770507812
    found = camera.camera_to_image(np.array([0.4, -0.2, 2.0]))
    np.testing.assert_allclose(found, [x, y], atol=1e-9)
    assert 730 < x < 745  # undistorted it would be 741.55


def test_swapped_p_and_opencvs_lens_are_visibly_something_else():
    camera = h36m_cameras("S1")[0]
    seen = camera.world_to_camera(people_m())
    right = camera.camera_to_image(seen)
    k1, k2, p1, p2, k3 = camera.distortion
    others = {
        "swapped": H36MCamera(camera.K, camera.size_px, distortion=(k1, k2, p2, p1, k3)),
        "opencv": Camera(camera.K, camera.size_px, distortion=(k1, k2, p1, p2, k3)),
        "opencv, swapped": Camera(camera.K, camera.size_px, distortion=(k1, k2, p2, p1, k3)),
        "none": Camera(camera.K, camera.size_px),
    }
    off = {
        name: np.linalg.norm(other.camera_to_image(seen) - right, axis=-1).max()
        for name, other in others.items()
    }
    assert 0.05 < off["swapped"] < 1
    assert off["opencv"] > 0.02
    assert off["opencv, swapped"] > 0.02
    assert off["none"] > 1


@given(x=st.floats(-0.6, 0.6), y=st.floats(-0.6, 0.6), number=st.integers(0, 3))
def test_pixels_lead_back_to_the_rays(x, y, number):
    camera = h36m_cameras("S11")[number]
    rays = np.array([[x, y], [0.0, 0.0]])
    xy_px = camera.camera_to_image(np.c_[rays, np.ones(2)])
    np.testing.assert_allclose(camera.image_to_rays(xy_px), rays, atol=1e-9)


@pytest.mark.parametrize("make", [h36m_cameras, humaneva_cameras])
def test_cameras_stand_around_the_middle_and_look_at_it(make):
    middle = np.array([0, 0, 1.0])
    centres = []
    for camera in make("S1"):
        R = camera.R_world_to_camera
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(R) == pytest.approx(1)
        seen = camera.world_to_camera(middle)
        assert 3 < seen[2] < 7
        assert np.abs(seen[:2] / seen[2]).max() < 0.2
        up = camera.world_to_camera(middle + np.array([0, 0, 1])) - seen
        assert up[1] < -0.9  # y down: heads are above feet
        centres.append(camera.camera_to_world(np.zeros(3)))
    apart = np.linalg.norm(np.diff(centres, axis=0), axis=-1)
    assert apart.min() > 2


def test_names_and_sizes_are_in_the_order_of_the_files():
    assert camera_names("h36m") == ["54138969", "55011271", "58860488", "60457274"]
    sizes = [camera.size_px for camera in h36m_cameras("S9")]
    assert sizes == [(1000, 1002), (1000, 1000), (1000, 1000), (1000, 1002)]
    assert not any(camera.known for camera in humaneva_cameras("S2"))


@pytest.mark.parametrize("lens", ["h36m", "opencv", "none"])
def test_the_mirrored_camera_sees_the_mirrored_scene_mirrored(lens):
    camera: Camera = h36m_cameras("S9")[1]
    if lens != "h36m":
        distortion = camera.distortion if lens == "opencv" else ()
        camera = Camera(camera.K, camera.size_px, distortion=distortion)
    seen = h36m_cameras("S9")[1].world_to_camera(people_m())
    xy_px = camera.camera_to_image(seen)
    twin = mirrored(camera).camera_to_image(seen * [-1, 1, 1])
    np.testing.assert_allclose(twin, xy_px * [-1, 1] + [camera.size_px[0], 0], atol=1e-9)


def test_a_subject_without_calibration_is_named():
    with pytest.raises(UnknownNameError, match=r"'S2'.*S1, S11, S5"):
        h36m_cameras("S2")
