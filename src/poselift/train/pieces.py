"""Usable pieces of clips: read, cleaned, quantised, with what balancing and levelling need."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from poselift.errors import FormatError, UnknownNameError
from poselift.geometry import Array
from poselift.train.archives import ARCHIVES, ClipFile, read_clip
from poselift.train.balance import Cells, pose_cells
from poselift.train.cleaning import clean, gaze_pitch_deg
from poselift.train.codec import product, without_flips
from poselift.train.contacts import contacts
from poselift.train.flesh import ROTATIONS, Flesh, to_flesh
from poselift.train.positions import fit
from poselift.train.uiprmd import read_points

# What a subject looks at in less time than this is no measure of how its head is tracked.
MIN_UPRIGHT_S = 20.0
MAX_OFF_USUAL_DEG = 20.0


@dataclass(frozen=True)
class Piece:
    """What the pack keeps of a usable piece of a clip."""

    clip: ClipFile
    name: str
    quaternion: NDArray[np.int16]
    root_m: NDArray[np.float32]
    contact: NDArray[np.uint8]
    rate_hz: float
    leg_length_m: float
    zero: int
    cells: Cells
    pitch_deg: Array  # of the head while upright

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.root_m) / self.rate_hz


def read_flesh(clip: ClipFile, rate_hz: float) -> Flesh:
    """A clip's rotations at no more than `rate_hz`, at a whole fraction of the file's rate.

    Raises FormatError, UnknownNameError.
    """
    if clip.path.suffix == ".npz":
        return fit(read_points(clip.path, clip.trial), rate_hz)
    motion = read_clip(clip)
    return to_flesh(motion.every(max(1, math.ceil(motion.rate_hz / rate_hz - 1e-3))))


def quantised(rotation: Array) -> NDArray[np.int16]:
    """Quaternions wxyz * 32767 as int16 (T, R, 4), without sign changes over time."""
    flat = Rotation.from_matrix(rotation.reshape(-1, 3, 3)).as_quat(scalar_first=True)
    quaternion = without_flips(flat.reshape(*rotation.shape[:2], 4))
    return np.rint(quaternion * 32767).astype(np.int16)


@dataclass
class Heap:
    """What grows while clips are read."""

    pieces: list[Piece] = field(default_factory=list)
    zeros: list[Array] = field(default_factory=list)
    dropped: dict[str, Counter[str]] = field(default_factory=dict)  # subject: reason: seconds
    left_out: dict[str, str] = field(default_factory=dict)

    def add(self, clip: ClipFile, rate_hz: float) -> None:
        """Read and clean a clip, and keep its usable pieces or the reason why there is none."""
        try:
            flesh = read_flesh(clip, min(rate_hz, ARCHIVES[clip.archive].rate_hz))
        except (FormatError, UnknownNameError) as error:
            self.left_out[clip.name] = str(error)
            return
        pieces, lost = clean(flesh)
        seconds = {reason: frames / flesh.rate_hz for reason, frames in lost.items()}
        self.dropped.setdefault(clip.subject, Counter()).update(seconds)
        if not pieces:
            self.left_out[clip.name] = ", ".join(lost) or "no frames"
            return
        zero, planted, pitch = self._zero(flesh), contacts(flesh), gaze_pitch_deg(flesh)
        for number, (start, stop) in enumerate(pieces):
            part = slice(start, stop)
            piece = Piece(
                clip=clip,
                name=clip.name + (f"#{number}" if len(pieces) > 1 else ""),
                quaternion=quantised(flesh.rotation[part]),
                root_m=flesh.root_m[part].astype(np.float32),
                contact=planted[part],
                rate_hz=flesh.rate_hz,
                leg_length_m=flesh.leg_length_m,
                zero=zero,
                cells=pose_cells(flesh, part),
                pitch_deg=pitch[part],
            )
            self.pieces.append(piece)

    def _zero(self, flesh: Flesh) -> int:
        """Row of a zero pose among those that are known."""
        for row, known in enumerate(self.zeros):
            if np.abs(known - flesh.zero_direction).max() < 1e-4:
                return row
        self.zeros.append(flesh.zero_direction)
        return len(self.zeros) - 1


# ----------------------------------------------------------------------------------- level heads
def head_pitches_deg(pieces: Iterable[Piece]) -> dict[str, float]:
    """What to turn each subject's head down by: its median pitch while upright.

    How the markers sat on a head differs from subject to subject by tens of degrees. But people
    also look at what they do: a subject's own median counts as far as it lies within 20 degrees of
    its laboratory's, and the laboratory's alone where a subject is upright for less than 20 s.
    """
    seen: dict[str, list[Array]] = {}
    laboratory: dict[str, str] = {}
    seconds: dict[str, float] = {}
    for piece in pieces:
        subject = piece.clip.subject
        upright = piece.pitch_deg[np.isfinite(piece.pitch_deg)]
        seen.setdefault(subject, []).append(upright)
        laboratory[subject] = ARCHIVES[piece.clip.archive].credit
        seconds[subject] = seconds.get(subject, 0.0) + len(upright) / piece.rate_hz
    own = {
        subject: float(np.median(np.concatenate(parts)))
        for subject, parts in seen.items()
        if seconds[subject] >= MIN_UPRIGHT_S
    }
    out = {}
    for subject in seen:
        others = [own[other] for other in own if laboratory[other] == laboratory[subject]]
        usual = float(np.median(others)) if others else 0.0
        low, high = usual - MAX_OFF_USUAL_DEG, usual + MAX_OFF_USUAL_DEG
        out[subject] = min(max(own.get(subject, usual), low), high)
    return out


def levelled(quaternion: NDArray[np.int16], pitch_deg: float) -> NDArray[np.int16]:
    """The head turned down by `pitch_deg` about its own left-right axis."""
    half = math.radians(pitch_deg) / 2
    nod = np.array([math.cos(half), math.sin(half), 0.0, 0.0])
    head = ROTATIONS.index("head")
    out = quaternion.copy()
    turned = without_flips(product(quaternion[:, head] / 32767, nod))
    out[:, head] = np.rint(turned * 32767)
    return out
