"""k nearest neighbours: how far distances between clips alone tell the classes apart, without any fit.

Neighbours are training clips; several of one speaker do no harm, since the scored clips are of other speakers. Must not
be used as a measure of how much a layer holds: it measures how much of its geometry is about the classes.

Logits are log((votes + tie + 1) / (k + C + TIE_SHARE)), Laplace's rule of succession with ties taken apart: `tie` is
at most `TIE_SHARE` of a vote, the larger the nearer a class's neighbours are (the sum of 1 / rank over them, as a
share of that sum over all k). So the predicted class has the most votes, and of equals the nearer neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ser_probe.analysis.probes.families import ClassProbes, Folds
from ser_probe.analysis.probes.tuning import (
    check_class_labels,
    check_probe_inputs,
    check_strengths,
    inner_folds,
    scaling,
)
from ser_probe.analysis.threads import run_side_by_side
from ser_probe.errors import AnalysisError, did_you_mean
from ser_probe.runtime import SILENT, Progress

DEFAULT_KS = (1, 5, 10, 20, 50)
METRICS = ("cosine", "euclidean")
TIE_SHARE = 0.1


def fit_knn(
    x: np.ndarray,
    labels: np.ndarray,
    folds: Folds,
    *,
    groups: np.ndarray,
    n_classes: int,
    ks: Sequence[int] = DEFAULT_KS,
    metric: str = "cosine",
    n_inner: int = 5,
    progress: Progress = SILENT,
) -> ClassProbes:
    """Classify each clip by its nearest training clips, with k chosen for each representation, fold and row of labels.

    The k taken is the one with the best unweighted average recall over the training clips, each classified by those
    of the other inner folds; of equals the largest. Not by log loss, which would rule out small k whatever they hit.
    Invariant to the scale and the shift of each feature, which are standardised on the training clips.

    Args:
        x: Raw features, [R, N, D].
        labels: Classes in 0..C-1, int [S, N]; only those of training clips are looked at.
        folds: Which clips train in each of F folds; no other part is looked at.
        groups: Each clip's speaker, [N]: inner folds share none.
        n_classes: C.
        ks: Numbers of neighbours to choose among; those above the number of clips of an inner fold's training part
            are left out.
        metric: `cosine` or `euclidean`, of standardised features.
        n_inner: Inner folds; fewer where there are fewer training speakers.
        progress: Told of each representation and fold.

    Returns:
        Log vote shares of all clips, a training clip being its own first neighbour, and k as the strength.

    Raises:
        AnalysisError: If the features, labels or ks cannot be used, the metric is unknown, a fold trains on a single
            class, or has fewer clips than every k.
    """
    x = check_probe_inputs(x, {"labels": np.asarray(labels).T, "groups": np.asarray(groups)}, folds)
    labels, groups = check_class_labels(labels, n_classes, folds), np.asarray(groups)
    if metric not in METRICS:
        raise AnalysisError("The metric is not known", found=metric, fix=did_you_mean(metric, METRICS))
    candidates = _check_ks(ks)
    training = [folds.train(fold) for fold in range(len(folds.names))]
    inner = [inner_folds(groups[clips], n_inner) if len(candidates) > 1 else None for clips in training]
    usable = [_usable(candidates, *of_fold) for of_fold in zip(folds.names, training, inner, strict=True)]
    shape = (len(x), len(training), len(labels))
    probes = ClassProbes(
        np.empty((*shape, x.shape[1], n_classes), np.float32), None, np.zeros(shape, int), np.empty(shape)
    )

    def classify(task: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        r, fold = task
        return _classify(x[r], labels, training[fold], inner[fold], usable[fold], n_classes, metric)

    progress.start("nearest neighbours", shape[0] * shape[1], "fits")
    for (r, fold), answer in run_side_by_side(classify, [(r, f) for r in range(shape[0]) for f in range(shape[1])]):
        probes.logits[r, fold], probes.strength[r, fold] = answer
        progress.advance()
    progress.finish()
    return probes


def _classify(
    x: np.ndarray,
    labels: np.ndarray,
    training: np.ndarray,
    inner: np.ndarray | None,
    ks: np.ndarray,
    n_classes: int,
    metric: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits [S, N, C] and k [S] of one representation's fold."""
    near = _nearness(x, training, metric)
    best = np.zeros(len(labels), int)
    if inner is not None and len(ks) > 1:
        held_out = np.where(inner[:, None] == inner, -np.inf, near[training])
        known_labels = labels[:, training]
        said = _votes(_nearest(held_out, ks[-1]), known_labels, ks, n_classes).argmax(axis=3)
        best = np.stack([_best_k(said[:, s], known_labels[s], n_classes) for s in range(len(labels))])
    votes = _votes(_nearest(near, ks[-1]), labels[:, training], ks, n_classes)
    k = ks[best]
    votes = votes[best, np.arange(len(labels))]
    return np.log((votes + 1) / (k[:, None, None] + n_classes + TIE_SHARE)), k


