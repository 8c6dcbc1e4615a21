"""The verb `run`: a whole study from one config, resumable at any point, doing only what is missing or stale."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from ser_probe.analysis.stats.linear_model import require_statsmodels
from ser_probe.config import StudyConfig, study_yaml
from ser_probe.data.manifest import Manifest, read_manifest
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import ConfigError, did_you_mean
from ser_probe.files import fingerprint, read_json, write_json, write_text
from ser_probe.models.catalogue import model_name
from ser_probe.runtime import SILENT, Progress, derive_seed, pick_device, run_record
from ser_probe.steps.analyze_probe import check_probes
from ser_probe.steps.extract import Source, accepted_audio, extract_features, extract_sources
from ser_probe.steps.finetune import train_study
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.prepare import prepare_clips, read_clips, write_prepared
from ser_probe.steps.report import write_report
from ser_probe.steps.representations import Joined, NamedCache
from ser_probe.steps.stages import Stages, file_states
from ser_probe.steps.study_analyses import ANALYSES, Material, run_analyses
from ser_probe.steps.training_task import label_clips

STAGES = ("prepare", "finetune", "extract", "repeat", "egemaps", *ANALYSES, "report")

RANDOM_CONTROL = "random-weights"
"""What the tables call the checkpoint of the control with random weights."""


def run_study(study: StudyConfig, *, progress: Progress = SILENT, force: Iterable[str] = ()) -> Outcome:
    """Run a study, stage by stage; a stage whose inputs are as they were is skipped, and said so.

    Args:
        study: The resolved config.
        progress: Told of the work, and of what is skipped and why.
        force: Names of `STAGES` to run though they are fresh; `all` for every one.

    Raises:
        ConfigError: If a forced stage does not exist.
        SerProbeError: For every fault of input, as the stages raise them.
    """
    unknown = [name for name in force if name not in (*STAGES, "all")]
    if unknown:
        raise ConfigError(f"There is no stage {unknown[0]!r}", fix=did_you_mean(unknown[0], (*STAGES, "all")))
    return _Run(study, progress, force).run()


class _Run:
    """One run of a study: its folder, its stages, and what they hand to each other."""

    def __init__(self, study: StudyConfig, progress: Progress, force: Iterable[str]) -> None:
        self.study, self.progress = study, progress
        self.folder = study.output.runs / study.name
        self.tables = self.folder / "tables"
        self.stages = Stages(self.folder, progress, force=force)
        self.started = time.monotonic()

    def run(self) -> Outcome:
        """Run all stages; return the report's path and what was done."""
        study = self.study
        config, text = self.folder / "config.yaml", study_yaml(study)
        if not config.is_file() or config.read_text(encoding="utf-8") != text:
            write_text(config, text)
        self._prepare()
        self._look_ahead()
        backbone = study.backbone
        pretrained = Source(backbone.name, "step-0", 0, backbone.revision, backbone.random_weights)
        sources = self._finetune() if study.finetune.enabled else [pretrained]
        caches, control = self._extract(sources)
        repeats = self._repeat(sources[0]) if len(sources) > 1 and study.analyze.drift is not None else []
        features = self._egemaps() if study.extract.egemaps else None
        folders = {source.checkpoint: Path(source.name) for source in sources} if study.finetune.enabled else {}
        table = self.manifest.table
        material = Material(
            study, caches, control, repeats, folders, features, table, self.manifest.audio_root, self.clips_print,
            self.tables, self.context,
        )  # fmt: skip
        run_analyses(material, self.stages, self.progress)
        self._record()
        report = self._report()
        left_out = pd.read_csv(self.folder / "rejects.csv")
        later = self._rejects_of([*(cache.path for cache in caches), *([features] if features else [])])
        minutes = (time.monotonic() - self.started) / 60
        summary: dict[str, object] = {
            "done": ", ".join(self.stages.done) or "nothing, all was fresh",
            "skipped": ", ".join(self.stages.skipped) or "nothing",
            "time": f"{minutes:.1f} min",
            **({"left out in extraction": "; ".join(later)} if later else {}),
            "report": report,
        }
        return Outcome((), summary, len(left_out) + len(later), self.folder / "rejects.csv")

    def _prepare(self) -> None:
        study = self.study
        manifest = label_clips(read_clips(study.data, progress=self.progress), study.finetune)
        inputs = {
            "data": study.data.model_dump(),
            "audio.min_duration_s": study.audio.min_duration_s,
            "audio.max_duration_s": accepted_audio(study).max_duration_s,
            "split": study.split.model_dump(),
            "rows": fingerprint(manifest.table.to_json()),
            "audio files": file_states(manifest.audio_root / path for path in manifest.table["path"]),
        }

        def work() -> list[Path]:
            split = None if study.split.scheme == "manifest" else study.split
            audio = accepted_audio(study)
            prepared = prepare_clips(manifest, audio, split, strict=study.data.strict, progress=self.progress)
            self.progress.say(prepared.report.summary())
            return write_prepared(prepared, self.folder / "manifest.csv", self.tables, self.folder / "rejects.csv")

        self.stages.run("prepare", inputs, work)
        self.manifest = read_manifest(self.folder / "manifest.csv")
        self.clips_print = fingerprint(self.manifest.table.to_json())
        table = self.manifest.table
        corpora = sorted(map(str, table["corpus"].dropna().unique())) if "corpus" in table else []
        self.context = {"corpus": "+".join(corpora), "run_seed": study.finetune.seed}

    def _look_ahead(self) -> None:
        """Raise now what would end the study only after hours of fine-tuning."""
        study, table = self.study, self.manifest.table
        if study.extract.egemaps and not self.stages.has_run("egemaps"):
            from ser_probe.embeddings import opensmile_sets

            opensmile_sets.ingredients()
        everything = Joined(table, (), None, 0)
        for column in study.analyze.umap.color if study.analyze.umap is not None else ():
            everything.column(column)
        if study.analyze.probe is not None:
            check_probes(table, study.analyze.probe, study.split)
        if study.analyze.stats is not None:
            require_statsmodels()

    def _finetune(self) -> list[Source]:
        study = self.study
        inputs = {
            "finetune": study.finetune.model_dump(exclude=_WITHOUT_EFFECT),
            "backbone": study.backbone.model_dump(),
            "backbone files": _folder_state(study.backbone.name),
            "audio": study.audio.model_dump(),
            "clips and splits": self.clips_print,
        }
        restart = bool({"finetune", "all"} & self.stages.force)
        written = self.stages.run(
            "finetune",
            inputs,
            lambda: train_study(study, self.manifest, self.folder, restart=restart, progress=self.progress),
        )
        folders = sorted({path.parent for path in written if path.parent.name.startswith("checkpoint-")}, key=_step)
        wanted = study.extract.checkpoints
        model = model_name(study.backbone.name, study.backbone.random_weights)
        sources = [Source(str(folder), f"step-{_step(folder)}", _step(folder), model=model) for folder in folders]
        return [source for source in sources if wanted == "all" or source.step in wanted]

    def _extract(self, sources: list[Source]) -> tuple[list[NamedCache], NamedCache | None]:
        """Return the caches of the checkpoints, and that of the control with random weights where it is wanted."""
        study, listing = self.study, self.folder / "caches.json"
        name = model_name(study.backbone.name, study.backbone.random_weights)
        sources = [*sources, *self._random_control()]
        inputs = {
            **self._extraction_inputs(),
            "extract.pooling": study.extract.pooling,
            "extract.precision": study.extract.precision,
            "extract.verify": study.extract.verify,
            "backbone": study.backbone.model_dump(),
            "checkpoints": [[source.checkpoint, _folder_state(source.name)] for source in sources],
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
        caches = [NamedCache(**{**entry, "path": Path(entry["path"])}) for entry in read_json(listing)]
        controls = [cache for cache in caches if cache.checkpoint == RANDOM_CONTROL]
        return [cache for cache in caches if cache not in controls], controls[0] if controls else None

    def _random_control(self) -> list[Source]:
        """Return the backbone with random weights, the control of what its architecture gives without training."""
        study = self.study
        if not study.extract.random_control:
            return []
        # Another draw than that of a backbone which is random itself.
        seed = derive_seed("random control", study.seed) % 2**31
        model = f"{study.backbone.name} (random weights)"
        return [Source(study.backbone.name, RANDOM_CONTROL, 0, study.backbone.revision, seed, model=model)]

    def _repeat(self, first: Source) -> list[NamedCache]:
        """Extract step 0 again in ways that should change nothing: what drift has to exceed."""
        study, kinds = self.study, self.study.analyze.drift.floor if self.study.analyze.drift is not None else ()
        if not kinds:
            return []
        inputs = {
            **self._extraction_inputs(),
            "extract.pooling": study.extract.pooling[0],
            "extract.precision": study.extract.precision,
            "analyze.drift.floor": kinds,
            "checkpoint": [first.checkpoint, _folder_state(first.name)],
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

    def _egemaps(self) -> Path:
        study = self.study
        return self.stages.run(
            "egemaps",
            self._extraction_inputs(),
            lambda: [extract_features(self._clips(), study, study.output.cache, progress=self.progress).path],
        )[0]

    def _rejects_of(self, caches: list[Path]) -> list[str]:
        """Return the study's clips that some extraction could not use, though they can be decoded, and why."""
        found: dict[str, str] = {}
        for path in caches:
            with EmbeddingCache.open(path) as cache:
                found |= dict(zip(cache.rejects["clip_id"], cache.rejects["reason"], strict=True))
        table = self.manifest.table
        named = dict(zip(table["clip_id"], table["path"], strict=True))
        return [f"{named[clip_id]}: {reason}" for clip_id, reason in found.items() if clip_id in named]

    def _extraction_inputs(self) -> dict[str, Any]:
        study = self.study
        return {
            "audio": study.audio.model_dump(),
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

    def _record(self) -> None:
        """Write what this run was made with. A run that did nothing keeps the record of the one that did."""
        path = self.folder / "record.json"
        if self.stages.done or not path.is_file():
            before = read_json(path)["runs"] if path.is_file() else []
            device = str(pick_device(self.study.finetune.device))
            seconds = round(time.monotonic() - self.started, 1)
            this = {
                **run_record(device),
                "stages": self.stages.done,
                "skipped": self.stages.skipped,
                "seconds": seconds,
            }
            write_json(path, {"study": self.study.name, "runs": [*before, this]})

    def _report(self) -> Path:
        tables = sorted(self.tables.glob("*.parquet"))
        inputs = {
            "config": fingerprint(study_yaml(self.study)),
            "tables": {path.stem: file_states([path]) for path in tables},
            "record": file_states([self.folder / "record.json"]),
        }
        work = lambda: write_report(self.folder, progress=self.progress).files  # noqa: E731 - one line, used once
        return self.stages.run("report", inputs, work)[-1]


_WITHOUT_EFFECT = {"device", "cache_front_end", "cache_audio", "keep_optimizer"}
"""Keys of `finetune` that change how long training takes or what is kept, not what is learnt."""


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


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("checkpoint-"))


def _folder_state(name: str) -> str | None:
    """Return the state of a local model's files; None for a name that is no folder."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        return None
    return file_states(sorted(path for path in folder.iterdir() if path.is_file() and path.suffix != ".pt"))
