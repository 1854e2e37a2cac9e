"""MixSTE: joints and frames in turns, its three losses, its way to differentiate them."""

import pytest
import torch

from poselift.errors import InputError
from poselift.models.mixste import Block, Config, MixSTE, joint_weights
from poselift.models.network import Lifted

TINY = {"frames": 9, "width": 16, "depth": 2, "heads": 2}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def tiny(**changes) -> MixSTE:
    return MixSTE(Config(**TINY | changes))


def test_joint_weights_are_the_published_ones():
    expected = [1, 1, 2.5, 2.5, 1, 2.5, 2.5, 1, 1, 1, 1.5, 1.5, 4, 4, 1.5, 4, 4]
    assert joint_weights().tolist() == expected


def test_loss_has_the_published_parts():
    """A wrist that jumps 0.1 m in one frame, and everything 0.2 m beside the target."""
    network, target = tiny(), torch.zeros(1, 9, 17, 3)
    aside = target + torch.tensor([0.2, 0.0, 0.0])
    mean_weight = joint_weights().mean().item()
    distance = network.loss(Lifted(aside[:, 4:5], aside), target).item()
    assert distance == pytest.approx(0.2 * mean_weight)
    jump = target.clone()
    jump[:, 4, 13, 1] = 0.1
    place = 4 * 0.1 / (9 * 17)
    calm = 4 * 2 * 0.1**2 / (8 * 17 * 3)  # there and back
    velocity = 2 * 0.1 / (8 * 17)
    expected = place + 0.5 * calm + 2 * velocity
    assert network.loss(Lifted(jump[:, 4:5], jump), target).item() == pytest.approx(expected)


def test_movement_of_the_target_counts_only_in_the_velocity():
    network = tiny()
    target = torch.arange(9.0)[None, :, None, None].expand(1, 9, 17, 3) * 0.1
    # Perfect but not calm: half the weighted mean of squared steps remains.
    expected = 0.5 * joint_weights().mean().item() * 0.1**2
    found = network.loss(Lifted(target[:, 4:5], target), target).item()
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_faithful_gradient_is_the_loss_times_the_plain_one():
    plain, faithful = tiny(drop_path=0), tiny(drop_path=0, faithful=True)
    faithful.load_state_dict(plain.state_dict())
    joints, target = torch.randn(2, 9, 17, 2), torch.randn(2, 9, 17, 3)
    losses = [network.loss(network(joints), target) for network in (plain, faithful)]
    assert losses[0].item() == losses[1].item() != 1
    for loss in losses:
        loss.backward()
    for one, other in zip(plain.parameters(), faithful.parameters(), strict=True):
        torch.testing.assert_close(other.grad, losses[0].item() * one.grad, rtol=1e-4, atol=1e-6)


def test_frames_and_joints_reach_one_another_only_through_their_blocks():
    joints = torch.randn(1, 9, 17, 2)
    moved = joints.clone()
    moved[:, 2, 5] += 1

    def reached(network):
        with torch.no_grad():
            change = network(moved).every - network(joints).every
        return change.abs().amax(-1)[0] > 1e-6

    assert reached(tiny().eval()).all()
    for kind, expected in (("spatial", (9, 1)), ("temporal", (1, 17))):
        network = tiny().eval()
        for block in getattr(network, kind):  # silenced: a frame, or a joint, is alone
            for layer in (block.attention.out, block.feed_forward[2]):
                torch.nn.init.zeros_(layer.weight)
        frames, joints_ = reached(network).any(1).sum(), reached(network).any(0).sum()
        assert (frames, joints_) == expected


def test_positions_start_at_zero_and_tell_frames_and_joints_apart():
    network = tiny().eval()
    same = torch.ones(1, 9, 17, 2)
    assert network.joint_position.abs().max() == network.frame_position.abs().max() == 0
    every = network(same).every
    torch.testing.assert_close(every, every[:, :1, :1].expand_as(every))
    with torch.no_grad():
        network.frame_position.copy_(torch.randn_like(network.frame_position))
    every = network(same).every
    assert (every[:, 0] - every[:, 1]).abs().max() > 1e-3
    torch.testing.assert_close(every, every[:, :, :1].expand_as(every))


def test_checkpointed_blocks_give_the_same_gradients():
    plain, checkpointed = tiny(), tiny(checkpointed=True)
    checkpointed.load_state_dict(plain.state_dict())
    joints, target = torch.randn(2, 9, 17, 2), torch.randn(2, 9, 17, 3)
    for network in (plain, checkpointed):
        torch.manual_seed(1)  # the same samples skip the same blocks
        network.loss(network(joints), target).backward()
    for one, other in zip(plain.parameters(), checkpointed.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad)


def test_stochastic_depth_skips_whole_samples_and_keeps_the_mean():
    block = Block(Config(**TINY), drop_path=0.25)
    x = torch.randn(1, 3, 16).expand(4000, -1, -1)
    change = block._kept(x)
    kept = (change != 0).flatten(1)
    assert torch.equal(kept.all(1), kept.any(1))
    assert kept.all(1).float().mean().item() == pytest.approx(0.75, abs=0.03)
    torch.testing.assert_close(change[kept.all(1)][0], x[0] / 0.75)
    assert block.eval()._kept(x) is x


def test_later_blocks_are_skipped_more_often():
    network = tiny(depth=5, drop_path=0.2)
    expected = [0, 0.05, 0.1, 0.15, 0.2]
    for blocks in (network.spatial, network.temporal):
        assert [block.drop_path for block in blocks] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 1}, "frames: expected 2 or more"),
        ({"heads": 3}, "a multiple of 3 heads"),
        ({"drop_path": 1.0}, "below 1"),
    ],
)
def test_impossible_configurations(changes, message):
    with pytest.raises(InputError, match=message):
        tiny(**changes)
