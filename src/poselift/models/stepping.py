"""The step of a streaming lifter: one frame and a memory in, joints and the next memory out."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from poselift.errors import InputError
from poselift.geometry import Array
from poselift.models import LIFTERS, info, weights_bytes, weights_record
from poselift.models.lifter import session

# Points (B, 28, 4), facts (B, FACTS), dt_s (B) and the arrays of the state, all of 32 bits, to
# joints (B, 28, 5) and the next state; see poselift.models.river.
Step = Callable[..., Sequence[Array]]


@dataclass(frozen=True)
class StepNetwork:
    """A step with the state before the first frame, of so many people.

    sha256 tells the weights apart; calibration: factors that make the scales of the uncertainty
    honest, across the ray and along it.
    """

    run: Step
    first_state: Callable[[int], tuple[Array, ...]]
    sha256: str
    calibration: tuple[float, float] = (1.0, 1.0)


@cache
def step_network(lifter: str, threads: int = 1) -> StepNetwork:
    """The step of a lifter with shipped weights, or with those at a path, on so many threads.

    Streams of one lifter share its session. Raises UnknownNameError, InputError (a lifter that
    does not stream), WeightsError (no step is shipped, it is damaged, or its hash is wrong).
    """
    record = info(lifter)
    if record.gives != "stream":
        known = [name for name, other in LIFTERS.items() if other.gives == "stream"]
        raise InputError(record.name, expected="a lifter that streams", known=known)
    content = weights_bytes(lifter, "step")
    graph = session(content, record.name, threads)
    given = graph.get_inputs()
    names = [each.name for each in given]

    def run(*arrays: Array) -> Sequence[Array]:
        return graph.run(None, dict(zip(names, arrays, strict=True)))

    def first_state(people: int) -> tuple[Array, ...]:
        shapes = ([_length(side, people) for side in each.shape] for each in given[3:])
        return tuple(np.zeros(shape, dtype=np.float32) for shape in shapes)

    across, along = (weights_record(lifter) or {}).get("calibration", (1.0, 1.0))
    return StepNetwork(run, first_state, hashlib.sha256(content).hexdigest(), (across, along))


def _length(side: int | str, people: int) -> int:
    """Length of an axis; those that grow with the people are called "17*batch"."""
    return side if isinstance(side, int) else people * int(side.partition("*")[0])
