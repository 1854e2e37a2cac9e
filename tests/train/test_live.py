"""Clips through a live stream: every pose at its frame, as late as it may come."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from shutil import copy

import numpy as np
import pytest
import torch

from poselift.errors import InputError, WeightsError
from poselift.evaluate import Clip
from poselift.models import info, load
from poselift.models.export import Exported
from poselift.models.intake import BODY
from poselift.models.stepping import StepNetwork, step_network
from poselift.poses import Poses2D
from poselift.skeleton import skeleton
from poselift.train import checkpoint
from poselift.train.judge import contender, contender_from_runs, judge
from poselift.train.live import LiveLifter
from poselift.train.rendered import rendered_clips
from poselift.train.ship import ship
from poselift.train.starting import starting_weights
from poselift.train.walker import walk_m

COCO = skeleton("coco17")
ROWS = [BODY.index(joint) for joint in COCO.joints]
INFO = info("river-nano")


def walk(frames: int = 40) -> Poses2D:
    time_s = 5 + np.arange(frames) / 30
    xyz = walk_m(time_s)[:, ROWS]
    xy = 600 * xyz[..., :2] / xyz[..., 2:] + [320, 240]
    return Poses2D(xy, np.full(xy.shape[:2], 0.9), time_s, (640, 480), COCO)


def counting(*arrays):
    """A step that answers how many frames it has seen in metres, for all joints but the pelvis."""
    memory = arrays[3]
    joints = np.zeros((len(arrays[0]), len(BODY), 5), dtype=np.float32)
    joints[:, 1:, 2] = memory.ravel()[0]
    return joints, memory + 1


@pytest.mark.parametrize("delay", [0, 4])
def test_every_pose_comes_as_late_as_said(delay):
    lifter = LiveLifter(StepNetwork(counting, lambda people: (np.zeros(1),), ""), INFO, delay)
    poses = lifter(walk())
    assert poses.seen.all()
    distance = np.linalg.norm(poses.xyz_m[:, 1:], axis=-1)
    np.testing.assert_allclose(distance, np.arange(40)[:, None] + delay + np.zeros(27), atol=1e-4)
    assert (poses.uncertainty_m[:, 1:] > 0).all()
    assert poses.history[-1] == f"lifted live by river-nano, {delay} frames late"


def test_nobody_and_delays_that_there_are_not():
    step = StepNetwork(counting, lambda people: (np.zeros(1),), "")
    with pytest.raises(InputError, match="expected a frame that holds somebody"):
        LiveLifter(step, INFO, 0)(replace(walk(), xy_px=np.full((40, 17, 2), np.nan)))
    with pytest.raises(InputError, match="delay of a stream"):
        LiveLifter(step, INFO, 3)(walk())
    with pytest.raises(InputError, match="found 3"):
        contender("river-nano@3", None)


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    """Less than a second of what a detector saw on rendered video."""
    clip, few = rendered_clips()[-1], slice(0, 20)
    observed = replace(
        clip.observed,
        xy_px=clip.observed.xy_px[few],
        confidence=clip.observed.confidence[few],
        time_s=clip.observed.time_s[few],
    )
    return [replace(clip, observed=observed, truth_m=clip.truth_m[few], root_m=None)]


def judged(model: str, clips: list[Clip]) -> tuple[str, str]:
    """Name and mode in the record of the error."""
    results = judge(contender(model, None), {"rendered": clips}, lambda *_: None)
    (record,) = results.select(metric="mpjpe_mm", stratum="all")
    assert results.select(metric="coverage_90", stratum="all")
    assert results.cost(record.lifter).ms_per_frame > 0
    return record.lifter, record.mode


def test_weights_are_judged_offline_and_live(tiny_river_path, clips):
    assert judged(str(tiny_river_path), clips) == ("river-nano", "offline")
    live = judged(f"{tiny_river_path}@4", clips)
    assert live == ("river-nano@4", "live, 4 frames late")


@pytest.fixture
def run(tiny_river, tiny_river_path, tmp_path, monkeypatch) -> Path:
    """A finished run of the small network, whose graphs have been exported before."""
    config = {"lifter": "river-nano", "network": asdict(tiny_river.config), "start_from": None}
    config |= {"steps": 7, "batch": 2, "rate": 0.1, "seed": 0}
    weights = checkpoint.named("average", tiny_river.state_dict())
    folder = tmp_path / "run"
    folder.mkdir()
    checkpoint.save(folder / "best.safetensors", weights, {"step": 5, "config": config})
    exported = json.loads(tiny_river_path.with_suffix(".json").read_text())
    names = ("name", "file", "sha256", "step_file", "step_sha256", "lifter")

    def copied(model, record, out, *, half):
        for name in ("file", "step_file"):
            copy(tiny_river_path.with_name(exported[name]), out)
        path = out / exported["file"]
        card = {name: exported[name] for name in names}
        return card, Exported(path, exported["sha256"], path.stat().st_size, 0.0, 0.001)

    for room in ("ship", "judge"):
        monkeypatch.setattr(f"poselift.train.{room}.write_graphs", copied)
    return folder


def test_a_run_is_judged_offline_and_live(run, clips):
    results = judge(contender_from_runs([run], "mine"), {"rendered": clips}, lambda *_: None)
    assert results.cost("mine").macs_per_frame > 0
    assert judged(f"{run}@0", clips) == ("river-nano@0", "live, 0 frames late")


def test_a_run_whose_people_are_off_the_axis_has_no_stream(run):
    tensors, facts = checkpoint.load(run / "best.safetensors")
    facts["config"]["flow"] = {"on_axis": False}
    checkpoint.save(run / "best.safetensors", tensors, facts)
    with pytest.raises(InputError, match="expected a network of people on the axis"):
        contender(f"{run}@0", None)


def test_a_run_is_shipped_with_its_step_and_calibration(
    run, tiny_river, clips, tiny_pack_read, tmp_path, monkeypatch
):
    monkeypatch.setattr("poselift.train.ship.calibration", lambda *_: (1.25, 1.5))
    said: list[str] = []
    path, results = ship(
        run, tiny_pack_read, {"rendered": clips}, tmp_path / "out", said.append, lambda *_: None
    )
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["calibration"] == [1.25, 1.5]
    (record,) = results.select(metric="mpjpe_mm", stratum="all")
    assert card["measured"]["rendered"]["mpjpe_mm"] == record.value
    assert load(path).calibration == (1.25, 1.5)
    network = starting_weights(str(path))
    assert torch.equal(network["norm.weight"], tiny_river.norm.weight)
    assert step_network(str(path)).calibration == (1.25, 1.5)
    assert "MB, differs from torch by at most 1.00 mm" in said[0]
    monkeypatch.setattr("poselift.train.ship._LARGEST_BYTES", 100)
    with pytest.raises(WeightsError, match="expected under 10 MB"):
        ship(run, tiny_pack_read, {}, tmp_path / "no", said.append, lambda *_: None)
    assert not list((tmp_path / "no").iterdir())
