"""The corrected resampled t-test against its formula, and against the plain one."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from ser_probe.analysis.stats.resampled import corrected_resampled_t
from ser_probe.errors import AnalysisError


def test_it_is_the_plain_t_where_nothing_is_shared(rng: np.random.Generator) -> None:
    x = rng.standard_normal(10) + 0.4
    plain = scipy.stats.ttest_1samp(x, 0)
    # A test part that is nothing against the training part: no overlap to correct for.
    found = corrected_resampled_t(x, 1e12, 1)
    assert (found.t, found.p, found.df) == pytest.approx((plain.statistic, plain.pvalue, 9), rel=1e-6)


def test_the_correction_is_that_of_nadeau_and_bengio(rng: np.random.Generator) -> None:
    x = rng.standard_normal(10) + 0.4
    found = corrected_resampled_t(x, 90, 10)
    expected = x.mean() / np.sqrt((1 / 10 + 10 / 90) * x.var(ddof=1))
    assert found.t == pytest.approx(expected)
    assert found.p == pytest.approx(2 * scipy.stats.t.sf(abs(expected), 9))
    assert found.p > scipy.stats.ttest_1samp(x, 0).pvalue


def test_order_does_not_matter_sign_and_scale_do_as_they_should(rng: np.random.Generator) -> None:
    x = rng.standard_normal(8)
    found = corrected_resampled_t(x, 80, 20)
    assert corrected_resampled_t(x[::-1], 80, 20).t == pytest.approx(found.t)
    turned = corrected_resampled_t(-3 * x, 80, 20)
    assert (turned.t, turned.p) == pytest.approx((-found.t, found.p))


def test_equal_differences_cannot_be_tested() -> None:
    found = corrected_resampled_t(np.full(5, 0.25), 80, 20)
    assert np.isnan([found.t, found.p]).all()


@pytest.mark.parametrize(
    ("differences", "sizes", "message"),
    [
        ([0.1], (80, 20), r"two folds or more[\s\S]*found: 1, of which 1 finite"),
        ([0.1, np.nan], (80, 20), r"two folds or more[\s\S]*found: 2, of which 1 finite"),
        ([0.1, 0.2], (0, 20), r"sizes of the training and of the test part[\s\S]*n_train = 0"),
    ],
)
def test_bad_input_is_refused(differences: list[float], sizes: tuple[int, int], message: str) -> None:
    with pytest.raises(AnalysisError, match=message):
        corrected_resampled_t(np.array(differences), *sizes)
