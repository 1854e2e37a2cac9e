"""What a lifter costs: parameters, multiply-adds by one counter, milliseconds on one thread."""

import copy
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from poselift.models import LifterInfo
from poselift.models.intake import BODY, FACTS, POINT
from poselift.models.lifter import Run
from poselift.models.network import Network
from poselift.models.river import River
from poselift.models.river_lifter import Run as RiverRun
from poselift.models.stepping import StepNetwork

_LEAST_S = 0.5
_WINDOWS = 16
CLIP = 243  # frames of a clip on which `river` is counted and timed


def parameters(network: nn.Module) -> int:
    """Trained numbers, those of batch norms' running statistics not counted."""
    return sum(p.numel() for p in network.parameters())


def macs_per_frame(network: Network | River, info: LifterInfo) -> float:
    """Multiply-adds of all matrix products and convolutions, attention's included, per answer.

    Half of what torch.utils.flop_counter counts for one window, or for `CLIP` frames of `river`
    looking both ways; published figures are counted in many ways and compare badly (research:
    MixSTE's leaves out attention). Counted on a twin without numbers (torch's meta device), which
    takes no time.
    """
    twin = _twin(network)
    with torch.device("meta"):
        if isinstance(twin, River):
            points, facts = torch.zeros(1, CLIP, len(BODY), POINT), torch.zeros(1, CLIP, FACTS)
            return _macs(lambda: twin(points, facts, torch.zeros(1, CLIP))) / CLIP
        answers = network.frames if info.gives == "all" else 1
        return _macs(lambda: twin(torch.zeros(1, twin.frames, 17, 2))) / answers


def macs_per_step(network: River) -> float:
    """Multiply-adds of one frame of a stream, counted in the same way."""
    twin = _twin(network)
    with torch.device("meta"):
        points, facts = torch.zeros(1, len(BODY), POINT), torch.zeros(1, FACTS)
        return _macs(lambda: twin.step(points, facts, torch.zeros(1), twin.first_state()))


N = TypeVar("N", bound=nn.Module)


def _twin(network: N) -> N:
    return copy.deepcopy(network).to("meta").eval()


def _macs(work: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        work()
    return counter.get_total_flops() / 2


def ms_per_frame(run: Run, info: LifterInfo) -> float:
    """Fastest of several runs over a batch of windows; the run decides on its threads."""
    windows = np.random.default_rng(0).normal(0, 0.5, (_WINDOWS, info.frames, 17, 2))
    answers = _WINDOWS * (info.frames if info.gives == "all" else 1)
    return fastest_ms(lambda: run(windows)) / answers


def ms_per_frame_of_clip(run: RiverRun) -> float:
    """The same of `river` over `CLIP` frames at once."""
    points, facts = np.zeros((1, CLIP, len(BODY), POINT)), np.zeros((1, CLIP, FACTS))
    dt_s = np.full((1, CLIP), 1 / 30)
    return fastest_ms(lambda: run(points, facts, dt_s)) / CLIP


def ms_per_step(network: StepNetwork) -> float:
    """The same of one frame of a stream."""
    shapes = ((1, len(BODY), POINT), (1, FACTS), (1,))
    given = [np.zeros(shape, dtype=np.float32) for shape in shapes]
    state = network.first_state(1)
    return fastest_ms(lambda: network.run(*given, *state))


def fastest_ms(work: Callable[[], object]) -> float:
    """Milliseconds of the fastest of many runs, after one that does not count."""
    work()
    best, started = np.inf, time.perf_counter()
    while time.perf_counter() - started < _LEAST_S:
        before = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - before)
    return 1e3 * best
