"""Tests for scores from overlapping training sets: k-fold and repeated cross-validation.

Folds share most of their training clips, so their scores are not independent and a plain paired t-test finds
differences that are not there. A test over folds must not be used to claim anything about new speakers beyond those
of the corpus: the folds are all of the same people.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.stats

from ser_probe.errors import AnalysisError


class ResampledT(NamedTuple):
    """A corrected resampled t-test: `t` and `p` are NaN where all differences are equal."""

    t: float
    df: int
    p: float


def corrected_resampled_t(differences: np.ndarray, n_train: float, n_test: float) -> ResampledT:
    """Test whether the mean difference of two models over resamplings is 0, two-sided.

    The variance of the mean, s^2 / J for independent differences, is replaced by s^2 (1 / J + n_test / n_train):
    Nadeau and Bengio (2003), Machine Learning 52, section 3.3, with Student's t of J - 1 degrees of freedom. For
    repeated k-fold cross-validation J is folds times repetitions (Bouckaert and Frank 2004). It assumes that the
    correlation between differences is n_test / (n_train + n_test), which is a rule and not a theorem: it tends to
    be conservative where models are stable.

    Unchanged by the order of the differences, and by scaling them; the sign of `t` follows theirs.

    Args:
        differences: Score of one model less that of the other in each fold, of shape [J], J of 2 or more.
        n_train: Clips (or speakers) that train in each fold; the mean where folds differ.
        n_test: Clips (or speakers) that test in each fold, in the same unit.

    Returns:
        t, its degrees of freedom and the two-sided p.

    Raises:
        AnalysisError: If there are fewer than two differences, one is not finite, or a size is not positive.
    """
    x = np.asarray(differences, dtype=np.float64).ravel()
    if len(x) < 2 or not np.isfinite(x).all():
        raise AnalysisError(
            "The corrected resampled t-test needs the differences of two folds or more, all of them numbers",
            expected="2 or more finite differences",
            found=f"{len(x)}, of which {int(np.isfinite(x).sum())} finite",
        )
    if not (n_train > 0 and n_test > 0):
        raise AnalysisError(
            "The corrected resampled t-test needs the sizes of the training and of the test part",
            expected="two positive numbers",
            found=f"n_train = {n_train}, n_test = {n_test}",
        )
    df = len(x) - 1
    mean, spread = float(x.mean()), float(x.std(ddof=1))
    error = spread * np.sqrt(1 / len(x) + n_test / n_train)
    if error == 0:
        return ResampledT(np.nan, df, np.nan)
    t = mean / error
    return ResampledT(float(t), df, float(2 * scipy.stats.t.sf(abs(t), df)))
