"""What came of building a pack: counts per subject and action, diversity, what was left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from poselift.geometry import Array
from poselift.train.actions import ACTIONS
from poselift.train.archives import split_of, track_of
from poselift.train.balance import Diversity, diversity
from poselift.train.pack import SPLITS, read_pack
from poselift.train.pieces import Heap, Piece

TRACKS = (*SPLITS, "cross-corpus")


@dataclass(frozen=True)
class SubjectCount:
    """What came of a subject's clips. weight: its share of the split."""

    subject: str
    split: str
    clips: int
    seconds: float
    weight: float
    head_pitch_deg: float
    dropped: dict[str, float]  # reason to seconds


@dataclass(frozen=True)
class ActionCount:
    """How much there is of an action, and its share of the weight, in training."""

    action: str
    clips: int
    seconds: float
    weight: float


@dataclass(frozen=True)
class Summary:
    """What `build` did. diversity: of the poses of each split."""

    path: Path
    subjects: tuple[SubjectCount, ...]
    actions: tuple[ActionCount, ...]
    diversity: dict[str, Diversity]
    left_out: dict[str, str]  # clip to reason
    frames: int
    size_bytes: int
    digest: str


def rows_of_tracks(pieces: Sequence[Piece]) -> dict[str, NDArray[np.intp]]:
    """Rows of the pieces of each split; another laboratory's clips are one of their own."""
    track = np.array([track_of(piece.clip.archive, piece.clip.subject) for piece in pieces])
    return {name: np.flatnonzero(track == name) for name in TRACKS if name in track}


def summarise(out: Path, heap: Heap, weight: Array, pitch: dict[str, float]) -> Summary:
    """The summary of what was read and written to `out`."""
    pieces = heap.pieces
    tracks = rows_of_tracks(pieces)
    return Summary(
        path=out,
        subjects=_subject_counts(heap, weight, pitch),
        actions=_action_counts(pieces, weight, tracks.get("train", np.arange(0))),
        diversity={
            track: diversity([pieces[row].cells for row in rows], weight[rows])
            for track, rows in tracks.items()
        },
        left_out=heap.left_out,
        frames=sum(len(piece.root_m) for piece in pieces),
        size_bytes=out.stat().st_size,
        digest=read_pack(out).digest,
    )


def _subject_counts(heap: Heap, weight: Array, pitch: dict[str, float]) -> tuple[SubjectCount, ...]:
    out = []
    for subject in sorted(heap.dropped, key=lambda name: (split_of(name), name)):
        mine = [row for row, piece in enumerate(heap.pieces) if piece.clip.subject == subject]
        count = SubjectCount(
            subject=subject,
            split=track_of(heap.pieces[mine[0]].clip.archive, subject)
            if mine
            else SPLITS[split_of(subject)],
            clips=len(mine),
            seconds=sum(heap.pieces[row].seconds for row in mine),
            weight=float(weight[mine].sum()),
            head_pitch_deg=pitch.get(subject, 0.0),
            dropped=dict(heap.dropped[subject]),
        )
        out.append(count)
    return tuple(out)


def _action_counts(
    pieces: Sequence[Piece], weight: Array, rows: NDArray[np.intp]
) -> tuple[ActionCount, ...]:
    out = []
    for action in ACTIONS:
        mine = [row for row in rows if pieces[row].clip.action == action]
        if mine:
            seconds = sum(pieces[row].seconds for row in mine)
            out.append(ActionCount(action, len(mine), seconds, float(weight[mine].sum())))
    return tuple(out)


def print_summary(summary: Summary) -> None:
    """Print the counts as tables."""
    from rich.console import Console
    from rich.table import Table

    def table(title: str, *columns: str, words: int = 1) -> Table:
        out = Table(title=title)
        for number, column in enumerate(columns):
            out.add_column(column, justify="left" if number < words else "right")
        return out

    size = f"{summary.frames} frames, {summary.size_bytes / 1e6:.1f} MB"
    subjects = table(
        f"{summary.path.name}: {size}",
        *("subject", "split", "clips", "seconds", "weight %", "head pitch", "dropped (s)"),
        words=2,
    )
    for row in summary.subjects:
        lost = ", ".join(f"{reason} {seconds:.1f}" for reason, seconds in row.dropped.items())
        numbers = (f"{row.seconds:.0f}", f"{100 * row.weight:.1f}", f"{row.head_pitch_deg:+.0f}")
        subjects.add_row(row.subject, row.split, str(row.clips), *numbers, lost)
    actions = table("training by action", "action", "clips", "seconds", "weight %")
    for action in summary.actions:
        numbers = (str(action.clips), f"{action.seconds:.0f}", f"{100 * action.weight:.1f}")
        actions.add_row(action.action, *numbers)
    poses = table("pose diversity", "split", "poses", "distinct", "in effect", "weighted")
    for split, found in summary.diversity.items():
        numbers = (found.poses, found.distinct, round(found.effective), round(found.weighted))
        poses.add_row(split, *map(str, numbers))
    console = Console()
    console.print(subjects, actions, poses)
    for name, message in summary.left_out.items():
        console.print(f"left out: {name}: {message}", markup=False, soft_wrap=True)
