"""Whole reports: what the Markdown says, what the pictures show, what is written."""

import re
import sys

import numpy as np
import pytest

from poselift.errors import MissingExtraError, OutputError
from poselift.report import Results, read_results, write_report
from poselift.report.board import Board
from poselift.report.markdown import cell, overview, report, strata_tables
from poselift.report.measures import METRICS

from .madeup import BENCHMARK, record, results


@pytest.fixture
def plots():
    pytest.importorskip("matplotlib", reason="matplotlib is in the extra report")
    from poselift.report import plots

    return plots


def rows(table: str) -> dict[str, list[str]]:
    """First cell to the others, of every line of a table."""
    lines = [line.strip("| ").split(" | ") for line in table.split("\n") if line.startswith("|")]
    return {line[0]: line[1:] for line in lines}


def test_the_overview():
    table = overview(Board(results(), BENCHMARK), "mpjpe_mm")
    assert table.startswith("### MPJPE by track (mm, lower is better)\n\n| lifter | clean | real |")
    assert rows(table) == {
        "lifter": ["clean", "real"],
        "---": ["---:", "---:"],
        "a (offline)": ["**20.0** [19.0, 21.0]", "**40.0** [39.0, 41.0]"],
        "a (live)": ["22.0 [21.0, 23.0]", "44.0 [43.0, 45.0]"],
        "b": ["30.0 [29.0, 31.0]", "60.0 [59.0, 61.0]"],
    }
    assert overview(Board(results(), BENCHMARK), "root_mm") == ""


def test_strata_are_counted():
    table = strata_tables(Board(results(), BENCHMARK), "real")
    assert rows(table)["lifter"] == ["slow (n = 30)", "fast (n = 50)"]
    assert rows(table)["b"] == ["90.0 [89.0, 91.0]", "110.0 [109.0, 111.0]"]


def test_cells():
    assert cell(None) == "—"
    assert cell(record(value=40.0, low=40.0, high=40.0)) == "40.0"
    assert cell(record(metric="mpjve_mm_s", value=212.34)) == "212 [211, 213]"


def test_the_whole_text():
    command = "poselift evaluate x | tee y"
    extra = record("c|d", value=70.0, command=command)
    text = report(results().merged(Results((extra,))), "Title", {BENCHMARK: [("p.png", "P")]})
    assert text.startswith("# Title\n\n- poselift: 0.2\n")
    assert "![P](p.png)" in text
    assert "### Track real (80 clips)\n" in text
    assert r"| c\|d |" in text
    assert "| a | 1,234,567 | 2.5 M | 0.4 | 1 | 81 |" in text
    assert METRICS["angle_deg"].meaning in text
    assert METRICS["root_mm"].meaning not in text  # nobody has it
    assert text.endswith(f"## Commands\n\n```sh\n{command}\n```\n")
    for table in re.findall(r"(?:^\|.*\|\n?)+", text, flags=re.M):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.strip().split("\n")}
        assert len(widths) == 1, table


def test_an_empty_report_is_a_report(tmp_path):
    written = write_report(tmp_path, Results(), "Nothing", pictures=False)
    assert [path.name for path in written] == ["report.json", "report.md"]
    assert written[1].read_text(encoding="utf-8").startswith("# Nothing\n")


