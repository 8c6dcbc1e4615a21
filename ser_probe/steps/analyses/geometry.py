"""The analysis `geometry`: the shape of each layer, and what its variance is about."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ser_probe.analysis.geometry.table import Geometry, geometry_table
from ser_probe.analysis.inputs import RepresentationKey
from ser_probe.config import GeometryConfig
from ser_probe.report.tables import POOLED
from ser_probe.runtime import Progress
from ser_probe.steps.analyses.corpora import Part, corpus_counts, corpus_parts, in_context, join_parts, of_each
from ser_probe.steps.analyses.inputs import Inputs
from ser_probe.steps.analyses.representations import Joined, Representation
from ser_probe.steps.columns import named_columns, say_without, say_without_intervals
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.tables import write_table

# Of more values than this share of the clips, a column names clips and explains everything.
_MOST_VALUES = 0.5


def run(inputs: Inputs, config: GeometryConfig) -> Outcome:
    """Write `geometry` (a row per layer, checkpoint, measure and factor) and `geometry_spectrum`.

    Args:
        inputs: Caches; features are measured too, standardised: what the clips themselves are about. The seed is that
            of the permutations.
        config: What to measure.

    Raises:
        AnalysisError: If no clip is in all files, or a representation has no shape.
    """
    progress = inputs.progress
    joined = inputs.join()
    columns = {"factors": joined.known_names(config.factors), "by": joined.known_names(config.by)}
    config = config.model_copy(update=columns)
    say_without_intervals("geometry", joined.clips, progress)
    parts = corpus_parts(joined, "geometry", progress, apart=inputs.by_corpus)
    represented = [*joined.checkpoints, *([joined.features] if joined.features is not None else [])]
    n_layers = sum(len(state.layer_names) for state in represented)
    progress.start("geometry", len(parts) * n_layers, "representations")

    def describe(part: Part, counted: Progress) -> tuple[pd.DataFrame, pd.DataFrame]:
        return _describe(part, config, inputs.seed, counted)

    parts, made = of_each(parts, describe, "geometry", progress)
    progress.finish()
    pooling = {(state.model, state.checkpoint): state.pooling for state in represented}
    files = []
    for name, tables in (("geometry_spectrum", [spectrum for _, spectrum in made]),
                         ("geometry", [table for table, _ in made])):  # fmt: skip
        joined_tables = join_parts(parts, tables)
        places = zip(joined_tables["model"], joined_tables["checkpoint"], strict=True)
        joined_tables = joined_tables.assign(pooling=[pooling[place] for place in places])
        files += write_table(in_context(joined_tables, inputs.context), inputs.output, name)
    facts = joined.counts() | corpus_counts(parts) | {"representations": n_layers}
    return Outcome(tuple(files), facts)


def _describe(part: Part, config: GeometryConfig, seed: int, progress: Progress) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the geometry and the spectra of all representations over some clips."""
    joined = part.joined
    factors = _factors(part, config, progress)
    speakers = factors.get("speaker")
    if speakers is None and joined.is_complete("speaker"):
        speakers = joined.column("speaker")
    geometry = Geometry(
        len(joined.clips),
        speakers=speakers,
        factors=factors,
        by=config.by,
        n_permutations=config.permutations,
        rank_intervals=config.rank_intervals,
        seed=seed,
    )
    return geometry_table(
        _representations(joined),
        geometry,
        n_speakers=np.nan if speakers is None else len(np.unique(speakers)),
        n_components=config.components,
        advance=lambda: progress.advance(**part.beside),
    )


def _representations(joined: Joined) -> Iterator[tuple[RepresentationKey, np.ndarray]]:
    for state in joined.checkpoints:
        yield from ((state.key(layer), state.layer(layer)) for layer in state.layer_names)
    if joined.features is not None:
        yield from _standardised(joined.features)


def _standardised(state: Representation) -> Iterator[tuple[RepresentationKey, np.ndarray]]:
    """Yield features in units of their standard deviation: in their own, those in Hz would be all there is."""
    for layer in state.layer_names:
        x = state.layer(layer).astype(np.float64)
        spread = x.std(axis=0)
        varying = spread > 4 * np.finfo(np.float32).eps * np.abs(x).max(axis=0)
        yield state.key(layer), (x[:, varying] - x[:, varying].mean(axis=0)) / spread[varying]


def _factors(part: Part, config: GeometryConfig, progress: Progress) -> dict[str, np.ndarray]:
    """Return the columns that can be factors; those that cannot are named.

    Raises:
        AnalysisError: If a column is asked for, beyond the defaults, that the clips do not have.
    """
    joined, where = part.joined, f" in {part.corpus}" if part.corpus not in ("", POOLED) else ""
    for key in ("factors", "by"):
        named_columns(joined.clips, config, f"analyze.geometry.{key}")
    columns, missing = {}, []
    for name in dict.fromkeys([*config.factors, *config.by]):
        if name not in joined.clips:
            missing.append(name)
            continue
        if joined.clips[name].isna().any():
            reason = f"{int(joined.clips[name].isna().sum())} clips have no value"
        elif (n_values := joined.clips[name].nunique()) < 2:
            reason = "all clips have the same value"
        elif n_values > _MOST_VALUES * len(joined.clips):
            reason = f"it has {n_values} values for {len(joined.clips)} clips"
        else:
            columns[name] = joined.column(name)
            continue
        progress.say(f"geometry without {name}{where}: {reason}")
    if not where:  # said of all clips
        say_without("geometry", missing, progress)
    return columns
