"""Skeletons against orders written out once more, and conversion by name against hand-made values.

The orders here are typed from the descriptions of the formats, not from `skeletons.json`.
"""

import json
import re
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poselift.errors import InputError, ShapeError, UnknownNameError
from poselift.skeleton import (
    RULES,
    Skeleton,
    conversion,
    convert,
    least_confidence,
    skeleton,
    skeletons,
)


def sides(*joints: str) -> list[str]:
    """Left, right of each."""
    return [f"{side}_{joint}" for joint in joints for side in ("left", "right")]


def limb(side: str, *joints: str) -> list[str]:
    return [f"{side}_{joint}" for joint in joints]


def words(text: str) -> list[str]:
    return text.split()


ARM, LEG = ("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")
FOOT = ("big_toe", "small_toe", "heel")
COCO = ["nose", *sides("eye", "ear", *ARM, *LEG)]
FACE = [f"face_{n:02d}" for n in range(68)]
HANDS = [f"{side}_hand_{n:02d}" for side in ("left", "right") for n in range(21)]
HALPE = [*COCO, "head_top", "neck", "pelvis", *sides(*FOOT)]
OPENPOSE = ["nose", "neck", *limb("right", *ARM), *limb("left", *ARM)]
H36M_LEGS = ["pelvis", *limb("right", *LEG), *limb("left", *LEG), "spine", "thorax"]
H36M_ARMS = [*limb("left", *ARM), *limb("right", *ARM)]
ARM_3DHP = ("clavicle", *ARM, "hand")
LEG_3DHP = (*LEG, "foot", "toe")

ORDERS = {
    "h36m17": [*H36M_LEGS, "nose", "head_top", *H36M_ARMS],
    "body28": [
        *(*H36M_LEGS, "nose", "head_top", *H36M_ARMS),
        *(*sides("eye", "ear"), "neck", *sides(*FOOT)),
    ],
    "h36m16": [*H36M_LEGS, "head_top", *H36M_ARMS],
    "coco17": COCO,
    "coco_wholebody133": [*COCO, *limb("left", *FOOT), *limb("right", *FOOT), *FACE, *HANDS],
    "halpe26": HALPE,
    "halpe136": [*HALPE, *FACE, *HANDS],
    "body25": [
        *OPENPOSE,
        "pelvis",
        *limb("right", *LEG),
        *limb("left", *LEG),
        *("right_eye", "left_eye", "right_ear", "left_ear"),
        *limb("left", *FOOT),
        *limb("right", *FOOT),
    ],
    "body25b": [*COCO, "neck", "head_top", *limb("left", *FOOT), *limb("right", *FOOT)],
    "openpose18": [
        *OPENPOSE,
        *limb("right", *LEG),
        *limb("left", *LEG),
        *("right_eye", "left_eye", "right_ear", "left_ear"),
    ],
    "mediapipe33": [
        "nose",
        *limb("left", "eye_inner", "eye", "eye_outer"),
        *limb("right", "eye_inner", "eye", "eye_outer"),
        *sides("ear", "mouth", *ARM, "pinky", "index", "thumb", *LEG, "heel", "foot_index"),
    ],
    "mpii16": [
        *limb("right", *reversed(LEG)),
        *limb("left", *LEG),
        *("pelvis", "thorax", "upper_neck", "head_top"),
        *limb("right", *reversed(ARM)),
        *limb("left", *ARM),
    ],
    "mpi_inf_3dhp28": [
        *("spine3", "spine4", "spine2", "spine1", "pelvis", "neck", "head", "head_top"),
        *limb("left", *ARM_3DHP),
        *limb("right", *ARM_3DHP),
        *limb("left", *LEG_3DHP),
        *limb("right", *LEG_3DHP),
    ],
    "mpi_inf_3dhp17": [
        *("head_top", "neck"),
        *limb("right", *ARM),
        *limb("left", *ARM),
        *limb("right", *LEG),
        *limb("left", *LEG),
        *("pelvis", "spine1", "head"),
    ],
    "humaneva15": [
        *("pelvis", "thorax"),
        *limb("left", *ARM),
        *limb("right", *ARM),
        *limb("left", *LEG),
        *limb("right", *LEG),
        "head",
    ],
    "smpl24": [
        "pelvis",
        *(*sides("hip"), "spine1", *sides("knee"), "spine2", *sides("ankle"), "spine3"),
        *(*sides("foot"), "neck", *sides("collar"), "head"),
        *sides("shoulder", "elbow", "wrist", "hand"),
    ],
    "cmu_asf": words(
        "root lhipjoint lfemur ltibia lfoot ltoes rhipjoint rfemur rtibia rfoot rtoes lowerback "
        "upperback thorax lowerneck upperneck head lclavicle lhumerus lradius lwrist lhand "
        "lfingers lthumb rclavicle rhumerus rradius rwrist rhand rfingers rthumb"
    ),
    "cmu_bvh": words(
        "Hips LHipJoint LeftUpLeg LeftLeg LeftFoot LeftToeBase RHipJoint RightUpLeg RightLeg "
        "RightFoot RightToeBase LowerBack Spine Spine1 Neck Neck1 Head LeftShoulder LeftArm "
        "LeftForeArm LeftHand LeftFingerBase LeftHandIndex1 LThumb RightShoulder RightArm "
        "RightForeArm RightHand RightFingerBase RightHandIndex1 RThumb"
    ),
    "panoptic19": [
        *("neck", "nose", "pelvis"),
        *limb("left", *ARM, *LEG),
        *limb("right", *ARM, *LEG),
        *("left_eye", "left_ear", "right_eye", "right_ear"),
    ],
}

