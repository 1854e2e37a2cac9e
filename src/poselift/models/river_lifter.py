"""RiverLifter: whole clips of any detector at any frame rate through `river`'s offline graph.

It is called as `Lifter` is. Points are taken over by name, with what was not seen left open; time
stamps are used as they are. Long clips are lifted in windows that overlap by more than the network
remembers, with answers blended where they overlap, so that memory stays flat.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from poselift import signal
from poselift.camera import Camera
from poselift.errors import InputError
from poselift.geometry import Array
from poselift.metrics.uncertainty import exp_power_sd
from poselift.models import LifterInfo
from poselift.models.intake import (
    BODY,
    LEAST_CONFIDENCE,
    MODES,
    NEW_S,
    Intake,
    Known,
    columns,
    intake,
    mirrored,
    told,
    with_mode,
)
from poselift.models.lifter import Progress, session
from poselift.poses import Poses2D, Poses3D

# Points (B, T, 28, 4), facts (B, T, FACTS), dt_s (B, T) to joints (B, T, 28, 5): metres in view
# axes and the logarithms of the lateral and the depth scale; see poselift.models.river.
Run = Callable[[Array, Array, Array], Array]
LOG_SCALES = (-6.0, 1.0)  # what the network was taught


@dataclass(frozen=True)
class RiverOptions:
    """What is told of a person, and how a clip is cut into windows. Raises InputError."""

    flip: bool = True  # average with the mirrored clip: twice the time, a little less error
    height_m: float | None = None  # how tall the person is, if known: sets the scale
    up: tuple[float, float, float] | None = None  # against gravity in camera axes, if known
    fill_s: float = 0.25  # frames without the person are bridged over up to this
    least_joints: int = 6  # a frame with fewer joints holds nobody
    least_confidence: float = LEAST_CONFIDENCE  # joints below count as not seen
    window: int = 1024  # frames per run
    overlap_s: float = 12.0  # twice the longest memory; at most half a window
    on_axis: bool = True  # as the network was taught (`intake`)

    def __post_init__(self) -> None:
        if self.height_m is not None and not 0.3 < self.height_m < 3:
            raise InputError("body height", expected="0.3 to 3 metres", found=self.height_m)
        if self.up is not None and not (len(self.up) == 3 and 0 < np.linalg.norm(self.up) < np.inf):
            raise InputError("up", expected="a direction (3) in camera axes", found=self.up)
        if self.window < 2:
            raise InputError("window", expected="at least 2 frames", found=self.window)


@dataclass(frozen=True)
class _Seen:
    """T frames of a person: slopes (T, 28, 2), NaN = not seen; confidence (T, 28); which frames
    hold the person (T); how many of these were bridged.
    """

    rays: Array
    confidence: Array
    here: NDArray[np.bool_]
    bridged: int


class RiverLifter:
    """Lift a person's 2D joints to body28, root-relative in camera axes, in metres."""

    def __init__(
        self,
        run: Run,
        info: LifterInfo,
        options: RiverOptions | None = None,
        calibration: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        self.run, self.info = run, info
        self.options = options or RiverOptions()
        self.calibration = calibration

    @classmethod
    def from_onnx(
        cls,
        model: bytes,
        info: LifterInfo,
        threads: int = 0,
        calibration: tuple[float, float] = (1.0, 1.0),
    ) -> "RiverLifter":
        """A lifter that runs the offline graph on the CPU.

        calibration: factors that make the scales of the uncertainty honest, across the ray and
        along it. Raises WeightsError.
        """
        graph = session(model, info.name, threads)

        def run(points: Array, facts: Array, dt_s: Array) -> Array:
            feed = {"points": points, "facts": facts, "dt_s": dt_s}
            for name, array in feed.items():
                if not np.isfinite(array).all():
                    expected = "finite numbers, 0 where a point is missing"
                    raise InputError(f"{name} of {info.name}", expected=expected, found="others")
            feed = {name: array.astype(np.float32) for name, array in feed.items()}
            return np.asarray(graph.run(["joints"], feed)[0])

        return cls(run, info, calibration=calibration)

    def __call__(self, poses: Poses2D, progress: Progress | None = None) -> Poses3D:
        """Lift a whole clip: a pose for every frame that holds the person, NaN elsewhere.

        Raises InputError where no frame has enough joints.
        """
        camera = poses.camera or Camera.guess(poses.size_px)
        seen = self._look(poses, camera)
        if not seen.here.any():
            raise InputError(
                f"person {poses.person}",
                expected=f"a frame with at least {self.options.least_joints} joints",
                found="none",
            )
        centres = poses.skeleton.kind == "joints"
        known = told(camera.known, centres, self.options.height_m, self.options.up)
        rays, confidence = seen.rays[seen.here], seen.confidence[seen.here]
        steps_s = np.diff(poses.time_s[seen.here], prepend=np.nan)
        steps_s[0] = NEW_S
        xyz, scale = self._lift(rays, confidence, steps_s, known, progress)
        out = in_clip(
            poses, np.flatnonzero(seen.here), xyz, scale, self._steps(camera, seen.bridged)
        )
        return replace(out, camera=camera)

    def _look(self, poses: Poses2D, camera: Camera) -> _Seen:
        """The clip as points of body28; short stretches without the person are bridged."""
        sources, targets = (list(rows) for rows in columns(poses.skeleton))
        given = np.full((len(poses.time_s), len(BODY), 3), np.nan)
        given[:, targets, :2] = camera.image_to_rays(poses.xy_px)[:, sources]
        given[:, targets, 2] = poses.confidence[:, sources]
        unseen = np.isnan(given).any(-1) | ~(given[..., 2] >= self.options.least_confidence)
        given[unseen] = np.nan
        weak = (~unseen).sum(1) < self.options.least_joints
        filled = signal.fill_gaps(given, poses.time_s, self.options.fill_s)
        given = np.where(weak[:, None, None], filled, given)
        here = np.isfinite(given[..., 2]).sum(1) >= self.options.least_joints
        sure = np.nan_to_num(given[..., 2])
        return _Seen(given[..., :2], sure, here, bridged=int((here & weak).sum()))

    def _steps(self, camera: Camera, bridged: int) -> Iterator[str]:
        """What the result's history says of the lifting."""
        yield f"lifted by {self.info.name}, camera {'known' if camera.known else 'guessed'}"
        if self.options.height_m is not None:
            yield f"body height {self.options.height_m:.2f} m, as told"
        if bridged:
            yield f"{bridged} frames with too few joints were bridged"

    def _lift(
        self, rays: Array, confidence: Array, dt_s: Array, known: Known, progress: Progress | None
    ) -> tuple[Array, Array]:
        """Poses (T, 28, 3) in camera axes and their scales (T, 28, 2) across and along the ray."""
        on_axis = self.options.on_axis
        seen = intake(rays, confidence, dt_s, known, on_axis=on_axis)[0]
        joints = self._answers(seen, dt_s, progress, share=0)
        xyz, scales = self._in_camera(seen, joints)
        if self.options.flip:
            twin = confidence[:, BODY.mirror], dt_s, known.mirrored()
            seen = intake(mirrored(rays), *twin, on_axis=on_axis)[0]
            joints = self._answers(seen, dt_s, progress, share=1)
            other, theirs = self._in_camera(seen, joints)
            xyz = (xyz + mirrored(other)) / 2
            scales = (scales + theirs[:, BODY.mirror]) / 2
        return xyz, claimed_scale_m(scales, self.calibration)

    def _answers(self, seen: Intake, dt_s: Array, progress: Progress | None, share: int) -> Array:
        """The network's answers (T, 28, 5), window by window; `share` of two is done before."""
        facts = with_mode(seen.facts, MODES[0])
        frames = len(dt_s)
        length = min(self.options.window, frames)
        overlap = self.options.overlap_s / np.median(dt_s)
        overlap = int(np.clip(overlap, min(1, length // 2), length // 2))
        last = frames - length
        starts = [*range(0, last, length - overlap), last]
        # An answer weighs less near the end of its window, where the network sees only one side.
        place = np.arange(length) + 1.0
        weight = np.minimum(np.minimum(place, place[::-1]), overlap + 1)
        total, shares = np.zeros((frames, len(BODY), 5)), np.zeros(frames)
        runs = 2 if self.options.flip else 1
        for start in starts:
            part = slice(start, start + length)
            lifted = self.run(seen.points[None, part], facts[None, part], dt_s[None, part])[0]
            total[part] += weight[:, None, None] * lifted
            shares[part] += weight
            if progress:
                progress((share * frames + start + length) // runs, frames)
        return total / shares[:, None, None]

    def _in_camera(self, seen: Intake, joints: Array) -> tuple[Array, Array]:
        """Answers in view axes as poses about the pelvis in camera axes, and ln scales in m."""
        xyz = seen.to_camera(joints[..., :3] - joints[:, :1, :3])
        return xyz, joints[..., 3:]


def in_clip(
    poses: Poses2D, rows: NDArray[np.integer], xyz_m: Array, scale_m: Array, steps: Iterable[str]
) -> Poses3D:
    """Answers about some frames of a clip as its poses, NaN in all other frames.

    rows (N): which frames; xyz_m (N, 28, 3), root-relative in camera axes; scale_m (N, 28, 2);
    steps: what was done, for the history.
    """
    xyz = np.full((len(poses.time_s), len(BODY), 3), np.nan)
    scale = np.full((*xyz.shape[:2], 2), np.nan)
    xyz[rows], scale[rows] = xyz_m, scale_m
    return Poses3D(
        xyz,
        poses.time_s,
        BODY,
        person=poses.person,
        uncertainty_m=exp_power_sd(scale),
        scale_m=scale,
        camera=poses.camera,
        observed=poses,
        history=(*poses.history, *steps),
    )


def claimed_scale_m(log_scales: Array, calibration: tuple[float, float]) -> Array:
    """Scales (..., 28, 2) in metres of the network's answers; of the pelvis there is no claim."""
    scale = np.exp(log_scales.clip(*LOG_SCALES)) * calibration
    scale[..., 0, :] = np.nan
    return scale
