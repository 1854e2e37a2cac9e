"""HumanEva-I on files as users have them."""

import numpy as np
import pytest

from poselift.errors import InputError
from poselift.poses import Poses2D, Poses3D
from poselift.protocols import humaneva, run
from poselift.protocols.conventions import Conventions
from poselift.protocols.legacy import read_entry
from poselift.protocols.report import published

from . import datasets
from .datasets import H36M, knows_all


def test_humaneva_has_three_actions_of_the_validate_parts(tmp_path):
    folder = datasets.humaneva(tmp_path)
    report = run("humaneva", folder, None)
    assert list(report.table.scores["MPJPE"]) == ["Walk", "Jog", "Box", "average"]
    assert max(max(row.values()) for row in report.table.scores.values()) < 1e-6
    # Three subjects, three cameras; two chunks of walking of 4 and 5 frames.
    assert report.table.frames == {"Walk": 9 * (4 + 5), "Jog": 9 * 6, "Box": 9 * 7}


def test_humaneva_by_subject_stands_beside_the_published_rows(tmp_path):
    folder = datasets.humaneva(tmp_path)

    def change(xyz_m, video):
        return xyz_m + np.array([0.001 * int(video.subject[1]), 0, 0])

    videos = list(humaneva.read(folder, "gt", humaneva.SUBJECTS, Conventions()))
    changes = ["by_subject=yes", "flip=no"]
    report = run("humaneva", folder, knows_all(videos, change), changes=changes)
    row = report.table.scores["MPJPE"]
    assert [row[f"S{n} Box"] for n in (1, 2, 3)] == pytest.approx([1, 2, 3])
    shown = {row["model"] for row in published("humaneva") if "S1 Walk" in row["metrics"]["MPJPE"]}
    assert shown
    assert videos[0].observed.rate_hz == pytest.approx(60)
    assert videos[0].observed.camera is None
    assert videos[0].observed.size_px == (640, 480)


def test_humaneva_takes_a_human36m_body(tmp_path):
    folder = datasets.humaneva(tmp_path)

    def lift(observed: Poses2D) -> Poses3D:
        return Poses3D(np.zeros((len(observed.time_s), 17, 3)), observed.time_s, H36M)

    report = run("humaneva", folder, lift)
    assert report.table.missed == 0
    assert report.table.scores["MPJPE"]["average"] > 100


def test_humaneva_names_what_is_missing(tmp_path):
    folder = datasets.humaneva(tmp_path)
    with pytest.raises(InputError, match=r"positions_3d lacks an entry: expected 'Validate/S4'"):
        run("humaneva", folder, None, subjects=["S4"])
    path = folder / "data_3d_humaneva15.npz"
    three = read_entry(path, "positions_3d")
    del three["Validate/S2"]["Box 1 chunk0"]
    datasets.save(path, positions_3d=three)
    with pytest.raises(InputError, match=r"positions_3d\['Validate/S2'\] lacks actions.*Box"):
        run("humaneva", folder, None)
