"""The verb `evaluate`: predictions of a fine-tuned classifier, and everything that a paper reports of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ser_probe.audio.load import AudioSpec
from ser_probe.config import AudioConfig
from ser_probe.config.evaluation import EvaluateConfig
from ser_probe.embeddings.passes import ClipList
from ser_probe.errors import AudioError, CheckpointError
from ser_probe.files import write_json
from ser_probe.models.checkpoint import load_classifier, read_targets
from ser_probe.models.heads import SerClassifier
from ser_probe.models.targets import Targets
from ser_probe.output_paths import check_output_folder
from ser_probe.report.evaluation.files import write_evaluation_figures
from ser_probe.runtime import SILENT, Progress, pick_device
from ser_probe.steps.evaluated_clips import EvaluatedClips, read_evaluated_clips
from ser_probe.steps.evaluation_files import evaluation_record, write_tables
from ser_probe.steps.evaluation_tables import (
    agreement_rows,
    headline_scores,
    score_predictions,
    summarise,
    tabulate_predictions,
)
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.predictions import PredictionSettings, predict_clips
from ser_probe.steps.study.preflight import check_packages
from ser_probe.steps.tables import write_rejects
from ser_probe.steps.trained_runs import (
    AUDIO_FILE,
    TrainedRun,
    find_runs,
    read_audio,
    training_clips,
    untrained_remarks,
)


@dataclass(frozen=True)
class Evaluated:
    """The result of an evaluation.

    Attributes:
        outcome: Files, facts, rejects.
        headline: A row per corpus, group and numeric target: `n`, `n_speakers`, and of each measure of `HEADLINES` the
            mean over runs, `<measure>_low` and `_high` (the interval over speakers of a single run) or `<measure>_std`
            (over several). Empty where the manifests have nothing to score against.
    """

    outcome: Outcome
    headline: pd.DataFrame


@dataclass(frozen=True, eq=False)
class RunScores:
    """The predictions and scores of one run on one set of clips.

    Attributes:
        predictions: As `tabulate_predictions` makes them.
        rejects: Clips that could not be decoded: `path`, `reason`.
        tables: As `score_predictions` makes them.
    """

    predictions: pd.DataFrame
    rejects: pd.DataFrame
    tables: dict[str, pd.DataFrame]


@dataclass(eq=False)
class _RunResults:
    """The results of the runs so far."""

    predictions: list[pd.DataFrame] = field(default_factory=list)
    rejects: list[pd.DataFrame] = field(default_factory=list)
    scored: dict[str, list[pd.DataFrame]] = field(default_factory=dict)

    def add(self, scores: RunScores) -> None:
        """Add the scores of a run."""
        self.predictions.append(scores.predictions)
        self.rejects.append(scores.rejects)
        for name, part in scores.tables.items():
            self.scored.setdefault(name, []).append(part)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables of all runs, and their summaries."""
        tables = {name: pd.concat(parts, ignore_index=True) for name, parts in self.scored.items()}
        return tables | summarise(tables)


def evaluate_checkpoint(
    place: Path,
    manifests: Sequence[Path],
    output: Path,
    config: EvaluateConfig | None = None,
    *,
    name: str | None = None,
    audio_root: Path | None = None,
    progress: Progress = SILENT,
) -> Evaluated:
    """Evaluate a checkpoint, or the best one of a run or of each seed: the whole verb.

    Args:
        place: As `find_runs` takes it.
        manifests: The clips.
        output: Folder of predictions, tables and figures.
        config: How.
        name: Name of the model in tables and figures; None: the folder's name.
        audio_root: Folder that the manifests' paths start from; None: each manifest's own folder.
        progress: Told of each file and clip.

    Raises:
        CheckpointError: If there is no checkpoint, or runs predict different things.
        ManifestError: If a manifest cannot be used.
        ConfigError: If the label map names a class that the model has not.
        AnalysisError: If a column, split or label that is needed is missing.
        AudioError: If no clip can be decoded; if one cannot and `config.strict`.
        PackageError: If a package that is needed is missing or broken, before anything is loaded.
    """
    config = config or EvaluateConfig()
    check_output_folder(output)
    runs, notes = find_runs(place)
    check_packages(None, ("evaluate", "evaluation figures") if config.figures else ("evaluate",))
    if name is not None:
        runs = [dataclasses.replace(run, model=name) for run in runs]
    for note in notes:
        progress.say(note)
    for remark in untrained_remarks(runs):
        progress.say(f"warning: {remark}")
    device = pick_device(config.device)
    targets = _targets_of(runs)  # and the clips, before a model is loaded
    results = _RunResults()
    audio = hear_as_trained(runs[0], config, progress)
    limits = limit_lengths(audio, config)
    clips = read_evaluated_clips(manifests, targets, config, limits, audio_root=audio_root, progress=progress)
    results.rejects.append(clips.rejects)
    for run in runs:
        audio = audio if run is runs[0] else hear_as_trained(run, config, progress)
        classifier = load_classifier(run.checkpoint, device=device)
        what = f"evaluate {run.name}" if run.run_seed is None else f"evaluate {run.name}, seed {run.run_seed}"
        results.add(score_run(run, classifier, clips, audio, config, what=what, progress=progress))
        del classifier  # before the next one is loaded: memory may hold only one
    return _write(runs, targets, clips, config, results, output, progress)


