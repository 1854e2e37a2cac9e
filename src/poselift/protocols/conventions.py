"""Conventions: every choice by which papers' numbers on the same files differ, each by its name."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from poselift.errors import InputError, UnknownNameError

_CHOICES: dict[str, tuple[object, ...]] = {
    "root": ("keep", "zero", "recentre"),
    "p2_root": ("fit", "zero"),
    "average": ("group", "frame"),
    "camera": ("known", "guessed"),
    "by_subject": (True, False),
    "flip": (True, False),
    "drop_s11_directions": (True, False),
}


@dataclass(frozen=True)
class Conventions:
    """How predictions are brought about, compared and averaged.

    Raises UnknownNameError, InputError for a value that a field does not have.
    """

    # The predicted root: as it is (the true one is 0), set to 0, or taken off every joint.
    root: Literal["keep", "zero", "recentre"] = "keep"
    # How many joints are averaged, one of the protocol's named sets; None: all of them.
    joints: int | None = None
    # The same for PCK and AUC; None: the protocol's own set.
    pck_joints: int | None = None
    # P-MPJPE: the root is fitted as any joint, or left out and counted as an error of 0.
    p2_root: Literal["fit", "zero"] = "fit"
    # P-MPJPE: every frame gets the mean of its batch of so many frames; 0: its own.
    p2_batch: int = 0
    # Videos are cut into windows of so many frames, the last one moved back, so that the frames
    # count twice that it shares with the one before; a shorter video repeats its last frame.
    # 0: every frame counts once.
    window: int = 0
    # The last column: mean of the columns ("group"), or of all frames.
    average: Literal["group", "frame"] = "group"
    # A column per subject and action, not per action.
    by_subject: bool = False
    # Predictions are averaged with those of the mirrored video.
    flip: bool = True
    # Whether the lifter is told the intrinsics that the dataset gives.
    camera: Literal["known", "guessed"] = "known"
    # Human3.6M: the corrupt video "Directions" of S11 is left out.
    drop_s11_directions: bool = True

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            choices = _CHOICES.get(name)
            if choices is None:
                _check_count(name, value)
            elif type(value) is not type(choices[0]) or value not in choices:
                raise UnknownNameError(f"value of convention {name}", value, choices)

    def to_json(self) -> dict[str, Any]:
        """Name and value of every field."""
        return asdict(self)

    def changed(self, changes: Iterable[str]) -> "Conventions":
        """With fields set by words NAME=VALUE, as on the command line (yes, no, all for None).

        Raises UnknownNameError, InputError.
        """
        names = [field.name for field in fields(self)]
        values: dict[str, Any] = {}
        for change in changes:
            name, equals, text = change.partition("=")
            if not equals:
                raise InputError("convention", expected="NAME=VALUE", found=repr(change))
            if name not in names:
                raise UnknownNameError("convention", name, names)
            values[name] = int(text) if text.isdecimal() else _WORDS.get(text, text)
        return replace(self, **values)


_WORDS: dict[str, bool | None] = {"yes": True, "no": False, "all": None}


def _check_count(name: str, value: object) -> None:
    optional = name in ("joints", "pck_joints")
    if value is None and optional:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < (1 if optional else 0):
        raise InputError(f"convention {name}", expected="a number", found=repr(value))


# By the name of the paper, or the code, whose numbers they reproduce.
CONVENTIONS: dict[str, Conventions] = {
    "videopose3d": Conventions(),
    "srnet": Conventions(),
    "strided": Conventions(root="zero", p2_batch=256),
    "semgcn": Conventions(root="recentre", joints=16, flip=False),
    "evoskeleton": Conventions(root="zero", p2_root="zero", flip=False),
    "mixste": Conventions(window=243),
    "p-stmo": Conventions(root="zero", average="frame"),
    "hmr": Conventions(root="recentre", average="frame", flip=False),
}


def conventions(name: str) -> Conventions:
    """The conventions of a paper. Raises UnknownNameError, which lists the names."""
    if name not in CONVENTIONS:
        raise UnknownNameError("conventions", name, CONVENTIONS)
    return CONVENTIONS[name]
