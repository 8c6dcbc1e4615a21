"""Parts of the clips without a common speaker, for values that are fitted on some clips and measured on others."""

from __future__ import annotations

import numpy as np

from ser_probe.analysis.resampling import group_codes
from ser_probe.errors import AnalysisError


def held_out_folds(groups: np.ndarray | None, n: int, folds: int, seed: int) -> np.ndarray:
    """Return each clip's fold [N], from 0; no speaker is in two folds, and folds are about equally large.

    Speakers go, largest first and equal ones in an order drawn by the seed, into the fold with the fewest clips.

    Args:
        groups: Each clip's speaker [N]; without it clips are dealt one by one.
        n: The number of clips N.
        folds: How many folds at most; with fewer speakers each is a fold.
        seed: Of the order.

    Raises:
        AnalysisError: If there is one speaker, or fewer than two folds are asked for.
    """
    if folds < 2:
        raise AnalysisError("Held-out values need at least 2 folds", found=f"{folds}")
    rng = np.random.default_rng(seed)
    if groups is None:
        return rng.permutation(np.arange(n) % min(folds, n))
    names, codes = group_codes(groups)
    if len(names) == 1:
        raise AnalysisError(
            "Held-out values need at least 2 speakers",
            found=f"1 speaker, {names[0]}, of {n} clips",
            fix="choose a measure that is not held out, or more speakers",
        )
    sizes = np.bincount(codes)
    filled, fold_of = np.zeros(min(folds, len(names))), np.zeros(len(names), int)
    for speaker in sorted(rng.permutation(len(names)), key=lambda speaker: -sizes[speaker]):
        fold_of[speaker] = int(np.argmin(filled))
        filled[fold_of[speaker]] += sizes[speaker]
    return fold_of[codes]
