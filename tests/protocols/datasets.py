"""Tiny datasets in exactly the formats that users have: a body that sways, seen by real cameras."""

import json
import pickle
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from poselift.poses import Poses2D, Poses3D
from poselift.protocols.h36m import ACTIONS
from poselift.skeleton import skeleton

H36M = skeleton("h36m17")
# Where VideoPose3D's 17 joints stand among the 32 of the raw dataset.
OF_32 = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]
SYMMETRY = {
    "h36m17": [[4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]],
    "h36m16": [[4, 5, 6, 10, 11, 12], [1, 2, 3, 13, 14, 15]],
    "mpii16": [[3, 4, 5, 13, 14, 15], [0, 1, 2, 10, 11, 12]],
    "coco17": [[1, 3, 5, 7, 9, 11, 13, 15], [2, 4, 6, 8, 10, 12, 14, 16]],
    "humaneva15": [[2, 3, 4, 8, 9, 10], [5, 6, 7, 11, 12, 13]],
}
# x to the person's left, y forward, z up; metres.
_STANDING = {
    "pelvis": (0, 0, 0.95),
    "right_hip": (-0.13, 0, 0.95),
    "right_knee": (-0.14, 0.05, 0.50),
    "right_ankle": (-0.14, 0, 0.08),
    "left_hip": (0.13, 0, 0.95),
    "left_knee": (0.14, 0.05, 0.50),
    "left_ankle": (0.14, 0, 0.08),
    "spine": (0, -0.02, 1.18),
    "thorax": (0, -0.03, 1.42),
    "nose": (0, 0.05, 1.55),
    "head_top": (0, 0, 1.72),
    "left_shoulder": (0.17, -0.03, 1.40),
    "left_elbow": (0.22, -0.02, 1.12),
    "left_wrist": (0.24, 0.08, 0.88),
    "right_shoulder": (-0.17, -0.03, 1.40),
    "right_elbow": (-0.22, -0.02, 1.12),
    "right_wrist": (-0.24, 0.08, 0.88),
}


def body_m(frames: int, seed: int = 0) -> np.ndarray:
    """World joints (frames, 17, 3) of Human3.6M in metres, z up: standing, swaying, walking on."""
    rng = np.random.default_rng(seed)
    base = np.array([_STANDING[joint] for joint in H36M.joints])
    swing = 0.04 * rng.standard_normal((17, 3))
    time = np.arange(frames)[:, None, None]
    walk = np.array([0.01, 0.02, 0.0]) * time
    return base + swing * np.sin(0.3 * time + seed) + walk


def h36m_table() -> dict[str, Any]:
    path = files("poselift.protocols").joinpath("tables", "h36m_cameras.json")
    return json.loads(path.read_text(encoding="utf-8"))


def into_camera(world_m: np.ndarray, place: dict[str, list[float]]) -> np.ndarray:
    """q⁻¹ (X - t) q by the quaternion product itself."""
    w, *xyz = place["quaternion_wxyz"]
    back = -np.array(xyz)
    points = world_m - np.array(place["position_mm"]) / 1000
    turned = 2 * np.cross(back, points)
    return points + w * turned + np.cross(back, turned)


def h36m_pixels(camera_m: np.ndarray, camera: dict[str, Any]) -> np.ndarray:
    """Human3.6M's projection as VideoPose3D and its descendants have it."""
    f, c, p = (np.array(camera[name]) for name in ("focal_px", "centre_px", "p"))
    x = camera_m[..., :2] / camera_m[..., 2:]
    r2 = np.sum(x**2, axis=-1, keepdims=True)
    k1, k2, k3 = camera["k"]
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    return f * (x * (radial + np.sum(p * x, axis=-1, keepdims=True)) + p * r2) + c


def save(path: Path, **entries: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path, **{name: np.array(value, dtype=object) for name, value in entries.items()}
    )
    return path


def metadata(layout: str) -> dict[str, Any]:
    sides = SYMMETRY[layout]
    return {"layout_name": layout, "num_joints": len(skeleton(layout)), "keypoints_symmetry": sides}


def h36m(
    folder: Path,
    frames: int = 4,
    *,
    subjects: tuple[str, ...] = ("S9", "S11"),
    actions: tuple[str, ...] = ACTIONS,
    detections: str = "gt",
    layout: str = "h36m17",
    extra_2d: int = 1,
    changed: Any = lambda three, two: None,
) -> Path:
    """Both NPZ files of VideoPose3D; 2D videos are `extra_2d` frames longer. Returns `folder`."""
    table = h36m_table()
    three: dict[str, Any] = {}
    two: dict[str, Any] = {}
    for subject in subjects:
        three[subject], two[subject] = {}, {}
        for number, action in enumerate(actions):
            length = frames + number % 3  # columns of different weight
            world = body_m(length + extra_2d, seed=number + len(subject)).astype(np.float32)
            stored = np.zeros((length, 32, 3), np.float32)
            stored[:, OF_32] = world[:length]
            three[subject][action] = stored
            views = zip(table["cameras"], table["subjects"][subject], strict=True)
            seen = [h36m_pixels(into_camera(world, place), camera) for camera, place in views]
            columns = [H36M.index(joint) for joint in skeleton(layout).joints]
            two[subject][action] = [xy[:, columns].astype(np.float32) for xy in seen]
    changed(three, two)
    save(folder / "data_3d_h36m.npz", positions_3d=three)
    path = folder / f"data_2d_h36m_{detections}.npz"
    save(path, positions_2d=two, metadata=metadata(layout))
    return folder


