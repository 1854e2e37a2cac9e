"""Settings of all tests."""

import os

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
