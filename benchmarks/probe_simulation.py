"""Probes whose truth is known: what the tests of a change must find, and where they must find nothing.

Two levels. `null_p_values` draws the answers of two equally good probes: the test by itself. `pipeline_p_values` draws
two embeddings of equal worth, trains probes on both and tests those: what a study does, training luck included.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.special

from ser_probe.analysis.probes.comparisons import contributions, sign_flip_test
from ser_probe.analysis.probes.divisions import rotated_folds, single_fold
from ser_probe.analysis.probes.family_table import FAMILIES
from ser_probe.analysis.probes.fitting import fit_probes
from ser_probe.analysis.probes.scoring import score_part
from ser_probe.analysis.probes.targets import make_target

_SIGNAL = 4.0  # distance of a class's centre from the origin, in standard deviations of a clip


def simulate_answers(
    n_sets: int,
    *,
    n_speakers: int,
    n_classes: int = 6,
    clips_per_class: int = 4,
    effect: float = 0.0,
    speaker_spread: float = 0.8,
    change_spread: float = 0.4,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the counted answers of two probes on the same clips, in data sets of their own.

    A clip is right with the log odds -0.2 + its class's ease + its speaker's ease + (for each probe anew) how well this
    probe suits this speaker; the second probe's log odds are higher by `effect`.

    Args:
        n_sets: Data sets R.
        n_speakers: G.
        n_classes: C.
        clips_per_class: Clips of each speaker with each class.
        effect: 0 for two equally good probes.
        speaker_spread: Standard deviation of the speakers' ease.
        change_spread: Standard deviation of how well a probe suits a speaker.
        seed: Seed of the draw.

    Returns:
        Answers of either, int64 [R, 1, G, 3, C]; see `count_answers`. What is predicted is not simulated (zeros).
    """
    rng = np.random.default_rng(seed)
    shape = (n_sets, n_speakers, n_classes)
    ease = -0.2 + rng.normal(0, 0.5, (n_sets, 1, n_classes)) + rng.normal(0, speaker_spread, (n_sets, n_speakers, 1))
    both = []
    for shift in (0.0, effect):
        odds = ease + shift + rng.normal(0, change_spread, (n_sets, n_speakers, 1))
        right = rng.binomial(clips_per_class, scipy.special.expit(odds))
        both.append(np.stack([right, np.full(shape, clips_per_class), np.zeros(shape, int)], axis=2)[:, None])
    return both[0], both[1]


def null_p_values(
    n_sets: int, *, n_speakers: int, measure: str = "uar", seed: int = 0, effect: float = 0.0
) -> np.ndarray:
    """Return the p-values of the before/after test on data sets with no effect, [n_sets].

    They are uniform as far as so few speakers allow: no share of them below a level exceeds the level.

    Args:
        n_sets: Data sets.
        n_speakers: Test speakers in each.
        measure: `uar` or `accuracy`.
        seed: Seed of the draw.
        effect: Not 0: the power of the test instead.
    """
    before, after = simulate_answers(n_sets, n_speakers=n_speakers, seed=seed, effect=effect)
    return sign_flip_test(contributions(before, after, measure), seed=seed)[0]


@dataclass(frozen=True)
class States:
    """Two states of R layers that hold a label equally well.

    Args:
        before: Features, float32 [R, N, D].
        after: The same classes with other noise and other voices, turned into the same directions.
        labels: Classes, int [N].
        speakers: Speakers, int in [0, G), [N].
    """

    before: np.ndarray
    after: np.ndarray
    labels: np.ndarray
    speakers: np.ndarray


def simulate_states(
    n_sets: int,
    *,
    n_speakers: int,
    n_classes: int = 4,
    clips_per_class: int = 3,
    width: int = 16,
    voices: float = 0.5,
    effect: float = 0.0,
    seed: int = 0,
) -> States:
    """Draw two states of layers that are equally good to read from, unless there is an effect.

    Args:
        n_sets: R.
        n_speakers: G.
        n_classes: C, at most D.
        clips_per_class: Clips of each speaker with each class.
        width: D.
        voices: How far speakers lie apart, and (times 0.8) how differently they express a class; drawn anew in either
            state.
        effect: By which share the classes lie further apart in the second state.
        seed: Seed of the draw.
    """
    rng = np.random.default_rng(seed)
    labels = np.tile(np.repeat(np.arange(n_classes), clips_per_class), n_speakers)
    clips = n_classes * clips_per_class
    centres = 0.6 * _SIGNAL * np.linalg.qr(rng.standard_normal((n_sets, width, width)))[0][:, :n_classes]
    states = []
    for scale in (1.0, 1.0 + effect):
        x = scale * centres[:, labels] + rng.standard_normal((n_sets, len(labels), width))
        x += voices * np.repeat(rng.standard_normal((n_sets, n_speakers, width)), clips, axis=1)
        manners = rng.standard_normal((n_sets, n_speakers * n_classes, width))
        x += 0.8 * voices * np.repeat(manners, clips_per_class, axis=1)
        states.append(x.astype(np.float32))
    return States(states[0], states[1], labels, np.repeat(np.arange(n_speakers), clips))


def pipeline_p_values(
    n_sets: int, *, n_train: int, n_test: int, n_folds: int = 1, family: str = "linear", seed: int = 0, **drawn: float
) -> np.ndarray:
    """Return p-values of the whole way on layers that did not change: draw, train, score, test; [n_sets].

    Args:
        n_sets: Data sets.
        n_train: Speakers that train; with folds, all others than those that test and validate.
        n_test: Speakers that test; with folds, all.
        n_folds: 1: one division, with three validation speakers; more: rotating folds of `n_test` speakers in all.
        family: Family of probes.
        seed: Seed of the draw.
        drawn: More for `simulate_states`; with an `effect`, the power of the test instead.
    """
    n_speakers = n_test if n_folds > 1 else n_train + 3 + n_test
    states = simulate_states(n_sets, n_speakers=n_speakers, seed=seed, **drawn)  # type: ignore[arg-type]
    target = make_target("label", pd.Series(states.labels.astype(str)), states.speakers.astype(str))
    if n_folds > 1:
        folds = rotated_folds(states.speakers % n_folds)
    else:
        part = np.select([states.speakers < n_train, states.speakers < n_train + 3], ["train", "validation"], "test")
        folds = single_fold(part)
    names = [str(index) for index in range(n_sets)]
    counts = [
        score_part(
            fit_probes(x, target, folds, names=names, spec=FAMILIES[family], seeds=range(2)), n_resamples=1
        ).counts
        for x in (states.before, states.after)
    ]
    return sign_flip_test(contributions(counts[0], counts[1], "uar"), seed=seed)[0]
