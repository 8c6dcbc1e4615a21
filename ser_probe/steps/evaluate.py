"""The verb `evaluate`: predictions of a fine-tuned classifier, and everything that a paper reports of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ser_probe.audio.load import AudioSpec
from ser_probe.config import AudioConfig
from ser_probe.config.evaluation import EvaluateConfig
from ser_probe.embeddings.passes import ClipList
from ser_probe.errors import AudioError, CheckpointError
from ser_probe.files import atomic_path, check_output_folder, write_json, write_text
from ser_probe.models.checkpoint import load_classifier, read_targets
from ser_probe.models.heads import SerClassifier
from ser_probe.models.targets import Targets
from ser_probe.report.evaluation.files import write_evaluation_figures
from ser_probe.runtime import SILENT, Progress, pick_device, run_record
from ser_probe.steps.evaluated_clips import EvaluatedClips, read_evaluated_clips
from ser_probe.steps.evaluation_latex import latex_scores
from ser_probe.steps.evaluation_tables import agreement_rows, score_predictions, summarise, tabulate_predictions
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.predictions import PredictionSettings, predict_clips
from ser_probe.steps.study.preflight import check_packages
from ser_probe.steps.tables import write_table
from ser_probe.steps.trained_runs import (
    AUDIO_FILE,
    TrainedRun,
    find_runs,
    read_audio,
    training_clips,
    untrained_remarks,
)

TABLES = (
    *("scores", "summary", "classes", "class_summary"),
    *("confusion", "confusion_mean", "reliability", "left_out"),
)
"""The tables in `tables/`; those that an evaluation does not make are removed, so that none is of another one."""
LATEX = "scores.tex"
HEADLINES = ("accuracy", "uar", "macro_f1", "ece", "kl_divergence", "ccc", "rmse")

_KEYS = ("corpus", "group_by", "group", "target")


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation found.

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
    """What one run gives on one set of clips.

    Attributes:
        predictions: As `tabulate_predictions` makes them.
        rejects: Clips that could not be decoded: `path`, `reason`.
        tables: As `score_predictions` makes them.
    """

    predictions: pd.DataFrame
    rejects: pd.DataFrame
    tables: dict[str, pd.DataFrame]


@dataclass(eq=False)
class _Found:
    """What the runs have given so far."""

    predictions: list[pd.DataFrame] = field(default_factory=list)
    rejects: list[pd.DataFrame] = field(default_factory=list)
    scored: dict[str, list[pd.DataFrame]] = field(default_factory=dict)

    def add(self, scores: RunScores) -> None:
        """Add those of one run."""
        self.predictions.append(scores.predictions)
        self.rejects.append(scores.rejects)
        for name, part in scores.tables.items():
            self.scored.setdefault(name, []).append(part)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables of all runs, and what is said over them."""
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
        name: What tables and figures call the model; None: as its folder.
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
    found = _Found()
    audio = hear_as_trained(runs[0], config, progress)
    limits = limit_lengths(audio, config)
    clips = read_evaluated_clips(manifests, targets, config, limits, audio_root=audio_root, progress=progress)
    found.rejects.append(clips.rejects)
    for run in runs:
        audio = audio if run is runs[0] else hear_as_trained(run, config, progress)
        classifier = load_classifier(run.checkpoint, device=device)
        what = f"evaluate {run.name}" if run.run_seed is None else f"evaluate {run.name}, seed {run.run_seed}"
        found.add(score_run(run, classifier, clips, audio, config, what=what, progress=progress))
        del classifier  # before the next one is loaded: memory may hold but one
    return _write(runs, targets, clips, config, found, output, progress)


def hear_as_trained(run: TrainedRun, config: EvaluateConfig, progress: Progress) -> AudioSpec:
    """Return how a classifier hears clips: as in its training, or as the command says."""
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
    """Return which lengths of clips are taken."""
    return AudioConfig().model_copy(
        update={"min_duration_s": config.min_duration_s, "max_duration_s": audio.max_duration_s}
    )


