"""RTMPose and RTMO through the optional package rtmlib, from local ONNX files or its downloads."""

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from poselift.detect.network import check_image
from poselift.errors import DetectorError, InputError, MissingExtraError, WeightsError
from poselift.poses import Detection
from poselift.skeleton import skeleton as skeleton_named

# rtmlib's own solutions, of which only the tables of stock weights are used.
STOCK = {"coco17": "Body", "halpe26": "BodyWithFeet", "coco_wholebody133": "Wholebody"}
NETWORKS = ("rtmpose", "rtmo")
MODES = ("lightweight", "balanced", "performance")


class Rtm:
    """People by RTMPose in the boxes of YOLOX, or by RTMO in one stage.

    `network`: "rtmpose" or "rtmo". `pose`, `detector`: ONNX files; without them rtmlib downloads
    its stock weights of `mode` ("lightweight", "balanced", "performance"; needs a connection).
    `pose_size_px`, `detector_size_px`: (width, height) and (height, width) of the input of your
    own files, as rtmlib counts them. `skeleton`: the joints that the pose network gives (RTMO:
    coco17). `min_score`: least mean joint score of a person. `device`: as in rtmlib.
    rtmlib sets no thread count. Raises MissingExtraError, InputError, UnknownNameError,
    WeightsError.
    """

    name = "rtm"

    def __init__(
        self,
        *,
        network: Literal["rtmpose", "rtmo"] = "rtmpose",
        pose: str | Path | None = None,
        detector: str | Path | None = None,
        skeleton: str | None = None,
        mode: Literal["lightweight", "balanced", "performance"] = "balanced",
        pose_size_px: tuple[int, int] | None = None,
        detector_size_px: tuple[int, int] = (640, 640),
        min_score: float = 0.3,
        device: str = "cpu",
    ) -> None:
        for what, value, known in (("network", network, NETWORKS), ("mode", mode, MODES)):
            if value not in known:
                raise InputError(f"{what} of detector rtm", found=repr(value), known=known)
        self.skeleton = skeleton_named(skeleton or ("coco17" if network == "rtmo" else "halpe26"))
        self._min_score = min_score
        rtmlib = _rtmlib()
        stock = _stock(rtmlib, network, self.skeleton.name, mode)
        default = (640, 640) if network == "rtmo" else (192, 256)
        pose_file = _weights("pose", pose, pose_size_px or default, stock)
        # Always the classes themselves: Body(pose=<a path with "rtmo">) ignores the path.
        if network == "rtmo":
            self._boxes, self._pose = None, _load(rtmlib.RTMO, *pose_file, device)
        else:
            box_file = _weights("det", detector, detector_size_px, stock)
            self._boxes = _load(rtmlib.YOLOX, *box_file, device)
            self._pose = _load(rtmlib.RTMPose, *pose_file, device)

    def reset(self) -> None:
        """Nothing to forget: every image stands for itself."""

    def __call__(self, image: NDArray[np.uint8]) -> list[Detection]:
        """People in an RGB image (H, W, 3). Raises ShapeError, DetectorError, WeightsError."""
        check_image(image)
        bgr = np.ascontiguousarray(image[..., ::-1])  # rtmlib expects OpenCV's order
        try:
            xy_px, score = self._infer(bgr)
        except Exception as error:  # whatever a backend raises is not "nobody there"
            raise DetectorError("rtmlib failed", found=error) from error
        if xy_px.shape[1:] != (len(self.skeleton), 2) or score.shape != xy_px.shape[:2]:
            raise WeightsError(
                f"pose network for skeleton {self.skeleton.name}",
                expected=f"(N, {len(self.skeleton)}, 2)",
                found=xy_px.shape,
            )
        people = [_detection(xy, value) for xy, value in zip(xy_px, score, strict=True)]
        return [person for person in people if person.score >= self._min_score]

    def _infer(self, bgr: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if self._boxes is None:
            xy_px, score = self._pose(bgr)
        else:
            boxes = self._boxes(bgr)
            if len(boxes) == 0:  # RTMPose would take the whole image for a person
                return np.zeros((0, len(self.skeleton), 2)), np.zeros((0, len(self.skeleton)))
            xy_px, score = self._pose(bgr, bboxes=boxes)
        return np.asarray(xy_px, dtype=np.float64), np.asarray(score, dtype=np.float64)


def _detection(xy_px: NDArray[np.float64], score: NDArray[np.float64]) -> Detection:
    """A joint without a score has no place: rtmlib writes -1 or 0 for it, here it is NaN."""
    placed = (score > 0) & np.all(np.isfinite(xy_px), axis=-1)
    confidence = np.where(placed, np.clip(np.nan_to_num(score), 0, 1), 0.0)
    return Detection(np.where(placed[:, None], xy_px, np.nan), confidence, float(confidence.mean()))


def _rtmlib() -> ModuleType:
    try:
        return import_module("rtmlib")
    except ImportError as error:
        raise MissingExtraError("rtmlib", "rtm") from error


def _weights(
    part: str, path: str | Path | None, size: tuple[int, int], stock: dict
) -> tuple[str, tuple[int, int]]:
    """File or address of a network, and the size of its input."""
    if path is None and part not in stock:
        raise InputError("pose weights", expected="a file: rtmlib has none for this skeleton")
    if path is None:
        return stock[part], stock[f"{part}_input_size"]
    if not Path(path).is_file():  # rtmlib would take it for an address
        raise WeightsError(
            "weights for rtmlib", expected="an ONNX file", found=f"nothing at {path}"
        )
    return str(path), size


def _stock(rtmlib: ModuleType, network: str, skeleton: str, mode: str) -> dict:
    """rtmlib's table entry: addresses and input sizes ({} where rtmlib has none)."""
    if network == "rtmo":
        return rtmlib.Body.RTMO_MODE[mode] if skeleton == "coco17" else {}
    return getattr(rtmlib, STOCK[skeleton]).MODE[mode] if skeleton in STOCK else {}


def _load(build: Callable, path: str, size: tuple[int, int], device: str) -> Callable:
    try:
        with redirect_stdout(sys.stderr):  # rtmlib prints
            return build(path, model_input_size=size, backend="onnxruntime", device=device)
    except Exception as error:  # downloads and backends raise anything
        raise WeightsError(f"weights {path} for rtmlib cannot be loaded", found=error) from error
