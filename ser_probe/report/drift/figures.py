"""The figures of drift, each with how it is read and how it misleads."""

from __future__ import annotations

from ser_probe.report.corpora.compose import CORPORA_CAPTION, draw_drift_corpora
from ser_probe.report.drift.compose import draw_drift, draw_drift_groups, draw_shift_parts, draw_weight_drift
from ser_probe.report.figure_specs import FigureSpec

_DRIFT_STEPS = """
How far each layer is from its own state before fine-tuning; one line per layer, dark at the input and bright at the
output, dashed after the final norm. The dotted line is no change. The vertical scales differ between the panels and
start where the values do. A layer can turn as a whole (low cosine) and keep its geometry (high CKA). Grey is the floor:
what extracting the same weights again changes, in the layer where that is most; the other band is the difference to
another fine-tuning seed. Hollow points are not above the floor of their layer; without a band no floor was measured, or
it is too small to be seen.
"""

_DRIFT_LAYERS = """
The same drift against depth; one line per checkpoint, dark for early and bright for late, with the 95 % interval over
speakers of the last one where there are three speakers. A layer inherits the changes of all layers before it, so a late
layer that differs need not have been changed itself: see the weights. Bands and hollow points: the floor of each layer.
"""

_DRIFT_PREVIOUS = """
How far each layer is from its state at the checkpoint before: where training works at which time. Distances between
neighbouring checkpoints do not add up to the distance from the first, since a layer may turn back; and checkpoints that
lie further apart differ more for that alone.
"""

_DRIFT_PARTS = """
Each layer's squared Frechet distance from its state before fine-tuning, in units of its total variance then: how far
all clips moved alike (the mean), and how much the cloud changed its shape (the covariance). A layer whose bar is all
mean has moved without telling clips apart otherwise. Clips that change places within the cloud leave no trace here: see
CKA and neighbours. The panels share their scale, so early steps may look like nothing.
"""

_DRIFT_GROUPS = """
The drift of the clips of each group at the last checkpoint. The mean and the neighbours are those of all clips, CKA is
within the group. Groups have fewer clips than all of them: lines that cross are noise unless their intervals, which the
table has for groups of three or more speakers, are apart. With more than eight groups each is a grey line.
"""

_WEIGHT_DRIFT = """
Frobenius norm of the change of the weights over that of the weights, for each transformer block and what lies around
the blocks, from the input at the bottom: since the first checkpoint, and since the one before; on the right the cosine
between an update and the one before it (1 goes straight on, 0 takes a new direction, below 0 turns back). All weights
count alike, whatever they do to the output: a small change of a block can move its layer far.
"""

DRIFT_FIGURES: dict[str, FigureSpec] = {
    "drift_steps": FigureSpec(
        "Drift over fine-tuning", "drift", draw_drift, _DRIFT_STEPS, options={"x": "step"}, pooled=True
    ),
    "drift_layers": FigureSpec("Drift along the layers", "drift", draw_drift, _DRIFT_LAYERS, options={"x": "layer"}),
    "drift_corpora": FigureSpec(
        "Drift by corpus", "drift", draw_drift_corpora, CORPORA_CAPTION, apart=("model",), optional=True
    ),
    "drift_previous": FigureSpec(
        "Drift from checkpoint to checkpoint",
        "drift",
        draw_drift,
        _DRIFT_PREVIOUS,
        options={"x": "step", "against": "previous"},
        pooled=True,
    ),
    "drift_parts": FigureSpec(
        "Drift of mean and of covariance", "drift", draw_shift_parts, _DRIFT_PARTS, pooled=True, optional=True
    ),
    "drift_groups": FigureSpec(
        "Drift by group of clips",
        "drift_groups",
        draw_drift_groups,
        _DRIFT_GROUPS,
        apart=("corpus", "model", "group_by"),
        named=("group_by",),
        pooled=True,
    ),
    "weight_drift": FigureSpec("Drift of the weights", "weight_drift", draw_weight_drift, _WEIGHT_DRIFT),
}
