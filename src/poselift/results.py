"""A folder of results from one source: every file complete or absent, with its meaning."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from poselift import io
from poselift.errors import InputError, MissingExtraError, UnknownNameError
from poselift.pipeline import Options, Progress, frames_of, lift_people, observe
from poselift.poses import Poses3D

KINDS = ("npz", "json", "csv", "bvh", "mp4", "html")

_MEANING = {
    ".npz": "joints, 2D, camera and history, exact; read by poselift.read and numpy (metres, z up)",
    ".json": "the same as text (metres, z up)",
    ".csv": "a table of joint positions (metres, z up)",
    ".bvh": "skeleton animation for Blender, Unity, MotionBuilder (centimetres, y up)",
    ".mp4": "2D overlay beside the 3D view",
    ".html": "interactive page with timeline; opens in any browser, offline",
}


@dataclass(frozen=True)
class Result:
    """What was written and what the user should know about it."""

    people: list[Poses3D]
    files: list[Path]
    notes: list[str]


def meaning(path: Path) -> str:
    """What a result file is for."""
    return _MEANING.get(path.suffix, "")


def lift_to(
    source: Path, out: Path, options: Options, kinds: Iterable[str], progress: Progress
) -> Result:
    """Lift a source and write `kinds` of files into folder `out`.

    Raises PoseliftError; what is in the folder then is complete. A page without viser installed is
    an error where it alone was asked for, else a note.
    """
    kinds = list(dict.fromkeys(kinds))
    for kind in kinds:
        if kind not in KINDS:
            raise UnknownNameError("kind of result", kind, KINDS)
    people2d = observe(source, options, progress)
    folder = io.check_output_folder(out)
    people = lift_people(people2d, options, progress)
    result = Result(people, [], [*_notes(people)])
    for kind in kinds:
        try:
            result.files.extend(_write(kind, folder, source, people, options, progress))
        except MissingExtraError as error:
            if kinds == [kind]:
                raise
            result.notes.append(f"no {kind}: {error}")
    return result


def _write(
    kind: str,
    folder: Path,
    source: Path,
    people: Sequence[Poses3D],
    options: Options,
    progress: Progress,
) -> list[Path]:
    if kind == "mp4":
        return [_write_overlay(folder / "overlay.mp4", source, people, options, progress)]
    progress(f"writing {kind}", 0, 1)
    path = folder / f"motion.{kind}"
    written = _write_page(path, people) if kind == "html" else io.write(path, people)
    progress(f"writing {kind}", 1, 1)
    return written


def _write_overlay(
    path: Path,
    source: Path,
    people: Sequence[Poses3D],
    options: Options,
    progress: Progress,
) -> Path:
    from poselift.view.video import write_overlay

    with frames_of(source, options) as frames:
        whole = len(people[0].time_s)
        write_overlay(path, frames, people, lambda done: progress("drawing", done, whole))
    return path


def _write_page(path: Path, people: Sequence[Poses3D]) -> list[Path]:
    from poselift.view.page import write_page

    write_page(path, people)
    return [path]


def _notes(people: Sequence[Poses3D]) -> list[str]:
    """What was assumed or left out, once each."""
    steps = [step for person in people for step in person.history]
    told = [s for s in steps if "default" in s or "assumed" in s or "guessed" in s]
    return list(dict.fromkeys(told))


def read_motion(path: Path) -> list[Poses3D]:
    """3D people of a file that poselift wrote. Raises FormatError, InputError."""
    content = io.read(path)
    people = [] if isinstance(content, io.KeypointFile) else [*content]
    motion = [person for person in people if isinstance(person, Poses3D)]
    if not motion or len(motion) < len(people):
        raise InputError(str(path), expected="3D poses (.npz or .json written by `poselift lift`)")
    return motion
