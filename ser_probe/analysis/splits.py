"""Which clips train, stop and test a probe: the check that no speaker is shared, and a split of held-out speakers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ser_probe.analysis.inputs import check_lengths
from ser_probe.analysis.resampling import group_codes
from ser_probe.errors import AnalysisError, collect

SPLITS = ("train", "validation", "test")
MIN_SPEAKERS_TO_SPLIT = len(SPLITS)
_SHARE = 0.2  # of the speakers, for validation and for test each
_N_DRAWS = 200  # random assignments of speakers, of which the best balanced is taken


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
    parts = table.groupby("group")["split"].agg(lambda own: " and ".join(sorted(set(own))))
    for speaker, where in parts[parts.str.contains(" and ")].items():
        faults.append(f"speaker {speaker} is in {where}: what a probe learns of a voice would count as knowledge")
    in_training = set(table.loc[table["split"] == "train", "label"])
    if unseen := sorted(set(table["label"]) - in_training):
        faults.append(f"labels that never occur in training: {', '.join(unseen)}")
    if table["label"].nunique() < 2:
        faults.append(f"all clips have the same label, {table['label'].iloc[0]!r}")
    if faults:
        raise collect(AnalysisError, "The clips cannot be used to probe", faults)


def inner_split(groups: np.ndarray, labels: np.ndarray, genders: np.ndarray | None = None, *, seed: int) -> np.ndarray:
    """Split held-out speakers into speaker-disjoint parts for probes, about 60/20/20 of the speakers.

    Speakers are drawn by gender where each gender has three or more, so that every part then holds both. Of many
    draws the one is taken whose parts are most alike in labels.

    Args:
        groups: Each clip's speaker [N].
        labels: Each clip's class [N].
        genders: Each clip's speaker's gender [N], if known.
        seed: Seed of the draws.

    Returns:
        `train`, `validation` or `test` for each clip, [N].

    Raises:
        AnalysisError: If there are fewer than three speakers, or no draw has every label in the training part.
    """
    check_lengths(groups=groups, labels=labels, **({} if genders is None else {"genders": genders}))
    speakers, codes = group_codes(groups)
    if len(speakers) < MIN_SPEAKERS_TO_SPLIT:
        raise AnalysisError(
            "There are too few held-out speakers to split them for probes",
            expected="3 or more: one each to train, stop and test",
            found=f"{len(speakers)}: {', '.join(speakers)}",
            fix="probe on the study's own train, validation and test splits",
        )
    counts = pd.crosstab(codes, group_codes(labels)[1]).to_numpy()
    strata = [np.arange(len(speakers))]
    if genders is not None:
        own_gender = pd.Series(np.asarray(genders)).groupby(codes).first().to_numpy()
        by_gender = [np.flatnonzero(own_gender == gender) for gender in pd.unique(own_gender)]
        if all(len(stratum) >= MIN_SPEAKERS_TO_SPLIT for stratum in by_gender):
            strata = by_gender
    rng = np.random.default_rng(seed)
    draws = [_draw(strata, rng) for _ in range(_N_DRAWS)]
    best = min(draws, key=lambda part: _imbalance(part, counts))
    if (counts[best == 0].sum(axis=0) == 0).any():
        raise AnalysisError(
            "No split of the held-out speakers has every label in its training part",
            found=f"{len(speakers)} speakers, {counts.shape[1]} labels",
            fix="probe on the study's own train, validation and test splits",
        )
    return np.array(SPLITS)[best[codes]]


def _draw(strata: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Assign each speaker to a part (its index in SPLITS) at random, [G]."""
    part = np.zeros(sum(len(stratum) for stratum in strata), int)
    for stratum in strata:
        held_out = max(1, round(_SHARE * len(stratum)))
        order = rng.permutation(stratum)
        part[order[:held_out]] = SPLITS.index("validation")
        part[order[held_out : 2 * held_out]] = SPLITS.index("test")
    return part


def _imbalance(part: np.ndarray, counts: np.ndarray) -> tuple[int, float]:
    """Return how many labels training lacks, and how far the parts' label shares are from the whole's."""
    by_part = np.stack([counts[part == index].sum(axis=0) for index in range(len(SPLITS))])
    shares, overall = by_part / by_part.sum(axis=1, keepdims=True), counts.sum(axis=0) / counts.sum()
    return int((by_part[0] == 0).sum()), float(np.abs(shares - overall).sum())
