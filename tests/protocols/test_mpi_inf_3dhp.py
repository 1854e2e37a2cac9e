"""MPI-INF-3DHP on the file that users have."""

import numpy as np
import pytest

from poselift.errors import FormatError, InputError, UnknownNameError
from poselift.poses import Poses2D, Poses3D
from poselift.protocols import mpi_inf_3dhp, run
from poselift.protocols.conventions import Conventions
from poselift.skeleton import skeleton

from . import datasets
from .datasets import H36M, knows_all


def test_3dhp_judges_the_valid_frames_of_six_sequences(tmp_path):
    folder = datasets.mpi_inf_3dhp(tmp_path)
    report = run("mpi_inf_3dhp", folder, None)
    scores = report.table.scores
    assert list(scores["PCK"]) == [f"TS{n}" for n in range(1, 7)] + ["average"]
    assert max(scores["MPJPE"].values()) < 1e-6
    assert set(scores["PCK"].values()) == {100.0}
    # Nothing is nearer than 0 mm: the best is 30 of 31 thresholds.
    assert scores["AUC"]["average"] == pytest.approx(100 * 30 / 31)
    assert report.table.frames == {f"TS{n}": -(-(6 + n) // 2) for n in range(1, 7)}


def test_3dhp_is_frame_weighted_and_pck_leaves_out_the_middle_joints(tmp_path):
    folder = datasets.mpi_inf_3dhp(tmp_path)
    bones = skeleton("mpi_inf_3dhp17")

    def change(xyz_m, video):
        xyz_m[:, bones.index("spine1")] += np.array([0.170, 0, 0])
        if video.name == "TS1":
            xyz_m[:, bones.index("left_wrist")] += np.array([0, 0.340, 0])
        return xyz_m

    videos = list(mpi_inf_3dhp.read(folder, "gt", mpi_inf_3dhp.SUBJECTS, Conventions()))
    found = {
        joints: run(
            "mpi_inf_3dhp",
            folder,
            knows_all(videos, change),
            changes=["flip=no", f"pck_joints={joints}"],
        )
        for joints in (14, 17)
    }
    row = found[14].table.scores
    assert row["MPJPE"]["TS2"] == pytest.approx(10)
    assert row["MPJPE"]["TS1"] == pytest.approx(30)
    frames = found[14].table.frames
    expected = (10 * sum(frames.values()) + 20 * frames["TS1"]) / sum(frames.values())
    assert row["MPJPE"]["average"] == pytest.approx(expected)
    assert row["PCK"]["TS2"] == 100
    assert row["PCK"]["TS1"] == pytest.approx(100 * 13 / 14)
    assert found[17].table.scores["PCK"]["TS2"] == pytest.approx(100 * 16 / 17)
    default = run("mpi_inf_3dhp", folder, knows_all(videos, change), changes=["flip=no"])
    assert default.table.scores == row


def test_3dhp_shows_the_lifter_a_human36m_body_in_the_images_size(tmp_path):
    folder = datasets.mpi_inf_3dhp(tmp_path)
    videos = list(mpi_inf_3dhp.read(folder, "gt", ("TS1", "TS6"), Conventions()))
    assert [video.observed.size_px for video in videos] == [(2048, 2048), (1920, 1080)]
    world = datasets.body_m(7, seed=1)  # TS1
    camera_m = datasets.camera_axes(world)
    expected = 1500 * camera_m[..., :2] / camera_m[..., 2:] + 1024
    assert videos[0].observed.skeleton == H36M
    np.testing.assert_allclose(videos[0].observed.xy_px, expected)
    assert not videos[0].counted.all()  # but all frames are lifted

    def lift(observed: Poses2D) -> Poses3D:
        frames = len(observed.time_s)
        seed = 1 if frames == 7 else 6
        xyz_m = datasets.camera_axes(datasets.body_m(frames, seed))
        return Poses3D(xyz_m - xyz_m[:, :1], observed.time_s, H36M)

    report = run("mpi_inf_3dhp", folder, lift, subjects=["TS1", "TS6"], changes=["flip=no"])
    assert max(report.table.scores["MPJPE"].values()) < 1e-6


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        (lambda data: data.pop("TS3"), InputError, "data lacks an entry: expected 'TS3'"),
        (lambda data: data["TS2"].pop("valid"), InputError, "data['TS2'] lacks an entry: expected"),
        (
            lambda data: data["TS2"].update(valid=np.full(8, 2.0)),
            FormatError,
            "data['TS2']['valid']: expected 0 and 1, some 1, found [2.]",
        ),
        (
            lambda data: data["TS2"].update(data_2d=np.zeros((3, 17, 2))),
            FormatError,
            "data['TS2']['data_2d']: expected shape (8, 17, 2), found (3, 17, 2)",
        ),
        (
            lambda data: data["TS2"].update(data_3d=data["TS2"]["data_3d"][:, :16]),
            FormatError,
            "data['TS2']['data_3d']: expected shape (any, 17, 3), found (8, 16, 3)",
        ),
        (
            lambda data: data["TS2"].update(data_3d=data["TS2"]["data_3d"] / 1000),
            FormatError,
            "data['TS2']['data_3d']: units or joint order: expected thighs",
        ),
        (
            lambda data: data["TS2"].update(data_2d=np.full((8, 17, 2), np.inf)),
            FormatError,
            "data['TS2']['data_2d']: 2D joints: expected finite pixels or NaN",
        ),
    ],
)
def test_3dhp_names_file_and_field_of_what_is_wrong(tmp_path, changed, error, message):
    folder = datasets.mpi_inf_3dhp(tmp_path, changed=changed)
    with pytest.raises(error) as caught:
        run("mpi_inf_3dhp", folder, None)
    assert f"{folder}/data_test_3dhp.npz: {message}" in str(caught.value)


def test_3dhp_has_true_2d_only(tmp_path):
    folder = datasets.mpi_inf_3dhp(tmp_path)
    with pytest.raises(UnknownNameError, match=r"'cpn' \(known: gt\)"):
        run("mpi_inf_3dhp", folder, None, detections="cpn")
    with pytest.raises(FormatError, match=r"data_test_3dhp\.npz does not exist"):
        run("mpi_inf_3dhp", tmp_path / "nowhere", None)
