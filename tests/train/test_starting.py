"""Training that starts from a lifter that ships with its network."""

import json
from shutil import copy

import numpy as np
import pytest
import torch

from poselift.errors import UnknownNameError, WeightsError
from poselift.models import build, load, weights_record
from poselift.models.export import LEAST_HALVED
from poselift.train.loop import Run, TrainConfig
from poselift.train.runs import walks
from poselift.train.ship import _commands
from poselift.train.starting import begin, starting_weights, write_network

SHIPPED = ["river-nano", "river-small"]
CPU = torch.device("cpu")


@pytest.mark.parametrize("name", SHIPPED)
def test_the_network_that_ships_gives_the_answers_of_its_graph(name):
    network = build(name).eval()
    network.load_state_dict(starting_weights(name))
    clip = walks(2, 30)
    with torch.inference_mode():
        answers = network(*clip.values()).numpy()
    graph = load(name, threads=1).run(*(array.numpy() for array in clip.values()))
    np.testing.assert_allclose(answers, graph, atol=1e-5)


def test_a_run_goes_on_from_it_and_says_how_it_was_made(tiny_pack, tmp_path):
    config = TrainConfig(lifter="river-small", batch=2, start_from="river-nano")
    run = Run(config, tiny_pack, tmp_path, CPU)
    enter = starting_weights("river-nano")["enter"]
    assert torch.equal(run.model.state_dict()["enter"][..., : enter.shape[-1]], enter)
    *before, last = _commands(
        {"step": 3, "config": {"lifter": "river-small", "start_from": "river"}}
    )
    assert before == weights_record("river-small")["command"]
    assert "--start-from river" in last


def test_weights_of_the_users_own_are_started_from_by_path(tmp_path):
    network = build("river-nano", width=16, depth=1, heads=2)
    said = write_network(network, "river-nano", tmp_path)
    card = {"name": "river-nano", "file": "river-nano.onnx", "sha256": "", **said}
    record = tmp_path / "river-nano.json"
    record.write_text(json.dumps(card | {"lifter": weights_record("river-nano")["lifter"]}))
    found = starting_weights(str(record))
    assert found.keys() == network.state_dict().keys()
    for name, value in network.state_dict().items():
        loosely = {"rtol": 2**-10, "atol": 1e-6} if value.numel() >= LEAST_HALVED else {"rtol": 0}
        np.testing.assert_allclose(found[name], value.detach(), **loosely)
    (tmp_path / said["network_file"]).write_bytes(b"x" * 100)
    with pytest.raises(WeightsError, match="expected SHA-256"):
        starting_weights(str(record))


def test_what_cannot_be_started_from(tmp_path):
    with pytest.raises(WeightsError, match="strided-27: network: expected a file in its record"):
        starting_weights("strided-27")
    with pytest.raises(WeightsError, match="no weights are shipped for strided-351"):
        starting_weights("strided-351")
    with pytest.raises(UnknownNameError, match=r"'runs/none' \(known: river-nano, river-small\)"):
        starting_weights("runs/none")
    with pytest.raises(WeightsError, match="to start SemGCN from: expected those of the same"):
        begin(build("semgcn"), starting_weights("river-nano"))
    copy(__file__, tmp_path / "river.onnx")
    with pytest.raises(WeightsError, match="expected a record"):
        starting_weights(str(tmp_path))
