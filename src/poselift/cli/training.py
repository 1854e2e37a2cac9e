"""Verbs of training: mocap, train, study, reproduce, ship."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from poselift.cli.judging import CACHE, add_judging, judged, read_pack, tell
from poselift.cli.verbs import add_machine, add_verb, device_of, needs_torch
from poselift.errors import InputError
from poselift.progress import progress_on_stderr, training_on_stderr


def add_all(verbs: Any) -> None:
    """Add these verbs to a parser."""
    for add in (_add_mocap, _add_train, _add_study, _add_reproduce, _add_ship):
        add(verbs)


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
    parser.add_argument(
        "--optimizer", metavar="NAME", help="adamw (default), or muon for networks of blocks"
    )
    parser.add_argument(
        "--decay",
        dest="decay_share",
        type=float,
        metavar="SHARE",
        help="of the steps, at the end, in which the rate falls to zero (0.3)",
    )
    parser.add_argument("--seed", type=int)
    parser.add_argument(
        "--start-from",
        dest="start_from",
        metavar="RUN",
        help="another run, or a lifter that ships its network (river-small), whose weights come "
        "first; a smaller river grows into a larger one",
    )
    parser.add_argument("--validate-every", dest="validate_every", type=int, help="steps")
    parser.add_argument(
        "--lengths",
        nargs="+",
        type=_length,
        metavar="SHARE:FRAMES",
        help="of river: how long clips are from which share of the run on (0:9 0.3:27 0.8:81)",
    )
    parser.add_argument(
        "--teach",
        nargs="+",
        metavar="NAME=VALUE",
        help="of river: how much of what is taught (both_ways=0 detector=coco17 taught=0.5)",
    )
    parser.add_argument(
        "--set", dest="network", nargs="+", metavar="NAME=VALUE", help="the network's own options"
    )
    parser.add_argument(
        "--fp32",
        dest="bf16",
        action="store_false",
        default=None,
        help="not bf16, which is used where the machine has it",
    )
    parser.add_argument(
        "--compile", dest="compiled", action="store_true", default=None, help="blocks, for speed"
    )
    parser.add_argument("--minutes", type=float, help="stop after so long; the run can go on later")
    add_machine(parser)


def _train(args: argparse.Namespace) -> int:
    loop = needs_torch("poselift.train.loop")
    args.network = _values("--set", args.network)
    names = {option.name for option in fields(loop.TrainConfig)}
    given = {n: v for n, v in vars(args).items() if n in names and v not in (None, {})}
    flow = _values("--teach", args.teach)
    known = {option.name for option in fields(loop.FlowConfig)} - {"lengths"}
    if unknown := flow.keys() - known:
        raise InputError("--teach", found=", ".join(sorted(unknown)), known=sorted(known))
    if args.lengths:
        flow["lengths"] = tuple(args.lengths)
    given["flow"] = loop.FlowConfig(**flow)
    run = loop.Run(loop.TrainConfig(**given), args.pack, args.out, device_of(args))
    with training_on_stderr(run.config.steps) as report:
        run.run(report, minutes=args.minutes)
    print(f"{args.out}: step {run.step}, best validation error {1e3 * run.best_m:.1f} mm")
    return 0


def _length(word: str) -> tuple[float, int]:
    """SHARE:FRAMES."""
    share, _, frames = word.partition(":")
    try:
        return float(share), int(frames)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected SHARE:FRAMES, such as 0.3:27, found {word}"
        ) from None


def _values(option: str, words: Sequence[str] | None) -> dict[str, Any]:
    """NAME=VALUE with numbers, true and false, lists in JSON, or else text."""
    out = {}
    for word in words or ():
        name, equals, text = word.partition("=")
        if not equals:
            raise InputError(option, expected="NAME=VALUE", found=word)
        try:
            out[name] = json.loads(text)
        except json.JSONDecodeError:
            out[name] = text
    return out


# ------------------------------------------------------------------------------ study, reproduce
def _add_study(verbs: Any) -> None:
    parser = add_verb(
        verbs,
        "study",
        _study,
        "train variants that differ in one thing, with several seeds, and judge them alike",
        "examples:\n"
        "  poselift study data clips.npz -o runs/data            # bodies, evolution, noise\n"
        "  poselift study survey clips.npz -o runs/survey        # all systems, the same windows\n"
        "  poselift study time clips.npz -o runs/time            # all systems, the same time\n"
        "  poselift study mixers clips.npz -o runs/mixers        # do recurrent layers help?\n"
        "  poselift study river clips.npz -o runs/river          # what river's parts bring\n"
        "  poselift study full clips.npz -o runs/full --only strided-351 --device cuda\n"
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
    parser.add_argument("--batch", type=int, help="windows per step, instead of the study's")
    parser.add_argument("--train-only", action="store_true", help="do not judge yet")
    parser.add_argument("--device", default=None, help="cpu, cuda")
    add_judging(parser)


def _study(args: argparse.Namespace) -> int:
    room = needs_torch("poselift.train.study")
    judge = needs_torch("poselift.train.judge")
    from poselift.report import Results

    study, pack, device = room.study_named(args.name), read_pack(args.pack), device_of(args)
    with training_on_stderr(args.steps or study.steps) as report:
        runs = room.train_study(
            study,
            pack,
            args.out,
            report,
            only=args.only,
            seeds=args.seeds,
            steps=args.steps,
            batch=args.batch,
            device=device,
        )
    if args.train_only:
        return 0
    args.tracks = args.tracks or list(study.tracks)
    results = Results()
    for variant, folders in runs.items():
        new = judged(judge, [str(folder) for folder in folders], variant, pack, args)
        results = results.merged(new)
    tell(room.as_study(study, results), args.out, study.question)
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
    add_judging(parser)


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
    pack = read_pack(packed)
    run = loop.Run(config, pack, args.out / "run", device_of(args))
    with training_on_stderr(config.steps) as report:
        run.run(report)
    models = [str(args.out / "run"), "mean-pose", "nearest"]
    results = judged(judge, models, f"{args.preset}", pack, args)
    tell(results, args.out, f"{config.lifter}, preset {args.preset}")
    return 0


# ------------------------------------------------------------------------------------------ ship
def _add_ship(verbs: Any) -> None:
    parser = add_verb(
        verbs, "ship", _ship, "export a run's best weights: half-precision ONNX + record"
    )
    parser.add_argument("run", type=Path, help="folder of a run of `poselift train`")
    parser.add_argument("pack", type=Path, help="made by `poselift mocap build`; measures it")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the two files")
    add_judging(parser)


def _ship(args: argparse.Namespace) -> int:
    ship = needs_torch("poselift.train.ship")
    judge = needs_torch("poselift.train.judge")
    pack = read_pack(args.pack)
    with progress_on_stderr(args.quiet) as progress:
        names = args.tracks or judge.ALL_TRACKS
        tracks, _ = judge.tracks_of(pack, names, CACHE / judge.NAME, progress)
        path, results = ship.ship(args.run, pack, tracks, args.out, print, progress)
    tell(results, None, "")
    print(path)
    return 0
