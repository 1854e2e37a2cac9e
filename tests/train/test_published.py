"""Checkpoints of published code: read without running them, told apart, used by path."""

import json
import shutil
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import poselift
from poselift.camera import Camera
from poselift.cli import main
from poselift.errors import FormatError, InputError, UnknownNameError, WeightsError
from poselift.models import LIFTERS, info, load
from poselift.models.export import Exported
from poselift.poses import Poses2D
from poselift.skeleton import skeleton
from poselift.train import published
from poselift.train.judge import contender
from poselift.train.published import fitting, import_weights, read_checkpoint

H36M, COCO = skeleton("h36m17"), skeleton("coco17")
SIZE_PX = (1000, 1002)


class Dilated(nn.Module):
    """VideoPose3D for 9 frames and few channels in torch's convolutions, named as published."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.expand_conv = nn.Conv1d(34, width, 3, bias=False)
        self.expand_bn = nn.BatchNorm1d(width)
        self.layers_conv = nn.ModuleList(
            [
                nn.Conv1d(width, width, 3, dilation=3, bias=False),
                nn.Conv1d(width, width, 1, bias=False),
            ]
        )
        self.layers_bn = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(2))
        self.shrink = nn.Conv1d(width, 51, 1)

    def forward(self, joints):
        x = self.expand_bn(self.expand_conv(joints.flatten(2).transpose(1, 2))).relu()
        change = self.layers_bn[0](self.layers_conv[0](x)).relu()
        x = x[..., 3:-3] + self.layers_bn[1](self.layers_conv[1](change)).relu()
        return self.shrink(x).transpose(1, 2).unflatten(2, (17, 3))


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    torch.manual_seed(0)
    network = Dilated().train()
    for _ in range(3):  # statistics of the norms
        network(torch.randn(8, 9, 17, 2))
    return network.eval()


@pytest.fixture(scope="module", autouse=True)
def _small():
    """The table's tcn-27 as the small network above, so that nothing here takes long."""
    config = {"frames": 9, "filters": (3, 3), "width": 8}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LIFTERS, "tcn-27", replace(LIFTERS["tcn-27"], frames=9, config=config))
        yield


def saved(path: Path, network: nn.Module) -> Path:
    """As VideoPose3D saves it, the training's random state and numpy's numbers beside."""
    optimizer = torch.optim.SGD(network.parameters(), momentum=0.9, lr=0.1)
    state = {
        "epoch": 80,
        "lr": np.float64(1e-3),
        "losses": np.arange(3.0),
        "random_state": np.random.RandomState(1),
        "optimizer": optimizer.state_dict(),
        "model_pos": network.state_dict(),
    }
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def imported(theirs, tmp_path_factory) -> Path:
    """Made once, by the verb: an export takes seconds."""
    pytest.importorskip("onnxscript")
    folder = tmp_path_factory.mktemp("imported")
    checkpoint, out = saved(folder / "pretrained_cpn.bin", theirs), folder / "weights"
    with redirect_stdout(StringIO()) as said:
        assert main(["import-weights", "tcn", str(checkpoint), "-o", str(out)]) == 0
    lines = said.getvalue().splitlines()
    assert lines[0].endswith("those of tcn-27 (tried: tcn-1, tcn-27, tcn-81, tcn-243)")
    assert lines[1].startswith("licence: as the checkpoint's: check it")
    graph = Path(lines[2])
    assert lines[2:] == [str(out / "tcn-27-pretrained_cpn.onnx"), str(graph.with_suffix(".json"))]
    return graph


def person(frames: int = 30, rate_hz: float = 50.0, joints=H36M) -> Poses2D:
    rng = np.random.default_rng(0)
    xy_px = rng.uniform(200, 700, (1, len(joints), 2)) + rng.normal(0, 4, (frames, 17, 2))
    return Poses2D(
        xy_px,
        np.ones((frames, len(joints))),
        np.arange(frames) / rate_hz,
        SIZE_PX,
        joints,
        camera=Camera.from_field_of_view(SIZE_PX, 50),
    )


