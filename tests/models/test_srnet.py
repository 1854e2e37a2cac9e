"""SRNet: body parts apart, and the little that they tell each other."""

import pytest
import torch

from poselift.errors import InputError
from poselift.models.srnet import Config, SRNet, joint_groups, shares
from poselift.skeleton import skeleton

H36M = skeleton("h36m17")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def tiny(**changes) -> SRNet:
    """A network whose parts do tell each other something."""
    network = SRNet(Config(**{"frames": 9, "filters": (3, 3), "width": 64} | changes))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "hints" in name:
                parameter.copy_(0.3 * torch.randn_like(parameter))
        network(torch.randn(16, network.frames, 17, 2) + 0.5)
    return network.eval()


def test_groups_are_the_published_ones():
    legs, arms = [0, 1, 2, 3, 4, 5, 6], [0, 11, 12, 13, 14, 15, 16]
    trunk = [0, 7, 8, 9, 10]
    expected = [[0, 1, 2, 3], [0, 4, 5, 6], trunk, [0, 11, 12, 13], [0, 14, 15, 16]]
    assert joint_groups(5) == expected
    assert joint_groups(3) == [legs, trunk, arms]
    assert joint_groups(2) == [list(range(8)), [0, *range(8, 17)]]
    assert joint_groups(1) == [list(range(17))]


def test_widths_are_the_published_ones():
    assert shares(1024, [4, 4, 5, 4, 4]) == [195, 195, 243, 195, 196]
    assert shares(64, [4, 4, 5, 4, 4]) == [12, 12, 15, 12, 13]
    assert shares(58, [7, 5, 7]) == [21, 15, 22]
    assert shares(55, [8, 10]) == [24, 31]


@pytest.mark.parametrize("groups", [5, 3, 2, 1])
@pytest.mark.parametrize("recombine", ["multiply", "add", "concat"])
@pytest.mark.parametrize("source", ["others", "all", "none"])
def test_the_dilated_graph_answers_as_the_strided_one(groups, recombine, source):
    network = tiny(groups=groups, recombine=recombine, source=source)
    clip = torch.randn(2, 15, 17, 2)
    each = [network(clip[:, i : i + 9]).centre for i in range(7)]
    torch.testing.assert_close(network.lift_clip(clip), torch.cat(each, 1), rtol=1e-4, atol=1e-5)


def test_the_faithful_concat_mixes_taps_and_frames():
    clip = torch.randn(2, 15, 17, 2)
    fixed = tiny(recombine="concat")
    faithful = SRNet(Config(9, (3, 3), recombine="concat", width=64, faithful=True)).eval()
    faithful.load_state_dict(fixed.state_dict())
    windows = clip[:, :9]
    assert (faithful(windows).centre - fixed(windows).centre).abs().max() > 1e-3
    assert (faithful.lift_clip(clip)[:, :1] - faithful(windows).centre).abs().max() > 1e-3


def reaches(network: SRNet, joint: str) -> set[str]:
    """Joints of the answer that a joint of the input moves."""
    joints = torch.randn(1, network.frames, 17, 2)
    moved = joints.clone()
    moved[:, :, H36M.index(joint)] += 0.5
    change = (network(moved).centre - network(joints).centre).abs().amax((0, 1, 3))
    return {name for name, value in zip(H36M.joints, change, strict=True) if value > 1e-6}


@pytest.mark.parametrize("groups", [5, 3, 2])
def test_without_a_source_the_parts_are_apart(groups):
    network = tiny(groups=groups, source="none")
    for group in joint_groups(groups):
        names = {H36M.joints[joint] for joint in group}
        # The pelvis is in every group's input; the answer's comes from the first group.
        own = names if group is joint_groups(groups)[0] or group[1] == 1 else names - {"pelvis"}
        assert reaches(network, H36M.joints[group[-1]]) == own
    assert reaches(network, "pelvis") == set(H36M.joints)


@pytest.mark.parametrize("recombine", ["multiply", "add", "concat"])
@pytest.mark.parametrize("source", ["others", "all"])
def test_with_a_source_each_part_moves_all_others(recombine, source):
    network = tiny(recombine=recombine, source=source)
    assert reaches(network, "left_wrist") == set(H36M.joints)


def test_parts_tell_each_other_nothing_at_first():
    network = SRNet(Config(9, (3, 3), width=64)).eval()
    assert reaches(network, "left_wrist") == {
        "left_shoulder",
        "left_elbow",
        "left_wrist",
    }


def test_one_group_is_a_plain_convolution():
    network = tiny(groups=1)
    assert not network.first.convolution.hints
    assert reaches(network, "left_wrist") == set(H36M.joints)


def test_loss_is_the_mean_absolute_error_of_the_centre():
    network, target = tiny(), torch.zeros(2, 9, 17, 3)
    lifted = network(torch.randn(2, 9, 17, 2))
    target[:, 4] = lifted.centre[:, 0].detach() + torch.tensor([0.3, 0.0, -0.6])
    assert network.loss(lifted, target).item() == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": 4}, r"groups: found 4 \(known: 5, 3, 2, 1\)"),
        ({"recombine": "mean"}, r"recombine: found 'mean' \(known: multiply, add, concat\)"),
        ({"source": "some"}, "known: others, all, none"),
        ({"frames": 9}, "no published filters for 9 frames"),
    ],
)
def test_impossible_configurations(changes, message):
    with pytest.raises(InputError, match=message):
        Config(**changes)
