"""Ways to divide the clips of a probe into parts that train, validate and test; the check that no speaker is shared.

Which speakers go together is decided elsewhere; here that becomes `Folds`. The only division that shares speakers is
`random_fold`, which exists to repeat a published result and must be labelled as such.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ser_probe.analysis.inputs import check_lengths
from ser_probe.analysis.probes.families import PART_NAMES, TEST, TRAIN, UNUSED, VALIDATION, Folds
from ser_probe.analysis.splits import SPLITS, check_split
from ser_probe.errors import AnalysisError
from ser_probe.runtime import derive_seed

PUBLISHED_SHARES = (0.8, 0.1, 0.1)
"""Study E's train, validation and test shares of the clips of its held-out subset."""


def single_fold(split: np.ndarray, name: str = "study") -> Folds:
    """Return one division, from the name of each clip's part.

    Args:
        split: `train`, `validation` or `test` for each clip [N].
        name: What the fold is called.

    Raises:
        AnalysisError: If a part has another name.
    """
    split = np.asarray(split).astype(str)
    if unknown := sorted(set(split) - set(SPLITS)):
        raise AnalysisError("Some clips are in parts that are not known", expected=", ".join(SPLITS), found=unknown)
    position = {part: index for index, part in enumerate(PART_NAMES)}
    return Folds((name,), np.array([[position[part] for part in split]], np.int8))


def rotated_folds(codes: np.ndarray, names: Sequence[str] | None = None) -> Folds:
    """Return as many divisions as there are groups of speakers: each tests once, the next validates, the rest train.

    Args:
        codes: Each clip's group, int in [0, F), [N].
        names: F names; `fold-0` and so on by default.

    Raises:
        AnalysisError: If there are fewer than three groups, or a group has no clip.
    """
    codes = np.asarray(codes)
    n_folds = int(codes.max()) + 1 if codes.size else 0
    empty = sorted(set(range(n_folds)) - set(codes.tolist()))
    if n_folds < 3 or empty:
        raise AnalysisError(
            "The clips cannot be rotated through the parts",
            expected="three or more groups with clips: one each to train, validate and test",
            found=f"{n_folds} groups" + (f", none of the clips in {empty}" if empty else ""),
        )
    parts = np.full((n_folds, len(codes)), TRAIN, np.int8)
    for fold in range(n_folds):
        parts[fold, codes == fold] = TEST
        parts[fold, codes == (fold + 1) % n_folds] = VALIDATION
    return Folds(tuple(names or (f"fold-{fold}" for fold in range(n_folds))), parts)


def random_fold(n_clips: int, *, seed: int = 0) -> Folds:
    """Return a division that draws clips at random, whatever their speaker: the parts share speakers.

    Its probes train on other clips of the test speakers; their scores are not those of new speakers.

    Args:
        n_clips: N.
        seed: Another seed gives another draw.

    Raises:
        AnalysisError: If a part would be empty.
    """
    ends = np.round(np.cumsum(PUBLISHED_SHARES) * n_clips).astype(int)
    if min(np.diff([0, *ends])) < 1:
        raise AnalysisError(
            "There are too few clips to divide them at random",
            expected="a clip or more in each part of " + " / ".join(f"{share:.0%}" for share in PUBLISHED_SHARES),
            found=f"{n_clips} clips",
        )
    order = np.random.default_rng(derive_seed("random division", seed)).permutation(n_clips)
    parts = np.full((1, n_clips), UNUSED, np.int8)
    for part, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        parts[0, order[start:end]] = part
    return Folds(("study_e_published",), parts)


def check_folds(labels: np.ndarray | None, folds: Folds, groups: np.ndarray, *, shares_groups: bool = False) -> None:
    """Check in every fold that a probe can be trained, stopped and tested, and that no speaker is in two parts.

    Args:
        labels: Each clip's class [N]; None for numeric targets, of which only the speakers are checked.
        folds: The divisions.
        groups: Each clip's speaker [N].
        shares_groups: Allow shared speakers: for the division that shares them on purpose.

    Raises:
        AnalysisError: With all faults of the first fold that has any: an empty part, a shared speaker, a class that
            never occurs in training, one class only.
    """
    groups = np.asarray(groups).astype(str)
    # Numbers as labels: alternating in every part, so that the check of classes says nothing.
    given = np.arange(len(groups)) if labels is None else np.asarray(labels)
    check_lengths(labels=given, parts=folds.parts[0], groups=groups)
    group_codes = np.arange(len(groups)) if shares_groups else np.unique(groups, return_inverse=True)[1]
    label_codes = None if labels is None or pd.isna(given).any() else np.unique(given, return_inverse=True)[1]
    for name, parts in zip(folds.names, folds.parts, strict=True):
        if (labels is None or label_codes is not None) and _is_fine(label_codes, parts, group_codes):
            continue
        used = parts != UNUSED
        split = np.array(PART_NAMES)[parts[used]]
        speakers = np.flatnonzero(used) if shares_groups else groups[used]
        try:
            check_split(_classes_of(given[used], split, labels is None), split, speakers)
        except AnalysisError as error:
            if len(folds.names) == 1:
                raise
            raise AnalysisError(
                error.what,
                where=f"fold {name} of {len(folds.names)}",
                fix="take fewer folds or another division, or leave these clips out",
            ) from error


def _is_fine(labels: np.ndarray | None, parts: np.ndarray, groups: np.ndarray) -> bool:
    """Return whether a fold has no fault: a fast check; `check_split` says what is wrong."""
    members = [np.flatnonzero(parts == part) for part in (TRAIN, VALIDATION, TEST)]
    if not all(clips.size for clips in members):
        return False
    if len(np.unique(groups[parts != UNUSED])) < sum(len(np.unique(groups[clips])) for clips in members):
        return False
    if labels is None:
        return True
    trained = np.unique(labels[members[0]])
    return len(trained) > 1 and len(trained) == len(np.unique(labels[parts != UNUSED]))


def _classes_of(labels: np.ndarray, split: np.ndarray, numeric: bool) -> np.ndarray:
    """Return the labels; for numeric targets two classes that every part has."""
    if not numeric:
        return labels
    classes = np.zeros(len(split), int)
    for part in SPLITS:
        clips = np.flatnonzero(split == part)
        classes[clips[1::2]] = 1
    return classes
