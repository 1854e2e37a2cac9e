import pytest
import torch

from poselift.errors import InputError, ShapeError
from poselift.models import LIFTERS, build
from poselift.models.intake import BODY, FACTS, NEW_S
from poselift.models.river import PART_OF, PARTS, Config, River

SMALL = {"width": 16, "depth": 2, "heads": 2}


@pytest.fixture(scope="module")
def network() -> River:
    torch.manual_seed(0)
    model = River(Config(**SMALL)).eval()
    for parameter in model.parameters():  # so that gates depend on the input
        torch.nn.init.normal_(parameter, 0, 0.2)
    return model


def clip(frames: int, batch: int = 1, seed: int = 1, gaps: bool = True):
    """Points, facts and uneven steps of 10 to 40 ms, with pauses."""
    g = torch.Generator().manual_seed(seed)
    dt_s = 0.01 + 0.03 * torch.rand(batch, frames, generator=g)
    if gaps:
        dt_s[:, 5::37] = 0.8
    dt_s[:, 0] = NEW_S
    points = torch.randn(batch, frames, len(BODY), 4, generator=g)
    return points, torch.randn(batch, frames, FACTS, generator=g), dt_s


@torch.no_grad()
def streamed(network, points, facts, dt_s):
    state, answers = network.first_state(len(points)), []
    for t in range(points.shape[1]):
        answer, state = network.step(points[:, t], facts[:, t], dt_s[:, t], state)
        answers.append(answer)
    return torch.stack(answers, 1)


@pytest.mark.parametrize("name", ["river-nano", "river-small", "river-base"])
def test_has_the_size_of_its_record(name):
    with torch.device("meta"):
        count = sum(p.numel() for p in build(name).parameters())
    assert count == LIFTERS[name].parameters


def test_every_joint_is_read_from_the_part_that_it_lies_on():
    parts = list(PARTS)
    assert len(PART_OF) == len(BODY)
    assert parts[PART_OF[BODY.index("left_heel")]] == "left_foot"
    assert parts[PART_OF[BODY.index("right_wrist")]] == "right_wrist"
    assert parts[PART_OF[BODY.index("nose")]] == "head"


@pytest.mark.parametrize("frames", [1, 2, 30, 97, 300])
@torch.no_grad()
def test_a_stream_gives_what_the_whole_clip_gives(network, frames):
    given = clip(frames, batch=2)
    whole = network(*given, causal=True)
    assert whole.shape == (2, frames, len(BODY), 5)
    torch.testing.assert_close(streamed(network, *given), whole, atol=1e-5, rtol=0)


@torch.no_grad()
def test_ten_thousand_frames_stream_as_they_are_lifted_at_once(network):
    given = clip(10_000)
    torch.testing.assert_close(
        streamed(network, *given), network(*given, causal=True), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("causal", [True, False])
@torch.no_grad()
def test_clips_in_a_row_do_not_see_each_other(network, causal):
    one, other = clip(50, gaps=False), clip(61, seed=2, gaps=False)
    row = (torch.cat(pair, dim=1) for pair in zip(one, other, strict=True))
    apart = torch.cat([network(*each, causal=causal) for each in (one, other)], dim=1)
    torch.testing.assert_close(network(*row, causal=causal), apart, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_pause_of_over_a_second_parts_what_was_before(network):
    points, facts, dt_s = clip(20, gaps=False)
    dt_s[:, 10] = 1.1
    earlier = points.clone()
    earlier[:, 9] += 1
    for causal in (True, False):
        one, other = (network(x, facts, dt_s, causal)[:, 10:] for x in (points, earlier))
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
    dt_s[:, 10] = 0.9
    one, other = (network(x, facts, dt_s, True)[:, 10:] for x in (points, earlier))
    assert not torch.allclose(one, other, atol=1e-4)


@torch.no_grad()
def test_looking_back_sees_nothing_ahead_and_looking_both_ways_does(network):
    points, facts, dt_s = clip(20, gaps=False)
    later = points.clone()
    later[:, 12] += 1
    for causal in (True, False):
        same = network(points, facts, dt_s, causal)[:, :12]
        changed = network(later, facts, dt_s, causal)[:, :12]
        assert torch.allclose(same, changed, atol=1e-6) is causal


@torch.no_grad()
def test_memory_fades_by_seconds_not_by_frames(network):
    points, facts, _ = clip(40)
    points[:, 1:], facts[:, :] = points[:, :1], facts[:, :1]
    points[:, 0] += 3  # what must be forgotten
    slow, fast = torch.full((1, 40), 0.1), torch.full((1, 40), 0.01)
    slow[:, 0] = fast[:, 0] = NEW_S
    still = points.clone()
    still[:, 0] = points[:, 1]

    def left(dt_s):
        return (network(points, facts, dt_s, True) - network(still, facts, dt_s, True))[
            :, -1
        ].norm()

    assert left(slow) < 0.5 * left(fast)


def test_a_batch_does_not_mix_and_gradients_reach_everything(network):
    model = River(Config(**SMALL))
    given = clip(9, batch=3)
    out = model(*given)
    alone = model(*(each[1:2] for each in given))
    torch.testing.assert_close(out[1:2], alone, atol=1e-5, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        out = model(*given)
    out.square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_what_does_not_fit_is_an_error(network):
    points, facts, dt_s = clip(4)
    with pytest.raises(ShapeError, match=r"expected \(B, T, 28, 4\)"):
        network(points[:, :, :17], facts, dt_s)
    with pytest.raises(InputError, match="a multiple of 3"):
        Config(width=16, heads=3)
