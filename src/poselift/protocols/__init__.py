"""Protocols of the field: a user's dataset files to the papers' tables, published rows beside ours.

    report = run("h36m", Path("data"), poselift.load(), detections="cpn_ft_h36m_dbb")
    print(report.markdown())

Formats and conventions: docs/protocols.md. No dataset is part of this package.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from poselift.errors import InputError, UnknownNameError
from poselift.evaluate import Lift
from poselift.models.lifter import Lifter
from poselift.poses import Poses2D, Poses3D
from poselift.protocols import h36m, humaneva, mpi_inf_3dhp, threedpw
from poselift.protocols.conventions import CONVENTIONS, Conventions, conventions
from poselift.protocols.report import Report, notes
from poselift.protocols.scoring import Errors, JointSets, column_of, errors, table
from poselift.protocols.videos import Answer, Video, flipped

Read = Callable[[Path, str, Sequence[str], Conventions], Iterator[Video]]
Tell = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Protocol:
    """How one dataset is read, judged and shown.

    actions: columns of the table; empty: the subjects (or sequences) are. kinds: the metrics.
    inputs: how the name of 2D begins -> the papers' word for it. detections, preset: defaults.
    """

    title: str
    read: Read
    joints: JointSets
    subjects: tuple[str, ...]
    actions: tuple[str, ...]
    kinds: tuple[str, ...]
    inputs: Mapping[str, str]
    detections: str
    preset: str
    short: Mapping[str, str] = field(default_factory=dict)

    def columns(self, subjects: Sequence[str], how: Conventions) -> list[str]:
        """Names of the table's columns in order."""
        if not self.actions:
            return list(subjects)
        names = [column_of(s, action, how) for s in subjects for action in self.actions]
        return list(dict.fromkeys(names))

    def input(self, detections: str) -> str | None:
        """The papers' word for 2D of that name, or None."""
        begins = (word for start, word in self.inputs.items() if detections.startswith(start))
        return next(begins, None)


_FOUR = ("MPJPE", "P-MPJPE", "N-MPJPE", "MPJVE")
_SHORT = (
    *("Dir", "Disc", "Eat", "Greet", "Phone", "Photo", "Pose", "Purch"),
    *("Sit", "SitD", "Smoke", "Wait", "WalkD", "Walk", "WalkT"),
)

PROTOCOLS: dict[str, Protocol] = {
    "h36m": Protocol(
        "Human3.6M, S9 and S11",
        h36m.read,
        h36m.JOINTS,
        h36m.SUBJECTS,
        h36m.ACTIONS,
        _FOUR,
        h36m.INPUTS,
        detections="cpn_ft_h36m_dbb",
        preset="videopose3d",
        short=dict(zip(h36m.ACTIONS, _SHORT, strict=True)),
    ),
    "humaneva": Protocol(
        "HumanEva-I, Validate",
        humaneva.read,
        humaneva.JOINTS,
        humaneva.SUBJECTS,
        humaneva.ACTIONS,
        _FOUR,
        humaneva.INPUTS,
        detections="gt",
        preset="videopose3d",
    ),
    "mpi_inf_3dhp": Protocol(
        "MPI-INF-3DHP, test set",
        mpi_inf_3dhp.read,
        mpi_inf_3dhp.JOINTS,
        mpi_inf_3dhp.SUBJECTS,
        (),
        ("MPJPE", "P-MPJPE", "PCK", "AUC"),
        mpi_inf_3dhp.INPUTS,
        detections="gt",
        preset="p-stmo",
    ),
    "3dpw": Protocol(
        "3DPW, test set",
        threedpw.read,
        threedpw.JOINTS,
        threedpw.SUBJECTS,
        (),
        ("MPJPE", "P-MPJPE"),
        threedpw.INPUTS,
        detections="openpose",
        preset="hmr",
    ),
}


def protocol(name: str) -> Protocol:
    """The protocol of that name. Raises UnknownNameError, which lists the names."""
    if name not in PROTOCOLS:
        raise UnknownNameError("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


def run(
    name: str,
    folder: Path,
    lift: Lift | None,
    *,
    model: str = "",
    detections: str | None = None,
    preset: str | None = None,
    changes: Sequence[str] = (),
    subjects: Sequence[str] | None = None,
    tell: Tell | None = None,
) -> Report:
    """Judge `lift` on the dataset in `folder`; None judges the truth itself, which must give 0.

    lift: any function of `Poses2D` that answers with `Poses3D` on H36M-17, on a skeleton that
    contains its joints, or on the dataset's own. model: its name in the report. detections: which
    2D; preset: the conventions by name; changes: single ones as NAME=VALUE.
    Raises UnknownNameError, FormatError, InputError; about files they name file and field.
    """
    chosen = protocol(name)
    preset = preset or chosen.preset
    how = conventions(preset).changed(changes)
    detections = detections or chosen.detections
    subjects = list(dict.fromkeys(subjects or chosen.subjects))
    videos = chosen.read(folder, detections, subjects, how)
    rows = _rows(chosen, videos, _answer(lift, how), how, tell)
    left_out = [subject for subject in chosen.subjects if subject not in subjects]
    judged = table(rows, chosen.columns(subjects, how), chosen.kinds, how)
    return Report(
        name,
        chosen.title,
        model or ("truth" if lift is None else type(lift).__name__),
        detections,
        chosen.input(detections),
        preset,
        how,
        judged,
        chosen.short,
        tuple(notes(judged, how, conventions(preset), left_out, lift is None)),
    )


def _rows(
    chosen: Protocol, videos: Iterator[Video], answer: Answer, how: Conventions, tell: Tell | None
) -> list[Errors]:
    """Errors of every video, in order; only one video is in memory at a time."""
    rows = []
    for number, video in enumerate(videos, start=1):
        guess = chosen.joints.from_lifter(answer(video))
        _check_frames(guess, video)
        rows.append(errors(video, guess, chosen.joints, how, chosen.kinds))
        if tell:
            tell("videos", number, None)
    return rows


def _answer(lift: Lift | None, how: Conventions) -> Answer:
    if lift is None:
        return lambda video: video.truth
    if isinstance(lift, Lifter):  # its own flipping is the same, and would be done twice
        lift = copy.copy(lift)
        lift.options = replace(lift.options, flip=False)
    judged = flipped(lift) if how.flip else lift

    def answer(video: Video) -> Poses3D:
        observed = video.observed
        if how.camera == "guessed":
            observed = observed.then("camera not told", camera=None)
        return judged(observed) if observed.seen.any() else _nothing(observed)

    return answer


def _nothing(observed: Poses2D) -> Poses3D:
    """The answer to a video in which nothing was seen."""
    bones = h36m.JOINTS.skeleton
    return Poses3D(np.full((len(observed.time_s), len(bones), 3), np.nan), observed.time_s, bones)


def _check_frames(guess: np.ndarray, video: Video) -> None:
    if len(guess) != len(video.truth.time_s):
        raise InputError(
            f"answer to {video.name}",
            expected=f"{len(video.truth.time_s)} frames",
            found=len(guess),
        )


__all__ = ["CONVENTIONS", "PROTOCOLS", "Conventions", "Protocol", "Report", "protocol", "run"]
