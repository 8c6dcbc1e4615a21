"""What is predicted, of which clips, what is held out, and how its classes are permuted where they mean nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import gammaln

from ser_probe.analysis.resampling import group_codes
from ser_probe.runtime import derive_seed

TARGETS = ("label", "speaker", "corpus")
MOST_FOLDS = 20
"""Up to so many speakers each is left out alone; beyond, several together."""
CLIP_FOLDS = 5
LEAST_CLIPS = 5
"""A class of fewer clips is left out."""
MOST_SPEAKERS = 50
"""So many speakers are told apart at most: a name among hundreds costs time and says no more."""
MOST_CLIPS_OF_SPEAKERS = 5000
MOST_CLIPS = 20_000
"""More clips are drawn from: they cost time and change no verdict."""


@dataclass(frozen=True)
class Target:
    """What is predicted.

    Args:
        name: `label`, `speaker` or `corpus`.
        rows: Positions of its clips in the table, int [N].
        classes: Names of the classes, [C].
        codes: Each clip's class, int [N].
        speakers: Each clip's speaker, int in [0, G), [N].
        folds: Each clip's fold, int [N].
        strata: Classes are permuted among the clips of one stratum, int [N]; -1: among whole speakers, each of which
            has one class.
        scheme: In words, what is held out and what is permuted.
        has_speakers: Whether the clips' speakers are known, so that there can be intervals over them.
    """

    name: str
    rows: np.ndarray
    classes: tuple[str, ...]
    codes: np.ndarray
    speakers: np.ndarray
    folds: np.ndarray
    strata: np.ndarray
    scheme: str
    has_speakers: bool

    @property
    def n_speakers(self) -> int:
        """How many speakers there are; 0 where they are unknown."""
        return int(self.speakers.max()) + 1 if self.has_speakers else 0


def make_target(name: str, clips: pd.DataFrame, *, seed: int = 0) -> Target | None:
    """Return what is to be predicted, or None where there is nothing to tell apart.

    - Labels are predicted of speakers that were left out, and permuted within each speaker: what a speaker's clips have
      in common is no news. Of speakers with one label each, labels are dealt anew to whole speakers.
    - The same holds for corpora, which are dealt to whole speakers. A corpus of one speaker is left out.
    - Speakers are predicted of clips that were left out, and permuted among the clips of one label and fold.

    Args:
        name: `label`, `speaker` or `corpus`.
        clips: A row a clip; that column, and `speaker`, `corpus`, `label` where there are any.
        seed: Seed of draws and folds.
    """
    if name not in clips:
        return None
    known = np.flatnonzero(clips[name].notna().to_numpy())
    speakers, has_speakers = _speaker_names(clips)
    if name == "speaker":
        return _speaker_target(clips, known, speakers, seed)
    names = clips[name].astype(str).to_numpy()
    rows = _large_classes(known, names)
    if name == "corpus":
        rows = rows[_has_two_speakers(names[rows], speakers[rows])]
    rows = _at_most(rows, MOST_CLIPS, derive_seed("audited clips", seed))
    if len(set(names[rows])) < 2:
        return None
    classes, codes = group_codes(names[rows])
    _, group = group_codes(speakers[rows])
    n_speakers = group.max() + 1
    what = "corpora dealt to whole speakers" if name == "corpus" else "labels permuted within each speaker"
    if n_speakers == 1:
        folds = _dealt_clips(group, CLIP_FOLDS, derive_seed("audit folds", seed))
        scheme = f"one speaker, {CLIP_FOLDS} folds of clips; {what}"
    else:
        dealt = np.random.default_rng(derive_seed("audit folds", seed)).permutation(n_speakers) % MOST_FOLDS
        folds = group_codes(dealt[group])[1]
        who = "each left out in turn" if n_speakers <= MOST_FOLDS else f"left out in {MOST_FOLDS} groups"
        scheme = f"{n_speakers} speakers {who}; {what}"
    if not has_speakers:
        folds = _dealt_clips(np.zeros(len(rows), int), CLIP_FOLDS, derive_seed("audit folds", seed))
        scheme = f"speakers unknown, {CLIP_FOLDS} folds of clips; permuted among all clips"
    return Target(
        name, rows, tuple(classes), codes, group, folds, _label_strata(codes, group), scheme, has_speakers
    )  # fmt: skip


def permuted_targets(target: Target, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return arrangements of the classes that are as likely as the true one if the classes mean nothing, int [P, N]."""
    drawn = np.empty((count, len(target.codes)), target.codes.dtype)
    inside = np.flatnonzero(target.strata >= 0)
    if inside.size:
        order = inside[np.argsort(target.strata[inside], kind="stable")]
        keys = target.strata[order] + rng.random((count, len(order)))
        drawn[:, order] = target.codes[order][np.argsort(keys, axis=1)]
    dealt = np.flatnonzero(target.strata < 0)
    if dealt.size:
        _, first, of_clip = np.unique(target.speakers[dealt], return_index=True, return_inverse=True)
        classes = np.tile(target.codes[dealt][first], (count, 1))
        drawn[:, dealt] = rng.permuted(classes, axis=1)[:, of_clip]
    return drawn


