import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poselift.camera import Camera
from poselift.errors import FormatError, InputError
from poselift.io import read, write
from poselift.poses import Poses2D, Poses3D
from poselift.skeleton import Skeleton, skeleton

CAMERA = Camera(
    np.array([[500.5, 0, 320], [0, 501, 240], [0, 0, 1]]),
    (640, 480),
    np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
    np.array([0.1, 1 / 3, 4.0]),
    (0.1, -0.2, 0.001, 0.002, 0.0),
    known=False,
)
TIMES = np.array([0, 1 / 30, 0.1, 1 / 3])


def flat(person: int = 0, joints: str = "coco17", **options: object) -> Poses2D:
    rng = np.random.default_rng(person)
    shape = (len(TIMES), len(skeleton(joints)))
    xy, confidence = rng.uniform(-50, 2000, (*shape, 2)), rng.uniform(0, 1, shape)
    xy[1, 3], confidence[1, 3] = np.nan, 0
    known = {"camera": CAMERA, "history": ("found", 'said "ü"\nand left'), "person": person}
    return Poses2D(xy, confidence, TIMES, (640, 480), skeleton(joints), **{**known, **options})


def solid(person: int = 0, full: bool = True, **options: object) -> Poses3D:
    rng = np.random.default_rng(person)
    xyz = rng.normal(0, 1, (len(TIMES), 17, 3))
    xyz[2] = np.nan
    known: dict[str, object] = {"person": person, "axes": "world", "origin": "world"}
    if full:
        known |= {
            "uncertainty_m": rng.uniform(0, 0.1, (len(TIMES), 17)),
            "camera": CAMERA,
            "observed": flat(person, "mediapipe33"),
            "history": ("lifted", "placed"),
        }
    return Poses3D(xyz, TIMES, skeleton("h36m17"), **{**known, **options})


def assert_same(one: object, other: object, metres: float, pixels: float, depth: int = 0) -> None:
    """Every field the same, numbers within the step of the format."""
    assert type(one) is type(other)
    steps = {"xyz_m": metres, "uncertainty_m": metres, "xy_px": pixels, "confidence": metres}
    for name, value in vars(one).items():
        found = vars(other)[name]
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(found, value, rtol=0, atol=steps.get(name, 0), err_msg=name)
        elif isinstance(value, Camera | Poses2D):
            assert_same(value, found, metres, pixels)
        else:
            assert found == value, name


PEOPLE = {
    "2D": [flat()],
    "2D, two people": [flat(3), flat(1)],
    "2D, bare": [flat(camera=None, history=())],
    "3D": [solid()],
    "3D, two people": [solid(), solid(7)],
    "3D, bare": [solid(full=False)],
    "3D, camera axes": [solid(axes="camera", origin="root")],
}


@pytest.mark.parametrize("name", PEOPLE)
@pytest.mark.parametrize(("suffix", "metres", "pixels"), [(".npz", 0, 0), (".json", 1e-6, 1e-3)])
def test_round_trip(tmp_path: Path, name: str, suffix: str, metres: float, pixels: float) -> None:
    people = PEOPLE[name]
    assert write(tmp_path / f"a{suffix}", people) == [tmp_path / f"a{suffix}"]
    again = read(tmp_path / f"a{suffix}")
    assert isinstance(again, list)
    assert len(again) == len(people)
    for one, other in zip(people, again, strict=True):
        assert_same(one, other, metres, pixels)


@settings(max_examples=12, deadline=None)
@given(
    values=st.lists(
        st.floats(-1e4, 1e4) | st.just(float("nan")) | st.floats(-1e-7, 1e-7),
        min_size=6,
        max_size=6,
    ),
    history=st.lists(st.text(max_size=5), max_size=3),
)
def test_round_trip_of_any_numbers_and_words(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], history: list[str]
) -> None:
    own = Skeleton("mine", {"foot": "hip", "hip": ""}, "joints")
    poses = Poses3D(np.reshape(values, (1, 2, 3)), [0.0], own, history=tuple(history))
    folder = tmp_path_factory.mktemp("any")
    for suffix, metres in ((".npz", 0), (".json", 1e-6)):
        write(folder / f"a{suffix}", [poses])
        (again,) = read(folder / f"a{suffix}")  # type: ignore[misc]
        assert_same(poses, again, metres, 0)