# Single places that people rely on, by number as the formats' own pages count.
PLACES = [
    ("coco17", {0: "nose", 1: "left_eye", 5: "left_shoulder", 11: "left_hip", 16: "right_ankle"}),
    ("body25", {1: "neck", 8: "pelvis", 15: "right_eye", 19: "left_big_toe", 24: "right_heel"}),
    ("body25b", {17: "neck", 18: "head_top", 20: "left_small_toe", 22: "right_big_toe"}),
    ("openpose18", {8: "right_hip", 13: "left_ankle", 14: "right_eye", 17: "left_ear"}),
    ("halpe26", {17: "head_top", 18: "neck", 19: "pelvis", 21: "right_big_toe", 24: "left_heel"}),
    ("halpe136", {26: "face_00", 93: "face_67", 94: "left_hand_00", 135: "right_hand_20"}),
    (
        "coco_wholebody133",
        {17: "left_big_toe", 20: "right_big_toe", 23: "face_00", 91: "left_hand_00"},
    ),
    ("coco_wholebody133", {112: "right_hand_00", 132: "right_hand_20", 22: "right_heel"}),
    ("mediapipe33", {2: "left_eye", 7: "left_ear", 10: "right_mouth", 12: "right_shoulder"}),
    ("mediapipe33", {17: "left_pinky", 22: "right_thumb", 29: "left_heel", 32: "right_foot_index"}),
    ("h36m17", {0: "pelvis", 1: "right_hip", 4: "left_hip", 7: "spine", 8: "thorax", 9: "nose"}),
    ("h36m17", {10: "head_top", 11: "left_shoulder", 14: "right_shoulder", 16: "right_wrist"}),
    ("h36m16", {8: "thorax", 9: "head_top", 10: "left_shoulder", 15: "right_wrist"}),
    ("mpii16", {0: "right_ankle", 3: "left_hip", 6: "pelvis", 9: "head_top", 12: "right_shoulder"}),
    ("mpi_inf_3dhp28", {3: "spine1", 4: "pelvis", 7: "head_top", 18: "left_hip", 27: "right_toe"}),
    ("mpi_inf_3dhp17", {2: "right_shoulder", 8: "right_hip", 14: "pelvis", 16: "head"}),
    ("humaneva15", {1: "thorax", 2: "left_shoulder", 8: "left_hip", 14: "head"}),
    ("smpl24", {1: "left_hip", 9: "spine3", 12: "neck", 15: "head", 23: "right_hand"}),
    ("panoptic19", {2: "pelvis", 3: "left_shoulder", 9: "right_shoulder", 18: "right_ear"}),
    ("cmu_asf", {2: "lfemur", 16: "head", 19: "lradius", 30: "rthumb"}),
    ("cmu_bvh", {2: "LeftUpLeg", 16: "Head", 18: "LeftArm", 30: "RThumb"}),
]

PARENTS = {
    "h36m17": [-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15],
    "humaneva15": [-1, 0, 1, 2, 3, 1, 5, 6, 0, 8, 9, 0, 11, 12, 1],
    "smpl24": [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21],
}

