"""Embedded networks: weights checked by hash, run by onnxruntime on the CPU."""

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from poselift.errors import DetectorError, InputError, ShapeError, WeightsError

WEIGHTS = Path(__file__).parent / "weights"
MAX_DEFAULT_THREADS = 8  # networks this small gain nothing from more


@dataclass(frozen=True)
class WeightsRecord:
    """The part of a weights record that loading needs."""

    name: str
    path: Path
    sha256: str


def weights_record(name: str, folder: Path = WEIGHTS) -> WeightsRecord:
    """The record `<name>.json` beside the weights. Raises WeightsError."""
    path = folder / f"{name}.json"
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        return WeightsRecord(name, folder / entry["file"], entry["sha256"])
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"record of weights {name}", expected=f"readable {path}", found=error
        ) from error


def read_weights(record: WeightsRecord) -> bytes:
    """The bytes of the weights file. Raises WeightsError when missing or of another hash."""
    try:
        content = record.path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"weights {record.name}", expected=f"a file {record.path}", found=error
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != record.sha256:
        raise WeightsError(
            f"weights {record.name} in {record.path} are damaged or of another version",
            expected=f"SHA-256 {record.sha256}",
            found=f"{digest} ({len(content)} bytes)",
        )
    return content


def usable_cores() -> int:
    """Cores that this process may use, at most MAX_DEFAULT_THREADS."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(cores, MAX_DEFAULT_THREADS)


class Network:
    """One ONNX network with one input.

    `threads`: cores for one image (default: all usable ones). Raises InputError, WeightsError.
    """

    def __init__(self, name: str, threads: int | None = None, folder: Path = WEIGHTS) -> None:
        if threads is not None and threads < 1:
            raise InputError("threads of a detector", expected="at least 1", found=threads)
        self.name = name
        content = _checked(name, folder)
        try:
            self._session = onnxruntime.InferenceSession(
                content, _options(threads or usable_cores()), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors share no narrower class
            raise WeightsError(f"weights {name} cannot be loaded", found=error) from error
        self._input = self._session.get_inputs()[0].name

    def __call__(self, batch: NDArray[np.generic]) -> list[NDArray[np.float32]]:
        """All outputs. Raises DetectorError, also for outputs that are not finite."""
        try:
            outputs = self._session.run(None, {self._input: batch})
        except Exception as error:  # see above; it must never look like "nobody there"
            raise DetectorError(f"network {self.name} failed", found=error) from error
        arrays = [np.asarray(output, dtype=np.float32) for output in outputs]
        if not all(np.isfinite(array).all() for array in arrays):
            raise DetectorError(
                f"network {self.name}", expected="finite outputs", found="NaN or infinity"
            )
        return arrays


@cache
def _checked(name: str, folder: Path) -> bytes:
    return read_weights(weights_record(name, folder))


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning workers would steal the cores from video decoding between two images.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def check_image(image: NDArray[np.uint8]) -> None:
    """Raise ShapeError unless `image` is (H, W, 3) bytes with at least one pixel."""
    array = np.asarray(image)
    good = array.ndim == 3 and array.shape[-1] == 3 and array.size and array.dtype == np.uint8
    if not good:
        raise ShapeError(
            "image",
            expected="RGB bytes (H, W, 3)",
            found=f"{array.dtype} {array.shape}",
        )
