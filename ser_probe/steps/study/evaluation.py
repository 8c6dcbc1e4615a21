"""The stage `evaluate` of a study: its classifier scored on its own held-out clips and on further test sets.

Each set of clips is scored as the verb `evaluate` does it; the tables name the set in their column `evaluated_on`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ser_probe.config import StudyConfig
from ser_probe.config.evaluation import ClipSetConfig, EvaluateConfig, StudyEvaluateConfig
from ser_probe.data.columns import find_column
from ser_probe.data.label_map import check_label_map
from ser_probe.data.manifest import Manifest, read_manifest
from ser_probe.embeddings.passes import ClipList
from ser_probe.errors import AnalysisError, CheckpointError, did_you_mean
from ser_probe.models.catalogue import model_name
from ser_probe.models.checkpoint import load_classifier, read_targets
from ser_probe.models.checkpoint_folders import CHECKPOINTS, list_checkpoints
from ser_probe.models.model_names import shown_model
from ser_probe.models.targets import CLASSES, Targets
from ser_probe.runtime import SILENT, Progress, pick_device
from ser_probe.steps.evaluate import count_heard, hear_as_trained, limit_lengths, score_run
from ser_probe.steps.evaluated_clips import EvaluatedClips, read_evaluated_clips, settle_clips
from ser_probe.steps.evaluation_latex import latex_scores
from ser_probe.steps.evaluation_tables import agreement_rows
from ser_probe.steps.study.extractions import folder_state
from ser_probe.steps.study.stages import file_states
from ser_probe.steps.tables import read_table, replace_tables, replace_text
from ser_probe.steps.trained_runs import TrainedRun, find_runs

TABLES = {
    "scores": "evaluation",
    "classes": "evaluation_classes",
    "confusion": "evaluation_confusion",
    "reliability": "evaluation_reliability",
    "agreement": "evaluation_agreement",
    "left_out": "evaluation_left_out",
    "rejects": "evaluation_rejects",
    "predictions": "predictions",
}
"""What the study's tables are called, by what they are."""
LATEX = "evaluation.tex"

_SPEED_KEYS = {"device", "workers", "batch_seconds", "max_clips"}
"""Keys of `evaluate` that change how long it takes, not the scores."""


