"""A larger `river` grown from a smaller one."""

from dataclasses import replace

import pytest
import torch

from poselift.errors import WeightsError
from poselift.models.intake import BODY, FACTS, POINT
from poselift.models.river import Config, River
from poselift.train.growth import grown
from poselift.train.loop import Run, TrainConfig

SMALL = Config(width=16, depth=2, heads=2)
CPU = torch.device("cpu")


def network(config: Config, seed: int) -> River:
    """With no weight at zero, as after training."""
    torch.manual_seed(seed)
    out = River(config).eval()
    with torch.no_grad():
        for weight in out.parameters():
            weight += 0.05 * torch.randn_like(weight)
    return out


def answers(river: River, ahead: int | None) -> torch.Tensor:
    g = torch.Generator().manual_seed(3)
    points = torch.randn(2, 12, len(BODY), POINT, generator=g)
    facts = torch.randn(2, 12, FACTS, generator=g)
    return river(points, facts, torch.full((2, 12), 1 / 30), ahead)


@pytest.mark.parametrize(
    "larger",
    [
        SMALL,
        Config(width=24, depth=2, heads=3),
        Config(width=16, depth=5, heads=2),
        Config(width=16, depth=2, heads=2, ratio=3),
        Config(width=32, depth=6, heads=4, ratio=3),
    ],
)
@pytest.mark.parametrize("ahead", [None, 0, 4])
@pytest.mark.parametrize("depth", [1, 2])
def test_it_begins_with_the_answers_of_the_smaller(larger, depth, ahead):
    small, large = network(replace(SMALL, depth=depth), 0), River(larger).eval()
    assert not torch.allclose(answers(large, ahead), answers(small, ahead), atol=1e-2)
    large.load_state_dict(grown(small.state_dict(), large))
    torch.testing.assert_close(answers(large, ahead), answers(small, ahead), atol=1e-5, rtol=1e-5)


def test_every_new_weight_learns():
    """Within three steps; a weight that no gradient reaches would be no growth."""
    large = River(Config(width=24, depth=4, heads=3, ratio=3))
    begun = grown(network(SMALL, 0).state_dict(), large)
    large.load_state_dict(begun)
    optimizer = torch.optim.Adam(large.parameters(), lr=1e-3, eps=1e-20)
    for _ in range(3):
        optimizer.zero_grad()
        answers(large, 4).square().mean().backward()
        optimizer.step()
    for name, weight in large.named_parameters():
        assert (weight.detach() != begun[name]).float().mean() > 0.8, name


def test_what_cannot_grow_says_so():
    small = network(SMALL, 0).state_dict()
    with pytest.raises(WeightsError, match="at most 1 blocks"):
        grown(small, River(Config(width=16, depth=1, heads=2)))
    with pytest.raises(WeightsError, match="heads of 16 channels"):
        grown(small, River(Config(width=32, depth=2, heads=2)))
    with pytest.raises(WeightsError, match="at most"):
        grown(small, River(Config(width=8, depth=2, heads=1)))
    without = River(Config(width=16, depth=2, heads=2, skeleton_bias=False))
    with pytest.raises(WeightsError, match="hop_bias"):
        grown(without.state_dict(), River(SMALL))


def test_a_run_starts_from_a_smaller_one(tiny_pack, tmp_path):
    usual = {"lifter": "river-nano", "batch": 2, "warmup": 1, "validation_batches": 1}
    first = Run(
        TrainConfig(**usual, steps=1, network={"width": 16, "depth": 1}),
        tiny_pack,
        tmp_path / "small",
        CPU,
    )
    first.run(lambda report: None)
    second = Run(
        TrainConfig(
            **usual,
            steps=1,
            start_from=str(tmp_path / "small"),
            network={"width": 24, "depth": 3, "heads": 6},
        ),
        tiny_pack,
        tmp_path / "large",
        CPU,
    )
    with torch.no_grad():
        assert torch.allclose(answers(second.model, 0), answers(first.average, 0), atol=1e-5)
