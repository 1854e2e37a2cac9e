"""The default detector: MoveNet finds people, BlazePose places their joints and follows them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from poselift.detect.blazepose import BlazePose, Landmarks
from poselift.detect.movenet import MAX_PEOPLE, MoveNet
from poselift.detect.network import check_image
from poselift.detect.regions import Region, region_of
from poselift.errors import InputError
from poselift.poses import Detection
from poselift.skeleton import convert, least_confidence
from poselift.track import body_joints, similarity

MODES = ("accurate", "fast")
# Similarity with tolerance 0.1: 0.5 is a mean distance of about 0.12 body sizes per joint.
SAME_TOLERANCE = 0.1
SAME_PERSON = 0.5
# ... or two readings of one body in different directions, such as upright and upside down.
APART_RAD = np.deg2rad(60)
SAME_HIPS = 0.15  # of the region
STEADY_RAD = np.deg2rad(5)
MAX_LOOKS = 3
SEEN_CONFIDENCE = 0.3
MIN_SEEN_JOINTS = 4  # of the 17 of COCO

# Looking for somebody who was lost where they were, as a somersault turns them within few images.
TURNS_RAD = tuple(np.deg2rad([0, -60, 60, -120, 120, 180]))
RECOVER_IMAGES = 4
RECOVER_PRESENCE = 0.9  # stricter: nobody else vouches for this person
RECOVER_SIMILARITY = 0.6
RECOVER_SIDE_RATIO = 1.6


@dataclass(frozen=True)
class _Lost:
    region: Region
    images: int  # searched in vain


class Hybrid:
    """People with 33 joints.

    MoveNet MultiPose searches the image, BlazePose Heavy refines everyone it finds, and the
    region of everyone found before is followed from image to image, turned with the body: so
    people stay when they are upside down, where MoveNet does not see them. Where two people
    overlap so much that BlazePose shows one of them twice, the other has MoveNet's 17 joints.

    `mode`: "accurate" searches every image, and looks in several directions for anybody lost;
    "fast" searches every `search_every` images, when somebody was lost and when nobody is there.
    `min_score`: MoveNet's threshold, low because BlazePose confirms; `min_presence`: below it
    BlazePose's region is dropped; `max_people`: at most so many, surest first; `threads`: cores
    per image. Raises InputError, WeightsError.
    """

    name = "hybrid"
    skeleton = BlazePose.skeleton

    def __init__(
        self,
        *,
        mode: Literal["accurate", "fast"] = "accurate",
        search_every: int = 6,
        min_score: float = 0.15,
        min_presence: float = 0.5,
        max_people: int = MAX_PEOPLE,
        threads: int | None = None,
    ) -> None:
        if mode not in MODES:
            raise InputError("mode of the hybrid detector", found=repr(mode), known=MODES)
        if search_every < 1 or max_people < 1:
            raise InputError(
                "search_every and max_people",
                expected="at least 1",
                found=f"{search_every} and {max_people}",
            )
        if not 0 <= min_presence <= 1:
            raise InputError("min_presence", expected="a number in 0..1", found=min_presence)
        self._finder = MoveNet(min_score=min_score, threads=threads)
        self._poser = BlazePose(threads=threads)
        self._accurate = mode == "accurate"
        self._search_every = 1 if self._accurate else search_every
        self._min_presence = min_presence
        self._max_people = max_people
        self.reset()

    def reset(self) -> None:
        """Forget where people were: the next image belongs to another video or shot."""
        self._regions: list[Region] = []
        self._lost: list[_Lost] = []
        self._since_search = 0

    def __call__(self, image: NDArray[np.uint8]) -> list[Detection]:
        """People in an RGB image (H, W, 3), surest first. Raises ShapeError, DetectorError."""
        people = self.people(image)
        height, width = image.shape[:2]
        return [person.detection(width, height) for person in people]

    def people(self, image: NDArray[np.uint8]) -> list[Landmarks]:
        """As a call, with everything that BlazePose says (3D joints, regions)."""
        check_image(image)
        people = self._follow(image)
        lost = len(people) < len(self._regions)
        self._since_search += 1
        if lost or not people or self._since_search >= self._search_every:
            self._since_search = 0
            people = distinct([*people, *self._search(image, people)])
        if self._accurate:
            people = distinct([*people, *self._recover(image, people)])
        people = people[: self._max_people]
        self._regions = [person.next_region for person in people]
        return people

    def _look(self, image: NDArray[np.uint8], region: Region) -> Landmarks | None:
        """The person in a region, if there is one.

        The network corrects only half of a turn that it was not told of, and errs beyond about
        40 degrees: somebody who turns fast is looked at again with the region turned along.
        """
        best: Landmarks | None = None
        for _ in range(MAX_LOOKS):
            person = self._glance(image, region)
            if person is None:
                break
            best, turn = person, _turn(person.next_region.angle_rad, region.angle_rad)
            region = person.next_region
            if abs(turn) < STEADY_RAD:
                break
        return best

    def _glance(self, image: NDArray[np.uint8], region: Region) -> Landmarks | None:
        height, width = image.shape[:2]
        if not region.usable(width, height):
            return None
        person = self._poser.landmarks(image, region)
        there = person.presence >= self._min_presence and in_view(person, width, height)
        return person if there else None

    def _follow(self, image: NDArray[np.uint8]) -> list[Landmarks]:
        looks = [(region, self._look(image, region)) for region in self._regions]
        self._lost += [_Lost(region, 0) for region, person in looks if person is None]
        return distinct([person for _, person in looks if person is not None])

    def _search(self, image: NDArray[np.uint8], known: Sequence[Landmarks]) -> list[Landmarks]:
        """People that MoveNet sees and that no followed region already shows alike."""
        found: list[Landmarks] = []
        crowd = self._finder(image)
        for seen in crowd:
            region = region_of(seen, MoveNet.skeleton)
            if region is None or any(_alike(seen, p) >= SAME_PERSON for p in (*known, *found)):
                continue
            rough = self._look(image, region)
            if rough is None:
                continue
            # A second look at the region that BlazePose itself proposes, as for people followed.
            closer = self._look(image, rough.next_region)
            found += [rough] if closer is None else [closer, rough]
            if self._hidden_by_another(seen, rough, crowd):
                found.append(_by_finder(seen, region))
        return found

    @staticmethod
    def _hidden_by_another(seen: Detection, look: Landmarks, crowd: Sequence[Detection]) -> bool:
        """Whether BlazePose, asked for one of two overlapping people, gave the other."""
        mine = _alike(seen, look)
        return mine < SAME_PERSON and any(
            _alike(other, look) > max(mine, SAME_PERSON) for other in crowd if other is not seen
        )

    def _recover(self, image: NDArray[np.uint8], known: Sequence[Landmarks]) -> list[Landmarks]:
        """People lost in the last few images, found in the same place but turned."""
        found: list[Landmarks] = []
        lost, self._lost = self._lost, []
        for missing in lost:
            if any(_at(person, missing.region) for person in (*known, *found)):
                continue
            person = self._look_around(image, missing.region)
            if person is not None:
                found.append(person)
            elif missing.images + 1 < RECOVER_IMAGES:
                self._lost.append(_Lost(missing.region, missing.images + 1))
        return found

    def _look_around(self, image: NDArray[np.uint8], region: Region) -> Landmarks | None:
        """The person in a region turned so that two looks agree best, if any two agree."""
        best, best_agreement = None, RECOVER_SIMILARITY
        for turn in TURNS_RAD:
            first = self._look(image, replace(region, angle_rad=region.angle_rad + turn))
            if first is None or first.presence < RECOVER_PRESENCE:
                continue
            second = self._look(image, first.next_region)
            if second is None or second.presence < RECOVER_PRESENCE:
                continue
            ratio = second.next_region.side_px / region.side_px
            agreement = similarity(first.xy_px, second.xy_px, self.skeleton, SAME_TOLERANCE)
            if 1 / RECOVER_SIDE_RATIO < ratio < RECOVER_SIDE_RATIO and agreement > best_agreement:
                best, best_agreement = second, agreement
        return best


def _alike(seen: Detection, person: Landmarks) -> float:
    """Similarity of what the two networks say, on the joints of the finder."""
    coco = MoveNet.skeleton
    return similarity(
        seen.xy_px, convert(person.xy_px, BlazePose.skeleton, coco), coco, SAME_TOLERANCE
    )


def _by_finder(seen: Detection, region: Region) -> Landmarks:
    """A person with MoveNet's joints only: no hands, no feet, no 3D (NaN)."""
    coco, body = MoveNet.skeleton, BlazePose.skeleton
    return Landmarks(
        xy_px=convert(seen.xy_px, coco, body),
        confidence=least_confidence(seen.confidence, coco, body),
        xyz_m=np.full((len(body), 3), np.nan),
        presence=seen.score,
        next_region=region,
        region=region,
    )