# Midline joints, all others have a twin.
MIDDLE = {
    *("nose", "neck", "pelvis", "spine", "thorax", "head", "head_top", "upper_neck"),
    *("spine1", "spine2", "spine3", "spine4", *FACE),
    *("root", "lowerback", "upperback", "lowerneck", "upperneck"),
    *("Hips", "LowerBack", "Spine", "Spine1", "Neck", "Neck1", "Head"),
}

every_skeleton = pytest.mark.parametrize("name", sorted(ORDERS))
pairs = st.tuples(st.sampled_from(sorted(ORDERS)), st.sampled_from(sorted(ORDERS)))


def points(name: str, *lead: int, seed: int = 0, size: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(*lead, len(skeleton(name)), size))


def at(values: np.ndarray, name: str, joint: str) -> np.ndarray:
    return values[..., skeleton(name).index(joint), :]


def test_every_skeleton_has_its_order_in_this_file():
    assert sorted(skeletons()) == sorted(ORDERS)


@every_skeleton
def test_order(name):
    assert list(skeleton(name).joints) == ORDERS[name]
    assert len(skeleton(name)) == len(ORDERS[name])


@pytest.mark.parametrize(("name", "places"), PLACES)
def test_places(name, places):
    body = skeleton(name)
    assert {n: body.joints[n] for n in places} == places
    assert [body.index(joint) for joint in places.values()] == list(places)


def test_the_count_in_a_name_is_the_count_of_joints():
    for name in skeletons():
        digits = re.search(r"(\d+)b?$", name)
        assert digits is None or len(skeleton(name)) == int(digits[1]), name


def test_3dhp17_is_the_known_choice_from_28():
    chosen = [7, 5, 14, 15, 16, 9, 10, 11, 23, 24, 25, 18, 19, 20, 4, 3, 6]
    joints = skeleton("mpi_inf_3dhp28").joints
    assert [joints[n] for n in chosen] == list(skeleton("mpi_inf_3dhp17").joints)


@pytest.mark.parametrize("name", sorted(PARENTS))
def test_parents_of_the_data_sets(name):
    assert skeleton(name).parents == PARENTS[name]


@every_skeleton
def test_every_joint_hangs_on_one_root(name):
    body = skeleton(name)
    roots = [n for n, parent in enumerate(body.parents) if parent < 0]
    assert len(roots) == 1
    for joint in range(len(body)):
        steps = 0
        while body.parents[joint] >= 0:
            joint, steps = body.parents[joint], steps + 1
            assert steps < len(body), "a loop"
        assert joint == roots[0]
    assert body.edges == [(p, n) for n, p in enumerate(body.parents) if n != roots[0]]


@every_skeleton
def test_a_bone_never_crosses_from_side_to_side(name):
    body = skeleton(name)
    for parent, child in body.edges:
        both = {body.side(body.joints[parent]), body.side(body.joints[child])}
        assert both != {"left", "right"}


@every_skeleton
def test_mirror_is_an_involution_that_swaps_sides_and_keeps_bones(name):
    body = skeleton(name)
    assert [body.mirror[twin] for twin in body.mirror] == list(range(len(body)))
    swapped = {"left": "right", "right": "left", "middle": "middle"}
    for joint, twin in zip(body.joints, body.mirror, strict=True):
        assert body.side(body.joints[twin]) == swapped[body.side(joint)]
        assert (body.side(joint) == "middle") == (joint in MIDDLE), joint
        assert (body.joints[twin] == joint) == (joint in MIDDLE), joint
    bones = {(body.mirror[p], body.mirror[n]) for p, n in body.edges}
    assert bones == set(body.edges)


@pytest.mark.parametrize(
    ("name", "joint", "twin", "side"),
    [
        ("coco17", "left_ear", "right_ear", "left"),
        ("cmu_asf", "rhipjoint", "lhipjoint", "right"),
        ("cmu_asf", "lowerback", "lowerback", "middle"),
        ("cmu_asf", "root", "root", "middle"),
        ("cmu_bvh", "LHipJoint", "RHipJoint", "left"),
        ("cmu_bvh", "LeftHandIndex1", "RightHandIndex1", "left"),
        ("cmu_bvh", "RThumb", "LThumb", "right"),
        ("cmu_bvh", "LowerBack", "LowerBack", "middle"),
        ("coco_wholebody133", "right_hand_07", "left_hand_07", "right"),
    ],
)
def test_twins(name, joint, twin, side):
    body = skeleton(name)
    assert body.joints[body.mirror[body.index(joint)]] == twin
    assert body.side(joint) == side


