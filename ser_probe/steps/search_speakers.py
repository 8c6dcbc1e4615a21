"""The speakers that the trials of a search train on: some of the training speakers, as similar to all as possible."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from ser_probe.data.manifest import Manifest
from ser_probe.errors import SplitError

_LEAST_SPEAKERS = 2
_TRIES = 200


def draw_speakers(manifest: Manifest, fraction: float, rng: np.random.Generator, *, every_class: bool) -> Manifest:
    """Return the clips that trials train and validate on: those of some training speakers, and all for validation.

    Genders are shared out as they are among all; of many draws the one is taken that lacks the fewest classes, and of
    these the one whose shares of the classes are nearest to those of all training speakers.

    Args:
        manifest: Checked clips with splits.
        fraction: Share of the training speakers, in (0, 1]; two are the least.
        rng: Draws the speakers, whatever the order of the rows.
        every_class: Whether the speakers must have clips of every class that the training split has.

    Raises:
        SplitError: If the training speakers are fewer than two, or those drawn lack a class.
    """
    table = manifest.table
    training = table[table["split"] == "train"]
    speakers = np.array(sorted(training["speaker"].unique()))
    if len(speakers) < _LEAST_SPEAKERS:
        raise SplitError(
            "There are too few training speakers to search with", expected=_LEAST_SPEAKERS, found=len(speakers)
        )
    genders = np.full(len(speakers), "")
    if "gender" in training:
        genders = training.groupby("speaker")["gender"].first().reindex(speakers).astype(str).to_numpy()
    labels = training["label"].astype(str) if "label" in training else pd.Series("", index=training.index)
    clips = pd.crosstab(training["speaker"], labels).loc[speakers]
    n_drawn = max(_LEAST_SPEAKERS, round(fraction * len(speakers)))
    drawn = speakers[_draw(genders, clips.to_numpy(), n_drawn, rng)]
    lacking = clips.columns[clips.loc[drawn].sum() == 0]
    if every_class and len(lacking):
        raise SplitError(
            f"The {len(drawn)} of {len(speakers)} training speakers that the search takes lack a class",
            found=", ".join(lacking),
            fix="raise search.fraction",
        )
    keep = (table["split"] == "validation") | ((table["split"] == "train") & table["speaker"].isin(drawn))
    return dataclasses.replace(manifest, table=table[keep].reset_index(drop=True))


def _draw(genders: np.ndarray, clips: np.ndarray, n_drawn: int, rng: np.random.Generator) -> np.ndarray:
    """Return which speakers are drawn.

    Args:
        genders: Of each speaker, ndarray of str of shape (n_speakers,).
        clips: Clips of each speaker with each label, ndarray of shape (n_speakers, C).
        n_drawn: How many.
        rng: Draws.

    Returns:
        ndarray of bool of shape (n_speakers,).
    """
    names, sizes = np.unique(genders, return_counts=True)
    exact = n_drawn * sizes / len(genders)
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: n_drawn - counts.sum()]] += 1  # the largest remainders
    all_shares = clips.sum(axis=0) / clips.sum()
    best, least = np.zeros(len(genders), dtype=bool), (np.inf, np.inf)
    for _ in range(_TRIES):
        drawn = np.zeros(len(genders), dtype=bool)
        for name, count in zip(names, counts, strict=True):
            drawn[rng.choice(np.flatnonzero(genders == name), count, replace=False)] = True
        counted = clips[drawn].sum(axis=0)
        distance = (float((counted == 0).sum()), float(np.abs(counted / counted.sum() - all_shares).sum()))
        if distance < least:
            best, least = drawn, distance
    return best