def hear_as_trained(run: TrainedRun, config: EvaluateConfig, progress: Progress) -> AudioSpec:
    """Return how clips are prepared for a classifier: as in its training, unless the config says otherwise."""
    spec = read_audio(run.checkpoint)
    if spec is None:
        spec = AudioSpec()
        progress.say(
            f"{run.checkpoint} has no {AUDIO_FILE}: clips are heard as they are, resampled to "
            f"{spec.sample_rate_hz} Hz; --loudness-lufs says otherwise"
        )
    changes: dict[str, Any] = {}
    if config.loudness_lufs != "checkpoint":
        changes["loudness_lufs"] = config.loudness_lufs
    if config.max_duration_s != "checkpoint":
        changes["max_duration_s"] = config.max_duration_s
    return dataclasses.replace(spec, **changes)


def limit_lengths(audio: AudioSpec, config: EvaluateConfig) -> AudioConfig:
    """Return the limits of the clips' durations."""
    return AudioConfig().model_copy(
        update={"min_duration_s": config.min_duration_s, "max_duration_s": audio.max_duration_s}
    )


def _targets_of(runs: Sequence[TrainedRun]) -> Targets:
    """Return what the runs predict.

    Raises:
        CheckpointError: If runs predict different things, or a checkpoint is incomplete.
    """
    expected = read_targets(runs[0].checkpoint)
    for run in runs[1:]:
        targets = read_targets(run.checkpoint)
        if (targets.kind, targets.names) != (expected.kind, expected.names):
            raise CheckpointError(
                "The runs of the folder predict different things",
                where=run.checkpoint,
                expected=f"{expected.kind}: {', '.join(expected.names)}",
                found=f"{targets.kind}: {', '.join(targets.names)}",
                fix="evaluate them one by one",
            )
    return expected


def score_run(
    run: TrainedRun,
    classifier: SerClassifier,
    clips: EvaluatedClips,
    audio: AudioSpec,
    config: EvaluateConfig,
    *,
    what: str = "evaluate",
    progress: Progress = SILENT,
) -> RunScores:
    """Return a run's predictions of clips, and their scores.

    Args:
        run: Which run.
        classifier: Its classifier, on the device to run it on.
        clips: The clips.
        audio: How they are heard.
        config: How to run, and what to score.
        what: Name of the work.
        progress: Told of each clip.

    Raises:
        AudioError: If no clip can be decoded; if one cannot and `config.strict`.
    """
    settings = PredictionSettings(
        precision=config.precision,
        batch_seconds=None if config.batch_seconds == "auto" else config.batch_seconds,
        max_clips=config.max_clips,
        workers=None if config.workers == "auto" else config.workers,
        strict=config.strict,
    )
    outputs = predict_clips(classifier, clips.clips, audio, settings, what=what, progress=progress)
    table = tabulate_predictions(run, clips, classifier.targets, outputs.values)
    if not len(table):
        raise AudioError(
            f"None of the {len(clips.clips.table)} clips could be decoded",
            where=clips.clips.table["path"].iloc[0],
            found=outputs.rejects[0].error.what,
            fix="check the manifest's paths and the audio root",
        )
    unread = [(clips.clips.table["path"].iloc[reject.row], reject.error.what) for reject in outputs.rejects]
    rejects = pd.DataFrame(unread, columns=["path", "reason"], dtype=str)
    return RunScores(table, rejects, score_predictions(table, classifier.targets, clips.by, config))


def _write(
    runs: Sequence[TrainedRun],
    targets: Targets,
    clips: EvaluatedClips,
    config: EvaluateConfig,
    results: _RunResults,
    output: Path,
    progress: Progress,
) -> Evaluated:
    """Write all results."""
    predictions, tables = pd.concat(results.predictions, ignore_index=True), results.tables()
    if len(clips.left_out):
        tables["left_out"] = clips.left_out
    if "scores" not in tables:
        progress.say(f"nothing to score against: the manifests have {_missing(targets)}; predictions are written")
    files = write_tables(predictions, tables, output)
    drawn = dict(tables) if config.figures else {}
    if drawn and targets.is_numeric and "scores" in tables:
        drawn["agreement"] = agreement_rows(predictions, targets, clips.by)
    files += write_evaluation_figures(drawn, output / "figures", progress=progress)
    rejects = pd.concat(results.rejects, ignore_index=True).drop_duplicates("path")
    rejects_path = write_rejects(rejects, output / "rejects.csv")
    write_json(output / "evaluation.json", evaluation_record(runs, targets, clips, config))
    facts: dict[str, object] = {"clips": f"{len(results.predictions[0])}, {len(runs)} run{'s' * (len(runs) > 1)}"}
    if len(clips.left_out):
        facts["left out by label"] = int(clips.left_out["n"].sum())
    if n_heard := count_heard(runs, clips.clips, progress):
        facts["heard in training"] = n_heard
    if remarks := untrained_remarks(runs):
        facts["warning"] = "; ".join(remarks)
    outcome = Outcome((*files, output / "evaluation.json"), facts, len(rejects), rejects_path)
    return Evaluated(outcome, headline_scores(tables))


def count_heard(runs: Sequence[TrainedRun], clips: ClipList, progress: Progress) -> int:
    """Return how many clips a run was trained or chosen on, and warn: scores on them do not generalise."""
    table = training_clips(list(runs))
    trained_on = table[table["clip_id"].isin(clips.table["clip_id"])]
    count = int(trained_on["clip_id"].nunique())
    if count:
        parts = ", ".join(f"{n} in {split}" for split, n in trained_on["split"].value_counts().items())
        progress.say(
            f"warning: {count} of {len(clips.table)} clips were heard in fine-tuning ({parts}); scores on them do not "
            "tell how the model does on new speakers"
        )
    return count


def _missing(targets: Targets) -> str:
    return f"no column {' or '.join(targets.names)}" if targets.is_numeric else "no column 'label'"
