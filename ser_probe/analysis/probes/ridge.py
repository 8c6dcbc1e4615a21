"""Ridge regression of many numeric targets: one decomposition a fold serves all strengths, targets and inner folds.

A strength is scikit-learn's `alpha`: with features Z standardised on the n training clips, weights w and a free
intercept b, a target y is fitted by minimising |y - Z w - b|^2 + strength |w|^2.

Each target's strength is the one with the least squared error over the training clips, each predicted from the inner
folds it is not in. Those predictions come from the decomposition of the whole training part: leaving the clips g out
turns their residuals e_g into (I - H_gg)^-1 e_g, where H is the matrix that maps targets to fitted values. That is
exact, with an intercept of its own for each inner fold. Only the features' scale stays that of the whole training
part: a held-out inner speaker influences the unit of a feature, but its labels, and the clips of other parts of the
fold, influence nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ser_probe.analysis.probes.families import Folds, NumberProbes
from ser_probe.analysis.probes.tuning import check_probe_inputs, check_strengths, inner_folds, scaling
from ser_probe.analysis.threads import run_side_by_side
from ser_probe.errors import AnalysisError
from ser_probe.runtime import SILENT, Progress

DEFAULT_STRENGTHS = tuple(float(strength) for strength in np.logspace(0, 6, 10))


@dataclass(frozen=True)
class RidgeFit:
    """What one representation's fold gives for K targets, in float64.

    Args:
        weights: [D + 1, K] in raw units, the bias in the last row.
        predictions: [N, K], of all clips.
        strength: [K].
    """

    weights: np.ndarray
    predictions: np.ndarray
    strength: np.ndarray


@dataclass(frozen=True)
class Division:
    """Targets of a fold that are known for the same training clips.

    Args:
        which: Positions of the K targets.
        training: Positions of the n training clips.
        targets: float64 [n, K].
        inner: Each training clip's inner fold, int [n]; None where there is no choice to make.
    """

    which: np.ndarray
    training: np.ndarray
    targets: np.ndarray
    inner: np.ndarray | None


def fit_ridge(
    x: np.ndarray,
    targets: np.ndarray,
    folds: Folds,
    *,
    groups: np.ndarray,
    strengths: Sequence[float] = DEFAULT_STRENGTHS,
    n_inner: int = 5,
    keep_weights: bool = True,
    progress: Progress = SILENT,
) -> NumberProbes:
    """Predict K targets from each representation in each fold, with the strength chosen for each target.

    Invariant to the scale and the shift of each feature, and equivariant to those of each target. A target that does
    not vary in training is predicted by its mean.

    Args:
        x: Raw features, [R, N, D].
        targets: [N, K], in any units. Clips where a target is NaN do not train that target; they are predicted.
        folds: Which clips train in each of F folds; no other part is looked at.
        groups: Each clip's speaker, [N]: inner folds share none.
        strengths: L2 penalties to choose among, above 0 (see the module). Of equals the largest is taken.
        n_inner: Inner folds; fewer where there are fewer training speakers.
        keep_weights: Whether to return the weights, which for many targets are larger than all else.
        progress: Told of each representation and fold.

    Returns:
        Predictions of all clips, weights and strengths.

    Raises:
        AnalysisError: If features or targets cannot be used, or a target has fewer than two training clips in a fold.
    """
    x = check_probe_inputs(x, {"targets": np.asarray(targets), "groups": np.asarray(groups)}, folds)
    targets = _check_targets(targets, folds)
    candidates = check_strengths(strengths)
    n_folds, (n_representations, n_clips, width), n_targets = len(folds.names), x.shape, targets.shape[1]
    probes = NumberProbes(
        predictions=np.empty((n_representations, n_folds, n_clips, n_targets), np.float32),
        weights=np.empty((n_representations, n_folds, width + 1, n_targets), np.float32) if keep_weights else None,
        strength=np.empty((n_representations, n_folds, n_targets)),
    )
    inner = n_inner if len(candidates) > 1 else None
    divisions = [list(_divide(targets, folds.train(fold), np.asarray(groups), inner)) for fold in range(n_folds)]
    progress.start("ridge probes", n_representations * n_folds, "fits")
    tasks = [(r, fold) for r in range(n_representations) for fold in range(n_folds)]
    answers = run_side_by_side(
        lambda task: [fit_targets(x[task[0]], division, candidates) for division in divisions[task[1]]], tasks
    )
    for (r, fold), fits in answers:
        for division, fit in zip(divisions[fold], fits, strict=True):
            probes.predictions[r, fold][:, division.which] = fit.predictions
            probes.strength[r, fold, division.which] = fit.strength
            if probes.weights is not None:
                probes.weights[r, fold][:, division.which] = fit.weights
        progress.advance()
    progress.finish()
    return probes


def fit_targets(x: np.ndarray, division: Division, strengths: np.ndarray) -> RidgeFit:
    """Fit the targets of a division to one representation [N, D], each with the best of the ascending strengths."""
    mean, scale = scaling(x, division.training)
    z = (x - mean) * scale
    centre = division.targets.mean(axis=0)
    y = division.targets - centre
    solver = decompose(z[division.training], y)
    best = np.zeros(y.shape[1], int)
    if division.inner is not None:
        errors = np.stack([held_out_error(solver, y, division.inner, strength) for strength in strengths])
        best = len(strengths) - 1 - np.argmin(errors[::-1], axis=0)
    chosen = strengths[best]
    weights = solver.weights(chosen)
    raw = weights * scale[:, None]
    return RidgeFit(np.vstack([raw, centre - mean @ raw]), z @ weights + centre, chosen)


@dataclass(frozen=True)
class Dual:
    """The solution by the eigenvectors U [n, n] of Z Z' = U diag(squares) U', for no more clips than features.

    Args:
        z: Standardised training features, [n, D].
        basis: U.
        squares: [n].
        rotated: U' y, [n, K].
    """

    z: np.ndarray
    basis: np.ndarray
    squares: np.ndarray
    rotated: np.ndarray

    def weights(self, strength: np.ndarray) -> np.ndarray:
        """Return the weights [D, K] on standardised features, for a strength per target."""
        return self.z.T @ (self.basis @ (self.rotated / (self.squares[:, None] + strength)))

    def residuals(self, y: np.ndarray, strength: float) -> np.ndarray:
        """Return y - Z w, [n, K]."""
        return self.basis @ (self.rotated * (strength / (self.squares + strength))[:, None])

    def leverage(self, clips: np.ndarray, strength: float) -> np.ndarray:
        """Return I - H for some clips; the constant is one of the vectors that Z Z' takes to 0."""
        rows = self.basis[clips] * np.sqrt(strength / (self.squares + strength))
        return rows @ rows.T - 1 / len(self.basis)


