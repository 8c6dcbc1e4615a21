"""Synthetic tables of a study's evaluation with the schemas that the stage writes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

SCORES = {"accuracy": 0.62, "uar": 0.6, "macro_f1": 0.57, "ece": 0.1}
GROUPS = (("overall", "all"), ("gender", "female"), ("gender", "male"))
TARGETS = ("arousal", "valence")


def _keys(step: int, best: int) -> dict[str, object]:
    return {
        "corpus": "emovo", "model": "wavlm-large", "run_seed": 0, "checkpoint": f"step-{step}", "step": step,
        "evaluated_on": "test", "best": step == best,
    }  # fmt: skip


def scores_table(
    steps: Sequence[int] = (0, 100), best: int = 100, on: Sequence[str] = ("test", "validation")
) -> pd.DataFrame:
    """UAR, accuracy and F1 of an untrained head and of the best step, on two splits."""
    rows = [
        {
            **_keys(step, best), "evaluated_on": name, "group_by": group_by, "group": group, "measure": measure,
            "value": found, "ci_low": found - 0.1, "ci_high": found + 0.1, "n": 84, "n_speakers": 4,
        }
        for name in on for step in steps for group_by, group in GROUPS for measure, value in SCORES.items()
        for found in [value if step else 0.2]
    ]  # fmt: skip
    return pd.DataFrame(rows)


def evaluation_tables(
    labels: Sequence[str], steps: Sequence[int] = (0, 100), best: int = 100
) -> dict[str, pd.DataFrame]:
    """All tables that figures are drawn from."""
    k = len(labels)
    confusion = [
        {
            **_keys(step, best), "group_by": group_by, "group": group, "true": true, "predicted": predicted,
            "count": 9 if true == predicted else 1, "share": (9 if true == predicted else 1) / (8 + k),
        }
        for step in steps for group_by, group in GROUPS for true in labels for predicted in labels
    ]  # fmt: skip
    low = np.arange(5) / 5
    reliability = pd.DataFrame(
        {"low": low, "high": low + 0.2, "n": [1, 2, 3, 4, 5], "confidence": low + 0.1, "accuracy": low}
    )
    classes = [
        {
            **_keys(step, best), "group_by": group_by, "group": group, "class": name, "measure": "recall", "value": 0.6,
            "ci_low": 0.5, "ci_high": 0.7, "n": 14, "n_speakers": 4,
        }
        for step in steps for group_by, group in GROUPS for name in labels
    ]  # fmt: skip
    true = np.linspace(1, 5, 20)
    agreement = [
        pd.DataFrame({"true": true, "predicted": 3 + (true - 3) / (2 if step else 50)}).assign(
            target=target, **_keys(step, best)
        )
        for step in steps
        for target in TARGETS
    ]
    return {
        "evaluation": scores_table(steps, best),
        "evaluation_confusion": pd.DataFrame(confusion),
        "evaluation_reliability": pd.concat(
            [reliability.assign(group_by="overall", group="all", **_keys(step, best)) for step in steps]
        ),
        "evaluation_classes": pd.DataFrame(classes),
        "evaluation_agreement": pd.concat(agreement, ignore_index=True),
    }
