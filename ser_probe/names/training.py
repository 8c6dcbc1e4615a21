"""Names of what training is made of: precisions, losses, schedules, kinds of targets."""

from __future__ import annotations

from dataclasses import dataclass

from ser_probe.names.measures import SCORES, ScoreName
from ser_probe.names.named import Named

CLASSES, DISTRIBUTION, NUMERIC = "classes", "distribution", "numeric"

TARGETS: dict[str, Named] = {
    CLASSES: Named("classes", "the label of each clip"),
    DISTRIBUTION: Named("distribution", "shares of the classes, as of votes"),
    NUMERIC: Named("numbers", "such as arousal and valence"),
}
"""What a classifier predicts."""

PRECISIONS: dict[str, Named] = {
    "fp32": Named("fp32", "exact"),
    "tf32": Named("tf32", "CUDA only, off by about 1e-3"),
    "bf16": Named("bf16", "off by about 1e-2"),
    "fp16": Named("fp16", "off by about 1e-3"),
}
"""Arithmetic of a model, and how far it is off; the others than fp32 are faster on recent GPUs."""


@dataclass(frozen=True)
class LossName(Named):
    """A loss.

    Attributes:
        targets: The kinds of targets that it is for; the first loss of a kind is its default.
    """

    targets: tuple[str, ...] = ()


LOSSES: dict[str, LossName] = {
    "cross_entropy": LossName("cross-entropy", targets=(CLASSES, DISTRIBUTION)),
    "mse": LossName("mean squared error", targets=(NUMERIC,)),
    "ccc": LossName("1 - CCC", "1 minus the concordance correlation within each batch", "Lin 1989", targets=(NUMERIC,)),
}

METRICS: dict[str, ScoreName] = {
    name: SCORES[name] for name in ("loss", "accuracy", "uar", "macro_f1", "weighted_f1", "ccc", "rmse")
}
"""What is measured on the validation clips."""

SCHEDULERS: dict[str, Named] = {
    "linear": Named("linear", "falls to 0 in a line"),
    "cosine": Named("cosine", "falls to 0 along a cosine"),
    "constant": Named("constant", "stays"),
}
"""How the learning rate goes on after the warm-up."""
