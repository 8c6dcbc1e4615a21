"""The verb `search`: train with several values of some keys, compare, and write the study with the best values."""

from __future__ import annotations

import datetime
import functools
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ser_probe.audio.load import PIPELINE_VERSION
from ser_probe.config import StudyConfig, study_yaml
from ser_probe.config.search import SearchConfig
from ser_probe.config.space import check_space, put_values, search_metric, search_section
from ser_probe.data.manifest import Manifest, write_manifest
from ser_probe.errors import ConfigError, SerProbeError
from ser_probe.files import flatten, read_json, write_text
from ser_probe.models.model_folder import check_name
from ser_probe.output_paths import check_output_folder
from ser_probe.report.figures import save_figure
from ser_probe.report.training.search import draw_history, draw_importance, draw_parameters
from ser_probe.runtime import SILENT, Progress, derive_seed, pick_device
from ser_probe.steps.extraction_settings import accepted_audio
from ser_probe.steps.finetune import train_study
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.prepare import PreparedClips, read_clips, require_splits, write_prepared
from ser_probe.steps.search_speakers import draw_speakers
from ser_probe.steps.study.preflight import check_packages
from ser_probe.steps.tables import read_table, write_csv, write_table
from ser_probe.steps.trained_runs import untrained_remark
from ser_probe.steps.training_task import label_clips, prepare_study_clips
from ser_probe.training.processes import n_processes
from ser_probe.training.run_files import BEST
from ser_probe.training.search import (
    Between,
    Choice,
    OtherSearchError,
    Report,
    SearchResult,
    TrialPruned,
    run_search,
)
from ser_probe.training.settings import METRICS, WITHOUT_EFFECT

FOLDER = "search"
"""The folder of a search, in the study's folder."""

_DIVERGED = "diverged"


def search_study(study: StudyConfig, *, then_train: bool = False, progress: Progress = SILENT) -> Outcome:
    """Search as the study's section `search` says, or go on where it was stopped: the whole verb.

    Args:
        study: The study; without a section `search` its defaults hold.
        then_train: Train the study with the best values on all training speakers, in the study's folder.
        progress: Told of each trial, file and step.

    Raises:
        ConfigError: If the space is not one that can be searched, or several processes were started.
        SplitError: If too few speakers are left to train on.
        SerProbeError: For every fault of input, and if no trial was completed.
    """
    if not study.finetune.enabled:
        raise ConfigError("There is nothing to search: finetune.enabled is false", fix="set finetune.enabled to true")
    if n_processes() > 1:
        raise ConfigError(
            "A search runs in one process", found=f"{n_processes()} processes", fix="start it without torchrun"
        )
    check_space(study)
    check_name(study.backbone.name)  # checking a corpus takes minutes
    check_packages(study, ("search", "prepare", "finetune"))
    config, run = search_section(study), study.output.runs / study.name
    check_output_folder(run)
    pick_device(study.finetune.device)
    manifest = label_clips(read_clips(study.data, progress=progress), study.finetune)
    require_splits(manifest, study.split, fix="set split.scheme")
    prepared = prepare_study_clips(study, manifest, accepted_audio(study), progress=progress)
    rng = np.random.default_rng(derive_seed(_seed(study), "search speakers"))
    classes = study.finetune.targets == "classes"
    clips = draw_speakers(prepared.manifest, config.fraction, rng, every_class=classes)
    search = _Search(study, config, clips, run / FOLDER, progress)
    result = search.run()
    best = put_values(study, result.values).model_copy(update={"search": None})
    files = [*search.write(result), run / FOLDER / "best.yaml"]
    write_text(files[-1], study_yaml(best))
    metric, _ = search_metric(study)
    facts: dict[str, object] = {
        "trials": ", ".join(f"{n} {state}" for state, n in result.table["state"].value_counts().items()),
        "best": f"trial {result.trial}, validation {metric} {result.value:.4g}",
        **result.values,
    }
    if then_train:
        facts["final run"] = _train_best(best, prepared, run, progress)
    rejects = run / FOLDER / "rejects.csv"
    write_csv(prepared.report.rejects, rejects)
    return Outcome(tuple(files), facts, len(prepared.report.rejects), rejects)


def _seed(study: StudyConfig) -> int:
    seed = search_section(study).seed
    return study.seed if seed is None else seed


