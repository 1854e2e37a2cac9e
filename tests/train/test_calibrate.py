import numpy as np
import pytest
import torch

from poselift.metrics.uncertainty import POWER, exp_power_radius
from poselift.models.river import Config, River
from poselift.train.batches import Motions, SynthConfig
from poselift.train.calibrate import LEVELS, calibration, fit
from poselift.train.pack import read_pack


def power(count: int, across: float, along: float) -> tuple[np.ndarray, np.ndarray]:
    """Errors as they are claimed, with these scales across and along the ray."""
    rng = np.random.default_rng(0)
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    error = rng.gamma(3 / POWER, 1, count)[:, None] ** (1 / POWER) * direction
    return across * np.linalg.norm(error[:, :2], axis=1), along * np.abs(error[:, 2])


def test_the_factors_of_true_claims_are_found():
    assert fit(*power(100_000, 1.3, 0.6)) == pytest.approx((1.3, 0.6), rel=0.02)


def test_heavier_tails_than_claimed_are_covered_as_well_as_two_factors_can():
    across, along = power(50_000, 1, 1)
    wild = np.random.default_rng(1).lognormal(0, 0.3, len(across))
    lateral, depth = fit(across * wild, along * wild)
    r = wild * np.hypot(across / lateral, along / depth)
    for level in LEVELS:
        assert np.mean(r <= exp_power_radius(level)) == pytest.approx(level, abs=0.03)


def test_an_untrained_network_claims_as_little_as_it_knows(tiny_pack):
    motions = Motions(read_pack(tiny_pack), "validation", torch.device("cpu"))
    torch.manual_seed(0)
    network = River(Config(width=16, depth=1, heads=2)).eval()
    for ahead in (None, 4):
        lateral, depth = calibration(network, motions, SynthConfig(), ahead, clips=4)
        assert lateral > 1.5  # it starts with scales of 5 cm and answers at random
        assert depth > 1.5
