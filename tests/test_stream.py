"""Live lifting: what a stream answers, when, and that it is what the whole clip gives."""

import os
from dataclasses import replace
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from poselift import streaming
from poselift.camera import Camera
from poselift.errors import FormatError, InputError, ShapeError, UnknownNameError, WeightsError
from poselift.models import weights_record
from poselift.models.intake import BODY, DELAYS, NEW_S, intake, with_mode
from poselift.models.stepping import StepNetwork
from poselift.skeleton import skeleton
from poselift.streaming import GAP_S, HOLD_S, VERSION, Pose, Stream, StreamOptions, stream

torch = pytest.importorskip("torch", reason="the small network of these tests is one of torch")

from poselift.models.river import Config, River, State  # noqa: E402

SIZE = (640, 480)
CAMERA = Camera(np.array([[600.0, 0, 320], [0, 590, 250], [0, 0, 1]]), SIZE, known=True)
BENT = replace(CAMERA, distortion=(-0.2, 0.05, 0.001, -0.0005, 0.0))
COCO = skeleton("coco17")
RATE_HZ = 30.0
ROOT = Path(__file__).parent.parent
SHIPPED = pytest.mark.skipif(weights_record("river") is None, reason="no river is shipped yet")
LONG = pytest.mark.skipif(
    "POSELIFT_LONG" not in os.environ, reason="half a minute: runs where POSELIFT_LONG is set"
)


@pytest.fixture(scope="module")
def river() -> River:
    """A small network whose gates depend on what it sees."""
    torch.manual_seed(0)
    model = River(Config(width=8, depth=2, heads=2)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2)
    return model


@pytest.fixture(scope="module")
def network(river) -> StepNetwork:
    @torch.inference_mode()
    def run(*arrays):
        points, facts, dt_s, *state = map(torch.from_numpy, arrays)
        joints, state = river.step(points, facts, dt_s, State(*state))
        return joints.numpy(), *(each.numpy() for each in state)

    def first_state(people):
        return tuple(each.numpy() for each in river.first_state(people))

    return StepNetwork(run, first_state, "a" * 64, (1.5, 2.0))


@pytest.fixture(scope="module")
def made(network):
    """A stream of the small network, by options."""
    usual = {"size_px": SIZE, "flip": False}
    return lambda **options: Stream(network, StreamOptions(**usual | options))


def motion(time_s: np.ndarray, period_s: float = 2.0, joints: int = 17) -> np.ndarray:
    """Joints (T, J, 2) in pixels of somebody who sways with a period."""
    rng = np.random.default_rng(1)
    place = [320, 240] + rng.normal(0, 1, (joints, 2)) * [40, 90]
    phase, size = rng.uniform(0, 6, (joints, 2)), rng.uniform(2, 12, (joints, 2))
    turn = 2 * np.pi * np.asarray(time_s)[:, None, None] / period_s
    return place + size * np.sin(turn + phase) + 30 * np.sin(turn)


def even(frames: int) -> np.ndarray:
    return np.arange(frames) / RATE_HZ


def uneven(frames: int) -> np.ndarray:
    """Steps of 10 to 60 ms, and pauses below and above `GAP_S`."""
    steps = np.random.default_rng(2).uniform(0.01, 0.06, frames)
    steps[[20, 47]] = 0.7
    steps[[31, 60]] = 1.4
    return 5 + np.cumsum(steps)


def answers(live: Stream, xy_px, time_s, confidence=None) -> list[Pose | None]:
    sure = [None] * len(xy_px) if confidence is None else confidence
    return [live(*frame) for frame in zip(xy_px, time_s, sure, strict=True)]