def _at(person: Landmarks, region: Region) -> bool:
    """Whether somebody stands where another was lost."""
    away_px = np.subtract(person.next_region.centre_px, region.centre_px)
    return bool(np.hypot(*away_px) < 0.3 * region.side_px)


def in_view(person: Landmarks, width_px: int, height_px: int) -> bool:
    """Whether enough joints lie inside the image to be seen.

    BlazePose stays sure of people who have walked out: it goes on at the edge with joints outside.
    """
    confidence = person.detection(width_px, height_px).confidence[body_joints(BlazePose.skeleton)]
    return int((confidence >= SEEN_CONFIDENCE).sum()) >= MIN_SEEN_JOINTS


def distinct(people: Sequence[Landmarks]) -> list[Landmarks]:
    """Each person once, surest first: of those that lie alike, the one with the best presence.

    Poses are compared joint by joint, not by box, so two people who overlap stay two, unless one
    would be upside down in the place of the other.
    """
    kept: list[Landmarks] = []
    for person in sorted(people, key=lambda person: -person.presence):
        if not any(_same(person, other) for other in kept):
            kept.append(person)
    return kept


def _same(one: Landmarks, two: Landmarks) -> bool:
    """Whether two looks show one body."""
    if similarity(one.xy_px, two.xy_px, BlazePose.skeleton, SAME_TOLERANCE) >= SAME_PERSON:
        return True
    first, second = one.next_region, two.next_region
    apart_px = np.hypot(*np.subtract(first.centre_px, second.centre_px))
    here = apart_px < SAME_HIPS * min(first.side_px, second.side_px)
    return here and abs(_turn(first.angle_rad, second.angle_rad)) > APART_RAD


def _turn(end_rad: float, start_rad: float) -> float:
    """The shortest turn between two angles, within -pi..pi."""
    return float((end_rad - start_rad + np.pi) % (2 * np.pi) - np.pi)
