"""The door: `poselift VERB`. Each verb calls one library function; heavy imports happen inside."""

import argparse
import os
import sys
from io import TextIOWrapper

from poselift import __version__
from poselift.cli import judging, live, product, training, weights
from poselift.cli.verbs import complain
from poselift.errors import PoseliftError


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns the exit code (0 done, 1 an input failed, 2 wrong usage)."""
    parser = _parser()
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments:
        parser.print_help(sys.stderr)
        return 2
    args = parser.parse_args(arguments)
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # file names that are no text
    try:
        code = args.verb(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `poselift models | head -1`: nobody reads on, nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (PoseliftError, OSError) as error:
        complain(error, args.debug)
        return 1
    except KeyboardInterrupt:
        print("poselift: stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="poselift",
        description="Video, images or 2D keypoints of people to 3D human motion.",
        epilog="start with:\n  poselift lift VIDEO -o OUT\n\n"
        "help for a verb:\n  poselift VERB --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"poselift {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    product.add_all(verbs)
    training.add_all(verbs)
    judging.add_all(verbs)
    weights.add_all(verbs)
    live.add_all(verbs)
    return parser
