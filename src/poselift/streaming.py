"""Live lifting: a frame in, a pose out, a fixed number of frames late (docs/streaming.md).

A stream runs the step of `river` with a memory of fixed size, so that a frame costs the same
however long the stream is. What it answers is what the network gives for the whole clip looking
back. One `Stream` follows one person.
"""

import io
import json
import zipfile
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike

from poselift.camera import Camera
from poselift.errors import FormatError, InputError, ShapeError, UnknownNameError, WeightsError
from poselift.geometry import Array
from poselift.metrics.uncertainty import exp_power_sd
from poselift.models.intake import (
    BODY,
    DELAYS,
    GAP_S,
    LEAST_CONFIDENCE,
    NEW_S,
    Followed,
    Known,
    columns,
    intake,
    mirrored,
    told,
    with_mode,
)
from poselift.models.river_lifter import RiverOptions, claimed_scale_m
from poselift.models.stepping import StepNetwork, step_network
from poselift.place import DEPTH_CUTOFF_HZ, root_on_rays_m, sure_weight
from poselift.signal import OneEuro
from poselift.skeleton import Skeleton, skeleton

HOLD_S = 0.25  # so long the network is shown the last frame that held the person, then nobody
VERSION = 2  # of what `Stream.save` writes
Late = Literal["error", "drop"]


@dataclass(frozen=True, eq=False)
class Pose:
    """One person in one frame, in camera axes: x right, y down, z forward.

    xyz_m (J, 3): joints relative to the first, the pelvis; scale_m (J, 2): how wrong they may be
    across and along the line of sight (poselift.metrics.uncertainty), NaN for the pelvis;
    uncertainty_m (J): the same as one standard deviation per axis; root_m (3): where the pelvis is,
    NaN where fewer than 3 joints were seen; time_s: of the frame that the pose is of. Arrays are
    locked.
    """

    xyz_m: Array
    scale_m: Array
    root_m: Array
    time_s: float
    skeleton: Skeleton
    person: int = 0

    def __post_init__(self) -> None:
        for array in (self.xyz_m, self.scale_m, self.root_m):
            array.flags.writeable = False

    @property
    def uncertainty_m(self) -> Array:
        """One standard deviation per axis (J)."""
        return exp_power_sd(self.scale_m)


@dataclass(frozen=True)
class StreamOptions:
    """Everything `stream` can be told.

    Raises UnknownNameError and InputError for values that cannot be meant.
    """

    lifter: str = "river"  # a lifter that streams, or the path of weights
    delay: int = 2  # frames that a pose comes late: 0, 2, 4 or 8
    size_px: tuple[int, int] | None = None  # width and height of the image; or give the camera
    skeleton: str = "coco17"  # what the detector prints
    camera: Camera | None = None  # None: guessed from the image size
    height_m: float | None = None  # how tall the person is, if known
    up: tuple[float, float, float] | None = None  # against gravity in camera axes, if known
    flip: bool = True  # average with the mirrored person: half as long again, a little less error
    smooth_depth_hz: float | None = DEPTH_CUTOFF_HZ  # causal filter of the distance; None: raw
    late: Late = "error"  # "drop": frames that are not later than the last one are left out
    threads: int = 1
    person: int = 0

    def __post_init__(self) -> None:
        skeleton(self.skeleton)
        if self.delay not in DELAYS:
            raise InputError("delay of a stream", found=self.delay, known=DELAYS)
        if self.late not in get_args(Late):
            raise UnknownNameError("way with late frames", self.late, get_args(Late))
        if self.camera is None and (self.size_px is None or min(self.size_px) <= 0):
            expected = "the camera, or width and height of the image (size_px)"
            raise InputError("stream", expected=expected, found=self.size_px)
        RiverOptions(height_m=self.height_m, up=self.up)  # which checks them
        if self.smooth_depth_hz is not None and not 0 < self.smooth_depth_hz < np.inf:
            expected = "Hz above 0, or None"
            raise InputError("smooth_depth_hz", expected=expected, found=self.smooth_depth_hz)

    def known(self, camera: Camera) -> Known:
        """What the network is told of one frame, of each look at it."""
        centres = skeleton(self.skeleton).kind == "joints"
        known = told(camera.known, centres, self.height_m, self.up)
        looks = (known, known.mirrored()) if self.flip else (known,)
        return replace(known, up=np.stack([look.up for look in looks]))


