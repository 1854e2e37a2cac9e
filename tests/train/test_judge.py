import numpy as np
import pytest
import torch
from torch import nn

from poselift.errors import InputError, UnknownNameError
from poselift.models import info
from poselift.models.lifter import Lifter
from poselift.models.network import Lifted, Network
from poselift.train import baselines, cost
from poselift.train.batches import Motions, make_batch
from poselift.train.judge import ALL_TRACKS, contender, known, tracks_of
from poselift.train.rendered import BLAZEPOSE, DETECTORS, blazepose_lift, rendered_clips
from poselift.train.speed import random_pack, synthesis_rate

CPU = torch.device("cpu")


def test_rendered_clips_are_what_detectors_saw():
    clips = rendered_clips()
    per_detector = len(clips) // len(DETECTORS)
    assert len(clips) == per_detector * len(DETECTORS)
    assert len({clip.name for clip in clips}) == len(clips)
    for clip in clips:
        assert clip.observed.camera is None  # nobody tells a lifter about the camera in use
        assert np.isfinite(clip.truth_m).all()
        assert clip.truth_m.shape == (len(clip.observed.time_s), 17, 3)
        assert set(clip.strata) == {"detector", "action", "age"}
    first, again = clips[0], clips[per_detector]
    assert np.array_equal(first.truth_m, again.truth_m)
    assert first.observed.skeleton.name == "mediapipe33"
    assert again.observed.skeleton.name == "coco17"


def test_rendered_detections_lie_near_the_truth():
    """True joints, seen by the same camera up to its focal length, lie on the detections."""
    clip = rendered_clips()[0]
    skeleton = clip.observed.skeleton
    joints = clip.truth_m + clip.root_m[:, None]
    slope = joints[..., :2] / joints[..., 2:]
    seen = clip.observed.to(Lifter(lambda xy: xy, info("semgcn")).skeleton_in).xy_px
    middle = np.array(clip.observed.size_px) / 2
    good = np.isfinite(seen).all(-1)
    f = np.median(((seen - middle) / slope)[good])
    off = np.linalg.norm(seen - middle - f * slope, axis=-1)[good]
    height = np.nanmax(clip.observed.xy_px[..., 1]) - np.nanmin(clip.observed.xy_px[..., 1])
    assert np.median(off) < 0.05 * height
    assert len(skeleton) == 33


def test_blazepose_answers_for_its_own_clips_only():
    clips = rendered_clips()
    answer = blazepose_lift(clips[0].observed)
    known_frames = np.isfinite(answer.xyz_m).all((1, 2))
    assert known_frames.mean() > 0.5
    assert np.abs(answer.xyz_m[known_frames, 0]).max() == 0
    with pytest.raises(InputError, match=BLAZEPOSE):
        blazepose_lift(clips[-1].observed)


def test_the_nearest_pose_is_looked_up_over_the_joints_that_are_seen():
    rng = np.random.default_rng(0)
    xy, xyz = rng.normal(size=(50, 17, 2)), rng.normal(size=(50, 17, 3))
    asked = rng.normal(size=(6, 1, 17, 2))
    asked[:, 0, [2, 9]] = 0
    seen = np.delete(np.arange(17), [2, 9])
    gaps = ((asked[:, :, seen] - xy[None][:, :, seen]) ** 2).sum((-1, -2))
    expected = xyz[gaps.argmin(1)]
    assert np.array_equal(baselines.nearest(xy, xyz, asked), expected)
    assert np.array_equal(baselines.nearest(xy, xyz, xy[:, None]), xyz)


def test_the_mean_pose_is_the_mean(tiny_pack, monkeypatch):
    monkeypatch.setattr(baselines, "_AT_ONCE", 50)
    lifter = baselines.baseline("mean-pose", Motions(tiny_pack, "train", CPU))
    answers = lifter.run(np.zeros((3, 1, 17, 2)))
    assert answers.shape == (3, 17, 3)
    assert (answers[0] == answers[1]).all()
    assert np.abs(answers[0, 0]).max() == 0


class Plain(Network):
    """34 inputs to 51 outputs per frame: 1,734 multiply-adds."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.layer = nn.Linear(34, 51)

    def forward(self, joints):
        every = self.layer(joints.flatten(2)).unflatten(2, (17, 3))
        return Lifted(every[:, :1], every)


@pytest.mark.parametrize(("name", "answers"), [("strided-27", 1), ("mixste-27", 27)])
def test_multiply_adds_are_counted_for_one_answer(name, answers):
    assert cost.macs_per_frame(Plain(27), info(name)) == 27 * 34 * 51 / answers
    assert cost.parameters(Plain(27)) == 34 * 51 + 51


def test_time_is_that_of_one_answer():
    import time

    def run(xy):
        time.sleep(0.016)
        return np.zeros((len(xy), 17, 3))

    assert cost.ms_per_frame(run, info("strided-27")) == pytest.approx(1, rel=0.5)
    assert cost.ms_per_frame(run, info("mixste-27")) == pytest.approx(1 / 27, rel=0.5)


def test_everybody_is_known_by_name(tiny_pack_read):
    assert known()[-3:] == ["mean-pose", "nearest", BLAZEPOSE]
    assert ALL_TRACKS[-2:] == ("rendered", "cross-corpus")
    assert contender(BLAZEPOSE, None).cost is None
    assert contender("strided-27", None).cost().parameters == 4_014_438
    with pytest.raises(InputError, match="expected a pack"):
        contender("nearest", None)
    with pytest.raises(UnknownNameError, match="unknown lifter: found 'x'"):
        contender("x", tiny_pack_read)


def test_a_competitor_is_asked_only_what_it_can_answer():
    from poselift.train.judge import judge

    clips = rendered_clips()[:1]
    tracks = {"clean": clips, "rendered": clips}
    results = judge(contender(BLAZEPOSE, None), tracks, lambda *_: None)
    assert {record.track for record in results.records} == {"rendered"}
    assert results.costs == ()


def test_tracks_come_in_the_order_asked_for(tmp_path):
    tracks, hashes = tracks_of(None, ["rendered"], tmp_path, lambda *_: None)
    assert list(tracks) == ["rendered"]
    assert hashes == {}
    with pytest.raises(InputError, match="tracks real, clean: expected a pack"):
        tracks_of(None, ["real", "rendered", "clean"], tmp_path, lambda *_: None)


def test_synthesis_can_be_timed_without_files():
    motions = Motions(random_pack(), "train", CPU)
    from poselift.train.batches import SynthConfig, generator

    batch = make_batch(motions, 4, 5, SynthConfig(), generator(0, 0, 0, CPU))
    assert torch.isfinite(batch.xyz_m).all()
    assert synthesis_rate(CPU, batch=2, frames=3, least_s=0.01) > 0
