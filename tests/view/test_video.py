import av
import cv2
import numpy as np
import pytest

from poselift.errors import InputError
from poselift.io.frames import Frame
from poselift.view.style import accent
from poselift.view.video import write_overlay, write_still

from .walker import person, two_people


def film(times, size_px=(640, 360), grey=90):
    """Grey frames, made one at a time."""
    for index, time_s in enumerate(times):
        yield Frame(np.full((size_px[1], size_px[0], 3), grey, np.uint8), time_s, index)


def read(path):
    """Images and times of a video."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [f.to_ndarray(format="rgb24") for f in frames], [f.time for f in frames]


def near(image, rgb, tolerance=60):
    return int((np.abs(image.astype(int) - rgb).max(-1) < tolerance).sum())


def test_the_overlay_stands_beside_the_3d_view(tmp_path):
    people = two_people(seconds=0.4)
    done = []
    path = tmp_path / "out.mp4"
    write_overlay(path, film(people[0].time_s), people, progress=done.append)
    images, times = read(path)
    assert len(images) == 12
    assert done == list(range(1, 13))
    np.testing.assert_allclose(times, people[0].time_s, atol=1e-3)
    assert images[0].shape == (360, 640 + 360, 3)
    left, right = images[0][:, :640], images[0][:, 640:]
    assert left[5, 5] == pytest.approx(90, abs=6)  # the video itself
    assert near(left, accent(0)) > 3
    assert near(right, accent(0)) > 100
    assert list(tmp_path.iterdir()) == [path]


def test_frames_are_matched_by_time(tmp_path):
    people = two_people(seconds=0.4)
    path = tmp_path / "out.mp4"
    write_overlay(path, film([0.0, 0.11, 0.5, 0.9]), people)
    images, _ = read(path)
    figures = [near(image[60:300, 640:], accent(0)) for image in images]
    assert min(figures[:2]) > 80
    assert max(figures[2:]) == 0


def test_no_more_than_one_frame_is_held(tmp_path):
    people = two_people(seconds=0.3)
    given, written = [], []

    def frames():
        for frame in film(people[0].time_s):
            given.append(frame.index)
            assert len(given) - len(written) <= 1
            yield frame

    write_overlay(tmp_path / "out.mp4", frames(), people, progress=written.append)
    assert len(written) == len(given) == 9


@pytest.mark.parametrize(
    ("size_px", "expected_px"),
    [((1920, 1080), (1280, 720)), ((270, 480), (270, 480)), ((161, 121), (480, 360))],
)
def test_the_height_is_kept_within_limits(tmp_path, size_px, expected_px):
    people = two_people(seconds=0.1)
    path = tmp_path / "out.mp4"
    write_overlay(path, film(people[0].time_s, size_px), people)
    height, width = read(path)[0][0].shape[:2]
    assert height == expected_px[1]
    assert width == pytest.approx(expected_px[0] + height, abs=2)


def test_without_video_the_2d_is_drawn_on_a_dark_canvas(tmp_path):
    people = two_people(seconds=0.2)
    path = tmp_path / "out.mp4"
    write_overlay(path, None, people)
    image = read(path)[0][0]
    assert image.shape == (360, 1000, 3)
    assert image[5, 5].max() < 60
    assert near(image[:, :640], accent(0)) > 3


def test_without_2d_only_the_3d_view_is_shown(tmp_path):
    people = [p.then("2D forgotten", observed=None) for p in two_people(seconds=0.2)]
    path = tmp_path / "out.mp4"
    write_overlay(path, None, people)
    assert read(path)[0][0].shape == (720, 720, 3)


def test_a_failure_leaves_no_file(tmp_path):
    people = two_people(seconds=0.3)

    def broken():
        yield from film([0.0, 0.1])
        raise RuntimeError("the camera fell")

    with pytest.raises(RuntimeError, match="the camera fell"):
        write_overlay(tmp_path / "a.mp4", broken(), people)
    with pytest.raises(InputError, match="at least one"):
        write_overlay(tmp_path / "b.mp4", iter(()), people)
    with pytest.raises(InputError, match="times of the frames"):
        write_overlay(tmp_path / "c.mp4", film([0.1, 0.1]), people)
    assert list(tmp_path.iterdir()) == []


def test_a_still_is_a_png_of_one_moment(tmp_path):
    people = two_people(seconds=0.4)
    path = tmp_path / "still.png"
    write_still(path, next(film([0.0], grey=120)).image, people, 1, height_px=360)
    image = cv2.imread(str(path))[..., ::-1]
    assert image.shape == (360, 1000, 3)
    assert image[5, 5].tolist() == [120, 120, 120]
    assert near(image[:, 640:], accent(1)) > 50
    write_still(path, None, people, 1)
    assert cv2.imread(str(path)).shape == (720, 2000, 3)
    with pytest.raises(InputError, match="0 to 11"):
        write_still(path, None, people, 12)


def test_one_frame_is_a_video_too(tmp_path):
    people = two_people(seconds=0.1)
    one = [person(p.xyz_m[:1], p.time_s[:1]) for p in people]
    write_overlay(tmp_path / "out.mp4", film([0.0]), one)
    assert len(read(tmp_path / "out.mp4")[0]) == 1
