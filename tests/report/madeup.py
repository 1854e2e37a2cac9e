"""Made-up results for the tests of reports: numbers that are easy to check by eye."""

from poselift.report import Cost, Record, Results
from poselift.report.measures import COVERAGE_PERCENT, PCK_CURVE_MM

BENCHMARK = "open-v1"


def record(lifter: str = "a", metric: str = "mpjpe_mm", value: float = 50.0, **other) -> Record:
    fields = {
        **{"lifter": lifter, "benchmark": BENCHMARK, "track": "real", "mode": "offline"},
        **{"metric": metric, "value": value, "low": value - 1, "high": value + 1, "seeds": 2},
    }
    return Record(**{**fields, **other})


def results() -> Results:
    """Three rows (one lifter in two modes), two tracks, joints, strata, claims and costs."""
    rows = []
    for lifter, mode, error in (
        ("a", "offline", 40.0),
        ("a", "live", 44.0),
        ("b", "offline", 60.0),
    ):
        for track, factor in (("clean", 0.5), ("real", 1.0)):

            def add(metric, value, lifter=lifter, mode=mode, track=track, **other):
                rows.append(record(lifter, metric, value, mode=mode, track=track, **other))

            add("mpjpe_mm", error * factor)
            add("p_mpjpe_mm", 0.7 * error * factor)
            add("angle_deg", error / 5)
            add("clips", 80.0, low=80.0, high=80.0)
            for mm in PCK_CURVE_MM:
                add(f"pck_{mm}", 100 * (1 - 2 ** (-mm / error)))
            for joint in ("left_knee", "right_knee", "nose"):
                add("mpjpe_mm", error * factor + len(joint), stratum=f"joint:{joint}")
            for label, count in (("slow", 30.0), ("fast", 50.0)):
                add("mpjpe_mm", error * factor + count, stratum=f"speed:{label}")
                add("clips", count, low=count, high=count, stratum=f"speed:{label}")
            if lifter == "a":
                for percent in COVERAGE_PERCENT:
                    add(f"coverage_{percent}", 0.9 * percent)
    costs = (Cost("a", 1_234_567, 2.5e6, 0.4, 1, 81), Cost("b", 99, 3e9, 12.0, 1, 27))
    return Results(tuple(rows), costs, {"poselift": "0.2"})
