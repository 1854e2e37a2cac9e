"""What all verbs share."""

import argparse
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from poselift.errors import PoseliftError

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
