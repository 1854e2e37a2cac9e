from dataclasses import replace

import numpy as np
import pytest

from poselift.errors import InputError, ShapeError
from poselift.models.ppca import (
    HeatmapBelief,
    Mixture,
    PointBelief,
    PpcaOptions,
    SimccBelief,
    fuse,
    fuse_stages,
    shipped,
)
from poselift.models.ppca.fusion import shared_joints
from poselift.models.ppca.search import rotation
from poselift.skeleton import skeleton
from poselift.train.fuse_ppca import Detections, learn_fusion, learn_spread

LEVEL = PpcaOptions(pitch_deg=0.0, angles=36)
COCO, H36M = skeleton("coco17"), skeleton("h36m17")


@pytest.fixture(scope="module")
def model() -> Mixture:
    return shipped()


def people(model: Mixture, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 17, 2) in units of size and poses (N, 17, 3) of the model's charts, metres."""
    rng = np.random.default_rng(seed)
    chart = rng.choice(model.charts, count, p=model.share / model.share.sum())
    a = rng.normal(0, 0.7, (count, model.basis.shape[1]))
    shape = model.mean[chart] + np.einsum("nb,nbjc->njc", a, model.basis[chart])
    yaw = rng.uniform(-np.pi, np.pi, count)
    view = np.einsum("ncd,njd->njc", rotation(yaw, np.zeros(count), np.zeros(count)), shape)
    return view[..., :2], model.size_m * (view - view[:, :1])


def coco_of(points: np.ndarray) -> np.ndarray:
    """COCO-17 points; ears and eyes, which H36M-17 has not, sit round the nose."""
    out = np.repeat(points[:, [H36M.index("nose")]], 17, axis=1)
    own, twin = shared_joints(COCO)
    out[:, own] = points[:, twin]
    out[:, 1:5] += np.array([[0.1, -0.1], [-0.1, -0.1], [0.2, 0.0], [-0.2, 0.0]])
    return out


def off(points: np.ndarray, true: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points - true, axis=-1)


# ------------------------------------------------------------------------------------- beliefs
GRID = np.array([-4.0, -4.0])


def dots(points: np.ndarray, step: float = 0.125, pixels: int = 64) -> np.ndarray:
    bins = -4 + step * np.arange(pixels)
    lines = np.exp(-(((bins - points[..., None]) / (1.2 * step)) ** 2) / 2)
    return lines[..., 1, :, None] * lines[..., 0, None, :]


@pytest.mark.parametrize("kind", ["heatmaps", "simcc"])
def test_a_peak_is_found_between_bins(kind: str) -> None:
    true = np.array([[[0.33, -1.27], [2.01, 3.05]]])
    maps = 0.8 * dots(true)
    if kind == "heatmaps":
        belief = HeatmapBelief(maps, GRID, 0.125)
    else:
        belief = SimccBelief(maps.max(2), maps.max(3), GRID, 0.125)
    np.testing.assert_allclose(belief.points(), true, atol=0.03)
    assert belief.confidence() == pytest.approx(0.8, abs=0.15)


@pytest.mark.parametrize("kind", ["heatmaps", "simcc"])
def test_fusion_takes_the_peak_that_agrees(kind: str) -> None:
    true, wrong = np.array([[[1.0, -1.0]]]), np.array([[[-1.5, 0.5]]])
    maps = dots(true) + 1.2 * dots(wrong)
    if kind == "heatmaps":
        belief = HeatmapBelief(maps, GRID, 0.125)
    else:
        belief = SimccBelief(maps.max(2), maps.max(3), GRID, 0.125)
    assert off(belief.points(), wrong) < 0.05
    sure, half = np.ones((1, 1)), np.full((1, 1), 0.5)
    fused = fuse(belief, true + 0.1, np.full((1, 1), 0.3), half)
    assert off(fused.points(), true) < 0.2
    assert off(fuse(belief, true, np.full((1, 1), 0.3), sure).points(), wrong) < 0.05
    place, strength = belief.near(true + 0.1)
    assert off(place, true) < 0.1
    assert strength == pytest.approx(1 / 1.2, rel=0.05)


