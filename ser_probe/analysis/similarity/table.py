"""Which representations resemble which: tables of linear CKA between layers, checkpoints, models and feature sets.

The numbers come from `cka`; here they get names, and p values by permutation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ser_probe.analysis.inputs import RepresentationKey, check_features
from ser_probe.analysis.resampling import group_codes
from ser_probe.analysis.similarity.cka import cka_pairs

COLUMNS = [
    *(f"{column}_{side}" for side in "ab" for column in RepresentationKey._fields),
    "measure", "value", "ci_low", "ci_high", "p", "n", "n_speakers", "baseline",
]  # fmt: skip
_PERMUTED_AT_ONCE = 64


def similarity_table(
    named: Mapping[RepresentationKey, np.ndarray],
    others: Mapping[RepresentationKey, np.ndarray] | None = None,
    *,
    groups: np.ndarray | None = None,
    standardise_others: bool = False,
    n_permutations: int = 0,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare every representation with every other one by linear CKA.

    Args:
        named: Features [N, D] by where they come from; all of the same clips in the same order, widths may differ.
        others: What to compare them with (eGeMAPS, another model); by default themselves, both ways round and each
            with itself, so that the table pivots into a full matrix.
        groups: Each clip's speaker [N]. With three speakers or more there are intervals: jackknife over speakers.
        standardise_others: Give every feature of the others variance 1 first. CKA weighs features by their variance:
            where they have units of their own (eGeMAPS: Hz, dB, semitones, ratios), raw values would compare with
            the few features in the smallest unit, the formants in Hz, and with nothing else.
        n_permutations: How many permutations of the clips to draw for p values; 0 for none (`p` is NaN).
        seed: Seed of the permutations.

    Returns:
        A row per pair and measure:

        - `cka_debiased`, with `baseline` 0: what it is on average between unrelated representations;
        - `cka`, the biased one, with what it is on average between these two if their clips are permuted. Without
          that number beside it a biased CKA cannot be read.

        `p`, for `cka_debiased` only, is the permutation p value of "the two have nothing in common". Clips of one
        speaker are not exchangeable with those of another, so a small p may only say that both know the speaker.

    Raises:
        AnalysisError: If there are fewer than 4 clips, NaN, features that do not vary, or other clip counts.
    """
    if standardise_others:
        others = {key: standardised(x) for key, x in (named if others is None else others).items()}
    first, second = list(named.values()), list((named if others is None else others).values())
    keys, other_keys = list(named), list(named if others is None else others)
    pairs = cka_pairs(
        first,
        None if others is None else second,
        groups=groups,
        names=[_title(key) for key in keys],
        other_names=[_title(key) for key in other_keys],
    )
    unknown = np.full(pairs.baseline.shape, np.nan)
    p = permutation_p(first, second, n_permutations=n_permutations, seed=seed) if n_permutations else unknown
    tables = [
        _name_pairs(keys, other_keys).assign(
            measure=measure,
            value=estimates.value.ravel(),
            ci_low=estimates.ci_low.ravel(),
            ci_high=estimates.ci_high.ravel(),
            p=p_values.ravel(),
            n=len(first[0]),
            n_speakers=np.nan if groups is None else len(group_codes(groups)[0]),
            baseline=baseline.ravel(),
        )
        for measure, estimates, p_values, baseline in (
            ("cka_debiased", pairs.debiased, p, np.zeros_like(p)),
            ("cka", pairs.biased, unknown, pairs.baseline),
        )
    ]
    return pd.concat(tables, ignore_index=True)[COLUMNS]


def standardised(x: np.ndarray) -> np.ndarray:
    """Return features [N, D] with mean 0 and variance 1, float64; features that do not vary become 0."""
    wide = check_features(x, "The features to standardise").astype(np.float64)
    centred, deviation = wide - wide.mean(axis=0), wide.std(axis=0)
    constant = deviation <= np.finfo(np.float32).eps * np.abs(wide).max(axis=0)
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, deviation))


def permutation_p(
    representations: Sequence[np.ndarray],
    others: Sequence[np.ndarray],
    *,
    n_permutations: int = 999,
    seed: int = 0,
) -> np.ndarray:
    """Return one-sided permutation p values of debiased CKA for all pairs, of shape [R, S].

    Args:
        representations: R arrays [N, D].
        others: S arrays [N, D'], whose clips are permuted.
        n_permutations: The smallest p is 1 / (n_permutations + 1).
        seed: Seed of the permutations.
    """
    rng = np.random.default_rng(seed)
    observed = cka_pairs(representations, others).debiased.value
    orders = [rng.permutation(len(representations[0])) for _ in range(n_permutations)]
    as_large = np.ones(observed.shape)
    # Many permuted copies share one computation of the unpermuted Grams; all of them might not fit into memory.
    at_once = max(1, _PERMUTED_AT_ONCE // len(others))
    for start in range(0, n_permutations, at_once):
        permuted = [other[order] for order in orders[start : start + at_once] for other in others]
        values = cka_pairs(representations, permuted).debiased.value
        as_large += (values.reshape(len(observed), -1, len(others)) >= observed[:, None]).sum(axis=1)
    return as_large / (n_permutations + 1)


def _name_pairs(keys: Sequence[RepresentationKey], other_keys: Sequence[RepresentationKey]) -> pd.DataFrame:
    a = pd.DataFrame([keys[i] for i in range(len(keys)) for _ in other_keys], columns=RepresentationKey._fields)
    b = pd.DataFrame(list(other_keys) * len(keys), columns=RepresentationKey._fields)
    return a.add_suffix("_a").join(b.add_suffix("_b"))


def _title(key: RepresentationKey) -> str:
    return " ".join(part for part in (key.model, key.checkpoint, f"layer {key.layer}") if part)