def test_a_report_on_disk(tmp_path, plots):
    written = write_report(tmp_path / "out", results(), "Results", name="results")
    names = [path.name for path in written]
    pictures = [f"results-{name}.png" for name in plots.PLOTS if name != "delay"]
    assert names == ["results.json", *pictures, "results.md"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    assert read_results(written[0]) == results()
    shown = re.findall(r"!\[.*\]\((.*)\)", written[-1].read_text(encoding="utf-8"))
    assert shown == pictures
    for path in written[1:-1]:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size < 150_000
    before = {path.name: path.read_bytes() for path in written}
    again = write_report(tmp_path / "out", results(), "Results", name="results")
    assert {path.name: path.read_bytes() for path in again} == before


def test_several_benchmarks_do_not_share_pictures(tmp_path, plots):
    other = [record("a", value=50.0, benchmark="Human3.6M", track="gt")]
    written = write_report(tmp_path, results().merged(Results(tuple(other))), "Both")
    names = {path.name for path in written}
    assert {"report-open-v1-tracks.png", "report-human3-6m-tracks.png"} <= names
    text = written[-1].read_text(encoding="utf-8")
    assert (
        text.index("## Human3.6M") < text.index("human3-6m-tracks.png") < text.index("## open-v1")
    )


def test_pictures_show_the_numbers(plots):
    board = Board(results(), BENCHMARK)
    figures = plots.draw(board)
    assert list(figures) == [name for name in plots.PLOTS if name != "delay"]
    bars = figures["joints"].axes[0].containers[0]
    assert [bar.get_height() for bar in bars] == [40 + 4, 40 + 10, 40 + 9]  # nose, knees
    assert [text.get_text() for text in figures["joints"].axes[0].get_xticklabels()] == [
        *("nose", "right knee", "left knee"),
    ]
    ticks = [text.get_text() for text in figures["strata"].axes[0].get_xticklabels()]
    assert ticks == ["slow", "fast"]
    line = figures["reliability"].axes[0].lines[0]
    np.testing.assert_allclose(line.get_ydata(), 0.9 * line.get_xdata())
    first, second = figures["cost"].axes
    assert {text.get_text() for text in first.texts} == {"a (offline)", "a (live)", "b"}
    assert first.get_xscale() == second.get_xscale() == "log"
    legend = [text.get_text() for text in figures["tracks"].legends[0].get_texts()]
    assert legend == ["a (offline)", "a (live)", "b"]


def test_error_by_delay_ends_with_the_whole_clip(plots):
    late = {0: 47.0, 4: 42.0, 2: 44.0}
    rows = [
        record(f"a@{delay}", value=value, mode=f"live, {delay} frames late")
        for delay, value in late.items()
    ]
    board = Board(results().merged(Results(tuple(rows))), BENCHMARK)
    axes = plots.draw(board)["delay"].axes[0]
    (line,), tracks = axes.get_legend_handles_labels()
    assert tracks == ["real"]  # on the track clean nobody was judged live
    np.testing.assert_array_equal(line.get_ydata(), [47, 44, 42, 40])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "2", "4", "whole clip"]


def test_what_is_not_known_is_not_drawn(plots):
    bare = Results((record("a", value=50.0), record("b", value=60.0, track="hard")))
    assert list(plots.draw(Board(bare, BENCHMARK))) == ["tracks"]


def test_names_cover_neither_points_nor_each_other(plots):
    """Twelve lifters that cost and err almost the same."""
    from poselift.report.canvas import new_figure, style
    from poselift.report.labels import overlap, place_labels

    random = np.random.default_rng(0)
    points = [(float(x), float(y)) for x, y in random.uniform(0.4, 0.6, (12, 2))]
    with style():
        figure = new_figure(6, 4.5)
        axes = figure.add_subplot()
        axes.set(xlim=(0, 1), ylim=(0, 1))
        names = [f"lifter-{number}" for number in range(12)]
        boxes = place_labels(axes, points, names, ["#000000"] * 12)
        figure.canvas.draw()
        at = axes.transData.transform(points)
    assert len(boxes) == len(axes.texts) == 12
    for number, box in enumerate(boxes):
        assert all(overlap(box, other) == 0 for other in boxes[:number])
        assert all(overlap(box, (x - 3, y - 3, x + 3, y + 3)) == 0 for x, y in at)
        frame = tuple(axes.bbox.extents)
        assert overlap(box, frame) == pytest.approx(overlap(box, box))


def test_users_settings_neither_matter_nor_change(tmp_path, plots):
    import matplotlib as mpl

    from poselift.report.canvas import save, style

    def picture(name: str) -> bytes:
        with style():
            figure = plots.error_by_track(Board(results(), BENCHMARK))
        save(figure, tmp_path / name)
        return (tmp_path / name).read_bytes()

    before = picture("a.png")
    with mpl.rc_context({"font.size": 30, "axes.grid": True, "savefig.dpi": 20}):
        assert picture("b.png") == before
        assert mpl.rcParams["font.size"] == 30


def test_without_matplotlib_nothing_is_half_written(tmp_path, monkeypatch):
    for name in list(sys.modules):
        if name == "matplotlib" or name.startswith("matplotlib."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"poselift\[report\]"):
        write_report(tmp_path, results(), "Results")
    assert list(tmp_path.iterdir()) == []
    written = write_report(tmp_path, results(), "Results", pictures=False)
    assert [path.name for path in written] == ["report.json", "report.md"]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_report(tmp_path / "file" / "out", results(), "Results")
