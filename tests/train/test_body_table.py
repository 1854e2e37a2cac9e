"""The table of bodies against anny's own answers (made by scripts/check_bodies.py)."""

from pathlib import Path

import numpy as np
import pytest

from poselift.errors import InputError
from poselift.skeleton import skeleton
from poselift.train.bodies import body_table

GROUPS = {"child": (2, 12), "teen": (12, 18), "adult": (18, 65), "senior": (65, 90)}
REST = np.eye(3)[None, None].repeat(31, axis=1)


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).with_name("body_poses.npz")) as data:
        return {name: data[name] for name in data.files}


def rest_points(body: int) -> dict[str, np.ndarray]:
    table = body_table()
    _, points = table.posed(body, REST)
    return dict(zip(table.keypoints, points[0] + table.head_m[body, 0], strict=True))


def test_table_is_anny_to_a_hundredth_of_a_millimetre(truth):
    table = body_table()
    assert tuple(truth["keypoints"]) == table.keypoints
    for row, body in enumerate(truth["body"]):
        heads, keypoints = table.posed(body, truth["turn"])
        assert np.abs(heads - truth["head_m"][row]).max() < 1e-5
        assert np.linalg.norm(keypoints - truth["keypoint_m"][row], axis=-1).max() < 1e-5


def test_answers_cover_every_group_and_are_not_all_alike(truth):
    assert set(body_table().group[truth["body"]]) == set(GROUPS)
    assert np.ptp(truth["keypoint_m"], axis=(0, 1)).max(axis=-1).min() > 0.1


def test_keypoints_are_what_detectors_report():
    table = body_table()
    feet = [f"{s}_{part}" for s in ("left", "right") for part in ("big_toe", "small_toe", "heel")]
    assert set(table.keypoints) == {*skeleton("coco17").joints, *feet, "head_top"}
    assert set(table.keypoints) | {"neck", "pelvis"} == set(skeleton("halpe26").joints)


def test_every_keypoint_moves_with_its_bones_as_a_whole():
    table = body_table()
    total = np.bincount(table.pair_keypoint, table.pair_weight)
    assert total == pytest.approx(1, abs=1e-6)
    assert len(total) == len(table.keypoints)


def test_head_top_is_the_top_and_rigid_on_the_head():
    table = body_table()
    mine = table.pair_keypoint == table.keypoints.index("head_top")
    assert table.pair_bone[mine].tolist() == [table.index("Head")]
    for body in (0, 100, 511):
        z = {name: point[2] for name, point in rest_points(body).items()}
        sole = min(z["left_big_toe"], z["left_small_toe"], z["left_heel"])
        # the lowest points of a sole lie some millimetres to a centimetre or two below
        assert 0 < table.stature_m[body] - (z["head_top"] - sole) < 0.03


def test_bodies_are_nearly_symmetric():
    for body in (0, 200, 400):
        at = rest_points(body)
        for name in (name for name in at if name.startswith("left_")):
            twin = at[name.replace("left_", "right_")] * (-1, 1, 1)
            assert at[name] == pytest.approx(twin, abs=2e-3)


def test_groups_have_their_ages_and_sizes():
    table = body_table()
    assert set(table.group) == set(GROUPS)
    for name, (low, high) in GROUPS.items():
        age = table.age_years[table.group == name]
        assert low <= age.min() < age.max() <= high
    adult = table.group == "adult"
    assert 0.6 < adult.mean() < 0.7
    men, women = (table.stature_m[adult & rows] for rows in (table.sex < 0.5, table.sex > 0.5))
    assert 1.72 < men.mean() < 1.82
    assert 1.55 < women.mean() < 1.68
    assert table.stature_m[table.group == "child"].mean() < 1.3
    assert 0.7 < table.stature_m.min() < table.stature_m.max() < 2.1


def test_splits_share_no_body_and_hold_every_group_of_both_sexes():
    table = body_table()
    parts = [table.of_split(split) for split in (0, 1, 2)]
    assert sum(len(part.sex) for part in parts) == len(table.sex) == 512
    assert len(parts[0].sex) / len(table.sex) == pytest.approx(0.8, abs=0.02)
    assert len(parts[1].sex) == len(parts[2].sex)
    assert len(np.unique(table.head_m.reshape(512, -1), axis=0)) == 512
    for split, part in enumerate(parts):
        assert (part.split == split).all()
        kinds = set(zip(part.group.tolist(), (part.sex > 0.5).tolist(), strict=True))
        assert len(kinds) == 2 * len(GROUPS)


def test_bodies_of_a_split_keep_what_belongs_together():
    table = body_table()
    part = table.of_split(2)
    row = int(np.flatnonzero(table.split == 2)[3])
    assert part.stature_m[3] == table.stature_m[row]
    assert part.pair_weight is table.pair_weight
    for ours, theirs in zip(part.posed(3, REST), table.posed(row, REST), strict=True):
        assert np.array_equal(ours, theirs)


def test_unknown_split_is_an_error_that_lists_the_known():
    with pytest.raises(InputError, match=r"found 3 \(known: 0, 1, 2\)"):
        body_table().of_split(3)


def test_flesh_is_as_thick_as_people_are():
    table = body_table()
    radius = dict(
        zip(table.bones, table.radius_m[table.group == "adult"].mean(axis=0), strict=True)
    )
    assert np.isfinite(table.radius_m).all()
    assert 0.06 < radius["LeftUpLeg"] < 0.10
    assert 0.04 < radius["RightLeg"] < 0.07
    assert 0.025 < radius["RightForeArm"] < radius["RightArm"] < 0.06
    assert 0.06 < radius["Head"] < 0.10
    assert radius["Spine"] > 0.10
