"""The analysis `umap`: maps of the clips in two dimensions, all checkpoints of a layer on one map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ser_probe.analysis.projection import umap_panels
from ser_probe.config import AnalyzeConfig, UmapConfig
from ser_probe.errors import AnalysisError, did_you_mean
from ser_probe.runtime import SILENT, Progress
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.representations import CacheFile, join_caches
from ser_probe.steps.tables import write_table


def map_caches(
    caches: Sequence[CacheFile],
    output: Path,
    *,
    analyze: AnalyzeConfig,
    seed: int = 0,
    clips: pd.DataFrame | None = None,
    context: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
) -> Outcome:
    """Write the table `umap`: a row per layer, checkpoint and clip, with its coordinates and the map's trust.

    Args:
        caches: One file per checkpoint of one model.
        output: Folder of the table.
        analyze: Which layers to map and how, on which splits.
        seed: Seed of the layout.
        clips: The study's clips; by default the columns of the caches.
        context: Columns to add to the tables, such as corpus and run seed.
        progress: Told of each layer.

    Raises:
        AnalysisError: If a layer or a column to colour by does not exist.
    """
    config = analyze.umap or UmapConfig()
    splits = None if analyze.splits == "all" else analyze.splits
    joined = join_caches(caches, clips=clips, splits=splits)
    first = joined.checkpoints[0]
    colours = {column: joined.column(column) for column in config.color}
    columns = {**colours, **{name: joined.column(name) for name in ("split",) if name in joined.clips}}
    tables = []
    progress.start("umap", len(config.layers), "layers")
    for layer in map(str, config.layers):
        known = [*first.layer_names, "final"]
        if layer not in known:
            raise AnalysisError(f"There is no layer {layer!r}", where=first.path, fix=did_you_mean(layer, known))
        states = [one.layer(layer) for one in joined.checkpoints]
        panels = umap_panels(
            states[0],
            states[1:],
            seed=seed,
            n_neighbors=config.n_neighbors,
            min_dist=config.min_dist,
            pca_dims=config.pca_dims,
            fit=config.fit,
        )
        for one, points, trust in zip(joined.checkpoints, panels.coordinates, panels.trustworthiness, strict=True):
            place: dict[str, Any] = {"model": one.model, "checkpoint": one.checkpoint, "step": one.step, "layer": layer}
            table = pd.DataFrame({"clip_id": joined.clips["clip_id"], "x": points[:, 0], "y": points[:, 1], **columns})
            tables.append(table.assign(**place, pooling=one.pooling, trustworthiness=trust, fit=panels.fit))
        progress.advance()
    progress.finish()
    table = pd.concat(tables, ignore_index=True)
    return Outcome(tuple(write_table(table.assign(**context or {}), output, "umap")), {"clips": len(joined.clips)})
