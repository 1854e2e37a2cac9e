"""The door: what users type, what they see, and how it ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.request import urlopen

import av
import cv2
import numpy as np
import pytest

import poselift
from poselift import progress
from poselift.cli import main
from poselift.poses import Poses2D, Poses3D
from poselift.skeleton import skeleton

SAMPLE = Path(__file__).parent.parent / "examples" / "sample"
COCO = skeleton("coco17")


@pytest.fixture(scope="module")
def xy_px() -> np.ndarray:
    with np.load(SAMPLE / "sample_truth.npz", allow_pickle=False) as truth:
        return truth["coco17_xy_px"][:12]


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    with av.open(str(SAMPLE / "sample.mp4")) as container:
        return next(container.decode(video=0)).to_ndarray(format="bgr24")


@pytest.fixture
def good(tmp_path, xy_px) -> Path:
    return coco(tmp_path / "good.json", xy_px)


@pytest.fixture
def motion(tmp_path) -> Path:
    with np.load(SAMPLE / "sample_truth.npz", allow_pickle=False) as truth:
        xyz_m, time_s = truth["joints_xyz_m"][:9], truth["time_s"][:9]
    poses = Poses3D(xyz_m, time_s, skeleton("h36m17"), axes="world", origin="world")
    (path,) = poselift.write(tmp_path / "motion.npz", [poses])
    return path


def coco(path: Path, xy: np.ndarray) -> Path:
    rows = [np.c_[points, np.ones(len(points))].ravel().tolist() for points in xy]
    entries = [{"image_id": n, "category_id": 1, "keypoints": row} for n, row in enumerate(rows)]
    path.write_text(json.dumps(entries))
    return path


def errors(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("poselift: ")]


def refused(capsys, arguments: list[str | Path], message: str) -> None:
    """The call ends with 1 and one line that holds `message`; nothing on stdout."""
    assert main([str(argument) for argument in arguments]) == 1
    out, err = capsys.readouterr()
    assert len(errors(err)) == 1
    assert message in errors(err)[0]
    assert "Traceback" not in err
    assert out == ""


# ------------------------------------------------------------------------------------------- lift
def test_lift_says_what_it_wrote_and_what_it_assumed(capsys, good, tmp_path):
    assert main(["lift", str(good), "-o", str(tmp_path / "out"), "--only", "npz", "bvh"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == f"{good}: 1 person, 12 frames, 0.4 s"
    assert "note: no frame rate in the file: 30 frames per second assumed (fps)" in lines
    assert [line for line in lines if line.startswith(str(tmp_path / "out" / "motion.bvh  "))]
    assert all(Path(line.split("  ")[0]).is_file() for line in lines[-2:])
    assert err.splitlines() == ["lifting: 12/12", "writing files: 2/2"]


def test_options_reach_the_library(capsys, good, tmp_path):
    options = "--fps 60 --size 1280x720 --layout coco17 --start 0.05 --end 0.15 --people 1"
    options += " --min-seen 0 --fov 50 --pitch 10 --smooth off --space camera --free-bones"
    options += " --no-flip --mode fast --detector hybrid --model strided-27 --quiet --only json"
    assert main(["lift", str(good), "-o", str(tmp_path / "out"), *options.split()]) == 0
    (poses,) = poselift.read(tmp_path / "out" / "motion.json")
    np.testing.assert_allclose(poses.time_s, np.arange(3, 10) / 60, atol=1e-9)
    assert poses.observed.size_px == (1280, 720)
    assert (poses.axes, poses.origin) == ("camera", "camera")
    assert poses.camera.K[0, 0] == pytest.approx(640 / np.tan(np.deg2rad(25)))
    assert not [s for s in poses.history if "smoothed" in s or "constant bone" in s]
    assert capsys.readouterr().err == ""


BAD_FILES = {
    "empty.mp4": (b"", "is empty"),
    "text.mp4": (b"not a video" * 99, "is not a video"),
    "zero.json": (b"", "is empty"),
    "broken.json": (b'{"people": [', "cannot be read as JSON"),
    "other.json": (b'{"annotations": []}', "JSON of no known layout"),
    "list.json": (b"[]", "holds no people"),
    "text.npz": (b"PK\x03\x04 no archive", "cannot be read as NPZ"),
    "motion.bvh": (b"HIERARCHY", "are written, not read"),
    "bad.png": (b"\x89PNG nonsense", "is not an image, or is damaged"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_files_that_are_not_what_they_should_be(capsys, tmp_path, name):
    content, message = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    refused(capsys, ["lift", tmp_path / name, "-o", tmp_path / "out"], message)
    assert not (tmp_path / "out").exists()


def test_a_video_cut_off_at_its_head_and_one_without_pictures(capsys, tmp_path):
    head = tmp_path / "head.mp4"
    head.write_bytes((SAMPLE / "sample.mp4").read_bytes()[:9000])
    refused(capsys, ["lift", head, "-o", tmp_path / "out"], "no frame that can be decoded")
    sound = tmp_path / "sound.mp4"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        silence.rate = 8000
        container.mux(stream.encode(silence))
        container.mux(stream.encode())
    refused(capsys, ["lift", sound, "-o", tmp_path / "out"], "expected a video stream, found audio")


def test_a_video_cut_off_later_is_lifted_with_a_note(capsys, tmp_path):
    cut = tmp_path / "cut.mp4"
    data = (SAMPLE / "sample.mp4").read_bytes()
    cut.write_bytes(data[: len(data) // 3])
    arguments = ["-o", str(tmp_path / "out"), "--only", "npz", "--end", "0.1", "--mode", "fast"]
    assert main(["lift", str(cut), *arguments]) == 0
    assert "4 frames" in capsys.readouterr().out


def test_folders_of_images_that_cannot_be_a_clip(capsys, tmp_path, image):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "notes.txt").write_text("x")
    refused(capsys, ["lift", folder, "-o", tmp_path / "out"], "neither images nor keypoints")
    cv2.imwrite(str(folder / "1.png"), image)
    cv2.imwrite(str(folder / "2.png"), image[:200])
    refused(capsys, ["lift", folder, "-o", tmp_path / "out"], "another size than the images before")
    assert not (tmp_path / "out").exists()


def test_keypoints_with_wild_numbers(capsys, tmp_path, xy_px):
    for value, message in (
        (np.inf, "expected finite numbers"),
        (1e300, "pixels within"),
        (np.nan, "expected finite numbers"),
    ):
        points = xy_px.copy()
        points[2:5, 3, 0] = value
        path = coco(tmp_path / "x.json", points)
        arguments = ["lift", path, "-o", tmp_path / "out", "--only", "csv", "--size", "640x480"]
        refused(capsys, arguments, message)
    wrong = coco(tmp_path / "x.json", xy_px[:, :11])
    refused(capsys, ["lift", wrong, "-o", tmp_path / "no"], "11 joints fit no layout")


def test_own_files_that_cannot_be_lifted(capsys, tmp_path, motion, xy_px):
    refused(capsys, ["lift", motion, "-o", tmp_path / "o"], "expected 2D joints to lift, found 3D")
    few = np.where((np.arange(17) < 4)[:, None], xy_px, np.nan)
    flat = Poses2D(few, np.isfinite(few).all(-1) * 1.0, np.arange(12) / 30, (640, 480), COCO)
    (path,) = poselift.write(tmp_path / "few.npz", [flat])
    refused(capsys, ["lift", path, "-o", tmp_path / "o"], "at least 6 joints")
    refused(capsys, ["lift", path, "-o", tmp_path / "o", "--fps", "9"], "has its own fps")


def test_nobody_and_somebody_for_a_moment(capsys, tmp_path, image, xy_px):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((120, 160, 3), 90, np.uint8))
    refused(capsys, ["lift", tmp_path / "grey.png", "-o", tmp_path / "out"], "found nobody")
    points = xy_px.copy()
    points[1:] = 0
    path = coco(tmp_path / "once.json", points)
    document = json.loads(path.read_text())
    for entry in document[1:]:
        entry["keypoints"] = [0.0] * 51
    path.write_text(json.dumps(document))
    refused(capsys, ["lift", path, "-o", tmp_path / "out"], "people seen in one frame")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--fps 0", "frames per second (fps): expected above 0"),
        ("--size 0x0", "image size (size_px): expected width and height"),
        ("--start 99", "no frame in 99 s to the end"),
        ("--start -1", "start of the clip: expected seconds >= 0"),
        ("--start 2 --end 1", "end of the clip: expected at least its start"),
        ("--people -1", "most people (max_people): expected 1 or more"),
        ("--min-seen nan", "least time seen"),
        ("--fov 180", "field of view"),
        ("--pitch 100", "camera pitch"),
        ("--smooth 0", "cut-off of smoothing"),
        ("--model nope", "unknown lifter: found 'nope' (known: cascade-2x2"),
        ("--model strided-351", "no weights are shipped for strided-351 (known: strided-27"),
        ("--detector nope", "unknown detector: found 'nope' (known: hybrid, movenet, rtm)"),
        ("--layout nope", "unknown skeleton"),
        ("--layout body25", "expected 25 joints, found 17"),
        ("--space moon", "unknown space"),
        ("--only fbx", "unknown kind of result: found 'fbx' (known: bvh, csv, html"),
    ],
)
def test_values_that_cannot_be_meant(capsys, good, tmp_path, options, message):
    refused(capsys, ["lift", good, "-o", tmp_path / "out", *options.split()], message)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", ["--size big", "--smooth some", "--fps x", "--mode slow", ""])
def test_wrong_usage_ends_with_2(capsys, good, options):
    with pytest.raises(SystemExit) as end:
        main(["lift", str(good), *options.split()])
    assert end.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_an_extra_that_is_missing(capsys, good, tmp_path, image, monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    monkeypatch.setitem(sys.modules, "rtmlib", None)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    line = "expected pip install 'poselift[{}]'".format
    out = tmp_path / "out"
    refused(capsys, ["lift", good, "-o", out, "--only", "html"], line("view"))
    refused(capsys, ["lift", tmp_path / "a.png", "-o", out, "--detector", "rtm"], line("rtm"))
    assert not out.exists()
    assert main(["lift", str(good), "-o", str(out)]) == 0
    assert "note: no html: viser is not installed" in capsys.readouterr().out
    assert sorted(path.suffix for path in out.iterdir()) == [
        ".bvh",
        ".csv",
        ".json",
        ".mp4",
        ".npz",
    ]


def test_the_other_inputs_are_done(capsys, good, tmp_path):
    (tmp_path / "b").mkdir()
    twin = tmp_path / "b" / "good.json"
    twin.write_bytes(good.read_bytes())
    sources = [tmp_path / "missing.mp4", good, tmp_path, twin]
    arguments = [*map(str, sources), "-o", str(tmp_path / "out"), "--only", "npz"]
    assert main(["lift", *arguments]) == 1
    out, err = capsys.readouterr()
    assert len(errors(err)) == 2
    assert errors(err)[0] == f"poselift: {tmp_path / 'missing.mp4'} does not exist"
    assert errors(err)[1].startswith(f"poselift: {good} is not of OpenPose")  # in the folder
    assert [str(good), str(twin)] == [
        line.split(": ")[0] for line in out.splitlines() if "person" in line
    ]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["good", "good_2"]
    assert (tmp_path / "out" / "good_2" / "motion.npz").is_file()


def test_an_output_folder_that_cannot_be(capsys, good, tmp_path, motion):
    for out in (good, good / "below"):
        refused(capsys, ["lift", good, "-o", out], "cannot write")
    refused(capsys, ["convert", motion, good / "x.csv"], "cannot write")
    refused(capsys, ["lift", "a" * 300 + ".mp4", "-o", tmp_path / "out"], "ame too long")


def test_debug_shows_the_traceback_and_goes_on(capsys, good, tmp_path):
    arguments = ["missing.mp4", str(good), "-o", str(tmp_path), "--only", "csv", "--debug"]
    assert main(["lift", *arguments]) == 1
    out, err = capsys.readouterr()
    assert "Traceback" in err
    assert "FormatError" in err
    assert errors(err) == ["poselift: missing.mp4 does not exist"]
    assert "1 person" in out


def test_file_names_that_are_no_text(good, tmp_path):
    odd = tmp_path / os.fsdecode(b"odd\xff\n.json")
    try:
        odd.write_bytes(good.read_bytes())
    except (OSError, UnicodeError):
        pytest.skip("this file system takes text names only")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "poselift.cli",
            "lift",
            odd,
            "-o",
            tmp_path / "out",
            "--only",
            "csv",
        ],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"odd\\udcff" in done.stdout


# --------------------------------------------------------------------------------------- progress
def test_a_log_gets_few_plain_lines(capsys, monkeypatch):
    clock = iter(np.arange(0.0, 1000.0, 0.5))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.progress_on_stderr(quiet=False) as report:
        for done in range(1, 101):
            report("finding people", done, 100)
        report("finding people", 100, 100)
        for done in range(1, 41):
            report("reading", done, None)
        for done in range(1, 4):
            report("lifting", done, 3)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("finding people: ")
    assert lines.count("finding people: 100/100") == 1
    assert lines[-1] == "lifting: 3/3"
    assert any(line.startswith("reading: ") and line.endswith("/?") for line in lines)
    assert 5 <= len(lines) <= 15
    assert not any("\x1b" in line or "\r" in line for line in lines)


def test_a_terminal_gets_bars_unless_it_is_dumb(monkeypatch, capsys):
    monkeypatch.setattr(progress, "is_terminal", lambda: True)
    with progress.progress_on_stderr(quiet=False) as report:
        report("finding people", 1, None)
        report("finding people", 5, 4)
    assert "finding people" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    assert not progress.is_terminal()
    monkeypatch.setenv("TERM", "xterm")
    assert progress.is_terminal()


def test_training_tells_a_log_of_each_validation(capsys):
    def state(step, validation_mm):
        return SimpleNamespace(
            step=step, steps=9, loss=0.5, validation_mm=validation_mm, best_mm=80, frames_per_s=5e4
        )

    with progress.training_on_stderr(9) as report:
        for step, mm in enumerate([None, None, 90.0, 90.0, 80.0, 80.0, 85.0], start=1):
            report(state(step, mm))
    assert capsys.readouterr().err.splitlines() == [
        f"step {step}/9  loss 0.5000  validation {mm} mm (best 80.0)  50,000 frames/s"
        for step, mm in ((3, "90.0"), (5, "80.0"), (7, "85.0"))
    ]


def test_training_on_a_terminal_has_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(progress, "is_terminal", lambda: True)
    with progress.training_on_stderr(9) as report:
        report(SimpleNamespace(step=9, loss=0.5, validation_mm=None, best_mm=None, frames_per_s=1))
    assert "validation -" in " ".join(capsys.readouterr().err.split())


# ------------------------------------------------------------------------------------ other verbs
def test_no_verb_shows_the_help(capsys):
    assert main([]) == 2
    assert "poselift lift VIDEO -o OUT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "taught"),
    [
        ("--help", ["lift", "view", "convert", "models", "bench", "poselift VERB --help"]),
        ("lift --help", ["examples:", "OpenPose", "metres, z up", "--only", "--fov", "--debug"]),
        ("view --help", ["--port", "--no-browser"]),
        ("convert --help", [".bvh"]),
        ("train --help", ["--minutes", "--seed"]),
        ("models --help", ["multiply-adds", "MPJPE", "licence"]),
        ("import-weights --help", ["examples:", "mixste-243", "code", "not for commercial use"]),
        ("mocap --help", ["build"]),
        ("--version", [poselift.__version__]),
    ],
)
def test_help_teaches(capsys, arguments, taught):
    with pytest.raises(SystemExit) as end:
        main(arguments.split())
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert [word for word in taught if word not in text] == []


def test_models_as_a_table_and_as_json(capsys):
    assert main(["models"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert main(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [line.split()[0] for line in table[1:]] == [row["name"] for row in rows]
    fields = {"name", "parameters", "macs_per_frame", "frames", "gives", "licence", "shipped"}
    assert table[0].split()[:4] == ["name", "parameters", "M", "MACs"]
    for row, line in zip(rows, table[1:], strict=True):
        assert fields | {"original_licence", "measured"} <= set(row)
        assert f"{row['parameters']:,}" in line
        macs = row["macs_per_frame"]
        assert line.split()[2] == (f"{macs / 1e6:.1f}" if macs else "-")
        assert line.endswith(row["original_licence"])
        assert row["parameters"] > 1e3
        assert row["licence"] == "Apache-2.0"
    assert [row["name"] for row in rows if row["shipped"]] == [
        *("strided-27", "semgcn", "semgcn-nonlocal", "tcn-1", "srnet-1", "srnet-27"),
        *("dgnet-27", "mixste-27-narrow", "ppca", "river-nano", "river-small"),
    ]


def test_convert(capsys, motion, tmp_path, good):
    for suffix in ("json", "csv", "bvh", "npz"):
        out = tmp_path / "again" / f"clip.{suffix}"
        assert main(["convert", str(motion), str(out)]) == 0
        assert capsys.readouterr().out.split() == [str(out)]
        assert out.stat().st_size > 500
    refused(capsys, ["convert", motion, tmp_path / "x.fbx"], "unknown output format: found '.fbx'")
    refused(capsys, ["convert", good, tmp_path / "x.bvh"], "expected 3D poses")
    refused(capsys, ["convert", tmp_path / "no.npz", tmp_path / "x.bvh"], "does not exist")
    refused(capsys, ["convert", SAMPLE / "sample.mp4", tmp_path / "x.bvh"], "cannot be read")


def test_view_tells_its_address_until_it_is_stopped(motion):
    pytest.importorskip("viser")
    command = [sys.executable, "-m", "poselift.cli", "view", str(motion)]
    with subprocess.Popen(
        [*command, "--port", "0", "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as viewer:
        try:
            address = viewer.stdout.readline().split()[0]
            assert address.startswith("http://127.0.0.1:")
            with urlopen(address, timeout=10) as page:
                assert page.status == 200
            viewer.send_signal(signal.SIGINT)
            assert viewer.wait(timeout=20) == 0
        finally:
            viewer.kill()
        assert "Traceback" not in viewer.stderr.read()


def test_view_refuses_what_is_no_motion(capsys, good, monkeypatch, motion):
    refused(capsys, ["view", good], "expected 3D poses")
    refused(capsys, ["view", motion, "--port", "99999", "--no-browser"], "port")
    monkeypatch.setitem(sys.modules, "viser", None)
    refused(capsys, ["view", motion, "--no-browser"], "poselift[view]")


def test_a_reader_who_stops_reading_is_no_error():
    command = f"{sys.executable} -m poselift.cli models --json | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_is_one_line(capsys, monkeypatch):
    def stop() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("poselift.models.table", stop)
    assert main(["models"]) == 130
    assert capsys.readouterr().err == "poselift: stopped\n"


def test_verbs_of_training_without_torch(capsys, monkeypatch, tmp_path):
    def no_torch(name: str) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("poselift.cli.verbs.import_module", no_torch)
    message = "torch is not installed: expected pip install 'poselift[train]'"
    refused(capsys, ["train", tmp_path / "x.npz", "-o", tmp_path], message)
    refused(capsys, ["import-weights", "tcn", tmp_path / "x.bin", "-o", tmp_path], message)
    refused(capsys, ["evaluate", tmp_path / "x.npz"], message)


def test_bench_measures_a_few_frames(capsys):
    assert main(["bench", str(SAMPLE / "sample.mp4"), "--frames", "3", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows["source"] == "sample.mp4"
    assert rows["frames of the pipeline"] == 3
    figures = [value for name, value in rows.items() if name != "source"]
    assert min(figures) > 0
    for part in (
        "detector accurate, ms",
        "detector fast, ms",
        "lifter river",
        "whole",
        "memory",
    ):
        assert sum(part in name for name in rows) == 1, part
    refused(capsys, ["bench", SAMPLE / "sample.mp4", "--frames", "1"], "expected at least 2")
