"""Scoring: a lifter's answers to videos with truth, by conventions, in a paper's columns."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poselift import metrics
from poselift.errors import InputError
from poselift.geometry import Array
from poselift.poses import Poses3D
from poselift.protocols.conventions import Conventions
from poselift.protocols.videos import Video
from poselift.skeleton import Skeleton, skeleton

AVERAGE = "average"
H36M = skeleton("h36m17")
Scores = dict[str, dict[str, float]]  # metric -> column -> value


@dataclass(frozen=True)
class JointSets:
    """Which joints of a dataset's skeleton are compared, and what a Human3.6M body gives for them.

    sets: by their number, which is how `Conventions.joints` names them; the first is the default.
    stands_for: joint of the dataset -> joint of H36M-17, where they have different names.
    """

    skeleton: Skeleton
    sets: Mapping[int, tuple[str, ...]]
    stands_for: Mapping[str, str]
    pck_joints: int = 0

    def names(self, count: int | None, what: str = "joints") -> tuple[str, ...]:
        """The joints of a set; None: the default. Raises InputError, which lists the numbers."""
        count = next(iter(self.sets)) if count is None else count
        if count not in self.sets:
            raise InputError(
                f"convention {what} of {self.skeleton.name}", found=count, known=sorted(self.sets)
            )
        return self.sets[count]

    def places(self, names: Iterable[str]) -> list[int]:
        """Indices of joints in the dataset's skeleton."""
        return [self.skeleton.index(name) for name in names]

    def from_lifter(self, poses: Poses3D) -> Array:
        """A lifter's poses on the dataset's skeleton (T, J, 3), root-relative.

        Joints that it cannot have are NaN. A root-relative answer keeps the root it predicted.
        """
        if poses.axes != "camera":
            raise InputError("answer of a lifter", expected="camera axes", found=poses.axes)
        xyz_m = self._converted(poses)
        placed = poses.origin != "root"
        return metrics.relative(xyz_m, self.skeleton.index("pelvis")) if placed else xyz_m

    def _converted(self, poses: Poses3D) -> Array:
        if poses.skeleton == self.skeleton:
            return poses.xyz_m
        body = poses.to(H36M).xyz_m
        xyz_m = np.full((len(body), len(self.skeleton), 3), np.nan)
        for place, joint in enumerate(self.skeleton.joints):
            name = self.stands_for.get(joint, joint)
            if name in H36M:
                xyz_m[:, place] = body[:, H36M.index(name)]
        return xyz_m


@dataclass(frozen=True, eq=False)
class Errors:
    """Metric -> value of every frame of a video as it counts: mm, or % for PCK and AUC.

    NaN: no answer. MPJVE holds the video's mean in every frame.
    """

    column: str
    values: dict[str, Array]


def errors(
    video: Video, answer: Array, joints: JointSets, how: Conventions, kinds: Sequence[str]
) -> Errors:
    """Compare answer (T, J, 3), on the dataset's skeleton, with the truth of a video."""
    frames = counting_frames(video.counted, how.window)
    root = joints.skeleton.index("pelvis")
    true_m = metrics.relative(video.truth.xyz_m, root)[frames]
    guess_m = rooted(answer, root, how.root)[frames]
    names = joints.names(how.joints)
    used = joints.places(names)
    near = joints.places(joints.names(how.pck_joints or joints.pck_joints or None, "pck_joints"))
    guess, true = guess_m[:, used], true_m[:, used]
    measures: dict[str, Callable[[], Array]] = {
        "MPJPE": lambda: 1e3 * metrics.mpjpe(guess, true),
        "P-MPJPE": lambda: 1e3 * _p_mpjpe(guess, true, names, how),
        "N-MPJPE": lambda: 1e3 * metrics.mpjpe(_scaled(guess, true), true),
        "MPJVE": lambda: np.full(len(frames), 1e3 * _velocity(guess, true)),
        "PCK": lambda: 100 * metrics.pck(guess_m[:, near], true_m[:, near]),
        "AUC": lambda: 100 * metrics.auc(guess_m[:, near], true_m[:, near]),
    }
    return Errors(
        column_of(video.subject, video.column, how), {kind: measures[kind]() for kind in kinds}
    )


