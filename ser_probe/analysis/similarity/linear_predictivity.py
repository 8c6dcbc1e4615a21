"""How well one representation predicts another linearly: `linear_predictivity`, the cross-validated R2 of ridge a -> b.

R2 is over all features of b together, weighted by their variance: 1 - sum |y - y^|^2 / sum |y - mean|^2 over held-out
clips, the mean being that of the fitting clips. No speaker is in two folds; within the fitting clips the strength is
chosen by leaving out one speaker at a time (one clip where there are no speakers, or one only).

- Range (-inf, 1]; 1 where b follows from a linearly; 0 or a little below where a says nothing of b.
- Not symmetric: a wide layer predicts a narrow one better than the other way round.
- Unchanged by shift, rotation and isotropic scaling of either side. Other linear maps of b change its features'
  weights, of a what ridge shrinks.

The prediction is H Y for the fitting clips' Y, whatever b is. So with L the Gram matrix of b, the squared error is
<Q, L> for a matrix Q that depends on a alone: one decomposition of a serves all b (the form of the prediction: Hastie,
Tibshirani & Friedman 2009, section 3.4; leaving out groups by blocks of I - H: their equation 7.52 in blocks).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ser_probe.analysis.similarity.folds import held_out_folds
from ser_probe.analysis.similarity.options import Options, PairValues, pair_values
from ser_probe.analysis.similarity.sources import Prepared, Sides
from ser_probe.errors import AnalysisError

MOST_CLIPS = 8000
"""Matrices of all pairs of clips are decomposed: past this a fold takes minutes."""
_DOUBLE: np.dtype[np.floating] = np.dtype(np.float64)


@dataclass(frozen=True)
class _Fold:
    """A fold's clips, and the speakers that its fitting clips are left out by [M]."""

    fit: np.ndarray
    held_out: np.ndarray
    speakers: np.ndarray


def predictivity_measures(names: Sequence[str], sides: Sides, options: Options) -> dict[str, PairValues]:
    """Compute `linear_predictivity` of all pairs: `options.folds` decompositions for each of the first side."""
    first, second = sides.prepare(options.groups)
    if first.n > MOST_CLIPS:
        raise AnalysisError(
            "Linear predictivity is computed from all pairs of clips, and there are too many",
            expected=f"at most {MOST_CLIPS} clips",
            found=f"{first.n}",
            fix="choose fewer clips by analyze.splits, or another measure",
        )
    folds = _folds(first, options)
    asked = sorted({i for i, _ in sides.pairs(symmetric=False)})
    value = np.full((len(first), len(second)), np.nan)
    at_once = max(1, int(options.memory_bytes // (_DOUBLE.itemsize * first.n**2)))
    starts = range(0, len(second), at_once)
    progress = options.progress
    progress.start("linear predictivity", len(starts) * len(asked), "representations")
    for low in starts:
        places = range(low, min(low + at_once, len(second)))
        grams = np.stack([_gram(second.rows(place, _DOUBLE)) for place in places])
        for i in asked:
            gram = grams[i - low] if second is first and i in places else _gram(first.rows(i, _DOUBLE))
            value[i, places.start : places.stop] = _predict(gram, grams, folds, options.strengths)
            progress.advance()
    progress.finish()
    if sides.wanted is not None:
        value[~sides.wanted] = np.nan
    return {name: pair_values(value, baseline=0.0) for name in names}


def _gram(features: np.ndarray) -> np.ndarray:
    return features @ features.T


def _folds(first: Prepared, options: Options) -> list[_Fold]:
    # Clips are sorted by speaker in `Prepared`.
    fold_of = held_out_folds(options.groups, first.n, options.folds, options.seed)[first.order]
    if options.groups is None:
        speakers = np.arange(first.n)
    else:
        speakers = np.unique(np.asarray(options.groups).astype(str), return_inverse=True)[1][first.order]
    folds = []
    for fold in np.unique(fold_of):
        fit, held_out = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        fit_speakers = speakers[fit]
        folds.append(_Fold(fit, held_out, fit_speakers if len(np.unique(fit_speakers)) > 1 else np.arange(len(fit))))
    return folds


def _predict(gram: np.ndarray, grams: np.ndarray, folds: list[_Fold], strengths: Sequence[float]) -> np.ndarray:
    """Return the R2 of one representation, by its Gram matrix, for all others by theirs [S]."""
    errors, spread = np.zeros(len(grams)), np.zeros(len(grams))
    for fold in folds:
        fit, held_out = fold.fit, fold.held_out
        fit_grams = grams[:, fit[:, None], fit]
        inner, outer = [], []
        for within, across in hat_matrices(gram, fit, held_out, strengths):
            left_out = _leave_out(within, fold.speakers)
            inner.append(np.einsum("ij,sij->s", left_out.T @ left_out, fit_grams))
            outer.append(_squared_error(across, grams, fit, held_out))
        best = np.argmin(inner, axis=0)
        errors += np.array(outer)[best, np.arange(len(grams))]
        mean = np.full((len(held_out), len(fit)), 1 / len(fit))
        spread += _squared_error(mean, grams, fit, held_out)
    return 1 - errors / spread


def hat_matrices(
    gram: np.ndarray, fit: np.ndarray, held_out: np.ndarray, strengths: Sequence[float]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return, for each strength, what ridge makes of the fitting clips' targets: for themselves and for others.

    Args:
        gram: Inner products of the clips [N, N].
        fit: The fitting clips [M].
        held_out: The others [T].
        strengths: Shares of the mean eigenvalue of the centred Gram of the fitting clips.

    Returns:
        Pairs of [M, M] and [T, M]; the intercept, which is not penalised, is part of them.
    """
    fit_gram = gram[np.ix_(fit, fit)]
    means = fit_gram.mean(axis=0)
    centred = fit_gram - means[:, None] - means[None, :] + means.mean()
    cross_gram = gram[np.ix_(held_out, fit)]
    cross_gram = cross_gram - cross_gram.mean(axis=1, keepdims=True) - means[None, :] + means.mean()
    sizes, vectors = np.linalg.eigh(centred)
    sizes = np.maximum(sizes, 0)
    rotated = cross_gram @ vectors
    made = []
    for strength in strengths:
        shrunk = 1 / (sizes + strength * sizes.mean())
        within = (vectors * (sizes * shrunk)) @ vectors.T
        across = (rotated * shrunk) @ vectors.T
        # Weights add up to 1 with the intercept: predictions are differences from the mean, plus the mean.
        across -= across.mean(axis=1, keepdims=True)
        made.append((within + 1 / len(fit), across + 1 / len(fit)))
    return made


def _leave_out(hat: np.ndarray, speakers: np.ndarray) -> np.ndarray:
    """Return the matrix [M, M] that turns targets into the errors made on each speaker when fitted on the others."""
    errors = np.eye(len(hat)) - hat
    if len(np.unique(speakers)) == len(speakers):
        return errors / np.diag(errors)[:, None]
    for speaker in np.unique(speakers):
        clips = np.flatnonzero(speakers == speaker)
        errors[clips] = np.linalg.solve(errors[np.ix_(clips, clips)], errors[clips])
    return errors


def _squared_error(across: np.ndarray, grams: np.ndarray, fit: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Return sum |y - H y_fit|^2 over held-out clips from Gram matrices alone [S]."""
    norms = np.einsum("stt->s", grams[:, held_out[:, None], held_out])
    cross = np.einsum("tm,stm->s", across, grams[:, held_out[:, None], fit])
    predicted = np.einsum("ml,sml->s", across.T @ across, grams[:, fit[:, None], fit])
    return norms - 2 * cross + predicted
