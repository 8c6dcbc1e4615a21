"""Is one model better than another on the same clips? Paired tests with the speaker as the unit.

Scores are functions of sums over clips. These sums are kept for each speaker, which makes the interval and the test of
a difference cheap:

- the interval resamples speakers, the same ones for both models (see `resampling`);
- the test swaps the two models' answers on whole speakers. If neither is better, a swapped result is as likely as the
  observed one; p is the share of swaps whose difference is at least as far from 0 as the one observed (Edgington &
  Onghena 2007; Good 2005). Of recall and accuracy, which are sums over speakers, that is the sign-flip test.

McNemar's test (1947), exact as a binomial of the clips that only one model has right, stands beside them because papers
report it. It assumes independent clips, which clips of one speaker are not: its p is too small where a model is good at
certain speakers.

The test is about these trained models on new speakers, not about what another training would have given: several runs
of a model are averaged and do not count as further observations.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.stats

from ser_probe.analysis.corrections import holm
from ser_probe.analysis.inputs import check_lengths
from ser_probe.analysis.metrics import agreement_scores, answer_scores, count_answers, sum_agreement
from ser_probe.analysis.resampling import bootstrap_counts, bootstrap_interval, group_codes, sign_patterns

CLASS_MEASURES = ("uar", "macro_f1", "accuracy")
NUMBER_MEASURES = ("ccc", "rmse")

_BOUNDS = {"ccc": (-2.0, 2.0), "rmse": (-np.inf, np.inf)}
_ADDITIVE = ("uar", "accuracy")
"""Linear in what is right, so that several runs may be averaged before as well as after."""
# Differences of the same counts, summed in another order, may differ by so much.
_ROUNDING = 1e-9

Score = Callable[[np.ndarray], Mapping[str, np.ndarray]]


@dataclass(frozen=True, eq=False)
class _Model:
    """What a model's scores are computed from.

    Attributes:
        sums: Of each run and speaker, [S, G, ...].
        right: Which clips it has right, bool [N]; None for several runs, and for numbers.
    """

    sums: np.ndarray
    right: np.ndarray | None = None


def compare_classifiers(
    labels: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    n_classes: int,
    speakers: np.ndarray | None,
    *,
    n_resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare every two of several classifiers on the same clips.

    Args:
        labels: True classes, int in [0, C), [N].
        predictions: By model, what each of its runs predicts, int in [0, C), [S, N].
        n_classes: C.
        speakers: Each clip's speaker, [N]; None if unknown: then only McNemar's test is made.
        n_resamples: Resamples of the speakers for the intervals.
        seed: Seed of the resamples and of drawn swaps.

    Returns:
        A row per pair and measure of `CLASS_MEASURES`: `model_a`, `model_b`, `measure`, `value` (the score of a less
        that of b) with a 95 % interval, `score_a`, `score_b`, `p` (two-sided, swaps of speakers), `p_holm` (over
        pairs), `smallest_p` that so many speakers can give, `n`, `n_speakers`, `n_runs_a`, `n_runs_b`; in rows of
        `accuracy` `only_a_right`, `only_b_right`, `p_mcnemar` and `p_mcnemar_holm`. NaN where not defined: `p` of
        macro F1 of models with different numbers of runs, McNemar's of several runs.

    Raises:
        AnalysisError: If lengths differ.
    """
    n_groups, codes = _groups(speakers, len(labels))
    models = {}
    for name, answers in predictions.items():
        sums = count_answers(labels, answers, codes, n_groups=n_groups, n_classes=n_classes).astype(float)
        models[name] = _Model(sums, answers[0] == labels if len(answers) == 1 else None)
    pairs = _Pairs(models, answer_scores, CLASS_MEASURES, speakers is not None, n_resamples, seed)
    return pairs.table(len(labels))


