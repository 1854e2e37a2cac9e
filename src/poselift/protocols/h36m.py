"""Human3.6M: subjects S9 and S11, 15 actions, four cameras, from the NPZ files of VideoPose3D."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from poselift.errors import FormatError, InputError
from poselift.protocols.cameras import camera_names, h36m_cameras
from poselift.protocols.conventions import Conventions
from poselift.protocols.scoring import JointSets
from poselift.protocols.videopose import Pair, Source, read_pair
from poselift.protocols.videos import Video
from poselift.skeleton import skeleton

SUBJECTS = ("S9", "S11")
ACTIONS = (
    *("Directions", "Discussion", "Eating", "Greeting", "Phoning", "Photo", "Posing", "Purchases"),
    *("Sitting", "SittingDown", "Smoking", "Waiting", "WalkDog", "Walking", "WalkTogether"),
)
_BODY = skeleton("h36m17")
_SOURCE = Source(
    _BODY,
    stored=32,
    kept=[0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27],
    cameras=camera_names("h36m"),
    rate_hz=50.0,
)
JOINTS = JointSets(
    _BODY,
    {17: _BODY.joints, 16: tuple(joint for joint in _BODY.joints if joint != "nose")},
    stands_for={},
)
# What papers call the detections, by how the file's name begins.
INPUTS = {"gt": "GT", "cpn": "CPN", "sh_": "SH", "hr": "HRNet", "detectron": "Mask R-CNN"}


def read(
    folder: Path, detections: str, subjects: Sequence[str], how: Conventions
) -> Iterator[Video]:
    """Every video of the subjects, in the files' order.

    Raises FormatError, InputError, UnknownNameError; each names file and field.
    """
    pair = read_pair(folder, "h36m", detections)
    for subject in subjects:
        _check_actions(pair, subject)
    for subject in subjects:
        cameras = h36m_cameras(subject)
        for action in pair.actions(subject):
            if how.drop_s11_directions and (subject, action) == ("S11", "Directions"):
                continue
            column = action.partition(" ")[0]
            yield from pair.videos(subject, action, column, cameras, _SOURCE)


def _check_actions(pair: Pair, subject: str) -> None:
    where = f"{pair.path_3d}: positions_3d[{subject!r}]"
    actions = {action.partition(" ")[0] for action in pair.actions(subject)}
    if unknown := actions - set(ACTIONS):
        raise FormatError(f"{where}: action", found=", ".join(sorted(unknown)), known=ACTIONS)
    if missing := [action for action in ACTIONS if action not in actions]:
        raise InputError(f"{where} lacks actions", expected=", ".join(missing), found=len(actions))