def test_h36m_sides_are_the_numbers_that_every_paper_uses():
    body = skeleton("h36m17")
    left = [n for n, joint in enumerate(body.joints) if body.side(joint) == "left"]
    assert left == [4, 5, 6, 11, 12, 13]
    right = [n for n, joint in enumerate(body.joints) if body.side(joint) == "right"]
    assert right == [1, 2, 3, 14, 15, 16]


def test_unknown_names_list_the_known_ones():
    with pytest.raises(UnknownNameError) as error:
        skeleton("coco18")
    assert "'coco18'" in str(error.value)
    assert all(name in str(error.value) for name in skeletons())
    with pytest.raises(UnknownNameError, match=r"joint of h36m17.*'tail'.*known: .*pelvis"):
        skeleton("h36m17").index("tail")


def test_membership_and_index():
    body = skeleton("coco17")
    assert "nose" in body
    assert "pelvis" not in body
    assert body.index("right_ankle") == 16


def test_the_order_is_part_of_what_a_skeleton_is():
    names = {"pelvis": "", "head": "pelvis"}
    turned = dict(reversed(names.items()))
    assert Skeleton("mine", names) == Skeleton("mine", dict(names))
    assert Skeleton("mine", names) != Skeleton("mine", turned)
    assert Skeleton("mine", names) != Skeleton("yours", names)
    assert Skeleton("mine", names) != Skeleton("mine", names, "joints")
    assert Skeleton("mine", names) != "mine"
    assert len({Skeleton("mine", names), Skeleton("mine", dict(names))}) == 1


@pytest.mark.parametrize(
    "parent_of",
    [
        {"pelvis": "", "head": "neck"},
        {"pelvis": "", "a": "b", "b": "a"},
        {"pelvis": "", "a": "a"},
        {"a": "b", "b": "a"},
        {},
    ],
    ids=["unknown parent", "loop", "own parent", "no root", "no joints"],
)
def test_a_skeleton_is_a_tree(parent_of):
    with pytest.raises(InputError, match="skeleton mine"):
        Skeleton("mine", parent_of)


def test_the_table_says_what_detectors_give_and_what_bodies_give():
    kinds = {name: skeleton(name).kind for name in skeletons()}
    assert set(kinds.values()) == {"keypoints", "joints"}
    surface = {name for name, kind in kinds.items() if kind == "keypoints"}
    assert surface == {
        *("coco17", "coco_wholebody133", "halpe26", "halpe136", "body25", "body25b"),
        *("openpose18", "mediapipe33", "mpii16"),
    }


def test_the_file_holds_no_joint_twice():
    def plain(items: list[tuple[str, object]]) -> dict[str, object]:
        assert len(dict(items)) == len(items), items
        return dict(items)

    text = files("poselift").joinpath("skeletons.json").read_text(encoding="utf-8")
    json.loads(text, object_pairs_hook=plain)


# Conversion


def test_rules_are_averages_in_the_wide_sense():
    for joint, rules in RULES.items():
        for rule in rules:
            assert sum(rule.values()) == pytest.approx(1), joint


@given(pairs)
def test_rows_of_a_conversion_sum_to_one_or_are_nan(names):
    source, target = map(skeleton, names)
    matrix = conversion(source, target)
    assert matrix.shape == (len(target), len(source))
    for row in matrix:
        assert np.isnan(row).all() or row.sum() == pytest.approx(1)


@given(pairs, st.integers(0, 1000))
def test_conversion_follows_shifts_turns_and_scales(names, seed):
    source, target = map(skeleton, names)
    values = points(source.name, 2, seed=seed)
    move = np.random.default_rng(seed).normal(size=(3, 3))
    converted = convert(values, source, target)
    np.testing.assert_allclose(
        convert(values @ move + 5, source, target), converted @ move + 5, atol=1e-9
    )


@given(pairs, st.integers(0, 1000))
def test_conversion_does_not_know_left_from_right(names, seed):
    source, target = map(skeleton, names)
    values = points(source.name, 2, seed=seed)
    mirrored = convert(values[:, source.mirror], source, target)
    expected = convert(values, source, target)[:, target.mirror]
    np.testing.assert_allclose(mirrored, expected, atol=1e-12)


@given(pairs)
def test_same_names_are_copied_where_the_rules_have_no_say(names):
    source, target = map(skeleton, names)
    values = points(source.name)
    converted = convert(values, source, target)
    for joint in set(source.joints) & set(target.joints) - {"thorax", "spine", "head_top"}:
        np.testing.assert_array_equal(
            at(converted, target.name, joint), at(values, source.name, joint)
        )


