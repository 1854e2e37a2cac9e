"""HumanEva-I: the Validate parts of S1 to S3, three cameras, from the NPZ files of VideoPose3D."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from poselift.errors import InputError
from poselift.protocols.cameras import camera_names, humaneva_cameras
from poselift.protocols.conventions import Conventions
from poselift.protocols.scoring import JointSets
from poselift.protocols.videopose import Source, read_pair
from poselift.protocols.videos import Video
from poselift.skeleton import skeleton

SUBJECTS = ("S1", "S2", "S3")
ACTIONS = ("Walk", "Jog", "Box")
_BODY = skeleton("humaneva15")
_SOURCE = Source(_BODY, 15, list(range(15)), camera_names("humaneva"), rate_hz=60.0)
# A Human3.6M body has a top of the head where HumanEva has one point for all of it.
JOINTS = JointSets(_BODY, {15: _BODY.joints}, stands_for={"head": "head_top"})
INPUTS = {"gt": "GT", "detectron": "Mask R-CNN"}


def read(
    folder: Path, detections: str, subjects: Sequence[str], how: Conventions
) -> Iterator[Video]:
    """Every chunk of the three actions without gaps in the capture; other actions are left out.

    Raises FormatError, InputError, UnknownNameError; each names file and field.
    """
    pair = read_pair(folder, "humaneva15", detections)
    for subject in subjects:
        part = f"Validate/{subject}"
        takes = [(take, action) for take in pair.actions(part) if (action := _action(take))]
        if missing := [name for name in ACTIONS if name not in {action for _, action in takes}]:
            raise InputError(
                f"{pair.path_3d}: positions_3d[{part!r}] lacks actions",
                expected=", ".join(missing),
                found=len(takes),
            )
        for take, action in takes:
            yield from pair.videos(part, take, action, humaneva_cameras(subject), _SOURCE)


def _action(take: str) -> str | None:
    """The action of a take such as "Walking 1 chunk0", or None for one that is not judged."""
    return next((action for action in ACTIONS if take.startswith(action)), None)
