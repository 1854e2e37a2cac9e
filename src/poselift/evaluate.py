"""Evaluation: one lifter, clips with truth, errors in millimetres. Everybody is judged by this."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from poselift import metrics
from poselift.errors import InputError
from poselift.geometry import Array
from poselift.poses import Poses2D, Poses3D

Frames = NDArray[np.bool_]
Lift = Callable[[Poses2D], Poses3D]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Clip:
    """Observed 2D and true 3D of the same frames; truth_m (T, 17, 3) root-relative, camera axes."""

    name: str
    observed: Poses2D
    truth_m: Array


@dataclass(frozen=True)
class Scores:
    """Means over all frames of all clips (H36M-17, root-relative, root counted).

    Errors in mm, velocity error in mm per frame; `missed` is the share of frames without an answer,
    which count in no mean. `clip_sd_mm` is the spread of MPJPE over clips.
    """

    clips: int
    frames: int
    mpjpe_mm: float
    p_mpjpe_mm: float
    n_mpjpe_mm: float
    mpjve_mm: float
    clip_sd_mm: float
    missed: float

    def to_json(self) -> dict[str, float]:
        """Rounded for records and tables."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def score(lift: Lift, clips: Sequence[Clip], progress: Progress | None = None) -> Scores:
    """Lift every clip and compare. Raises InputError for no clips."""
    if not clips:
        raise InputError("evaluation", expected="at least one clip", found="none")
    rows, per_clip, missed, total = [], [], 0, 0
    for number, clip in enumerate(clips, start=1):
        guess = lift(clip.observed).xyz_m
        answered: Frames = np.all(np.isfinite(guess), axis=(1, 2))
        missed += int((~answered).sum())
        total += len(answered)
        if answered.any():
            row = _errors(guess, clip.truth_m, answered)
            rows.append(row)
            per_clip.append(row[0].mean())
        if progress:
            progress(number, len(clips))
    if not rows:
        raise InputError("evaluation", expected="an answer for at least one frame", found="none")
    columns = [np.concatenate(column) for column in zip(*rows, strict=True)]
    means = [float(column.mean() * 1e3) for column in columns]
    return Scores(len(clips), total, *means, float(np.std(per_clip) * 1e3), missed / total)


def _errors(guess_m: Array, truth_m: Array, answered: Frames) -> tuple[Array, ...]:
    """MPJPE, P-MPJPE, N-MPJPE per frame and velocity error per step, metres."""
    a, b = guess_m[answered], truth_m[answered]
    step = np.diff(guess_m, axis=0) - np.diff(truth_m, axis=0)
    velocity = np.linalg.norm(step, axis=-1).mean(-1)
    return (
        metrics.mpjpe(a, b),
        metrics.p_mpjpe(a, b),
        metrics.n_mpjpe(a, b),
        velocity[np.isfinite(velocity)],
    )


def constant_pose(pose_m: Array) -> Lift:
    """A "lifter" that answers every frame with the same pose (17, 3): the mean-pose baseline."""

    def lift(observed: Poses2D) -> Poses3D:
        from poselift.skeleton import skeleton

        xyz = np.repeat(pose_m[None], len(observed.time_s), axis=0)
        return Poses3D(xyz, observed.time_s, skeleton("h36m17"), history=("mean pose",))

    return lift
