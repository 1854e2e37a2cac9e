"""Training clips: read, clean and balance motion capture, and pack it into one file.

The pack holds rotations (any body can be put into the motion by `posing.py`), never meshes, in
world axes: x body left, y back, z up, metres.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from poselift.errors import InputError
from poselift.geometry import Array
from poselift.io.files import check_output_folder
from poselift.train.archives import ARCHIVES, ClipFile, clip_files, folders, read_index, split_of
from poselift.train.balance import clip_weights
from poselift.train.flesh import BONE_SOURCE, ROTATIONS
from poselift.train.pack import Pack, write_pack
from poselift.train.pieces import Heap, Piece, head_pitches_deg, levelled
from poselift.train.summary import Summary, rows_of_tracks, summarise


def build(
    source: Path,
    out: Path,
    *,
    rate_hz: float = 60.0,
    archives: Sequence[str] = tuple(ARCHIVES),
    cache_dir: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Summary:
    """Pack all clips of `source` into `out` (.npz), at no more than `rate_hz`.

    source: a folder with archives NAME.tar.xz or unpacked folders NAME (see `ARCHIVES`) and
    perhaps an index.csv; or any folder of ASF/AMC or BVH files of CMU's database.
    cache_dir: where archives are unpacked (default ~/.cache/poselift/mocap).
    progress: called with the step, how many clips are done and how many there are.
    Clips that cannot be read or used, and trials that an earlier archive has, are left out and
    listed. Raises FormatError, InputError, OutputError.
    """
    check_output_folder(out.parent)
    index = read_index(source / "index.csv")
    clips = [
        clip
        for name, folder in folders(source, archives, cache_dir)
        for clip in clip_files(folder, name, index)
    ]
    if not clips:
        raise InputError(str(source), expected="AMC or BVH files", found="none", known=ARCHIVES)
    heap = _read(clips, rate_hz, progress or (lambda step, done, total: None))
    if not heap.pieces:
        raise InputError("mocap", expected="at least one usable clip", found="none")
    weight = _weights(heap.pieces)
    pitch = head_pitches_deg(heap.pieces)
    write_pack(out, _pack(heap, weight, pitch))
    return summarise(out, heap, weight, pitch)


def _read(clips: Sequence[ClipFile], rate_hz: float, progress: Callable[..., None]) -> Heap:
    """Usable pieces of all clips, each trial once."""
    heap = Heap()
    known: dict[tuple[str, str], ClipFile] = {}
    for done, clip in enumerate(clips):
        progress("reading clips", done + 1, len(clips))
        twin = known.setdefault(_trial(clip), clip)
        if twin.archive != clip.archive:
            heap.left_out[clip.name] = f"the same trial as {twin.name}"
        else:
            heap.add(clip, rate_hz)
    return heap


def _trial(clip: ClipFile) -> tuple[str, str]:
    """The same for conversions of one trial: cmu_39 and 10 of 39_10.amc and of 039_10_w1.bvh."""
    number = re.match("0*([0-9]+)", clip.trial)
    return clip.subject, number[1] if number else clip.trial


def _pack(heap: Heap, weight: Array, pitch: dict[str, float]) -> Pack:
    pieces = heap.pieces
    archives = list(dict.fromkeys(piece.clip.archive for piece in pieces))
    frames = np.array([len(piece.root_m) for piece in pieces])
    heads = (levelled(piece.quaternion, pitch[piece.clip.subject]) for piece in pieces)
    return Pack(
        quaternion=np.concatenate(list(heads)),
        root_m=np.concatenate([piece.root_m for piece in pieces]),
        contact=np.concatenate([piece.contact for piece in pieces]),
        start=np.cumsum(frames) - frames,
        frames=frames,
        rate_hz=np.array([piece.rate_hz for piece in pieces], np.float32),
        subject=np.array([piece.clip.subject for piece in pieces]),
        name=np.array([piece.name for piece in pieces]),
        archive=np.array([piece.clip.archive for piece in pieces]),
        action=np.array([piece.clip.action for piece in pieces]),
        split=np.array([split_of(piece.clip.subject) for piece in pieces], np.int8),
        weight=weight.astype(np.float32),
        leg_length_m=np.array([piece.leg_length_m for piece in pieces], np.float32),
        zero=np.array([piece.zero for piece in pieces], np.int16),
        zero_direction_m=np.array(heap.zeros, np.float32),
        bones=tuple(BONE_SOURCE),
        source=np.array([ROTATIONS.index(name) for name in BONE_SOURCE.values()], np.int16),
        licence=tuple(f"{name}: {ARCHIVES[name].licence}" for name in archives),
        credit=tuple(f"{name}: {ARCHIVES[name].credit}" for name in archives),
    )


def _weights(pieces: Sequence[Piece]) -> Array:
    """`clip_weights` of every track by itself."""
    factor = np.array([ARCHIVES[piece.clip.archive].weight for piece in pieces])
    weight = np.zeros(len(pieces))
    for rows in rows_of_tracks(pieces).values():
        cells = [pieces[row].cells for row in rows]
        weight[rows] = clip_weights(cells, [pieces[row].clip.subject for row in rows], factor[rows])
    return weight
