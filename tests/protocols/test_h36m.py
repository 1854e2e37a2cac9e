"""Human3.6M on files as users have them: tables, conventions at work, and every bad file."""

import json

import numpy as np
import pytest

from poselift.cli import main
from poselift.errors import FormatError, InputError, UnknownNameError
from poselift.models import info, load
from poselift.models.lifter import Lifter, LiftOptions
from poselift.poses import Poses2D, Poses3D
from poselift.protocols import run
from poselift.protocols.conventions import Conventions
from poselift.protocols.h36m import ACTIONS, read
from poselift.protocols.legacy import read_entry
from poselift.protocols.videos import flipped

from .datasets import H36M, h36m, knows_all, metadata, save

SUBJECTS = ("S9", "S11")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return h36m(tmp_path_factory.mktemp("h36m"))


def lifter(folder, change):
    return knows_all(read(folder, "gt", SUBJECTS, Conventions()), change)


def test_the_truth_gives_zero_by_every_paper(data):
    for preset in ("videopose3d", "strided", "semgcn", "evoskeleton", "mixste", "srnet"):
        report = run("h36m", data, None, detections="gt", preset=preset)
        for kind, row in report.table.scores.items():
            assert list(row) == [*ACTIONS, "average"]
            assert max(row.values()) < 1e-6, (preset, kind)
        assert report.table.missed == 0


def test_actions_have_their_columns_and_the_average_is_of_actions(data):
    def change(xyz_m, video):
        return xyz_m + np.array([0.001 * ACTIONS.index(video.column), 0, 0])

    report = run("h36m", data, lifter(data, change), detections="gt", changes=["flip=no"])
    row = report.table.scores["MPJPE"]
    assert [row[action] for action in ACTIONS] == pytest.approx(range(15))
    assert row["average"] == pytest.approx(7)
    frames = report.table.frames
    assert frames["Directions"] == 4 * 4  # S9 only: four cameras, four frames
    assert frames["Discussion"] == 2 * 4 * 5
    by_frame = run(
        "h36m", data, lifter(data, change), detections="gt", changes=["flip=no", "average=frame"]
    )
    weights = np.array([frames[action] for action in ACTIONS])
    expected = np.sum(weights * np.arange(15)) / weights.sum()
    assert by_frame.table.scores["MPJPE"]["average"] == pytest.approx(expected)


def test_sub_takes_are_pooled_under_the_first_word(tmp_path):
    def two_takes(three, two):
        for table in (three, two):
            table["S9"]["Eating 1"] = table["S9"]["Eating"]

    folder = h36m(tmp_path, changed=two_takes)
    plain = h36m(tmp_path / "plain")
    frames = [run("h36m", f, None, detections="gt").table.frames["Eating"] for f in (plain, folder)]
    assert frames == [2 * 4 * 6, 3 * 4 * 6]


def test_the_corrupt_take_of_s11_is_dropped_unless_asked_for(data):
    dropped = run("h36m", data, None, detections="gt")
    kept = run("h36m", data, None, detections="gt", changes=["drop_s11_directions=no"])
    assert kept.table.frames["Directions"] == 2 * dropped.table.frames["Directions"]
    assert "changed conventions: drop_s11_directions=False" in kept.notes


def test_conventions_move_our_row_by_what_they_say(data):
    def change(xyz_m, video):
        return xyz_m + np.array([0, 0.034, 0])  # root and all

    lift = lifter(data, change)
    found = {
        preset: run("h36m", data, lift, detections="gt", preset=preset, changes=["flip=no"])
        for preset in ("videopose3d", "strided", "semgcn")
    }
    means = {name: report.table.scores["MPJPE"]["average"] for name, report in found.items()}
    assert means["videopose3d"] == pytest.approx(34)
    assert means["strided"] == pytest.approx(34 * 16 / 17)
    assert means["semgcn"] == pytest.approx(0, abs=1e-9)


def test_columns_by_subject(data):
    changes = ["by_subject=yes"]
    report = run("h36m", data, None, detections="gt", changes=changes)
    columns = list(report.table.scores["MPJPE"])
    assert columns[0] == "S9 Directions"
    assert len(columns) == 15 + 14 + 1  # S11 has no Directions left
    assert "| S9 Dir |" in report.markdown()
    assert "| 37.2 |" not in report.markdown()  # an average over other columns