@every_skeleton
def test_a_skeleton_converts_to_itself(name):
    values = points(name, 4)
    np.testing.assert_array_equal(convert(values, skeleton(name), skeleton(name)), values)


@pytest.mark.parametrize(
    ("source", "target", "joint"),
    [
        ("halpe26", "halpe136", "head_top"),
        ("halpe26", "body25b", "head_top"),
        ("body25b", "halpe26", "neck"),
        ("body25", "halpe26", "pelvis"),
    ],
)
def test_between_detectors_a_joint_stays_where_it_was_seen(source, target, joint):
    values = points(source)
    converted = convert(values, skeleton(source), skeleton(target))
    np.testing.assert_array_equal(at(converted, target, joint), at(values, source, joint))


def test_coco_to_halpe_and_back_returns():
    coco, halpe = skeleton("coco17"), skeleton("halpe26")
    values = points("coco17", 5, size=2)
    wide = convert(values, coco, halpe)
    np.testing.assert_array_equal(convert(wide, halpe, coco), values)
    missing = [j for j in halpe.joints if np.isnan(at(wide, "halpe26", j)).all()]
    assert missing == sides(*FOOT)
    assert not np.isnan(wide[:, [halpe.index(j) for j in halpe.joints if j not in missing]]).any()


def coco_by_hand() -> np.ndarray:
    xy = {
        "nose": (50, 12),
        "left_ear": (54, 10),
        "right_ear": (46, 10),
        "left_eye": (52, 9),
        "right_eye": (48, 9),
        "left_shoulder": (60, 30),
        "right_shoulder": (40, 34),
        "left_hip": (56, 70),
        "right_hip": (44, 74),
    }
    return np.array([xy.get(joint, (n, -n)) for n, joint in enumerate(COCO)], dtype=float)


def test_h36m_from_coco_by_hand():
    values = coco_by_hand()
    converted = convert(values, skeleton("coco17"), skeleton("h36m17"))
    expected = {
        "pelvis": (50, 72),
        "thorax": (50, 32),
        "spine": (50, 52),
        "nose": (50, 12),
        # Ears at (50, 10), shoulders at (50, 32): 0.6 of the way further up.
        "head_top": (50, 10 - 0.6 * 22),
        "left_hip": (56, 70),
        "right_hip": (44, 74),
        "left_shoulder": (60, 30),
        "right_wrist": (10, -10),
        "left_ankle": (15, -15),
    }
    for joint, xy in expected.items():
        np.testing.assert_allclose(at(converted, "h36m17", joint), xy, atol=1e-12, err_msg=joint)
    assert not np.isnan(converted).any()


def test_h36m16_from_coco_has_no_nose():
    converted = convert(coco_by_hand(), skeleton("coco17"), skeleton("h36m16"))
    assert not np.isnan(converted).any()
    np.testing.assert_allclose(converted[8], (50, 32))
    np.testing.assert_allclose(converted[9], (50, -3.2))


def test_detectors_without_ears_prolong_through_the_eyes():
    joints = ("left_eye", "right_eye", "left_shoulder", "right_shoulder")
    own = Skeleton("no ears", dict.fromkeys(joints, "") | {"left_eye": ""})
    values = np.array([[52.0, 9], [48, 9], [60, 30], [40, 34]])
    top = convert(values, own, Skeleton("top", {"head_top": ""}))
    np.testing.assert_allclose(top, [[50, 9 - 0.6 * 23]])


@pytest.mark.parametrize("source", ["body25", "halpe26", "openpose18", "body25b", "mediapipe33"])
def test_detectors_give_the_thorax_between_the_shoulders_and_the_spine_halfway(source):
    values = points(source, 3)
    converted = convert(values, skeleton(source), skeleton("h36m17"))
    shoulders = (at(values, source, "left_shoulder") + at(values, source, "right_shoulder")) / 2
    hips = (at(values, source, "left_hip") + at(values, source, "right_hip")) / 2
    ears = (at(values, source, "left_ear") + at(values, source, "right_ear")) / 2
    np.testing.assert_allclose(at(converted, "h36m17", "thorax"), shoulders)
    np.testing.assert_allclose(at(converted, "h36m17", "spine"), (shoulders + hips) / 2)
    np.testing.assert_allclose(at(converted, "h36m17", "head_top"), ears + 0.6 * (ears - shoulders))


