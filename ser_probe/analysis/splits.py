"""Which clips train, stop and test a probe: the check that no speaker is shared."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ser_probe.errors import AnalysisError, collect, show

SPLITS = ("train", "validation", "test")
_SHOWN = 8


def check_split(labels: np.ndarray, split: np.ndarray, groups: np.ndarray) -> None:
    """Check that a probe can be trained, stopped and tested on these parts, and that no speaker is shared.

    Args:
        labels: Each clip's class [N].
        split: `train`, `validation` or `test` for each clip [N].
        groups: Each clip's speaker [N].

    Raises:
        AnalysisError: With all faults: unknown or empty parts, shared speakers, missing labels, classes that never
            occur in training, fewer than two classes.
    """
    faults = []
    table = pd.DataFrame({"label": labels, "split": split, "group": groups})
    if missing := int(table.isna().any(axis=1).sum()):
        raise AnalysisError(
            "Some clips have no label, split or speaker",
            found=f"{missing} of {len(table)} clips",
            fix="leave these clips out",
        )
    table = table.astype(str)
    if unknown := sorted(set(table["split"]) - set(SPLITS)):
        faults.append(f"unknown parts: {', '.join(unknown)}; expected {', '.join(SPLITS)}")
    if empty := [part for part in SPLITS if part not in set(table["split"])]:
        faults.append(f"no clips in: {', '.join(empty)}")
    parts = table.groupby("group")["split"].agg(lambda names: " and ".join(sorted(set(names))))
    for speaker, where in parts[parts.str.contains(" and ")].items():
        faults.append(f"speaker {speaker} is in {where}: what a probe learns of a voice would be scored as correct")
    in_training = set(table.loc[table["split"] == "train", "label"])
    if unseen := sorted(set(table["label"]) - in_training):
        more = f" and {len(unseen) - _SHOWN} more" if len(unseen) > _SHOWN else ""
        faults.append(f"labels that never occur in training: {', '.join(unseen[:_SHOWN])}{more}")
    if table["label"].nunique() < 2:
        faults.append(f"all clips have the same label, {show(table['label'].iloc[0])}")
    if faults:
        raise collect(AnalysisError, "The clips cannot be used to probe", faults)
