"""MoveNet: padding and reading its rows, with the known traps."""

import numpy as np
import pytest

from poselift.detect.movenet import MoveNet, decode, pad_square
from poselift.errors import InputError, ShapeError


def rows(*scores: float) -> np.ndarray:
    """Six rows; joint j at y = 0.1, x = 0.01 j."""
    table = np.zeros((6, 56))
    joints = table[:, :51].reshape(6, 17, 3)
    joints[..., 0], joints[..., 1], joints[..., 2] = 0.1, np.arange(17) / 100, 0.7
    table[: len(scores), 55] = scores
    return table


def test_images_are_padded_to_a_square_of_int32():
    image = np.full((100, 200, 3), 9, np.uint8)
    image[..., 0] = 200
    batch, scale = pad_square(image)
    assert batch.shape == (1, 256, 256, 3)
    assert batch.dtype == np.int32
    assert scale == 1.28
    assert batch[0, 127, 255].tolist() == [200, 9, 9]  # red stays first
    assert (batch[0, 128:] == 0).all()
    upright, _ = pad_square(image.transpose(1, 0, 2).copy())
    assert (upright[0, :, 128:] == 0).all()
    assert (upright[0, :, :128] > 0).all()


def test_extreme_images_do_not_vanish():
    for shape in ((1, 1, 3), (1, 5000, 3), (3000, 2, 3)):
        batch, _ = pad_square(np.full(shape, 7, np.uint8))
        assert (batch == 7).any()


def test_the_network_writes_y_first():
    (person,) = decode(rows(0.4), 1000, 0.2)
    np.testing.assert_allclose(person.xy_px[3], [30, 100])
    np.testing.assert_allclose(person.confidence, 0.7)


def test_the_best_come_first_and_weak_ones_not_at_all():
    people = decode(rows(0.21, 0.5, 0.19, 0.3), 1000, 0.2)
    assert [person.score for person in people] == [0.5, 0.3, 0.21]


def test_joints_in_the_padding_were_not_seen(monkeypatch):
    detector = MoveNet(threads=1)
    monkeypatch.setattr(detector, "_network", lambda batch: [rows(0.5)[None]])
    wide, narrow = np.zeros((50, 1000, 3), np.uint8), np.zeros((1000, 100, 3), np.uint8)
    (person,) = detector(wide)  # all joints are at y = 100
    assert np.isnan(person.xy_px).all()
    assert not person.confidence.any()
    (person,) = detector(narrow)
    assert np.isnan(person.xy_px[:, 0]).tolist() == [False] * 11 + [True] * 6


def test_a_grey_image_shows_nobody():
    assert MoveNet(threads=1)(np.full((480, 640, 3), 127, np.uint8)) == []


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="min_score"):
        MoveNet(min_score=2)
    with pytest.raises(ShapeError):
        MoveNet(threads=1)(np.zeros((480, 640), np.uint8))
