"""BlazePose GHUM Heavy: 33 joints of the one person in a region, in 2D and in 3D."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poselift.detect.network import Network, check_image
from poselift.detect.regions import Region, upright_region
from poselift.errors import InputError, WeightsError
from poselift.poses import Detection
from poselift.skeleton import skeleton

Array = NDArray[np.floating]

INPUT_PX = 256
HEATMAP_PX = 64
RAW_JOINTS = 39  # 33 joints, two for the next region, four more that nothing uses
USED_JOINTS = 35
WINDOW = np.arange(-3, 4)  # heatmap pixels around a joint
MIN_PEAK = 0.5  # flatter heatmaps do not move a joint
OUTSIDE_MARGIN = 0.02  # of the region's side


@dataclass(frozen=True, eq=False)
class Landmarks:
    """What BlazePose says about one region.

    xy_px (33, 2) image pixels, also outside the image; confidence (33) in 0..1; xyz_m (33, 3)
    metres from the mid hip in camera axes (x right, y down, z forward); presence: probability
    that there is a person; next_region: where to look in the following image.
    """

    xy_px: Array
    confidence: Array
    xyz_m: Array
    presence: float
    next_region: Region
    region: Region

    def detection(self, width_px: int, height_px: int) -> Detection:
        """As a detection: a joint outside the image was guessed, not seen, so it is NaN."""
        margin = OUTSIDE_MARGIN * self.region.side_px
        low, high = -margin, np.array([width_px, height_px]) + margin
        inside = np.all((self.xy_px >= low) & (self.xy_px <= high), axis=-1)
        xy_px = np.where(inside[:, None], self.xy_px, np.nan)
        return Detection(xy_px, np.where(inside, self.confidence, 0.0), self.presence)


class BlazePose:
    """The landmark network alone. Raises WeightsError when loading, InputError for `threads`."""

    skeleton = skeleton("mediapipe33")

    def __init__(self, threads: int | None = None) -> None:
        self._network = Network("blazepose_heavy", threads)

    def landmarks(self, image: NDArray[np.uint8], region: Region) -> Landmarks:
        """Joints of the person in `region` of an RGB image (H, W, 3).

        Raises ShapeError, DetectorError, and InputError for a region that `Region.usable` refuses.
        """
        check_image(image)
        height, width = image.shape[:2]
        if not region.usable(width, height):
            raise InputError(
                "region", expected=f"a square on the {width}x{height} image", found=region
            )
        crop = crop_region(image, region)
        outputs = self._network((crop.astype(np.float32) / 255)[None])
        return decode(outputs, region)


def crop_region(image: NDArray[np.uint8], region: Region) -> NDArray[np.uint8]:
    """The region (256, 256, 3), turned upright, edges repeated outside the image.

    As in MediaPipe, pixel 128 of the crop is the region's centre, and it is sampled by plain
    bilinear interpolation however much it shrinks: the network was trained on that.
    """
    import cv2

    scale = region.side_px / INPUT_PX
    turn = scale * region.turn(np.eye(2)).T
    shift = np.asarray(region.centre_px) - turn @ np.full(2, INPUT_PX / 2)
    crop = cv2.warpAffine(
        image,
        np.column_stack([turn, shift]),
        (INPUT_PX, INPUT_PX),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(crop, dtype=np.uint8)


def decode(outputs: list[NDArray[np.float32]], region: Region) -> Landmarks:
    """Landmarks from the network's outputs, told apart by their sizes. Raises WeightsError."""
    by_size = {output.size: output.astype(np.float64) for output in outputs}
    sizes = (RAW_JOINTS * 5, RAW_JOINTS * 3, HEATMAP_PX**2 * RAW_JOINTS, 1)
    if any(size not in by_size for size in sizes):
        raise WeightsError("BlazePose outputs", expected=f"sizes {sizes}", found=list(by_size))
    raw, world, heat, presence = (by_size[size] for size in sizes)
    joints = raw.reshape(RAW_JOINTS, 5)[:USED_JOINTS]
    heat = heat.reshape(HEATMAP_PX, HEATMAP_PX, RAW_JOINTS)[..., :USED_JOINTS]
    xy_px = region.to_image(refine(joints[:, :2] / INPUT_PX, heat))
    hip, top = xy_px[33], xy_px[34]
    return Landmarks(
        xy_px=xy_px[:33],
        # Columns 3 and 4 are logits: visible (not hidden), and present (inside the picture).
        confidence=sigmoid(joints[:33, 3]) * sigmoid(joints[:33, 4]),
        xyz_m=region.turn(world.reshape(RAW_JOINTS, 3)[:33]),
        presence=float(np.clip(presence.item(), 0, 1)),
        next_region=upright_region(hip, top, float(np.linalg.norm(top - hip))),
        region=region,
    )


def refine(xy: Array, heat: Array) -> Array:
    """Joints (J, 2) in 0..1 moved to the centre of mass of their heatmap (64, 64, J) of logits.

    Only the 7 x 7 pixels around the regressed joint count (MediaPipe's heatmap refinement); a
    joint off the heatmap, or with no clear peak, stays.
    """
    count = xy.shape[0]
    cell = np.floor(xy * HEATMAP_PX).astype(int)
    on_map = np.all(_on_map(cell), axis=-1)
    columns, rows = cell[:, 0, None] + WINDOW, cell[:, 1, None] + WINDOW  # (J, 7)
    inside = _on_map(rows)[:, :, None] & _on_map(columns)[:, None, :]
    patch = heat[
        rows.clip(0, HEATMAP_PX - 1)[:, :, None],
        columns.clip(0, HEATMAP_PX - 1)[:, None, :],
        np.arange(count)[:, None, None],
    ]
    weight = np.where(inside, sigmoid(patch), 0.0)
    total = weight.sum(axis=(1, 2))
    clear = on_map & (weight.max(axis=(1, 2)) >= MIN_PEAK)
    safe = np.where(total > 0, total, 1.0)
    x = (weight.sum(axis=1) * columns).sum(axis=-1) / safe
    y = (weight.sum(axis=2) * rows).sum(axis=-1) / safe
    return np.where(clear[:, None], np.stack([x, y], axis=-1) / HEATMAP_PX, xy)


def _on_map(cells: NDArray[np.integer]) -> NDArray[np.bool_]:
    return (cells >= 0) & (cells < HEATMAP_PX)


def sigmoid(logits: Array) -> Array:
    """Logits to probabilities, without overflow."""
    return 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
