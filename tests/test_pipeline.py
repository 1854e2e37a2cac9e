"""The flow from sources to 3D, mostly with keypoints so that it is fast."""

import dataclasses
import json
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

import poselift
from poselift import pipeline
from poselift.errors import InputError, UnknownNameError
from poselift.io.video import VideoWriter
from poselift.pipeline import Options, lift
from poselift.poses import Poses2D, Poses3D
from poselift.skeleton import convert, skeleton

SAMPLE = Path(__file__).parent.parent / "examples" / "sample"
COCO, BODY25 = skeleton("coco17"), skeleton("body25")
LIMBS = [("left_hip", "left_knee"), ("right_hip", "right_knee"), ("left_elbow", "left_wrist")]


@pytest.fixture(scope="module", autouse=True)
def loaded_once():
    """The lifter's session is made once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "load", cache(pipeline.load))
        yield


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray]:
    with np.load(SAMPLE / "sample_truth.npz", allow_pickle=False) as arrays:
        return {name: arrays[name] for name in ("coco17_xy_px", "joints_xyz_m", "time_s")}


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    with av.open(str(SAMPLE / "sample.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return frames[:10]


@pytest.fixture
def person(truth) -> Poses2D:
    return flat(truth["coco17_xy_px"][:20], truth["time_s"][:20])


def flat(xy_px, time_s, number=0) -> Poses2D:
    confidence = np.isfinite(xy_px).all(-1).astype(float)
    return Poses2D(xy_px, confidence, time_s, (640, 480), COCO, person=number)


@pytest.fixture
def crossing(truth) -> list[np.ndarray]:
    """Two people (40, 17, 2) in an image of 1280 x 720 who walk through each other's place."""
    xy = truth["coco17_xy_px"] - truth["coco17_xy_px"].mean((0, 1))
    way = np.linspace(-300, 300, 40)[:, None, None] * np.array([1.0, 0.0])
    places = np.array([[640.0, 330.0], [640.0, 390.0]])
    return [xy[:40] + places[0] + way, 0.8 * xy[60:100] + places[1] - way]


def coco_results(path: Path, people: list[np.ndarray], **extra: list) -> Path:
    """A COCO results file; in each frame the people come in another order."""
    entries = []
    for frame in range(len(people[0])):
        for number in np.random.default_rng(frame).permutation(len(people)):
            points = people[number][frame]
            seen = np.isfinite(points).all(-1)
            rows = np.where(seen[:, None], np.c_[np.nan_to_num(points), 0.9 * seen], 0.0)
            more = {key: values[number] for key, values in extra.items()}
            entry = {"image_id": frame, "category_id": 1, "score": 0.9, **more}
            entries.append({**entry, "keypoints": rows.ravel().tolist()})
    path.write_text(json.dumps(entries))
    return path


def openpose_folder(folder: Path, people: list[np.ndarray]) -> Path:
    folder.mkdir()
    for frame in range(len(people[0])):
        rows = []
        for number in np.random.default_rng(frame).permutation(len(people)):
            points = convert(people[number][frame], COCO, BODY25)
            seen = np.isfinite(points).all(-1)
            rows.append(np.where(seen[:, None], np.c_[points, 0.9 * seen], 0.0).ravel().tolist())
        document = {"people": [{"person_id": [-1], "pose_keypoints_2d": row} for row in rows]}
        (folder / f"clip_{frame:012d}_keypoints.json").write_text(json.dumps(document))
    return folder


def still_they_are_who_they_are(people: list[Poses3D], crossing: list[np.ndarray]) -> None:
    assert len(people) == 2
    whose = set()
    for poses in people:
        assert poses.seen.all()
        found = poses.observed.to(COCO).xy_px
        off = [np.nanmax(np.abs(found - xy)) for xy in crossing]
        assert min(off) < 1e-2
        whose.add(int(np.argmin(off)))
    assert whose == {0, 1}


