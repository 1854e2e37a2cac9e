"""Calibration: against scipy and loops, on lifters that are honest, and on liars."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import stats
from scipy.spatial.transform import Rotation
from scipy.special import gamma

from poselift.errors import InputError, ShapeError
from poselift.metrics import uncertainty
from poselift.metrics.uncertainty import POWER, exp_power, gaussian

seeds = st.integers(0, 2**32 - 1)
laws = settings(max_examples=25, deadline=None)


def honest_power(seed: int, frames: int = 400, joints: int = 5):
    """Predictions, truth, scales and axis of a lifter whose claims are drawn from."""
    random = np.random.default_rng(seed)
    axis = random.normal(size=3)
    axis /= np.linalg.norm(axis)
    scale = random.uniform(0.005, 0.04, (frames, joints, 2))
    direction = random.normal(size=(frames, joints, 3))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    radius = random.gamma(3 / POWER, size=(frames, joints, 1)) ** (1 / POWER)
    error = direction * radius * scale[..., [0, 0, 1]]
    turn = Rotation.align_vectors(axis[None], [[0, 0, 1]])[0].as_matrix()
    truth = random.normal(0, 0.4, (frames, joints, 3))
    return truth + error @ turn.T, truth, scale, axis


def honest_gaussian(seed: int, frames: int = 400, joints: int = 5):
    random = np.random.default_rng(seed)
    sd = random.uniform(0.005, 0.04, (frames, joints))
    truth = random.normal(0, 0.4, (frames, joints, 3))
    return truth + random.normal(size=truth.shape) * sd[..., None], truth, sd


def test_the_radii_of_the_claim():
    """Errors at the published radii have the published probabilities, in any direction."""
    for r, level in ((1.9113, 0.5), (3.5787, 0.9), (4.1618, 0.95)):
        for error, b in (([r, 0, 0], [1, 9]), ([0, r, 0], [1, 9]), ([0, 0, r], [9, 1])):
            truth = np.zeros((1, 1, 3))
            claim = exp_power(truth + error, truth, np.array([[b]], dtype=float))
            assert claim.pit[0, 0] == pytest.approx(level, abs=2e-5)


def test_claims_against_a_loop_and_scipy():
    found, truth, scale, axis = honest_power(0, frames=6)
    claim = exp_power(found, truth, scale, axis)
    for index in np.ndindex(6, 5):
        error, (b_lateral, b_depth) = found[index] - truth[index], scale[index]
        along = (error @ axis) * axis
        r = np.hypot(np.linalg.norm(error - along) / b_lateral, np.linalg.norm(along) / b_depth)
        assert claim.pit[index] == pytest.approx(stats.gamma(2.5).cdf(r**1.2))
        unit = 1.2 / (4 * np.pi * gamma(2.5))
        density = unit * np.exp(-(r**1.2)) / (b_lateral**2 * b_depth)
        assert claim.nll[index] == pytest.approx(-np.log(density))
        assert claim.error_m[index] == pytest.approx(np.linalg.norm(error))


def test_the_density_is_one_and_has_the_claimed_deviation():
    """Both by summing the density over a grid of errors."""
    b_lateral, b_depth = 0.01, 0.02
    sides = [np.linspace(-20, 20, 81) * b for b in (b_lateral, b_lateral, b_depth)]
    errors = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(1, -1, 3)
    scale = np.broadcast_to([b_lateral, b_depth], (*errors.shape[:-1], 2))
    claim = exp_power(errors, np.zeros_like(errors), scale)
    volume = np.prod([side[1] - side[0] for side in sides])
    density = np.exp(-claim.nll) * volume
    assert density.sum() == pytest.approx(1, abs=0.01)
    per_axis = np.sqrt((density[..., None] * errors**2).sum((0, 1)).mean())
    assert claim.sigma_m[0, 0] == pytest.approx(per_axis, rel=0.01)


def test_gaussian_against_scipy():
    found, truth, sd = honest_gaussian(1, frames=6)
    claim = gaussian(found, truth, sd)
    for index in np.ndindex(6, 5):
        error = np.linalg.norm(found[index] - truth[index])
        assert claim.pit[index] == pytest.approx(stats.chi(3, scale=sd[index]).cdf(error))
        density = stats.multivariate_normal(truth[index], sd[index] ** 2 * np.eye(3))
        assert claim.nll[index] == pytest.approx(-density.logpdf(found[index]))
        assert claim.sigma_m[index] == sd[index]


@pytest.mark.parametrize(
    ("judge", "lifter"), [(exp_power, honest_power), (gaussian, honest_gaussian)]
)
def test_honest_claims_are_found_honest_and_lies_are_not(judge, lifter):
    found, truth, scale, *axis = lifter(2, frames=2000)
    honest = judge(found, truth, scale, *axis)
    for level in (0.5, 0.9, 0.95):
        assert uncertainty.coverage(honest.pit, level) == pytest.approx(level, abs=0.02)
    assert uncertainty.calibration_error(honest.pit) < 0.01
    assert stats.kstest(honest.pit.ravel(), "uniform").pvalue > 0.001
    for factor, low, high in ((0.5, 0.0, 0.75), (2.0, 0.97, 1.0)):
        liar = judge(found, truth, factor * scale, *axis)
        assert low < uncertainty.coverage(liar.pit, 0.9) <= high
        assert uncertainty.calibration_error(liar.pit) > 0.1
        assert liar.nll.mean() > honest.nll.mean() + 0.1
        # Order is not touched by a wrong factor.
        assert uncertainty.spearman(liar.sigma_m, liar.error_m) == pytest.approx(
            uncertainty.spearman(honest.sigma_m, honest.error_m)
        )


@laws
@given(seeds, st.floats(0.1, 10))
def test_claims_scale_and_turn_along(seed, scale):
    found, truth, b, axis = honest_power(seed, frames=3)
    turn = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    claim = exp_power(found, truth, b, axis)
    other = exp_power(
        scale * found @ turn.T + 1, scale * truth @ turn.T + 1, scale * b, turn @ axis
    )
    np.testing.assert_allclose(other.pit, claim.pit, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(other.sigma_m, scale * claim.sigma_m)
    np.testing.assert_allclose(other.nll, claim.nll + 3 * np.log(scale), rtol=1e-6)


@laws
@given(seeds)
def test_an_isotropic_claim_needs_no_axis(seed):
    found, truth, b, axis = honest_power(seed, frames=3)
    b = b[..., [0, 0]]
    claim, other = exp_power(found, truth, b, axis), exp_power(found, truth, b)
    np.testing.assert_allclose(claim.pit, other.pit, atol=1e-9)
    np.testing.assert_allclose(claim.sigma_m, 1.36458 * b[..., 0], rtol=1e-5)


def test_measures_against_loops():
    random = np.random.default_rng(3)
    pit = random.beta(2, 1, 157)
    pit[[3, 90]] = np.nan
    known = [p for p in pit if p == p]
    shares = [sum(p <= level for p in known) / len(known) for level in uncertainty.LEVELS]
    np.testing.assert_allclose(uncertainty.reliability(pit), shares)
    gaps = [abs(s - level) for s, level in zip(shares, uncertainty.LEVELS, strict=True)]
    assert uncertainty.calibration_error(pit) == pytest.approx(np.mean(gaps))

    sigma, error = random.random(157), random.random(157)
    sigma[5], error[6] = np.nan, np.nan
    both = [(s, e) for s, e in zip(sigma, error, strict=True) if s == s and e == e]
    assert uncertainty.spearman(sigma, error) == pytest.approx(
        stats.spearmanr(*zip(*both, strict=True)).statistic
    )
    by_sigma = [e for _, e in sorted(both)]
    by_error = sorted(e for _, e in both)
    gap = 0.0
    for percent in range(100):
        kept = -(-len(both) * (100 - percent) // 100)
        gap += np.mean(by_sigma[:kept]) - np.mean(by_error[:kept])
    expected = gap / 100 / np.mean(by_error)
    assert uncertainty.sparsification_error(sigma, error) == pytest.approx(expected)


@laws
@given(seeds, st.floats(0.1, 10))
def test_ranking_sees_only_order(seed, factor):
    random = np.random.default_rng(seed)
    sigma, error = random.random(60) + 0.1, random.random(60)
    shuffled = random.permutation(60)
    for measure in (uncertainty.spearman, uncertainty.sparsification_error):
        value = measure(sigma, error)
        assert measure(np.log(sigma), factor * error) == pytest.approx(value)
        assert measure(sigma[shuffled], error[shuffled]) == pytest.approx(value)
        assert measure(error, error) == pytest.approx(float(measure is uncertainty.spearman))
    assert uncertainty.spearman(-error, error) == pytest.approx(-1)
    worst = uncertainty.sparsification_error(-error, error)
    assert 0 <= uncertainty.sparsification_error(sigma, error) <= worst


def test_joints_without_truth_answer_or_claim_do_not_count():
    found, truth, b, axis = honest_power(4, frames=3)
    whole = exp_power(found, truth, b, axis)
    truth[0, 1], found[1, 2, 0], b[2, 3, 1] = np.nan, np.nan, np.nan
    claim = exp_power(found, truth, b, axis)
    lost = np.zeros((3, 5), dtype=bool)
    lost[0, 1] = lost[1, 2] = lost[2, 3] = True
    for name in ("pit", "sigma_m", "error_m", "nll"):
        values = getattr(claim, name)
        np.testing.assert_array_equal(np.isnan(values), lost)
        np.testing.assert_array_equal(values[~lost], getattr(whole, name)[~lost])
    np.testing.assert_array_equal(claim.of(1).pit, claim.pit[:, 1])
    np.testing.assert_array_equal(claim.of(slice(1, None)).nll, claim.nll[:, 1:])


def test_nothing_to_judge_is_nan():
    nothing = np.full(4, np.nan)
    assert np.isnan(uncertainty.coverage(nothing, 0.9))
    assert np.isnan(uncertainty.calibration_error(nothing))
    assert np.isnan(uncertainty.sparsification_error(nothing, nothing))
    assert np.isnan(uncertainty.sparsification_error(np.ones(4), np.zeros(4)))
    assert np.isnan(uncertainty.spearman(np.ones(4), np.arange(4.0)))


def test_scales_must_be_scales():
    found, truth, b, _ = honest_power(5, frames=2)
    with pytest.raises(ShapeError, match="scales"):
        exp_power(found, truth, b[..., 0])
    with pytest.raises(InputError, match="> 0"):
        exp_power(found, truth, b * 0)
    with pytest.raises(InputError, match="> 0"):
        gaussian(found, truth, -b[..., 0])
