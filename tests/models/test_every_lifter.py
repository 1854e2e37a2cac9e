"""What holds for every lifter's network, on small ones; the published sizes on the meta device."""

import copy
from importlib import import_module

import numpy as np
import pytest
import torch
from torch import nn

from poselift.camera import Camera
from poselift.errors import FormatError, ShapeError, UnknownNameError
from poselift.models import LifterInfo
from poselift.models.lifter import Lifter
from poselift.models.network import Lifted, Network
from poselift.poses import Poses2D
from poselift.skeleton import skeleton

CLASSES = {
    "strided": "Strided",
    "semgcn": "SemGCN",
    "cascade": "Cascade",
    "tcn": "TCN",
    "srnet": "SRNet",
    "dgnet": "DGNet",
    "mixste": "MixSTE",
    "mixed": "Mixed",
}
EVERY_FRAME = ("mixste", "mixed")  # what lifters of these give
# By a name of the test: module and small configuration, nothing dropped.
STRIDED = {"frames": 9, "strides": (9,), "width": 16, "hidden": 24, "heads": 2, "layers": 1}
SMALL = {
    "strided": STRIDED | {"input_dropout": 0, "dropout": 0, "attention_dropout": 0},
    "semgcn": {"width": 16, "layers": 2},
    "semgcn 17": {"width": 16, "layers": 2, "joints": 17, "non_local": True},
    "semgcn channel-wise": {"width": 16, "layers": 1, "channel_wise": True, "non_local": True},
    "cascade": {"stages": 2, "blocks": 1, "width": 32, "dropout": 0},
    "tcn": {"frames": 9, "filters": (3, 3), "width": 32, "dropout": 0},
    "tcn 1": {"frames": 1, "width": 32, "dropout": 0},
    "srnet": {"frames": 9, "filters": (3, 3), "width": 64},
    "srnet add": {"frames": 9, "filters": (3, 3), "width": 64, "recombine": "add", "groups": 3},
    "srnet concat": {"frames": 9, "filters": (3, 3), "width": 64, "recombine": "concat"},
    "srnet 1": {"frames": 1, "width": 64, "groups": 1},
    "dgnet": {"frames": 9, "width": 16, "dropout": 0},
    "mixste": {"frames": 9, "width": 16, "depth": 2, "heads": 2, "drop_path": 0},
    "mixed": {"frames": 9, "width": 16, "depth": 1, "heads": 2},
}
PLAIN = [name for name in SMALL if " " not in name]
H36M = skeleton("h36m17")


def network_and_config(module_name: str, **changes):
    module = import_module(f"poselift.models.{module_name}")
    config = module.Config(**changes)
    return getattr(module, CLASSES[module_name])(config), config


