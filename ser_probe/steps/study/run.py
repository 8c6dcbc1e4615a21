"""The verb `run`: a whole study from one config, resumable at any point, doing only what is missing or stale."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from ser_probe.audio.load import PIPELINE_VERSION
from ser_probe.config import StudyConfig, study_yaml
from ser_probe.config.analyses import ANALYSES
from ser_probe.data.manifest import Manifest, read_manifest
from ser_probe.errors import ConfigError, DamagedFileError, did_you_mean
from ser_probe.files import fingerprint, write_json, write_text
from ser_probe.models.catalogue import model_name
from ser_probe.models.checkpoint_folders import CHECKPOINTS, list_checkpoints
from ser_probe.models.model_folder import check_name
from ser_probe.output_paths import check_output_folder
from ser_probe.report.evaluation.headline import evaluation_sentences
from ser_probe.runtime import SILENT, Progress, pick_device, run_record
from ser_probe.steps.analyses.entries import load_named
from ser_probe.steps.analyses.representations import NamedCache
from ser_probe.steps.columns import check_columns
from ser_probe.steps.extract import ModelSource
from ser_probe.steps.extraction_settings import accepted_audio
from ser_probe.steps.finetune import train_study
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.prepare import read_clips, require_splits, write_prepared
from ser_probe.steps.report import write_report
from ser_probe.steps.study.analyses import Material, run_analyses
from ser_probe.steps.study.evaluation import StudyClips, check_evaluation, count_rejects, evaluate_study, read_scores
from ser_probe.steps.study.extractions import Extractions, folder_state
from ser_probe.steps.study.files import read_rejects, read_runs
from ser_probe.steps.study.left_out import LeftOut
from ser_probe.steps.study.preflight import check_packages
from ser_probe.steps.study.stages import Stages, file_states
from ser_probe.steps.trained_runs import find_runs, untrained_remarks
from ser_probe.steps.training_task import label_clips, prepare_study_clips, sound_files_state
from ser_probe.training.settings import WITHOUT_EFFECT

T = TypeVar("T")

STAGES = ("prepare", "finetune", "evaluate", "extract", "repeat", "egemaps", *ANALYSES, "report")


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
        self.stages = Stages(self.folder, progress, force=force, cache=study.output.cache)
        self.left_out = LeftOut()
        self.started = time.monotonic()

    def run(self) -> Outcome:
        """Run all stages; return the report's path and what was done."""
        study = self.study
        self._check_settings()
        config, text = self.folder / "config.yaml", study_yaml(study)
        if not config.is_file() or config.read_bytes() != text.encode():
            write_text(config, text)
        check_packages(study, [stage for stage in STAGES if self._is_to_be_done(stage)])
        self._prepare()
        self._look_ahead()
        backbone = study.backbone
        pretrained = ModelSource(backbone.name, "step-0", 0, backbone.revision, backbone.random_weights)
        sources = self._finetune() if study.finetune.enabled else [pretrained]
        if study.finetune.enabled:
            self._evaluate()
        extractions = Extractions(study, self.manifest, self.clips_print, self.folder, self.stages, self.progress)
        caches, control = extractions.embeddings(sources)
        repeats: list[NamedCache] = []
        if len(sources) > 1 and any("repeats" in ANALYSES[name].needs for name in study.analyze.wanted()):
            repeats = self._attempt("repeat", lambda: extractions.repeats(sources[0]), repeats)
        features: Path | None = None
        if study.extract.egemaps:
            features = self._attempt("egemaps", extractions.egemaps, None)
        folders = {source.checkpoint: Path(source.name) for source in sources} if study.finetune.enabled else {}
        table = self.manifest.table
        material = Material(
            study, caches, control, repeats, folders, features, table, self.manifest.audio_root, self.clips_print,
            self.tables, self.context,
        )  # fmt: skip
        run_analyses(material, self.stages, self.progress, self.left_out)
        self.left_out.write(self.folder)
        self._record()
        report = self._report()
        left_out = read_rejects(self.folder / "rejects.csv")
        later = extractions.rejected([*(cache.path for cache in caches), *([features] if features else [])])
        minutes = (time.monotonic() - self.started) / 60
        summary: dict[str, object] = {
            "done": ", ".join(self.stages.done) or "nothing, all was fresh",
            "skipped": ", ".join(self.stages.skipped) or "nothing",
            **({"failed": ", ".join(self.left_out.failed)} if self.left_out.failed else {}),
            "time taken": f"{minutes:.1f} min",
            **self._scores(),
            **({"left out in extraction": "; ".join(later)} if later else {}),
            "report": report,
        }
        n_unscored = count_rejects(self.tables) if study.finetune.enabled and study.evaluate is not None else 0
        if n_unscored:
            summary["left out in evaluation"] = f"{n_unscored} clips, see {self.tables / 'evaluation_rejects.csv'}"
        n_rejected, rejects = len(left_out) + len(later) + n_unscored, self.folder / "rejects.csv"
        return Outcome((), summary, n_rejected, rejects, failed=tuple(self.left_out.failed))

    def _attempt(self, name: str, work: Callable[[], T], otherwise: T) -> T:
        return self.left_out.attempt(name, lambda _: work(), otherwise, self.progress)

    def _is_to_be_done(self, stage: str) -> bool:
        return not self.stages.has_run(stage) or bool({stage, "all"} & self.stages.force)

    def _check_settings(self) -> None:
        """Raise now what the settings alone show, before hours of other work: model, folders, devices."""
        study = self.study
        for place in (self.folder, study.output.cache):
            check_output_folder(place)
        check_name(study.backbone.name)
        scored = study.finetune.enabled and study.evaluate is not None
        for device in (
            study.extract.device,
            *([study.finetune.device] if study.finetune.enabled else []),
            *([study.evaluate.device] if scored and study.evaluate is not None else []),
        ):
            if device != "auto":  # which asks for nothing
                pick_device(device)

    def _check_clips(self, manifest: Manifest) -> None:
        """Raise now what the table of the clips shows, before they are decoded."""
        study = self.study
        require_splits(manifest, study.split, fix="set split.scheme")
        made = {name: "" for name in ("split", "clip_id", "duration_s") if name not in manifest.table}
        check_columns(manifest.table.assign(**made), study.analyze)
        check_evaluation(study, manifest)

    def _prepare(self) -> None:
        study = self.study
        manifest = label_clips(read_clips(study.data, progress=self.progress), study.finetune)
        self._check_clips(manifest)
        inputs = {
            "data": study.data.model_dump(),
            "audio.min_duration_s": study.audio.min_duration_s,
            "audio.max_duration_s": accepted_audio(study).max_duration_s,
            "split": study.split.model_dump(),
            "audio pipeline": PIPELINE_VERSION,
            "rows": fingerprint(manifest.table.to_json()),
            "audio files": file_states(manifest.reachable_paths()),
        }

        def work() -> list[Path]:
            prepared = prepare_study_clips(study, manifest, accepted_audio(study), progress=self.progress)
            return write_prepared(prepared, self.folder / "manifest.csv", self.tables, self.folder / "rejects.csv")

        self.stages.run("prepare", inputs, work)
        self.manifest = read_manifest(self.folder / "manifest.csv")
        self.clips_print = self.manifest.fingerprint()
        table = self.manifest.table
        corpora = sorted(map(str, table["corpus"].dropna().unique())) if "corpus" in table else []
        self.context = {"corpus": "+".join(corpora), "run_seed": study.finetune.seed}

    def _look_ahead(self) -> None:
        """Raise now what would end the study only after hours of fine-tuning."""
        for name in self.study.analyze.wanted():
            if ANALYSES[name].look_ahead:
                load_named(ANALYSES[name].look_ahead)(self.study, self.manifest.table, self.progress)

    def _finetune(self) -> list[ModelSource]:
        study = self.study
        inputs = {
            "finetune": study.finetune.model_dump(exclude={"device", *WITHOUT_EFFECT}),
            "backbone": study.backbone.model_dump(),
            "backbone files": folder_state(study.backbone.name),
            "audio": study.audio.model_dump(),
            "audio pipeline": PIPELINE_VERSION,
            "clips and splits": self.clips_print,
            **sound_files_state(study.finetune),
        }
        restart = bool({"finetune", "all"} & self.stages.force)
        written = self.stages.run(
            "finetune",
            inputs,
            lambda: train_study(study, self.manifest, self.folder, restart=restart, progress=self.progress),
        )
        folders = {path.parent for path in written}
        saved = [(step, path) for step, path in list_checkpoints(self.folder / CHECKPOINTS) if path in folders]
        wanted = study.extract.checkpoints
        model = model_name(study.backbone.name, study.backbone.random_weights)
        sources = [ModelSource(str(folder), f"step-{step}", step, model=model) for step, folder in saved]
        return [source for source in sources if wanted == "all" or source.step in wanted]

    def _evaluate(self) -> None:
        """Score the classifier; where that is not possible, the rest of the study is made all the same."""
        if self.study.evaluate is None:
            return
        clips = StudyClips(self.study, self.manifest, self.folder)
        if lack := clips.lack():
            self.left_out.pass_over("evaluate", lack, self.progress)
            return

        def run(counted: Progress) -> None:
            work = lambda: evaluate_study(clips, self.tables, progress=counted)  # noqa: E731 - one line, used once
            self.stages.run("evaluate", clips.inputs(), work)

        self.left_out.attempt("evaluate", run, None, self.progress)

    def _scores(self) -> dict[str, object]:
        """Return what the classifier reaches, in words, and a warning where its head is untrained."""
        study = self.study
        if not study.finetune.enabled:
            return {}
        (best,), _ = find_runs(self.folder)
        remarks = untrained_remarks([best])
        facts: dict[str, object] = {"warning": remarks[0]} if remarks else {}
        if study.evaluate is None or "evaluate" in {**self.left_out.failed, **self.left_out.passed_over}:
            return facts
        scores = read_scores(self.tables)
        found = {} if scores is None else evaluation_sentences(scores)
        return {**{f"scores on {on}": text for on, text in found.items()}, **facts}

    def _record(self) -> None:
        """Write what this run was made with. A run that did nothing keeps the record of the one that did."""
        path = self.folder / "record.json"
        if self.stages.done or not path.is_file():
            before = self._earlier_runs(path)
            device = str(pick_device(self.study.finetune.device))
            seconds = round(time.monotonic() - self.started, 1)
            this = {
                **run_record(device),
                "stages": self.stages.done,
                "skipped": self.stages.skipped,
                "seconds": seconds,
            }
            write_json(path, {"study": self.study.name, "runs": [*before, this]})

    def _earlier_runs(self, path: Path) -> list[dict[str, Any]]:
        """Return the records of earlier runs; a damaged file, which nothing depends on, is begun anew."""
        try:
            return read_runs(path) if path.is_file() else []
        except DamagedFileError as error:
            self.progress.say(f"{path} is damaged and begun anew: {error.found}")
            return []

    def _report(self) -> Path:
        tables = sorted(self.tables.glob("*.parquet"))
        inputs = {
            "config": fingerprint(study_yaml(self.study)),
            "tables": {path.stem: file_states([path]) for path in tables},
            "record": file_states([self.folder / "record.json"]),
            "left out": self.left_out.lines(),
        }
        draw = self.study.output.figures
        work = lambda: write_report(self.folder, draw=draw, progress=self.progress).files  # noqa: E731 - used once
        return self.stages.run("report", inputs, work)[-1]
