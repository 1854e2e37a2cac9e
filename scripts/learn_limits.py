"""Learn joint limits from the training subjects' poses (src/poselift/train/limits.npz).

Frames at about 15 Hz, each clip in another body of the table. Every table counts directions, left
and right together. A bin is known with at least two frames in it, and everything near a known bin
is possible: 10 degrees from directions seen from the trunk, 6 from hinges (so that an elbow or a
knee bends at most that much beyond what was seen), 20 in the pairs of reach, whose bins are coarse.

    poselift mocap build MOCAP -o clips.npz
    python scripts/learn_limits.py clips.npz
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from poselift.io.files import atomic
from poselift.train.bodies import alignment, body_table
from poselift.train.limits import (
    CHECKED,
    COARSE_DEG,
    FINE_DEG,
    HINGES,
    REACHES,
    TABLES,
    Limits,
    LimitTables,
    Sphere,
    rest_directions,
)
from poselift.train.pack import Pack, read_pack
from poselift.train.synth import quaternion_to_matrix

RATE_HZ = 15.0
FEWEST_FRAMES = 2
TRUNK_DEG, HINGE_DEG, REACH_DEG = 10.0, 6.0, 20.0
# Left out: the roll of this walker's upper arms is not known, its elbows seem to bend 50 degrees
# out of the plane in which all others bend (2 degrees).
LEFT_OUT = "snu_walking_bvh"
CPU = torch.device("cpu")
# Bones in the middle of the body know their mirror image too: what a mirror does to the direction.
MIRRORED = {"head": (-1.0, 1.0, 1.0), "spine": (-1.0, 1.0, 1.0), "girdle": (1.0, -1.0, -1.0)}


def turns(pack: Pack, split: int) -> Tensor:
    """Flesh rotations (N, 31, 3, 3) from the bodies' rest poses, of the clips of a split."""
    table = body_table()
    to_zero = [
        alignment(table, dict(zip(table.bones, zero[pack.source], strict=True)))
        for zero in pack.zero_direction_m
    ]
    out = []
    for clip in np.flatnonzero((pack.split == split) & (pack.archive != LEFT_OUT)):
        step = max(1, round(float(pack.rate_hz[clip]) / RATE_HZ))
        frames = slice(pack.start[clip], pack.start[clip] + pack.frames[clip], step)
        quaternion = torch.as_tensor(pack.quaternion[frames].astype(np.float32))
        body = to_zero[pack.zero[clip]][clip % len(table.head_m)]
        rotation = quaternion_to_matrix(quaternion)[:, pack.source]
        out.append(rotation @ torch.as_tensor(body, dtype=rotation.dtype))
    return torch.cat(out)


def learn(turn: Tensor) -> LimitTables:
    """Tables from poses (N, 31, 3, 3)."""
    rest = rest_directions(body_table())
    fine, coarse = Sphere(FINE_DEG, CPU), Sphere(COARSE_DEG, CPU)
    blank = LimitTables(
        np.zeros((len(TABLES), fine.bins), bool),
        np.zeros((len(REACHES), coarse.bins, coarse.bins), bool),
        rest,
    )
    counting = Limits(blank, CPU)
    seen, (above, below) = counting.looked_up(turn)
    return LimitTables(
        _fine(counting, seen, fine).numpy(), _reach(counting, above, below, coarse).numpy(), rest
    )


def _fine(counting: Limits, seen: Tensor, sphere: Sphere) -> Tensor:
    counts = torch.zeros(len(TABLES), sphere.bins, dtype=torch.long)
    for column, (name, row) in enumerate(zip(CHECKED, counting.table.tolist(), strict=True)):
        for sign in ((1.0, 1.0, 1.0), MIRRORED.get(name)):
            if sign:
                bins = sphere.bin(seen[:, column] * torch.tensor(sign))
                counts[row] += torch.bincount(bins, minlength=sphere.bins)
    known = (counts >= FEWEST_FRAMES).to(torch.float32)
    hinge = torch.tensor([name in HINGES for name in TABLES])
    attached = known @ _near(sphere, TRUNK_DEG) > 0
    return torch.where(hinge[:, None], known @ _near(sphere, HINGE_DEG) > 0, attached)


def _reach(counting: Limits, above: Tensor, below: Tensor, sphere: Sphere) -> Tensor:
    counts = torch.zeros(len(REACHES), sphere.bins**2, dtype=torch.long)
    for column, row in enumerate(counting.reach_table.tolist()):
        pair = above[:, column] * sphere.bins + below[:, column]
        counts[row] += torch.bincount(pair, minlength=sphere.bins**2)
    known = (counts >= FEWEST_FRAMES).to(torch.float32).view(-1, sphere.bins, sphere.bins)
    near = _near(sphere, REACH_DEG)
    return near @ known @ near > 0


def _near(sphere: Sphere, within_deg: float) -> Tensor:
    """Which bins' middles are near each other, 0 or 1 (bins, bins)."""
    middle = sphere.centres()
    return (middle @ middle.T > np.cos(np.radians(within_deg))).to(torch.float32)


def save(path: Path, tables: LimitTables, source: str) -> None:
    """Write the tables as bits."""
    arrays: dict[str, NDArray] = {"rest": tables.rest.astype(np.float32)}
    for name, table in (("fine", tables.fine), ("reach", tables.reach)):
        arrays[name] = np.packbits(table)
        arrays[f"{name}_shape"] = np.array(table.shape)
    with atomic(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, source=np.array(source), **arrays)


def main() -> None:
    """Learn, write, and say how many poses are possible."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("clips", type=Path)
    parser.add_argument("--out", type=Path, default=Path("src/poselift/train/limits.npz"))
    args = parser.parse_args()
    pack = read_pack(args.clips)
    turn = turns(pack, 0)
    tables = learn(turn)
    source = f"{len(turn)} poses of the training subjects, CMU Graphics Lab Motion Capture Database"
    save(args.out, tables, source)
    limits = Limits(tables, CPU)
    for row, share in zip(TABLES, tables.fine.mean(1), strict=True):
        print(f"{row:10} {100 * share:5.1f} % of all directions")
    for row, share in zip(REACHES, tables.reach.mean((1, 2)), strict=True):
        print(f"{row:10} {100 * share:5.1f} % of all pairs with the bone above")
    for split, name in enumerate(("train", "validation")):
        if (pack.split == split).any():
            possible = limits.possible(turn if split == 0 else turns(pack, split))
            print(f"{name}: {100 * possible.all(-1).double().mean():.2f} % of the poses possible")
    print(f"{args.out}: {args.out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
