"""What all metrics share: which joints count, means over them, and checks of shapes."""

import numpy as np
from numpy.typing import NDArray

from poselift.errors import ShapeError
from poselift.geometry import Array


def counts(true_m: Array) -> NDArray[np.bool_]:
    """Joints (..., J) whose truth (..., J, 3) is known."""
    return np.all(np.isfinite(true_m), axis=-1)


def mean(values: Array, counted: NDArray[np.bool_]) -> Array:
    """Mean over the last axis of the values that count; NaN where none does."""
    number = np.sum(counted, axis=-1)
    total = np.sum(np.where(counted, values, 0.0), axis=-1)
    return np.where(number > 0, total, np.nan) / np.maximum(number, 1)


def check_pair(predicted_m: Array, true_m: Array) -> None:
    """Raise ShapeError unless both are poses (..., T, J, 3) of one shape."""
    if predicted_m.shape != true_m.shape or predicted_m.ndim < 3 or predicted_m.shape[-1] != 3:
        raise ShapeError(
            "poses to compare",
            expected="predicted and true of one shape (..., T, J, 3)",
            found=f"{predicted_m.shape} and {true_m.shape}",
        )


def check_times(time_s: Array, true_m: Array) -> Array:
    """The times (T) of poses (..., T, J, 3). Raises ShapeError."""
    if true_m.ndim < 3 or time_s.shape != true_m.shape[-3:-2]:
        raise ShapeError("time stamps", expected="one per frame", found=time_s.shape)
    return time_s
