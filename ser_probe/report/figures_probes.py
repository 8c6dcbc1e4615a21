"""The figures of the probes, each with how it is read and how it misleads."""

from __future__ import annotations

from ser_probe.report.compose_layers import draw_scores
from ser_probe.report.figure_specs import FigureSpec

_PROBE_KEYS = ("corpus", "model", "target", "family", "pooling")

_SCORES = """
Mean score of a linear probe on speakers it has not seen, per layer; one line per checkpoint, dark for early and bright
for late. Red dashes: the same probe on the eGeMAPS features. Grey dots: the probe with shuffled labels (close dots) and
always answering the most frequent class (wide dots): what is not above them is not evidence. A ring marks the layer
that is best on the validation speakers; the highest point of a test curve would flatter. The bands (first and last
checkpoint) are one standard deviation over probe seeds: they say how repeatable the probe is, not how far other
speakers would differ, so lines whose bands do not touch may still not differ.
"""

PROBES_FIGURES: dict[str, FigureSpec] = {
    "f1_layers": FigureSpec(
        "F1 per layer and checkpoint",
        "probe",
        draw_scores,
        _SCORES,
        apart=_PROBE_KEYS,
        options={"measure": "weighted_f1"},
    ),
    "uar_layers": FigureSpec(
        "Unweighted average recall per layer and checkpoint",
        "probe",
        draw_scores,
        _SCORES,
        apart=_PROBE_KEYS,
        options={"measure": "uar"},
    ),
}
