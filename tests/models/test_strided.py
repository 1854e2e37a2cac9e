"""The Strided Transformer: published sizes, its quirks and their corrections."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from poselift.errors import FormatError, InputError, ShapeError, UnknownNameError
from poselift.models.strided import (
    Attention,
    Config,
    FastDropout,
    LayerNorm,
    Lifted,
    Refinement,
    Strided,
    StridedFeedForward,
    back_project,
    full_to_single_loss,
)

TINY = {"frames": 27, "joints": 5, "width": 16, "hidden": 24, "heads": 2, "layers": 2}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def tiny(**changes) -> Config:
    return Config(**(TINY | changes))


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("faithful", [False, True])
@pytest.mark.parametrize(
    ("frames", "count"), [(27, 4_014_438), (81, 4_069_734), (243, 4_235_622), (351, 4_346_214)]
)
def test_has_the_published_size(frames, count, faithful):
    with torch.device("meta"):
        network = Strided(Config(frames=frames, faithful=faithful))
    assert parameters(network) == count


def test_refinement_has_the_published_size():
    assert parameters(Refinement()) == 140_322


@pytest.mark.parametrize("faithful", [False, True])
@pytest.mark.parametrize("frames", [27, 81])
def test_shapes(frames, faithful):
    config = tiny(frames=frames, faithful=faithful)
    lifted = Strided(config).eval()(torch.randn(3, frames, 5, 2))
    assert lifted.centre.shape == (3, 1, 5, 3)
    assert lifted.every.shape == (3, frames, 5, 3)


def test_a_window_is_independent_of_the_batch():
    network, windows = Strided(tiny()).eval(), torch.randn(4, 27, 5, 2)
    together, alone = network(windows), network(windows[2:3])
    torch.testing.assert_close(together.centre[2:3], alone.centre)
    torch.testing.assert_close(together.every[2:3], alone.every)


def test_other_windows_are_errors():
    with pytest.raises(ShapeError, match=r"expected \(B, 27, 5, 2\), found \(3, 26, 5, 2\)"):
        Strided(tiny())(torch.zeros(3, 26, 5, 2))


def residual_frames(config: Config) -> torch.Tensor:
    """Which frame's token each token of the last length is, with silenced sub-layers."""
    network = Strided(config)
    for layer in network.strided_layers:
        for last in (layer.attention.out, layer.feed_forward.contract):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
    x = torch.arange(config.frames, dtype=torch.float32)[None, :, None].expand(1, -1, config.width)
    for layer in network.strided_layers.eval():
        x = layer(x)
    return x[0, :, 0]


