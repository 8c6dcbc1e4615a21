"""How well predictions of unheard speakers fit, from sums over each speaker, so that intervals cost nothing more.

Axis letters: N clips, K targets, G speakers.

- `r2` = 1 - (sum of squared errors) / (sum of squares about the training mean of the clip's fold), both summed over all
  clips, each predicted in the fold that leaves its speaker out. At most 1. Its null is exact: always answering the
  training mean has 0, and so has a ridge of endless strength; what has learnt nothing has 0 or a little less. The
  reference is the training mean and not the mean of the clips predicted, which nobody knew when predicting.
- `r2_within` is the same of deviations from each speaker's mean, predictions and truth alike: what is kept of how a
  speaker varies. A layer that knows the speaker's gender alone predicts mean pitch well and has nothing here. Its null
  is 0: shuffling the clips of each speaker brings it to 0 or a little less, while `r2` keeps what the voice alone
  tells.
- `pearson` and `ccc` (Lin 1989) are over all clips, of deviations from the training mean of the clip's fold. Pooled as
  they are, answers that have learnt nothing would follow the training means, which are high where the held-out truth
  is low: correlations of -0.2 and less, by construction.
"""

from __future__ import annotations

import numpy as np
import scipy.stats

from ser_probe.analysis.inputs import check_lengths
from ser_probe.analysis.probes.families import TEST, TRAIN, Folds
from ser_probe.analysis.resampling import MIN_SPEAKERS, group_codes, jackknife_interval

MEASURES: dict[str, tuple[float, float]] = {
    "r2": (-np.inf, 1.0),
    "r2_within": (-np.inf, 1.0),
    "pearson": (-1.0, 1.0),
    "ccc": (-1.0, 1.0),
}
"""The measures, with their range."""

# Of the sum of squares: less than this is what rounding leaves of a constant.
_ROUNDING = 1e-12


def speaker_sums(y: np.ndarray, predicted: np.ndarray, reference: np.ndarray, speakers: np.ndarray) -> np.ndarray:
    """Return what the scores are computed from, float64 [G, K, 9]; those of several speakers are their sum.

    Args:
        y: True values [N, K].
        predicted: Predictions [N, K], each of a clip whose speaker was left out.
        reference: The training mean of each clip's fold [N, K].
        speakers: Each clip's speaker [N].
    """
    check_lengths(targets=y, predictions=predicted, reference=reference, speakers=speakers)
    names, codes = group_codes(speakers)
    members = (codes == np.arange(len(names))[:, None]).astype(np.float64)
    counts = members.sum(axis=1)[:, None]
    origin = np.asarray(reference, np.float64)
    x, p = np.asarray(y, np.float64) - origin, np.asarray(predicted, np.float64) - origin
    errors, deviations = x - p, np.asarray(y, np.float64) - np.mean(y, axis=0)
    of_errors, squares = members @ errors**2, members @ x**2
    return np.stack(
        [
            of_errors,
            squares,
            np.maximum(of_errors - (members @ errors) ** 2 / counts, 0),
            _about_mean(members @ deviations**2, members @ deviations, counts),
            np.broadcast_to(counts, squares.shape),
            members @ x,
            members @ p,
            members @ p**2,
            members @ (x * p),
        ],
        axis=-1,
    )


def scores_of(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores by measure, [...], from sums [..., 9]; NaN where a measure is not defined (constants)."""
    error, about, within, about_own, n, x, p, pp, xp = np.moveaxis(np.asarray(sums, np.float64), -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        var_x, var_p = _about_mean(about, x, n), _about_mean(pp, p, n)
        product = xp - x * p / n
        return {
            "r2": np.where(about > 0, 1 - error / about, np.nan),
            "r2_within": np.where(about_own > 0, 1 - within / about_own, np.nan),
            "pearson": np.where(var_x * var_p > 0, product / np.sqrt(var_x * var_p), np.nan),
            "ccc": np.where(var_x > 0, 2 * product / (var_x + var_p + (x - p) ** 2 / n), np.nan),
        }


def left_out_scores(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores by measure of all speakers and without each, [1 + G, K], from sums [G, K, 9].

    The fits are those of all speakers: what varies is who is scored. `widening` makes up for that.
    """
    total = sums.sum(axis=0)
    return scores_of(np.concatenate([total[None], total - sums]))


def widening(folds: Folds) -> float:
    """Return by how much intervals from `left_out_scores` are to be widened.

    Leaving a speaker out of the scores leaves the fits as they are. But the fits vary too: each speaker that is scored
    in one fold trains those of all others. Nadeau & Bengio 2003 (Machine Learning 52, equation 9) give the variance of
    a mean over folds as 1 / F + n_test / n_train times that of one fold, where the folds alone would say 1 / F.
    Simulated with 6 and 15 speakers and nothing to find, the test of a change rejects in 8 to 17 of 100 studies at 5 %
    without this, in 1 to 5 with it; intervals of a value cover in 83 to 94 of 100 without and 92 to 98 with it.
    """
    tested, trained = (folds.parts == TEST).sum(axis=1), (folds.parts == TRAIN).sum(axis=1)
    return float(np.sqrt(1 + (tested / trained).sum()))


def interval(
    values: np.ndarray, bounds: tuple[float, float], widened: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values [...] and their 95 % interval over speakers.

    Args:
        values: With all speakers and without each, [1 + G, ...].
        bounds: Where the interval is cut off.
        widened: From `widening`.
    """
    return values[0], *jackknife_interval(values[0], widened * values[1:], bounds=bounds)


def change_p(changes: np.ndarray, widened: float) -> np.ndarray:
    """Return two-sided p values [...] of "nothing changed", from changes with and without each speaker [1 + G, ...].

    Student's t with G - 1 degrees of freedom, on the error that `interval` has. Exactly no change has p = 1. NaN for
    fewer than three speakers, and where there is no value.
    """
    n_groups = len(changes) - 1
    if n_groups < MIN_SPEAKERS:
        return np.full(changes.shape[1:], np.nan)
    error = widened * np.sqrt(n_groups - 1) * changes[1:].std(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = 2 * scipy.stats.t.sf(np.abs(changes[0]) / error, n_groups - 1)
    return np.where(changes[0] == 0, 1.0, p)


def _about_mean(squares: np.ndarray, total: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return sums of squares about the mean; what rounding leaves of a constant is 0."""
    about_mean = squares - total**2 / n
    return np.where(about_mean > _ROUNDING * squares, about_mean, 0.0)
