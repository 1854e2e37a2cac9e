"""One benchmark's results as tables and pictures want them: rows best first, tracks in order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from poselift.errors import InputError
from poselift.report.measures import HEADLINE, badness, label_order, track_order
from poselift.report.records import ALL, Cost, Record, Results


@dataclass(frozen=True, order=True)
class Runner:
    """A lifter in one mode: what stands in a row."""

    lifter: str
    mode: str


@dataclass(frozen=True)
class Board:
    """The results of one benchmark. Raises InputError where there are none."""

    results: Results
    benchmark: str

    def __post_init__(self) -> None:
        if not self._index:
            known = benchmarks(self.results)
            raise InputError(f"no records of {self.benchmark}", known=known)

    @cached_property
    def _index(self) -> dict[tuple[str, ...], Record]:
        return {record.key: record for record in self.results.select(benchmark=self.benchmark)}

    @cached_property
    def tracks(self) -> tuple[str, ...]:
        """All tracks in their usual order."""
        return tuple(sorted({record.track for record in self._index.values()}, key=track_order))

    @cached_property
    def headline(self) -> str:
        """The track that details are shown of: "real", else the first one."""
        return HEADLINE if HEADLINE in self.tracks else self.tracks[0]

    @cached_property
    def runners(self) -> tuple[Runner, ...]:
        """All rows; least MPJPE on the headline track first, those without one last."""
        every = {Runner(record.lifter, record.mode) for record in self._index.values()}
        return tuple(sorted(every, key=self._rank))

    def _rank(self, runner: Runner) -> tuple[bool, float, Runner]:
        found = self.get(runner, self.headline, "mpjpe_mm")
        return (found is None, found.value if found else 0.0, runner)

    def get(self, runner: Runner, track: str, metric: str, stratum: str = ALL) -> Record | None:
        """A record, None where it was not measured."""
        key = (runner.lifter, self.benchmark, track, runner.mode, stratum, metric)
        return self._index.get(key)

    def label(self, runner: Runner) -> str:
        """The lifter's name, with the mode where it comes in several."""
        alone = sum(other.lifter == runner.lifter for other in self.runners) == 1
        return runner.lifter if alone else f"{runner.lifter} ({runner.mode})"

    def cost(self, runner: Runner) -> Cost | None:
        """The cost of the row's lifter."""
        return self.results.cost(runner.lifter)

    def with_records(self, track: str, metric: str, stratum: str = ALL) -> tuple[Runner, ...]:
        """The rows that have that record, in order."""
        return tuple(r for r in self.runners if self.get(r, track, metric, stratum))

    def strata(self, track: str) -> dict[str, tuple[str, ...]]:
        """Kinds of strata on a track, joints not among them, and the labels of each."""
        out: dict[str, dict[str, None]] = {}
        for record in self._index.values():
            kind, _, label = record.stratum.partition(":")
            if record.track == track and label and kind != "joint":
                out.setdefault(kind, {})[label] = None
        return {
            kind: tuple(sorted(labels, key=label_order)) for kind, labels in sorted(out.items())
        }


def best(records: Iterable[Record | None]) -> tuple[Record, ...]:
    """The best of a column, several where they tie; none where nothing is judged."""
    known = [record for record in records if record is not None]
    ranks = [badness(record.metric, record.value) for record in known]
    if len(set(ranks)) < 2:
        return ()
    return tuple(r for r, rank in zip(known, ranks, strict=True) if rank == min(ranks))


def benchmarks(results: Results) -> Sequence[str]:
    """Names of all benchmarks."""
    return sorted({record.benchmark for record in results.records})