@dataclass
class _Search:
    """A search in its folder: how a trial is trained, and what is kept of it."""

    study: StudyConfig
    config: SearchConfig
    manifest: Manifest
    folder: Path
    progress: Progress
    metric: str = field(init=False)
    maximise: bool = field(init=False)

    def __post_init__(self) -> None:
        self.metric, self.maximise = search_metric(self.study)
        self.tables, self.trials = self.folder / "tables", self.folder / "trials"

    def run(self) -> SearchResult:
        """Search to the end; a folder that holds another search keeps it under another name."""
        search = functools.partial(
            run_search,
            self.folder / "study.db",
            {key: _drawn(drawn) for key, drawn in self.config.space.items()},
            self.try_values,
            n_trials=self.config.trials,
            maximise=self.maximise,
            seed=_seed(self.study),
            prune=self.config.pruning == "median",
            ingredients=self._ingredients(),
            after_trial=functools.partial(write_table, folder=self.tables, name="search"),
            progress=self.progress,
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            return search()
        except OtherSearchError as error:
            stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S.%fZ")
            kept = self.folder.rename(self.folder.with_name(f"replaced-{FOLDER}-{stamp}"))
            self.progress.say(f"the search of another configuration is kept in {kept}\n  found: {error.found}")
            self.folder.mkdir()
            return search()

    def try_values(self, number: int, values: dict[str, Any], report: Report) -> float:
        """Train with drawn values; return the metric at the step that the run chooses. Only its table is kept.

        Raises:
            TrialPruned: If `report` ends it, or the loss diverges.
        """
        drawn = put_values(self.study, values)
        shown = ", ".join(f"{key} = {value}" for key, value in values.items())
        self.progress.say(f"trial {number}: {shown}")
        # Checkpoints of a killed process's trial, which starts over.
        shutil.rmtree(self.trials, ignore_errors=True)
        folder, table_name = self.trials / str(number), f"trial-{number}"
        seen: list[dict[str, Any]] = []

        def on_evaluation(step: int, metrics: Mapping[str, float]) -> None:
            common = {"run_seed": drawn.finetune.seed, "step": step, "split": "validation"}
            measured = [name for name in METRICS if name in metrics]
            seen.extend({**common, "measure": name, "value": metrics[name]} for name in measured)
            if step > 0:  # before training all trials are equal
                report(step, metrics[self.metric])

        try:
            train_study(drawn, self.manifest, folder, progress=self.progress, on_evaluation=on_evaluation)
            write_table(read_table(folder / "tables", "training"), self.tables, table_name)
            return self._value(folder)
        except (TrialPruned, SerProbeError) as end:
            if not isinstance(end, TrialPruned) and not _is_divergence(end):
                raise
            write_table(pd.DataFrame(seen), self.tables, table_name)
            raise TrialPruned(_DIVERGED if isinstance(end, SerProbeError) else str(end)) from end
        finally:
            shutil.rmtree(self.trials, ignore_errors=True)

    def _value(self, folder: Path) -> float:
        table, best = read_table(folder / "tables", "training"), read_json(folder / BEST)["step"]
        chosen = (table["split"] == "validation") & (table["measure"] == self.metric) & (table["step"] == best)
        return float(table.loc[chosen, "value"].iloc[0])

    def write(self, result: SearchResult) -> list[Path]:
        """Write the tables and the figures drawn from them; return the files."""
        files = [*write_table(result.table, self.tables, "search")]
        files += write_table(result.importance, self.tables, "search_importance")
        files.append(write_manifest(self.manifest, self.folder / "manifest.csv"))
        table, importance = (read_table(self.tables, name) for name in ("search", "search_importance"))
        logs = [key for key, drawn in self.config.space.items() if drawn.log]
        keys = list(self.config.space)
        figures = {
            "search_history": draw_history(table, metric=self.metric),
            "search_parameters": draw_parameters(table, metric=self.metric, parameters=keys, logs=logs),
        }
        if len(importance):
            figures["search_importance"] = draw_importance(importance)
        for name, figure in figures.items():
            files += save_figure(figure, self.folder / "figures", name)
        return files

    def _ingredients(self) -> dict[str, Any]:
        """Return everything that trials depend on, under names that the user knows."""
        exclude = {"finetune": {"device", *WITHOUT_EFFECT}}
        sections = self.study.model_dump(mode="json", include={"audio", "backbone", "finetune"}, exclude=exclude)
        settings = {".".join(names): value for names, value in flatten(sections)}
        return {
            **{key: value for key, value in settings.items() if key not in self.config.space},
            "audio pipeline": PIPELINE_VERSION,
            "search.metric": self.metric,
            "search.pruning": self.config.pruning,
            "clips and splits": self.manifest.fingerprint(),
        }


def _train_best(study: StudyConfig, prepared: PreparedClips, run: Path, progress: Progress) -> str:
    """Train with the best values; return a line about the result."""
    write_prepared(prepared, run / "manifest.csv", run / "tables", run / "rejects.csv")
    train_study(study, prepared.manifest, run, progress=progress)
    best = read_json(run / BEST)
    if best["step"] == 0:
        progress.say(f"warning: {untrained_remark(run)}")
    return f"{run}, best step {best['step']} (validation {best['metric']} {best['value']:.4g})"


def _drawn(drawn: Any) -> Between | Choice:
    if drawn.choices is not None:
        return Choice(drawn.choices)
    return Between(drawn.low, drawn.high, drawn.log)


def _is_divergence(error: SerProbeError) -> bool:
    """Tell whether a training ended because its loss was no longer a number: bad values, not a fault."""
    return type(error) is SerProbeError and "the training has diverged" in error.what
