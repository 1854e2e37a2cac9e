"""One tiny run shared by all tests here: torch's first optimiser alone costs seconds."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from poselift.errors import InputError, WeightsError
from poselift.evaluate import Clip, Lift, evaluate
from poselift.report import Results, to_records
from poselift.train import checkpoint
from poselift.train.baselines import baseline
from poselift.train.batches import Motions
from poselift.train.flow import FlowConfig
from poselift.train.judge import contender_from_runs, judge
from poselift.train.loop import Run, TrainConfig, lesson
from poselift.train.openbench import TRACKS, make_track
from poselift.train.pack import read_pack
from poselift.train.runs import lifter_from_run
from poselift.train.ship import ship

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


@pytest.fixture(scope="module")
def clips(tiny_pack) -> list[Clip]:
    track = replace(TRACKS["clean"], split="validation")
    library = np.zeros((1, 17, 3))
    return make_track(read_pack(tiny_pack), track, library, clips=8, frames=30).clips()


def mpjpe_mm(lift: Lift, clips: list[Clip]) -> float:
    records = to_records(
        [evaluate(lift, clips)], lifter="x", benchmark="y", track="clean", mode="offline", draws=2
    )
    (record,) = Results(tuple(records)).select(metric="mpjpe_mm", stratum="all")
    return record.value


def test_training_beats_the_mean_pose(finished, tiny_pack, clips):
    ours = mpjpe_mm(lifter_from_run(finished.out), clips)
    mean = mpjpe_mm(baseline("mean-pose", Motions(tiny_pack, "train", CPU)), clips)
    assert ours < 0.8 * mean


def test_judging_runs_exports_them_and_counts_their_cost(finished, clips):
    who = contender_from_runs([finished.out, finished.out], "small")
    results = judge(who, {"clean": clips[:2]}, lambda *_: None, "a command")
    (record,) = results.select(metric="mpjpe_mm", stratum="all")
    assert (record.lifter, record.seeds, record.command) == ("small", 2, "a command")
    through_torch = mpjpe_mm(lifter_from_run(finished.out), clips[:2])
    assert record.value == pytest.approx(through_torch, abs=0.01)
    cost = results.cost("small")
    assert cost.parameters == sum(p.numel() for p in finished.model.parameters())
    assert cost.receptive_frames == 9
    assert cost.macs_per_frame > 0
    assert cost.ms_per_frame > 0


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


def test_a_run_may_be_made_longer_and_its_rate_fall_earlier(finished, tiny_pack, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished.out, copy)
    longer = replace(CONFIG, steps=CONFIG.steps + 5, decay_share=0.9)
    assert Run(longer, tiny_pack, copy, CPU).step == finished.step
    assert json.loads((copy / "config.json").read_text())["decay_share"] == 0.9


def test_a_run_from_before_an_option_was_there_goes_on(finished, tiny_pack, tmp_path):
    tensors, facts = checkpoint.load(finished.out / "last.safetensors")
    for option in ("compiled", "synth.evolve", "flow.on_axis"):
        *outer, name = option.split(".")
        part = facts["config"][outer[0]] if outer else facts["config"]
        del part[name]
    checkpoint.save(tmp_path / "last.safetensors", tensors, facts)
    assert Run(CONFIG, tiny_pack, tmp_path, CPU).step == finished.step
    with pytest.raises(InputError, match="other values of flow"):
        Run(replace(CONFIG, flow=FlowConfig(on_axis=False)), tiny_pack, tmp_path, CPU)


def test_a_run_can_start_from_another(finished, tiny_pack, tmp_path):
    config = replace(CONFIG, start_from=str(finished.out))
    run = Run(config, tiny_pack, tmp_path, CPU)
    assert run.step == 0
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, finished.average.state_dict()[name]), name


@pytest.mark.parametrize("lifter", ["strided-27", "river-nano"])
def test_bf16_is_used_where_the_machine_multiplies_it(lifter, monkeypatch):
    """Elsewhere a product of large matrices takes two hundred times as long."""
    config = TrainConfig(lifter=lifter)
    for can, known in ((False, {}), (False, {"avx512_bf16": False}), (True, {"amx_bf16": True})):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda known=known: known)
        assert lesson(config, CPU).bf16 == can
        assert not lesson(replace(config, bf16=False), CPU).bf16
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # as in older versions
    assert not lesson(config, CPU).bf16
    assert lesson(config, torch.device("cuda")).bf16


def test_damaged_checkpoint_is_refused(tmp_path):
    (tmp_path / "last.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(WeightsError, match="expected a checkpoint"):
        checkpoint.load(tmp_path / "last.safetensors")


def test_shipped_graph_equals_torch_and_is_recorded(finished, tiny_pack, clips, tmp_path):
    tracks = {"clean": clips[:2]}
    said = []
    path, results = ship(
        finished.out, read_pack(tiny_pack), tracks, tmp_path, said.append, lambda *_: None
    )
    card = json.loads(path.with_suffix(".json").read_text())
    (command,) = card["command"]
    assert "--steps 200 --batch 32 --rate 0.002 --seed 0 --validate-every 100" in command
    options = "frames=9 'strides=[3, 3]' width=64 hidden=64 heads=2 layers=1"
    assert command.endswith(f"--set {options} --fp32")
    (record,) = results.select(metric="mpjpe_mm", stratum="all")
    assert card["measured"]["clean"]["mpjpe_mm"] == record.value
    assert record.value == pytest.approx(mpjpe_mm(lifter_from_run(finished.out), clips[:2]), abs=1)
    assert card["data"]["train_clips"].startswith("2 clips")
    assert "differs from torch" in said[0]
    half = finished.average.state_dict()
    assert path.stat().st_size < 4 * sum(v.numel() for v in half.values())
