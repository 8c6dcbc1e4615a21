"""Caches joined on clip id: the same clips, in the same order, of every checkpoint and of the acoustic features.

Labels, speakers and splits come from a study's manifest where there is one (it is the truth of that study),
else from the columns that the caches carry.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ser_probe.analysis.inputs import RepresentationKey
from ser_probe.data.columns import find_column
from ser_probe.data.manifest import read_manifest
from ser_probe.embeddings.opensmile_sets import FEATURE_CONTRACT_VERSION
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import AnalysisError, ManifestError, did_you_mean
from ser_probe.models.model_names import shown_models
from ser_probe.runtime import logger

FEATURE_LAYER = "functionals"


@dataclass(frozen=True)
class NamedCache:
    """A cache under the name that a study has for it.

    A file is keyed by the weights' bytes: studies share it, and so do checkpoints whose weights are equal. What the
    file calls itself is what the first of them called it.

    Args:
        path: The cache file.
        model: Name of the model.
        checkpoint: Such as `step-50`.
        step: Optimiser steps of fine-tuning.
    """

    path: Path
    model: str
    checkpoint: str
    step: int


CacheFile = Path | NamedCache
"""A cache under its own name, or under a study's."""


def path_of(cache: CacheFile) -> Path:
    """Return where a cache lies."""
    return cache.path if isinstance(cache, NamedCache) else cache


@dataclass(frozen=True)
class Representation:
    """One cache seen through the joined clips.

    Args:
        path: The cache file.
        model: Name of the model or feature set; of a folder without its path.
        checkpoint: Such as `step-50`; empty for acoustic features.
        step: Optimiser steps of fine-tuning; NaN where there is none.
        pooling: How frames became one vector.
        layer_names: The stored layers, in order.
        rows: Row in the file of each joined clip, [N].
    """

    path: Path
    model: str
    checkpoint: str
    step: float
    pooling: str
    layer_names: tuple[str, ...]
    rows: np.ndarray

    def layer(self, name: str) -> np.ndarray:
        """Return a layer's embeddings of the joined clips, float32 [N, D]; aliases such as `final` resolve."""
        with EmbeddingCache.open(self.path) as cache:
            return cache.layer(name)[self.rows]

    def layers(self) -> list[np.ndarray]:
        """Return all stored layers of the joined clips, L arrays [N, D]."""
        with EmbeddingCache.open(self.path) as cache:
            return [cache.layer(name)[self.rows] for name in self.layer_names]

    def key(self, layer: str) -> RepresentationKey:
        """Return the name a layer carries into the tables."""
        return RepresentationKey(self.model, self.checkpoint, self.step, layer)


