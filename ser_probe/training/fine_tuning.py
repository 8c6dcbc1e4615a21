"""Fine-tuning a backbone: start, go on after an interruption, or find that it is done. The room's one entry.

Exactness: with the same machine, package versions and number of threads a resumed run ends with the same weights
as an uninterrupted one, bit for bit, on a CPU. On a GPU some kernels add in no fixed order: equal up to rounding.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ser_probe.errors import CheckpointError, SerProbeError
from ser_probe.files import fingerprint, read_json, write_json
from ser_probe.models.backbone import Backbone
from ser_probe.models.heads import SerClassifier, refuse_untrainable
from ser_probe.runtime import SILENT, Progress, derive_seed, seed_everything
from ser_probe.training.checkpoints import (
    STATE,
    checkpoint_folder,
    find_fault,
    list_checkpoints,
    newest_resumable,
    remove_leftovers,
)
from ser_probe.training.dataset import ClipDataset
from ser_probe.training.front_end_cache import open_front_end
from ser_probe.training.history import best_evaluation, evaluations, should_stop, training_table
from ser_probe.training.locks import exclusive
from ser_probe.training.settings import Clips, TrainingSettings, check_clips

if TYPE_CHECKING:
    import pandas as pd

_FORMAT = 1
_RECORD = "training.json"

# They change what is kept on disk or how long it takes, not the weights.
_WITHOUT_EFFECT = ("cache_front_end", "keep_optimizer")


class OtherRunError(CheckpointError):
    """The folder holds a run that was begun with other settings or clips."""


@dataclass(frozen=True)
class TrainingResult:
    """What fine-tuning has left in its folder.

    Args:
        checkpoints: Step and folder of every checkpoint, by step; the first is step 0, before training.
        best_step: Step of the best evaluation.
        best_value: Its value of the settings' metric.
        table: Columns `run_seed, step, epoch, split, measure, value`.
        stopped_early: Whether early stopping ended it.
        resumed_from: Step that this call went on from; None where it started anew or had nothing to do.
    """

    checkpoints: list[tuple[int, Path]]
    best_step: int
    best_value: float
    table: pd.DataFrame
    stopped_early: bool
    resumed_from: int | None = None


def fine_tune(
    backbone: Backbone,
    train: Clips,
    validation: Clips,
    labels: Sequence[str],
    settings: TrainingSettings,
    folder: Path,
    *,
    front_end_folder: Path,
    recipe: Mapping[str, Any],
    progress: Progress = SILENT,
    restart: bool = False,
) -> TrainingResult:
    """Fine-tune a backbone with a linear head, or go on with a run that was interrupted in the same folder.

    A finished run is left as it is, and its result returned. Writes `checkpoints/checkpoint-<step>/`,
    `best.json`, `training.json` and `tensorboard/`.

    Args:
        backbone: The backbone, on the device to train on. It is trained in place.
        train: The training clips.
        validation: The validation clips.
        labels: Class names in the order of the labels, length K.
        settings: How to train.
        folder: The run's folder.
        front_end_folder: Folder of cached front ends, shared by runs.
        recipe: How files became samples (rate, loudness, ...), JSON-like; a run with another one is another run.
        progress: Told of the work.
        restart: Delete the folder's checkpoints first.

    Raises:
        BackboneError: If the backbone is of a family that cannot be fine-tuned.
        SplitError: If the clips cannot be learnt from.
        OtherRunError: If the folder holds a run made from something else.
        CheckpointError: If it holds a damaged run, or one in progress.
        CacheError: If the front end's output cannot be kept.
        SerProbeError: If the loss diverges.
    """
    refuse_untrainable(backbone)
    check_clips(train, validation, labels)
    if backbone.device.index not in (None, 0):
        raise SerProbeError(
            "Fine-tuning runs on the first CUDA device that torch sees", found=backbone.device,
            fix=f"set CUDA_VISIBLE_DEVICES={backbone.device.index} and take the device cuda",
        )  # fmt: skip
    run = _Run(folder, settings, list(labels), progress)
    with exclusive(folder / ".training.lock", "trains in this folder"):
        if restart:
            run.clear()
        run.claim(_ingredients(backbone, train, validation, labels, settings, recipe), backbone.device)
        resumed_from = None
        if not run.finished():
            with _own_random_state():
                cache = None
                if settings.caches_front_end:
                    cache = open_front_end(
                        backbone, (train, validation), front_end_folder, recipe=recipe, progress=progress
                    )
                resumed_from = run.train(backbone, ClipDataset(train, cache), ClipDataset(validation, cache))
        return dataclasses.replace(run.result(), resumed_from=resumed_from)


class _Run:
    """A run's folder: what it was begun with, how far it is, what it has left."""

    def __init__(self, folder: Path, settings: TrainingSettings, labels: list[str], progress: Progress) -> None:
        self.folder, self.settings, self.labels, self.progress = folder, settings, labels, progress
        self.checkpoints = folder / "checkpoints"

    def clear(self) -> None:
        """Delete the run."""
        for name in ("checkpoints", "tensorboard"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for name in (_RECORD, "best.json"):
            (self.folder / name).unlink(missing_ok=True)

    def claim(self, ingredients: dict[str, Any], device: torch.device) -> None:
        """Write down what the run is made from, or check that it is what the folder's run was begun with.

        Raises:
            CheckpointError: If it is not, or if nothing says what the folder's checkpoints were made from.
        """
        remove_leftovers(self.checkpoints)
        ingredients = json.loads(json.dumps(ingredients, default=str))
        environment = {
            "device": device.type,
            "threads": torch.get_num_threads(),
            **{package: version(package) for package in ("torch", "transformers")},
        }
        path = self.folder / _RECORD
        if not path.is_file():
            if list_checkpoints(self.checkpoints):
                raise _foreign(self.folder, f"checkpoints without {_RECORD}", "the record of the run they belong to")
            write_json(path, {"ingredients": ingredients, "environment": environment, "finished": None})
            return
        try:
            record = read_json(path)
            before, then = record["ingredients"], record["environment"]
        except (ValueError, KeyError, TypeError) as error:
            raise _foreign(self.folder, f"{_RECORD} cannot be read ({error})", "the record of a run") from error
        changed = _changes(before, ingredients)
        if changed:
            raise _foreign(self.folder, changed, "the settings and clips that its run was begun with")
        changed = _changes(then, environment)
        if changed and record["finished"] is None:
            self.progress.say(f"begun elsewhere ({changed}): the last bits of the weights may differ")

    def finished(self) -> bool:
        """Tell whether the run is over.

        Raises:
            CheckpointError: If it is, and a checkpoint has been deleted or damaged since.
        """
        finished = read_json(self.folder / _RECORD)["finished"]
        if finished is None:
            return False
        self._refuse_changed(finished["steps"])
        return True

    def _refuse_changed(self, steps: Sequence[int]) -> None:
        """Raise where a checkpoint that the run has written is not there as it was; training would not redo it."""
        for step in steps:
            checkpoint = checkpoint_folder(self.checkpoints, step)
            fault = find_fault(checkpoint)
            if fault:
                raise CheckpointError(
                    "A checkpoint of the run was deleted or changed",
                    where=checkpoint,
                    found=fault,
                    fix="put it back, or train anew with --restart",
                )

    def train(self, backbone: Backbone, train: ClipDataset, validation: ClipDataset) -> int | None:
        """Train to the end; return the step it went on from, None if it started anew."""
        newest = newest_resumable(self.checkpoints, self.progress)
        step, history = _read_state(newest) if newest else (0, [])
        self._refuse_changed(_steps(history))
        total = self.settings.total_steps(len(train))
        # Killed between its last checkpoint and its end: the Trainer itself would train on.
        if step < total and not should_stop(history, self.settings):
            if newest:
                self.progress.say(f"going on from step {step}")
            self._loop(backbone, train, validation, newest, step, total)
        self._finish(total)
        return step if newest else None

    def _finish(self, total: int) -> None:
        """Write down the best step, and that the run is over."""
        last, history = _read_state(list_checkpoints(self.checkpoints)[-1][1])
        step, value = best_evaluation(history, self.settings.metric)
        write_json(self.folder / "best.json", {"step": step, "metric": self.settings.metric, "value": value})
        record = read_json(self.folder / _RECORD)
        record["finished"] = {"steps": _steps(history), "stopped_early": last < total}
        write_json(self.folder / _RECORD, record)

    def _loop(
        self,
        backbone: Backbone,
        train: ClipDataset,
        validation: ClipDataset,
        newest: Path | None,
        step: int,
        total: int,
    ) -> None:
        from ser_probe.training.callbacks import EarlyStopping, Reporter, StepSeeds, StepZero
        from ser_probe.training.trainer import SerTrainer, repeatable_kernels

        zero = StepZero()
        reporter = Reporter(self.progress, self.folder / "tensorboard", step)
        callbacks = [StepSeeds(self.settings.seed), EarlyStopping(self.settings), zero, reporter]
        classifier = _build(backbone, self.labels, self.settings)
        trainer = zero.trainer = SerTrainer(
            classifier, (train, validation), self.labels, self.settings, self.checkpoints, callbacks
        )
        self.progress.start("fine-tuning", total, "steps")
        self.progress.advance(step)
        try:
            with repeatable_kernels(backbone.device):
                trainer.train(resume_from_checkpoint=str(newest) if newest else None)
        finally:
            reporter.close()
            self.progress.finish()

    def result(self) -> TrainingResult:
        """Return what a finished run has left, read from its folder."""
        finished = read_json(self.folder / _RECORD)["finished"]
        checkpoints = [(step, checkpoint_folder(self.checkpoints, step)) for step in finished["steps"]]
        _, history = _read_state(checkpoints[-1][1])
        step, value = best_evaluation(history, self.settings.metric)
        table = training_table(history, self.settings.seed)
        return TrainingResult(checkpoints, step, value, table, finished["stopped_early"])


def _build(backbone: Backbone, labels: list[str], settings: TrainingSettings) -> SerClassifier:
    """Return the classifier with its fresh head, on the backbone's device."""
    seed_everything(derive_seed(settings.seed, "head"))
    classifier = SerClassifier(
        backbone,
        len(labels),
        pooling=settings.pooling,
        dropout=settings.head_dropout,
        spec_augment=settings.spec_augment,
    )
    if not settings.train_front_end:
        classifier.freeze_front_end()
    return classifier.to(backbone.device)


def _ingredients(
    backbone: Backbone,
    train: Clips,
    validation: Clips,
    labels: Sequence[str],
    settings: TrainingSettings,
    recipe: Mapping[str, Any],
) -> dict[str, Any]:
    """Return everything that the trained weights depend on, by names a user understands."""
    chosen = {name: value for name, value in vars(settings).items() if name not in _WITHOUT_EFFECT}
    training_config = {
        name: value
        for name, value in json.loads(backbone.config.to_json_string(use_diff=False)).items()
        if "dropout" in name or name.startswith(("mask_", "layerdrop"))
    }
    return {
        "format": _FORMAT,
        **chosen,
        "labels": list(labels),
        "training clips": fingerprint([list(train.ids), np.asarray(train.labels).tolist()]),
        "validation clips": fingerprint([list(validation.ids), np.asarray(validation.labels).tolist()]),
        "audio": dict(recipe),
        "backbone weights": backbone.weights_hash(),
        "backbone config": fingerprint([backbone.architecture(), training_config, backbone.input.ingredients()]),
    }


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return which entries differ, with both values."""
    names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    return "; ".join(f"{name} was {_short(before.get(name))}, is {_short(now.get(name))}" for name in names)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:12] + "..."


def _foreign(folder: Path, found: str, expected: str) -> OtherRunError:
    return OtherRunError(
        "The folder holds another training run", where=folder, expected=expected, found=found,
        fix="take another folder, or --restart to delete the run that is there",
    )  # fmt: skip


def _steps(history: list[dict[str, Any]]) -> list[int]:
    """Return the steps that were evaluated, each of which has a checkpoint."""
    return [step for step, _ in evaluations(history, "loss")]


def _read_state(checkpoint: Path) -> tuple[int, list[dict[str, Any]]]:
    """Return step and log history of a checkpoint."""
    state = read_json(checkpoint / STATE)
    return int(state["global_step"]), state["log_history"]


@contextlib.contextmanager
def _own_random_state() -> Iterator[None]:
    """Give back the caller's random states afterwards; training seeds them all."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the generator transformers draws from
    cuda = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices=cuda):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
