"""Which clips train and which are predicted: every clip once, by a fit without clips of its speaker."""

from __future__ import annotations

import numpy as np

from ser_probe.analysis.inputs import check_lengths
from ser_probe.analysis.probes.families import TEST, TRAIN, Folds
from ser_probe.analysis.resampling import group_codes
from ser_probe.errors import AnalysisError
from ser_probe.runtime import derive_seed

MIN_SPEAKERS = 3
"""With two speakers a fit would have one training speaker, and no other to choose its strength on."""


def acoustic_folds(
    speakers: np.ndarray, n_folds: int = 5, *, genders: np.ndarray | None = None, seed: int = 0
) -> Folds:
    """Divide the speakers into folds, each predicted by a fit on all others.

    Speakers of one gender are dealt out in turn, so that every fold's training part has all genders: pitch and
    formants could not be predicted of a gender that was not heard.

    Args:
        speakers: Each clip's speaker, [N].
        n_folds: F; with fewer speakers each is a fold.
        genders: Each clip's gender, [N].
        seed: Random seed of the assignment.

    Raises:
        AnalysisError: If there are fewer than three speakers, or fewer than two folds.
    """
    check_lengths(speakers=speakers, **({} if genders is None else {"genders": genders}))
    names, codes = group_codes(speakers)
    if len(names) < MIN_SPEAKERS or n_folds < 2:
        raise AnalysisError(
            "Too few speakers or folds to predict a speaker's voice from others'",
            expected=f"{MIN_SPEAKERS} speakers and 2 folds, or more",
            found=f"{len(names)} speakers: {', '.join(names[:5])}; {n_folds} folds",
            fix="analyse more clips: set analyze.splits to all",
        )
    order = np.random.default_rng(derive_seed("acoustic folds", seed)).permutation(len(names))
    if genders is not None:
        first = np.array([np.flatnonzero(codes == speaker)[0] for speaker in range(len(names))])
        order = order[np.argsort(np.asarray(genders).astype(str)[first][order], kind="stable")]
    fold_of = np.empty(len(names), int)
    fold_of[order] = np.arange(len(names)) % min(n_folds, len(names))
    folds = range(fold_of.max() + 1)
    parts = np.stack([np.where(fold_of[codes] == fold, TEST, TRAIN) for fold in folds]).astype(np.int8)
    return Folds(tuple(f"fold-{fold}" for fold in folds), parts)


def fold_of_clip(folds: Folds) -> np.ndarray:
    """Return the fold in which each clip is predicted, int [N].

    Raises:
        AnalysisError: If a clip is predicted in no fold or in several.
    """
    tested = folds.parts == TEST
    if (tested.sum(axis=0) != 1).any():
        times = tested.sum(axis=0)
        raise AnalysisError(
            "Every clip must be predicted in one fold",
            found=f"{int((times == 0).sum())} clips in none, {int((times > 1).sum())} in several",
        )
    return tested.argmax(axis=0)