def stream(lifter: str = "river", **options: Any) -> "Stream":
    """A live lifter for one person: `pose = stream(xy_px, time_s)` for each frame.

    `options`: the other fields of `StreamOptions`; needed is `size_px` or `camera`. Raises
    UnknownNameError, InputError (options), WeightsError (no step is shipped, or it is damaged).
    """
    names = [option.name for option in fields(StreamOptions)]
    for name in options:
        if name not in names:
            raise UnknownNameError("option of stream", name, names)
    chosen = StreamOptions(lifter=str(lifter), **options)
    return Stream(step_network(chosen.lifter, chosen.threads), chosen)


class _Frame(NamedTuple):
    """A frame whose pose is still to come; see `intake` for the arrays. Rotations of each look."""

    time_s: float
    rays: Array
    confidence: Array
    R_camera_to_view: Array


@dataclass
class _Memory:
    """What a stream remembers from frame to frame."""

    state: tuple[Array, ...]  # of the network
    depth: OneEuro
    rays: Array  # of the last frame that held the person
    confidence: Array
    followed: Followed | None = None
    seen_s: float = -np.inf  # time of the last frame that held the person
    waiting: deque[_Frame] = field(default_factory=deque)


class Stream:
    """Lift one person frame by frame. Not to be called by several threads at once."""

    def __init__(self, network: StepNetwork, options: StreamOptions) -> None:
        self.options, self.dropped = options, 0  # dropped: late frames that were left out
        self._network = network
        self._camera = options.camera or Camera.guess(options.size_px)  # ty: ignore
        self._layout = skeleton(options.skeleton)
        self._sources, self._targets = (list(rows) for rows in columns(self._layout))
        self._known, self._mode = options.known(self._camera), f"{options.delay} late"
        self._last_s = -np.inf  # time of the last frame
        self._now = self._nothing()

    def _nothing(self) -> _Memory:
        """As before the first frame."""
        return _Memory(
            state=self._network.first_state(2 if self.options.flip else 1),
            depth=OneEuro(self.options.smooth_depth_hz or DEPTH_CUTOFF_HZ),
            rays=np.full((len(BODY), 2), np.nan),
            confidence=np.zeros(len(BODY)),
        )

    def __call__(
        self, xy_px: ArrayLike, time_s: float, confidence: ArrayLike | None = None
    ) -> Pose | None:
        """The next frame: joints (J, 2) in pixels, NaN = not seen; seconds; confidence (J) in 0..1.

        Gives the pose of the frame `delay` frames ago, even if nobody was seen in it; None for the
        first frames, and once nobody was seen for more than `GAP_S`: then the stream begins anew
        with the next frame that holds somebody. Frames may be missing, as times tell.

        Raises ShapeError, InputError (infinite numbers, confidence outside 0..1, a time that is
        not after the last one's unless `late` is "drop").
        """
        rays, confidence = self._points(xy_px, confidence)
        if not self._last_s < time_s < np.inf:
            if self.options.late == "drop" and time_s <= self._last_s:
                self.dropped += 1
                return None
            raise InputError(
                "time of a frame", expected=f"seconds after {self._last_s:g}", found=time_s
            )
        step_s, self._last_s = float(time_s - self._last_s), float(time_s)
        here = bool(np.isfinite(rays).any())
        if self._last_s - self._now.seen_s > GAP_S:
            if not here:
                return None
            self._now, step_s = self._nothing(), NEW_S
        now = self._now
        if here:
            now.seen_s, now.rays, now.confidence = self._last_s, rays, confidence
        frame = _Frame(self._last_s, rays, confidence, _UNTURNED)
        held = self._last_s - now.seen_s <= HOLD_S
        return self._step(frame, (now.rays, now.confidence) if held else (rays, confidence), step_s)

    def flush(self) -> list[Pose]:
        """The poses of the last `delay` frames, oldest first; the stream begins anew after them.

        They see what has come after them, as the last poses of a whole clip do.
        """
        now = self._now
        after = _Frame(np.inf, now.rays, now.confidence, _UNTURNED)  # of another clip
        frames = self.options.delay if now.waiting else 0
        poses = [self._step(after, (now.rays, now.confidence), NEW_S) for _ in range(frames)]
        self._now = self._nothing()
        return [pose for pose in poses if pose is not None]

    # ------------------------------------------------------------------------------------- frames
    def _points(self, xy_px: ArrayLike, confidence: ArrayLike | None) -> tuple[Array, Array]:
        """Rays (28, 2) and confidence (28) of what the network knows, NaN and 0 where not seen."""
        xy = np.asarray(xy_px, dtype=np.float64)
        if xy.shape != (len(self._layout), 2):
            what = f"joints of {self._layout.name}"
            raise ShapeError(what, expected=f"({len(self._layout)}, 2)", found=xy.shape)
        if np.isinf(xy).any():
            raise InputError("2D joints", expected="finite pixels or NaN", found="infinity")
        sure = np.ones(len(xy)) if confidence is None else np.asarray(confidence, dtype=np.float64)
        if sure.shape != (len(xy),):
            raise ShapeError("confidence", expected=f"({len(xy)},)", found=sure.shape)
        outside = ~((sure >= 0) & (sure <= 1))
        if outside.any():
            raise InputError("confidence", expected="0 to 1", found=f"{sure[outside][0]:g}")
        rays, kept = np.full((len(BODY), 2), np.nan), np.zeros(len(BODY))
        rays[self._targets] = self._camera.image_to_rays(xy)[self._sources]
        kept[self._targets] = sure[self._sources]
        seen = np.isfinite(rays).all(-1) & (kept >= LEAST_CONFIDENCE)
        return np.where(seen[:, None], rays, np.nan), np.where(seen, kept, 0.0)

    def _step(self, frame: _Frame, shown: tuple[Array, Array], step_s: float) -> Pose | None:
        """Run the network on what it is shown of a frame, rays and confidence; the pose due."""
        now = self._now
        rays, confidence = (
            np.stack(looks)[:, None] for looks in zip(*self._looks(*shown), strict=True)
        )
        dt_s = np.full((len(rays), 1), step_s)
        seen, now.followed = intake(rays, confidence, dt_s, self._known, now.followed)
        given = (seen.points, with_mode(seen.facts, self._mode), dt_s)
        given = (array[:, 0].astype(np.float32) for array in given)
        joints, *state = self._network.run(*given, *now.state)
        now.state = tuple(state)
        now.waiting.append(frame._replace(R_camera_to_view=seen.R_camera_to_view[:, 0]))
        if len(now.waiting) <= self.options.delay:
            return None
        return self._pose(joints.astype(np.float64), now.waiting.popleft())

    def _looks(self, rays: Array, confidence: Array) -> Iterator[tuple[Array, Array]]:
        """The person, and the person in a mirror."""
        yield rays, confidence
        if self.options.flip:
            yield mirrored(rays), confidence[BODY.mirror]

    def _pose(self, joints: Array, frame: _Frame) -> Pose:
        """The network's answers (looks, 28, 5) about a frame, in the views of that frame."""
        xyz_m = (joints[..., :3] - joints[:, :1, :3]) @ frame.R_camera_to_view
        log_scale = joints[..., 3:]
        if self.options.flip:
            xyz_m[1], log_scale[1] = mirrored(xyz_m[1]), log_scale[1, BODY.mirror]
        xyz_m = xyz_m.mean(0)
        scale = claimed_scale_m(log_scale.mean(0), self._network.calibration)
        weight = sure_weight(frame.confidence, exp_power_sd(scale))
        root = self._placed(root_on_rays_m(xyz_m[None], frame.rays[None], weight[None])[0], frame)
        return Pose(xyz_m, scale, root, frame.time_s, BODY, self.options.person)

    def _placed(self, root_m: Array, frame: _Frame) -> Array:
        """The root (3) moved along its ray to the smoothed distance."""
        if self.options.smooth_depth_hz is None or np.isnan(root_m[2]):
            return root_m
        depth_m = np.exp(self._now.depth(np.log(root_m[2:]), frame.time_s))
        return root_m * depth_m / root_m[2]

    # -------------------------------------------------------------------------------------- saved
    def save(self) -> bytes:
        """Everything that the stream remembers, to go on elsewhere (`load`, `restore`)."""
        head = {
            "version": VERSION,
            "sha256": self._network.sha256,
            "options": _as_json(self.options),
            "dropped": self.dropped,
        }
        arrays = {"head": np.array(json.dumps(head)), "last_s": np.array(self._last_s)}
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **arrays, **_packed(self._now))
        return file.getvalue()

    @classmethod
    def load(cls, saved: bytes) -> "Stream":
        """A stream that goes on where a saved one was; its answers are the same to the last bit.

        Raises FormatError (no saved stream, or of another version), WeightsError (it was saved
        with other weights, or the lifter's cannot be had), and what `stream` raises.
        """
        options = _from_json(_opened(saved)[0]["options"])
        made = cls(step_network(options.lifter, options.threads), options)
        made.restore(saved)
        return made

    def restore(self, saved: bytes) -> None:
        """Go on where a stream with the same options was.

        Raises as `load`, and InputError for options that change the answers.
        """
        head, arrays = _opened(saved)
        if head["sha256"] != self._network.sha256:
            expected = f"weights with SHA-256 {head['sha256']}"
            raise WeightsError("saved stream", expected=expected, found=self._network.sha256)
        mine, theirs = _as_json(self.options), head["options"]
        for name in mine.keys() - _FREE:
            if mine[name] != theirs[name]:
                expected = f"{name} {theirs[name]}"
                raise InputError("saved stream", expected=expected, found=mine[name])
        self.dropped, self._last_s = head["dropped"], float(arrays["last_s"])
        self._now = _unpacked(arrays, self._nothing().depth)


