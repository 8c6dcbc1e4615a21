"""The analysis `similarity`: CKA of layers with acoustic features, within a checkpoint, and across checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ser_probe.analysis.inputs import RepresentationKey
from ser_probe.analysis.similarity.table import similarity_table
from ser_probe.config import AnalyzeConfig, SimilarityConfig
from ser_probe.errors import AnalysisError
from ser_probe.runtime import SILENT, Progress
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.representations import CacheFile, Representation, join_caches
from ser_probe.steps.tables import write_table


def compare_caches(
    caches: Sequence[CacheFile],
    output: Path,
    *,
    analyze: AnalyzeConfig,
    features: Path | None = None,
    clips: pd.DataFrame | None = None,
    context: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
) -> Outcome:
    """Write the table `similarity`: with features, within each checkpoint, and from the first to each other one.

    Args:
        caches: One file per checkpoint.
        output: Folder of the table.
        analyze: What to compare, on which splits.
        features: Acoustic features to compare with.
        clips: The study's clips; by default the columns of the caches.
        context: Columns to add to the tables, such as corpus and run seed.
        progress: Told of each comparison.

    Raises:
        AnalysisError: If no pair is left to compare.
    """
    config = analyze.similarity or SimilarityConfig()
    splits = None if analyze.splits == "all" else analyze.splits
    joined = join_caches(caches, features=features, clips=clips, splits=splits)
    speakers = joined.column("speaker") if "speaker" in joined.clips else None
    first, later = joined.checkpoints[0], joined.checkpoints[1:]
    pairs: list[tuple[Representation, Representation | None]] = []
    if joined.features is not None and config.egemaps:
        pairs += [(one, joined.features) for one in joined.checkpoints]
    if config.layers_within:
        pairs += [(one, None) for one in joined.checkpoints]
    if config.across:
        pairs += [(first, one) for one in later]
    if not pairs:
        raise AnalysisError(
            "There is nothing to compare",
            found=f"{len(joined.checkpoints)} embedding file, no features, no layers within it",
            fix="give a second file, features with --with, or leave --no-within away",
        )
    tables = []
    progress.start("similarity", len(pairs), "comparisons")
    for one, other in pairs:
        others = None if other is None else _named(other)
        # CKA weighs a feature by its variance: in their own units, eGeMAPS would be little but formants in Hz.
        tables.append(
            similarity_table(_named(one), others, groups=speakers, standardise_others=other is joined.features)
        )
        progress.advance()
    progress.finish()
    table = pd.concat(tables, ignore_index=True)
    table = table[table["measure"].isin(config.measures)].reset_index(drop=True)
    facts: dict[str, object] = {"clips": len(joined.clips), "pairs of representations": len(table)}
    return Outcome(tuple(write_table(table.assign(**context or {}), output, "similarity")), facts)


def _named(one: Representation) -> dict[RepresentationKey, np.ndarray]:
    return dict(zip((one.key(name) for name in one.layer_names), one.layers(), strict=True))
