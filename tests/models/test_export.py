"""ONNX export: same numbers, any batch, half the size, nothing of the exporting machine."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import poselift
from poselift.errors import OutputError, WeightsError
from poselift.models.export import export_onnx
from poselift.models.river import State
from poselift.models.strided import Config, Strided
from poselift.train.runs import moments, walks

TINY = Config(frames=9, strides=(9,), joints=5, width=32, hidden=48, heads=2, layers=1)


def run(path: Path, joints: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(["centre", "every"], {"joints": joints})


@pytest.fixture(scope="module")
def network() -> Strided:
    torch.manual_seed(0)
    network = Strided(TINY)
    with torch.no_grad():
        for _ in range(3):  # statistics of the batch norms that are not 0 and 1
            network(torch.randn(8, 9, 5, 2) + 0.5)
    return network


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    example = torch.randn(2, 9, 5, 2)
    return export_onnx(network, example, path, metadata={"name": "tiny", "licence": "none"})


def test_same_numbers_as_torch_for_any_batch(network, exported):
    for batch in (1, 7):
        joints = np.random.default_rng(batch).normal(size=(batch, 9, 5, 2)).astype(np.float32)
        with torch.inference_mode():
            expected = network.eval()(torch.from_numpy(joints))
        network.train()
        for found, wanted in zip(run(exported.path, joints), expected, strict=True):
            np.testing.assert_allclose(found, wanted.numpy(), rtol=0, atol=5e-3)


def test_reports_what_was_measured(exported):
    assert 0 < exported.difference_m < 1e-5
    assert exported.half_difference_m is not None
    assert exported.difference_m < exported.half_difference_m < 5e-3
    assert exported.size_bytes == exported.path.stat().st_size


def test_weights_are_halves_behind_casts(exported):
    graph = onnx.load(exported.path).graph
    halves = {t.name for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT16}
    casts = {n.input[0] for n in graph.node if n.op_type == "Cast"}
    assert len(halves) >= 8
    assert halves <= casts
    assert all(o.type.tensor_type.elem_type == onnx.TensorProto.FLOAT for o in graph.output)
    assert all(t.name in halves for t in graph.initializer if np.prod(t.dims) >= 1024)


def test_metadata_and_nothing_of_this_machine(exported):
    model = onnx.load(exported.path)
    kept = {p.key: p.value for p in model.metadata_props}
    assert kept == {"name": "tiny", "licence": "none", "version": poselift.__version__}
    assert model.opset_import[0].version >= 17
    content = exported.path.read_bytes()
    assert b".py" not in content
    assert str(Path(poselift.__file__).parent).encode() not in content


class Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((40, 40), factor))

    def forward(self, x):
        return x @ self.weight


def test_whole_weights_are_twice_as_large_and_exact(tmp_path):
    network, example = Scale(1 / 3).train(), torch.randn(2, 40)
    files = [
        export_onnx(network, example, tmp_path / name, half=half, outputs=("centre",))
        for name, half in (("whole.onnx", False), ("half.onnx", True), ("again.onnx", True))
    ]
    whole, half, again = files
    assert network.training
    assert whole.half_difference_m is None
    assert whole.size_bytes - half.size_bytes > 0.9 * 1600 * 2
    assert half.sha256 == again.sha256
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("factor", [1e5, float("nan")])
def test_weights_that_do_not_fit_are_errors(tmp_path, factor):
    with pytest.raises(WeightsError):
        export_onnx(Scale(factor), torch.ones(2, 40), tmp_path / "x.onnx", outputs=("centre",))
    assert not list(tmp_path.iterdir())


def test_a_path_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError):
        export_onnx(Scale(1.0), torch.ones(2, 40), tmp_path / "file" / "x.onnx", outputs=("a",))


# Several inputs and axes of any length: `river`'s two graphs


def named_run(path: Path, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return session.run(None, feed)


@pytest.mark.parametrize(("batch", "frames"), [(1, 1), (1, 64), (2, 65), (3, 2), (1, 2000)])
def test_one_graph_is_right_for_any_batch_and_length(tiny_river, tiny_river_path, batch, frames):
    given = walks(batch, frames)
    with torch.inference_mode():
        expected = tiny_river(*given.values()).numpy()
    (found,) = named_run(tiny_river_path, {name: x.numpy() for name, x in given.items()})
    assert found.shape == (batch, frames, 28, 5)
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-3)


@pytest.mark.parametrize("batch", [1, 4])
def test_the_step_in_onnx_is_that_of_torch(tiny_river, tiny_river_path, batch):
    given = moments(tiny_river, batch)
    with torch.inference_mode():
        joints, state = tiny_river.step(*list(given.values())[:3], State(*list(given.values())[3:]))
    path = tiny_river_path.with_name("river-nano-step.onnx")
    found = named_run(path, {name: x.numpy() for name, x in given.items()})
    for one, other in zip(found, (joints, *state), strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=0, atol=5e-3)


def test_graphs_of_river_use_nothing_but_standard_operators(tiny_river_path):
    card = json.loads(tiny_river_path.with_suffix(".json").read_text())
    assert card["difference_m"] < 1e-5
    names = {}
    for file in ("file", "step_file"):
        model = onnx.load(tiny_river_path.with_name(card[file]))
        assert {node.domain for node in model.graph.node} <= {""}
        names[file] = [x.name for x in model.graph.input], [x.name for x in model.graph.output]
    arrays = ["points", "facts", "dt_s"]
    assert names["file"] == (arrays, ["joints"])
    state = ["past", "memory", "tokens", "mixing"]
    assert names["step_file"] == (arrays + state, ["joints", *(f"{x}_out" for x in state)])
