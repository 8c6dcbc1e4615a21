"""The figures of a study's clips and of its fine-tuning, each with how it is read and how it misleads."""

from __future__ import annotations

from ser_probe.report.figure_specs import FigureSpec
from ser_probe.report.training.compose import draw_runs, draw_training
from ser_probe.report.training.splits import draw_splits

_SPLITS = """
How many clips of each emotion and gender each split holds. The splits share no speaker, so with few speakers the
shares of the classes cannot be equal: compare a score with the majority class of the same split.
"""

_TRAINING = """
Loss, scores on the validation speakers, and learning rate against the step. Triangles: saved checkpoints; red
dashes: the step chosen on validation. The training loss is measured while the weights change and with dropout, the
validation loss after it and without, so the gap between them is not overfitting alone; and the best of many
evaluations on few speakers looks better than it is.
"""

_TRAINING_RUNS = """
Fine-tuning runs side by side, a column a run; of several seeds each line is one. Panels of a row have one scale. The
training loss is measured while the weights change and with dropout, the validation loss afterwards and without, so a
gap between them is no measure of overfitting by itself. Losses of runs with other targets, weights or smoothing do
not compare.
"""

TRAINING_FIGURES: dict[str, FigureSpec] = {
    "splits": FigureSpec("Clips per split", "audit", draw_splits, _SPLITS, apart=()),
    "training": FigureSpec("Fine-tuning", "training", draw_training, _TRAINING),
    "training_runs": FigureSpec("Fine-tuning, side by side", "training_runs", draw_runs, _TRAINING_RUNS, apart=()),
}
