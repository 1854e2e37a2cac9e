"""Verbs of use: lift, view, convert, models, bench."""

import argparse
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from poselift.cli.verbs import add_verb, complain, image_size
from poselift.errors import PoseliftError
from poselift.progress import progress_on_stderr


def add_all(verbs: Any) -> None:
    """Add these verbs to a parser."""
    for add in (_add_lift, _add_view, _add_convert, _add_models, _add_bench):
        add(verbs)


# ------------------------------------------------------------------------------------------ lift
def _add_lift(verbs: Any) -> None:
    parser = add_verb(
        verbs,
        "lift",
        _lift,
        "3D motion from video, images or 2D keypoint files",
        "examples:\n"
        "  poselift lift squat.mp4 -o out\n"
        "  poselift lift openpose_json/ --fps 50 --size 1920x1080 -o out\n"
        "  poselift lift *.mp4 -o out --only bvh --mode fast\n\n"
        "Reads video, an image, a folder of images, OpenPose JSON folders (BODY_25, BODY_25B,\n"
        "COCO-18), COCO results JSON, and poselift's own .npz and .json.\n"
        "Writes metres, z up, floor at 0 (BVH: centimetres, y up): motion.npz, .json, .csv, .bvh,\n"
        "motion.html and overlay.mp4; motion_person2.bvh and on for more people. Several inputs\n"
        "get a folder each in OUT, by their names (clip, clip_2 where two have one name).\n"
        "Ends with 0 when all is done, 1 when an input failed (the others are done), 2 for wrong\n"
        "usage. What was assumed, guessed or left out is said in notes.",
    )
    parser.add_argument("sources", nargs="+", type=Path, metavar="INPUT")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--only", nargs="+", metavar="KIND", help="write only npz json csv bvh mp4 html"
    )
    _add_options(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress")


def _add_options(parser: argparse.ArgumentParser) -> None:
    """The fields of `Options`; what is not given stays at its default there."""

    def add(flag: str, dest: str, **arguments: Any) -> None:
        parser.add_argument(flag, dest=dest, default=argparse.SUPPRESS, **arguments)

    add("--model", "lifter", help="lifter (see `poselift models`), or the path of weights")
    add("--detector", "detector", help="hybrid (default), movenet, rtm")
    add(
        "--mode",
        "mode",
        choices=("accurate", "fast"),
        help="hybrid detector: fast searches for people every few frames only",
    )
    add("--fps", "fps", type=float, help="frames per second of images and keypoint files (30)")
    add("--size", "size_px", type=image_size, metavar="WxH", help="image size of keypoint files")
    add("--layout", "layout", help="skeleton of a keypoint file, e.g. body25b")
    add("--start", "start_s", type=float, metavar="S", help="first second to read")
    add("--end", "end_s", type=float, metavar="S", help="last second to read")
    add("--people", "max_people", type=int, metavar="N", help="keep the N people seen longest")
    add(
        "--min-seen",
        "min_seen_s",
        type=float,
        metavar="S",
        help="leave out people seen for less (0.25 s)",
    )
    add("--fov", "view_deg", type=float, metavar="DEG", help="horizontal field of view, if known")
    add("--pitch", "pitch_deg", type=float, metavar="DEG", help="how far the camera looks down (0)")
    add(
        "--height",
        "height_m",
        type=float,
        metavar="M",
        help="how tall people are, if known: sets the scale (river)",
    )
    add("--smooth", "smooth_hz", type=_smooth, metavar="HZ", help="cut-off (6), or off")
    add("--space", "space", help="world (default, level, floor at 0), camera, root")
    add(
        "--free-bones",
        "constant_bones",
        action="store_false",
        help="let bone lengths change from frame to frame",
    )
    add("--no-flip", "flip", action="store_false", help="half the time, a little less exact")


def _lift(args: argparse.Namespace) -> int:
    from poselift.pipeline import Options
    from poselift.results import folders_for, kinds_to_write, lift_to, meaning

    given = {o.name: getattr(args, o.name) for o in fields(Options) if hasattr(args, o.name)}
    if hasattr(args, "mode"):
        given["detector_options"] = {"mode": args.mode}
    options = Options.of(**given)
    kinds_to_write(args.only)
    failed = 0
    for source, out in zip(args.sources, folders_for(args.sources, args.out), strict=True):
        try:
            with progress_on_stderr(args.quiet) as progress:
                result = lift_to(source, out, options, args.only, progress)
        except BrokenPipeError:
            raise
        except (PoseliftError, OSError) as error:
            complain(error, args.debug, source)
            failed += 1
            continue
        print(f"{source}: {result.summary}")
        for note in result.notes:
            print(f"note: {note}")
        for path in result.files:
            print(f"{path}  {meaning(path)}")
    return 1 if failed else 0


def _smooth(text: str) -> float | None:
    """Cut-off in Hz; None for off."""
    try:
        return None if text == "off" else float(text)
    except ValueError:
        message = f"expected a cut-off in Hz, or off, found {text!r}"
        raise argparse.ArgumentTypeError(message) from None


# --------------------------------------------------------------------------------- view, convert
def _add_view(verbs: Any) -> None:
    parser = add_verb(verbs, "view", _view, "an interactive page of a motion file, in the browser")
    parser.add_argument("file", type=Path, help=".npz or .json written by poselift")
    parser.add_argument(
        "--port", type=int, default=8080, help="8080, or the next one that is free; 0: any"
    )
    parser.add_argument(
        "--no-browser",
        dest="open_browser",
        action="store_false",
        help="only print the address",
    )


def _view(args: argparse.Namespace) -> int:
    from poselift.results import read_motion
    from poselift.view.live import serve

    def tell(address: str) -> None:
        print(f"{address}  (Ctrl-C ends it)", flush=True)

    motion = read_motion(args.file)
    serve(motion, port=args.port, open_browser=args.open_browser, on_ready=tell)
    return 0


def _add_convert(verbs: Any) -> None:
    parser = add_verb(verbs, "convert", _convert, "a motion file in another format, by suffix")
    parser.add_argument("file", type=Path, help=".npz or .json written by poselift")
    parser.add_argument("out", type=Path, help=".npz, .json, .csv or .bvh")


def _convert(args: argparse.Namespace) -> int:
    from poselift import io
    from poselift.results import read_motion

    for path in io.write(args.out, read_motion(args.file)):
        print(path)
    return 0


# ---------------------------------------------------------------------------------------- models
def _add_models(verbs: Any) -> None:
    parser = add_verb(
        verbs,
        "models",
        _models,
        "the lifters: size, cost, measured error, licence",
        "M MACs: million multiply-adds per frame (-: not counted). Errors on tracks of the open\n"
        "benchmark (docs/benchmark.md): MPJPE / P-MPJPE; -: no weights shipped. Original licence:\n"
        "of the authors' code and weights; nothing of them is part of poselift (Apache-2.0).",
    )
    parser.add_argument("--json", action="store_true", help="a list of records")
    parser.add_argument("--markdown", action="store_true", help="README's table of errors")


def _models(args: argparse.Namespace) -> int:
    from poselift.models import error_mm, markdown, table

    if args.markdown:
        print(markdown())
        return 0
    rows = table()
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    head = f"{'name':18}{'parameters':>12}{'M MACs':>9}{'frames':>8}  {'gives':8}{'shipped':9}"
    print(f"{head}{'clean, mm':15}{'real, mm':15}original licence")
    for row in rows:
        shipped = "yes" if row["shipped"] else "no"
        macs = f"{row['macs_per_frame'] / 1e6:.1f}" if row["macs_per_frame"] else "-"
        print(
            f"{row['name']:18}{row['parameters']:>12,}{macs:>9}{row['frames']:>8}  "
            f"{row['gives']:8}{shipped:9}{error_mm(row, 'clean'):15}{error_mm(row, 'real'):15}"
            f"{row['original_licence']}"
        )
    return 0


# ----------------------------------------------------------------------------------------- bench
def _add_bench(verbs: Any) -> None:
    parser = add_verb(
        verbs, "bench", _bench, "speed and memory of detector, lifter and whole pipeline"
    )
    parser.add_argument("source", type=Path, help="a video")
    parser.add_argument("--frames", type=int, metavar="N", help="only the first N (default: all)")
    parser.add_argument("--json", action="store_true", help="an object of name and figure")


def _bench(args: argparse.Namespace) -> int:
    from poselift.bench import bench

    rows = bench(args.source, args.frames)
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    for name, value in rows.items():
        print(f"{name:44}{value:>12}" if isinstance(value, str) else f"{name:44}{value:>12.1f}")
    return 0
