import os
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from poselift.errors import FormatError
from poselift.geometry import unit
from poselift.skeleton import skeleton
from poselift.train.archives import clip_files
from poselift.train.clips import build
from poselift.train.flesh import MOCAP_TO_WORLD, ROTATIONS, Flesh
from poselift.train.pack import read_pack
from poselift.train.positions import SMOOTH_S, fit
from poselift.train.uiprmd import JOINTS, Points, read_points

H36M = skeleton("h36m17")
FRAMES, RATE_HZ = 200, 50.0

# Somebody who stands with arms out, in the file's axes: x left, y up, z forward.
MIDDLE = {
    "pelvis": (0, 0.90, 0),
    "spine": (0, 1.18, 0),
    "thorax": (0, 1.40, -0.01),
    "head": (0, 1.60, 0.03),
    "headfront": (0, 1.60, 0.11),
}
LEFT = {
    "hip": (0.09, 0.90, 0),
    "knee": (0.09, 0.48, 0.01),
    "ankle": (0.09, 0.08, 0),
    "heel": (0.09, 0.06, -0.03),
    "toe": (0.09, 0.05, 0.15),
    "shoulder": (0.17, 1.36, -0.01),
    "elbow": (0.46, 1.36, -0.01),
    "wrist": (0.71, 1.36, -0.01),
    "hand": (0.79, 1.36, -0.01),
}


def standing() -> dict[str, np.ndarray]:
    at = dict(MIDDLE)
    for name, (x, y, z) in LEFT.items():
        at["l" + name], at["r" + name] = (x, y, z), (-x, y, z)
    return {name: np.tile(np.array(place, float), (FRAMES, 1)) for name, place in at.items()}


def bent(at: dict[str, np.ndarray], joint: str, beyond: list[str], turn: Rotation) -> None:
    """Turn the joints beyond one about it, frame by frame."""
    for name in beyond:
        at[name] = at[joint] + turn.apply(at[name] - at[joint])


def about(axis: str, angle_deg: np.ndarray) -> Rotation:
    return Rotation.from_euler(axis, np.broadcast_to(angle_deg, FRAMES)[:, None], degrees=True)


def wave(low: float, high: float) -> np.ndarray:
    return low + (high - low) * (1 - np.cos(np.linspace(0, 4 * np.pi, FRAMES))) / 2


def fitted(at: dict[str, np.ndarray]) -> Flesh:
    return fit(Points(at, RATE_HZ), 60.0)


def turned_deg(flesh: Flesh, bone: str) -> np.ndarray:
    return np.degrees(Rotation.from_matrix(flesh.rotation[:, ROTATIONS.index(bone)]).magnitude())


def local(flesh: Flesh, bone: str, parent: str) -> Rotation:
    rows = [flesh.rotation[:, ROTATIONS.index(name)] for name in (parent, bone)]
    return Rotation.from_matrix(np.swapaxes(rows[0], -1, -2) @ rows[1])


def exercise() -> dict[str, np.ndarray]:
    """Squats with a knee lift, arms that wave, a trunk that leans and all of it turning."""
    at = standing()
    for side, sign in (("l", 1), ("r", -1)):
        arm, leg = ("elbow", "wrist", "hand"), ("knee", "ankle", "heel", "toe")
        bent(at, f"{side}elbow", [side + name for name in arm[1:]], about("y", -sign * wave(0, 80)))
        bent(
            at, f"{side}shoulder", [side + name for name in arm], about("z", -sign * wave(-70, 60))
        )
        bent(at, f"{side}knee", [side + name for name in leg[1:]], about("x", wave(0, 100)))
        bent(at, f"{side}hip", [side + name for name in leg], about("x", -wave(0, 90)))
    upper = ["thorax", "head", "headfront"]
    upper += [side + name for side in "lr" for name in ("shoulder", "elbow", "wrist", "hand")]
    bent(at, "spine", upper, about("x", wave(0, 35)))
    bent(at, "pelvis", [name for name in at if name != "pelvis"], about("y", wave(-150, 150)))
    return at


