"""Acoustic functionals predicted from representations, for speakers that the fit has not heard, with the control."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ser_probe.analysis.acoustics.folds import fold_of_clip
from ser_probe.analysis.acoustics.scores import speaker_sums
from ser_probe.analysis.inputs import check_features, check_lengths
from ser_probe.analysis.probes.families import Folds
from ser_probe.analysis.probes.ridge import fit_ridge
from ser_probe.analysis.resampling import group_codes
from ser_probe.errors import AnalysisError
from ser_probe.runtime import derive_seed

STRENGTHS = tuple(float(strength) for strength in np.logspace(1, 6, 6))
"""Penalties on standardised features. With the largest one a fit predicts nearly the mean: it is chosen where there is
nothing to predict."""

PREDICTION_BYTES = 128 * 2**20
_FLOAT = 4


@dataclass(frozen=True)
class AcousticTargets:
    """What is predicted, how, and the control.

    Args:
        y: Standardised targets, float64 [N, K].
        shuffled: The same, the clips of each speaker shuffled, [N, K].
        speakers: Each clip's speaker, [N].
        folds: Which clips train and which are predicted.
        strengths: Penalties to choose among, by target and fold.
        n_inner: Inner folds of speakers that choose.
    """

    y: np.ndarray
    shuffled: np.ndarray
    speakers: np.ndarray
    folds: Folds
    strengths: Sequence[float] = STRENGTHS
    n_inner: int = 4


def prepare_acoustic_targets(
    y: np.ndarray,
    folds: Folds,
    *,
    speakers: np.ndarray,
    strengths: Sequence[float] = STRENGTHS,
    n_inner: int = 4,
    seed: int = 0,
) -> AcousticTargets:
    """Standardise targets [N, K], none of them constant, and make their control.

    The control shuffles the clips of each speaker, all targets together: what a speaker's clips have in common stays,
    what differs between them is lost.

    Raises:
        AnalysisError: If a target does not vary.
    """
    y = check_features(y, "The acoustic features").astype(np.float64)
    check_lengths(targets=y, speakers=speakers, folds=folds.parts.T)
    spread = y.std(axis=0)
    if (spread == 0).any():
        raise AnalysisError(
            "A functional that does not vary cannot be predicted",
            where=f"columns {', '.join(map(str, np.flatnonzero(spread == 0)[:5]))}",
            fix="leave it out",
        )
    y = (y - y.mean(axis=0)) / spread
    _, codes = group_codes(speakers)
    rng = np.random.default_rng(derive_seed("shuffled clips", seed))
    order = np.arange(len(y))
    for speaker in range(codes.max() + 1):
        clips = np.flatnonzero(codes == speaker)
        order[clips] = rng.permutation(clips)
    return AcousticTargets(y, y[order], np.asarray(speakers), folds, strengths, n_inner)


def score_layers(
    x: np.ndarray, targets: AcousticTargets, *, control: bool = True
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield of each representation the sums that its scores are computed from, and those of the control.

    Args:
        x: Raw features of representations of one width, [R, N, D].
        targets: What to predict.
        control: Whether to predict the control as well; it shares all decompositions and costs little.

    Yields:
        Sums [G, K, 9] and [G, K, 9] (or [0, K, 9] without control), in the order of the representations.
    """
    together = np.concatenate([targets.y, targets.shuffled], axis=1) if control else targets.y
    at_once = max(1, PREDICTION_BYTES // (_FLOAT * len(targets.folds.names) * together.size))
    for start in range(0, len(x), at_once):
        for predicted in predict_unheard(x[start : start + at_once], together, targets):
            yield _sums(predicted, targets, control)


def predict_unheard(x: np.ndarray, y: np.ndarray, targets: AcousticTargets) -> np.ndarray:
    """Predict y [N, K] from representations [R, N, D], each clip by the fit that leaves its speaker out, [R, N, K]."""
    probes = fit_ridge(
        x,
        y,
        targets.folds,
        groups=targets.speakers,
        strengths=targets.strengths,
        n_inner=targets.n_inner,
        keep_weights=False,
    )
    return probes.predictions[:, fold_of_clip(targets.folds), np.arange(x.shape[1])]


def training_means(y: np.ndarray, folds: Folds) -> np.ndarray:
    """Return of each clip the mean over the training clips of the fold that predicts it, [N, K]."""
    means = np.stack([y[folds.train(fold)].mean(axis=0) for fold in range(len(folds.names))])
    return means[fold_of_clip(folds)]


def group_means(y: np.ndarray, classes: np.ndarray, folds: Folds) -> np.ndarray:
    """Predict each clip by its class's mean over the training clips, [N, K]; unheard classes get the overall mean.

    With the gender as class this is what the sex of a voice alone tells. The speaker cannot be used so: in no fold has
    a clip's speaker been heard.
    """
    predicted, fold_of = training_means(y, folds), fold_of_clip(folds)
    _, codes = group_codes(classes)
    for fold in range(len(folds.names)):
        training = folds.train(fold)
        for code in np.unique(codes[training]):
            predicted_here = (fold_of == fold) & (codes == code)
            predicted[predicted_here] = y[training[codes[training] == code]].mean(axis=0)
    return predicted


def _sums(predicted: np.ndarray, targets: AcousticTargets, control: bool) -> tuple[np.ndarray, np.ndarray]:
    n_targets = targets.y.shape[1]
    real = speaker_sums(targets.y, predicted[:, :n_targets], training_means(targets.y, targets.folds), targets.speakers)
    if not control:
        return real, real[:0]
    reference = training_means(targets.shuffled, targets.folds)
    return real, speaker_sums(targets.shuffled, predicted[:, n_targets:], reference, targets.speakers)
