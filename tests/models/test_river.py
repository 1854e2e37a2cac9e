import pytest
import torch

from poselift.errors import InputError, ShapeError
from poselift.models import LIFTERS, build
from poselift.models.intake import BODY, DELAYS, FACTS, MODES, NEW_S, with_mode
from poselift.models.river import PART_OF, PARTS, Config, River

SMALL = {"width": 16, "depth": 2, "heads": 2}


@pytest.fixture(scope="module")
def network() -> River:
    torch.manual_seed(0)
    model = River(Config(**SMALL)).eval()
    for parameter in model.parameters():  # so that gates depend on the input
        torch.nn.init.normal_(parameter, 0, 0.2)
    return model


def clip(frames: int, batch: int = 1, seed: int = 1, gaps: bool = True, mode: str = "0 late"):
    """Points, facts and uneven steps of 10 to 40 ms, with pauses."""
    g = torch.Generator().manual_seed(seed)
    dt_s = 0.01 + 0.03 * torch.rand(batch, frames, generator=g)
    if gaps:
        dt_s[:, 5::37] = 0.8
    dt_s[:, 0] = NEW_S
    points = torch.randn(batch, frames, len(BODY), 4, generator=g)
    facts = torch.randn(batch, frames, FACTS - len(MODES), generator=g)
    return points, with_mode(facts, mode), dt_s


@torch.no_grad()
def streamed(network, points, facts, dt_s):
    """Answers as they come."""
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
    whole = network(*given, 0)
    assert whole.shape == (2, frames, len(BODY), 5)
    torch.testing.assert_close(streamed(network, *given), whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("delay", DELAYS)
@pytest.mark.parametrize("frames", [30, 130])
@torch.no_grad()
def test_late_answers_see_the_frames_that_they_waited_for(network, delay, frames):
    given = clip(frames, batch=2, mode=f"{delay} late")
    whole, live = network(*given, delay), streamed(network, *given)
    torch.testing.assert_close(live[:, delay:], whole[:, : frames - delay], atol=1e-5, rtol=0)
    if delay:
        back = network(*given, 0)
        assert not torch.allclose(back, whole, atol=1e-3)


@torch.no_grad()
def test_people_of_one_batch_may_wait_unlike(network):
    modes = ("8 late", "0 late", "2 late")
    clips = [clip(40, mode=mode, seed=n) for n, mode in enumerate(modes)]
    together = streamed(network, *(torch.cat(each) for each in zip(*clips, strict=True)))
    for row, given in enumerate(clips):
        alone = streamed(network, *given)
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_ten_thousand_frames_stream_as_they_are_lifted_at_once(network):
    given = clip(10_000)
    torch.testing.assert_close(streamed(network, *given), network(*given, 0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("ahead", [0, 4, None])
@torch.no_grad()
def test_clips_in_a_row_do_not_see_each_other(network, ahead):
    one, other = clip(50, gaps=False), clip(61, seed=2, gaps=False)
    row = (torch.cat(pair, dim=1) for pair in zip(one, other, strict=True))
    apart = torch.cat([network(*each, ahead) for each in (one, other)], dim=1)
    torch.testing.assert_close(network(*row, ahead), apart, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_pause_of_over_a_second_parts_what_was_before(network):
    points, facts, dt_s = clip(20, gaps=False)
    dt_s[:, 10] = 1.1
    earlier = points.clone()
    earlier[:, 9] += 1
    for ahead in (0, 4, None):
        one, other = (network(x, facts, dt_s, ahead)[:, 10:] for x in (points, earlier))
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
    dt_s[:, 10] = 0.9
    one, other = (network(x, facts, dt_s, 0)[:, 10:] for x in (points, earlier))
    assert not torch.allclose(one, other, atol=1e-4)


@torch.no_grad()
def test_as_many_frames_ahead_are_seen_as_said(network):
    points, facts, dt_s = clip(20, gaps=False)
    later = points.clone()
    later[:, 12] += 1
    for ahead, first in ((0, 12), (4, 8), (None, 0)):
        same, changed = (network(x, facts, dt_s, ahead) for x in (points, later))
        differs = (same - changed).abs().amax((0, 2, 3)) > 1e-6
        assert differs.nonzero()[0] == first


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
        return (network(points, facts, dt_s, 0) - network(still, facts, dt_s, 0))[:, -1].norm()

    assert left(slow) < 0.5 * left(fast)


@torch.no_grad()
def test_by_frames_the_step_in_time_is_not_known(network):
    torch.manual_seed(0)
    model = River(Config(**SMALL, seconds=False, skeleton_bias=False)).eval()
    points, facts, dt_s = clip(20, gaps=False)
    faster = dt_s / 2
    faster[:, 0] = NEW_S
    for other, same in ((faster, True), (dt_s + 1.1, False)):
        assert torch.allclose(model(points, facts, other), model(points, facts, dt_s)) is same
    torch.testing.assert_close(
        streamed(model, points, facts, dt_s), model(points, facts, dt_s, 0), atol=1e-5, rtol=0
    )
    assert not torch.allclose(network(points, facts, faster), network(points, facts, dt_s))


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