def _nearness(x: np.ndarray, training: np.ndarray, metric: str) -> np.ndarray:
    """Return how near each clip is to each training clip, [N, n]: larger is nearer, comparable within a row."""
    mean, scale = scaling(x, training)
    z = (x - mean) * scale
    if metric == "cosine":
        length = np.linalg.norm(z, axis=1, keepdims=True)
        # As scikit-learn has it, a clip without direction is equally far from all.
        z /= np.where(length > 0, length, 1)
        return z @ z[training].T
    return z @ z[training].T - np.square(z[training]).sum(axis=1) / 2


def _nearest(near: np.ndarray, k: int) -> np.ndarray:
    """Return the positions of the k nearest training clips [M, k], nearest first."""
    nearest = np.argpartition(-near, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(near, nearest, axis=1), axis=1, kind="stable")
    return np.take_along_axis(nearest, order, axis=1)


def _votes(nearest: np.ndarray, labels: np.ndarray, ks: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the votes for each class, and what parts ties, [len(ks), S, M, C].

    Args:
        nearest: Positions of neighbours [M, k], nearest first.
        labels: Classes of the training clips [S, n].
        ks: Ascending numbers of neighbours.
        n_classes: C.
    """
    closeness = 1 / np.arange(1, nearest.shape[1] + 1)
    votes = np.empty((len(ks), len(labels), len(nearest), n_classes))
    for s, row in enumerate(labels):
        for c in range(n_classes):
            is_class = row[nearest] == c
            counted, closer = np.cumsum(is_class, axis=1), np.cumsum(is_class * closeness, axis=1)
            share = closer[:, ks - 1] / np.cumsum(closeness)[ks - 1]
            votes[:, s, :, c] = (counted[:, ks - 1] + TIE_SHARE * share).T
    return votes


def _best_k(said: np.ndarray, truth: np.ndarray, n_classes: int) -> int:
    """Return the position of the k with the best recall averaged over classes; `said` is [len(ks), n]."""
    recalls = [(said[:, truth == c] == c).mean(axis=1) for c in range(n_classes) if (truth == c).any()]
    uar = np.mean(recalls, axis=0)
    return len(uar) - 1 - int(np.argmax(uar[::-1]))


def _check_ks(ks: Sequence[int]) -> np.ndarray:
    values = check_strengths(ks, "numbers of neighbours")
    if (values != np.floor(values)).any():
        raise AnalysisError("A number of neighbours is not whole", expected="1, 2, 3, ...", found=list(ks))
    return values.astype(int)


def _usable(ks: np.ndarray, name: str, training: np.ndarray, inner: np.ndarray | None) -> np.ndarray:
    """Return the ks for which every inner fold has enough clips to choose neighbours from."""
    n_clips = len(training) if inner is None else len(training) - np.bincount(inner).max()
    if not len(usable := ks[ks <= n_clips]):
        raise AnalysisError(
            "There are fewer training clips than neighbours to look at",
            where=f"fold {name}",
            expected=f"at least {ks[0]} clips",
            found=int(n_clips),
            fix="choose a smaller k",
        )
    return usable
