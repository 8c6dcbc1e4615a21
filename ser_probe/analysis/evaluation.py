"""What the predictions of a classifier are worth: scores with intervals, by class and by group, over several runs.

Arrays of one run on one set of clips go in, rows of tidy tables come out; the caller adds the columns that say which
run and which clips. Intervals are over speakers (see `resampling`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import scipy.special

from ser_probe.analysis.calibration import (
    N_BINS,
    SCHEMES,
    bin_confidences,
    brier_scores,
    calibration_error,
    check_probabilities,
    log_losses,
    sum_bins,
    top_label,
)
from ser_probe.analysis.inputs import check_lengths
from ser_probe.analysis.metrics import (
    AGREEMENT_MEASURES,
    CLASS_MEASURES,
    agreement_scores,
    class_scores,
    confusion_matrices,
    confusion_scores,
    sum_agreement,
)
from ser_probe.analysis.resampling import MIN_SPEAKERS, bootstrap_counts, bootstrap_interval, group_codes

CLASS_SCORES = (
    *("accuracy", "uar", "macro_f1", "weighted_f1"),
    *("ece", "ece_equal_mass", "brier", "nll", "confidence"),
)
"""Measures of `score_classes`; `confidence` is the mean one, to be held against the accuracy."""
DISTRIBUTION_SCORES = ("kl_divergence", "js_divergence")
OVERALL = ("overall", "all")
"""The column `group_by` and the column `group` of the rows that are about all clips."""

_ECE_NAMES = dict(zip(SCHEMES, ("ece", "ece_equal_mass"), strict=True))
_BOUNDS = {
    "brier": (0.0, 2.0), "nll": (0.0, np.inf), "kl_divergence": (0.0, np.inf), "rmse": (0.0, np.inf),
    "mae": (0.0, np.inf), "ccc": (-1.0, 1.0), "pearson": (-1.0, 1.0),
}  # fmt: skip

Interval = tuple[np.ndarray, np.ndarray, np.ndarray]
"""A value with the ends of its interval."""


class SpeakerBootstrap:
    """Bootstrap resamples of the speakers of a set of clips, the same for all measures.

    Args:
        speakers: Each clip's speaker, [N]; None if unknown: then there are no intervals.
        n_clips: N.
        n_resamples: Resamples B.
        seed: Seed of the draw.
    """

    def __init__(self, speakers: np.ndarray | None, n_clips: int, *, n_resamples: int = 1000, seed: int = 0) -> None:
        names, codes = group_codes(np.zeros(n_clips, int) if speakers is None else speakers)
        check_lengths(clips=range(n_clips), speakers=codes)
        self.codes, self.n_groups = codes, len(names)
        self.n_speakers = 0 if speakers is None else len(names)
        enough = self.n_groups >= MIN_SPEAKERS
        self._counts = bootstrap_counts(self.n_groups, n_resamples=n_resamples, seed=seed) if enough else None

    def intervals(
        self, sums: np.ndarray, score: Callable[[np.ndarray], Mapping[str, np.ndarray]]
    ) -> dict[str, Interval]:
        """Return scores with their 95 % intervals; NaN ends with fewer than 3 speakers.

        Args:
            sums: What the scores are computed from, of each speaker, [G, ...]; of several speakers it is the sum.
            score: Sums [..., ...] -> scores by name.
        """
        values = score(sums.sum(axis=0))
        resampled = values if self._counts is None else score(np.tensordot(self._counts, sums, axes=1))
        intervals = {}
        for name, value in values.items():
            bounds = _BOUNDS.get(name, (0.0, 1.0))
            intervals[name] = (value, *bootstrap_interval(value, resampled[name], self.n_groups, bounds=bounds))
        return intervals


def score_classes(
    labels: np.ndarray, probabilities: np.ndarray, n_classes: int, people: SpeakerBootstrap, *, n_bins: int = N_BINS
) -> pd.DataFrame:
    """Score the predictions of classes.

    Args:
        labels: True classes, int in [0, C), [N].
        probabilities: Predicted probabilities, [N, C]; the prediction is the highest one.
        n_classes: C.
        people: The clips' speakers.
        n_bins: Bins of the calibration error.

    Returns:
        A row per measure of `CLASS_SCORES`: `measure`, `value`, `ci_low`, `ci_high`, `n`, `n_speakers`.

    Raises:
        AnalysisError: If values are not probabilities, or lengths differ.
    """
    p = check_probabilities(probabilities, n_classes)
    confidence, right = top_label(p, labels)
    scores = people.intervals(_confusion_by_speaker(labels, p.argmax(axis=1), n_classes, people), confusion_scores)
    for scheme, name in _ECE_NAMES.items():
        borders = bin_confidences(confidence, n_bins, scheme)
        sums = sum_bins(confidence, right, borders, people.codes, people.n_groups)
        scores |= people.intervals(sums, lambda sums, name=name: {name: calibration_error(sums)})  # type: ignore[misc]
    means = {"brier": brier_scores(p, labels), "nll": log_losses(p, labels), "confidence": confidence}
    return _rows({**scores, **_mean_intervals(means, people)}, CLASS_SCORES, len(labels), people)


def score_each_class(
    labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str], people: SpeakerBootstrap
) -> pd.DataFrame:
    """Return precision, recall, F1 and support of each class.

    Args:
        labels: True classes, int in [0, C), [N].
        predicted: Predicted classes, int in [0, C), [N].
        classes: Names, C.
        people: The clips' speakers.

    Returns:
        A row per class and measure; `n` is how often the class occurs. The support has no interval.
    """
    sums = _confusion_by_speaker(labels, predicted, len(classes), people)
    scores = people.intervals(sums, class_scores)
    support = scores["support"][0]
    scores["support"] = (support, np.full(len(classes), np.nan), np.full(len(classes), np.nan))
    tables = [
        _rows({name: (v[c], low[c], high[c]) for name, (v, low, high) in scores.items()}, CLASS_MEASURES,
              int(support[c]), people).assign(**{"class": name})
        for c, name in enumerate(classes)
    ]  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def score_numbers(
    true: np.ndarray, predicted: np.ndarray, names: Sequence[str], speakers: np.ndarray | None, *,
    n_resamples: int = 1000, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Score numeric predictions.

    Args:
        true: True values in the targets' units, [N, K]; a clip whose value is NaN is left out of that target.
        predicted: Predicted values, [N, K].
        names: Names of the targets, K.
        speakers: Each clip's speaker, [N], or None.
        n_resamples: Resamples.
        seed: Seed of the draw.

    Returns:
        A row per target that any clip has a value of, and per measure of `AGREEMENT_MEASURES`.
    """
    check_lengths(true=true, predicted=predicted)
    tables = []
    for k, name in enumerate(names):
        known = ~np.isnan(true[:, k])
        if not known.any():
            continue
        chosen = None if speakers is None else speakers[known]
        people = SpeakerBootstrap(chosen, int(known.sum()), n_resamples=n_resamples, seed=seed)
        sums = sum_agreement(true[known, k], predicted[known, k], people.codes, people.n_groups)
        scores = people.intervals(sums, agreement_scores)
        tables.append(_rows(scores, AGREEMENT_MEASURES, int(known.sum()), people).assign(target=name))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["target", "measure", "value"])


