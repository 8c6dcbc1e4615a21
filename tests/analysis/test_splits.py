from __future__ import annotations

import numpy as np
import pytest

from ser_probe.analysis.splits import SPLITS, check_split
from ser_probe.errors import AnalysisError


def _speakers(n: int, labels: str = "xyz") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return speaker, label and gender of clips: n speakers, alternately female and male, every label once each."""
    groups = np.repeat([f"s{i:02}" for i in range(n)], len(labels))
    genders = np.repeat(["female" if i % 2 else "male" for i in range(n)], len(labels))
    return groups, np.tile(list(labels), n), genders


def test_all_faults_of_a_split_are_told_at_once() -> None:
    groups = np.array(["a", "a", "b", "c"])
    with pytest.raises(AnalysisError, match="4 faults") as caught:
        check_split(np.array(["x", "x", "x", "y"]), np.array(["train", "validation", "train", "dev"]), groups)
    message = str(caught.value)
    assert "unknown parts: dev" in message
    assert "no clips in: test" in message
    assert "speaker a is in train and validation" in message
    assert "never occur in training: y" in message


def test_one_class_cannot_be_probed() -> None:
    with pytest.raises(AnalysisError, match="all clips have the same label, 'x'"):
        check_split(np.array(["x"] * 3), np.array(SPLITS), np.array(["a", "b", "c"]))


def test_clips_without_a_label_are_counted() -> None:
    labels = np.array(["x", None, "y"], dtype=object)
    with pytest.raises(AnalysisError, match="no label, split or speaker") as caught:
        check_split(labels, np.array(SPLITS), np.array(["a", "b", "c"]))
    assert caught.value.found == "1 of 3 clips"
