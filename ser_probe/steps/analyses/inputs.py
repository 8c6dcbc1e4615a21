"""What analyses look at: one object for all of them. What an analysis does not use, nobody needs to give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from ser_probe.config import SplitConfig
from ser_probe.runtime import SILENT, Progress
from ser_probe.steps.analyses.representations import CacheFile, Joined, join_caches


@dataclass(frozen=True)
class Inputs:
    """What an analysis is given beside its options.

    Args:
        output: Folder of the tables.
        caches: One file per checkpoint.
        clips: The study's clips, with labels, speakers and splits; None: the columns of the caches.
        splits: Clips of which splits are looked at.
        by_corpus: Whether clips of several corpora are also analysed corpus by corpus.
        seed: Seed of what the analysis draws.
        features: File of acoustic features.
        control: The same architecture with random weights.
        reference: The file that is measured from; None: the first of `caches`.
        repeats: The reference extracted again: the same weights, another batch size or precision.
        seed_caches: Checkpoints of other fine-tuning seeds, each of a step that is among the caches.
        checkpoints: Folders of weights by the checkpoint's name (`step-50`), in the order of their steps.
        split: How held-out speakers are divided anew.
        predictions: Predictions of the clips as `evaluate` writes them.
        audio_root: Folder that the clips' paths start from.
        tables: Folder of a study's tables, for an analysis of other tables.
        table: One table of results, wherever it is from.
        from_moments: Whether `table` has a row a cell, with `mean`, `sd` and `n`, in place of single results.
        context: Columns to add to the tables, such as corpus and run seed.
        progress: Told of the work.
    """

    output: Path
    caches: Sequence[CacheFile] = ()
    clips: pd.DataFrame | None = None
    splits: Literal["all"] | Sequence[str] = "all"
    by_corpus: bool = True
    seed: int = 0
    features: Path | None = None
    control: CacheFile | None = None
    reference: CacheFile | None = None
    repeats: Sequence[CacheFile] = ()
    seed_caches: Sequence[CacheFile] = ()
    checkpoints: Mapping[str, Path] = field(default_factory=dict)
    split: SplitConfig = field(default_factory=SplitConfig)
    predictions: Path | None = None
    audio_root: Path | None = None
    tables: Path | None = None
    table: Path | None = None
    from_moments: bool = False
    context: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress = SILENT

    @property
    def chosen_splits(self) -> Sequence[str] | None:
        """The splits that are looked at; None for all clips."""
        return None if self.splits == "all" else self.splits

    def join(self, *, with_control: bool = False) -> Joined:
        """Return the caches and features joined on the clips of the chosen splits.

        Args:
            with_control: Whether the control with random weights is joined too, after the caches.

        Raises:
            AnalysisError: If no clip is in all files.
        """
        files = [*self.caches, *([self.control] if with_control and self.control is not None else [])]
        return join_caches(files, features=self.features, clips=self.clips, splits=self.chosen_splits)