@torch.inference_mode()
def as_published(theirs: nn.Module, poses: Poses2D) -> np.ndarray:
    """Screen coordinates, edges repeated, mean with the mirrored clip, root put to zero: metres."""
    xy = poses.xy_px / 1000 * 2 - [1, 1002 / 1000]

    def lifted(xy):
        padded = np.concatenate([xy[:1].repeat(4, 0), xy, xy[-1:].repeat(4, 0)])
        return theirs(torch.from_numpy(padded[None]).float())[0].numpy()

    twin = lifted(xy[:, poses.skeleton.mirror] * [-1, 1])[:, H36M.mirror] * [-1, 1, 1]
    xyz_m = (lifted(xy) + twin) / 2
    xyz_m[:, 0] = 0
    return xyz_m


def test_the_imported_lifter_answers_as_published(theirs, imported):
    poses = person()
    for path in (imported, str(imported), imported.with_suffix(".json"), imported.parent):
        lifted = load(path)(poses)
        assert lifted.xyz_m == pytest.approx(as_published(theirs, poses), abs=1e-5)
    assert lifted.history == ("lifted by tcn-27-pretrained_cpn, camera known",)


def test_faster_clips_are_seen_at_the_rate_of_human36m(theirs, imported):
    fast = person(59, rate_hz=100.0)
    every_other = replace(
        fast, xy_px=fast.xy_px[::2], confidence=fast.confidence[::2], time_s=fast.time_s[::2]
    )
    lifted = load(imported)(fast).xyz_m[::2]
    assert lifted == pytest.approx(as_published(theirs, every_other), abs=1e-5)


def test_the_record_says_where_it_comes_from(imported, theirs, tmp_path):
    card = json.loads(imported.with_suffix(".json").read_text())
    assert card["source"]["file"] == "pretrained_cpn.bin"
    assert len(card["source"]["sha256"]) == 64
    assert card["command"] == ["poselift import-weights tcn pretrained_cpn.bin -o weights"]
    assert "CC BY-NC" in card["licence"]
    assert "measured" not in card
    about = info(imported)
    assert (about.input, about.rate_hz, about.frames) == ("screen", 50.0, 9)
    assert about.name == imported.stem == "tcn-27-pretrained_cpn"
    assert about.macs_per_frame == LIFTERS["tcn-27"].macs_per_frame


def test_other_joints_are_given_by_name(theirs, imported, tmp_path, monkeypatch):
    def export(model, record, path, **_):
        digest = json.loads(imported.with_suffix(".json").read_text())["sha256"]
        return Exported(shutil.copy(imported, path), digest, 0, 0.0, None)

    monkeypatch.setattr(published, "export", export)  # the same weights once more
    checkpoint = saved(tmp_path / "coco.bin", theirs)
    path = import_weights("tcn-27", checkpoint, tmp_path, lambda _: None, joints="coco17")
    poses = person(joints=COCO)
    assert load(path)(poses).xyz_m == pytest.approx(as_published(theirs, poses), abs=1e-5)
    with pytest.raises(InputError, match="expected 17 joints, found 25"):
        import_weights("tcn", checkpoint, tmp_path, print, joints="body25")
    with pytest.raises(InputError, match="whose nose SemGCN leaves out"):
        import_weights("semgcn", checkpoint, tmp_path, print, joints="coco17")


def test_joints_that_are_missing_are_the_middle_of_the_image_and_it_is_said(theirs, imported):
    poses = person()
    xy_px = poses.xy_px.copy()
    xy_px[:, 6] = np.nan
    lifted = load(imported)(replace(poses, xy_px=xy_px))
    assert lifted.history[-1].startswith("30 of 510 joints not seen: tcn-27-pretrained_cpn has no")
    xy_px[:, 6] = [500, 501]
    expected = as_published(theirs, replace(poses, xy_px=xy_px))
    assert lifted.xyz_m == pytest.approx(expected, abs=1e-5)


# ---------------------------------------------------------------------------------- everywhere
def test_lift_takes_it_by_path(capsys, imported, tmp_path):
    (source,) = poselift.write(tmp_path / "clip.npz", [person(joints=COCO)])
    arguments = ["-o", str(tmp_path / "out"), "--only", "npz", "--quiet"]
    assert main(["lift", str(source), *arguments, "--model", str(imported)]) == 0
    assert "1 person" in capsys.readouterr().out
    assert main(["lift", str(source), *arguments, "--model", str(tmp_path / "no.onnx")]) == 1
    assert "no.onnx: expected a record no.json beside the graph" in capsys.readouterr().err