def test_two_people_who_cross_stay_two_in_coco_results(tmp_path, crossing):
    path = coco_results(tmp_path / "people.json", crossing)
    people = lift(path, fps=30, size_px=(1280, 720))
    still_they_are_who_they_are(people, crossing)
    roots = [poses.xyz_m[:, 0, 0] for poses in people]  # to the right of the camera
    moved = [root[-1] - root[0] for root in roots]
    assert moved[0] * moved[1] < 0
    assert min(np.abs(moved)) > 1.0


def test_two_people_who_cross_stay_two_in_an_openpose_folder(tmp_path, crossing):
    people = lift(openpose_folder(tmp_path / "op", crossing), fps=30, size_px=(1280, 720))
    still_they_are_who_they_are(people, crossing)
    assert any("body25b" in step for step in people[0].history)


def test_a_file_with_identities_is_believed(tmp_path, crossing):
    path = coco_results(tmp_path / "people.json", crossing, track_id=[7, 3])
    still_they_are_who_they_are(lift(path, fps=30, size_px=(1280, 720)), crossing)


# ------------------------------------------------------------------------------ video and images
def test_a_video_of_uneven_times_keeps_them(tmp_path, images):
    time_s = np.array([0.0, 0.02, 0.09, 0.1, 0.15, 0.25, 0.26, 0.4])
    path = tmp_path / "uneven.mp4"
    with VideoWriter(path, (640, 480), 30.0) as video:
        for image, t in zip(images, time_s, strict=False):
            video.write(image, t)
    (poses,) = lift(path)
    np.testing.assert_allclose(poses.time_s, time_s, atol=1e-4)
    assert poses.seen.all()


def test_a_folder_of_images(tmp_path, images):
    for number in range(4):  # natural order: 2 before 10
        cv2.imwrite(str(tmp_path / f"f{(2, 3, 10, 11)[number]}.png"), images[number][..., ::-1])
    (poses,) = lift(tmp_path, fps=20)
    np.testing.assert_allclose(poses.time_s, np.arange(4) / 20)
    assert poses.observed.size_px == (640, 480)
    cv2.imwrite(str(tmp_path / "f12.png"), images[0][:100])
    with pytest.raises(InputError, match=r"f12\.png has another size .* 640 x 480"):
        lift(tmp_path)


def test_a_single_image(tmp_path, images):
    path = tmp_path / "one.png"
    cv2.imwrite(str(path), images[3][..., ::-1])
    (poses,) = lift(str(path))
    assert poses.xyz_m.shape == (1, 28, 3)
    assert poses.seen.all()
    assert 1.0 < np.ptp(poses.xyz_m[0, :, 2]) < 2.2


def test_options_of_keypoint_files_are_told_to_be_unused_by_images(tmp_path, images):
    path = tmp_path / "one.png"
    cv2.imwrite(str(path), images[3][..., ::-1])
    (poses,) = lift(path, detector="movenet", layout="body25", size_px=(10, 10))
    assert {"size_px was not used: it is for keypoint files"} < set(poses.history)
    assert poses.observed.skeleton == COCO
    assert poses.observed.size_px == (640, 480)


def test_detector_options_reach_the_detector(tmp_path, images):
    path = tmp_path / "one.png"
    cv2.imwrite(str(path), images[3][..., ::-1])
    with pytest.raises(InputError, match="mode of the hybrid detector"):
        lift(path, detector_options={"mode": "slow"})
    with pytest.raises(InputError, match="expected at least one person, found nobody"):
        lift(path, detector="movenet", detector_options={"min_score": 1.0})


def test_nobody_is_an_error_that_says_so(tmp_path):
    path = tmp_path / "grey.png"
    cv2.imwrite(str(path), np.full((120, 160, 3), 90, np.uint8))
    with pytest.raises(InputError, match=r"grey\.png: expected at least one person, found nobody"):
        lift(path)


# --------------------------------------------------------------------------------------- options
def test_every_option_is_tested_below():
    names = {option.name for option in dataclasses.fields(Options)}
    images_only = {"detector", "detector_options"}
    assert names == images_only | set(CHANGES) | {
        "lifter",
        "layout",
        "fps",
        "size_px",
        "min_seen_s",
        "height_m",
    }


