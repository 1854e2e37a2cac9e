"""What lifters cost, side by side in one run; fresh weights, which are as fast as trained ones.

    python scripts/measure_speed.py [river-nano river-small river-base tcn-243 ...]

Multiply-adds per answer by one counter (poselift.train.cost); frames per second over whole clips
of 243 frames (`river`) or sixteen windows, without the mirrored look, on one thread and on two;
milliseconds of one frame of a stream on one thread. Each the fastest of many runs by onnxruntime.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from poselift.models import build, info, load
from poselift.models.lifter import Lifter
from poselift.models.river import River
from poselift.models.stepping import step_network
from poselift.train.cost import macs_per_frame, ms_per_frame, ms_per_frame_of_clip, ms_per_step
from poselift.train.runs import write_card, write_graphs

USUAL = ("river-nano", "river-small", "river-base", "tcn-243", "strided-27")


def main() -> None:
    """Measure and print one line for each lifter."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lifters", nargs="*", default=USUAL)
    args = parser.parse_args()
    print("lifter        million multiply-adds   frames/s, 1 thread   2 threads   step, ms")
    for name in args.lifters:
        torch.manual_seed(0)
        model, record = build(name).eval(), info(name)
        if isinstance(model, River):
            # A fresh network's memory is near zero, and its norm makes rounding large: small
            # answers pass the exporter's check, and are as fast.
            model.leave.data.mul_(1e-3)
        with TemporaryDirectory() as folder:
            card, _ = write_graphs(model, record, Path(folder), half=False)
            path = write_card(card, Path(folder))
            rates = [1e3 / ms_per_answer(path, threads) for threads in (1, 2)]
            step = ms_per_step(step_network(str(path))) if record.gives == "stream" else np.nan
        macs = macs_per_frame(model, record) / 1e6
        print(f"{name:12} {macs:22.1f} {rates[0]:20,.0f} {rates[1]:11,.0f} {step:10.2f}")


def ms_per_answer(path: Path, threads: int) -> float:
    """Milliseconds for one frame of a clip, or for one answer of a window."""
    lifter = load(path, threads=threads)
    if isinstance(lifter, Lifter):
        return ms_per_frame(lifter.run, lifter.info)
    return ms_per_frame_of_clip(lifter.run)


if __name__ == "__main__":
    main()
