import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from poselift.train.bodies import alignment, body_table
from poselift.train.posing import BODY, HALPE, Bodies, Posed, own_capsules, planted_path

CPU = torch.device("cpu")


def zero_pose() -> dict[str, np.ndarray]:
    """Arms to the sides, legs a little apart, feet forward."""
    out = {}
    for side, x in (("Left", 1.0), ("Right", -1.0)):
        out |= {f"{side}{bone}": np.array([x, 0, 0]) for bone in ("Arm", "ForeArm", "Hand")}
        out |= {f"{side}{bone}": np.array([0.1 * x, 0, -1]) for bone in ("UpLeg", "Leg")}
        out[f"{side}Foot"] = np.array([0, -1.0, -0.3])
    return out


@pytest.fixture(scope="module")
def bodies() -> Bodies:
    table = body_table().of_split(1)
    return Bodies(table, alignment(table, zero_pose())[:, None], CPU)


def still(batch: int = 1, frames: int = 1) -> torch.Tensor:
    return torch.eye(3).expand(batch, frames, 31, 3, 3)


def pose(bodies, rotation, scales=None, shape: int = 0, offset=None) -> Posed:
    index = torch.full((len(rotation),), shape)
    scales = torch.ones(len(rotation), 31) if scales is None else scales
    return bodies.pose(rotation @ bodies.alignments[index, 0][:, None], index, scales, offset)


def joint(posed: Posed, name: str) -> torch.Tensor:
    return posed.joints_m[:, :, BODY.index(name)]


def point(posed: Posed, name: str) -> torch.Tensor:
    return posed.surface_m[:, :, HALPE.index(name)]


def random_turns(batch: int, frames: int, seed: int) -> torch.Tensor:
    vectors = np.random.default_rng(seed).normal(size=(batch * frames * 31, 3))
    turns = Rotation.from_rotvec(vectors).as_matrix()
    return torch.tensor(turns).float().view(batch, frames, 31, 3, 3)


def test_points_are_those_of_the_plain_formula(bodies):
    turn = random_turns(1, 4, 0)
    heads, keypoints = bodies.table.posed(3, turn[0].double().numpy())
    posed = bodies.pose(turn, torch.tensor([3]), torch.ones(1, 31))
    for name in ("left_elbow", "nose", "right_heel", "left_small_toe", "head_top"):
        expected = keypoints[:, bodies.table.keypoints.index(name)]
        assert point(posed, name)[0].numpy() == pytest.approx(expected, abs=1e-5)
    for name, bone in (("left_knee", "LeftLeg"), ("right_wrist", "RightHand"), ("neck", "Neck")):
        expected = heads[:, bodies.table.index(bone)]
        assert joint(posed, name)[0].numpy() == pytest.approx(expected, abs=1e-5)


def test_zero_pose_limbs_point_where_the_motion_says(bodies):
    posed = pose(bodies, still())
    arm = (joint(posed, "left_wrist") - joint(posed, "left_shoulder"))[0, 0].numpy()
    assert arm / np.linalg.norm(arm) == pytest.approx([1, 0, 0], abs=1e-4)
    thigh = (joint(posed, "right_knee") - joint(posed, "right_hip"))[0, 0].numpy()
    down = zero_pose()["RightUpLeg"]
    assert thigh / np.linalg.norm(thigh) == pytest.approx(down / np.linalg.norm(down), abs=1e-4)
    heights = [joint(posed, n)[0, 0, 2] for n in ("head_top", "nose", "neck", "thorax", "pelvis")]
    assert heights == sorted(heights, reverse=True)
    assert joint(posed, "nose")[0, 0, 1] < joint(posed, "neck")[0, 0, 1]  # the face looks along -y
    for toe in ("left_big_toe", "right_small_toe"):
        assert point(posed, toe)[0, 0, 1] < point(posed, f"{toe.split('_')[0]}_heel")[0, 0, 1]


def test_turning_everything_turns_everything(bodies):
    turn = torch.tensor(Rotation.from_euler("z", 40, degrees=True).as_matrix()).float()
    before, after = pose(bodies, still()), pose(bodies, turn.expand(1, 1, 31, 3, 3))
    for name in ("surface_m", "joints_m", "capsule_m"):
        assert torch.allclose(getattr(before, name) @ turn.T, getattr(after, name), atol=1e-5)


