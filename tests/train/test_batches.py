import numpy as np
import pytest
import torch

from poselift import signal
from poselift.errors import FormatError, InputError
from poselift.skeleton import convert
from poselift.train.batches import (
    SPLITS,
    Motions,
    SynthConfig,
    fill_gaps,
    generator,
    make_batch,
    mirror,
    to_h36m,
)
from poselift.train.bodies import COCO, H36M

CPU = torch.device("cpu")


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


def test_bad_packs_and_splits_are_refused(tiny_pack, tmp_path):
    with pytest.raises(InputError, match="known: train"):
        Motions(tiny_pack, "all", CPU)
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"no pack")
    with pytest.raises(FormatError, match="mocap build"):
        Motions(broken, "train", CPU)
