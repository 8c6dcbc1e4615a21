"""Lin's concordance correlation as it is defined: what the scores and the loss are checked by."""

from __future__ import annotations

import numpy as np


def ccc(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """Return 2 cov / (var x + var y + (mean x - mean y)^2) with population variances (Lin 1989, equation 2)."""
    x, y = np.asarray(y_true, np.float64), np.asarray(y_pred, np.float64)
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    return float(2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))
