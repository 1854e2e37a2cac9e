"""Results as Markdown: tables of every metric with intervals, costs, meanings and commands."""

from collections.abc import Iterable, Mapping, Sequence

from poselift.report.board import Board, benchmarks, best
from poselift.report.measures import METRICS, large, metric
from poselift.report.records import Record, Results

OVERVIEW = ("mpjpe_mm", "p_mpjpe_mm")
GROUPS = ("position", "motion", "angles", "uncertainty")
_SIGN = {
    "lower": "lower is better",
    "higher": "higher is better",
    "claim": "nearer to the claim is better",
    "neither": "",
}
_NOTE = (
    "Square brackets: 95 % interval by bootstrap over clips (and over training seeds where there "
    "are several). Bold: the best of a column. —: not measured."
)


def report(results: Results, title: str, pictures: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """The whole report. pictures: benchmark to (file name, caption)."""
    facts = "\n".join(f"- {name}: {text}" for name, text in sorted(results.meta.items()))
    parts = [f"# {title}", facts, _NOTE]
    for name in benchmarks(results):
        board = Board(results, name)
        parts += [f"## {name}", *(overview(board, each) for each in OVERVIEW)]
        parts += [f"![{caption}]({file})" for file, caption in pictures.get(name, ())]
        parts += [track_tables(board, track) for track in board.tracks]
        parts.append(strata_tables(board, board.headline))
    parts += [cost_table(results), meanings(results), commands(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def overview(board: Board, name: str) -> str:
    """One metric: a row for every lifter, a column for every track. Empty without records."""
    rows = [[board.get(runner, track, name) for track in board.tracks] for runner in board.runners]
    if not any(any(row) for row in rows):
        return ""
    labels = [board.label(runner) for runner in board.runners]
    what = metric(name)
    head = ", ".join(text for text in (what.unit, _SIGN[what.better]) if text)
    return f"### {what.title} by track ({head})\n\n" + _table(board.tracks, labels, rows)


def track_tables(board: Board, track: str) -> str:
    """All metrics of one track: a table for each group of metrics that has records."""
    runners = [r for r in board.runners if any(board.get(r, track, name) for name in METRICS)]
    clips = {record.value for r in runners if (record := board.get(r, track, "clips"))}
    count = f" ({min(clips):.0f} clips)" if len(clips) == 1 else ""
    parts = [f"### Track {track}{count}"]
    for group in GROUPS:
        names = [name for name, each in METRICS.items() if each.group == group]
        names = [name for name in names if any(board.get(r, track, name) for r in runners)]
        rows = [[board.get(runner, track, name) for name in names] for runner in runners]
        kept = [number for number, row in enumerate(rows) if any(row)]
        if kept:
            labels = [board.label(runners[number]) for number in kept]
            heads = [METRICS[name].head for name in names]
            parts.append(_table(heads, labels, [rows[number] for number in kept]))
    return "\n\n".join(parts)


def strata_tables(board: Board, track: str, name: str = "mpjpe_mm") -> str:
    """One metric by strata: a table for each kind, a column for each label. Empty without any."""
    parts = []
    for kind, labels in board.strata(track).items():
        strata = [f"{kind}:{label}" for label in labels]
        runners = [r for r in board.runners if any(board.get(r, track, name, s) for s in strata)]
        rows = [[board.get(runner, track, name, s) for s in strata] for runner in runners]
        heads = [_counted(board, track, kind, label) for label in labels]
        rows_text = _table(heads, [board.label(runner) for runner in runners], rows)
        parts.append(f"By {kind}:\n\n{rows_text}")
    title = f"### {metric(name).head} by strata of {track}"
    return "\n\n".join([title, *parts]) if parts else ""


def cost_table(results: Results) -> str:
    """What every lifter costs. Empty without costs."""
    if not results.costs:
        return ""
    heads = (
        "lifter",
        "parameters",
        "multiply-adds per frame",
        "ms per frame",
        "threads",
        "frames seen",
    )
    rows = [
        (
            *(cost.lifter, f"{cost.parameters:,}", large(cost.macs_per_frame)),
            *(f"{cost.ms_per_frame:.3g}", f"{cost.threads}", f"{cost.receptive_frames}"),
        )
        for cost in results.costs
    ]
    return "## Cost\n\n" + _lines(heads, rows)


def meanings(results: Results) -> str:
    """What the metrics mean, those that occur."""
    used = {record.metric for record in results.records}
    rows = [
        (f"`{name}`", each.unit, _SIGN[each.better], each.meaning)
        for name, each in METRICS.items()
        if name in used
    ]
    heads = ("name", "unit", "", "meaning")
    return "## Metrics\n\n" + _lines(heads, rows, numbers=False) if rows else ""


def commands(results: Results) -> str:
    """The commands that make the numbers. Empty where records name none."""
    known = dict.fromkeys(record.command for record in results.records if record.command)
    return "## Commands\n\n```sh\n" + "\n".join(known) + "\n```" if known else ""


def cell(record: Record | None, bold: bool = False) -> str:
    """A value with its interval: `45.2 [44.0, 46.5]`; the interval is left out where it is none."""
    if record is None:
        return "—"
    decimals = metric(record.metric).decimals
    value, low, high = (
        f"{number:.{decimals}f}" for number in (record.value, record.low, record.high)
    )
    value = f"**{value}**" if bold else value
    return value if record.low == record.high else f"{value} [{low}, {high}]"


def _counted(board: Board, track: str, kind: str, label: str) -> str:
    found = (board.get(r, track, "clips", f"{kind}:{label}") for r in board.runners)
    counts = {record.value for record in found if record}
    return f"{label} (n = {min(counts):.0f})" if len(counts) == 1 else label


def _table(
    heads: Sequence[str], labels: Sequence[str], rows: Sequence[Sequence[Record | None]]
) -> str:
    winners = {record.key for column in zip(*rows, strict=True) for record in best(column)}
    text = [
        (label, *(cell(record, bool(record and record.key in winners)) for record in row))
        for label, row in zip(labels, rows, strict=True)
    ]
    return _lines(("lifter", *heads), text)


def _lines(heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = True) -> str:
    """A table; all columns but the first stand to the right where they hold numbers."""
    rule = ["---"] + ["---:" if numbers else "---"] * (len(heads) - 1)
    lines = [heads, rule, *rows]
    return "\n".join("| " + " | ".join(_escaped(text) for text in line) + " |" for line in lines)


def _escaped(text: str) -> str:
    return text.replace("|", r"\|")
