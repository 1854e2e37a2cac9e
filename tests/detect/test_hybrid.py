"""The hybrid's decisions, on scripted people instead of networks."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from poselift.detect import hybrid
from poselift.detect.blazepose import Landmarks
from poselift.detect.hybrid import Hybrid, distinct
from poselift.detect.regions import Region, upright_region
from poselift.errors import DetectorError, InputError, ShapeError
from poselift.poses import Detection
from poselift.skeleton import convert, skeleton

COCO, BLAZE = skeleton("coco17"), skeleton("mediapipe33")
IMAGE = np.zeros((1000, 2000, 3), np.uint8)
HEIGHTS = {"shoulder": -0.3, "elbow": -0.15, "wrist": 0.0, "hip": 0.0, "knee": 0.25, "ankle": 0.5}
HEIGHTS |= {"heel": 0.52, "foot_index": 0.52, "pinky": 0.02, "index": 0.02, "thumb": 0.02}


def body(x: float, y: float, size: float, angle: float) -> np.ndarray:
    """33 joints of a person `size` px tall, hips at (x, y), turned by `angle`."""
    points = np.zeros((33, 2))
    for j, joint in enumerate(BLAZE.joints):
        side = {"left": 0.1, "right": -0.1, "middle": 0.0}[BLAZE.side(joint)]
        points[j] = side, HEIGHTS.get(joint.partition("_")[2], -0.45)
    return Region((x, y), size, angle).to_image(points + 0.5)


@dataclass
class Person:
    x: float
    y: float = 500.0
    size: float = 300.0
    angle: float = 0.0
    presence: float = 0.95
    findable: bool = True  # for MoveNet
    hidden: bool = False  # for BlazePose

    def landmarks(self, region: Region) -> Landmarks:
        xy = body(self.x, self.y, self.size, self.angle)
        hip, top = Region((self.x, self.y), self.size, self.angle).to_image(
            np.array([[0.5, 0.5], [0.5, 0.0]])
        )
        following = upright_region(hip, top, float(np.linalg.norm(top - hip)))
        return Landmarks(xy, np.full(33, 0.9), np.zeros((33, 3)), self.presence, following, region)


@dataclass
class Scene:
    people: list[Person] = field(default_factory=list)
    searches: int = 0
    looks: int = 0
    broken: bool = False


@pytest.fixture
def scene(monkeypatch) -> Scene:
    scene = Scene()

    class Finder:
        skeleton = COCO

        def __init__(self, **_: object) -> None: ...

        def __call__(self, image: np.ndarray) -> list[Detection]:
            scene.searches += 1
            seen = [p for p in scene.people if p.findable]
            xy = [convert(body(p.x, p.y, p.size, p.angle), BLAZE, COCO) for p in seen]
            return [Detection(points, np.full(17, 0.6), 0.4) for points in xy]

    class Poser:
        skeleton = BLAZE

        def __init__(self, **_: object) -> None: ...

        def landmarks(self, image: np.ndarray, region: Region) -> Landmarks:
            """Sees the nearest person if the region is about on them and about upright."""
            scene.looks += 1
            if scene.broken:
                raise DetectorError("network broken")
            fits = [p for p in scene.people if _fits(p, region) and not p.hidden]
            if not fits:
                return replace(Person(*region.centre_px).landmarks(region), presence=0.01)
            distance = [np.hypot(*np.subtract(region.centre_px, (p.x, p.y))) for p in fits]
            return fits[int(np.argmin(distance))].landmarks(region)

    monkeypatch.setattr(hybrid, "MoveNet", Finder)
    monkeypatch.setattr(hybrid, "BlazePose", Poser)
    return scene


def _fits(person: Person, region: Region) -> bool:
    off = np.hypot(*np.subtract(region.centre_px, (person.x, person.y)))
    turn = abs((region.angle_rad - person.angle + np.pi) % (2 * np.pi) - np.pi)
    return bool(off < 0.2 * region.side_px and turn < np.deg2rad(40))


def hips(people: list[Detection]) -> list[int]:
    return sorted(round(float(p.xy_px[23:25, 0].mean())) for p in people)


def test_found_people_get_33_joints(scene):
    scene.people = [Person(400), Person(1200)]
    people = Hybrid()(IMAGE)
    assert hips(people) == [400, 1200]
    np.testing.assert_allclose(people[0].xy_px, body(400, 500, 300, 0))
    assert people[0].confidence.shape == (33,)
    assert people[0].score == 0.95


def test_nobody_is_an_empty_list(scene):
    assert Hybrid()(IMAGE) == []


def test_people_stay_while_the_finder_does_not_see_them(scene):
    scene.people = [Person(400)]
    detector = Hybrid()
    for angle in np.deg2rad(np.arange(0, 360, 20)):
        scene.people[0].angle = angle
        scene.people[0].findable = angle == 0
        assert hips(detector(IMAGE)) == [400]


def test_a_person_followed_and_found_is_one_person(scene):
    scene.people = [Person(400)]
    detector = Hybrid()
    detector(IMAGE)
    looks = scene.looks
    assert len(detector(IMAGE)) == 1
    assert scene.looks == looks + 1  # no second look: the finder agrees


def test_of_two_looks_at_one_person_the_surer_stays():
    weak = Person(400, presence=0.6).landmarks(Region((400, 500), 700))
    sure = Person(405, presence=0.9).landmarks(Region((405, 500), 700))
    assert distinct([weak, sure]) == [sure]


def test_one_body_read_upright_and_upside_down_is_one_person():
    region = Region((400, 500), 700)
    upright, flipped = Person(400).landmarks(region), Person(405, angle=np.pi).landmarks(region)
    weak = replace(flipped, presence=0.6)
    assert distinct([weak, upright]) == [upright]
    beside = Person(600, angle=np.pi).landmarks(region)
    assert len(distinct([upright, beside])) == 2


def test_whoever_turns_is_looked_at_again_with_the_turn(scene):
    scene.people = [Person(400)]
    detector = Hybrid(mode="fast")
    detector(IMAGE)
    for turn_deg, looks in ((0, 1), (20, 2), (20, 1)):
        before = scene.looks
        scene.people[0].angle = np.deg2rad(turn_deg)
        detector(IMAGE)
        assert scene.looks == before + looks


def test_people_who_overlap_stay_two(scene):
    scene.people = [Person(400), Person(520)]
    detector = Hybrid()
    for x in range(520, 460, -5):
        scene.people[1].x = x
        assert len(detector(IMAGE)) == 2
    assert hips(detector(IMAGE)) == [400, 465]


def test_someone_whom_blazepose_takes_for_another_keeps_the_joints_of_movenet(scene):
    scene.people = [Person(400), Person(470, hidden=True)]
    detector = Hybrid()
    for _ in range(3):
        sure, other = detector(IMAGE)
        assert hips([sure, other]) == [400, 470]
        assert np.isfinite(sure.xy_px).all()
        seen = [BLAZE.joints[j] for j in np.flatnonzero(np.isfinite(other.xy_px[:, 0]))]
        assert set(seen) == set(COCO.joints)
        np.testing.assert_array_equal(other.confidence > 0, np.isfinite(other.xy_px[:, 0]))
        assert other.score == 0.4


def test_blazepose_may_correct_movenet_on_one_person(scene):
    """Another pose than MoveNet's is no second person unless MoveNet saw two."""
    scene.people = [Person(400, findable=False), Person(470, hidden=True)]
    assert hips(Hybrid()(IMAGE)) == [400]


