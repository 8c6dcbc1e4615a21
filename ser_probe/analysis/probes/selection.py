"""The best layer of a checkpoint: chosen on validation, reported on test. Chosen on test it would be the luckiest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ser_probe.analysis.inputs import RepresentationKey
from ser_probe.analysis.metrics import answer_scores, count_answers
from ser_probe.analysis.probes.families import TEST, VALIDATION
from ser_probe.analysis.probes.fitting import Probes, scored_clips
from ser_probe.analysis.probes.scoring import N_RESAMPLES, PartScores
from ser_probe.analysis.resampling import bootstrap_counts, bootstrap_interval, group_codes


@dataclass(frozen=True)
class Choice:
    """The layer of one checkpoint that validation chooses.

    Args:
        index: Position among the checkpoint's representations of the layer chosen most often.
        per_fold: The position that each fold chooses, [F].
        validation: The chosen layers' mean validation score over folds.
        answers: The test answers, each fold's from the layer that it chose, int16 [S, M].
    """

    index: int
    per_fold: tuple[int, ...]
    validation: float
    answers: np.ndarray


def choose_layer(probes: Probes, members: Sequence[int], *, measure: str = "uar") -> Choice:
    """Choose the best of some representations, such as the layers of one checkpoint.

    Each fold chooses by its own validation clips and is tested at its own choice. Choosing once for all folds would
    choose by clips that other folds test, since every clip takes both parts in turn.

    Args:
        probes: The probes.
        members: Positions of the representations to choose among, in the order of the network: of equals the first.
        measure: What to choose by.
    """
    rows = np.asarray(members)
    validation, test = scored_clips(probes.folds, VALIDATION), scored_clips(probes.folds, TEST)
    # By fold and representation, the mean over seeds.
    by_fold = answer_scores(
        count_answers(
            probes.truth(VALIDATION), probes.answers[VALIDATION][rows], validation.fold,
            n_groups=len(probes.folds.names), n_classes=probes.target.n_classes,
        )
    )[measure].mean(axis=1).T  # fmt: skip
    per_fold = by_fold.argmax(axis=1)
    answers = np.empty(probes.answers[TEST].shape[1:], np.int16)
    for fold, best in enumerate(per_fold):
        of_fold = test.fold == fold
        answers[:, of_fold] = probes.answers[TEST][rows[best]][:, of_fold]
    often = Counter(per_fold.tolist())
    most = min(often, key=lambda position: (-often[position], position))
    return Choice(
        int(rows[most]), tuple(int(rows[best]) for best in per_fold),
        float(by_fold[np.arange(len(per_fold)), per_fold].mean()), answers,
    )  # fmt: skip


def score_choice(
    probes: Probes, choice: Choice, *, measure: str = "uar", n_resamples: int = N_RESAMPLES, seed: int = 0
) -> tuple[float, float, float]:
    """Return the test score of a choice, the mean over seeds, and both ends of its 95 % interval over speakers."""
    speakers, codes = group_codes(probes.speakers(TEST))
    counts = count_answers(
        probes.truth(TEST), choice.answers, codes, n_groups=len(speakers), n_classes=probes.target.n_classes
    )
    value = answer_scores(counts.sum(axis=1))[measure].mean()
    draws = bootstrap_counts(len(speakers), n_resamples=n_resamples, seed=seed).astype(float)
    resampled = answer_scores(np.tensordot(draws, counts.astype(float), axes=(1, 1)))[measure].mean(axis=1)
    low, high = bootstrap_interval(value, resampled, len(speakers), bounds=(0.0, 1.0))
    return float(value), float(low), float(high)


def chosen_by(probes: Probes, choice: Choice) -> str:
    """Return how many folds chose which layer, in words: `7: 3 of 5, 8: 2 of 5`."""
    often = Counter(_layer(probes.names[index]) for index in choice.per_fold)
    return ", ".join(f"{layer}: {count} of {len(choice.per_fold)}" for layer, count in often.most_common())


def best_layers(probes: Probes, scores: PartScores, *, measure: str = "uar", seed: int = 0) -> pd.DataFrame:
    """Choose the best layer of each model and checkpoint.

    Args:
        probes: Probes of layers, R.
        scores: Their scores on test.
        measure: What to choose by.
        seed: Seed of the resamples.

    Returns:
        A row per model and checkpoint: `layer` (the most frequent choice of the folds), `validation_value` and
        `test_value` with `ci_low` and `ci_high`, means over seeds; `chosen_by` says how many folds chose which.
    """
    places: dict[tuple[str, str, float], list[int]] = {}
    for index, name in enumerate(probes.names):
        # NaN differs from itself: features without training would be as many places as rows.
        step = -1.0 if isinstance(name, str) or np.isnan(name.step) else name.step
        place = ("", "", step) if isinstance(name, str) else (name.model, name.checkpoint, step)
        places.setdefault(place, []).append(index)
    rows = []
    for members in places.values():
        choice = choose_layer(probes, members, measure=measure)
        value, low, high = score_choice(probes, choice, measure=measure, seed=seed)
        key = probes.names[choice.index]
        names = {} if isinstance(key, str) else {"model": key.model, "checkpoint": key.checkpoint, "step": key.step}
        rows.append({
            **names, "layer": _layer(key), "validation_value": choice.validation, "test_value": value,
            "ci_low": low, "ci_high": high, "measure": measure,
            "n": scores.n_clips, "n_speakers": scores.n_groups, "n_seeds": len(probes.seeds),
            "chosen_by": chosen_by(probes, choice),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _layer(name: str | RepresentationKey) -> str:
    return name if isinstance(name, str) else name.layer