@torch.inference_mode()
def at_once(river: River, live: Stream, xy_px, time_s, confidence=None):
    """What the whole clip gives looking back: poses in camera axes (T - delay, 28, 3), scales."""
    points = [live._points(*f) for f in zip(xy_px, confidence, strict=True)]
    rays, sure = (np.stack(each) for each in zip(*points, strict=True))
    last = np.maximum.accumulate(np.where(np.isfinite(rays).any((1, 2)), np.arange(len(rays)), 0))
    last = np.where(time_s - time_s[last] <= HOLD_S, last, np.arange(len(rays)))
    rays, sure = rays[last], sure[last]
    dt_s = np.diff(time_s, prepend=-np.inf)
    dt_s[dt_s > GAP_S] = NEW_S
    known = replace(live._known, up=live._known.up[0])
    seen, _ = intake(rays, sure, dt_s, known)
    given = (seen.points, with_mode(seen.facts, f"{live.options.delay} late"), dt_s)
    given = (torch.from_numpy(x).float()[None] for x in given)
    out = river(*given, live.options.delay)[0].double().numpy()
    return (out[..., :3] - out[:, :1, :3]) @ seen.R_camera_to_view, out[..., 3:]


# ------------------------------------------------------------------------------------ what it gives
@pytest.mark.parametrize(
    ("delay", "camera"),
    [*((delay, BENT) for delay in DELAYS), (4, None), (4, CAMERA)],
    ids=[*(f"{delay} late" for delay in DELAYS), "guess", "known"],
)
def test_a_stream_gives_what_the_whole_clip_gives(river, made, delay, camera):
    """All of it: rays, followed person, network, view axes of the frame that is answered."""
    time_s = uneven(75)
    xy, sure = motion(time_s), np.random.default_rng(3).uniform(0.2, 1, (75, 17))
    xy[9:19] = np.nan  # nobody, for longer than the last frame is held
    xy[40:, :5] = np.nan
    sure[66:69] = 0.05  # fainter than what counts
    live = made(delay=delay, camera=camera, height_m=1.8, up=(0.0, -2.0, 0.1))
    found = answers(live, xy, time_s, sure)
    expected, _ = at_once(river, live, xy, time_s, sure)
    assert time_s[19] - time_s[8] > HOLD_S
    begins = np.diff(time_s, prepend=-np.inf) > GAP_S
    assert begins.sum() == 3
    silent = {n for start in np.flatnonzero(begins) for n in range(start, start + delay)}
    assert {n for n, pose in enumerate(found) if pose is None} == silent
    for n in set(range(75)) - silent:
        assert found[n].time_s == time_s[n - delay]
        np.testing.assert_allclose(found[n].xyz_m, expected[n - delay], atol=1e-5, rtol=0)


def test_two_looks_are_the_mean_of_one_and_of_the_one_in_the_mirror(made):
    time_s, told = even(20), {"delay": 2, "height_m": 1.8, "camera": CAMERA}
    xy = motion(time_s)
    both = answers(made(**told, flip=True, up=(0.1, -2.0, 0.1)), xy, time_s)[-1]
    one = answers(made(**told, up=(0.1, -2.0, 0.1)), xy, time_s)[-1]
    swapped = xy[:, skeleton("coco17").mirror]
    swapped[..., 0] = 2 * CAMERA.K[0, 2] - swapped[..., 0]
    other = answers(made(**told, up=(-0.1, -2.0, 0.1)), swapped, time_s)[-1]
    turned = other.xyz_m[BODY.mirror] * [-1, 1, 1]
    np.testing.assert_allclose(both.xyz_m, (one.xyz_m + turned) / 2, atol=1e-5, rtol=0)
    scales = np.sqrt(one.scale_m * other.scale_m[BODY.mirror])
    np.testing.assert_allclose(both.scale_m, scales, rtol=1e-4)


def test_a_pose_tells_where_how_sure_and_of_when(river, made):
    time_s, sure = even(20), np.ones((20, 17))
    live = made(delay=2, person=7, smooth_depth_hz=None)
    pose = answers(live, motion(time_s), time_s, sure)[-1]
    _, scales = at_once(river, live, motion(time_s), time_s, sure)
    assert (pose.xyz_m.shape, pose.uncertainty_m.shape, pose.root_m.shape) == ((28, 3), (28,), (3,))
    assert pose.skeleton == BODY
    assert pose.person == 7
    assert pose.time_s == time_s[17]
    assert (pose.xyz_m[0] == 0).all()
    across, along = (
        np.exp(scales[17, 1:]) * [1.5, 2.0]
    ).T  # as the network's record calibrates them
    np.testing.assert_allclose(
        pose.uncertainty_m[1:], 1.36458 * np.sqrt((2 * across**2 + along**2) / 3), rtol=1e-5
    )
    with pytest.raises(ValueError, match="read-only"):
        pose.xyz_m[0] = 1


