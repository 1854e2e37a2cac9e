"""Poses2D and Poses3D keep their promises: locked, finite or NaN, rising in time."""

import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from poselift.camera import Camera
from poselift.errors import InputError, ShapeError
from poselift.poses import Poses2D, Poses3D
from poselift.skeleton import Skeleton, skeleton

COCO, H36M = skeleton("coco17"), skeleton("h36m17")
SIZE = (640, 480)


def flat(frames: int = 3, **changes: object) -> Poses2D:
    rng = np.random.default_rng(0)
    values: dict[str, object] = {
        "xy_px": rng.uniform(0, 400, (frames, 17, 2)),
        "confidence": rng.uniform(0.1, 1, (frames, 17)),
        "time_s": np.arange(frames) / 30,
        "size_px": SIZE,
        "skeleton": COCO,
    }
    return Poses2D(**(values | changes))  # ty: ignore


def solid(frames: int = 3, **changes: object) -> Poses3D:
    values: dict[str, object] = {
        "xyz_m": np.random.default_rng(0).normal(size=(frames, 17, 3)),
        "time_s": np.arange(frames) / 30,
        "skeleton": H36M,
    }
    return Poses3D(**(values | changes))  # ty: ignore


@pytest.mark.parametrize("make", [flat, solid])
def test_arrays_are_locked_copies(make):
    names = ("xy_px", "confidence", "time_s") if make is flat else ("xyz_m", "time_s")
    given = {name: np.array(getattr(make(), name)) for name in names}
    poses = make(**given)
    for name, array in given.items():
        before = array.copy()
        array[0] += 1e-3
        np.testing.assert_array_equal(getattr(poses, name), before)
        with pytest.raises(ValueError, match="read-only"):
            getattr(poses, name)[0] = 0
        assert getattr(poses, name).dtype == np.float64
        assert array.flags.writeable


def test_uncertainty_is_locked_and_copied():
    sigma = np.ones((3, 17))
    poses = solid(uncertainty_m=sigma)
    sigma[0] = 5
    assert (poses.uncertainty_m == 1).all()
    with pytest.raises(ValueError, match="read-only"):
        poses.uncertainty_m[0] = 0


@pytest.mark.parametrize("make", [flat, solid])
def test_fields_are_frozen(make):
    with pytest.raises(FrozenInstanceError):
        make().person = 3


@pytest.mark.parametrize("make", [flat, solid])
def test_lists_and_single_precision_are_taken(make):
    name = "xy_px" if make is flat else "xyz_m"
    poses = make()
    again = replace(poses, **{name: getattr(poses, name).tolist(), "time_s": [0, 1, 2]})
    np.testing.assert_array_equal(getattr(again, name), getattr(poses, name))
    single = replace(poses, **{name: getattr(poses, name).astype(np.float32)})
    assert getattr(single, name).dtype == np.float64


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (
            flat,
            {"xy_px": np.zeros((3, 16, 2))},
            r"Poses2D.xy_px of skeleton coco17: expected \(3, 17, 2\), found \(3, 16, 2\)",
        ),
        (flat, {"xy_px": np.zeros((2, 17, 2))}, r"expected \(3, 17, 2\), found \(2, 17, 2\)"),
        (flat, {"xy_px": np.zeros((3, 17, 3))}, r"expected \(3, 17, 2\), found \(3, 17, 3\)"),
        (flat, {"confidence": np.zeros((3, 17, 1))}, r"Poses2D.confidence .*found \(3, 17, 1\)"),
        (flat, {"time_s": np.zeros((3, 1))}, r"Poses2D.time_s .*expected \(3,\), found \(3, 1\)"),
        (flat, {"skeleton": skeleton("body25")}, r"body25: expected \(3, 25, 2\), found \(3, 17"),
        (
            solid,
            {"xyz_m": np.zeros((3, 17, 2))},
            r"Poses3D.xyz_m of skeleton h36m17: expected \(3, 17, 3\), found \(3, 17, 2\)",
        ),
        (
            solid,
            {"uncertainty_m": np.zeros((3, 17, 3))},
            r"Poses3D.uncertainty_m .*expected \(3, 17\), found \(3, 17, 3\)",
        ),
        (solid, {"observed": flat(4)}, "observed 2D: expected 3 frames, found 4"),
    ],
)
def test_wrong_shapes_name_expected_and_found(make, changes, message):
    with pytest.raises(ShapeError, match=message):
        make(**changes)


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
def test_infinity_is_refused(bad):
    xy, xyz = flat().xy_px.copy(), solid().xyz_m.copy()
    xy[1, 2, 0] = xyz[1, 2, 0] = bad
    with pytest.raises(InputError, match="2D joints: expected finite pixels or NaN"):
        flat(xy_px=xy)
    with pytest.raises(InputError, match="3D joints: expected finite metres or NaN"):
        solid(xyz_m=xyz)


