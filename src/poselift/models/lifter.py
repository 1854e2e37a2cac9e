"""Lifter: a network with everything around it that turns Poses2D into Poses3D.

Networks know tensors; the lifter knows skeletons, cameras, gaps, frame rates, windows, padding and
flip. Training, evaluation and the product use this same class.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from poselift import signal
from poselift.camera import Camera
from poselift.errors import InputError, WeightsError
from poselift.geometry import Array
from poselift.models import LifterInfo
from poselift.normalize import person_window
from poselift.poses import Poses2D, Poses3D
from poselift.skeleton import skeleton

# Normalised windows (B, F, J, 2) to metres in view axes: the middle frame's pose (B, J, 3), or all
# poses (B, F, J, 3), as the record's `gives` says.
Run = Callable[[Array], Array]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class LiftOptions:
    """How a clip is cut into windows and put together again."""

    flip: bool = True  # average with the mirrored clip: twice the time, a little less error
    batch: int = 128  # windows per run
    fill_s: float = 0.25  # gaps of a joint up to this are bridged by straight lines
    least_joints: int = 6  # a frame with fewer joints holds nobody
    least_confidence: float = 0.1  # joints below count as not seen
    nominal_hz: float = 30.0  # faster clips are seen in steps of several frames
    lowest_hz: float = 20.0  # slower clips are resampled to nominal_hz
    longest_step_s: float = 0.5  # frames further apart are lifted on their own


class Lifter:
    """Lift a person's 2D joints to 3D, root-relative in camera axes, in metres."""

    def __init__(self, run: Run, info: LifterInfo, options: LiftOptions | None = None) -> None:
        self.run, self.info = run, info
        self.options = options or LiftOptions()
        self.skeleton_in = skeleton(info.skeleton_in)
        self.skeleton_out = skeleton(info.skeleton_out)

    @classmethod
    def from_onnx(cls, model: bytes, info: LifterInfo, threads: int = 0) -> "Lifter":
        """A lifter that runs an ONNX graph on the CPU. Raises WeightsError."""
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has no common base class for its errors
            raise WeightsError(f"{info.name}: cannot be loaded", found=str(error)) from error
        name = session.get_inputs()[0].name

        def run(xy: Array) -> Array:
            feed = {name: xy.astype(np.float32)}
            if info.gives == "all":
                return np.asarray(session.run(["every"], feed)[0])
            return np.asarray(session.run(["centre"], feed)[0])[:, 0]

        return cls(run, info)

    def __call__(self, poses: Poses2D, progress: Progress | None = None) -> Poses3D:
        """Lift a whole clip: a pose for every frame that holds the person, NaN elsewhere.

        Raises InputError where no frame has enough joints.
        """
        camera = poses.camera or Camera.guess(poses.size_px)
        observed = poses.to(self.skeleton_in)
        faint = observed.confidence < self.options.least_confidence
        rays = camera.image_to_rays(np.where(faint[..., None], np.nan, observed.xy_px))
        rays = signal.fill_gaps(rays, poses.time_s, self.options.fill_s)
        xyz = np.full((len(poses.time_s), len(self.skeleton_out), 3), np.nan)
        segments = list(self._segments(rays, poses.time_s))
        if not segments:
            raise InputError(
                f"person {poses.person}",
                expected=f"a frame with at least {self.options.least_joints} joints",
                found="none",
            )
        total, done = sum(len(range(*part.indices(len(rays)))) for part in segments), 0
        for part in segments:
            xyz[part] = self._lift_segment(rays[part], poses.time_s[part])
            done += len(xyz[part])
            if progress:
                progress(done, total)
        known = "known" if camera.known else "guessed"
        return Poses3D(
            xyz,
            poses.time_s,
            self.skeleton_out,
            person=poses.person,
            camera=camera,
            observed=poses,
            history=(*poses.history, f"lifted by {self.info.name}, camera {known}"),
        )

    def _segments(self, rays: Array, time_s: Array) -> Iterator[slice]:
        """Runs of frames that hold the person, without long steps in time."""
        here = np.flatnonzero(np.isfinite(rays).all(-1).sum(-1) >= self.options.least_joints)
        apart = (np.diff(here) > 1) | (np.diff(time_s[here]) > self.options.longest_step_s)
        for run in np.split(here, np.flatnonzero(apart) + 1):
            if len(run):
                yield slice(run[0], run[-1] + 1)

    def _lift_segment(self, rays: Array, time_s: Array) -> Array:
        """Poses (T, J, 3) for rays (T, J, 2) without gaps of the person."""
        grid = self._grid(time_s)
        if grid is None:
            return self._lift_even(rays, time_s)
        xyz = self._lift_even(signal.resample(rays, time_s, grid), grid)
        return signal.resample(xyz, grid, time_s)

    def _grid(self, time_s: Array) -> Array | None:
        """Even times for a segment that is too slow or uneven for the network, else None."""
        if len(time_s) < 2:
            return None
        steps = np.diff(time_s)
        rate = 1 / np.median(steps)
        uneven = steps.max() > 1.5 * steps.min()
        if not uneven and rate >= self.options.lowest_hz:
            return None
        rate = rate if rate >= self.options.lowest_hz else self.options.nominal_hz
        count = max(2, round((time_s[-1] - time_s[0]) * rate) + 1)
        return np.linspace(time_s[0], time_s[-1], count)

    def _lift_even(self, rays: Array, time_s: Array) -> Array:
        """All poses of an evenly sampled segment; a fast one is seen in steps of some frames."""
        frames = len(rays)
        rate = (frames - 1) / (time_s[-1] - time_s[0]) if frames > 1 else self.options.nominal_hz
        stride = max(1, round(rate / self.options.nominal_hz))
        if self.info.gives == "centre":
            return self._lift_centres(rays, stride)
        xyz = np.empty((frames, len(self.skeleton_out), 3))
        for phase in range(min(stride, frames)):
            xyz[phase::stride] = self._lift_chunks(rays[phase::stride])
        return xyz

    def _lift_centres(self, rays: Array, stride: int) -> Array:
        """One window per frame, in batches; edges repeat the outer frames."""
        frames, half = len(rays), self.info.frames // 2
        reach = stride * np.arange(-half, self.info.frames - half)
        out = []
        for start in range(0, frames, self.options.batch):
            middle = np.arange(start, min(start + self.options.batch, frames))
            windows = rays[np.clip(middle[:, None] + reach, 0, frames - 1)]
            out.append(self._lift_windows(windows)[:, 0])
        return np.concatenate(out)

    def _lift_chunks(self, rays: Array) -> Array:
        """Windows that overlap by half; each frame is the mean of its answers.

        An answer weighs less near the end of its window, where the network sees only one side.
        """
        frames, length = len(rays), self.info.frames
        last = max(0, frames - length)
        starts = np.append(np.arange(0, last, max(1, length // 2)), last)
        index = starts[:, None] + np.arange(length)
        place = np.arange(length) + 1.0
        weight = np.minimum(place, place[::-1])[None].repeat(len(starts), 0) * (index < frames)
        total = np.zeros((frames, len(self.skeleton_out), 3))
        shares = np.zeros(frames)
        index = np.minimum(index, frames - 1)
        per_run = max(1, self.options.batch // length)
        for first in range(0, len(starts), per_run):
            part = slice(first, first + per_run)
            lifted = self._lift_windows(rays[index[part]])
            np.add.at(total, index[part], weight[part][..., None, None] * lifted)
            np.add.at(shares, index[part], weight[part])
        return total / shares[:, None, None]

    def _lift_windows(self, rays: Array) -> Array:
        """Poses (B, S, J, 3) of windows (B, F, J, 2) in camera axes; S is 1 or F."""
        window = person_window(rays)
        xyz = self.run(window.xy)
        if self.options.flip:
            twin = _mirror(
                self.run(_mirror(window.xy, self.skeleton_in.mirror)), self.skeleton_out.mirror
            )
            xyz = (xyz + twin) / 2
        xyz = xyz - xyz[..., :1, :]
        return window.to_camera(xyz if xyz.ndim == 4 else xyz[:, None])


def _mirror(joints: Array, order: list[int]) -> Array:
    flipped = joints[..., order, :].copy()
    flipped[..., 0] *= -1
    return flipped
