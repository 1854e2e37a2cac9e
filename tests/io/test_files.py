import errno
from pathlib import Path

import pytest

from poselift.errors import FormatError, OutputError
from poselift.io.files import atomic, check_input_file, check_output_folder


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def fail(path: Path, error: Exception) -> None:
    with atomic(path) as temporary:
        temporary.write_text("half")
        raise error


def test_success_renames_and_leaves_nothing_else(tmp_path: Path) -> None:
    with atomic(tmp_path / "new" / "a.json") as temporary:
        assert temporary.parent == tmp_path / "new"
        assert temporary.suffix == ".json"
        temporary.write_text("x")
        assert not (tmp_path / "new" / "a.json").exists()
    with atomic(tmp_path / "new" / "a.json") as temporary:
        temporary.write_text("y")
    assert (tmp_path / "new" / "a.json").read_text() == "y"
    assert names(tmp_path / "new") == ["a.json"]


def test_failure_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(KeyError):
        fail(tmp_path / "a.txt", KeyError("stop"))
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_full_disk_is_an_output_error(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OutputError, match=r"a\.txt.*No space left"):
        fail(tmp_path / "a.txt", full)
    assert names(tmp_path) == []


def test_unusable_targets(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write"), atomic(tmp_path / "file" / "a.txt"):
        pass
    with pytest.raises(OutputError, match="a folder"), atomic(tmp_path):
        pass
    with pytest.raises(OutputError, match="cannot write"):
        check_output_folder(tmp_path / "file")
    assert names(tmp_path) == ["file"]


def test_output_folder_is_made_and_left_clean(tmp_path: Path) -> None:
    folder = check_output_folder(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert names(folder) == []


def test_input_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name, reason in (("empty", "empty"), ("absent", "does not exist"), ("", "expected a file")):
        with pytest.raises(FormatError, match=reason):
            check_input_file(tmp_path / name)
