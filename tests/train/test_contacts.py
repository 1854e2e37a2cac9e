from collections.abc import Callable

import numpy as np
import pytest

from poselift.skeleton import skeleton
from poselift.train.contacts import contacts
from poselift.train.flesh import ROTATIONS, Flesh

H36M = skeleton("h36m17")
RATE_HZ = 60.0


def walker(left_m: np.ndarray, right_m: np.ndarray, rate_hz: float = RATE_HZ) -> Flesh:
    """Level feet whose ankles go along (T, 3)."""
    frames = len(left_m)
    joints = np.zeros((frames, len(H36M), 3))
    joints[:, H36M.index("left_ankle")], joints[:, H36M.index("right_ankle")] = left_m, right_m
    return Flesh(
        rotation=np.tile(np.eye(3), (frames, len(ROTATIONS), 1, 1)),
        root_m=np.zeros((frames, 3)),
        h36m17_m=joints,
        zero_direction=np.tile([0.0, -1.0, 0.0], (len(ROTATIONS), 1)),
        leg_length_m=0.85,
        rate_hz=rate_hz,
    )


def path(shape: Callable[[np.ndarray], np.ndarray], seconds: float = 4.0) -> np.ndarray:
    """An ankle's way (T, 3) by its forward place and height over time (T, 2)."""
    forward_m, height_m = shape(np.arange(round(seconds * RATE_HZ)) / RATE_HZ).T
    return np.stack([np.zeros_like(forward_m), -forward_m, height_m + 0.08], axis=1)


def steps(rise_m: float) -> Callable[[np.ndarray], np.ndarray]:
    """A second a step: 0.6 s of rest, then 0.7 m ahead and `rise_m` up, through the air."""

    def shape(time: np.ndarray) -> np.ndarray:
        share = np.clip((time % 1 - 0.6) / 0.4, 0, 1)
        smooth = share**2 * (3 - 2 * share)
        higher = rise_m * (np.floor(time) + np.clip(1.6 * smooth, 0, 1))
        return np.stack([0.7 * (np.floor(time) + smooth), higher + 0.1 * np.sin(np.pi * share)], 1)

    return shape


def still(height_m: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda time: np.stack([0 * time, 0 * time + height_m], axis=1)


@pytest.mark.parametrize("rise_m", [0.0, 0.17, -0.17])
def test_stances_on_the_level_and_on_stairs(rise_m: float) -> None:
    foot = path(steps(rise_m))
    got = contacts(walker(foot, path(still(0.0))))
    inside = np.arange(len(foot)) / RATE_HZ % 1
    assert (got[(inside > 0.1) & (inside < 0.5), 0] == 255).all()
    assert (got[(inside > 0.7) & (inside < 0.9), 0] == 0).all()
    assert (got[:, 1] == 255).all()


def test_jumps_and_runs_through_the_air_have_none() -> None:
    def hop(time: np.ndarray) -> np.ndarray:
        since = np.clip(time - 1.0, 0, 0.6)
        return np.stack([2.0 * since, 3.0 * since - 5.0 * since**2], axis=1)

    foot = path(hop)
    got = contacts(walker(foot, foot))
    assert (got[70:90] == 0).all()
    assert (got[:50] == 255).all()
    assert (got[110:] == 255).all()


def test_a_foot_held_in_the_air_is_not_planted() -> None:
    def lifted(time: np.ndarray) -> np.ndarray:
        up = np.clip((time - 1) / 0.4, 0, 1) - np.clip((time - 3) / 0.4, 0, 1)
        return np.stack([0 * time, 0.4 * up**2 * (3 - 2 * up)], axis=1)

    got = contacts(walker(path(lifted), path(still(0.0))))
    assert (got[95:175, 0] == 0).all()
    assert (got[:50, 0] == 255).all()
    assert (got[:, 1] == 255).all()


def test_the_ball_holds_while_the_heel_lifts() -> None:
    foot = path(still(0.0))
    flesh = walker(foot, foot)
    angle = np.clip((np.arange(len(foot)) / RATE_HZ - 1) / 0.3, 0, 1) * np.pi / 4
    ball = 0.16 * 0.85
    row = ROTATIONS.index("lfoot")
    flesh.rotation[:, row, 1, 1] = flesh.rotation[:, row, 2, 2] = np.cos(angle)
    flesh.rotation[:, row, 1, 2], flesh.rotation[:, row, 2, 1] = -np.sin(angle), np.sin(angle)
    ankle = flesh.h36m17_m[:, H36M.index("left_ankle")]
    ankle[:, 1] -= ball * (1 - np.cos(angle))
    ankle[:, 2] += ball * np.sin(angle)
    assert np.linalg.norm(np.gradient(ankle, axis=0), axis=-1).max() * RATE_HZ > 0.3
    assert (contacts(flesh)[:, 0] == 255).all()


def test_ramps_lie_inside_the_stance_and_short_clips_work() -> None:
    foot = path(steps(0.0))
    got = contacts(walker(foot, foot))[:, 0].astype(int)
    soft = (got > 0) & (got < 255)
    assert 0 < soft.sum() <= 8 * 4
    assert np.abs(np.diff(got)).max() < 128
    for frames in (1, 2, 3):
        assert contacts(walker(foot[:frames], foot[:frames])).shape == (frames, 2)
