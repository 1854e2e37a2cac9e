"""The door: `poselift VERB`. Each verb calls one library function; heavy imports happen inside."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from poselift import __version__
from poselift.errors import PoseliftError

Verb = Callable[[argparse.Namespace], int]


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns the exit code (0 done, 1 an input failed, 2 wrong usage)."""
    args = _parser().parse_args(argv)
    try:
        return args.verb(args)
    except PoseliftError as error:
        if args.debug:
            raise
        print(f"poselift: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("poselift: stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="poselift",
        description="Video, images or 2D keypoints of people to 3D human motion.",
        epilog="Start with: poselift lift VIDEO -o OUT     Help for a verb: poselift VERB --help",
    )
    parser.add_argument("--version", action="version", version=f"poselift {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for add in (_add_lift, _add_view, _add_convert, _add_models, _add_mocap, _add_train):
        add(verbs)
    for add in (_add_evaluate, _add_ship, _add_bench):
        add(verbs)
    return parser


def _verb(verbs: Any, name: str, run: Verb, text: str, epilog: str = "") -> argparse.ArgumentParser:
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


# ------------------------------------------------------------------------------------------ lift
def _add_lift(verbs: Any) -> None:
    parser = _verb(
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
        "Writes metres, z up, floor at 0 (BVH: centimetres, y up).",
    )
    parser.add_argument("sources", nargs="+", type=Path, metavar="INPUT")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--only", nargs="+", metavar="KIND", help="npz json csv bvh mp4 html")
    parser.add_argument("--model", dest="lifter", help="lifter (see `poselift models`)")
    parser.add_argument("--detector", help="hybrid (default), movenet, rtm")
    parser.add_argument(
        "--mode",
        choices=("accurate", "fast"),
        help="fast searches for people every few frames only (hybrid detector)",
    )
    parser.add_argument("--fps", type=float, help="frames per second of a source without time")
    parser.add_argument("--size", dest="size_px", type=_size, metavar="WxH", help="image size")
    parser.add_argument("--layout", help="skeleton of a keypoint file, e.g. body25b")
    parser.add_argument("--start", dest="start_s", type=float, help="first second to read")
    parser.add_argument("--end", dest="end_s", type=float, help="last second to read")
    parser.add_argument("--people", dest="max_people", type=int, help="keep at most so many")
    parser.add_argument("--min-seen", dest="min_seen_s", type=float, help="seconds (0.25)")
    parser.add_argument("--fov", dest="view_deg", type=float, help="horizontal field of view")
    parser.add_argument(
        "--pitch", dest="pitch_deg", type=float, help="degrees the camera looks down"
    )
    parser.add_argument("--smooth", type=_smooth, metavar="HZ", help="cut-off, default 6; off")
    parser.add_argument("--no-flip", dest="flip", action="store_false", default=None)
    parser.add_argument("--quiet", action="store_true", help="no progress")


def _lift(args: argparse.Namespace) -> int:
    from poselift.pipeline import Options
    from poselift.results import KINDS, lift_to, meaning

    names = {option.name for option in fields(Options)}
    given = {n: v for n, v in vars(args).items() if n in names and v is not None}
    if args.smooth is not None:
        given["smooth_hz"] = args.smooth or None
    if args.mode is not None:
        given["detector_options"] = {"mode": args.mode}
    options = Options.of(**given)
    failed = 0
    for source in args.sources:
        out = args.out if len(args.sources) == 1 else args.out / source.stem
        try:
            with _progress(args.quiet) as progress:
                result = lift_to(source, out, options, args.only or KINDS, progress)
        except PoseliftError as error:
            if args.debug:
                raise
            print(f"poselift: {source}: {error}", file=sys.stderr)
            failed += 1
            continue
        for note in result.notes:
            print(f"note: {note}")
        for path in result.files:
            print(f"{path}  {meaning(path)}")
    return 1 if failed else 0


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"expected WxH such as 1920x1080, found {text!r}")
    return int(width), int(height)


def _smooth(text: str) -> float:
    """Cut-off in Hz; 0 stands for off."""
    if text == "off":
        return 0.0
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a cut-off in Hz or off, found {text!r}")
    return value


# --------------------------------------------------------------------------------- view, convert
def _add_view(verbs: Any) -> None:
    parser = _verb(verbs, "view", _view, "an interactive page of a motion file, in the browser")
    parser.add_argument("file", type=Path, help=".npz or .json written by poselift")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--no-browser", dest="open_browser", action="store_false")


def _view(args: argparse.Namespace) -> int:
    from poselift.results import read_motion
    from poselift.view.live import serve

    serve(read_motion(args.file), port=args.port, open_browser=args.open_browser)
    return 0


def _add_convert(verbs: Any) -> None:
    parser = _verb(verbs, "convert", _convert, "a motion file in another format, by suffix")
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
    parser = _verb(verbs, "models", _models, "the lifters: size, licence, measured error")
    parser.add_argument("--json", action="store_true", help="a list of records")


def _models(args: argparse.Namespace) -> int:
    from poselift.models import table

    rows = table()
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    print(
        f"{'name':14}{'parameters':>12}{'frames':>8}  {'gives':8}{'shipped':9}test mm clean/noisy"
    )
    for row in rows:
        test = row["measured"]["test"] if row["measured"] else None
        error = (
            f"{test['clean']['mpjpe_mm']:.1f} / {test['noisy']['mpjpe_mm']:.1f}" if test else "-"
        )
        shipped = "yes" if row["shipped"] else "no"
        print(
            f"{row['name']:14}{row['parameters']:>12,}{row['frames']:>8}  {row['gives']:8}"
            f"{shipped:9}{error}"
        )
    return 0


