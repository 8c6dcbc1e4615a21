"""How well label, speaker and corpus are predicted from what is not voice: a shortcut that a probe may take instead.

Properties of the file are tried in groups, by a fit that knows no clip of the speakers that it is tested on. What is
found has to pass a permutation test, corrected for all rows, and has to be large enough to matter: in ten thousand
clips a point above chance is certain and means nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ser_probe.analysis.audit.giveaways import find_giveaway
from ser_probe.analysis.audit.naive_bayes import BinnedBayes
from ser_probe.analysis.audit.permutation_test import permutation_p_values
from ser_probe.analysis.audit.property_bins import TO_LEARN, TO_TELL, Bins, bin_values
from ser_probe.analysis.audit.property_groups import PROPERTY_NAMES, PropertyGroup, groups_of
from ser_probe.analysis.audit.shortcut_targets import TARGETS, Target, count_arrangements, make_target, permuted_targets
from ser_probe.analysis.audit.verdicts import LEVEL, Found, is_alarm, skill, verdict_of, words_of
from ser_probe.analysis.corrections import holm
from ser_probe.analysis.inputs import check_lengths
from ser_probe.analysis.metrics import answer_scores, count_answers
from ser_probe.analysis.resampling import bootstrap_counts, bootstrap_interval
from ser_probe.analysis.threads import run_side_by_side
from ser_probe.errors import AnalysisError, shorten
from ser_probe.runtime import SILENT, Progress, counting, derive_seed

N_PERMUTATIONS = 999
"""The smallest p-value is 1/1000; corrected for 33 rows, 0.033."""
SHORTCUT_COLUMNS = (
    "target", "properties", "scheme", "n_clips", "n_speakers", "uar", "chance", "low", "high", "skill", "p",
    "p_adjusted", "verdict", "alarm", "words", "giveaway", "named_clips",
)  # fmt: skip


def find_shortcuts(
    properties: pd.DataFrame,
    clips: pd.DataFrame,
    *,
    seed: int = 0,
    permutations: int = N_PERMUTATIONS,
    progress: Progress = SILENT,
) -> pd.DataFrame:
    """Return how well label, speaker and corpus are predicted from properties of the files.

    Args:
        properties: A row a clip; columns of `PROPERTY_NAMES`, those that there are; others are passed over. Missing
            values are a value of their own.
        clips: A row a clip, in the same order or, where both have a `clip_id`, in any; columns `label`, `speaker`,
            `corpus`, those that there are. A target with fewer than two classes has no rows.
        seed: Seed of folds, draws and permutations.
        permutations: How many arrangements of the classes a p-value is counted from, at most; counting stops early
            where nothing is found.
        progress: Where to report.

    Returns:
        A row per target and group of properties, and all of them together, columns `SHORTCUT_COLUMNS`:

        - `scheme`: what is held out and what is permuted;
        - `uar` of clips held out, `chance`, `low` and `high` (95 % over speakers, the fits staying as they are; NaN for
          fewer than three), `skill` (0 guessing, 1 always right);
        - `p` of the probability given to the true class, which also moves where a few clips are named for certain;
          `p_adjusted` for all rows (Holm 1979), NaN where all clips are alike;
        - `verdict`, `alarm` and `words`: see `verdicts`;
        - `giveaway`: the values that say most; `named_clips`: clips whose class a value names almost for certain.

    Raises:
        AnalysisError: If the tables are not of the same clips, hold no property, or no permutation is asked for.
    """
    if permutations < 1:
        raise AnalysisError("A permutation test needs permutations", expected="1 or more", found=permutations)
    tried = _trials(properties, clips, seed)
    rows: dict[str, list[dict[str, Any]]] = {trial.target.name: [] for trial in tried}
    with counting(progress, "shortcuts", len(tried), "targets") as advance:
        work = run_side_by_side(lambda trial: _p_values(trial, seed, permutations, advance), tried)
        p_values = {trial.target.name: p for trial, p in work}
    family = int(sum(np.isfinite(p).sum() for p in p_values.values()))
    for trial in tried:
        can_be_tested = count_arrangements(trial.target) * LEVEL >= family
        rows[trial.target.name] = _rows_of(trial, p_values[trial.target.name], can_be_tested)
    table = pd.DataFrame([row for name in rows for row in rows[name]])
    if table.empty:
        return pd.DataFrame(columns=list(SHORTCUT_COLUMNS))
    return _judged(table)


def baseline(properties: pd.DataFrame, clips: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Return what all properties of the files together score, without a test: what a probe has to beat.

    Args:
        properties: As `find_shortcuts`.
        clips: As `find_shortcuts`.
        seed: Seed of the folds and draws.

    Returns:
        A row per target: `target`, `uar`, `chance`, and `low` and `high` over speakers.
    """
    rows = []
    for trial in _trials(properties, clips, seed):
        answers = trial.fit.predict(trial.target.codes)[-1]
        uar, low, high = _scores(trial.target, answers, _resamples(trial.target))
        rows.append((trial.target.name, uar, 1 / len(trial.target.classes), low, high))
    return pd.DataFrame(rows, columns=["target", "uar", "chance", "low", "high"])


@dataclass(frozen=True)
class _Trial:
    """A target, the groups of properties in bins to learn from and in finer ones to tell of, and the fit."""

    target: Target
    groups: list[PropertyGroup]
    bins: dict[str, Bins]
    fine_bins: dict[str, Bins]
    fit: BinnedBayes

    @property
    def varying(self) -> list[int]:
        """Positions of the groups in which clips differ."""
        return [
            row
            for row, group in enumerate(self.groups)
            if any(self.bins[column].count > 1 for column in group.columns)
        ]  # fmt: skip