_UNTURNED = np.eye(3)  # of a frame that the network has not seen yet
_FREE = {"lifter", "late", "threads"}  # options that change no number


_PLAIN = ("rays", "confidence", "seen_s")


def _packed(memory: _Memory) -> dict[str, Array]:
    """A memory as arrays by name."""
    out = {f"state_{n}": array for n, array in enumerate(memory.state)}
    out |= {f"followed_{n}": array for n, array in enumerate(memory.followed or ())}
    out |= {f"depth_{name}": np.asarray(value) for name, value in vars(memory.depth).items()}
    for name in _Frame._fields:
        out[f"waiting_{name}"] = np.array([getattr(frame, name) for frame in memory.waiting])
    return out | {name: np.asarray(getattr(memory, name)) for name in _PLAIN}


def _unpacked(arrays: Mapping[str, Array], depth: OneEuro) -> _Memory:
    """The memory that `_packed` took apart; `depth`: a filter to fill."""
    for name in vars(depth):
        value = arrays[f"depth_{name}"]
        setattr(depth, name, value if value.ndim else float(value))
    followed, state = (
        tuple(arrays[name] for name in sorted(arrays) if name.startswith(start))
        for start in ("followed_", "state_")
    )
    frames = zip(*(arrays[f"waiting_{name}"] for name in _Frame._fields), strict=True)
    plain: dict[str, Any] = {name: arrays[name] for name in _PLAIN}
    plain["seen_s"] = float(plain["seen_s"])
    waiting = deque(_Frame(float(time_s), *rest) for time_s, *rest in frames)
    return _Memory(**plain, state=state, depth=depth, followed=followed or None, waiting=waiting)  # ty: ignore


