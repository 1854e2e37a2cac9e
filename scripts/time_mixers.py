"""Time and memory of training and of a live stream, for every temporal mixer in the same shell.

    python scripts/time_mixers.py -o docs/recurrence-times.json [--device cuda]

Each case runs in a process of its own, so that its peak memory is its own. A training step is
forward, loss and backward over about `--frames` frames in clips of 27, 81, 243 and 351. Live: one
frame at a time through `Mixed.step`, which for attention runs over the last 243 frames again.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch

from poselift.io.files import atomic
from poselift.models.mixed import Config, Mixed
from poselift.models.mixers import MIXERS

LENGTHS = (27, 81, 243, 351)
LIVE_WINDOW = 243


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--only", nargs="+", default=[], help="renew these mixers in the file")
    parser.add_argument("--frames", type=int, default=1404, help="frames in a training step")
    parser.add_argument("--case", nargs=2, metavar=("MIXER", "LENGTH"), help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(mixer: str, length: int, args: argparse.Namespace) -> dict[str, float | str]:
    """Figures of one case; length 0 stands for the live stream."""
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    live = length == 0
    config = Config(frames=length or LIVE_WINDOW, width=args.width, mixer=mixer, sides=2 - live)
    model = Mixed(config).to(device)
    before = _memory_mb(device)
    spent_s, frames = _live(model, device) if live else _train(model, args.frames, device)
    return {
        "mixer": mixer,
        "frames": length,
        "parameters": sum(p.numel() for p in model.parameters()),
        "ms_per_frame" if live else "us_per_frame": spent_s / frames * (1e3 if live else 1e6),
        "peak_mb": _memory_mb(device) - before,
    }


def _train(model: Mixed, frames: int, device: torch.device) -> tuple[float, int]:
    batch = max(1, round(frames / model.frames))
    joints = torch.randn(batch, model.frames, 17, 2, device=device)
    target = torch.randn(batch, model.frames, 17, 3, device=device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            lifted = model(joints)
        model.loss(lifted, target).backward()

    return _fastest(step, device), batch * model.frames


@torch.inference_mode()
def _live(model: Mixed, device: torch.device) -> tuple[float, int]:
    model.eval()
    dt, state, joints = torch.full((1,), 1 / 30), None, torch.randn(1, 17, 2, device=device)
    for _ in range(LIVE_WINDOW):
        _, state = model.step(joints, dt.to(device), state)

    def step() -> None:
        nonlocal state
        for _ in range(10):
            _, state = model.step(joints, dt.to(device), state)

    return _fastest(step, device), 10


def _fastest(step, device: torch.device, least_s: float = 3.0) -> float:
    """Seconds of the fastest of several runs, the first left out."""
    times, started = [], time.perf_counter()
    while len(times) < 4 or time.perf_counter() - started < least_s:
        before = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - before)
    return min(times[1:])


def _memory_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _kept(path: Path, renewed: list[str]) -> list[dict]:
    """Rows of an earlier run that stay."""
    if not renewed:
        return []
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return [row for row in rows if row["mixer"] not in renewed]


def main() -> None:
    """Run every case and write all figures."""
    args = _arguments()
    if args.case:
        print(json.dumps(measure(args.case[0], int(args.case[1]), args)))
        return
    rows = _kept(args.out, args.only)
    for mixer in args.only or MIXERS:
        for length in (*LENGTHS, 0):
            command = [sys.executable, *sys.argv, "--case", mixer, str(length)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr)
            rows.append(json.loads(done.stdout))
            print(rows[-1], flush=True)
    name = torch.cuda.get_device_name() if args.device == "cuda" else platform.machine()
    facts = {"device": f"{args.device}, {name}", "threads": args.threads, "width": args.width}
    with atomic(args.out) as part:
        part.write_text(json.dumps({**facts, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
