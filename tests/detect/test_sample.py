"""The real networks on the rendered sample, against its exact 2D truth."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from poselift.detect.blazepose import BlazePose
from poselift.detect.hybrid import Hybrid
from poselift.detect.movenet import MoveNet
from poselift.detect.regions import region_of
from poselift.poses import Detection
from poselift.skeleton import Skeleton, convert, skeleton
from poselift.track import track

SAMPLE = Path(__file__).parents[2] / "examples" / "sample"
COCO = skeleton("coco17")
STEP = 11  # frames


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray]:
    with np.load(SAMPLE / "sample_truth.npz", allow_pickle=False) as arrays:
        return {name: arrays[name] for name in ("coco17_xy_px", "time_s", "size_px")}


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    with av.open(str(SAMPLE / "sample.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return frames


@pytest.fixture(scope="module")
def found(images) -> list[list[Detection]]:
    detector = Hybrid()
    return [detector(image) for image in images[::STEP]]


@pytest.fixture(scope="module")
def upright(truth) -> int:
    """The frame in which the person stands tallest."""
    return int(np.ptp(truth["coco17_xy_px"][..., 1], axis=1).argmax())


def error_of_box(xy_px: np.ndarray, truth_px: np.ndarray) -> np.ndarray:
    """Distances (..., 17) in heights of the true box."""
    height = np.ptp(truth_px[..., 1], axis=-1)
    return np.linalg.norm(xy_px - truth_px, axis=-1) / height[..., None]


def coco_of(detections: list[Detection], source: Skeleton) -> np.ndarray:
    return np.array([convert(detection.xy_px, source, COCO) for detection in detections])


def test_one_person_is_where_they_are(found, truth):
    assert [len(people) for people in found] == [1] * len(found)
    error = error_of_box(
        coco_of([people[0] for people in found], Hybrid.skeleton), truth["coco17_xy_px"][::STEP]
    )
    assert np.nanmean(error) < 0.035
    assert np.isfinite(error).mean() > 0.99


def test_left_is_left(found, truth):
    """Mirrored joints fit worse in every frame where the truth tells the sides well apart."""
    expected = truth["coco17_xy_px"][::STEP]
    seen = coco_of([people[0] for people in found], Hybrid.skeleton)
    limbs = [COCO.index(f"left_{joint}") for joint in ("shoulder", "hip", "knee", "ankle")]
    twins = [COCO.mirror[joint] for joint in limbs]
    apart = np.linalg.norm(expected[:, limbs] - expected[:, twins], axis=-1)
    clear = apart > 0.05 * np.ptp(expected[..., 1], axis=-1)[:, None]
    right_way = np.linalg.norm(seen[:, limbs] - expected[:, limbs], axis=-1)
    swapped = np.linalg.norm(seen[:, limbs] - expected[:, twins], axis=-1)
    assert clear.sum() > 20
    assert (right_way < swapped)[clear].mean() > 0.95


def test_the_track_is_one_person(found, truth):
    time_s = truth["time_s"][::STEP]
    width, height = (int(v) for v in truth["size_px"])
    (person,) = track(found, time_s, (width, height), Hybrid.skeleton)
    assert person.seen.any(axis=1).all()


def test_fast_mode_stays_with_the_person(images, truth):
    detector = Hybrid(mode="fast")
    people = [detector(image) for image in images[:10]]
    assert [len(frame) for frame in people] == [1] * 10
    xy_px = coco_of([frame[0] for frame in people], Hybrid.skeleton)
    assert np.nanmean(error_of_box(xy_px, truth["coco17_xy_px"][:10])) < 0.04


def test_the_person_is_kept_upside_down(images, truth, upright):
    """Turned step by step, as in a slow somersault; MoveNet alone errs several times as much."""
    image, expected = images[upright], truth["coco17_xy_px"][upright]
    centre = expected.mean(axis=0)
    side = 2 * max(image.shape)
    detector = Hybrid(mode="fast")
    for degrees in range(0, 181, 20):
        turn = cv2.getRotationMatrix2D(tuple(centre), degrees, 1)
        turn[:, 2] += side / 2 - centre
        turned = cv2.warpAffine(image, turn, (side, side), borderMode=cv2.BORDER_REPLICATE)
        (person,) = detector(turned)
    goal = expected @ turn[:, :2].T + turn[:, 2]
    error = error_of_box(convert(person.xy_px, Hybrid.skeleton, COCO), goal)
    assert error.mean() < 0.04
    alone = [error_of_box(person.xy_px, goal).mean() for person in MoveNet()(turned)]
    assert min(alone, default=1.0) > 2 * error.mean()


def test_colours_are_not_swapped(images, truth):
    """RGB fits better than BGR; on average, as the networks forgive much."""
    errors = {}
    for name, picked in (("rgb", slice(None)), ("bgr", slice(None, None, -1))):
        finder = MoveNet()
        scores = [
            max((p.score for p in finder(image[..., picked])), default=0) for image in images[::33]
        ]
        errors[name] = np.mean(scores)
    assert errors["rgb"] > errors["bgr"]


def test_blazepose_gives_metres_in_camera_axes(images, truth, upright):
    expected = truth["coco17_xy_px"][upright]
    region = region_of(Detection(expected, np.ones(17), 1.0), COCO)
    assert region is not None
    person = BlazePose().landmarks(images[upright], region)
    names = BlazePose.skeleton
    head, feet = names.index("nose"), [names.index("left_heel"), names.index("right_heel")]
    tall_m = person.xyz_m[feet, 1].mean() - person.xyz_m[head, 1]
    assert 1.1 < tall_m < 2.2  # y is down
    hips = person.xyz_m[[names.index("left_hip"), names.index("right_hip")]]
    np.testing.assert_allclose(hips.mean(axis=0), 0, atol=0.05)
