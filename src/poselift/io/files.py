"""Files that appear whole or not at all."""

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from poselift.errors import FormatError, OutputError, PoseliftError


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Generator[Path, None, None]:
    """Give a temporary path in the folder of `path`; rename it to `path` on success.

    The temporary file has the suffix of `path`, since writers choose the format by it. On failure
    it is removed and a file that was there before stays as it was. A missing parent folder is made.
    Raises OutputError where the file cannot be written (no permission, full disk, ...).
    """
    target = Path(path)
    if target.is_dir():
        raise OutputError(f"cannot write {target}", expected="a file name", found="a folder")
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)
    except OSError as error:
        if isinstance(error, PoseliftError):
            raise
        raise _cannot_write(target, error) from error
    finally:
        _remove(temporary)


def check_output_folder(folder: str | os.PathLike[str]) -> Path:
    """Make `folder` if need be and prove that files can be written there.

    Called before long work, so that it fails at the start. Raises OutputError.
    """
    probe = Path(folder) / f".writable.{secrets.token_hex(4)}"
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"poselift")
    except OSError as error:
        raise _cannot_write(probe.parent, error) from error
    finally:
        _remove(probe)
    return probe.parent


def check_input_file(path: str | os.PathLike[str]) -> Path:
    """The path of a file that exists and holds something. Raises FormatError."""
    path = Path(path)
    if not path.exists():
        raise FormatError(f"{path} does not exist")
    if not path.is_file():
        raise FormatError(f"{path} cannot be read", expected="a file", found="something else")
    if path.stat().st_size == 0:
        raise FormatError(f"{path} is empty", expected="some bytes", found="0")
    return path


def _cannot_write(target: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write {target}", found=error.strerror or str(error))


def _remove(temporary: Path) -> None:
    # A parent that is no folder makes even unlink fail; the first error is the one to show.
    try:
        temporary.unlink(missing_ok=True)
    except OSError:
        return
