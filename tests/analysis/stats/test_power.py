"""Power against printed values, statsmodels, and simulation."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from ser_probe.analysis.stats.power import detectable_effect, needed_n, power_curves, power_of_t, power_table
from ser_probe.errors import AnalysisError


@pytest.mark.parametrize(
    ("effect", "design", "n"),
    # Cohen (1988), tables 2.4.1 at alpha .05 two-sided, power .80; the paired ones are G*Power 3.1's.
    [(0.2, "two_sample", 394), (0.5, "two_sample", 64), (0.8, "two_sample", 26),
     (0.5, "paired", 34), (0.2, "paired", 199)],
)  # fmt: skip
def test_needed_repetitions_are_the_printed_ones(effect: float, design: str, n: int) -> None:
    assert needed_n(effect, design=design) == n  # type: ignore[arg-type]
    assert power_of_t(effect, n, design=design) >= 0.8 > power_of_t(effect, n - 1, design=design)  # type: ignore[arg-type]


def test_power_agrees_with_statsmodels() -> None:
    power = pytest.importorskip("statsmodels.stats.power")
    for effect, n, alpha in ((0.3, 20, 0.05), (1.0, 5, 0.01), (2.0, 8, 0.001)):
        two, paired = power.TTestIndPower(), power.TTestPower()
        expected = two.power(effect, n, alpha), paired.power(effect, n, alpha)
        found = power_of_t(effect, n, alpha=alpha), power_of_t(effect, n, alpha=alpha, design="paired")
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_power_is_the_share_of_studies_that_find_the_effect(rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((4000, 9)) + 1.1, rng.standard_normal((4000, 9))
    found = (scipy.stats.ttest_ind(a, b, axis=1).pvalue < 0.05).mean()
    assert power_of_t(1.1, 9) == pytest.approx(found, abs=0.025)  # three standard errors of 4000 studies


def test_power_of_no_effect_is_the_level_and_it_rises() -> None:
    assert power_of_t(0.0, 7, alpha=0.03) == pytest.approx(0.03)
    assert power_of_t(-0.6, 7) == power_of_t(0.6, 7)
    assert (np.diff(power_of_t(0.6, np.arange(2, 60))) > 0).all()
    # Far beyond the critical value, where the distribution function gives up.
    assert power_of_t(60.0, 50) == 1
    assert np.isfinite(power_of_t(np.linspace(0, 30, 40)[5], np.arange(2, 2000, 100))).all()


def test_the_detectable_effect_is_found_with_the_wanted_power() -> None:
    for n, alpha in ((2, 0.05), (2, 0.05 / 175), (10, 0.05 / 175), (300, 0.05)):
        effect = detectable_effect(n, power=0.9, alpha=alpha)
        assert power_of_t(effect, n, alpha=alpha) == pytest.approx(0.9)


def test_the_table_answers_for_one_test_and_for_many() -> None:
    table = power_table((0.8,), n=10, n_tests=20)
    assert set(table["question"]) == {"needed", "at_this_n", "detectable"}
    needed = table[(table["question"] == "needed") & (table["design"] == "two_sample")].set_index("n_tests")["n"]
    assert needed[1] == 26
    assert needed[20] > needed[1]
    assert "at_this_n" not in set(power_table((0.8,))["question"])


def test_the_curves_reach_the_target_and_show_what_is_at_hand() -> None:
    table = power_curves((0.5, 1.0), n=12)
    assert (table.groupby(["design", "effect_size"])["power"].max() > 0.8).all()
    assert (table["n_now"] == 12).all()
    assert table["n"].min() == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: needed_n(0.0), "No reasonable number of repetitions"),
        (lambda: needed_n(1e-5), r"No reasonable number[\s\S]*1e-05 standard deviations"),
        (lambda: needed_n(0.5, power=0.01), r"between the level of the test and 1[\s\S]*power = 0.01"),
        (lambda: detectable_effect(1), "needs 2 repetitions or more"),
    ],
)
def test_bad_questions_are_refused(call: object, message: str) -> None:
    with pytest.raises(AnalysisError, match=message):
        call()  # type: ignore[operator]
