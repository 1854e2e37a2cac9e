import io
import json
import math
import tarfile
from dataclasses import replace
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from poselift.errors import FormatError, InputError, OutputError
from poselift.skeleton import skeleton
from poselift.train import archives, cleaning
from poselift.train.archives import (
    clip_files,
    folders,
    read_clip,
    read_index,
    split_of,
    track_of,
    unpack,
)
from poselift.train.balance import clip_weights, diversity
from poselift.train.clips import build
from poselift.train.flesh import BONE_SOURCE, ROTATIONS, Flesh, to_flesh
from poselift.train.mocap import read_amc, read_asf, read_bvh, to_h36m17
from poselift.train.motion import CMU_UNIT_M, Motion
from poselift.train.pack import read_pack
from poselift.train.pieces import head_pitches_deg, quantised
from poselift.train.summary import print_summary

H36M = skeleton("h36m17")

# A whole body with CMU's bones: direction, length in units, axis, dof. Sides are mirrored.
MIDDLE = {
    "lowerback": ((0, 1, 0), 2.0, (0, 0, 0), "rx ry rz"),
    "upperback": ((0, 1, 0), 2.0, (0, 0, 0), "rx ry rz"),
    "thorax": ((0, 1, 0), 2.0, (0, 0, 0), "rx ry rz"),
    "lowerneck": ((0, 1, 0), 1.7, (0, 0, 0), "rx ry rz"),
    "upperneck": ((0, 1, 0), 1.7, (0, 0, 0), "rx ry rz"),
    "head": ((0, 1, 0), 1.7, (0, 0, 0), "rx ry rz"),
}
LEFT = {
    "lhipjoint": ((0.6, -0.8, 0), 2.5, (0, 0, 0), ""),
    "lfemur": ((0.342, -0.94, 0), 7.4, (0, 0, 20), "rx ry rz"),
    "ltibia": ((0.342, -0.94, 0), 7.3, (0, 0, 20), "rx"),
    "lfoot": ((0.1, -0.3, 0.95), 2.2, (-90, 0, 20), "rx rz"),
    "ltoes": ((0, 0, 1), 1.1, (-90, 0, 20), "rx"),
    "lclavicle": ((0.9, 0.4, 0), 3.5, (0, 0, 0), "ry rz"),
    "lhumerus": ((1, 0, 0), 5.1, (180, 30, 90), "rx ry rz"),
    "lradius": ((1, 0, 0), 3.6, (180, 30, 90), "rx"),
    "lwrist": ((1, 0, 0), 1.8, (180, 30, 90), "ry"),
    "lhand": ((1, 0, 0), 0.5, (180, 30, 90), "rx rz"),
    "lfingers": ((1, 0, 0), 0.4, (180, 30, 90), "rx"),
    "lthumb": ((0.7, 0, 0.7), 0.5, (90, 30, 90), "rx rz"),
}
CHAINS = """root lhipjoint rhipjoint lowerback
lhipjoint lfemur\nlfemur ltibia\nltibia lfoot\nlfoot ltoes
rhipjoint rfemur\nrfemur rtibia\nrtibia rfoot\nrfoot rtoes
lowerback upperback\nupperback thorax\nthorax lowerneck lclavicle rclavicle
lowerneck upperneck\nupperneck head
lclavicle lhumerus\nlhumerus lradius\nlradius lwrist\nlwrist lhand lthumb\nlhand lfingers
rclavicle rhumerus\nrhumerus rradius\nrradius rwrist\nrwrist rhand rthumb\nrhand rfingers"""

# Degrees that turn the T-pose into somebody who stands with arms half down, elbows a little bent.
STANDING = {
    "lfemur": (0, 0, -20),
    "rfemur": (0, 0, 20),
    "lhumerus": (0, 0, -60),
    "rhumerus": (0, 0, 60),
    "lradius": (30,),
    "rradius": (30,),
}


def bones() -> dict[str, tuple]:
    right = {}
    for name, ((x, y, z), length, (a, b, c), dof) in LEFT.items():
        right["r" + name[1:]] = ((-x, y, z), length, (a, -b, -c), dof)
    return {**MIDDLE, **LEFT, **right}


def write_asf(path: Path) -> Path:
    rows = [":units", "length 0.45", "angle deg", ":root", "order TX TY TZ RX RY RZ", "axis XYZ"]
    rows += ["position 0 0 0", "orientation 0 0 0", ":bonedata"]
    for name, (direction, length, axis, dof) in bones().items():
        rows += ["begin", f"name {name}", "direction " + " ".join(map(str, direction))]
        rows += [f"length {length}", "axis " + " ".join(map(str, axis)) + " XYZ"]
        rows += [f"dof {dof}", "end"] if dof else ["end"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*rows, ":hierarchy", "begin", CHAINS, "end"]))
    return path


def write_amc(path: Path, frames: int = 120, seed: int = 0, sway_deg: float = 12.0) -> Path:
    """Somebody who stands at height 17 units, sways in all joints and turns slowly."""
    rng = np.random.default_rng(seed)
    phases = {name: rng.uniform(0, 6, 3) for name in bones()}
    rows = [":FULLY-SPECIFIED", ":DEGREES"]
    for frame in range(frames):
        rows += [str(frame + 1), f"root {0.01 * frame:.3f} 17 0 0 {frame / 2:.3f} 0"]
        for name, (_, _, _, dof) in bones().items():
            if dof:
                count = len(dof.split())
                sway = sway_deg * np.sin(0.06 * frame + phases[name][:count])
                angles = sway + np.resize(STANDING.get(name, (0, 0, 0)), count)
                rows.append(f"{name} " + " ".join(f"{angle:.4f}" for angle in angles))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n")
    return path


