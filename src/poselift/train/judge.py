"""The judge: lifters by name on the tracks of the open benchmark, to records and costs.

A lifter is a shipped one, one by the path of its weights, a baseline, or one or several runs of
training, which are then the seeds of one lifter. Runs are exported and judged through onnxruntime,
as the product would run them. `river-nano@4`, or `runs/a@4`, is judged live, 4 frames late.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from poselift.errors import InputError
from poselift.evaluate import Clip, Lift, evaluate
from poselift.models import LIFTERS, LifterInfo, build, info, load, weights_record
from poselift.models.intake import DELAYS
from poselift.models.lifter import Lifter
from poselift.models.network import Network
from poselift.models.river import River
from poselift.models.river_lifter import RiverLifter
from poselift.report import Cost, Results, to_records
from poselift.train import baselines, cost
from poselift.train.batches import Motions
from poselift.train.live import LiveLifter
from poselift.train.openbench import NAME, TRACKS, load_or_make
from poselift.train.pack import Pack
from poselift.train.rendered import BLAZEPOSE, blazepose_lift, rendered_clips
from poselift.train.runs import (
    is_run,
    network,
    on_axis,
    product_network,
    write_card,
    write_graphs,
)

RENDERED = "rendered"
ALL_TRACKS = (*(track for track in TRACKS if track != "cross-corpus"), RENDERED, "cross-corpus")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Contender:
    """Who is judged: one lift per seed, and what it costs where that is known.

    only: the tracks that it can be asked about, where it is not all. mode: how it is run.
    """

    name: str
    lifts: tuple[Lift, ...]
    cost: Callable[[], Cost] | None = None
    only: tuple[str, ...] = ALL_TRACKS
    mode: str = "offline"


def contender(model: str, pack: Pack | None) -> Contender:
    """A baseline, a competitor or a shipped lifter by name, weights by path; live with `@DELAY`.

    Raises UnknownNameError, WeightsError, InputError.
    """
    base, at, late = model.rpartition("@")
    if at and late.isdecimal():
        return _live(base, late)
    if model == BLAZEPOSE:
        return Contender(model, (blazepose_lift,), only=(RENDERED,))
    if model in baselines.NAMES:
        if pack is None:
            raise InputError(model, expected="a pack, whose training poses it is made of")
        motions = Motions(pack, "train", torch.device("cpu"))
        return of_lifters(model, [baselines.baseline(model, motions)], None)
    lifter = load(model, threads=1)
    name = model if model in LIFTERS else lifter.info.name
    return of_lifters(name, [lifter], _network_of(model))


def _network_of(model: str) -> Network | River | None:
    """The network of a lifter by name, for counting."""
    record = weights_record(model) or {}
    if not info(model).target:
        return None
    return build(model, **record.get("training", {}).get("network", {}))


def _live(base: str, late: str) -> Contender:
    """A stream of a lifter by name or path, or of a run, that answers `late` frames late."""
    if late not in [str(delay) for delay in DELAYS]:
        raise InputError("frames that a stream comes late", found=late, known=DELAYS)
    if is_run(Path(base)):
        model, record, _ = product_network(Path(base))
        with TemporaryDirectory() as folder:
            path = _exported(model, record, Path(folder))
            lifter = LiveLifter.load(str(path), int(late))
    else:
        lifter, model = LiveLifter.load(base, int(late)), _network_of(base)
    name = f"{lifter.info.name}@{late}"

    def price() -> Cost:
        return Cost(
            lifter=name,
            parameters=lifter.info.parameters,
            macs_per_frame=cost.macs_per_step(model) if isinstance(model, River) else 0,
            ms_per_frame=cost.ms_per_step(lifter.network),
            threads=1,
            receptive_frames=lifter.info.frames,
        )

    return Contender(name, (lifter,), price, mode=f"live, {late} frames late")


def of_lifters(
    name: str, lifters: Sequence[Lifter | RiverLifter], model: Network | River | None
) -> Contender:
    """Lifters of one kind, one per seed. Their network, for counting; its weights do not matter."""
    first = lifters[0]

    def price() -> Cost:
        return Cost(
            lifter=name,
            parameters=cost.parameters(model) if model else first.info.parameters,
            macs_per_frame=(
                cost.macs_per_frame(model, first.info) if model else first.info.macs_per_frame
            ),
            ms_per_frame=(
                cost.ms_per_frame(first.run, first.info)
                if isinstance(first, Lifter)
                else cost.ms_per_frame_of_clip(first.run)
            ),
            threads=1,
            receptive_frames=first.info.frames,
        )

    return Contender(name, tuple(lifters), price)


def contender_from_runs(runs: Sequence[Path], name: str | None = None) -> Contender:
    """Runs of one configuration as the seeds of one lifter, exported to ONNX on the way."""
    if not runs:
        raise InputError("runs", expected="at least one", found="none")
    lifters, model = [], None
    with TemporaryDirectory() as folder:
        for number, run in enumerate(runs):
            model, record, facts = network(run)
            lifter = load(_exported(model, record, Path(folder) / f"{number}"), threads=1)
            if isinstance(lifter, RiverLifter):
                lifter.options = replace(lifter.options, on_axis=on_axis(facts))
            lifters.append(lifter)
    return of_lifters(name or lifters[0].info.name, lifters, model)


def _exported(model: Network | River, record: LifterInfo, folder: Path) -> Path:
    """Weights in a folder; the path by which they are loaded."""
    folder.mkdir(parents=True, exist_ok=True)
    card, _ = write_graphs(model, record, folder, half=False)
    return write_card(card, folder)


def tracks_of(
    pack: Pack | None, names: Iterable[str], cache: Path, progress: Progress
) -> tuple[dict[str, list[Clip]], dict[str, str]]:
    """Clips of tracks by name, and for the head of a report the hashes of those that are made.

    All but `rendered` are made from the pack.

    Raises InputError where the pack is missing, UnknownNameError.
    """
    out: dict[str, list[Clip]] = {}
    hashes: dict[str, str] = {}
    made = [name for name in names if name != RENDERED]
    if made and pack is None:
        raise InputError(f"tracks {', '.join(made)}", expected="a pack, of which they are made")
    if made and pack is not None:
        found = load_or_make(pack, cache, made, progress)
        out = {name: data.clips() for name, data in found.items()}
        hashes = {f"{NAME} {name}": f"SHA-256 {data.digest()}" for name, data in found.items()}
    if RENDERED in names:
        out[RENDERED] = rendered_clips()
    return {name: out[name] for name in names}, hashes


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
            mode=who.mode,
            command=command,
        )
    return Results(tuple(records), (who.cost(),) if who.cost else ())


def known() -> list[str]:
    """Everybody who can be judged without a run: shipped lifters and baselines."""
    return [*(name for name in LIFTERS if weights_record(name)), *baselines.NAMES, BLAZEPOSE]
