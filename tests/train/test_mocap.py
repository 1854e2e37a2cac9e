import os
from pathlib import Path

import numpy as np
import pytest

from poselift.errors import FormatError, InputError, UnknownNameError
from poselift.train.archives import folders
from poselift.train.mocap import layout, leg_length_m, read_amc, read_asf, read_bvh, to_h36m17
from poselift.train.motion import CMU_UNIT_M, Motion

UNIT_M = 0.0254 / 0.45

ASF = """# made up
:version 1.10
:name small
:units
  mass 1.0
  length 0.45
  angle deg
:documentation
   two bones and a stump
:root
   order TX TY TZ RX RY RZ
   axis XYZ
   position 0 0 0
   orientation 0 0 0
:bonedata
  begin
     id 1
     name upper
     direction 1 0 0
     length 2
     axis 0 0 90 XYZ
     dof rx
     limits (-90.0 90.0)
  end
  begin
     id 2
     name lower
     direction 0 1 0
     length 1
     axis 0 0 0 XYZ
     dof rx rz
     limits (-90.0 90.0)
            (-90.0 90.0)
  end
  begin
     id 3
     name stump
     direction 0 0 1
     length 0.5
     axis 20 30 40 XYZ
  end
:hierarchy
  begin
    root upper stump
    upper lower
  end
"""

AMC = """#!OML:ASF made up
:FULLY-SPECIFIED
:DEGREES
1
root 0 0 0 0 0 0
upper 90
lower 0 90
2
root 1 2 3 0 90 0
upper 90
lower 0 90
"""

