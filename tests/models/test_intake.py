import numpy as np
import pytest
import torch

from poselift.errors import InputError
from poselift.models.intake import (
    BODY,
    FACTS,
    MODES,
    NEW_S,
    POINT,
    TRUNK,
    Known,
    columns,
    intake,
    mode,
    with_mode,
)
from poselift.skeleton import skeleton, skeletons

FRAMES = 12


def walk(frames: int = FRAMES) -> np.ndarray:
    """A body of 28 joints (T, 28, 3) that sways some metres in front of a camera."""
    rng = np.random.default_rng(0)
    body = rng.normal(0, 0.4, (len(BODY), 3)) * [0.6, 1.2, 0.5]
    sway = 0.1 * np.sin(np.arange(frames)[:, None, None] / 5 + rng.uniform(0, 6, (1, 28, 3)))
    return body + sway + [0.1, 0.0, 5.0]


def rays_of(xyz_m: np.ndarray) -> np.ndarray:
    return xyz_m[..., :2] / xyz_m[..., 2:]


def nothing_known(frames: int = FRAMES) -> Known:
    none = np.full(frames, np.nan)
    return Known(np.zeros(frames), np.zeros(frames), none, np.full((frames, 3), np.nan))


def steps(frames: int = FRAMES, dt: float = 1 / 30) -> np.ndarray:
    out = np.full(frames, dt)
    out[0] = NEW_S
    return out


def taken(rays: np.ndarray, known: Known | None = None, **changes):
    given = {"confidence": np.ones(rays.shape[:-1]), "dt_s": steps(len(rays))} | changes
    return intake(rays, known=known or nothing_known(len(rays)), **given)[0]


def test_shapes_and_the_way_back():
    xyz = walk()
    seen = taken(rays_of(xyz))
    assert seen.points.shape == (FRAMES, len(BODY), POINT)
    assert seen.facts.shape == (FRAMES, FACTS - len(MODES))
    assert seen.to_camera(seen.to_view(xyz)) == pytest.approx(xyz)
    trunk = [i for i, joint in enumerate(BODY.joints) if joint.split("_")[-1] in TRUNK]
    assert len(trunk) == 8
    assert np.abs(seen.points[:, trunk, :2].mean((0, 1))).max() < 0.05  # on the optical axis


def test_points_are_about_in_metres():
    xyz = walk()
    seen = taken(rays_of(xyz))
    middle = seen.to_view(xyz)[..., :2]
    spread = np.linalg.norm(middle - middle.mean(1, keepdims=True), axis=-1).mean()
    found = np.linalg.norm(seen.points[..., :2], axis=-1).mean()
    assert found == pytest.approx(spread, rel=0.6)


def test_another_zoom_and_distance_give_the_same_points():
    """Twice as far with half the depth differences is the same picture, smaller."""
    rays = rays_of(walk())
    assert taken(rays / 2).points == pytest.approx(taken(rays).points, abs=0.02)


def test_a_camera_that_is_turned_sees_the_same_points():
    xyz = walk()
    level = xyz - [0, xyz[..., 1].mean(), 0]
    angle = np.deg2rad(15)
    turn = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    one, other = taken(rays_of(level)), taken(rays_of(level @ turn.T))
    assert other.points == pytest.approx(one.points, abs=0.02)
    back = np.einsum("tij,kj->tik", other.R_camera_to_view, turn.T)
    assert back == pytest.approx(one.R_camera_to_view, abs=0.02)


def test_off_axis_people_are_moved_but_not_turned():
    """What the ablation takes away: a turned camera then sees something else."""
    level = walk()
    level[..., 1] -= level[..., 1].mean()
    aside = level + np.array([2.5, 0, 0])
    one, other = (taken(rays_of(xyz), on_axis=False) for xyz in (level, aside))
    assert np.array_equal(other.R_camera_to_view, np.broadcast_to(np.eye(3), (FRAMES, 3, 3)))
    trunk = [i for i, joint in enumerate(BODY.joints) if joint.split("_")[-1] in TRUNK]
    assert np.abs(other.points[:, trunk, :2].mean((0, 1))).max() < 0.05
    assert np.abs(other.points - one.points).max() > 0.1
    assert other.facts[:, 1] == pytest.approx(taken(rays_of(aside)).facts[:, 1])