@dataclass(frozen=True, eq=False)
class StudyClips:
    """What of a study is scored.

    Attributes:
        study: The resolved config, with a section `evaluate`.
        manifest: The prepared clips.
        folder: The study's folder, with its checkpoints.
    """

    study: StudyConfig
    manifest: Manifest
    folder: Path

    @property
    def config(self) -> StudyEvaluateConfig:
        """The section `evaluate`."""
        assert self.study.evaluate is not None, "whoever calls has looked"
        return self.study.evaluate

    def lack(self) -> str:
        """Return what there would have to be for anything to be scored; empty if there is enough."""
        if self.config.test_sets or self._present():
            return ""
        wanted = " or ".join(self.config.splits)
        return f"because no clip is in the split {wanted}: set split.scheme, or name evaluate.test_sets"

    def _present(self) -> list[str]:
        counts = self.manifest.table["split"].value_counts()
        return [split for split in self.config.splits if counts.get(split, 0)]

    def inputs(self) -> dict[str, Any]:
        """Return what makes the scores stale."""
        further = [
            (clip_set, read_manifest(clip_set.manifest, audio_root=clip_set.audio_root))
            for clip_set in self.config.test_sets
        ]
        return {
            "evaluate": self.config.model_dump(exclude=_SPEED_KEYS),
            "checkpoints": [[run.step, run.is_best, folder_state(str(run.checkpoint))] for run in self.runs()],
            "clips and splits": self.manifest.fingerprint(),
            "test sets": [
                [clip_set.name, file_states([clip_set.manifest]), file_states(manifest.reachable_paths())]
                for clip_set, manifest in further
            ],
        }

    def runs(self) -> list[TrainedRun]:
        """Return the checkpoints to score, by step.

        Raises:
            CheckpointError: If one that was asked for was not saved.
        """
        study = self.study
        (best,), _ = find_runs(self.folder)
        saved = dict(list_checkpoints(self.folder / CHECKPOINTS))
        asked = {best.step if chosen_step == "best" else chosen_step for chosen_step in self.config.checkpoints}
        wanted = sorted(step for step in asked if step is not None)
        if missing := [step for step in wanted if step not in saved]:
            raise CheckpointError(
                f"There is no checkpoint of step {missing[0]} to evaluate",
                where=self.folder / CHECKPOINTS, expected=f"steps {', '.join(map(str, saved))}",
                fix="name steps that are saved (evaluate.checkpoints; finetune.checkpoint_every)",
            )  # fmt: skip
        model = shown_model(model_name(study.backbone.name, study.backbone.random_weights))
        seed = study.finetune.seed
        return [
            TrainedRun(saved[step], model, seed, step, self.folder, self.folder, is_best=step == best.step)
            for step in wanted
        ]

    def sets(self, targets: Targets, audio: Any, progress: Progress) -> list[tuple[str, EvaluatedClips]]:
        """Return the sets of clips by name; those that cannot be scored are said and left out."""
        found: list[tuple[str, EvaluatedClips]] = []
        present = self._present()
        for split in self.config.splits:
            if split not in present:
                progress.say(f"evaluate: no clip is in the split {split}, which is not scored")
                continue
            found.append((split, self._own(split, targets, progress)))
        limits = limit_lengths(audio, self.settings(()))
        for clip_set in self.config.test_sets:
            progress.say(f"evaluate: the test set {clip_set.name}")
            columns = read_manifest(clip_set.manifest, audio_root=clip_set.audio_root).table.columns
            config = self.settings(columns, clip_set)
            clips = read_evaluated_clips(
                [clip_set.manifest], targets, config, limits, audio_root=clip_set.audio_root, progress=progress
            )
            found.append((clip_set.name, clips))
        return found

    def _own(self, split: str, targets: Targets, progress: Progress) -> EvaluatedClips:
        """Return the clips of a split, which are checked already; those too long to train on are left out."""
        table, limit_s = self.manifest.table, self.study.audio.max_duration_s
        chosen = table["split"] == split
        long = chosen & (table["duration_s"] > limit_s + 1e-3)
        if long.any():
            progress.say(f"evaluate: {int(long.sum())} clips of {split} are over {limit_s:g} s and are not scored")
        # Named as the user's file: the study's own copy is called `manifest.csv` in every study.
        source = self.study.data.manifest or self.manifest.source
        of_study = Manifest(table[chosen & ~long].reset_index(drop=True), self.manifest.audio_root, source)
        settled, by, left_out = settle_clips([of_study], targets, self.settings(table.columns), progress=progress)
        if long.any():  # nor does training take them, so that they are no rejects
            row = {"corpus": "", "label": "", "n": int(long.sum()), "reason": f"longer than {limit_s:g} s"}
            left_out = pd.concat([left_out, pd.DataFrame([row])], ignore_index=True)
        clips = ClipList(settled[0].table, settled[0].audio_paths())
        return EvaluatedClips(clips, by, left_out, pd.DataFrame(columns=["path", "reason"], dtype=str))

    def settings(self, known: Iterable[str], clip_set: ClipSetConfig | None = None) -> EvaluateConfig:
        """Return how the study's own clips, or those of a test set, are scored.

        Args:
            known: Their columns; others that `by` names are those of another set.
            one: The test set; None for the study's own clips.
        """
        config, columns = self.config, self.study.finetune.target_columns
        # `splits` of a study are its own; those of a test set are chosen with it.
        shared = {*EvaluateConfig.model_fields} & {*type(config).model_fields} - {"splits"}
        options = {key: getattr(config, key) for key in shared}
        if config.by != "auto":
            known = {*map(str, known), "corpus"}
            options["by"] = tuple(name for name in config.by if find_column(name, known) is not None)
        if clip_set is None:
            named = columns if isinstance(columns, dict) else {name: name for name in columns}
            return EvaluateConfig(**options, target_columns=named)
        return EvaluateConfig(
            **options, splits=clip_set.splits, label_map=clip_set.label_map, target_columns=clip_set.target_columns,
            min_duration_s=self.study.audio.min_duration_s,
        )  # fmt: skip