def source_folder(folder: Path) -> Path:
    """Three subjects, one of each split, in the layout of the archive of CMU's ASF/AMC."""
    for number, subject in enumerate(("02", "03", "07")):
        write_asf(folder / "cmu_asfamc" / subject / f"{subject}.asf")
        write_amc(folder / "cmu_asfamc" / subject / f"{subject}_01.amc", seed=number)
    return folder


def read_standing(folder: Path, frames: int = 120, sway_deg: float = 12.0) -> Motion:
    asf = read_asf(write_asf(folder / "a.asf"))
    amc = write_amc(folder / "a.amc", frames, sway_deg=sway_deg)
    return read_amc(asf, amc, rate_hz=60.0)


BVH_NAMES = {
    "lowerback": "LowerBack",
    "upperback": "Spine",
    "thorax": "Spine1",
    "lowerneck": "Neck",
    "upperneck": "Neck1",
    "head": "Head",
    "hipjoint": "HipJoint",
    "femur": "UpLeg",
    "tibia": "Leg",
    "foot": "Foot",
    "toes": "ToeBase",
    "clavicle": "Shoulder",
    "humerus": "Arm",
    "radius": "ForeArm",
    "wrist": "Hand",
    "hand": "FingerBase",
    "fingers": "HandIndex1",
    "thumb": "Thumb",
}


def bvh_name(bone: str) -> str:
    if bone == "root" or bone in MIDDLE:
        return BVH_NAMES.get(bone, "Hips")
    short = bone[1:] in ("hipjoint", "thumb")
    side = {"l": "L", "r": "R"} if short else {"l": "Left", "r": "Right"}
    return side[bone[0]] + BVH_NAMES[bone[1:]]


def write_cmu_bvh(path: Path, motion: Motion) -> Path:
    """The same motion as BVH with the gaps of CMU's conversions: no thorax and no wrist length."""
    children: dict[int, list[int]] = {}
    for bone, parent in enumerate(motion.parents):
        children.setdefault(parent, []).append(bone)
    rows, order = ["HIERARCHY"], []

    def visit(bone: int) -> None:
        order.append(bone)
        parent = motion.parents[bone]
        offset = np.zeros(3)
        gap = parent >= 0 and motion.names[parent] in ("thorax", "lwrist", "rwrist")
        if parent >= 0 and not gap:
            offset = motion.offset_m[parent] / CMU_UNIT_M
        place = "Xposition Yposition Zposition " if bone == 0 else ""
        rows.extend([f"{'JOINT' if bone else 'ROOT'} {bvh_name(motion.names[bone])}", "{"])
        rows.append("OFFSET " + " ".join(f"{x:.6f}" for x in offset))
        rows.append(f"CHANNELS {6 if bone == 0 else 3} {place}Zrotation Yrotation Xrotation")
        for child in children.get(bone, []):
            visit(child)
        if bone not in children:
            end = motion.offset_m[bone] / CMU_UNIT_M
            rows.extend(["End Site", "{", "OFFSET " + " ".join(map(str, end)), "}"])
        rows.append("}")

    visit(0)
    rows += ["MOTION", f"Frames: {len(motion.rotation)}", "Frame Time: 0.016666667"]
    for frame, rotation in enumerate(motion.rotation):
        values = list(motion.position_m[frame, 0] / CMU_UNIT_M)
        for bone in order:
            parent = motion.parents[bone]
            local = rotation[bone] if parent < 0 else rotation[parent].T @ rotation[bone]
            values += list(Rotation.from_matrix(local).as_euler("ZYX", degrees=True))
        rows.append(" ".join(f"{value:.7f}" for value in values))
    path.write_text("\n".join(rows) + "\n")
    return path


def daz_bvh(path: Path) -> Path:
    """Two frames of the joints of a Daz skeleton, in its zero pose and turned as a whole."""
    tree = {"hip": ["abdomen", "lThigh", "rThigh"], "abdomen": ["chest"]}
    tree["chest"] = ["neck", "lCollar", "rCollar"]
    tree["neck"] = ["head"]
    offsets = {"abdomen": (0, 20, 0), "chest": (0, 12, 0), "neck": (0, 22, 0), "head": (0, 7, 0)}
    for side, sign in (("l", 1), ("r", -1)):
        arm = ("Collar", "Shldr", "ForeArm", "Hand")
        leg = ("Thigh", "Shin", "Foot")
        for chain in (arm, leg):
            for start, end in pairwise(chain):
                tree[side + start] = [side + end]
        places = ((3, 19, 0), (9, 2, 0), (28, -2, 0), (22, 1, 0), (9, -4, 0), (0, -40, 0))
        for name, (x, y, z) in zip((*arm, *leg[:2]), places, strict=True):
            offsets[side + name] = (sign * x, y, z)
        offsets[side + "Foot"] = (0, -40, -3)
    rows, joints = ["HIERARCHY"], []

    def visit(name: str, word: str) -> None:
        joints.append(name)
        x, y, z = offsets.get(name, (0, 0, 0))
        rows.extend([f"{word} {name}", "{", f"OFFSET {x} {y} {z}"])
        place = "6 Xposition Yposition Zposition" if word == "ROOT" else "3"
        rows.append(f"CHANNELS {place} Zrotation Xrotation Yrotation")
        for child in tree.get(name, []):
            visit(child, "JOINT")
        if name not in tree:
            rows.extend(["End Site", "{", "OFFSET 0 5 0", "}"])
        rows.append("}")

    visit("hip", "ROOT")
    rest = " 0" * (3 * len(joints) - 3)
    rows += ["MOTION", "Frames: 2", "Frame Time: 0.0166667"]
    rows += ["0 90 0 0 0 0" + rest, "0 90 0 0 0 50" + rest]
    path.write_text("\n".join(rows) + "\n")
    return path


