"""3D poses as a tidy table: one row per person and time, for spreadsheets and statistics."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from poselift.errors import InputError
from poselift.io.files import atomic
from poselift.io.native import AXES
from poselift.poses import Poses2D, Poses3D

_ORIGINS = {
    "root": "the first joint of every frame",
    "camera": "the camera",
    "world": "the origin of the world",
}


def write_csv(path: Path, people: Sequence[Poses2D | Poses3D]) -> list[Path]:
    """Write people as CSV: time_s, person, then <joint>_x_m, _y_m, _z_m; empty = missing.

    Where everybody's uncertainty is known, <joint>_sd_m follow: one standard deviation per axis.

    Lines before the header start with # and give units, axes and origin. Rows are ordered by time.
    Raises InputError (2D, nobody, people on different skeletons or axes), OutputError.
    """
    poses = [p for p in people if isinstance(p, Poses3D)]
    if not poses or len(poses) < len(people):
        raise InputError("CSV", expected="3D poses of at least one person", found=len(poses))
    kinds = {(p.skeleton.joints, p.axes, p.origin) for p in poses}
    if len(kinds) > 1:
        raise InputError("people of one CSV file", expected="one skeleton, axes and origin")
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.writelines(f"# {line}\n" for line in _head(poses[0]))
        table = csv.writer(file, lineterminator="\n")
        joints = poses[0].skeleton.joints
        names = [f"{joint}_{axis}_m" for joint in joints for axis in "xyz"]
        claims = all(p.uncertainty_m is not None for p in poses)
        names += [f"{joint}_sd_m" for joint in joints] if claims else []
        table.writerow(["time_s", "person", *names])
        table.writerows(_rows(poses, claims))
    return [path]


def _head(poses: Poses3D) -> list[str]:
    return [
        "units: metres, seconds",
        f"axes: {poses.axes} ({AXES[poses.axes]})",
        f"origin: {poses.origin} ({_ORIGINS[poses.origin]})",
        f"skeleton: {poses.skeleton.name}",
    ]


def _rows(people: Sequence[Poses3D], claims: bool) -> list[list[str]]:
    """Rows by time, then in the order of the people."""
    rows: list[tuple[float, int, list[str]]] = []
    for order, poses in enumerate(people):
        values = poses.xyz_m.reshape(len(poses.time_s), -1)
        if claims and poses.uncertainty_m is not None:
            values = np.concatenate([values, poses.uncertainty_m], axis=1)
        for time_s, row in zip(poses.time_s, values, strict=True):
            cells = ["" if np.isnan(value) else f"{value:.6f}" for value in row]
            rows.append((time_s, order, [f"{time_s:.6f}", str(poses.person), *cells]))
    return [cells for _, _, cells in sorted(rows, key=lambda row: row[:2])]
