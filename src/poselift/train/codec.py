"""Motion as whole numbers, and whole numbers as few bytes.

A bone's rotation is told from its parent's, as the three numbers axis · tan(angle / 4)
(stereographic: a step is the same angle in all directions) in whole steps, a root in half
millimetres; of both the second differences over time are squeezed by LZMA. Decoding uses only
whole numbers, + - * / and square roots, which are the same on every machine.
"""

import lzma
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poselift.errors import FormatError, InputError
from poselift.geometry import Array
from poselift.train.flesh import PARENTS, ROTATIONS

# A step of a quarter angle's tangent: 0.05 degrees near no rotation, 0.025 near half a turn.
TURN_STEP = 0.9 * 2.0**-12
ROOT_STEP_M = 0.0005
_FILTER = [{"id": lzma.FILTER_LZMA2, "preset": 6, "pb": 0}]
_AT_ONCE = 4096  # frames, so that what is worked on stays in the processor's cache
Steps = NDArray[np.int32]


def encoded(quaternion: NDArray[Any], root_m: Array, frames: NDArray[np.int64]) -> Steps:
    """Second differences (78, N) in steps: three a bone, then the root's.

    quaternion (N, 25, 4), root_m (N, 3); frames: of the clips, which lie back to back.
    Raises InputError.
    """
    out = np.empty((3 * len(ROTATIONS) + 3, len(root_m)), np.int32)
    for part in _parts(frames):
        local = _from_parents(quaternion[part].astype(float))
        turns = (local[..., 1:] / (1 + local[..., :1]) / TURN_STEP).reshape(len(local), -1)
        steps = np.concatenate([turns, root_m[part].astype(float) / ROOT_STEP_M], axis=1)
        out[:, part] = _second_differences(np.rint(steps).astype(np.int32).T)
    return out


def decoded(
    changes: Steps, frames: NDArray[np.int64]
) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """Quaternions (N, 25, 4) * 32767, which keep their sign in a clip, and roots (N, 3)."""
    steps = np.empty(changes.shape[::-1], np.int32)
    for part in _parts(frames):
        steps[part] = _summed_twice(changes[:, part]).T
    quaternion = np.empty((len(steps), len(ROTATIONS), 4), np.int16)
    for start in range(0, len(steps), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        turned = _from_root(_from_steps(steps[part, :-3].reshape(-1, len(ROTATIONS), 3)))
        quaternion[part] = np.rint(turned * 32767)
    for part in _parts(frames):
        quaternion[part] = without_flips(quaternion[part])
    return quaternion, (steps[:, -3:] * ROOT_STEP_M).astype(np.float32)


def _from_steps(steps: Steps) -> Array:
    """Unit quaternions (..., 4), wxyz, of three steps each."""
    p = steps * TURN_STEP
    square = p[..., :1] * p[..., :1] + p[..., 1:2] * p[..., 1:2] + p[..., 2:] * p[..., 2:]
    return np.concatenate([1 - square, 2 * p], axis=-1) / (1 + square)


def _parts(frames: NDArray[np.int64]) -> Iterator[slice]:
    for stop, count in zip(np.cumsum(frames), frames, strict=True):
        yield slice(int(stop - count), int(stop))


def _second_differences(steps: Steps) -> Steps:
    """First value, first step, then changes of the step (channels, T)."""
    steps = steps.copy()
    steps[:, 1:] = np.diff(steps)
    steps[:, 2:] = np.diff(steps[:, 1:])
    return steps


def _summed_twice(changes: Steps) -> Steps:
    """Undo `_second_differences`."""
    steps = changes.copy()
    steps[:, 1:] = np.cumsum(changes[:, 1:], axis=1)
    return np.cumsum(steps, axis=1, dtype=np.int32)


def product(a: Array, b: Array) -> Array:
    """Product of quaternions (..., 4), wxyz: the rotation `b`, then `a`."""
    aw, ax, ay, az = np.moveaxis(a, -1, 0)
    bw, bx, by, bz = np.moveaxis(b, -1, 0)
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=-1,
    )


def without_flips(quaternion: NDArray[Any]) -> NDArray[Any]:
    """Quaternions (T, ..., 4) with the signs that let them run on over time, from w >= 0."""
    back = np.einsum("t...i,t...i->t...", quaternion[1:].astype(float), quaternion[:-1]) < 0
    flips = np.concatenate([quaternion[:1, ..., 0] < 0, back]).cumsum(0)
    return np.where(flips[..., None] % 2 == 1, -quaternion, quaternion)


def _from_parents(quaternion: Array) -> Array:
    """Unit quaternions (T, 25, 4), w >= 0, of each bone's rotation from its parent's."""
    length = np.sqrt((quaternion**2).sum(-1, keepdims=True))
    if not (length > 0).all():
        raise InputError("pack: quaternion", expected="rotations", found="zeros")
    turned = quaternion / length
    inverse = turned[:, PARENTS[1:]] * (1, -1, -1, -1)
    local = turned.copy()
    local[:, 1:] = product(inverse, turned[:, 1:])
    return np.where(local[..., :1] < 0, -local, local)


def _from_root(local: Array) -> Array:
    """Undo `_from_parents`."""
    turned = local.copy()
    for bone, parent in enumerate(PARENTS[1:], start=1):
        turned[:, bone] = product(turned[:, parent], local[:, bone])
    return turned


def squeezed(values: NDArray[Any]) -> NDArray[np.uint8]:
    """LZMA over the byte planes of whole numbers; signed ones are zigzagged first."""
    if values.dtype == np.int32:
        values = ((values << 1) ^ (values >> 31)).view(np.uint32)
    planes = values.astype(values.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
    planes = planes.reshape(-1, values.dtype.itemsize).T
    packed = lzma.compress(planes.tobytes(), lzma.FORMAT_RAW, filters=_FILTER)
    return np.frombuffer(packed, np.uint8)


def loosened(packed: NDArray[np.uint8], kind: Any, shape: tuple[int, int]) -> NDArray[Any]:
    """Undo `squeezed`. Raises FormatError."""
    size = np.dtype(kind).itemsize
    try:
        raw = lzma.decompress(packed.tobytes(), lzma.FORMAT_RAW, filters=_FILTER)
    except (lzma.LZMAError, EOFError) as error:
        raise FormatError("LZMA stream", expected="a sound one", found=error) from error
    if len(raw) != size * shape[0] * shape[1]:
        words = f"{shape[0]} channels of {shape[1]} frames"
        raise FormatError("LZMA stream", expected=words, found=f"{len(raw)} bytes")
    planes = np.frombuffer(raw, np.uint8).reshape(size, -1)
    if kind != np.int32:
        return planes.reshape(shape)
    values = np.ascontiguousarray(planes.T).view("<u4").reshape(shape)
    return (values >> 1).astype(np.int32) ^ -(values & 1).astype(np.int32)
