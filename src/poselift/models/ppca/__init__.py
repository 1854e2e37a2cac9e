"""Lifting from the Deep: a PPCA mixture of poses, fitted to 2D points or fused with 2D beliefs."""

from poselift.models.ppca.beliefs import Belief, HeatmapBelief, PointBelief, SimccBelief
from poselift.models.ppca.fusion import Fused, fuse, fuse_stages
from poselift.models.ppca.lift import PpcaOptions, as_run, lift
from poselift.models.ppca.model import FusionWeights, Mixture, load, save, shipped
from poselift.models.ppca.posterior import PpcaResult
from poselift.models.ppca.release import ReleaseOptions, lift_as_released

__all__ = [
    "Belief",
    "Fused",
    "FusionWeights",
    "HeatmapBelief",
    "Mixture",
    "PointBelief",
    "PpcaOptions",
    "PpcaResult",
    "ReleaseOptions",
    "SimccBelief",
    "as_run",
    "fuse",
    "fuse_stages",
    "lift",
    "lift_as_released",
    "load",
    "save",
    "shipped",
]
