"""The figures of the probes, each with how it is read and how it misleads."""

from __future__ import annotations

from ser_probe.report.canvas import draw_scores
from ser_probe.report.comparison.compose import draw_comparison
from ser_probe.report.figure_specs import FigureSpec
from ser_probe.report.probes.compose import (
    draw_centres,
    draw_changes,
    draw_class_recall,
    draw_confusion_change,
    draw_layer_weights,
    draw_numbers,
    draw_selectivity,
)

_PROBE_KEYS = ("corpus", "model", "target", "family", "pooling")

_SCORES = """
Mean score of a probe on speakers it has not seen, per layer; one line per checkpoint, dark for early and bright for
late. Red dashes: the same probe on the eGeMAPS features. Grey, dashes and dots: the same architecture with random
weights; dots: the probe with shuffled labels (close) and always answering the most frequent class (wide): what is not
above them is not evidence. A ring marks the layer that is best on the validation speakers; the highest point of a test
curve would flatter. The bands (first and last checkpoint) are one standard deviation over probe seeds: they say how
repeatable the probe is, not how far other speakers would differ, so lines whose bands do not touch may still not
differ. Probes that take a learned sum of all layers are drawn over fine-tuning steps instead.
"""
_CHANGES = """
Recall (UAR) of each layer less that of the same layer before fine-tuning, on the same clips with the same seeds. The
bars (last checkpoint) are 95 % intervals over speakers. Filled dots: significant at 0.05 after Holm's correction over
the layers, by sign flips of whole speakers; hollow dots: not shown to differ, which is not shown to be equal. With
under ten test speakers hardly any dot can be filled. The test is about these probes on other speakers; other training
speakers would give other probes, which only rotating folds (p_folds in the table) take into account.
"""
_SELECTIVITY = """
Recall of each layer above that of the same probe trained on shuffled labels (Hewitt & Liang 2019), with 95 % intervals
over speakers for the first and the last checkpoint. A probe that is strong enough to learn anything scores high with
shuffled labels too and has no selectivity. Near 0: the score says nothing of the layer. It is a difference of two noisy
scores: of few test speakers it may well be below 0.
"""
_CONFUSION = """
Of each true class (row), how many percent were taken for which class (column), at the first and at the last checkpoint,
each at the layer that validation chose; the layers may differ. Means over probe seeds. A row is about one class however
often it occurs. With rotating folds, all test answers are pooled.
"""
_RECALL = """
Share of each class's test clips that the probe finds, per layer, before and after fine-tuning; means over probe seeds.
A class whose line is high may be found only because the probe answers it often: the confusion matrices tell. Intervals
over speakers are in the table, and are wide: a class has a few clips a speaker. Many classes are drawn as colours.
"""
_WEIGHTS = """
What a probe on a learned sum of all layers weighs each layer by (softmax weights, layers standardised; SUPERB's way), a
line per checkpoint; bands (first and last) are one standard deviation over seeds and folds. A high weight is no proof
that a layer reads best: layers hold much the same, and training that stops early stays near equal weights (dots).
"""
_CENTRES = """
Where in the network the target is read, with 95 % intervals over speakers. Centre of gravity: mean depth, weighted by
each layer's recall above its control; near the middle where all layers read alike. Expected layer (Tenney et al. 2019):
mean depth at which the best score so far rises; noisy where the curve is flat. Both say where, not how well: a centre
that moves while scores are at their controls has moved by chance.
"""
_MODELS = """
Score of one model less that of another on the same test clips, each read at the layer that its own validation scores
chose, at its last checkpoint, means over probe seeds. Bars: 95 % intervals over speakers, not corrected for the number
of pairs; filled dots: significant at 0.05 after Holm's correction over the pairs, by swaps of whole speakers. What
differs are these embeddings as this probe reads them: a wider layer has more to read, and another division of the
speakers would choose and train otherwise.
"""
_NUMBERS = """
R2 of ridge probes of numeric targets per layer, on speakers they have not seen; a line per checkpoint, bands (first and
last) are 95 % intervals over speakers. 1 is exact; 0 is no better than the mean; below 0 is worse than the mean, which
a probe that carries over badly to new speakers well may be. Of many targets the best read are drawn: the table has all.
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
    "probe_changes": FigureSpec(
        "Change of each layer's recall", "probe_changes", draw_changes, _CHANGES, apart=_PROBE_KEYS
    ),
    "probe_selectivity": FigureSpec(
        "Selectivity per layer and checkpoint", "probe_summary", draw_selectivity, _SELECTIVITY, apart=_PROBE_KEYS
    ),
    "probe_confusion": FigureSpec(
        "Answers before and after", "probe_confusion", draw_confusion_change, _CONFUSION, apart=_PROBE_KEYS
    ),
    "probe_recall": FigureSpec(
        "Recall per class and layer", "probe_classes", draw_class_recall, _RECALL, apart=_PROBE_KEYS
    ),
    "probe_layer_weights": FigureSpec(
        "Weights of a learned sum of layers", "probe_layer_weights", draw_layer_weights, _WEIGHTS, apart=_PROBE_KEYS
    ),
    "probe_centre": FigureSpec(
        "Where in the network the target is read", "probe_centre", draw_centres, _CENTRES, apart=_PROBE_KEYS
    ),
    "probe_models": FigureSpec(
        "Models side by side", "probe_models", draw_comparison, _MODELS, apart=("corpus", "target", "family")
    ),
    "probe_numbers": FigureSpec(
        "Numeric targets per layer and checkpoint", "probe_numbers", draw_numbers, _NUMBERS,
        apart=("corpus", "model", "family", "pooling"),
    ),
}  # fmt: skip