CHANGES = {
    "start_s": 0.3,
    "end_s": 0.3,
    "max_people": 1,
    "view_deg": 20.0,
    "pitch_deg": 20.0,
    "smooth_hz": None,
    "constant_bones": False,
    "space": "camera",
    "flip": False,
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_option_changes_the_result(name, person):
    people = [person, person] if name == "max_people" else [person]
    plain, changed = lift(people), lift(people, **{name: CHANGES[name]})
    same = len(plain) == len(changed) and plain[0].xyz_m.shape == changed[0].xyz_m.shape
    assert not (same and np.allclose(plain[0].xyz_m, changed[0].xyz_m, atol=1e-5))


def test_river_goes_the_whole_way_and_can_be_told(tmp_path, tiny_river_path, person):
    """All 28 joints, their uncertainty included, in every file that can hold them."""
    model = str(tiny_river_path)
    (poses,) = lift(person, lifter=model)
    assert poses.skeleton == skeleton("body28")
    assert poses.seen.all()
    assert (poses.uncertainty_m[:, 1:] > 0).all()
    assert (poses.axes, poses.origin) == ("world", "world")
    for kind in ("npz", "json", "csv", "bvh"):
        assert poselift.io.write(tmp_path / f"motion.{kind}", [poses])
    (again,) = poselift.io.read(tmp_path / "motion.npz")
    np.testing.assert_array_equal(again.uncertainty_m, poses.uncertainty_m)
    np.testing.assert_array_equal(again.scale_m, poses.scale_m)
    assert "left_heel_sd_m" in (tmp_path / "motion.csv").read_text()
    for changed in ({"height_m": 1.2}, {"pitch_deg": 20.0}, {"flip": False}):
        (other,) = lift(person, lifter=model, space="root", **changed)
        (plain,) = lift(person, lifter=model, space="root")
        assert np.abs(other.xyz_m - plain.xyz_m).max() > 1e-4
    (tall,) = lift(person, lifter=model, height_m=1.2)
    assert "body height 1.20 m, as told" in tall.history


def test_an_unknown_lifter_is_named_before_any_work():
    with pytest.raises(UnknownNameError, match=r"unknown lifter: found 'x' \(known: .*strided-27"):
        lift("missing.mp4", lifter="x")


def test_span(person):
    (cut,) = lift(person, start_s=0.2, end_s=0.5)
    assert cut.time_s[0] == pytest.approx(0.2)
    assert cut.time_s[-1] == pytest.approx(0.5)
    with pytest.raises(InputError, match=r"no frame in 9 s to the end: found frames up to 0.63"):
        lift(person, start_s=9)
    early = dataclasses.replace(person, time_s=person.time_s - 50)
    assert len(lift(early)[0].time_s) == 20  # no start asked for: from the first frame on


def test_fps_and_size_of_a_keypoint_file(tmp_path, truth):
    path = coco_results(tmp_path / "one.json", [truth["coco17_xy_px"][:20]])
    (poses,) = lift(path, fps=50, size_px=(800, 600))
    np.testing.assert_allclose(poses.time_s, np.arange(20) / 50)
    assert poses.camera.size_px == (800, 600)
    (guess,) = lift(path)
    assert guess.rate_hz == pytest.approx(30)
    assert any("30 frames per second assumed" in step for step in guess.history)
    assert any("640 x 480 px assumed" in step for step in guess.history)
    (cut,) = lift(path, fps=10, start_s=0.5, end_s=1.0)
    np.testing.assert_allclose(cut.time_s, np.arange(5, 11) / 10)


def test_layout_of_a_keypoint_file(tmp_path, crossing):
    folder = openpose_folder(tmp_path / "op", crossing)
    assert lift(folder)[0].observed.skeleton.name == "body25"
    assert lift(folder, layout="body25b")[0].observed.skeleton.name == "body25b"
    with pytest.raises(InputError, match="expected 17 joints, found 25"):
        lift(folder, layout="coco17")


def test_people_seen_for_a_moment_are_left_out(tmp_path, crossing):
    second = crossing[1].copy()
    second[6:] = np.nan  # 0.2 s
    path = coco_results(tmp_path / "people.json", [crossing[0], second])
    assert len(lift(path, fps=30)) == 1
    people = lift(path, fps=30, min_seen_s=0.1)
    assert [int(poses.seen.sum()) for poses in people] == [40, 6]
    once = crossing[0].copy()
    once[1:] = np.nan
    with pytest.raises(InputError, match="only people seen in one frame"):
        lift(coco_results(tmp_path / "once.json", [once]))


def test_most_people_keeps_those_seen_longest(truth):
    xy, time_s = truth["coco17_xy_px"][:30], truth["time_s"][:30]
    seen = []
    for number, frames in enumerate((10, 30, 20)):
        part = xy.copy()
        part[frames:] = np.nan
        seen.append(flat(part, time_s, number))
    assert [poses.person for poses in lift(seen, max_people=2)] == [1, 2]
    assert [poses.person for poses in lift(seen, max_people=1)] == [1]
    assert [poses.person for poses in lift(seen, max_people=3)] == [0, 1, 2]


def test_field_of_view_and_pitch_set_the_camera(person):
    (poses,) = lift(person, view_deg=60.0, pitch_deg=30.0)
    assert poses.camera.known
    assert poses.camera.K[0, 0] == pytest.approx(320 / np.tan(np.deg2rad(30)))
    down = poses.camera.R_world_to_camera[2, 2]  # how far the view goes up
    assert down == pytest.approx(-np.sin(np.deg2rad(30)))
    assert not lift(person)[0].camera.known


def test_smoothing_takes_away_jitter(truth):
    rng = np.random.default_rng(0)
    xy = truth["coco17_xy_px"][:60] + rng.normal(0, 3, (60, 17, 2))
    shaking = flat(xy, truth["time_s"][:60])

    def jitter(poses):
        return np.abs(np.diff(poses.xyz_m, 2, axis=0)).mean()

    assert jitter(lift(shaking)[0]) < 0.7 * jitter(lift(shaking, smooth_hz=None)[0])


def test_bones_are_constant_unless_they_need_not_be(person):
    def spread(poses):
        at = {name: poses.xyz_m[:, poses.skeleton.index(name)] for name in poses.skeleton.joints}
        return max(np.linalg.norm(at[a] - at[b], axis=-1).std() for a, b in LIMBS)

    assert spread(lift(person)[0]) < 1e-9
    assert spread(lift(person, constant_bones=False)[0]) > 1e-4


def test_spaces(person):
    frames = {space: lift(person, space=space)[0] for space in ("world", "camera", "root")}
    assert [(p.axes, p.origin) for p in frames.values()] == [
        ("world", "world"),
        ("camera", "camera"),
        ("camera", "root"),
    ]
    world, camera = frames["world"], frames["camera"]
    np.testing.assert_allclose(world.camera.world_to_camera(world.xyz_m), camera.xyz_m, atol=1e-9)
    np.testing.assert_allclose(frames["root"].xyz_m[:, 0], 0.0, atol=1e-12)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("fps", 0),
        ("fps", np.nan),
        ("fps", "30"),
        ("size_px", (0, 0)),
        ("size_px", (10**6, 10**6)),
        ("size_px", (640.5, 480)),
        ("size_px", (640, 480, 3)),
        ("start_s", -1),
        ("start_s", np.nan),
        ("end_s", -0.5),
        ("max_people", -1),
        ("max_people", 0),
        ("max_people", 1.5),
        ("min_seen_s", -1),
        ("min_seen_s", np.inf),
        ("view_deg", 0),
        ("view_deg", 180),
        ("pitch_deg", np.nan),
        ("pitch_deg", 91),
        ("height_m", 175),
        ("smooth_hz", 0),
        ("smooth_hz", np.inf),
        ("space", "moon"),
        ("detector", "nobody"),
        ("layout", "octopus"),
        ("flips", True),
    ],
)
def test_options_that_cannot_be_meant_are_refused_at_once(option, value):
    with pytest.raises(InputError, match=r"expected|known"):
        lift("missing.mp4", **{option: value})


