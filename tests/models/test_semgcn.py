"""SemGCN: what neighbours tell each other, the pairs, and the nose that it does not know."""

import math

import pytest
import torch

from poselift.errors import InputError
from poselift.models.network import Lifted
from poselift.models.semgcn import Config, GraphConvolution, NonLocal, SemGCN, neighbours, pairs
from poselift.skeleton import skeleton

H36M, H16 = skeleton("h36m17"), skeleton("h36m16")
NOSE = H36M.index("nose")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_the_graph_has_the_published_entries():
    assert neighbours(H16).sum() == 46
    assert torch.equal(neighbours(H16), neighbours(H16).T)


def test_a_convolution_by_hand():
    """One row of the weights: softmax over the joint and its neighbours, two matrices."""
    layer = GraphConvolution(Config(), H16, 3, 4)
    with torch.no_grad():
        layer.logits.copy_(torch.randn_like(layer.logits))
    x = torch.randn(2, 16, 3)
    near = neighbours(H16)
    row = H16.index("thorax")
    entries = near.flatten().nonzero()[:, 0].tolist()  # row by row
    columns = near[row].nonzero()[:, 0].tolist()
    logits = torch.stack([layer.logits[0, entries.index(16 * row + c)] for c in columns])
    expected = layer.bias
    for column, share in zip(columns, logits.softmax(0), strict=True):
        expected = expected + share * x[:, column] @ layer.weight[int(column != row)]
    torch.testing.assert_close(layer(x)[:, row], expected)


def test_channel_wise_with_equal_logits_is_the_plain_convolution():
    plain = GraphConvolution(Config(), H16, 3, 4)
    by_channel = GraphConvolution(Config(channel_wise=True), H16, 3, 4)
    assert by_channel.logits.shape == (4, 46)
    with torch.no_grad():
        plain.logits.copy_(torch.randn_like(plain.logits))
        by_channel.weight.copy_(plain.weight)
        by_channel.bias.copy_(plain.bias)
        by_channel.logits.copy_(plain.logits)
    x = torch.randn(2, 16, 3)
    torch.testing.assert_close(by_channel(x), plain(x))
    with torch.no_grad():
        by_channel.logits[2] += torch.randn(46)
    changed = (by_channel(x) - plain(x)).abs().amax((0, 1)) > 1e-6
    assert changed.tolist() == [False, False, True, False]


def test_non_local_starts_as_the_identity():
    block, x = NonLocal(Config(width=8), H16), torch.randn(2, 16, 8)
    assert torch.equal(block(x), x)
    torch.nn.init.ones_(block.norm.weight)
    assert (block(x) - x).abs().max() > 0.1


def test_pairs_cover_every_joint_once():
    assert sorted(pairs(H16).flatten().tolist()) == list(range(16))
    of_17 = pairs(H36M)
    assert of_17[-1].tolist() == [NOSE, NOSE]
    assert sorted(of_17.flatten().unique().tolist()) == list(range(17))


def test_the_nose_of_16_joints_is_between_thorax_and_head_top():
    network = SemGCN(Config(width=8, layers=1)).eval()
    joints = torch.randn(2, 1, 17, 2)
    pose = network(joints).centre[:, 0]
    thorax, head = (pose[:, H36M.index(name)] for name in ("thorax", "head_top"))
    torch.testing.assert_close(pose[:, NOSE], (thorax + head) / 2)
    joints[:, :, NOSE] += 1
    assert torch.equal(network(joints).centre[:, 0], pose)


def test_the_nose_of_17_joints_is_looked_at_and_learned():
    network = SemGCN(Config(width=8, layers=1, joints=17))
    joints = torch.randn(2, 1, 17, 2, requires_grad=True)
    lifted = network.eval()(joints)
    lifted.centre[..., NOSE, :].sum().backward()
    assert joints.grad[:, :, NOSE].abs().min() > 0
    target = lifted.centre.detach().clone()
    target[..., NOSE, :] += 1
    assert network.loss(lifted, target).item() == pytest.approx(1 / 17)


def test_loss_is_the_squared_error_of_the_known_joints():
    network, target = SemGCN(Config(width=8)), torch.zeros(2, 1, 17, 3)
    wrong = target.clone()
    wrong[..., NOSE, :] = 5
    assert network.loss(Lifted(wrong, None), target) == 0
    wrong[..., 0, 0] = 2
    assert network.loss(Lifted(wrong, None), target).item() == pytest.approx(4 / 48)


def test_first_weights():
    faithful, default = (
        GraphConvolution(Config(faithful=faithful), H16, 128, 128) for faithful in (True, False)
    )
    bounds = [1.414 * math.sqrt(6 / (130 * 128)), 1.414 * math.sqrt(6 / 256)]
    for layer, bound in zip((faithful, default), bounds, strict=True):
        assert layer.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
    narrow = GraphConvolution(Config(faithful=True, channel_wise=True), H16, 2, 128)
    assert narrow.bias.abs().max().item() == pytest.approx(1 / math.sqrt(2), rel=0.05)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"joints": 15}, r"joints: found 15 \(known: 16, 17\)"), ({"layers": 0}, "1 or more")],
)
def test_impossible_configurations(changes, message):
    with pytest.raises(InputError, match=message):
        Config(**changes)