def test_points_fuse_to_a_weighted_mean_and_lost_ones_to_the_projection() -> None:
    belief = PointBelief(np.array([[[0.0, 0.0], [np.nan, np.nan]]]), np.array([[0.9, 0.9]]))
    projected = np.array([[[1.0, 2.0], [3.0, 4.0]]])
    fused = fuse(belief, projected, np.ones((1, 2)), np.full((1, 2), 0.75))
    np.testing.assert_allclose(fused.points(), [[[0.25, 0.5], [3.0, 4.0]]])
    assert belief.confidence().tolist() == [[0.9, 0.0]]


def test_bad_beliefs_are_refused(model: Mixture) -> None:
    with pytest.raises(ShapeError, match="points and confidences"):
        PointBelief(np.zeros((2, 17, 2)), np.zeros((2, 16)))
    with pytest.raises(ShapeError, match="heatmaps"):
        HeatmapBelief(np.zeros((17, 8, 8)), GRID, 1.0)
    with pytest.raises(ShapeError, match="SimCC"):
        SimccBelief(np.zeros((1, 17, 8)), np.zeros((1, 16, 8)), GRID, 1.0)
    belief = PointBelief(np.zeros((1, 1, 2)), np.ones((1, 1)))
    with pytest.raises(InputError, match="0 to 1"):
        fuse(belief, np.zeros((1, 1, 2)), np.ones((1, 1)), np.full((1, 1), 1.1))
    with pytest.raises(InputError, match="finite"):
        fuse(belief, np.full((1, 1, 2), np.nan), np.ones((1, 1)), np.ones((1, 1)))
    with pytest.raises(InputError, match="stages"):
        fuse_stages(model, PointBelief(np.zeros((1, 17, 2)), np.ones((1, 17))), stages=99)


def test_names_decide_which_joints_take_part() -> None:
    own, twin = shared_joints(COCO)
    names = [COCO.joints[row] for row in own]
    assert names == [H36M.joints[row] for row in twin]
    assert set(names) == set(COCO.joints) - {"left_eye", "right_eye", "left_ear", "right_ear"}


# ---------------------------------------------------------------------------------- over stages
def test_fusion_lowers_2d_and_3d_error_of_points_with_outliers(model: Mixture) -> None:
    points, poses = people(model, 60)
    true = coco_of(points)
    rng = np.random.default_rng(1)
    noisy = true + rng.normal(0, 0.05, true.shape)
    own, _ = shared_joints(COCO)
    wild = np.zeros(true.shape[:2], bool)
    wild[np.arange(60), rng.choice(own, 60)] = True
    noisy[wild] += rng.normal(0, 1.5, (60, 2))
    sure = np.where(wild, 0.5, 0.9)
    found = fuse_stages(model, PointBelief(noisy, sure), COCO, LEVEL)
    assert len(found.xy) == len(found.poses) == 3
    np.testing.assert_array_equal(found.xy[0], noisy)
    before, after = (off(xy, true)[:, own].mean() for xy in (found.xy[0], found.xy[-1]))
    assert after < 0.75 * before
    lifted = [np.mean(off(pose.xyz_m, poses)) for pose in found.poses]
    assert lifted[-1] < 0.9 * lifted[0]


@pytest.mark.parametrize("kind", ["heatmaps", "simcc"])
def test_fusion_lowers_2d_and_3d_error_of_doubtful_maps(model: Mixture, kind: str) -> None:
    points, poses = people(model, 24, seed=2)
    true = coco_of(points)
    doubtful = np.random.default_rng(3).random(true.shape[:2]) < 0.15
    doubtful[:, 1:5] = False  # of eyes and ears the fit knows nothing
    maps = dots(true) + 1.3 * doubtful[..., None, None] * dots(true[:, COCO.mirror])
    sure = np.full(true.shape[:2], 0.8)
    if kind == "heatmaps":
        belief = HeatmapBelief(maps, GRID, 0.125, sure)
    else:
        belief = SimccBelief(maps.max(2), maps.max(3), GRID, 0.125, sure)
    found = fuse_stages(model, belief, COCO, LEVEL)
    before, after = (off(xy, true)[doubtful].mean() for xy in (found.xy[0], found.xy[-1]))
    assert after < 0.8 * before
    lifted = [np.mean(off(pose.xyz_m, poses)) for pose in found.poses]
    assert lifted[-1] < lifted[0]


