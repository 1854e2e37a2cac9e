"""The published rows, and what importing the protocols costs."""

import subprocess
import sys

import numpy as np
import pytest

from poselift.protocols import CONVENTIONS, PROTOCOLS
from poselift.protocols.conventions import Conventions
from poselift.protocols.report import published


@pytest.mark.parametrize("name", PROTOCOLS)
def test_published_rows_fit_the_table_and_name_their_source(name):
    chosen = PROTOCOLS[name]
    columns = {"average", *chosen.columns(chosen.subjects, Conventions())}
    columns |= set(chosen.columns(chosen.subjects, Conventions(by_subject=True)))
    assert published(name)
    for row in published(name):
        assert row["source"]
        assert row.get("convention", "srnet") in CONVENTIONS
        assert set(row["metrics"]) <= set(chosen.kinds)
        for values in row["metrics"].values():
            assert set(values) <= columns
            actions = [value for column, value in values.items() if column != "average"]
            if len(actions) > 1 and "average" in values:
                assert np.mean(actions) == pytest.approx(values["average"], abs=0.11)


def test_protocols_need_no_torch():
    code = "import sys, poselift.protocols; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
