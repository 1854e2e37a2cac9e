"""DG-Net (our reading): graphs that follow the input."""

import pytest
import torch

from poselift.errors import InputError
from poselift.models.dgnet import Config, DGNet, Relation, in_frames, in_movement
from poselift.skeleton import skeleton

H36M = skeleton("h36m17")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def relation(nearest: int = 2, bones: float = -50.0) -> Relation:
    """Shares from 2D places, as good as without the skeleton's own."""
    layer = Relation(Config(nearest=nearest), projected=False)
    torch.nn.init.constant_(layer.bones, bones)
    return layer


def test_a_joint_takes_its_shares_from_the_nearest():
    """Joints on a line, each one further from the last: the nearest are those before it."""
    line = torch.zeros(1, 1, 17, 2)
    line[..., 0] = torch.arange(17.0) ** 1.5
    shares = relation()(in_frames(line))[0, 0]
    torch.testing.assert_close(shares.sum(-1), torch.ones(17))
    for joint in range(17):
        nearest = (line[0, 0, :, 0] - line[0, 0, joint, 0]).abs().argsort()[:3]
        assert set((shares[joint] > 1e-6).nonzero()[:, 0].tolist()) == set(nearest.tolist())
        assert shares[joint].argmax() == joint


def test_bones_are_always_neighbours():
    spread = torch.randn(1, 1, 17, 2) * 10
    shares = relation(nearest=1, bones=0.0)(in_frames(spread))[0, 0]
    for parent, child in H36M.edges:
        assert shares[parent, child] > 0.05
        assert shares[child, parent] > 0.05


def test_shares_change_continuously_where_neighbours_change():
    layer = relation(nearest=1)
    places = torch.zeros(1, 1, 17, 2)
    places[..., 0] = 100 + 10 * torch.arange(17.0) ** 2
    places[0, 0, :3] = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])

    def shares(shift):
        moved = places.clone()
        moved[0, 0, 1, 0] += shift
        return layer(in_frames(moved))[0, 0, 0, :3]

    before, after = shares(-1e-4), shares(1e-4)
    torch.testing.assert_close(before, after, rtol=0, atol=1e-3)
    assert shares(-0.2)[1] > 0.1  # now the nearer one
    assert shares(0.2)[2] > 0.1  # and now the other


def test_the_spatial_graph_follows_the_pose():
    joints = torch.randn(1, 9, 17, 2)
    left, right = H36M.index("left_wrist"), H36M.index("right_wrist")
    apart = relation()(in_frames(joints))
    joints[:, 4, right] = joints[:, 4, left] + 0.001  # hands meet in one frame
    together = relation()(in_frames(joints))
    assert together[0, 4, left, right] > 0.25
    assert together[0, 4, left, right] > apart[0, 4, left, right] + 0.05
    others = [0, 1, 2, 3, 5, 6, 7, 8]
    assert torch.equal(apart[0, others], together[0, others])


def test_the_temporal_graph_follows_the_movement_and_not_the_place():
    joints = torch.randn(1, 9, 17, 2)
    ankle, wrist = H36M.index("left_ankle"), H36M.index("right_wrist")
    joints[:, :, wrist] = joints[:, :, ankle] + torch.tensor([5.0, -3.0])  # far, moves alike
    shares = relation()(in_movement(joints))
    assert shares.shape == (1, 1, 17, 17)
    assert shares[0, 0, ankle, wrist] > 0.25
    placed = relation()(in_frames(joints))
    assert placed[..., ankle, wrist].max() < 1e-6
    moved = joints + torch.randn(17, 2)
    torch.testing.assert_close(in_movement(moved), in_movement(joints), rtol=1e-4, atol=1e-5)


def graphs(network: DGNet, joints: torch.Tensor) -> list[torch.Tensor]:
    """Shares of all relations, for these windows."""
    found = []
    for module in network.modules():
        if isinstance(module, Relation):
            module.register_forward_hook(lambda *given: found.append(given[-1]))
    network(joints)
    return found


def test_every_graph_of_every_block_is_made_anew_for_each_clip():
    network, joints = DGNet(Config(width=16)).eval(), torch.randn(2, 27, 17, 2)
    found = graphs(network, joints)
    frames = [27, 1, 9, 1, 3, 1]  # space and time of three blocks
    assert [shares.shape for shares in found] == [(2, count, 17, 17) for count in frames]
    for shares in found:
        torch.testing.assert_close(shares.sum(-1), torch.ones(shares.shape[:-1]))
        assert (shares[0] - shares[1]).abs().max() > 0.01


def test_gradients_pass_through_the_shares():
    network = DGNet(Config(width=16))
    network(torch.randn(2, 27, 17, 2)).centre.square().sum().backward()
    for block in network.blocks[1:]:
        for part in (block.in_space, block.in_time):
            assert part.project.weight.grad.abs().max() > 0


def test_joints_in_one_place_share_alike():
    shares = relation()(in_frames(torch.zeros(1, 1, 17, 2)))
    torch.testing.assert_close(shares, torch.full((1, 1, 17, 17), 1 / 17))


@pytest.mark.parametrize(("frames", "blocks"), [(27, 3), (81, 4), (243, 5)])
def test_three_frames_become_one_in_every_block(frames, blocks):
    assert len(DGNet(Config(frames=frames, width=8)).blocks) == blocks


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 28}, "frames: expected 3, 9, 27"),
        ({"frames": 1}, "frames: expected 3, 9, 27"),
        ({"nearest": 16}, "at most 15"),
    ],
)
def test_impossible_configurations(changes, message):
    with pytest.raises(InputError, match=message):
        Config(**changes)
