import numpy as np
import pytest
import torch

from poselift import signal
from poselift.errors import FormatError, InputError
from poselift.skeleton import convert
from poselift.train.batches import (
    COCO,
    H36M,
    SPLITS,
    Motions,
    SynthConfig,
    _catmull_rom,
    fill_gaps,
    generator,
    make_batch,
    mirror,
    of_split,
    splits_of,
    to_h36m,
    window_batch,
)
from poselift.train.evolve import EvolveConfig
from poselift.train.noise import NoiseConfig
from poselift.train.posing import BODY, HALPE

CPU = torch.device("cpu")


def scene(pack, config=None, batch=6, frames=12, seed=0, split="train"):
    motions = Motions(pack, split, CPU)
    return motions.scene(batch, frames, config or SynthConfig(), generator(seed, 0, 0, CPU))


def batch(pack, seed=0, step=0, rank=0, config=None):
    motions = Motions(pack, "train", CPU)
    return make_batch(motions, 8, 9, config or SynthConfig(), generator(seed, step, rank, CPU))


def test_same_triple_same_batch_and_other_triples_other_batches(tiny_pack):
    first = batch(tiny_pack)
    again = batch(tiny_pack)
    assert torch.equal(first.xy, again.xy)
    assert torch.equal(first.xyz_m, again.xyz_m)
    for other in ({"seed": 1}, {"step": 1}, {"rank": 1}):
        assert not torch.equal(first.xy, batch(tiny_pack, **other).xy)


def test_batch_is_what_a_network_expects(tiny_pack):
    b = batch(tiny_pack)
    assert b.xy.shape == (8, 9, 17, 2)
    assert b.xyz_m.shape == (8, 9, 17, 3)
    assert torch.isfinite(b.xy).all()
    assert (b.xyz_m[:, :, 0] == 0).all()
    assert 0.2 < b.xy.std() < 0.6
    assert b.xyz_m.norm(dim=-1).max() < 1.5


def test_a_scene_holds_every_point_of_one_body(tiny_pack):
    s = scene(tiny_pack)
    assert s.posed.surface_m.shape == (6, 12, 26, 3)
    assert s.joints_m.shape == (6, 12, 28, 3)
    assert s.contact.shape == (6, 12, 2)
    assert (s.joints_m[..., 2] >= 0.5 - 1e-4).all()
    assert s.up.norm(dim=-1) == pytest.approx(torch.ones(6, 12), abs=1e-5)
    hip = s.posed.surface_m[:, :, HALPE.index("left_hip")]
    gap = (hip - s.joints_m[:, :, BODY.index("left_hip")]).norm(dim=-1)
    assert gap.min() > 0.005
    assert gap.max() < 0.15


def test_without_bodies_a_detector_sees_the_joint_centres(tiny_pack):
    config = SynthConfig(surface=False, definition=0.0)
    s = scene(tiny_pack, config)
    for joint in ("left_hip", "right_knee", "left_shoulder", "nose"):
        seen = s.posed.surface_m[:, :, HALPE.index(joint)]
        assert torch.equal(seen, s.joints_m[:, :, BODY.index(joint)])
    lengths = (s.joints_m[:, :, 1] - s.joints_m[:, :, 2]).norm(dim=-1)
    assert lengths.std() / lengths.mean() < 0.12  # one body, whose segments vary by 5 %


def test_bodies_of_training_and_test_are_different(tiny_pack):
    train, test = (Motions(tiny_pack, split, CPU).bodies for split in ("train", "test"))
    known = {tuple(row) for row in train.head_m.flatten(1).tolist()}
    assert not known & {tuple(row) for row in test.head_m.flatten(1).tolist()}


def test_planted_feet_do_not_slide_in_a_scene(tiny_pack):
    """The pack says that one foot is always planted, so its calmest point hardly moves."""
    s = scene(tiny_pack, frames=20)
    feet = [
        [HALPE.index(f"{side}_{p}") for p in ("heel", "big_toe", "small_toe")]
        for side in ("left", "right")
    ]
    R = s.view.R_world_to_camera.transpose(-1, -2)
    camera = s.posed.surface_m - s.view.t_world_to_camera_m[:, :, None]
    world = (R[:, :, None] @ camera[..., None])[..., 0]
    moves = torch.stack(
        [world[:, :, rows].diff(dim=1).norm(dim=-1).amin(-1) for rows in feet], dim=-1
    )
    both = torch.minimum(s.contact[:, 1:], s.contact[:, :-1]) > 0.99
    body = world.mean(2).diff(dim=1).norm(dim=-1)
    assert both.any()
    assert moves[both].median() < 0.3 * body.median()


def test_the_same_scene_can_be_seen_by_several_detectors(tiny_pack):
    config = SynthConfig()
    s = scene(tiny_pack, config)
    true = window_batch(s, s.seen(NoiseConfig(level=0.0), generator(1, 0, 0, CPU)), config)
    noisy = window_batch(s, s.seen(NoiseConfig(), generator(1, 0, 0, CPU)), config)
    again = window_batch(s, s.seen(NoiseConfig(), generator(1, 0, 0, CPU)), config)
    assert torch.equal(noisy.xy, again.xy)
    assert not torch.equal(noisy.xy, true.xy)
    # The view is turned onto where the detector puts the person, so lengths are what is the same.
    size = [b.xyz_m.norm(dim=-1) for b in (true, noisy)]
    assert torch.allclose(*size, atol=1e-5)


