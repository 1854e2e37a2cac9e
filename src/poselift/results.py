"""A folder of results from one source: every file complete or absent, with its meaning."""

import re
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from poselift import io
from poselift.errors import InputError, MissingExtraError, OutputError, UnknownNameError
from poselift.models import load
from poselift.pipeline import Options, Progress, frames_of, lift_people, observe, silent
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

# Steps of a history that are the same every time. All others are told to the user: what was
# assumed, guessed, repaired or left out.
_ROUTINE = re.compile(
    r"2D joints by detector|joints: |lifted by .*camera known|smoothed:|constant bone lengths"
    r"|root placed|cut to "
)


@dataclass(frozen=True)
class Result:
    """What was written and what the user should know about it."""

    people: list[Poses3D]
    files: list[Path]
    notes: list[str]

    @property
    def summary(self) -> str:
        """How much was lifted, in words."""
        time_s = self.people[0].time_s
        count, frames = len(self.people), len(time_s)
        return (
            f"{count} {'person' if count == 1 else 'people'}, "
            f"{frames} frame{'s' if frames > 1 else ''}, {time_s[-1] - time_s[0]:.1f} s"
        )


def meaning(path: Path) -> str:
    """What a result file is for."""
    return _MEANING.get(path.suffix, "")


def kinds_to_write(asked: Iterable[str] | None) -> list[str]:
    """The kinds of files to write: those asked for by name, else all.

    Raises UnknownNameError, and MissingExtraError for a page without viser where it was asked for;
    where it was not, `lift_to` leaves it out and says so.
    """
    if asked is None:
        return list(KINDS)
    kinds = list(dict.fromkeys(asked))
    for kind in kinds:
        if kind not in KINDS:
            raise UnknownNameError("kind of result", kind, KINDS)
    if "html" in kinds and find_spec("viser") is None:
        raise MissingExtraError("viser", "view")
    return kinds


def folders_for(sources: Sequence[Path], out: Path) -> list[Path]:
    """Where the results of each source go: `out` itself for one, else a folder each, by its name.

    Sources of one name (`a/clip.mp4`, `b/clip.mov`) get `clip`, `clip_2`, ... in the order given.
    """
    if len(sources) == 1:
        return [out]
    names: list[str] = []
    for source in sources:
        whole = source.resolve()
        name = (whole.name if whole.is_dir() else whole.stem) or "root"
        tries = [name, *(f"{name}_{number}" for number in range(2, len(sources) + 1))]
        taken = {other.casefold() for other in names}  # as some file systems see them
        names.append(next(name for name in tries if name.casefold() not in taken))
    return [out / name for name in names]


def lift_to(
    source: Path,
    out: Path,
    options: Options,
    asked: Iterable[str] | None = None,
    progress: Progress = silent,
) -> Result:
    """Lift a source and write the kinds of files `asked` for (None: all) into folder `out`.

    Raises PoseliftError; what is in the folder then is complete, and a folder made for nothing is
    gone again. In a default run without viser the page is left out, with a note. Files
    `motion_personN.bvh` of people that an earlier run found and this one did not are removed.
    """
    kinds = kinds_to_write(asked)
    lifter = load(options.lifter)
    io.source_kind(source)
    _check_apart(source, out, kinds)
    with _made(out) as folder:
        people = lift_people(observe(source, options, progress), options, progress, lifter)
        result = Result(people, [], _notes(people))
        for number, kind in enumerate(kinds, start=1):
            try:
                _write(kind, folder, source, options, progress, result)
            except MissingExtraError as error:
                if asked is not None:
                    raise
                result.notes.append(f"no {kind}: {error}")
            progress("writing files", number, len(kinds))
    return result


@contextmanager
def _made(folder: Path) -> Generator[Path, None, None]:
    """A folder that can be written to; what had to be made for it is removed again on errors."""
    new = [part for part in (folder, *folder.parents) if not part.exists()]
    try:
        yield io.check_output_folder(folder)
    except BaseException:
        for part in new:
            try:
                part.rmdir()
            except OSError:  # it holds finished files, or was never made
                break
        raise


def _check_apart(source: Path, out: Path, kinds: Sequence[str]) -> None:
    """Results must not replace their own source, nor be taken for a part of it the next time."""
    if source.is_dir() and out.is_dir() and source.samefile(out):
        raise OutputError(f"{out} holds the source", expected="another folder for the results")
    for kind in kinds:
        path = _path(out, kind)
        if path.is_file() and source.samefile(path):
            raise OutputError(f"{path} is the source", expected="another folder for the results")


def _path(folder: Path, kind: str) -> Path:
    return folder / ("overlay.mp4" if kind == "mp4" else f"motion.{kind}")


def _write(
    kind: str, folder: Path, source: Path, options: Options, progress: Progress, result: Result
) -> None:
    path, people = _path(folder, kind), result.people
    if kind == "mp4":
        _write_overlay(path, source, people, options, progress)
        result.files.append(path)
    elif kind == "html":
        from poselift.view.page import write_page

        # What the page assumed is the same as for all files; what it left out is its own.
        result.notes.extend(f"page: {note}" for note in write_page(path, people))
        result.files.append(path)
    else:
        written = io.write(path, people)
        result.files.extend(written)
        if kind == "bvh":
            _remove_stale(folder, written)


def _write_overlay(
    path: Path, source: Path, people: Sequence[Poses3D], options: Options, progress: Progress
) -> None:
    from poselift.view.video import write_overlay

    with frames_of(source, options) as frames:
        whole = len(people[0].time_s)
        write_overlay(path, frames, people, lambda done: progress("drawing", done, whole))


def _remove_stale(folder: Path, written: Sequence[Path]) -> None:
    """Remove the BVH of people that only an earlier run had. Raises OutputError."""
    for path in folder.glob("motion_person*.bvh"):
        ours = re.fullmatch(r"motion_person[0-9]+\.bvh", path.name) and path.is_file()
        if not ours or path in written:
            continue
        try:
            path.unlink()
        except OSError as error:
            raise OutputError(f"cannot remove {path}", found=error.strerror) from error


def _notes(people: Sequence[Poses3D]) -> list[str]:
    """What was assumed, repaired or left out, once each."""
    steps = [step for person in people for step in person.history]
    # The tracker says of each person where they were seen, and then who else was left out.
    steps = [s.partition("; ")[2] if s.startswith("tracked: ") else s for s in steps]
    return list(dict.fromkeys(step for step in steps if step and not _ROUTINE.match(step)))


def read_motion(path: Path) -> list[Poses3D]:
    """3D people of a file that poselift wrote. Raises FormatError, InputError."""
    content = io.read(path)
    people = [] if isinstance(content, io.KeypointFile) else [*content]
    motion = [person for person in people if isinstance(person, Poses3D)]
    if not motion or len(motion) < len(people):
        raise InputError(str(path), expected="3D poses (.npz or .json written by `poselift lift`)")
    return motion