def _targets_of(runs: Sequence[TrainedRun]) -> Targets:
    """Return what the runs predict, which must be the same.

    Raises:
        CheckpointError: If it is not, or a checkpoint is incomplete.
    """
    expected = read_targets(runs[0].checkpoint)
    for run in runs[1:]:
        found = read_targets(run.checkpoint)
        if (found.kind, found.names) != (expected.kind, expected.names):
            raise CheckpointError(
                "The runs of the folder predict different things",
                where=run.checkpoint,
                expected=f"{expected.kind}: {', '.join(expected.names)}",
                found=f"{found.kind}: {', '.join(found.names)}",
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
        what: What the work is called.
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
    unread = [(clips.clips.table["path"].iloc[each.row], each.error.what) for each in outputs.rejects]
    rejects = pd.DataFrame(unread, columns=["path", "reason"], dtype=str)
    return RunScores(table, rejects, score_predictions(table, classifier.targets, clips.by, config))


def _write(
    runs: Sequence[TrainedRun],
    targets: Targets,
    clips: EvaluatedClips,
    config: EvaluateConfig,
    found: _Found,
    output: Path,
    progress: Progress,
) -> Evaluated:
    """Write everything that was found."""
    predictions, tables = pd.concat(found.predictions, ignore_index=True), found.tables()
    if len(clips.left_out):
        tables["left_out"] = clips.left_out
    if "scores" not in tables:
        progress.say(f"nothing to score against: the manifests have {_missing(targets)}; predictions are written")
    files = _write_tables(predictions, tables, output)
    drawn = dict(tables) if config.figures else {}
    if drawn and targets.is_numeric and "scores" in tables:
        drawn["agreement"] = agreement_rows(predictions, targets, clips.by)
    files += write_evaluation_figures(drawn, output / "figures", progress=progress)
    rejects = pd.concat(found.rejects, ignore_index=True).drop_duplicates("path")
    rejects_path = _write_rejects(rejects, output)
    write_json(output / "evaluation.json", _record(runs, targets, clips, config))
    facts: dict[str, object] = {"clips": f"{len(found.predictions[0])}, {len(runs)} run{'s' * (len(runs) > 1)}"}
    if len(clips.left_out):
        facts["left out by label"] = int(clips.left_out["n"].sum())
    if heard := count_heard(runs, clips.clips, progress):
        facts["heard in training"] = heard
    if remarks := untrained_remarks(runs):
        facts["warning"] = "; ".join(remarks)
    outcome = Outcome((*files, output / "evaluation.json"), facts, len(rejects), rejects_path)
    return Evaluated(outcome, _headline(tables))


def count_heard(runs: Sequence[TrainedRun], clips: ClipList, progress: Progress) -> int:
    """Return how many clips a run was trained or chosen on, and say so: scores on them say nothing of others."""
    table = training_clips(list(runs))
    heard = table[table["clip_id"].isin(clips.table["clip_id"])]
    count = int(heard["clip_id"].nunique())
    if count:
        parts = ", ".join(f"{n} in {split}" for split, n in heard["split"].value_counts().items())
        progress.say(
            f"warning: {count} of {len(clips.table)} clips were heard in fine-tuning ({parts}); scores on them do not "
            "tell how the model does on new speakers"
        )
    return count


def _missing(targets: Targets) -> str:
    return f"no column {' or '.join(targets.names)}" if targets.is_numeric else "no column 'label'"


def _write_tables(predictions: pd.DataFrame, tables: Mapping[str, pd.DataFrame], output: Path) -> list[Path]:
    files = write_table(predictions, output, "predictions")
    for name in TABLES:
        if name in tables:
            files += write_table(tables[name], output / "tables", name)
        else:
            for suffix in (".parquet", ".csv"):
                (output / "tables" / f"{name}{suffix}").unlink(missing_ok=True)
    printed = output / "tables" / LATEX
    if "scores" in tables:
        write_text(printed, latex_scores(tables["scores"], tables["summary"]))
        files.append(printed)
    else:
        printed.unlink(missing_ok=True)
    return files


def _write_rejects(rejects: pd.DataFrame, output: Path) -> Path | None:
    path = output / "rejects.csv"
    path.unlink(missing_ok=True)  # of an earlier run, whose clips may be mended by now
    if not len(rejects):
        return None
    with atomic_path(path) as temporary:
        rejects.to_csv(temporary, index=False)
    return path


def _record(
    runs: Iterable[TrainedRun], targets: Targets, clips: EvaluatedClips, config: EvaluateConfig
) -> dict[str, Any]:
    """Return what must be known to repeat the evaluation."""
    return {
        "runs": [
            {
                "model": run.model,
                "model_path": str(run.model_path),
                "run_seed": run.run_seed,
                "step": run.step,
                "checkpoint": str(run.checkpoint),
            }
            for run in runs
        ],
        "targets": targets.as_json(),
        "by": list(clips.by),
        "options": config.model_dump(mode="json"),
        **run_record(str(pick_device(config.device))),
    }


def _headline(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    if "scores" not in tables:
        return pd.DataFrame()
    scores, summary = tables["scores"], tables["summary"]
    keys = [name for name in _KEYS if name in scores]
    several = int(summary["n_runs"].max()) > 1
    counts: dict[Any, dict[Any, Any]] = (
        scores.drop_duplicates(keys).set_index(keys)[["n", "n_speakers"]].to_dict("index")
    )
    rows: dict[Any, dict[str, Any]] = {}
    for record in (summary if several else scores).to_dict("records"):
        if record["measure"] not in HEADLINES:
            continue
        key, measure = tuple(record[name] for name in keys), str(record["measure"])
        row = rows.setdefault(key, {**dict(zip(keys, key, strict=True)), **counts[key]})
        if several:
            row |= {measure: record["mean"], f"{measure}_std": record["std"]}
        else:
            row |= {measure: record["value"], f"{measure}_low": record["ci_low"], f"{measure}_high": record["ci_high"]}
    return pd.DataFrame(list(rows.values()))
