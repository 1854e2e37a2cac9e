"""MoveNet MultiPose Lightning: up to six people with 17 joints each, in one pass."""

import numpy as np
from numpy.typing import NDArray

from poselift.detect.network import Network, check_image
from poselift.errors import InputError, WeightsError
from poselift.poses import Detection
from poselift.skeleton import skeleton

INPUT_PX = 256
MAX_PEOPLE = 6
ROW = 56  # 17 x (y, x, score), then the box (ymin, xmin, ymax, xmax) and the person's score


class MoveNet:
    """People with COCO-17 joints.

    `min_score`: a clear person scores 0.3 to 0.5 with this network, so a good threshold is low
    (0.15 to 0.3). Raises InputError, WeightsError.
    """

    name = "movenet"
    skeleton = skeleton("coco17")

    def __init__(self, *, min_score: float = 0.2, threads: int | None = None) -> None:
        if not 0 <= min_score <= 1:
            raise InputError("min_score", expected="a number in 0..1", found=min_score)
        self._network = Network("movenet_multipose", threads)
        self._min_score = min_score

    def __call__(self, image: NDArray[np.uint8]) -> list[Detection]:
        """People in an RGB image (H, W, 3), best first. Raises ShapeError, DetectorError."""
        check_image(image)
        batch, scale = pad_square(image)
        rows = self._network(batch)[0]
        if rows.size != MAX_PEOPLE * ROW:
            raise WeightsError("MoveNet output", expected="(1, 6, 56)", found=rows.shape)
        height, width = image.shape[:2]
        people = decode(rows.reshape(MAX_PEOPLE, ROW), INPUT_PX / scale, self._min_score)
        return [_inside(person, width, height) for person in people]

    def reset(self) -> None:
        """Nothing to forget: every image stands for itself."""


def pad_square(image: NDArray[np.uint8]) -> tuple[NDArray[np.int32], float]:
    """The image as (1, 256, 256, 3) int32 with black below or to the right, and the scale."""
    import cv2

    height, width = image.shape[:2]
    scale = INPUT_PX / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    batch = np.zeros((1, INPUT_PX, INPUT_PX, 3), np.int32)
    batch[0, : size[1], : size[0]] = cv2.resize(image, size, interpolation=way)
    return batch, scale


def decode(rows: NDArray[np.floating], square_px: float, min_score: float) -> list[Detection]:
    """People from rows (6, 56) in units of the padded square, whose side is `square_px`."""
    people = []
    for row in sorted(rows.astype(np.float64), key=lambda row: -row[-1]):
        if row[-1] < min_score:
            continue
        joints = row[:51].reshape(17, 3)
        xy_px = joints[:, 1::-1] * square_px  # the network writes y first
        people.append(Detection(xy_px, np.clip(joints[:, 2], 0, 1), float(min(row[-1], 1))))
    return people


def _inside(person: Detection, width_px: int, height_px: int) -> Detection:
    """Joints in the padding were guessed, not seen: NaN."""
    inside = np.all((person.xy_px >= 0) & (person.xy_px <= [width_px, height_px]), axis=-1)
    xy_px = np.where(inside[:, None], person.xy_px, np.nan)
    return Detection(xy_px, np.where(inside, person.confidence, 0.0), person.score)
