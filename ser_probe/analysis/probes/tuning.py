"""Shared by the convex families: their checks, features standardised in float64, and the inner folds.

A regularisation strength is chosen inside the training part of a fold: its speakers are divided into inner folds, each
is predicted from the others, and the strength whose predictions are best over all training clips is taken. Test and
validation clips do not influence it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ser_probe.analysis.inputs import check_features, check_lengths
from ser_probe.analysis.probes.families import TRAIN, Folds
from ser_probe.errors import AnalysisError
from ser_probe.runtime import logger


def check_probe_inputs(x: np.ndarray, columns: dict[str, np.ndarray], folds: Folds) -> np.ndarray:
    """Return the features [R, N, D], after checking them and that all columns and folds are of the same clips.

    Args:
        x: Features, [R, N, D].
        columns: What there is one of per clip, by name; the first axis counts the clips.
        folds: How the clips are divided.

    Raises:
        AnalysisError: If features are not finite, lengths differ, or a fold has fewer than two training clips.
    """
    x = check_features(x, "The features", ndim=3)
    check_lengths(features=x[0], folds=folds.parts.T, **columns)
    for fold, name in enumerate(folds.names):
        if (n := len(folds.train(fold))) < 2:
            raise AnalysisError(
                "A fold has too few clips to train a probe",
                where=f"fold {name}",
                expected="at least 2 training clips",
                found=n,
                fix="use fewer folds, or more clips",
            )
    return x


def check_class_labels(labels: np.ndarray, n_classes: int, folds: Folds) -> np.ndarray:
    """Return the labels [S, N] as int64, after checking those of the training clips.

    Raises:
        AnalysisError: If they are not whole numbers in 0..C-1, or a fold trains on a single class.
    """
    labels = np.asarray(labels)
    trains = (folds.parts == TRAIN).any(axis=0)
    if labels.ndim != 2 or not len(labels) or not np.issubdtype(labels.dtype, np.integer):
        raise AnalysisError(
            "The labels are not a table of class numbers",
            expected="an integer array [rows of labels, clips]",
            found=f"shape {labels.shape}, {labels.dtype}",
        )
    if ((labels[:, trains] < 0) | (labels[:, trains] >= n_classes)).any():
        raise AnalysisError(
            "Some labels are not class numbers",
            expected=f"0 to {n_classes - 1} for training clips",
            found=f"{labels[:, trains].min()} to {labels[:, trains].max()}",
        )
    for fold, name in enumerate(folds.names):
        known_labels = labels[:, folds.train(fold)]
        if len(same := np.flatnonzero((known_labels == known_labels[:, :1]).all(axis=1))):
            raise AnalysisError(
                "A fold trains on clips of a single class",
                where=f"fold {name}, row {same[0]} of the labels",
                expected="at least 2 classes",
                found=f"class {known_labels[same[0], 0]} only",
                fix="use fewer folds, or folds that keep every class in training",
            )
    return labels.astype(np.int64)


def check_strengths(strengths: Sequence[float], what: str = "strengths") -> np.ndarray:
    """Return the strengths to choose among, float64, in ascending order and each once.

    Raises:
        AnalysisError: If there are none, or one of them is not a positive number.
    """
    values = np.unique(np.asarray(strengths, np.float64))
    if not len(values) or not np.isfinite(values).all() or values[0] <= 0:
        raise AnalysisError(
            f"The {what} to choose among cannot be used",
            expected="one or more positive numbers",
            found=list(strengths),
        )
    return values


def inner_folds(groups: np.ndarray, n_inner: int) -> np.ndarray:
    """Divide training clips by speaker, so that the inner folds have about equally many clips.

    The same division as scikit-learn's `GroupKFold(min(n_inner, speakers))`. The clips of a single speaker are
    divided one by one in turn, and a warning says so: what is then chosen is right for new clips of that speaker.

    Args:
        groups: Each training clip's speaker, [n].
        n_inner: How many inner folds to make where there are that many speakers.

    Returns:
        Each clip's inner fold, int [n], counted from 0.

    Raises:
        AnalysisError: If `n_inner` is below 2.
    """
    if n_inner < 2:
        raise AnalysisError("A strength is chosen on inner folds", expected="n_inner of 2 or more", found=n_inner)
    names = np.asarray(groups)
    names = names.astype(str) if names.dtype == object else names
    codes, n_clips = np.unique(names, return_inverse=True, return_counts=True)[1:]
    if len(n_clips) == 1:
        logger.warning(
            "All %d training clips are of one speaker: the regularisation is chosen across its clips", len(codes)
        )
        return np.arange(len(codes)) % min(n_inner, len(codes))
    fold_of_speaker = np.empty(len(n_clips), int)
    filled = np.zeros(min(n_inner, len(n_clips)), int)
    for speaker in np.argsort(n_clips, kind="stable")[::-1]:
        fold_of_speaker[speaker] = lightest = int(np.argmin(filled))
        filled[lightest] += n_clips[speaker]
    return fold_of_speaker[codes]


def scaling(x: np.ndarray, training: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the factor that standardise features on the training clips; constant features get factor 0.

    Args:
        x: Features, [N, D].
        training: Positions of the training clips.

    Returns:
        Mean and 1 / standard deviation, float64 [D] each.
    """
    known = x[training].astype(np.float64)
    mean, deviation = known.mean(axis=0), known.std(axis=0)
    # Below float32's resolution of the mean a deviation is rounding; dividing by it would make features of noise.
    constant = deviation <= np.finfo(np.float32).eps * np.abs(mean)
    return mean, np.where(constant, 0.0, 1 / np.where(constant, 1.0, deviation))
