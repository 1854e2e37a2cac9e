import json
from pathlib import Path

import numpy as np
import pytest

from poselift.errors import FormatError, InputError, UnknownNameError
from poselift.io import read
from poselift.io.keypoints import KeypointFile
from poselift.skeleton import skeleton

RNG = np.random.default_rng(0)


def person(joints: int, seed: int = 0, confidence: float = 0.75) -> list[float]:
    """x, y, c of each joint; the second joint is missing."""
    values = np.full((joints, 3), confidence)
    values[:, :2] = np.random.default_rng(seed).uniform(20, 400, (joints, 2)).round(2)
    values[1] = 0
    return values.ravel().tolist()


def openpose(*people: list[float], **more: object) -> str:
    return json.dumps(
        {"version": 1.3, "people": [{"pose_keypoints_2d": p, **more} for p in people]}
    )


def write_openpose(folder: Path, frames: dict[int, str]) -> Path:
    for number, text in frames.items():
        (folder / f"cam1_{number:012d}_keypoints.json").write_text(text)
    return folder


def write_coco(folder: Path, entries: list[dict[str, object]]) -> Path:
    (folder / "results.json").write_text(json.dumps(entries))
    return folder / "results.json"


def entry(image_id: object, joints: int = 17, seed: int = 0, **more: object) -> dict[str, object]:
    values = {"keypoints": person(joints, seed), "score": 0.9, "category_id": 1}
    return {"image_id": image_id, **values, **more}


def get(path: Path, **options: object) -> KeypointFile:
    file = read(path, **options)
    assert isinstance(file, KeypointFile)
    return file


def test_openpose_folder(tmp_path: Path) -> None:
    frames = {3: openpose(person(25), person(25, 1)), 4: openpose(), 7: openpose(person(25, 2))}
    file = get(write_openpose(tmp_path, frames))
    assert [len(frame) for frame in file.frames] == [2, 0, 0, 0, 1]
    np.testing.assert_allclose(file.time_s, np.arange(5) / 30)
    assert file.skeleton == skeleton("body25")
    assert file.size_px == (640, 480)
    assert file.ids is None
    first = file.frames[0][1]
    np.testing.assert_array_equal(first.xy_px[0], person(25, 1)[:2])
    assert np.isnan(first.xy_px[1]).all()
    assert first.confidence[1] == 0
    assert first.confidence[0] == first.score == 0.75
    notes = "; ".join(file.notes)
    assert "layout body25 by its 25 joints (body25b has as many" in notes
    assert "30 frames per second assumed" in notes
    assert "640 x 480 px assumed" in notes
    assert "taken as empty: 2" in notes


def test_openpose_options(tmp_path: Path) -> None:
    path = write_openpose(tmp_path, {n: openpose(person(25)) for n in range(3)})
    file = get(path, fps=10, size_px=(1920, 1080), layout="body25b")
    np.testing.assert_allclose(file.time_s, [0, 0.1, 0.2])
    assert file.size_px == (1920, 1080)
    assert file.skeleton == skeleton("body25b")
    assert file.notes == ("layout body25b as asked",)


def test_openpose_coco18_ids_and_single_file(tmp_path: Path) -> None:
    text = openpose(person(18), person_id=[4], face_keypoints_2d=[1, 2, 0.5])
    path = write_openpose(tmp_path, {0: text})
    file = get(path)
    assert file.skeleton == skeleton("openpose18")
    assert file.ids == [[4]]
    assert "hands and face were left out" in file.notes
    assert len(get(next(path.iterdir())).frames) == 1
    untracked = write_openpose(tmp_path, {0: openpose(person(18), person_id=[-1])})
    assert get(untracked).ids is None


def test_openpose_nobody(tmp_path: Path) -> None:
    empty = openpose([0.0] * 75)
    file = get(write_openpose(tmp_path, {0: openpose(), 1: empty, 2: openpose([])}))
    assert file.frames == [[], [], []]
    assert file.skeleton == skeleton("body25")


