"""Errors say what was expected, found and known, in one line, and survive a trip to a process."""

import copy
import pickle

import pytest

from poselift.errors import (
    DetectorError,
    FormatError,
    InputError,
    MissingExtraError,
    OutputError,
    PoseliftError,
    ShapeError,
    UnknownNameError,
    WeightsError,
)

EXAMPLES = [
    PoseliftError("a thing", expected="one", found="two"),
    InputError("a thing"),
    FormatError("clip.json", expected="a list", found="a number"),
    ShapeError("points", expected="(T, 17, 2)", found=(3, 16, 2)),
    UnknownNameError("skeleton", "coco18", ["h36m17", "coco17"]),
    OutputError("out.npz", expected="a folder that can be written"),
    DetectorError("movenet"),
    WeightsError("weights", expected="abc", found="abd"),
    MissingExtraError("viser", "view"),
]


def test_a_message_has_what_expected_found_and_known():
    error = FormatError("clip.json", expected="a list", found="a number", known=["coco", "ours"])
    assert str(error) == "clip.json: expected a list, found a number (known: coco, ours)"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PoseliftError("nothing there"), "nothing there"),
        (PoseliftError("rate", expected="above 0"), "rate: expected above 0"),
        (PoseliftError("rate", found=0), "rate: found 0"),
        (PoseliftError("flag", found=False), "flag: found False"),
        (PoseliftError("kind", known=["a", 2]), "kind (known: a, 2)"),
        (PoseliftError("kind", known=()), "kind"),
        (ShapeError("points", expected="(2,)", found=(3,)), "points: expected (2,), found (3,)"),
        (
            UnknownNameError("skeleton", "coco18", ["h36m17", "coco17"]),
            "unknown skeleton: found 'coco18' (known: coco17, h36m17)",
        ),
        (
            MissingExtraError("viser", "view"),
            "viser is not installed: expected pip install 'poselift[view]'",
        ),
    ],
)
def test_messages(error, message):
    assert str(error) == message


def test_unknown_names_may_be_of_any_kind():
    assert str(UnknownNameError("number", 3, {9})) == "unknown number: found 3 (known: 9)"


@pytest.mark.parametrize(
    ("kind", "bases"),
    [
        (InputError, (ValueError,)),
        (FormatError, (InputError, ValueError)),
        (ShapeError, (InputError, ValueError)),
        (UnknownNameError, (InputError, ValueError)),
        (OutputError, (OSError,)),
        (DetectorError, (RuntimeError,)),
        (WeightsError, (RuntimeError,)),
        (MissingExtraError, (ImportError,)),
    ],
)
def test_errors_are_poselift_errors_and_the_builtin_that_people_catch(kind, bases):
    for base in (PoseliftError, *bases):
        assert issubclass(kind, base)


def test_a_failed_detector_is_no_wrong_input():
    assert not issubclass(DetectorError, InputError)
    assert not issubclass(OutputError, InputError)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("carry", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_come_back_whole_from_another_process(error, carry):
    twin = carry(error)
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert twin.what == error.what


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_messages_are_one_line(error):
    assert "\n" not in str(error)


def test_an_import_error_carries_its_message():
    assert MissingExtraError("viser", "view").msg == str(MissingExtraError("viser", "view"))
