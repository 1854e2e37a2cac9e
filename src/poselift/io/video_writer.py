"""Frames to an H.264 MP4 file that every player shows, with their true times."""

import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from types import TracebackType

import av
import cv2
import numpy as np
from av.video.stream import VideoStream

from poselift.errors import InputError, OutputError, ShapeError
from poselift.io.files import atomic
from poselift.io.frames import DEFAULT_FPS, Image

_TICKS_PER_S = 90_000  # holds 24, 25, 30, 50 and 60 frames per second exactly


class VideoWriter:
    """Write RGB images as H.264 (yuv420p) MP4; the file appears under its name at close.

    size_px (width, height) of the images; an odd side gets one more row or column of its own edge,
    as H.264 needs even sides. rate_hz is nominal: it times frames written without time_s, and
    times may be irregular otherwise. Times count from the first frame. crf: 0 best .. 51 smallest.
    Raises OutputError (cannot be written, no frame written), ShapeError, InputError.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        size_px: tuple[int, int],
        rate_hz: float = DEFAULT_FPS,
        *,
        crf: int = 20,
    ) -> None:
        if min(size_px) <= 0:
            raise InputError("video size", expected="width and height > 0", found=size_px)
        if not 0 < rate_hz < np.inf:
            raise InputError("video rate", expected="a number > 0", found=rate_hz)
        self.path, self.size_px, self.rate_hz, self._crf = path, size_px, rate_hz, crf
        self._stack = ExitStack()
        self._first_s = 0.0
        self._last_tick = -1
        self._written = 0

    def __enter__(self) -> "VideoWriter":
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic(self.path))
            stack.enter_context(_as_output_error(self.path))
            self._container = stack.enter_context(
                av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"})
            )
            self._stream = self._add_stream()
            self._stack = stack.pop_all()
        return self

    def _add_stream(self) -> VideoStream:
        rate = Fraction(self.rate_hz).limit_denominator(1001)
        stream = self._container.add_stream("libx264", rate=rate)
        stream.width, stream.height = (side + side % 2 for side in self.size_px)
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(self._crf), "preset": "superfast"}
        stream.codec_context.time_base = Fraction(1, _TICKS_PER_S)
        return stream

    def write(self, image: Image, time_s: float | None = None) -> None:
        """Append an image (H, W, 3) uint8 RGB shown from time_s on (None: at the nominal rate)."""
        width, height = self.size_px
        if image.shape != (height, width, 3) or image.dtype != np.uint8:
            raise ShapeError(
                "video frame",
                expected=f"uint8 ({height}, {width}, 3)",
                found=f"{image.dtype} {image.shape}",
            )
        tick = self._tick(time_s)
        if height % 2 or width % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        # OpenCV converts several times as fast as FFmpeg's scaler (both BT.601, limited range).
        planes = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420), dtype=np.uint8)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = tick, Fraction(1, _TICKS_PER_S)
        self._container.mux(self._stream.encode(frame))
        self._last_tick, self._written = tick, self._written + 1

    def _tick(self, time_s: float | None) -> int:
        if time_s is None:
            time_s = self._first_s + self._written / self.rate_hz
        if not np.isfinite(time_s):
            raise InputError("time of a video frame", expected="finite seconds", found=time_s)
        if not self._written:
            self._first_s = time_s
        tick = round((time_s - self._first_s) * _TICKS_PER_S)
        if tick <= self._last_tick:
            last_s = self._first_s + self._last_tick / _TICKS_PER_S
            raise InputError(
                "time of a video frame", expected=f"more than {last_s:g} s", found=f"{time_s:g} s"
            )
        return tick

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:  # closes the file, then gives it its name
            if not self._written:
                raise OutputError(f"cannot write {self.path}", expected="a frame", found="none")
            self._container.mux(self._stream.encode())


@contextmanager
def _as_output_error(path: str | os.PathLike[str]) -> Generator[None, None, None]:
    try:
        yield
    except av.FFmpegError as error:
        raise OutputError(f"cannot write {path}", found=error.strerror) from error