def test_2d_is_what_the_files_say_and_cut_to_the_length_of_3d(data):
    video = next(read(data, "gt", ("S9",), Conventions()))
    assert len(video.observed.time_s) == len(video.truth.time_s) == 4
    assert video.observed.rate_hz == pytest.approx(50)
    camera = video.observed.camera
    rays = camera.image_to_rays(video.observed.xy_px)
    np.testing.assert_allclose(
        rays, video.truth.xyz_m[..., :2] / video.truth.xyz_m[..., 2:], atol=1e-6
    )
    assert video.truth.origin == "camera"
    assert 3 < video.truth.xyz_m[0, 0, 2] < 7


def test_the_lifter_is_told_the_camera_or_not(data):
    told = []

    def lift(observed):
        told.append(observed.camera)
        return Poses3D(np.zeros((len(observed.time_s), 17, 3)), observed.time_s, H36M)

    for value in ("known", "guessed"):
        run("h36m", data, lift, detections="gt", changes=[f"camera={value}", "flip=no"])
    half = len(told) // 2
    assert all(camera is not None for camera in told[:half])
    assert all(camera is None for camera in told[half:])


@pytest.mark.parametrize(
    ("layout", "name", "word"),
    [
        ("h36m17", "cpn_ft_h36m_dbb", "CPN"),
        ("h36m16", "sh_ft_h36m", "SH"),
        ("mpii16", "sh_pt_mpii", "SH"),
        ("coco17", "detectron_pt_coco", "Mask R-CNN"),
        ("h36m17", "hr", "HRNet"),
        ("h36m17", "mine", None),
    ],
)
def test_detections_are_known_by_their_joints_and_shown_beside_their_like(
    tmp_path, layout, name, word
):
    # The joints of foreign layouts need not be in their places to be known.
    as_many = {"coco17": "h36m17", "mpii16": "h36m16"}.get(layout, layout)
    folder = h36m(tmp_path, detections=name, layout=as_many)
    path = folder / f"data_2d_h36m_{name}.npz"
    save(path, positions_2d=read_entry(path, "positions_2d"), metadata=metadata(layout))
    video = next(read(folder, name, ("S9",), Conventions()))
    assert video.observed.skeleton.name == layout
    report = run("h36m", folder, None, detections=name)
    assert report.input == word
    assert {row["input"] for row in report.published} <= (
        {word} if word else {"CPN", "GT", "SH", "HRNet"}
    )


def test_a_mean_pose_and_the_shipped_lifter_have_a_row(data):
    videos = read(data, "gt", ("S9",), Conventions())
    mean = np.mean([(v.truth.xyz_m - v.truth.xyz_m[:, :1]).mean(0) for v in videos], axis=0)

    def same_pose(observed: Poses2D) -> Poses3D:
        return Poses3D(np.repeat(mean[None], len(observed.time_s), 0), observed.time_s, H36M)

    base = run("h36m", data, same_pose, detections="gt", model="mean pose")
    assert 10 < base.table.scores["MPJPE"]["average"] < 1000
    ours = run("h36m", data, load(), detections="gt", subjects=["S9"])
    assert ours.table.missed == 0
    assert 0 < ours.table.scores["P-MPJPE"]["average"] < 300
    assert any("trained on other data" in note for note in ours.notes)
    assert "published rows are also of S11, which was left out here" in ours.notes
    assert not any("left out" in note for note in base.notes)


@pytest.mark.parametrize("flip", ["yes", "no"])
def test_a_lifter_is_mirrored_as_asked_and_not_by_itself_as_well(data, flip):
    windows = []

    def network(xy):
        windows.append(len(xy))
        return xy[:, 13][..., [0, 1, 0]]  # depth that is no mirror image of itself

    ours = Lifter(network, info("strided-27"), LiftOptions(flip=True))
    changes = [f"flip={flip}", "drop_s11_directions=no"]
    report = run("h36m", data, ours, detections="gt", changes=changes)
    frames = sum(report.table.frames.values())
    assert sum(windows) == frames * (2 if flip == "yes" else 1)
    assert ours.options.flip  # the caller's lifter is as it was
    video = next(read(data, "gt", ("S9",), Conventions()))
    plain = Lifter(network, info("strided-27"), LiftOptions(flip=False))
    np.testing.assert_allclose(
        flipped(plain)(video.observed).xyz_m, ours(video.observed).xyz_m, atol=1e-9
    )
    assert np.abs(plain(video.observed).xyz_m - ours(video.observed).xyz_m).max() > 1e-3


