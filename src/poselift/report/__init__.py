"""Reports: from a lifter's answers to records with intervals, and from records to tables and plots.

`scores` makes records, `records` keeps them in results.json, `markdown` and `plots` show them, and
`write` puts a whole report into a folder. Pictures need the extra `report`.
"""

from poselift.report.measures import METRICS, TRACKS, Metric, metric
from poselift.report.records import Cost, Record, Results, read_results, write_results
from poselift.report.scores import Answer, Evaluated, to_records
from poselift.report.write import write_report

__all__ = [
    "METRICS",
    "TRACKS",
    "Answer",
    "Cost",
    "Evaluated",
    "Metric",
    "Record",
    "Results",
    "metric",
    "read_results",
    "to_records",
    "write_report",
    "write_results",
]
