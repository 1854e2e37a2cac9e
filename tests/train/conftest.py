"""A tiny pack of made-up motion in the format of `poselift mocap build`."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from poselift.train.bodies import body_table

FRAMES = 240


def _zero_directions() -> np.ndarray:
    """A T-pose: arms out, legs down, everything else up."""
    rows = []
    for bone in body_table().bones:
        side = 1.0 if bone.startswith("L") else -1.0
        plain = bone.removeprefix("Left").removeprefix("Right")
        directions = {
            "UpLeg": (0.1 * side, 0, -1),
            "Leg": (0.1 * side, 0, -1),
            "Foot": (0, -1, -0.2),
            "Arm": (side, 0, 0),
            "ForeArm": (side, 0, 0),
            "Hand": (side, 0, 0),
        }
        direction = np.array(directions.get(plain, (0, 0, 1)), float)
        rows.append(direction / np.linalg.norm(direction))
    return np.array(rows)


@pytest.fixture(scope="session")
def tiny_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five clips (two for training) of somebody who swings arms and legs."""
    bones = body_table().bones
    rng = np.random.default_rng(0)
    clips = []
    for _ in range(5):
        angle = np.zeros((FRAMES, len(bones), 3))
        phase = np.linspace(0, 2 * np.pi * rng.uniform(3, 6), FRAMES)[:, None]
        swing = rng.normal(0, 0.5, (len(bones), 3)) * 0.6
        angle[:] = np.sin(phase + rng.uniform(0, 6))[:, :, None] * swing
        turn = Rotation.from_euler("z", rng.uniform(-np.pi, np.pi))
        flesh = turn * Rotation.from_rotvec(angle.reshape(-1, 3))
        clips.append(flesh.as_quat()[:, [3, 0, 1, 2]].reshape(FRAMES, len(bones), 4))
    quaternion = np.concatenate(clips)
    path = tmp_path_factory.mktemp("pack") / "tiny.npz"
    np.savez(
        path,
        bones=np.array(bones),
        source=np.arange(len(bones)),
        quaternion=(quaternion * 32767).round().astype(np.int16),
        root_m=np.tile(np.float32([0, 0, 1.0]), (len(quaternion), 1)),
        start=np.arange(5) * FRAMES,
        frames=np.full(5, FRAMES),
        rate_hz=np.full(5, 60.0),
        subject=np.array(["a", "b", "c", "d", "e"]),
        name=np.array(["a_1", "b_1", "c_1", "d_1", "e_1"]),
        archive=np.array(["cmu", "cmu", "cmu", "cmu", "hdm05"]),
        split=np.array([0, 0, 1, 2, 2]),
        weight=np.ones(5),
        leg_length_m=np.full(5, 0.85),
        zero=np.zeros(5, int),
        zero_direction_m=_zero_directions()[None],
    )
    return path