def column_of(subject: str, action: str, how: Conventions) -> str:
    """The column of an action; where sequences stand for actions, subject and action are one."""
    return f"{subject} {action}" if how.by_subject and subject != action else action


def counting_frames(counted: NDArray[np.bool_], window: int) -> NDArray[np.intp]:
    """Indices of the frames of a video in the order and as often as they count."""
    total = len(counted)
    if window == 0:
        return np.flatnonzero(counted)
    starts = np.arange(0, max(total - window, 0) + 1, window)
    if starts[-1] + window < total:
        starts = np.append(starts, total - window)
    frames = np.minimum(starts[:, None] + np.arange(window), total - 1).ravel()
    return frames[counted[frames]]


def rooted(guess_m: Array, root: int, how: str) -> Array:
    """Poses (T, J, 3) with their predicted root kept, set to zero, or taken off every joint."""
    if how == "recentre":
        return metrics.relative(guess_m, root)
    guess_m = guess_m.copy()
    if how == "zero":
        guess_m[:, root] = 0.0
    return guess_m


def _p_mpjpe(guess: Array, true: Array, names: Sequence[str], how: Conventions) -> Array:
    if how.p2_root == "fit":
        return metrics.p_mpjpe(guess, true)
    rest = [place for place, name in enumerate(names) if name != "pelvis"]
    return metrics.p_mpjpe(guess[:, rest], true[:, rest]) * len(rest) / len(names)


def _scaled(guess: Array, true: Array) -> Array:
    """Each frame times its best scale, about the origin."""
    size = np.sum(guess**2, axis=(-1, -2), keepdims=True)
    return guess * np.sum(guess * true, axis=(-1, -2), keepdims=True) / np.where(size > 0, size, 1)


def _velocity(guess: Array, true: Array) -> float:
    """Mean error of the steps between frames as they count; NaN where there is no step."""
    if len(guess) < 2:
        return float("nan")
    steps = metrics.mpjve(guess, true)
    known = np.isfinite(steps)
    return float(steps[known].mean()) if known.any() else float("nan")


@dataclass(frozen=True)
class Table:
    """Scores in columns, and how many frames counted and had no answer."""

    scores: Scores
    frames: dict[str, int]
    missed: int


def table(
    rows: Sequence[Errors], columns: Sequence[str], kinds: Sequence[str], how: Conventions
) -> Table:
    """Gather the errors of all videos. columns: their order, those without a video
    are left out; kinds: the metrics wanted, mm or %.

    Frames without an answer count in no error; for PCK and AUC they count as wrong.
    Raises InputError where no frame has an answer.
    """
    at = {name: [n for n, row in enumerate(rows) if row.column == name] for name in columns}
    at = {name: numbers for name, numbers in at.items() if numbers}
    scores: Scores = {}
    for kind in kinds:
        values = [row.values[kind] for row in rows]
        if kind == "P-MPJPE":
            values = _batched(values, how.p2_batch)
        scores[kind] = _means(values, at, how)
    judged = [row.values["MPJPE"] for row in rows]
    missed = sum(int(np.isnan(values).sum()) for values in judged)
    if missed == sum(map(len, judged)):
        raise InputError("protocol", expected="an answer for at least one frame", found="none")
    frames = {name: sum(len(judged[n]) for n in numbers) for name, numbers in at.items()}
    return Table(scores, frames, missed)


def _means(values: list[Array], at: dict[str, list[int]], how: Conventions) -> dict[str, float]:
    """Mean of each column's frames (a velocity counts once per frame), and the average."""
    means = {name: _mean([values[n] for n in rows]) for name, rows in at.items()}
    in_groups = how.average == "group"
    average = np.mean(list(means.values())) if in_groups else _mean(values)
    return means | {AVERAGE: float(average)}


def _mean(parts: list[Array]) -> float:
    values = np.concatenate(parts)
    known = np.isfinite(values)
    return float(values[known].mean()) if known.any() else float("nan")


def _batched(parts: list[Array], batch: int) -> list[Array]:
    """Every value replaced by the mean of its batch, over all videos in their order."""
    if batch == 0:
        return parts
    values = np.concatenate(parts)
    for start in range(0, len(values), batch):
        part = values[start : start + batch]
        known = np.isfinite(part)
        part[known] = part[known].mean() if known.any() else np.nan
    return np.split(values, np.cumsum([len(part) for part in parts])[:-1])
