"""What every lifter must beat: the mean pose, and looking the pose up among training poses."""

from functools import partial

import numpy as np
import torch

from poselift.geometry import Array
from poselift.models import LifterInfo
from poselift.models.lifter import Lifter, LiftOptions
from poselift.train.batches import Motions, SynthConfig, generator, make_batch

_SEED = 4711
_POSES = 40_000
_AT_ONCE = 4_000
NAMES = ("mean-pose", "nearest")


def baseline(name: str, motions: Motions) -> Lifter:
    """A baseline by name, made from the training motions."""
    poses = _POSES if name == "nearest" else _AT_ONCE
    config = SynthConfig().clean()
    batches = [
        make_batch(motions, _AT_ONCE, 1, config, generator(_SEED, step, 0, motions.device))
        for step in range(poses // _AT_ONCE)
    ]
    xy = torch.cat([batch.xy[:, 0] for batch in batches]).double().numpy()
    xyz_m = torch.cat([batch.xyz_m[:, 0] for batch in batches]).double().numpy()
    run = partial(nearest, xy, xyz_m) if name == "nearest" else partial(constant, xyz_m.mean(0))
    info = LifterInfo(
        name,
        target="",
        frames=1,
        parameters=xy.size + xyz_m.size if name == "nearest" else xyz_m[0].size,
        gives="centre",
        citation="baseline",
        original_licence="Apache-2.0",
    )
    return Lifter(run, info, LiftOptions(flip=False))


def constant(pose_m: Array, xy: Array) -> Array:
    """The same pose (17, 3) for every window (B, 1, 17, 2)."""
    return np.repeat(pose_m[None], len(xy), axis=0)


def nearest(known_xy: Array, known_m: Array, xy: Array) -> Array:
    """Poses (B, 17, 3) of the training poses whose 2D (N, 17, 2) is nearest to xy (B, 1, 17, 2).

    Joints that are missing (0, 0) do not count.
    """
    asked = xy[:, 0].reshape(len(xy), -1)
    known = known_xy.reshape(len(known_xy), -1)
    counts = np.repeat((xy[:, 0] != 0).any(-1), 2, axis=-1).astype(float)
    # |m (q - x)|^2 without the part that is the same for every x.
    distance = counts @ (known**2).T - 2 * (counts * asked) @ known.T
    return known_m[distance.argmin(1)]
