"""What all verbs share."""

import argparse
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from poselift.errors import MissingExtraError, PoseliftError

Verb = Callable[[argparse.Namespace], int]


def add_verb(
    verbs: Any, name: str, run: Verb, text: str, epilog: str = ""
) -> argparse.ArgumentParser:
    """Add a verb that `run` does; returns its parser."""
    parser = verbs.add_parser(
        name,
        help=text,
        description=text,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help="show a traceback on errors")
    parser.set_defaults(verb=run)
    return parser


def complain(error: PoseliftError | OSError, debug: bool, source: Path | None = None) -> None:
    """One line about an error, which names its source; the traceback too with `debug`."""
    if debug:
        traceback.print_exception(error)
    text = " ".join(str(error).splitlines())
    if source is not None and str(source) not in text:
        text = f"{source}: {text}"
    print(f"poselift: {text}", file=sys.stderr)


def needs_torch(module: str) -> Any:
    """A module of training. Raises MissingExtraError where torch or its company is not there."""
    try:
        return import_module(module)
    except ImportError as error:
        if isinstance(error, PoseliftError) or (error.name or "").startswith("poselift"):
            raise
        raise MissingExtraError(error.name or "torch", "train") from error


def add_machine(parser: argparse.ArgumentParser) -> None:
    """The flags --device and --threads."""
    parser.add_argument(
        "--device", default=None, help="cpu, cuda; default: cuda where there is one"
    )
    parser.add_argument("--threads", type=int)


def device_of(args: argparse.Namespace) -> Any:
    """The torch device that was asked for, after setting the threads."""
    import torch

    set_threads(args.threads)
    return torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))


def set_threads(threads: int | None) -> None:
    """Let torch use so many threads; None: as many as it likes."""
    import torch

    if threads:
        torch.set_num_threads(threads)


def image_size(text: str) -> tuple[int, int]:
    """WxH as width and height."""
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected WxH such as 1920x1080, found {text!r}")
    return int(width), int(height)
