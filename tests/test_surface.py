"""What `import poselift` gives, and what it must not drag in."""

import json
import pkgutil
import subprocess
import sys
from importlib.metadata import version

import pytest

import poselift

HEAVY = {"torch", "onnxruntime", "cv2", "av", "scipy", "viser", "rich", "numpy"}
MOST_S = 0.3


def fresh(code: str) -> dict:
    """What `code` puts into `out`, run by an interpreter of its own."""
    text = f"import json, sys, time\nout = {{}}\n{code}\nprint(json.dumps(out))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_the_import_is_light_and_quick():
    code = """
start = time.perf_counter()
before = set(sys.modules)
import poselift
out["seconds"] = time.perf_counter() - start
out["modules"] = sorted({name.partition(".")[0] for name in set(sys.modules) - before})
"""
    runs = [fresh(code) for _ in range(3)]
    assert HEAVY.isdisjoint(runs[0]["modules"])
    assert min(run["seconds"] for run in runs) < MOST_S


def test_lifting_keypoints_needs_no_torch_and_the_words_no_heavy_package():
    code = """
import poselift
poselift.Poses2D, poselift.skeleton_named("coco17"), poselift.Camera
out["words"] = sorted(sys.modules)
poselift.lift, poselift.load, poselift.Options, poselift.read, poselift.write
out["all"] = sorted(sys.modules)
"""
    loaded = fresh(code)
    assert (HEAVY - {"numpy"}).isdisjoint(loaded["words"])
    assert {"torch", "onnxruntime", "viser"}.isdisjoint(loaded["all"])


def test_the_command_line_answers_help_without_heavy_packages():
    code = """
import contextlib, io
from poselift.cli import main
with contextlib.redirect_stdout(io.StringIO()) as text:
    try:
        main(["lift", "--help"])
    except SystemExit as end:
        out["code"] = end.code
out["help"] = text.getvalue()
out["modules"] = sorted(sys.modules)
"""
    answer = fresh(code)
    assert answer["code"] == 0
    assert "examples:" in answer["help"]
    assert HEAVY.isdisjoint(answer["modules"])


@pytest.mark.parametrize("name", poselift.__all__)
def test_every_name_resolves(name):
    value = getattr(poselift, name)
    assert callable(value)
    assert (value.__doc__ or "").strip()


def test_no_name_is_hidden_by_a_module():
    modules = {module.name for module in pkgutil.iter_modules(poselift.__path__)}
    assert modules.isdisjoint(poselift.__all__)
    for name in poselift.__all__:  # whatever was imported before
        assert callable(getattr(poselift, name)), name


def test_all_matches_what_is_there():
    assert list(poselift.__all__) == sorted(poselift.__all__)
    assert set(poselift.__all__) == set(poselift._HOMES)
    assert set(dir(poselift)) == {*poselift.__all__, "__version__"}
    names: dict[str, object] = {}
    exec("from poselift import *", names)
    assert set(poselift.__all__) == set(names) - {"__builtins__"}


def test_a_wrong_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'lfit'"):
        poselift.lfit  # noqa: B018


def test_the_version_is_that_of_the_package():
    assert poselift.__version__ == version("poselift")
