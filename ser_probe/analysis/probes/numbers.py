"""Numeric targets: ridge probes of several at once, with R2, Pearson's r and CCC, over speakers like all else.

Scores are of the pooled test answers: R2 is counted against the mean of those test values, so always guessing the
training mean scores 0 or a little less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ser_probe.analysis.inputs import RepresentationKey, check_features, check_lengths, key_columns
from ser_probe.analysis.metrics import FIT_MEASURES, agreement_scores, sum_agreement
from ser_probe.analysis.probes.controls import shuffle_values
from ser_probe.analysis.probes.divisions import check_folds
from ser_probe.analysis.probes.families import TEST, VALIDATION, Folds
from ser_probe.analysis.probes.family_table import FamilySpec, OnlyAdvances
from ser_probe.analysis.probes.fitting import SCORED_PARTS, part_name, scored_clips
from ser_probe.analysis.probes.scoring import N_RESAMPLES
from ser_probe.analysis.probes.targets import Target
from ser_probe.analysis.resampling import bootstrap_counts, bootstrap_interval, group_codes
from ser_probe.errors import AnalysisError
from ser_probe.runtime import SILENT, Progress

BOUNDS = {"r2": (-np.inf, 1.0), "ccc": (-1.0, 1.0), "pearson": (-1.0, 1.0), "rmse": (0.0, np.inf), "mae": (0.0, np.inf)}
_SQUARED, _COUNT, _SUM, _SQUARES = 7, 0, 1, 3  # columns of `sum_agreement`


@dataclass(frozen=True)
class Regressions:
    """What trained regressions answer.

    Args:
        names: R representations.
        control: `none` or `shuffled_labels`.
        targets: K targets of the same N clips.
        folds: How the clips were divided.
        answers: By part: predicted values of its clips, float32 [R, K, M].
        strength: The chosen regularisation, [R, F, K].
    """

    names: Sequence[str | RepresentationKey]
    control: str
    targets: Sequence[Target]
    folds: Folds
    answers: Mapping[int, np.ndarray]
    strength: np.ndarray


def fit_numbers(
    x: np.ndarray,
    targets: Sequence[Target],
    folds: Folds,
    *,
    names: Sequence[str | RepresentationKey],
    spec: FamilySpec,
    shuffled_labels: bool = False,
    shares_groups: bool = False,
    options: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
) -> Regressions:
    """Train a regression for each representation, fold and target.

    Args:
        x: Features, [R, N, D].
        targets: K numeric targets of these N clips.
        folds: How to divide them.
        names: R names.
        spec: The family.
        shuffled_labels: Train the control: values shuffled within each speaker.
        shares_groups: The division shares speakers on purpose.
        options: Further arguments of the family.
        progress: Advanced by the number of representations times folds.

    Raises:
        AnalysisError: If a speaker is in two parts, a part is empty, a feature is NaN, or lengths differ.
    """
    x = check_features(x, "The probes' features", ndim=3)
    check_lengths(features=x[0], folds=folds.parts[0], **{target.name: target.values for target in targets})
    if len(x) != len(names):
        raise AnalysisError(
            "The probes need one name per representation", expected=f"{len(x)} names", found=f"{len(names)}"
        )
    groups = targets[0].groups
    check_folds(None, folds, groups, shares_groups=shares_groups)
    given = np.stack([
        shuffle_values(target.values, groups, seed) if shuffled_labels else target.values
        for seed, target in enumerate(targets)
    ], axis=1)  # fmt: skip
    probes = spec.fit(
        x, given, folds, groups=groups, keep_weights=False, progress=OnlyAdvances(progress), **(options or {})
    )
    answers = {}
    for part in SCORED_PARTS:
        scored = scored_clips(folds, part)
        # [M, R, K] where a fold and a clip are picked together.
        answers[part] = np.moveaxis(probes.predictions[:, scored.fold, scored.clip], 1, -1)
        _require_finite(answers[part], targets, names)
    control = "shuffled_labels" if shuffled_labels else "none"
    return Regressions(names, control, targets, folds, answers, probes.strength)


def _require_finite(answers: np.ndarray, targets: Sequence[Target], names: Sequence[str | RepresentationKey]) -> None:
    """Raise where a prediction [R, K, M] is not finite: its scores would not be either."""
    bad = ~np.isfinite(answers)
    if bad.any():
        r, k = np.argwhere(bad)[0, :2]
        raise AnalysisError(
            f"The answers for the target {targets[k].name!r} are not finite",
            where=f"layer {key_columns(names[r])['layer']}",
            found=f"{int(bad.any(axis=-1).sum())} of {bad.shape[0] * bad.shape[1]} regressions without finite answers",
            fix=f"look at the range of {targets[k].name} and of the embeddings",
        )


def count_part(probes: Regressions, part: int) -> np.ndarray:
    """Return what the scores of a part are computed from, [R, K, G, 8]; see `sum_agreement`."""
    clips = scored_clips(probes.folds, part).clip
    speakers, codes = group_codes(probes.targets[0].groups[clips])
    return np.stack([
        [sum_agreement(target.values[clips], predicted, codes, len(speakers)) for target, predicted in zip(
            probes.targets, answers, strict=True)]
        for answers in probes.answers[part]
    ])  # fmt: skip


def number_table(probes: Regressions, *, n_resamples: int = N_RESAMPLES) -> pd.DataFrame:
    """Return the scores on validation and test with 95 % intervals over speakers.

    Args:
        probes: The regressions.
        n_resamples: Resamples of the speakers.

    Returns:
        A row per representation, target, split and measure of `FIT_MEASURES`. `strength` is the median over folds.
    """
    rows = []
    for part in SCORED_PARTS:
        sums = count_part(probes, part)
        n_groups = sums.shape[2]
        draws = bootstrap_counts(n_groups, n_resamples=n_resamples).astype(float)
        values = agreement_scores(sums.sum(axis=2))
        n_clips = int(sums[0, 0, :, _COUNT].sum())
        for r, name in enumerate(probes.names):
            resampled = agreement_scores(np.tensordot(draws, sums[r], axes=(1, 1)))
            for measure in FIT_MEASURES:
                low, high = bootstrap_interval(values[measure][r], resampled[measure], n_groups, bounds=BOUNDS[measure])
                rows += [
                    {
                        **key_columns(name), "target": target.name, "control": probes.control, "split": part_name(part),
                        "measure": measure, "value": values[measure][r, k], "ci_low": low[k], "ci_high": high[k],
                        "n": n_clips, "n_speakers": n_groups, "strength": float(np.median(probes.strength[r, :, k])),
                    }
                    for k, target in enumerate(probes.targets)
                ]  # fmt: skip
    return pd.DataFrame(rows)


def best_number_layers(probes: Regressions, members: Sequence[int]) -> pd.DataFrame:
    """Choose, for each target, the layer with the best R2 on validation, and say what it reaches on test.

    As `selection.choose_layer`: each fold chooses for itself.

    Args:
        probes: The regressions.
        members: Positions of the layers to choose among, in the order of the network.

    Returns:
        A row per target: `layer` (the most frequent choice), `validation_value`, `test_value`.
    """
    validation, test = scored_clips(probes.folds, VALIDATION), scored_clips(probes.folds, TEST)
    rows, n_folds = [], len(probes.folds.names)
    for k, target in enumerate(probes.targets):
        r2 = np.stack([
            agreement_scores(sum_agreement(
                target.values[validation.clip], probes.answers[VALIDATION][r, k], validation.fold, n_folds))["r2"]
            for r in members
        ])  # fmt: skip
        per_fold = np.where(np.isnan(r2), -np.inf, r2).argmax(axis=0)
        answers = probes.answers[TEST][np.asarray(members)[per_fold[test.fold]], k, np.arange(len(test.fold))]
        value = agreement_scores(sum_agreement(target.values[test.clip], answers, np.zeros_like(test.fold), 1))["r2"]
        counts = np.bincount(per_fold, minlength=len(members))
        key = probes.names[members[int(counts.argmax())]]
        rows.append({
            **key_columns(key), "target": target.name, "validation_value": r2[per_fold, np.arange(n_folds)].mean(),
            "test_value": float(value[0]), "measure": "r2", "n": len(test.clip),
        })  # fmt: skip
    return pd.DataFrame(rows)


def r2_contributions(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return what each speaker adds to the difference of R2, [..., G]; they sum to R2 after less R2 before.

    Args:
        before: From `count_part`, [..., G, 8].
        after: The same of the other state, on the same clips.
    """
    total = before.sum(axis=-2)
    squares = total[..., _SQUARES] - total[..., _SUM] ** 2 / total[..., _COUNT]
    return (before[..., _SQUARED] - after[..., _SQUARED]) / squares[..., None]  # type: ignore[no-any-return]