def perfect(xyz_m: np.ndarray, turns: list[np.ndarray]) -> StepNetwork:
    """A network that knows the answer, in camera axes that `turns` brings to view axes."""

    def run(points, facts, dt_s, memory):
        answer = np.full((1, 28, 5), -3.0, np.float32)
        answer[0, :, :3] = xyz_m @ turns[0][0].T
        return answer, memory

    return StepNetwork(run, lambda people: (np.zeros(1),), "b" * 64)


def test_the_root_is_where_the_person_stands(monkeypatch):
    """A lifter that is right brings the root to its true place, seen through a lens."""
    rng, root = np.random.default_rng(4), np.array([0.4, -0.2, 4.0])
    body = rng.normal(0, 0.4, (28, 3))
    body -= body[0]
    turns = [np.eye(3)]
    kept = streaming.intake

    def watched(*given):
        seen, followed = kept(*given)
        turns[0] = seen.R_camera_to_view[0]
        return seen, followed

    monkeypatch.setattr(streaming, "intake", watched)
    options = StreamOptions(delay=0, camera=BENT, skeleton="body28", flip=False)
    live = Stream(perfect(body, turns), options)
    xy = BENT.camera_to_image(body + root)
    pose = live(xy, 0.0)
    np.testing.assert_allclose(pose.xyz_m, body, atol=1e-6)
    np.testing.assert_allclose(pose.root_m, root, atol=1e-5)
    few = np.where(np.arange(28)[:, None] < 2, xy, np.nan)
    assert np.isnan(live(few, 0.1).root_m).all()
    away = live(BENT.camera_to_image(body + 1.5 * root), 0.2)  # the distance follows slowly
    assert 4.05 < away.root_m[2] < 5.9
    np.testing.assert_allclose(away.root_m / away.root_m[2], root / root[2], atol=1e-5)
    raw = replace(live.options, smooth_depth_hz=None)
    away = Stream(live._network, raw)(BENT.camera_to_image(body + 1.5 * root), 0.2)
    np.testing.assert_allclose(away.root_m, 1.5 * root, atol=1e-5)


@pytest.mark.parametrize("rate_hz", [2, pytest.param(30, marks=LONG)])
def test_ten_minutes_do_not_drift(made, rate_hz):
    """The same motion over and over has the same answers in the second minute and the last."""
    period, minute = 5 * rate_hz, 60 * rate_hz
    live = made(delay=4, smooth_depth_hz=None)
    xy, kept = motion(np.arange(period) / rate_hz, period_s=5.0), []
    for n in range(10 * minute):
        pose = live(xy[n % period], n / rate_hz)
        if n // minute in (1, 9):
            kept.append(np.c_[pose.xyz_m, np.nan_to_num(pose.uncertainty_m)])
    early, late = np.array(kept[:minute]), np.array(kept[minute:])
    assert np.isfinite(early).all()
    np.testing.assert_allclose(late, early, atol=1e-4, rtol=0)
    assert np.ptp(early[:, 1:, :3], axis=0).max() > 0.01  # it does move


# -------------------------------------------------------------------------------- gaps, late frames
def test_nobody_for_a_moment_is_bridged_and_nobody_for_long_ends_it(made):
    time_s = even(120)
    xy = motion(time_s)
    xy[20:80] = np.nan
    live = made(delay=4)
    found = answers(live, xy, time_s)
    bridged = [n for n, pose in enumerate(found) if pose is not None]
    assert bridged == [*range(4, 50), *range(84, 120)]  # GAP_S after frame 19; then anew
    assert np.isnan(found[30].root_m).all()  # there was nobody to place
    fresh = answers(made(delay=4), xy[80:], time_s[80:])
    np.testing.assert_array_equal(found[-1].xyz_m, fresh[-1].xyz_m)


