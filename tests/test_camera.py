"""The camera agrees with OpenCV, and every way through it leads back."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from poselift.camera import Camera
from poselift.errors import InputError, ShapeError

SIZE = (1280, 720)
K = np.array([[900.0, 0, 650], [0, 880, 350], [0, 0, 1]])
# k1, k2, p1, p2, k3 of lenses as calibrations report them: none, a webcam, a pincushion lens, an
# action camera in its linear mode, a skewed sensor.
LENSES = [
    (),
    (0.08, -0.18, 0.001, -0.0005, 0.07),
    (0.25, 0.1, 0.0, 0.0, 0.0),
    (-0.28, 0.09, 0.0003, 0.0002, -0.012),
    (0.0, 0.0, 0.01, -0.008, 0.0),
]
lenses = st.sampled_from(LENSES)
seeds = st.integers(0, 2**32 - 1)


def camera(seed: int = 0, distortion: tuple[float, ...] = ()) -> Camera:
    rng = np.random.default_rng(seed)
    return Camera(
        K + np.diag([*rng.uniform(-300, 300, 2), 0]),
        SIZE,
        Rotation.random(rng=rng).as_matrix(),
        rng.normal(size=3),
        distortion,
    )


def in_front(seed: int, *shape: int, slope: float = 0.7) -> np.ndarray:
    """Points in camera axes, 0.5 to 30 m away, in a picture of 70 degrees."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.5, 30, (*shape, 1))
    return np.concatenate([rng.uniform(-slope, slope, (*shape, 2)) * z, z], axis=-1)


@given(seeds, lenses)
def test_projecting_is_what_opencv_does(seed, lens):
    cam = camera(seed, lens)
    world = cam.camera_to_world(in_front(seed, 30))
    turn, _ = cv2.Rodrigues(cam.R_world_to_camera)
    expected, _ = cv2.projectPoints(
        world, turn, cam.t_world_to_camera_m, cam.K, np.array(lens) if lens else None
    )
    np.testing.assert_allclose(cam.world_to_image(world), expected[:, 0], atol=1e-6)


@given(seeds, lenses)
def test_pixels_to_rays_and_back(seed, lens):
    cam, xyz = camera(seed, lens), in_front(seed, 3, 10)
    xy = cam.camera_to_image(xyz)
    rays = cam.image_to_rays(xy)
    np.testing.assert_allclose(rays, xyz[..., :2] / xyz[..., 2:], atol=1e-9)
    along = np.concatenate([rays, np.ones((3, 10, 1))], axis=-1)
    np.testing.assert_allclose(cam.camera_to_image(7.5 * along), xy, atol=1e-6)


@pytest.mark.parametrize("lens", LENSES[1:])
def test_opencv_brings_the_rays_back_to_their_pixels(lens):
    cam = camera(1, lens)
    xy = np.random.default_rng(0).uniform((200, 100), (1080, 620), (50, 2))
    along = np.concatenate([cam.image_to_rays(xy), np.ones((50, 1))], axis=-1)
    seen, _ = cv2.projectPoints(along, np.zeros(3), np.zeros(3), cam.K, np.array(lens))
    np.testing.assert_allclose(seen[:, 0], xy, atol=1e-6)


@given(seeds)
def test_world_to_camera_and_back(seed):
    cam, xyz = camera(seed), np.random.default_rng(seed).normal(size=(4, 5, 3))
    np.testing.assert_allclose(cam.camera_to_world(cam.world_to_camera(xyz)), xyz, atol=1e-12)
    one = cam.R_world_to_camera @ xyz[1, 2] + cam.t_world_to_camera_m
    np.testing.assert_allclose(cam.world_to_camera(xyz)[1, 2], one, atol=1e-12)


def test_projection_by_hand():
    cam = Camera(K, SIZE)
    assert cam.camera_to_image(np.array([1.0, -2, 4])).tolist() == [650 + 225, 350 - 440]
    assert cam.image_to_rays([650 + 225, 350 - 440]).tolist() == [0.25, -0.5]


def test_the_distortion_by_hand():
    cam = Camera(np.eye(3), (1, 1), distortion=(0.1, 0.01, 0.001, 0.002, 0.0001))
    x, y, r2 = 0.5, -0.25, 0.3125
    radial = 1 + 0.1 * r2 + 0.01 * r2**2 + 0.0001 * r2**3
    expected = [
        x * radial + 2 * 0.001 * x * y + 0.002 * (r2 + 2 * x * x),
        y * radial + 0.001 * (r2 + 2 * y * y) + 2 * 0.002 * x * y,
    ]
    np.testing.assert_allclose(cam.camera_to_image(np.array([x, y, 1.0])), expected)


def test_a_skewed_matrix():
    cam = Camera([[900, 30, 650], [0, 880, 350], [0, 0, 1]], SIZE)
    xy = cam.camera_to_image(np.array([1.0, 2, 4]))
    assert xy.tolist() == [650 + 225 + 15, 350 + 440]
    np.testing.assert_allclose(cam.image_to_rays(xy), [0.25, 0.5])


@pytest.mark.parametrize("lens", LENSES)
def test_behind_the_camera_there_is_no_picture(lens):
    xyz = np.array([[0.1, 0.2, -3], [0, 0, 0], [0.1, 0.2, 0], [0.1, 0.2, 3]])
    xy = camera(0, lens).camera_to_image(xyz)
    assert np.isnan(xy[:3]).all()
    assert np.isfinite(xy[3]).all()


