"""The analyses as functions: representations on disk or in memory in, an `AnalysisResult` out.

Each takes one representation or a list: an embedding file (its path or an `EmbeddingCache`), an array [clips, width] of
one layer or [layers, clips, width] of several, a table, or layers by name. Arrays of a list are checkpoints in their
order, steps 0, 1, 2. Labels and speakers are those of the files, unless `labels` and `speakers` (an entry a clip) or
`clips` (a table) say otherwise. Nothing is written unless `output` names a folder for the tables.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ser_probe.config import (
    AcousticsConfig,
    DriftConfig,
    GeometryConfig,
    ProbeConfig,
    Section,
    SimilarityConfig,
    SplitConfig,
    UmapConfig,
)
from ser_probe.library.arrays import ClipTable, Column, File, Files, Representation, Representations, listed, single
from ser_probe.library.call import TEMPORARY, Call, FilePath, Options
from ser_probe.library.results import AnalysisResult, Notes
from ser_probe.report.corpora.warnings import pooling_warnings
from ser_probe.runtime import SILENT, Progress
from ser_probe.steps.analyses.checkpoint_weights import find_checkpoints
from ser_probe.steps.analyses.entries import run_analysis
from ser_probe.steps.analyses.inputs import Inputs
from ser_probe.steps.tables import read_tables

Splits = Literal["all"] | Sequence[str]

_SPELLED = {
    "give their file (--features FEATURES.h5), or extract them (extract.egemaps)": "give them as features",
    "given with --clips": "given as clips",
    "--random-weights": "random_weights",
    "--random": "control",
    "--no-by-corpus": "by_corpus=False",
    "analyze.splits": "splits",
    "The clips have no column 'speaker'": "The clips have no column 'speaker': give speakers",
}
_DESCRIBED = {
    "caches": "Embedding files, or arrays [clips, width] or [layers, clips, width], tables, layers by name; one or a "
    "list, whose arrays are checkpoints in their order, steps 0, 1, 2.",
    "labels": "Each clip's label.",
    "speakers": "Each clip's speaker: no speaker trains and tests, and intervals are over speakers.",
    "clips": "A table of the clips, in the order of the arrays or with `clip_id`, with what else is known of them.",
    "features": "Acoustic features of the same clips: a file, or a table with a column a feature.",
    "control": "The same architecture with random weights.",
    "splits": "Clips of which splits are looked at.",
    "by_corpus": "Of several corpora, also give the values of each corpus.",
    "seed": "Seed of what the analysis draws.",
}


def _call(name: str, schema: type[Section], *more: Options, without: tuple[str, ...] = ()) -> Call:
    return Call((Options(f"analyze.{name}", schema, without), *more), _SPELLED, _DESCRIBED)


_CALLS = {
    "probe": _call("probe", ProbeConfig, Options("split", SplitConfig, only=("scheme", "seed"))),
    "similarity": _call("similarity", SimilarityConfig, without=("egemaps",)),
    "drift": _call("drift", DriftConfig, without=("weights", "floor")),
    "geometry": _call("geometry", GeometryConfig),
    "acoustics": _call("acoustics", AcousticsConfig, without=("splits",)),
    "umap": _call("umap", UmapConfig, without=("page", "embed_audio", "embed_mb")),
}


@_CALLS["probe"]
def probe(
    caches: Representations, labels: Column = None, speakers: Column = None, *, clips: ClipTable | None = None,
    features: Representation | None = None, control: Representation | None = None, output: FilePath | None = None,
    progress: Progress = SILENT, **options: Any,
) -> AnalysisResult:  # fmt: skip
    """Train a probe on every layer of every representation: where is the target readable, and did that change?

    Returns:
        The tables `probe` (a row a seed), `probe_summary` (means with intervals over speakers), `best_layers` (chosen
        on validation) and more.

    Raises:
        ConfigError: If an option cannot be used.
        AnalysisError: If a target or the division of the speakers cannot be used, or features are not finite.
    """
    roles = {"caches": listed(caches), "features": single(features, "features"), "control": single(control, "control")}
    split = _CALLS["probe"].check(options, SplitConfig)
    columns = {"labels": labels, "speakers": speakers}
    return _run("probe", ProbeConfig, options, roles, clips, columns, output, progress, split=split)


@_CALLS["similarity"]
def similarity(
    x: Representations, y: Representations | None = None, *, speakers: Column = None, clips: ClipTable | None = None,
    features: Representation | None = None, splits: Splits = "all", by_corpus: bool = True, seed: int = 0,
    output: FilePath | None = None, progress: Progress = SILENT, **options: Any,
) -> AnalysisResult:  # fmt: skip
    """Compare representations of the same clips: layers within one, checkpoints of a model, two models.

    Args:
        x: The representations; arrays are of the model `x`.
        y: Those of another model; arrays are of the model `y`.

    Returns:
        The table `similarity`: a row per pair of layers and measure.

    Raises:
        ConfigError: If an option cannot be used.
        AnalysisError: If no pair is left to compare, or the clips do not admit a measure.
    """
    others = [] if y is None else listed(y, "y", model="y")
    roles = {"caches": [*listed(x, "x", model="x"), *others], "features": single(features, "features")}
    more = {"splits": splits, "by_corpus": by_corpus, "seed": seed}
    columns = {"speakers": speakers}
    return _run("similarity", SimilarityConfig, options, roles, clips, columns, output, progress, **more)


@_CALLS["drift"]
def drift(
    caches: Representations, reference: Representation | None = None, *, labels: Column = None, speakers: Column = None,
    clips: ClipTable | None = None, repeats: Sequence[File] = (), seed_caches: Sequence[File] = (),
    weights: FilePath | None = None, splits: Splits = "all", by_corpus: bool = True, output: FilePath | None = None,
    progress: Progress = SILENT, **options: Any,
) -> AnalysisResult:  # fmt: skip
    """Measure how far each layer has moved from a reference and from the checkpoint before, on the same clips.

    Args:
        reference: What is measured from; None: the first of `caches`.
        repeats: Files of the reference extracted again, with other batches or precision: what drift has to exceed.
        seed_caches: Files of other fine-tuning seeds, likewise.
        weights: Folder of a fine-tuning run, whose weights are compared too.

    Returns:
        The table `drift`, and where they can be `drift_groups`, `drift_floor` and `weight_drift`.

    Raises:
        ConfigError: If an option cannot be used.
        AnalysisError: If a checkpoint has other layers than the reference.
        CheckpointError: If weights cannot be read.
    """
    origin = single(reference, "reference")
    states = listed(caches, first=0 if origin is None else 1)
    roles = {
        "caches": states, "reference": origin, "repeats": list(repeats), "seed_caches": list(seed_caches)
    }  # fmt: skip
    checkpoints = {} if weights is None else find_checkpoints([Path(os.fspath(weights))])
    columns = {"labels": labels, "speakers": speakers}
    more = {"splits": splits, "by_corpus": by_corpus, "checkpoints": checkpoints}
    return _run("drift", DriftConfig, options, roles, clips, columns, output, progress, **more)


@_CALLS["geometry"]
def geometry(
    caches: Representations, labels: Column = None, speakers: Column = None, *, clips: ClipTable | None = None,
    features: Representation | None = None, splits: Splits = "all", by_corpus: bool = True, seed: int = 0,
    output: FilePath | None = None, progress: Progress = SILENT, **options: Any,
) -> AnalysisResult:  # fmt: skip
    """Measure the shape of each layer: dimension, isotropy, and what its variance is about.

    Returns:
        The tables `geometry_spectrum` and `geometry`.

    Raises:
        ConfigError: If an option cannot be used.
        AnalysisError: If a representation has no shape.
    """
    roles = {"caches": listed(caches), "features": single(features, "features")}
    columns = {"labels": labels, "speakers": speakers}
    more = {"splits": splits, "by_corpus": by_corpus, "seed": seed}
    return _run("geometry", GeometryConfig, options, roles, clips, columns, output, progress, **more)


@_CALLS["acoustics"]
def acoustics(
    caches: Representations, features: Representation, speakers: Column = None, *, clips: ClipTable | None = None,
    control: Representation | None = None, splits: Splits = "all", by_corpus: bool = True, seed: int = 0,
    output: FilePath | None = None, progress: Progress = SILENT, **options: Any,
) -> AnalysisResult:  # fmt: skip
    """Predict every acoustic feature from each layer, for unheard speakers: what is kept of the voice?

    Returns:
        The tables `acoustics_functionals`, `acoustics_groups`, `acoustics_changes` and `acoustics`.

    Raises:
        ConfigError: If an option cannot be used.
        AnalysisError: If there are fewer than three speakers, or no feature varies.
    """
    roles = {"caches": listed(caches), "features": single(features, "features"), "control": single(control, "control")}
    columns = {"speakers": speakers}
    more = {"splits": splits, "by_corpus": by_corpus, "seed": seed}
    return _run("acoustics", AcousticsConfig, options, roles, clips, columns, output, progress, **more)


@_CALLS["umap"]
def umap(
    caches: Representations, labels: Column = None, speakers: Column = None, *, clips: ClipTable | None = None,
    predictions: FilePath | None = None, splits: Splits = "all", seed: int = 0, output: FilePath | None = None,
    progress: Progress = SILENT, **options: Any,
) -> AnalysisResult:  # fmt: skip
    """Map the clips in two dimensions, all checkpoints of a layer of one model on one map. For the eye only.

    Args:
        predictions: Predictions of the clips as `evaluate(..., output=...)` writes them, to colour by right and wrong.

    Returns:
        The table `umap`: a row per layer, checkpoint and clip, with `x` and `y`.

    Raises:
        ConfigError: If an option cannot be used.
        AnalysisError: If a layer or a column to colour by does not exist, or there are several models.
    """
    columns = {"labels": labels, "speakers": speakers}
    more = {"splits": splits, "seed": seed, "predictions": None if predictions is None else Path(predictions)}
    roles, options = {"caches": listed(caches)}, {**options, "page": False}
    return _run("umap", UmapConfig, options, roles, clips, columns, output, progress, **more)


def _run(
    name: str, schema: type[Section], options: Mapping[str, Any], roles: Mapping[str, Any], clips: ClipTable | None,
    columns: Mapping[str, Any], output: FilePath | None, progress: Progress, **more: Any,
) -> AnalysisResult:  # fmt: skip
    """Run an analysis on what a function was given, and return what it has written."""
    call = _CALLS[name]
    config, notes = call.check(options, schema), Notes(progress, call.say)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
        files = Files(Path(folder), clips, columns, roles).inputs()
        target = Path(folder) / "tables" if output is None else Path(os.fspath(output)).expanduser()
        outcome = run_analysis(name, Inputs(target, **files, **more, progress=notes), config)
        tables = read_tables(outcome.files)
    said = (*notes.lines, *outcome.warnings, *pooling_warnings(tables))
    return AnalysisResult(name, tables, outcome.summary, tuple(said))
