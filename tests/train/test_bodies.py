import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from poselift.train.batches import Motions
from poselift.train.bodies import COCO, H36M, Bodies, body_table

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bodies(tiny_pack) -> Bodies:
    return Motions(tiny_pack, "train", CPU).bodies


def pose(
    bodies: Bodies, rotation: torch.Tensor, scales: torch.Tensor | None = None, shape: int = 0
):
    batch, frames = rotation.shape[:2]
    scales = torch.ones(batch, 31) if scales is None else scales
    index = torch.full((batch,), shape)
    return bodies.pose(index, index * 0, scales, rotation, torch.zeros(batch, frames, 3))


def still(batch: int = 1, frames: int = 1) -> torch.Tensor:
    return torch.eye(3).expand(batch, frames, 31, 3, 3)


def test_pair_weights_of_a_keypoint_sum_to_one():
    table = body_table()
    total = np.zeros(len(table.keypoints))
    np.add.at(total, table.pair_keypoint, table.pair_weight)
    assert total == pytest.approx(1, abs=1e-5)


def test_zero_pose_limbs_point_where_the_motion_says(bodies):
    _, joints = pose(bodies, still())
    at = {name: joints[0, 0, H36M.index(name)].numpy() for name in H36M.joints}
    arm = at["left_wrist"] - at["left_shoulder"]
    assert arm / np.linalg.norm(arm) == pytest.approx([1, 0, 0], abs=1e-4)
    thigh = at["right_knee"] - at["right_hip"]
    down = np.array([-0.1, 0, -1])
    assert thigh / np.linalg.norm(thigh) == pytest.approx(down / np.linalg.norm(down), abs=1e-4)
    assert at["head_top"][2] > at["nose"][2] > at["thorax"][2] > at["pelvis"][2]
    assert at["nose"][1] < at["thorax"][1]  # y points back, the face looks along -y


def test_people_have_human_sizes(bodies):
    heights = []
    for shape in range(len(bodies)):
        keypoints, joints = pose(bodies, still(), shape=shape)
        heights.append(joints[0, 0, H36M.index("head_top"), 2] - keypoints[0, 0, 15:, 2].min())
    assert 1.0 < min(heights) < 1.3
    assert 1.65 < max(heights) < 1.95


def test_turning_everything_turns_everything(bodies):
    turn = torch.tensor(Rotation.from_euler("z", 40, degrees=True).as_matrix(), dtype=torch.float32)
    before, joints_before = pose(bodies, still())
    after, joints_after = pose(bodies, turn.expand(1, 1, 31, 3, 3))
    assert torch.allclose(before @ turn.T, after, atol=1e-5)
    assert torch.allclose(joints_before @ turn.T, joints_after, atol=1e-5)


def test_bone_lengths_do_not_depend_on_the_pose(bodies):
    g = torch.Generator().manual_seed(0)
    vectors = torch.randn(2, 5, 31, 3, generator=g).double().numpy().reshape(-1, 3)
    rotation = torch.tensor(Rotation.from_rotvec(vectors).as_matrix()).float()
    _, joints = pose(bodies, rotation.view(2, 5, 31, 3, 3))
    for a, b in (("left_hip", "left_knee"), ("right_elbow", "right_wrist")):
        length = (joints[:, :, H36M.index(a)] - joints[:, :, H36M.index(b)]).norm(dim=-1)
        assert length.std() < 1e-5


def test_segment_scale_lengthens_its_bone_alone(bodies):
    g = torch.Generator().manual_seed(1)
    scales = bodies.segment_scales(1, 0.1, g)
    thigh = scales[0, bodies.table.index("LeftUpLeg")]
    assert thigh == scales[0, bodies.table.index("RightUpLeg")]
    _, before = pose(bodies, still())
    _, after = pose(bodies, still(), scales)

    def length(joints):
        return (joints[0, 0, H36M.index("left_hip")] - joints[0, 0, H36M.index("left_knee")]).norm()

    assert length(after) / length(before) == pytest.approx(float(thigh), rel=1e-5)


def test_detector_hip_differs_from_joint_centre(bodies):
    keypoints, joints = pose(bodies, still())
    gap = (keypoints[0, 0, COCO.index("left_hip")] - joints[0, 0, H36M.index("left_hip")]).norm()
    assert 0.01 < gap < 0.08
