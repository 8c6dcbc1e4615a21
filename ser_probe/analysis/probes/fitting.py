"""From features to the answers of probes: every layer, fold and seed of a family, with its control on shuffled labels.

A probe never sees a test speaker: divisions that share one are refused, but for the published one that says so.
Features are standardised on the training part of each fold; training stops, and a layer is chosen, on validation; test
is only ever scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ser_probe.analysis.inputs import RepresentationKey, check_features, check_lengths
from ser_probe.analysis.probes.controls import majority_answers, shuffle_values
from ser_probe.analysis.probes.divisions import check_folds
from ser_probe.analysis.probes.families import PART_NAMES, TEST, VALIDATION, Folds
from ser_probe.analysis.probes.family_table import FamilySpec, train_classes
from ser_probe.analysis.probes.targets import Target
from ser_probe.errors import AnalysisError
from ser_probe.runtime import SILENT, Progress

DEFAULT_SEEDS = tuple(range(10))
SCORED_PARTS = (VALIDATION, TEST)
SHUFFLES_WITHOUT_SEEDS = 3
"""Shuffles that a family without seeds is trained on: it gives one answer to each."""

_ANSWER_BYTES = 256 * 2**20  # logits and weights that a family returns at a time


@dataclass(frozen=True)
class ScoredClips:
    """The clips of one part, fold after fold: M pairs of a fold and a clip.

    Args:
        fold: int [M].
        clip: int [M].
    """

    fold: np.ndarray
    clip: np.ndarray


@dataclass(frozen=True)
class Probes:
    """What trained classifiers answer; `scoring` makes tables of it.

    Args:
        names: R representations.
        seeds: S probe seeds.
        control: `none`, `shuffled_labels`, `majority_class` or `random_weights`.
        target: What they predict.
        folds: How the clips were divided.
        answers: By part (VALIDATION, TEST): predicted classes of its clips, int16 [R, S, M], as `scored_clips` orders
            them.
        n_epochs: Epochs or iterations, int [R, F, S].
        strength: The chosen regularisation, [R, F, S]; NaN where there is none.
        layer_weights: [R, F, S, L] of a learned sum of layers, None for others.
    """

    names: Sequence[str | RepresentationKey]
    seeds: Sequence[int]
    control: str
    target: Target
    folds: Folds
    answers: Mapping[int, np.ndarray]
    n_epochs: np.ndarray
    strength: np.ndarray
    layer_weights: np.ndarray | None = None

    def truth(self, part: int) -> np.ndarray:
        """Return the true classes of a part's clips, int [M]."""
        return self.target.values[scored_clips(self.folds, part).clip]

    def speakers(self, part: int) -> np.ndarray:
        """Return the speakers of a part's clips, [M]."""
        return self.target.groups[scored_clips(self.folds, part).clip]


def scored_clips(folds: Folds, part: int) -> ScoredClips:
    """Return the clips of a part, fold after fold; where every clip tests once, M is N."""
    fold, clip = np.nonzero(folds.parts == part)
    return ScoredClips(fold, clip)


