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

import pandas as pd

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
from ser_probe.library.arrays import ClipTable, File, Files, Representation, Representations, listed, single
from ser_probe.library.call import TEMPORARY, Call, Options
from ser_probe.library.results import AnalysisResult, Notes
from ser_probe.report.corpora.warnings import pooling_warnings
from ser_probe.runtime import SILENT, Progress
from ser_probe.steps.analyses.checkpoint_weights import find_checkpoints
from ser_probe.steps.analyses.entries import run_analysis
from ser_probe.steps.analyses.inputs import Inputs

FilePath = str | os.PathLike[str]
Splits = Literal["all"] | Sequence[str]

_SPELLED = {
    "give their file (--with FEATURES.h5), or extract them (extract.egemaps)": "give them as features",
    "given with --clips": "given as clips",
    "--with": "features",
    "--random-weights": "random_weights",
    "--random": "control",
    "--no-by-corpus": "by_corpus=False",
    "analyze.splits": "splits",
    "The clips have no column 'speaker'": "The clips have no column 'speaker': give speakers",
}
_PROBE = Call((Options("analyze.probe", ProbeConfig), Options("split", SplitConfig, only=("scheme", "seed"))), _SPELLED)
_SIMILARITY = Call((Options("analyze.similarity", SimilarityConfig, without=("egemaps",)),), _SPELLED)
_DRIFT = Call((Options("analyze.drift", DriftConfig, without=("weights", "floor")),), _SPELLED)
_GEOMETRY = Call((Options("analyze.geometry", GeometryConfig),), _SPELLED)
_ACOUSTICS = Call((Options("analyze.acoustics", AcousticsConfig, without=("splits",)),), _SPELLED)
_UMAP = Call(
    (Options("analyze.umap", UmapConfig, without=("page", "embed_audio", "embed_mb")),),
    _SPELLED,
)


@_PROBE
def probe(
    caches: Representations,
    labels: Sequence[object] | pd.Series | None = None,
    speakers: Sequence[object] | pd.Series | None = None,
    *,
    clips: ClipTable | None = None,
    features: Representation | None = None,
    control: Representation | None = None,
    output: FilePath | None = None,
    progress: Progress = SILENT,
    **options: Any,
) -> AnalysisResult:
    """Train a probe on every layer of every representation: where is the target readable, and did that change?

    Args:
        caches: The representations.
        labels: Each clip's label.
        speakers: Each clip's speaker; no speaker trains and tests.
        clips: A table of the clips, with further targets, `gender` or `split`.
        features: Acoustic features, as a baseline or as targets.
        control: The same architecture with random weights.
        output: Folder to write the tables to.
        progress: Told of each layer.

    Returns:
        The tables `probe` (a row a seed), `probe_summary` (means with intervals over speakers), `best_layers` (chosen
        on validation) and more.

    Raises:
        ConfigError: If an option cannot be used.
        AnalysisError: If a target or the division of the speakers cannot be used, or features are not finite.
    """
    roles = {
        "caches": listed(caches),
        "features": single(features, "features"),
        "control": single(control, "control", model="random weights"),
    }
    columns = {"labels": labels, "speakers": speakers}
    more = {"split": _PROBE.check(options, SplitConfig)}
    return _run("probe", _PROBE, _PROBE.check(options, ProbeConfig), roles, clips, columns, output, progress, more)


@_SIMILARITY
def similarity(
    x: Representations,
    y: Representations | None = None,
    *,
    speakers: Sequence[object] | pd.Series | None = None,
    clips: ClipTable | None = None,
    features: Representation | None = None,
    splits: Splits = "all",
    by_corpus: bool = True,
    seed: int = 0,
    output: FilePath | None = None,
    progress: Progress = SILENT,
    **options: Any,
) -> AnalysisResult:
    """Compare representations of the same clips: layers within one, checkpoints of a model, two models.

    Args:
        x: The representations; arrays are of the model `x`.
        y: Those of another model; arrays are of the model `y`.
        speakers: Each clip's speaker, for intervals and held-out values.
        clips: A table of the clips.
        features: Acoustic features to compare all layers with.
        splits: Clips of which splits are looked at.
        by_corpus: Of several corpora, also compare corpus by corpus.
        seed: Seed of permutations, folds and minibatches.
        output: Folder to write the table to.
        progress: Told of each measure.

    Returns:
        The table `similarity`: a row per pair of layers and measure.

    Raises:
        ConfigError: If an option cannot be used.
        AnalysisError: If no pair is left to compare, or the clips do not admit a measure.
    """
    others = [] if y is None else listed(y, "y", model="y")
    roles = {"caches": [*listed(x, "x", model="x"), *others], "features": single(features, "features")}
    more = {"splits": splits, "by_corpus": by_corpus, "seed": seed}
    config = _SIMILARITY.check(options, SimilarityConfig)
    return _run("similarity", _SIMILARITY, config, roles, clips, {"speakers": speakers}, output, progress, more)


