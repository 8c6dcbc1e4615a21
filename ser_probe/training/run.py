"""A fine-tuning run in its folder: what it is made from, how far it is, training it to the end, and its result.

training.json  what the run is made from, where it was begun, and, once it is over, its steps
best.json      the best step; checkpoints/ and tensorboard/ beside it
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ser_probe.errors import CheckpointError, DamagedFileError
from ser_probe.files import check_entries, read_json, write_json
from ser_probe.models.checkpoint_folders import CHECKPOINTS, checkpoint_folder, list_checkpoints
from ser_probe.models.heads import SerClassifier
from ser_probe.models.precision import kept_products, products
from ser_probe.models.trained_part import TrainedPart
from ser_probe.packages import leave_out_torchaudio
from ser_probe.runtime import Progress
from ser_probe.training.checkpoints import STATE, find_fault, newest_resumable, remove_leftovers
from ser_probe.training.dataset import ClipDataset
from ser_probe.training.history import best_evaluation, evaluations, should_stop, training_table
from ser_probe.training.processes import is_first, n_processes, wait_for_all
from ser_probe.training.resumed_state import refuse_unreadable_trainer_state
from ser_probe.training.run_files import BEST, EVENTS, RECORD, delete_run
from ser_probe.training.settings import TrainingSettings

if TYPE_CHECKING:
    import pandas as pd

OnEvaluation = Callable[[int, dict[str, float]], None]


class OtherRunError(CheckpointError):
    """The folder holds a run that was begun with other settings or clips."""


@dataclass(frozen=True)
class TrainingResult:
    """The result of fine-tuning, read from its folder.

    Args:
        checkpoints: Step and folder of every checkpoint, by step; the first is step 0, before training.
        best_step: Step of the best evaluation.
        best_value: Its value of the settings' metric.
        table: Columns `run_seed, step, epoch, split, measure, value`.
        stopped_early: Whether early stopping ended it.
        part: What of the model was trained, in numbers: `trained`, `total` and a line of words.
        resumed_from: Step that this call went on from; None where it started anew or had nothing to do.
    """

    checkpoints: list[tuple[int, Path]]
    best_step: int
    best_value: float
    table: pd.DataFrame
    stopped_early: bool
    part: dict[str, Any]
    resumed_from: int | None = None


class Run:
    """A run in its folder: what it is made from, how far it is, its result."""

    def __init__(self, folder: Path, settings: TrainingSettings, progress: Progress) -> None:
        self.folder, self.settings, self.progress = folder, settings, progress
        self.checkpoints = folder / CHECKPOINTS

    def begin(self, ingredients: dict[str, Any], device: torch.device, *, restart: bool) -> None:
        """Delete the run if asked to, and make the folder this run's.

        Raises:
            CheckpointError: As `delete_run` and `claim` do.
        """
        if restart:
            delete_run(self.folder)
        self.claim(ingredients, device)

    def claim(self, ingredients: dict[str, Any], device: torch.device) -> None:
        """Record what the run is made from, or check that the folder's run was begun with the same.

        Raises:
            CheckpointError: If it is not, or if nothing says what the folder's checkpoints were made from.
        """
        remove_leftovers(self.checkpoints)
        ingredients = json.loads(json.dumps(ingredients, default=str))
        environment = {
            "device": device.type,
            "threads": torch.get_num_threads(),
            "processes": n_processes(),
            **{package: version(package) for package in ("torch", "transformers")},
        }
        path = self.folder / RECORD
        if not path.is_file():
            if list_checkpoints(self.checkpoints):
                raise _foreign(self.folder, f"checkpoints without {RECORD}", "the record of the run they belong to")
            write_json(path, {"ingredients": ingredients, "environment": environment, "finished": None})
            return
        try:
            record = read_record(self.folder)
        except DamagedFileError as error:
            found = f"{RECORD} cannot be read ({error.found or error.what})"
            raise _foreign(self.folder, found, "the record of a run") from error
        changed = _changes(record["ingredients"], ingredients)
        if changed:
            raise _foreign(self.folder, changed, "the settings and clips that its run was begun with")
        changed = _changes(record["environment"], environment)
        if changed and record["finished"] is None:
            self.progress.say(f"begun elsewhere ({changed}): the last bits of the weights may differ")

    def finished(self) -> bool:
        """Tell whether the run is over.

        Raises:
            CheckpointError: If it is, and a checkpoint has been deleted or damaged since.
        """
        finished = read_record(self.folder)["finished"]
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

    def train(
        self,
        classifier: SerClassifier,
        part: TrainedPart,
        datasets: tuple[ClipDataset, ClipDataset],
        notes: Mapping[str, Any],
        on_evaluation: OnEvaluation | None,
    ) -> int | None:
        """Train to the end; return the step it went on from, None if it started anew."""
        newest = newest_resumable(self.checkpoints, self.progress)
        step, history = _read_state(newest, self.settings.metric) if newest else (0, [])
        self._refuse_changed(_steps(history))
        total = self.settings.total_steps(len(datasets[0]))
        # A run that was killed between its last checkpoint and its end is done; the Trainer would train on.
        if step < total and not should_stop(history, self.settings):
            if newest:
                self.progress.say(f"going on from step {step}")
            self.progress.say(f"training {part}")
            self._loop(classifier, datasets, newest, step, total, notes, on_evaluation)
        if is_first():
            self._finish(total, part)
        wait_for_all()
        return step if newest else None

    def _finish(self, total: int, part: TrainedPart) -> None:
        """Record the best step, and that the run is over."""
        last, history = _read_state(list_checkpoints(self.checkpoints)[-1][1], self.settings.metric)
        step, value = best_evaluation(history, self.settings.metric)
        self._write_best(step, value)
        record = read_record(self.folder)
        numbers = {"trained": part.n_trained, "total": part.n_total, "words": str(part)}
        record["finished"] = {"steps": _steps(history), "stopped_early": last < total, "parameters": numbers}
        write_json(self.folder / RECORD, record)

    def _write_best(self, step: int, value: float) -> None:
        """Write the best step, unless the file says it already; a damaged file is written again."""
        path, best = self.folder / BEST, {"step": step, "metric": self.settings.metric, "value": value}
        with contextlib.suppress(OSError, ValueError):
            if read_json(path) == best:
                return
        write_json(path, best)

    def _loop(
        self,
        classifier: SerClassifier,
        datasets: tuple[ClipDataset, ClipDataset],
        newest: Path | None,
        step: int,
        total: int,
        notes: Mapping[str, Any],
        on_evaluation: OnEvaluation | None,
    ) -> None:
        leave_out_torchaudio()
        from ser_probe.training.callbacks import Evaluations, Reporter, StepSeeds, StepZero, StopEarly
        from ser_probe.training.trainer import SerTrainer, checkpointed_blocks, repeatable_kernels

        zero = StepZero()
        callbacks: list[Any] = [StepSeeds(self.settings.seed), StopEarly(self.settings), zero]
        reporter = Reporter(self.progress, self.folder / EVENTS, step) if is_first() else None
        callbacks += [reporter] if reporter else []
        callbacks += [Evaluations(on_evaluation)] if on_evaluation else []
        if newest:
            refuse_unreadable_trainer_state(newest / STATE)
        with kept_products():  # the Trainer's arguments set some of the switches, and leave convolutions in TF32
            trainer = zero.trainer = SerTrainer(
                classifier, datasets, self.settings, self.checkpoints, callbacks, notes=notes
            )
        self.progress.start("fine-tuning", total, "steps")
        self.progress.advance(step)
        device, keeps_inputs = classifier.backbone.device, self.settings.gradient_checkpointing
        try:
            with (
                products(self.settings.precision),
                repeatable_kernels(device),
                checkpointed_blocks(classifier, keeps_inputs),
            ):
                trainer.train(resume_from_checkpoint=str(newest) if newest else None)
        finally:
            if reporter:
                reporter.close()
            self.progress.finish()

    def result(self) -> TrainingResult:
        """Return the result of a finished run, read from its folder."""
        finished = read_record(self.folder)["finished"]
        checkpoints = [(step, checkpoint_folder(self.checkpoints, step)) for step in finished["steps"]]
        _, history = _read_state(checkpoints[-1][1], self.settings.metric)
        step, value = best_evaluation(history, self.settings.metric)
        if is_first():
            self._write_best(step, value)
        table = training_table(history, self.settings.seed)
        return TrainingResult(checkpoints, step, value, table, finished["stopped_early"], finished["parameters"])


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


def read_record(folder: Path) -> dict[str, Any]:
    """Return the record in a run's folder: `ingredients`, `environment` and, once it is over, `finished`.

    Raises:
        DamagedFileError: If it is damaged.
    """
    path = folder / RECORD
    record = read_json(path, entries={"ingredients": dict, "environment": dict, "finished": (dict, type(None))})
    if (finished := record["finished"]) is not None:
        check_entries(finished, _FINISHED, where=path, inside="finished")
        check_entries(finished["parameters"], _PARAMETERS, where=path, inside="finished.parameters")
        steps = finished["steps"]
        if not steps or any(type(step) is not int or step < 0 for step in steps):
            raise DamagedFileError(
                f"{RECORD} does not hold what it should", where=path, expected="finished.steps: whole numbers",
                found=json.dumps(steps)[:80],
            )  # fmt: skip
    return record


_FINISHED = {"steps": list, "stopped_early": bool, "parameters": dict}
_PARAMETERS = {"trained": int, "total": int, "words": str}


def _read_state(checkpoint: Path, metric: str) -> tuple[int, list[dict[str, Any]]]:
    """Return step and log history of a checkpoint.

    Args:
        checkpoint: Its folder.
        metric: The metric that chooses the best step, which every evaluation must have.

    Raises:
        DamagedFileError: If the file is damaged.
    """
    path = checkpoint / STATE
    state = read_json(path, entries={"global_step": int, "log_history": list})
    for number, entry in enumerate(state["log_history"]):
        inside = f"log_history[{number}]"
        check_entries(entry, {"step": int, "epoch": float}, where=path, inside=inside)
        names = ("loss", "learning_rate") if "loss" in entry else [name for name in entry if name.startswith("eval_")]
        required = [f"eval_{metric}"] if "eval_loss" in names else []
        check_entries(entry, dict.fromkeys([*names, *required], float), where=path, inside=inside)
    if not evaluations(state["log_history"], "loss"):
        raise DamagedFileError(
            f"{STATE} does not hold what it should", where=path, expected="an evaluation in log_history", found="none"
        )
    return int(state["global_step"]), state["log_history"]
