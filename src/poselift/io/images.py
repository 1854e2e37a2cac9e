"""Still images and folders of images as frames."""

from collections.abc import Generator, Sequence
from pathlib import Path

import cv2
import numpy as np

from poselift.errors import FormatError, InputError
from poselift.io.files import check_input_file
from poselift.io.frames import (
    IMAGE_SUFFIXES,
    Frame,
    FrameSource,
    Image,
    Span,
    check_fps,
    natural_key,
)


def image_files(folder: Path) -> list[Path]:
    """Images of a folder (not of its subfolders, no hidden ones) in natural order."""
    files = [
        file
        for file in folder.iterdir()
        if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
    ]
    return sorted(files, key=lambda file: natural_key(file.name))


def read_image(path: Path) -> Image:
    """An image (H, W, 3) RGB uint8, upright by its EXIF orientation. Raises FormatError."""
    check_input_file(path)
    try:
        data = np.fromfile(path, dtype=np.uint8)  # cv2.imread fails on some non-ASCII paths
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except (OSError, cv2.error) as error:
        raise FormatError(f"{path} cannot be read", found=str(error).strip()) from error
    if image is None:
        raise FormatError(f"{path} is not an image, or is damaged")
    return np.ascontiguousarray(image[..., ::-1], dtype=np.uint8)


class ImageSource(FrameSource):
    """One image, or images of one size at a constant rate.

    Raises FormatError for a file that is no image and for images of different sizes.
    """

    def __init__(
        self, path: Path, files: Sequence[Path], rate_hz: float | None, span: Span
    ) -> None:
        super().__init__(path)
        self.rate_hz = rate_hz
        timed = [(n / rate_hz if rate_hz else 0.0, file) for n, file in enumerate(files)]
        self._timed = [(t, f) for t, f in timed if not span.before(t) and not span.after(t)]
        if not self._timed:
            raise InputError(
                f"{path} has no frame in {span}", found=f"frames up to {timed[-1][0]:g} s"
            )
        self.count = len(self._timed)
        height, width = read_image(self._timed[0][1]).shape[:2]
        self.size_px = (width, height)

    def _frames(self) -> Generator[Frame, None, None]:
        for index, (time_s, file) in enumerate(self._timed):
            image = read_image(file)
            size = (image.shape[1], image.shape[0])
            if size != self.size_px:
                raise FormatError(
                    f"{file} has another size than the images before",
                    expected="{} x {}".format(*self.size_px),
                    found="{} x {}".format(*size),
                )
            yield Frame(image, time_s, index)


def open_image(path: Path, span: Span) -> ImageSource:
    """One image as a source of one frame at 0 s."""
    return ImageSource(path, [path], None, span)


def open_folder(folder: Path, fps: float | None, span: Span) -> ImageSource:
    """The images of a folder in natural order at `fps`. Raises FormatError, InputError."""
    rate = check_fps(fps)
    files = image_files(folder)
    if not files:
        raise FormatError(
            f"{folder} holds no images", expected="files " + " ".join(sorted(IMAGE_SUFFIXES))
        )
    source = ImageSource(folder, files, rate, span)
    if fps is None:
        source.note(f"images carry no time: {rate:g} frames per second assumed (fps)")
    return source
