"""Counted answers of probes whose truth is known: what the tests of a change must find, and where they must not."""

from __future__ import annotations

import numpy as np
import scipy.special

from ser_probe.analysis.probes.comparisons import contributions, sign_flip_test


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