@dataclass(frozen=True)
class Joined:
    """Representations of the same clips.

    Args:
        clips: One row per clip: clip_id and the columns known of it.
        checkpoints: Representations of models, by step.
        features: Acoustic features, None without.
        n_dropped: Clips of the manifest that are not in all files; without a manifest, those that are in some file but
            not in all.
    """

    clips: pd.DataFrame
    checkpoints: tuple[Representation, ...]
    features: Representation | None
    n_dropped: int

    def of_clips(self, places: np.ndarray) -> Joined:
        """Return the join with some clips only, by their positions."""
        if len(places) == len(self.clips):
            return self
        features = self.features
        return replace(
            self,
            clips=self.clips.iloc[places].reset_index(drop=True),
            checkpoints=tuple(replace(cache, rows=cache.rows[places]) for cache in self.checkpoints),
            features=None if features is None else replace(features, rows=features.rows[places]),
        )

    def without_control(self, control: CacheFile | None) -> tuple[Joined, Representation | None]:
        """Return the checkpoints, and the file with random weights apart from them.

        Raises:
            AnalysisError: If there is no other file.
        """
        if control is None:
            return self, None
        path = path_of(control)
        models = tuple(cache for cache in self.checkpoints if cache.path != path)
        if not models:
            raise AnalysisError(
                "The control with random weights is the only file",
                where=path,
                fix="give the files of the model's checkpoints, and this one with --random",
            )
        return replace(self, checkpoints=models), next(cache for cache in self.checkpoints if cache.path == path)

    def is_complete(self, name: str) -> bool:
        """Return whether all clips have a value of a column."""
        return name in self.clips and bool(self.clips[name].notna().all())

    def varies(self, name: str) -> bool:
        """Return whether all clips have a value of a column, and not all the same."""
        return self.is_complete(name) and self.clips[name].nunique() > 1

    def counts(self) -> dict[str, object]:
        """Return how many clips there are, and how many were left out, as a summary has it."""
        left_out = {"clips not in all files, left out": self.n_dropped} if self.n_dropped else {}
        return {"clips": len(self.clips), **left_out}

    def name_of(self, name: str) -> str:
        """Return the column that a name or an alias (`emotion`, `actor`) stands for.

        Raises:
            AnalysisError: If there is no such column.
        """
        column = find_column(name, self.clips.columns)
        if column is None:
            known = [str(column) for column in self.clips.columns]
            raise AnalysisError(f"The clips have no column {name!r}", fix=did_you_mean(name, known))
        return column

    def known_names(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the columns that names and aliases stand for, each once; a name that is no column stays as it is."""
        return tuple(dict.fromkeys(find_column(name, self.clips.columns) or name for name in names))

    def column(self, name: str) -> np.ndarray:
        """Return a column of the clips as text, [N].

        Raises:
            AnalysisError: If there is no such column, or a clip has no value in it.
        """
        column = self.clips[self.name_of(name)]
        if column.isna().any():
            raise AnalysisError(
                f"{int(column.isna().sum())} clips have no {name}",
                where=f"such as clip {self.clips.loc[column.isna(), 'clip_id'].iloc[0]}",
                fix="complete the manifest and extract again",
            )
        return column.astype(str).to_numpy()


def read_clips(manifest: Path | None) -> pd.DataFrame | None:
    """Return the clips of a prepared manifest; None for None.

    Raises:
        ManifestError: If it has no clip ids, which `prepare` and `run` write.
    """
    if manifest is None:
        return None
    read = read_manifest(manifest, needs=None)
    for note in read.notes:
        logger.warning("%s", note)
    if "clip_id" not in read.table:
        raise ManifestError(
            "The manifest has no column 'clip_id' to join on", where=manifest, fix="write one with ser-probe prepare"
        )
    return read.table


def join_caches(
    caches: Sequence[CacheFile],
    *,
    features: Path | None = None,
    clips: pd.DataFrame | None = None,
    splits: Sequence[str] | None = None,
) -> Joined:
    """Join caches, and optionally acoustic features, on clip id.

    Args:
        caches: Caches of models; they are put in the order of their steps.
        features: Cache of acoustic features.
        clips: A study's clips with `clip_id`; by default the columns that the first cache carries.
        splits: Keep clips of these splits only.

    Raises:
        AnalysisError: If no clip is in all files, a split is asked for that the clips do not name, or a file holds
            frames and not a vector a clip.
        CacheError: If a file cannot be read.
    """
    files: list[CacheFile] = [*caches, *([features] if features is not None else [])]
    if not caches:
        raise AnalysisError("There is nothing to analyse", expected="at least one embedding file")
    if features is not None and features.resolve() in [path_of(cache).resolve() for cache in caches]:
        raise AnalysisError(
            "The same file is given as the embeddings and as the features to set beside them",
            where=features,
            fix="give it once: as the file to analyse, or as features beside the files of a model",
        )
    opened = [EmbeddingCache.open(path_of(file)) for file in files]
    try:
        for cache in opened:
            _refuse_frames(cache)
            _warn_of_old_features(cache)
        whole = clips_of(opened[0]) if clips is None else clips
        table = _of_splits(whole, splits)
        _require_clips(table, whole, splits)
        others = [] if clips is not None else [clips_of(cache) for cache in opened[1:]]
        comparable = [other for other in others if splits is None or "split" in other]
        n_wanted = len(set(table["clip_id"]).union(*(_of_splits(other, splits)["clip_id"] for other in comparable)))
        # A clip listed twice under two names is one observation.
        table = table.drop_duplicates("clip_id")
        known = set.intersection(*(set(cache.clip_ids) for cache in opened))
        table = table[table["clip_id"].isin(known)].reset_index(drop=True)
        if table.empty:
            raise AnalysisError(
                "No clip is in all of the files",
                where=", ".join(str(path_of(file)) for file in files),
                found=f"{n_wanted} clips asked for, {len(known)} shared by the files",
                fix="extract the same manifest with each model",
            )
        if len(table) < n_wanted:
            logger.warning(
                "%d of %d clips are not in all of the files and are left out", n_wanted - len(table), n_wanted
            )
        ids = list(table["clip_id"])
        names = shown_models([_model_of(file, cache) for file, cache in zip(files, opened, strict=True)])
        represented = [
            _represent(file, cache, name, ids) for file, cache, name in zip(files, opened, names, strict=True)
        ]
    finally:
        for cache in opened:
            cache.close()
    models = sorted(represented[: len(caches)], key=lambda model: (model.model, model.step))
    called = [(model.model, model.checkpoint) for model in represented]
    if features is not None and called[-1] in called[:-1]:
        raise AnalysisError(
            "The embeddings and the features beside them are both called by one name, by which tables tell them apart",
            where=features,
            found=represented[-1].model,
            fix="give the embeddings another name: --name NAME=FILE",
        )
    return Joined(table, tuple(models), represented[-1] if features is not None else None, n_wanted - len(table))


def clips_of(cache: EmbeddingCache) -> pd.DataFrame:
    """Return the clips that a file carries; a text that was blank, which a file holds as empty, is missing."""
    texts = [str(name) for name, column in cache.clips.items() if not pd.api.types.is_numeric_dtype(column)]
    filled = {name: cache.clips[name].astype(object) for name in texts}
    return cache.clips.assign(**{name: column.where(column != "", None) for name, column in filled.items()})


def _of_splits(clips: pd.DataFrame, splits: Sequence[str] | None) -> pd.DataFrame:
    """Return the clips of some splits; all for None."""
    if splits is None:
        return clips
    if "split" not in clips:
        raise AnalysisError(
            "The clips have no column 'split'", fix="analyse all clips, or extract from a manifest with splits"
        )
    return clips[clips["split"].isin(list(splits))]


def _require_clips(chosen: pd.DataFrame, clips: pd.DataFrame, splits: Sequence[str] | None) -> None:
    if splits is not None and chosen.empty and len(clips):
        counts = clips["split"].astype(str).value_counts(sort=False)
        raise AnalysisError(
            f"No clip is in the split {' or '.join(splits)}",
            expected="clips of these splits",
            found=", ".join(f"{count} clips in {name}" for name, count in counts.items()),
            fix="look at other splits",
        )


def _refuse_frames(cache: EmbeddingCache) -> None:
    if cache.ragged:
        raise AnalysisError(
            "This cache holds the frames of each clip, and an analysis needs one vector a clip",
            where=cache.path,
            expected="a pooled cache",
            found=f"pooling {cache.key.pooling}, {cache.offsets[-1]} frames of {len(cache)} clips",
            fix="extract with --pooling mean and analyse that; mean and frames together cost one pass",
        )


def _warn_of_old_features(cache: EmbeddingCache) -> None:
    if cache.key.kind == "features" and cache.key.layer_contract < FEATURE_CONTRACT_VERSION:
        logger.warning(
            "%s is of an earlier version, which let loud clips leave opensmile's range: their features may be wrong. "
            "Extract it again, into another file",
            cache.path,
        )


def _model_of(file: CacheFile, cache: EmbeddingCache) -> str:
    """Return the name of a cache's model, which of a folder is its path."""
    if isinstance(file, NamedCache):
        return file.model
    named = cache.attributes
    # A file that does not say whose it is goes by its own name, which in another folder is another model's.
    unnamed = str(cache.path.with_suffix("").absolute())
    return str(named.get("model_path") or named.get("model") or unnamed)


def _represent(file: CacheFile, cache: EmbeddingCache, model: str, clip_ids: list[str]) -> Representation:
    named = cache.attributes if isinstance(file, Path) else vars(file)
    step = named.get("step")
    return Representation(
        path=cache.path,
        model=model,
        checkpoint=str(named.get("checkpoint", "")),
        step=float("nan") if step is None else float(step),
        pooling=str(cache.attributes.get("pooling", "")),
        layer_names=tuple(cache.layer_names),
        rows=cache.positions(clip_ids),
    )
