"""Which optimizer steps which weights, and that its state survives a cut."""

from dataclasses import replace
from itertools import chain

import pytest
import torch

from poselift.errors import InputError, UnknownNameError
from poselift.models import build
from poselift.train.loop import Run, TrainConfig
from poselift.train.optimizers import optimizers

CPU = torch.device("cpu")


def stepped(optimizer: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    return list(chain.from_iterable(group["params"] for group in optimizer.param_groups))


@pytest.mark.parametrize("name", ["adamw", "muon"])
@pytest.mark.parametrize("lifter", ["river-nano", "strided-27", "mixste-27-narrow", "srnet-27"])
def test_every_weight_is_stepped_once(name, lifter):
    model = build(lifter)
    ids = [id(p) for each in optimizers(name, model, 1e-3, 0.01) for p in stepped(each)]
    assert sorted(ids) == sorted(id(p) for p in model.parameters())


def test_muon_steps_the_matrices_between_first_and_last():
    model = build("river-nano")
    names = {id(p): name for name, p in model.named_parameters()}
    _, muon = optimizers("muon", model, 1e-3, 0.01)
    mine = {names[id(p)] for p in stepped(muon)}
    maps = ("parts.qkv", "parts.out", "time.qkvg", "time.out", "forward_part.0", "forward_part.2")
    assert mine == {f"blocks.{i}.{name}.weight" for i in range(4) for name in maps}


def test_a_step_of_muon_is_orthogonal_and_as_large_as_adamw():
    model = build("river-nano")
    _, muon = optimizers("muon", model, 1e-2, 0.0)
    weight = model.get_parameter("blocks.0.parts.out.weight")
    before = weight.detach().clone()
    rng = torch.Generator().manual_seed(0)
    weight.grad = torch.randn(weight.shape, generator=rng) * torch.logspace(-1, 1, len(weight))
    muon.step()
    moved = weight.detach() - before
    values = torch.linalg.svdvals(moved)
    # Rows whose gradients differ by a factor of a hundred are moved nearly alike.
    assert torch.linalg.svdvals(weight.grad).max() > 10 * torch.linalg.svdvals(weight.grad).median()
    assert values.max() < 2 * values.median()
    assert float(moved.square().mean().sqrt()) == pytest.approx(0.2 * 1e-2, rel=0.3)


def test_what_muon_cannot_step_is_refused():
    with pytest.raises(InputError, match="muon: expected a network with lists of layers"):
        optimizers("muon", build("semgcn"), 1e-3, 0.01)
    with pytest.raises(UnknownNameError, match="optimizer: found 'sgd'"):
        optimizers("sgd", build("river-nano"), 1e-3, 0.01)


def test_resume_with_muon_is_exact(tiny_pack, tmp_path):
    config = TrainConfig(
        lifter="river-nano",
        steps=4,
        batch=2,
        warmup=1,
        optimizer="muon",
        validation_batches=1,
        bf16=False,
        network={"width": 32, "depth": 1},
    )
    whole = Run(config, tiny_pack, tmp_path / "whole", CPU)
    whole.run(lambda report: None)
    part = Run(config, tiny_pack, tmp_path / "part", CPU)
    part.train_step()
    part.train_step()
    part.save()
    again = Run(config, tiny_pack, tmp_path / "part", CPU)
    again.run(lambda report: None)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name
    with pytest.raises(InputError, match="other values of optimizer"):
        Run(replace(config, optimizer="adamw"), tiny_pack, tmp_path / "part", CPU)
