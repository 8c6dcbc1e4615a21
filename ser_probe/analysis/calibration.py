"""Whether a classifier is as often right as it claims to be: calibration error, Brier score, log loss.

All are sums over clips, kept apart by speaker as long as possible: a bootstrap over speakers then only adds up.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ser_probe.analysis.inputs import check_lengths
from ser_probe.errors import AnalysisError

N_BINS = 15
"""Bins of the calibration error, as in Guo et al. 2017."""
SCHEMES = ("equal_width", "equal_mass")

# Probabilities are rounded where they are stored or were computed in float32; a logit is off by far more.
_SUM_TOLERANCE = 1e-4


def check_probabilities(probabilities: np.ndarray, n_classes: int) -> np.ndarray:
    """Return probabilities as float64 [N, C], after checking them.

    Raises:
        AnalysisError: If the shape is wrong, a value lies outside [0, 1], or a clip's values do not sum to 1.
    """
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 2 or p.shape[1] != n_classes:
        raise AnalysisError("Probabilities have the wrong shape", expected=f"[N, {n_classes}]", found=list(p.shape))
    # Written so that NaN is refused too.
    wrong = ~((p >= 0) & (p <= 1)).all(axis=1) | ~(np.abs(p.sum(axis=1) - 1) <= _SUM_TOLERANCE)
    if wrong.any():
        row = int(wrong.argmax())
        raise AnalysisError(
            "Values are not probabilities",
            where=f"clip {row}",
            expected="values from 0 to 1 that sum to 1",
            found=f"{np.array2string(p[row], threshold=8, precision=4)}, in {int(wrong.sum())} of {len(p)} clips",
        )
    return p


def top_label(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the confidence of each prediction, its highest probability [N], and whether it is right, bool [N].

    Of equal probabilities the first class is the prediction.
    """
    check_lengths(probabilities=probabilities, labels=labels)
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == np.asarray(labels)


def bin_confidences(confidence: np.ndarray, n_bins: int = N_BINS, scheme: str = "equal_width") -> np.ndarray:
    """Return the inner borders of the bins of confidences, ascending, [n_bins - 1].

    Args:
        confidence: Confidences in [0, 1], [N].
        n_bins: Number of bins M.
        scheme: `equal_width`: m / M; `equal_mass`: quantiles of the confidences, so that about as many clips lie in
            each bin (equal confidences stay together).

    Raises:
        AnalysisError: If the scheme is not one of `SCHEMES`, or there is no bin.
    """
    if scheme not in SCHEMES or n_bins < 1:
        raise AnalysisError(
            "Confidences cannot be binned like this",
            expected=f"one or more bins of {' or '.join(SCHEMES)}",
            found=f"{n_bins} bins of {scheme}",
        )
    steps = np.arange(1, n_bins) / n_bins
    return steps if scheme == "equal_width" or not len(confidence) else np.quantile(confidence, steps)


def sum_bins(
    confidence: np.ndarray, right: np.ndarray, borders: np.ndarray, codes: np.ndarray, n_groups: int
) -> np.ndarray:
    """Return what calibration is computed from.

    Bin m holds the confidences in (border m-1, border m], the first one also 0.

    Args:
        confidence: Confidence of each prediction, [N].
        right: Whether it is right, bool [N].
        borders: From `bin_confidences`, [M - 1].
        codes: Each clip's speaker, int in [0, G), [N].
        n_groups: G.

    Returns:
        [G, M, 3]: clips, sum of confidences, right predictions of each speaker in each bin.
    """
    check_lengths(confidence=confidence, right=right, speakers=codes)
    n_bins = len(borders) + 1
    cells = codes * n_bins + np.searchsorted(borders, confidence, side="left")
    columns = (None, confidence, np.asarray(right, float))
    sums = [np.bincount(cells, weights=column, minlength=n_groups * n_bins) for column in columns]
    return np.stack(sums, axis=-1).astype(float).reshape(n_groups, n_bins, 3)


def calibration_error(sums: np.ndarray) -> np.ndarray:
    """Return the expected calibration error (ECE) of sums [..., M, 3] from `sum_bins`, of shape [...], in [0, 1].

    With n_m clips in bin m, of N in all, acc_m the share that is right and conf_m the mean confidence there:

        ECE = sum over m of n_m / N * |acc_m - conf_m|

    (Naeini et al. 2015, AAAI; Guo et al. 2017, ICML, equation 3, on the confidence of the top label.) Empty bins add
    nothing. A finite sample of a perfectly calibrated classifier has an ECE above 0, the more so the fewer clips; NaN
    where there is no clip.
    """
    clips, confidence, right = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore"):
        return np.abs(right - confidence).sum(axis=-1) / clips.sum(axis=-1)


def reliability_table(confidence: np.ndarray, right: np.ndarray, *, n_bins: int = N_BINS) -> pd.DataFrame:
    """Return the reliability diagram as a table: of each equal-width bin how sure the classifier was, and how right.

    Returns:
        A row a bin: `bin`, its ends `low` and `high`, `n` clips, their mean `confidence` and `accuracy` (NaN where the
        bin is empty).
    """
    borders = bin_confidences(confidence, n_bins)
    clips, confident, correct = sum_bins(confidence, right, borders, np.zeros(len(confidence), int), 1)[0].T
    with np.errstate(invalid="ignore"):
        return pd.DataFrame({
            "bin": np.arange(n_bins), "low": [0.0, *borders], "high": [*borders, 1.0], "n": clips.astype(int),
            "confidence": confident / clips, "accuracy": correct / clips,
        })  # fmt: skip


def brier_scores(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the Brier score of each clip, [N] in [0, 2]; the score of a classifier is their mean.

    The squared distance between the probabilities [N, C] and the true class as one-hot vector, summed over classes
    (Brier 1950, Monthly Weather Review 78, equation 2). For two classes it is twice what is often given.
    """
    check_lengths(probabilities=probabilities, labels=labels)
    return ((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2).sum(axis=1)


def log_losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the negative log-likelihood of each clip's true class in nats, [N].

    A probability that was rounded to 0 counts as the smallest normal float64 (708 nats): the logarithm of 0 would hide
    all other clips.
    """
    check_lengths(probabilities=probabilities, labels=labels)
    true = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.maximum(true, np.finfo(np.float64).tiny))