# ------------------------------------------------------------------------------------ to flesh
def bone_directions(flesh: Flesh) -> dict[str, np.ndarray]:
    """What bones point at by rotations and zero directions, (T, 3) each."""
    turned = np.einsum("tbij,bj->tbi", flesh.rotation, flesh.zero_direction)
    return {bone: turned[:, row] for row, bone in enumerate(ROTATIONS)}


LIMBS = {
    "femur": ("hip", "knee"),
    "tibia": ("knee", "ankle"),
    "humerus": ("shoulder", "elbow"),
    "radius": ("elbow", "wrist"),
}


def limb(joints: np.ndarray, side: str, bone: str) -> np.ndarray:
    start, end = (H36M.index(f"{side}_{joint}") for joint in LIMBS[bone])
    along = joints[:, end] - joints[:, start]
    return along / np.linalg.norm(along, axis=-1, keepdims=True)


class TestFlesh:
    def test_world_axes_and_joints_of_a_standing_body(self, tmp_path: Path) -> None:
        flesh = to_flesh(read_standing(tmp_path, sway_deg=0.0))
        at = {joint: flesh.h36m17_m[0, i] for i, joint in enumerate(H36M.joints)}
        # Unturned, its left is world x, it looks along -y, and its head is up.
        assert at["left_hip"][0] > at["pelvis"][0] > at["right_hip"][0]
        assert at["nose"][1] < at["thorax"][1] - 0.05
        assert at["head_top"][2] > at["thorax"][2] > at["pelvis"][2] > at["left_knee"][2]
        assert flesh.root_m[0, 2] == pytest.approx(17 * CMU_UNIT_M)
        assert flesh.leg_length_m == pytest.approx(14.7 * CMU_UNIT_M, rel=1e-3)
        forearm = np.linalg.norm(at["left_wrist"] - at["left_elbow"])
        assert forearm == pytest.approx(5.4 * CMU_UNIT_M)  # radius and wrist

    def test_rotations_turn_zero_directions_into_the_limbs(self, tmp_path: Path) -> None:
        flesh = to_flesh(read_standing(tmp_path, sway_deg=30.0))
        directions = bone_directions(flesh)
        for side in ("left", "right"):
            for bone in LIMBS:
                expected = limb(flesh.h36m17_m, side, bone)
                np.testing.assert_allclose(directions[side[0] + bone], expected, atol=1e-9)
        lengths = np.linalg.norm(flesh.zero_direction, axis=-1)
        np.testing.assert_allclose(lengths, 1, atol=1e-12)

    def test_bvh_of_the_same_motion_gives_the_same_flesh(self, tmp_path: Path) -> None:
        motion = read_standing(tmp_path, frames=20, sway_deg=25.0)
        bvh = read_bvh(write_cmu_bvh(tmp_path / "a.bvh", motion))
        a, b = to_flesh(motion), to_flesh(bvh)
        np.testing.assert_allclose(a.rotation, b.rotation, atol=1e-6)
        np.testing.assert_allclose(a.zero_direction, b.zero_direction, atol=1e-5)
        np.testing.assert_allclose(a.root_m, b.root_m, atol=1e-6)
        np.testing.assert_allclose(to_h36m17(motion), to_h36m17(bvh), atol=1e-5)

    def test_daz_zero_directions_mirror_and_hands_follow_forearms(self, tmp_path: Path) -> None:
        flesh = to_flesh(read_bvh(daz_bvh(tmp_path / "a.bvh")))
        zero = dict(zip(ROTATIONS, flesh.zero_direction, strict=True))
        for bone in ("femur", "tibia", "foot", "clavicle", "humerus", "radius", "hand"):
            np.testing.assert_allclose(zero["l" + bone] * (-1, 1, 1), zero["r" + bone])
        assert zero["lradius"][0] > 0.9
        assert zero["lfemur"][2] < -0.9
        assert zero["lfoot"][1] < -0.9
        np.testing.assert_allclose(zero["lhand"], zero["lradius"])
        # The whole body turns; only the head keeps its constant correction of 16 degrees.
        turn = flesh.rotation[1] @ np.swapaxes(flesh.rotation[0], -1, -2)
        np.testing.assert_allclose(turn, np.broadcast_to(turn[0], turn.shape), atol=1e-12)
        pitch = Rotation.from_matrix(flesh.rotation[0, ROTATIONS.index("head")]).magnitude()
        assert math.degrees(pitch) == pytest.approx(16, abs=0.1)

    def test_every_bone_of_the_body_table_has_a_source(self) -> None:
        with files("poselift.train").joinpath("bodies.npz").open("rb") as file:
            table = np.load(file)["bones"]
        assert tuple(BONE_SOURCE) == tuple(map(str, table))
        assert len(ROTATIONS) == 25


def snu_side(side: str, sign: int, head: bool) -> tuple[list[list[str]], dict, dict]:
    """Chains from pelvis and Spine1, offsets and end sites of a side of SNU's walker, in cm."""
    places = {"UpLeg": (9, -9, 0), "Leg": (0, -44, 1), "Foot": (0, -42, -1)}
    places |= {"Arm": (10 if head else 16, 0, 0), "ForeArm": (26, 0, -1)}
    tips = {"Foot": (0, -4, 9), "ForeArm": (22, 0, 1), "Toes": (0, 0, 10), "Hand": (13, 0, 1)}
    leg, arm = ["UpLeg", "Leg", "Foot"], ["Arm", "ForeArm"]
    if head:
        collar = "Shoulder1" if side == "Left" else "Shoulder"
        places |= {collar: (9, 0, 0), "Toes": (0, -4, 9), "Hand": (22, 0, 1)}
        leg, arm = [*leg, "Toes"], [collar, *arm, "Hand"]
    chains = [["Hips", *(side + name for name in leg)], ["Spine1", *(side + name for name in arm)]]
    turned = [
        {side + name: (sign * x, y, z) for name, (x, y, z) in table.items()}
        for table in (places, tips)
    ]
    return chains, turned[0], turned[1]