class TestFit:
    def test_standing_in_the_zero_pose_is_hardly_turned(self) -> None:
        flesh = fitted(standing())
        for bone in ROTATIONS:
            assert turned_deg(flesh, bone).max() < (12 if bone in ("lowerneck", "upperneck") else 9)
        for bone in ("root", "lfemur", "rfemur", "lhumerus", "rhumerus", "lradius", "head"):
            assert turned_deg(flesh, bone).max() < 3

    def test_limbs_point_where_the_joints_lie(self) -> None:
        flesh = fitted(exercise())
        limbs = {
            "femur": ("hip", "knee"),
            "tibia": ("knee", "ankle"),
            "humerus": ("shoulder", "elbow"),
            "radius": ("elbow", "wrist"),
        }
        for side in ("left", "right"):
            for bone, (start, end) in limbs.items():
                row = ROTATIONS.index(side[0] + bone)
                got = flesh.rotation[:, row] @ flesh.zero_direction[row]
                a, b = (flesh.h36m17_m[:, H36M.index(f"{side}_{name}")] for name in (start, end))
                off = np.degrees(np.linalg.norm(got - unit(b - a), axis=-1))
                assert off.max() < 1e-4

    def test_feet_hands_and_collar_bones_too(self) -> None:
        at = {
            name: gaussian_filter1d(xyz, SMOOTH_S * RATE_HZ, axis=0, mode="nearest")
            for name, xyz in exercise().items()
        }
        flesh = fitted(exercise())
        zero = dict(zip(ROTATIONS, flesh.zero_direction, strict=True))
        # The toe's marker lies on the foot: 8 degrees above where a body's foot bone points.
        marker = np.array([0, -np.cos(np.radians(10)), -np.sin(np.radians(10))])
        assert np.degrees(np.arccos(marker @ zero["lfoot"])) == pytest.approx(8.1, abs=0.1)
        for side in "lr":
            for bone, start, end, along in (
                ("hand", f"{side}wrist", f"{side}hand", zero[f"{side}hand"]),
                ("clavicle", "thorax", f"{side}shoulder", zero[f"{side}clavicle"]),
                ("foot", f"{side}ankle", f"{side}toe", marker),
            ):
                got = flesh.rotation[:, ROTATIONS.index(side + bone)] @ along
                way = unit(at[end] - at[start]) @ MOCAP_TO_WORLD.T
                assert np.degrees(np.linalg.norm(got - way, axis=-1)).max() < 1e-4
        eye = flesh.rotation @ np.swapaxes(flesh.rotation, -1, -2)
        np.testing.assert_allclose(eye, np.broadcast_to(np.eye(3), eye.shape), atol=1e-9)
        assert np.linalg.det(flesh.rotation).min() > 0.99

    def test_everything_turns_with_the_body(self) -> None:
        at = exercise()
        turn = Rotation.from_euler("y", 70, degrees=True)
        a, b = fitted(at), fitted({name: turn.apply(xyz) for name, xyz in at.items()})
        about_up = Rotation.from_euler("z", 70, degrees=True).as_matrix()
        np.testing.assert_allclose(b.rotation, about_up @ a.rotation, atol=1e-6)

    def test_a_mirrored_body_gives_mirrored_rotations(self) -> None:
        at = exercise()
        bent(at, "lhip", ["lknee", "lankle", "lheel", "ltoe"], about("z", wave(0, 30)))
        swapped = {
            {"l": "r", "r": "l"}[name[0]] + name[1:] if name[0] in "lr" else name: xyz * (-1, 1, 1)
            for name, xyz in at.items()
        }
        a, b = fitted(at), fitted(swapped)
        mirror = np.diag([-1.0, 1.0, 1.0])
        for row, bone in enumerate(ROTATIONS):
            twin = bone
            if bone[0] + bone[1:] not in ("root", "lowerback", "lowerneck"):
                twin = {"l": "r", "r": "l"}.get(bone[0], bone[0]) + bone[1:]
            expected = mirror @ a.rotation[:, ROTATIONS.index(twin)] @ mirror
            np.testing.assert_allclose(b.rotation[:, row], expected, atol=1e-6)

    def test_hinges_bend_about_their_axes(self) -> None:
        at = standing()
        bent(at, "relbow", ["rwrist", "rhand"], about("y", 70.0))
        bent(at, "rshoulder", ["relbow", "rwrist", "rhand"], about("x", -40.0))
        bent(at, "lknee", ["lankle", "lheel", "ltoe"], about("x", 60.0))
        bent(at, "lhip", ["lknee", "lankle", "lheel", "ltoe"], about("y", 30.0))
        flesh = fitted(at)
        # The upper arm is turned about itself by the 40 degrees that lift the bent forearm, and
        # the thigh by the 30 that turn the bent knee out: all but what the carrier holds back.
        humerus = local(flesh, "rhumerus", "rclavicle").as_rotvec(degrees=True)
        assert humerus[:, 0].mean() == pytest.approx(-40, abs=3)
        femur = local(flesh, "lfemur", "root").as_rotvec(degrees=True)
        assert femur[:, 2].mean() == pytest.approx(30, abs=2)
        shank = local(flesh, "ltibia", "lfemur").as_rotvec(degrees=True)
        np.testing.assert_allclose(shank[:, 0], 60, atol=3)
        assert np.abs(shank[:, 1:]).max() < 3
        forearm = local(flesh, "rradius", "rhumerus").as_rotvec(degrees=True)
        np.testing.assert_allclose(forearm[:, 2], 70, atol=3)

    def test_twist_is_steady_where_limbs_are_straight(self) -> None:
        rng = np.random.default_rng(0)
        at = exercise()
        noisy = {name: xyz + rng.normal(0, 0.001, xyz.shape) for name, xyz in at.items()}
        # Overstretched by 3 degrees at the straightest: the plane of the bend flips.
        bent(noisy, "lknee", ["lankle", "lheel", "ltoe"], about("x", -3.0))
        flesh = fitted(noisy)
        cosine = (np.einsum("tbij,tbij->tb", flesh.rotation[1:], flesh.rotation[:-1]) - 1) / 2
        speed = np.degrees(np.arccos(np.clip(cosine, -1, 1))) * RATE_HZ
        clean = fitted(at)
        cosine = (np.einsum("tbij,tbij->tb", clean.rotation[1:], clean.rotation[:-1]) - 1) / 2
        allowed = np.degrees(np.arccos(np.clip(cosine, -1, 1))).max(0) * RATE_HZ
        limbs = [ROTATIONS.index(s + b) for s in "lr" for b in ("femur", "tibia", "humerus")]
        assert (speed.max(0) < allowed + 120)[limbs].all()

    def test_rate_is_a_whole_fraction(self) -> None:
        flesh = fit(Points(standing(), RATE_HZ), 25.0)
        assert (flesh.rate_hz, len(flesh.root_m)) == (25.0, FRAMES // 2)
        assert flesh.leg_length_m == pytest.approx(0.82, abs=0.005)


# --------------------------------------------------------------------------------------- reader
def write_set(path: Path, **changes: object) -> Path:
    """Two recordings, the second of them with bones that are not to be trusted."""
    at = exercise()
    xyz = np.stack([at[name] for name in JOINTS], axis=1) * 1000
    arrays: dict[str, object] = {
        "xyz_mm": np.tile(np.rint(xyz).astype(np.int16), (2, 1, 1)),
        "names": np.array(JOINTS),
        "fps": np.array(RATE_HZ),
        "clip": np.array(["m01_s01_e01", "m01_s09_e02_inc"]),
        "subject": np.array([1, 9]),
        "action": np.array(["deep squat", "sit to stand (incorrect execution)"]),
        "start": np.array([0, FRAMES]),
        "frames": np.array([FRAMES, FRAMES]),
        "bone_sd_mm": np.array([5.0, 40.0], np.float32),
    }
    arrays |= changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


class TestReader:
    def test_recordings_become_clips(self, tmp_path: Path) -> None:
        path = write_set(tmp_path / "uiprmd_50hz.npz")
        clips = clip_files(path, "uiprmd_50hz", {})
        assert [(c.name, c.subject, c.action) for c in clips] == [
            ("uiprmd_50hz/m01_s01_e01", "uiprmd_01", "exercise"),
            ("uiprmd_50hz/m01_s09_e02_inc", "uiprmd_09", "sit"),
        ]
        points = read_points(path, "m01_s01_e01")
        np.testing.assert_allclose(points.at_m["lknee"], exercise()["lknee"], atol=0.00051)

    def test_build_packs_what_is_sound(self, tmp_path: Path) -> None:
        write_set(tmp_path / "uiprmd_50hz.npz")
        summary = build(tmp_path, tmp_path / "out.npz")
        pack = read_pack(tmp_path / "out.npz")
        assert (list(pack.subject), list(pack.rate_hz)) == (["uiprmd_01"], [25.0])
        assert "PDDL" in pack.licence[0]
        (reason,) = summary.left_out.values()
        assert (
            reason
            == "bone lengths of the recording: expected a spread (sd) of up to 28 mm, found 40.0"
        )

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"fps": None}, "fps: expected this field"),
            ({"names": np.array([*JOINTS[:-1], "tail"])}, "names: expected rhand"),
            ({"frames": np.array([FRAMES, FRAMES + 1])}, "start: expected clips inside xyz_mm"),
            ({"subject": np.array([1])}, r"subject: expected \(2,\), found \(1,\)"),
            ({"xyz_mm": np.zeros((400, 22, 3), np.int16)}, r"xyz_mm: expected \(frames, 23, 3\)"),
        ],
    )
    def test_names_file_and_field(
        self, tmp_path: Path, changes: dict[str, object], message: str
    ) -> None:
        path = write_set(tmp_path / "odd.npz", **changes)
        with pytest.raises(FormatError, match=rf"odd\.npz: {message}"):
            clip_files(path, "uiprmd_50hz", {})

    def test_damaged_files(self, tmp_path: Path) -> None:
        (tmp_path / "odd.npz").write_bytes(b"PK\x03\x04 no zip")
        with pytest.raises(FormatError, match=r"odd\.npz: expected a sound \.npz"):
            clip_files(tmp_path / "odd.npz", "uiprmd_50hz", {})


@pytest.mark.skipif(
    "POSELIFT_MOCAP" not in os.environ, reason="POSELIFT_MOCAP names no folder of mocap archives"
)
def test_real_recordings_keep_their_limbs_and_turn_smoothly() -> None:
    path = Path(os.environ["POSELIFT_MOCAP"]) / "uiprmd_50hz.npz"
    for clip in clip_files(path, "uiprmd_50hz", {})[2::193]:
        flesh = fit(read_points(path, clip.trial), 25.0)
        row = ROTATIONS.index("rtibia")
        joints = [flesh.h36m17_m[:, H36M.index(f"right_{name}")] for name in ("knee", "ankle")]
        got = flesh.rotation[:, row] @ flesh.zero_direction[row]
        np.testing.assert_allclose(got, unit(joints[1] - joints[0]), atol=1e-9)
        cosine = (np.einsum("tbij,tbij->tb", flesh.rotation[1:], flesh.rotation[:-1]) - 1) / 2
        speed = np.degrees(np.arccos(np.clip(cosine, -1, 1))) * flesh.rate_hz
        assert (
            speed[:, [bone for bone, name in enumerate(ROTATIONS) if "hand" not in name]].max()
            < 700
        )
