"""3DPW on files as users have them."""

import numpy as np
import pytest

from poselift.errors import FormatError, InputError
from poselift.poses import Poses2D, Poses3D
from poselift.protocols import run, threedpw
from poselift.protocols.conventions import Conventions

from . import datasets
from .datasets import H36M, knows_all


def test_3dpw_judges_every_person_where_the_camera_is_aligned(tmp_path):
    folder = datasets.threedpw(tmp_path)
    report = run("3dpw", folder, None)
    assert max(max(row.values()) for row in report.table.scores.values()) < 1e-6
    frames = {"downtown": 4, "flat": 2 * 5, "office": 6, "outdoors": 2 * 7}
    assert report.table.frames == frames


@pytest.mark.parametrize("detections", ["openpose", "gt"])
def test_3dpw_shows_detections_or_projected_joints(tmp_path, detections):
    folder = datasets.threedpw(tmp_path)
    video = next(threedpw.read(folder, detections, threedpw.SUBJECTS, Conventions()))
    observed = video.observed
    assert observed.size_px == (1080, 1920)
    assert observed.rate_hz == pytest.approx(30)
    assert not video.counted[-1]
    if detections == "gt":
        assert observed.skeleton.name == "smpl24"
        xyz_m = video.truth.xyz_m
        expected = 1960 * xyz_m[..., :2] / xyz_m[..., 2:] + np.array([540, 960])
        np.testing.assert_allclose(observed.xy_px, expected)
        knee, pelvis = (observed.skeleton.index(name) for name in ("left_knee", "pelvis"))
        assert (xyz_m[:, knee, 1] > xyz_m[:, pelvis, 1]).all()  # y down
    else:
        assert observed.skeleton.name == "openpose18"
        assert np.isnan(observed.xy_px[:, 17]).all()
        np.testing.assert_allclose(observed.confidence[:, 0], 0.8)
        np.testing.assert_allclose(observed.xy_px[:, 3], [[503, 900]] * 5)


def test_3dpw_compares_fourteen_joints_and_their_names_of_human36m(tmp_path):
    folder = datasets.threedpw(tmp_path)
    count = {
        video.name: len(video.counted)
        for video in threedpw.read(folder, "gt", ("flat",), Conventions())
    }
    assert count == {"flat_guitar_01 person 0": 6, "flat_guitar_01 person 1": 6}

    def lift(observed: Poses2D) -> Poses3D:
        seed = 1 + observed.person
        xyz_m = datasets.camera_axes(datasets.body_m(6, seed))
        xyz_m = xyz_m - xyz_m[:, :1]
        xyz_m[:, H36M.index("spine")] += 1.0  # not among the fourteen
        xyz_m[:, H36M.index("thorax")] += np.array([0.014, 0, 0])  # SMPL's neck
        return Poses3D(xyz_m, observed.time_s, H36M)

    report = run("3dpw", folder, lift, subjects=["flat"])
    assert report.table.scores["MPJPE"]["flat"] == pytest.approx(1.0)


def test_3dpw_people_that_were_never_detected_are_missed(tmp_path):
    def unseen(name, data):
        if name.startswith("office"):
            data["poses2d"] = [np.zeros_like(points) for points in data["poses2d"]]

    folder = datasets.threedpw(tmp_path, changed=unseen)
    videos = list(threedpw.read(folder, "openpose", threedpw.SUBJECTS, Conventions()))
    report = run("3dpw", folder, knows_all(videos))
    assert report.table.missed == 6
    assert np.isnan(report.table.scores["MPJPE"]["office"])
    assert report.to_json()["scores"]["MPJPE"]["office"] is None
    assert report.table.scores["MPJPE"]["average"] == pytest.approx(0, abs=1e-6)
    assert "| – |" in report.markdown()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda name, data: data.pop("cam_poses"), "pkl lacks an entry: expected 'cam_poses'"),
        (
            lambda name, data: data.update(cam_intrinsics=np.zeros((3, 3))),
            "pkl: cam_intrinsics: camera K: expected focal lengths above 0",
        ),
        (
            lambda name, data: data.update(jointPositions=[np.zeros((5, 69))]),
            "pkl: jointPositions[0]: expected shape (5, 72), found (5, 69)",
        ),
        (
            lambda name, data: data.update(jointPositions=3),
            "pkl: jointPositions: expected a list, found int",
        ),
        (
            lambda name, data: data.update(campose_valid=[]),
            "pkl: campose_valid: expected 1 elements, found 0",
        ),
        (
            lambda name, data: data.update(poses2d=[np.zeros((5, 18, 3))]),
            "pkl: poses2d[0]: expected shape (5, 3, 18), found (5, 18, 3)",
        ),
    ],
)
def test_3dpw_names_file_and_field_of_what_is_wrong(tmp_path, changed, message):
    folder = datasets.threedpw(tmp_path, changed=changed)
    with pytest.raises(InputError) as caught:
        run("3dpw", folder, None)
    assert f"{folder}/sequenceFiles/test/downtown_walking_00.{message}" in str(caught.value)


def test_3dpw_names_missing_places_and_files(tmp_path):
    with pytest.raises(FormatError, match=r"holds no 3DPW: expected sequenceFiles/test/\*\.pkl"):
        run("3dpw", tmp_path, None)
    folder = datasets.threedpw(tmp_path)
    (folder / "sequenceFiles" / "test" / "flat_guitar_01.pkl").unlink()
    with pytest.raises(InputError, match="lacks sequences: expected flat"):
        run("3dpw", folder, None)
    (folder / "sequenceFiles" / "test" / "flat_guitar_01.pkl").write_bytes(b"\x80\x04")
    with pytest.raises(FormatError, match=r"flat_guitar_01\.pkl is damaged"):
        run("3dpw", folder, None)
