"""Every convention that moves numbers: by how much, on errors that are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poselift import metrics
from poselift.errors import InputError, UnknownNameError
from poselift.poses import Poses2D, Poses3D
from poselift.protocols import CONVENTIONS, Conventions
from poselift.protocols.conventions import conventions
from poselift.protocols.h36m import JOINTS
from poselift.protocols.scoring import Errors, counting_frames, errors, table
from poselift.protocols.videos import Video, flipped
from poselift.skeleton import skeleton

from .datasets import H36M, body_m, camera_axes

KINDS = ("MPJPE", "P-MPJPE", "N-MPJPE", "MPJVE")


def video(frames: int = 6, column: str = "Walking", seed: int = 0) -> Video:
    time_s = np.arange(frames) / 50
    truth = Poses3D(camera_axes(body_m(frames, seed)), time_s, H36M, origin="camera")
    observed = Poses2D(
        truth.xyz_m[..., :2] + 500, np.ones((frames, 17)), time_s, (1000, 1000), H36M
    )
    return Video("v", "S9", column, observed, truth, np.ones(frames, dtype=bool))


def relative(clip: Video) -> np.ndarray:
    return clip.truth.xyz_m - clip.truth.xyz_m[:, :1]


def judged(clip: Video, guess: np.ndarray, how: Conventions) -> dict[str, float]:
    """Means over the frames as they count, in mm."""
    row = errors(clip, guess, JOINTS, how, KINDS)
    return {kind: float(np.mean(values)) for kind, values in row.values.items()}


def test_a_root_that_is_off_counts_only_where_it_is_kept():
    clip = video()
    guess = relative(clip)
    guess[:, 0] += [0.017, 0, 0]
    keep = judged(clip, guess, Conventions())
    zero = judged(clip, guess, Conventions(root="zero"))
    centred = judged(clip, guess, Conventions(root="recentre"))
    assert keep["MPJPE"] == pytest.approx(1.0)  # 17 mm over 17 joints
    assert zero["MPJPE"] == pytest.approx(0, abs=1e-9)
    assert centred["MPJPE"] == pytest.approx(16.0)  # the error went into the 16 others


def test_setting_the_root_to_zero_takes_one_seventeenth_off():
    clip = video()
    guess = relative(clip) + np.array([0.0, 0.034, 0.0])
    keep = judged(clip, guess, Conventions())["MPJPE"]
    zero = judged(clip, guess, Conventions(root="zero"))["MPJPE"]
    assert keep == pytest.approx(34)
    assert zero == pytest.approx(keep * 16 / 17)
    assert judged(clip, guess, Conventions(root="recentre"))["MPJPE"] == pytest.approx(0, abs=1e-9)


def test_sixteen_joints_are_without_the_nose():
    clip = video()
    guess = relative(clip)
    guess[:, H36M.index("nose")] += [0.085, 0, 0]
    assert judged(clip, guess, Conventions())["MPJPE"] == pytest.approx(5.0)
    assert judged(clip, guess, Conventions(joints=16))["MPJPE"] == pytest.approx(0, abs=1e-9)


def test_evoskeletons_p2_is_sixteen_seventeenths_of_the_fit_without_the_root():
    clip = video()
    guess = relative(clip) + 0.03 * np.random.default_rng(1).standard_normal((6, 17, 3))
    rest = JOINTS.places(joint for joint in H36M.joints if joint != "pelvis")
    expected = metrics.p_mpjpe(guess[:, rest], relative(clip)[:, rest]).mean() * 1e3 * 16 / 17
    found = judged(clip, guess, CONVENTIONS["evoskeleton"])["P-MPJPE"]
    assert found == pytest.approx(expected)
    assert found < judged(clip, guess, CONVENTIONS["videopose3d"])["P-MPJPE"]


def test_a_fit_undoes_shift_turn_and_size_and_a_scale_only_the_size():
    clip = video()
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    found = judged(clip, 1.3 * relative(clip) @ turn + 0.2, Conventions())
    assert found["P-MPJPE"] == pytest.approx(0, abs=1e-6)
    assert found["N-MPJPE"] > 100
    sized = judged(clip, 1.3 * relative(clip), Conventions())
    assert sized["N-MPJPE"] == pytest.approx(0, abs=1e-9)
    assert sized["MPJPE"] > 50


def test_velocity_is_per_frame_of_each_video_and_weighs_by_frames():
    short, long = video(3), video(9)
    how = Conventions()
    still, shaking = relative(short), relative(long)
    shaking[::2] += [0.010, 0, 0]  # every step is off by 10 mm
    rows = [errors(short, still, JOINTS, how, KINDS), errors(long, shaking, JOINTS, how, KINDS)]
    found = table(rows, ["Walking"], KINDS, how).scores["MPJVE"]["Walking"]
    assert found == pytest.approx((3 * 0 + 9 * 10) / 12)


def test_windows_count_the_overlap_of_the_last_one_twice():
    clip = video(7)
    guess = relative(clip)
    guess[3] += [0.070, 0, 0]  # windows 0-3 and 3-6 of seven frames: frame 3 is in both
    assert judged(clip, guess, Conventions())["MPJPE"] == pytest.approx(70 / 7)
    assert judged(clip, guess, Conventions(window=4))["MPJPE"] == pytest.approx(2 * 70 / 8)


@given(frames=st.integers(1, 40), window=st.integers(1, 15))
def test_windows_hold_every_frame_and_only_the_last_repeats(frames, window):
    found = counting_frames(np.ones(frames, dtype=bool), window)
    assert len(found) == -(-frames // window) * window
    assert set(found.tolist()) == set(range(frames))
    whole = frames // window * window
    assert found[:whole].tolist() == list(range(whole))


def test_a_video_shorter_than_a_window_repeats_its_last_frame():
    assert counting_frames(np.ones(3, dtype=bool), 5).tolist() == [0, 1, 2, 2, 2]


def test_frames_that_do_not_count_are_left_out():
    counted = np.array([True, False, True, True])
    assert counting_frames(counted, 0).tolist() == [0, 2, 3]


def test_the_average_is_of_columns_or_of_frames():
    rows = [Errors("A", {"MPJPE": np.full(1, 10.0)}), Errors("B", {"MPJPE": np.full(3, 30.0)})]
    columns, kinds = ["A", "B"], ["MPJPE"]
    by_group = table(rows, columns, kinds, Conventions()).scores["MPJPE"]
    by_frame = table(rows, columns, kinds, Conventions(average="frame")).scores["MPJPE"]
    assert by_group == {"A": 10.0, "B": 30.0, "average": 20.0}
    assert by_frame["average"] == 25.0


def test_batches_blur_p2_between_columns():
    rows = [
        Errors(name, {k: np.full(3, v) for k in KINDS}) for name, v in (("A", 10.0), ("B", 40.0))
    ]
    plain = table(rows, ["A", "B"], KINDS, Conventions()).scores
    blurred = table(rows, ["A", "B"], KINDS, Conventions(p2_batch=4)).scores
    assert plain["P-MPJPE"]["A"] == 10.0
    # Batches are A A A B and B B: the first gives everybody (30 + 40) / 4.
    assert blurred["P-MPJPE"]["A"] == 17.5
    assert blurred["P-MPJPE"]["B"] == pytest.approx((17.5 + 80) / 3)
    assert blurred["MPJPE"] == plain["MPJPE"]


def test_subjects_get_columns_of_their_own():
    clip = video()
    row = errors(clip, relative(clip), JOINTS, Conventions(by_subject=True), KINDS)
    assert row.column == "S9 Walking"


def test_the_mirrored_video_is_averaged_after_its_sides_are_swapped_back():
    clip = video()
    seen = []

    def lift(observed: Poses2D) -> Poses3D:
        """Right wrist: 20 mm to the right in the video, 60 mm in the mirrored one."""
        seen.append(observed)
        mirrored = len(seen) == 2
        xyz = relative(clip).copy()
        if mirrored:
            xyz = xyz[:, H36M.mirror] * [-1, 1, 1]
        xyz[:, H36M.index("left_wrist" if mirrored else "right_wrist"), 0] += (
            -0.06 if mirrored else 0.02
        )
        return Poses3D(xyz, observed.time_s, H36M)

    answer = flipped(lift)(clip.observed)
    off = answer.xyz_m - relative(clip)
    assert off[:, H36M.index("right_wrist"), 0] == pytest.approx(0.04)
    assert np.abs(off).max() == pytest.approx(0.04)
    left, right = H36M.index("left_knee"), H36M.index("right_knee")
    np.testing.assert_allclose(seen[1].xy_px[:, left, 0], 1000 - seen[0].xy_px[:, right, 0])


def test_frames_without_an_answer_are_counted_as_missed_and_as_wrong():
    clip = video()
    guess = relative(clip)
    guess[2] = np.nan
    guess[3] += [0.01, 0, 0]
    how, kinds = Conventions(), (*KINDS, "PCK")
    found = table([errors(clip, guess, JOINTS, how, kinds)], ["Walking"], kinds, how)
    assert found.missed == 1
    assert found.scores["MPJPE"]["Walking"] == pytest.approx(10 / 5)
    assert found.scores["PCK"]["Walking"] == pytest.approx(100 * 5 / 6)


def test_nothing_answered_is_an_error():
    clip = video()
    row = errors(clip, np.full((6, 17, 3), np.nan), JOINTS, Conventions(), KINDS)
    with pytest.raises(InputError, match="an answer for at least one frame"):
        table([row], ["Walking"], KINDS, Conventions())


def test_words_of_the_command_line_change_fields():
    words = ["root=zero", "joints=16", "flip=no", "p2_batch=256", "by_subject=yes"]
    changed = Conventions().changed(words)
    expected = Conventions(root="zero", joints=16, flip=False, p2_batch=256, by_subject=True)
    assert changed == expected
    assert Conventions(joints=16).changed(["joints=all"]) == Conventions()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("rot=zero", "unknown convention: found 'rot' (known: average, by_subject, camera"),
        ("root=nul", "unknown value of convention root: found 'nul' (known: keep, recentre, zero)"),
        ("flip=1", "unknown value of convention flip: found 1 (known: False, True)"),
        ("window=yes", "convention window: expected a number, found True"),
        ("window=all", "convention window: expected a number, found None"),
        ("joints=0", "convention joints: expected a number, found 0"),
        ("root", "convention: expected NAME=VALUE, found 'root'"),
    ],
)
def test_a_wrong_convention_is_named_with_what_is_known(word, message):
    with pytest.raises(InputError) as caught:
        Conventions().changed([word])
    assert message in str(caught.value)


def test_an_unknown_paper_is_named_with_those_that_are_known():
    with pytest.raises(UnknownNameError, match=r"'mixst'.*known: .*mixste.*videopose3d"):
        conventions("mixst")


def test_a_set_of_joints_that_the_dataset_lacks_is_named():
    clip = video()
    with pytest.raises(InputError, match=r"joints of h36m17: found 14 \(known: 16, 17\)"):
        judged(clip, relative(clip), Conventions(joints=14))


def test_papers_differ_where_the_field_says_they_do():
    clip = video()
    noise = np.random.default_rng(0).standard_normal((6, 17, 3))
    guess = relative(clip) + 0.02 * noise
    found = {name: judged(clip, guess, how)["MPJPE"] for name, how in CONVENTIONS.items()}
    each = np.linalg.norm(0.02 * noise, axis=-1).mean(0) * 1e3
    assert found["videopose3d"] == found["srnet"] == pytest.approx(each.mean())
    assert found["strided"] == found["evoskeleton"] == pytest.approx(each[1:].sum() / 17)
    assert found["semgcn"] != pytest.approx(found["strided"])
    assert skeleton("h36m16").joints == JOINTS.names(16)


def test_presets_weigh_and_mirror_as_their_codes_do():
    once = np.ones(300, dtype=bool)
    counts = {name: len(counting_frames(once, how.window)) for name, how in CONVENTIONS.items()}
    assert counts.pop("mixste") == 2 * 243
    assert set(counts.values()) == {300}
    mirrored = {name for name, how in CONVENTIONS.items() if how.flip}
    assert mirrored == {"videopose3d", "srnet", "strided", "mixste", "p-stmo"}
    by_frame = {name for name, how in CONVENTIONS.items() if how.average == "frame"}
    assert by_frame == {"p-stmo", "hmr"}
    assert [name for name, how in CONVENTIONS.items() if how.p2_batch] == ["strided"]
