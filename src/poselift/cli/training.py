"""Verbs of training and of judging: mocap, train, evaluate, study, results, reproduce, ship."""

import argparse
from collections.abc import Sequence
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

from poselift.cli.verbs import add_verb
from poselift.errors import InputError, MissingExtraError, PoseliftError
from poselift.progress import progress_on_stderr, training_on_stderr

CACHE = Path("~/.cache/poselift").expanduser()


def add_all(verbs: Any) -> None:
    """Add these verbs to a parser."""
    for add in (_add_mocap, _add_train, _add_evaluate, _add_protocol):
        add(verbs)
    for add in (_add_study, _add_results, _add_reproduce, _add_ship):
        add(verbs)


def needs_torch(module: str) -> Any:
    """A module of training. Raises MissingExtraError where torch or its company is not there."""
    try:
        return import_module(module)
    except ImportError as error:
        if isinstance(error, PoseliftError) or (error.name or "").startswith("poselift"):
            raise
        raise MissingExtraError(error.name or "torch", "train") from error


# ----------------------------------------------------------------------------------------- mocap
def _add_mocap(verbs: Any) -> None:
    parser = verbs.add_parser("mocap", help="motion capture for training")
    inner = parser.add_subparsers(metavar="WHAT", required=True)
    build = add_verb(
        inner,
        "build",
        _mocap_build,
        "read motion capture, clean it, pack it into one file for training",
    )
    build.add_argument("folder", type=Path, help="archives (tar.xz) or folders of the collections")
    build.add_argument("-o", "--out", type=Path, required=True, help="the packed .npz")


def _mocap_build(args: argparse.Namespace) -> int:
    from poselift.train.clips import build
    from poselift.train.summary import print_summary

    with progress_on_stderr(False) as progress:
        summary = build(args.folder, args.out, progress=progress)
    print_summary(summary)
    return 0


# ----------------------------------------------------------------------------------------- train
def _add_train(verbs: Any) -> None:
    parser = add_verb(
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
    parser.add_argument(
        "--set", dest="network", nargs="+", metavar="NAME=VALUE", help="the network's own options"
    )
    parser.add_argument("--fp32", dest="bf16", action="store_false", default=None)
    parser.add_argument("--minutes", type=float, help="stop after so long; the run can go on later")
    _add_machine(parser)


def _add_machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", default=None, help="cpu, cuda; default: cuda where there is one"
    )
    parser.add_argument("--threads", type=int)


def _device(args: argparse.Namespace) -> Any:
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    return torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))


def _train(args: argparse.Namespace) -> int:
    loop = needs_torch("poselift.train.loop")
    args.network = _values(args.network or ())
    names = {option.name for option in fields(loop.TrainConfig)}
    given = {n: v for n, v in vars(args).items() if n in names and v not in (None, {})}
    run = loop.Run(loop.TrainConfig(**given), args.pack, args.out, _device(args))
    with training_on_stderr(run.config.steps) as report:
        run.run(report, minutes=args.minutes)
    print(f"{args.out}: step {run.step}, best validation error {1e3 * run.best_m:.1f} mm")
    return 0


