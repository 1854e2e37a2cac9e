"""Records on file: round trips, strictness, merging and choosing."""

import json

import hypothesis.strategies as st
import pytest
from hypothesis import given

from poselift.errors import FormatError, InputError, UnknownNameError
from poselift.report import METRICS, Cost, Record, Results, metric, read_results, write_results
from poselift.report.board import Board, Runner, best
from poselift.report.measures import badness, large
from poselift.report.records import rounded, to_json

from .madeup import BENCHMARK, record, results

names = st.text("abcxyz-_0 é|", min_size=1, max_size=8)
numbers = st.floats(-1e6, 1e6).map(rounded)
records = st.builds(
    lambda lifter, track, mode, name, stratum, three, seeds, command: Record(
        *(lifter, BENCHMARK, track, mode, name),
        *(sorted(three)[1], min(three), max(three), seeds, stratum, command),
    ),
    *(names, names, names, st.sampled_from(sorted(METRICS)), names),
    *(st.tuples(numbers, numbers, numbers), st.integers(1, 9), st.text(max_size=9)),
)


def written(tmp_path, document) -> str:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return str(path)


def test_results_come_back_the_same(tmp_path):
    path = tmp_path / "results.json"
    write_results(results(), path)
    assert read_results(path) == results()
    first = json.loads(path.read_text(encoding="utf-8"))["records"][0]
    assert set(first) == {
        *("lifter", "benchmark", "track", "mode", "metric", "value", "low", "high", "seeds"),
        "stratum",
    }
    empty = Results()
    write_results(empty, path)
    assert read_results(path) == empty


@given(st.lists(records, max_size=6), st.randoms())
def test_the_file_does_not_depend_on_the_order(rows, random):
    kept = {row.key: row for row in rows}
    shuffled = list(kept.values())
    random.shuffle(shuffled)
    text = to_json(Results(tuple(rows)))
    assert to_json(Results(tuple(shuffled))) == text
    again = tuple(Record(**row) for row in json.loads(text)["records"])
    assert Results(again) == Results(tuple(rows))


@given(st.lists(records, max_size=5), st.lists(records, max_size=5))
def test_merging_keeps_the_newer(old, new):
    merged = Results(tuple(old)).merged(Results(tuple(new)))
    expected = {**{row.key: row for row in old}, **{row.key: row for row in new}}
    assert {row.key: row for row in merged.records} == expected
    assert merged.merged(Results(tuple(new))) == merged


def test_merging_costs_and_facts():
    older = Results((), (Cost("a", 1, 2.0, 3.0, 1, 27), Cost("b", 1, 2.0, 3.0, 1, 27)), {"x": "1"})
    newer = Results((), (Cost("a", 1, 2.0, 9.0, 1, 27), Cost("a", 1, 2.0, 1.0, 4, 27)), {"y": "2"})
    both = older.merged(newer)
    assert [(c.lifter, c.threads, c.ms_per_frame) for c in both.costs] == [
        ("a", 1, 9.0),
        ("a", 4, 1.0),
        ("b", 1, 3.0),
    ]
    assert both.meta == {"x": "1", "y": "2"}
    assert both.cost("a").threads == 1
    assert both.cost("nobody") is None


def test_selection():
    found = results().select(lifter="a", track="real", metric=("mpjpe_mm", "p_mpjpe_mm"))
    assert {(r.mode, r.metric) for r in found if r.stratum == "all"} == {
        (mode, name) for mode in ("offline", "live") for name in ("mpjpe_mm", "p_mpjpe_mm")
    }
    assert all(r.lifter == "a" and r.track == "real" for r in found)
    assert len(results().select()) == len(results().records)
    with pytest.raises(UnknownNameError, match="stratum"):
        results().select(strata="all")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"colour": "red"}, "unknown field.*colour"),
        ({"value": float("nan")}, "finite number"),
        ({"value": float("inf")}, "finite number"),
        ({"value": "50"}, "finite number"),
        ({"low": True}, "finite number"),
        ({"low": 60.0}, "low <= high"),
        ({"seeds": 2.0}, "whole number"),
        ({"seeds": True}, "whole number"),
        ({"seeds": 0}, "seeds >= 1"),
        ({"lifter": 7}, "text"),
        ({"lifter": ""}, "a name"),
        ({"metric": "mpjpe"}, "unknown metric.*mpjpe_mm"),
    ],
)
def test_a_record_with_a_mistake_is_named(tmp_path, change, match):
    document = json.loads(to_json(results()))
    document["records"][3] |= change
    with pytest.raises(FormatError, match=rf"(?s)records\[3\].*{match}"):
        read_results(written(tmp_path, document))


def test_a_file_with_a_mistake_is_named(tmp_path):
    whole = json.loads(to_json(results()))
    lacking = json.loads(to_json(results()))
    del lacking["records"][0]["seeds"]
    for document, match in (
        ([], "records, costs and meta"),
        ({**whole, "more": 1}, "records, costs and meta"),
        ({**whole, "records": {}}, "a list"),
        ({**whole, "costs": [7]}, r"costs\[0\]"),
        ({**whole, "costs": [{**whole["costs"][0], "threads": -1}]}, "threads"),
        ({**whole, "meta": {"a": 1}}, "meta"),
        (lacking, "field seeds"),
    ):
        with pytest.raises(FormatError, match=match):
            read_results(written(tmp_path, document))
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(FormatError, match="JSON"):
        read_results(tmp_path / "broken.json")


def test_metrics_by_name():
    assert metric("pck_120").meaning == "share of joints nearer than 120 mm"
    assert metric("coverage_70").better == "claim"
    assert all(name == each.name for name, each in METRICS.items())
    for name in ("pck_", "pck_1000", "coverage_x", "pck_150 "):
        with pytest.raises(UnknownNameError):
            metric(name)
    assert badness("coverage_90", 85) == badness("coverage_90", 95) == 5
    assert badness("auc", 70) < badness("auc", 60)
    assert [large(n) for n in (7, 1234, 2.5e6, 3e9)] == ["7", "1.23 k", "2.5 M", "3 G"]


def test_a_board_is_sorted_for_reading():
    board = Board(results(), BENCHMARK)
    assert board.tracks == ("clean", "real")
    assert board.headline == "real"
    assert board.runners == (Runner("a", "offline"), Runner("a", "live"), Runner("b", "offline"))
    assert [board.label(r) for r in board.runners] == ["a (offline)", "a (live)", "b"]
    assert board.strata("real") == {"speed": ("slow", "fast")}
    assert board.get(Runner("b", "offline"), "clean", "mpjpe_mm").value == 30
    assert board.get(Runner("b", "live"), "clean", "mpjpe_mm") is None
    with pytest.raises(InputError, match="open-v1"):
        Board(results(), "open-v9")


def test_the_best_of_a_column():
    low, high = record("a", value=40.0), record("b", value=50.0)
    assert best([high, None, low]) == (low,)
    assert best([low, record("b", value=40.0)]) == ()
    share = [record(lifter, "pck_150", value) for lifter, value in (("a", 90.0), ("b", 95.0))]
    assert best(share) == (share[1],)
    claim = [record(lifter, "coverage_90", value) for lifter, value in (("a", 92.0), ("b", 99.0))]
    assert best(claim) == (claim[0],)
    assert best([record(n, "sharpness_mm", v) for n, v in (("a", 1.0), ("b", 2.0))]) == ()
