"""VideoPose3D's convolutions: one set of weights, two graphs."""

import pytest
import torch
import torch.nn.functional as F

from poselift.errors import FormatError, InputError, ShapeError
from poselift.models.blocks import Convolution, middle
from poselift.models.tcn import TCN, Config


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def tiny(**changes) -> TCN:
    network = TCN(Config(**{"frames": 27, "width": 16, "dropout": 0} | changes))
    with torch.no_grad():
        network(torch.randn(16, network.frames, 17, 2) + 0.5)  # statistics that are not 0 and 1
    return network.eval()


@pytest.mark.parametrize("dilation", [None, 1, 4])
def test_convolution_is_torchs(dilation):
    layer, x = Convolution(6, 5, 3, bias=True), torch.randn(2, 27, 6)
    kernel = layer.linear.weight.unflatten(1, (3, 6)).transpose(1, 2)
    stride = 3 if dilation is None else 1
    expected = F.conv1d(
        x.transpose(1, 2), kernel, layer.linear.bias, stride, dilation=dilation or 1
    )
    torch.testing.assert_close(layer(x, dilation), expected.transpose(1, 2))


def test_the_middle_tap_is_the_frame_that_an_answer_is_for():
    x = torch.arange(27.0)[None, :, None]
    assert middle(x, 3, None)[0, :, 0].tolist() == list(range(1, 27, 3))
    assert middle(x, 3, 9)[0, :, 0].tolist() == list(range(9, 18))
    assert torch.equal(middle(x, 1, None), x)


@pytest.mark.parametrize(
    "changes", [{}, {"frames": 1}, {"frames": 15, "filters": (5, 3)}, {"frames": 81}]
)
def test_the_dilated_graph_answers_as_the_strided_one(changes):
    network = tiny(**changes)
    frames = network.frames
    clip = torch.randn(2, frames + 6, 17, 2)
    each = [network(clip[:, i : i + frames]).centre for i in range(7)]
    torch.testing.assert_close(network.lift_clip(clip), torch.cat(each, 1), rtol=1e-4, atol=1e-5)


def test_every_frame_of_the_window_is_looked_at():
    network, joints = tiny(), torch.randn(1, 27, 17, 2, requires_grad=True)
    network(joints).centre.sum().backward()
    assert (joints.grad.abs().sum((0, 2, 3)) > 0).all()


def test_clips_shorter_than_the_receptive_field_are_errors():
    with pytest.raises(ShapeError, match=r"expected \(B, 27 or more, 17, 2\), found \(1, 26"):
        tiny().lift_clip(torch.zeros(1, 26, 17, 2))


def test_momentum_of_the_norms_falls_over_the_run():
    network = tiny()
    found = []
    for progress in (0.0, 0.5, 1.0):
        network.prepare(progress)
        found.append({network.first.norm.momentum, network.blocks[1].point.norm.momentum})
    assert [len(each) for each in found] == [1, 1, 1]
    assert [each.pop() for each in found] == pytest.approx([0.1, 0.01, 0.001])


def test_loss_is_the_centres_distance():
    network, target = tiny(), torch.zeros(2, 27, 17, 3)
    lifted = network(torch.randn(2, 27, 17, 2))
    target[:, 13] = lifted.centre[:, 0].detach() + torch.tensor([0.3, 0.0, 0.4])
    assert network.loss(lifted, target).item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 28}, r"no published filters for 28 frames.*known: 1, 27, 81, 243"),
        ({"filters": (3, 3)}, "multiply to 27"),
        ({"frames": 54, "filters": (3, 9, 2)}, "odd numbers"),
        ({"width": 0}, "width: expected 1 or more, found 0"),
        ({"dropout": 1.0}, "below 1"),
    ],
)
def test_impossible_configurations(changes, message):
    with pytest.raises(InputError, match=message):
        Config(**changes)


def test_configurations_are_json_objects():
    with pytest.raises(FormatError, match="tcn configuration: expected a JSON object, found list"):
        Config.from_json("[3]")


def test_configurations_take_lists_from_json():
    config = Config.from_json('{"frames": 15, "filters": [5, 3]}')
    assert config.filters == (5, 3)
    assert hash(config) == hash(Config(frames=15, filters=(5, 3)))
