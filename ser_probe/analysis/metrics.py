"""Scores of a classifier, and the agreement of numeric predictions.

Scores are computed from confusion matrices, so that thousands of probes and bootstrap resamples (whose confusion
matrices are weighted sums of the speakers' ones) are scored at once. Values and conventions are scikit-learn's.
"""

from __future__ import annotations

import numpy as np

from ser_probe.analysis.inputs import check_lengths

MEASURES = ("weighted_f1", "macro_f1", "uar", "accuracy")
CLASS_MEASURES = ("precision", "recall", "f1", "support")
AGREEMENT_MEASURES = ("ccc", "pearson", "rmse", "mae")
FIT_MEASURES = ("r2", *AGREEMENT_MEASURES)

# Of the mean square: less variance than this is what rounding leaves of a constant.
_ROUNDING = 1e-12


def confusion_matrices(y_true: np.ndarray, y_pred: np.ndarray, n_classes: int) -> np.ndarray:
    """Count true against predicted classes, for many classifiers at once.

    Args:
        y_true: True classes, int in [0, C), of shape [N].
        y_pred: Predicted classes, int in [0, C), of shape [..., N].
        n_classes: C.

    Returns:
        Counts, int64 of shape [..., C, C]; rows are the true classes.
    """
    check_lengths(true=y_true, predicted=np.moveaxis(y_pred, -1, 0))
    leading = y_pred.shape[:-1]
    n_classifiers = int(np.prod(leading, dtype=int))
    cells = y_true * n_classes + y_pred.reshape(n_classifiers, -1)
    cells = cells + np.arange(n_classifiers)[:, None] * n_classes**2
    counts = np.bincount(cells.ravel(), minlength=n_classifiers * n_classes**2)
    return counts.reshape(*leading, n_classes, n_classes)


