"""Lifter: a network with everything around it that turns Poses2D into Poses3D.

Networks know tensors; the lifter knows skeletons, cameras, gaps, frame rates, windows, padding and
flip. Training, evaluation and the product use this same class.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from poselift import signal
from poselift.camera import Camera
from poselift.errors import InputError, WeightsError
from poselift.geometry import Array
from poselift.models import LifterInfo
from poselift.normalize import Window, person_window
from poselift.poses import Poses2D, Poses3D
from poselift.skeleton import skeleton

# Windows (B, F, J, 2), normalised as the record's `input` says, to metres in view axes ("screen":
# the camera's): the middle frame's pose (B, J, 3), or all poses (B, F, J, 3), as `gives` says.
Run = Callable[[Array], Array]
Progress = Callable[[int, int], None]
SLOWEST_SHARE = 2 / 3  # of the rate that a network knows: a clip that it still sees as it is


@dataclass(frozen=True)
class LiftOptions:
    """How a clip is cut into windows and put together again."""

    flip: bool = True  # average with the mirrored clip: twice the time, a little less error
    batch: int = 128  # windows per run
    fill_s: float = 0.25  # gaps of a joint up to this are bridged by straight lines
    least_joints: int = 6  # a frame with fewer joints holds nobody
    least_confidence: float = 0.1  # joints below count as not seen
    nominal_hz: float = 30.0  # faster clips are seen in steps of several frames
    lowest_hz: float = SLOWEST_SHARE * 30.0  # slower clips are resampled to nominal_hz
    longest_step_s: float = 0.5  # frames further apart are lifted on their own


def session(model: bytes, name: str, threads: int) -> Any:
    """An ONNX graph on the CPU, on so many threads (0: all). Raises WeightsError."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no common base class for its errors
        raise WeightsError(f"{name}: cannot be loaded", found=str(error)) from error