@dataclass(frozen=True)
class Primal:
    """The solution by the eigenvectors V [D, D] of Z' Z = V diag(squares) V', for more clips than features.

    Args:
        scores: Z V, [n, D].
        axes: V.
        squares: [D].
        rotated: V' Z' y, [D, K].
    """

    scores: np.ndarray
    axes: np.ndarray
    squares: np.ndarray
    rotated: np.ndarray

    def weights(self, strength: np.ndarray) -> np.ndarray:
        """Return the weights [D, K] on standardised features, for a strength per target."""
        return self.axes @ (self.rotated / (self.squares[:, None] + strength))

    def residuals(self, y: np.ndarray, strength: float) -> np.ndarray:
        """Return y - Z w, [n, K]."""
        return y - self.scores @ (self.rotated / (self.squares + strength)[:, None])

    def leverage(self, clips: np.ndarray, strength: float) -> np.ndarray:
        """Return I - H for some clips."""
        rows = self.scores[clips] / np.sqrt(self.squares + strength)
        return np.eye(len(clips)) - rows @ rows.T - 1 / len(self.scores)

    def predict_held_out(self, y: np.ndarray, clips: np.ndarray, strength: float) -> np.ndarray:
        """Return what a fit without some clips predicts of them, [len(clips), K]: as `leverage` does, for many clips.

        The cross-product of the clips that stay is the whole one less that of those left out, centred anew.
        """
        scores, n_kept = self.scores[clips], len(y) - len(clips)
        # Scores and targets are centred over all clips, so what stays sums to the opposite of what leaves.
        mean, y_mean = -scores.sum(axis=0) / n_kept, -y[clips].sum(axis=0) / n_kept
        cross = np.diag(self.squares + strength) - scores.T @ scores - n_kept * np.outer(mean, mean)
        right = self.rotated - scores.T @ y[clips] - n_kept * np.outer(mean, y_mean)
        return (scores - mean) @ np.linalg.solve(cross, right) + y_mean


