from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from poselift.errors import FormatError, UnknownNameError
from poselift.skeleton import skeleton
from poselift.train import openbench
from poselift.train.openbench import TRACKS, aligned_poses, load_or_make, make_track, read, save
from poselift.train.posing import HALPE

H36M = skeleton("h36m17")


@pytest.fixture(scope="module")
def library(tiny_pack_read) -> np.ndarray:
    return openbench.training_poses(tiny_pack_read)[:500]


@pytest.fixture(scope="module")
def tracks(tiny_pack_read, library):
    return {
        name: make_track(tiny_pack_read, TRACKS[name], library, clips=6, frames=20)
        for name in ("clean", "real", "fps")
    }


def test_the_same_track_is_made_twice_bit_for_bit(tiny_pack_read, library, tracks):
    again = make_track(tiny_pack_read, TRACKS["real"], library, clips=6, frames=20)
    assert again.digest() == tracks["real"].digest()
    assert tracks["fps"].digest() != again.digest()


def test_tracks_of_other_detectors_show_the_same_scenes(tracks):
    clean, real = tracks["clean"], tracks["real"]
    assert np.array_equal(clean.joints_m, real.joints_m)
    assert clean.clip == real.clip
    assert not np.array_equal(clean.xy_px, real.xy_px, equal_nan=True)


def test_true_points_lie_where_the_camera_sees_them(tracks):
    """With the true focal length unknown, slopes of all points still differ by one factor."""
    data = tracks["clean"]
    centre = data.size_px[:, None, None] / 2
    nose, true = data.xy_px[:, :, HALPE.index("nose")], data.joints_m[:, :, H36M.index("nose")]
    slope = (nose - centre[:, 0]) / (true[..., :2] / true[..., 2:])
    factor = np.median(slope, axis=(1, 2), keepdims=True)
    seen = np.abs(true[..., :2] / true[..., 2:]) > 0.05
    assert np.abs(slope / factor - 1)[seen].max() < 0.15  # detectors mean another point by nose


def test_frame_rates_and_lenses_are_those_that_training_lacks(tracks):
    assert set(np.round(1 / tracks["fps"].step_s).tolist()) <= {24, 100}
    assert not set(TRACKS["fps"].synth.rates_hz) & set(openbench._PLAIN.rates_hz)
    assert TRACKS["fov"].synth.camera.view_deg[1] < openbench._PLAIN.camera.view_deg[0]


def test_clips_have_truth_and_strata(tracks):
    clips = tracks["real"].clips()
    assert len(clips) == 6
    for clip in clips:
        assert clip.truth_m.shape == (20, 17, 3)
        assert (clip.truth_m[:, 0] == 0).all()
        assert clip.observed.skeleton.name == "coco17"
        assert set(clip.strata) == {"action", "view", "speed", "occlusion", "pose"}
        assert clip.strata["view"] in ("front", "side", "back")
        assert clip.up.shape == (20, 3)
    assert tracks["real"].clips("halpe26")[0].observed.xy_px.shape == (20, 26, 2)


def test_views_are_told_from_where_the_camera_stands():
    joints = np.zeros((3, 28, 3))
    up = np.tile([0.0, -1.0, 0.0], (3, 1))
    joints[:, :, 2] = 4.0
    left, right = H36M.index("left_hip"), H36M.index("right_hip")
    for x, expected in ((0.1, "front"), (-0.1, "back")):
        joints[:, left, 0], joints[:, right, 0] = x, -x  # facing us, their left is on our right
        assert openbench._view(joints, up) == expected
    joints[:, [left, right], 0] = 0
    joints[:, left, 2], joints[:, right, 2] = 3.9, 4.1
    assert openbench._view(joints, up) == "side"


def test_aligned_poses_do_not_depend_on_where_one_looks_from():
    rng = np.random.default_rng(0)
    joints, up = rng.normal(size=(4, 17, 3)), np.array([0.0, 0.0, 1.0])
    turn = Rotation.random(random_state=1).as_matrix()
    moved = joints @ turn.T + [1.0, 2.0, 3.0]
    expected = aligned_poses(joints, np.tile(up, (4, 1)))
    assert aligned_poses(moved, np.tile(turn @ up, (4, 1))) == pytest.approx(expected)
    assert expected[..., 2] == pytest.approx(joints[..., 2] - joints[:, :1, 2])


def test_nearest_distance_equals_brute_force():
    rng = np.random.default_rng(0)
    poses, known = rng.normal(size=(2, 3, 17, 3)), rng.normal(size=(40, 17, 3))
    gaps = np.linalg.norm(poses[:, :, None] - known, axis=-1)
    expected = np.sqrt((gaps**2).mean(-1)).min(-1)
    assert openbench._nearest_m(poses, known) == pytest.approx(expected)


def test_tracks_are_kept_and_damage_is_noticed(tiny_pack_read, tracks, tmp_path, monkeypatch):
    path = tmp_path / "real.npz"
    save(tracks["real"], path)
    assert read(path).digest() == tracks["real"].digest()
    changed = replace(tracks["real"], joints_m=tracks["real"].joints_m + 1)
    monkeypatch.setattr(type(changed), "digest", lambda self: "0" * 64)
    save(changed, path)
    monkeypatch.undo()
    with pytest.raises(FormatError, match="hash"):
        read(path)
    path.write_bytes(b"not a track")
    with pytest.raises(FormatError, match="a track of open-v1"):
        read(path)


def test_made_once_then_read(tiny_pack_read, tmp_path, monkeypatch, tracks):
    made = []

    def make(pack, track, library):
        made.append(track.name)
        return tracks["real"]

    monkeypatch.setattr(openbench, "make_track", make)
    monkeypatch.setattr(openbench, "training_poses", lambda pack: None)
    for _ in range(2):
        load_or_make(tiny_pack_read, tmp_path, ["real"], lambda *_: None)
    assert made == ["real"]
    with pytest.raises(UnknownNameError, match=r"rael.*known: clean"):
        load_or_make(tiny_pack_read, tmp_path, ["rael"], lambda *_: None)
