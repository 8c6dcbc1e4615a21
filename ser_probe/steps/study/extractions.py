"""What a study extracts: embeddings of every checkpoint and of the controls, again for the floor of drift, and eGeMAPS.

Each is a stage of the study, skipped where its inputs are as they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_probe.audio.load import PIPELINE_VERSION
from ser_probe.config import DriftConfig, StudyConfig
from ser_probe.data.manifest import Manifest
from ser_probe.embeddings.opensmile_sets import FEATURE_CONTRACT_VERSION
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import DamagedFileError
from ser_probe.files import check_entries, read_json, write_json
from ser_probe.models.backbone import LAYER_CONTRACT_VERSION
from ser_probe.models.catalogue import model_name
from ser_probe.runtime import Progress, derive_seed
from ser_probe.steps.analyses.representations import NamedCache
from ser_probe.steps.extract import ModelSource, extract_features, extract_sources
from ser_probe.steps.study.stages import Stages, file_states

_LISTED = {"path": str, "model": str, "checkpoint": str, "step": int}
RANDOM_CONTROL = "random-weights"
"""What the tables call the checkpoint of the control with random weights."""


@dataclass(frozen=True)
class Extractions:
    """The extractions of a study.

    Args:
        study: The study.
        manifest: Its prepared clips.
        clips_print: The fingerprint of their table.
        folder: The study's folder.
        stages: What has been done, and does what is left.
        progress: Told of the work.
    """

    study: StudyConfig
    manifest: Manifest
    clips_print: str
    folder: Path
    stages: Stages
    progress: Progress

    def embeddings(self, sources: list[ModelSource]) -> tuple[list[NamedCache], NamedCache | None]:
        """Return the caches of the checkpoints, and that of the control with random weights where it is wanted."""
        study, listing = self.study, self.folder / "caches.json"
        name = model_name(study.backbone.name, study.backbone.random_weights)
        sources = [*sources, *self._random_control()]
        inputs = {
            **self._inputs(),
            "extract.pooling": study.extract.pooling,
            "extract.precision": study.extract.precision,
            "extract.verify": study.extract.verify,
            "backbone": study.backbone.model_dump(),
            "layers": LAYER_CONTRACT_VERSION,
            "checkpoints": [[source.checkpoint, folder_state(source.name)] for source in sources],
        }

        def work() -> list[Path]:
            results = extract_sources(sources, self._clips(), study, study.output.cache, progress=self.progress)
            # The analyses look at the first pooling.
            named = [
                {"path": str(first.path), "model": source.model or name, "checkpoint": source.checkpoint,
                 "step": source.step}
                for source, (first, *_) in zip(sources, results, strict=True)
            ]  # fmt: skip
            write_json(listing, named)
            return [*dict.fromkeys(result.path for row in results for result in row), listing]

        self.stages.run("extract", inputs, work)
        caches = [NamedCache(**{**entry, "path": Path(entry["path"])}) for entry in read_listing(listing)]
        controls = [cache for cache in caches if cache.checkpoint == RANDOM_CONTROL]
        return [cache for cache in caches if cache not in controls], controls[0] if controls else None

    def _random_control(self) -> list[ModelSource]:
        """Return the backbone with random weights, the control of what its architecture gives without training."""
        study = self.study
        if not study.extract.random_control:
            return []
        # Another draw than that of a backbone which is random itself.
        seed = derive_seed("random control", study.seed) % 2**31
        model = f"{study.backbone.name} (random weights)"
        return [ModelSource(study.backbone.name, RANDOM_CONTROL, 0, study.backbone.revision, seed, model=model)]

    def repeats(self, first: ModelSource) -> list[NamedCache]:
        """Extract step 0 again in ways that should change nothing: what drift has to exceed."""
        study, drift = self.study, self.study.analyze.section(DriftConfig)
        kinds = () if drift is None else drift.floor
        if not kinds:
            return []
        inputs = {
            **self._inputs(),
            "extract.pooling": study.extract.pooling[0],
            "extract.precision": study.extract.precision,
            "analyze.drift.floor": kinds,
            "layers": LAYER_CONTRACT_VERSION,
            "checkpoint": [first.checkpoint, folder_state(first.name)],
        }

        def work() -> list[Path]:
            paths = []
            for kind in kinds:
                changed, folder = repeated(study, kind, self.folder / "repeats")
                extracted = extract_sources([first], self._clips(), changed, folder, progress=self.progress)
                paths.append(extracted[0][0].path)
            return paths

        paths = self.stages.run("repeat", inputs, work)
        name = model_name(study.backbone.name, study.backbone.random_weights)
        model = first.model or name
        return [NamedCache(path, model, f"{first.checkpoint} again", first.step) for path in paths]

    def egemaps(self) -> Path:
        study = self.study
        return self.stages.run(
            "egemaps",
            {**self._inputs(), "features": FEATURE_CONTRACT_VERSION},
            lambda: [extract_features(self._clips(), study, study.output.cache, progress=self.progress).path],
        )[0]

    def rejected(self, caches: list[Path]) -> list[str]:
        """Return the study's clips that some extraction could not use, though they can be decoded, and why."""
        found: dict[str, str] = {}
        for path in caches:
            with EmbeddingCache.open(path) as cache:
                found |= dict(zip(cache.rejects["clip_id"], cache.rejects["reason"], strict=True))
        table = self.manifest.table
        named = dict(zip(table["clip_id"], table["path"], strict=True))
        return [f"{named[clip_id]}: {reason}" for clip_id, reason in found.items() if clip_id in named]

    def _inputs(self) -> dict[str, Any]:
        study = self.study
        return {
            "audio": study.audio.model_dump(),
            "audio pipeline": PIPELINE_VERSION,
            "extract.splits": study.extract.splits,
            "extract.storage": study.extract.storage,
            "extract.long_clips": [study.extract.long_clips, study.extract.chunk_overlap_s],
            "clips and splits": self.clips_print,
        }

    def _clips(self) -> Manifest:
        splits = self.study.extract.splits
        table = self.manifest.table
        if splits != "all":
            table = table[table["split"].isin(splits)].reset_index(drop=True)
        # Caches are shared by studies, and each has its own splits: they stay in the study's manifest.
        table = table.drop(columns="split")
        return Manifest(table, self.manifest.audio_root, self.manifest.source)


