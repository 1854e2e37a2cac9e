import pytest
import torch

from poselift.train.bodies import COCO
from poselift.train.noise import NoiseConfig, observe

BATCH, FRAMES = 600, 31


def standing() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """People of box height 0.5, arms wide, so that nothing hides behind the trunk."""
    place = torch.zeros(17, 2)
    for joint, (x, y) in {
        "shoulder": (0.06, -0.15),
        "elbow": (0.12, -0.1),
        "wrist": (0.18, -0.05),
        "hip": (0.04, 0.02),
        "knee": (0.05, 0.12),
        "ankle": (0.05, 0.25),
        "ear": (0.02, -0.22),
        "eye": (0.01, -0.24),
    }.items():
        place[COCO.index(f"left_{joint}")] = torch.tensor([x, y])
        place[COCO.index(f"right_{joint}")] = torch.tensor([-x, y])
    place[0] = torch.tensor([0.0, -0.25])
    xy = place.expand(BATCH, FRAMES, 17, 2)
    return xy, torch.zeros(BATCH, FRAMES, 17), torch.full((BATCH,), 1 / 30)


def seen(config: NoiseConfig, depth: torch.Tensor | None = None) -> torch.Tensor:
    xy, flat, dt = standing()
    g = torch.Generator().manual_seed(0)
    return observe(xy, flat if depth is None else depth, dt, config, g)


STEADY = NoiseConfig(swap=0, lost=0, lost_legs=0, lost_arm=0, clean=0)


def test_level_zero_gives_the_truth():
    xy, depth, dt = standing()
    g = torch.Generator().manual_seed(0)
    assert torch.equal(observe(xy, depth, dt, NoiseConfig(level=0.0), g), xy)


def test_errors_have_the_size_of_measured_detectors():
    xy, _, _ = standing()
    error = (seen(STEADY) - xy).norm(dim=-1) / 0.5
    assert 0.006 < error.median() < 0.02
    assert error[..., COCO.index("left_wrist")].median() > error[..., 0].median()


def test_errors_persist_from_frame_to_frame():
    error = (seen(STEADY) - standing()[0])[..., 0, 0]
    error = error - error.mean(1, keepdim=True)  # without the constant bias
    product = (error[:, 1:] * error[:, :-1]).mean() / error.square().mean()
    assert 0.4 < product < 0.9


def test_bias_stays_over_a_clip():
    only_bias = NoiseConfig(
        swap=0, lost=0, lost_legs=0, lost_arm=0, clean=0, white=0, outlier=0, knot_s=(1e6, 1e7)
    )
    error = seen(only_bias) - standing()[0]
    assert torch.allclose(error[:, 0], error[:, -1], atol=1e-3)
    assert error.abs().max() > 1e-3


def test_clean_share_of_clips_is_untouched():
    config = NoiseConfig(swap=0, lost=0, lost_legs=0, lost_arm=0, clean=0.3)
    same = (seen(config) == standing()[0]).flatten(1).all(1).float().mean()
    assert same == pytest.approx(0.3, abs=0.06)


def test_swaps_exchange_limbs_for_a_while():
    config = NoiseConfig(level=1e-9, clean=0, swap=1.0, lost=0, lost_legs=0, lost_arm=0)
    points = seen(config)
    swapped = points[..., COCO.index("left_knee"), 0] < 0
    per_clip = swapped.float().sum(1)
    assert 0.5 < (per_clip > 0).float().mean() < 0.9
    assert per_clip.max() < 10
    assert (points[..., COCO.index("left_shoulder"), 0] > 0).all()


def test_lost_joints_are_nan_and_shares_fit():
    config = NoiseConfig(level=1e-9, clean=0, swap=0, lost=0.2, lost_legs=0.1, lost_arm=0)
    gone = torch.isnan(seen(config)).any(-1)
    ever = gone[:, :, 0].any(1).float().mean()
    assert ever == pytest.approx(0.2, abs=0.05)
    legs = gone[:, :, [COCO.index(f"{s}_ankle") for s in ("left", "right")]].flatten(1).all(1)
    assert legs.float().mean() == pytest.approx(0.1, abs=0.04)


def test_a_joint_behind_the_trunk_is_noisier():
    xy, depth, dt = standing()
    xy, depth = xy.clone(), depth.clone()
    wrist = COCO.index("left_wrist")
    xy[:, :, wrist] = torch.tensor([0.0, -0.06])
    depth[:, :, wrist] = 0.3
    spread = []
    for shift in (0.0, -0.6):  # behind, then in front
        g = torch.Generator().manual_seed(0)
        out = observe(xy, depth + shift * (depth > 0), dt, STEADY, g)
        spread.append((out - xy)[:, :, wrist].abs().median())
    assert spread[0] > 1.5 * spread[1]