def snu_bvh(path: Path, *, head: bool) -> Path:
    """Two frames of SNU's walker, with a head in centimetres or without one in metres."""
    size = 1.0 if head else 0.01
    offsets = {"Hips": (0, 0, 0), "Spine": (0, 12, 0), "Spine1": (0, 26, 0), "HEad": (0, 9, 0)}
    ends = {"Spine1": (0, 21, 3), "HEad": (0, 13, 3)}
    tree = {"Hips": ["Spine"], "Spine": ["Spine1"], "Spine1": ["HEad"] if head else []}
    for side, sign in (("Left", 1), ("Right", -1)):
        chains, places, tips = snu_side(side, sign, head)
        offsets, ends = offsets | places, ends | tips
        for chain in chains:
            for start, end in pairwise(chain):
                tree.setdefault(start, []).append(end)
    rows, joints = ["HIERARCHY"], []

    def visit(name: str, word: str) -> None:
        joints.append(name)
        rows.extend([f"{word} {name}", "{"])
        rows.append("OFFSET " + " ".join(f"{size * value:.4f}" for value in offsets[name]))
        place = "6 Xposition Yposition Zposition" if word == "ROOT" else "3"
        rows.append(f"CHANNELS {place} Zrotation Xrotation Yrotation")
        for child in tree.get(name, []):
            visit(child, "JOINT")
        if name in ends and (name == "Spine1" or not tree.get(name)):
            tip = " ".join(f"{size * value:.4f}" for value in ends[name])
            rows.extend(["End Site", "{", f"OFFSET {tip}", "}"])
        rows.append("}")

    visit("Hips", "ROOT")
    rest = " 0" * (3 * len(joints) - 3)
    rows += ["MOTION", "Frames: 2", "Frame Time: 0.0333333"]
    rows += [f"0 {95 * size} 0 0 0 0" + rest, f"0 {95 * size} {5 * size} 0 0 50" + rest]
    path.write_text("\n".join(rows) + "\n")
    return path


class TestSnu:
    @pytest.mark.parametrize("head", [True, False])
    def test_both_skeletons_in_metres_with_flat_feet(self, tmp_path: Path, head: bool) -> None:
        flesh = to_flesh(read_bvh(snu_bvh(tmp_path / "a.bvh", head=head)))
        assert flesh.leg_length_m == pytest.approx(0.86, abs=0.01)
        np.testing.assert_allclose(flesh.root_m, [[0, 0, 0.95], [0, -0.05, 0.95]], atol=1e-6)
        at = {joint: flesh.h36m17_m[0, i] for i, joint in enumerate(H36M.joints)}
        assert at["left_wrist"][0] == pytest.approx(0.64 if not head else 0.67, abs=0.01)
        assert at["right_hip"][0] == pytest.approx(-0.09)
        assert at["head_top"][2] > at["thorax"][2] > at["pelvis"][2]
        zero = dict(zip(ROTATIONS, flesh.zero_direction, strict=True))
        for bone in ("femur", "tibia", "foot", "humerus", "radius", "hand"):
            np.testing.assert_allclose(zero["l" + bone] * (-1, 1, 1), zero["r" + bone], atol=1e-6)
        assert math.degrees(math.asin(zero["lfoot"][2])) == pytest.approx(-18, abs=0.5)
        turn = flesh.rotation[1] @ np.swapaxes(flesh.rotation[0], -1, -2)
        np.testing.assert_allclose(turn, np.broadcast_to(turn[0], turn.shape), atol=1e-12)

    def test_is_one_subject_for_training(self, tmp_path: Path) -> None:
        folder = tmp_path / "snu_walking_bvh"
        folder.mkdir()
        snu_bvh(folder / "wd2_u-turn.bvh", head=False)
        snu_bvh(folder / "woddy2_low_walk.bvh", head=True)
        clips = clip_files(folder, "snu_walking_bvh", {})
        assert [(c.subject, c.trial, c.action, c.rate_hz) for c in clips] == [
            ("snu", "wd2_u-turn", "walk", None),
            ("snu", "woddy2_low_walk", "walk", None),
        ]
        assert split_of("snu") == 0


# ------------------------------------------------------------------------------------- cleaning
def standing(tmp_path: Path, frames: int = 120, sway_deg: float = 12.0) -> Flesh:
    return to_flesh(read_standing(tmp_path, frames, sway_deg))


def shifted(flesh: Flesh, shift_m: np.ndarray) -> Flesh:
    """The body moved by shift_m (T, 3)."""
    joints = flesh.h36m17_m + shift_m[:, None]
    return replace(flesh, root_m=flesh.root_m + shift_m, h36m17_m=joints)


