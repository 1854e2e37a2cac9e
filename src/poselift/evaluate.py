"""Evaluation: one lifter, clips with truth, an answer to each. Everybody is judged by this."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from poselift.errors import InputError
from poselift.geometry import Array, unit
from poselift.metrics.contact import CAMERA_UP
from poselift.metrics.uncertainty import OPTICAL_AXIS
from poselift.poses import Poses2D, Poses3D
from poselift.report import Answer, Evaluated
from poselift.skeleton import skeleton

Lift = Callable[[Poses2D], Poses3D]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Clip:
    """Observed 2D and true 3D of the same T frames.

    truth_m (T, 17, 3): H36M-17, root-relative, camera axes; root_m (T, 3): the pelvis in the
    camera; contact (T, 2): left and right foot planted; up (3) or (T, 3): against gravity, camera
    axes; strata: kind to label, such as view: front.
    """

    name: str
    observed: Poses2D
    truth_m: Array
    root_m: Array | None = None
    contact: NDArray[np.bool_] | None = None
    up: Array = field(default_factory=CAMERA_UP.copy)
    strata: Mapping[str, str] = field(default_factory=dict)


def evaluate(lift: Lift, clips: Sequence[Clip], progress: Progress | None = None) -> Evaluated:
    """Lift every clip. A clip that the lifter refuses is answered by NaN: all of it is missed.

    Raises InputError for no clips.
    """
    if not clips:
        raise InputError("evaluation", expected="at least one clip", found="none")
    answers = []
    for number, clip in enumerate(clips, start=1):
        answers.append(_answer(lift, clip))
        if progress:
            progress(number, len(clips))
    return Evaluated(tuple(answers))


def _answer(lift: Lift, clip: Clip) -> Answer:
    try:
        poses = lift(clip.observed).to(skeleton("h36m17"))
        predicted, sd, scale = poses.xyz_m, poses.uncertainty_m, poses.scale_m
    except InputError:
        predicted, sd, scale = np.full(clip.truth_m.shape, np.nan), None, None
    return Answer(
        name=clip.name,
        predicted_m=predicted,
        truth_m=clip.truth_m,
        time_s=clip.observed.time_s,
        strata=clip.strata,
        truth_root_m=clip.root_m,
        contact=clip.contact,
        up=clip.up,
        sd_m=sd,
        scale_m=scale,
        axis=OPTICAL_AXIS if clip.root_m is None else unit(clip.root_m),
    )
