"""BlazePose: cropping and reading its outputs, with the known traps."""

import numpy as np
import pytest

from poselift.detect.blazepose import BlazePose, crop_region, decode, refine
from poselift.detect.regions import Region
from poselift.errors import InputError, ShapeError, WeightsError

FLAT = -20.0  # a heatmap logit of nothing


@pytest.fixture(scope="module")
def blazepose() -> BlazePose:
    return BlazePose(threads=1)


def outputs(presence: float = 0.9) -> list[np.ndarray]:
    """39 joints at crop pixel (128, 128), logits zero, world zero, heatmaps flat, mask."""
    raw = np.zeros((39, 5))
    raw[:, :2] = 128
    raw[34, :2] = 128, 28  # scale point, straight above the hips
    heat = np.full((1, 64, 64, 39), FLAT)
    mask = np.zeros((1, 256, 256, 1))
    arrays = [raw.reshape(1, 195), np.full((1, 1), presence), mask, heat, np.zeros((1, 117))]
    return [array.astype(np.float32) for array in arrays]


def test_pixel_128_of_the_crop_is_the_centre_of_the_region():
    image = np.zeros((400, 400, 3), np.uint8)
    image[150, 220] = 255
    for angle in (0.0, 0.7, np.pi):
        crop = crop_region(image, Region((220, 150), 256, angle))
        assert np.unravel_index(crop[..., 0].argmax(), (256, 256)) == (128, 128)


def test_a_crop_and_its_points_agree():
    image = np.zeros((400, 400, 3), np.uint8)
    image[90:94, 250:254] = 255
    region = Region((220, 150), 300, 0.5)
    crop = crop_region(image, region)[..., 0].astype(float)
    rows, columns = np.mgrid[:256, :256]
    peak = np.array([(crop * columns).sum(), (crop * rows).sum()]) / crop.sum()
    np.testing.assert_allclose(region.to_image(peak / 256), [251.5, 91.5], atol=0.3)


def test_shrinking_samples_and_does_not_average():
    image = np.zeros((1024, 1024, 3), np.uint8)
    image[:, ::2] = 255
    crop = crop_region(image, Region((512, 512), 1024))
    assert set(np.unique(crop)) == {255}  # an average would be 127


def test_edges_are_repeated_outside_the_image():
    image = np.full((100, 100, 3), 200, np.uint8)
    assert (crop_region(image, Region((0, 0), 200)) == 200).all()


def test_confidence_is_the_product_of_two_sigmoids():
    raw = outputs()
    joints = raw[0].reshape(39, 5)
    joints[0, 3:] = 0, 0
    joints[1, 3:] = 100, 100
    joints[2, 3:] = 100, -1000
    confidence = decode(raw, Region((50, 50), 100)).confidence
    np.testing.assert_allclose(confidence[:3], [0.25, 1, 0], atol=1e-6)
    assert confidence.shape == (33,)


def test_joints_come_out_as_x_y_in_image_pixels():
    raw = outputs()
    raw[0].reshape(39, 5)[11, :2] = 256, 64  # left shoulder
    found = decode(raw, Region((100, 200), 50))
    np.testing.assert_allclose(found.xy_px[11], [125, 187.5])
    np.testing.assert_allclose(found.xy_px[12], [100, 200])


def test_world_joints_turn_back_with_the_region():
    raw = outputs()
    raw[4].reshape(39, 3)[0] = 1, 2, 3
    upside_down = decode(raw, Region((100, 200), 50, np.pi))
    np.testing.assert_allclose(upside_down.xyz_m[0], [-1, -2, 3], atol=1e-6)
    assert upside_down.xyz_m.shape == (33, 3)


def test_the_next_region_follows_the_two_extra_points():
    for angle in (0.0, 0.5, np.pi / 2):
        found = decode(outputs(), Region((100, 200), 256, angle))
        np.testing.assert_allclose(found.next_region.centre_px, [100, 200])
        assert found.next_region.side_px == pytest.approx(250)  # 2.5 times 100 crop pixels
        assert found.next_region.angle_rad == pytest.approx(angle)


def test_heatmaps_move_joints_to_their_centre_of_mass():
    heat = np.full((64, 64, 1), FLAT)
    heat[30, 20:22, 0] = 20.0  # row 30, columns 20 and 21
    moved = refine(np.array([[0.33, 0.46]]), heat)
    np.testing.assert_allclose(moved, [[20.5 / 64, 30 / 64]], atol=1e-6)


def test_heatmaps_that_say_nothing_move_nothing():
    start = np.array([[0.33, 0.46], [1.2, 0.5], [-0.1, 0.5], [0.99, 0.01]])
    flat = np.full((64, 64, 4), FLAT)
    np.testing.assert_array_equal(refine(start, flat), start)
    far = flat.copy()
    far[30, 40, 0] = 20.0  # a peak outside the window
    np.testing.assert_array_equal(refine(start, far), start)


def test_joints_outside_the_image_were_not_seen():
    raw = outputs()
    raw[0].reshape(39, 5)[:, 3:] = 100
    raw[0].reshape(39, 5)[5, :2] = 0, 128
    found = decode(raw, Region((60, 50), 256)).detection(100, 100)
    assert np.isnan(found.xy_px[5]).all()
    assert found.confidence[5] == 0
    assert np.isfinite(found.xy_px[6]).all()
    assert found.score == pytest.approx(0.9)


def test_other_outputs_are_refused():
    with pytest.raises(WeightsError, match="195"):
        decode(outputs()[1:], Region((60, 50), 256))


def test_a_grey_image_shows_nobody(blazepose):
    image = np.full((480, 640, 3), 127, np.uint8)
    found = blazepose.landmarks(image, Region((320, 240), 400))
    assert found.presence < 0.5
    assert found.xy_px.shape == (33, 2)


def test_the_network_sees_rgb_from_zero_to_one(blazepose, monkeypatch):
    seen = []
    monkeypatch.setattr(blazepose, "_network", lambda batch: seen.append(batch) or outputs())
    image = np.zeros((480, 640, 3), np.uint8)
    image[..., 0], image[..., 2] = 255, 51  # red, with a little blue
    blazepose.landmarks(image, Region((320, 240), 300))
    assert seen[0].shape == (1, 256, 256, 3)
    assert seen[0].dtype == np.float32
    np.testing.assert_allclose(seen[0][0, 100, 100], [1, 0, 0.2])


def test_bad_input_is_refused(blazepose):
    image = np.zeros((480, 640, 3), np.uint8)
    with pytest.raises(InputError, match="640x480"):
        blazepose.landmarks(image, Region((320, 240), 1))
    with pytest.raises(ShapeError):
        blazepose.landmarks(image.astype(float), Region((320, 240), 300))