def test_lost_joints_are_put_where_the_fit_has_them(model: Mixture) -> None:
    points, _ = people(model, 20, seed=4)
    true = coco_of(points)
    seen = true.copy()
    wrist = COCO.index("left_wrist")
    seen[:, wrist] = np.nan
    found = fuse_stages(model, PointBelief(seen, np.ones(true.shape[:2])), COCO, LEVEL)
    assert np.isnan(found.xy[0][:, wrist]).all()
    assert np.median(off(found.xy[-1], true)[:, wrist]) < 1.0  # of a size, about 27 cm
    np.testing.assert_array_equal(found.xy[-1][:, 1:5], seen[:, 1:5])  # eyes and ears are as seen


def test_frames_with_too_few_joints_keep_their_points(model: Mixture) -> None:
    true = coco_of(people(model, 2, seed=5)[0])
    true[1, 5:] = np.nan
    found = fuse_stages(model, PointBelief(true, np.ones(true.shape[:2])), COCO, LEVEL)
    np.testing.assert_array_equal(found.xy[-1][1], true[1])
    assert np.isnan(found.poses[-1].xyz_m[1]).all()
    assert np.isfinite(found.poses[-1].xyz_m[0]).all()


# -------------------------------------------------------------------------------------- learning
def test_learning_finds_how_far_points_lie(model: Mixture) -> None:
    points, poses = people(model, 300, seed=6)
    true = coco_of(points)
    rng = np.random.default_rng(7)
    sure = rng.uniform(0.2, 1, true.shape[:2])
    spread = 0.05 * np.exp(2.0 * (1 - sure))
    data = Detections(
        true + spread[..., None] * rng.normal(size=true.shape), sure, true, points, poses
    )
    learned = learn_spread(model, data)
    limbs = [H36M.index(f"left_{joint}") for joint in ("knee", "ankle", "elbow", "wrist")]
    assert learned.seen[limbs] == pytest.approx(0.05, rel=0.15)
    assert learned.fade == pytest.approx(2.0, rel=0.15)


def test_learning_believes_points_that_agree(model: Mixture) -> None:
    points, poses = people(model, 100, seed=8)
    true = coco_of(points)
    rng = np.random.default_rng(9)
    wild = rng.random(true.shape[:2]) < 0.1
    spread = np.where(wild, 1.5, 0.01)[..., None]
    sure = np.full(true.shape[:2], 0.9)
    data = Detections(true + spread * rng.normal(size=true.shape), sure, true, points, poses)
    learned = learn_fusion(model, data, 2, LEVEL)
    assert learned.fusion.bias.shape == (2, 17)
    knee = H36M.index("left_knee")
    assert learned.fusion.bias[0, knee] == learned.fusion.bias[0, H36M.index("right_knee")]
    near, far = (
        learned.fusion.at(0, np.full((1, 17), 0.9), np.full((1, 17), apart))[0, knee]
        for apart in (0.1, 5.0)
    )
    assert near > 0.6
    assert far < 0.2
    found = fuse_stages(learned, PointBelief(data.xy, sure), COCO, LEVEL)
    own, _ = shared_joints(COCO)
    assert off(found.xy[-1], true)[:, own].mean() < 0.8 * off(data.xy, true)[:, own].mean()


def test_detections_must_fit_each_other(model: Mixture) -> None:
    points, poses = people(model, 3)
    data = Detections(points, np.ones((3, 17)), points, points, poses)
    with pytest.raises(ShapeError, match="true_xy"):
        replace(data, true_xy=points[:2])
