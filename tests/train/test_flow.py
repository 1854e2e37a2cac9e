"""How `river` is taught, on the tiny pack."""

import json
from dataclasses import replace

import pytest
import torch

from poselift.errors import InputError, UnknownNameError
from poselift.metrics.uncertainty import POWER
from poselift.models.intake import BODY, DELAYS, MODES, NEW_S, columns
from poselift.models.river import Config, River
from poselift.skeleton import skeleton
from poselift.train.batches import Motions, SynthConfig, generator
from poselift.train.flow import (
    LAYOUTS,
    Clips,
    Flow,
    FlowConfig,
    answers,
    clip_batch,
    loss,
    scales_nll,
    stature_m,
)
from poselift.train.lessons import Source
from poselift.train.loop import Run, TrainConfig
from poselift.train.pack import read_pack

CPU = torch.device("cpu")
SYNTH = SynthConfig()
USUAL = FlowConfig()


@pytest.fixture(scope="module")
def motions(tiny_pack) -> Motions:
    return Motions(read_pack(tiny_pack), "train", CPU)


def batch(motions: Motions, config: SynthConfig = SYNTH, *, clips: int = 64, **kind) -> Clips:
    return clip_batch(motions, clips, 6, config, generator(0, 0, 0, CPU), **kind)


def test_a_batch_is_finite_and_the_same_every_time(motions):
    one, other = batch(motions), batch(motions)
    for name in ("points", "facts", "R_camera_to_view"):
        assert getattr(one.seen, name).isfinite().all()
        assert torch.equal(getattr(one.seen, name), getattr(other.seen, name))
    assert one.joints_m.shape == (64, 6, len(BODY), 3)
    assert (one.joints_m[:, :, 0] == 0).all()
    assert (one.dt_s[:, 0] == NEW_S).all()
    assert len(one.dt_s[:, 1].unique()) > 3  # several frame rates


def test_plain_clips_are_coco_with_nothing_told(motions):
    clips = batch(motions, SYNTH.clean(), plain=True)
    seen = clips.seen.points[..., 3].amax((0, 1)) > 0
    assert seen.nonzero()[:, 0].tolist() == sorted(columns(skeleton("coco17"))[1])
    facts = clips.seen.facts
    assert (facts[..., [4, 5, 6, 10]] == 0).all()  # keypoints; no height; no up