def _opened(saved: bytes) -> tuple[dict[str, Any], dict[str, Array]]:
    """Head and arrays of what `save` wrote. Raises FormatError."""
    try:
        with np.load(io.BytesIO(saved), allow_pickle=False) as file:
            arrays = dict(file)
        head = json.loads(str(arrays.pop("head")))
        version = head["version"]
    except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise FormatError("saved stream", expected="what Stream.save gave", found=error) from error
    if version != VERSION:
        raise FormatError("saved stream", expected=f"version {VERSION}", found=version)
    return head, arrays


def _as_json(options: StreamOptions) -> dict[str, Any]:
    """Options as JSON knows them; of the camera what a stream needs."""
    out = {option.name: getattr(options, option.name) for option in fields(options)}
    if options.camera is not None:
        lens = {name: getattr(options.camera, name) for name in _LENS}
        out["camera"] = lens | {"K": options.camera.K.tolist()}
    return json.loads(json.dumps(out))


def _from_json(stored: Mapping[str, Any]) -> StreamOptions:
    given: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in stored.items()}
    lens = stored["camera"]
    if lens is not None:
        size, distortion = (tuple(lens[name]) for name in ("size_px", "distortion"))
        K = np.array(lens["K"])
        given["camera"] = Camera(K, size, distortion=distortion, known=lens["known"])
    return StreamOptions(**given)


_LENS = ("K", "size_px", "distortion", "known")
