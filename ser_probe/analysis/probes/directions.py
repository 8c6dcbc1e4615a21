"""Whether probes of two checkpoints use the same directions of a layer.

A linear probe has a direction per class: the weights of its class minus the mean over classes, since adding the same
vector to all classes changes no answer. Directions are compared in standardised units (each weight times its feature's
deviation on the training clips): in raw units a feature of tiny variance gets a huge weight and would dominate the
cosine without changing any answer.

The cosine between checkpoints must be read between two bounds, both given beside it:

- `ceiling`: two probes of the same checkpoint that differ by their seed only (initial weights, batch order) do not
  reach 1. All cosines here are between probes of different seeds, so that a shared start cannot make them alike;
  `disattenuated` divides by the geometric mean of the two ceilings (Spearman 1904) and estimates what probes without
  that noise would show.
- `null`: 95 % of cosines between a probe and one of shuffled labels lie within it, measured on probes that were
  trained on them. Random directions of D dimensions have 1.96 / sqrt(D) (`null_isotropic`), which is too narrow: any
  two probes look where the data vary, in fewer dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ser_probe.analysis.inputs import RepresentationKey, check_features
from ser_probe.analysis.probes.families import ClassProbes, Folds
from ser_probe.errors import AnalysisError

_NORMAL_95 = 1.959964  # 97.5 % quantile of the standard normal


def direction_cosines(
    x: np.ndarray,
    folds: Folds,
    probes: ClassProbes,
    *,
    classes: Sequence[str],
    names: Sequence[RepresentationKey],
    shuffled: ClassProbes | None = None,
) -> pd.DataFrame:
    """Return the cosines between the class directions of all pairs of checkpoints, for one layer.

    Args:
        x: The layer at T checkpoints, [T, N, D].
        folds: How the clips are divided.
        probes: A linear family trained on `x` with these folds: R = T.
        classes: C class names.
        names: T names, whose steps name the checkpoints.
        shuffled: The same family trained on shuffled labels, each seed on its own; without it there is no null.

    Returns:
        A row per pair of checkpoints (a before or equal to b in the order of `names`) and class, `measure` cosine:
        `value` in [-1, 1], the mean over folds and over pairs of different seeds; `ceiling`, `disattenuated`, `null`,
        `null_isotropic`, `n_seeds`. With one seed there is no ceiling, and pairs share their start.

        Values do not change if a feature is rescaled or shifted at either checkpoint (with weights that give the same
        answers), nor if all classes' weights move by the same vector; a rotation of one checkpoint changes them.

    Raises:
        AnalysisError: If features are NaN, or the family has no weights.
    """
    x = check_features(x, "The probes' features", ndim=3)
    if probes.weights is None:
        raise AnalysisError("Only a linear probe has directions", fix="use the family linear")
    n_folds, n_seeds = probes.weights.shape[1:3]
    cosines, squares = np.zeros((len(x), len(x), len(classes))), np.full((len(x), len(x)), np.nan)
    for fold in range(n_folds):
        deviations = x[:, folds.train(fold)].astype(np.float64).std(axis=1)
        directions = class_directions(probes.weights[:, fold], deviations)
        cosines += seed_pair_cosines(directions) / n_folds
        if shuffled is not None and shuffled.weights is not None:
            chance = chance_squares(directions, class_directions(shuffled.weights[:, fold], deviations)) / n_folds
            squares = np.where(np.isnan(squares), chance, squares + chance)
    # Either checkpoint may be the one whose labels are shuffled.
    null = _NORMAL_95 * np.sqrt((squares + squares.T) / 2)
    ceilings = np.einsum("ttc->tc", cosines)
    rows = []
    for a in range(len(x)):
        for b in range(a, len(x)):
            usable = (ceilings[a] > 0) & (ceilings[b] > 0) & (n_seeds > 1)
            pair_ceilings = np.sqrt(np.where(usable, ceilings[a] * ceilings[b], np.nan))
            rows += [
                {
                    "model": names[a].model, "layer": names[a].layer, "checkpoint_a": names[a].checkpoint,
                    "step_a": names[a].step, "checkpoint_b": names[b].checkpoint, "step_b": names[b].step,
                    "class": str(name), "measure": "cosine", "value": float(cosines[a, b, c]),
                    "ceiling": float(pair_ceilings[c]), "disattenuated": float(cosines[a, b, c] / pair_ceilings[c]),
                    "null": float(min(1.0, null[a, b])) if null[a, b] == null[a, b] else np.nan,
                    "null_isotropic": float(min(1.0, _NORMAL_95 / np.sqrt(x.shape[2]))),
                    "n": len(folds.train(0)), "n_seeds": n_seeds,
                }
                for c, name in enumerate(classes)
            ]  # fmt: skip
    return pd.DataFrame(rows)


def class_directions(weights: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Return unit directions of the classes in standardised units.

    Args:
        weights: In raw units, the bias in the last row, [T, S, D + 1, C].
        deviations: Standard deviations of the features on the training clips, [T, D].

    Returns:
        float64 [T, S, C, D], each of length 1; all zeros for a probe that prefers no class.
    """
    standardised = weights[:, :, :-1].astype(np.float64) * deviations[:, None, :, None]
    centred = np.swapaxes(standardised - standardised.mean(axis=-1, keepdims=True), -1, -2)
    length = np.linalg.norm(centred, axis=-1, keepdims=True)
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)


def seed_pair_cosines(directions: np.ndarray) -> np.ndarray:
    """Return the mean cosine over pairs of different seeds, [T, T, C]; directions [T, S, C, D] of length 1.

    The mean over all pairs is the product of the mean directions; the pairs of equal seeds are taken out of it. With
    one seed there is no other pair, and theirs is returned.
    """
    n_seeds = directions.shape[1]
    total = directions.sum(axis=1)  # [T, C, D]
    all_pairs = np.einsum("acd,bcd->abc", total, total)
    same = np.einsum("ascd,bscd->abc", directions, directions)
    return same if n_seeds == 1 else (all_pairs - same) / (n_seeds * (n_seeds - 1))


def chance_squares(directions: np.ndarray, shuffled: np.ndarray) -> np.ndarray:
    """Return the mean square of cosines with probes of shuffled labels, [T, T]: row a trained on the true labels.

    As in `seed_pair_cosines`, the cosine is the mean over true probes of another seed; both arguments [T, S, C, D].
    """
    n_seeds = directions.shape[1]
    total = directions.sum(axis=1)
    squares = np.zeros((len(directions), len(directions)))
    for seed in range(n_seeds):
        others = total if n_seeds == 1 else (total - directions[:, seed]) / (n_seeds - 1)
        squares += (np.einsum("acd,bcd->abc", others, shuffled[:, seed]) ** 2).mean(axis=-1) / n_seeds
    return squares
