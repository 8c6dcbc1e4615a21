from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from ser_probe.analysis.resampling import bootstrap_counts, bootstrap_interval, group_codes, jackknife_interval

N_STUDIES = 600
# 95 % give or take three standard errors of a share of 600 studies, 0.009 each, and the bootstrap's own noise.
COVERAGE = pytest.approx(0.95, abs=0.03)
EVERYWHERE = (-np.inf, np.inf)


def _clustered(rng: np.random.Generator, n_speakers: int) -> np.ndarray:
    """Speakers' means [studies, G] of clips whose speakers differ: truth 0."""
    return rng.standard_normal((N_STUDIES, n_speakers)) + 0.3 * rng.standard_normal((N_STUDIES, n_speakers))


@pytest.mark.parametrize("n_speakers", [3, 6, 20])
def test_intervals_cover_the_truth_even_with_few_speakers(rng: np.random.Generator, n_speakers: int) -> None:
    means = _clustered(rng, n_speakers)
    value = means.mean(axis=1)
    counts = bootstrap_counts(n_speakers, n_resamples=500, seed=1)
    resampled = counts @ means.T / n_speakers
    low, high = bootstrap_interval(value, resampled, n_speakers, bounds=EVERYWHERE)
    assert ((low < 0) & (high > 0)).mean() == COVERAGE
    left_out = (means.sum(axis=1) - means.T) / (n_speakers - 1)
    low, high = jackknife_interval(value, left_out, bounds=EVERYWHERE)
    assert ((low < 0) & (high > 0)).mean() == COVERAGE
    if n_speakers == 3:  # what the plain percentiles would have done
        low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
        assert ((low < 0) & (high > 0)).mean() < 0.85


def test_the_jackknife_of_a_mean_is_its_t_interval(rng: np.random.Generator) -> None:
    x = rng.standard_normal(8)
    low, high = jackknife_interval(x.mean(), (x.sum() - x) / 7, bounds=EVERYWHERE)
    expected = scipy.stats.t.interval(0.95, 7, x.mean(), x.std(ddof=1) / np.sqrt(8))
    np.testing.assert_allclose((low, high), expected)


def test_intervals_stay_within_the_range() -> None:
    low, high = bootstrap_interval(np.array(0.9), np.array([0.1, 1.0, 0.9]), 4, bounds=(0, 1))
    assert (low, high) == (0, 1)


def test_two_speakers_have_no_interval() -> None:
    for interval in (
        bootstrap_interval(np.array([0.5]), np.array([[0.4], [0.6]]), 2, bounds=(0, 1)),
        jackknife_interval(np.array([0.5]), np.array([[0.4], [0.6]]), bounds=(0, 1)),
    ):
        assert np.isnan(interval).all()


def test_bootstrap_draws_as_many_speakers_as_there_are_and_repeats() -> None:
    counts = bootstrap_counts(5, n_resamples=50, seed=3)
    assert (counts.sum(axis=1) == 5).all()
    np.testing.assert_array_equal(counts, bootstrap_counts(5, n_resamples=50, seed=3))
    assert (counts != bootstrap_counts(5, n_resamples=50, seed=4)).any()


def test_group_codes_point_back() -> None:
    names, codes = group_codes(np.array(["b", "a", "b"], dtype=object))
    np.testing.assert_array_equal(names[codes], ["b", "a", "b"])