class TestCleaning:
    def test_sound_clips_stay_whole(self, tmp_path: Path) -> None:
        assert cleaning.clean(standing(tmp_path)) == ([(0, 120)], {})

    def test_a_jump_cuts_in_two_and_a_fast_kick_does_not(self, tmp_path: Path) -> None:
        flesh = standing(tmp_path)
        jump = np.zeros((120, 3))
        jump[70:, 0] = 0.5  # 30 m/s
        pieces, dropped = cleaning.clean(shifted(flesh, jump))
        assert pieces == [(0, 70), (70, 120)]
        assert not dropped
        time = np.arange(120) / 60
        kick = np.zeros((120, 3))
        kick[:, 0] = 1.3 * np.tanh((time - 1) * 11)  # 14.3 m/s at its fastest
        assert cleaning.clean(shifted(flesh, kick))[0] == [(0, 120)]

    def test_short_pieces_between_jumps_are_dropped(self, tmp_path: Path) -> None:
        jump = np.zeros((120, 3))
        jump[60:70, 2] = 1.0
        pieces, dropped = cleaning.clean(shifted(standing(tmp_path), jump))
        assert pieces == [(0, 60), (70, 120)]
        assert dropped == {"between jumps": 10}

    def test_a_bone_that_flips_cuts(self, tmp_path: Path) -> None:
        flesh = standing(tmp_path)
        half_turn = np.diag([-1.0, -1.0, 1.0])
        for bone, pieces in (("lhumerus", [(0, 50), (50, 120)]), ("ltoes", [(0, 120)])):
            rotation = flesh.rotation.copy()
            rotation[50:, ROTATIONS.index(bone)] @= half_turn
            flipped = replace(flesh, rotation=rotation)
            assert cleaning.clean(flipped)[0] == pieces

    def test_twisted_thighs_and_heads_are_dropped(self, tmp_path: Path) -> None:
        flesh = standing(tmp_path)
        for bone, reason in (("rfemur", "twisted thigh"), ("head", "twisted head")):
            row = ROTATIONS.index(bone)
            axis = flesh.zero_direction[row]
            rotation = flesh.rotation.copy()
            rotation[:40, row] @= Rotation.from_rotvec(math.radians(160) * axis).as_matrix()
            twisted = replace(flesh, rotation=rotation)
            assert cleaning.clean(twisted) == ([(40, 120)], {reason: 40})

    def test_thigh_twist_is_that_about_the_thigh(self, tmp_path: Path) -> None:
        flesh = standing(tmp_path, sway_deg=0.0)
        assert cleaning.thigh_twist_deg(flesh).max() < 1
        row = ROTATIONS.index("lfemur")
        axis = flesh.zero_direction[row]
        forward = Rotation.from_rotvec([-1.2, 0, 0]).as_matrix()
        for angle in (-70, 35, 120):
            rotation = flesh.rotation.copy()
            twist = Rotation.from_rotvec(math.radians(angle) * axis).as_matrix()
            swing = Rotation.align_vectors([forward @ axis], [axis])[0].as_matrix()
            rotation[:, row] = rotation[:, 0] @ swing @ twist
            turned = replace(flesh, rotation=rotation)
            got = cleaning.thigh_twist_deg(turned)
            np.testing.assert_allclose(got, abs(angle), atol=0.01)

    def test_frames_that_are_not_finite_are_dropped(self, tmp_path: Path) -> None:
        flesh = standing(tmp_path)
        joints = flesh.h36m17_m.copy()
        joints[30:33, 5, 1] = np.nan
        broken = replace(flesh, h36m17_m=joints)
        pieces, dropped = cleaning.clean(broken)
        assert pieces == [(0, 30), (33, 120)]
        assert dropped == {"not finite": 3}
        nothing = replace(flesh, h36m17_m=np.full_like(joints, np.nan))
        assert cleaning.clean(nothing) == ([], {"not finite": 120})

    def test_only_a_leading_t_pose_is_trimmed(self, tmp_path: Path) -> None:
        body = standing(tmp_path, sway_deg=0.0)
        at = {joint: i for i, joint in enumerate(H36M.joints)}
        joints = body.h36m17_m.copy()
        for frames in (slice(0, 12), slice(60, 75)):
            left = body.rotation[frames, 0, :, 0]
            for side, sign in (("left", 1), ("right", -1)):
                base = joints[frames, at[f"{side}_shoulder"]]
                joints[frames, at[f"{side}_elbow"]] = base + 0.3 * sign * left
                joints[frames, at[f"{side}_wrist"]] = base + 0.6 * sign * left
        posed = replace(body, h36m17_m=joints)
        start = cleaning.t_pose_start(posed)
        assert start[:12].all()
        assert not start[12:].any()

    def test_mirrored_clips_are_refused(self, tmp_path: Path) -> None:
        flesh = standing(tmp_path)
        swapped = replace(flesh, h36m17_m=flesh.h36m17_m[:, H36M.mirror])
        assert cleaning.clean(swapped) == ([], {"left is right": 120})

    def test_short_clips(self, tmp_path: Path) -> None:
        assert cleaning.clean(standing(tmp_path, frames=20)) == ([], {"too short": 20})
        assert cleaning.clean(standing(tmp_path, frames=1)) == ([], {"too short": 1})


# ------------------------------------------------------------------------------------ balancing
class TestWeights:
    def test_repeating_one_pose_weighs_less_than_variety(self) -> None:
        walk = np.zeros((100, 15), np.int8)
        play = np.arange(1500).reshape(100, 15).astype(np.int8)
        weight = clip_weights([walk, play], ["a", "a"], np.ones(2))
        assert weight.sum() == pytest.approx(1)
        assert weight[1] == pytest.approx(10 * weight[0])  # 100 against sqrt(100)

    def test_a_subject_weighs_the_root_of_its_own_poses(self) -> None:
        shared = np.zeros((50, 15), np.int8)
        own = np.arange(120).reshape(8, 15).astype(np.int8) + 1
        cells = [shared, np.concatenate([shared, own])]
        weight = clip_weights(cells, ["walker", "player"], np.ones(2))
        # 1/2 of a pose against 1/2 + 8.
        assert weight[1] / weight[0] == pytest.approx(math.sqrt(8.5 / 0.5))

    def test_minutes_alone_add_nothing(self) -> None:
        play = np.arange(90).reshape(6, 15).astype(np.int8)
        other = play + 100
        weight = clip_weights([np.tile(play, (20, 1)), other], ["a", "b"], np.ones(2))
        np.testing.assert_allclose(weight, 0.5)
        half = clip_weights([play, other], ["a", "b"], np.array([1.0, 0.5]))
        assert half[0] == pytest.approx(2 * half[1])


