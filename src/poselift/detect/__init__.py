"""2D detectors: an image in, the people in it out. Importing this loads no network."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from poselift.errors import InputError, UnknownNameError
from poselift.poses import Detection
from poselift.skeleton import Skeleton

Image = NDArray[np.uint8]


@runtime_checkable
class Detector(Protocol):
    """Finds people in the images of one video, one after the other."""

    @property
    def name(self) -> str:
        """Its name in the table of detectors."""
        ...

    @property
    def skeleton(self) -> Skeleton:
        """The joints of every detection, in order."""
        ...

    def __call__(self, image: Image) -> list[Detection]:
        """People in an RGB image (H, W, 3) of bytes; an empty list means that nobody was found.

        Raises ShapeError for another array, DetectorError when the detector itself fails.
        """
        ...

    def reset(self) -> None:
        """Forget earlier images: the next one belongs to another video or shot."""
        ...


@dataclass(frozen=True)
class DetectorRecord:
    """What is known about a detector before it is loaded."""

    name: str
    target: str  # module:class, imported on use
    skeleton: str  # name; "" when an option decides
    licence: str  # of the weights
    about: str


_TABLE = (
    DetectorRecord(
        "hybrid",
        "poselift.detect.hybrid:Hybrid",
        "mediapipe33",
        "Apache-2.0",
        "MoveNet MultiPose finds up to six people, BlazePose Heavy places 33 joints; built in",
    ),
    DetectorRecord(
        "movenet",
        "poselift.detect.movenet:MoveNet",
        "coco17",
        "Apache-2.0",
        "MoveNet MultiPose alone: half the time, coarser joints, no feet; built in",
    ),
    DetectorRecord(
        "rtm",
        "poselift.detect.rtm:Rtm",
        "",
        "Apache-2.0 for the stock weights, else the user's",
        "RTMPose on YOLOX boxes, or RTMO, through rtmlib: pip install 'poselift[rtm]'",
    ),
)


def detectors() -> Mapping[str, DetectorRecord]:
    """All detectors by name, read-only."""
    return MappingProxyType({record.name: record for record in _TABLE})


def make_detector(name: str = "hybrid", **options: object) -> Detector:
    """A ready detector; `options` are those of its class.

    Raises UnknownNameError (names are listed), InputError (an option that it does not have),
    WeightsError, MissingExtraError.
    """
    table = detectors()
    if name not in table:
        raise UnknownNameError("detector", name, table)
    module, _, attribute = table[name].target.partition(":")
    build = getattr(import_module(module), attribute)
    known = list(signature(build).parameters)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InputError(f"options of detector {name}", found=", ".join(unknown), known=known)
    return build(**options)
