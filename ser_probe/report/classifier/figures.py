"""The figures of a study's fine-tuned classifier, each with how it is read and how it misleads."""

from __future__ import annotations

from ser_probe.report.evaluation.compose import draw_chosen, draw_chosen_agreement, draw_score_rows
from ser_probe.report.figure_specs import FigureSpec

_SCORES = """
What the checkpoints reach on each set of clips, with 95 % intervals over its speakers (none with fewer than three).
Step 0 is an untrained head, what chance gives. The validation speakers chose the best step, so their score looks better
than that of new speakers. Intervals that overlap do not say that two checkpoints are alike: both are scored on the same
speakers, and one who is hard for one is hard for the other.
"""

_PAGE = """
The chosen checkpoint: of each true class how many percent were taken for which, for all clips and for groups of
speakers; how often predictions of a confidence are right (on the line: calibrated); recall per class with 95 %
intervals over speakers. A row is about one class however rare it is: the counts in the tables tell. A difference
between groups is one between these few speakers.
"""

_AGREEMENT = """
The chosen checkpoint: predicted against true values, a point a clip; exact ones lie on the line. A cloud that is
flatter than the line is a model that plays safe, which the correlation does not see and the concordance (CCC) does.
Clips of one speaker are no independent points.
"""

CLASSIFIER_FIGURES: dict[str, FigureSpec] = {
    "evaluation_scores": FigureSpec(
        "Scores of the fine-tuned classifier", "evaluation", draw_score_rows, _SCORES, apart=("model",)
    ),
    "evaluation": FigureSpec(
        "Predictions of the fine-tuned classifier", "evaluation_confusion", draw_chosen, _PAGE,
        apart=("model", "evaluated_on", "corpus"), named=("evaluated_on",),
    ),
    "evaluation_agreement": FigureSpec(
        "Predicted and true values", "evaluation_agreement", draw_chosen_agreement, _AGREEMENT,
        apart=("model", "evaluated_on", "corpus"), named=("evaluated_on",),
    ),
}  # fmt: skip