class TestDiversity:
    def test_as_many_as_equally_frequent_poses(self) -> None:
        walk = np.zeros((90, 15), np.int8)
        play = np.arange(150).reshape(10, 15).astype(np.int8) + 1
        found = diversity([walk, play], np.array([0.9, 0.1]))
        assert (found.poses, found.distinct) == (100, 11)
        expected = 0.9**-0.9 * 0.01**-0.1  # 90 of 100 alike, ten alone
        assert found.effective == pytest.approx(expected)
        assert found.weighted == pytest.approx(expected)
        assert diversity([walk, play], np.array([0.0, 1.0])).weighted == pytest.approx(10)
        assert diversity([walk], np.ones(1)).effective == pytest.approx(1)


class TestSplit:
    table = json.loads(files("poselift.train").joinpath("split.json").read_text())

    def test_subjects_are_in_one_split_each(self) -> None:
        everybody = [s for split in ("train", "validation", "test") for s in self.table[split]]
        assert len(everybody) == len(set(everybody))
        assert sum(s.startswith("cmu_") for s in self.table["validation"]) >= 3
        assert sum(s.startswith("cmu_") for s in self.table["test"]) >= 5

    def test_people_with_two_numbers_and_hdm05(self) -> None:
        for group in (("07", "38"), ("08", "39"), ("01", "16", "17"), ("93", "charleston")):
            assert len({split_of(f"cmu_{name}") for name in group}) == 1
        assert {split_of(f"hdm05_{actor}") for actor in ("bd", "bk", "dg", "mm", "tr")} == {2}

    def test_unlisted_subjects_are_for_training(self) -> None:
        assert split_of("cmu_141") == 0
        assert split_of("cmu_02") == 2
        assert split_of("cmu_07") == 1
        assert track_of("cmu_asfamc", "cmu_02") == "test"
        assert track_of("hdm05_asfamc", "hdm05_bd") == "cross-corpus"


# ------------------------------------------------------------------------------------- archives
def pack_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:xz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