def test_nan_means_not_seen():
    xy, xyz = flat().xy_px.copy(), solid().xyz_m.copy()
    xy[1, 2, 0] = xyz[1, 2, 0] = np.nan
    poses = flat(xy_px=xy)
    assert np.argwhere(~poses.seen).tolist() == [[1, 2]]
    assert solid(xyz_m=xyz).seen.tolist() == [True, False, True]


@pytest.mark.parametrize("make", [flat, solid])
@pytest.mark.parametrize(
    ("time_s", "found"),
    [
        ([0, 0.1, 0.1], "0.1 s at frame 2 after 0.1 s"),
        ([0, 0.2, 0.1], "0.1 s at frame 2 after 0.2 s"),
        ([0.5, 0, 1], "0 s at frame 1 after 0.5 s"),
        ([np.nan, 0, 1], "nan s at frame 0$"),
        ([0, np.nan, 1], "nan s at frame 1 after 0 s"),
        ([0, 1, np.inf], "inf s at frame 2 after 1 s"),
        ([-np.inf, 0, 1], "-inf s at frame 0$"),
        ([0, np.inf, np.inf], "inf s at frame 1 after 0 s"),
    ],
)
def test_time_must_rise_and_the_message_names_the_frame(make, time_s, found):
    with pytest.raises(InputError, match=f"each later than the last, found {found}"):
        make(time_s=np.array(time_s))


@pytest.mark.parametrize("make", [flat, solid])
def test_time_may_start_anywhere_and_step_unevenly(make):
    assert make(time_s=[-3, -2.9, 7]).time_s.tolist() == [-3, -2.9, 7]


@pytest.mark.parametrize("make", [flat, solid])
def test_rate(make):
    assert make(31).rate_hz == pytest.approx(30)
    assert make(4, time_s=[0, 0.02, 0.04, 5]).rate_hz == pytest.approx(50)
    assert make(1).rate_hz == 0


@pytest.mark.parametrize("make", [flat, solid])
def test_a_clip_of_no_frames_is_a_clip(make):
    poses = make(0)
    assert len(poses.time_s) == 0
    assert poses.rate_hz == 0
    assert poses.seen.size == 0


@pytest.mark.parametrize("size", [(0, 480), (640, 0), (-640, 480)])
def test_an_image_has_a_size(size):
    with pytest.raises(InputError, match="image size: expected width and height > 0"):
        flat(size_px=size)


@pytest.mark.parametrize("bad", [-0.1, 1.2, np.nan, np.inf])
def test_confidence_is_from_0_to_1(bad):
    confidence = flat().confidence.copy()
    confidence[1, 4] = bad
    with pytest.raises(InputError, match=rf"confidence: expected 0 to 1, found {bad}"):
        flat(confidence=confidence)
    flat(confidence=np.round(confidence > 0.5))


