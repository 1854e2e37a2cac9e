"""Errors of positions and of their motion, frame by frame, from plain arrays in metres.

Poses are (..., T, J, 3), predicted and true alike; results are (..., T) unless said otherwise.
Joints whose truth is NaN do not count, and a frame in which none counts is NaN. A prediction of NaN
where there is a truth makes the frame NaN (or counts as wrong in `pck` and `auc`), so that nobody
gains by not answering; `answered` says how much was answered.
"""

from collections.abc import Iterable

import numpy as np

from poselift.geometry import Array, similarity
from poselift.metrics.common import check_pair, check_times, counts, mean

# MPI-INF-3DHP: 0, 5, ..., 150 mm.
AUC_THRESHOLDS_M = np.arange(31) * 0.005


def joint_distance(predicted_m: Array, true_m: Array) -> Array:
    """Distance (..., T, J) in metres of every joint, NaN without truth or without an answer."""
    check_pair(predicted_m, true_m)
    return np.linalg.norm(predicted_m - true_m, axis=-1)


def mpjpe(predicted_m: Array, true_m: Array) -> Array:
    """Mean joint distance (..., T) in metres, the poses as they are."""
    return mean(joint_distance(predicted_m, true_m), counts(true_m))


def p_mpjpe(predicted_m: Array, true_m: Array) -> Array:
    """Mean joint distance (..., T) after each frame's best shift, rotation and scale.

    No reflection. Frames with fewer than three joints always fit, so they are NaN.
    """
    return mpjpe(align(predicted_m, true_m), true_m)


def align(predicted_m: Array, true_m: Array) -> Array:
    """The prediction moved, turned and scaled on the truth, each frame alone (Umeyama 1991).

    Joints without truth move along; frames with fewer than three joints, or with a NaN where
    there is a truth, are NaN.
    """
    check_pair(predicted_m, true_m)
    poses = predicted_m.reshape(-1, *predicted_m.shape[-2:])
    target = true_m.reshape(poses.shape)
    aligned = np.full(poses.shape, np.nan)
    counted = counts(target)
    answered = np.isfinite(np.where(counted[..., None], poses, 0.0)).all(axis=(-1, -2))
    patterns, of_frame = np.unique(counted, axis=0, return_inverse=True)
    for number, joints in enumerate(patterns):
        frames = np.flatnonzero((of_frame.ravel() == number) & answered)
        if np.sum(joints) < 3 or not len(frames):
            continue
        scale, rotation, shift = similarity(poses[frames][:, joints], target[frames][:, joints])
        turned = poses[frames] @ np.swapaxes(rotation, -1, -2)
        aligned[frames] = scale[:, None, None] * turned + shift[:, None]
    return aligned.reshape(predicted_m.shape)


def n_mpjpe(predicted_m: Array, true_m: Array, root: int = 0) -> Array:
    """Mean joint distance (..., T) after each frame's best scale, both relative to the root.

    Rhodin et al. (CVPR 2018). The root's error is zero and counts.
    """
    check_pair(predicted_m, true_m)
    predicted_m, true_m = relative(predicted_m, root), relative(true_m, root)
    counted = counts(true_m)[..., None]
    pose, target = np.where(counted, predicted_m, 0.0), np.where(counted, true_m, 0.0)
    size = np.sum(pose**2, axis=(-1, -2))
    scale = np.sum(pose * target, axis=(-1, -2)) / np.where(size == 0, 1.0, size)
    return mpjpe(scale[..., None, None] * predicted_m, true_m)


def mpjve(predicted_m: Array, true_m: Array) -> Array:
    """Mean error of the joints' steps (..., T - 1), in metres **per frame**.

    Depends on the frame rate, as in the literature; see `mpjve_per_second`.
    """
    return mpjpe(np.diff(predicted_m, axis=-3), np.diff(true_m, axis=-3))


def mpjve_per_second(predicted_m: Array, true_m: Array, time_s: Array) -> Array:
    """Mean error of the joints' velocities (..., T - 1), in metres per second; time_s (T)."""
    return mpjve(predicted_m, true_m) / np.diff(check_times(time_s, true_m))


def acceleration_error(predicted_m: Array, true_m: Array, time_s: Array) -> Array:
    """Mean error of the joints' accelerations (..., T - 2), in metres per second squared.

    By divided differences, so time_s (T) may be uneven.
    """
    check_pair(predicted_m, true_m)
    step_s = np.diff(check_times(time_s, true_m))[:, None, None]
    # Linear in the poses: the difference of accelerations is the acceleration of the difference.
    velocity = np.diff(predicted_m - true_m, axis=-3) / step_s
    error = 2 * np.diff(velocity, axis=-3) / (step_s[1:] + step_s[:-1])
    counted = counts(true_m)
    three = counted[..., 2:, :] & counted[..., 1:-1, :] & counted[..., :-2, :]
    return mean(np.linalg.norm(error, axis=-1), three)


def pck(predicted_m: Array, true_m: Array, threshold_m: float = 0.15) -> Array:
    """Share (..., T) of the joints that are nearer than `threshold_m` to the truth, 0 to 1."""
    near = joint_distance(predicted_m, true_m) < threshold_m
    return mean(near.astype(np.float64), counts(true_m))


def auc(predicted_m: Array, true_m: Array) -> Array:
    """Mean of `pck` (..., T) over `AUC_THRESHOLDS_M`.

    Nothing is nearer than 0 mm, so that a perfect pose has 30/31, as in the reference script.
    """
    return np.mean([pck(predicted_m, true_m, float(t)) for t in AUC_THRESHOLDS_M], axis=0)


def bone_length_deviation(xyz_m: Array, edges: Iterable[tuple[int, int]]) -> Array:
    """How much each bone changes its length over a clip: standard deviation (..., bones), metres.

    Needs no truth; frames in which the bone is NaN do not count. edges: (parent, child) indices.
    """
    parent, child = np.array(list(edges)).reshape(-1, 2).T
    length = np.linalg.norm(xyz_m[..., child, :] - xyz_m[..., parent, :], axis=-1)
    length = np.swapaxes(length, -1, -2)
    counted = np.isfinite(length)
    middle = mean(length, counted)[..., None]
    return np.sqrt(mean((length - middle) ** 2, counted))


def root_error(predicted_m: Array, true_m: Array, root: int = 0) -> Array:
    """Distance (..., T) in metres between the roots of poses that are placed in space."""
    check_pair(predicted_m, true_m)
    return mpjpe(predicted_m[..., [root], :], true_m[..., [root], :])


def answered(predicted_m: Array, true_m: Array) -> Array:
    """Share (..., T) of the true joints for which there is a prediction, 0 to 1."""
    given = np.isfinite(joint_distance(predicted_m, true_m))
    return mean(given.astype(np.float64), counts(true_m))


def relative(xyz_m: Array, root: int = 0) -> Array:
    """Poses (..., J, 3) relative to their joint `root`."""
    return xyz_m - xyz_m[..., [root], :]
