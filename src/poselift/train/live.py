"""Whole clips through a live stream, to be judged: the poses that a user would have got."""

import numpy as np

from poselift.errors import InputError
from poselift.models import LifterInfo, info
from poselift.models.lifter import Progress
from poselift.models.river_lifter import in_clip
from poselift.models.stepping import StepNetwork, step_network
from poselift.poses import Poses2D, Poses3D
from poselift.streaming import Stream, StreamOptions


class LiveLifter:
    """A lifter whose poses come `delay` frames late; called as `Lifter` is.

    Frames are given one by one. The last poses are those of `Stream.flush`.
    """

    def __init__(self, network: StepNetwork, info: LifterInfo, delay: int) -> None:
        self.network, self.info, self.delay = network, info, delay

    @classmethod
    def load(cls, name: str, delay: int) -> "LiveLifter":
        """By the name or path of weights. Raises as `step_network`."""
        return cls(step_network(name), info(name), delay)

    def __call__(self, poses: Poses2D, progress: Progress | None = None) -> Poses3D:
        """Poses of all frames that the stream answers, NaN elsewhere.

        Raises InputError for a delay that there is not, and where nobody is seen.
        """
        options = StreamOptions(
            lifter=self.info.name,
            delay=self.delay,
            size_px=poses.size_px,
            skeleton=poses.skeleton.name,
            camera=poses.camera,
            smooth_depth_hz=None,
        )
        live, answers = Stream(self.network, options), []
        frames = zip(poses.xy_px, poses.time_s, poses.confidence, strict=True)
        for done, frame in enumerate(frames, start=1):
            answers.append(live(*frame))
            if progress:
                progress(done, len(poses.time_s))
        given = [pose for pose in (*answers, *live.flush()) if pose is not None]
        if not given:
            what = f"person {poses.person}"
            raise InputError(what, expected="a frame that holds somebody", found="none")
        rows = np.searchsorted(poses.time_s, [pose.time_s for pose in given])
        xyz = np.array([pose.xyz_m for pose in given])
        scale = np.array([pose.scale_m for pose in given])
        step = f"lifted live by {self.info.name}, {self.delay} frames late"
        return in_clip(poses, rows, xyz, scale, [step])
