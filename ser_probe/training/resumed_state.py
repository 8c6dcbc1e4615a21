"""What training resumes from, checked: weights, adapters, the states of optimiser, schedule and Trainer."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.optim import Optimizer

from ser_probe.errors import CheckpointError
from ser_probe.models.model_files import refuse_non_finite

_FIX = "delete this checkpoint to go on from one before that has its state, or start over with --restart"


def refuse_not_finite(folder: Path, what: str, tensors: Mapping[str, Any]) -> None:
    """Refuse a checkpoint with NaN or infinity: every later step would be as well.

    Args:
        folder: The checkpoint.
        what: What the tensors are, for the message.
        tensors: The tensors by name; other values are passed over.

    Raises:
        CheckpointError: If a number is not finite.
    """
    for name, tensor in tensors.items():
        if isinstance(tensor, Tensor) and not tensor.isfinite().all():
            raise CheckpointError(
                f"Training cannot go on: the {what} of the checkpoint hold numbers that are not finite",
                where=folder,
                found=f"{int((~tensor.isfinite()).sum())} of {tensor.numel()} numbers of {name}",
                fix=_FIX,
            )


@contextlib.contextmanager
def checked_optimizer_state(checkpoint: str | None) -> Iterator[None]:
    """Turn whatever torch raises on a damaged state into one error of the checkpoint.

    Raises:
        CheckpointError: If loading fails.
    """
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # a damaged file makes torch raise almost anything
        raise CheckpointError(
            "The optimiser's state cannot be loaded: it is damaged, or holds more than tensors",
            where=checkpoint,
            found=str(error).partition("\n")[0],
            fix=_FIX,
        ) from error


def check_optimizer_state(
    checkpoint: Path, optimizer: Optimizer, scheduler: Any, schedule: Mapping[str, Any], *, step: int
) -> None:
    """Refuse loaded states that are incomplete, of another step, or not finite.

    Args:
        checkpoint: The checkpoint they came from.
        optimizer: The optimiser, with the loaded state.
        scheduler: The schedule of the learning rate, with the loaded state.
        schedule: The state of the schedule before.
        step: The checkpoint's step.

    Raises:
        CheckpointError: If so.
    """
    faults = []
    for group in optimizer.param_groups:
        numbers = [value for value in group.values() if isinstance(value, float)]
        faults += [f"a setting of the optimiser is {x}" for x in numbers if not math.isfinite(x)][:1]
        for parameter in group["params"]:
            state = optimizer.state.get(parameter)
            if state is None:
                continue  # not trained yet
            moments = [state.get(name) for name in ("exp_avg", "exp_avg_sq")]
            if not all(isinstance(moment, Tensor) and moment.shape == parameter.shape for moment in moments):
                faults.append(f"no moments for weights of shape {tuple(parameter.shape)}")
    loaded = scheduler.state_dict()
    if loaded.get("base_lrs") != schedule["base_lrs"] or loaded.get("last_epoch") != step:
        faults.append(
            f"a schedule at step {loaded.get('last_epoch')} from {loaded.get('base_lrs')}, not at step {step} from "
            f"{schedule['base_lrs']}"
        )
    if faults:
        more = f"; {len(faults) - 1} more faults" if len(faults) > 1 else ""
        raise CheckpointError(
            "The optimiser's state is damaged, or of another run", where=checkpoint, found=f"{faults[0]}{more}",
            fix=_FIX,
        )  # fmt: skip
    for number, state in enumerate(optimizer.state.values()):
        named = {f"{name} of parameter {number}": value for name, value in state.items()}
        refuse_not_finite(checkpoint, "optimiser's states", named)


def refuse_unreadable_trainer_state(path: Path) -> None:
    """Refuse a state of the Trainer that transformers would not read.

    Raises:
        CheckpointError: If so.
    """
    from transformers import TrainerState

    try:
        TrainerState.load_from_json(str(path))
    except Exception as error:  # unknown entries, or entries of another type, raise almost anything
        raise CheckpointError(
            "The state of the training cannot be read", where=path, found=str(error).partition("\n")[0], fix=_FIX
        ) from error


def read_adapters(path: Path) -> dict[str, Tensor]:
    """Return the weights of the adapters of a checkpoint.

    Raises:
        CheckpointError: If the file is damaged, or a weight is not finite.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            "The adapters of the checkpoint cannot be read", where=path, found=error, fix=_FIX
        ) from error
    refuse_non_finite(tensors, path, CheckpointError)
    return tensors
