"""Video files as upright RGB frames with their true times; one door for all sources of frames."""

import os
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from poselift.errors import FormatError, InputError
from poselift.io.files import check_input_file
from poselift.io.frames import DEFAULT_FPS, IMAGE_SUFFIXES, Frame, FrameSource, Image, Span
from poselift.io.images import open_folder, open_image
from poselift.io.video_writer import VideoWriter

__all__ = ["Frame", "FrameSource", "VideoWriter", "open_frames"]

# FFmpeg would also draw text files as video, and follow play lists to other files and hosts.
_REFUSED = frozenset({"tty", "hls", "concat", "dash", "sdp", "rtsp", "imf", "lavfi"})


def open_frames(
    path: str | os.PathLike[str],
    *,
    fps: float | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
) -> FrameSource:
    """Frames of a video file, an image, or a folder of images (natural order).

    Only start_s <= time_s <= end_s is read. `fps` gives a folder its rate (default 30, then said
    in `notes`); a video has its own times. Raises FormatError (missing, empty, no video, no
    images, damaged from the first frame on, cut off), InputError (empty span, bad numbers).
    """
    path, span = Path(path), Span(start_s, end_s)
    if path.is_dir():
        return open_folder(path, fps, span)
    check_input_file(path)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return open_image(path, span)
    source = VideoFile(path, span)
    if fps is not None:
        source.note(f"fps {fps:g} was not used: the video has its own times")
    return source


class VideoFile(FrameSource):
    """A video file: rotation and pixel shape applied, true times, damaged parts left out."""

    def __init__(self, path: Path, span: Span) -> None:
        super().__init__(path)
        self.span = span
        self._first_s: float | None = None
        with closing(self._decoded(0.0)) as frames:
            first = next(frames, None)
        if first is None:
            raise FormatError(f"{path} holds no frame that can be decoded")
        self._matrix = _display_matrix(first)
        with _open(path) as (container, stream):
            self._stored_px = _square_pixels(stream, first)
            self.rate_hz = _rate_hz(stream)
            self._declared = stream.frames
            # AVI tells only when to decode; its showing times are wrong where frames are reordered.
            self._by_decoding = container.format.name == "avi"
            self.count = _count(container, stream, self.rate_hz, span)
        self._first_s = self._file_time(first)
        self.size_px = self._stored_px[::-1] if _turned(self._matrix) else self._stored_px
        if self._first_s is None:
            self.note(f"no time stamps in the file: {self._guess_hz:g} frames per second assumed")

    @property
    def _guess_hz(self) -> float:
        return self.rate_hz or DEFAULT_FPS

    def _frames(self) -> Generator[Frame, None, None]:
        index = -1
        for index, (time_s, frame) in enumerate(self._in_span()):
            yield Frame(self._image(frame), time_s, index)
        if index < 0:
            raise InputError(f"{self.path} has no frame in {self.span}")

    def _image(self, frame: VideoFrame) -> Image:
        width, height = self._stored_px
        if (frame.width, frame.height) != self._stored_px:
            self.note(f"frames were scaled to {width} x {height} square pixels")
        rgb = np.asarray(frame.to_ndarray(format="rgb24", width=width, height=height), np.uint8)
        return _upright(rgb, self._matrix)

    def _in_span(self) -> Iterator[tuple[float, VideoFrame]]:
        """Frames of the span with rising times in seconds since the first frame of the file."""
        last_s, dropped, given = -np.inf, 0, 0
        for given, frame in enumerate(self._from_start(), start=1):
            time_s = self._since_first(frame, given - 1)
            if time_s is None and self._by_decoding:  # the last frames, kept back by the decoder
                time_s = last_s + 1 / self._guess_hz
            if time_s is None or time_s <= last_s:
                dropped += 1
                continue
            last_s = time_s
            if self.span.after(time_s):
                break
            if not self.span.before(time_s):
                yield time_s, frame
        if dropped:
            self.note(
                f"frames left out since their time stamp does not rise or is missing: {dropped}"
            )
        if self.span == Span() and given < self._declared:
            self._check_end(given, last_s)

    def _check_end(self, given: int, last_s: float) -> None:
        """Frames missing inside are noted; a file that stops early is refused, as half a motion."""
        found = f"{given} of {self._declared} frames could be read"
        if last_s < 0.9 * (self._declared - 1) / self._guess_hz - 2 / self._guess_hz:
            raise FormatError(
                f"{self.path} is cut off",
                expected=f"{self._declared} frames, or an end (--end {last_s:.2f})",
                found=f"{given}, up to {last_s:.2f} s",
            )
        self.note(found)

    def _since_first(self, frame: VideoFrame, number: int) -> float | None:
        if self._first_s is None:
            return number / self._guess_hz
        time_s = self._file_time(frame)
        return None if time_s is None else time_s - self._first_s

    def _file_time(self, frame: VideoFrame) -> float | None:
        if not self._by_decoding:
            return frame.time
        return None if frame.dts is None else float(frame.dts * (frame.time_base or 0))

    def _from_start(self) -> Iterator[VideoFrame]:
        """Decoded frames from one at or before the start of the span on."""
        start_s = self.span.start_s
        if start_s > 0 and self._first_s is not None:
            frames = self._decoded(start_s + self._first_s)
            first = next(frames, None)
            time_s = self._since_first(first, 0) if first is not None else None
            if first is not None and time_s is not None and time_s <= start_s:
                yield first
                yield from frames
                return
            frames.close()  # some formats seek past the time asked for: read from the beginning
        yield from self._decoded(0.0)

    def _decoded(self, seek_s: float) -> Generator[VideoFrame, None, None]:
        """Frames in the order of showing. What cannot be decoded is left out and noted."""
        bad = 0
        with _open(self.path) as (container, stream):
            if seek_s > 0:
                _seek(container, stream, seek_s)
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets, None)
                    frames = packet.decode() if packet is not None else []
                except av.FFmpegError:
                    bad += 1
                    continue  # a generator that failed is over: the next round ends the loop
                if packet is None:
                    break
                yield from (frame for frame in frames if isinstance(frame, VideoFrame))
        if bad:
            self.note(f"damaged or cut off: {bad} packets could not be decoded")


