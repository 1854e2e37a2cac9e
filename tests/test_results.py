"""The folder of results: complete, repeatable, never on top of its source."""

import errno
import os
import sys
from pathlib import Path

import av
import numpy as np
import pytest

import poselift
from poselift import io, results
from poselift.errors import InputError, MissingExtraError, OutputError, UnknownNameError
from poselift.pipeline import Options
from poselift.poses import Poses2D
from poselift.results import KINDS, folders_for, kinds_to_write, lift_to, meaning, read_motion
from poselift.skeleton import skeleton

SAMPLE = Path(__file__).parent.parent / "examples" / "sample"
COCO = skeleton("coco17")
FAST = ("npz", "csv", "bvh")


def people2d(count: int, frames: int = 12) -> list[Poses2D]:
    with np.load(SAMPLE / "sample_truth.npz", allow_pickle=False) as truth:
        xy, time_s = truth["coco17_xy_px"][:frames], truth["time_s"][:frames]
    return [
        Poses2D(
            xy + np.array([40.0 * n, 0.0]),
            np.ones(xy.shape[:2]),
            time_s,
            (640, 480),
            COCO,
            person=n,
        )
        for n in range(count)
    ]


@pytest.fixture
def source(tmp_path) -> Path:
    (path,) = poselift.write(tmp_path / "two.json", people2d(2))
    return path


def test_every_kind_is_written_and_explained(source, tmp_path):
    pytest.importorskip("viser")
    seen: list[tuple[str, int, int | None]] = []
    result = lift_to(source, tmp_path / "out", Options(), None, lambda *r: seen.append(r))
    names = [path.name for path in result.files]
    assert names == [
        "motion.npz",
        "motion.json",
        "motion.csv",
        "motion.bvh",
        "motion_person2.bvh",
        "overlay.mp4",
        "motion.html",
    ]
    assert names_in(tmp_path / "out") == sorted(names)
    assert all(path.stat().st_size > 1000 for path in result.files)
    assert all(meaning(path) for path in result.files)
    assert result.summary == "2 people, 12 frames, 0.4 s"
    assert any("assumed" in note for note in result.notes)
    assert not any("smoothed" in note or "constant bone" in note for note in result.notes)
    steps = list(dict.fromkeys(step for step, _, _ in seen))
    assert steps == ["lifting", "writing files", "drawing"]
    for step in steps:
        done = [n for name, n, _ in seen if name == step]
        assert done == sorted(done)
        assert done[-1] == next(w for name, _, w in seen if name == step)


def test_two_runs_write_the_same_bytes(source, tmp_path):
    kinds = ("npz", "json", "csv", "bvh", "mp4")
    runs = []
    for _ in range(2):
        files = lift_to(source, tmp_path / "out", Options(), kinds).files
        runs.append({path: path.read_bytes() for path in files if path.suffix != ".mp4"})
        runs[-1] |= {path: pixels(path) for path in files if path.suffix == ".mp4"}
        assert names_in(tmp_path / "out") == sorted(path.name for path in files)
    first, again = runs
    assert len(first) == len(again) == 6
    for path, content in first.items():
        if isinstance(content, bytes):
            assert content == again[path], path.name
        else:  # the encoder rounds a little differently by the timing of its threads
            assert np.abs(content - again[path]).mean() < 0.5


def pixels(path: Path) -> np.ndarray:
    with av.open(str(path)) as video:
        return np.array([f.to_ndarray(format="gray") for f in video.decode(video=0)], np.int16)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_bvh_of_people_who_are_gone_is_removed_and_nothing_else(source, tmp_path):
    out = tmp_path / "out"
    lift_to(source, out, Options(), ("bvh",))
    kept = [
        "motion_personal.bvh",
        "motion_person2.bvh.bak",
        "motion_person.bvh",
        "clip_person2.bvh",
    ]
    for name in [*kept, "motion_person9.bvh"]:
        (out / name).write_text("mine")
    (out / "motion_person7.bvh").mkdir()
    (one,) = poselift.write(tmp_path / "one.npz", people2d(1))
    lift_to(one, out, Options(), ("csv",))
    assert (out / "motion_person2.bvh").exists()  # no BVH was asked for
    lift_to(one, out, Options(), ("bvh",))
    names = [*kept, "motion.bvh", "motion.csv", "motion_person7.bvh"]
    assert names_in(out) == sorted(names)


