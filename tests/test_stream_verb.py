"""The verb stream: lines of 2D joints in, lines of poses out, and what is said of bad lines."""

import io
import json
import sys

import numpy as np
import pytest

from poselift import streaming
from poselift.cli import main
from poselift.models.stepping import StepNetwork

ARGUMENTS = ["stream", "--size", "640x480"]


@pytest.fixture(autouse=True)
def network(monkeypatch) -> None:
    """A step that answers with the points that it is given, and counts its frames as a memory."""

    def run(points, facts, dt_s, memory):
        joints = np.full((len(points), 28, 5), -3.0, np.float32)
        joints[..., :2], joints[..., 2] = points[..., :2], memory
        return joints, memory + 1

    made = StepNetwork(run, lambda people: (np.zeros(1),), "a" * 64)
    monkeypatch.setattr(streaming, "step_network", lambda lifter, threads: made)


def frame(number: int, **changes: object) -> dict:
    xy = np.random.default_rng(number).uniform(100, 400, (17, 2)).tolist()
    return {"time_s": number / 30, "xy_px": xy} | changes


@pytest.fixture
def told(monkeypatch, capsys):
    """What the verb answers to lines: exit code, poses, lines on stderr."""

    def run(lines: list[dict | str], *arguments: str):
        text = "".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines)
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        code = main([*ARGUMENTS, *arguments])
        out, err = capsys.readouterr()
        return code, [strict(line) for line in out.splitlines()], err.splitlines()

    return run


def strict(line: str) -> dict:
    """JSON as all readers know it, without NaN."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return json.loads(line, parse_constant=refuse)


@pytest.mark.parametrize("delay", [0, 4])
def test_every_frame_has_its_pose(told, delay):
    code, poses, err = told([frame(n) for n in range(9)], "--delay", str(delay))
    assert (code, err) == (0, [])
    assert [pose["time_s"] for pose in poses] == [n / 30 for n in range(9)]
    for pose in poses:
        assert np.array(pose["xyz_m"]).shape == (28, 3)
        assert pose["xyz_m"][0] == [0, 0, 0]
        assert len(pose["uncertainty_m"]) == 28
        assert pose["uncertainty_m"][0] is None
        assert min(pose["uncertainty_m"][1:]) > 0
        assert pose["person"] == 0


def test_poses_are_told_when_they_are_known(monkeypatch, capsys):
    lines, told_before = (json.dumps(frame(n)) + "\n" for n in range(6)), []

    def watched():
        for line in lines:
            told_before.append(len(capsys.readouterr().out.splitlines()))
            yield line

    monkeypatch.setattr(sys, "stdin", watched())
    assert main([*ARGUMENTS, "--delay", "2"]) == 0
    assert told_before == [0, 0, 0, 1, 1, 1]


def test_options_reach_the_stream(monkeypatch, told):
    seen = []
    kept = streaming.Stream
    monkeypatch.setattr(
        streaming, "Stream", lambda network, options: seen.append(options) or kept(network, options)
    )
    xy = np.random.default_rng(0).uniform(0, 400, (25, 2)).tolist()
    options = "--layout body25 --delay 2 --fov 60 --height 1.8 --model river"
    code, *_ = told([frame(0, xy_px=xy, person=5)], *options.split())
    assert code == 0
    last = seen[-1]
    assert (last.skeleton, last.delay, last.height_m, last.person) == ("body25", 2, 1.8, 5)
    assert last.camera.K[0, 0] == pytest.approx(320 / np.tan(np.deg2rad(30)))


def test_joints_that_are_not_seen_and_people_beside_each_other(told):
    lines = []
    for n in range(3):
        here = frame(n, person=1)
        here["xy_px"][3:] = [None] * 14
        lines += [here, frame(n, person=2, confidence=[0.9] * 16 + [None])]
    code, poses, _ = told(lines, "--delay", "0")
    assert code == 0
    assert [pose["person"] for pose in poses] == [1, 2, 1, 2, 1, 2]
    assert np.isfinite(poses[0]["xyz_m"]).all()
    alone = told([line for line in lines if line["person"] == 2], "--delay", "0")[1]
    assert alone == [pose for pose in poses if pose["person"] == 2]


BAD_LINES = {
    "{": "frame: expected an object in JSON",
    "[1]": "frame: expected an object with time_s and xy_px, found [1]",
    '{"time_s": 1}': "frame: expected an object with time_s and xy_px",
    '{"time_s": "now", "xy_px": []}': 'time_s: expected seconds, found "now"',
    '{"time_s": 9, "xy_px": 3}': "xy_px: expected a list of pairs of numbers, or null, found 3",
    '{"time_s": 9, "xy_px": [1, [2, 3]]}': "xy_px: expected a list of pairs of numbers, or null",
    '{"time_s": 9, "xy_px": [[1, 2]]}': "joints of coco17: expected (17, 2), found (1, 2)",
    '{"time_s": 9, "xy_px": [], "colour": 1}': "field of a frame: found 'colour' (known: time_s",
    '{"time_s": 9, "xy_px": [], "person": 1.5}': "person: expected a whole number, found 1.5",
    '{"time_s": 9, "xy_px": [], "confidence": ["x"]}': "confidence: expected a list of numbers",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_line_is_named_and_left_out(told, line):
    good = [frame(n) for n in range(4)]
    code, poses, err = told([*good[:2], line, "", *good[2:]], "--delay", "0")
    assert code == 1
    assert len(err) == 1
    assert err[0].startswith(f"poselift: line 3: {BAD_LINES[line]}")
    assert poses == told(good, "--delay", "0")[1]  # it left no trace


def test_a_line_out_of_order_and_one_with_wild_numbers(told):
    wild = frame(2)
    wild["xy_px"][0] = [float("inf"), 0]
    code, poses, err = told([frame(0), frame(1), frame(0), wild, frame(3)], "--delay", "0")
    assert code == 1
    assert [pose["time_s"] * 30 for pose in poses] == pytest.approx([0, 1, 3])
    assert "line 3: time of a frame: expected seconds after 0.033" in err[0]
    assert "line 4: 2D joints: expected finite pixels or NaN, found infinity" in err[1]


def test_strict_ends_at_the_first_bad_line(told):
    code, poses, err = told([frame(0), "{", frame(1)], "--strict", "--delay", "2")
    assert code == 1
    assert len(err) == 1
    assert [pose["time_s"] for pose in poses] == [0]  # what was still to come


def test_a_place_that_cannot_be_told_is_null(told):
    alone = frame(0)
    alone["xy_px"][2:] = [None] * 15
    _, poses, _ = told([alone], "--delay", "0")
    assert poses[0]["root_m"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--delay 3", "delay of a stream: found 3 (known: 0, 2, 4, 8)"),
        ("--layout nope", "unknown skeleton: found 'nope'"),
        ("--fov 200", "field of view: expected between 0 and 180 degrees"),
        ("--height 180", "body height: expected 0.3 to 3 metres"),
    ],
)
def test_options_that_cannot_be_meant(told, options, message):
    code, poses, err = told([frame(0)], *options.split())
    assert (code, poses) == (1, [])
    assert err[0].startswith(f"poselift: {message}")


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as end:
        main(["stream", "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    for word in ("time_s", "xy_px", "confidence", "person", "--strict", "--delay", "root_m"):
        assert word in text