class TestArchives:
    def test_unpacks_once(self, tmp_path: Path) -> None:
        tar = pack_tar(tmp_path / "cmu_asfamc.tar.xz", {"cmu_asfamc/a/b.txt": b"x"})
        folder = unpack(tar, tmp_path / "cache")
        assert (folder / "cmu_asfamc" / "a" / "b.txt").read_bytes() == b"x"
        (folder / "mark").touch()
        assert (unpack(tar, tmp_path / "cache") / "mark").exists()
        assert [p.name for p in (tmp_path / "cache").iterdir()] == [folder.name]

    def test_refuses_to_write_outside_and_damaged_archives(self, tmp_path: Path) -> None:
        evil = pack_tar(tmp_path / "evil.tar.xz", {"../outside.txt": b"x"})
        with pytest.raises(FormatError, match="a sound tar"):
            unpack(evil, tmp_path / "cache")
        assert not (tmp_path / "outside.txt").exists()
        noise = np.random.default_rng(0).bytes(40_000)
        cut = pack_tar(tmp_path / "cut.tar.xz", {"a": noise})
        cut.write_bytes(cut.read_bytes()[:20_000])
        with pytest.raises(FormatError, match="a sound tar"):
            unpack(cut, tmp_path / "cache")
        assert not list((tmp_path / "cache").iterdir())

    def test_rates_and_names(self, tmp_path: Path) -> None:
        folder = tmp_path / "cmu_asfamc"
        for name in ("02/02_01.amc", "02/02_02.amc", "16/16_01.amc", "unnumbered/golf_01.amc"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
        index = tmp_path / "index.csv"
        listed = ["cmu_asfamc/02/02_01.amc,120.0", "cmu_asfamc/16/16_01.amc,30.0"]
        listed += ["cmu_asfamc/unnumbered/golf_01.amc,"]
        index.write_text("file,fps\n" + "\n".join(listed) + "\n")
        clips = clip_files(folder, "cmu_asfamc", read_index(index))
        assert [(clip.subject, clip.rate_hz) for clip in clips] == [
            ("cmu_02", 60.0),
            ("cmu_02", 120.0),  # not listed: as captured
            ("cmu_16", 60.0),
            ("cmu_golf", 60.0),
        ]
        dance = tmp_path / "cmu_dance_martial_bvh" / "salsa"
        dance.mkdir(parents=True)
        daz_bvh(dance / "01.bvh")
        index.write_text("file,fps\ncmu_dance_martial_bvh/salsa/01.bvh,\n")
        (clip,) = clip_files(dance.parent, "cmu_dance_martial_bvh", read_index(index))
        assert clip.subject == "cmu_salsa"
        assert read_clip(clip).rate_hz == 30.0

    def test_hdm05_subjects_and_the_fitting_skeleton(self, tmp_path: Path) -> None:
        write_asf(tmp_path / "HDM_b.asf").write_text("not the one")
        write_asf(tmp_path / "HDM_bd.asf")
        write_amc(tmp_path / "HDM_bd_squat_1.amc", frames=2)
        (clip,) = clip_files(tmp_path, "hdm05_asfamc", {})
        assert (clip.subject, clip.trial) == ("hdm05_bd", "squat_1")
        assert len(read_clip(clip).position_m) == 2
        (tmp_path / "HDM_bd.asf").unlink()
        (tmp_path / "HDM_b.asf").unlink()
        with pytest.raises(FormatError, match=r"an \.asf in its folder"):
            read_clip(clip)

    def test_folders(self, tmp_path: Path) -> None:
        assert list(folders(tmp_path, ("cmu_asfamc",), None)) == [("cmu_asfamc", tmp_path)]
        with pytest.raises(InputError, match="no folder"):
            list(folders(tmp_path / "none", ("cmu_asfamc",), None))
        with pytest.raises(InputError, match=r"archive: .*sun.*known: cmu_asfamc"):
            list(folders(tmp_path, ("sun",), None))

    def test_licences_are_stated(self) -> None:
        assert "test only" in archives.ARCHIVES["hdm05_asfamc"].licence
        assert all(archive.licence and archive.credit for archive in archives.ARCHIVES.values())


# ---------------------------------------------------------------------------------------- heads
def nodding(folder: Path, subject: str, pitch_deg: float, frames: int) -> None:
    """A subject whose head is turned up by a constant angle on top of a sway of 5 degrees."""
    write_asf(folder / subject / f"{subject}.asf")
    path = write_amc(folder / subject / f"{subject}_01.amc", frames, sway_deg=0.0)
    rows = path.read_text().splitlines()
    frame = 0
    for number, row in enumerate(rows):
        if row.startswith("head "):
            angle = -pitch_deg + 5 * np.sin(frame / 9)
            rows[number], frame = f"head {angle:.4f} 0 0", frame + 1
    path.write_text("\n".join(rows) + "\n")


def packed_pitch_deg(path: Path) -> dict[str, float]:
    """Median pitch of each subject's face, from the pack's quaternions."""
    pack = read_pack(path)
    out = {}
    for subject, start, frames in zip(pack.subject, pack.start, pack.frames, strict=True):
        head = pack.quaternion[start : start + frames, ROTATIONS.index("head")].astype(float)
        face = Rotation.from_quat(head, scalar_first=True).apply([0, -1, 0])
        out[str(subject)] = float(np.median(np.degrees(np.arcsin(face[:, 2]))))
    return out


class TestHeads:
    def test_long_seen_heads_are_levelled_by_their_own_median(self, tmp_path: Path) -> None:
        nodding(tmp_path, "141", 12.0, 2600)
        nodding(tmp_path, "142", -8.0, 2600)
        nodding(tmp_path, "143", 30.0, 240)  # two seconds: the median of the others, 2 degrees
        summary = build(tmp_path, tmp_path / "out.npz")
        pitch = packed_pitch_deg(tmp_path / "out.npz")
        assert pitch["cmu_141"] == pytest.approx(0, abs=0.2)
        assert pitch["cmu_142"] == pytest.approx(0, abs=0.2)
        assert pitch["cmu_143"] == pytest.approx(28, abs=3)
        said = {count.subject: count.head_pitch_deg for count in summary.subjects}
        assert said["cmu_141"] == pytest.approx(12, abs=0.2)
        assert said["cmu_143"] == pytest.approx(2, abs=0.2)

    def test_nobody_seen_for_long_stays_as_recorded(self) -> None:
        assert head_pitches_deg([]) == {}

    def test_pitch_is_of_upright_frames(self, tmp_path: Path) -> None:
        flesh = standing(tmp_path, sway_deg=0.0)
        head, thorax = ROTATIONS.index("head"), ROTATIONS.index("thorax")
        rotation = flesh.rotation.copy()
        rotation[:, head] = Rotation.from_euler("x", -25, degrees=True).as_matrix()
        rotation[:50, thorax] = Rotation.from_euler("x", 40, degrees=True).as_matrix()
        pitch = cleaning.gaze_pitch_deg(replace(flesh, rotation=rotation))
        assert np.isnan(pitch[:50]).all()
        np.testing.assert_allclose(pitch[50:], 25)


# ---------------------------------------------------------------------------------------- build
class TestBuild:
    def test_the_pack_gives_the_motion_back(self, tmp_path: Path) -> None:
        seen = []
        summary = build(
            source_folder(tmp_path / "source"),
            tmp_path / "out" / "clips.npz",
            progress=lambda *step: seen.append(step),
        )
        pack = read_pack(tmp_path / "out" / "clips.npz")
        assert list(pack.subject) == ["cmu_02", "cmu_03", "cmu_07"]
        assert list(pack.split) == [2, 0, 1]
        assert list(pack.frames) == [60, 60, 60]  # 120 Hz, not listed, halved
        assert list(pack.start) == [0, 60, 120]
        np.testing.assert_allclose(pack.rate_hz, 60)
        np.testing.assert_allclose(pack.weight, 1)  # one clip in each split
        assert seen[-1] == ("reading clips", 3, 3)
        assert summary.frames == 180
        assert summary.size_bytes == (tmp_path / "out" / "clips.npz").stat().st_size
        assert [count.clips for count in summary.subjects] == [1, 1, 1]
        assert [(a.action, a.clips) for a in summary.actions] == [("other", 1)]
        assert set(summary.diversity) == {"train", "validation", "test"}
        assert "resold" in pack.licence[0]
        assert pack.digest == summary.digest

        quaternion = pack.quaternion.astype(float) / 32767
        np.testing.assert_allclose(np.linalg.norm(quaternion, axis=-1), 1, atol=1e-4)
        flat = Rotation.from_quat(quaternion.reshape(-1, 4), scalar_first=True)
        rotation = flat.as_matrix().reshape(180, 25, 3, 3)
        assert len(pack.zero_direction_m) == 1  # three subjects with equal bones
        directions = np.einsum("tbij,bj->tbi", rotation, pack.zero_direction_m[0])
        asf = read_asf(tmp_path / "source" / "cmu_asfamc" / "02" / "02.asf")
        amc = tmp_path / "source" / "cmu_asfamc" / "02" / "02_01.amc"
        joints = to_flesh(read_amc(asf, amc, rate_hz=120.0).every(2)).h36m17_m
        for side in ("left", "right"):
            for bone in LIMBS:
                got = directions[:60, ROTATIONS.index(side[0] + bone)]
                np.testing.assert_allclose(got, limb(joints, side, bone), atol=3e-3)
        names = [ROTATIONS[row] for row in pack.source]
        assert dict(zip(pack.bones, names, strict=True)) == BONE_SOURCE

    def test_standing_feet_are_planted(self, tmp_path: Path) -> None:
        write_asf(tmp_path / "141.asf")
        write_amc(tmp_path / "141_01.amc", frames=60, sway_deg=0.0)
        build(tmp_path, tmp_path / "out.npz")
        assert read_pack(tmp_path / "out.npz").contact.min() == 255

    def test_quaternions_do_not_change_sign_in_whole_turns(self) -> None:
        angle = np.linspace(0, 4 * np.pi, 200)
        rotation = Rotation.from_rotvec(angle[:, None] * (0, 0, 1)).as_matrix()[:, None]
        quaternion = quantised(np.concatenate([rotation, np.swapaxes(rotation, -1, -2)], axis=1))
        expected = np.stack([np.cos(angle / 2), np.sin(angle / 2)], axis=-1) * 32767
        np.testing.assert_allclose(quaternion[:, 0, [0, 3]], expected, atol=0.51)
        np.testing.assert_allclose(quaternion[:, 1, [0, 3]], expected * (1, -1), atol=0.51)

    def test_same_input_same_digest(self, tmp_path: Path) -> None:
        source = source_folder(tmp_path)
        first = build(source, tmp_path / "a.npz")
        second = build(source, tmp_path / "b.npz")
        assert first.digest == second.digest
        write_amc(source / "cmu_asfamc" / "02" / "02_01.amc", seed=9)
        assert build(source, tmp_path / "c.npz").digest != first.digest

    def test_archives_are_read_from_tar_and_by_name(self, tmp_path: Path) -> None:
        source = source_folder(tmp_path / "plain")
        with tarfile.open(tmp_path / "cmu_asfamc.tar.xz", "w:xz") as tar:
            tar.add(source / "cmu_asfamc", "cmu_asfamc")
        packed = build(tmp_path, tmp_path / "a.npz", cache_dir=tmp_path / "cache")
        plain = build(source, tmp_path / "b.npz")
        assert packed.digest == plain.digest
        assert sorted(p.name for p in (tmp_path / "cache").rglob("*.asf"))[0] == "02.asf"

    def test_a_folder_without_archives_is_cmus_own(self, tmp_path: Path) -> None:
        write_asf(tmp_path / "subjects" / "141" / "141.asf")
        write_amc(tmp_path / "subjects" / "141" / "141_03.amc")
        build(tmp_path, tmp_path / "out.npz", rate_hz=30.0)
        pack = read_pack(tmp_path / "out.npz")
        assert list(pack.subject) == ["cmu_141"]
        assert (pack.rate_hz[0], pack.frames[0]) == (30.0, 30)

    def test_damaged_clips_are_left_out_and_named(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = source_folder(tmp_path)
        (source / "cmu_asfamc" / "03" / "03_02.amc").write_text(":DEGREES\n1\nroot 0 0")
        (source / "cmu_asfamc" / "03" / "a.bvh").write_text("HIERARCHY\nMOTION\n")
        summary = build(source, tmp_path / "out.npz")
        assert set(summary.left_out) == {"cmu_asfamc/03/03_02.amc", "cmu_asfamc/03/a.bvh"}
        assert summary.frames == 180
        print_summary(summary)
        text = capsys.readouterr().out
        for word in ("cmu_03", "left out", "03_02.amc:3", "training by action", "pose diversity"):
            assert word in text

    def test_clips_without_a_usable_piece_are_left_out_with_the_reason(
        self, tmp_path: Path
    ) -> None:
        source = source_folder(tmp_path)
        write_amc(source / "cmu_asfamc" / "03" / "03_02.amc", frames=20)
        summary = build(source, tmp_path / "out.npz")
        assert summary.left_out == {"cmu_asfamc/03/03_02.amc": "too short"}

    def test_actions_come_from_descriptions_and_names(self, tmp_path: Path) -> None:
        source = source_folder(tmp_path)
        rows = ["cmu_asfamc/03/03_01.amc,120,playground - climb", "x.amc,120,"]
        (source / "index.csv").write_text("file,fps,description\n" + "\n".join(rows) + "\n")
        summary = build(source, tmp_path / "out.npz")
        assert list(read_pack(tmp_path / "out.npz").action) == ["other", "climb", "other"]
        assert [(a.action, a.clips, a.weight) for a in summary.actions] == [("climb", 1, 1.0)]
        (source / "index.csv").write_text("name;fps\nx;1\n")
        with pytest.raises(FormatError, match=r"index\.csv: expected columns file and fps"):
            build(source, tmp_path / "out.npz")

    def test_a_trial_counts_once(self, tmp_path: Path) -> None:
        source = source_folder(tmp_path)
        folder = source / "cmu_bvh_own_skeleton"
        folder.mkdir()
        motion = read_standing(tmp_path / "scratch", frames=60)
        write_cmu_bvh(folder / "002_01_w1.bvh", motion)
        write_cmu_bvh(folder / "002_05_w1.bvh", motion)
        write_cmu_bvh(folder / "002_05_w2.bvh", motion)
        summary = build(source, tmp_path / "out.npz")
        assert list(summary.left_out) == ["cmu_bvh_own_skeleton/002_01_w1.bvh"]
        assert "02_01.amc" in summary.left_out["cmu_bvh_own_skeleton/002_01_w1.bvh"]
        assert summary.frames == 180 + 120

    def test_nothing_usable(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="AMC or BVH files"):
            build(tmp_path, tmp_path / "out.npz")
        write_asf(tmp_path / "02.asf")
        write_amc(tmp_path / "02_01.amc", frames=8)
        with pytest.raises(InputError, match="at least one usable clip"):
            build(tmp_path, tmp_path / "out.npz")
        assert not (tmp_path / "out.npz").exists()

    def test_an_output_that_cannot_be_written(self, tmp_path: Path) -> None:
        source = source_folder(tmp_path / "source")
        with pytest.raises(OutputError, match="a file name"):
            build(source, tmp_path)
        assert [p.name for p in tmp_path.iterdir()] == ["source"]
