import numpy as np
import pytest

from poselift.errors import InputError
from poselift.poses import Poses3D
from poselift.view.stage import stage

from .walker import H36M, camera, joints, person, two_people

TIME = np.arange(60) / 30


def test_people_stand_where_they_are_and_keep_their_gaps():
    people = two_people()
    shown = stage(people)
    assert shown.notes == ()
    assert shown.floor_m == 0.0
    for poses, xyz in zip(people, shown.xyz_m, strict=True):
        np.testing.assert_array_equal(xyz, poses.xyz_m)


def test_everybody_is_inside_the_ball_that_the_view_shows():
    shown = stage(two_people())
    for xyz in shown.xyz_m:
        away = np.linalg.norm(xyz - shown.centre_m[:, None], axis=-1)
        assert np.nanmax(away) < 1.25 * shown.radius_m


def test_a_long_walk_is_followed():
    xyz = joints(TIME, radius_m=0.0) + np.stack([4 * TIME, 0 * TIME, 0 * TIME], -1)[:, None]
    xyz[20:25] = np.nan
    shown = stage([person(xyz, TIME)])
    assert shown.radius_m < 2.5
    path = shown.centre_m[:, 0]
    assert np.isfinite(shown.centre_m).all()
    assert path[-1] - path[0] > 6.0
    np.testing.assert_array_less(-1e-9, np.diff(path))


def test_it_looks_from_the_camera_else_from_where_people_face():
    xyz = joints(np.zeros(1))  # at angle 0 of the circle this walker faces +y
    alone = Poses3D(xyz, [0.0], H36M, axes="world", origin="world")
    assert np.rad2deg(stage([alone]).azimuth_rad) == pytest.approx(90, abs=1)
    assert np.rad2deg(stage([person(xyz, [0.0])]).azimuth_rad) == pytest.approx(-90, abs=1)


def test_camera_axes_become_a_level_world():
    world = joints(TIME)
    view = camera()
    inside = Poses3D(view.world_to_camera(world), TIME, H36M, origin="camera", camera=view)
    np.testing.assert_allclose(stage([inside]).xyz_m[0], world, atol=1e-9)
    relative = view.world_to_camera(world)
    relative = relative - relative[:, :1]
    shown = stage([Poses3D(relative, TIME, H36M)])
    assert (shown.xyz_m[0][:, H36M.index("head_top"), 2] > 0.5).all()
    assert shown.floor_m == pytest.approx(-0.85, abs=0.1)
    assert len(shown.notes) == 3


def test_people_without_a_common_place_stand_side_by_side():
    relative = joints(TIME) - joints(TIME)[:, :1]
    shown = stage([Poses3D(relative, TIME, H36M, axes="world") for _ in range(2)])
    apart = shown.xyz_m[1][:, 0] - shown.xyz_m[0][:, 0]
    assert np.linalg.norm(apart, axis=-1).min() > 1.0


def test_the_nearest_frame_counts_if_it_is_near():
    shown = stage(two_people(rate_hz=10.0))
    assert shown.index_at(0.0) == 0
    assert shown.index_at(0.34) == 3
    assert shown.index_at(3.9) == 39
    assert shown.index_at(4.1) is None
    assert shown.index_at(-0.2) is None


def test_wrong_people_are_refused():
    one = person(joints(TIME), TIME)
    other = person(joints(TIME), TIME + 0.5)
    with pytest.raises(InputError, match="at least one person"):
        stage([])
    with pytest.raises(InputError, match="one time axis"):
        stage([one, other])
    with pytest.raises(InputError, match="in at least one frame"):
        stage([person(np.full((60, 17, 3), np.nan), TIME)])


def test_one_frame_is_enough():
    shown = stage([person(joints(np.zeros(1)), [2.0])])
    assert shown.index_at(2.0) == 0
    assert shown.centre_m.shape == (1, 3)
