"""A tiny pack of made-up motion in the format of `poselift mocap build`."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from poselift.train.codec import without_flips
from poselift.train.flesh import BONE_SOURCE, ROTATIONS
from poselift.train.pack import Pack, read_pack, write_pack

FRAMES = 240


def _zero_directions() -> np.ndarray:
    """A T-pose (25, 3): arms out, legs down, everything else up."""
    rows = []
    for bone in ROTATIONS:
        side = 1.0 if bone.startswith("l") else -1.0
        directions = {
            "femur": (0.1 * side, 0, -1),
            "tibia": (0.1 * side, 0, -1),
            "foot": (0, -1, -0.2),
            "humerus": (side, 0, 0),
            "radius": (side, 0, 0),
            "hand": (side, 0, 0),
        }
        direction = np.array(directions.get(bone[1:], (0, 0, 1)), float)
        rows.append(direction / np.linalg.norm(direction))
    return np.array(rows)


def tiny(clips: int = 5) -> Pack:
    """Clips of somebody who swings arms and legs; each of a subject of its own."""
    rng = np.random.default_rng(0)
    parts = []
    for _ in range(clips):
        phase = np.linspace(0, 2 * np.pi * rng.uniform(3, 6), FRAMES)[:, None]
        swing = rng.normal(0, 0.5, (len(ROTATIONS), 3)) * 0.6
        angle = np.sin(phase + rng.uniform(0, 6))[:, :, None] * swing
        turn = Rotation.from_euler("z", rng.uniform(-np.pi, np.pi))
        flesh = turn * Rotation.from_rotvec(angle.reshape(-1, 3))
        quaternion = flesh.as_quat(scalar_first=True).reshape(FRAMES, len(ROTATIONS), 4)
        parts.append(without_flips(quaternion))
    frames = np.full(clips, FRAMES)
    stand = np.zeros((FRAMES, 2), np.uint8)
    stand[: FRAMES // 2, 0] = stand[FRAMES // 2 :, 1] = 255
    letters = [chr(ord("a") + clip) for clip in range(clips)]
    last = clips - 1
    return Pack(
        quaternion=np.rint(np.concatenate(parts) * 32767).astype(np.int16),
        root_m=np.tile(np.float32([0, 0, 1.0]), (clips * FRAMES, 1)),
        contact=np.tile(stand, (clips, 1)),
        start=np.cumsum(frames) - frames,
        frames=frames,
        rate_hz=np.full(clips, 60.0, np.float32),
        subject=np.array(letters),
        name=np.array([f"{letter}_1" for letter in letters]),
        archive=np.array(["cmu_asfamc"] * last + ["hdm05_asfamc"]),
        action=np.array((["walk", "dance"] * clips)[:clips]),
        split=np.array(([0, 0, 1, 2, 2] * clips)[:clips], np.int8),
        weight=np.full(clips, 0.5, np.float32),
        leg_length_m=np.full(clips, 0.85, np.float32),
        zero=np.zeros(clips, np.int16),
        zero_direction_m=_zero_directions()[None].astype(np.float32),
        bones=tuple(BONE_SOURCE),
        source=np.array([ROTATIONS.index(name) for name in BONE_SOURCE.values()], np.int16),
        licence=("made up",),
        credit=("nobody",),
    )


@pytest.fixture(scope="session")
def tiny_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five clips: two for training, then one each of validation, test, another laboratory."""
    path = tmp_path_factory.mktemp("pack") / "tiny.npz"
    write_pack(path, tiny())
    return path


@pytest.fixture
def made_up_pack() -> Pack:
    """The pack of `tiny_pack` before it was written."""
    return tiny()


@pytest.fixture(scope="session")
def tiny_pack_read(tiny_pack: Path) -> Pack:
    """The same, read."""
    return read_pack(tiny_pack)
