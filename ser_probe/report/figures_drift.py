"""The figures of drift, each with how it is read and how it misleads."""

from __future__ import annotations

from ser_probe.report.compose_changes import draw_drift
from ser_probe.report.figure_specs import FigureSpec

_DRIFT_STEPS = """
How far each layer is from its own state before fine-tuning; one line per layer, dark at the input and bright at the
output, dashed after the final norm. The dotted line is no change. The vertical scales differ between the panels and
start where the values do. A layer can turn as a whole (low cosine) and keep its geometry (high CKA).
"""

_DRIFT_LAYERS = """
The same drift against depth; one line per checkpoint, dark for early and bright for late. A layer inherits the changes
of all layers before it, so a late layer that differs need not have been changed itself.
"""

DRIFT_FIGURES: dict[str, FigureSpec] = {
    "drift_steps": FigureSpec("Drift over fine-tuning", "drift", draw_drift, _DRIFT_STEPS, options={"x": "step"}),
    "drift_layers": FigureSpec("Drift along the layers", "drift", draw_drift, _DRIFT_LAYERS, options={"x": "layer"}),
}
