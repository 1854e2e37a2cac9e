"""Images over time: the words that readers of video, images and folders share."""

import re
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from poselift.errors import InputError

Image = NDArray[np.uint8]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
DEFAULT_FPS = 30.0
_SAME_S = 1e-6  # a time given in decimals must match the same time in ticks of a file


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sort key that puts `frame2` before `frame10`."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def check_fps(fps: float | None) -> float:
    """Frames per second, the default for None. Raises InputError."""
    rate = DEFAULT_FPS if fps is None else float(fps)
    if not 0 < rate < np.inf:
        raise InputError("fps", expected="a number > 0", found=fps)
    return rate


@dataclass(frozen=True, eq=False)
class Frame:
    """One image (H, W, 3) RGB at time_s, upright as a player shows it.

    time_s counts from the first frame of the file. index counts the frames given, from 0.
    """

    image: Image
    time_s: float
    index: int


@dataclass(frozen=True)
class Span:
    """The part of a clip to read: start_s <= time_s <= end_s (None: to the end)."""

    start_s: float = 0.0
    end_s: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < np.inf:
            raise InputError("start of the clip", expected="seconds >= 0", found=self.start_s)
        if self.end_s is not None and not self.end_s >= self.start_s:
            raise InputError(
                "end of the clip",
                expected=f"at least its start, {self.start_s:g} s",
                found=self.end_s,
            )

    def __str__(self) -> str:
        end = "the end" if self.end_s is None else f"{self.end_s:g} s"
        return f"{self.start_s:g} s to {end}"

    def before(self, time_s: float) -> bool:
        """Whether `time_s` lies before the span."""
        return time_s < self.start_s - _SAME_S

    def after(self, time_s: float) -> bool:
        """Whether `time_s` lies behind the span."""
        return self.end_s is not None and time_s > self.end_s + _SAME_S

    def length_s(self, whole_s: float) -> float:
        """How much of a clip of `whole_s` seconds lies in the span."""
        end = whole_s if self.end_s is None else min(self.end_s, whole_s)
        return max(end - self.start_s, 0.0)


class FrameSource(ABC):
    """Frames of one file or folder, decoded one at a time while iterated.

    size_px (width, height) after rotation; rate_hz is nominal and None for a still; count is an
    estimate for progress, or None. Each loop starts again at the first frame. `notes` tells what
    was assumed, repaired or left out, and is complete after a whole loop.
    """

    size_px: tuple[int, int]
    rate_hz: float | None
    count: int | None

    def __init__(self, path: Path) -> None:
        self.path = path
        self._notes: dict[str, None] = {}  # an ordered set: a second loop must not say it twice
        self._loops: list[Generator[Frame, None, None]] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed, repaired or left out, so far."""
        return tuple(self._notes)

    def note(self, text: str) -> None:
        """Remember one thing that the user should know."""
        self._notes[text] = None

    @abstractmethod
    def _frames(self) -> Generator[Frame, None, None]:
        """One pass over the frames; closes what it opened."""

    def __iter__(self) -> Iterator[Frame]:
        frames = self._frames()
        self._loops.append(frames)
        return frames

    def close(self) -> None:
        """Release files; loops in progress end."""
        while self._loops:
            self._loops.pop().close()

    def __enter__(self) -> "FrameSource":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