def test_openpose_order_without_numbers(tmp_path: Path) -> None:
    (tmp_path / "b_keypoints.json").write_text(openpose(person(25, 1)))
    (tmp_path / "a_keypoints.json").write_text(openpose(person(25, 0)))
    file = get(tmp_path)
    np.testing.assert_array_equal(file.frames[1][0].xy_px[0], person(25, 1)[:2])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_json_does_not_know_are_refused(tmp_path: Path, value: float) -> None:
    values = [*person(25)]
    values[9] = value
    with pytest.raises(FormatError, match=r"expected finite numbers, null for a joint not seen"):
        get(write_openpose(tmp_path, {0: openpose(values)}))


def test_null_is_missing(tmp_path: Path) -> None:
    values: list[float | None] = [*person(25)]
    values[0] = values[9] = None
    (found,) = get(write_openpose(tmp_path, {0: openpose(values)})).frames[0]  # type: ignore[list-item]
    assert np.flatnonzero(np.isnan(found.xy_px).any(axis=1)).tolist() == [0, 1, 3]
    assert (found.confidence[[0, 1, 3]] == 0).all()


OPENPOSE_FAULTS = {
    "zero bytes": ("", r"is empty"),
    "no JSON": ("{", r"cannot be read as JSON"),
    "binary": ("\x00\x01", r"cannot be read as JSON"),
    "other tool": ('{"instance_info": []}', r"not of OpenPose"),
    "no keypoints": ('{"people": [{"x": 1}]}', r"person 0: expected pose_keypoints_2d"),
    "people are numbers": ('{"people": [1]}', r"person 0: expected pose_keypoints_2d, found int"),
    "wrong count": (openpose(person(25), person(18)), r"person 1: expected 25 joints as before"),
    "unknown layout": (openpose(person(24)), r"24 joints fit no layout.*body25 25"),
    "not in threes": (openpose(person(25)[:-1]), r"x, y, confidence"),
    "infinite": (openpose([float("inf"), *person(25)[1:]]), r"found -?Infinity"),
    "text": (openpose(["a", *person(25)[1:]]), r"expected numbers"),  # type: ignore[list-item]
    "normalised": (openpose([v / 500 for v in person(25)]), r"expected pixels"),
}


@pytest.mark.parametrize("fault", OPENPOSE_FAULTS)
def test_openpose_faults(tmp_path: Path, fault: str) -> None:
    text, reason = OPENPOSE_FAULTS[fault]
    path = write_openpose(tmp_path, {0: text})
    with pytest.raises(FormatError, match=reason) as caught:
        read(path)
    assert str(tmp_path) in str(caught.value)
    if fault != "normalised":  # that is seen over all files
        assert "_000000000000_" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_openpose_other_refusals(tmp_path: Path) -> None:
    path = write_openpose(tmp_path, {0: openpose(person(25))})
    with pytest.raises(UnknownNameError, match=r"body26.*body25b"):
        read(path, layout="body26")
    with pytest.raises(FormatError, match="expected 17 joints, found 25"):
        read(path, layout="coco17")
    for options in ({"fps": 0}, {"fps": float("nan")}, {"size_px": (0, 5)}):
        with pytest.raises(InputError, match=r"fps|image size"):
            read(path, **options)
    (tmp_path / "cam2_000000000000_keypoints.json").write_text(openpose())
    with pytest.raises(FormatError, match="more than one clip"):
        read(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="no keypoints"):
        read(tmp_path / "empty")


@pytest.mark.parametrize("name", ["{}", "im_{}.jpg", "clip2/{:06d}.png"])
def test_coco_results(tmp_path: Path, name: str) -> None:
    ids = [name.format(n) if name != "{}" else n for n in (12, 10, 10, 13)]
    entries = [entry(image_id, seed=seed) for seed, image_id in enumerate(ids)]
    file = get(write_coco(tmp_path, entries), fps=25)
    assert [len(frame) for frame in file.frames] == [2, 0, 1, 1]
    np.testing.assert_allclose(file.time_s, np.arange(4) / 25)
    np.testing.assert_array_equal(file.frames[2][0].xy_px[0], person(17, 0)[:2])
    np.testing.assert_array_equal(file.frames[0][1].xy_px[2], person(17, 2)[6:8])
    assert file.frames[0][0].score == 0.9
    assert file.skeleton == skeleton("coco17")
    assert file.ids is None
    assert any("taken as empty: 1" in note for note in file.notes)


