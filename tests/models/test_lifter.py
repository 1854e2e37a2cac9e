from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest

from poselift.camera import Camera
from poselift.errors import InputError, WeightsError
from poselift.models import DEFAULT, LIFTERS, build, info, load, table
from poselift.models.intake import FACTS
from poselift.models.lifter import Lifter, LiftOptions
from poselift.poses import Poses2D
from poselift.skeleton import skeleton

COCO, H36M = skeleton("coco17"), skeleton("h36m17")
SIZE = (640, 480)
FLAT = Camera.from_field_of_view(SIZE, 2)  # so long a lens that turning changes nothing


def depth_is_ten_times_x(xy):
    """A stand-in network: x, y of the middle frame, and a depth that has a side."""
    middle = xy[:, xy.shape[1] // 2]
    return np.concatenate([middle, 10 * middle[..., :1] ** 2], axis=-1)


def watched():
    """All windows that the stand-in is given, and the stand-in."""
    given = []

    def run(xy):
        given.append(xy)
        return depth_is_ten_times_x(xy)

    return given, run


def lifter(run=depth_is_ten_times_x, **options) -> Lifter:
    return Lifter(run, info("strided-27"), LiftOptions(**options))


def person(frames=40, rate_hz=30.0, seed=0, joints=COCO) -> Poses2D:
    rng = np.random.default_rng(seed)
    still = rng.uniform(100, 300, (1, len(joints), 2))
    sway = 20 * np.sin(np.arange(frames) / rate_hz * 3)[:, None, None]
    xy = still + sway * rng.normal(size=(1, len(joints), 2))
    return Poses2D(xy, np.ones(xy.shape[:2]), np.arange(frames) / rate_hz, SIZE, joints)


def changed(poses: Poses2D, xy) -> Poses2D:
    return poses.then("test", xy_px=xy)


@pytest.mark.parametrize("frames", [1, 2, 13, 27, 300])
def test_a_pose_for_every_frame_root_at_zero(frames):
    out = lifter()(person(frames))
    assert out.xyz_m.shape == (frames, 17, 3)
    assert out.seen.all()
    assert (out.xyz_m[:, 0] == 0).all()
    assert out.axes == "camera"
    assert out.origin == "root"


def test_absent_frames_stay_nan_and_do_not_reach_the_others():
    poses = person(60)
    xy = poses.xy_px.copy()
    xy[20:45] = np.nan
    gap = lifter()(changed(poses, xy))
    assert not gap.seen[20:45].any()
    assert gap.seen[:20].all()
    assert gap.seen[45:].all()
    alone = lifter()(Poses2D(poses.xy_px[:20], np.ones((20, 17)), poses.time_s[:20], SIZE, COCO))
    assert gap.xyz_m[:20] == pytest.approx(alone.xyz_m)


def test_short_gaps_are_bridged():
    poses = person(60)
    xy = poses.xy_px.copy()
    xy[30:33] = np.nan
    assert lifter()(changed(poses, xy)).seen.all()


def test_missing_joints_reach_the_network_as_zero():
    seen, run = watched()
    poses = person(40)
    xy = poses.xy_px.copy()
    xy[:, COCO.index("left_ankle")] = np.nan
    lifter(run, flip=False)(changed(poses, xy))
    assert (seen[0][:, :, H36M.index("left_ankle")] == 0).all()
    assert (seen[0][:, :, H36M.index("right_ankle")] != 0).any()


def test_batches_do_not_matter():
    poses = person(100)
    a, b = lifter(batch=7)(poses), lifter(batch=100)(poses)
    assert a.xyz_m == pytest.approx(b.xyz_m, abs=1e-12)


def test_flip_makes_the_answer_symmetric():
    """The mirrored person gets the mirrored pose, whatever the network does."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(2 * 17, 3 * 17))

    def run(xy):
        return np.tanh(xy[:, 13].reshape(-1, 34) @ weights).reshape(-1, 17, 3)

    poses = person(30)
    twin = poses.xy_px[:, COCO.mirror].copy()
    twin[..., 0] = SIZE[0] - twin[..., 0]
    a = lifter(run)(poses).xyz_m
    b = lifter(run)(changed(poses, twin)).xyz_m[:, H36M.mirror] * [-1, 1, 1]
    assert a == pytest.approx(b, abs=1e-9)
    c = lifter(run, flip=False)(changed(poses, twin)).xyz_m[:, H36M.mirror] * [-1, 1, 1]
    assert np.abs(lifter(run, flip=False)(poses).xyz_m - c).max() > 1e-3


def window_seconds(rate_hz: float) -> float:
    """How much time the network sees, read off a joint that moves like a clock."""
    windows, run = watched()
    time = np.arange(round(6 * rate_hz)) / rate_hz
    xy = np.random.default_rng(0).uniform(0, 100, (1, 17, 2)) + 0 * time[:, None, None]
    wrist, hip = COCO.index("left_wrist"), COCO.index("left_hip")
    xy[:, wrist] = xy[:, hip] + [50, 0]
    xy[:, wrist, 1] += 30 * time
    poses = Poses2D(xy, np.ones((len(time), 17)), time, SIZE, COCO, camera=FLAT)
    lifter(run, flip=False, batch=10_000)(poses)
    seen = windows[0][len(windows[0]) // 2]
    gap = seen[:, H36M.index("left_wrist")] - seen[:, H36M.index("left_hip")]
    steps = np.diff(gap[:, 1] / gap[:, 0] * 50)
    assert steps == pytest.approx(steps[0], rel=0.02)
    return float(steps.sum() / 30)


@pytest.mark.parametrize(
    ("rate_hz", "stride"), [(24.0, 1), (30.0, 1), (60.0, 2), (120.0, 4), (240.0, 8)]
)
def test_fast_video_is_seen_in_even_strides(rate_hz, stride):
    assert window_seconds(rate_hz) == pytest.approx(26 * stride / rate_hz, rel=0.02)


def test_slow_video_is_seen_at_the_nominal_rate():
    assert window_seconds(10.0) == pytest.approx(26 / 30, rel=0.02)


def test_frames_far_apart_are_lifted_on_their_own():
    sizes = []

    def run(xy):
        sizes.append(len(xy))
        return depth_is_ten_times_x(xy)

    assert lifter(run, flip=False)(person(6, rate_hz=1.0)).seen.all()
    assert sizes == [1] * 6


def test_uneven_times_are_answered_at_those_times():
    poses = person(90)
    keep = np.array([i for i in range(90) if i % 7])
    uneven = Poses2D(poses.xy_px[keep], np.ones((len(keep), 17)), poses.time_s[keep], SIZE, COCO)
    a, b = lifter()(uneven), lifter()(poses)
    assert a.seen.all()
    inner = slice(15, -15)
    assert np.abs(a.xyz_m - b.xyz_m[keep])[inner].max() < 0.05 * np.abs(b.xyz_m).max()


def test_camera_is_used_and_remembered():
    poses = person(30)
    narrow = Camera.from_field_of_view(SIZE, 20)
    told = lifter()(Poses2D(poses.xy_px, poses.confidence, poses.time_s, SIZE, COCO, camera=narrow))
    assert told.camera is narrow
    guessed = lifter()(poses)
    assert guessed.camera is not None
    assert not guessed.camera.known
    assert "camera guessed" in guessed.history[-1]


def test_nobody_is_an_error_that_says_so():
    poses = person(5)
    with pytest.raises(InputError, match="at least 6 joints"):
        lifter()(changed(poses, np.full_like(poses.xy_px, np.nan)))


def test_faint_joints_count_as_not_seen():
    poses = person(5)
    with pytest.raises(InputError, match="at least 6 joints"):
        lifter()(poses.then("test", confidence=np.full((5, 17), 0.05)))


def test_unknown_and_unshipped_lifters_say_what_there_is():
    with pytest.raises(InputError, match=r"known: .*strided-27"):
        load("stridden")
    with pytest.raises(WeightsError, match=r"known: .*river-nano"):
        load("strided-351")


def test_a_loaded_graph_refuses_nan():
    joints = np.zeros((1, 27, 17, 2))
    joints[0, 3, 5] = np.nan
    with pytest.raises(InputError, match="expected finite numbers, 0 where a joint is missing"):
        load("strided-27").run(joints)
    points, facts, dt_s = np.zeros((1, 3, 28, 4)), np.zeros((1, 3, FACTS)), np.ones((1, 3))
    points[0, 1, 5] = np.nan
    with pytest.raises(InputError, match="points of river-small: expected finite numbers"):
        load("river").run(points, facts, dt_s)


def on_screen(run, rate_hz=30.0, flip=True) -> Lifter:
    """A lifter that takes places in the whole image, at a rate of its own."""
    made = Lifter(run, replace(info("strided-27"), input="screen", rate_hz=rate_hz))
    made.options = replace(made.options, flip=flip)
    return made


def test_the_whole_image_is_given_as_it_is_and_answered_in_camera_axes():
    seen, run = watched()
    poses = person(30)
    out = on_screen(run, flip=False)(poses)
    places = 2 * poses.to(H36M).xy_px / SIZE[0] - [1, SIZE[1] / SIZE[0]]
    assert seen[0][:, 13] == pytest.approx(places)
    xyz = depth_is_ten_times_x(places[:, None])
    assert out.xyz_m == pytest.approx(xyz - xyz[:, :1])
    assert out.history[-1] == "lifted by strided-27, camera guessed"


def test_the_whole_image_is_mirrored_about_its_middle():
    poses = person(30)
    twin = poses.xy_px[:, COCO.mirror].copy()
    twin[..., 0] = SIZE[0] - twin[..., 0]
    a = on_screen(depth_is_ten_times_x)(poses).xyz_m
    b = on_screen(depth_is_ten_times_x)(changed(poses, twin)).xyz_m[:, H36M.mirror] * [-1, 1, 1]
    assert a == pytest.approx(b, abs=1e-9)


def test_joints_missing_in_the_whole_image_are_its_middle_and_said():
    seen, run = watched()
    poses = person(40)
    xy = poses.xy_px.copy()
    xy[:, COCO.index("left_ankle")] = np.nan
    xy[3, COCO.index("left_wrist")] = np.nan  # bridged
    out = on_screen(run, flip=False)(changed(poses, xy))
    assert (seen[0][:, :, H36M.index("left_ankle")] == 0).all()
    assert (seen[0][:, :, H36M.index("left_wrist")] != 0).all()
    assert out.history[-1].startswith("40 of 680 joints not seen: strided-27 has no word")
    assert "not seen" not in lifter()(changed(poses, xy)).history[-1]  # ours is told by 0


@pytest.mark.parametrize("rate_hz", [25.0, 50.0, 100.0])
def test_the_rate_that_a_network_knows_decides_on_steps(rate_hz):
    """For a network of 50 frames per second: 25 are made 50, 100 are seen in steps of two."""
    windows, run = watched()
    poses = person(round(2 * rate_hz), rate_hz)
    xy = poses.xy_px.copy()
    xy[:, COCO.index("nose"), 0] = 100 * poses.time_s
    on_screen(run, rate_hz=50.0)(changed(poses, xy))
    nose_px = SIZE[0] / 2 * windows[0][len(windows[0]) // 2, :, H36M.index("nose"), 0]
    assert np.diff(nose_px) == pytest.approx(100 / 50, abs=1e-6)


def test_damaged_weights_are_refused():
    with pytest.raises(WeightsError, match="cannot be loaded"):
        Lifter.from_onnx(b"no graph", info(DEFAULT))


def test_table_has_every_field_that_is_promised():
    rows = table()
    assert len(rows) == len(LIFTERS)
    for row in rows:
        promised = {"name", "parameters", "macs_per_frame", "frames", "gives", "licence"}
        assert promised | {"original_licence", "shipped", "measured"} <= set(row)
        assert type(row["parameters"]) is type(row["macs_per_frame"]) is int
    assert any(row["shipped"] for row in rows)


@pytest.mark.parametrize("name", [name for name in LIFTERS if info(name).target])
def test_counts_of_the_table_are_exact(name):
    torch = pytest.importorskip("torch")
    from poselift.train.cost import macs_per_frame

    with torch.device("meta"):
        network = build(name)
    assert sum(p.numel() for p in network.parameters()) == info(name).parameters
    if info(name).gives != "stream":  # which needs no window
        assert network.frames == info(name).frames
    assert round(macs_per_frame(network, info(name))) == info(name).macs_per_frame


def test_a_lifter_that_is_fitted_has_no_network_but_numbers():
    pytest.importorskip("torch")
    with pytest.raises(InputError, match="ppca: expected a lifter with a network"):
        build("ppca")
    of_the_model = ("share", "mean", "basis", "noise", "size_m", "size_spread", "seen", "fade")
    file = files("poselift.models").joinpath("weights", "ppca.npz")
    with file.open("rb") as stream, np.load(stream) as data:
        assert sum(data[name].size for name in of_the_model) == info("ppca").parameters


def test_shipped_weights_are_small_and_carry_their_record():
    pytest.importorskip("onnxruntime")
    for row in table():
        if row["shipped"]:
            card = row["weights"]
            assert load(row["name"])(person(30)).seen.all()
            assert {"data", "command", "sha256", "licence", "trained_steps"} <= set(card)
            for track in ("clean", "real", "rendered", "cross-corpus"):
                errors = card["measured"][track]
                # Clearly better than the mean pose, 254 to 303 mm.
                assert 20 < errors["p_mpjpe_mm"] < errors["mpjpe_mm"] < 200
