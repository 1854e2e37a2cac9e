"""Several cameras: calibration files, triangulation, how good it is, cameras put right."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from poselift.camera import Camera
from poselift.errors import FormatError, ShapeError
from poselift.protocols.multiview import (
    left_out_m,
    off_rays_m,
    read_qca,
    refined,
    resized,
    triangulate,
)

LENS = (-0.05, 0.14, 0.001, -0.0005, 0.0)
QCA = """<?xml version='1.0' encoding='ASCII'?>
<calibration type="regular"><results std-dev="0."/><cameras>
<camera active="1" serial="cam07">
<fov_video left="8" top="4" right="1007" bottom="1203"/>
<transform x="0" y="-4000" z="1000" r11="1" r12="0" r13="0" r21="0" r22="0" r23="1"
 r31="0" r32="-1" r33="0"/>
<intrinsic focalLengthU="64000" focalLengthV="65280" centerPointU="32512" centerPointV="38656"
 skew="0" radialDistortion1="-0.1" radialDistortion2="0.02" radialDistortion3="0.5"
 tangentalDistortion1="0.003" tangentalDistortion2="-0.004"/>
</camera></cameras></calibration>"""


def ring(count: int = 4) -> list[Camera]:
    """Cameras around the origin, 4 m away and 2 m high, that look at it from all sides."""
    K = np.array([[1600.0, 0, 540], [0, 1600, 960], [0, 0, 1]])
    cameras = []
    for angle in 2 * np.pi * np.arange(count) / count + 0.3:
        centre = np.array([4 * np.cos(angle), 4 * np.sin(angle), 2.0])
        z = np.array([0, 0, 1.0]) - centre
        z /= np.linalg.norm(z)
        x = np.cross(z, [0, 0, 1.0])
        x /= np.linalg.norm(x)
        R = np.stack([x, np.cross(z, x), z])
        cameras.append(Camera(K, (1080, 1920), R, -R @ centre, LENS))
    return cameras


def people_m(frames: int = 6) -> np.ndarray:
    """Twelve points within the size of a person, moving."""
    rng = np.random.default_rng(0)
    return rng.uniform([-0.5, -0.5, 0], [0.5, 0.5, 1.8], (frames, 12, 3))


def seen_px(cameras: list[Camera], xyz_m: np.ndarray) -> np.ndarray:
    return np.stack([camera.world_to_image(xyz_m) for camera in cameras])


def sure(xy_px: np.ndarray) -> np.ndarray:
    return np.ones(xy_px.shape[:3])


def test_a_calibration_file_by_hand(tmp_path):
    file = tmp_path / "Calib.qca.txt"
    file.write_text(QCA, encoding="ascii")
    ((name, camera),) = read_qca(file).items()
    assert (name, camera.size_px) == ("cam07", (1000, 1200))
    np.testing.assert_allclose(camera.K, [[1000, 0, 500], [0, 1020, 600], [0, 0, 1]])
    assert camera.distortion == (-0.1, 0.02, 0.003, -0.004, 0.5)
    # 4 m behind the origin along y, 1 m up: it looks along +y, x is to the right, z is up.
    np.testing.assert_allclose(camera.camera_to_world(np.zeros(3)), [0, -4, 1], atol=1e-12)
    seen = camera.world_to_camera(np.array([0.5, 1.0, 1.25]))
    np.testing.assert_allclose(seen, [0.5, -0.25, 5], atol=1e-12)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("</calibration>", ""),
        ('r23="1"', ""),
        ('skew="0"', 'skew="none"'),
        ("fov_video", "fov_marker"),
        ("<camera active", "<other active"),
    ],
)
def test_a_damaged_calibration_file_is_refused(tmp_path, before, after):
    text = QCA.replace(before, after)
    if "other" in after:
        text = text.replace("</camera>", "</other>")
    file = tmp_path / "Calib.qca.txt"
    file.write_text(text, encoding="ascii")
    with pytest.raises(FormatError, match=r"no \.qca\.txt"):
        read_qca(file)


def test_edges_of_pixels_scale_with_the_image():
    camera = ring()[0]
    small = resized(camera, (540, 480))
    xyz = people_m()
    expected = (camera.world_to_image(xyz) + 0.5) * [0.5, 0.25] - 0.5
    np.testing.assert_allclose(small.world_to_image(xyz), expected, atol=1e-9)
    assert small.size_px == (540, 480)


def test_rays_meet_where_the_points_are():
    cameras, xyz = ring(), people_m()
    xy = seen_px(cameras, xyz)
    np.testing.assert_allclose(triangulate(cameras, xy, sure(xy)), xyz, atol=1e-7)


def test_two_views_are_enough_and_one_is_not():
    cameras, xyz = ring(3), people_m()
    xy, confidence = seen_px(cameras, xyz), np.ones((3, *xyz.shape[:2]))
    xy[0, 0, 0] = np.nan
    confidence[1:, 0, 1] = 0
    found = triangulate(cameras, xy, confidence)
    np.testing.assert_allclose(found[0, 0], xyz[0, 0], atol=1e-7)
    assert np.isnan(found[0, 1]).all()
    assert np.isfinite(found).all(-1).sum() == xyz.shape[0] * xyz.shape[1] - 1


def test_a_view_that_errs_hardly_counts():
    cameras, xyz = ring(), people_m()
    xy = seen_px(cameras, xyz)
    xy[2] += [150.0, 0]  # 400 mm
    off_m = np.linalg.norm(triangulate(cameras, xy, sure(xy)) - xyz, axis=-1)
    assert np.median(off_m) < 0.01


def test_confidence_decides_between_two_opinions():
    # Two views from the same place say the same or not; the third settles the depth.
    cameras, xyz = [*ring(2), ring(2)[0]], people_m()
    xy = seen_px(cameras, xyz)
    xy[2] += [5.0, 0]
    trusted = sure(xy)
    trusted[2] = 0.01
    off_m = np.linalg.norm(triangulate(cameras, xy, trusted) - xyz, axis=-1)
    even_m = np.linalg.norm(triangulate(cameras, xy, sure(xy)) - xyz, axis=-1)
    assert np.median(off_m) < 0.1 * np.median(even_m)


def test_distance_beside_a_ray_is_in_metres():
    cameras, xyz = ring(), people_m()
    xy = seen_px(cameras, xyz)
    xy[1, 0, 0] = np.nan
    aside = xyz + 0.02 * cameras[0].R_world_to_camera[0]  # to the right, as the first view sees it
    off_m = off_rays_m(cameras, aside, xy)
    np.testing.assert_allclose(off_m[0], 0.02, rtol=1e-6)
    assert np.isnan(off_m[1, 0, 0])
    assert np.nanmax(off_m[1:]) < 0.0201
    assert np.nanmin(off_m[1]) < 0.015


def test_leaving_a_view_out_shows_what_is_wrong_with_it():
    cameras, xyz = ring(), people_m()
    xy = seen_px(cameras, xyz)
    assert left_out_m(cameras, xy, sure(xy)).max() < 1e-7
    xy[3] += [0, 8.0]  # 22 mm at 4.4 m
    off_m = np.median(left_out_m(cameras, xy, sure(xy)), axis=(1, 2))
    assert off_m[3] == pytest.approx(0.022, rel=0.1)


def test_cameras_that_were_moved_are_put_right():
    cameras, xyz = ring(), people_m(2)
    xy = seen_px(cameras, xyz)
    turn = Rotation.from_rotvec([0.01, -0.015, 0.01]).as_matrix()
    R, t = cameras[2].R_world_to_camera, cameras[2].t_world_to_camera_m
    bumped = replace(cameras[2], R_world_to_camera=turn @ R, t_world_to_camera_m=turn @ t)
    wrong = [*cameras[:2], bumped, cameras[3]]
    before = np.median(left_out_m(wrong, xy, sure(xy))[2])
    found = refined(wrong, xy, sure(xy))
    assert before > 0.03
    assert np.max(left_out_m(found, xy, sure(xy))) < 0.001
    assert all(np.array_equal(a.K, b.K) for a, b in zip(found, cameras, strict=True))
    spread = [np.std(points, axis=(0, 1)) for points in (triangulate(found, xy, sure(xy)), xyz)]
    np.testing.assert_allclose(*spread, rtol=0.01)


def test_arrays_of_another_number_of_views_are_refused():
    cameras, xy = ring(), seen_px(ring(), people_m())
    with pytest.raises(ShapeError, match="joints in 3 views"):
        triangulate(cameras[:3], xy, sure(xy))
    with pytest.raises(ShapeError, match="confidence"):
        refined(cameras, xy, np.ones((4, 6, 11)))