@pytest.mark.parametrize("frames", [27, 81, 243, 351])
def test_the_residual_path_ends_in_the_centre_frame(frames):
    assert residual_frames(tiny(frames=frames)).tolist() == [frames // 2]


@pytest.mark.parametrize("frames", [27, 351])
def test_the_faithful_residual_path_ends_in_the_first_frame(frames):
    assert residual_frames(tiny(frames=frames, faithful=True)).tolist() == [0]


@pytest.mark.parametrize("stride", [3, 9, 13])
def test_strided_feed_forward_is_the_strided_convolution(stride):
    """Faithful: torch's own convolution with padding 1; default: the same, centred on groups."""
    x = torch.randn(2, 3 * stride, 16)
    for faithful, start in ((True, 0), (False, stride // 2)):
        layer = StridedFeedForward(tiny(faithful=faithful), stride).eval()
        hidden = F.relu(layer.expand(x)).transpose(1, 2)
        kernel = layer.contract.weight.unflatten(1, (3, 24)).transpose(1, 2)
        dense = F.conv1d(hidden, kernel, layer.contract.bias, padding=1)
        expected = dense[..., start::stride].transpose(1, 2)
        torch.testing.assert_close(layer(x), expected)


def test_attention_is_torchs_attention():
    attention = Attention(tiny()).eval()
    reference = nn.MultiheadAttention(16, 2, batch_first=True).eval()
    with torch.no_grad():
        reference.in_proj_weight.copy_(attention.qkv.weight)
        reference.in_proj_bias.copy_(attention.qkv.bias)
        reference.out_proj.load_state_dict(attention.out.state_dict())
    x = torch.randn(3, 7, 16)
    torch.testing.assert_close(attention(x), reference(x, x, x)[0])


def test_layer_norms():
    x = torch.randn(4, 16) * 3 + 1
    plain, faithful = LayerNorm(16, faithful=False), LayerNorm(16, faithful=True)
    torch.testing.assert_close(plain(x), F.layer_norm(x, (16,)))
    expected = (x - x.mean(-1, keepdim=True)) / (x.std(-1, correction=1, keepdim=True) + 1e-6)
    torch.testing.assert_close(faithful(x), expected)
    torch.testing.assert_close(plain(x), faithful(x) * math.sqrt(16 / 15), rtol=1e-4, atol=1e-5)


def test_the_last_norms_work_only_in_the_default():
    for faithful in (False, True):
        network = Strided(tiny(faithful=faithful))
        lifted = network(torch.randn(4, 27, 5, 2))
        full_to_single_loss(lifted, torch.randn(4, 27, 5, 3)).backward()
        idle = {name for name, p in network.named_parameters() if p.grad is None}
        last = {f"{norm}.{p}" for norm in ("norm", "strided_norm") for p in ("weight", "bias")}
        assert idle == (last if faithful else set())


def test_first_weights():
    faithful, default = Strided(tiny(faithful=True)), Strided(tiny())

    def same(network, part):
        first, second = (network.get_submodule(part.format(i)).weight for i in (0, 1))
        return torch.equal(first, second)

    assert same(faithful, "layers.{}.feed_forward.0")
    assert same(faithful, "layers.{}.attention.qkv")
    assert same(faithful, "strided_layers.{}.attention.qkv")
    assert not same(faithful, "strided_layers.{}.feed_forward.contract")
    assert not same(default, "layers.{}.feed_forward.0")
    assert not same(default, "strided_layers.{}.attention.qkv")
    query, key, value = faithful.layers[0].attention.qkv.weight.chunk(3)
    out = faithful.layers[0].attention.out.weight
    assert all(torch.equal(each, out) for each in (query, key, value))
    assert faithful.position.std().item() == pytest.approx(1, rel=0.15)
    assert default.position.std().item() == pytest.approx(0.02, rel=0.15)


def test_copies_are_not_shared():
    network = Strided(tiny(faithful=True))
    with torch.no_grad():
        network.layers[0].attention.qkv.weight.zero_()
    assert network.layers[1].attention.qkv.weight.abs().sum() > 0


def test_learns_a_window_by_heart():
    network = Strided(tiny(input_dropout=0, dropout=0, attention_dropout=0))
    joints, target = torch.randn(4, 27, 5, 2), torch.randn(4, 27, 5, 3) * 0.3
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        loss = full_to_single_loss(network(joints), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_trains_in_bfloat16():
    network = Strided(tiny())
    with torch.autocast("cpu", torch.bfloat16):
        lifted = network(torch.randn(4, 27, 5, 2))
    full_to_single_loss(lifted, torch.zeros(4, 27, 5, 3)).backward()
    grads = [p.grad for p in network.parameters()]
    assert all(g is not None and g.isfinite().all() for g in grads)


def test_loss_adds_all_frames_and_the_centre():
    target = torch.zeros(2, 27, 5, 3)
    every = target.clone()
    every[:, :, :, 0] = 0.3
    centre = torch.zeros(2, 1, 5, 3)
    target[:, 13, :, 1] = 0.4  # at the centre: all frames are off by 0.5 there, the centre by 0.4
    loss = full_to_single_loss(Lifted(centre, every), target)
    assert loss.item() == pytest.approx((26 * 0.3 + 0.5) / 27 + 0.4, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fast_dropout(dtype):
    dropout, x = FastDropout(0.25), torch.ones(401, 499, dtype=dtype, requires_grad=True)
    dropped = dropout(x)
    dropped.sum().backward()
    assert dropped.dtype == dtype
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.005)
    assert dropped.float().mean().item() == pytest.approx(1, abs=0.01)
    torch.testing.assert_close(x.grad, dropped.detach())
    columns = (dropped == 0).float()
    # Each byte of a word is its own draw.
    every_eighth = columns.flatten()[: 401 * 499 // 8 * 8].view(-1, 8)
    assert (every_eighth.mean(0) - 0.25).abs().max() < 0.02
    assert torch.corrcoef(every_eighth.T).fill_diagonal_(0).abs().max() < 0.03
    assert dropout.eval()(x) is x


def test_dropout_draws_follow_the_seed():
    x = torch.ones(1000)
    first = FastDropout(0.1)(x)
    other = FastDropout(0.1)(x)
    torch.manual_seed(0)
    torch.testing.assert_close(FastDropout(0.1)(x), first)
    assert not torch.equal(first, other)


def camera_pose():
    xyz = torch.randn(2, 1, 5, 3) * 0.3
    xyz[..., 2] += 4
    K = torch.tensor([[1100.0, 0, 500], [0, 1150, 480], [0, 0, 1]]).expand(2, 3, 3)
    xy_px = torch.einsum("bij,btkj->btki", K, xyz / xyz[..., 2:])[..., :2]
    return xyz, K, xy_px


def test_back_projection_with_the_true_depth_gives_the_pose_back():
    xyz, K, xy_px = camera_pose()
    relative = xyz - xyz[..., :1, :]
    lifted = relative.clone()
    lifted[..., :2] = 9.0  # only the depth of the lifted pose is used
    found = back_project(lifted, xy_px, K, xyz[:, 0, 0, 2])
    torch.testing.assert_close(found, relative, rtol=1e-4, atol=1e-5)
    wrong = back_project(lifted, xy_px, K, xyz[:, 0, 0, 2] * 1.1)
    assert (wrong - relative)[..., :2].abs().max() > 0.01


def test_refinement_mixes_x_and_y_and_keeps_z():
    head = Refinement(joints=5, hidden=8).eval()
    lifted, projected = torch.randn(2, 1, 5, 3), torch.randn(2, 1, 5, 3)
    refined = head(lifted, projected)
    assert torch.equal(refined[..., 2], lifted[..., 2])
    low, high = torch.minimum(lifted, projected), torch.maximum(lifted, projected)
    assert ((refined >= low) & (refined <= high))[..., :2].all()
    with torch.no_grad():
        head.score[3].weight.zero_()
        head.score[3].bias.fill_(50)
    torch.testing.assert_close(head(lifted, projected), lifted)


def test_configuration_survives_json():
    config = tiny(strides=(9, 3), faithful=True, dropout=0.2)
    assert Config.from_json(config.to_json()) == config
    assert Config().strides == (3, 3, 3)
    assert Config.from_json(Config(frames=351).to_json()).strides == (3, 9, 13)


def test_typos_in_a_configuration_are_errors():
    with pytest.raises(UnknownNameError, match=r"'widht' \(known: .*width"):
        Config.from_json('{"widht": 3}')
    with pytest.raises(FormatError, match="JSON"):
        Config.from_json("{")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 28}, r"no published strides for 28 frames.*27, 81, 243, 351"),
        ({"strides": (3, 3)}, "multiply to 27"),
        ({"frames": 54, "strides": (3, 9, 2)}, "odd numbers"),
        ({"heads": 3}, "a multiple of 3 heads"),
        ({"layers": 0}, "layers: expected 1 or more, found 0"),
        ({"dropout": 1.0}, "below 1"),
    ],
)
def test_impossible_configurations(changes, message):
    with pytest.raises(InputError, match=message):
        tiny(**changes)