def test_body25_keeps_its_own_pelvis():
    values = points("body25", 3)
    converted = convert(values, skeleton("body25"), skeleton("h36m17"))
    np.testing.assert_array_equal(converted[:, 0], values[:, 8])


def test_bodies_keep_their_own_thorax():
    values = points("humaneva15", 3)
    converted = convert(values, skeleton("humaneva15"), skeleton("h36m17"))
    np.testing.assert_array_equal(
        at(converted, "h36m17", "thorax"), at(values, "humaneva15", "thorax")
    )
    assert np.isnan(at(converted, "h36m17", "nose")).all()


def test_mpii_has_no_ears_and_keeps_its_head_top():
    values = points("mpii16", 3)
    converted = convert(values, skeleton("mpii16"), skeleton("h36m17"))
    np.testing.assert_array_equal(at(converted, "h36m17", "head_top"), values[:, 9])


def test_mediapipe_toes():
    values = points("mediapipe33", 3)
    halpe = convert(values, skeleton("mediapipe33"), skeleton("halpe26"))
    np.testing.assert_array_equal(at(halpe, "halpe26", "left_big_toe"), values[:, 31])
    np.testing.assert_array_equal(at(halpe, "halpe26", "right_big_toe"), values[:, 32])
    np.testing.assert_array_equal(at(halpe, "halpe26", "right_heel"), values[:, 30])
    assert np.isnan(at(halpe, "halpe26", "left_small_toe")).all()
    back = convert(halpe, skeleton("halpe26"), skeleton("mediapipe33"))
    np.testing.assert_array_equal(at(back, "mediapipe33", "left_foot_index"), values[:, 31])
    assert np.isnan(at(back, "mediapipe33", "left_thumb")).all()


@given(pairs, st.integers(0, 1000))
def test_nan_spreads_to_what_is_built_from_it_and_no_further(names, seed):
    source, target = map(skeleton, names)
    values = points(source.name, seed=seed)
    lost = seed % len(source)
    values[lost, 1] = np.nan
    whole = convert(points(source.name, seed=seed), source, target)
    converted = convert(values, source, target)
    uses = conversion(source, target)[:, lost]
    for row in range(len(target)):
        if uses[row] != 0 and not np.isnan(uses[row]):
            assert np.isnan(converted[row, 1])
        else:
            np.testing.assert_array_equal(converted[row], whole[row])


def test_a_lost_ear_costs_the_head_top_only():
    values = coco_by_hand()
    values[3] = np.nan
    converted = convert(values, skeleton("coco17"), skeleton("h36m17"))
    lost = [skeleton("h36m17").joints[n] for n in np.flatnonzero(np.isnan(converted).any(-1))]
    assert lost == ["head_top"]


@pytest.mark.parametrize("shape", [(16, 2), (17,), (2, 18, 3), (17, 2, 2), ()])
def test_a_wrong_count_of_joints_is_refused(shape):
    with pytest.raises(ShapeError, match=r"points of coco17.*17, C.*found \("):
        convert(np.zeros(shape), skeleton("coco17"), skeleton("h36m17"))


def test_the_least_confidence_of_the_joints_used_is_carried_over():
    confidence = np.linspace(0.9, 0.1, 17)
    out = least_confidence(confidence, skeleton("coco17"), skeleton("h36m17"))
    by_joint = dict(zip(skeleton("h36m17").joints, out, strict=True))
    by_coco = dict(zip(COCO, confidence, strict=True))
    assert by_joint["nose"] == by_coco["nose"]
    assert by_joint["pelvis"] == by_coco["right_hip"]
    assert by_joint["spine"] == by_coco["right_hip"]
    assert by_joint["head_top"] == by_coco["right_shoulder"]
    toes = least_confidence(confidence, skeleton("coco17"), skeleton("halpe26"))[20:]
    assert (toes == 0).all()


def test_confidence_of_many_frames():
    confidence = np.random.default_rng(0).uniform(size=(4, 5, 17))
    out = least_confidence(confidence, skeleton("coco17"), skeleton("h36m17"))
    assert out.shape == (4, 5, 17)
    np.testing.assert_array_equal(out[..., 0], confidence[..., [11, 12]].min(-1))


def test_a_wrong_count_of_confidences_is_refused():
    with pytest.raises(ShapeError, match="confidence of coco17"):
        least_confidence(np.ones(16), skeleton("coco17"), skeleton("h36m17"))