def test_files_explain_themselves(tmp_path: Path) -> None:
    write(tmp_path / "a.npz", [solid(), solid(7)])
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert file["xyz_m"].shape == (2, 4, 17, 3)
        assert file["person"].tolist() == [0, 7]
        assert (str(file["units"]), str(file["axes"]), str(file["origin"])) == (
            "m",
            "world",
            "world",
        )
        assert file["joint_names"][0] == "pelvis"
        assert file["parents"][:2].tolist() == [-1, 0]
        assert file["observed_xy_px"].shape == (2, 4, 33, 2)
    write(tmp_path / "a.json", [solid()])
    document = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert document["axes_meaning"] == "right-handed, z up"
    assert document["xyz_m"][0][2][0] == [None, None, None]
    assert document["version"] == 1


def test_own_skeleton_of_a_known_name_stays_its_own(tmp_path: Path) -> None:
    own = Skeleton("coco17", {"a": "", "b": "a"})
    write(tmp_path / "a.npz", [Poses3D(np.zeros((1, 2, 3)), [0.0], own)])
    (again,) = read(tmp_path / "a.npz")  # type: ignore[misc]
    assert again.skeleton.joints == ("a", "b")


DIFFERENT = {
    "nobody": [],
    "no frames": [Poses3D(np.zeros((0, 17, 3)), [], skeleton("h36m17"))],
    "2D and 3D": [solid(), flat(1)],
    "3D and 2D": [flat(), solid(1)],
    "different numbers": [solid(), solid()],
    "time_s": [solid(full=False), solid(1, full=False).then("later", time_s=TIMES + 1)],
    "axes": [solid(full=False), solid(1, full=False, axes="camera")],
    "camera": [solid(camera=None), solid(1)],
    "for all or none": [solid(), solid(1, uncertainty_m=None)],
    "observed": [solid(), solid(1, observed=None)],
    "size_px": [flat(), flat(1).then("cut", size_px=(10, 10))],
}


@pytest.mark.parametrize("reason", DIFFERENT)
@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_what_one_file_cannot_hold(tmp_path: Path, reason: str, suffix: str) -> None:
    words = {"nobody": "nothing to write", "no frames": "one frame"}
    words |= {"2D and 3D": "all 2D or all 3D", "3D and 2D": "all 2D or all 3D"}
    with pytest.raises(InputError, match=words.get(reason, reason)):
        write(tmp_path / f"a{suffix}", DIFFERENT[reason])  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_damaged_npz(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    write(good, [solid()])
    data = good.read_bytes()
    for content in (b"", b"PK", data[:100], data[: len(data) // 2], data[:-1], b"text" * 50):
        bad.write_bytes(content)
        with pytest.raises(FormatError, match=r"bad\.npz"):
            read(bad)
    for place in range(0, len(data), len(data) // 60):  # a flipped byte: an error, or no harm
        bad.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        with suppress(FormatError):
            read(bad)
    with bad.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(FormatError, match="cannot be read as NPZ"):
        read(bad)
    np.savez(bad, xyz_m=np.zeros(3))
    with pytest.raises(FormatError, match="not of poselift"):
        read(bad)
    np.savez(bad, format=np.array({"a": 1}, dtype=object))  # a pickle inside
    with pytest.raises(FormatError, match=r"bad\.npz"):
        read(bad)
    with good.open("rb") as file, np.load(file) as arrays:
        entries = dict(arrays)
    broken = {
        "format": "other",
        "version": 2,
        "kind": "4d",
        "xyz_m": np.zeros((1, 4, 16, 3)),
        "time_s": [0, 2, 1, 3],
        "axes": "up",
        "person": [1, 2],
        "history": ["{"],
        "camera_K": np.eye(2),
        "parents": [99] * 17,
        "observed_size_px": [0, 0],
    }
    for name, value in broken.items():
        np.savez(bad, **{**entries, name: value})
        with pytest.raises(FormatError, match=r"bad\.npz"):
            read(bad)
    for name in ("xyz_m", "time_s", "joint_names", "camera_known", "observed_xy_px"):
        np.savez(bad, **{key: value for key, value in entries.items() if key != name})
        with pytest.raises(FormatError, match=rf"lacks an entry: expected {name[-5:]}|{name}"):
            read(bad)


def test_damaged_json(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write(path, [solid()])
    document = json.loads(path.read_text(encoding="utf-8"))
    broken = {"version": 9, "xyz_m": [[1]], "time_s": "x", "skeleton": None, "joint_names": 3}
    broken |= {"observed": 5, "camera_K": "x", "history": None, "person": ["x"]}
    for name, value in broken.items():
        path.write_text(json.dumps({**document, name: value}))
        with pytest.raises(FormatError, match=r"a\.json"):
            read(path)