def test_bone_lengths_do_not_depend_on_the_pose(bodies):
    posed = pose(bodies, random_turns(2, 5, 1))
    for a, b in (("left_hip", "left_knee"), ("right_elbow", "right_wrist")):
        assert (joint(posed, a) - joint(posed, b)).norm(dim=-1).std() < 1e-5


def test_segment_scale_lengthens_its_bone_alone(bodies):
    scales = bodies.segment_scales(1, 0.1, torch.Generator().manual_seed(1))
    thigh = scales[0, bodies.table.index("LeftUpLeg")]
    assert thigh == scales[0, bodies.table.index("RightUpLeg")]
    before, after = pose(bodies, still()), pose(bodies, still(), scales)

    def length(posed):
        return (joint(posed, "left_hip") - joint(posed, "left_knee")).norm()

    assert length(after) / length(before) == pytest.approx(float(thigh), rel=1e-5)


def test_detector_points_differ_from_joint_centres_and_by_the_offsets_asked_for(bodies):
    posed = pose(bodies, still())
    gap = (point(posed, "left_hip") - joint(posed, "left_hip")).norm()
    assert 0.01 < gap < 0.08
    offset = torch.zeros(1, 26, 3)
    offset[0, HALPE.index("left_hip"), 0] = 0.02
    moved = pose(bodies, still(), offset=offset)
    shift = (point(moved, "left_hip") - point(posed, "left_hip")).norm()
    assert shift == pytest.approx(0.02, abs=1e-5)
    pelvis = (point(moved, "pelvis") - point(posed, "pelvis")).norm()
    assert pelvis == pytest.approx(0.01, abs=1e-5)
    assert torch.equal(moved.joints_m, posed.joints_m)


def test_capsules_hold_the_joints_of_their_limbs(bodies):
    posed = pose(bodies, random_turns(1, 3, 2))
    ends = posed.capsule_m.flatten(2, 3)
    for name in ("left_knee", "right_elbow", "right_wrist", "left_hip"):
        assert (ends - joint(posed, name)[:, :, None]).norm(dim=-1).amin(-1).max() < 1e-6
    assert ((posed.radius_m > 0.02) & (posed.radius_m < 0.3)).all()


def test_a_point_belongs_to_the_capsules_beside_it():
    own = own_capsules()
    assert own.any(1).all()
    assert not own[HALPE.index("left_wrist"), :3].any()  # the trunk and the head may hide a wrist
    left, right = own[HALPE.index("left_knee")], own[HALPE.index("right_knee")]
    assert np.flatnonzero(left).tolist() == [n - 5 for n in np.flatnonzero(right)]


def swinging(frames: int) -> torch.Tensor:
    """The left leg turns about the hip while everything else stands still."""
    angle = np.linspace(0, 0.5, frames)
    turn = still(1, frames).clone()
    leg = [n for n, bone in enumerate(body_table().bones) if bone in _LEFT_LEG]
    swing = torch.tensor(Rotation.from_euler("x", angle[:, None]).as_matrix()).float()
    turn[0, :, leg] = swing[:, None]
    return turn


_LEFT_LEG = ("LeftUpLeg", "LeftLeg", "LeftFoot", "LeftToeBase")


def slide(posed: Posed, side: str) -> torch.Tensor:
    """How far the calmest point of a foot moves from frame to frame, metres."""
    feet = torch.stack([point(posed, f"{side}_{p}") for p in ("heel", "big_toe", "small_toe")], 2)
    return feet[0].diff(dim=0).norm(dim=-1).amin(1)


def test_a_planted_foot_stays_where_it_is(bodies):
    posed = pose(bodies, swinging(12))
    contact = torch.tensor([1.0, 0.0]).expand(1, 12, 2)
    planted = posed.moved(planted_path(posed, torch.zeros(1, 12, 3), contact))
    assert slide(posed, "left").min() > 0.02
    assert slide(planted, "left").max() < 0.002


def test_without_contact_the_captured_path_is_kept(bodies):
    posed = pose(bodies, swinging(12))
    path = torch.randn(1, 12, 3, generator=torch.Generator().manual_seed(0))
    kept = planted_path(posed, path, torch.zeros(1, 12, 2))
    assert torch.allclose(kept, path, atol=1e-5)
