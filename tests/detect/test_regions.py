"""Regions stand people upright."""

import numpy as np
import pytest

from poselift.detect.regions import Region, region_of, upright_region
from poselift.poses import Detection
from poselift.skeleton import skeleton

COCO = skeleton("coco17")


def standing(head: tuple[float, float] = (200.0, 100.0)) -> Detection:
    """Hips at (200, 300); the head in the given place; feet opposite."""
    hip, head_px = np.array([200.0, 300.0]), np.array(head)
    up = head_px - hip
    along = {"nose": 1, "eye": 1, "ear": 1, "shoulder": 0.6, "elbow": 0.4, "wrist": 0.1}
    along |= {"hip": 0, "knee": -0.5, "ankle": -1}
    xy = np.array([hip + up * along[joint.split("_")[-1]] for joint in COCO.joints])
    return Detection(xy, np.full(17, 0.5), 0.4)


def test_units_map_to_the_image():
    region = Region((100, 50), 40)
    np.testing.assert_allclose(region.to_image(np.array([0.5, 0.5])), [100, 50])
    np.testing.assert_allclose(region.to_image(np.array([[1, 1], [0, 0.5]])), [[120, 70], [80, 50]])


def test_a_turned_region_turns_its_points_and_leaves_depth():
    region = Region((0, 0), 2, np.pi / 2)  # its x axis points down in the image
    np.testing.assert_allclose(region.to_image(np.array([1.0, 0.5])), [0, 1], atol=1e-12)
    np.testing.assert_allclose(region.turn(np.array([1.0, 0, 7])), [0, 1, 7], atol=1e-12)


@pytest.mark.parametrize(
    ("head", "angle_deg"),
    [((200, 100), 0), ((400, 300), 90), ((200, 500), 180), ((0, 300), -90)],
    ids=["upright", "to the right", "upside down", "to the left"],
)
def test_the_head_is_up_in_every_region(head, angle_deg):
    for region in (
        region_of(standing(head), COCO),
        upright_region(np.array([200, 300]), np.array(head), 200),
    ):
        assert region is not None
        turn = (np.rad2deg(region.angle_rad) - angle_deg + 180) % 360 - 180
        assert turn == pytest.approx(0, abs=1e-9)
        np.testing.assert_allclose(region.centre_px, [200, 300])
        up = region.to_image(np.array([0.5, 0.1])) - region.centre_px
        assert np.dot(up, np.array(head) - [200, 300]) > 0


def test_everybody_fits_into_their_region():
    region = region_of(standing(), COCO)
    assert region is not None
    assert region.side_px == pytest.approx(2.5 * 1.08 * 200)


def test_without_hips_the_region_is_a_square_around_the_rest():
    person = standing()
    person.confidence[[11, 12, 13, 14, 15, 16]] = 0
    region = region_of(person, COCO)
    assert region is not None
    seen = person.xy_px[:11]
    np.testing.assert_allclose(region.centre_px, (seen.min(axis=0) + seen.max(axis=0)) / 2)
    assert region.angle_rad == 0


def test_too_few_joints_give_no_region():
    person = standing()
    person.xy_px[3:] = np.nan
    assert region_of(person, COCO) is None


def test_people_seen_edge_on_or_in_one_point_do_not_crash():
    person = Detection(np.full((17, 2), 50.0), np.ones(17), 1.0)
    region = region_of(person, COCO)
    assert region is not None
    assert not region.usable(640, 480)


@pytest.mark.parametrize(
    "region",
    [
        Region((np.nan, 10), 100),
        Region((100, 100), np.inf),
        Region((100, 100), 5),
        Region((100, 100), 10_000),
        Region((-900, 100), 100),
        Region((100, 900), 100),
        Region((100, 100), 100, np.nan),
    ],
    ids=["nan", "infinite", "tiny", "huge", "left of it", "below it", "angle"],
)
def test_unusable_regions(region):
    assert not region.usable(640, 480)


def test_usable_regions():
    assert Region((100, 100), 100).usable(640, 480)
    assert Region((-20, 100), 100).usable(640, 480)
    assert Region((320, 240), 2400).usable(640, 480)
