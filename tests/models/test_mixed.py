import pytest
import torch

from poselift.errors import InputError, ShapeError, UnknownNameError
from poselift.models.joints import hops
from poselift.models.mixed import Config, Mixed
from poselift.models.mixers import MIXERS, mixer
from poselift.skeleton import skeleton

SMALL = {"frames": 9, "width": 16, "depth": 2, "heads": 2}


def network(**changes) -> Mixed:
    torch.manual_seed(0)
    return Mixed(Config(**{**SMALL, **changes})).eval()


def windows(batch: int = 3, frames: int = 9) -> torch.Tensor:
    return torch.randn(batch, frames, 17, 2, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", MIXERS)
def test_every_mixer_answers_for_every_frame_and_learns(name):
    model, joints = network(mixer=name).train(), windows()
    lifted = model(joints)
    assert lifted.every.shape == (3, 9, 17, 3)
    assert torch.equal(lifted.centre, lifted.every[:, 4:5])
    model.loss(lifted, torch.randn(3, 9, 17, 3)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", MIXERS)
@pytest.mark.parametrize("sides", [1, 2])
def test_one_side_looks_back_and_two_sides_look_both_ways(name, sides):
    torch.manual_seed(0)
    mix = mixer(name, 16, 2, sides, 9).eval()
    for p in mix.parameters():  # so that gates depend on the input
        torch.nn.init.normal_(p, 0, 0.3)
    x, dt = torch.randn(2, 9, 16), torch.full((2, 9), 0.03)
    later, earlier = x.clone(), x.clone()
    later[:, 6] += 1
    earlier[:, 2] += 1
    before = mix(x, dt)
    assert torch.allclose(mix(later, dt)[:, :6], before[:, :6], atol=1e-6) is (sides == 1)
    assert not torch.allclose(mix(earlier, dt)[:, 6:], before[:, 6:], atol=1e-6)


@pytest.mark.parametrize("name", MIXERS)
@pytest.mark.parametrize("delay", [0, 2])
def test_a_stream_gives_what_the_whole_clip_gives(name, delay):
    model, joints = network(mixer=name, sides=1, delay=delay), windows()
    for p in model.parameters():
        torch.nn.init.normal_(p, 0, 0.2)
    dt = torch.full((3,), 1 / 28)
    state, answers = None, []
    for t in range(9):
        answer, state = model.step(joints[:, t], dt, state)
        answers.append(answer)
    live, whole = torch.stack(answers, 1), model(joints).every
    assert torch.allclose(live[:, delay:], whole[:, : 9 - delay], atol=1e-5)


@pytest.mark.parametrize("name", MIXERS)
def test_tracks_do_not_see_each_other_in_the_mixer(name):
    torch.manual_seed(0)
    mix, x, dt = mixer(name, 16, 2, 2, 9).eval(), torch.randn(2, 9, 16), torch.full((2, 9), 0.03)
    changed = x.clone()
    changed[1] += 1
    assert torch.allclose(mix(changed, dt)[0], mix(x, dt)[0], atol=1e-6)


def test_retention_knows_how_long_a_frame_is():
    torch.manual_seed(0)
    mix, x = mixer("retention", 16, 2, 1, 9).eval(), torch.randn(2, 9, 16)
    fast, slow = (mix(x, torch.full((2, 9), dt)) for dt in (0.01, 0.1))
    assert torch.allclose(fast[:, 0], slow[:, 0], atol=1e-6)  # nothing has been forgotten yet
    assert not torch.allclose(fast[:, -1], slow[:, -1], atol=1e-3)


def test_a_delayed_network_waits_and_then_answers_for_the_past():
    joints = windows()
    late, prompt = network(sides=1, delay=2), network(sides=1)
    late.load_state_dict(prompt.state_dict())
    assert torch.equal(late(joints).every[:, :7], prompt(joints).every[:, 2:])
    assert torch.equal(late(joints).every[:, 7], late(joints).every[:, 6])


def test_retention_takes_any_length():
    model = network()
    assert model(windows(frames=300)).every.shape == (3, 300, 17, 3)


def test_hops_count_bones():
    body = skeleton("h36m17")
    distance = hops(len(body), body.edges)
    assert torch.equal(distance, distance.T)
    i = body.index
    assert distance[i("left_wrist"), i("left_shoulder")] == 2
    assert distance[i("left_wrist"), i("right_wrist")] == 6
    assert distance[i("left_wrist"), i("left_ankle")] == 8


def test_bad_configurations_are_refused():
    with pytest.raises(InputError, match="width"):
        Config(width=10, heads=4)
    with pytest.raises(InputError, match="delay"):
        Config(delay=3)
    with pytest.raises(InputError, match="sides"):
        Config(sides=3)
    with pytest.raises(UnknownNameError, match="mixer"):
        network(mixer="lstn")
    with pytest.raises(ShapeError, match="2D joints"):
        network()(torch.zeros(1, 9, 16, 2))
