"""Verbs of judging: evaluate, protocol, results."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from poselift.cli.verbs import add_verb, needs_torch, set_threads
from poselift.progress import progress_on_stderr

_DETAILED = ("real", "rendered")  # tracks that docs/results.json has strata and joints of
CACHE = Path("~/.cache/poselift").expanduser()


def add_all(verbs: Any) -> None:
    """Add these verbs to a parser."""
    for add in (_add_evaluate, _add_protocol, _add_results):
        add(verbs)


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
        "  poselift evaluate clips.npz --model weights/x.onnx  # see import-weights, ship\n"
        "  poselift evaluate clips.npz --model river@0 runs/a@2  # live, so many frames late\n"
        "  poselift evaluate --tracks rendered               # needs no pack\n\n"
        "Tracks and metrics: docs/benchmark.md. Writes JSON, Markdown and pictures with -o.",
    )
    parser.add_argument("pack", nargs="?", type=Path, help="made by `poselift mocap build`")
    parser.add_argument(
        "--model", nargs="+", default=[], help="shipped, baseline, run folders, or weights"
    )
    parser.add_argument("--name", help="what runs are called in the report")
    add_judging(parser)
    parser.add_argument("-o", "--out", type=Path, help="folder for the report")


def add_judging(parser: argparse.ArgumentParser) -> None:
    """The flags of every verb that judges."""
    parser.add_argument("--tracks", nargs="+", help="default: all that can be had")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--threads", type=int)


def _evaluate(args: argparse.Namespace) -> int:
    judge = needs_torch("poselift.train.judge")
    from poselift.models import DEFAULT

    set_threads(args.threads)
    pack = read_pack(args.pack)
    results = judged(judge, args.model or [DEFAULT], args.name, pack, args)
    tell(results, args.out, f"Evaluation on {judge.NAME}")
    return 0


def read_pack(path: Path | None) -> Any:
    """The pack in a file, None without a file."""
    return needs_torch("poselift.train.pack").read_pack(path) if path else None


def judged(
    judge: Any, models: Sequence[str], name: str | None, pack: Any, args: argparse.Namespace
) -> Any:
    """Results of all models: runs together are one lifter, names and weights one each."""
    from poselift.models.stored import is_stored
    from poselift.report import Results

    names = args.tracks or (judge.ALL_TRACKS if pack else [judge.RENDERED])
    runs = [Path(model) for model in models if Path(model).is_dir() and not is_stored(model)]
    named = [model for model in models if Path(model) not in runs]
    results = Results()
    with progress_on_stderr(args.quiet) as progress:
        tracks, meta = judge.tracks_of(pack, names, CACHE / judge.NAME, progress)
        who = {" ".join(map(str, runs)): judge.contender_from_runs(runs, name)} if runs else {}
        for model, each in (who | {model: judge.contender(model, pack) for model in named}).items():
            command = f"poselift evaluate clips.npz --model {model}"
            results = results.merged(judge.judge(each, tracks, progress, command))
    return replace(results, meta={**results.meta, **meta})


def tell(results: Any, out: Path | None, title: str, name: str = "report") -> None:
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
    parser.add_argument("--model", help="shipped, weights, the folder of a run, or truth")
    parser.add_argument("-o", "--out", type=Path, help="folder for the table (.md, .json)")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def _protocol(args: argparse.Namespace) -> int:
    from poselift.models import DEFAULT, load
    from poselift.models.stored import is_stored
    from poselift.protocols import run

    name = args.model or DEFAULT
    if name == "truth":
        lift = None
    elif Path(name).is_dir() and not is_stored(name):
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


# --------------------------------------------------------------------------------------- results
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
    add_judging(parser)


def _results(args: argparse.Namespace) -> int:
    judge = needs_torch("poselift.train.judge")
    from poselift.report import Results, read_results

    set_threads(args.threads)
    stored = args.out / "results.json"
    results = read_results(stored) if stored.exists() else Results()
    for path in args.add:
        results = _renewed(results, read_results(path))
    models = judge.known() if args.model is None else args.model
    if models:
        results = _renewed(results, judged(judge, models, None, read_pack(args.pack), args))
    tell(_essential(results), args.out, "Results", name="results")
    return 0


def _renewed(old: Any, new: Any) -> Any:
    """Both, without what the old ones say of a lifter on a track that the new ones judge anew."""
    judged_anew = {(r.lifter, r.benchmark, r.track) for r in new.records}
    kept = (r for r in old.records if (r.lifter, r.benchmark, r.track) not in judged_anew)
    return replace(old, records=tuple(kept)).merged(new)


def _essential(results: Any) -> Any:
    """Results without the details of most tracks, which would make the file many megabytes."""

    def kept(record: Any) -> bool:
        detail = record.stratum != "all" or record.metric.startswith("pck_")
        return record.track in _DETAILED or not detail or record.metric == "pck_150"

    return replace(results, records=tuple(r for r in results.records if kept(r)))