def check_evaluation(study: StudyConfig, clips: Manifest) -> None:
    """Raise now what would end the evaluation of a study only after its training.

    Args:
        study: The resolved config.
        clips: The study's clips, as they are read.

    Raises:
        ManifestError: If the manifest of a test set cannot be read.
        ConfigError: If a label map names a class that the study has not.
        AnalysisError: If no clips have a column that scores are asked for by.
    """
    config = study.evaluate
    if config is None or not study.finetune.enabled:
        return
    further = [read_manifest(clip_set.manifest, audio_root=clip_set.audio_root) for clip_set in config.test_sets]
    columns = {str(name) for manifest in (clips, *further) for name in manifest.table.columns} | {"corpus", "split"}
    for name in config.by if config.by != "auto" else ():
        if find_column(name, columns) is None:
            raise AnalysisError(
                f"No clips have the column {name!r}", where="evaluate.by", fix=did_you_mean(name, columns)
            )
    if study.finetune.targets == CLASSES and "label" in clips.table:
        classes = sorted(set(clips.table["label"].astype(str)))
        for clip_set in config.test_sets:
            check_label_map(clip_set.label_map, classes)


def evaluate_study(clips: StudyClips, tables: Path, *, progress: Progress = SILENT) -> list[Path]:
    """Score the checkpoints that a study asks for on its sets of clips; return the files.

    Args:
        clips: The study.
        tables: Folder of its tables.
        progress: Told of each clip, and of what is left out.

    Raises:
        CheckpointError: If a checkpoint is missing or damaged.
        SerProbeError: As `evaluate_checkpoint`, with the name of the test set.
    """
    runs = clips.runs()
    device, targets = pick_device(clips.config.device), read_targets(runs[0].checkpoint)
    if (split := clips.study.split).scheme in ("kfold", "loso"):
        progress.say(f"evaluate: the test clips are those of fold {split.fold} alone; each other fold is another study")
    audio = hear_as_trained(runs[0], clips.settings(()), progress)
    sets = clips.sets(targets, audio, progress)
    for name, clip_set in sets:
        if name not in clips.config.splits:
            count_heard(runs[:1], clip_set.clips, progress)
    chosen = next((run for run in runs if run.is_best), runs[-1])
    made: dict[str, list[pd.DataFrame]] = {}

    def keep(name: str, table: pd.DataFrame, on: str, **columns: Any) -> None:
        if len(table):
            made.setdefault(name, []).append(table.assign(evaluated_on=on, **columns))

    for run in runs:
        classifier = load_classifier(run.checkpoint, device=device)
        for name, clip_set in sets:
            what = f"evaluate {run.name} on {name}"
            scores = score_run(run, classifier, clip_set, audio, clips.settings(()), what=what, progress=progress)
            if "scores" not in scores.tables and run is runs[0]:
                progress.say(f"evaluate: {name} has no true values to score against; its predictions are written")
            for kind, table in scores.tables.items():
                keep(kind, table, name, best=run.is_best)
            if run is chosen:  # of one model, as other commands take them
                keep("predictions", scores.predictions, name, best=run.is_best)
            keep("rejects", scores.rejects, name)
            if targets.is_numeric and "scores" in scores.tables:
                keep("agreement", agreement_rows(scores.predictions, targets, clip_set.by), name, best=run.is_best)
        del classifier  # before the next one is loaded
    for name, clip_set in sets:
        keep("left_out", clip_set.left_out, name)
        keep("rejects", clip_set.rejects, name)
    order = {name: place for place, (name, _) in enumerate(sets)}
    joined = {
        kind: pd.concat(parts, ignore_index=True).sort_values(
            "evaluated_on", key=lambda column: column.map(order), kind="stable", ignore_index=True
        )
        for kind, parts in made.items()
    }
    if "rejects" in joined:
        joined["rejects"] = joined["rejects"].drop_duplicates(["evaluated_on", "path"])
    files = replace_tables({TABLES[kind]: table for kind, table in joined.items()}, tables, TABLES.values())
    return files + replace_text(tables / LATEX, latex_scores(joined["scores"]) if "scores" in joined else None)


def read_scores(tables: Path) -> pd.DataFrame | None:
    """Return the scores that a study has written; None without."""
    if not (tables / f"{TABLES['scores']}.parquet").is_file():
        return None
    return read_table(tables, TABLES["scores"])


def count_rejects(tables: Path) -> int:
    """Return how many clips of the sets could not be scored."""
    name = TABLES["rejects"]
    return len(read_table(tables, name)) if (tables / f"{name}.parquet").is_file() else 0
