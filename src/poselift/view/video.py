"""Annotated video: the 2D overlay beside the 3D view, frame by frame."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import cv2
import numpy as np

from poselift.errors import InputError, OutputError
from poselift.io.files import atomic
from poselift.io.video import VideoWriter
from poselift.poses import Poses3D
from poselift.view.draw import Image, blank, draw_2d
from poselift.view.panel import Panel3D
from poselift.view.stage import Stage, stage

HEIGHT_PX = (360, 720)  # smallest and largest height of the video


class TimedImage(Protocol):
    """An image (H, W, 3) uint8 RGB and its time, as the readers of video give it."""

    @property
    def image(self) -> Image:
        """The image."""
        ...

    @property
    def time_s(self) -> float:
        """Its time in seconds."""
        ...


def write_overlay(
    path: str | os.PathLike[str],
    frames: Iterable[TimedImage] | None,
    people: Sequence[Poses3D],
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write an MP4 with the 2D skeletons over each frame at the left and the 3D view at the right.

    `frames` are read one by one and matched to poses by time: nearest, at most 3/4 of a time step
    away, otherwise nobody is drawn. None (keypoint files have no images) takes a dark canvas of
    the size of the 2D; people without 2D get the 3D view only. The height is that of the frames
    within 360..720 pixels. `progress` is called with the number of frames written so far. The file
    appears when it is complete. Raises InputError (nobody, different time axes, no frames),
    OutputError.
    """
    shown = stage(people)
    images = _canvases(shown) if frames is None else ((f.image, f.time_s) for f in frames)
    first = next(images, None)
    if first is None:
        raise InputError("frames of the video", expected="at least one", found="none")
    layout = Layout(shown, None if first[0] is None else first[0].shape[:2])
    with VideoWriter(path, layout.size_px, shown.people[0].rate_hz or 30.0) as writer:
        written, last_s = 0, -np.inf
        for image, time_s in _with_first(first, images):
            if time_s <= last_s:
                raise InputError(
                    "times of the frames", expected=f"more than {last_s:g} s", found=f"{time_s:g} s"
                )
            writer.write(layout.draw(image, shown.index_at(time_s), time_s), time_s)
            written, last_s = written + 1, time_s
            if progress is not None:
                progress(written)


def write_still(
    path: str | os.PathLike[str],
    image: Image | None,
    people: Sequence[Poses3D],
    frame: int,
    *,
    height_px: int = HEIGHT_PX[1],
) -> None:
    """Write a PNG of pose frame `frame`: overlay on `image` beside the 3D view.

    Without an image the 2D stands on a dark canvas. Raises InputError (frame out of range, nobody),
    OutputError.
    """
    shown = stage(people)
    if not 0 <= frame < len(shown.time_s):
        raise InputError(
            "frame of the still", expected=f"0 to {len(shown.time_s) - 1}", found=frame
        )
    if image is None:
        image = _canvas(shown)
    layout = Layout(
        shown, None if image is None else image.shape[:2], height_px=(height_px, height_px)
    )
    picture = layout.draw(image, frame, float(shown.time_s[frame]))
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not done:
        raise OutputError(f"cannot write {path}", expected="a PNG", found="the encoder failed")
    with atomic(path) as temporary:
        temporary.write_bytes(data.tobytes())


class Layout:
    """The overlay at the left, where there are images or 2D, and the 3D view at the right."""

    def __init__(
        self,
        shown: Stage,
        image_shape: tuple[int, ...] | None,
        *,
        height_px: tuple[int, int] = HEIGHT_PX,
    ) -> None:
        self._stage = shown
        self._image_px: tuple[int, int] | None = None
        height = height_px[1]
        if image_shape is not None:
            height = int(np.clip(image_shape[0], *height_px)) // 2 * 2
            width = round(image_shape[1] * height / image_shape[0] / 2) * 2
            self._image_px = (max(width, 2), height)
        self._panel = Panel3D(shown, (height, height))
        left = self._image_px[0] if self._image_px else 0
        self.size_px = (left + height, height)

    def draw(self, image: Image | None, frame: int | None, time_s: float) -> Image:
        """The whole picture (H, W, 3) of pose frame `frame` (None: nobody) at time_s."""
        panel = self._panel.draw(frame, time_s)
        if image is None or self._image_px is None:
            return panel
        left = self._overlay(image, self._image_px, frame)
        left[:, -1] = 0  # a fine line between the two halves
        return np.hstack([left, panel])

    def _overlay(self, image: Image, size_px: tuple[int, int], frame: int | None) -> Image:
        halves = image.shape[0] >= 2 * size_px[1]  # averaging areas is slow, and needed only then
        way = cv2.INTER_AREA if halves else cv2.INTER_LINEAR
        left = np.array(cv2.resize(image, size_px, interpolation=way), dtype=np.uint8)
        many = len(self._stage.people) > 1
        for number, poses in enumerate(self._stage.people):
            if frame is None or poses.observed is None:
                continue
            scale = size_px[1] / poses.observed.size_px[1]
            tag = str(number + 1) if many else ""
            draw_2d(left, poses.observed, frame, person=number, scale=scale, tag=tag)
        return left


def _canvas(shown: Stage) -> Image | None:
    """A dark canvas of the size of the 2D, None where nobody has 2D."""
    sizes = [p.observed.size_px for p in shown.people if p.observed is not None]
    return blank(sizes[0]) if sizes else None


def _canvases(shown: Stage) -> Iterator[tuple[Image | None, float]]:
    canvas = _canvas(shown)
    return ((canvas, float(time_s)) for time_s in shown.time_s)


def _with_first(
    first: tuple[Image | None, float], rest: Iterator[tuple[Image | None, float]]
) -> Iterator[tuple[Image | None, float]]:
    yield first
    yield from rest