# ------------------------------------------------------------------------------------ bad files
def refused(folder, message, error=FormatError, **options):
    with pytest.raises(error) as caught:
        run("h36m", folder, None, **{"detections": "gt", **options})
    assert message in str(caught.value)


def test_a_missing_subject_is_named(tmp_path):
    folder = h36m(tmp_path, subjects=("S9",))
    refused(
        folder,
        "data_3d_h36m.npz: positions_3d lacks an entry: expected 'S11' (known: S9)",
        InputError,
    )
    refused(folder, "positions_3d lacks an entry: expected 'S5'", InputError, subjects=["S5"])


def test_a_subject_that_only_the_2d_lacks_is_named(tmp_path):
    folder = h36m(tmp_path, changed=lambda three, two: two.pop("S11"))
    refused(folder, "data_2d_h36m_gt.npz: positions_2d lacks an entry: expected 'S11'", InputError)


def test_a_missing_and_an_unknown_action_are_named(tmp_path):
    folder = h36m(tmp_path, actions=tuple(a for a in ACTIONS if a != "Smoking"))
    refused(folder, "positions_3d['S9'] lacks actions: expected Smoking, found 14", InputError)

    def rename(three, two):
        three["S9"]["TakingPhoto"] = three["S9"].pop("Photo")

    folder = h36m(tmp_path / "b", changed=rename)
    refused(folder, "positions_3d['S9']: action: found TakingPhoto (known: Directions")


def test_a_take_that_the_2d_lacks_is_named(tmp_path):
    folder = h36m(tmp_path, changed=lambda three, two: two["S9"].pop("Eating"))
    refused(folder, "positions_2d['S9'] lacks an entry: expected 'Eating'", InputError)


def eating(subject, value, camera=None):
    """Puts value(what was there) in place of a take, or of one camera of its 2D."""

    def change(three, two):
        takes = three if camera is None else two
        holder, key = (
            (takes[subject], "Eating") if camera is None else (two[subject]["Eating"], camera)
        )
        holder[key] = value(holder[key])

    return change


def spoilt(value, *index):
    def spoil(array):
        array = array.copy()
        array[index] = value
        return array

    return spoil


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            eating("S9", spoilt(np.nan, 2, 6)),
            "positions_3d['S9']['Eating'] is damaged: expected finite numbers, found frame 2",
        ),
        (
            eating("S9", lambda xyz: xyz[:, :17]),
            "positions_3d['S9']['Eating']: expected shape (any, 32, 3), found (6, 17, 3)",
        ),
        (
            eating("S9", lambda xyz: xyz * 1000),
            "positions_3d['S9']['Eating']: units or joint order: expected thighs of",
        ),
        (
            eating("S11", lambda xy: xy[:2], camera=3),
            "positions_2d['S11']['Eating'][3]: expected at least 6 frames, found 2",
        ),
        (
            eating("S9", spoilt(np.inf, 0, 0, 0), camera=1),
            "positions_2d['S9']['Eating'][1] is damaged",
        ),
        (
            eating("S9", lambda xy: xy[:, :16], camera=0),
            "positions_2d['S9']['Eating'][0]: expected shape (any, 17, any)",
        ),
        (
            eating("S9", lambda xy: xy[..., :1], camera=0),
            "positions_2d['S9']['Eating'][0]: expected x, y and perhaps confidence",
        ),
        (
            eating("S9", lambda xy: "nothing", camera=2),
            "positions_2d['S9']['Eating'][2]: expected an array of numbers",
        ),
        (
            lambda three, two: two["S9"]["Eating"].pop(),
            "positions_2d['S9']: Eating: expected 4 elements, found 3",
        ),
        (
            lambda three, two: three.update(S9=np.zeros((3, 32, 3))),
            "positions_3d['S9']: expected a dictionary, found ndarray",
        ),
    ],
)
def test_damaged_and_foreign_arrays_are_named_with_their_field(tmp_path, changed, message):
    refused(h36m(tmp_path, changed=changed), message)