@pytest.mark.parametrize("lens", LENSES)
def test_what_is_missing_stays_missing(lens):
    cam = camera(0, lens)
    xyz = in_front(0, 3)
    xyz[1] = np.nan
    xy = cam.world_to_image(cam.camera_to_world(xyz))
    assert np.isnan(xy).tolist() == [[False] * 2, [True] * 2, [False] * 2]
    assert np.isnan(cam.image_to_rays(xy)).tolist() == [[False] * 2, [True] * 2, [False] * 2]
    assert cam.image_to_rays(np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize("k1", [-0.2, -0.3, -0.4])
def test_rays_of_a_strong_lens_right_up_to_where_it_folds(k1):
    """r + k1 r^3 rises up to r = 1 / sqrt(-3 k1); what lies beyond is not in any picture."""
    cam = Camera(K, SIZE, distortion=(k1, 0.0, 0.0, 0.0, 0.0))
    fold = 1 / np.sqrt(-3 * k1)
    radius = np.linspace(0, 0.999 * fold, 50)
    heading = np.linspace(0, 20, 50)
    slopes = radius[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    xy = cam.camera_to_image(np.concatenate([slopes, np.ones((50, 1))], axis=-1))
    np.testing.assert_allclose(cam.image_to_rays(xy), slopes, atol=1e-6)


@pytest.mark.parametrize(
    "lens", [(-0.3, 0.0, 0.0, 0.0, 0.0), (-0.3, 0.02, 0.0, 0.0, 0.0), (-0.4, 0.05, 0.001, 0.001, 0)]
)
def test_a_pixel_that_the_lens_cannot_see_has_no_ray(lens):
    """Detectors report joints outside the picture; they must not come back as some far ray."""
    cam = Camera(K, SIZE, distortion=lens)
    rays = cam.image_to_rays(np.array([[650.0, 350], [650 + 900 * 3, 350], [-4000, 9000]]))
    np.testing.assert_allclose(rays[0], 0, atol=1e-12)
    assert np.isnan(rays[1:]).all()


def test_one_ray_without_a_place_does_not_harm_the_others():
    cam = Camera(K, SIZE, distortion=(-0.3, 0.0, 0.0, 0.0, 0.0))
    xy = np.array([[700.0, 400], [9000, 350]])
    np.testing.assert_array_equal(cam.image_to_rays(xy)[0], cam.image_to_rays(xy[0]))


@pytest.mark.parametrize("degrees", [20.0, 45.0, 90.0, 120.0])
def test_field_of_view(degrees):
    cam = Camera.from_field_of_view((1280, 720), degrees)
    left, right = cam.image_to_rays([[0, 360], [1280, 360]])
    np.testing.assert_allclose(np.rad2deg(np.arctan([-left[0], right[0]])), degrees / 2)
    np.testing.assert_allclose([left[1], right[1]], 0, atol=1e-12)
    assert cam.K[0, 0] == cam.K[1, 1]
    assert cam.known
    assert cam.size_px == (1280, 720)


@pytest.mark.parametrize("degrees", [0, -30, 180, 200, np.nan, np.inf])
def test_a_field_of_view_that_cannot_be(degrees):
    with pytest.raises(InputError, match="field of view: expected"):
        Camera.from_field_of_view((1280, 720), degrees)


@pytest.mark.parametrize("size", [(1280, 720), (720, 1280)])
def test_a_guessed_camera_sees_45_degrees_along_the_longer_side(size):
    cam = Camera.guess(size)
    first, last = cam.image_to_rays([[0, 0], size])
    np.testing.assert_allclose(first, -last)
    assert np.rad2deg(2 * np.arctan(last.max())) == pytest.approx(45, abs=0.3)
    assert not cam.known
    assert cam.size_px == size


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("K", np.eye(4), r"camera K: expected \(3, 3\), found \(4, 4\)"),
        ("K", np.eye(3)[:2], r"camera K: expected \(3, 3\), found \(2, 3\)"),
        ("R_world_to_camera", np.zeros(3), r"camera R_world_to_camera: .*found \(3,\)"),
        ("t_world_to_camera_m", np.zeros((3, 1)), r"camera t_world_to_camera_m: .*found \(3, 1\)"),
        ("distortion", (0.1, 0.2), "camera distortion: expected 0 or 5 numbers, found 2"),
    ],
)
def test_wrong_shapes_are_named(field, value, expected):
    with pytest.raises(ShapeError, match=expected):
        Camera(**{"K": K, "size_px": SIZE, field: value})


@pytest.mark.parametrize(
    "matrix",
    [np.zeros((3, 3)), np.diag([900.0, 0, 1]), np.diag([-900.0, 900, 1]), np.full((3, 3), np.nan)],
    ids=["zero", "flat", "mirrored", "nan"],
)
def test_a_matrix_without_focal_lengths_is_refused(matrix):
    with pytest.raises(InputError, match="camera K: expected focal lengths above 0"):
        Camera(matrix, SIZE)


def test_arrays_are_copied_and_locked():
    matrix, turn, shift = K.copy(), np.eye(3), np.zeros(3)
    cam = Camera(matrix, SIZE, turn, shift)
    matrix[0, 0], turn[0, 0], shift[0] = -1, -1, -1
    assert cam.K[0, 0] == 900
    assert cam.R_world_to_camera[0, 0] == 1
    assert cam.t_world_to_camera_m[0] == 0
    for array in (cam.K, cam.R_world_to_camera, cam.t_world_to_camera_m):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(AttributeError):
        cam.K = matrix


def test_cameras_do_not_share_their_defaults():
    first, second = Camera(K, SIZE), Camera(K, SIZE)
    assert first.R_world_to_camera is not second.R_world_to_camera