@pytest.mark.parametrize(
    ("joints", "layout"), [(26, "halpe26"), (133, "coco_wholebody133"), (33, "mediapipe33")]
)
def test_coco_layouts_by_count(tmp_path: Path, joints: int, layout: str) -> None:
    file = get(write_coco(tmp_path, [entry(0, joints)]))
    assert file.skeleton == skeleton(layout)
    assert layout in file.notes[0]


def test_coco_count_of_several_layouts(tmp_path: Path) -> None:
    path = write_coco(tmp_path, [entry(0, 25)])
    with pytest.raises(FormatError, match=r"fit several layouts.*known: body25, body25b"):
        read(path)
    assert get(path, layout="body25b").skeleton == skeleton("body25b")


def test_coco_nested_keypoints_ids_and_categories(tmp_path: Path) -> None:
    nested = np.reshape(person(17), (17, 3)).tolist()
    people = [entry(0, keypoints=nested, track_id=7), entry(1, idx=3)]
    path = write_coco(tmp_path, [*people, entry(1, category_id=18)])
    file = get(path)
    assert file.ids == [[7], [3]]
    assert "entries of other categories left out: 1" in file.notes


def test_confidence_scales(tmp_path: Path) -> None:
    flags = np.reshape(person(17, confidence=2), (17, 3))
    flags[3, 2] = 1
    (found,) = get(write_coco(tmp_path, [entry(0, keypoints=flags.ravel().tolist())])).frames[0]
    assert found.confidence[[0, 1, 3]].tolist() == [1, 0, 0.5]
    large = person(17, confidence=4.5)
    file = get(write_coco(tmp_path, [entry(0, keypoints=large, score=None)]))
    assert file.frames[0][0].confidence[0] == file.frames[0][0].score == 1
    assert any("cut to 1" in note for note in file.notes)


def test_image_size_is_guessed_from_the_extent(tmp_path: Path) -> None:
    def size(x: float, y: float) -> tuple[int, int]:
        values = person(17)
        values[:2] = [x, y]
        return get(write_coco(tmp_path, [entry(0, keypoints=values)])).size_px

    assert size(639, 479) == (640, 480)
    assert size(900, 300) == (1280, 720)
    assert size(700, 1270) == (720, 1280)
    assert size(1900, 900) == (1920, 1080)
    assert size(9000.5, 100) == (9001, 393)
    path = write_coco(tmp_path, [entry(0)])
    assert any("far outside" in note for note in get(path, size_px=(100, 100)).notes)


COCO_FAULTS = {
    "empty list": ([], r"holds no people.*an empty list"),
    "no list": ({"images": [], "annotations": []}, r"no known layout.*COCO results"),
    "other entries": ([{"a": 1}], r"no known layout"),
    "count changes": ([entry(0), entry(1, 26)], r"entry 1 \(image_id 1\): expected 17 joints"),
    "unknown count": ([entry(0, 11)], r"11 joints fit no layout"),
    "no number": ([entry("frame.jpg")], r"image_id frame\.jpg\).*a number"),
    "float number": ([entry(1.5)], r"a number"),
    "two clips": ([entry("a1.jpg"), entry("b1.jpg")], r"more than one clip"),
    "infinite": ([entry(0, keypoints=[1e999] * 51)], r"found -?Infinity"),
    "score": ([entry(0, score="high")], r"finite score"),
    "not people": ([entry(0, category_id=2), entry(0, category_id=3)], r"category 1"),
    "sparse ids": ([entry(0), entry(500_000)], r"too far apart"),
}


@pytest.mark.parametrize("fault", COCO_FAULTS)
def test_coco_faults(tmp_path: Path, fault: str) -> None:
    document, reason = COCO_FAULTS[fault]
    path = write_coco(tmp_path, document)  # type: ignore[arg-type]
    with pytest.raises(FormatError, match=reason) as caught:
        read(path)
    assert "results.json" in str(caught.value)
