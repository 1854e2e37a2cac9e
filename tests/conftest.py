"""Settings of all tests, and a small `river` with random weights, as network and on disk."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Small tensors on shared cores: a second thread only waits for the first.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Hypothesis draws the same examples every time, with no clock in it.
settings.register_profile(
    "poselift",
    deadline=None,
    derandomize=True,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("poselift")


@pytest.fixture(scope="session")
def tiny_river():
    """A network whose gates depend on what it sees, and whose memory is that of a real one."""
    torch = pytest.importorskip("torch")
    from poselift.models.river import Config, River

    torch.manual_seed(0)
    model = River(Config(width=8, depth=1, heads=2)).eval()
    for name, parameter in model.named_parameters():
        if "rate.bias" not in name:
            torch.nn.init.normal_(parameter, 0, 0.2)
    return model


@pytest.fixture(scope="session")
def tiny_river_path(tiny_river, tmp_path_factory) -> Path:
    """Both graphs and their record, by the path that `load` and `step_network` take."""
    from poselift.models import info
    from poselift.train.runs import write_card, write_graphs

    folder = tmp_path_factory.mktemp("river")
    card, exported = write_graphs(tiny_river, info("river-nano"), folder, half=True)
    card |= {"calibration": [1.5, 2.0], "difference_m": exported.difference_m}
    return write_card(card, folder)