def test_a_lifter_that_cannot_be_told_the_height_refuses_it():
    with pytest.raises(InputError, match="expected a lifter that can be told, found strided-27"):
        lift("missing.mp4", lifter="strided-27", height_m=1.75)


# ------------------------------------------------------------------------------------ given people
def test_given_people_must_be_people_on_one_time_axis(person):
    for wrong in ([], None, 5, [1], ["a.mp4"], Poses3D(np.zeros((1, 17, 3)), [0], COCO)):
        with pytest.raises(InputError, match="source to lift: expected"):
            lift(wrong)
    later = dataclasses.replace(person, time_s=person.time_s + 1)
    with pytest.raises(InputError, match="one time axis"):
        lift([person, later])


def test_given_people_of_one_number_get_numbers(tmp_path, person):
    people = lift([person, person])
    assert [poses.person for poses in people] == [0, 1]
    poselift.write(tmp_path / "both.npz", people)


def test_who_cannot_be_lifted_is_left_out_with_a_note(person):
    few = person.xy_px.copy()
    few[:, 4:] = np.nan
    (poses,) = lift([person, flat(few, person.time_s, 1)])
    assert poses.person == 0
    notes = [step for step in poses.history if step.startswith("left out: person 1")]
    assert len(notes) == 1
    assert "6 joints" in notes[0]
    with pytest.raises(InputError, match="at least 6 joints"):
        lift(flat(few, person.time_s))