def test_the_judge_takes_it_by_path(imported):
    who = contender(str(imported), None)
    assert who.name == "tcn-27-pretrained_cpn"
    price = who.cost()
    assert (price.parameters, price.macs_per_frame) == (8_555_571, 17_769_472)  # of the record


# ------------------------------------------------------------------------------------- refused
def test_files_that_hold_no_tensors(tmp_path):
    class Rascal:
        def __reduce__(self):
            return Path.touch, (tmp_path / "was run",)

    contents = {
        "code": ({"model": Rascal()}, "found code"),
        "module": (nn.Linear(2, 2), r"found code \(torch.nn.modules.linear.Linear\)"),
        "numbers": ({"model_pos": {"a": 1.0}}, r"bare or under model_pos, .*\['a'\]"),
        "one": (torch.zeros(2), "found Tensor"),
    }
    for name, (content, message) in contents.items():
        torch.save(content, tmp_path / name)
        with pytest.raises(WeightsError, match=message):
            read_checkpoint(tmp_path / name)
    assert not (tmp_path / "was run").exists()
    (tmp_path / "junk").write_bytes(b"junk" * 50)
    with pytest.raises(WeightsError, match=r"expected a file of torch\.save"):
        read_checkpoint(tmp_path / "junk")
    with pytest.raises(FormatError, match="does not exist"):
        read_checkpoint(tmp_path / "nothing")


@pytest.mark.parametrize("wrap", ["model_pos", "state_dict", "model", None])
@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_are_unwrapped(wrap, zipped, theirs, tmp_path):
    tensors = theirs.state_dict()
    content = {wrap: tensors, "epoch": 3} if wrap else tensors
    path = tmp_path / "x.pth.tar"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(path)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


def test_weights_of_no_known_size_say_what_was_tried():
    tensors = Dilated(width=16).state_dict()
    with pytest.raises(WeightsError) as error:
        fitting("tcn", tensors, "x.bin")
    message = "x.bin as tcn-27: expected its tensors, found first.convolution.linear.weight of "
    assert str(error.value).startswith(message + "(16, 102) instead of (8, 102) (known: tcn-1, tcn")
    with pytest.raises(WeightsError, match=r"\(known: tcn-1\)"):
        fitting("tcn-1", tensors, "x.bin")
    with pytest.raises(WeightsError, match="only tensors of the published network"):
        fitting("mixste", tensors, "x.bin")


def test_counters_of_norms_may_be_missing(theirs):
    tensors = {n: t for n, t in theirs.state_dict().items() if not n.endswith("tracked")}
    model, record, _ = fitting("tcn", tensors, "old")
    joints = torch.randn(2, 9, 17, 2)
    torch.testing.assert_close(model(joints).centre, theirs(joints), rtol=1e-4, atol=1e-5)
    assert record.name == "tcn-27"


def test_systems_that_cannot_be_imported():
    with pytest.raises(WeightsError, match="means that are not in its checkpoints"):
        fitting("cascade", {"0.w1.weight": torch.zeros(2, 2)}, "x")
    for name in ("dgnet-27", "ppca", "nobody"):
        with pytest.raises(UnknownNameError, match=r"weights: found .*known: cascade, cascade-2x2"):
            fitting(name, {}, "x")


def test_pairs_that_are_no_pairs(imported, tmp_path):
    graph, record = tmp_path / "x.onnx", tmp_path / "x.json"
    record.write_text(imported.with_suffix(".json").read_text())
    with pytest.raises(WeightsError, match="expected the file of its record, found none"):
        load(graph)
    (tmp_path / imported.name).write_bytes(imported.read_bytes() + b"x")
    with pytest.raises(WeightsError, match="expected SHA-256"):
        load(graph)
    for text, message in (
        ("{", "a record of weights in JSON"),
        ("3", "a record of weights in JSON"),
        ("{}", "none of its file, sha256, lifter"),
        ('{"file": "", "sha256": "", "lifter": {"wings": 2}}', "the fields of a lifter"),
    ):
        record.write_text(text)
        with pytest.raises(WeightsError, match=message):
            load(graph)
    graph.write_bytes(b"")
    shutil.copy(imported.with_suffix(".json"), tmp_path)
    with pytest.raises(WeightsError, match=r"found a folder of several \(known: tcn-27-pretrained"):
        load(tmp_path)
