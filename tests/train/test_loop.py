"""One tiny run shared by all tests here: torch's first optimiser alone costs seconds."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from poselift.errors import InputError, WeightsError
from poselift.evaluate import constant_pose, score
from poselift.train import checkpoint
from poselift.train.heldout import heldout_clips, mean_pose_m
from poselift.train.loop import Run, TrainConfig
from poselift.train.ship import lifter_from_run, ship

CPU = torch.device("cpu")
NETWORK = {"frames": 9, "strides": [3, 3], "width": 64, "hidden": 64, "heads": 2, "layers": 1}
CONFIG = TrainConfig(
    steps=200,
    batch=32,
    rate=2e-3,
    warmup=10,
    average_half_life=0.05,
    validate_every=100,
    validation_batches=1,
    bf16=False,
    network=NETWORK,
)


@pytest.fixture(scope="module")
def finished(tiny_pack, tmp_path_factory) -> Run:
    run = Run(CONFIG, tiny_pack, tmp_path_factory.mktemp("run"), CPU)
    reports = []
    run.run(reports.append)
    assert [report.step for report in reports] == list(range(1, 201))
    assert reports[-1].validation_mm is not None
    return run


def test_training_beats_the_mean_pose(finished, tiny_pack):
    lifter = lifter_from_run(finished.out)
    lifter.info = replace(lifter.info, frames=9)
    clips = heldout_clips(tiny_pack, "validation", noisy=False, clips=8, frames=30)
    ours = score(lifter, clips)
    mean = score(constant_pose(mean_pose_m(tiny_pack, frames=9, batches=2)), clips)
    assert ours.missed == 0
    assert ours.mpjpe_mm < 0.8 * mean.mpjpe_mm


def test_log_and_config_are_written(finished):
    rows = [json.loads(line) for line in (finished.out / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [100, 200]
    assert rows[1]["validation_clean_mm"] < rows[0]["validation_clean_mm"]
    assert json.loads((finished.out / "config.json").read_text())["network"] == NETWORK


def weights(run: Run) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in run.model.state_dict().items()}


def test_resume_is_exact(tiny_pack, tmp_path):
    config = replace(CONFIG, steps=6)
    whole = Run(config, tiny_pack, tmp_path / "whole", CPU)
    whole.run(lambda report: None)

    class CutError(Exception):
        pass

    def cut(report):
        if report.step == 3:
            part.save()
            raise CutError

    part = Run(config, tiny_pack, tmp_path / "part", CPU)
    with pytest.raises(CutError):
        part.run(cut)
    again = Run(config, tiny_pack, tmp_path / "part", CPU)
    assert again.step == 3
    again.run(lambda report: None)
    for name, value in weights(whole).items():
        assert torch.equal(value, again.model.state_dict()[name]), name
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, again.average.state_dict()[name]), name


def test_another_configuration_in_the_same_folder_is_refused(finished, tiny_pack):
    with pytest.raises(InputError, match="other values of rate"):
        Run(replace(CONFIG, rate=1e-4), tiny_pack, finished.out, CPU)


def test_a_run_can_start_from_another(finished, tiny_pack, tmp_path):
    config = replace(CONFIG, start_from=str(finished.out))
    run = Run(config, tiny_pack, tmp_path, CPU)
    assert run.step == 0
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, finished.average.state_dict()[name]), name


def test_damaged_checkpoint_is_refused(tmp_path):
    (tmp_path / "last.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(WeightsError, match="expected a checkpoint"):
        checkpoint.load(tmp_path / "last.safetensors")


def test_shipped_graph_equals_torch_and_is_recorded(finished, tiny_pack, tmp_path, monkeypatch):
    from poselift.train import ship as room

    def few(pack: Path, split: str, *, noisy: bool):
        return heldout_clips(pack, split, noisy=noisy, clips=2, frames=12)

    monkeypatch.setattr(room, "heldout_clips", few)
    monkeypatch.setattr(room, "mean_pose_m", lambda pack: np.zeros((17, 3)))
    record = replace(room.info("strided-27"), frames=9)
    monkeypatch.setattr(room, "info", lambda name: record)
    path = ship(finished.out, tiny_pack, tmp_path, lambda text: None)
    card = json.loads(path.with_suffix(".json").read_text())
    (command,) = card["command"]
    assert "--steps 200 --batch 32 --rate 0.002 --seed 0" in command
    assert card["measured"]["test"]["clean"]["mpjpe_mm"] > 0
    assert card["measured"]["validation"]["mean_pose"]["mpjpe_mm"] > 0
    half = finished.average.state_dict()
    assert path.stat().st_size < 4 * sum(v.numel() for v in half.values())