def test_evolved_scenes_differ_only_where_limbs_were_exchanged(tiny_pack):
    plain = scene(tiny_pack, SynthConfig(), batch=16)
    evolved = scene(
        tiny_pack, SynthConfig(evolve=EvolveConfig(share=1.0, frames_possible=0.0)), batch=16
    )
    shape = [(s.joints_m - s.joints_m[:, :, :1]).norm(dim=-1) for s in (plain, evolved)]
    assert not torch.allclose(*shape, atol=1e-3)
    assert torch.isfinite(evolved.joints_m).all()


def test_rates_are_those_asked_for_and_fast_ones_are_thinned(tiny_pack):
    fast = SynthConfig(rates_hz=(60.0,), rate_weights=(1.0,))
    assert scene(tiny_pack, fast).dt_s == pytest.approx(1 / 30)
    whole = SynthConfig(rates_hz=(60.0,), rate_weights=(1.0,), thinned=False)
    assert scene(tiny_pack, whole).dt_s == pytest.approx(1 / 60)


def test_interpolation_passes_through_its_values_and_keeps_straight_lines():
    s = torch.linspace(0, 1, 11)
    weights = torch.stack(_catmull_rom(s))
    assert weights.sum(0) == pytest.approx(1)
    assert (weights * torch.tensor([-1.0, 0, 1, 2])[:, None]).sum(0) == pytest.approx(s)
    assert weights[:, 0].tolist() == [0, 1, 0, 0]
    assert weights[:, -1] == pytest.approx(torch.tensor([0.0, 0, 1, 0]))


def test_clean_input_lies_on_the_rays_of_the_target(tiny_pack):
    """Without noise, input and target fit: the head is above the feet in both, sides agree."""
    b = batch(tiny_pack, config=SynthConfig().clean())
    for joint, other in (("left_wrist", "right_wrist"), ("head_top", "left_ankle")):
        i, k = H36M.index(joint), H36M.index(other)
        seen = (b.xy[:, :, [i, k]] != 0).all(-1).all(-1)
        across = (b.xy[:, :, i] - b.xy[:, :, k])[seen]
        true = (b.xyz_m[:, :, i, :2] - b.xyz_m[:, :, k, :2])[seen]
        cosine = torch.nn.functional.cosine_similarity(across, true)
        assert cosine.median() > 0.95


def test_mirror_is_an_involution_and_swaps_sides():
    points = torch.randn(2, 17, 3, generator=torch.Generator().manual_seed(0))
    twin = mirror(points)
    assert torch.equal(mirror(twin), points)
    left, right = H36M.index("left_wrist"), H36M.index("right_wrist")
    assert torch.equal(twin[:, left, 1:], points[:, right, 1:])
    assert torch.equal(twin[:, left, 0], -points[:, right, 0])


def test_h36m_of_coco_equals_the_product_conversion():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(5, 17, 2))
    points[1, COCO.index("left_ear")] = np.nan
    points[2, COCO.index("left_shoulder")] = np.nan
    expected = convert(points, COCO, H36M)
    actual = to_h36m(torch.tensor(points)).numpy()
    assert np.array_equal(np.isnan(actual), np.isnan(expected))
    assert actual == pytest.approx(expected, nan_ok=True)


def test_fill_gaps_equals_the_product_filter():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(20, 6, 2))
    values[rng.uniform(size=(20, 6)) < 0.5] = np.nan
    dt = 1 / 30
    expected = np.stack(
        [signal.fill_gaps(values[:, j], np.arange(20) * dt, 0.12) for j in range(6)], axis=1
    )
    actual = fill_gaps(torch.tensor(values)[None], torch.tensor([dt]), 0.12)[0].numpy()
    assert np.isnan(expected).any()
    assert not np.array_equal(np.isnan(expected), np.isnan(values))
    assert actual == pytest.approx(expected, nan_ok=True)


def test_splits_do_not_share_clips(tiny_pack):
    names = {split: Motions(tiny_pack, split, CPU).names for split in SPLITS}
    assert names == {
        "train": ["a_1", "b_1"],
        "validation": ["c_1"],
        "test": ["d_1"],
        "cross-corpus": ["e_1"],
    }


def test_splits_are_counted_in_words(made_up_pack):
    words = splits_of(made_up_pack)
    assert list(words) == list(SPLITS)
    assert words["train"].startswith("2 clips of 2 subjects")
    assert of_split(made_up_pack, "cross-corpus").tolist() == [False] * 4 + [True]


def test_bad_packs_and_splits_are_refused(tiny_pack, tmp_path):
    with pytest.raises(InputError, match="known: train"):
        Motions(tiny_pack, "all", CPU)
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"no pack")
    with pytest.raises(FormatError, match=r"broken\.npz"):
        Motions(broken, "train", CPU)
