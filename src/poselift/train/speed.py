"""How fast training is: frames per second of the synthesis, and seconds of a step."""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from poselift.train.batches import Motions, SynthConfig, generator, make_batch
from poselift.train.bodies import body_table
from poselift.train.flesh import BONE_SOURCE, ROTATIONS
from poselift.train.loop import Run, TrainConfig
from poselift.train.pack import Pack

_FRAMES = 3000
_TIMED_STEPS = 8


def random_pack() -> Pack:
    """One clip of a body that wriggles: as costly as real motion, and needs no files."""
    rng = np.random.default_rng(0)
    turn = rng.normal(size=(_FRAMES, len(ROTATIONS), 4)).cumsum(0) / 100 + (3.0, 0, 0, 0)
    turn /= np.linalg.norm(turn, axis=-1, keepdims=True)
    direction = rng.normal(size=(1, len(ROTATIONS), 3))
    return Pack(
        quaternion=np.rint(turn * 32767).astype(np.int16),
        root_m=rng.normal(size=(_FRAMES, 3)).cumsum(0).astype(np.float32) / 100,
        contact=np.zeros((_FRAMES, 2), np.uint8),
        start=np.zeros(1, np.int64),
        frames=np.full(1, _FRAMES),
        rate_hz=np.full(1, 60.0, np.float32),
        subject=np.array(["nobody"]),
        name=np.array(["wriggle"]),
        archive=np.array(["random"]),
        action=np.array(["other"]),
        split=np.zeros(1, np.int8),
        weight=np.ones(1, np.float32),
        leg_length_m=np.full(1, 0.85, np.float32),
        zero=np.zeros(1, np.int16),
        zero_direction_m=(direction / np.linalg.norm(direction, axis=-1, keepdims=True)).astype(
            np.float32
        ),
        bones=body_table().bones,
        source=np.array([ROTATIONS.index(name) for name in BONE_SOURCE.values()], np.int16),
        licence=(),
        credit=(),
    )


def synthesis_rate(
    device: torch.device,
    *,
    batch: int = 128,
    frames: int = 27,
    config: SynthConfig | None = None,
    least_s: float = 2.0,
) -> float:
    """Frames per second of `make_batch` on a device, the first batches left out."""
    motions, config = Motions(random_pack(), "train", device), config or SynthConfig()

    def make(step: int) -> None:
        with torch.no_grad():
            make_batch(motions, batch, frames, config, generator(0, step, 0, device))
        if device.type == "cuda":
            torch.cuda.synchronize()

    for step in range(3):
        make(step)
    started, steps = time.perf_counter(), 0
    while time.perf_counter() - started < least_s:
        make(steps)
        steps += 1
    return steps * batch * frames / (time.perf_counter() - started)


def step_s(config: TrainConfig, pack: Pack, device: torch.device) -> float:
    """Seconds of a training step, without validation; the first two do not count.

    On a CPU the computing time of this process, which other work on the machine does not add to.
    """
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    with tempfile.TemporaryDirectory() as folder:
        run = Run(config, pack, Path(folder), device)
        for number in range(_TIMED_STEPS + 2):
            if number == 2:
                started = clock()
            run.train_step().item()
    return (clock() - started) / _TIMED_STEPS
