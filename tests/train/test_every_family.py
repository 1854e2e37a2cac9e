"""A little training of every family of lifters on synthetic windows: better than the mean pose.

Strided's is in test_loop, where a whole run is judged on clips; ppca's fit is in test_ppca.
"""

from dataclasses import replace

import pytest
import torch

from poselift.models import LIFTERS, build, info
from poselift.train.batches import Batch, Motions, SynthConfig, generator, make_batch
from poselift.train.loop import Run, TrainConfig

CPU = torch.device("cpu")
# By lifter: a small form of its network, the rate, and the steps.
FAMILIES = {
    "semgcn": ({"width": 32, "layers": 1}, 3e-2, 80),
    "cascade-2x2": ({"blocks": 1, "width": 64, "dropout": 0.0}, 5e-3, 60),
    "tcn-27": ({"frames": 3, "filters": [3, 1], "width": 96, "dropout": 0.0}, 5e-3, 150),
    "srnet-27": ({"frames": 3, "filters": [3], "width": 170}, 5e-3, 250),
    "dgnet-27": ({"frames": 3, "width": 32, "dropout": 0.0}, 5e-3, 60),
    "mixste-27": ({"frames": 3, "width": 32, "depth": 1, "heads": 2, "drop_path": 0.0}, 5e-3, 60),
    "mixed": ({"frames": 3, "width": 32, "depth": 1, "heads": 2}, 5e-3, 60),
}
CLEAN = SynthConfig().clean()


def config(lifter: str) -> TrainConfig:
    network, _, _ = FAMILIES[lifter]
    return TrainConfig(lifter=lifter, network=network, batch=16, bf16=False, synth=CLEAN)


@pytest.fixture(scope="module")
def batches(tiny_pack_read) -> list[Batch]:
    """Windows of three frames, made once for all."""
    motions = Motions(tiny_pack_read, "train", CPU)
    return [make_batch(motions, 32, 3, CLEAN, generator(0, i, 0, CPU)) for i in range(4)]


def test_every_family_is_here():
    families = {record.target for record in LIFTERS.values() if record.gives != "stream"}
    tried = {info(lifter).target for lifter in FAMILIES}
    assert families - tried == {info("strided-27").target, info("ppca").target}


@pytest.mark.parametrize("lifter", FAMILIES)
def test_training_beats_the_mean_pose(lifter, batches):
    torch.manual_seed(0)
    shape, rate, steps = FAMILIES[lifter]
    network = build(lifter, **shape)
    frames = slice(None) if network.frames == 3 else slice(1, 2)
    known = [(batch.xy[:, frames], batch.xyz_m[:, frames]) for batch in batches]
    network.meet(known)
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    for step in range(steps):
        network.train().prepare(step / steps)
        xy, target_m = known[step % len(known)]
        loss = network.loss(network(xy), target_m)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.inference_mode():
        guess_m = network.eval()(torch.cat([xy for xy, _ in known])).centre[:, 0]
    truth_m = torch.cat([target_m[:, network.frames // 2] for _, target_m in known])
    ours_m = (guess_m - guess_m[:, :1] - truth_m).norm(dim=-1).mean().item()
    means_m = (truth_m.mean(0) - truth_m).norm(dim=-1).mean().item()
    assert ours_m < 0.9 * means_m


def test_a_fresh_network_meets_training_data_once(tiny_pack_read, tmp_path, monkeypatch):
    run = Run(config("cascade-2x2"), tiny_pack_read, tmp_path / "a", CPU)
    assert (run.model.input_deviation != 1).all()
    assert (run.model.target_deviation_m != 1).all()
    assert torch.equal(run.average.input_mean, run.model.input_mean)
    batch = make_batch(run.train_motions, 256, 1, run.config.synth, generator(1, 1, 1, CPU))
    assert run.model.input_mean == pytest.approx(batch.xy[:, 0].mean(0), abs=0.2)
    run.step = 1
    run.save()
    met = []
    monkeypatch.setattr(type(run.model), "meet", lambda *_: met.append(1))
    again = Run(run.config, tiny_pack_read, tmp_path / "a", CPU)
    assert again.step == 1
    assert torch.equal(again.model.input_mean, run.model.input_mean)
    Run(replace(run.config, start_from=str(tmp_path / "a")), tiny_pack_read, tmp_path / "b", CPU)
    assert met == []
    Run(run.config, tiny_pack_read, tmp_path / "c", CPU)
    assert met == [1]


def test_a_network_that_does_not_ask_is_left_alone(tiny_pack_read, tmp_path, monkeypatch):
    def nothing(*_):
        raise AssertionError("a batch was made before the first step")

    monkeypatch.setattr("poselift.train.loop.make_batch", nothing)
    before = torch.random.get_rng_state()
    run = Run(config("tcn-27"), tiny_pack_read, tmp_path, CPU)
    torch.manual_seed(run.config.seed)
    first = type(run.model)(run.model.config)
    torch.random.set_rng_state(before)
    for name, value in first.state_dict().items():
        assert torch.equal(value, run.model.state_dict()[name]), name