def held_out_error(solver: Dual | Primal, y: np.ndarray, inner: np.ndarray, strength: float) -> np.ndarray:
    """Return each target's squared error [K] over all training clips, each predicted without its inner fold."""
    residuals = solver.residuals(y, strength)
    error = np.zeros(y.shape[1])
    for fold in range(inner.max() + 1):
        clips = np.flatnonzero(inner == fold)
        if isinstance(solver, Primal) and len(clips) > len(solver.axes):
            held_out = y[clips] - solver.predict_held_out(y, clips, strength)
        else:
            held_out = np.linalg.solve(solver.leverage(clips, strength), residuals[clips])
        error += np.square(held_out).sum(axis=0)
    return error


def decompose(z: np.ndarray, y: np.ndarray) -> Dual | Primal:
    """Decompose standardised features [n, D] on the smaller side, for centred targets [n, K]."""
    if len(z) <= z.shape[1]:
        squares, basis = np.linalg.eigh(z @ z.T)
        return Dual(z, basis, np.maximum(squares, 0), basis.T @ y)
    squares, axes = np.linalg.eigh(z.T @ z)
    scores = z @ axes
    return Primal(scores, axes, np.maximum(squares, 0), scores.T @ y)


def _divide(targets: np.ndarray, training: np.ndarray, groups: np.ndarray, n_inner: int | None) -> Iterator[Division]:
    """Yield the targets of a fold by the training clips for which they are known."""
    known, pattern = np.unique(~np.isnan(targets[training]), axis=1, return_inverse=True)
    for number, clips in enumerate(known.T):
        trains, which = training[clips], np.flatnonzero(pattern.ravel() == number)
        inner = None if n_inner is None else inner_folds(groups[trains], n_inner)
        yield Division(which, trains, targets[np.ix_(trains, which)], inner)


def _check_targets(targets: np.ndarray, folds: Folds) -> np.ndarray:
    """Return the targets as float64, after checking that each can be fitted in each fold."""
    targets = np.asarray(targets)
    if targets.ndim != 2 or not targets.shape[1] or not np.issubdtype(targets.dtype, np.number):
        raise AnalysisError(
            "The targets are not a table of numbers",
            expected="an array [clips, targets]",
            found=f"shape {targets.shape}, {targets.dtype}",
        )
    targets = targets.astype(np.float64)
    if len(columns := np.flatnonzero(np.isinf(targets).any(axis=0))):
        raise AnalysisError("Targets are infinite", where=f"target {columns[0]}", fix="leave these clips out, as NaN")
    for fold, name in enumerate(folds.names):
        n_known = (~np.isnan(targets[folds.train(fold)])).sum(axis=0)
        if len(short := np.flatnonzero(n_known < 2)):
            raise AnalysisError(
                "A target is known for too few training clips",
                where=f"target {short[0]}, fold {name}",
                expected="at least 2 training clips",
                found=n_known[short[0]],
                fix="leave this target out, or use fewer folds",
            )
    return targets
