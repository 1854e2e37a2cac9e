"""3DPW: the test sequences, as the pickles of the dataset; SMPL's joints stand for the body."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from poselift.camera import Camera
from poselift.errors import FormatError, InputError, UnknownNameError
from poselift.geometry import Array
from poselift.poses import Poses2D, Poses3D
from poselift.protocols.conventions import Conventions
from poselift.protocols.legacy import read_pickle
from poselift.protocols.scoring import JointSets
from poselift.protocols.videos import (
    Video,
    about,
    check_metres,
    entry,
    listed,
    numbers,
    seen_as_confidence,
    true_joints,
)
from poselift.skeleton import skeleton

SUBJECTS = ("downtown", "flat", "office", "outdoors")  # the first word of a sequence's name
RATE_HZ = 30.0
_BODY = skeleton("smpl24")
_DETECTED = skeleton("openpose18")
_LIMBS = ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
_COMMON = (*(f"{side}_{joint}" for joint in _LIMBS for side in ("right", "left")), "neck", "head")
# SMPL's neck and head joints are the two ends of the neck.
JOINTS = JointSets(_BODY, {14: _COMMON}, stands_for={"neck": "thorax", "head": "nose"})
INPUTS = {"gt": "GT", "openpose": "OpenPose"}


def read(
    folder: Path, detections: str, subjects: Sequence[str], how: Conventions
) -> Iterator[Video]:
    """Every person of every test sequence; frames whose camera is not aligned are not judged.

    detections: `openpose`, those in the files, or `gt`, the projected joints of SMPL.
    Raises FormatError, InputError, UnknownNameError; each names file and field.
    """
    if detections not in INPUTS:
        raise UnknownNameError("2D detections of 3DPW", detections, INPUTS)
    files = _files(folder)
    found = {path.name.partition("_")[0] for path in files}
    if missing := [subject for subject in subjects if subject not in found]:
        raise InputError(
            f"{files[0].parent} lacks sequences", expected=", ".join(missing), found=sorted(found)
        )
    for path in files:
        place = path.name.partition("_")[0]
        if place in subjects:
            yield from _videos(path, place, detections)


def _files(folder: Path) -> list[Path]:
    places = (folder / "sequenceFiles" / "test", folder / "test", folder)
    for place in places:
        if files := sorted(place.glob("*.pkl")):
            return files
    raise FormatError(
        f"{folder} holds no 3DPW", expected="sequenceFiles/test/*.pkl", found="no .pkl"
    )


def _videos(path: Path, place: str, detections: str) -> Iterator[Video]:
    data, where = read_pickle(path), str(path)
    world_to_camera = numbers(entry(data, "cam_poses", where), (None, 4, 4), f"{where}: cam_poses")
    K = numbers(entry(data, "cam_intrinsics", where), (3, 3), f"{where}: cam_intrinsics")
    with about(f"{where}: cam_intrinsics"):
        camera = Camera(K, (round(2 * K[0, 2]), round(2 * K[1, 2])))
    people = listed(data, "jointPositions", None, where)
    aligned = listed(data, "campose_valid", len(people), where)
    for person, joints in enumerate(people):
        truth = _truth(joints, person, world_to_camera, where)
        field = f"{where}: campose_valid[{person}]"
        counted = numbers(aligned[person], (len(truth.time_s),), field) > 0
        if not counted.any():
            continue
        observed = _observed(data, person, truth, camera, detections, where)
        yield Video(f"{path.stem} person {person}", place, place, observed, truth, counted)


def _truth(joints: object, person: int, world_to_camera: Array, where: str) -> Poses3D:
    """A person's joints in each frame's camera."""
    field, frames = f"{where}: jointPositions[{person}]", len(world_to_camera)
    flat = numbers(joints, (frames, 3 * len(_BODY)), field)
    world_m = true_joints(flat.reshape(frames, len(_BODY), 3), len(_BODY), 1.0, field)
    rotation, shift_m = world_to_camera[:, :3, :3], world_to_camera[:, None, :3, 3]
    camera_m = world_m @ np.swapaxes(rotation, -1, -2) + shift_m
    time_s = np.arange(frames) / RATE_HZ
    truth = Poses3D(camera_m, time_s, _BODY, origin="camera", person=person)
    check_metres(truth, field)
    return truth


def _observed(
    data: Any, person: int, truth: Poses3D, camera: Camera, detections: str, where: str
) -> Poses2D:
    """SMPL's joints in the image, or OpenPose's 18 points; those without confidence are NaN."""
    field, bones = f"{where}: poses2d[{person}]", _BODY if detections == "gt" else _DETECTED
    if detections == "gt":
        points = camera.camera_to_image(truth.xyz_m)
    else:
        shape = (len(truth.time_s), 3, len(_DETECTED))
        poses = listed(data, "poses2d", len(data["jointPositions"]), where)
        points = numbers(poses[person], shape, field)
        points = points.swapaxes(1, 2)
        points = np.where(points[..., 2:] > 0, points, np.nan)
    with about(field):
        return Poses2D(
            points[..., :2],
            seen_as_confidence(points),
            truth.time_s,
            camera.size_px,
            bones,
            person,
            camera,
            history=(field,),
        )
