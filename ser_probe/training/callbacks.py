"""What happens around the training loop: seeds per step, the checkpoint before training, progress, early stopping."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ser_probe.runtime import Progress, derive_seed, seed_everything
from ser_probe.training.history import should_stop
from ser_probe.training.processes import rank
from ser_probe.training.run_files import EVENTS_SUFFIX
from ser_probe.training.settings import METRICS, TrainingSettings

if TYPE_CHECKING:
    from ser_probe.training.trainer import SerTrainer


_SHOWN = {"eval_loss": "loss", "eval_uar": "UAR", "eval_macro_f1": "macro F1", "eval_ccc": "CCC", "eval_rmse": "RMSE"}


class StepSeeds(TrainerCallback):
    """Seeds every step, so that dropout and masks do not depend on what ran before in this process.

    A resumed run then needs no saved random state, and more frequent evaluation does not change the training.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Seed all generators, each process differently, so that their clips get different masks."""
        process = [rank()] if rank() else []
        seed_everything(derive_seed(self.seed, "step", state.global_step, *process))


class StopEarly(TrainerCallback):
    """Ends the training when the validation clips no longer improve; stateless."""

    def __init__(self, settings: TrainingSettings) -> None:
        self.settings = settings

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Look at all evaluations so far."""
        if should_stop(state.log_history, self.settings):
            control.should_training_stop = True


class Evaluations(TrainerCallback):
    """Passes each evaluation on to a function."""

    def __init__(self, tell: Callable[[int, dict[str, float]], None]) -> None:
        self.tell = tell

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Tell the step and the measures."""
        measures = {name.removeprefix("eval_"): value for name, value in (metrics or {}).items()}
        self.tell(state.global_step, measures)


class StepZero(TrainerCallback):
    """Measures and saves the model before its first step."""

    trainer: SerTrainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Evaluate and save, unless the run resumes from a checkpoint (step 0 included)."""
        if not state.log_history:
            self.trainer.evaluate()
            self.trainer.save_step()


class Reporter(TrainerCallback):
    """Passes what is logged on to the progress and TensorBoard.

    Args:
        progress: Advanced by each step; told of each evaluation.
        folder: Where TensorBoard's events go.
        first_step: The step this process starts from; later events of a killed run are dropped from view.
    """

    def __init__(self, progress: Progress, folder: Path, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.progress = progress
        self.events = SummaryWriter(
            str(folder), purge_step=first_step + 1 if first_step else None, filename_suffix=EVENTS_SUFFIX
        )

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Pass on a step's loss or an evaluation's scores."""
        logs = logs or {}
        for name in (*METRICS, "learning_rate", "grad_norm"):
            for split, key in (("train", name), ("validation", f"eval_{name}")):
                if key in logs:
                    self.events.add_scalar(f"{split}/{name}", logs[key], state.global_step)
        if "loss" in logs:
            self.progress.advance(1, loss=f"{logs['loss']:.3f}")
        elif "eval_loss" in logs:
            self.events.flush()
            scores = [f"{shown} {logs[key]:.3f}" for key, shown in _SHOWN.items() if key in logs]
            self.progress.say(f"step {state.global_step}: validation {', '.join(scores)}")

    def close(self) -> None:
        """Write out the events."""
        self.events.close()