def small(name: str, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return network_and_config(name.split()[0], **SMALL[name])[0]


@torch.no_grad()
def stirred(network: Network) -> Network:
    """Zeros and ones that the network starts with made random, statistics of norms too."""
    for key, value in network.state_dict().items():
        if value.is_floating_point() and value.unique().numel() == 1 and value.numel() > 1:
            value += 0.2 * torch.rand_like(value) + ("deviation" in key)
    return network


def windows(network: Network, batch: int = 4, seed: int = 1) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(batch, network.frames, 17, 2, generator=g)


def targets(network: Network, batch: int = 4) -> torch.Tensor:
    g = torch.Generator().manual_seed(2)
    pose = 0.3 * torch.randn(batch, network.frames, 17, 3, generator=g)
    return pose - pose[:, :, :1]


each = pytest.mark.parametrize("name", SMALL)


@pytest.mark.parametrize(
    ("module_name", "changes", "count"),
    [
        ("semgcn", {}, 267_343),
        ("semgcn", {"non_local": True}, 434_703),
        ("cascade", {"stages": 1}, 4_293_680),
        ("cascade", {}, 8_587_360),
        ("cascade", {"stages": 3, "blocks": 3}, 19_190_928),
        ("tcn", {"frames": 1}, 4_291_635),
        ("tcn", {"frames": 27}, 8_555_571),
        ("tcn", {"frames": 81}, 12_753_971),
        ("tcn", {"frames": 243}, 16_952_371),
        ("srnet", {"frames": 1}, 899_029),
        ("srnet", {"frames": 1, "recombine": "add"}, 898_969),
        ("srnet", {"frames": 1, "recombine": "concat"}, 904_153),
        ("srnet", {"frames": 243}, 3_612_067),
        ("srnet", {"frames": 243, "recombine": "add"}, 3_611_867),
        ("srnet", {"frames": 243, "recombine": "concat"}, 3_631_387),
        ("mixste", {"frames": 27}, 33_673_219),
        ("mixste", {"frames": 81}, 33_700_867),
        ("mixste", {"frames": 243}, 33_783_811),
    ],
)
def test_has_the_published_size(module_name, changes, count):
    with torch.device("meta"):
        network = network_and_config(module_name, **changes)[0]
    assert sum(p.numel() for p in network.parameters()) == count


@each
def test_shapes(name):
    network = small(name).eval()
    lifted = network(windows(network))
    assert lifted.centre.shape == (4, 1, 17, 3)
    if name in ("strided", *EVERY_FRAME):
        assert lifted.every.shape == (4, network.frames, 17, 3)
    else:
        assert lifted.every is None
    assert network.loss(lifted, targets(network)).shape == ()


@each
def test_other_windows_are_errors(name):
    network = small(name)
    frames = "F" if name == "mixed" else network.frames  # which takes any number
    for shape in ((3, network.frames + 1, 17, 2), (3, network.frames, 16, 2)):
        if shape[1] == network.frames or name != "mixed":
            with pytest.raises(ShapeError, match=rf"expected \(B, {frames}, 17, 2\), found"):
                network(torch.zeros(shape))


@each
def test_the_loss_is_smallest_at_the_target(name):
    network = small(name)
    target = targets(network)
    if name == "mixste":  # it also asks for calm
        target = target[:, :1].expand_as(target)
    middle = target[:, network.frames // 2, None].clone()
    if name.startswith("semgcn") and "17" not in name:
        middle[:, :, H36M.index("nose")] = 9.0  # made up from other joints, not in the loss
    perfect = network.loss(Lifted(middle, target), target)
    assert perfect.item() == 0
    assert network.loss(Lifted(middle + 0.01, target + 0.01), target) > 0


@each
def test_gradients_reach_all_parameters(name):
    network = stirred(small(name)).train()
    for progress in (0.0, 0.9):  # stages are trained one after another
        network.prepare(progress)
        network.loss(network(windows(network)), targets(network)).backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        if parameter.ndim > 1:  # a batch norm takes the gradient of the bias before it
            assert parameter.grad.abs().max() > 0, parameter_name


@each
def test_trains_in_bfloat16(name):
    network = small(name).train()
    network.prepare(0.0)
    with torch.autocast("cpu", torch.bfloat16):
        lifted = network(windows(network))
    network.loss(lifted, targets(network)).backward()
    grads = [p.grad for p in network.parameters() if p.grad is not None]
    assert grads
    assert all(grad.isfinite().all() for grad in grads)


@each
def test_the_same_seed_gives_the_same_network_and_the_same_answer(name):
    one, other = small(name).eval(), small(name).eval()
    assert torch.equal(one(windows(one)).centre, other(windows(one)).centre)
    assert not torch.equal(one(windows(one)).centre, small(name, 5).eval()(windows(one)).centre)


@each
def test_a_window_is_independent_of_the_batch(name):
    network = stirred(small(name)).eval()
    joints = windows(network)
    together, alone = network(joints), network(joints[2:3])
    torch.testing.assert_close(together.centre[2:3], alone.centre)
    if together.every is not None:
        torch.testing.assert_close(together.every[2:3], alone.every)


@each
def test_missing_joints_leave_the_answer_finite(name):
    network = stirred(small(name)).train()
    joints = windows(network)
    joints[0] = 0  # nobody
    joints[1, :, 5:] = 0
    lifted = network(joints)
    network.loss(lifted, targets(network)).backward()
    assert lifted.centre.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


@each
def test_nan_is_answered_with_nan_and_stays_in_its_window(name):
    """As the records say: a joint that is missing must be given as 0."""
    network = stirred(small(name)).eval()
    joints = windows(network)
    expected = network(joints)
    joints[1, network.frames // 2] = torch.nan
    found = network(joints)
    assert found.centre[1, :, 1:].isnan().any()
    for answer, wanted in zip(found, expected, strict=True):
        if wanted is not None:
            assert answer[[0, 2, 3]].isfinite().all()
            torch.testing.assert_close(answer[[0, 2, 3]], wanted[[0, 2, 3]])


def lifter(name: str, network: Network) -> Lifter:
    """The network, run by torch, with windows, padding and flip around it."""
    gives = "all" if name in EVERY_FRAME else "centre"
    facts = {"citation": "", "original_licence": "", "target": ""}
    info = LifterInfo(name=name, frames=network.frames, parameters=0, gives=gives, **facts)

    @torch.inference_mode()
    def run(joints):
        lifted = network(torch.from_numpy(joints).float())
        return (lifted.every if gives == "all" else lifted.centre[:, 0]).numpy()

    return Lifter(run, info)


def person(xy_px) -> Poses2D:
    """Joints (T, 17, 2) in pixels as a clip of 30 frames per second."""
    camera = Camera.from_field_of_view((640, 480), 40)
    time_s = np.arange(len(xy_px)) / 30
    return Poses2D(xy_px, np.ones(xy_px.shape[:2]), time_s, (640, 480), H36M, camera=camera)


@each
def test_clips_shorter_than_a_window_repeat_their_edges(name):
    network = stirred(small(name)).eval()
    lift = lifter(name, network)
    xy_px = np.random.default_rng(0).uniform(100, 300, (4, 17, 2))
    short = lift(person(xy_px)).xyz_m
    assert np.isfinite(short).all()
    if name in EVERY_FRAME:  # one window, filled up at its end
        whole = np.concatenate([xy_px, xy_px[-1:].repeat(network.frames - 4, 0)])
        expected = lift(person(whole)).xyz_m[:4]
    else:
        half = network.frames // 2
        whole = np.concatenate([xy_px[:1].repeat(half, 0), xy_px, xy_px[-1:].repeat(half, 0)])
        expected = lift(person(whole)).xyz_m[half : half + 4]
    assert short == pytest.approx(expected, abs=1e-6)
    if network.frames > 1:  # the frames do see each other
        moved = xy_px + np.linspace(0, 40, 4)[:, None, None] * [1, 0]
        moved[0] = xy_px[0]
        assert np.abs(lift(person(moved)).xyz_m[0] - short[0]).max() > 1e-5


def mirrored(array, order, middle=0.0):
    flipped = np.array(array[:, order])
    flipped[..., 0] = 2 * middle - flipped[..., 0]
    return flipped


@each
def test_a_mirrored_person_is_lifted_to_the_mirrored_pose(name):
    lift = lifter(name, stirred(small(name)).eval())
    poses = person(np.random.default_rng(0).uniform(100, 300, (12, 17, 2)))
    middle = poses.camera.K[0, 2]
    twin = lift(person(mirrored(poses.xy_px, H36M.mirror, middle=middle))).xyz_m
    assert mirrored(twin, H36M.mirror) == pytest.approx(lift(poses).xyz_m, abs=1e-4)


class Named(nn.Module):
    """A network whose missing outputs are left out."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, joints):
        centre, every = self.network(joints)
        return (centre,) if every is None else (centre, every)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("semgcn 17", {"layers": 1, "channel_wise": True}),
        ("cascade", {}),
        ("tcn", {}),
        ("srnet", {"frames": 3, "filters": (3,), "groups": 2}),
        ("dgnet", {}),
        ("mixste", {"depth": 1}),
        ("mixed", {}),
    ],
)
def test_onnx_gives_the_same_numbers(name, changes, tmp_path):
    pytest.importorskip("onnxscript")
    from poselift.models.export import export_onnx

    torch.manual_seed(0)
    network = stirred(network_and_config(name.split()[0], **SMALL[name] | changes)[0])
    outputs = ("centre", "every") if name in EVERY_FRAME else ("centre",)
    path = tmp_path / "model.onnx"
    written = export_onnx(Named(network), windows(network, 3), path, outputs=outputs)
    assert path.stat().st_size == written.size_bytes  # the numbers are compared in there


@each
def test_learns_a_few_windows_by_heart(name):
    network = small(name).train()
    joints, target = windows(network, 6), targets(network, 6)
    if name in EVERY_FRAME:  # their losses also ask for calm, or for the velocity
        target = target[:, :1].expand_as(target)
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    losses = []
    for _ in range(40):
        loss = network.loss(network(joints), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@each
def test_a_copy_answers_alike(name):
    network = stirred(small(name))
    network.prepare(0.2)
    other = small(name, seed=3)
    other.load_state_dict(network.state_dict())
    twin, joints = copy.deepcopy(network).eval(), windows(network)
    expected = network.eval()(joints).centre
    assert torch.equal(twin(joints).centre, expected)
    assert torch.equal(other.eval()(joints).centre, expected)


@pytest.mark.parametrize("name", PLAIN)
def test_configurations_survive_json(name):
    _, config = network_and_config(name, **SMALL[name])
    assert type(config).from_json(config.to_json()) == config
    with pytest.raises(UnknownNameError, match=rf"{name} configuration: found 'widht' \(known: "):
        type(config).from_json('{"widht": 3}')
    with pytest.raises(FormatError, match="JSON"):
        type(config).from_json("{")