BVH = """HIERARCHY
ROOT Base
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Arm
  {
    OFFSET 2 0 0
    CHANNELS 3 Zrotation Yrotation Xrotation
    End Site
    {
      OFFSET 0 1 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.025
1 2 3 0 0 0 0 0 0
1 2 3 90 90 0 0 90 0
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="latin-1")
    return path


def small(tmp_path: Path, amc: str = AMC, asf: str = ASF, rate_hz: float = 60.0) -> Motion:
    skeleton = read_asf(write(tmp_path / "small.asf", asf))
    return read_amc(skeleton, write(tmp_path / "small.amc", amc), rate_hz=rate_hz)


def bone_length_error_m(motion: Motion) -> float:
    parents = list(motion.parents[1:])
    bones = np.linalg.norm(motion.position_m[:, 1:] - motion.position_m[:, parents], axis=-1)
    return float(np.abs(bones - np.linalg.norm(motion.offset_m[1:], axis=-1)).max())


class TestAcclaim:
    def test_joints_are_where_hand_calculation_puts_them(self, tmp_path: Path) -> None:
        motion = small(tmp_path)
        # `upper` turns about its own x axis, which the 90 degrees about z have put along world y:
        # (2,0,0) becomes (0,0,-2); `lower` turns by 90 degrees about z in there, so it points at
        # Ry(90) (-1,0,0) = (0,0,1). The second frame turns it all about y and moves it.
        first = {"root": (0, 0, 0), "upper": (0, 0, -2), "lower": (0, 0, -1), "stump": (0, 0, 0.5)}
        second = {"root": (1, 2, 3), "upper": (-1, 2, 3), "lower": (0, 2, 3), "stump": (1.5, 2, 3)}
        for frame, joints in enumerate((first, second)):
            for name, place in joints.items():
                got = motion.position_m[frame, motion.index(name)]
                np.testing.assert_allclose(got, np.array(place) * UNIT_M, atol=1e-12)

    def test_rotation_turns_zero_directions_into_bones(self, tmp_path: Path) -> None:
        motion = small(tmp_path)
        assert motion.joint_at == "end"
        for bone in range(1, len(motion.names)):
            along = motion.position_m[:, bone] - motion.position_m[:, motion.parents[bone]]
            turned = motion.rotation[:, bone] @ motion.offset_m[bone]
            np.testing.assert_allclose(along, turned, atol=1e-12)
        assert np.isnan(motion.zero_direction[0]).all()
        np.testing.assert_allclose(motion.zero_direction[motion.index("lower")], (0, 1, 0))

    def test_bone_lengths_stay_in_random_frames(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(1)
        rows = [":DEGREES"]
        for frame in range(1, 40):
            root, upper, *lower = (rng.uniform(-180, 180, n) for n in (6, 1, 2))
            rows += [str(frame), "root " + " ".join(map(str, root)), f"upper {upper[0]}"]
            rows.append("lower " + " ".join(map(str, lower[0])))
        motion = small(tmp_path, "\n".join(rows))
        assert len(motion.position_m) == 39
        assert bone_length_error_m(motion) < 1e-9
        eye = motion.rotation @ np.swapaxes(motion.rotation, -1, -2)
        np.testing.assert_allclose(eye, np.broadcast_to(np.eye(3), eye.shape), atol=1e-12)

    def test_order_of_root_channels_and_of_bones_in_a_frame_is_free(self, tmp_path: Path) -> None:
        asf = ASF.replace("order TX TY TZ RX RY RZ", "order RZ RY RX TZ TY TX")
        frames = "1\nlower 0 90\nroot 0 90 0 3 2 1\nupper 90\n"
        motion = small(tmp_path, ":DEGREES\n" + frames, asf)
        np.testing.assert_allclose(motion.position_m[0], small(tmp_path).position_m[1], atol=1e-12)

    def test_length_factor_radians_and_carriage_returns(self, tmp_path: Path) -> None:
        asf = ASF.replace("length 0.45", "length 1.0").replace("\n", "\r\n")
        amc = AMC.replace(":DEGREES", ":RADIANS").replace("90", str(np.pi / 2))
        motion = small(tmp_path, amc.replace("\n", "\r\n"), asf)
        np.testing.assert_allclose(motion.position_m, small(tmp_path).position_m * 0.45, atol=1e-12)

    def test_every_second_frame(self, tmp_path: Path) -> None:
        motion = small(tmp_path, rate_hz=120.0).every(2)
        assert motion.rate_hz == 60.0
        assert motion.position_m.shape[0] == motion.rotation.shape[0] == 1

    @pytest.mark.parametrize(
        ("old", "new", "line", "expected"),
        [
            ("upper 90\nlower 0 90\n2", "upper 90\n2", 4, "values of lower"),
            ("root 1 2 3 0 90 0\nupper 90\nlower 0 90\n", "root 1 2 3 0", 9, "6 numbers"),
            ("root 1 2 3 0 90 0\nupper 90\nlower 0 90\n", "root 1 2 3 0 90 0\n", 9, "upper next"),
            ("2\nroot 1 2 3", "2\nroot 1 x 3", 9, "6 numbers"),
            ("2\nroot", "two\nroot", 8, "a bone of small.asf"),
            ("upper 90\nlower 0 90\n2", "upper 90\nlower 0 90\n2\n3", 9, "root with 6 values"),
            ("upper 90\nlower 0 90\n2", "upper 90\nlower 0\n2", 7, "lower with 2 values"),
            ("upper 90\nlower 0 90\n2", "upper 90\ntail 0 90\n2", 7, "a bone of small.asf"),
        ],
    )
    def test_damaged_amc_is_named_with_its_line(
        self, tmp_path: Path, old: str, new: str, line: int, expected: str
    ) -> None:
        assert old in AMC
        with pytest.raises(FormatError, match=rf"small\.amc:{line}: .*{expected}"):
            small(tmp_path, AMC.replace(old, new))

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            (":hierarchy", ":tree", "a section :hierarchy"),
            ("direction 0 1 0", "direction 0 1", r"small\.asf:28: expected 3 numbers"),
            ("     length 1\n", "", "a field 'length'"),
            ("dof rx rz", "dof rx l", "dof of rx, ry, rz"),
            ("axis 0 0 0 XYZ", "axis 0 0 0 XYY", "an axis order"),
            ("upper lower", "upper lower tail", "bones of :bonedata"),
            ("root upper stump\n    upper lower", "upper lower", "a parent that is named above"),
            ("order TX TY TZ RX RY RZ", "order TX TY TZ", "an order of TX TY TZ RX RY RZ"),
            ("angle deg", "angle rad", "angles in deg"),
        ],
    )
    def test_damaged_asf(self, tmp_path: Path, old: str, new: str, message: str) -> None:
        assert old in ASF
        with pytest.raises(FormatError, match=message):
            read_asf(write(tmp_path / "small.asf", ASF.replace(old, new, 1)))

    def test_a_later_frame_without_its_number_is_named(self, tmp_path: Path) -> None:
        third = AMC[AMC.index("2\nroot") :].replace("2\n", "three\n", 1)
        with pytest.raises(FormatError, match=r"small\.amc:12: .*a frame number, found three"):
            small(tmp_path, AMC + third)

    def test_no_frames_no_rate_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(FormatError, match="a line with a frame number"):
            small(tmp_path, ":DEGREES\n")
        with pytest.raises(InputError, match="above 0 Hz"):
            small(tmp_path, rate_hz=0.0)
        with pytest.raises(FormatError, match="a readable file"):
            read_asf(tmp_path / "none.asf")


class TestBvh:
    def test_joints_are_where_hand_calculation_puts_them(self, tmp_path: Path) -> None:
        motion = read_bvh(write(tmp_path / "a.bvh", BVH), unit_m=0.01)
        assert motion.names == ("Base", "Arm", "Arm_end")
        assert motion.joint_at == "start"
        assert motion.rate_hz == pytest.approx(40.0)
        first = np.array([(1, 2, 3), (3, 2, 3), (3, 3, 3)]) * 0.01
        # Rz(90) Rx(90) takes x to y, y to z, z to x; Ry(90) of Arm before it leaves its y alone.
        second = np.array([(1, 2, 3), (1, 4, 3), (1, 4, 4)]) * 0.01
        np.testing.assert_allclose(motion.position_m[0], first, atol=1e-12)
        np.testing.assert_allclose(motion.position_m[1], second, atol=1e-12)
        np.testing.assert_allclose(motion.zero_direction[0], (1, 0, 0))
        np.testing.assert_allclose(motion.zero_direction[1], (0, 1, 0))
        assert bone_length_error_m(motion) < 1e-12

    def test_units_of_known_skeletons(self, tmp_path: Path) -> None:
        for name, unit_m in (("lShldr", 0.01), ("LHipJoint", CMU_UNIT_M)):
            motion = read_bvh(write(tmp_path / "a.bvh", BVH.replace("JOINT Arm", f"JOINT {name}")))
            assert motion.offset_m[1, 0] == pytest.approx(2 * unit_m)
        with pytest.raises(FormatError, match="unit_m for an unknown skeleton"):
            read_bvh(write(tmp_path / "a.bvh", BVH))

    def test_channels_in_capitals(self, tmp_path: Path) -> None:
        text = BVH.replace("position", "POSITION").replace("rotation", "ROTATION")
        a = read_bvh(write(tmp_path / "a.bvh", text), unit_m=1.0)
        b = read_bvh(write(tmp_path / "b.bvh", BVH), unit_m=1.0)
        np.testing.assert_array_equal(a.position_m, b.position_m)

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("Frames: 2", "Frames: 3", r"a\.bvh:20: expected 3 frames, found 2"),
            ("1 2 3 90 90 0 0 90 0", "1 2 3 90 90", r"a\.bvh:20: expected 9 channel values"),
            ("1 2 3 90 90 0 0 90 0", "1 2 3 90 90 0 0 90 z", r"a\.bvh:20: expected 9 numbers"),
            ("CHANNELS 3", "CHANNELS 4", r"a\.bvh:9: expected a count"),
            ("OFFSET 0 1 0", "OFFSET 0 1", r"a\.bvh:12: expected 3 numbers"),
            ("  }\n}\n", "  }\n", "closed braces"),
            ("MOTION", "MOTIONLESS", "HIERARCHY, then MOTION"),
            ("Frame Time: 0.025", "Frame Time: 0", "a frame time above 0"),
            ("JOINT Arm", "ROOT Arm", "one ROOT"),
        ],
    )
    def test_damaged_bvh(self, tmp_path: Path, old: str, new: str, message: str) -> None:
        assert old in BVH
        with pytest.raises(FormatError, match=message):
            read_bvh(write(tmp_path / "a.bvh", BVH.replace(old, new, 1)), unit_m=1.0)


def test_unknown_skeletons_have_no_layout(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="mocap skeleton"):
        layout(small(tmp_path))


@pytest.mark.skipif(
    "POSELIFT_MOCAP" not in os.environ, reason="POSELIFT_MOCAP names no folder of mocap archives"
)
def test_real_clips_keep_bone_lengths_and_stand_upright() -> None:
    source = Path(os.environ["POSELIFT_MOCAP"])
    found = dict(folders(source, ("cmu_asfamc", "cmu_bvh_own_skeleton"), None))
    folder = found["cmu_asfamc"] / "02"
    walk = read_amc(read_asf(folder / "02.asf"), folder / "02_01.amc", rate_hz=60.0)
    run = read_bvh(found["cmu_bvh_own_skeleton"] / "035_18.bvh")
    for motion in (walk, run):
        assert bone_length_error_m(motion) < 1e-6
        assert 0.75 < leg_length_m(motion) < 0.95
        joints = to_h36m17(motion)
        height = joints[:, 10, 1] - joints[:, [3, 6], 1].min(1)
        assert 1.4 < np.median(height) < 1.8
    # The same trial as AMC, which lacks the T-pose that the BVH begins with: same flesh.
    folder = found["cmu_asfamc"] / "35"
    amc = read_amc(read_asf(folder / "35.asf"), folder / "35_18.amc", rate_hz=60.0)
    both = min(len(amc.rotation), len(run.rotation)) - 2
    errors = [
        np.abs(
            amc.rotation[:both, amc.index("lfemur")]
            - run.rotation[shift : both + shift, run.index("LeftUpLeg")]
        ).max()
        for shift in (0, 1, 2)
    ]
    assert min(errors) < 1e-3
