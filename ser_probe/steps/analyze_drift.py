"""The analysis `drift`: how far fine-tuning has moved each layer from a reference, on the same clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ser_probe.analysis.drift.table import drift_table
from ser_probe.config import AnalyzeConfig, DriftConfig
from ser_probe.errors import AnalysisError
from ser_probe.runtime import SILENT, Progress
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.representations import CacheFile, NamedCache, Representation, join_caches, path_of
from ser_probe.steps.tables import write_table


def measure_drift(
    caches: Sequence[CacheFile],
    output: Path,
    *,
    reference: CacheFile,
    analyze: AnalyzeConfig,
    clips: pd.DataFrame | None = None,
    context: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
) -> Outcome:
    """Write the table `drift`: each layer of each cache against the same layer of the reference.

    Args:
        caches: One file per checkpoint; the reference may be among them (its drift is none).
        output: Folder of the table.
        reference: The file to measure from, usually step 0.
        analyze: What to measure, on which splits.
        clips: The study's clips; by default the columns of the caches.
        context: Columns to add to the tables, such as corpus and run seed.
        progress: Told of each checkpoint.

    Raises:
        AnalysisError: If a cache has other layers than the reference.
    """
    config = analyze.drift or DriftConfig()
    splits = None if analyze.splits == "all" else analyze.splits
    # The reference may be listed among the caches, also under another spelling of its path; it counts once.
    others = [cache for cache in caches if not _same(cache, reference)]
    joined = join_caches([reference, *others], clips=clips, splits=splits)
    origin = next(one for one in joined.checkpoints if _is(one, reference))
    speakers = joined.column("speaker") if "speaker" in joined.clips else None
    then = origin.layers()
    tables = []
    progress.start("drift", len(joined.checkpoints), "checkpoints")
    for one in joined.checkpoints:
        if one.layer_names != origin.layer_names:
            raise AnalysisError(
                "Drift needs the same layers in both files",
                where=one.path,
                expected=f"{', '.join(origin.layer_names)} (as in {origin.path})",
                found=", ".join(one.layer_names),
            )
        table = drift_table(then, one.layers(), list(one.layer_names), groups=speakers)
        where: dict[str, Any] = {
            "model": one.model,
            "checkpoint": one.checkpoint,
            "step": one.step,
            "pooling": one.pooling,
        }
        tables.append(table.assign(**where, reference=origin.checkpoint))
        progress.advance()
    progress.finish()
    table = pd.concat(tables, ignore_index=True)
    table = table[table["measure"].isin(config.measures)].reset_index(drop=True)
    return Outcome(tuple(write_table(table.assign(**context or {}), output, "drift")), {"clips": len(joined.clips)})


def _same(one: CacheFile, other: CacheFile) -> bool:
    """Tell whether two caches are one file under one name."""
    named = (cache.checkpoint if isinstance(cache, NamedCache) else None for cache in (one, other))
    return path_of(one).resolve() == path_of(other).resolve() and len(set(named)) == 1


def _is(one: Representation, cache: CacheFile) -> bool:
    checkpoint = cache.checkpoint if isinstance(cache, NamedCache) else one.checkpoint
    return one.path == path_of(cache) and one.checkpoint == checkpoint
