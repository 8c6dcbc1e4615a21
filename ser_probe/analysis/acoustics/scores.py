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

from ser_probe.analysis.inputs import check_lengths
from ser_probe.analysis.resampling import group_codes, jackknife_interval

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
    errors, own = x - p, np.asarray(y, np.float64) - np.mean(y, axis=0)
    of_errors, squares = members @ errors**2, members @ x**2
    return np.stack(
        [
            of_errors,
            squares,
            np.maximum(of_errors - (members @ errors) ** 2 / counts, 0),
            _about_mean(members @ own**2, members @ own, counts),
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

    The fits are those of all speakers: what varies is who is scored.
    """
    total = sums.sum(axis=0)
    return scores_of(np.concatenate([total[None], total - sums]))


def interval(values: np.ndarray, measure: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values [...] and their 95 % interval over speakers from values with and without each, [1 + G, ...]."""
    return values[0], *jackknife_interval(values[0], values[1:], bounds=MEASURES[measure])


def contributions(before: np.ndarray, after: np.ndarray, measure: str) -> np.ndarray:
    """Return what each speaker contributes to the change of an R2, [K, G]; their sum is the change.

    Both have the same truth, so the sums of squares that the errors are divided by are the same: a change of R2 is
    linear in the speakers' errors, and can be tested by flipping signs.

    Args:
        before: Sums [G, K, 9].
        after: Sums of the same clips and targets [G, K, 9].
        measure: `r2` or `r2_within`.
    """
    error, about = {"r2": (0, 1), "r2_within": (2, 3)}[measure]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = (before[..., error] - after[..., error]) / before[..., about].sum(axis=0)
    return shares.T


def _about_mean(squares: np.ndarray, total: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return sums of squares about the mean; what rounding leaves of a constant is 0."""
    own = squares - total**2 / n
    return np.where(own > _ROUNDING * squares, own, 0.0)
