"""Scores of probes' answers, their intervals over speakers, and the tables of both.

Answers of all folds are pooled before they are scored: where folds rotate, every clip is scored once, by probes that
never saw its speaker. Every score comes from counts that add up over speakers, so a resample of speakers is scored as
fast as the original. All probes of one target and division are scored on the same resamples, which makes differences
between them paired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ser_probe.analysis.inputs import RepresentationKey, key_columns
from ser_probe.analysis.metrics import MEASURES, answer_scores, count_answers
from ser_probe.analysis.probes.families import TEST
from ser_probe.analysis.probes.fitting import SCORED_PARTS, Probes, part_name, scored_clips
from ser_probe.analysis.resampling import bootstrap_counts, bootstrap_interval, group_codes

SELECTIVITY = "selectivity_uar"
"""The recall above that of the same probe on shuffled labels (Hewitt & Liang 2019, for accuracy), in [-1, 1]."""

N_RESAMPLES = 1000
_BOUNDS = {SELECTIVITY: (-1.0, 1.0)}


@dataclass(frozen=True)
class PartScores:
    """The scores of probes on one part, and on resamples of its speakers.

    Args:
        counts: What they are computed from, [R, S, G, 3, C]; see `count_answers`.
        values: By measure, [R, S].
        resampled: By measure, the mean over seeds on each resample, [B, R].
        n_clips: Scored clips.
    """

    counts: np.ndarray
    values: Mapping[str, np.ndarray]
    resampled: Mapping[str, np.ndarray]
    n_clips: int

    @property
    def n_groups(self) -> int:
        """The number of speakers G."""
        return int(self.counts.shape[2])

    def interval(self, measure: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the means over seeds [R] and their 95 % interval over speakers; NaN ends with fewer than three."""
        means = self.values[measure].mean(axis=1)
        bounds = _BOUNDS.get(measure, (0.0, 1.0))
        return (means, *bootstrap_interval(means, self.resampled[measure], self.n_groups, bounds=bounds))


def score_part(probes: Probes, part: int = TEST, *, n_resamples: int = N_RESAMPLES, seed: int = 0) -> PartScores:
    """Score probes on one part.

    Args:
        probes: R probes with S seeds.
        part: VALIDATION or TEST.
        n_resamples: Resamples B of the part's speakers.
        seed: Seed of the resamples; equal for equal seeds and numbers of speakers.
    """
    names, codes = group_codes(probes.speakers(part))
    counts = count_answers(
        probes.truth(part), probes.answers[part], codes, n_groups=len(names), n_classes=probes.target.n_classes
    )
    draws = bootstrap_counts(len(names), n_resamples=n_resamples, seed=seed).astype(float)
    resampled: dict[str, list[np.ndarray]] = {measure: [] for measure in MEASURES}
    for answered in counts:
        # One representation at a time: [B, S, 3, C] of all of them would not fit into memory.
        for measure, values in answer_scores(np.tensordot(draws, answered.astype(float), axes=(1, 1))).items():
            resampled[measure].append(values.mean(axis=1))
    return PartScores(
        counts,
        answer_scores(counts.sum(axis=2)),
        {measure: np.stack(columns, axis=1) for measure, columns in resampled.items()},
        len(codes),
    )


def with_selectivity(scores: PartScores, control: PartScores) -> PartScores:
    """Return the scores with how far they are above those of the same probes on shuffled labels.

    A seed is held against the control of the same seed; where their numbers differ, against the control's mean.
    """
    uar, control_uar = scores.values["uar"], control.values["uar"]
    values = uar - (control_uar if uar.shape == control_uar.shape else control_uar.mean(axis=1, keepdims=True))
    resampled = scores.resampled["uar"] - control.resampled["uar"]
    return PartScores(
        scores.counts,
        {**scores.values, SELECTIVITY: values},
        {**scores.resampled, SELECTIVITY: resampled},
        scores.n_clips,
    )