def test_people_below_the_presence_are_dropped(scene):
    scene.people = [Person(400, presence=0.6), Person(1200, presence=0.4)]
    assert hips(Hybrid()(IMAGE)) == [400]
    assert hips(Hybrid(min_presence=0.3)(IMAGE)) == [400, 1200]


def test_someone_who_vanishes_is_gone_at_once_and_for_good(scene):
    scene.people = [Person(400)]
    detector = Hybrid()
    detector(IMAGE)
    scene.people = []
    for _ in range(6):
        assert detector(IMAGE) == []
    looks = scene.looks
    detector(IMAGE)
    assert scene.looks == looks  # nobody is looked for any more


def test_someone_turned_too_fast_is_found_again_only_when_accurate(scene):
    for mode, found in (("accurate", 1), ("fast", 0)):
        scene.people = [Person(400)]
        detector = Hybrid(mode=mode)
        detector(IMAGE)
        scene.people = [Person(400, angle=np.deg2rad(100), findable=False)]
        assert len(detector(IMAGE)) == found


def test_someone_lost_is_found_again_only_when_sure(scene):
    scene.people = [Person(400)]
    detector = Hybrid()
    detector(IMAGE)
    turned = Person(400, angle=np.deg2rad(100), findable=False, presence=0.7)
    scene.people = [turned]
    assert detector(IMAGE) == []
    turned.presence = 0.95
    assert len(detector(IMAGE)) == 1


