import sys
import threading
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poselift.errors import InputError, MissingExtraError, OutputError
from poselift.io.frames import Frame
from poselift.view.page import MAX_POSES, quiet_server, sample, thumbnails, write_page
from poselift.view.scene import _limb_poses, _quaternion, scene
from poselift.view.style import body

from .walker import H36M, camera, joints, person, two_people

pytest.importorskip("viser")


def film(times):
    for index, time_s in enumerate(times):
        yield Frame(np.full((90, 160, 3), index % 256, np.uint8), time_s, index)


def test_the_page_is_one_quiet_small_file(tmp_path, capfd):
    people = two_people(seconds=2.0)
    path = tmp_path / "page.html"
    before = set(threading.enumerate())
    notes = write_page(path, people, title="Walk & talk")
    assert set(threading.enumerate()) <= before
    assert capfd.readouterr() == ("", "")
    assert notes == ()
    assert list(tmp_path.iterdir()) == [path]
    text = path.read_text(encoding="utf-8")
    assert len(text) < 1_000_000
    assert "<title>Walk &amp; talk</title>" in text
    for said in ("2 people, 2.0 s", "left", "right", "metres, z up", "origin:", "person 2"):
        assert said in text
    legend = text[text.index('<div id="poselift-legend"') :]
    assert legend.rstrip().endswith("</html>")


def test_a_long_motion_is_thinned_then_cut_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("poselift.view.page.MAX_POSES", 40)
    people = [two_people(seconds=6.0)[0]]
    notes = write_page(tmp_path / "page.html", people)
    assert notes == (
        "long motion: 10 poses per second are shown",
        "only the first 4 s of 6 s are on this page",
    )
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert all(note in text for note in notes)


@given(
    rate_hz=st.sampled_from([5.0, 23.976, 29.97, 30.0, 59.94, 120.0]),
    seconds=st.floats(0.05, 900),
    people=st.integers(1, 30),
)
@settings(max_examples=40, deadline=None)
def test_sampled_frames_keep_the_rate_and_the_budget(rate_hz, seconds, people):
    time_s = np.arange(max(int(seconds * rate_hz), 1)) / rate_hz
    chosen, notes = sample(time_s, people, 30.0)
    assert chosen[0] == 0
    assert (np.diff(chosen) > 0).all()
    assert len(chosen) <= max(MAX_POSES // people, 2)
    if notes:
        assert time_s[-1] * people * min(rate_hz, 30) > 0.9 * MAX_POSES
        assert len(chosen) > 0.5 * MAX_POSES // people
    elif rate_hz <= 30:
        assert len(chosen) == len(time_s)
    else:
        assert len(chosen) == int(time_s[-1] * 30 + 0.01) + 1


def test_thumbnails_are_small_few_and_read_one_by_one():
    time_s = np.arange(300) / 30
    small = thumbnails(film(time_s), time_s, most=20, width_px=80)
    assert len(small) == 20
    assert small[0].image.shape == (45, 80, 3)
    np.testing.assert_allclose(np.diff([t.time_s for t in small]), 0.5, atol=0.04)
    endless = thumbnails(film(n / 30 for n in count()), time_s, most=3, width_px=8)
    assert len(endless) == 3


def test_the_scene_follows_the_people():
    people = two_people(seconds=1.0)
    with quiet_server(0) as server:
        shown = scene(
            server,
            people,
            thumbnails=thumbnails(film([0.0, 0.5]), people[0].time_s, most=9, width_px=40),
        )
        limbs = server.scene.get_handle_by_name("/person 1/limbs")
        start = limbs.batched_positions.copy()
        shown.show(5)
        assert np.abs(limbs.batched_positions - start).max() > 0.02
        first, second = (server.scene.get_handle_by_name(f"/person {n}") for n in (1, 2))
        shown.show(15)
        assert (first.visible, second.visible) == (True, False)
        shown.show(29)
        assert (first.visible, second.visible) == (True, True)
        assert shown.frustum.image[0, 0].tolist() == [1, 1, 1]
        shown.figures[0].enabled = False
        shown.show(28)
        assert (first.visible, second.visible) == (False, True)
        eye, target = server.initial_camera.position, server.initial_camera.look_at
    assert target == pytest.approx(shown.stage.centre_m[0])
    assert eye[1] < target[1]  # from the camera's side
    assert 0.1 < (eye[2] - target[2]) / np.linalg.norm(eye - target) < 0.5


def test_limbs_reach_from_joint_to_joint():
    xyz = joints(np.array([0.37]))[0]
    xyz[H36M.index("left_wrist")] = np.nan
    shape = body(H36M, xyz[None])
    places, turns, scales = _limb_poses(xyz, shape)
    for bone, place, (w, x, y, z), scale in zip(shape.bones, places, turns, scales, strict=True):
        if np.isnan(xyz[bone.end]).any():
            assert scale.max() < 1e-3
            continue
        axis = np.array([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)])
        ends = place + np.outer([-0.5, 0.5], axis) * scale[2]
        wanted = xyz[[bone.start, bone.end]]
        apart = min(np.abs(ends - wanted).max(), np.abs(ends[::-1] - wanted).max())
        assert apart < 0.006


def test_the_frustum_stands_at_the_camera_and_looks_along_it():
    from scipy.spatial.transform import Rotation

    rotation = camera().R_world_to_camera.T
    w, x, y, z = _quaternion(rotation)
    np.testing.assert_allclose(Rotation.from_quat([x, y, z, w]).as_matrix(), rotation, atol=1e-9)


def test_the_first_view_shows_the_whole_way():
    time_s = np.arange(90) / 30
    way = np.stack([2 * time_s, 0 * time_s, 0 * time_s], -1)[:, None]
    for stretch, expected_x in ((1.0, 3.0), (10.0, 0.0)):
        walk = person(joints(time_s, radius_m=0.0) + stretch * way, time_s)
        with quiet_server(0) as server:
            scene(server, [walk])
            assert server.initial_camera.look_at[0] == pytest.approx(expected_x, abs=1.0)


def test_a_person_who_comes_later_and_one_frame_can_be_written(tmp_path):
    time_s = np.arange(10) / 30
    xyz = joints(time_s)
    xyz[:5] = np.nan
    write_page(tmp_path / "late.html", [person(xyz, time_s)])
    write_page(tmp_path / "one.html", [person(xyz[6:7], [0.0])])
    assert len(list(tmp_path.iterdir())) == 2


def test_without_viser_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(MissingExtraError, match=r"poselift\[view\]"):
        write_page(tmp_path / "page.html", two_people(seconds=0.2))
    assert list(tmp_path.iterdir()) == []


def test_wrong_rates_and_places_are_refused(tmp_path):
    people = two_people(seconds=0.2)
    with pytest.raises(InputError, match="max_rate_hz"):
        write_page(tmp_path / "page.html", people, max_rate_hz=0.0)
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError):
        write_page(tmp_path / "file" / "page.html", people)
