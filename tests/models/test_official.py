"""Weights of published code: every tensor has a place, and the outputs are equal.

The second half needs checkouts of the published repositories, which are not part of this one:
POSELIFT_OFFICIAL_STRIDED=..., _SEMGCN, _EVOSKELETON, _SRNET, _MIXSTE, _VIDEOPOSE3D.
"""

import functools
import os
import sys
import types
import warnings
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import nn

from poselift.errors import UnknownNameError, WeightsError
from poselift.models import cascade, mixste, semgcn, srnet, strided, tcn
from poselift.models.blocks import neighbours
from poselift.models.official import convert_state_dict
from poselift.skeleton import skeleton


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


class Dilated(nn.Module):
    """VideoPose3D's clip graph in torch's convolutions, its tensors named as published."""

    def __init__(self, filters: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.filters = filters
        self.expand_conv = nn.Conv1d(34, width, filters[0], bias=False)
        self.expand_bn = nn.BatchNorm1d(width)
        convolutions, dilation = [], filters[0]
        for size in filters[1:]:
            wide = nn.Conv1d(width, width, size, dilation=dilation, bias=False)
            convolutions += [wide, nn.Conv1d(width, width, 1, bias=False)]
            dilation *= size
        self.layers_conv = nn.ModuleList(convolutions)
        self.layers_bn = nn.ModuleList(nn.BatchNorm1d(width) for _ in convolutions)
        self.shrink = nn.Conv1d(width, 51, 1)

    def forward(self, joints):
        x = self.expand_bn(self.expand_conv(joints.flatten(2).transpose(1, 2))).relu()
        for i in range(0, len(self.layers_conv), 2):
            wide, point = self.layers_conv[i : i + 2]
            reach = wide.dilation[0] * (wide.kernel_size[0] // 2)
            change = self.layers_bn[i](wide(x)).relu()
            change = self.layers_bn[i + 1](point(change)).relu()
            x = x[..., reach : x.shape[-1] - reach] + change
        return self.shrink(x).transpose(1, 2).unflatten(2, (17, 3))


@torch.no_grad()
def stirred(module: nn.Module) -> nn.Module:
    """Everything made a little random, norms' statistics and what starts at zero too."""
    for value in module.state_dict().values():
        if value.is_floating_point():
            value += 0.1 * (torch.rand_like(value) - 0.5)
    return module.eval()


def test_video_pose_convolutions_are_torchs():
    theirs = stirred(Dilated((3, 5, 3), 16))
    ours = tcn.TCN(tcn.Config(frames=45, filters=(3, 5, 3), width=16)).eval()
    ours.load_state_dict(convert_state_dict("tcn", theirs.state_dict()))
    clip = torch.randn(2, 50, 17, 2)
    torch.testing.assert_close(ours.lift_clip(clip), theirs(clip), rtol=1e-4, atol=1e-5)


def test_prefix_of_parallel_training_is_taken_off():
    state = Dilated((3,), 8).state_dict()
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    expected, found = (convert_state_dict("tcn", each) for each in (state, wrapped))
    assert found.keys() == expected.keys()


def test_tensors_that_have_no_place_are_errors():
    state = Dilated((3,), 8).state_dict()
    with pytest.raises(WeightsError, match=r"only tensors of the published .*found \['extra'\]"):
        convert_state_dict("tcn", state | {"extra": torch.zeros(1)})
    with pytest.raises(WeightsError, match=r"found \['module.expand_conv.weight'\]"):
        convert_state_dict("tcn", {"module.module.expand_conv.weight": torch.zeros(8, 34, 3)})
    with pytest.raises(UnknownNameError, match=r"'dgnet' \(known: cascade, mixste, semgcn"):
        convert_state_dict("dgnet", {})


def norm(width: int, *, batch: bool = True) -> dict[str, tuple[int, ...]]:
    shapes = {"weight": (width,), "bias": (width,)}
    statistics = {"running_mean": (width,), "running_var": (width,), "num_batches_tracked": ()}
    return shapes | statistics if batch else shapes


def linear(inputs: int, outputs: int, *kernel: int) -> dict[str, tuple[int, ...]]:
    return {"weight": (outputs, inputs, *kernel), "bias": (outputs,)}


def under(prefix: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}.{name}": shape for name, shape in shapes.items()}


def strided_shapes() -> dict[str, tuple[int, ...]]:
    """As the published code names them, width 8, hidden 12, one layer, strides 3, 3."""
    shapes = under("encoder.0", linear(34, 8, 1)) | under("encoder.1", norm(8))
    shapes["Transformer.pos_embedding"] = (1, 9, 8)
    shapes |= {f"Transformer_reduce.model.pos_embedding_{i}": (1, 9, 8) for i in (1, 2)}
    for encoder, layers, kernels in (("Transformer", 1, ()), ("Transformer_reduce", 2, (1, 3))):
        for i in range(layers):
            layer = f"{encoder}.model.layers.{i}"
            for k in range(4):
                shapes |= under(f"{layer}.self_attn.linears.{k}", linear(8, 8))
            shapes |= under(f"{layer}.feed_forward.w_1", linear(8, 12, *kernels[:1]))
            shapes |= under(f"{layer}.feed_forward.w_2", linear(12, 8, *kernels[1:]))
            for k in range(2):
                shapes |= under(f"{layer}.sublayer.{k}.norm", {"a_2": (8,), "b_2": (8,)})
        shapes |= under(f"{encoder}.model.norm", {"a_2": (8,), "b_2": (8,)})
    for head in ("fcn", "fcn_1"):
        shapes |= under(f"{head}.0", norm(8)) | under(f"{head}.1", linear(8, 51, 1))
    return shapes


def semgcn_shapes(mixing: str | None) -> dict[str, tuple[int, ...]]:
    def convolution(inputs, outputs):
        return {"W": (2, inputs, outputs), "e": (1, 46), "bias": (outputs,)}

    def mix(place):
        shapes = under(f"{place}.theta", linear(8, 4, 1)) | under(f"{place}.W.1", norm(8))
        for part in ("g", "phi"):
            shapes |= under(f"{place}.{part}.0", linear(8, 4, 1))
        shapes |= under(f"{place}.W.0", linear(4, 8, 1))
        return shapes | {f"{place}.concat_project.0.weight": (1, 8, 1, 1)}

    shapes = under("gconv_input.0.gconv", convolution(2, 8)) | under("gconv_input.0.bn", norm(8))
    shapes |= mix(f"gconv_input.1.{mixing}") if mixing else {}
    for i in range(2):
        layer = f"gconv_layers.{2 * i if mixing else i}"
        for unit in ("gconv1", "gconv2"):
            shapes |= under(f"{layer}.{unit}.gconv", convolution(8, 8))
            shapes |= under(f"{layer}.{unit}.bn", norm(8))
        shapes |= mix(f"gconv_layers.{2 * i + 1}.{mixing}") if mixing else {}
    return shapes | under("gconv_output", convolution(8, 3))


def cascade_shapes() -> dict[str, tuple[int, ...]]:
    shapes = {}
    for stage in ("0", "1"):
        shapes |= under(f"{stage}.w1", linear(34, 8)) | under(f"{stage}.batch_norm1", norm(8))
        for k in (1, 2):
            shapes |= under(f"{stage}.res_blocks.0.w{k}", linear(8, 8))
            shapes |= under(f"{stage}.res_blocks.0.batch_norm{k}", norm(8))
        shapes |= under(f"{stage}.w2", linear(8, 48))
    return shapes


def srnet_shapes() -> dict[str, tuple[int, ...]]:
    """Two groups, width 36 in shares of 16 and 20, filters 3, 3, multiply."""
    shapes = under("expand_bn", norm(36))
    sizes = {"expand_conv": 3, "layers_conv.0": 3, "layers_conv.1": 1, "final_layer": 1}
    for place, size in sizes.items():
        outputs = (24, 31) if place == "final_layer" else (16, 20)
        for group, inputs in enumerate((16, 20)):
            info = f"{place}.get_part_info"
            shapes[f"{place}.group_conv.{group}.weight"] = (outputs[group], inputs, size)
            shapes |= under(f"{info}.m_conv.{group}", linear(36 - inputs, size, size))
            shapes |= under(f"{info}.layers_bn.{group}", norm(size))
    return shapes | under("layers_bn.0", norm(36)) | under("layers_bn.1", norm(36))


def mixste_shapes() -> dict[str, tuple[int, ...]]:
    shapes = under("Spatial_patch_to_embedding", linear(2, 8))
    shapes |= {"Spatial_pos_embed": (1, 17, 8), "Temporal_pos_embed": (1, 9, 8)}
    for block in ("STEblocks.0", "STEblocks.1", "TTEblocks.0", "TTEblocks.1"):
        shapes |= under(f"{block}.attn.qkv", linear(8, 24)) | under(
            f"{block}.attn.proj", linear(8, 8)
        )
        shapes |= under(f"{block}.mlp.fc1", linear(8, 16)) | under(
            f"{block}.mlp.fc2", linear(16, 8)
        )
        for name in ("norm1", "norm2"):
            shapes |= under(f"{block}.{name}", norm(8, batch=False))
    for name in ("Spatial_norm", "Temporal_norm", "head.0"):
        shapes |= under(name, norm(8, batch=False))
    return shapes | under("head.1", linear(8, 3))


TINY_STRIDED = {"frames": 9, "strides": (3, 3), "width": 8, "hidden": 12, "heads": 2, "layers": 1}


@pytest.mark.parametrize(
    ("system", "network", "shapes"),
    [
        ("strided", strided.Strided(strided.Config(**TINY_STRIDED)), strided_shapes()),
        ("semgcn", semgcn.SemGCN(semgcn.Config(width=8, layers=2)), semgcn_shapes(None)),
        (
            "semgcn",
            semgcn.SemGCN(semgcn.Config(width=8, layers=2, non_local=True)),
            semgcn_shapes("nonlocal"),
        ),
        ("cascade", cascade.Cascade(cascade.Config(blocks=1, width=8)), cascade_shapes()),
        (
            "srnet",
            srnet.SRNet(srnet.Config(frames=9, filters=(3, 3), groups=2, width=36)),
            srnet_shapes(),
        ),
        ("mixste", mixste.MixSTE(mixste.Config(frames=9, width=8, depth=2)), mixste_shapes()),
    ],
)
def test_every_published_tensor_has_its_place(system, network, shapes):
    state = {
        name: torch.tensor(7) if name.endswith("tracked") else torch.randn(shape)
        for name, shape in shapes.items()
    }
    converted = convert_state_dict(system, state)
    network.load_state_dict(converted)  # strict: all names and shapes

    def values(tensors):
        return sorted(v for t in tensors.values() if t.numel() > 1 for v in t.flatten().tolist())

    own = {"input_mean", "input_deviation", "target_mean_m", "target_deviation_m"}
    kept = {name: tensor for name, tensor in converted.items() if name not in own}
    assert values(kept) == values(state)  # each number once


# Against the published code itself.


def checkout(system: str, monkeypatch) -> Path:
    """The folder of a checkout, importable in this test alone; skips where there is none."""
    variable = f"POSELIFT_OFFICIAL_{system}"
    if variable not in os.environ:
        pytest.skip(f"{variable} names no checkout of the published code")
    path = Path(os.environ[variable])
    monkeypatch.syspath_prepend(path)
    for name in list(sys.modules):
        if name.partition(".")[0] in ("common", "model", "models", "libs", "data"):
            monkeypatch.delitem(sys.modules, name)
    return path


def published(name: str) -> types.ModuleType:
    """Import; old code warns a lot."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module(name)


@torch.no_grad()
def assert_equal_outputs(system, theirs, ours, run, found):
    stirred(theirs)
    ours.load_state_dict(convert_state_dict(system, theirs.state_dict()))
    ours.eval()
    for expected, answer in zip(run(theirs), found(ours), strict=True):
        assert answer.shape == expected.shape
        assert (answer - expected).abs().max() <= 1e-5 * expected.abs().max().clamp_min(1)


@pytest.mark.parametrize("frames", [27, 243])
def test_strided_equals_the_published_code(frames, monkeypatch):
    checkout("STRIDED", monkeypatch)
    code = published("model.strided_transformer")
    config = strided.Config(frames=frames, faithful=True)
    arguments = types.SimpleNamespace(
        layers=3,
        channel=256,
        d_hid=512,
        frames=frames,
        stride_num=list(config.strides),
        n_joints=17,
        out_joints=17,
    )
    joints = torch.randn(2, frames, 17, 2)

    def run(network):
        answers = network(joints.permute(0, 3, 1, 2)[..., None].clone())
        return [answer[..., 0].permute(0, 2, 3, 1) for answer in answers]

    ours = strided.Strided(config)
    assert_equal_outputs("strided", code.Model(arguments), ours, run, lambda own: own(joints))


PAIRS = [[2, 3], [5, 6], [1, 4], [0, 7], [8, 9], [14, 15], [11, 12], [10, 13]]


@pytest.mark.parametrize("non_local", [False, True])
@pytest.mark.parametrize("channel_wise", [False, True])
def test_semgcn_equals_the_published_code(non_local, channel_wise, monkeypatch):
    path = checkout("SEMGCN", monkeypatch)
    monkeypatch.setitem(sys.modules, "models", types.ModuleType("models"))
    for name in ("sem_graph_conv", "sem_ch_graph_conv", "graph_non_local", "sem_gcn"):
        # The attribute "nonlocal" and `reduce` are of Python 2.
        source = (path / "models" / f"{name}.py").read_text().replace(".nonlocal", ".nonlocal_")
        module = types.ModuleType(f"models.{name}")
        module.reduce = functools.reduce
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(source, name, "exec"), module.__dict__)
    code = sys.modules["models.sem_gcn"]
    if channel_wise:
        code.SemGraphConv = sys.modules["models.sem_ch_graph_conv"].SemCHGraphConv
    graph = neighbours(skeleton("h36m16")).float()
    theirs = code.SemGCN(graph, 128, nodes_group=PAIRS if non_local else None)
    config = semgcn.Config(non_local=non_local, channel_wise=channel_wise, faithful=True)
    joints, known = torch.randn(3, 1, 17, 2), [j for j in range(17) if j != 9]
    assert_equal_outputs(
        "semgcn",
        theirs,
        semgcn.SemGCN(config),
        lambda network: [network(joints[:, 0, known])],
        lambda own: [own(joints).centre[:, 0, known]],
    )


@pytest.mark.parametrize(("stages", "blocks"), [(2, 2), (3, 3)])
def test_cascade_equals_the_published_code(stages, blocks, monkeypatch):
    checkout("EVOSKELETON", monkeypatch)
    code = published("libs.model.model")
    theirs = code.get_cascade()
    for index in range(stages):
        theirs.append(code.get_model(index + 1, num_blocks=blocks, input_size=34, output_size=48))
    joints = torch.randn(3, 1, 17, 2)
    assert_equal_outputs(
        "cascade",
        theirs,
        cascade.Cascade(cascade.Config(stages=stages, blocks=blocks)),
        lambda stages: [sum(stage(joints.flatten(1)) for stage in stages)],
        lambda own: [own(joints).centre[:, 0, 1:].flatten(1)],
    )


@pytest.mark.parametrize("graph", ["TemporalModel", "TemporalModelOptimized1f"])
@pytest.mark.parametrize("filters", [(1, 1, 1), (3, 3, 3)])
def test_tcn_equals_the_published_code(filters, graph, monkeypatch):
    checkout("VIDEOPOSE3D", monkeypatch)
    code = published("common.model")
    ours = tcn.TCN(tcn.Config(frames=filters[0] ** 3, filters=filters))
    clip = torch.randn(2, ours.frames + 4 * (graph == "TemporalModel"), 17, 2)
    assert_equal_outputs(
        "tcn",
        getattr(code, graph)(17, 2, 17, list(filters)),
        ours,
        lambda network: [network(clip)],
        lambda own: [own.lift_clip(clip)],
    )


@pytest.mark.parametrize("graph", ["TemporalModel", "TemporalModelOptimized1f"])
@pytest.mark.parametrize("filters", [(1, 1, 1), (3, 3, 3)])
@pytest.mark.parametrize("recombine", ["multiply", "add", "concat"])
@pytest.mark.parametrize("groups", [5, 3, 2])
def test_srnet_equals_the_published_code(groups, recombine, filters, graph, monkeypatch):
    checkout("SRNET", monkeypatch)
    arguments = ["run.py", "--group", str(groups), "--recombine", recombine]
    monkeypatch.setattr(sys, "argv", arguments)  # read while importing
    code = published("common.common_pytorch.model.srnet")
    ours = srnet.SRNet(
        srnet.Config(
            frames=filters[0] ** 3,
            filters=filters,
            groups=groups,
            recombine=recombine,
            faithful=True,
        )
    )
    strided = graph != "TemporalModel"
    clip = torch.randn(2, ours.frames + (0 if strided else 4), 17, 2)
    assert_equal_outputs(
        "srnet",
        getattr(code, graph)(17, 2, 17, list(filters), dropout=0),
        ours,
        lambda network: [network(clip)],
        lambda own: [own(clip).centre if strided else own.lift_clip(clip)],
    )


def test_mixste_equals_the_published_code(monkeypatch):
    checkout("MIXSTE", monkeypatch)
    pytest.importorskip("einops")
    # Of timm only stochastic depth is used, which does nothing outside training.
    for name, members in {
        "timm": (),
        "timm.data": ("IMAGENET_DEFAULT_MEAN", "IMAGENET_DEFAULT_STD"),
        "timm.models": (),
        "timm.models.helpers": ("load_pretrained",),
        "timm.models.layers": ("to_2tuple", "trunc_normal_"),
        "timm.models.registry": ("register_model",),
    }.items():
        module = types.ModuleType(name)
        vars(module).update(dict.fromkeys(members), DropPath=nn.Identity)
        monkeypatch.setitem(sys.modules, name, module)
    code = published("common.model_cross")
    joints = torch.randn(1, 27, 17, 2)
    theirs = code.MixSTE2(num_frame=27, embed_dim_ratio=512, depth=8, drop_path_rate=0.1)
    assert_equal_outputs(
        "mixste",
        theirs,
        mixste.MixSTE(mixste.Config(frames=27, faithful=True)),
        lambda network: [network(joints)],
        lambda own: [own(joints).every],
    )
