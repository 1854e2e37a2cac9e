"""Metrics: how far 3D poses are from the truth, and how sure one may be of it.

`positions` (errors of joints and of their motion), `angles`, `contact` (foot skate), `uncertainty`
(calibration) and `bootstrap` (intervals). Plain arrays in metres and seconds; NaN = not known.
"""

from poselift.metrics.angles import angle_error_deg, joint_angles
from poselift.metrics.contact import foot_skate, foot_skate_error, planted
from poselift.metrics.positions import (
    AUC_THRESHOLDS_M,
    acceleration_error,
    align,
    answered,
    auc,
    bone_length_deviation,
    joint_distance,
    mpjpe,
    mpjve,
    mpjve_per_second,
    n_mpjpe,
    p_mpjpe,
    pck,
    relative,
    root_error,
)

__all__ = [
    "AUC_THRESHOLDS_M",
    "acceleration_error",
    "align",
    "angle_error_deg",
    "answered",
    "auc",
    "bone_length_deviation",
    "foot_skate",
    "foot_skate_error",
    "joint_angles",
    "joint_distance",
    "mpjpe",
    "mpjve",
    "mpjve_per_second",
    "n_mpjpe",
    "p_mpjpe",
    "pck",
    "planted",
    "relative",
    "root_error",
]
