"""RiverLifter: any skeleton, any frame rate, gaps, long clips, mirrored, and how sure it is."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the small network of these tests is one of torch")

from poselift.camera import Camera  # noqa: E402
from poselift.errors import InputError, WeightsError  # noqa: E402
from poselift.models import info, load, weights_bytes  # noqa: E402
from poselift.models.intake import BODY, FACTS, NEW_S, columns  # noqa: E402
from poselift.models.river_lifter import RiverLifter, RiverOptions  # noqa: E402
from poselift.poses import Poses2D  # noqa: E402
from poselift.skeleton import convert, skeleton  # noqa: E402
from poselift.train.walker import walk_m  # noqa: E402

SIZE = (640, 480)
CAMERA = Camera(np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]]), SIZE, known=True)
INFO = info("river-nano")


def person(frames=40, layout="coco17", hz=30.0, seed=0, **changes) -> Poses2D:
    """Somebody who walks, as that detector would print them."""
    time_s = np.arange(frames) / hz
    xyz = walk_m(time_s, seed)
    px = 600 * xyz[..., :2] / xyz[..., 2:] + [320, 240]
    target = skeleton(layout)
    xy = convert(px, BODY, target)
    sure = np.where(np.isnan(xy).any(-1), 0.0, 0.9)
    whole = Poses2D(xy, sure, time_s, SIZE, target, camera=CAMERA)
    return replace(whole, **changes)


def only(poses: Poses2D, frames) -> Poses2D:
    """Those frames, with the times that they had."""
    return replace(
        poses,
        xy_px=poses.xy_px[frames],
        confidence=poses.confidence[frames],
        time_s=poses.time_s[frames],
    )


def hidden(poses: Poses2D, frames, joints=slice(None)) -> Poses2D:
    xy = poses.xy_px.copy()
    xy[frames, joints] = np.nan
    return replace(poses, xy_px=xy)


@pytest.fixture(scope="module")
def lifter(tiny_river) -> RiverLifter:
    @torch.inference_mode()
    def run(*arrays):
        given = (torch.as_tensor(array, dtype=torch.float32) for array in arrays)
        return tiny_river(*given).double().numpy()

    return RiverLifter(run, INFO)


class Spy:
    """Answers all joints at their number in cm, and keeps what it was given."""

    def __init__(self, log_scales=(-3.0, -2.0)) -> None:
        self.given, self.log_scales = [], log_scales

    def __call__(self, points, facts, dt_s):
        self.given.append((points, facts, dt_s))
        out = np.empty((*points.shape[:3], 5))
        out[..., :3] = 0.01 * np.arange(len(BODY))[:, None]
        out[..., 3:] = self.log_scales
        return out


@pytest.mark.parametrize(
    "layout", ["coco17", "halpe26", "body25", "mediapipe33", "h36m17", "mpii16"]
)
def test_any_skeleton_gives_all_joints_about_the_pelvis(lifter, layout):
    poses = lifter(person(layout=layout))
    assert poses.skeleton == BODY
    assert (poses.axes, poses.origin) == ("camera", "root")
    assert poses.seen.all()
    assert np.abs(poses.xyz_m[:, 0]).max() == 0
    assert (poses.uncertainty_m[:, 1:] > 0).all()
    assert poses.history[-1] == "lifted by river-nano, camera known"
    spy = Spy()
    RiverLifter(spy, INFO)(person(layout=layout))
    points, facts, _ = spy.given[0]
    printed = np.zeros(len(BODY), dtype=bool)
    printed[list(columns(skeleton(layout))[1])] = True
    assert np.array_equal(points[0, :, :, 3] == 1, np.broadcast_to(printed, (40, len(BODY))))
    assert set(facts[0, :, 4]) == {float(layout == "h36m17")}


def test_true_times_reach_the_network_at_any_rate():
    uneven = np.cumsum(np.random.default_rng(0).uniform(0.005, 0.2, 40))
    for time_s in (np.arange(40) / 100, np.arange(40) / 7, uneven):
        spy = Spy()
        RiverLifter(spy, INFO, RiverOptions(flip=False))(person(time_s=time_s))
        ((_, _, dt_s),) = spy.given
        np.testing.assert_allclose(dt_s[0], [NEW_S, *np.diff(time_s)])


def test_short_absences_are_bridged_and_long_ones_left_out(lifter):
    whole = person(80)
    gone = hidden(hidden(whole, slice(10, 14)), slice(30, 70))
    lifted = lifter(gone)
    assert np.array_equal(~lifted.seen, (np.arange(80) >= 30) & (np.arange(80) < 70))
    assert np.isnan(lifted.uncertainty_m[40]).all()
    assert lifted.history[-1] == "4 frames with too few joints were bridged"
    cut = lifter(only(gone, lifted.seen))
    np.testing.assert_allclose(cut.xyz_m, lifted.xyz_m[lifted.seen], atol=1e-9)
    spy = Spy()
    RiverLifter(spy, INFO)(gone)
    assert spy.given[0][2][0, 30] == pytest.approx(41 / 30)


def test_a_joint_that_is_faint_or_gone_is_left_open_not_made_up():
    knee = skeleton("coco17").index("left_knee")
    sure = person().confidence.copy()
    sure[10:13, knee] = 0.05
    answers = []
    for poses in (hidden(person(), slice(10, 13), knee), replace(person(), confidence=sure)):
        spy = Spy()
        RiverLifter(spy, INFO)(poses)
        points = spy.given[0][0]
        assert not points[0, 10:13, BODY.index("left_knee")].any()
        assert points[0, 13, BODY.index("left_knee"), 3] == 1
        answers.append(points)
    np.testing.assert_array_equal(*answers)


def test_what_is_known_is_told():
    spy = Spy()
    told = RiverOptions(height_m=1.7 * np.e**0.1, up=(0.0, -2.0, 0.0))
    poses = RiverLifter(spy, INFO, told)(person())
    facts, twin = (given[1] for given in spy.given)
    np.testing.assert_allclose(facts[0, :, 3:7], [[1, 0, 0.5, 1]] * 40, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(facts[0, :, 7:10], axis=-1), 1)
    np.testing.assert_allclose(twin[0, :, 7], -facts[0, :, 7], atol=1e-9)  # up, in the mirror
    assert facts.shape[-1] == FACTS
    assert "body height 1.88" in poses.history[-1]
    spy = Spy()
    poses = RiverLifter(spy, INFO)(person(camera=None))
    assert not spy.given[0][1][0, :, [3, 5, 6, 10]].any()
    assert poses.history[-1] == "lifted by river-nano, camera guessed"


def test_the_mirrored_clip_gives_the_mirrored_pose(lifter):
    poses = person()
    twin = poses.xy_px[:, poses.skeleton.mirror] * [-1, 1] + [640, 0]
    mirrored = lifter(replace(poses, xy_px=twin)).xyz_m[:, BODY.mirror] * [-1, 1, 1]
    lifted = lifter(poses).xyz_m
    np.testing.assert_allclose(mirrored, lifted, atol=1e-5)
    once = RiverLifter(lifter.run, INFO, RiverOptions(flip=False))(poses).xyz_m
    assert np.abs(once - lifted).max() > 1e-3


def test_long_clips_in_windows_are_those_lifted_at_once(lifter):
    poses = person(700, hz=10.0)
    done = []
    whole = RiverLifter(lifter.run, INFO, RiverOptions(window=700))(poses)
    cut = RiverLifter(lifter.run, INFO, RiverOptions(window=300))
    parts = cut(poses, lambda now, of: done.append((now, of)))
    worst_m = np.linalg.norm(parts.xyz_m - whole.xyz_m, axis=-1).max()
    assert 0 < worst_m < 0.003
    np.testing.assert_allclose(parts.uncertainty_m, whole.uncertainty_m, rtol=0.02)
    assert done == sorted(done)
    assert done[-1] == (700, 700)
    assert len(done) > 6


def test_the_network_never_sees_more_than_a_window():
    spy = Spy()
    RiverLifter(spy, INFO, RiverOptions(window=64))(person(500))
    assert {given[0].shape[1] for given in spy.given} == {64}
    spy = Spy()
    poses = RiverLifter(spy, INFO)(person(1))
    assert spy.given[0][0].shape[:2] == (1, 1)
    assert poses.seen.all()


def test_uncertainty_is_one_deviation_per_axis_of_calibrated_scales():
    poses = RiverLifter(Spy((np.log(0.01), np.log(0.03))), INFO, calibration=(2.0, 3.0))(person())
    expected = 1.36458 * np.sqrt((2 * 0.02**2 + 0.09**2) / 3)
    np.testing.assert_allclose(poses.uncertainty_m[:, 1:], expected, rtol=1e-5)
    assert np.isnan(poses.uncertainty_m[:, 0]).all()  # of the root relative to itself no claim


def test_what_cannot_be_is_an_error(lifter):
    with pytest.raises(InputError, match="expected a frame with at least 6 joints"):
        lifter(hidden(person(), slice(None), slice(5, None)))
    with pytest.raises(InputError, match="body height"):
        RiverOptions(height_m=180)
    with pytest.raises(InputError, match="a direction"):
        RiverOptions(up=(0.0, 0.0, 0.0))
    with pytest.raises(InputError, match="window"):
        RiverOptions(window=1)


def test_weights_on_disk_are_loaded_with_their_calibration(lifter, tiny_river_path):
    loaded = load(tiny_river_path, threads=1)
    assert isinstance(loaded, RiverLifter)
    assert loaded.calibration == (1.5, 2.0)
    for frames in (1, 33, 200):
        ours, theirs = (each(person(frames)).xyz_m for each in (loaded, lifter))
        np.testing.assert_allclose(ours, theirs, atol=2e-3)
    assert load(tiny_river_path.parent).info == loaded.info
    step = tiny_river_path.with_name("river-nano-step.onnx")
    assert weights_bytes(tiny_river_path, "step") == step.read_bytes()


def test_a_lifter_without_a_step_says_so():
    with pytest.raises(WeightsError, match="strided-27: step"):
        weights_bytes("strided-27", "step")
