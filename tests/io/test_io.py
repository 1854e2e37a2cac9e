import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from poselift.errors import FormatError, InputError, UnknownNameError
from poselift.io import read, source_kind, write
from poselift.poses import Poses2D, Poses3D
from poselift.skeleton import skeleton

H36M = skeleton("h36m17")


def person(number: int = 0, **options: object) -> Poses3D:
    xyz = np.random.default_rng(number).normal(0, 1, (3, 17, 3))
    xyz[1] = np.nan
    known = {"axes": "world", "origin": "world", "person": number}
    return Poses3D(xyz, [0.0, 0.04, 0.1], H36M, **{**known, **options})


def test_csv(tmp_path: Path) -> None:
    people = [person(2), person(1)]
    assert write(tmp_path / "a.csv", people) == [tmp_path / "a.csv"]
    lines = (tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()
    head = [line for line in lines if line.startswith("#")]
    assert head[:3] == [
        "# units: metres, seconds",
        "# axes: world (right-handed, z up)",
        "# origin: world (the origin of the world)",
    ]
    rows = list(csv.DictReader(lines[len(head) :]))
    assert [(row["time_s"], row["person"]) for row in rows] == [
        (time, number) for time in ("0.000000", "0.040000", "0.100000") for number in ("2", "1")
    ]
    assert list(rows[0])[:5] == ["time_s", "person", "pelvis_x_m", "pelvis_y_m", "pelvis_z_m"]
    assert float(rows[5]["left_wrist_z_m"]) == pytest.approx(
        people[1].xyz_m[2, H36M.index("left_wrist"), 2], abs=1e-6
    )
    assert rows[2]["pelvis_x_m"] == rows[2]["right_wrist_z_m"] == ""


def test_csv_refusals(tmp_path: Path) -> None:
    flat = Poses2D(np.zeros((1, 17, 2)), np.ones((1, 17)), [0.0], (9, 9), skeleton("coco17"))
    for people in ([], [flat], [person(), flat]):
        with pytest.raises(InputError, match="CSV"):
            write(tmp_path / "a.csv", people)
    with pytest.raises(InputError, match="one skeleton, axes and origin"):
        write(tmp_path / "a.csv", [person(), person(1, axes="camera")])
    assert list(tmp_path.iterdir()) == []


def test_write_chooses_by_suffix(tmp_path: Path) -> None:
    assert [p.name for p in write(tmp_path / "a.BVH", [person(), person(1)])] == [
        "a.BVH",
        "a_person2.BVH",
    ]
    with pytest.raises(UnknownNameError, match=r"'\.fbx' \(known: \.bvh, \.csv, \.json, \.npz\)"):
        write(tmp_path / "a.fbx", [person()])


def test_kinds(tmp_path: Path) -> None:
    write(tmp_path / "a.npz", [person()])
    write(tmp_path / "a.json", [person()])
    write(tmp_path / "a.csv", [person()])
    openpose, images, mixed = tmp_path / "openpose", tmp_path / "images", tmp_path / "mixed"
    for folder in (openpose, images, mixed, tmp_path / "nothing"):
        folder.mkdir()
    for folder in (openpose, mixed):
        (folder / "0_keypoints.json").write_text('{"people": []}')
    for folder in (images, mixed):
        (folder / "0.JPG").write_text("x")
    (tmp_path / "coco.json").write_text('[{"image_id": 1, "keypoints": []}]')
    (tmp_path / "clip.mov").write_text("x")
    kinds = {
        "a.npz": "poses",
        "a.json": "poses",
        "openpose": "keypoints",
        "openpose/0_keypoints.json": "keypoints",
        "coco.json": "keypoints",
        "images": "images",
        "images/0.JPG": "images",
        "clip.mov": "video",
    }
    for name, kind in kinds.items():
        assert source_kind(tmp_path / name) == kind
    (tmp_path / "other.json").write_text(json.dumps({"instance_info": []}))
    (tmp_path / "zero.json").touch()
    faults = {
        "mixed": "images and JSON",
        "nothing": "neither images nor keypoints",
        "absent": "does not exist",
        "a.csv": "written, not read",
        "other.json": "no known layout.*OpenPose",
        "zero.json": "is empty",
    }
    for name, reason in faults.items():
        with pytest.raises(FormatError, match=reason):
            source_kind(tmp_path / name)


def test_options_that_a_file_does_not_need(tmp_path: Path) -> None:
    for suffix in (".npz", ".json"):
        write(tmp_path / f"a{suffix}", [person()])
        with pytest.raises(InputError, match="has its own fps and layout"):
            read(tmp_path / f"a{suffix}", fps=30, layout="coco17")
    (tmp_path / "a.mp4").write_text("x")
    with pytest.raises(FormatError, match=r"cannot be read as poses \(known: poselift \.npz"):
        read(tmp_path / "a.mp4")


def test_import_is_light() -> None:
    code = (
        "import sys, poselift.io; print(sorted({'av', 'cv2', 'scipy', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