def count_arrangements(target: Target) -> float:
    """Return how many different arrangements of the classes there are, infinity where they are very many."""
    log_count = 0.0
    inside = target.strata >= 0
    if inside.any():
        log_count += _log_arrangements(target.codes[inside], target.strata[inside])
    if not inside.all():
        _, first = np.unique(target.speakers[~inside], return_index=True)
        log_count += _log_arrangements(target.codes[~inside][first], np.zeros(len(first), int))
    return float(np.exp(log_count)) if log_count < 100 else np.inf


def _log_arrangements(codes: np.ndarray, strata: np.ndarray) -> float:
    sizes = np.unique(strata, return_counts=True)[1]
    cells = np.unique(np.stack([strata, codes]), axis=1, return_counts=True)[1]
    return float(gammaln(sizes + 1).sum() - gammaln(cells + 1).sum())


def _speaker_target(clips: pd.DataFrame, known: np.ndarray, speakers: np.ndarray, seed: int) -> Target | None:
    rng = np.random.default_rng(derive_seed("audited speakers", seed))
    rows = _large_classes(known, speakers)
    names = np.unique(speakers[rows])
    if len(names) > MOST_SPEAKERS:
        names = rng.choice(names, MOST_SPEAKERS, replace=False)
    rows = rows[np.isin(speakers[rows], names)]
    if len(names) < 2:
        return None
    rank = _rank_within(speakers[rows], rng)
    rows = rows[rank < MOST_CLIPS_OF_SPEAKERS // len(names)]
    classes, codes = group_codes(speakers[rows])
    labels = np.zeros(len(rows), int)
    if "label" in clips:
        labels = group_codes(clips["label"].to_numpy()[rows])[1]
    # Dealt in turn along the labels of each speaker: every fold has each speaker and, as far as can be, each label.
    order = np.lexsort((rng.random(len(rows)), labels, codes))
    folds = np.empty(len(rows), int)
    folds[order] = np.arange(len(rows)) % CLIP_FOLDS
    strata = labels * CLIP_FOLDS + folds
    scheme = f"{CLIP_FOLDS} folds of clips, each with all speakers; speakers permuted within label and fold"
    return Target("speaker", rows, tuple(classes), codes, codes, folds, strata, scheme, True)


def _speaker_names(clips: pd.DataFrame) -> tuple[np.ndarray, bool]:
    """Return each clip's speaker, told apart by corpus, and whether any is known; an unknown one is not any other's."""
    alone = np.array([f"clip {place}" for place in range(len(clips))], dtype=object)
    if "speaker" not in clips or clips["speaker"].isna().all():
        return alone, False
    names = clips["speaker"].astype(str)
    if "corpus" in clips and clips["corpus"].nunique() > 1:
        names = clips["corpus"].astype(str) + " " + names
    return np.where(clips["speaker"].notna(), names, alone), True


def _large_classes(rows: np.ndarray, names: np.ndarray) -> np.ndarray:
    counts = pd.Series(names[rows]).map(pd.Series(names[rows]).value_counts()).to_numpy()
    return rows[counts >= LEAST_CLIPS] if len(rows) else rows


def _has_two_speakers(names: np.ndarray, speakers: np.ndarray) -> np.ndarray:
    return (pd.Series(speakers).groupby(names).transform("nunique") > 1).to_numpy()


def _at_most(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _rank_within(names: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return each clip's place in a random order of the clips of its speaker."""
    return pd.Series(rng.random(len(names))).groupby(names).rank(method="first").to_numpy() - 1


def _dealt_clips(strata: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    order = np.lexsort((np.random.default_rng(seed).random(len(strata)), strata))
    folds = np.empty(len(strata), int)
    folds[order] = np.arange(len(strata)) % n_folds
    return folds


def _label_strata(codes: np.ndarray, speakers: np.ndarray) -> np.ndarray:
    """Return the speakers as strata, and -1 for those with one class, whose clips have nothing to be exchanged for."""
    varies = pd.Series(codes).groupby(speakers).transform("nunique").to_numpy() > 1
    return np.where(varies, speakers, -1)