def confusion_scores(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores of confusion matrices.

    Args:
        confusion: Counts of shape [..., C, C]; rows are the true classes.

    Returns:
        By measure, values in [0, 1] of shape [...]; NaN where there is no clip:

        - `uar`: the mean recall over the classes that occur (unweighted average recall, balanced accuracy);
        - `macro_f1`: the mean F1 over the classes that occur or are predicted;
        - `weighted_f1`: the mean F1 weighted by how often each class occurs;
        - `accuracy`: the share of clips that are right.
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    return answer_scores(np.stack([right, confusion.sum(axis=-1), confusion.sum(axis=-2)], axis=-2))


def count_answers(
    y_true: np.ndarray, y_pred: np.ndarray, codes: np.ndarray, *, n_groups: int, n_classes: int
) -> np.ndarray:
    """Count, for each speaker, what the scores of a classifier are computed from.

    The counts of several speakers are their sum. They take C numbers where a confusion matrix takes C^2, which for
    a hundred classes decides whether a bootstrap fits into memory.

    Args:
        y_true: True classes, int in [0, C), of shape [N].
        y_pred: Predicted classes, int in [0, C), of shape [..., N].
        codes: Each clip's speaker, int in [0, G), of shape [N].
        n_groups: G.
        n_classes: C.

    Returns:
        int64 [..., G, 3, C]: per class the clips that are right, that occur, and that are predicted.
    """
    check_lengths(true=y_true, predicted=np.moveaxis(y_pred, -1, 0), speakers=codes)
    leading, flat = y_pred.shape[:-1], y_pred.reshape(int(np.prod(y_pred.shape[:-1], dtype=int)), -1).astype(np.int64)
    n_cells = n_groups * n_classes
    counts = np.empty((len(flat), n_groups, 3, n_classes), np.int64)
    counts[:, :, 1] = np.bincount(codes * n_classes + y_true, minlength=n_cells).reshape(n_groups, n_classes)
    for row, predicted in zip(counts, flat, strict=True):
        cells = codes * n_classes + predicted
        row[:, 2] = np.bincount(cells, minlength=n_cells).reshape(n_groups, n_classes)
        row[:, 0] = np.bincount(cells[predicted == y_true], minlength=n_cells).reshape(n_groups, n_classes)
    return counts.reshape(*leading, n_groups, 3, n_classes)


def answer_scores(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores of counted answers.

    Args:
        counts: From `count_answers`, or sums of such over speakers, [..., 3, C].

    Returns:
        As `confusion_scores`.
    """
    right, occurring, predicted = np.moveaxis(np.asarray(counts, float), -2, 0)
    total = occurring.sum(axis=-1)
    f1 = 2 * right / np.maximum(occurring + predicted, 1)  # 0 for a class that never occurs nor is predicted
    recall = right / np.maximum(occurring, 1)
    with np.errstate(invalid="ignore"):
        return {
            "weighted_f1": (f1 * occurring).sum(axis=-1) / total,
            "macro_f1": f1.sum(axis=-1) / (occurring + predicted > 0).sum(axis=-1),
            "uar": recall.sum(axis=-1) / (occurring > 0).sum(axis=-1),
            "accuracy": right.sum(axis=-1) / total,
        }


def class_scores(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores of each class of confusion matrices.

    Args:
        confusion: Counts of shape [..., C, C]; rows are the true classes.

    Returns:
        By measure of `CLASS_MEASURES`, values of shape [..., C]. What is not defined is NaN, not 0: `recall` of a class
        that never occurs, `precision` of one that is never predicted, `f1` of one that neither occurs nor is predicted.
        `uar` and `macro_f1` of `confusion_scores` are the means of the recalls and F1s that are defined.
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1).astype(float)
    occurring, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    with np.errstate(invalid="ignore"):
        return {
            "precision": right / predicted,
            "recall": right / occurring,
            "f1": 2 * right / (occurring + predicted),
            "support": occurring.astype(float),
        }


def sum_agreement(y_true: np.ndarray, y_pred: np.ndarray, codes: np.ndarray, n_groups: int) -> np.ndarray:
    """Return what `agreement_scores` are computed from.

    Args:
        y_true: True values, [N].
        y_pred: Predicted values, [N].
        codes: Each clip's speaker, int in [0, G), [N].
        n_groups: G.

    Returns:
        [G, 8]: of each speaker the number of clips and the sums of x, y, xx, yy, xy, |x - y|, (x - y)^2, where x and
        y are counted from the mean true value: no measure depends on it, and sums of squares stay exact.
    """
    check_lengths(true=y_true, predicted=y_pred, speakers=codes)
    origin = np.mean(y_true) if len(y_true) else 0.0
    x, y = np.asarray(y_true, float) - origin, np.asarray(y_pred, float) - origin
    columns = (np.ones_like(x), x, y, x * x, y * y, x * y, np.abs(x - y), (x - y) ** 2)
    return np.stack([np.bincount(codes, weights=column, minlength=n_groups) for column in columns], axis=-1)


def agreement_scores(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Return how numeric predictions agree with the truth.

    Args:
        sums: From `sum_agreement`, or sums of such, [..., 8].

    Returns:
        By measure of `FIT_MEASURES`, values of shape [...]: `r2` (1 - squared errors / squares about the mean of these
        true values; at most 1, 0 for always guessing that mean, below 0 for worse), `ccc` (Lin's concordance
        correlation, 1989, Biometrics 45, equation 2: as `pearson`, and lowered by a wrong mean or spread), `pearson`,
        all NaN where they are not defined (constants); `rmse` and `mae` in the target's unit.
    """
    n, x, y, xx, yy, xy, absolute, squared = np.moveaxis(np.asarray(sums, float), -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_x, mean_y = x / n, y / n
        var_x, var_y = _variance(xx / n, mean_x), _variance(yy / n, mean_y)
        covariance = xy / n - mean_x * mean_y
        return {
            "r2": 1 - squared / n / np.where(var_x > 0, var_x, np.nan),
            "ccc": 2 * covariance / (var_x + var_y + (mean_x - mean_y) ** 2),
            "pearson": np.where(var_x * var_y > 0, covariance / np.sqrt(var_x * var_y), np.nan),
            "rmse": np.sqrt(squared / n),
            "mae": absolute / n,
        }


def _variance(mean_square: np.ndarray, mean: np.ndarray) -> np.ndarray:
    variance = mean_square - mean**2
    return np.where(variance > _ROUNDING * mean_square, variance, 0.0)