def score_distributions(true: np.ndarray, predicted: np.ndarray, people: SpeakerBootstrap) -> pd.DataFrame:
    """Score predicted distributions over classes against true ones, as of votes.

    Args:
        true: True shares, [N, C].
        predicted: Predicted probabilities, [N, C].
        people: The clips' speakers.

    Returns:
        A row per measure, means over clips: `kl_divergence` of the true from the predicted distribution in nats
        (0 and more), `js_divergence` of Jensen and Shannon in bits (0 to 1; Lin 1991).

    Raises:
        AnalysisError: If either is not a distribution, or lengths differ.
    """
    check_lengths(true=true, predicted=predicted)
    p, q = (check_probabilities(shares, np.shape(true)[1]) for shares in (true, predicted))
    middle = (p + q) / 2
    q_positive = np.maximum(q, np.finfo(np.float64).tiny)  # as in `log_losses`
    divergences = {
        "kl_divergence": scipy.special.rel_entr(p, q_positive).sum(axis=1),
        "js_divergence": (scipy.special.rel_entr(p, middle) + scipy.special.rel_entr(q, middle)).sum(axis=1)
        / (2 * np.log(2)),
    }
    return _rows(_mean_intervals(divergences, people), DISTRIBUTION_SCORES, len(p), people)


