"""What README shows is run, and the figures in it are those of the records."""

import re
import shlex
from pathlib import Path

import pytest

from poselift.cli import main
from poselift.models import markdown

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_shell_commands_run(folder, capfd):
    commands = [line.split("#")[0] for block in blocks("sh") for line in block.splitlines()]
    ours = [shlex.split(line)[1:] for line in commands if line.startswith("poselift ")]
    assert len(ours) >= 3
    for arguments in ours:
        assert main(arguments) == 0, arguments
    assert (folder / "out/tour/again.bvh").stat().st_size > 0
    assert "strided-27" in capfd.readouterr().out


def test_python_runs(folder, capsys):
    (code,) = blocks("python")
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["one"].axes == "world"
    assert names["relative"].origin == "root"
    assert (folder / "motion.bvh").exists()


def test_links_and_picture_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_measured_figures_are_those_of_the_records():
    (shown,) = re.findall(r"<!-- measured -->\n(.*?)\n?<!-- /measured -->", README, re.DOTALL)
    assert shown == markdown()
