"""The analysis `umap`: maps of the clips in two dimensions, all checkpoints of a layer on one map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ser_probe.analysis.projection import UmapPanels, umap_panels
from ser_probe.analysis.projection_stability import seed_stability
from ser_probe.config import UmapConfig
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import AnalysisError, did_you_mean
from ser_probe.runtime import derive_seed
from ser_probe.steps.analyses.inputs import Inputs
from ser_probe.steps.analyses.representations import Joined
from ser_probe.steps.analyses.umap_page import write_page
from ser_probe.steps.analyses.umap_predictions import CORRECT, join_predictions
from ser_probe.steps.columns import named_columns
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.tables import write_table


def run(inputs: Inputs, config: UmapConfig) -> Outcome:
    """Write the table `umap` (a row per layer, checkpoint and clip: its place, and how far to trust it) and a page.

    Args:
        inputs: Caches of one model. Predictions add the column `correct` and colour by it; without the clips' audio
            root the page plays none. The seed is that of the layout.
        config: Which layers to map, and how.

    Raises:
        AnalysisError: If a layer, a column to colour by or a prediction does not exist, or there are several models.
    """
    progress, seed, predictions = inputs.progress, inputs.seed, inputs.predictions
    joined = inputs.join()
    layers = _check(joined, config)
    made = () if predictions is None else (CORRECT,)
    colours = named_columns(joined.clips, config, "analyze.umap.color", made=made, progress=progress)
    columns = {name: _values(joined, name) for name in colours if name not in made}
    if predictions is not None:
        columns |= join_predictions(predictions, joined.clips["clip_id"].to_numpy())
        colours = list(dict.fromkeys([*colours, CORRECT]))
    columns |= {name: joined.column(name) for name in ("split",) if name in joined.clips}
    tables = []
    # A map of every seed whose neighbours are compared; the first is the one shown.
    seeds = [seed, *(derive_seed("umap stability", seed, k) % 2**31 for k in range(1, config.stability_seeds))]
    progress.start("umap", len(layers) * len(seeds), "maps")
    for layer in layers:
        states = [state.layer(layer) for state in joined.checkpoints]
        maps = []
        for each in seeds:
            maps.append(_map(states, config, each))
            progress.advance()
        stability = seed_stability([each.coordinates for each in maps], config.neighbours)
        tables.append(_tabulate(joined, layer, maps[0], stability, columns))
    progress.finish()
    # A clip's own corpus says more than the names of all, which stand in the same column.
    added = {name: value for name, value in inputs.context.items() if name not in columns}
    table = pd.concat(tables, ignore_index=True).assign(**added)
    files = write_table(table, inputs.output, "umap")
    facts = joined.counts()
    if config.page:
        path = inputs.output / "umap.html"
        page, audio = write_page(
            path, table, joined.clips, colours, config, audio_root=inputs.audio_root, progress=progress
        )
        files, facts = [*files, page], {**facts, "audio in the page": audio}
    return Outcome(tuple(files), facts)


def _check(joined: Joined, config: UmapConfig) -> list[str]:
    """Return the layers to map, after raising what would be found out only when other layers have been mapped."""
    models = list(dict.fromkeys(state.model for state in joined.checkpoints))
    if len(models) > 1:
        raise AnalysisError(
            "Maps of different models cannot share a layout",
            expected="the checkpoints of one model",
            found=", ".join(models),
            fix="map each model by a command of its own",
        )
    first = joined.checkpoints[0]
    with EmbeddingCache.open(first.path) as cache:
        known = cache.layers()
    wanted = list(map(str, config.layers))
    if config.layers == UmapConfig().layers:
        # Features have one layer of another name: the defaults are those of a model.
        wanted = [layer for layer in wanted if layer in known] or [first.layer_names[-1]]
    for layer in wanted:
        if layer not in known:
            raise AnalysisError(f"There is no layer {layer!r}", where=first.path, fix=did_you_mean(layer, known))
    return wanted


def _values(joined: Joined, name: str) -> np.ndarray:
    """Return a column to colour by: numbers as numbers, all else as text; NaN or None where a clip has no value."""
    column = joined.clips[name]
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return column.to_numpy(float, na_value=np.nan)
    return column.astype(str).astype(object).where(column.notna(), None).to_numpy()


def _map(states: Sequence[np.ndarray], config: UmapConfig, seed: int) -> UmapPanels:
    return umap_panels(
        states[0],
        states[1:],
        seed=seed,
        n_neighbors=config.neighbours,
        min_dist=config.min_dist,
        pca_dims=config.pca_dims,
        fit=config.fit,
    )


def _tabulate(
    joined: Joined, layer: str, panels: UmapPanels, stability: Sequence[float], columns: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    tables = []
    for index, state in enumerate(joined.checkpoints):
        points = panels.coordinates[index]
        table = pd.DataFrame({"clip_id": joined.clips["clip_id"], "x": points[:, 0], "y": points[:, 1], **columns})
        tables.append(
            table.assign(
                model=state.model, checkpoint=state.checkpoint, step=state.step, layer=layer, pooling=state.pooling,
                trustworthiness=panels.trustworthiness[index], seed_stability=stability[index], fit=panels.fit,
            )
        )  # fmt: skip
    return pd.concat(tables, ignore_index=True)