def test_nobody_so_far_is_no_pose(made):
    live = made(delay=0)
    nobody = np.full((17, 2), np.nan)
    assert [live(nobody, t) for t in (0.0, 0.1)] == [None, None]
    assert live(nobody + motion([0.0])[0], 0.2) is None
    first = live(motion([0.0])[0], 0.3)
    np.testing.assert_array_equal(first.xyz_m, made(delay=0)(motion([0.0])[0], 9.0).xyz_m)


def test_late_frames_are_an_error_or_left_out(made):
    time_s = even(9)
    xy = motion(time_s)
    strict, patient = made(delay=0), made(delay=0, late="drop")
    answers(strict, xy, time_s)
    with pytest.raises(InputError, match=r"time of a frame: expected seconds after 0\.26"):
        strict(xy[0], time_s[-1])
    for n in range(9):
        last = patient(xy[n], time_s[n])
        assert patient(xy[0], time_s[n] - 0.01) is None
    assert patient.dropped == 9
    after = (live(xy[4], 0.3).xyz_m for live in (strict, patient))
    np.testing.assert_array_equal(*after)  # what was refused left no trace
    assert last.time_s == time_s[-1]
    for live in (strict, patient):
        with pytest.raises(InputError, match="time of a frame"):
            live(xy[0], float("nan"))


@pytest.mark.parametrize("frames", [0, 2, 9])
@pytest.mark.parametrize("delay", [0, 4])
def test_flush_gives_what_was_still_to_come(made, frames, delay):
    time_s = even(frames)
    live = made(delay=delay)
    found = [pose for pose in answers(live, motion(time_s), time_s) if pose] + live.flush()
    assert [pose.time_s for pose in found] == list(time_s)
    assert live.flush() == []
    later = time_s + 0.5
    anew = [pose for pose in answers(live, motion(time_s), later) if pose]
    fresh = [pose for pose in answers(made(delay=delay), motion(time_s), later) if pose]
    assert [a.xyz_m.tolist() for a in anew] == [b.xyz_m.tolist() for b in fresh]


# -------------------------------------------------------------------------------------------- saved
@pytest.mark.parametrize("frames", [0, 3, 30])
def test_a_restored_stream_gives_the_same_to_the_last_bit(made, network, monkeypatch, frames):
    options = {"delay": 4, "camera": BENT, "up": (0.0, -1.0, 0.0), "late": "drop", "person": 3}
    time_s = even(60)
    xy = motion(time_s)
    live = made(**options)
    answers(live, xy[:frames], time_s[:frames])
    live(xy[0], -1.0) if frames else None
    saved = live.save()
    monkeypatch.setattr(streaming, "step_network", lambda lifter, threads: network)
    others = Stream.load(saved), made(**options)
    others[1].restore(saved)
    expected = answers(live, xy[frames:], time_s[frames:])
    for other in others:
        assert other.dropped == (frames > 0)
        assert other.options.person == 3
        found = answers(other, xy[frames:], time_s[frames:])
        for one, same in zip(found, expected, strict=True):
            assert (one is None) == (same is None)
            for name in ("xyz_m", "uncertainty_m", "root_m", "time_s") if one else ():
                np.testing.assert_array_equal(getattr(one, name), getattr(same, name))
    np.testing.assert_array_equal(others[0].save(), live.save())