def test_points_are_the_true_joints_seen_from_the_camera(motions):
    """Without noise, a point times its distance is the joint, but for the flesh between."""
    clips = batch(motions, SYNTH.clean(), plain=True)
    wrist, ankle = BODY.index("left_wrist"), BODY.index("right_ankle")
    limb = clips.joints_m[:, :, wrist, :2] - clips.joints_m[:, :, ankle, :2]
    seen = clips.seen.points[:, :, wrist, :2] - clips.seen.points[:, :, ankle, :2]
    both = torch.stack([limb.flatten(), seen.flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.9


def test_random_detectors_print_their_own_points(motions):
    clips = batch(motions, clips=400)
    shares = (clips.seen.points[..., 3] > 0).float().mean((0, 1))
    assert shares[BODY.index("left_knee")] > 0.7
    inside = shares[BODY.index("thorax")]
    assert 0 < inside < 0.2  # only those that print joint centres
    assert shares[BODY.index("left_small_toe")] < shares[BODY.index("left_heel")]
    centres = clips.seen.facts[:, 0, 4]
    assert centres.mean() == pytest.approx(LAYOUTS["h36m17"], abs=0.06)
    assert ((clips.seen.points[:, :, BODY.index("spine"), 3].amax(1) > 0) <= (centres > 0)).all()


def test_one_detector_alone(motions):
    clips = batch(motions, detector="mpii16")
    ever = (clips.seen.points[..., 3] > 0).amax((0, 1))
    assert {BODY.joints[n] for n in ever.nonzero()[:, 0]} <= set(skeleton("mpii16").joints)
    with pytest.raises(UnknownNameError, match="unknown detector: found 'mpii'"):
        FlowConfig(detector="mpii")


def test_stature_is_that_of_the_body(motions):
    bodies = motions.bodies
    count = len(bodies)
    still = torch.eye(3).expand(count, 1, 31, 3, 3)
    shape, scales = torch.arange(count), torch.ones(count, 31)
    posed = bodies.pose(still, shape, scales, torch.zeros(count, 26, 3))
    true = torch.as_tensor(bodies.table.stature_m, dtype=torch.float32)
    assert stature_m(posed.joints_m[:, 0]) == pytest.approx(true, rel=0.02)


def test_the_loss_is_smallest_at_the_truth(motions):
    clips = batch(motions, clips=4)
    perfect = torch.cat([clips.joints_m, torch.full((4, 6, len(BODY), 2), -4.0)], dim=-1)
    late = torch.cat([perfect[:, :1].expand(-1, 2, -1, -1), perfect[:, :-2]], dim=1)
    best = loss(perfect, clips, USUAL)
    assert loss(late, clips, USUAL) > best + 1e-3
    off = perfect.clone()
    off[..., 2] += 0.05
    assert loss(off, clips, USUAL) > best + 0.04


def test_a_network_is_told_how_far_ahead_it_sees(motions):
    clips = batch(motions, clips=2)
    told = {}

    def network(points, facts, dt_s, ahead):
        told[ahead] = facts[0, 0, -len(MODES) :].tolist()
        return points

    for ahead in (None, *DELAYS):
        answers(network, clips, ahead)
    assert told == dict(zip((None, *DELAYS), torch.eye(len(MODES)).tolist(), strict=True))


def test_scales_are_best_where_they_tell_the_size_of_the_errors():
    """Errors drawn as they are claimed, across b and along 3 b."""
    g = torch.Generator().manual_seed(0)
    radius = torch.distributions.Gamma(3 / POWER, 1.0).sample((20_000, 1)) ** (1 / POWER)
    direction = torch.nn.functional.normalize(torch.randn(20_000, 3, generator=g), dim=-1)
    error = radius * direction * torch.tensor([0.02, 0.02, 0.06])
    across, along = error[:, :2].norm(dim=-1), error[:, 2].abs()

    def cost(b_across: float, b_along: float) -> float:
        scales = torch.tensor([b_across, b_along]).log().expand(20_000, 2)
        return scales_nll(across, along, scales).mean().item()

    best = cost(0.02, 0.06)
    for factor in (0.8, 1.25):
        assert cost(0.02 * factor, 0.06) > best
        assert cost(0.02, 0.06 * factor) > best


def test_scales_do_not_change_the_pose_they_are_about(motions):
    clips = batch(motions, clips=4)
    out = torch.cat([clips.joints_m + 0.05, torch.zeros(4, 6, len(BODY), 2)], dim=-1)
    out.requires_grad_()
    across = torch.full((4, 6, len(BODY)), 0.05)
    assert loss(out, clips, USUAL).isfinite()
    (grad,) = torch.autograd.grad(scales_nll(across, across, out[..., 3:]).sum(), out)
    assert (grad[..., :3] == 0).all()
    assert (grad[..., 3:] != 0).all()


@pytest.mark.parametrize("lengths", [((0.1, 9),), ((0, 9), (0.5, 1)), ((0, 9), (2, 27))])
def test_lengths_of_clips_that_cannot_be_meant(lengths):
    with pytest.raises(InputError, match="lengths of clips: expected shares that rise from 0"):
        FlowConfig(lengths=lengths)


def test_live_answers_are_taught_by_those_both_ways(motions):
    """Nothing is added where both are the same, and no gradient reaches the teacher."""
    source = Source(motions, SYNTH, 4)
    torch.manual_seed(0)
    network = River(Config(width=16, depth=1, heads=2))

    def lesson(taught):
        config = FlowConfig(lengths=((0, 9),), both_ways=0.0, taught=taught)
        return Flow(False, config).loss(network, source, generator(1, 0, 0, CPU), 0.0).item()

    class Blind(River):
        def forward(self, points, facts, dt_s, ahead=None):
            return super().forward(points, 0 * facts, dt_s, 0)

    assert lesson(0.5) > lesson(0.0)
    network = Blind(Config(width=16, depth=1, heads=2))
    assert lesson(0.5) == pytest.approx(lesson(0.0), abs=1e-6)


def test_a_short_run_learns_in_all_modes(tiny_pack, tmp_path):
    config = TrainConfig(
        lifter="river-nano",
        network={"width": 16, "depth": 1, "heads": 2},
        **{"steps": 40, "batch": 4, "rate": 5e-3, "warmup": 5, "bf16": False},
        **{"validate_every": 20, "validation_batches": 1, "average_half_life": 0.1},
    )
    run = Run(config, tiny_pack, tmp_path / "run", CPU)
    losses = []
    run.run(lambda report: losses.append(report.loss))
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    assert run.best_m < 0.5
    again = Run(replace(config, steps=41), tiny_pack, tmp_path / "run", CPU)
    assert again.step == 40
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    assert stored["lifter"] == "river-nano"
