"""The analysis `similarity`: layers with acoustic features, within a checkpoint, across checkpoints and models."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from ser_probe.analysis.similarity.measures import MEASURES
from ser_probe.analysis.similarity.options import Options
from ser_probe.analysis.similarity.table import Permutations, similarity_table
from ser_probe.config import SimilarityConfig
from ser_probe.errors import AnalysisError
from ser_probe.runtime import SILENT, Progress
from ser_probe.steps.analyses.compared_layers import FEATURES, ComparedLayers, collect_layers
from ser_probe.steps.analyses.corpora import Part, corpus_counts, corpus_parts, in_context, join_parts, of_each
from ser_probe.steps.analyses.inputs import Inputs
from ser_probe.steps.columns import say_without_intervals
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.tables import write_table


def run(inputs: Inputs, config: SimilarityConfig) -> Outcome:
    """Write the table `similarity`: with features, within checkpoints, across them, and between models.

    All layers of all files are compared in one computation, and the pairs that were asked for are written. Clips of
    several corpora are also compared corpus by corpus, with a column `corpus` that is `all` for all of them together.

    Args:
        inputs: Caches, and features to compare them with. The seed is that of permutations, folds and minibatches.
        config: What to compare.

    Raises:
        AnalysisError: If no pair is left to compare, or the clips do not admit a measure.
    """
    progress = inputs.progress
    joined = inputs.join()
    layers = collect_layers(joined)
    if config.intervals != "none":
        say_without_intervals("similarity", joined.clips, progress)
    parts = corpus_parts(joined, "similarity", progress, apart=inputs.by_corpus)
    n_families = len(list(_families(_measures(config, len(joined.clips), SILENT))))
    progress.start("similarity", len(parts) * n_families, "parts" if len(parts) > 1 else "kinds of measure")

    def compare(part: Part, counted: Progress) -> pd.DataFrame:
        of_part = layers if part.joined is joined else layers.of_clips(part.places)
        return _compare(part, of_part, config, inputs.seed, counted)

    parts, tables = of_each(parts, compare, "similarity", progress)
    progress.finish()
    table = join_parts(parts, tables)
    facts = joined.counts() | corpus_counts(parts) | {"pairs of representations": len(table)}
    files = write_table(in_context(table, inputs.context), inputs.output, "similarity")
    return Outcome(tuple(files), facts)


def _compare(
    part: Part, layers: ComparedLayers, config: SimilarityConfig, seed: int, progress: Progress
) -> pd.DataFrame:
    """Return the similarities of the pairs that were asked for, over some clips."""
    if config.egemaps and part.joined.features is not None:
        layers = layers.with_features(part.joined.features, groups=config.functional_groups)
    wanted = layers.pairs(config.pairs)
    # A representation beside itself says nothing, where there is nothing else.
    if not (wanted & ~np.eye(len(wanted), dtype=bool)).any():
        raise AnalysisError(
            "There is nothing to compare",
            expected="two representations or more",
            found=f"{len(layers.checkpoints)} embedding file with {len(layers.keys)} layers, no features, "
            f"pairs {', '.join(config.pairs) or 'none'}",
            fix="give a second file, features with --features, or pairs within",
        )
    speakers = part.joined.column("speaker") if "speaker" in part.joined.clips else None
    options = _options(config, speakers, seed, progress)
    with_features = np.broadcast_to(layers.files == FEATURES, wanted.shape)
    asked = wanted if config.permuted == "all" else wanted & with_features
    permutations = Permutations(config.permutations, config.permute, asked, seed)
    tables = []
    for relatives in _families(_measures(config, len(part.joined.clips), progress)):
        tables.append(
            similarity_table(
                dict(zip(layers.keys, layers.sources, strict=True)),
                measures=relatives,
                options=options,
                wanted=wanted,
                permutations=permutations,
                all_intervals=config.intervals == "all",
            )
        )
        progress.advance(**part.beside)
    return pd.concat(tables, ignore_index=True)


def _families(measures: Sequence[str]) -> Iterator[list[str]]:
    """Yield the measures that are computed together."""
    for family in dict.fromkeys(MEASURES[name].family for name in measures):
        yield [name for name in measures if MEASURES[name].family is family]


def _options(config: SimilarityConfig, speakers: np.ndarray | None, seed: int, progress: Progress) -> Options:
    shared = {field.name for field in dataclasses.fields(Options)} & set(SimilarityConfig.model_fields) - {"intervals"}
    given = {name: getattr(config, name) for name in shared}
    return Options(groups=speakers, intervals=config.intervals != "none", seed=seed, progress=progress, **given)


def _measures(config: SimilarityConfig, n: int, progress: Progress) -> list[str]:
    """Return the measures to compute: of too many clips for matrices of all pairs, CKA is taken from minibatches."""
    names: list[str] = list(config.measures)
    if n > config.minibatch_above and {"cka", "cka_debiased"} & set(names):
        progress.say(f"similarity: {n} clips, so cka_minibatch takes the place of CKA of all pairs of clips")
        names = ["cka_minibatch" if name in ("cka", "cka_debiased") else name for name in names]
    return list(dict.fromkeys(names))
