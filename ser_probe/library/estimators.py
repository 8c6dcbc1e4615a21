"""Probes as scikit-learn estimators, for pipelines, searches and cross-validation of one's own.

They are the families of `analysis.probes` with a linear readout: what is fitted here is what an analysis fits. The
others (`mlp`, `knn`) have scikit-learn's own counterparts. Give `fit` the speakers as `groups`, so that the strength,
or the moment to stop, is chosen on speakers that do not train.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from ser_probe.analysis.probes.families import TRAIN, VALIDATION, ClassProbes, Folds
from ser_probe.analysis.probes.logistic import DEFAULT_STRENGTHS as LOGISTIC_STRENGTHS
from ser_probe.analysis.probes.logistic import fit_logistic
from ser_probe.analysis.probes.ridge import DEFAULT_STRENGTHS as RIDGE_STRENGTHS
from ser_probe.analysis.probes.ridge import fit_ridge
from ser_probe.analysis.probes.softmax import fit_softmax
from ser_probe.analysis.probes.training import ProbeOptions
from ser_probe.runtime import derive_seed


class _ClassProbe(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """What the probes of classes share; `_train` returns the trained probe."""

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Train the probe.

        Args:
            X: Features [n_samples, n_features].
            y: Classes [n_samples].
            groups: Each sample's speaker [n_samples]; None: each sample is one of its own.
        """
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"A classifier needs samples of 2 classes or more; there is one class, {self.classes_[0]}")
        probes = self._train(X, codes.astype(np.int64), _check_groups(groups, len(X)))
        assert probes.weights is not None
        weights = probes.weights[0, 0, 0].astype(np.float64)
        self.coef_, self.intercept_ = weights[:-1].T, weights[-1]
        self.n_iter_ = int(probes.n_epochs[0, 0, 0])
        self.strength_ = float(probes.strength[0, 0, 0])
        return self

    def _train(self, X: np.ndarray, codes: np.ndarray, groups: np.ndarray) -> ClassProbes:
        raise NotImplementedError

    def _logits(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False) @ self.coef_.T + self.intercept_

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the logits [n_samples, n_classes]; of two classes the second's less the first's, [n_samples]."""
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, [n_samples, n_classes]."""
        logits = self._logits(X)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each sample."""
        best = self._logits(X).argmax(axis=1)
        return self.classes_[best]


class LinearProbe(_ClassProbe):
    """Study E's probe: one softmax layer on standardised features, trained with Adam until validation stops it.

    Args:
        learning_rate: Adam's.
        batch_size: Samples of a mini-batch.
        max_epochs: Epochs after which training ends at the latest.
        patience: Epochs without a better validation loss after which it ends.
        min_delta: By how much the loss, in nats, must fall to count as better.
        validation_fraction: Share of the groups whose samples do not train but stop training.
        random_state: Seed of the initial weights, the batches and the choice of those groups.
    """

    def __init__(
        self, *, learning_rate: float = 1e-2, batch_size: int = 16, max_epochs: int = 1000, patience: int = 5,
        min_delta: float = 0.025, validation_fraction: float = 0.2, random_state: int = 0,
    ) -> None:  # fmt: skip
        self.learning_rate, self.batch_size, self.max_epochs = learning_rate, batch_size, max_epochs
        self.patience, self.min_delta = patience, min_delta
        self.validation_fraction, self.random_state = validation_fraction, random_state

    def _train(self, X: np.ndarray, codes: np.ndarray, groups: np.ndarray) -> ClassProbes:
        seed = int(self.random_state or 0)
        options = ProbeOptions(self.learning_rate, self.batch_size, self.max_epochs, self.min_delta, self.patience)
        parts = _hold_out(codes, groups, self.validation_fraction, seed)
        n_classes = len(self.classes_)
        return fit_softmax(X[None], codes[None], Folds(("fit",), parts), n_classes=n_classes, seeds=[seed],
                           options=options)  # fmt: skip


class LogisticProbe(_ClassProbe):
    """Softmax regression to its optimum on standardised features, with the L2 strength chosen on inner folds.

    Args:
        strengths: L2 penalties to choose among, 1 / C of scikit-learn's `LogisticRegression`.
        n_inner: Inner folds of the groups.
        tolerance: How far above its minimum the objective may be, as a share of it.
        max_iterations: Bound on the iterations of a fit.
    """

    def __init__(
        self, *, strengths: Sequence[float] = LOGISTIC_STRENGTHS, n_inner: int = 5, tolerance: float = 1e-8,
        max_iterations: int = 1000,
    ) -> None:  # fmt: skip
        self.strengths, self.n_inner, self.tolerance, self.max_iterations = (
            strengths,
            n_inner,
            tolerance,
            max_iterations,
        )

    def _train(self, X: np.ndarray, codes: np.ndarray, groups: np.ndarray) -> ClassProbes:
        return fit_logistic(
            X[None], codes[None], _all_train(len(X)), groups=groups, n_classes=len(self.classes_),
            strengths=self.strengths, n_inner=self.n_inner, tolerance=self.tolerance,
            max_iterations=self.max_iterations,
        )  # fmt: skip


class RidgeProbe(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Ridge regression on standardised features, with the strength of each target chosen on inner folds.

    Args:
        strengths: Penalties to choose among.
        n_inner: Inner folds of the groups.
    """

    def __init__(self, *, strengths: Sequence[float] = RIDGE_STRENGTHS, n_inner: int = 5) -> None:
        self.strengths, self.n_inner = strengths, n_inner

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Train the probe.

        Args:
            X: Features [n_samples, n_features].
            y: Numbers [n_samples] or [n_samples, n_targets].
            groups: Each sample's speaker [n_samples]; None: each sample is one of its own.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True, ensure_min_samples=2)
        targets = np.asarray(y, np.float64).reshape(len(X), -1)
        groups = _check_groups(groups, len(X))
        probes = fit_ridge(X[None], targets, _all_train(len(X)), groups=groups, strengths=self.strengths,
                           n_inner=self.n_inner)  # fmt: skip
        assert probes.weights is not None
        weights = probes.weights[0, 0].astype(np.float64)
        single = y.ndim == 1
        self.coef_ = weights[:-1, 0] if single else weights[:-1].T
        self.intercept_ = weights[-1, 0] if single else weights[-1]
        self.strength_ = probes.strength[0, 0, 0] if single else probes.strength[0, 0]
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the predicted numbers, shaped as those of `fit`."""
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False) @ self.coef_.T + self.intercept_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _check_groups(groups: Any, n_samples: int) -> np.ndarray:
    if groups is None:
        return np.arange(n_samples)
    check_consistent_length(groups, np.empty(n_samples))
    return np.asarray(groups)


def _all_train(n_samples: int) -> Folds:
    return Folds(("fit",), np.full((1, n_samples), TRAIN, np.int8))


def _hold_out(codes: np.ndarray, groups: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Return which samples train and which stop training, [1, N]: whole groups, while each class keeps one that trains.

    Raises:
        ValueError: If the fraction is not between 0 and 1, or no group can be spared.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"The 'validation_fraction' must be between 0 and 1. Got {fraction!r} instead.")
    names, members = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), codes.max() + 1), int)
    np.add.at(counts, (members, codes), 1)
    left, held = counts.sum(axis=0), np.zeros(len(names), bool)
    for group in np.random.default_rng(derive_seed("validation groups", seed)).permutation(len(names)):
        if held.sum() >= max(1, round(fraction * len(names))):
            break
        if (left - counts[group] > 0).all():
            held[group], left = True, left - counts[group]
    if not held.any():
        raise ValueError(f"No group can stop training, since classes would lose all samples; n_samples = {len(codes)}")
    return np.where(held[members], VALIDATION, TRAIN).astype(np.int8)[None]
