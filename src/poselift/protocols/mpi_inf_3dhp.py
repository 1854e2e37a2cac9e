"""MPI-INF-3DHP: the test sequences TS1 to TS6 in the NPZ file of P-STMO."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from poselift.errors import FormatError, UnknownNameError
from poselift.poses import Poses2D, Poses3D
from poselift.protocols.conventions import Conventions
from poselift.protocols.legacy import read_entry
from poselift.protocols.scoring import JointSets
from poselift.protocols.videos import (
    Video,
    about,
    check_metres,
    entry,
    find_file,
    numbers,
    seen_as_confidence,
    true_joints,
)
from poselift.skeleton import skeleton

FILE = "data_test_3dhp.npz"
SUBJECTS = ("TS1", "TS2", "TS3", "TS4", "TS5", "TS6")
SIZES_PX = {name: (2048, 2048) for name in SUBJECTS[:4]} | {
    name: (1920, 1080) for name in SUBJECTS[4:]
}
RATE_HZ = 25.0  # the file holds no times; a lifter uses this to choose its steps
_BODY = skeleton("mpi_inf_3dhp17")
_MIDDLE = ("pelvis", "spine1", "head")
# Which joint of Human3.6M stands for which, as in EvoSkeleton's evaluation. PCK and AUC leave out
# pelvis, spine and head, as the joint groups of the dataset's own script do.
_STANDS_FOR = {"neck": "thorax", "spine1": "spine", "head": "nose"}
JOINTS = JointSets(
    _BODY,
    {17: _BODY.joints, 14: tuple(joint for joint in _BODY.joints if joint not in _MIDDLE)},
    _STANDS_FOR,
    pck_joints=14,
)
INPUTS = {"gt": "GT"}
_OBSERVED = skeleton("h36m17")
_FIELDS = ("data_3d", "data_2d", "valid")


def read(
    folder: Path, detections: str, subjects: Sequence[str], how: Conventions
) -> Iterator[Video]:
    """The test sequences: all frames are lifted, the valid ones are judged. 2D is the true one.

    Raises FormatError, InputError, UnknownNameError; each names file and field.
    """
    if detections not in INPUTS:
        raise UnknownNameError("2D detections of MPI-INF-3DHP", detections, INPUTS)
    path = find_file(folder, FILE)
    data = read_entry(path, "data")
    for name in subjects:
        entry(data, name, f"{path}: data")
    for name in subjects:
        yield _video(data, name, f"{path}: data[{name!r}]")


def _video(data: object, name: str, where: str) -> Video:
    sequence = entry(data, name, where)
    data_3d, data_2d, valid = (entry(sequence, key, where) for key in _FIELDS)
    camera_m = true_joints(data_3d, len(_BODY), 1e-3, f"{where}['data_3d']")
    xy_px = numbers(data_2d, (len(camera_m), len(_BODY), 2), f"{where}['data_2d']")
    valid = numbers(np.ravel(valid), (len(camera_m),), f"{where}['valid']")
    if not np.isin(valid, (0, 1)).all() or not valid.any():
        raise FormatError(f"{where}['valid']", expected="0 and 1, some 1", found=np.unique(valid))
    time_s = np.arange(len(camera_m)) / RATE_HZ
    truth = Poses3D(camera_m, time_s, _BODY, origin="camera")
    check_metres(truth, f"{where}['data_3d']")
    names = {_STANDS_FOR.get(joint, joint): place for place, joint in enumerate(_BODY.joints)}
    order = [names[joint] for joint in _OBSERVED.joints]
    with about(f"{where}['data_2d']"):
        observed = Poses2D(
            xy_px[:, order],
            seen_as_confidence(xy_px[:, order]),
            time_s,
            SIZES_PX[name],
            _OBSERVED,
            history=(f"{FILE}: {name}", f"joints: {_BODY.name} to {_OBSERVED.name}"),
        )
    return Video(name, name, name, observed, truth, valid.astype(np.bool_))
