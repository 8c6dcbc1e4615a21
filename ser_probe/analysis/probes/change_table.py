"""Tables of what changed between two states of the same layers, and of where in the network a target is read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ser_probe.analysis.inputs import RepresentationKey, as_key
from ser_probe.analysis.metrics import answer_scores, count_answers
from ser_probe.analysis.probes.centre import centre_of_gravity, expected_layer, layer_positions
from ser_probe.analysis.probes.comparisons import COMPARED, compare_layers, contributions, fold_tests, holm
from ser_probe.analysis.probes.families import TEST, Folds
from ser_probe.analysis.probes.fitting import Probes, scored_clips
from ser_probe.analysis.probes.numbers import Regressions, count_part, r2_contributions
from ser_probe.analysis.probes.scoring import PartScores
from ser_probe.analysis.resampling import bootstrap_counts, bootstrap_interval

Key = RepresentationKey


def shared_layers(before: Sequence[Key], after: Sequence[Key]) -> list[tuple[int, int]]:
    """Return the positions of each layer that both states have, in the order of the first."""
    position = {name.layer: index for index, name in enumerate(after)}
    return [(index, position[name.layer]) for index, name in enumerate(before) if name.layer in position]


def change_table(before: Probes, after: Probes, scores_before: PartScores, scores_after: PartScores) -> pd.DataFrame:
    """Test each layer's change from one state to another, with the speaker as the unit.

    Args:
        before: Probes of the one state, R layers of one checkpoint.
        after: Those of the other, on the same clips and folds, with the same seeds.
        scores_before: Their scores on test.
        scores_after: Theirs, on the same resamples.

    Returns:
        A row per shared layer and measure of `COMPARED`: `value` (after less before) with a 95 % interval over
        speakers, `before`, `after`, `p` (sign flips over speakers), `p_holm` (over layers), `smallest_p` that so many
        speakers can give, and where folds rotate `p_folds` and `p_folds_holm` (corrected resampled t-test).
    """
    pairs = shared_layers(_keys(before.names), _keys(after.names))
    if not pairs:
        return pd.DataFrame()
    first, second = (list(side) for side in zip(*pairs, strict=True))
    tables = []
    for measure in COMPARED:
        changes = compare_layers(contributions(scores_before.counts[first], scores_after.counts[second], measure))
        resampled = scores_after.resampled[measure][:, second] - scores_before.resampled[measure][:, first]
        low, high = bootstrap_interval(changes.value, resampled, scores_before.n_groups, bounds=(-1.0, 1.0))
        table = _rows(before, after, second, measure).assign(
            value=changes.value, ci_low=low, ci_high=high,
            before=scores_before.values[measure][first].mean(axis=1),
            after=scores_after.values[measure][second].mean(axis=1),
            p=changes.p, p_holm=changes.p_holm, smallest_p=changes.smallest_p,
            n=scores_before.n_clips, n_speakers=scores_before.n_groups,
        )  # fmt: skip
        if len(before.folds.names) > 1:
            by_fold = _fold_scores(after, second, measure) - _fold_scores(before, first, measure)
            table["p_folds"] = fold_tests(by_fold, before.folds)
            # A layer whose folds are all alike has no test; it still counts as one of those looked at.
            corrected = holm(table["p_folds"].fillna(1).to_numpy())
            table["p_folds_holm"] = np.where(table["p_folds"].isna(), np.nan, corrected)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def number_change_table(before: Regressions, after: Regressions) -> pd.DataFrame:
    """Test each layer's change of R2 from one state to another; as `change_table`, Holm over the layers of a target.

    The interval is over resampled speakers of the difference of R2.
    """
    pairs = shared_layers(_keys(before.names), _keys(after.names))
    if not pairs:
        return pd.DataFrame()
    first, second = (list(side) for side in zip(*pairs, strict=True))
    sums_before, sums_after = count_part(before, TEST)[first], count_part(after, TEST)[second]
    n_groups = sums_before.shape[2]
    draws = bootstrap_counts(n_groups).astype(float)
    tables = []
    for k, target in enumerate(before.targets):
        before_k, after_k = sums_before[:, k], sums_after[:, k]
        changes = compare_layers(r2_contributions(before_k, after_k))
        resampled = r2_contributions(
            np.moveaxis(np.tensordot(draws, before_k, axes=(1, 1)), 1, 0)[..., None, :],
            np.moveaxis(np.tensordot(draws, after_k, axes=(1, 1)), 1, 0)[..., None, :],
        )[..., 0].T
        low, high = bootstrap_interval(changes.value, resampled, n_groups, bounds=(-np.inf, np.inf))
        tables.append(_rows(before, after, second, "r2").assign(
            target=target.name, value=changes.value, ci_low=low, ci_high=high, p=changes.p, p_holm=changes.p_holm,
            smallest_p=changes.smallest_p, n=int(before_k[0, :, 0].sum()), n_speakers=n_groups,
        ))  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def centre_table(probes: Probes, scores: PartScores, control: PartScores | None) -> pd.DataFrame:
    """Return where in one checkpoint the target is read; see `centre` for both numbers and how they mislead.

    Args:
        probes: Probes of the layers of one checkpoint.
        scores: Their scores on test.
        control: Those of the probes on shuffled labels; without, a gain is counted from chance (1 / C).

    Returns:
        A row per measure with a 95 % interval over speakers; NaN where nothing is read. No row for a single layer.
    """
    keys = _keys(probes.names)
    if len(keys) < 2:
        return pd.DataFrame()
    positions = layer_positions([key.layer for key in keys])
    order = np.argsort(positions, kind="stable")
    positions, bounds = positions[order], (float(positions.min()), float(positions.max()))
    values, resampled = scores.values["uar"].mean(axis=1)[order], scores.resampled["uar"][:, order]
    chance = 1 / probes.target.n_classes
    below = chance if control is None else control.values["uar"].mean(axis=1)[order]
    resampled_below = chance if control is None else control.resampled["uar"][:, order]
    centres = {
        "centre_of_gravity": (
            centre_of_gravity(values - below, positions), centre_of_gravity(resampled - resampled_below, positions)
        ),
        "expected_layer": (expected_layer(values, positions), expected_layer(resampled, positions)),
    }  # fmt: skip
    rows = []
    for measure, (value, others) in centres.items():
        others = np.where(np.isfinite(others), others, value)
        low, high = bootstrap_interval(value, others, scores.n_groups, bounds=bounds)
        rows.append({
            "model": keys[0].model, "checkpoint": keys[0].checkpoint, "step": keys[0].step, "measure": measure,
            "value": float(value), "ci_low": float(low), "ci_high": float(high), "of": "uar",
            "first_layer": bounds[0], "last_layer": bounds[1], "n": scores.n_clips, "n_speakers": scores.n_groups,
        })  # fmt: skip
    return pd.DataFrame(rows)


def _keys(names: Sequence[str | Key]) -> list[Key]:
    return [as_key(name) for name in names]


def _rows(before: Probes | Regressions, after: Probes | Regressions, second: list[int], measure: str) -> pd.DataFrame:
    reference = _keys(before.names)[0]
    keys = _keys(after.names)
    table = pd.DataFrame([keys[index]._asdict() for index in second])
    return table.assign(reference=reference.checkpoint, reference_step=reference.step, split="test", measure=measure)


def _fold_scores(probes: Probes, rows: list[int], measure: str) -> np.ndarray:
    """Return the mean score over seeds in each fold, [R, F], over the classes that the fold's test clips have."""
    folds: Folds = probes.folds
    fold = scored_clips(folds, TEST).fold
    counts = count_answers(
        probes.truth(TEST), probes.answers[TEST][rows], fold, n_groups=len(folds.names),
        n_classes=probes.target.n_classes,
    )  # fmt: skip
    return answer_scores(counts)[measure].mean(axis=1)  # type: ignore[no-any-return]
