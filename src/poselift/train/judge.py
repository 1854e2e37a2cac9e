"""The judge: lifters by name on the tracks of the open benchmark, to records and costs.

A lifter is a shipped one, a baseline, or one or several runs of training, which are then the seeds
of one lifter. Runs are exported and judged through onnxruntime, as the product would run them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from poselift.errors import InputError
from poselift.evaluate import Clip, Lift, evaluate
from poselift.models import LIFTERS, build, load, weights_record
from poselift.models.lifter import Lifter
from poselift.models.network import Network
from poselift.report import Cost, Results, to_records
from poselift.train import baselines, cost
from poselift.train.batches import Motions
from poselift.train.openbench import NAME, TRACKS, load_or_make
from poselift.train.pack import Pack
from poselift.train.rendered import BLAZEPOSE, blazepose_lift, rendered_clips
from poselift.train.runs import export, network

RENDERED = "rendered"
ALL_TRACKS = (*(track for track in TRACKS if track != "cross-corpus"), RENDERED, "cross-corpus")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Contender:
    """Who is judged: one lift per seed, and what it costs where that is known.

    only: the tracks that it can be asked about, where it is not all.
    """

    name: str
    lifts: tuple[Lift, ...]
    cost: Callable[[], Cost] | None = None
    only: tuple[str, ...] = ALL_TRACKS


def contender(model: str, pack: Pack | None) -> Contender:
    """A baseline, a competitor or a shipped lifter by name.

    Raises UnknownNameError, WeightsError, InputError.
    """
    if model == BLAZEPOSE:
        return Contender(model, (blazepose_lift,), only=(RENDERED,))
    if model in baselines.NAMES:
        if pack is None:
            raise InputError(model, expected="a pack, whose training poses it is made of")
        motions = Motions(pack, "train", torch.device("cpu"))
        return of_lifters(model, [baselines.baseline(model, motions)], None)
    lifter = load(model, threads=1)
    record = weights_record(model) or {}
    has_network = lifter.info.target
    network = build(model, **record["training"]["network"]) if has_network else None
    return of_lifters(model, [lifter], network)


def of_lifters(name: str, lifters: Sequence[Lifter], model: Network | None) -> Contender:
    """Lifters of one kind, one per seed. Their network, for counting; its weights do not matter."""
    first = lifters[0]

    def price() -> Cost:
        return Cost(
            lifter=name,
            parameters=cost.parameters(model) if model else first.info.parameters,
            macs_per_frame=cost.macs_per_frame(model, first.info) if model else 0.0,
            ms_per_frame=cost.ms_per_frame(first.run, first.info),
            threads=1,
            receptive_frames=first.info.frames,
        )

    return Contender(name, tuple(lifters), price)


def contender_from_runs(runs: Sequence[Path], name: str | None = None) -> Contender:
    """Runs of one configuration as the seeds of one lifter, exported to ONNX on the way."""
    lifters, model, record = [], None, None
    with TemporaryDirectory() as folder:
        for run in runs:
            model, record, _ = network(run)
            path = Path(folder) / "run.onnx"
            export(model, record, path, half=False)
            lifters.append(Lifter.from_onnx(path.read_bytes(), record, threads=1))
    if model is None or record is None:
        raise InputError("runs", expected="at least one", found="none")
    return of_lifters(name or record.name, lifters, model)


def tracks_of(
    pack: Pack | None, names: Iterable[str], cache: Path, progress: Progress
) -> dict[str, list[Clip]]:
    """Clips of tracks by name; all but `rendered` are made from the pack.

    Raises InputError where the pack is missing, UnknownNameError.
    """
    out: dict[str, list[Clip]] = {}
    made = [name for name in names if name != RENDERED]
    if made and pack is None:
        raise InputError(f"tracks {', '.join(made)}", expected="a pack, of which they are made")
    if made and pack is not None:
        found = load_or_make(pack, cache, made, progress)
        out = {name: data.clips() for name, data in found.items()}
    if RENDERED in names:
        out[RENDERED] = rendered_clips()
    return {name: out[name] for name in names}


def digests(pack: Pack | None, names: Iterable[str], cache: Path) -> dict[str, str]:
    """SHA-256 of the tracks that are made, for the head of a report."""
    made = [name for name in names if name != RENDERED]
    if not made or pack is None:
        return {}
    found = load_or_make(pack, cache, made, lambda *_: None)
    return {f"{NAME} {name}": f"SHA-256 {data.digest()}" for name, data in found.items()}


def judge(
    who: Contender, tracks: Mapping[str, Sequence[Clip]], progress: Progress, command: str = ""
) -> Results:
    """Every metric of a lifter on every track that it can be asked about, and its cost."""
    records = []
    for name, clips in tracks.items():
        if name not in who.only:
            continue
        runs = []
        for number, lift in enumerate(who.lifts, start=1):
            label = f"{who.name}, {name}" + (f", seed {number}" if len(who.lifts) > 1 else "")
            runs.append(
                evaluate(lift, clips, lambda done, of, label=label: progress(label, done, of))
            )
        records += to_records(
            runs,
            lifter=who.name,
            benchmark=NAME,
            track=name,
            mode="offline",
            command=command,
        )
    return Results(tuple(records), (who.cost(),) if who.cost else ())


def known() -> list[str]:
    """Everybody who can be judged without a run: shipped lifters and baselines."""
    return [*(name for name in LIFTERS if weights_record(name)), *baselines.NAMES, BLAZEPOSE]
