"""EvoSkeleton's cascade: stages in turn, standardised coordinates, the pelvis at zero."""

import pytest
import torch

from poselift.errors import InputError
from poselift.models.cascade import Cascade, Config

TINY = {"stages": 3, "blocks": 1, "width": 16, "dropout": 0}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def tiny(**changes) -> Cascade:
    return Cascade(Config(**TINY | changes))


def batch(size: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    joints = torch.randn(size, 1, 17, 2) * torch.rand(17, 2) + torch.randn(17, 2)
    target_m = torch.randn(size, 1, 17, 3) * 0.2 + torch.randn(17, 3)
    return joints, target_m - target_m[:, :, :1]


def test_the_answer_is_the_sum_of_the_stages_and_the_pelvis_is_zero():
    network, (joints, _) = tiny().eval(), batch(4)
    pose = network(joints).centre[:, 0]
    assert (pose[:, 0] == 0).all()
    expected = sum(stage(joints.flatten(1)) for stage in network.stages)
    torch.testing.assert_close(pose[:, 1:].flatten(1), expected)


@pytest.mark.parametrize(
    ("progress", "turn"), [(0.0, 0), (0.33, 0), (0.34, 1), (0.66, 1), (0.67, 2), (1.0, 2)]
)
def test_stages_are_trained_in_turn(progress, turn):
    network = tiny()
    network.prepare(progress)
    joints, target_m = batch()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.1)
    network.train()
    network.loss(network(joints), target_m).backward()
    optimiser.step()
    changed = {
        int(name.split(".")[1])
        for name, tensor in network.state_dict().items()
        if not torch.equal(tensor, before[name])
    }
    assert changed == {turn}  # neither weights nor statistics of the others


def test_frozen_stages_answer_as_in_evaluation():
    network = tiny(dropout=0.5)
    network.prepare(0.5)
    network.train()
    assert [stage.training for stage in network.stages] == [False, True, False]
    network.eval()
    assert not any(module.training for module in network.modules())


def test_stages_to_come_count_nothing():
    network, (joints, _) = tiny().eval(), batch(4)
    network.prepare(0.5)
    expected = sum(stage(joints.flatten(1)) for stage in network.stages[:2])
    torch.testing.assert_close(network(joints).centre[:, 0, 1:].flatten(1), expected)
    # What counts is kept with the weights, for the averaged network and for resuming.
    other = tiny().eval()
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(joints).centre, network(joints).centre)


def test_a_stage_learns_what_the_earlier_ones_left():
    network = tiny(stages=2)
    joints, target_m = batch(16)
    network.meet([(joints, target_m)])
    losses = []
    for step in range(80):
        network.train()
        network.prepare(step / 80)
        if step % 40 == 0:  # a fresh optimiser for each stage, as published
            optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
        loss = network.loss(network(joints), target_m)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    network.prepare(0.0)  # with its first stage alone it is worse than with both
    first = network.loss(network.eval()(joints), target_m).item()
    network.prepare(1.0)
    assert network.loss(network.eval()(joints), target_m).item() < 0.7 * first
    assert losses[-1] < 0.2 * losses[0]


def test_standardised_coordinates_have_mean_zero_and_deviation_one():
    network = tiny()
    joints, target_m = batch(200)
    network.meet([(joints[:50], target_m[:50]), (joints[50:], target_m[50:])])
    points = (joints[:, 0] - network.input_mean) / network.input_deviation
    poses = (target_m[:, 0, 1:] - network.target_mean_m) / network.target_deviation_m
    for values in (points, poses):
        assert values.mean(0).abs().max() < 1e-5
        torch.testing.assert_close(values.std(0, correction=0), torch.ones(values.shape[1:]))


def test_missing_joints_do_not_count_and_stay_zero():
    network = tiny().eval()
    joints, target_m = batch(200)
    expected = joints[100:, 0, 5].mean(0)
    joints[:100, :, 5] = 0
    joints[:, :, 0, 1] = 3.0  # never varies
    network.meet([(joints, target_m)])
    torch.testing.assert_close(network.input_mean[5], expected)
    assert network.input_deviation[0, 1] == 1
    seen = []
    network.stages[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(joints)
    assert (seen[0].view(-1, 17, 2)[:100, 5] == 0).all()
    assert (seen[0].view(-1, 17, 2)[100:, 5] != 0).all()


def test_a_joint_that_is_never_seen_is_an_error():
    joints, target_m = batch(8)
    joints[:, :, 3] = 0
    with pytest.raises(InputError, match="every joint seen"):
        tiny().meet([(joints, target_m)])


def test_loss_is_standardised():
    network = tiny().eval()
    joints, target_m = batch(4)
    network.target_deviation_m.fill_(0.5)
    lifted = network(joints)
    target_m = lifted.centre.detach().clone()
    target_m[..., 1:, 0] += 1
    assert network.loss(lifted, target_m).item() == pytest.approx(4 / 3)
    target_m = lifted.centre.detach().clone()
    target_m[..., 0, :] += 1  # the pelvis is not predicted
    assert network.loss(lifted, target_m) == 0


def test_leaky():
    leaky, plain = tiny(leaky=True), tiny()
    leaky.load_state_dict(plain.state_dict())
    joints, _ = batch(4)
    assert not torch.equal(leaky.eval()(joints).centre, plain.eval()(joints).centre)


def test_impossible_configurations():
    with pytest.raises(InputError, match="stages: expected 1 or more, found 0"):
        Config(stages=0)