def _values(words: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE with numbers, true and false, lists in JSON, or else text."""
    import json

    out = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise InputError("--set", expected="NAME=VALUE", found=word)
        try:
            out[name] = json.loads(text)
        except json.JSONDecodeError:
            out[name] = text
    return out


# -------------------------------------------------------------------------------------- evaluate
def _add_evaluate(verbs: Any) -> None:
    parser = add_verb(
        verbs,
        "evaluate",
        _evaluate,
        "errors of lifters on the open benchmark open-v1",
        "examples:\n"
        "  poselift evaluate clips.npz                       # the default lifter, all tracks\n"
        "  poselift evaluate clips.npz --model runs/a runs/b # runs: the seeds of one lifter\n"
        "  poselift evaluate clips.npz --model strided-27 mean-pose nearest -o report\n"
        "  poselift evaluate --tracks rendered               # needs no pack\n\n"
        "Tracks and metrics: docs/benchmark.md. Writes JSON, Markdown and pictures with -o.",
    )
    parser.add_argument("pack", nargs="?", type=Path, help="made by `poselift mocap build`")
    parser.add_argument("--model", nargs="+", default=[], help="shipped, baseline, or run folders")
    parser.add_argument("--name", help="what runs are called in the report")
    _add_judging(parser)
    parser.add_argument("-o", "--out", type=Path, help="folder for the report")


def _add_judging(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tracks", nargs="+", help="default: all that can be had")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--threads", type=int)


def _evaluate(args: argparse.Namespace) -> int:
    judge = needs_torch("poselift.train.judge")
    from poselift.models import DEFAULT

    _device(argparse.Namespace(threads=args.threads, device="cpu"))
    pack = _pack(args.pack)
    results = _judged(judge, args.model or [DEFAULT], args.name, pack, args)
    _tell(results, args.out, f"Evaluation on {judge.NAME}")
    return 0


def _pack(path: Path | None) -> Any:
    from poselift.train.pack import read_pack

    return read_pack(path) if path else None


def _judged(
    judge: Any, models: Sequence[str], name: str | None, pack: Any, args: argparse.Namespace
) -> Any:
    """Results of all models: folders together are one lifter, names one each."""
    from poselift.report import Results

    names = args.tracks or (judge.ALL_TRACKS if pack else [judge.RENDERED])
    runs = [Path(model) for model in models if Path(model).is_dir()]
    named = [model for model in models if not Path(model).is_dir()]
    results = Results()
    with progress_on_stderr(args.quiet) as progress:
        tracks = judge.tracks_of(pack, names, CACHE / judge.NAME, progress)
        who = [judge.contender_from_runs(runs, name)] if runs else []
        for each in (*who, *(judge.contender(model, pack) for model in named)):
            command = f"poselift evaluate clips.npz --model {each.name}"
            results = results.merged(judge.judge(each, tracks, progress, command))
    return results


def _tell(results: Any, out: Path | None, title: str, name: str = "report") -> None:
    """Print the overview, or write the report and print its files."""
    from poselift.report import write_report
    from poselift.report.board import Board, benchmarks
    from poselift.report.markdown import overview

    if out is None:
        for benchmark in benchmarks(results):
            for metric in ("mpjpe_mm", "p_mpjpe_mm"):
                print(overview(Board(results, benchmark), metric))
        return
    for path in write_report(out, results, title, name=name):
        print(path)


# -------------------------------------------------------------------------------------- protocol
def _add_protocol(verbs: Any) -> None:
    parser = add_verb(
        verbs,
        "protocol",
        _protocol,
        "a paper's table from a dataset's own files, published rows beside ours",
        "examples:\n"
        "  poselift protocol h36m data --2d cpn_ft_h36m_dbb --conventions mixste\n"
        "  poselift protocol mpi_inf_3dhp data --set pck_joints=17 -o out\n"
        "  poselift protocol h36m data --2d gt --model truth     # the files: errors are 0\n\n"
        "protocols: h36m, humaneva, mpi_inf_3dhp, 3dpw. Files and conventions: docs/protocols.md.",
    )
    parser.add_argument("name", metavar="PROTOCOL")
    parser.add_argument("data", type=Path, help="folder with the dataset's files")
    parser.add_argument("--2d", dest="detections", metavar="NAME", help="which 2D, e.g. gt")
    parser.add_argument("--conventions", metavar="PAPER", help="videopose3d, strided, mixste, ...")
    parser.add_argument(
        "--set", dest="changes", nargs="+", default=[], metavar="NAME=VALUE", help="one convention"
    )
    parser.add_argument("--subjects", nargs="+", metavar="S", help="default: as published")
    parser.add_argument("--model", help="a shipped lifter, the folder of a run, or truth")
    parser.add_argument("-o", "--out", type=Path, help="folder for the table (.md, .json)")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def _protocol(args: argparse.Namespace) -> int:
    from poselift.models import DEFAULT, load
    from poselift.protocols import run

    name = args.model or DEFAULT
    if name == "truth":
        lift = None
    elif Path(name).is_dir():
        lift = needs_torch("poselift.train.runs").lifter_from_run(Path(name))
    else:
        lift = load(name)
    with progress_on_stderr(args.quiet) as progress:
        report = run(
            args.name,
            args.data,
            lift,
            model=name,
            detections=args.detections,
            preset=args.conventions,
            changes=args.changes,
            subjects=args.subjects,
            tell=progress,
        )
    print(report.markdown(), end="")
    for path in report.write(args.out) if args.out else ():
        print(path)
    return 0


# ----------------------------------------------------------------------- study, results, reproduce
def _add_study(verbs: Any) -> None:
    parser = add_verb(
        verbs,
        "study",
        _study,
        "train variants that differ in one thing, with several seeds, and judge them alike",
        "examples:\n"
        "  poselift study data clips.npz -o runs/data            # bodies, evolution, noise\n"
        "  poselift study mixers clips.npz -o runs/mixers        # do recurrent layers help?\n"
        "  poselift study data clips.npz -o runs/data --only small/base --train-only\n\n"
        "Stop it at any time; the same command goes on. Several processes can share the work\n"
        "with --only; the last one without it judges and writes the report.",
    )
    parser.add_argument("name", metavar="STUDY")
    parser.add_argument("pack", type=Path, help="made by `poselift mocap build`")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for runs and report")
    parser.add_argument("--only", nargs="+", default=[], metavar="VARIANT")
    parser.add_argument("--seeds", type=int, nargs="+", help="default: as the study says")
    parser.add_argument("--steps", type=int, help="instead of the study's")
    parser.add_argument("--train-only", action="store_true", help="do not judge yet")
    parser.add_argument("--device", default=None, help="cpu, cuda")
    _add_judging(parser)


def _study(args: argparse.Namespace) -> int:
    room = needs_torch("poselift.train.study")
    judge = needs_torch("poselift.train.judge")
    from poselift.report import Results

    study, pack, device = room.study_named(args.name), _pack(args.pack), _device(args)
    with training_on_stderr(args.steps or study.steps) as report:
        runs = room.train_study(
            study,
            pack,
            args.out,
            report,
            only=args.only,
            seeds=args.seeds,
            steps=args.steps,
            device=device,
        )
    if args.train_only:
        return 0
    args.tracks = args.tracks or list(study.tracks)
    results = Results()
    for variant, folders in runs.items():
        new = _judged(judge, [str(folder) for folder in folders], variant, pack, args)
        results = results.merged(new)
    _tell(room.as_study(study, results), args.out, study.question)
    return 0


def _add_results(verbs: Any) -> None:
    parser = add_verb(
        verbs,
        "results",
        _results,
        "judge every shipped lifter and baseline; rebuild docs/results.md, .json and pictures",
        "Numbers of lifters that are not shipped stay as they are in the JSON; those of studies\n"
        "come in with --add runs/data/report.json.",
    )
    parser.add_argument("pack", nargs="?", type=Path, help="made by `poselift mocap build`")
    parser.add_argument("-o", "--out", type=Path, default=Path("docs"))
    parser.add_argument("--add", nargs="+", type=Path, default=[], metavar="JSON")
    parser.add_argument(
        "--model", nargs="*", default=None, help="judge only these; none: only draw again"
    )
    _add_judging(parser)


def _results(args: argparse.Namespace) -> int:
    judge = needs_torch("poselift.train.judge")
    from poselift.report import Results, read_results

    _device(argparse.Namespace(threads=args.threads, device="cpu"))
    stored = args.out / "results.json"
    results = read_results(stored) if stored.exists() else Results()
    for path in args.add:
        results = results.merged(read_results(path))
    models = judge.known() if args.model is None else args.model
    if models:
        results = results.merged(_judged(judge, models, None, _pack(args.pack), args))
    _tell(results, args.out, "Results", name="results")
    return 0


def _add_reproduce(verbs: Any) -> None:
    parser = add_verb(
        verbs,
        "reproduce",
        _reproduce,
        "from motion capture to a trained lifter to a report, in one command",
        "tiny: a small Strided Transformer, minutes on two CPU cores. full: strided-27 as\n"
        "published, hours on a GPU. Stop it at any time; the same command goes on.",
    )
    parser.add_argument("mocap", type=Path, help="archives or folders, as for `mocap build`")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--preset", default="tiny", help="tiny or full")
    parser.add_argument("--device", default=None, help="cpu, cuda")
    _add_judging(parser)


def _reproduce(args: argparse.Namespace) -> int:
    room = needs_torch("poselift.train.study")
    judge = needs_torch("poselift.train.judge")
    loop = needs_torch("poselift.train.loop")
    from poselift.train.clips import build

    config = room.preset(args.preset)
    packed = args.out / "clips.npz"
    if not packed.exists():
        args.out.mkdir(parents=True, exist_ok=True)
        with progress_on_stderr(args.quiet) as progress:
            build(args.mocap, packed, progress=progress)
    pack = _pack(packed)
    run = loop.Run(config, pack, args.out / "run", _device(args))
    with training_on_stderr(config.steps) as report:
        run.run(report)
    models = [str(args.out / "run"), "mean-pose", "nearest"]
    results = _judged(judge, models, f"{args.preset}", pack, args)
    _tell(results, args.out, f"{config.lifter}, preset {args.preset}")
    return 0


# ------------------------------------------------------------------------------------------ ship
def _add_ship(verbs: Any) -> None:
    parser = add_verb(
        verbs, "ship", _ship, "export a run's best weights: half-precision ONNX + record"
    )
    parser.add_argument("run", type=Path, help="folder of a run of `poselift train`")
    parser.add_argument("pack", type=Path, help="made by `poselift mocap build`; measures it")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the two files")
    _add_judging(parser)


def _ship(args: argparse.Namespace) -> int:
    ship = needs_torch("poselift.train.ship")
    judge = needs_torch("poselift.train.judge")
    pack = _pack(args.pack)
    with progress_on_stderr(args.quiet) as progress:
        names = args.tracks or judge.ALL_TRACKS
        tracks = judge.tracks_of(pack, names, CACHE / judge.NAME, progress)
        path, results = ship.ship(args.run, pack, tracks, args.out, print, progress)
    _tell(results, None, "")
    print(path)
    return 0