def confusion_table(labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """Return a confusion matrix as a table.

    Returns:
        A row per pair of classes in their order: `true`, `predicted`, `count`, and `share`, the count over those of
        the true class (NaN for one that never occurs).
    """
    counts = confusion_matrices(np.asarray(labels), np.asarray(predicted), len(classes))
    with np.errstate(invalid="ignore"):
        shares = counts / counts.sum(axis=1, keepdims=True)
    return pd.DataFrame({
        "true": np.repeat(list(classes), len(classes)), "predicted": list(classes) * len(classes),
        "count": counts.ravel(), "share": shares.ravel(),
    })  # fmt: skip


def split_groups(columns: Mapping[str, np.ndarray], n_clips: int) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield `OVERALL` and each value of each column, sorted, with which clips have it, bool [N]; empty text is none."""
    yield (*OVERALL, np.ones(n_clips, bool))
    for name, column in columns.items():
        values = np.asarray(column).astype(str)
        for value in sorted({*values} - {""}):
            yield name, value, values == value


def summarise_runs(table: pd.DataFrame) -> pd.DataFrame:
    """Return mean, standard deviation (of a sample), minimum and maximum over runs.

    Args:
        table: Scores with a row per run; values that are not defined count in none of them.

    Returns:
        A row for each combination of the columns that are not about a run: `mean`, `std` (NaN for one run), `min`,
        `max`, `n_runs`.
    """
    keys = [name for name in ("corpus", "model", "group_by", "group", "target", "class", "measure") if name in table]
    values = table.groupby(keys, sort=False, dropna=False)["value"]
    return values.agg(["mean", "std", "min", "max", "count"]).rename(columns={"count": "n_runs"}).reset_index()


def average_confusion(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over runs of counts and of shares, with the shares' standard deviation.

    Args:
        table: Rows of `confusion_table` of several runs on the same clips, with the columns that tell sets of clips
            apart.
    """
    keys = [name for name in ("corpus", "model", "group_by", "group", "true", "predicted") if name in table]
    grouped = table.groupby(keys, sort=False, dropna=False)
    made = grouped.agg(
        count=("count", "mean"), share=("share", "mean"), share_std=("share", "std"), n_runs=("count", "size")
    )
    return made.reset_index()


def _confusion_by_speaker(
    labels: np.ndarray, predicted: np.ndarray, n_classes: int, people: SpeakerBootstrap
) -> np.ndarray:
    """Return the confusion matrix of each speaker, [G, C, C]."""
    check_lengths(true=labels, predicted=predicted, speakers=people.codes)
    cells = (people.codes * n_classes + labels) * n_classes + predicted
    counts = np.bincount(cells, minlength=people.n_groups * n_classes**2)
    return counts.reshape(people.n_groups, n_classes, n_classes)


def _mean_intervals(values: Mapping[str, np.ndarray], people: SpeakerBootstrap) -> dict[str, Interval]:
    """Return the means over clips of values [N] with their intervals."""
    columns = [np.ones(len(people.codes)), *values.values()]
    sums = np.stack([np.bincount(people.codes, column, people.n_groups) for column in columns], axis=-1)
    return people.intervals(
        sums, lambda sums: {name: sums[..., k] / sums[..., 0] for k, name in enumerate(values, start=1)}
    )


def _rows(
    scores: Mapping[str, Interval], measures: Sequence[str], n_clips: int, people: SpeakerBootstrap
) -> pd.DataFrame:
    rows = [
        {
            "measure": name, "value": float(scores[name][0]), "ci_low": float(scores[name][1]),
            "ci_high": float(scores[name][2]), "n": n_clips, "n_speakers": people.n_speakers,
        }
        for name in measures
    ]  # fmt: skip
    return pd.DataFrame(rows)