def _trials(properties: pd.DataFrame, clips: pd.DataFrame, seed: int) -> list[_Trial]:
    properties = _aligned(properties, clips)
    groups = groups_of(properties.columns)
    if not groups:
        raise AnalysisError(
            "The table of properties holds none that is known",
            expected="some of " + ", ".join(PROPERTY_NAMES),
            found=shorten(properties.columns),
        )
    trials = []
    for name in TARGETS:
        target = make_target(name, clips, seed=seed)
        if target is not None:
            columns = list(groups[-1].columns)
            bins, fine = (
                {
                    column: bin_values(
                        properties[column].iloc[target.rows], PROPERTY_NAMES[column].resolution, fineness
                    )
                    for column in columns
                }
                for fineness in (TO_LEARN, TO_TELL)
            )
            members = [[columns.index(column) for column in group.columns] for group in groups]
            fit = BinnedBayes(list(bins.values()), target.folds, len(target.classes), members)
            trials.append(_Trial(target, groups, bins, fine, fit))
    return trials


def _aligned(properties: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame:
    """Return the properties in the order of the clips."""
    if not ("clip_id" in properties and "clip_id" in clips):
        check_lengths(properties=properties.index.to_numpy(), clips=clips.index.to_numpy())
        return properties
    by_clip = properties.set_index("clip_id")
    missing = clips.loc[~clips["clip_id"].isin(by_clip.index), "clip_id"]
    if not by_clip.index.is_unique or len(missing):
        raise AnalysisError(
            "The table of properties does not have one row for each clip",
            found=f"no row for {shorten(missing)}" if len(missing) else "a clip_id in several rows",
            fix="measure the properties of these clips again",
        )
    return by_clip.loc[clips["clip_id"]].reset_index()


def _p_values(trial: _Trial, seed: int, permutations: int, advance: Callable[[float], None]) -> np.ndarray:
    """Return the p-value of each group, NaN where all clips are alike."""
    rng = np.random.default_rng(derive_seed("shortcut permutations", trial.target.name, seed))
    p = np.full(len(trial.groups), np.nan)
    rows = trial.varying
    if rows:
        p[rows] = permutation_p_values(
            trial.fit.certainty(trial.target.codes[None], rows)[0],
            lambda classes, needed: trial.fit.certainty(classes, [rows[place] for place in needed]),
            lambda count: permuted_targets(trial.target, count, rng),
            n_permutations=permutations,
            batch=trial.fit.batch,
            advance=advance,
        )
    return p


def _rows_of(trial: _Trial, p: np.ndarray, can_be_tested: bool) -> list[dict[str, Any]]:
    target = trial.target
    answers, drawn = trial.fit.predict(target.codes), _resamples(target)
    rows = []
    for place, group in enumerate(trial.groups):
        uar, low, high = _scores(target, answers[place], drawn)
        if np.isnan(p[place]):  # nothing was predicted, and nothing can vary
            low = high = np.nan
        bins = [(column, trial.fine_bins[column]) for column in group.columns]
        giveaway = find_giveaway(bins, target.codes, target.classes, target=target.name)
        chance = 1 / len(target.classes)
        rows.append(
            {
                "target": target.name, "properties": group.name, "scheme": target.scheme,
                "n_clips": len(target.codes), "n_speakers": target.n_speakers, "uar": uar, "chance": chance,
                "low": low, "high": high, "skill": skill(uar, chance), "p": p[place], "giveaway": giveaway.sentence,
                "named_clips": giveaway.named,
                "found": Found(
                    target.name, group, uar, chance, np.nan, giveaway.named / len(target.codes),
                    giveaway.largest_share, giveaway.sentence, can_be_tested,
                ),
            }
        )  # fmt: skip
    return rows


def _judged(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with p-values corrected for all its rows in which clips differ, and with verdicts."""
    p = table["p"].to_numpy(float)
    adjusted = np.full(len(table), np.nan)
    adjusted[np.isfinite(p)] = holm(p[np.isfinite(p)])
    found = [
        dataclasses.replace(each, p_adjusted=value) for each, value in zip(table["found"], adjusted, strict=True)
    ]  # fmt: skip
    table = table.assign(
        p_adjusted=adjusted,
        verdict=[verdict_of(each) for each in found],
        alarm=[is_alarm(each) for each in found],
        words=[words_of(each) for each in found],
    )
    return table[list(SHORTCUT_COLUMNS)]


def _resamples(target: Target) -> np.ndarray:
    """Return how often each speaker is drawn in each resample, [B, G]; as floats, whose products are fast."""
    seed = derive_seed("shortcut intervals", target.name)
    return bootstrap_counts(int(target.speakers.max()) + 1, seed=seed).astype(float)


def _scores(target: Target, answers: np.ndarray, drawn: np.ndarray) -> tuple[float, float, float]:
    """Return the UAR of one group's answers, and its interval over speakers."""
    n_classes = len(target.classes)
    n_groups = drawn.shape[1]
    counts = count_answers(target.codes, answers, target.speakers, n_groups=n_groups, n_classes=n_classes)
    uar = answer_scores(counts.sum(axis=0))["uar"]
    if not target.has_speakers:
        return float(uar), np.nan, np.nan
    if target.name == "speaker":  # a speaker is a class: the UAR is the mean of the speakers' recalls
        recalls = np.diagonal(counts[:, 0]) / np.diagonal(counts[:, 1])
        resampled = drawn @ recalls / n_groups
    else:
        resampled = answer_scores((drawn @ counts.reshape(n_groups, -1)).reshape(-1, 3, n_classes))["uar"]
    low, high = bootstrap_interval(uar, resampled, n_groups, bounds=(0.0, 1.0))
    return float(uar), float(low), float(high)