def test_another_skeleton_carries_place_and_confidence():
    xy = flat().xy_px.copy()
    xy[1, 11] = np.nan  # the left hip of one frame
    poses = flat(xy_px=xy, person=4, camera=Camera.guess(SIZE), history=("read",))
    other = poses.to(H36M)
    assert other.skeleton is H36M
    np.testing.assert_allclose(other.xy_px[0, 0], poses.xy_px[0, [11, 12]].mean(0))
    np.testing.assert_array_equal(other.confidence[0, 0], poses.confidence[0, [11, 12]].min())
    np.testing.assert_array_equal(other.xy_px[:, 9], poses.xy_px[:, 0])

    lost = [H36M.index(joint) for joint in ("pelvis", "left_hip", "spine")]
    assert np.flatnonzero(~other.seen[1]).tolist() == sorted(lost)
    assert (other.confidence[1, lost] == 0).all()
    assert (other.confidence[other.seen] > 0).all()

    assert other.history == ("read", "joints: coco17 to h36m17")
    assert (other.person, other.size_px, other.camera) == (4, SIZE, poses.camera)
    np.testing.assert_array_equal(other.time_s, poses.time_s)


def test_the_same_skeleton_is_no_step():
    poses, body = flat(), solid()
    assert poses.to(COCO) is poses
    assert body.to(H36M) is body


def test_a_skeleton_of_the_same_name_in_another_order_is_another():
    order = dict(reversed(COCO.parent_of.items()))
    poses = flat().to(Skeleton("coco17", order))
    np.testing.assert_array_equal(poses.xy_px, flat().xy_px[:, ::-1])


def test_what_a_skeleton_lacks_is_nan_with_confidence_0():
    halpe = skeleton("halpe26")
    poses = flat().to(halpe)
    assert np.isnan(poses.xy_px[:, 20:]).all()
    assert (poses.confidence[:, 20:] == 0).all()
    assert poses.seen[:, :20].all()


def test_bodies_on_another_skeleton():
    sd = np.arange(1.0, 52.0).reshape(3, 17)
    poses = solid(uncertainty_m=sd, axes="world", origin="world", person=2)
    other = poses.to(skeleton("h36m16"))
    np.testing.assert_array_equal(other.xyz_m, np.delete(poses.xyz_m, 9, axis=1))
    np.testing.assert_array_equal(other.uncertainty_m, np.delete(sd, 9, axis=1))
    assert (other.axes, other.origin, other.person) == ("world", "world", 2)
    assert other.history == ("joints: h36m17 to h36m16",)


def test_nothing_is_claimed_about_joints_that_are_made_up():
    names = ("left_hip", "right_hip", "left_knee")
    legs = Skeleton("legs", dict.fromkeys(names, ""))
    poses = Poses3D(np.ones((2, 3, 3)), [0, 1], legs, uncertainty_m=np.full((2, 3), 0.1))
    body = poses.to(skeleton("h36m17"))
    claimed = {body.skeleton.joints[row] for row in np.flatnonzero(body.uncertainty_m[0] == 0.1)}
    assert np.isfinite(body.xyz_m[:, body.skeleton.index("pelvis")]).all()
    assert claimed == set(names)


@pytest.mark.parametrize("make", [flat, solid])
def test_steps_are_remembered_oldest_first(make):
    first = make(history=("read",))
    second = first.then("moved", person=7).then("turned")
    assert second.history == ("read", "moved", "turned")
    assert first.history == ("read",)
    assert (first.person, second.person) == (0, 7)


@pytest.mark.parametrize("make", [flat, solid])
def test_a_step_is_checked_as_the_first_making_was(make):
    with pytest.raises(InputError, match="each later than the last"):
        make().then("stopped", time_s=np.zeros(3))
    with pytest.raises(TypeError):
        make().then("misspelt", xyz=np.zeros(3))


def test_people_can_be_sent_to_another_process():
    poses = solid(observed=flat(camera=Camera.guess(SIZE)))
    again = pickle.loads(pickle.dumps(poses))
    np.testing.assert_array_equal(again.xyz_m, poses.xyz_m)
    np.testing.assert_array_equal(again.observed.xy_px, poses.observed.xy_px)
    assert again.skeleton == poses.skeleton
