"""Effect sizes and their intervals: invariances, closed forms, and whether intervals cover the truth."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from ser_probe.analysis.stats.effect_sizes import (
    omega_squared,
    partial_eta_squared,
    rank_biserial,
    small_sample_factor,
    standardised_difference,
)
from ser_probe.analysis.stats.noncentral import _solve, noncentral_f_limits, noncentral_t_limits
from tests.analysis.stats.conftest import hedges_g, paired_g

# The distribution functions themselves are good to some 1e-12.
EXACT = 1e-9
N_STUDIES = 400
# 95 % give or take three standard errors of a share of 400 studies (0.011 each).
COVERAGE = pytest.approx(0.95, abs=0.033)


@pytest.mark.parametrize(("t", "df"), [(0.0, 4.0), (2.5, 1.0), (-4.87, 878.0), (96.48, 878.0), (2000.0, 18.0)])
def test_the_limits_of_t_put_the_statistic_at_both_tails(t: float, df: float) -> None:
    low, high = noncentral_t_limits(np.array(t), np.array(df))
    assert scipy.stats.nct.cdf(t, df, float(low)) == pytest.approx(0.975, abs=EXACT)
    assert scipy.stats.nct.cdf(t, df, float(high)) == pytest.approx(0.025, abs=EXACT)
    back = noncentral_t_limits(np.array(-t), np.array(df))
    np.testing.assert_allclose(back, (-high, -low), atol=1e-8)


@pytest.mark.parametrize(("f", "df1", "df2"), [(3.55, 1, 872), (15002.58, 1, 872), (0.3, 24, 100), (5.0, 2, 3)])
def test_the_limits_of_f_put_the_statistic_at_both_tails(f: float, df1: int, df2: int) -> None:
    low, high = (float(x) for x in noncentral_f_limits(np.array(f), np.array(df1), np.array(df2)))
    for limit, tail in ((low, 0.975), (high, 0.025)):
        if limit > 0:
            assert scipy.stats.ncf.cdf(f, df1, df2, limit) == pytest.approx(tail, abs=EXACT)
        else:  # less than chance makes it: the limit is the bound
            assert scipy.stats.f.cdf(f, df1, df2) <= tail


def test_where_the_distribution_gives_up_there_is_no_limit_rather_than_a_wrong_one() -> None:
    def cdf(x: np.ndarray) -> np.ndarray:
        return np.where(x > 3, np.nan, scipy.stats.norm.cdf(-x / 2))

    nothing, found = (_solve(cdf, p, np.array([0.0]), np.array([1.0])) for p in (0.01, 0.3))
    assert np.isnan(nothing).all()
    assert found == pytest.approx(-2 * scipy.stats.norm.ppf(0.3), abs=EXACT)
    assert np.isnan(noncentral_f_limits(np.array(np.nan), np.array(1), np.array(9))).all()
    assert np.isnan(noncentral_t_limits(np.array(np.nan), np.array(9))).all()


def test_the_small_sample_factor_has_its_closed_forms_and_its_approximation_near() -> None:
    np.testing.assert_allclose(small_sample_factor(np.array([2, 3])), [1 / np.sqrt(np.pi), np.sqrt(np.pi / 6)])
    assert small_sample_factor(50) == pytest.approx(1 - 3 / (4 * 50 - 1), abs=1e-4)
    assert np.isnan(small_sample_factor(1))


def test_g_ignores_shift_and_scale_and_turns_with_the_samples(rng: np.random.Generator) -> None:
    a, b = rng.standard_normal(9) + 1, rng.standard_normal(12)
    g = hedges_g(a, b)
    np.testing.assert_allclose(hedges_g(3 * a + 7, 3 * b + 7), g)
    np.testing.assert_allclose([-x for x in hedges_g(b, a)], [g.value, g.high, g.low])
    assert abs(float(hedges_g(a + 0.5, b).value)) > float(g.value)
    t = scipy.stats.ttest_ind(a, b).statistic
    assert float(g.value) == pytest.approx(t * np.sqrt(1 / 9 + 1 / 12) * small_sample_factor(19))


def test_the_interval_of_g_leaves_out_0_exactly_where_the_t_test_rejects(rng: np.random.Generator) -> None:
    for shift in np.linspace(0, 2, 15):
        a, b = rng.standard_normal(8) + shift, rng.standard_normal(8)
        g = hedges_g(a, b)
        assert (g.low > 0 or g.high < 0) == (scipy.stats.ttest_ind(a, b).pvalue < 0.05)
        d = paired_g(a - b)
        assert (d.low > 0 or d.high < 0) == (scipy.stats.ttest_rel(a, b).pvalue < 0.05)


def test_intervals_of_standardised_differences_cover_the_truth(rng: np.random.Generator) -> None:
    truth, n = 0.8, 10
    a, b = rng.standard_normal((N_STUDIES, n)) + truth, rng.standard_normal((N_STUDIES, n))
    pooled = np.sqrt((a.var(axis=1, ddof=1) + b.var(axis=1, ddof=1)) / 2)
    two = standardised_difference(a.mean(axis=1) - b.mean(axis=1), pooled, 2 / n, 2 * n - 2)
    pairs = standardised_difference(a.mean(axis=1), a.std(axis=1, ddof=1), 1 / n, n - 1)
    for effect in (two, pairs):
        assert ((effect.low <= truth) & (truth <= effect.high)).mean() == COVERAGE
    np.testing.assert_allclose([x[0] for x in two], hedges_g(a[0], b[0]))
    np.testing.assert_allclose([x[0] for x in pairs], paired_g(a[0]))


def test_the_interval_of_the_rank_biserial_covers_the_truth(rng: np.random.Generator) -> None:
    truth = 2 * scipy.stats.norm.cdf(0.8 / np.sqrt(2)) - 1
    effects = [rank_biserial(rng.standard_normal(10) + 0.8, rng.standard_normal(10)) for _ in range(N_STUDIES)]
    assert np.mean([bool(r.low <= truth <= r.high) for r in effects]) == COVERAGE


def test_the_rank_biserial_is_a_difference_of_chances() -> None:
    a, b = np.array([3.0, 5.0, 5.0]), np.array([1.0, 4.0, 5.0, 9.0])
    above = np.mean([np.sign(x - y) for x in a for y in b])
    r = rank_biserial(a, b)
    assert float(r.value) == pytest.approx(above)
    np.testing.assert_allclose(rank_biserial(np.exp(a), np.exp(b)), r)
    np.testing.assert_allclose([-x for x in rank_biserial(b, a)], [r.value, r.high, r.low], atol=EXACT)
    assert -1 <= r.low < r.value < r.high <= 1


@pytest.mark.parametrize("gap", [10.0, -10.0])
def test_samples_that_do_not_overlap_reach_an_end_and_stay_inside(gap: float) -> None:
    r = rank_biserial(np.arange(5.0) + gap, np.arange(5.0))
    assert float(r.value) == np.sign(gap)
    assert (float(r.high) if gap > 0 else float(-r.low)) == 1
    assert -1 <= r.low <= r.high <= 1
    assert float(r.high - r.low) > 0.2


def test_eta_and_omega_squared_are_shares_of_sums_of_squares(rng: np.random.Generator) -> None:
    groups = [rng.standard_normal(7) + shift for shift in (0, 0, 1.5)]
    f = scipy.stats.f_oneway(*groups).statistic
    everything = np.concatenate(groups)
    total = np.square(everything - everything.mean()).sum()
    within = sum(np.square(g - g.mean()).sum() for g in groups)
    eta = partial_eta_squared(f, 2, 18, 21)
    assert float(eta.value) == pytest.approx(1 - within / total)
    mse = within / 18
    assert float(omega_squared(f, 2, 21)) == pytest.approx((total - within - 2 * mse) / (total + mse))
    assert eta.low < omega_squared(f, 2, 21) < eta.high


def test_the_interval_of_eta_squared_covers_the_populations_share(rng: np.random.Generator) -> None:
    means = np.array([0.0, 0.5, 1.0])
    share = means.var() / (means.var() + 1)
    x = rng.standard_normal((N_STUDIES, 3, 12)) + means[:, None]
    f = scipy.stats.f_oneway(x[:, 0], x[:, 1], x[:, 2], axis=1).statistic
    eta = partial_eta_squared(f, np.full(N_STUDIES, 2.0), np.full(N_STUDIES, 33.0), 36)
    assert ((eta.low <= share) & (share <= eta.high)).mean() == COVERAGE
