"""Whether a probe still works where it was not trained: at another checkpoint, or on another corpus.

A probe is a set of directions in one layer's coordinates. Applied to the same layer at another checkpoint it fails for
three reasons that must be told apart, so each pair of checkpoints is scored in up to three ways (column `alignment`):

- `none`: the weights as they are. Fails if the layer shifted, was rescaled, was rotated, or lost the label.
- `scaled`: each feature of the tested checkpoint is first given the mean and deviation it had at the trained one.
  What recovers was shift and scale.
- `rotated`: the tested checkpoint is first laid over the trained one by the orthogonal map, scale and shift that fit
  best (Procrustes; Schönemann 1966). What recovers was a rotation: the label is as readable as before, in other
  coordinates. What no map recovers is lost or was rebuilt. Tried between the first and the last checkpoint.

So a layer that is only rotated fails `none` although nothing is lost: failing transfer is no evidence of forgetting.
Every map is fitted on the probe's training clips; with fewer of them than dimensions Procrustes fits them too well,
and what it recovers on test clips is a lower bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import scipy.linalg
from threadpoolctl import threadpool_limits

from ser_probe.analysis.inputs import RepresentationKey, check_features, check_lengths, key_columns
from ser_probe.analysis.metrics import MEASURES, confusion_matrices, confusion_scores
from ser_probe.analysis.probes.description_length import Fit
from ser_probe.analysis.probes.families import TEST, TRAIN, UNUSED, VALIDATION, ClassProbes, Folds
from ser_probe.analysis.resampling import bootstrap_counts, bootstrap_interval, group_codes
from ser_probe.errors import AnalysisError

ALIGNMENTS = ("none", "scaled", "rotated")
# The interval takes only a standard deviation from the resamples, which so many give to 5 %.
_RESAMPLES = 200


def checkpoint_transfer(
    x: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    folds: Folds,
    probes: ClassProbes,
    *,
    names: Sequence[RepresentationKey],
    alignments: Sequence[str] = ALIGNMENTS,
) -> pd.DataFrame:
    """Score every checkpoint's probe on every checkpoint's test clips, for one layer.

    Args:
        x: The layer at T checkpoints, [T, N, D].
        labels: Labels [N].
        groups: Speakers [N].
        folds: How the clips are divided.
        probes: A linear family trained on `x` with these folds: R = T.
        names: T names, whose steps name the checkpoints.
        alignments: What is tried; `rotated` needs a decomposition of [D, D] (a second for 1024 features) and is made
            between the first and the last checkpoint only.

    Returns:
        A row per pair, alignment and measure (the mean over probe seeds, with the interval over speakers of the pooled
        test clips): key columns of the tested checkpoint, `trained_on`, `tested_on` (checkpoint names),
        `trained_step`, `tested_step`, `alignment`, and `own_value`, what the tested checkpoint's own probe reaches.
        Values do not change under `x[t] -> c x[t] + b` with `scaled` (for c > 0, the same in each feature or not),
        nor under an orthogonal map of one checkpoint with `rotated`.

    Raises:
        AnalysisError: If features are NaN, lengths differ, or the family has no weights.
    """
    x = check_features(x, "The probes' features", ndim=3)
    check_lengths(features=x[0], labels=labels, speakers=groups, folds=folds.parts[0])
    if probes.weights is None:
        raise AnalysisError("Only a linear probe can be applied to another checkpoint", fix="use the family linear")
    classes, codes = group_codes(labels)
    tests = [folds.test(fold) for fold in range(len(folds.names))]
    pooled = np.concatenate(tests)
    pairs = list(_pairs(len(x), alignments))
    given: list[list[np.ndarray]] = []
    for fold, test in enumerate(tests):
        aligned = _Aligner(x, folds.train(fold), test)
        given.append([
            (aligned.features(trained, tested, alignment) @ probes.weights[trained, fold][:, :-1].astype(np.float64)
             + probes.weights[trained, fold][:, -1:]).argmax(axis=-1)
            for trained, tested, alignment in pairs
        ])  # fmt: skip
    answers = np.stack([np.concatenate(by_fold, axis=-1) for by_fold in zip(*given, strict=True)])
    scores = _score(codes[pooled], answers, np.asarray(groups)[pooled], len(classes))
    untransferred = {pair[1]: score for pair, score in zip(pairs, scores, strict=True) if pair[0] == pair[1]}
    return pd.DataFrame([
        {
            **key_columns(names[tested]), "trained_on": names[trained].checkpoint,
            "tested_on": names[tested].checkpoint, "trained_step": names[trained].step,
            "tested_step": names[tested].step, "alignment": alignment, "measure": measure,
            **score[measure], "own_value": untransferred[tested][measure]["value"],
        }
        for (trained, tested, alignment), score in zip(pairs, scores, strict=True)
        for measure in MEASURES
    ])  # fmt: skip


def corpus_transfer(
    x: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    corpora: np.ndarray,
    folds: Folds,
    *,
    fit: Fit,
    names: Sequence[str | RepresentationKey],
) -> pd.DataFrame:
    """Score probes trained on one corpus on the test clips of each.

    Args:
        x: Features of R representations, [R, N, D].
        labels: Labels [N]; clips whose label is not in the training part of every corpus are left out.
        groups: Speakers [N].
        corpora: Each clip's corpus (or test set, or language) [N].
        folds: How the clips are divided; each corpus needs clips in every part that the folds use.
        fit: The family; it is called once for all corpora.
        names: R names.

    Returns:
        A row per representation, pair of corpora and measure: `trained_on`, `tested_on`, `value` with the interval
        over speakers, `own_value` (the tested corpus's own probe), `n`, `n_speakers`, `n_dropped` clips of labels that
        are not shared. Standardisation is the training corpus's: a difference of level between corpora counts.

    Raises:
        AnalysisError: If there is one corpus only, fewer than two labels are shared, or a corpus lacks a part.
    """
    x = check_features(x, "The probes' features", ndim=3)
    check_lengths(features=x[0], labels=labels, speakers=groups, corpora=corpora, folds=folds.parts[0])
    names_of_corpora, corpus = group_codes(corpora)
    kept = _shared_labels(np.asarray(labels).astype(str), corpus, folds)
    classes, codes = group_codes(np.asarray(labels)[kept])
    groups, corpus = np.asarray(groups)[kept], corpus[kept]
    divided, trained_on = _corpus_folds(folds.parts[:, kept], corpus, names_of_corpora)
    logits = fit(x[:, kept], codes, divided, groups=groups, n_classes=len(classes)).logits
    by_pair = {}
    for trained, name in enumerate(names_of_corpora):
        of_corpus = np.flatnonzero(trained_on == trained)
        for tested, tested_name in enumerate(names_of_corpora):
            tests = [np.flatnonzero((divided.parts[f] == TEST) & (corpus == tested)) for f in of_corpus]
            pooled = np.concatenate(tests)
            answers = np.concatenate(
                [logits[:, f][:, :, test].argmax(axis=-1) for f, test in zip(of_corpus, tests, strict=True)], axis=-1
            )
            for index, scores in enumerate(_score(codes[pooled], answers, groups[pooled], len(classes))):
                by_pair[index, name, tested_name] = scores
    return pd.DataFrame([
        {
            **key_columns(names[index]), "trained_on": str(name), "tested_on": str(tested_name), "alignment": "none",
            "measure": measure, **scores[measure],
            "own_value": by_pair[index, tested_name, tested_name][measure]["value"],
            "n_dropped": int((~kept).sum()),
        }
        for (index, name, tested_name), scores in by_pair.items()
        for measure in MEASURES
    ])  # fmt: skip


def best_rotation(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the orthogonal matrix that lays one centred representation over another, and the trace it attains.

    Args:
        source: [n, D], centred.
        target: [n, D], centred, the same clips.

    Returns:
        Q [D, D] and t: `t / (source ** 2).sum() * source @ Q` is closest to target, least squares. The way back is
        Q transposed with t over target's own sum of squares.
    """
    # More cores gain little on one decomposition, lose much where they are busy, and change its last bits.
    with threadpool_limits(limits=1):
        left, singular, right = scipy.linalg.svd(source.T @ target, full_matrices=False)
    return left @ right, float(singular.sum())


def _pairs(n: int, alignments: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    # Scores without transfer come first: every other row refers to them.
    yield from ((t, t, "none") for t in range(n))
    for alignment in alignments:
        for trained in range(n):
            for tested in range(n):
                if trained != tested and (alignment != "rotated" or {trained, tested} == {0, n - 1}):
                    yield trained, tested, alignment


class _Aligner:
    """Test clips of every checkpoint as a probe of another checkpoint is given them, in one fold."""

    def __init__(self, x: np.ndarray, train: np.ndarray, test: np.ndarray) -> None:
        known = x[:, train].astype(np.float64)
        self.mean, self.deviation = known.mean(axis=1), known.std(axis=1)
        self.centred = known - self.mean[:, None]
        # Weights in raw units may be large and cancel: float64.
        self.test = x[:, test].astype(np.float64)
        self.rotation: tuple[np.ndarray, float] | None = None

    def features(self, trained: int, tested: int, alignment: str) -> np.ndarray:
        """Return the tested checkpoint's clips [n, D], laid over the trained one's as `alignment` says."""
        if alignment == "none":
            return self.test[tested]
        centred = self.test[tested] - self.mean[tested]
        if alignment == "scaled":
            deviation = self.deviation[tested]
            scale = np.divide(self.deviation[trained], deviation, out=np.zeros_like(deviation), where=deviation > 0)
            return centred * scale + self.mean[trained]
        matrix, trace = self._first_to_last()
        size = float((self.centred[tested] ** 2).sum())
        matrix = matrix if tested == 0 else matrix.T
        return centred @ matrix * (trace / size if size > 0 else 1.0) + self.mean[trained]

    def _first_to_last(self) -> tuple[np.ndarray, float]:
        """Return the rotation of the first checkpoint onto the last; its transpose is the way back."""
        if self.rotation is None:
            # Float32 halves the time of the decomposition; what it rounds moves no answer that was not a tie.
            first, last = (self.centred[t].astype(np.float32) for t in (0, -1))
            self.rotation = best_rotation(first, last)
        return self.rotation


def _score(
    labels: np.ndarray, answers: np.ndarray, groups: np.ndarray, n_classes: int
) -> list[dict[str, dict[str, float]]]:
    """Return of each of P rows of answers by measure the mean over seeds and its interval; answers [P, S, n]."""
    speakers, codes = group_codes(groups)
    by_speaker = np.stack([
        confusion_matrices(labels[codes == g], answers[..., codes == g], n_classes) for g in range(len(speakers))
    ])  # fmt: skip
    counts = bootstrap_counts(len(speakers), n_resamples=_RESAMPLES)
    values, resampled = confusion_scores(by_speaker.sum(axis=0)), confusion_scores(np.tensordot(counts, by_speaker, 1))
    facts = {"n": len(labels), "n_speakers": len(speakers), "n_seeds": answers.shape[1]}
    scores: list[dict[str, dict[str, float]]] = [{} for _ in answers]
    for measure in MEASURES:
        means = values[measure].mean(axis=-1)
        low, high = bootstrap_interval(means, resampled[measure].mean(axis=-1), len(speakers), bounds=(0.0, 1.0))
        for row, by_measure in enumerate(scores):
            by_measure[measure] = {
                "value": float(means[row]), "ci_low": float(low[row]), "ci_high": float(high[row]), **facts
            }  # fmt: skip
    return scores


def _shared_labels(labels: np.ndarray, corpus: np.ndarray, folds: Folds) -> np.ndarray:
    training = (folds.parts == TRAIN).any(axis=0)
    of_corpora = [set(labels[training & (corpus == c)]) for c in np.unique(corpus)]
    shared = set.intersection(*of_corpora)
    if len(of_corpora) < 2 or len(shared) < 2:
        raise AnalysisError(
            "Probes cannot be carried from corpus to corpus",
            expected="2 or more corpora whose training parts share 2 or more labels",
            found=f"{len(of_corpora)} corpora, shared labels: {', '.join(sorted(shared)) or 'none'}",
            fix="map the labels of the corpora to common ones",
        )
    return np.isin(labels, sorted(shared))


def _corpus_folds(parts: np.ndarray, corpus: np.ndarray, names: np.ndarray) -> tuple[Folds, np.ndarray]:
    """Return each fold once per corpus, its training and validation clips of that corpus only; and which [F]."""
    made, labels, which = [], [], []
    for code, name in enumerate(names):
        for fold, part in enumerate(parts):
            needed = set(part.tolist()) - {UNUSED}
            if needed - set(part[corpus == code].tolist()):
                raise AnalysisError(
                    "A corpus has no clips in a part of the probes' split",
                    where=f"corpus {name}, fold {fold}",
                    expected="clips to train, stop and test in every corpus",
                    fix="split speakers by corpus",
                )
            elsewhere = (corpus != code) & np.isin(part, (TRAIN, VALIDATION))
            made.append(np.where(elsewhere, UNUSED, part))
            labels.append(f"{name}-{fold}")
            which.append(code)
    return Folds(labels, np.stack(made).astype(np.int8)), np.array(which)
