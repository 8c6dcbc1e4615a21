"""How figures and headlines name the measures, and what must be known of a measure to draw it."""

from __future__ import annotations

from ser_probe.names.measures import MEASURES, SIMILARITY
from ser_probe.report.style import short

DISTANCES = frozenset(name for name, entry in SIMILARITY.items() if entry.distance)
"""Measures of similarity that are small where representations are alike."""
DIRECTED = frozenset(name for name, entry in SIMILARITY.items() if not entry.symmetric)
"""Measures of similarity that go from layer `a` to layer `b`."""

UNCHANGED = {
    "cka_debiased": 1.0, "cka": 1.0, "procrustes": 0.0, "mean_cosine": 1.0, "mean_cosine_centred": 1.0,
    "knn_overlap": 1.0, "relative_norm_change": 0.0, "mean_shift": 0.0, "covariance_shift": 0.0,
}  # fmt: skip
"""The value of a measure of drift where nothing has changed, in the order of the figures."""
SIGNED = ("relative_norm_change",)
"""Measures of drift that change to either side."""

EFFECT_SIZES = {
    "hedges_g": "Hedges' g",
    "hedges_g_paired": "Hedges' g of paired differences",
    "hedges_g_residual": "Hedges' g in residual deviations",
    "rank_biserial": "rank-biserial correlation",
}
"""Names of the effect sizes."""


def measure_name(measure: str) -> str:
    """Return the title of a measure; one that no table names keeps its name, with spaces."""
    return MEASURES[measure].title if measure in MEASURES else short(measure.replace("_", " "))


def short_measure_name(measure: str) -> str:
    """Return what a measure is called where there is little room: in a list of scores, in a column's head."""
    return MEASURES[measure].brief if measure in MEASURES else measure_name(measure)
