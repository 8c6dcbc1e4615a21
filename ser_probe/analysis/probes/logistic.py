"""L2-regularised softmax regression to convergence, with the strength chosen inside the training part.

A strength is 1 / C of scikit-learn's `LogisticRegression(C)` on standardised features: with n training clips, weights
W and free intercepts, the sum of the n cross-entropies (nats) plus strength / 2 |W|^2 is minimised (for two classes
scikit-learn has one weight vector instead of two, and so do these probes in effect). It is also on ridge's scale.

The strength taken is the one with the least cross-entropy over the training clips, each predicted by the fit on the
inner folds it is not in. Inner folds keep the features' scale of the whole training part, as in `ridge`.

All strengths, inner folds and rows of labels of a representation's fold are solved at once in float32, which is enough
to choose among them; the chosen fits are then polished in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ser_probe.analysis.probes.families import ClassProbes, Folds
from ser_probe.analysis.probes.logistic_solver import Problems, Solutions, logits, solve
from ser_probe.analysis.probes.rotation import rotate
from ser_probe.analysis.probes.tuning import (
    check_class_labels,
    check_probe_inputs,
    check_strengths,
    inner_folds,
    scaling,
)
from ser_probe.analysis.threads import run_side_by_side
from ser_probe.runtime import SILENT, Progress, logger

DEFAULT_STRENGTHS = (1.0, 10.0, 100.0, 1e3, 1e4)
ABSENT_BIAS = -20.0  # bias of a class without training clips, whose best one would be minus infinity
_ROUGH_TOLERANCE = 1e-4  # of the fits that are only compared; neighbouring strengths differ by far more
_CHUNK_BYTES = 32 * 2**20  # of the state of the problems solved at a time


@dataclass(frozen=True)
class LogisticFit:
    """What one representation's fold gives for S rows of labels, in float64.

    Args:
        weights: [S, D + 1, C] in raw units, the bias in the last row.
        logits: [S, N, C], of all clips.
        strength: [S].
        n_iterations: int [S], of the chosen fits.
        n_unfinished: How many fits, of those compared and those chosen, ran into the bound on iterations.
    """

    weights: np.ndarray
    logits: np.ndarray
    strength: np.ndarray
    n_iterations: np.ndarray
    n_unfinished: tuple[int, int]


@dataclass(frozen=True)
class LogisticOptions:
    """How fits are made.

    Args:
        strengths: Ascending float64 [K].
        n_classes: C.
        tolerance: How far above its minimum a chosen fit's objective may be, as a share of it.
        max_iterations: Bound on a fit's iterations.
    """

    strengths: np.ndarray
    n_classes: int
    tolerance: float
    max_iterations: int


def fit_logistic(
    x: np.ndarray,
    labels: np.ndarray,
    folds: Folds,
    *,
    groups: np.ndarray,
    n_classes: int,
    strengths: Sequence[float] = DEFAULT_STRENGTHS,
    n_inner: int = 5,
    tolerance: float = 1e-8,
    max_iterations: int = 1000,
    progress: Progress = SILENT,
) -> ClassProbes:
    """Train a softmax regression for each representation, fold and row of labels.

    Invariant to the scale and the shift of each feature. A class without training clips in a fold is never predicted
    where another one is near: its weights are 0 and its bias is `ABSENT_BIAS`.

    Args:
        x: Raw features, [R, N, D].
        labels: Classes in 0..C-1, int [S, N]; only those of training clips are looked at.
        folds: Which clips train in each of F folds; no other part is looked at.
        groups: Each clip's speaker, [N]: inner folds share none.
        n_classes: C.
        strengths: L2 penalties to choose among, above 0 (see the module). Of equals the largest is taken.
        n_inner: Inner folds; fewer where there are fewer training speakers.
        tolerance: How far above its minimum a chosen fit's objective may be, as a share of it.
        max_iterations: Bound on a fit's iterations; a warning counts the fits that reach it.
        progress: Told of each representation and fold.

    Raises:
        AnalysisError: If the features, labels or strengths cannot be used, or a fold trains on a single class.
    """
    x = check_probe_inputs(x, {"labels": np.asarray(labels).T, "groups": np.asarray(groups)}, folds)
    labels, groups = check_class_labels(labels, n_classes, folds), np.asarray(groups)
    options = LogisticOptions(check_strengths(strengths), n_classes, tolerance, max_iterations)
    n_folds, (n_representations, n_clips, width), n_rows = len(folds.names), x.shape, len(labels)
    shape = (n_representations, n_folds, n_rows)
    weights = np.empty((*shape, width + 1, n_classes), np.float32)
    probes = ClassProbes(
        np.empty((*shape, n_clips, n_classes), np.float32), weights, np.empty(shape, int), np.empty(shape)
    )
    training = [folds.train(fold) for fold in range(n_folds)]
    inner = [inner_folds(groups[clips], n_inner) if len(options.strengths) > 1 else None for clips in training]
    n_unfinished = np.zeros(2, int)
    progress.start("logistic probes", n_representations * n_folds, "fits")
    tasks = [(r, fold) for r in range(n_representations) for fold in range(n_folds)]
    for (r, fold), fit in run_side_by_side(
        lambda task: fit_labels(x[task[0]], labels, training[task[1]], inner[task[1]], options), tasks
    ):
        weights[r, fold], probes.logits[r, fold] = fit.weights, fit.logits
        probes.strength[r, fold], probes.n_epochs[r, fold] = fit.strength, fit.n_iterations
        n_unfinished += fit.n_unfinished
        progress.advance()
    progress.finish()
    _warn(n_unfinished, probes.strength.size, max_iterations)
    return probes


def fit_labels(
    x: np.ndarray, labels: np.ndarray, training: np.ndarray, inner: np.ndarray | None, options: LogisticOptions
) -> LogisticFit:
    """Fit S rows of labels [S, N] to one representation [N, D], each with the best of the strengths.

    Args:
        x: Raw features.
        labels: Classes.
        training: Positions of the n training clips.
        inner: Each training clip's inner fold, int [n]; None where there is one strength.
        options: How to fit.
    """
    mean, scale = scaling(x, training)
    z = (x - mean) * scale
    rotation = rotate(z[training])
    known_labels = labels[:, training]
    best, rough, n_unfinished = _compare(rotation.scores.astype(np.float32), known_labels, inner, options)
    strength = options.strengths[best]
    problems = Problems(known_labels, np.ones(known_labels.shape, bool), strength, options.n_classes)
    final = solve(
        rotation.scores, problems, tolerance=options.tolerance, max_iterations=options.max_iterations,
        start=rough.weights,
    )  # fmt: skip
    along = np.stack([rotation.restore(weights.T[:-1]) for weights in final.weights])
    bias = np.where(final.present, final.weights[..., -1], ABSENT_BIAS)[:, None]
    raw = along * scale[:, None]
    return LogisticFit(
        weights=np.concatenate([raw, bias - (mean @ raw)[:, None]], axis=1),
        logits=z @ along + bias,
        strength=strength,
        n_iterations=rough.n_iterations + final.n_iterations,
        n_unfinished=(n_unfinished, int((~final.converged).sum())),
    )


def _compare(
    scores: np.ndarray, labels: np.ndarray, inner: np.ndarray | None, options: LogisticOptions
) -> tuple[np.ndarray, Solutions, int]:
    """Solve all strengths, inner folds and rows of labels roughly.

    Returns:
        The best strength of each row of labels, as a position, [S]; the fit of that strength on all training clips;
        and how many fits reached the bound on iterations.
    """
    n_inner = 0 if inner is None else inner.max() + 1
    # The last of the "inner folds" leaves no clip out: where the chosen fit starts.
    kept = np.stack([inner != fold for fold in range(n_inner)] + [np.ones(labels.shape[1], bool)])
    shape = (len(labels), len(kept), len(options.strengths))
    row, fold, strength = (index.ravel() for index in np.indices(shape))
    n_at_once = _problems_at_once(scores, options.n_classes)
    solved, losses = [], []
    for start in range(0, len(row), n_at_once):
        part = slice(start, start + n_at_once)
        problems = Problems(labels[row[part]], kept[fold[part]], options.strengths[strength[part]], options.n_classes)
        solved.append(solve(scores, problems, tolerance=_ROUGH_TOLERANCE, max_iterations=options.max_iterations))
        losses.append(_held_out_loss(scores, problems, solved[-1]))
    loss = np.concatenate(losses).reshape(shape).sum(axis=1)
    best = shape[2] - 1 - np.argmin(loss[:, ::-1], axis=1)
    everything = Solutions(
        weights=np.concatenate([solutions.weights for solutions in solved]),
        n_iterations=np.concatenate([solutions.n_iterations for solutions in solved]),
        converged=np.concatenate([solutions.converged for solutions in solved]),
        present=np.concatenate([solutions.present for solutions in solved]),
    )
    chosen = np.ravel_multi_index((np.arange(len(labels)), np.full(len(labels), n_inner), best), shape)
    n_unfinished = int((~everything.converged & (everything.n_iterations == options.max_iterations)).sum())
    return best, everything.keep(chosen), n_unfinished


def _held_out_loss(scores: np.ndarray, problems: Problems, solutions: Solutions) -> np.ndarray:
    """Return the sum of the cross-entropies [P] of the clips that did not train a problem.

    Clips of a class that the problem has never seen are left out: no strength could do better than another there.
    """
    said = logits(scores, solutions).astype(np.float64)
    true_logit = np.take_along_axis(said, problems.labels[:, None], axis=1)[:, 0]
    largest = said.max(axis=1)
    loss = np.log(np.exp(said - largest[:, None]).sum(axis=1)) + largest - true_logit
    seen = np.take_along_axis(solutions.present, problems.labels, axis=1)
    return np.where(seen & ~problems.training, loss, 0).sum(axis=1)


def _problems_at_once(scores: np.ndarray, n_classes: int) -> int:
    n, width = scores.shape
    per_problem = scores.itemsize * n_classes * (18 * (width + 1) + 6 * n)
    return int(max(1, _CHUNK_BYTES // per_problem))


def _warn(n_unfinished: np.ndarray, n_probes: int, max_iterations: int) -> None:
    if n_unfinished.any():
        logger.warning(
            "logistic regression: %d of %d fits, and %d of those compared to choose their strengths, did not converge "
            "in %d iterations; classes that can be separated need a stronger penalty, or max_iterations a larger bound",
            n_unfinished[1], n_probes, n_unfinished[0], max_iterations,
        )  # fmt: skip
