"""Who trains and who tests a probe where nobody says: the study's held-out speakers where they are enough, else all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ser_probe.config import ProbeConfig
from ser_probe.data.columns import find_column
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import AnalysisError
from ser_probe.steps.analyses.representations import CacheFile, NamedCache, clips_of, path_of

LEAST_SPEAKERS = 3
"""One each to train, stop and test."""
MOST_LEFT_OUT_ALONE = 12
"""Of more speakers, groups are left out in turn: a probe for each speaker would take too long."""

_PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Division:
    """How clips are divided for probes.

    Args:
        probe: The options, with the way to divide spelled out.
        reason: Why this way; empty where it was asked for.
    """

    probe: ProbeConfig
    reason: str = ""

    def line(self) -> str:
        """Return what was chosen and why, in one line; empty where it was asked for."""
        folds = f" of {self.probe.folds} groups" if self.probe.division == "kfold" else ""
        return f"probe: division {self.probe.division}{folds}, because {self.reason}" if self.reason else ""


def settle_division(probe: ProbeConfig, clips: pd.DataFrame, *, fine_tuned: bool) -> Division:
    """Return how clips are divided; `auto` becomes one of the other ways.

    `heldout` where the test part has three speakers. With fewer, and checkpoints that were fine-tuned on the other
    parts, `study`: to test on speakers whose labels are in the weights would flatter the later checkpoints. Else every
    speaker is left out in turn (`loso`), or groups of them (`kfold`).

    Args:
        probe: The options.
        clips: All clips, with the column of the groups and, where there is one, `split`.
        fine_tuned: Whether a checkpoint was trained on the clips.

    Raises:
        AnalysisError: If there are fewer than three speakers.
    """
    if probe.division != "auto":
        return Division(probe)
    unit = find_column(probe.groups, clips.columns)
    if unit is None:
        # What is missing is said where the column is read.
        return Division(probe.model_copy(update={"division": "loso", "among": "all"}), f"there is no {probe.groups}")
    speakers = clips[unit].dropna().astype(str)
    of_parts = speakers.groupby(clips["split"]).nunique() if "split" in clips else pd.Series(dtype=int)
    held_out = int(of_parts.get("test", 0))
    if held_out >= LEAST_SPEAKERS:
        reason = f"the test part has {held_out} {unit}s, which are divided anew"
        return Division(probe.model_copy(update={"division": "heldout"}), reason)
    few = f"the test part has {held_out} of the {unit}s, too few to be divided anew"
    if fine_tuned and all(of_parts.get(part, 0) for part in _PARTS):
        reason = f"{few}, and fine-tuning has seen the others"
        return Division(probe.model_copy(update={"division": "study"}), reason)
    n = speakers.nunique()
    if n < LEAST_SPEAKERS:
        raise AnalysisError(
            f"There are too few {unit}s for probes",
            expected=f"{LEAST_SPEAKERS} or more: one each to train, stop and test",
            found=f"{n}: {', '.join(sorted(set(speakers)))}",
            fix=f"add {unit}s, or set analyze.probe.division to study_e_published, which divides clips whoever speaks",
        )
    why = few if "split" in clips else "the clips name no splits"
    if n <= max(MOST_LEFT_OUT_ALONE, probe.folds):
        reason = f"{why}: each of the {n} {unit}s is left out in turn"
        return Division(probe.model_copy(update={"division": "loso", "among": "all"}), reason)
    reason = f"{why}: the {n} {unit}s are left out in turn, a group at a time"
    return Division(probe.model_copy(update={"division": "kfold", "among": "all"}), reason)


def known_clips(caches: Sequence[CacheFile], clips: pd.DataFrame | None) -> pd.DataFrame:
    """Return the study's clips, or those that the first file carries."""
    if clips is not None or not caches:
        return pd.DataFrame() if clips is None else clips
    with EmbeddingCache.open(path_of(caches[0])) as cache:
        return clips_of(cache)


def embedded_clips(caches: Sequence[CacheFile], clips: pd.DataFrame | None) -> pd.DataFrame:
    """Return the clips of `known_clips` that the first file holds: a study may embed its test speakers alone."""
    table = known_clips(caches, clips)
    if not caches or "clip_id" not in table:
        return table
    with EmbeddingCache.open(path_of(caches[0])) as cache:
        return table[table["clip_id"].isin(set(cache.clip_ids))]


def any_fine_tuned(caches: Sequence[CacheFile]) -> bool:
    """Tell whether a file is of a checkpoint after step 0."""
    for file in caches:
        if isinstance(file, NamedCache):
            step: object = file.step
        else:
            with EmbeddingCache.open(file) as cache:
                step = cache.attributes.get("step")
        if isinstance(step, int | float) and step > 0:
            return True
    return False