@_DRIFT
def drift(
    caches: Representations,
    reference: Representation | None = None,
    *,
    labels: Sequence[object] | pd.Series | None = None,
    speakers: Sequence[object] | pd.Series | None = None,
    clips: ClipTable | None = None,
    repeats: Sequence[File] = (),
    seed_caches: Sequence[File] = (),
    weights: FilePath | None = None,
    splits: Splits = "all",
    by_corpus: bool = True,
    output: FilePath | None = None,
    progress: Progress = SILENT,
    **options: Any,
) -> AnalysisResult:
    """Measure how far each layer has moved from a reference and from the checkpoint before, on the same clips.

    Args:
        caches: The checkpoints.
        reference: What is measured from; None: the first of them.
        labels: Each clip's label.
        speakers: Each clip's speaker, for intervals.
        clips: A table of the clips.
        repeats: Files of the reference extracted again, with other batches or precision: what drift has to exceed.
        seed_caches: Files of other fine-tuning seeds, likewise.
        weights: Folder of a fine-tuning run, whose weights are compared too.
        splits: Clips of which splits are looked at.
        by_corpus: Of several corpora, also measure corpus by corpus.
        output: Folder to write the tables to.
        progress: Told of each layer.

    Returns:
        The table `drift`, and where they can be `drift_groups`, `drift_floor` and `weight_drift`.

    Raises:
        ConfigError: If an option cannot be used.
        AnalysisError: If a checkpoint has other layers than the reference.
        CheckpointError: If weights cannot be read.
    """
    origin = single(reference, "reference")
    roles = {
        "caches": listed(caches, first=0 if origin is None else 1),
        "reference": origin,
        "repeats": list(repeats),
        "seed_caches": list(seed_caches),
    }
    columns = {"labels": labels, "speakers": speakers}
    found = {} if weights is None else find_checkpoints([Path(os.fspath(weights))])
    more = {"splits": splits, "by_corpus": by_corpus, "checkpoints": found}
    return _run("drift", _DRIFT, _DRIFT.check(options, DriftConfig), roles, clips, columns, output, progress, more)


@_GEOMETRY
def geometry(
    caches: Representations,
    labels: Sequence[object] | pd.Series | None = None,
    speakers: Sequence[object] | pd.Series | None = None,
    *,
    clips: ClipTable | None = None,
    features: Representation | None = None,
    splits: Splits = "all",
    by_corpus: bool = True,
    seed: int = 0,
    output: FilePath | None = None,
    progress: Progress = SILENT,
    **options: Any,
) -> AnalysisResult:
    """Measure the shape of each layer: dimension, isotropy, and what its variance is about.

    Args:
        caches: The representations.
        labels: Each clip's label.
        speakers: Each clip's speaker.
        clips: A table of the clips, with further factors.
        features: Acoustic features, measured too.
        splits: Clips of which splits are looked at.
        by_corpus: Of several corpora, also measure corpus by corpus.
        seed: Seed of the permutations.
        output: Folder to write the tables to.
        progress: Told of each layer.

    Returns:
        The tables `geometry_spectrum` and `geometry`.

    Raises:
        ConfigError: If an option cannot be used.
        AnalysisError: If a representation has no shape.
    """
    roles = {"caches": listed(caches), "features": single(features, "features")}
    columns = {"labels": labels, "speakers": speakers}
    more = {"splits": splits, "by_corpus": by_corpus, "seed": seed}
    config = _GEOMETRY.check(options, GeometryConfig)
    return _run("geometry", _GEOMETRY, config, roles, clips, columns, output, progress, more)