@contextmanager
def _open(path: Path) -> Generator[tuple[InputContainer, VideoStream], None, None]:
    """The container and its first video stream that is no cover picture. Raises FormatError."""
    try:
        container = av.open(
            str(path), options={"protocol_whitelist": "file"}, metadata_errors="replace"
        )
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FormatError(f"{path} is not a video, or is damaged", found=reason) from error
    with container:
        if _REFUSED & set(container.format.name.split(",")):
            raise FormatError(f"{path} is not a video", found=f"format {container.format.name}")
        streams = [s for s in container.streams.video if not _is_cover(s)]
        if not streams:
            kinds = sorted({s.type for s in container.streams}) or ["nothing"]
            raise FormatError(
                f"{path} holds no video", expected="a video stream", found=" and ".join(kinds)
            )
        streams[0].thread_type = "AUTO"
        yield container, streams[0]


def _is_cover(stream: VideoStream) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def _seek(container: InputContainer, stream: VideoStream, time_s: float) -> None:
    base = stream.time_base or Fraction(1, av.time_base)
    try:
        container.seek(int(time_s / base), stream=stream, backward=True)
    except av.FFmpegError:
        return  # cannot seek: frames before the span are decoded and left out


def _square_pixels(stream: VideoStream, first: VideoFrame) -> tuple[int, int]:
    """Width and height before rotation, widened where pixels are not square."""
    aspect = stream.sample_aspect_ratio or Fraction(1)
    return max(round(first.width * aspect), 1), first.height


def _rate_hz(stream: VideoStream) -> float | None:
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate else None


def _count(
    container: InputContainer, stream: VideoStream, rate_hz: float | None, span: Span
) -> int | None:
    """About how many frames the span holds, if the file tells."""
    if stream.duration and stream.time_base:
        whole_s = float(stream.duration * stream.time_base)
    elif container.duration:
        whole_s = container.duration / av.time_base
    else:
        return stream.frames or None
    frames = stream.frames or whole_s * (rate_hz or 0)
    return round(frames * span.length_s(whole_s) / whole_s) or None


def _display_matrix(frame: VideoFrame) -> NDArray[np.int32]:
    """The 2 x 2 part of the display matrix, rows x and y of the image as stored."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return np.eye(2, dtype=np.int32)
    return np.frombuffer(bytes(data), dtype=np.int32)[:6].reshape(2, 3)[:, :2]


def _turned(matrix: NDArray[np.int32]) -> bool:
    """Whether width and height change places."""
    spread = np.abs(matrix.astype(np.int64))
    return bool(spread[0, 1] + spread[1, 0] > spread[0, 0] + spread[1, 1])


def _upright(image: Image, matrix: NDArray[np.int32]) -> Image:
    """Turn and mirror by quarter turns: shown x is a x + c y, shown y is b x + d y."""
    (a, b), (c, d) = matrix
    along_x, along_y = (a, d)
    if _turned(matrix):
        image = image.transpose(1, 0, 2)
        along_x, along_y = (c, b)
    if along_x < 0:
        image = image[:, ::-1]
    if along_y < 0:
        image = image[::-1]
    return np.ascontiguousarray(image)