def score_probes(probes: Probes, scores: Mapping[int, PartScores] | None = None) -> pd.DataFrame:
    """Return each probe's scores on validation and test.

    Args:
        probes: The probes.
        scores: Their scores by part, where they are known; computed by default.

    Returns:
        A row per representation, seed, split and measure. A single seed has no interval: `summarise_probes` gives it.
        `n_epochs` and `strength` are means over folds.
    """
    scores = scores or {part: score_part(probes, part, n_resamples=1) for part in SCORED_PARTS}
    n_seeds = len(probes.seeds)
    rows = {
        **_keys(probes.names, n_seeds),
        "probe_seed": np.tile(np.asarray(probes.seeds), len(probes.names)),
        "n_epochs": probes.n_epochs.mean(axis=1).ravel(),
        "strength": probes.strength.mean(axis=1).ravel(),
    }
    return _stack(probes, scores, rows, lambda part_scores, measure: {
        "value": part_scores.values[measure].ravel(), "ci_low": np.full(part_scores.values[measure].size, np.nan),
        "ci_high": np.full(part_scores.values[measure].size, np.nan),
    })  # fmt: skip


def summarise_probes(
    probes: Probes,
    scores: Mapping[int, PartScores] | None = None,
) -> pd.DataFrame:
    """Return the mean over probe seeds with its 95 % interval over speakers.

    The interval is a bootstrap over the split's speakers of the mean over seeds: it tells how the score would vary
    with other speakers, not how it varies with the probe's seed (`std_over_seeds` does). With fewer than three
    speakers there is none. All representations see the same resamples.

    Args:
        probes: The probes.
        scores: Their scores by part, where they are known; computed by default.

    Returns:
        A row per representation, split and measure.
    """
    scores = scores or {part: score_part(probes, part) for part in SCORED_PARTS}
    n_seeds = len(probes.seeds)
    rows = {**_keys(probes.names, 1), "n_epochs": probes.n_epochs.mean(axis=(1, 2))}

    def columns(part_scores: PartScores, measure: str) -> dict[str, np.ndarray]:
        mean, low, high = part_scores.interval(measure)
        values = part_scores.values[measure]
        spread = values.std(axis=1, ddof=1) if n_seeds > 1 else np.full(len(values), np.nan)
        return {"value": mean, "ci_low": low, "ci_high": high, "std_over_seeds": spread}

    return _stack(probes, scores, rows, columns).assign(n_seeds=n_seeds)


def _keys(names: Sequence[str | RepresentationKey], times: int) -> dict[str, np.ndarray]:
    """Return the columns that name representations, each repeated."""
    table = pd.DataFrame([key_columns(name) for name in names])
    return {str(column): np.repeat(table[column].to_numpy(), times) for column in table}


def _stack(
    probes: Probes,
    scores: Mapping[int, PartScores],
    rows: Mapping[str, np.ndarray],
    columns: Callable[[PartScores, str], dict[str, np.ndarray]],
) -> pd.DataFrame:
    """Return a table of all parts and measures; made in one go, since adding columns one by one is slow."""
    blocks: dict[str, list[np.ndarray]] = {}
    for part, part_scores in scores.items():
        for measure in part_scores.values:
            block = {**rows, **columns(part_scores, measure)}
            n = len(block["value"])
            constant = {
                "control": probes.control, "split": part_name(part), "measure": measure, "n": part_scores.n_clips,
                "n_speakers": part_scores.n_groups,
            }  # fmt: skip
            block |= {
                name: np.full(n, value, object if isinstance(value, str) else None) for name, value in constant.items()
            }
            for name, values in block.items():
                blocks.setdefault(name, []).append(values)
    return pd.DataFrame({name: np.concatenate(values) for name, values in blocks.items()}).infer_objects()


def absent_classes(probes: Probes, part: int = TEST) -> list[str]:
    """Return the classes that no scored clip of a part has: scores are means over the others."""
    present = np.unique(probes.target.values[scored_clips(probes.folds, part).clip])
    return [str(name) for code, name in enumerate(probes.target.classes) if code not in present]