def fit_probes(
    x: np.ndarray,
    target: Target,
    folds: Folds,
    *,
    names: Sequence[str | RepresentationKey],
    spec: FamilySpec,
    seeds: Sequence[int] = DEFAULT_SEEDS,
    shuffled_labels: bool = False,
    shares_groups: bool = False,
    options: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
) -> Probes:
    """Train a probe of a family for each representation, fold and seed.

    Which clips may train a probe matters as much as how it is trained. Clips that a backbone was fine-tuned on lie
    apart by label in the later checkpoints because they were pushed there; a probe trained on them is not what it
    would be on new speakers. Where there are enough held-out speakers, divide those.

    Args:
        x: Features of R representations of one width, [R, N, D]; of families that sum layers, L layers [L, N, D].
        target: Classes of the N clips, and their speakers.
        folds: How to divide them.
        names: R names; one for a family that sums layers.
        spec: The family.
        seeds: S seeds, each of initial weights, batch order and (if asked for) shuffled labels; a family without seeds
            uses the first, and the first three for shuffled labels.
        shuffled_labels: Train the control: labels shuffled (see `controls`), to learn from and to stop by. Its scores
            on the true labels are what the probe reaches without knowing anything of them.
        shares_groups: The division shares speakers on purpose.
        options: Further arguments of the family.
        progress: Advanced by the number of representations times folds.

    Raises:
        AnalysisError: If a speaker is in two parts, a part is empty, a class never occurs in training, there is one
            class only, a feature is NaN, or lengths differ.
    """
    x = check_features(x, "The probes' features", ndim=3)
    check_lengths(features=x[0], labels=target.values, folds=folds.parts[0])
    n_named = 1 if spec.sums_layers else len(x)
    if len(names) != n_named:
        raise AnalysisError(
            "The probes need one name per representation", expected=f"{n_named} names", found=f"{len(names)}"
        )
    check_folds(target.classes[target.values], folds, target.groups, shares_groups=shares_groups)
    if not spec.has_seeds:
        seeds = list(seeds)[: SHUFFLES_WITHOUT_SEEDS if shuffled_labels else 1]
    # The control's validation labels are shuffled too: stopping by the true ones selects, among probes that learnt
    # nothing, one that fits them by chance, and with separable features that one does well on test.
    labels = np.stack([
        shuffle_values(target.values, target.groups, seed, folds) if shuffled_labels else target.values
        for seed in seeds
    ])  # fmt: skip
    answers = {
        part: np.empty((n_named, len(seeds), len(scored_clips(folds, part).clip)), np.int16) for part in SCORED_PARTS
    }
    shape = (n_named, len(folds.names), len(seeds))
    n_epochs, strength, sums = np.zeros(shape, int), np.full(shape, np.nan), []
    for representations, own_folds in _chunks(x, folds, labels, target.n_classes, spec):
        probes = train_classes(
            spec, x[representations], labels, Folds(folds.names[own_folds], folds.parts[own_folds]),
            groups=target.groups, n_classes=target.n_classes, seeds=seeds, options=options, progress=progress,
        )  # fmt: skip
        place = (slice(0, 1) if spec.sums_layers else representations, own_folds)
        n_epochs[place], strength[place] = probes.n_epochs, probes.strength
        if probes.layer_weights is not None:
            sums.append(probes.layer_weights)
        for part in SCORED_PARTS:
            _keep_answers(answers[part], probes.logits, scored_clips(folds, part), *place)
    control = "shuffled_labels" if shuffled_labels else "none"
    layer_weights = np.concatenate(sums, axis=1) if sums else None
    return Probes(names, seeds, control, target, folds, answers, n_epochs, strength, layer_weights)


def majority_probe(
    target: Target, folds: Folds, *, name: str | RepresentationKey = "", shares_groups: bool = False
) -> Probes:
    """Return the control that always answers with the most frequent training class (the first of equals)."""
    check_folds(target.classes[target.values], folds, target.groups, shares_groups=shares_groups)
    per_fold = majority_answers(target.values, folds, target.n_classes)
    answers = {part: per_fold[scored_clips(folds, part).fold].astype(np.int16)[None, None] for part in SCORED_PARTS}
    shape = (1, len(folds.names), 1)
    return Probes([name], [0], "majority_class", target, folds, answers, np.zeros(shape, int), np.full(shape, np.nan))


def join_probes(parts: Sequence[Probes]) -> Probes:
    """Return probes of the same target, folds, seeds and control as one, the representations in the order given."""
    first = parts[0]
    if len(parts) == 1:
        return first
    return replace(
        first,
        names=[name for probes in parts for name in probes.names],
        answers={part: np.concatenate([probes.answers[part] for probes in parts]) for part in first.answers},
        n_epochs=np.concatenate([probes.n_epochs for probes in parts]),
        strength=np.concatenate([probes.strength for probes in parts]),
        layer_weights=None,
    )


def part_name(part: int) -> str:
    """Return `validation` or `test`."""
    return PART_NAMES[part]


def _chunks(
    x: np.ndarray, folds: Folds, labels: np.ndarray, n_classes: int, spec: FamilySpec
) -> list[tuple[slice, slice]]:
    """Return which representations and folds are trained at a time, so that their answers fit into memory."""
    n_representations, n_folds = len(x), len(folds.names)
    one_fold = 4 * len(labels) * (x.shape[1] + x.shape[2] + 1) * n_classes  # logits, and weights where there are any
    folds_at_once = max(1, min(n_folds, _ANSWER_BYTES // one_fold))
    at_once = n_representations if spec.sums_layers else max(1, _ANSWER_BYTES // (one_fold * folds_at_once))
    return [
        (slice(r, r + at_once), slice(f, f + folds_at_once))
        for r in range(0, n_representations, at_once)
        for f in range(0, n_folds, folds_at_once)
    ]


def _keep_answers(
    answers: np.ndarray, logits: np.ndarray, scored: ScoredClips, representations: slice, folds: slice
) -> None:
    """Store the classes with the highest logits [R, F, S, N, C] of these folds' scored clips in `answers` [R, S, M]."""
    for f in range(logits.shape[1]):
        columns = np.flatnonzero(scored.fold == folds.start + f)
        answers[representations][:, :, columns] = logits[:, f][:, :, scored.clip[columns]].argmax(axis=-1)
