"""Finds the checkpoints of fine-tuning by a folder: a checkpoint, a run's best one, or the best one of each seed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ser_probe.audio.load import AudioSpec
from ser_probe.data.manifest import read_manifest
from ser_probe.errors import AudioError, CheckpointError, ConfigError, DamagedFileError
from ser_probe.files import read_json
from ser_probe.models.checkpoint_folders import CHECKPOINTS, checkpoint_folder, checkpoint_step, run_folder
from ser_probe.models.contents import CONTENTS
from ser_probe.models.model_folder import refuse_non_folder
from ser_probe.training.checkpoints import STATE
from ser_probe.training.run_files import BEST, RECORD

AUDIO_FILE = "audio.json"
"""How clips became samples, in each checkpoint, so that they can be prepared the same way later."""
_HEAD = "head.json"
_SEED = re.compile(r"seed-(\d+)")
_CHANCE = "its head is untrained, and its predictions are those of chance"


@dataclass(frozen=True)
class TrainedRun:
    """A checkpoint of a fine-tuning run, and its names in tables.

    Attributes:
        checkpoint: The folder of the checkpoint.
        model: Name of the run's folder, of several seeds the one that holds them all.
        run_seed: Seed of the run; None if unknown.
        step: Optimiser steps; None if unknown.
        run: The run's folder; None for a separate checkpoint.
        model_path: The folder that `model` is the name of.
        is_best: Whether it was chosen as the run's best.
    """

    checkpoint: Path
    model: str
    run_seed: int | None
    step: int | None
    run: Path | None
    model_path: Path
    is_best: bool = field(default=False, compare=False)

    @property
    def name(self) -> str:
        """Name of the checkpoint in tables, such as `step-50`."""
        return self.checkpoint.name if self.step is None else f"step-{self.step}"


def find_runs(place: Path) -> tuple[list[TrainedRun], list[str]]:
    """Return the checkpoints to evaluate, by seed, and a line about runs that are not finished.

    Args:
        place: A checkpoint, a run's folder (its best checkpoint) or a folder of `seed-<n>/` (each one's best).

    Raises:
        CheckpointError: If there is none.
    """
    folder = place.expanduser()
    refuse_non_folder(folder, CheckpointError)
    if (folder / _HEAD).is_file() or checkpoint_step(folder.name) is not None:
        return [_describe(folder)], []
    if (folder / BEST).is_file():
        return [_best_of(folder)], []
    seeds = sorted((int(match[1]), path) for path in folder.glob("seed-*") if (match := _SEED.fullmatch(path.name)))
    finished = [path for _, path in seeds if (path / BEST).is_file()]
    if not finished:
        raise CheckpointError(
            "There is nothing to evaluate in the folder",
            where=folder,
            expected="a checkpoint-<step>, a finished run with best.json, or a folder with seed-<n>/ of such",
            found=f"{len(seeds)} runs, none of them finished" if seeds else _shown(folder),
            fix="let the training end, or name one of its checkpoints",
        )
    unfinished = [path.name for _, path in seeds if path not in finished]
    notes = [f"left out, because their training is not finished: {', '.join(unfinished)}"] if unfinished else []
    return [_best_of(path) for path in finished], notes


def untrained_remarks(runs: Iterable[TrainedRun]) -> list[str]:
    """Return a line for each of these checkpoints that is from before training."""
    return [
        untrained_remark(run.run or run.checkpoint)
        if run.is_best
        else f"{run.checkpoint} is from before training: {_CHANCE}"
        for run in runs
        if run.step == 0
    ]


def untrained_remark(run: Path | str) -> str:
    """Return the remark on a run whose best step is 0."""
    return (
        f"the best step of {run} is 0: no evaluation after it was better by the metric that chooses. This is the "
        f"checkpoint from before training: {_CHANCE}. Train longer or with another learning rate, or choose by another "
        "metric (finetune.early_stopping.metric)"
    )


def _best_of(run: Path) -> TrainedRun:
    return dataclasses.replace(_describe(_best_checkpoint(run)), is_best=True)


def read_audio(checkpoint: Path) -> AudioSpec | None:
    """Return how the clips of a classifier's training were decoded; None where the checkpoint does not say.

    Raises:
        CheckpointError: If the file that says so is damaged.
    """
    path = checkpoint / AUDIO_FILE
    if not path.is_file():
        return None
    names = [field.name for field in dataclasses.fields(AudioSpec)]
    try:
        settings = read_json(path, entries={"audio": dict})["audio"]
        return AudioSpec(**settings)
    except (AudioError, ConfigError, ValueError, TypeError) as error:
        raise CheckpointError(
            "The checkpoint does not say how its clips were decoded",
            where=path,
            expected=f'{{"audio": {{...}}}} with {", ".join(names)}',
            found=error.found if isinstance(error, DamagedFileError) else error,
        ) from error


def training_clips(runs: list[TrainedRun]) -> pd.DataFrame:
    """Return the clips that runs were trained and chosen on, as far as known from their folders: `clip_id`, `split`."""
    parts = []
    for folder in dict.fromkeys(run.run for run in runs if run.run is not None):
        path = folder / "manifest.csv"
        if path.is_file():
            table = read_manifest(path).table
            if {"clip_id", "split"} <= {*table.columns}:
                parts.append(table.loc[table["split"].isin(["train", "validation"]), ["clip_id", "split"]])
    clips = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["clip_id", "split"], dtype=str)
    return clips.drop_duplicates()


def _best_checkpoint(run: Path) -> Path:
    """Return the checkpoint that a run names as its best, checked against its history.

    Raises:
        CheckpointError: If it names none, or another.
    """
    path = run / BEST
    try:
        best = read_json(path, entries={"step": int})
    except DamagedFileError as error:
        raise CheckpointError(
            "The run does not say which checkpoint is its best", where=path, expected='{"step": ...}', found=error.found
        ) from error
    checkpoint = checkpoint_folder(run / CHECKPOINTS, best["step"])
    _refuse_other_value(checkpoint, best, path)
    return checkpoint


def _refuse_other_value(checkpoint: Path, best: dict[str, Any], path: Path) -> None:
    """Raise if a checkpoint's history has another value than its run states: then the run names a wrong step."""
    name, state = f"eval_{best.get('metric')}", checkpoint / STATE
    if "value" not in best or not state.is_file():
        return
    history = read_json(state, entries={"log_history": list})["log_history"]
    values = [entry[name] for entry in history if isinstance(entry, dict) and name in entry]
    if not values or values[-1] != best["value"]:
        raise CheckpointError(
            "The run's best checkpoint is not the one that its history says",
            where=path,
            expected=f"{best.get('metric')} {best['value']} in {state}",
            found=values[-1] if values else "no such measure",
            fix="go on with the training, which writes best.json anew, or name a checkpoint",
        )


def _describe(checkpoint: Path) -> TrainedRun:
    """Return what is known of a checkpoint by its path and files."""
    step = checkpoint_step(checkpoint.name)
    step = _read_number(checkpoint / CONTENTS, "step") if step is None else step
    if checkpoint.parent.name != CHECKPOINTS:
        return TrainedRun(checkpoint, _name(checkpoint), None, step, None, checkpoint)
    run = run_folder(checkpoint)
    seed = _SEED.fullmatch(run.name)
    if seed:
        return TrainedRun(checkpoint, _name(run.parent), int(seed[1]), step, run, run.parent)
    run_seed = _read_number(run / RECORD, "ingredients", "seed")
    return TrainedRun(checkpoint, _name(run), run_seed, step, run, run)


def _name(folder: Path) -> str:
    return folder.name or folder.resolve().name


def _read_number(path: Path, *keys: str) -> int | None:
    """Return a whole number from a JSON file; None where there is none."""
    try:
        value: Any = read_json(path)
        for key in keys:
            value = value[key]
        return int(value)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _shown(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "") if names else "an empty folder"