# -------------------------------------------------------------------------- mocap, train, evaluate
def _add_mocap(verbs: Any) -> None:
    parser = verbs.add_parser("mocap", help="motion capture for training")
    inner = parser.add_subparsers(metavar="WHAT", required=True)
    build = _verb(
        inner,
        "build",
        _mocap_build,
        "read motion capture (ASF/AMC, BVH), clean it, pack it into one file for training",
    )
    build.add_argument("folder", type=Path, help="archives (tar.xz) or folders of the collections")
    build.add_argument("-o", "--out", type=Path, required=True, help="the packed .npz")


def _mocap_build(args: argparse.Namespace) -> int:
    from poselift.train.clips import build, print_summary

    with _progress(False) as progress:
        summary = build(args.folder, args.out, progress=progress)
    print_summary(summary)
    return 0


def _add_train(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "train",
        _train,
        "train a lifter on packed motion; the same command takes a cut run up again",
    )
    parser.add_argument("pack", type=Path, help="made by `poselift mocap build`")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--model", dest="lifter", help="lifter (see `poselift models`)")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch", type=int, help="windows per step")
    parser.add_argument("--rate", type=float, help="learning rate at its height")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--start-from", dest="start_from", metavar="RUN", help="another run")
    parser.add_argument("--validate-every", dest="validate_every", type=int, help="steps")
    parser.add_argument("--fp32", dest="bf16", action="store_false", default=None)
    parser.add_argument("--minutes", type=float, help="stop after so long; the run can go on later")
    parser.add_argument(
        "--device", default=None, help="cpu, cuda; default: cuda where there is one"
    )
    parser.add_argument("--threads", type=int)


def _train(args: argparse.Namespace) -> int:
    loop = _needs_torch("poselift.train.loop")
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    names = {option.name for option in fields(loop.TrainConfig)}
    given = {n: v for n, v in vars(args).items() if n in names and v is not None}
    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    run = loop.Run(loop.TrainConfig(**given), args.pack, args.out, device)
    with _training_bar(run.config.steps) as report:
        run.run(report, minutes=args.minutes)
    print(f"{args.out}: step {run.step}, best validation error {1e3 * run.best_m:.1f} mm")
    return 0


def _add_evaluate(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "evaluate",
        _evaluate,
        "errors of a lifter on held-out subjects, beside the mean pose",
    )
    parser.add_argument("pack", type=Path, help="made by `poselift mocap build`")
    parser.add_argument("--model", default=None, help="a shipped lifter, or the folder of a run")
    parser.add_argument("--json", type=Path, help="also write the scores here")


def _evaluate(args: argparse.Namespace) -> int:
    ship = _needs_torch("poselift.train.ship")
    from poselift.models import DEFAULT, load

    run = Path(args.model) if args.model else None
    is_run = run is not None and run.is_dir()
    lifter = ship.lifter_from_run(run) if is_run else load(args.model or DEFAULT)
    measured = ship.measure(lifter, args.pack, print)
    if args.json:
        from poselift.io.files import atomic

        with atomic(args.json) as path:
            path.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    return 0


def _add_ship(verbs: Any) -> None:
    parser = _verb(
        verbs, "ship", _ship, "export a run's best weights: half-precision ONNX + record"
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("pack", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)


def _ship(args: argparse.Namespace) -> int:
    ship = _needs_torch("poselift.train.ship")
    print(ship.ship(args.run, args.pack, args.out, print))
    return 0


def _needs_torch(module: str) -> Any:
    from importlib import import_module

    from poselift.errors import MissingExtraError

    try:
        return import_module(module)
    except ImportError as error:
        if isinstance(error, PoseliftError) or (error.name or "").startswith("poselift"):
            raise
        raise MissingExtraError(error.name or "torch", "train") from error


# ----------------------------------------------------------------------------------------- bench
def _add_bench(verbs: Any) -> None:
    parser = _verb(
        verbs, "bench", _bench, "speed and memory of detector, lifter and whole pipeline"
    )
    parser.add_argument("source", type=Path, help="a video")
    parser.add_argument("--json", action="store_true")


def _bench(args: argparse.Namespace) -> int:
    from poselift.bench import bench

    rows = bench(args.source)
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    for name, value in rows.items():
        print(f"{name:44}{value:>12}" if isinstance(value, str) else f"{name:44}{value:>12.1f}")
    return 0


# -------------------------------------------------------------------------------------- progress
@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar for each step of the work, on stderr; plain silence with `quiet`."""
    if quiet:
        yield lambda step, done, whole: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:16}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def report(step: str, done: int, whole: int | None) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=whole)
            bars.update(tasks[step], completed=done, total=max(whole, done) if whole else None)

        yield report


@contextmanager
def _training_bar(steps: int) -> Iterator[Callable[[Any], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("step {task.completed}/{task.total}"),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("", total=steps)
        shown = {"mm": "-"}

        def report(state: Any) -> None:
            if state.validation_mm is not None:
                shown["mm"] = f"{state.validation_mm:.1f} mm (best {state.best_mm:.1f})"
            rate = f"{state.frames_per_s:,.0f} frames/s"
            text = f"loss {state.loss:.4f}  validation {shown['mm']}  {rate}"
            bars.update(task, completed=state.step, description=text)

        yield report


if __name__ == "__main__":
    raise SystemExit(main())
