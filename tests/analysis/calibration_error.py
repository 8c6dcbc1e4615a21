"""The calibration error of one set of predictions, from the pieces that evaluations add up by speaker."""

from __future__ import annotations

import numpy as np

from ser_probe.analysis.calibration import N_BINS, bin_confidences, calibration_error, sum_bins


def expected_calibration_error(
    confidence: np.ndarray, right: np.ndarray, *, n_bins: int = N_BINS, scheme: str = "equal_width"
) -> float:
    """Return the ECE of confidences [N] and whether the predictions are right [N]."""
    borders = bin_confidences(confidence, n_bins, scheme)
    return float(calibration_error(sum_bins(confidence, right, borders, np.zeros(len(confidence), int), 1)[0]))