def humaneva(folder: Path, frames: int = 4) -> Path:
    """HumanEva's NPZ files of VideoPose3D, with chunks and an action that is not judged."""
    bones = skeleton("humaneva15")
    names = [{"head": "head_top"}.get(joint, joint) for joint in bones.joints]
    columns = [H36M.index(name) for name in names]
    takes = ("Walking 1 chunk0", "Walking 1 chunk2", "Jog 1 chunk0", "Box 1 chunk0")
    three: dict[str, Any] = {}
    two: dict[str, Any] = {}
    for number, subject in enumerate(("S1", "S2", "S3")):
        for part in (f"Train/{subject}", f"Validate/{subject}"):
            three[part], two[part] = {}, {}
            for place, take in enumerate((*takes, "Gestures 1 chunk0")):
                world = body_m(frames + place, seed=10 * number + place)[:, columns]
                three[part][take] = world.astype(np.float32)
                xy = 300 + 150 * world[..., [0, 2]]  # any 2D: only its shape matters here
                two[part][take] = [xy.astype(np.float32)] * 3
    save(folder / "data_3d_humaneva15.npz", positions_3d=three)
    meta = metadata("humaneva15")
    save(folder / "data_2d_humaneva15_gt.npz", positions_2d=two, metadata=meta)
    return folder


def camera_axes(world_m: np.ndarray) -> np.ndarray:
    """World joints seen by a level camera 4 m away: x right, y down, z forward."""
    return world_m[..., [0, 2, 1]] * np.array([1, -1, 1]) + np.array([0, 1, 4.0])


def mpi_inf_3dhp(folder: Path, frames: int = 6, changed: Any = lambda data: None) -> Path:
    """The test file of P-STMO: millimetres, camera axes, every second frame valid."""
    bones = skeleton("mpi_inf_3dhp17")
    same = {"neck": "thorax", "spine1": "spine", "head": "nose"}
    columns = [H36M.index(same.get(joint, joint)) for joint in bones.joints]
    data: dict[str, Any] = {}
    for number in range(1, 7):
        width, height = (2048, 2048) if number < 5 else (1920, 1080)
        camera_m = camera_axes(body_m(frames + number, seed=number))[:, columns]
        xy = 1500 * camera_m[..., :2] / camera_m[..., 2:] + np.array([width, height]) / 2
        valid = (np.arange(len(camera_m)) % 2 == 0).astype(float)
        data[f"TS{number}"] = {"data_2d": xy, "data_3d": camera_m * 1000, "valid": valid}
    changed(data)
    save(folder / "data_test_3dhp.npz", data=data)
    return folder


PLACES_3DPW = (
    "downtown_walking_00",
    "flat_guitar_01",
    "office_phoneCall_00",
    "outdoors_fencing_01",
)


def smpl_m(frames: int, seed: int) -> np.ndarray:
    """World joints (frames, 24, 3) of SMPL: those of Human3.6M, the rest at the pelvis."""
    bones, body = skeleton("smpl24"), body_m(frames, seed)
    same = {"neck": "thorax", "head": "nose"}
    names = [same.get(joint, joint) for joint in bones.joints]
    columns = [H36M.index(name) if name in H36M else 0 for name in names]
    return body[:, columns]


def sequence_3dpw(frames: int, people: int, seed: int) -> dict[str, Any]:
    """What a pickle of 3DPW holds, without the parts of SMPL that nothing here reads."""
    world = [smpl_m(frames, seed + person) for person in range(people)]
    pose = np.eye(4)
    pose[:3, :3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    pose[:3, 3] = [0, 1, 4.0]
    detected = np.zeros((frames, 3, 18))
    detected[:, 0], detected[:, 1], detected[:, 2] = 500.0, 900.0, 0.8
    detected[:, 0] += np.arange(18)
    detected[:, :, 17] = 0  # an ear that was not seen
    valid = np.ones(frames)
    valid[-1] = 0
    return {
        "sequence": "downtown",
        "genders": ["m"] * people,
        "betas": [np.zeros(10)] * people,
        "cam_poses": np.repeat(pose[None], frames, 0),
        "cam_intrinsics": np.array([[1960.0, 0, 540], [0, 1960.0, 960], [0, 0, 1]]),
        "campose_valid": [valid] * people,
        "jointPositions": [xyz.reshape(frames, 72) for xyz in world],
        "poses2d": [detected] * people,
    }


def threedpw(folder: Path, frames: int = 5, changed: Any = lambda name, data: None) -> Path:
    """Sequences of the test split as the old pickles of the dataset (protocol 2)."""
    test = folder / "sequenceFiles" / "test"
    test.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(PLACES_3DPW):
        data = sequence_3dpw(frames + number, people=1 + number % 2, seed=number)
        changed(name, data)
        (test / f"{name}.pkl").write_bytes(pickle.dumps(data, protocol=2))
    return folder


def knows_all(videos: Any, change: Any = lambda xyz_m, video: xyz_m) -> Any:
    """A lifter that knows the truth of every video, on the dataset's skeleton, and spoils it."""
    answers = {video.observed.history[0]: video for video in videos}

    def lift(observed: Poses2D) -> Poses3D:
        video = answers[observed.history[0]]
        bones = video.truth.skeleton
        xyz_m = video.truth.xyz_m - video.truth.xyz_m[:, [bones.index("pelvis")]]
        return Poses3D(change(xyz_m.copy(), video), observed.time_s, bones)

    return lift