def test_a_missing_viser_leaves_out_the_page_unless_it_was_asked_for(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    result = lift_to(source, tmp_path / "all", Options())
    assert [note for note in result.notes if "poselift[view]" in note and "html" in note]
    assert {path.suffix[1:] for path in result.files} == set(KINDS) - {"html"}
    for kinds in (["html"], ["npz", "html"]):
        with pytest.raises(MissingExtraError, match=r"viser is not installed.*poselift\[view\]"):
            lift_to(source, tmp_path / "page", Options(), kinds)
    assert not (tmp_path / "page").exists()


def test_unknown_kinds_are_refused_and_doubles_written_once():
    assert kinds_to_write(None) == list(KINDS)
    assert kinds_to_write(["bvh", "npz", "bvh"]) == ["bvh", "npz"]
    with pytest.raises(UnknownNameError, match=r"kind of result: found 'fbx' \(known: bvh, csv"):
        kinds_to_write(["npz", "fbx"])


def test_inputs_of_one_name_get_folders_of_their_own(tmp_path):
    (tmp_path / "take.1").mkdir()
    sources = [
        tmp_path / name for name in ("clip.mp4", "a/clip.mov", "CLIP.json", "take.1", "x.y.avi")
    ]
    names = [folder.name for folder in folders_for(sources, tmp_path / "out")]
    assert names == ["clip", "clip_2", "CLIP_3", "take.1", "x.y"]
    assert folders_for(sources[:1], tmp_path) == [tmp_path]
    taken = [Path("clip_2.mp4"), Path("clip.mp4"), Path("b/clip.mp4")]
    assert [f.name for f in folders_for(taken, tmp_path)] == ["clip_2", "clip", "clip_3"]
    above = folders_for([Path(".."), Path("/")], tmp_path)
    assert all(folder.parent == tmp_path for folder in above)
    assert len(set(above)) == 2


def test_results_never_replace_their_source(tmp_path):
    source = tmp_path / "motion.npz"
    poselift.write(source, people2d(1))
    before = source.read_bytes()
    with pytest.raises(OutputError, match=r"motion\.npz is the source"):
        lift_to(source, tmp_path, Options(), FAST)
    assert source.read_bytes() == before
    assert len(lift_to(source, tmp_path, Options(), ("csv",)).files) == 1


def test_a_folder_of_keypoints_takes_no_results(tmp_path):
    folder = tmp_path / "op"
    folder.mkdir()
    (folder / "a_0_keypoints.json").write_text('{"people": []}')
    with pytest.raises(OutputError, match="holds the source"):
        lift_to(folder, folder, Options(), FAST)


def test_a_folder_that_was_made_for_nothing_goes_again(tmp_path):
    (nobody,) = poselift.write(tmp_path / "few.json", [few_joints()])
    (tmp_path / "mine").mkdir()
    for out in (tmp_path / "new" / "deep", tmp_path / "mine"):
        with pytest.raises(InputError, match="at least 6 joints"):
            lift_to(nobody, out, Options(), FAST)
    assert names_in(tmp_path) == ["few.json", "mine"]


def few_joints() -> Poses2D:
    (whole,) = people2d(1)
    xy = whole.xy_px.copy()
    xy[:, 4:] = np.nan
    return whole.then("", xy_px=xy)


def test_an_output_that_is_a_file_or_lies_below_one_fails_before_the_work(source, tmp_path):
    (tmp_path / "file").write_text("x")

    def never(step: str, done: int, whole: int | None) -> None:
        raise AssertionError(step)

    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(OutputError, match="cannot write"):
            lift_to(source, out, Options(), FAST, never)
    assert (tmp_path / "file").read_text() == "x"


def test_a_full_disk_leaves_whole_files_only(source, tmp_path, monkeypatch):
    whole = np.savetxt

    def full(file, table, **options):
        whole(file, table[:3], **options)
        file.flush()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("poselift.io.bvh.np.savetxt", full)
    out = tmp_path / "out"
    with pytest.raises(OutputError, match=r"cannot write .*motion\.bvh: found No space left"):
        lift_to(source, out, Options(), ("npz", "bvh", "csv"))
    assert names_in(out) == ["motion.npz"]
    assert len(read_motion(out / "motion.npz")) == 2


def test_what_was_left_out_is_noted(tmp_path):
    (path,) = poselift.write(tmp_path / "x.npz", [*people2d(2), few_joints().then("", person=2)])
    notes = lift_to(path, tmp_path / "out", Options(max_people=2), ("npz",)).notes
    assert any("left out" in note for note in notes)
    notes = lift_to(path, tmp_path / "out", Options(), ("npz",)).notes
    assert any(note.startswith("left out: person 2") for note in notes)
    assert len(notes) == len(set(notes))


def test_tracks_that_were_left_out_are_noted_once():
    poses = [
        poselift.Poses3D(
            np.zeros((2, 17, 3)),
            [0, 1],
            skeleton("h36m17"),
            history=(f"tracked: seen in {n} of 9 frames; 3 other tracks left out", "smoothed: x"),
        )
        for n in (9, 8)
    ]
    assert results._notes(poses) == ["3 other tracks left out"]


def test_read_motion_takes_3d_only(source, tmp_path):
    lift_to(source, tmp_path / "out", Options(), ("npz",))
    motion = read_motion(tmp_path / "out" / "motion.npz")
    assert [poses.axes for poses in motion] == ["world", "world"]
    assert io.read(source)[0].skeleton == COCO
    for wrong in (source, coco_file(tmp_path)):
        with pytest.raises(InputError, match="expected 3D poses"):
            read_motion(wrong)


def coco_file(folder: Path) -> Path:
    path = folder / "coco.json"
    row = [100.0, 200.0, 1.0] * 17
    path.write_text(f'[{{"image_id": 0, "category_id": 1, "keypoints": {row}}}]')
    return path