def compare_numbers(
    true: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    speakers: np.ndarray | None,
    *,
    n_resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare every two of several numeric predictions of the same clips; as `compare_classifiers`.

    Args:
        true: True values, [N].
        predictions: By model, what each of its runs predicts, [S, N].
        speakers: Each clip's speaker, [N], or None.
        n_resamples: Resamples.
        seed: Seed of the draws.

    Returns:
        A row per pair and measure of `NUMBER_MEASURES`; of `rmse`, in the target's unit, less is better.
    """
    n_groups, codes = _groups(speakers, len(true))
    models = {
        name: _Model(np.stack([sum_agreement(true, run, codes, n_groups) for run in runs]))
        for name, runs in predictions.items()
    }
    return _Pairs(models, agreement_scores, NUMBER_MEASURES, speakers is not None, n_resamples, seed).table(len(true))


def mcnemar_test(only_a: int, only_b: int) -> float:
    """Return the exact two-sided p of McNemar's test (1947): a binomial of the clips that only one has right."""
    return float(scipy.stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def _groups(speakers: np.ndarray | None, n_clips: int) -> tuple[int, np.ndarray]:
    names, codes = group_codes(np.zeros(n_clips, int) if speakers is None else speakers)
    check_lengths(clips=range(n_clips), speakers=codes)
    return len(names), codes


class _Pairs:
    """All pairs of models, scored on the same resamples and swaps of speakers."""

    def __init__(
        self,
        models: Mapping[str, _Model],
        score: Score,
        measures: tuple[str, ...],
        has_speakers: bool,
        n_resamples: int,
        seed: int,
    ) -> None:
        self.models, self.score, self.measures, self.has_speakers = models, score, measures, has_speakers
        self.n_groups = next(iter(models.values())).sums.shape[1]
        draws = bootstrap_counts(self.n_groups, n_resamples=n_resamples, seed=seed).astype(float)
        self.values = {name: self._means(model.sums.sum(axis=1)) for name, model in models.items()}
        self.resampled = {
            name: self._means(np.stack([np.tensordot(draws, run, axes=1) for run in model.sums], axis=1))
            for name, model in models.items()
        }
        self.patterns, self.exact = sign_patterns(self.n_groups, seed=seed)
        smallest = 1 / (len(self.patterns) + (not self.exact))
        self.smallest_p = max(smallest, 2.0 ** (1 - self.n_groups)) if has_speakers else np.nan

    def table(self, n_clips: int) -> pd.DataFrame:
        """Return the rows of all pairs, with p-values corrected over them."""
        rows = []
        for a, b in itertools.combinations(self.models, 2):
            p = self._swap_tests(self.models[a], self.models[b]) if self.has_speakers else {}
            rows += [self._row(a, b, measure, p.get(measure, np.nan), n_clips) for measure in self.measures]
        table = pd.DataFrame(rows)
        for name in ("p", "p_mcnemar"):
            if name in table:
                table[f"{name}_holm"] = table.groupby("measure")[name].transform(_holm_of_known)
        return table

    def _means(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """Return scores, the means over runs: [..., S, sums] -> [...]."""
        scores = self.score(sums)
        axis = scores[self.measures[0]].ndim - 1
        return {name: scores[name].mean(axis=axis) for name in self.measures}

    def _row(self, a: str, b: str, measure: str, p: float, n_clips: int) -> dict[str, object]:
        value = self.values[a][measure] - self.values[b][measure]
        low, high = bootstrap_interval(
            value,
            self.resampled[a][measure] - self.resampled[b][measure],
            self.n_groups if self.has_speakers else 0,
            bounds=_BOUNDS.get(measure, (-1.0, 1.0)),
        )
        row: dict[str, object] = {
            "model_a": a, "model_b": b, "measure": measure, "value": float(value), "ci_low": float(low),
            "ci_high": float(high), "score_a": float(self.values[a][measure]),
            "score_b": float(self.values[b][measure]), "p": p, "p_holm": np.nan, "smallest_p": self.smallest_p,
            "n": n_clips, "n_speakers": self.n_groups if self.has_speakers else 0,
            "n_runs_a": len(self.models[a].sums), "n_runs_b": len(self.models[b].sums),
        }  # fmt: skip
        right_a, right_b = self.models[a].right, self.models[b].right
        if measure == "accuracy" and right_a is not None and right_b is not None:
            only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
            row |= {"only_a_right": only_a, "only_b_right": only_b, "p_mcnemar": mcnemar_test(only_a, only_b)}
        return row

    def _swap_tests(self, a: _Model, b: _Model) -> dict[str, float]:
        """Return the two-sided p of each measure that has one."""
        if len(a.sums) == len(b.sums):
            return self._swapped(a.sums, b.sums, self.measures)
        mean_a, mean_b = (model.sums.mean(axis=0, keepdims=True) for model in (a, b))
        return self._swapped(mean_a, mean_b, tuple(name for name in self.measures if name in _ADDITIVE))

    def _swapped(self, a: np.ndarray, b: np.ndarray, measures: tuple[str, ...]) -> dict[str, float]:
        if not measures:
            return {}
        total = {name: np.zeros(len(self.patterns)) for name in measures}
        observed = dict.fromkeys(measures, 0.0)
        swap = (self.patterns < 0).astype(float)
        for run_a, run_b in zip(a, b, strict=True):  # a run at a time bounds the memory
            moved = np.tensordot(swap, run_a - run_b, axes=1)
            first, second = self.score(run_a.sum(axis=0) - moved), self.score(run_b.sum(axis=0) + moved)
            now_first, now_second = self.score(run_a.sum(axis=0)), self.score(run_b.sum(axis=0))
            for name in measures:
                total[name] += first[name] - second[name]
                observed[name] += float(now_first[name] - now_second[name])
        return {name: self._p(total[name], observed[name]) for name in measures}

    def _p(self, swapped: np.ndarray, observed: float) -> float:
        if np.isnan(observed):
            return np.nan
        # A swap whose score is not defined (constants) is counted as being as extreme as the observed difference.
        reached = ~(np.abs(swapped) < abs(observed) - _ROUNDING)
        return float(reached.mean() if self.exact else (1 + reached.sum()) / (1 + len(reached)))


def _holm_of_known(p: pd.Series) -> pd.Series:
    """Return p-values corrected for how many there are; one that is not defined counts as one of them."""
    return pd.Series(holm(p.fillna(1).to_numpy()), p.index).where(p.notna())
