"""Did a layer change? Paired tests of two states of the same layers, with the speaker as the unit.

The two states are probed on the same clips, with the same seeds and folds. Recall (UAR), accuracy and R2 are then sums
of one contribution per speaker, and if neither state is better, a speaker's contribution to the difference is as likely
to have the opposite sign: the sign-flip test. Clips or seeds as units would overstate the evidence.

The test is about these two sets of trained probes on new speakers, not about what other training speakers would have
given. Where folds rotate, `fold_tests` also takes that into account.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ser_probe.analysis.corrections import holm
from ser_probe.analysis.inputs import check_lengths
from ser_probe.analysis.probes.families import Folds
from ser_probe.analysis.resampling import N_FLIPS, sign_patterns
from ser_probe.analysis.stats.resampled import corrected_resampled_t

COMPARED = ("uar", "accuracy")

# Differences of the same counts, summed in another order, may differ by this share of their size.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Changes:
    """Tests of R layers.

    Args:
        value: Score after less score before, [R].
        p: Two-sided p-values of the sign-flip test, [R].
        p_holm: Those corrected for R layers, [R].
        smallest_p: The smallest p that so many speakers can give.
    """

    value: np.ndarray
    p: np.ndarray
    p_holm: np.ndarray
    smallest_p: float


def contributions(before: np.ndarray, after: np.ndarray, measure: str) -> np.ndarray:
    """Return what each speaker adds to the difference of a score: they sum to score after less score before.

    Args:
        before: Counted answers of the one state, [R, S, G, 3, C]; see `count_answers`.
        after: Those of the other state, on the same clips.
        measure: `uar` or `accuracy`; F1 is no sum over speakers.

    Returns:
        float64 [R, G], means over seeds.
    """
    occurring = before[0, 0, :, 1].sum(axis=0).astype(float)
    right = (after[..., 0, :].mean(axis=1) - before[..., 0, :].mean(axis=1)).astype(float)
    if measure == "accuracy":
        return right.sum(axis=-1) / occurring.sum()  # type: ignore[no-any-return]
    present = occurring > 0
    return (right[..., present] / occurring[present]).sum(axis=-1) / present.sum()  # type: ignore[no-any-return]


def sign_flip_test(differences: np.ndarray, *, seed: int = 0) -> tuple[np.ndarray, float]:
    """Test whether speakers' differences are symmetric about 0.

    Exact for up to 15 speakers (every pattern of signs is counted); for more, patterns are drawn and the observed one
    counts as one of them, which keeps the test valid (Phipson & Smyth 2010). Unchanged by scaling all differences.

    Args:
        differences: [R, G].
        seed: Seed of the draw.

    Returns:
        Two-sided p-values [R] in (0, 1], and the smallest that so many speakers can give.
    """
    differences = np.asarray(differences, float)
    n_groups = differences.shape[1]
    observed = np.abs(differences.sum(axis=1))
    margin = _ROUNDING * np.abs(differences).sum(axis=1)
    patterns, exact = sign_patterns(n_groups, seed=seed)
    reached = np.abs(patterns @ differences.T) >= observed - margin
    if exact:
        return reached.mean(axis=0), 1 / len(patterns)
    return (1 + reached.sum(axis=0)) / (1 + N_FLIPS), max(1 / (1 + N_FLIPS), 2.0 ** (1 - n_groups))


def compare_layers(differences: np.ndarray) -> Changes:
    """Test every layer's change by sign flips over speakers, corrected over the layers.

    Args:
        differences: Contributions [R, G]; see `contributions`.
    """
    p, smallest = sign_flip_test(differences)
    return Changes(differences.sum(axis=1), p, holm(p), smallest)


def fold_tests(differences: np.ndarray, folds: Folds) -> np.ndarray:
    """Return p-values of the corrected resampled t-test over folds (Nadeau & Bengio 2003), [R].

    Args:
        differences: Score after less score before in each fold, the mean over seeds, [R, F].
        folds: The folds, whose sizes correct the variance.
    """
    check_lengths(differences=differences.T, folds=folds.names)
    n_train = float(np.mean([len(folds.train(fold)) for fold in range(len(folds.names))]))
    n_test = float(np.mean([len(folds.test(fold)) for fold in range(len(folds.names))]))
    return np.array([
        corrected_resampled_t(layer, n_train, n_test).p if np.isfinite(layer).all() else np.nan for layer in differences
    ])  # fmt: skip