def read_listing(path: Path) -> list[dict[str, Any]]:
    """Return which files a study's checkpoints are in.

    Raises:
        DamagedFileError: If the list is not one that extraction writes.
    """
    entries = read_json(path)
    if not isinstance(entries, list):
        raise DamagedFileError("caches.json lists no embedding files", where=path, fix="delete it and run again")
    for number, entry in enumerate(entries):
        check_entries(entry, _LISTED, where=path, inside=f"entry {number}")
    return [{name: entry[name] for name in _LISTED} for entry in entries]


def repeated(study: StudyConfig, kind: str, folder: Path) -> tuple[StudyConfig, Path]:
    """Return the study that extracts the same embeddings in another way, and the folder for them.

    Args:
        study: The study.
        kind: `precision`: in bf16, or in fp32 where the study is not; `batch`: clip by clip. How clips were batched is
            not part of a file's key, so these go to a folder of their own.
        folder: That folder.
    """
    pooling = {"pooling": study.extract.pooling[:1]}
    if kind == "precision":
        other = "bf16" if study.extract.precision == "fp32" else "fp32"
        return _with_extract(study, {**pooling, "precision": other}), study.output.cache
    return _with_extract(study, {**pooling, "max_clips": 1}), folder


def _with_extract(study: StudyConfig, values: dict[str, Any]) -> StudyConfig:
    return study.model_copy(update={"extract": study.extract.model_copy(update=values)})


def folder_state(name: str) -> str | None:
    """Return the state of a local model's files; None for a name that is no folder."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        return None
    return file_states(sorted(path for path in folder.iterdir() if path.is_file() and path.suffix != ".pt"))
