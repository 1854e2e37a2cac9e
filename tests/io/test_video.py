import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from poselift.errors import FormatError, InputError, OutputError, ShapeError
from poselift.io.video import Frame, VideoWriter, open_frames

TICKS = 90_000
STEP = 8  # brightness of blue rises by this from frame to frame


def picture(number: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2, 0] = 200
    image[: height // 2, :, 1] = 120
    image[..., 2] = STEP * number % 256
    return image


def number_of(image: np.ndarray) -> int:
    """Which picture this is, by its blue at the lower right (no red, no green there)."""
    height, width = image.shape[:2]
    return round(float(image[-height // 4 :, -width // 4 :, 2].mean()) / STEP)


def write_clip(
    path: Path,
    times: Sequence[float],
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    pixels: str = "yuv444p",
    aspect: Fraction | None = None,
    **options: str,
) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.codec_context.time_base = Fraction(1, TICKS)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        stream.options = {"crf": "12", **options} if codec == "libx264" else options
        for number, time_s in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            frame.pts, frame.time_base = round(time_s * TICKS), Fraction(1, TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def set_matrix(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Write a display matrix (a, b, c, d) into the track header of an MP4 file."""
    data = path.read_bytes()
    start = data.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in matrix)
    path.write_bytes(
        data[:start] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[start + 36 :]
    )
    return path


def write_audio(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        samples = np.zeros((1, 8000), np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_image(path: Path, image: np.ndarray, orientation: int | None = None) -> Path:
    ok, data = cv2.imencode(path.suffix, image[..., ::-1])
    assert ok
    raw = data.tobytes()
    if orientation:  # a minimal EXIF block behind the start-of-image marker
        tiff = b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01"
        tiff += struct.pack(">HHI", orientation, 0, 0)
        body = b"Exif\x00\x00" + tiff
        raw = raw[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + raw[2:]
    path.write_bytes(raw)
    return path


STEADY = [n / 30 for n in range(20)]
IRREGULAR = [0, 0.033, 0.1, 0.15, 0.3, 0.31, 0.5]


def read(path: Path, **options: float) -> tuple[list[Frame], tuple[str, ...]]:
    with open_frames(path, **options) as source:
        frames = list(source)
        return frames, source.notes


def test_frames_colours_and_facts(tmp_path: Path) -> None:
    with open_frames(write_clip(tmp_path / "a.mp4", STEADY)) as source:
        frames = list(source)
        assert source.size_px == (64, 48)
        assert source.rate_hz == pytest.approx(30)
        assert source.count == 20
        assert source.notes == ()
        again = [frame.time_s for frame in source]
    assert [frame.index for frame in frames] == list(range(20))
    assert again == [frame.time_s for frame in frames]
    np.testing.assert_allclose(again, STEADY, atol=1e-9)
    for number, frame in enumerate(frames):
        assert frame.image.shape == (48, 64, 3)
        assert frame.image.dtype == np.uint8
        difference = np.abs(frame.image.astype(int) - picture(number)).mean()
        assert difference < 6, (number, difference)  # red left of blue: RGB, not BGR


def test_variable_rate_keeps_true_times(tmp_path: Path) -> None:
    frames, notes = read(write_clip(tmp_path / "a.mp4", IRREGULAR))
    np.testing.assert_allclose([f.time_s for f in frames], IRREGULAR, atol=1e-5)
    assert [number_of(f.image) for f in frames] == list(range(7))
    assert notes == ()


def test_times_start_at_zero(tmp_path: Path) -> None:
    frames, _ = read(write_clip(tmp_path / "a.mkv", [5 + t for t in STEADY]))
    np.testing.assert_allclose([f.time_s for f in frames], STEADY, atol=2e-3)


# (display matrix, what a viewer then sees): quarter turns clockwise and mirror images
TURNS = {
    "clockwise": ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    "half": ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
    "counter-clockwise": ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
    "mirrored": ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
    "mirrored and turned": ((0, 1, 1, 0), lambda image: image.transpose(1, 0, 2)),
}


@pytest.mark.parametrize("name", TURNS)
def test_rotation_is_applied(tmp_path: Path, name: str) -> None:
    matrix, shown = TURNS[name]
    path = set_matrix(write_clip(tmp_path / "a.mp4", STEADY[:3]), matrix)
    with open_frames(path) as source:
        frames = list(source)
        expected = shown(picture(1))
        assert source.size_px == expected.shape[1::-1]
    assert frames[1].image.shape == expected.shape
    assert np.abs(frames[1].image.astype(int) - expected).mean() < 6


def test_rotation_agrees_with_opencv(tmp_path: Path) -> None:
    path = set_matrix(write_clip(tmp_path / "a.mp4", STEADY[:3], pixels="yuv420p"), (0, 1, -1, 0))
    capture = cv2.VideoCapture(str(path))
    ok, image = capture.read()
    capture.release()
    assert ok
    ours = read(path)[0][0].image
    assert ours.shape == image.shape
    assert np.abs(ours.astype(int) - image[..., ::-1]).mean() < 3


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", STEADY[:3], aspect=Fraction(3, 2))
    with open_frames(path) as source:
        frames = list(source)
        assert source.size_px == (96, 48)
        assert "96 x 48" in source.notes[0]
    assert frames[0].image.shape == (48, 96, 3)


@pytest.mark.parametrize("options", [{}, {"g": "5"}, {"bf": "0", "g": "1000"}])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_spans(tmp_path: Path, suffix: str, options: dict[str, str]) -> None:
    path = write_clip(tmp_path / f"a{suffix}", STEADY, **options)
    times = [frame.time_s for frame in read(path)[0]]
    for start, end in ((0, 6), (3, 9), (7, 7), (12, 19), (19, 19)):
        frames, notes = read(path, start_s=times[start], end_s=times[end])
        assert [number_of(f.image) for f in frames] == list(range(start, end + 1))
        assert [f.time_s for f in frames] == times[start : end + 1]
        assert [f.index for f in frames] == list(range(end - start + 1))
        assert notes == ()


def test_exact_ends_belong_to_the_span(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", [0.1 * n for n in range(10)])
    frames, _ = read(path, start_s=0.3, end_s=0.7)
    assert [number_of(f.image) for f in frames] == [3, 4, 5, 6, 7]
    with open_frames(path, start_s=0.3, end_s=0.7) as source:
        assert source.count == pytest.approx(4, abs=1)


def test_bad_spans(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", STEADY)
    with pytest.raises(InputError, match="no frame in 9 s to the end"):
        read(path, start_s=9)
    for start, end in ((-1, None), (2, 1), (float("nan"), None)):
        with pytest.raises(InputError, match=r"(start|end) of the clip"):
            open_frames(path, start_s=start, end_s=end)


def test_truncated_video_is_refused_unless_an_end_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with VideoWriter(path, (64, 48)) as writer:  # index at the start of the file
        for number in range(60):
            writer.write(picture(number))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.7)])
    with pytest.raises(
        FormatError, match=r"a\.mp4 is cut off: expected 60 frames.*found \d+, up to"
    ):
        read(path)
    frames, _ = read(path, end_s=0.5)
    assert [number_of(f.image) for f in frames] == list(range(16))
    path.write_bytes(data[: len(data) // 4])
    with pytest.raises(FormatError, match=r"a\.mp4"):
        read(path)


def test_damage_in_the_middle_leaves_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write(path, [picture(n) for n in range(30)], [n / 30 for n in range(30)])
    data = bytearray(path.read_bytes())
    middle = (data.index(b"mdat") + len(data)) // 2
    data[middle : middle + 60] = bytes(60)
    path.write_bytes(bytes(data))
    frames, notes = read(path)
    assert 20 <= len(frames) < 30
    assert frames[-1].time_s == pytest.approx(29 / 30)
    assert any("packets could not be decoded" in note for note in notes)


def test_times_that_do_not_rise_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip(tmp_path / "a.mp4", STEADY[:6])
    source = open_frames(path)
    times = iter([0.0, 0.1, 0.1, None, 0.05, 0.2])
    monkeypatch.setattr(source, "_since_first", lambda frame, number: next(times))
    assert [frame.time_s for frame in source] == [0.0, 0.1, 0.2]
    assert source.notes == (
        "frames left out since their time stamp does not rise or is missing: 3",
    )


def test_reordered_frames_in_avi(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"  # has no showing times; libx264 reorders
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
        stream.options = {"crf": "12", "bf": "3"}
        for number in range(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number))))
        container.mux(stream.encode())
    frames, notes = read(path)
    assert [number_of(f.image) for f in frames] == list(range(20))
    np.testing.assert_allclose([f.time_s for f in frames], STEADY, atol=1e-9)
    assert notes == ()
    frames, _ = read(path, start_s=0.2, end_s=0.4)
    assert [number_of(f.image) for f in frames] == list(range(6, 13))


def test_stream_without_times(tmp_path: Path) -> None:
    frames, notes = read(write_clip(tmp_path / "a.h264", STEADY), start_s=0.2)
    assert len(frames) == 15  # the raw stream is taken for 25 frames per second: 5 left out
    assert frames[0].time_s == pytest.approx(0.2)
    assert "no time stamps" in notes[0]


def test_not_videos(tmp_path: Path) -> None:
    (tmp_path / "zero.mp4").touch()
    (tmp_path / "text.mp4").write_text("hello " * 100)
    (tmp_path / "notes.txt").write_text("hello\n" * 100)
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n")
    write_clip(tmp_path / "a.ts", STEADY)
    write_audio(tmp_path / "sound.mp4")
    reasons = {
        "none.mp4": "does not exist",
        "zero.mp4": "is empty",
        "text.mp4": "not a video",
        "notes.txt": "not a video",
        "list.m3u8": "not a video",
        "sound.mp4": "expected a video stream, found audio",
    }
    for name, reason in reasons.items():
        with pytest.raises(FormatError, match=reason) as caught:
            open_frames(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_close_ends_a_loop(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", STEADY)
    with open_frames(path) as source:
        loop = iter(source)
        next(loop)
    with pytest.raises(StopIteration):
        next(loop)


def test_images_of_a_folder(tmp_path: Path) -> None:
    for number in (0, 2, 10):
        write_image(tmp_path / f"im{number}.png", picture(number))
    (tmp_path / "readme.md").write_text("x")
    (tmp_path / ".hidden.png").write_text("x")
    with open_frames(tmp_path) as source:
        frames = list(source)
        assert (source.size_px, source.rate_hz, source.count) == ((64, 48), 30, 3)
        assert "30 frames per second assumed" in source.notes[0]
    assert [number_of(f.image) for f in frames] == [0, 2, 10]
    np.testing.assert_array_equal(frames[1].image, picture(2))
    np.testing.assert_allclose([f.time_s for f in frames], [0, 1 / 30, 2 / 30])
    frames, notes = read(tmp_path, fps=2, start_s=0.4)
    assert [f.time_s for f in frames] == [0.5, 1.0]
    assert notes == ()
    with pytest.raises(InputError, match="fps"):
        open_frames(tmp_path, fps=0)
    with pytest.raises(InputError, match="no frame in 5 s"):
        open_frames(tmp_path, start_s=5)


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"no images.*\.jpg"):
        open_frames(tmp_path)
    write_image(tmp_path / "a.png", picture(0))
    write_image(tmp_path / "b.png", picture(0, (32, 48)))
    with pytest.raises(FormatError, match=r"b\.png.*expected 64 x 48, found 32 x 48"):
        read(tmp_path)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    with pytest.raises(FormatError, match=r"b\.png is not an image"):
        read(tmp_path)


def test_single_image(tmp_path: Path) -> None:
    with open_frames(write_image(tmp_path / "é.png", picture(3))) as source:
        (frame,) = source
        assert (source.rate_hz, source.count, source.notes) == (None, 1, ())
    assert (frame.time_s, frame.index) == (0.0, 0)
    np.testing.assert_array_equal(frame.image, picture(3))


def test_exif_orientation(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.jpg", picture(3), orientation=6)
    with open_frames(path) as source:
        (frame,) = source
        assert source.size_px == (48, 64)
    assert np.abs(frame.image.astype(int) - np.rot90(picture(3), -1)).mean() < 6


def write(path: Path, images: Sequence[np.ndarray], times: Sequence[float]) -> None:
    with VideoWriter(path, (64, 48)) as writer:
        for image, time_s in zip(images, times, strict=True):
            writer.write(image, time_s)


def test_writer_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.mp4"
    with VideoWriter(path, (63, 47)) as writer:
        for number, time_s in enumerate(IRREGULAR):
            writer.write(picture(number, (63, 47)), 7 + time_s)
            assert not path.exists()
    frames, notes = read(path)
    np.testing.assert_allclose([f.time_s for f in frames], IRREGULAR, atol=1 / TICKS)
    assert [f.image.shape for f in frames] == [(48, 64, 3)] * 7
    assert [number_of(f.image) for f in frames] == list(range(7))
    assert notes == ()
    assert [file.name for file in path.parent.iterdir()] == ["a.mp4"]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
    assert path.read_bytes().index(b"moov") < path.read_bytes().index(b"mdat")


def test_writer_nominal_rate(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", (64, 48), 25) as writer:
        for number in range(5):
            writer.write(picture(number))
    with open_frames(tmp_path / "a.mp4") as source:
        np.testing.assert_allclose([f.time_s for f in source], np.arange(5) / 25, atol=1e-6)
        assert source.rate_hz == pytest.approx(25)


def test_writer_refuses(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with pytest.raises(ShapeError, match="video frame"):
        write(path, [picture(0), picture(0, (32, 48))], [0.0, 0.1])
    with pytest.raises(ShapeError, match="video frame"):
        write(path, [picture(0).astype(float)], [0.0])
    with pytest.raises(InputError, match="more than 0 s"):
        write(path, [picture(0), picture(1)], [0.0, 0.0])
    with pytest.raises(InputError, match="finite"):
        write(path, [picture(0)], [float("nan")])
    with pytest.raises(OutputError, match="found none"):
        write(path, [], [])
    with pytest.raises(InputError, match="rate"):
        VideoWriter(path, (64, 48), 0)
    with pytest.raises(InputError, match="size"):
        VideoWriter(path, (0, 48))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write .*b\.mp4"):
        write(tmp_path / "file" / "b.mp4", [picture(0)], [0.0])


def test_writer_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise av.error.OSError(28, "No space left on device")

    monkeypatch.setattr(VideoWriter, "_tick", full)  # raised where the encoder would raise it
    with pytest.raises(OutputError, match="No space left"):
        write(tmp_path / "a.mp4", [picture(0)], [0.0])
    assert list(tmp_path.iterdir()) == []