def test_a_wrong_skeleton_is_named(tmp_path):
    folder = h36m(tmp_path)
    path = folder / "data_2d_h36m_gt.npz"
    two = read_entry(path, "positions_2d")
    save(
        path, positions_2d=two, metadata={"num_joints": 17, "keypoints_symmetry": [[1, 2], [3, 4]]}
    )
    refused(folder, "metadata: skeleton: expected the joints and sides of a known one", InputError)
    save(path, positions_2d=two, metadata={"num_joints": 17, "keypoints_symmetry": 3})
    refused(folder, "metadata.keypoints_symmetry: expected two lists of joints, found 3")
    save(path, positions_2d=two, metadata={"num_joints": 17})
    refused(folder, "metadata lacks an entry: expected 'keypoints_symmetry'", InputError)
    save(path, positions_2d=two)
    refused(folder, "data_2d_h36m_gt.npz lacks an entry: expected metadata (known: positions_2d)")


def test_missing_files_and_npz_of_other_tools_are_named(tmp_path):
    refused(tmp_path, "data_3d_h36m.npz does not exist: expected a folder with data_3d_h36m.npz")
    folder = h36m(tmp_path)
    message = "unknown 2D detections in"
    refused(folder, message, UnknownNameError, detections="cpn")
    refused(folder, "found 'cpn' (known: gt)", UnknownNameError, detections="cpn")
    np.savez(folder / "data_3d_h36m.npz", boxes=np.zeros(3), keypoints=np.zeros((1, 4, 17)))
    refused(folder, "lacks an entry: expected positions_3d (known: boxes, keypoints)")
    np.savez(folder / "data_3d_h36m.npz", positions_3d=np.zeros((3, 32, 3)))
    refused(folder, "data_3d_h36m.npz: positions_3d: expected a dictionary, found ndarray")


def test_unknown_protocols_and_conventions_are_named(data):
    with pytest.raises(UnknownNameError, match=r"'h36'.*3dpw, h36m, humaneva, mpi_inf_3dhp"):
        run("h36", data, None)
    refused(data, "unknown conventions: found 'mixst'", UnknownNameError, preset="mixst")
    refused(data, "unknown convention: found 'root_'", UnknownNameError, changes=["root_=zero"])


def test_a_lifter_of_another_length_or_in_other_axes_is_refused(data):
    def short(observed):
        return Poses3D(np.zeros((1, 17, 3)), observed.time_s[:1], H36M)

    def world(observed):
        return Poses3D(np.zeros((len(observed.time_s), 17, 3)), observed.time_s, H36M, axes="world")

    with pytest.raises(InputError, match="answer to S9 Directions 54138969: expected 4 frames"):
        run("h36m", data, short, detections="gt", changes=["flip=no"])
    with pytest.raises(InputError, match="expected camera axes, found world"):
        run("h36m", data, world, detections="gt", changes=["flip=no"])


# ---------------------------------------------------------------------------------------- the door
def test_one_command_prints_the_table_and_writes_it(data, tmp_path, capsys):
    words = ["protocol", "h36m", str(data), "--2d", "gt", "--model", "truth"]
    out = tmp_path / "out"
    assert main([*words, "--conventions", "mixste", "--set", "window=4", "-o", str(out)]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    ours = next(line for line in lines if line.startswith("| **truth** |"))
    assert ours.count("| 0.0 ") == 16
    mixste = next(line for line in lines if line.startswith("| MixSTE | GT | 243 |"))
    assert "| 21.6 | mixste | STCFormer" in mixste
    assert not any(line.startswith("| MixSTE | CPN") for line in lines)
    assert "- changed conventions: window=4" in lines
    assert lines[-2:] == [str(out / "h36m_gt.md"), str(out / "h36m_gt.json")]
    assert (out / "h36m_gt.md").read_text() == "\n".join(lines[:-2]) + "\n"
    record = json.loads((out / "h36m_gt.json").read_text())
    assert record["conventions"]["window"] == 4
    assert record["scores"]["MPJPE"]["average"] == 0
    assert record["published"][0]["source"]


def test_a_bad_file_ends_with_one_line(tmp_path, capsys):
    assert main(["protocol", "h36m", str(tmp_path), "--model", "truth"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"poselift: {tmp_path}/data_3d_h36m.npz does not exist")
