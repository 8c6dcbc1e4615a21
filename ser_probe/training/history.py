"""Measurements of a run, from the Trainer's log history: table, best step, early stopping.

All are functions of the history, which every checkpoint holds, so that resuming restores nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ser_probe.training.settings import METRICS, TrainingSettings

if TYPE_CHECKING:
    import pandas as pd

History = Sequence[dict[str, Any]]

TABLE_COLUMNS = ("run_seed", "step", "epoch", "split", "measure", "value")


def evaluations(history: History, metric: str) -> list[tuple[int, float]]:
    """Return step and value of a metric at each evaluation on the validation clips, in order."""
    name = f"eval_{metric}"
    return [(int(entry["step"]), float(entry[name])) for entry in history if name in entry]


def best_evaluation(history: History, metric: str) -> tuple[int, float]:
    """Return step and value of the best evaluation; the first one of equals."""
    sign = -1 if METRICS[metric] else 1
    return min(evaluations(history, metric), key=lambda pair: (sign * pair[1], pair[0]))


def count_stale(values: Sequence[float], threshold: float, *, more_is_better: bool) -> int:
    """Return how many evaluations in a row, up to the last, did not improve.

    An evaluation improves when it beats the best of all before it by more than the threshold, as in transformers'
    `EarlyStoppingCallback`, which Study E's rule follows. So a loss that creeps down by less than the threshold
    each time does not improve, however far it gets.

    Args:
        values: A metric at each evaluation; the first, before training, is what the second is compared with.
        threshold: Smallest change that counts.
        more_is_better: Whether the metric should rise.
    """
    sign = 1 if more_is_better else -1
    stale = 0
    for position in range(1, len(values)):
        gain = sign * values[position] - max(sign * value for value in values[:position])
        stale = 0 if gain > threshold else stale + 1
    return stale


def should_stop(history: History, settings: TrainingSettings) -> bool:
    """Tell whether the last evaluation ends the training early."""
    if settings.early_stopping_patience is None:
        return False
    values = [value for _, value in evaluations(history, settings.metric)]
    stale = count_stale(values, settings.early_stopping_threshold, more_is_better=METRICS[settings.metric])
    return stale >= settings.early_stopping_patience


def training_table(history: History, run_seed: int) -> pd.DataFrame:
    """Return the history as a tidy table: loss and learning rate of each step, scores of each evaluation.

    Returns:
        Columns `run_seed, step, epoch, split ('train', 'validation'), measure, value`.
    """
    import pandas as pd

    rows = []
    for entry in history:
        if "loss" in entry:
            measured = [("train", name, entry[name]) for name in ("loss", "learning_rate")]
        else:
            measured = [("validation", name, entry[f"eval_{name}"]) for name in METRICS if f"eval_{name}" in entry]
        rows += [(run_seed, int(entry["step"]), float(entry["epoch"]), *row) for row in measured]
    return pd.DataFrame(rows, columns=list(TABLE_COLUMNS))
