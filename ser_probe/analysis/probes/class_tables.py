"""Scores of each class: recall, precision and F1 per class, and which classes are confused."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from ser_probe.analysis.inputs import key_columns
from ser_probe.analysis.metrics import confusion_matrices
from ser_probe.analysis.probes.families import TEST
from ser_probe.analysis.probes.fitting import Probes, part_name
from ser_probe.analysis.probes.scoring import PartScores
from ser_probe.analysis.resampling import bootstrap_counts, bootstrap_interval

CLASS_MEASURES = ("recall", "precision", "f1")
MOST_CLASSES_OF_ALL_LAYERS = 20
"""With more classes, matrices are listed of the chosen layers only: their rows grow with the square."""


def class_table(probes: Probes, scores: PartScores) -> pd.DataFrame:
    """Return recall, precision and F1 of each class on test, with 95 % intervals over speakers.

    Args:
        probes: The probes.
        scores: Their scores on test.

    Returns:
        A row per representation, class and measure: means over seeds. `n` is how often the class occurs. A score that
        is not defined (recall of a class that does not occur) is NaN; a seed that never predicts a class has the
        precision 0, as in scikit-learn.
    """
    draws = bootstrap_counts(scores.n_groups).astype(float)
    support = scores.counts[0, 0, :, 1].sum(axis=0)
    tables = []
    for name, counts in zip(probes.names, scores.counts, strict=True):
        values = _class_scores(counts.sum(axis=1))
        resampled = _class_scores(np.tensordot(draws, counts.astype(float), axes=(1, 1)))
        for measure in CLASS_MEASURES:
            mean = values[measure].mean(axis=0)
            # A resample may lack a class that one speaker alone has: it says nothing of that class.
            low, high = bootstrap_interval(
                mean, _without_gaps(resampled[measure].mean(axis=1), mean), scores.n_groups, bounds=(0.0, 1.0)
            )
            tables.append(pd.DataFrame({
                **key_columns(name), "control": probes.control, "split": part_name(TEST),
                "class": probes.target.classes,
                "measure": measure, "value": mean, "ci_low": low, "ci_high": high, "n": support,
                "n_speakers": scores.n_groups, "n_seeds": len(probes.seeds),
            }))  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def confusion_table(probes: Probes, chosen: Collection[int]) -> pd.DataFrame:
    """Return the confusion matrices on test, the mean over seeds.

    Args:
        probes: The probes.
        chosen: Positions of the representations that validation chose; they are marked, and where there are more than
            `MOST_CLASSES_OF_ALL_LAYERS` classes the others are left out.

    Returns:
        A row per representation, true and predicted class: `count` (clips, a mean over seeds), `share` of the true
        class (NaN for a class that does not occur), and `chosen`.
    """
    classes, n_classes = probes.target.classes, probes.target.n_classes
    truth = probes.truth(TEST)
    listed = chosen if n_classes > MOST_CLASSES_OF_ALL_LAYERS else range(len(probes.names))
    tables = []
    for index in listed:
        count = confusion_matrices(truth, probes.answers[TEST][index].astype(int), n_classes).mean(axis=0)
        with np.errstate(invalid="ignore"):
            share = count / count.sum(axis=1, keepdims=True)
        tables.append(pd.DataFrame({
            **key_columns(probes.names[index]), "control": probes.control, "split": part_name(TEST),
            "true": np.repeat(classes, n_classes), "predicted": np.tile(classes, n_classes), "count": count.ravel(),
            "share": share.ravel(), "chosen": index in chosen, "n": len(truth), "n_seeds": len(probes.seeds),
        }))  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def _class_scores(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Return scores [..., C] of counts [..., 3, C]."""
    right, occurring, predicted = np.moveaxis(np.asarray(counts, float), -2, 0)
    with np.errstate(invalid="ignore"):
        return {
            "recall": right / occurring,
            "precision": np.where(
                predicted > 0, right / np.maximum(predicted, 1), np.where(occurring > 0, 0.0, np.nan)
            ),
            "f1": 2 * right / (occurring + predicted),
        }


def _without_gaps(resampled: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return resamples [B, C] whose undefined values are filled in such a way that mean and spread stay the others'."""
    defined = np.isfinite(resampled)
    n = np.maximum(defined.sum(axis=0), 1)
    mean = np.where(defined.any(axis=0), np.where(defined, resampled, 0).sum(axis=0) / n, value)
    return mean + np.where(defined, resampled - mean, 0) * np.sqrt(len(resampled) / n)
