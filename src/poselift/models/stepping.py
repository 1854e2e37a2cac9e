"""The step of a streaming lifter: one frame and a memory in, joints and the next memory out."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from poselift.errors import InputError
from poselift.geometry import Array
from poselift.models import LIFTERS, info, weights_bytes, weights_record
from poselift.models.lifter import session

# Points (B, 28, 4), facts (B, FACTS), dt_s (B) and the arrays of the state, all of 32 bits, to
# joints (B, 28, 5) and the next state; see poselift.models.river.
Step = Callable[..., Sequence[Array]]


@dataclass(frozen=True)
class StepNetwork:
    """A step with the shapes of one person's state.

    sha256 tells the weights apart; calibration: factors that make the scales of the uncertainty
    honest, across the ray and along it.
    """

    run: Step
    state_shapes: tuple[tuple[int, ...], ...]
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

    shapes = tuple(tuple(map(_of_one, each.shape)) for each in given[3:])
    across, along = (weights_record(lifter) or {}).get("calibration", (1.0, 1.0))
    return StepNetwork(run, shapes, hashlib.sha256(content).hexdigest(), (across, along))


def _of_one(side: int | str) -> int:
    """Length of an axis for one person; those that grow with the batch are called "17*batch"."""
    return side if isinstance(side, int) else int(side.partition("*")[0])
