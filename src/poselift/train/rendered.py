"""The track `rendered`: what real detectors saw in rendered videos of held-out people.

`rendered-v1.npz` comes with the package and was made by scripts/render_set.py, detect_set.py and
pack_rendered.py; docs/noise.md says what it holds. The lifter is told nothing about the camera.
"""

from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from poselift.errors import InputError
from poselift.evaluate import Clip
from poselift.geometry import Array
from poselift.poses import Poses2D, Poses3D
from poselift.skeleton import skeleton

DETECTORS = {"hybrid": "mediapipe33", "movenet": "coco17"}
H36M = skeleton("h36m17")
BLAZEPOSE = "blazepose-3d"


@cache
def _arrays() -> dict[str, Any]:
    with files("poselift.train").joinpath("rendered-v1.npz").open("rb") as file:
        data = np.load(file, allow_pickle=False)
        return {name: data[name] for name in data.files}


def rendered_clips() -> list[Clip]:
    """Every rendered clip once for each detector; strata detector, action and age."""
    names = _arrays()["name"]
    return [_clip(row, detector) for detector in DETECTORS for row in range(len(names))]


def _clip(row: int, detector: str) -> Clip:
    data, frames = _arrays(), int(_arrays()["frames"][row])
    width, height = (int(side) for side in data["size_px"][row])
    joints = data["joints_m"][row, :frames].astype(np.float64)
    observed = Poses2D(
        data[f"{detector}_px"][row, :frames],
        np.nan_to_num(data[f"{detector}_confidence"][row, :frames]),
        data["time_s"][row, :frames],
        (width, height),
        skeleton(DETECTORS[detector]),
        history=(f"rendered {row} by {detector}",),
    )
    return Clip(
        name=f"{data['name'][row]} {detector}",
        observed=observed,
        truth_m=joints[:, : len(H36M)] - joints[:, :1],
        root_m=joints[:, 0],
        strata={
            "detector": detector,
            "action": str(data["action"][row]),
            "age": "child" if data["age_years"][row] < 13 else "adult",
        },
    )


def blazepose_lift(observed: Poses2D) -> Poses3D:
    """BlazePose Heavy's own 3D of a rendered clip, as H36M-17 by the rules of poselift.skeleton.

    The free competitor. Raises InputError for any clip but the rendered ones that it detected.
    """
    for row, _ in enumerate(_arrays()["name"]):
        if observed.history[:1] == (f"rendered {row} by hybrid",):
            xyz = _arrays()["blazepose_m"][row, : len(observed.time_s)].astype(np.float64)
            poses = Poses3D(xyz, observed.time_s, skeleton("mediapipe33"))
            return _rooted(poses.to(H36M))
    raise InputError(BLAZEPOSE, expected="a rendered clip that BlazePose saw")


def _rooted(poses: Poses3D) -> Poses3D:
    relative: Array = poses.xyz_m - poses.xyz_m[:, :1]
    return poses.then("relative to the pelvis", xyz_m=relative)