class Lifter:
    """Lift a person's 2D joints to 3D, root-relative in camera axes, in metres."""

    def __init__(self, run: Run, info: LifterInfo, options: LiftOptions | None = None) -> None:
        self.run, self.info = run, info
        self.options = options or LiftOptions(
            nominal_hz=info.rate_hz, lowest_hz=SLOWEST_SHARE * info.rate_hz
        )
        self.skeleton_in = skeleton(info.skeleton_in)
        self.skeleton_out = skeleton(info.skeleton_out)

    @classmethod
    def from_onnx(cls, model: bytes, info: LifterInfo, threads: int = 0) -> "Lifter":
        """A lifter that runs an ONNX graph on the CPU. Raises WeightsError."""
        graph = session(model, info.name, threads)
        name = graph.get_inputs()[0].name

        def run(xy: Array) -> Array:
            if not np.isfinite(xy).all():
                expected = "finite numbers, 0 where a joint is missing"
                raise InputError(f"window of {info.name}", expected=expected, found="NaN")
            feed = {name: xy.astype(np.float32)}
            if info.gives == "all":
                return np.asarray(graph.run(["every"], feed)[0])
            return np.asarray(graph.run(["centre"], feed)[0])[:, 0]

        return cls(run, info)

    def __call__(self, poses: Poses2D, progress: Progress | None = None) -> Poses3D:
        """Lift a whole clip: a pose for every frame that holds the person, NaN elsewhere.

        Raises InputError where no frame has enough joints.
        """
        camera = poses.camera or Camera.guess(poses.size_px)
        observed = poses.to(self.skeleton_in)
        faint = observed.confidence < self.options.least_confidence
        points = self._points(np.where(faint[..., None], np.nan, observed.xy_px), camera)
        points = signal.fill_gaps(points, poses.time_s, self.options.fill_s)
        xyz = np.full((len(poses.time_s), len(self.skeleton_out), 3), np.nan)
        segments = list(self._segments(points, poses.time_s))
        if not segments:
            raise InputError(
                f"person {poses.person}",
                expected=f"a frame with at least {self.options.least_joints} joints",
                found="none",
            )
        total, done = sum(len(range(*part.indices(len(points)))) for part in segments), 0
        for part in segments:
            xyz[part] = self._lift_segment(points[part], poses.time_s[part])
            done += len(xyz[part])
            if progress:
                progress(done, total)
        return Poses3D(
            xyz,
            poses.time_s,
            self.skeleton_out,
            person=poses.person,
            camera=camera,
            observed=poses,
            history=(*poses.history, *self._steps(camera, points[np.isfinite(xyz[:, 0, 0])])),
        )

    def _points(self, xy_px: Array, camera: Camera) -> Array:
        """Pixels as slopes of rays, or for the whole image as places in it (x from -1 to 1)."""
        if self.info.input == "person":
            return camera.image_to_rays(xy_px)
        width, height = camera.size_px
        return 2 * xy_px / width - [1, height / width]

    def _steps(self, camera: Camera, points: Array) -> Iterator[str]:
        """What the result's history says of the lifting of these frames (T, J, 2)."""
        known = "known" if camera.known else "guessed"
        yield f"lifted by {self.info.name}, camera {known}"
        missing = int(np.isnan(points).any(-1).sum())
        if missing and self.info.input == "screen":
            yield (
                f"{missing} of {points[..., 0].size} joints not seen: {self.info.name} has no word "
                "for that and got the middle of the image in their place"
            )

    def _segments(self, points: Array, time_s: Array) -> Iterator[slice]:
        """Runs of frames that hold the person, without long steps in time."""
        here = np.flatnonzero(np.isfinite(points).all(-1).sum(-1) >= self.options.least_joints)
        apart = (np.diff(here) > 1) | (np.diff(time_s[here]) > self.options.longest_step_s)
        for run in np.split(here, np.flatnonzero(apart) + 1):
            if len(run):
                yield slice(run[0], run[-1] + 1)

    def _lift_segment(self, points: Array, time_s: Array) -> Array:
        """Poses (T, J, 3) for points (T, J, 2) without gaps of the person."""
        grid = self._grid(time_s)
        if grid is None:
            return self._lift_even(points, time_s)
        xyz = self._lift_even(signal.resample(points, time_s, grid), grid)
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

    def _lift_even(self, points: Array, time_s: Array) -> Array:
        """All poses of an evenly sampled segment; a fast one is seen in steps of some frames."""
        frames = len(points)
        rate = (frames - 1) / (time_s[-1] - time_s[0]) if frames > 1 else self.options.nominal_hz
        stride = max(1, round(rate / self.options.nominal_hz))
        if self.info.gives == "centre":
            return self._lift_centres(points, stride)
        xyz = np.empty((frames, len(self.skeleton_out), 3))
        for phase in range(min(stride, frames)):
            xyz[phase::stride] = self._lift_chunks(points[phase::stride])
        return xyz

    def _lift_centres(self, points: Array, stride: int) -> Array:
        """One window per frame, in batches; edges repeat the outer frames."""
        frames, half = len(points), self.info.frames // 2
        reach = stride * np.arange(-half, self.info.frames - half)
        out = []
        for start in range(0, frames, self.options.batch):
            middle = np.arange(start, min(start + self.options.batch, frames))
            windows = points[np.clip(middle[:, None] + reach, 0, frames - 1)]
            out.append(self._lift_windows(windows)[:, 0])
        return np.concatenate(out)

    def _lift_chunks(self, points: Array) -> Array:
        """Windows that overlap by half; each frame is the mean of its answers.

        An answer weighs less near the end of its window, where the network sees only one side.
        """
        frames, length = len(points), self.info.frames
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
            lifted = self._lift_windows(points[index[part]])
            np.add.at(total, index[part], weight[part][..., None, None] * lifted)
            np.add.at(shares, index[part], weight[part])
        return total / shares[:, None, None]

    def _lift_windows(self, points: Array) -> Array:
        """Poses (B, S, J, 3) of windows (B, F, J, 2) in camera axes; S is 1 or F."""
        window = person_window(points) if self.info.input == "person" else _whole_image(points)
        xyz = self.run(window.xy)
        if self.options.flip:
            twin = _mirror(
                self.run(_mirror(window.xy, self.skeleton_in.mirror)), self.skeleton_out.mirror
            )
            xyz = (xyz + twin) / 2
        xyz = xyz - xyz[..., :1, :]
        return window.to_camera(xyz if xyz.ndim == 4 else xyz[:, None])


def _whole_image(points: Array) -> Window:
    """Places in the image (B, F, J, 2) as they are, 0 where a joint is missing, in camera axes."""
    xy = np.where(np.isnan(points), 0.0, points)
    return Window(xy, np.broadcast_to(np.eye(3), (len(points), 3, 3)))


def _mirror(joints: Array, order: list[int]) -> Array:
    flipped = joints[..., order, :].copy()
    flipped[..., 0] *= -1
    return flipped
