"""Embedded weights are what their records say, and failures are errors."""

import hashlib
import json

import numpy as np
import pytest

from poselift.detect.network import WEIGHTS, Network, check_image, usable_cores, weights_record
from poselift.errors import DetectorError, InputError, ShapeError, WeightsError

NAMES = ["movenet_multipose", "blazepose_heavy"]


def write_record(folder, content: bytes, claimed: bytes) -> None:
    (folder / "tiny.onnx").write_bytes(content)
    record = {"file": "tiny.onnx", "sha256": hashlib.sha256(claimed).hexdigest()}
    (folder / "tiny.json").write_text(json.dumps(record))


@pytest.mark.parametrize("name", NAMES)
def test_records_name_source_and_licence(name):
    record = json.loads((WEIGHTS / f"{name}.json").read_text())
    assert record["source"]["integrity"].startswith("sha512-")
    assert record["licence"]["weights"] == "Apache-2.0"
    assert "not_verified" in record["licence"]
    content = (WEIGHTS / record["file"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == record["sha256"]


def test_every_weights_file_has_a_record():
    assert {path.stem for path in WEIGHTS.glob("*.onnx")} == set(NAMES)
    assert {path.stem for path in WEIGHTS.glob("*.json")} == set(NAMES)


def test_other_weights_are_refused(tmp_path):
    write_record(tmp_path, b"something else", b"the true weights")
    expected = hashlib.sha256(b"the true weights").hexdigest()
    found = hashlib.sha256(b"something else").hexdigest()
    with pytest.raises(WeightsError, match=rf"expected SHA-256 {expected}, found {found}"):
        Network("tiny", folder=tmp_path)


def test_weights_that_are_no_network_are_refused(tmp_path):
    write_record(tmp_path, b"no network", b"no network")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        Network("tiny", folder=tmp_path)


def test_missing_weights_and_records_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"tiny\.json"):
        Network("tiny", folder=tmp_path)
    write_record(tmp_path, b"", b"")
    (tmp_path / "tiny.onnx").unlink()
    with pytest.raises(WeightsError, match=r"tiny\.onnx"):
        Network("tiny", folder=tmp_path)
    (tmp_path / "tiny.json").write_text("{}")
    with pytest.raises(WeightsError, match="file"):
        weights_record("tiny", tmp_path)


def test_a_failing_network_is_an_error_not_an_empty_image():
    network = Network("movenet_multipose", threads=1)
    with pytest.raises(DetectorError, match="movenet_multipose failed"):
        network(np.zeros((1, 256, 256, 3), np.float32))  # it takes int32
    with pytest.raises(DetectorError, match="movenet_multipose failed"):
        network(np.zeros((1, 128, 128, 3), np.int32))


def test_outputs_that_are_not_finite_are_an_error():
    network = Network("blazepose_heavy", threads=1)
    with pytest.raises(DetectorError, match="NaN"):
        network(np.full((1, 256, 256, 3), np.nan, np.float32))


def test_threads():
    with pytest.raises(InputError, match="at least 1"):
        Network("movenet_multipose", threads=0)
    assert 1 <= usable_cores() <= 8


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
    ids=["grey", "alpha", "float", "empty"],
)
def test_other_images_are_refused(image):
    with pytest.raises(ShapeError, match="RGB bytes"):
        check_image(image)