def test_someone_who_walks_out_of_the_image_is_not_kept(scene):
    scene.people = [Person(60)]
    detector = Hybrid()
    assert len(detector(IMAGE)) == 1
    scene.people = [Person(-40)]  # the network is as sure as before
    assert detector(IMAGE) == []


def test_people_far_outside_or_without_size_are_ignored(scene):
    scene.people = [Person(-5000), Person(400, size=1.0), Person(400, size=1e6)]
    assert Hybrid()(IMAGE) == []


def test_fast_mode_searches_now_and_then(scene):
    scene.people = [Person(400)]
    detector = Hybrid(mode="fast", search_every=6)
    for _ in range(13):
        assert len(detector(IMAGE)) == 1
    assert scene.searches == 3  # images 1, 7, 13


def test_fast_mode_searches_when_somebody_was_lost_or_nobody_is_there(scene):
    detector = Hybrid(mode="fast", search_every=100)
    detector(IMAGE)
    detector(IMAGE)
    assert scene.searches == 2
    scene.people = [Person(400), Person(1200)]
    detector(IMAGE)
    detector(IMAGE)
    assert scene.searches == 3
    scene.people = [Person(400), Person(1600)]
    assert hips(detector(IMAGE)) == [400, 1600]
    assert scene.searches == 4


def test_accurate_mode_searches_every_image(scene):
    scene.people = [Person(400)]
    detector = Hybrid()
    for _ in range(5):
        detector(IMAGE)
    assert scene.searches == 5


def test_newcomers_are_seen_beside_people_followed(scene):
    scene.people = [Person(400)]
    detector = Hybrid()
    detector(IMAGE)
    scene.people.append(Person(1200))
    assert hips(detector(IMAGE)) == [400, 1200]


def test_reset_forgets_where_people_were(scene):
    scene.people = [Person(400)]
    detector = Hybrid(mode="fast")
    detector(IMAGE)
    scene.people = [Person(400, findable=False)]
    assert len(detector(IMAGE)) == 1
    detector.reset()
    assert detector(IMAGE) == []


def test_at_most_so_many_people_surest_first(scene):
    scene.people = [Person(300 * i + 200, presence=0.6 + i / 20) for i in range(5)]
    people = Hybrid(max_people=2)(IMAGE)
    assert [round(p.score, 2) for p in people] == [0.8, 0.75]


def test_a_broken_network_is_an_error(scene):
    scene.people = [Person(400)]
    detector = Hybrid()
    detector(IMAGE)
    scene.broken = True
    with pytest.raises(DetectorError):
        detector(IMAGE)


@pytest.mark.parametrize(
    "options",
    [{"mode": "best"}, {"search_every": 0}, {"max_people": 0}, {"min_presence": 1.5}],
    ids=str,
)
def test_bad_options_are_refused(scene, options):
    with pytest.raises(InputError):
        Hybrid(**options)


def test_other_images_are_refused(scene):
    with pytest.raises(ShapeError):
        Hybrid()(np.zeros((10, 10), np.uint8))
