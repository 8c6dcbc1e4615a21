from __future__ import annotations

import numpy as np
import pytest

from ser_probe.analysis.splits import SPLITS, check_split, inner_split
from ser_probe.errors import AnalysisError


def _speakers(n: int, labels: str = "xyz") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return speaker, label and gender of clips: n speakers, alternately female and male, every label once each."""
    groups = np.repeat([f"s{i:02}" for i in range(n)], len(labels))
    genders = np.repeat(["female" if i % 2 else "male" for i in range(n)], len(labels))
    return groups, np.tile(list(labels), n), genders


@pytest.mark.parametrize("n", [3, 4, 6, 11, 18])
def test_parts_share_no_speaker_and_hold_every_label(n: int) -> None:
    groups, labels, genders = _speakers(n)
    split = inner_split(groups, labels, genders, seed=0)
    check_split(labels, split, groups)
    for part in SPLITS:
        own = split == part
        assert set(labels[own]) == set(labels)
        if n >= 6:
            assert set(genders[own]) == {"female", "male"}
    assert len(np.unique(groups[split == "train"])) >= n / 3


def test_the_seed_decides() -> None:
    groups, labels, genders = _speakers(12)
    splits = [inner_split(groups, labels, genders, seed=seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(splits[0], splits[1])
    assert (splits[0] != splits[2]).any()


def test_a_rare_label_goes_to_training() -> None:
    groups, labels, _ = _speakers(5)
    labels[(groups == "s03") & (labels == "x")] = "rare"
    for seed in range(5):
        split = inner_split(groups, labels, seed=seed)
        assert (split[groups == "s03"] == "train").all()


def test_two_held_out_speakers_cannot_be_split() -> None:
    groups, labels, _ = _speakers(2)
    with pytest.raises(AnalysisError, match="too few held-out speakers") as caught:
        inner_split(groups, labels, seed=0)
    assert "study's own" in str(caught.value.fix)


def test_labels_that_cannot_all_be_trained() -> None:
    with pytest.raises(AnalysisError, match="every label in its training part"):
        inner_split(np.array(["a", "b", "c"]), np.array(["x", "y", "z"]), seed=0)


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