def test_a_person_in_one_frame_of_a_clip(person):
    xy = np.full_like(person.xy_px, np.nan)
    xy[7] = person.xy_px[7]
    (poses,) = lift(flat(xy, person.time_s))
    assert np.flatnonzero(poses.seen).tolist() == [7]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"xy_px": 1e200}, "pixels within 1e"),
        ({"time_s": 1e-9}, "frames per second"),
        ({"time_s": 1e9}, "at most 86400 s"),
        ({"xy_px": 0.0}, "in front of the camera"),
    ],
)
def test_nonsense_that_would_fail_later_is_refused(person, change, message):
    changes = {name: getattr(person, name) * factor for name, factor in change.items()}
    with pytest.raises(InputError, match=message):
        lift(dataclasses.replace(person, **changes))


def test_wild_numbers_in_a_file_are_refused(tmp_path, truth):
    xy = truth["coco17_xy_px"][:10].copy()
    xy[3, 3, 0] = 1e300
    with pytest.raises(InputError, match="pixels within 1e"):
        lift(coco_results(tmp_path / "far.json", [xy]), size_px=(640, 480))


# ---------------------------------------------------------------------------------------- progress
def test_progress_rises_to_the_whole(tmp_path, images, crossing):
    seen: list[tuple[str, int, int | None]] = []
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), images[number][..., ::-1])
    lift(tmp_path, progress=lambda *report: seen.append(report))
    check_progress(seen, ["finding people", "lifting"], 3)
    seen.clear()
    few = crossing[1].copy()
    few[:, 4:] = np.nan
    time_s = np.arange(40) / 30
    people = [flat(crossing[0], time_s), flat(few, time_s, 1), flat(crossing[1], time_s, 2)]
    lift(people, progress=lambda *report: seen.append(report))
    check_progress(seen, ["lifting"], 120)


def check_progress(seen, steps, whole):
    assert list(dict.fromkeys(step for step, _, _ in seen)) == steps
    for step in steps:
        done = [n for name, n, _ in seen if name == step]
        assert done == sorted(done)
        assert done[0] > 0
        assert max(done) == whole
        finished = [(n, w) for name, n, w in seen if name == step and n == w]
        assert finished
        assert set(finished) == {(whole, whole)}


def test_progress_of_a_video_ends_once_though_its_count_is_an_estimate():
    seen: list[tuple[int, int | None]] = []
    lift(
        SAMPLE / "sample.mp4",
        end_s=0.1,
        detector="movenet",
        progress=lambda step, *report: seen.append(report) if step == "finding people" else None,
    )
    assert [n for n, _ in seen] == [1, 2, 3, 4, 4]
    assert [n == w for n, w in seen] == [False] * 4 + [True]
