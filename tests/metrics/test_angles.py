"""Joint angles: known poses, an independent computation, and what angles must not depend on."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy.spatial.transform import Rotation

from poselift import metrics
from poselift.errors import ShapeError
from poselift.metrics.angles import ANGLES, BALLS, HINGES
from poselift.skeleton import convert, skeleton

H36M = skeleton("h36m17")
seeds = st.integers(0, 2**32 - 1)
laws = settings(max_examples=25, deadline=None)

# Somebody upright with hanging arms; x left, y up, z forward.
UPRIGHT = {
    **{"pelvis": (0, 1, 0), "spine": (0, 1.25, 0), "thorax": (0, 1.5, 0), "nose": (0, 1.6, 0.1)},
    **{"head_top": (0, 1.75, 0), "left_hip": (0.1, 1, 0), "right_hip": (-0.1, 1, 0)},
    **{"left_knee": (0.1, 0.5, 0), "right_knee": (-0.1, 0.5, 0)},
    **{"left_ankle": (0.1, 0.1, 0), "right_ankle": (-0.1, 0.1, 0)},
    **{"left_shoulder": (0.2, 1.5, 0), "right_shoulder": (-0.2, 1.5, 0)},
    **{"left_elbow": (0.2, 1.2, 0), "right_elbow": (-0.2, 1.2, 0)},
    **{"left_wrist": (0.2, 0.9, 0), "right_wrist": (-0.2, 0.9, 0)},
}


def pose(**moved: tuple[float, float, float]) -> np.ndarray:
    """One frame (1, 17, 3) of somebody upright with some joints elsewhere."""
    places = {**UPRIGHT, **moved}
    return np.array([[places[joint] for joint in H36M.joints]], dtype=float)


def clip(seed: int, frames: int = 5) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.08, (frames, 17, 3))
    return pose() + noise


def angles(**moved: tuple[float, float, float]) -> dict[str, float]:
    return {name: value[0] for name, value in metrics.joint_angles(pose(**moved), H36M).items()}


def test_somebody_upright_has_no_angles():
    found = angles()
    assert set(found) == {f"{j}_flexion" for j in (*HINGES, *BALLS)} | {
        f"{j}_abduction" for j in BALLS
    } | {"trunk_flexion", "trunk_lean", "trunk_twist"}
    np.testing.assert_allclose(list(found.values()), 0, atol=1e-9)


@pytest.mark.parametrize(
    ("moved", "expected"),
    [
        ({"left_ankle": (0.1, 0.5, -0.4)}, {"left_knee_flexion": 90}),
        ({"right_ankle": (-0.1, 0.9, 0)}, {"right_knee_flexion": 180}),
        ({"left_wrist": (0.2, 1.2, 0.3)}, {"left_elbow_flexion": 90}),
        (
            {"left_knee": (0.1, 1, 0.5), "left_ankle": (0.1, 1, 0.9)},
            {"left_hip_flexion": 90, "left_knee_flexion": 0},
        ),
        ({"right_knee": (-0.1, 0.6, -0.4)}, {"right_hip_flexion": -45}),
        ({"left_knee": (0.5, 0.6, 0)}, {"left_hip_abduction": 45, "left_hip_flexion": 0}),
        ({"right_knee": (-0.5, 0.6, 0)}, {"right_hip_abduction": 45}),
        ({"right_knee": (0.3, 0.6, 0)}, {"right_hip_abduction": -45}),
        ({"left_elbow": (0.2, 1.8, 0)}, {"left_shoulder_flexion": 180}),
        ({"right_elbow": (-0.5, 1.5, 0)}, {"right_shoulder_abduction": 90}),
        ({"thorax": (0, 1.25, 0.25)}, {"trunk_flexion": 90, "trunk_lean": 0}),
        ({"thorax": (0.25, 1.5, 0)}, {"trunk_flexion": 0, "trunk_lean": 45}),
        # The left shoulder behind: turned to the left.
        (
            {"left_shoulder": (0.2, 1.5, -0.2), "right_shoulder": (-0.2, 1.5, 0.2)},
            {"trunk_twist": 45},
        ),
    ],
)
def test_known_poses(moved, expected):
    found = angles(**moved)
    for name, degrees in expected.items():
        assert found[name] == pytest.approx(degrees, abs=1e-9), name


def test_against_a_loop_with_scipy():
    """Euler angles and arc cosines of one frame at a time."""
    xyz, other = clip(1), clip(2)
    found = metrics.joint_angles(xyz, H36M)
    error = metrics.angle_error_deg(xyz, other, H36M)
    for frame in range(len(xyz)):
        seen = []
        for body in (xyz[frame], other[frame]):
            at = dict(zip(H36M.joints, body, strict=True))
            x = at["left_hip"] - at["right_hip"]
            z = np.cross(x, at["spine"] - at["pelvis"])
            pelvis = np.array([v / np.linalg.norm(v) for v in (x, np.cross(z, x), z)])
            y = at["thorax"] - at["spine"]
            z = np.cross(at["left_shoulder"] - at["right_shoulder"], y)
            thorax = np.array([v / np.linalg.norm(v) for v in (np.cross(y, z), y, z)])
            seen.append((at, pelvis, thorax))
        at, pelvis, thorax = seen[0]
        shank, thigh = at["left_ankle"] - at["left_knee"], at["left_knee"] - at["left_hip"]
        cosine = shank @ thigh / np.linalg.norm(shank) / np.linalg.norm(thigh)
        assert found["left_knee_flexion"][frame] == pytest.approx(np.degrees(np.arccos(cosine)))
        limbs = [p @ (a["right_knee"] - a["right_hip"]) for a, p, _ in seen]
        cosine = limbs[0] @ limbs[1] / np.prod([np.linalg.norm(limb) for limb in limbs])
        assert error["right_hip"][frame] == pytest.approx(np.degrees(np.arccos(cosine)))
        left, up, forward = limbs[0]
        assert found["right_hip_flexion"][frame] == pytest.approx(
            np.degrees(np.arctan2(forward, -up))
        )
        assert found["right_hip_abduction"][frame] == pytest.approx(
            np.degrees(np.arcsin(-left / np.linalg.norm(limbs[0])))
        )
        turns = [Rotation.from_matrix(p @ t.T) for _, p, t in seen]
        turn = turns[0].inv() * turns[1]
        assert error["trunk"][frame] == pytest.approx(np.degrees(turn.magnitude()))


@laws
@given(seeds, st.floats(0.3, 3))
def test_angles_depend_neither_on_the_camera_nor_on_size_or_place(seed, scale):
    xyz, truth = clip(seed), clip(seed + 1)
    turn = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    moved = scale * xyz @ turn.T + [1, -2, 3]
    for name, degrees in metrics.joint_angles(xyz, H36M).items():
        np.testing.assert_allclose(
            metrics.joint_angles(moved, H36M)[name], degrees, atol=1e-7, err_msg=name
        )
    # Prediction and truth may even stand in different cameras.
    for name, degrees in metrics.angle_error_deg(xyz, truth, H36M).items():
        np.testing.assert_allclose(
            metrics.angle_error_deg(moved, truth, H36M)[name], degrees, atol=1e-6, err_msg=name
        )


@laws
@given(seeds)
def test_errors_are_a_distance(seed):
    """Symmetric, zero for the same pose, within 0 to 180, and the triangle holds."""
    a, b, c = (clip(seed + number) for number in range(3))
    ab, bc, ac = (metrics.angle_error_deg(*pair, H36M) for pair in ((a, b), (b, c), (a, c)))
    for name in ANGLES:
        np.testing.assert_allclose(metrics.angle_error_deg(b, a, H36M)[name], ab[name])
        np.testing.assert_allclose(metrics.angle_error_deg(a, a, H36M)[name], 0, atol=1e-6)
        assert np.all((ab[name] >= 0) & (ab[name] <= 180))
        assert np.all(ac[name] <= ab[name] + bc[name] + 1e-9)


@laws
@given(seeds)
def test_a_mirrored_body_has_the_other_sides_angles(seed):
    xyz = clip(seed)
    mirrored = xyz[:, H36M.mirror] * [-1, 1, 1]
    found, twin = metrics.joint_angles(xyz, H36M), metrics.joint_angles(mirrored, H36M)
    for name, degrees in found.items():
        other = name.replace("left_", "#").replace("right_", "left_").replace("#", "right_")
        sign = -1 if name in ("trunk_lean", "trunk_twist") else 1
        np.testing.assert_allclose(twin[other], sign * degrees, atol=1e-7, err_msg=name)


def test_joints_go_by_name():
    body = skeleton("body28")
    random = np.random.default_rng(0)
    wide = random.normal(0, 0.3, (4, len(body), 3))
    wide[:, :17] = clip(0, frames=4)
    for name, degrees in metrics.joint_angles(wide[:, :17], H36M).items():
        np.testing.assert_array_equal(metrics.joint_angles(wide, body)[name], degrees)
    # COCO-17 lacks pelvis, spine and thorax: they are built.
    coco = skeleton("coco17")
    flat = random.normal(0, 0.3, (2, 17, 3))
    found = metrics.joint_angles(flat, coco)
    built = metrics.joint_angles(convert(flat, coco, H36M), H36M)
    np.testing.assert_array_equal(found["left_hip_flexion"], built["left_hip_flexion"])


def test_only_angles_of_missing_joints_are_missing():
    xyz, truth = clip(0), clip(1)
    truth[1, H36M.index("left_wrist")] = np.nan
    xyz[2, H36M.index("left_hip")] = np.nan
    error = metrics.angle_error_deg(xyz, truth, H36M)
    missing = {name: np.flatnonzero(np.isnan(value)).tolist() for name, value in error.items()}
    nowhere: dict[str, list[int]] = {name: [] for name in ANGLES}
    expected = {"left_elbow": [1], "left_knee": [2], "left_hip": [2], "right_hip": [2]}
    assert missing == {**nowhere, **expected, "trunk": [2]}


def test_what_has_no_direction_has_no_angle_and_no_warning():
    lost = angles(left_knee=UPRIGHT["left_hip"], spine=(0.3, 1, 0))
    assert np.isnan(lost["left_knee_flexion"])  # a thigh without length
    assert np.isnan(lost["right_hip_flexion"])  # pelvis to spine along the line of the hips
    assert lost["right_knee_flexion"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("bend", [1e-9, 1e-7, 1e-4])
def test_nearly_straight_limbs_keep_their_digits(bend):
    height = 0.4 * np.sin(bend)
    found = angles(left_ankle=(0.1, 0.1, -height))["left_knee_flexion"]
    assert found == pytest.approx(np.degrees(np.arctan2(height, 0.4)), rel=1e-6)


def test_other_shapes_are_errors():
    with pytest.raises(ShapeError):
        metrics.joint_angles(clip(0)[:, :16], H36M)
    with pytest.raises(ShapeError):
        metrics.angle_error_deg(clip(0), clip(0)[:3], H36M)
