"""Identities stay with their person through crossings, gaps and any order of detections."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poselift.errors import InputError, ShapeError
from poselift.poses import Detection
from poselift.skeleton import skeleton
from poselift.track import Tracker, assemble, similarity, stitch, track

COCO = skeleton("coco17")
RATE_HZ = 30.0
SIZE_PX = (1000, 500)

# An upright person, 1 unit tall, origin between the hips, y down; index = COCO-17.
RIGHT_SIDE = np.array([2, 4, 6, 8, 10, 12, 14, 16])
BODY = np.zeros((17, 2))
BODY[0] = 0.0, -0.45
BODY[RIGHT_SIDE, 0] = [-0.02, -0.04, -0.1, -0.14, -0.15, -0.06, -0.07, -0.08]
BODY[RIGHT_SIDE, 1] = [-0.47, -0.46, -0.32, -0.17, -0.03, 0.0, 0.24, 0.48]
BODY[RIGHT_SIDE - 1] = BODY[RIGHT_SIDE] * [-1, 1]


def person(x: float, y: float = 250.0, height: float = 200.0, score: float = 0.9) -> Detection:
    return Detection(BODY * height + [x, y], np.full(17, 0.8), score)


def times(count: int) -> np.ndarray:
    return np.arange(count) / RATE_HZ


def ids_of(frames: list[list[Detection]], **options: float) -> list[list[int]]:
    tracker = Tracker(COCO, **options)
    return [tracker.update(f, float(t)) for f, t in zip(frames, times(len(frames)), strict=True)]


def crossing(count: int = 60) -> list[list[Detection]]:
    """Two people of about the same size walk through each other, 8 px per frame each."""
    return [[person(260 + 8 * i), person(740 - 8 * i, y=258, height=205)] for i in range(count)]


def test_similarity_is_one_for_the_same_pose_and_falls_with_distance():
    pose = person(300).xy_px
    values = [similarity(pose, pose + np.array([d, 0]), COCO) for d in (0, 10, 30, 100)]
    assert values[0] == 1
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.01


def test_similarity_scales_with_the_person():
    small, large = person(300, height=100).xy_px, person(300, height=400).xy_px
    assert similarity(small, small + 10, COCO) == pytest.approx(similarity(large, large + 40, COCO))


def test_similarity_needs_common_joints():
    pose = person(300).xy_px.copy()
    other = pose.copy()
    other[3:] = np.nan
    assert similarity(pose, other, COCO) == 0
    assert similarity(np.full_like(pose, np.nan), pose, COCO) == 0


def test_similarity_of_whole_bodies_is_not_decided_by_faces():
    body = skeleton("coco_wholebody133")
    a = np.zeros((133, 2))
    a[:17] = person(300).xy_px
    b = a.copy()
    b[17:] += 1000
    assert similarity(a, b, body) == 1


def test_one_person_keeps_one_number():
    assert ids_of([[person(100 + 5 * i)] for i in range(20)]) == [[0]] * 20


def test_people_who_cross_keep_their_numbers():
    ids = ids_of(crossing())
    assert all(pair == ids[0] for pair in ids)
    assert sorted(ids[0]) == [0, 1]


def test_people_who_cross_unseen_keep_their_numbers():
    frames = crossing()
    for i in range(26, 35):  # one hides the other, then both are gone
        frames[i] = frames[i][:1] if i < 30 else []
    ids = ids_of(frames)
    assert all(pair == ids[0] for pair in ids if len(pair) == 2)
    assert ids[-1] == ids[0]


def test_the_best_assignment_is_taken_not_the_first():
    """Both people stepped right; the left one now stands nearer to where the right one was."""
    tracker = Tracker(COCO)
    left, right = tracker.update([person(300), person(340)], 0.0)
    assert tracker.update([person(330), person(370)], 0.2) == [left, right]


def test_a_short_gap_keeps_the_number_a_long_one_does_not():
    for gap, same in ((10, True), (20, False)):  # 0.5 s are 15 frames
        frames = [[person(300)]] * 5 + [[]] * gap + [[person(300)]] * 5
        ids = ids_of(frames)
        assert (ids[-1] == ids[0]) is same


def test_the_longer_unseen_the_farther_someone_may_have_gone():
    for gap_s, same in ((0.03, False), (0.4, True)):
        tracker = Tracker(COCO)
        before = tracker.update([person(300)], 0.0)
        assert (tracker.update([person(370)], gap_s) == before) is same


def test_a_gap_of_exactly_the_limit_is_bridged():
    tracker = Tracker(COCO, max_gap_s=0.5)
    assert tracker.update([person(300)], 0.1) == tracker.update([person(300)], 0.6)


def test_numbers_are_never_used_again():
    frames = []
    for start in range(5):
        frames += [[person(100 + 150 * start)]] * 3 + [[]] * 20
    used = [i for frame in ids_of(frames) for i in frame]
    assert sorted(set(used)) == [0, 1, 2, 3, 4]
    assert used == sorted(used)


def test_someone_who_enters_gets_a_new_number():
    frames = [[person(300)]] * 5 + [[person(700), person(300)]] * 5
    ids = ids_of(frames)
    assert ids[4] == [0]
    assert ids[5:] == [[1, 0]] * 5


def test_someone_far_away_is_not_the_same_person():
    assert ids_of([[person(200)], [person(800)]]) == [[0], [1]]


def test_nobody_for_a_while_and_never_anybody():
    assert ids_of([[]] * 40) == [[]] * 40
    assert track([[]] * 3, times(3), SIZE_PX, COCO) == []
    assert track([], times(0), SIZE_PX, COCO) == []


def test_a_detection_without_joints_is_somebody_of_their_own():
    ghost = Detection(np.full((17, 2), np.nan), np.zeros(17), 0.1)
    ids = ids_of([[person(300), ghost]] * 3)
    assert [pair[0] for pair in ids] == [0, 0, 0]
    people = track([[person(300), ghost]] * 10, times(10), SIZE_PX, COCO)
    assert len(people) == 1


def test_time_must_rise():
    tracker = Tracker(COCO)
    tracker.update([], 1.0)
    for time_s in (1.0, 0.5, np.nan):
        with pytest.raises(InputError, match="later than 1 s"):
            tracker.update([], time_s)


def test_bad_arguments_are_named():
    with pytest.raises(InputError, match="max_gap_s"):
        Tracker(COCO, max_gap_s=-1)
    with pytest.raises(ShapeError, match="coco17"):
        Tracker(COCO).update([Detection(np.zeros((33, 2)), np.zeros(33), 1.0)], 0.0)
    with pytest.raises(ShapeError, match="time stamps"):
        track([[], []], times(3), SIZE_PX, COCO)
    with pytest.raises(ShapeError, match="identities"):
        assemble([[person(1)]], [[0, 1]], times(1), SIZE_PX, COCO)
    with pytest.raises(InputError, match="frame 0"):
        assemble([[person(1), person(2)]], [[0, 0]], times(1), SIZE_PX, COCO)


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_within_frames_does_not_matter(random):
    rng = np.random.default_rng(random.randrange(2**32))
    frames = [
        [person(x + rng.normal(0, 3), score=float(rng.uniform(0.5, 1))) for x in (200, 320, 700)]
        for _ in range(12)
    ]
    shuffled = [random.sample(frame, len(frame)) for frame in frames]
    ids, mixed = ids_of(frames), ids_of(shuffled)
    for before, after, a, b in zip(frames, shuffled, ids, mixed, strict=True):
        named = {id(detection): name for detection, name in zip(before, a, strict=True)}
        assert [named[id(detection)] for detection in after] == b
    people = track(frames, times(12), SIZE_PX, COCO)
    again = track(shuffled, times(12), SIZE_PX, COCO)
    for one, two in zip(people, again, strict=True):
        np.testing.assert_array_equal(one.xy_px, two.xy_px)
        assert one.history == two.history


def test_assembled_people_span_the_whole_clip():
    frames = [[person(300)] for _ in range(30)]
    for i in range(10, 25):
        frames[i].insert(0, person(700))
    frames[20] = [frames[20][0]]  # the longer one is hidden once
    first, second = track(frames, times(30), SIZE_PX, COCO)
    assert (first.person, second.person) == (0, 1)
    assert first.xy_px.shape == second.xy_px.shape == (30, 17, 2)
    assert np.flatnonzero(~first.seen.all(axis=1)).tolist() == [20]
    assert first.confidence[20].tolist() == [0.0] * 17
    assert np.flatnonzero(second.seen.any(axis=1)).tolist() == list(range(10, 25))
    np.testing.assert_array_equal(second.xy_px[12], person(700).xy_px)
    np.testing.assert_array_equal(second.time_s, times(30))
    assert first.size_px == SIZE_PX
    assert "29 of 30 frames" in first.history[0]
    assert "0.33 s to 0.80 s" in second.history[0]


def test_joints_not_seen_have_no_confidence():
    partial = person(300)
    partial.xy_px[3] = np.nan
    (found,) = track([[partial]] * 3, times(3), SIZE_PX, COCO)
    assert found.confidence[:, 3].tolist() == [0, 0, 0]
    assert found.confidence[0, 0] == 0.8


def test_short_tracks_are_left_out_and_counted():
    frames = [[person(300)] for _ in range(30)]
    frames[7].append(person(700))
    (only,) = track(frames, times(30), SIZE_PX, COCO)
    assert "1 other tracks under 0.25 s or 2 frames left out" in only.history[0]
    kept = track(frames, times(30), SIZE_PX, COCO, min_seen_s=0, min_frames=1)
    assert [int(p.seen.any(axis=1).sum()) for p in kept] == [30, 1]
    assert "left out" not in kept[0].history[0]


def test_a_single_image_keeps_everybody():
    people = track([[person(300), person(700)]], times(1), SIZE_PX, COCO)
    assert len(people) == 2


def test_a_short_clip_keeps_whoever_is_always_there():
    assert len(track([[person(300)]] * 3, times(3), SIZE_PX, COCO)) == 1


def test_someone_who_comes_back_is_the_same_person():
    frames = [[person(300)]] * 20 + [[]] * 30 + [[person(340)]] * 20
    (back,) = track(frames, times(70), SIZE_PX, COCO)
    assert back.seen.all(axis=1).sum() == 40
    apart = track(frames, times(70), SIZE_PX, COCO, stitch_gap_s=0)
    assert len(apart) == 2


@pytest.mark.parametrize(
    ("later", "gap"),
    [(person(900), 20), (person(300, height=90), 20), (person(300), 90)],
    ids=["too far", "too small", "too late"],
)
def test_implausible_returns_stay_apart(later, gap):
    frames = [[person(200)]] * 20 + [[]] * gap + [[later]] * 20
    assert len(track(frames, times(len(frames)), SIZE_PX, COCO)) == 2


def test_two_equally_plausible_returns_stay_apart():
    frames = [[person(300)]] * 20 + [[]] * 20 + [[person(250), person(350)]] * 20
    assert len(track(frames, times(60), SIZE_PX, COCO)) == 3


def test_stitching_joins_chains_and_leaves_parallel_tracks():
    frames = [[person(300)], [], [person(300)], [], [person(300), person(800)]]
    time_s = np.arange(5.0) / 2
    ids = stitch(frames, [[4], [], [7], [], [9, 10]], time_s, COCO)
    assert ids == [[4], [], [4], [], [4, 10]]
