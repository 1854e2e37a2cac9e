"""Users' pickles and NPZ with objects: plain values come through, everything else is refused."""

import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from poselift.errors import FormatError
from poselift.protocols.legacy import read_entry, read_pickle

VALUES = {
    "S9": {"Walking 1": [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((0, 2))]},
    "names": ("a", "b", None, True, 1.5),
    "one": np.float64(2.5),
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "objects": np.array([np.arange(2), "x"], dtype=object),
    "bytes": b"\x00\xff",
}


def same(a: object, b: object) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and type(a) is type(b):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.dtype == object:
        return b.dtype == object and same(a.tolist(), b.tolist())
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return type(a) is type(b) and a == b


class Runs:
    """What an attacker puts into a pickle: a call, made on loading."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_of_a_pickle_come_through(tmp_path, protocol):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(VALUES, protocol=protocol))
    assert same(read_pickle(path), VALUES)


def test_a_pickle_of_python_2_and_old_numpy_comes_through(tmp_path):
    raw = pickle.dumps({"x": np.arange(3.0)}, protocol=2)
    old = raw.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert old != raw
    path = tmp_path / "a.pkl"
    path.write_bytes(old)
    assert same(read_pickle(path), {"x": np.arange(3.0)})
    # Python 2 writes text and bytes alike; bytes of an array stand in a string.
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01(K\x02t"
    array += b"cnumpy\ndtype\n(U\x02f8K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
    array += b"K\x00tb\x89U\x10" + np.array([1.5, -2.0]).tobytes() + b"tb."
    path.write_bytes(b"\x80\x02" + array)
    assert same(read_pickle(path), np.array([1.5, -2.0]))


def test_entries_of_npz_come_through(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(
        path, positions=np.array(VALUES, dtype=object), plain=np.arange(6).reshape(2, 3)
    )
    assert same(read_entry(path, "positions"), VALUES)
    assert same(read_entry(path, "plain"), np.arange(6).reshape(2, 3))
    np.savez(path, plain=np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    assert same(read_entry(path, "plain"), np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize("kind", ["pkl", "npz"])
def test_what_could_run_code_is_refused_and_not_run(tmp_path, kind):
    victim, path = tmp_path / "victim", tmp_path / f"a.{kind}"
    if kind == "pkl":
        path.write_bytes(pickle.dumps({"data": Runs(victim)}))
    else:
        np.savez(path, data=np.array({"x": Runs(victim)}, dtype=object))
    with pytest.raises(FormatError, match=r"could run code.*found pathlib.*Path") as caught:
        read_pickle(path) if kind == "pkl" else read_entry(path, "data")
    assert str(path) in str(caught.value)
    assert not victim.exists()


@pytest.mark.parametrize("value", [Fraction(1, 2), np.random.default_rng, print])
def test_other_classes_and_functions_are_refused_by_name(tmp_path, value):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps([value]))
    name = getattr(value, "__name__", "Fraction")
    with pytest.raises(FormatError, match=rf"refused.*{name}"):
        read_pickle(path)


def test_calling_the_array_type_is_refused(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"cnumpy\nndarray\n((K\x01tVO\ntR.")
    with pytest.raises(FormatError, match=r"numpy\.ndarray, called"):
        read_pickle(path)


@pytest.mark.parametrize("cut", [0, 1, 20, -1])
def test_damaged_pickles_are_named(tmp_path, cut):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(VALUES)[:cut])
    with pytest.raises(FormatError, match=r"a\.pkl"):
        read_pickle(path)


def test_damaged_and_foreign_npz_are_named_with_the_entries_there(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(FormatError, match=r"a\.npz does not exist"):
        read_entry(path, "x")
    path.write_bytes(b"PK no zip")
    with pytest.raises(FormatError, match=r"a\.npz cannot be read as NPZ"):
        read_entry(path, "x")
    np.savez(path, boxes=np.zeros(2), keypoints=np.zeros(3))
    with pytest.raises(FormatError, match=r"expected positions_2d \(known: boxes, keypoints\)"):
        read_entry(path, "positions_2d")
    np.savez(path, x=np.arange(1000))
    path.write_bytes(path.read_bytes().replace(b"\x93NUMPY", b"\x93NUMBY"))
    with pytest.raises(FormatError, match=r"a\.npz cannot be read as NPZ"):
        read_entry(path, "x")
