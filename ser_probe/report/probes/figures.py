"""The figures of the probes, each with how it is read and how it misleads."""

from __future__ import annotations

from functools import partial

from ser_probe.report.comparison.figures import draw_comparison
from ser_probe.report.figure_specs import FigureSpec
from ser_probe.report.probes.changes import (
    draw_centres,
    draw_changes,
    draw_layer_weights,
    draw_numbers,
    draw_selectivity,
)
from ser_probe.report.probes.classes import draw_class_recall, draw_confusion_change
from ser_probe.report.probes.learning import draw_description_length, draw_learning_curves
from ser_probe.report.probes.scores import draw_scores
from ser_probe.report.probes.transfer import draw_corpus_transfer, draw_directions, draw_transfer

_SCORES = """
Mean score of a probe on speakers it has not seen, per layer; one line per checkpoint, dark for early and bright for
late. Red dashes: the same probe on the eGeMAPS features. Grey, dashes and dots: the same architecture with random
weights; dots: the probe with shuffled labels (close) and always answering the most frequent class (wide): a score that
is not above them is no evidence. A ring marks the layer that is best on the validation speakers; the highest point of a
test curve would flatter. The bands (first and last checkpoint) are one standard deviation over probe seeds: they say
how repeatable the probe is, not how far other speakers would differ, so lines whose bands do not touch may still not
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
A class may have a high line only because the probe answers it often: see the confusion matrices. Intervals over
speakers are in the table, and are wide: a class has a few clips per speaker. Many classes are drawn as colours.
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
_DESCRIPTION_LENGTH = """
How many times fewer bits the labels cost when each block of speakers is coded by a probe trained on the blocks before
(Voita & Titov 2020). 1: the layer says nothing of the labels; a probe that is sure and wrong falls below. The first
block is sent uncoded, so there is a ceiling, named in the title, and it is low where speakers are few. Bands (first and
last checkpoint) are one standard deviation over orders of the speakers. Higher means readable from less data, not
only readable.
"""
_CURVE = """
Test score against the number of training clips. Solid: fewer speakers, each with all clips; dashed: all speakers, each
with fewer clips. A solid line that still rises at its end says that more speakers would help; a solid line under the
dashed one says that voices count for more than clips. Bands are one standard deviation over random draws, which
overlap: near the right end they are too narrow, and at the end there is one draw only.
"""
_TRANSFER = """
A probe trained at one checkpoint and tested at another, on speakers it has not seen. Upper row: probes of the first
checkpoint on later ones; lower row: the way back. Grey: what the tested checkpoint's own probe reaches (the range over
checkpoints). A probe is tied to its layer's coordinates: a layer that is only shifted, rescaled or rotated fails at
the left although nothing is lost. The middle column undoes shift and scale, the right one the best-fitting rotation
(last checkpoint only); both are fitted on training clips. What the right column wins back was a rotation; what stays
below grey is lost or was rebuilt, or the rotation could not be fitted from so few clips.
"""
_DIRECTIONS = """
Cosine between the directions that probes of the first and of a later checkpoint give to each class, in standardised
units, mean over classes. Dashed: two probes of one checkpoint that differ by their seed only, so the most that can be
seen. Grey band: 95 % of the cosines with probes of shuffled labels. A line inside the band is no evidence that anything
is shared; a line at the dashes is no evidence that anything moved. A rotation of the layer lowers the cosine although
the label is as readable as before.
"""
_CORPUS = """
Probes trained on each corpus and tested on unseen speakers of one corpus: the probe of that corpus shows what could be
reached, the others what carries over. Only labels that all corpora share count. Features are standardised on the
training corpus, so a difference of level or recording counts as a failure too. Rows: first and last checkpoint.
"""

_figure = partial(FigureSpec, apart=("corpus", "model", "target", "family", "pooling"))

PROBES_FIGURES: dict[str, FigureSpec] = {
    "f1_layers": _figure(
        "F1 per layer and checkpoint", "probe", draw_scores, _SCORES, options={"measure": "weighted_f1"}
    ),
    "uar_layers": _figure(
        "Unweighted average recall per layer and checkpoint", "probe", draw_scores, _SCORES, options={"measure": "uar"}
    ),
    "probe_changes": _figure("Change of each layer's recall", "probe_changes", draw_changes, _CHANGES),
    "probe_selectivity": _figure(
        "Selectivity per layer and checkpoint", "probe_summary", draw_selectivity, _SELECTIVITY
    ),
    "probe_confusion": _figure("Answers before and after", "probe_confusion", draw_confusion_change, _CONFUSION),
    "probe_recall": _figure("Recall per class and layer", "probe_classes", draw_class_recall, _RECALL),
    "probe_layer_weights": _figure(
        "Weights of a learned sum of layers", "probe_layer_weights", draw_layer_weights, _WEIGHTS
    ),
    "probe_centre": _figure("Where in the network the target is read", "probe_centre", draw_centres, _CENTRES),
    "probe_models": FigureSpec(
        "Models side by side", "probe_models", draw_comparison, _MODELS, apart=("corpus", "target", "family")
    ),
    "probe_numbers": FigureSpec(
        "Numeric targets per layer and checkpoint", "probe_numbers", draw_numbers, _NUMBERS,
        apart=("corpus", "model", "family", "pooling"),
    ),
    "probe_description_length": _figure(
        "Bits that the labels cost", "probe_description_length", draw_description_length, _DESCRIPTION_LENGTH
    ),
    "probe_curve": _figure("Learning curves", "probe_curve", draw_learning_curves, _CURVE),
    "probe_transfer": _figure("Probes at another checkpoint", "probe_transfer", draw_transfer, _TRANSFER),
    "probe_directions": _figure("Directions of probes", "probe_directions", draw_directions, _DIRECTIONS),
    "probe_corpus_transfer": _figure(
        "Probes on another corpus", "probe_corpus_transfer", draw_corpus_transfer, _CORPUS
    ),
}  # fmt: skip
