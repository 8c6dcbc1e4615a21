"""From clips to embeddings, to a fine-tuned classifier, and to its scores."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from ser_probe.config import (
    AudioConfig,
    BackboneConfig,
    DataConfig,
    ExtractConfig,
    FinetuneConfig,
    SplitConfig,
    StudyConfig,
)
from ser_probe.config.analyses import ANALYSES
from ser_probe.config.evaluation import EvaluateConfig
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import ConfigError
from ser_probe.files import slug
from ser_probe.library.call import TEMPORARY, Call, FilePath, Options, validate
from ser_probe.library.data import Clips, clip_file
from ser_probe.library.results import AnalysisResult, FinetuneResult, Notes
from ser_probe.runtime import SILENT, Progress
from ser_probe.steps.evaluate import evaluate_checkpoint
from ser_probe.steps.extract import checkpoints_in, extract_manifest
from ser_probe.steps.finetune import finetune_manifest
from ser_probe.steps.tables import read_tables
from ser_probe.steps.trained_runs import find_runs
from ser_probe.training.checkpoints import list_checkpoints
from ser_probe.training.run_files import CHECKPOINTS

_AUDIO = Options("audio", AudioConfig, without=("sample_rate_hz",))
_BACKBONE = Options("backbone", BackboneConfig, without=("name",))
_MANIFEST = {"manifest": "A manifest file, what `read_manifest` returns, or a table with a column `path`."}
_EXTRACT = Call(
    (
        Options("extract", ExtractConfig, ("pooling", "layers", "checkpoints", "egemaps", "random_control")),
        _BACKBONE,
        _AUDIO,
        Options("data", DataConfig, only=("strict",)),
    ),
    {"unless --clips names a manifest; --prune removes them": "unless clips says which", "extract.pooling": "pooling"},
    _MANIFEST,
)
_FINETUNE = Call(
    (
        Options("finetune", FinetuneConfig, without=("enabled",)),
        Options("split", SplitConfig, only=("fractions", "folds", "fold")),
        _BACKBONE,
        _AUDIO,
        Options("data", DataConfig, only=("target", "labels", "keep", "strict")),
    ),
    {"--scheme study_e": "scheme='study_e'", "split.scheme": "scheme"},
    _MANIFEST,
)
_EVALUATE = Call(
    (Options("evaluate", EvaluateConfig, without=("figures",)),),
    {"--map LABEL=CLASS or --label-map FILE.yaml": "label_map={label: class}", "--splits all": "splits='all'"},
    _MANIFEST,
)


@overload
def extract(manifest: Clips, model: FilePath, output: FilePath | None = None, **options: Any) -> EmbeddingCache: ...


@overload
def extract(
    manifest: Clips, model: Sequence[FilePath], output: FilePath | None = None, **options: Any
) -> list[EmbeddingCache]: ...


@_EXTRACT
def extract(
    manifest: Clips, model: FilePath | Sequence[FilePath], output: FilePath | None = None, *, pooling: str = "mean",
    audio_root: FilePath | None = None, progress: Progress = SILENT, **options: Any,
) -> EmbeddingCache | list[EmbeddingCache]:  # fmt: skip
    """Return the embeddings of every layer of every clip, extracted into a file.

    What the file holds already is not computed again. Clips that cannot be used are in the cache's `rejects`.

    Args:
        model: A Hugging Face id, a folder, a checkpoint, `tiny-...`, or a set of acoustic features, `eGeMAPSv02`. A
            list stands for several, and a fine-tuning run in it for all of its checkpoints: a cache each, of equal
            weights one.
        output: The file (`.h5`), or a folder; None: a file that goes when the cache does.
        pooling: How the frames of a clip become one vector: mean, std, mean+std, max, sum, speech-mean, segments:K; or
            frames, which keeps all.

    Raises:
        ConfigError: If an argument cannot be used, or one model is a folder of several checkpoints.
        ManifestError: If the clips cannot be read.
        BackboneError: If the model cannot be found or loaded.
    """
    single = isinstance(model, str | os.PathLike)
    models = [os.fspath(name) for name in ([model] if isinstance(model, str | os.PathLike) else model)]
    if single and len(checkpoints_in(models[0])) > 1:
        raise ConfigError(
            "This folder holds several checkpoints, and one model makes one cache", where=models[0],
            fix=f"extract(manifest, [{models[0]!r}]) returns a cache for each",
        )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
        target = Path(folder) / "embeddings" if output is None else Path(os.fspath(output)).expanduser()
        keys = _keys(_EXTRACT, options, manifest, models[0], Path(folder), audio_root)
        keys["extract"] = {**keys.get("extract", {}), "pooling": pooling}
        outcome = extract_manifest(_study(keys, target), target, models=models, progress=progress)
        caches = [EmbeddingCache.open(path) if output is not None else _kept(path) for path in outcome.files]
    return caches[0] if single else caches


def _kept(path: Path) -> EmbeddingCache:
    """Open a file in a folder of its own, which is removed when the cache is not used any more."""
    folder = tempfile.TemporaryDirectory(prefix=TEMPORARY)
    cache = EmbeddingCache.open(shutil.move(path, folder.name))
    weakref.finalize(cache, folder.cleanup)
    return cache


@_FINETUNE
def finetune(
    manifest: Clips, model: str, output: FilePath, *, scheme: str = "manifest", seeds: Sequence[int] | None = None,
    restart: bool = False, audio_root: FilePath | None = None, progress: Progress = SILENT, **options: Any,
) -> FinetuneResult:  # fmt: skip
    """Fine-tune a backbone with a head, keeping a checkpoint every few steps; a run that was stopped goes on.

    Args:
        model: A Hugging Face id, a folder, or `tiny-...`.
        output: The folder of the run.
        scheme: How to split the speakers: study_e, study_b, loso, kfold, fractions; manifest: the column `split`.
        seeds: Several runs, in `seed-<n>` below the folder; None: one.
        restart: Delete the run that is in the folder, and train anew.

    Raises:
        ConfigError: If an argument cannot be used.
        ManifestError: If the clips cannot be read or learnt from.
        SplitError: If the clips have no splits, or cannot be split as asked.
        CheckpointError: If the folder holds another run.
    """
    target, notes = Path(os.fspath(output)).expanduser(), Notes(progress, _FINETUNE.say)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
        keys = _keys(_FINETUNE, options, manifest, model, Path(folder), audio_root)
        keys["split"] = {**keys.get("split", {}), "scheme": scheme}
        keys |= {"output": {"cache": target / "cache"}, "seed": options.get("seed", 0)}
        outcome = finetune_manifest(_study(keys, target), target, seeds=seeds, restart=restart, progress=notes)
    runs, _ = find_runs(target)
    return FinetuneResult(
        target,
        training=read_tables(outcome.files)["training"],
        best=tuple(run.checkpoint for run in runs),
        checkpoints=tuple(path for run in runs if run.run for _, path in list_checkpoints(run.run / CHECKPOINTS)),
        facts=outcome.summary,
        notes=tuple(notes.lines),
    )


@_EVALUATE
def evaluate(
    model: FilePath, manifest: Clips | list[FilePath], *, output: FilePath | None = None, name: str | None = None,
    audio_root: FilePath | None = None, progress: Progress = SILENT, **options: Any,
) -> AnalysisResult:  # fmt: skip
    """Predict every clip with a fine-tuned classifier, and score it where the labels are known.

    Args:
        model: A checkpoint, a run (its best checkpoint), or a folder of `seed-<n>` (the best one of each).
        name: What the tables call the model; None: as its folder.

    Returns:
        The tables `predictions`, `scores`, `summary`, `classes`, `confusion`, `reliability` and more.

    Raises:
        ConfigError: If an argument cannot be used.
        CheckpointError: If there is no checkpoint.
        ManifestError: If the clips cannot be read.
        AnalysisError: If a column, split or label that is needed is missing.
    """
    config = _EVALUATE.check(options, EvaluateConfig).model_copy(update={"figures": output is not None})
    notes = Notes(progress, _EVALUATE.say)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
        listed: list[Clips] = [*manifest] if isinstance(manifest, list) else [manifest]
        files = [clip_file(clips, Path(folder), audio_root) for clips in listed]
        target = Path(folder) / "evaluation" if output is None else Path(os.fspath(output)).expanduser()
        evaluated = evaluate_checkpoint(
            Path(os.fspath(model)), [file.manifest for file in files], target, config, name=name,
            audio_root=files[0].audio_root, progress=notes,
        )  # fmt: skip
        tables = read_tables(evaluated.outcome.files)
    return AnalysisResult("evaluate", tables, evaluated.outcome.summary, tuple(notes.lines), evaluated.headline)


def _keys(
    call: Call, options: Mapping[str, Any], clips: Clips, model: str, folder: Path, audio_root: FilePath | None
) -> dict[str, Any]:
    """Return the keys of a study that these arguments give; a table of clips is written into the folder."""
    keys = call.keys(options)
    keys["data"] = {**keys.get("data", {}), **clip_file(clips, folder, audio_root)._asdict()}
    keys["backbone"] = {**keys.get("backbone", {}), "name": model}
    return {"split": {"scheme": "manifest"}, **keys}


def _study(keys: Mapping[str, Any], output: Path) -> StudyConfig:
    """Return a study of one verb: called after what it writes, without analyses."""
    return validate(StudyConfig, {"name": slug(output.stem), "analyze": dict.fromkeys(ANALYSES), **keys})