def test_frame_by_frame_is_the_same_as_at_once():
    rays, dt_s = rays_of(walk()), steps()
    rays[4, :10] = np.nan
    rays[6] = np.nan
    known, sure = nothing_known(), np.ones((FRAMES, len(BODY)))
    whole, end = intake(rays, sure, dt_s, known)
    before = None
    for t in range(FRAMES):
        part = slice(t, t + 1)
        one, before = intake(rays[part], sure[part], dt_s[part], nothing_known(1), before)
        assert one.points[0] == pytest.approx(whole.points[t], abs=1e-12)
        assert one.facts[0] == pytest.approx(whole.facts[t], abs=1e-12)
    assert all(a == pytest.approx(b) for a, b in zip(before, end, strict=True))


def test_torch_gives_what_numpy_gives():
    rays = rays_of(walk())
    rays[3, 5] = np.nan
    expected = taken(rays)
    known = nothing_known()
    arrays = (torch.from_numpy(x) for x in (rays, np.ones((FRAMES, len(BODY))), steps()))
    told = (known.camera, known.centres, known.height_m, known.up)
    found, _ = intake(*arrays, Known(*(torch.from_numpy(x) for x in told)))
    assert found.points.numpy() == pytest.approx(expected.points)
    assert found.facts.numpy() == pytest.approx(expected.facts)


def test_missing_joints_are_masked_and_a_frame_without_anybody_keeps_the_place():
    rays, sure = rays_of(walk()), np.ones((FRAMES, len(BODY)))
    rays[2, 7] = np.nan
    rays[5] = np.nan
    seen = taken(rays, confidence=0.5 * sure)
    assert (seen.points[2, 7] == 0).all()
    assert (seen.points[5] == 0).all()
    assert seen.points[2, 8, 2:] == pytest.approx([0.5, 1])
    assert np.isfinite(seen.facts).all()
    assert seen.R_camera_to_view[5] == pytest.approx(seen.R_camera_to_view[4])


def test_legs_that_leave_the_image_hardly_change_where_the_person_is_and_how_large():
    rays = rays_of(walk())
    legs = [i for i, joint in enumerate(BODY.joints) if joint.endswith(("knee", "ankle", "toe"))]
    half = rays.copy()
    half[:, legs] = np.nan
    one, other = taken(rays), taken(half)
    assert other.facts[:, 1:3] == pytest.approx(one.facts[:, 1:3], abs=0.01)


def test_facts_say_what_is_known():
    up = np.tile([0.0, -1.0, 0.0], (FRAMES, 1))
    known = Known(np.ones(FRAMES), np.zeros(FRAMES), np.full(FRAMES, 1.7), up)
    told, untold = taken(rays_of(walk()), known).facts, taken(rays_of(walk())).facts
    assert told[0, 3:8] == pytest.approx([1, 0, 0, 1, 0], abs=0.1)  # camera, height of 1.7 m
    assert told[0, 8] < -0.9  # up is against y
    assert told[0, 10] == 1
    assert (untold[:, [3, 4, 5, 6, 10]] == 0).all()
    assert told[1, 11] == pytest.approx(0)  # 30 frames per second
    assert with_mode(told, "4 late")[0, -len(MODES) :] == pytest.approx([0, 0, 0, 1, 0])
    with pytest.raises(InputError, match=r"mode: found '5 late' \(known: both ways, 0 late"):
        mode("5 late")


def test_every_skeleton_of_people_brings_points_by_name():
    for name in skeletons():
        layout = skeleton(name)
        sources, targets = columns(layout)
        assert len(set(targets)) == len(targets) == len(sources)
        for source, target in zip(sources, targets, strict=True):
            same = layout.joints[source] == BODY.joints[target]
            assert same or layout.joints[source].endswith("foot_index")
    assert len(columns(skeleton("halpe26"))[0]) == 26
    assert len(columns(skeleton("mediapipe33"))[0]) == 21
    # A thorax on the skin is no joint centre.
    assert BODY.index("thorax") not in columns(skeleton("mpii16"))[1]
    assert BODY.index("thorax") in columns(skeleton("h36m17"))[1]


def test_where_a_person_is_is_remembered_by_seconds_not_by_frames():
    """Somebody suddenly elsewhere is followed there alike at 10 and 100 frames a second."""
    here = rays_of(walk(1))
    after = []
    for rate_hz in (10, 100):
        frames = 1 + round(0.4 * rate_hz)
        rays = np.repeat(here, frames, axis=0)
        rays[1:, :, 0] += 0.3
        seen = taken(rays, dt_s=steps(frames, 1 / rate_hz))
        after.append(seen.facts[-1, 1:3])
        assert here[:, :, 0].mean() < after[-1][0] < rays[-1, :, 0].mean() - 0.01
    assert after[0] == pytest.approx(after[1], abs=1e-9)
