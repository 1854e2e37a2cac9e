"""What a lifter costs: parameters, multiply-adds by one counter, milliseconds on one thread."""

import time

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from poselift.models import LifterInfo
from poselift.models.lifter import Run
from poselift.models.network import Network

_LEAST_S = 0.5
_WINDOWS = 16


def parameters(network: Network) -> int:
    """Trained numbers, those of batch norms' running statistics not counted."""
    return sum(p.numel() for p in network.parameters())


def macs_per_frame(network: Network, info: LifterInfo) -> float:
    """Multiply-adds of all matrix products and convolutions, attention's included, per answer.

    Half of what torch.utils.flop_counter counts for one window; published figures are counted in
    many ways and compare badly (research: MixSTE's leaves out attention).
    """
    window = torch.zeros(1, network.frames, 17, 2)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(window)
    answers = network.frames if info.gives == "all" else 1
    return counter.get_total_flops() / 2 / answers


def ms_per_frame(run: Run, info: LifterInfo) -> float:
    """Fastest of several runs over a batch of windows; the run decides on its threads."""
    windows = np.random.default_rng(0).normal(0, 0.5, (_WINDOWS, info.frames, 17, 2))
    run(windows)
    best, started = np.inf, time.perf_counter()
    while time.perf_counter() - started < _LEAST_S:
        before = time.perf_counter()
        run(windows)
        best = min(best, time.perf_counter() - before)
    answers = _WINDOWS * (info.frames if info.gives == "all" else 1)
    return 1e3 * best / answers