def test_what_cannot_be_restored(made, network, monkeypatch):
    live = made(delay=4)
    saved = live.save()
    for other in (b"", b"PK\x03\x04 nothing", saved[: len(saved) // 2]):
        with pytest.raises(FormatError, match=r"saved stream: expected what Stream\.save gave"):
            live.restore(other)
    with pytest.raises(WeightsError, match=r"expected weights with SHA-256 aaa.*, found ccc"):
        Stream(replace(network, sha256="c" * 64), live.options).restore(saved)
    with pytest.raises(InputError, match="saved stream: expected delay 4, found 2"):
        made(delay=2).restore(saved)
    monkeypatch.setattr(streaming, "VERSION", VERSION + 1)
    newer = live.save()
    monkeypatch.undo()
    with pytest.raises(FormatError, match=f"expected version {VERSION}, found {VERSION + 1}"):
        Stream.load(newer)


# -------------------------------------------------------------------------------------------- wrong
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delay": 3}, r"delay of a stream: found 3 \(known: 0, 2, 4, 8\)"),
        ({"size_px": None}, "stream: expected the camera, or width and height"),
        ({"size_px": (0, 9)}, "width and height of the image"),
        ({"skeleton": "nope"}, "unknown skeleton"),
        ({"late": "wait"}, "unknown way with late frames"),
        ({"height_m": 180}, "body height: expected 0.3 to 3 metres"),
        ({"up": (0, 0, 0)}, "up: expected a direction"),
        ({"smooth_depth_hz": 0}, "smooth_depth_hz: expected Hz above 0, or None"),
    ],
)
def test_options_that_cannot_be_meant(made, options, message):
    with pytest.raises(InputError, match=message):
        made(**options)


def test_lifters_that_do_not_stream():
    with pytest.raises(UnknownNameError, match=r"unknown option of stream: found 'fps'"):
        stream(fps=30)
    with pytest.raises(UnknownNameError, match="unknown lifter"):
        stream("nope", size_px=SIZE)
    with pytest.raises(InputError, match="strided-27: expected a lifter that streams"):
        stream("strided-27", size_px=SIZE)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"xy_px": np.zeros((5, 2))}, ShapeError, r"joints of coco17: expected \(17, 2\)"),
        ({"xy_px": np.full((17, 2), np.inf)}, InputError, "finite pixels or NaN"),
        ({"confidence": np.ones(3)}, ShapeError, r"confidence: expected \(17,\)"),
        ({"confidence": np.full(17, 2.0)}, InputError, "confidence: expected 0 to 1"),
    ],
)
def test_frames_that_cannot_be_meant_leave_no_trace(made, change, error, message):
    frame = partial(dict, xy_px=motion([0.0])[0])
    live, other = made(delay=0), made(delay=0)
    live(**frame(), time_s=0.0), other(**frame(), time_s=0.0)
    with pytest.raises(error, match=message):
        live(**frame(**change), time_s=0.1)
    one, same = (each(**frame(), time_s=0.1) for each in (live, other))
    np.testing.assert_array_equal(one.xyz_m, same.xyz_m)


# ------------------------------------------------------------------------------------- as shipped


@SHIPPED
def test_the_shipped_lifter_streams_and_goes_on_after_a_restart():
    with np.load(ROOT / "examples" / "sample" / "sample_truth.npz", allow_pickle=False) as truth:
        xy, time_s = truth["coco17_xy_px"][:40], truth["time_s"][:40]
    live = stream(size_px=SIZE, delay=4)
    answers(live, xy[:20], time_s[:20])
    found = answers(Stream.load(live.save()), xy[20:], time_s[20:])
    expected = answers(live, xy[20:], time_s[20:])
    assert [pose.time_s for pose in found] == list(time_s[16:36])
    for one, same in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.xyz_m, same.xyz_m)
    knee, ankle = (BODY.index(f"left_{joint}") for joint in ("knee", "ankle"))
    shank_m = np.linalg.norm(found[-1].xyz_m[knee] - found[-1].xyz_m[ankle])
    assert 0.25 < shank_m < 0.6
    assert 1 < found[-1].root_m[2] < 20


@SHIPPED
def test_the_example_tells_a_pose_for_every_frame(capsys):
    spec = spec_from_file_location("live", ROOT / "examples" / "live.py")
    example = module_from_spec(spec)
    spec.loader.exec_module(example)
    assert example.main(["--end", "0.3", "--delay", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [float(line.split()[0]) for line in lines] == pytest.approx(even(10), abs=0.01)
    assert all("m away" in line for line in lines)
