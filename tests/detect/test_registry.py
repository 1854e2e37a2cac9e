"""The table of detectors, and loading by name."""

import subprocess
import sys

import pytest

from poselift.detect import Detector, detectors, make_detector
from poselift.errors import InputError, MissingExtraError, UnknownNameError


def test_unknown_detector_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match="hybrid, movenet, rtm"):
        make_detector("openpose")


def test_unknown_option_lists_the_known_ones():
    with pytest.raises(InputError, match=r"thread.*known: .*min_score, threads"):
        make_detector("movenet", thread=1)


def test_rtm_without_rtmlib_gives_the_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "rtmlib", None)  # as if it were not installed
    with pytest.raises(MissingExtraError, match=r"pip install 'poselift\[rtm\]'"):
        make_detector("rtm")


@pytest.mark.parametrize("name", ["hybrid", "movenet"])
def test_built_in_detectors_keep_their_promise(name):
    detector = make_detector(name, threads=1)
    assert isinstance(detector, Detector)
    assert detector.name == name
    assert detector.skeleton.name == detectors()[name].skeleton


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError):
        detectors()["mine"] = detectors()["hybrid"]


def test_the_table_costs_no_network():
    code = (
        "import sys, poselift.detect; sys.exit({'onnxruntime', 'cv2'} & set(sys.modules) != set())"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
