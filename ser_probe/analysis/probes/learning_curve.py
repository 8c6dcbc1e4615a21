"""What more training data would bring: a probe's score against the share of training speakers, and of clips.

Two ways to have less data answer two questions. Fewer speakers (`by: speakers`): would more voices help? Fewer clips of
every speaker (`by: clips`): would more takes of the same voices help? The same number of clips from more speakers is
usually worth more; where the two curves agree, it is not. Test clips stay the same throughout.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ser_probe.analysis.inputs import RepresentationKey, check_features, check_lengths, key_columns
from ser_probe.analysis.metrics import confusion_matrices, confusion_scores
from ser_probe.analysis.probes.description_length import Fit
from ser_probe.analysis.probes.families import UNUSED, Folds
from ser_probe.analysis.resampling import group_codes
from ser_probe.errors import AnalysisError
from ser_probe.runtime import derive_seed

_TRIES = 50  # draws of speakers until their clips show every class


@dataclass(frozen=True)
class Draw:
    """One smaller training part.

    Args:
        by: `speakers` or `clips`.
        fraction: The share asked for.
        number: Which draw.
        fold: Which of the given folds it is a part of.
        kept: Positions of the training clips that are left.
    """

    by: str
    fraction: float
    number: int
    fold: int
    kept: np.ndarray


def learning_curve(
    x: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    folds: Folds,
    *,
    fit: Fit,
    names: Sequence[str | RepresentationKey],
    fractions: Sequence[float] = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0),
    n_draws: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the test scores of probes trained on shares of the training clips.

    Args:
        x: Features of R representations, [R, N, D].
        labels: Labels [N].
        groups: Speakers [N].
        folds: How the clips are divided; validation and test clips are kept as they are. Draws take turns over folds.
        fit: The family; it is called once for all draws.
        names: R names.
        fractions: Shares in (0, 1].
        n_draws: Random draws per share and way; the whole training part is drawn once a fold.
        seed: Seed of the draws, which are nested: a larger share holds the smaller one's speakers.

    Returns:
        A row per representation, way (`by`), `fraction` and measure: the mean over draws `value`, `sd_over_draws` (NaN
        for one draw) and `n_draws`; `train_clips` and `train_speakers` (means), `n` and `n_speakers` of the test. The
        shares of speakers are of whole ones: of two speakers, 0.1 and 0.5 are both one, and one row (at 0.5). A share
        too small to show every class has no row.

    Raises:
        AnalysisError: If features are NaN, lengths differ, a fraction is not in (0, 1], or there are no training clips.
    """
    x = check_features(x, "The probes' features", ndim=3)
    check_lengths(features=x[0], labels=labels, speakers=groups, folds=folds.parts[0])
    if not fractions or not all(0 < fraction <= 1 for fraction in fractions):
        raise AnalysisError(
            "A learning curve needs shares of the training part",
            expected="numbers over 0 and at most 1",
            found=", ".join(map(str, fractions)) or "none",
        )
    classes, codes = group_codes(labels)
    speakers = np.asarray(groups).astype(str)
    draws = list(_draw(codes, speakers, folds, sorted(fractions), n_draws, seed))
    if not draws:
        raise AnalysisError("The folds have no training clips to take shares of", found=f"{len(folds.names)} folds")
    parts = np.stack([_reduced(folds, draw) for draw in draws])
    smaller = Folds([f"{d.by}-{d.fraction:g}-{d.number}" for d in draws], parts)
    logits = fit(x, codes, smaller, groups=np.asarray(groups), n_classes=len(classes)).logits
    rows = []
    for index, draw in enumerate(draws):
        test = folds.test(draw.fold)
        confusion = confusion_matrices(codes[test], logits[:, index][:, :, test].argmax(axis=-1), len(classes))
        for measure, values in confusion_scores(confusion).items():
            rows += [
                {
                    **key_columns(name), "by": draw.by, "fraction": draw.fraction, "measure": measure,
                    "value": float(value), "train_clips": len(draw.kept),
                    "train_speakers": len(set(speakers[draw.kept])), "n": len(test),
                    "n_speakers": len(set(speakers[test])),
                }
                for name, value in zip(names, values.mean(axis=1), strict=True)
            ]  # fmt: skip
    return _summarise(pd.DataFrame(rows))


def _draw(
    labels: np.ndarray, speakers: np.ndarray, folds: Folds, fractions: Sequence[float], n_draws: int, seed: int
) -> Iterator[Draw]:
    n_folds = len(folds.names)
    for number in range(max(n_draws, n_folds)):
        fold = number % n_folds
        train = folds.train(fold)
        if not len(train):
            continue
        rng = np.random.default_rng(derive_seed(f"learning curve {number}", seed))
        order = _speaker_order(labels, speakers, train, fractions, rng)
        shuffled = rng.permutation(train)
        # All draws of the whole are one: to repeat it would only make its spread look small.
        counts = sorted({max(1, round(fraction * len(order))) for fraction in fractions})
        for count in counts:
            kept = train[np.isin(speakers[train], order[:count])]
            again = number >= (n_folds if count == len(order) else n_draws)
            if not again and set(labels[kept]) == set(labels[train]):
                # Folds differ by a speaker: the nearest share asked for puts their draws into one row.
                nearest = min(fractions, key=lambda fraction: abs(fraction - count / len(order)))
                yield Draw("speakers", nearest, number, fold, kept)
        for fraction in fractions:
            if number < (n_folds if fraction == 1 else n_draws):
                kept = np.sort(_share_of_each_class(labels, shuffled, fraction))
                yield Draw("clips", fraction, number, fold, kept)


def _speaker_order(
    labels: np.ndarray, speakers: np.ndarray, train: np.ndarray, fractions: Sequence[float], rng: np.random.Generator
) -> np.ndarray:
    """Return an order of the training speakers whose first ones show every class, where one is found."""
    names = np.unique(speakers[train])
    fewest = max(1, round(min(fractions) * len(names)))
    for _ in range(_TRIES):
        order = rng.permutation(names)
        if set(labels[train[np.isin(speakers[train], order[:fewest])]]) == set(labels[train]):
            break
    return order


def _share_of_each_class(labels: np.ndarray, shuffled: np.ndarray, fraction: float) -> np.ndarray:
    chosen = [shuffled[labels[shuffled] == label] for label in np.unique(labels[shuffled])]
    return np.concatenate([clips[: max(1, round(fraction * len(clips)))] for clips in chosen])


def _reduced(folds: Folds, draw: Draw) -> np.ndarray:
    parts = folds.parts[draw.fold].copy()
    parts[np.setdiff1d(folds.train(draw.fold), draw.kept)] = UNUSED
    return parts


def _summarise(rows: pd.DataFrame) -> pd.DataFrame:
    counts = ["train_clips", "train_speakers", "n", "n_speakers"]
    place = [column for column in rows if column not in ("value", *counts)]
    grouped = rows.groupby(place, sort=False, dropna=False)
    summary = grouped["value"].agg(value="mean", sd_over_draws="std", n_draws="size")
    return summary.join(grouped[counts].mean()).reset_index()