@_ACOUSTICS
def acoustics(
    caches: Representations,
    features: Representation,
    speakers: Sequence[object] | pd.Series | None = None,
    *,
    clips: ClipTable | None = None,
    control: Representation | None = None,
    splits: Splits = "all",
    by_corpus: bool = True,
    seed: int = 0,
    output: FilePath | None = None,
    progress: Progress = SILENT,
    **options: Any,
) -> AnalysisResult:
    """Predict every acoustic feature from each layer, for unheard speakers: what is kept of the voice?

    Args:
        caches: The representations.
        features: Acoustic features of the same clips: a file, or a table with a column a feature.
        speakers: Each clip's speaker.
        clips: A table of the clips; `gender` is a control.
        control: The same architecture with random weights.
        splits: Clips of which splits are looked at.
        by_corpus: Of several corpora, also predict corpus by corpus.
        seed: Seed of the folds and of the shuffled clips.
        output: Folder to write the tables to.
        progress: Told of each layer.

    Returns:
        The tables `acoustics_functionals`, `acoustics_groups`, `acoustics_changes` and `acoustics`.

    Raises:
        ConfigError: If an option cannot be used.
        AnalysisError: If there are fewer than three speakers, or no feature varies.
    """
    roles = {
        "caches": listed(caches),
        "features": single(features, "features"),
        "control": single(control, "control", model="random weights"),
    }
    more = {"splits": splits, "by_corpus": by_corpus, "seed": seed}
    config = _ACOUSTICS.check(options, AcousticsConfig)
    return _run("acoustics", _ACOUSTICS, config, roles, clips, {"speakers": speakers}, output, progress, more)


@_UMAP
def umap(
    caches: Representations,
    labels: Sequence[object] | pd.Series | None = None,
    speakers: Sequence[object] | pd.Series | None = None,
    *,
    clips: ClipTable | None = None,
    predictions: FilePath | None = None,
    splits: Splits = "all",
    seed: int = 0,
    output: FilePath | None = None,
    progress: Progress = SILENT,
    **options: Any,
) -> AnalysisResult:
    """Map the clips in two dimensions, all checkpoints of a layer on one map. For the eye only.

    Args:
        caches: The checkpoints of one model.
        labels: Each clip's label.
        speakers: Each clip's speaker.
        clips: A table of the clips, with further columns to colour by.
        predictions: Predictions of the clips as `evaluate(..., output=...)` writes them, to colour by right and wrong.
        splits: Clips of which splits are looked at.
        seed: Seed of the layout.
        output: Folder to write the table to.
        progress: Told of each layer.

    Returns:
        The table `umap`: a row per layer, checkpoint and clip, with `x` and `y`.

    Raises:
        ConfigError: If an option cannot be used.
        AnalysisError: If a layer or a column to colour by does not exist, or there are several models.
    """
    config = _UMAP.check(options, UmapConfig).model_copy(update={"page": False})
    columns = {"labels": labels, "speakers": speakers}
    more = {
        "splits": splits, "seed": seed, "predictions": None if predictions is None else Path(os.fspath(predictions))
    }  # fmt: skip
    return _run("umap", _UMAP, config, {"caches": listed(caches)}, clips, columns, output, progress, more)


def _run(
    name: str,
    call: Call,
    config: Section,
    roles: Mapping[str, Any],
    clips: ClipTable | None,
    columns: Mapping[str, Any],
    output: FilePath | None,
    progress: Progress,
    more: Mapping[str, Any],
) -> AnalysisResult:
    """Run an analysis on what a function was given, and return what it has written."""
    notes = Notes(progress, call.say)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
        files = Files(Path(folder), clips, columns, roles).inputs()
        target = Path(folder) / "tables" if output is None else Path(os.fspath(output)).expanduser()
        outcome = run_analysis(name, Inputs(target, **files, **more, progress=notes), config)
        tables = {path.stem: pd.read_parquet(path) for path in outcome.files if path.suffix == ".parquet"}
    said = (*notes.lines, *outcome.warnings, *pooling_warnings(tables))
    return AnalysisResult(name, tables, outcome.summary, tuple(said))
