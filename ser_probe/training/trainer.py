"""The Hugging Face Trainer, brought to ser-probe's forward pass, checkpoints and exactness.

What differs from the stock Trainer, and why: the loss of accumulated batches, and of several processes, is the mean
over their clips (stock weighs batches alike), and the validation loss is that of all clips at once; random numbers
are drawn from a seed per step; nothing is pickled but tensors; a checkpoint appears whole; a loss that is not finite
stops the run.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from ser_probe.errors import CheckpointError, SerProbeError
from ser_probe.files import write_json
from ser_probe.models.backbone import Backbone
from ser_probe.models.checkpoint import load_classifier, save_classifier
from ser_probe.models.forward import run_front_end
from ser_probe.models.frames import Frames
from ser_probe.models.heads import SerClassifier
from ser_probe.models.lora import load_lora, lora_state
from ser_probe.models.model_files import refuse_non_finite
from ser_probe.models.precision import products
from ser_probe.training.checkpoints import (
    ADAPTERS,
    LAYER_WEIGHTS,
    RESUME_FILES,
    STATE,
    drop_resume_files,
    new_checkpoint,
)
from ser_probe.training.dataset import ClipDataset, EpochBatches, EpochLoader, length_sorted_batches
from ser_probe.training.losses import make_loss, score
from ser_probe.training.processes import gather, is_first, n_processes, rank, wait_for_all
from ser_probe.training.settings import SCHEDULERS, TrainingSettings

_OTHER_STATE = "delete this checkpoint to go on from one before that has its state, or start over with --restart"


class SerTrainer(Trainer):
    """Fine-tunes a classifier.

    Args:
        classifier: The classifier, on its device; trained in place.
        datasets: Training and validation clips.
        settings: How to train.
        folder: The run's folder of checkpoints.
        callbacks: Told of steps, logs and evaluations.
        notes: JSON files to put into each checkpoint, by name.
    """

    def __init__(
        self,
        classifier: SerClassifier,
        datasets: tuple[ClipDataset, ClipDataset],
        settings: TrainingSettings,
        folder: Path,
        callbacks: list[TrainerCallback],
        *,
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        self.classifier, self.settings, self.folder = classifier, settings, folder
        self.train_clips, self.validation_clips = datasets
        self.notes = dict(notes or {})
        self.loss = make_loss(
            settings.loss_for(classifier.targets),
            classifier.targets,
            self.train_clips.clips.targets,
            class_weights=settings.class_weights,
            label_smoothing=settings.label_smoothing,
        )
        super().__init__(
            model=classifier,
            args=_arguments(settings, len(self.train_clips), folder, classifier.backbone),
            train_dataset=self.train_clips,
            eval_dataset=self.validation_clips,
            callbacks=callbacks,
        )
        self.remove_callback(PrinterCallback)
        # The Trainer then counts the clips of accumulated batches and hands the count to compute_loss.
        self.model_accepts_loss_kwargs = self.loss_is_scaled_for_ga = True

    def get_train_dataloader(self) -> EpochLoader:
        """Return the training batches; their order is a function of seed and epoch."""
        batches = EpochBatches(
            self.train_clips.clips.durations_s,
            self.settings.batch_size,
            self.settings.seed,
            by_length=self.settings.group_by_length,
        )
        return EpochLoader(self.train_clips, batches)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Return AdamW: no weight decay on biases, norms and layer weights, and the head's own learning rate."""
        if self.optimizer is None:
            # Decay would pull a sum of layers towards none of them.
            decayed = {*self.get_decay_parameter_names(self.classifier)} - {"head.mixing.weights"}
            groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
            for name, parameter in self.classifier.named_parameters():
                if parameter.requires_grad:
                    groups.setdefault((name.startswith("head."), name in decayed), []).append(parameter)
            rates = (self.settings.learning_rate, self.settings.head_learning_rate or self.settings.learning_rate)
            kind, options = self.get_optimizer_cls_and_kwargs(self.args)
            self.optimizer = kind(
                [
                    {"params": groups[key], "lr": rates[key[0]], "weight_decay": self.args.weight_decay * key[1]}
                    for key in sorted(groups)  # the backbone first: its learning rate is the one that is logged
                ],
                **options,
            )
        return self.optimizer

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: torch.device) -> int:
        """Return how many clips the accumulated batches hold, in all processes together."""
        return sum(gather(sum(batch["n_own"] for batch in batch_samples)))

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the loss of the batch as its share of the mean over the accumulated clips, and the head's L2 term.

        Of each process the share is taken times their number, since their gradients are averaged.
        """
        outputs = self._outputs(model, inputs)
        total = inputs["n_own"] if num_items_in_batch is None else num_items_in_batch
        share = n_processes() * inputs["n_own"] / total
        loss = share * self.loss(outputs, inputs["targets"])
        if self.settings.head_l2:
            loss = loss + share * self.settings.head_l2 * self._head_weight()
        self._refuse_non_finite("training loss", loss.item())
        return (loss, {"outputs": outputs}) if return_outputs else loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Measure the validation clips, shared by the processes; log loss and scores of all clips at once.

        Returns:
            `eval_loss` and `eval_<score>` for each of `losses.score`.
        """
        dataset = self.validation_clips
        batches = length_sorted_batches(dataset.clips, max(1, self.settings.batch_size // n_processes()))
        found: dict[int, np.ndarray] = {}
        self.classifier.eval()
        with torch.no_grad():
            for rows in batches[rank() :: n_processes()]:
                batch = self._prepare_inputs(dataset.collate([dataset[row] for row in rows]))
                found.update(zip(rows, self._outputs(self.classifier, batch).double().cpu().numpy(), strict=True))
        every = {row: output for part in gather(found) for row, output in part.items()}
        outputs = torch.from_numpy(np.stack([every[row] for row in range(len(dataset))]))
        loss = float(self.loss(outputs, dataset.targets.double()))
        self._refuse_non_finite("validation loss", loss)
        scores = score(self.classifier.targets, outputs.numpy(), dataset.targets.numpy())
        metrics: dict[str, float] = {"eval_loss": loss, **{f"eval_{name}": value for name, value in scores.items()}}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def save_step(self) -> None:
        """Save the checkpoint of the current step, whole or not at all; the first process does."""
        step = self.state.global_step
        if is_first():
            with new_checkpoint(self.folder, step) as temporary:
                save_classifier(temporary, self.classifier)
                if self.settings.trained == "lora":
                    # The backbone is saved with its adapters merged in: what goes on needs them apart.
                    save_file(lora_state(self.classifier.model), temporary / ADAPTERS)
                if len(self.classifier.layer_weights()) > 1:
                    write_json(temporary / LAYER_WEIGHTS, self.classifier.layer_weights())
                for name, note in self.notes.items():
                    write_json(temporary / name, note)
                parts: tuple[Any, ...] = (self.optimizer, self.lr_scheduler)
                for name, part in zip(RESUME_FILES, parts, strict=True):
                    torch.save(part.state_dict(), temporary / name)
                self.state.save_to_json(str(temporary / STATE))
            if self.settings.keep_optimizer == "last":
                drop_resume_files(self.folder, before=step)
        wait_for_all()

    def _head_weight(self) -> Tensor:
        """Return the sum of the head's squared weights; biases and norms are no part of it."""
        weights = [weight.square().sum() for weight in self.classifier.head.parameters() if weight.ndim > 1]
        return torch.stack(weights).sum()

    def _outputs(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        """Return the head's outputs [B, K], float32."""
        if "features" in inputs:
            frames = Frames(inputs["features"], inputs["n_frames"])
        elif self.settings.trains_front_end:
            frames = run_front_end(self.classifier.backbone, inputs["clips"])
        else:
            # As the cache computes it: a frozen front end has no gradient and stays in exact float32.
            with torch.no_grad(), products("fp32"), torch.autocast(self.args.device.type, enabled=False):
                frames = run_front_end(self.classifier.backbone, inputs["clips"])
        return model(frames.to(self.args.device)).float()

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        self._refuse_non_finite("gradient norm", float(norm))
        return norm

    def _refuse_non_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            if self.state.global_step == 0 and what == "validation loss":
                raise SerProbeError(
                    "The validation loss is no number before training has begun: the model computes none",
                    where=self.classifier.backbone.name,
                    found=value,
                    fix="look for weights that are not finite, or take a larger precision",
                )
            raise SerProbeError(
                f"The {what} is no longer a number; the training has diverged",
                where=f"step {self.state.global_step}, learning rate {self._get_learning_rate():.3g}",
                found=value,
                fix="lower learning_rate or raise warmup_ratio, and start over with --restart or in another folder",
            )

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self.save_step()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        folder = Path(resume_from_checkpoint)
        saved = load_classifier(folder)
        # Copied into the tensors that are there: the optimiser holds on to them.
        self.classifier.head.load_state_dict(saved.head.state_dict())
        if self.settings.trained == "lora":
            load_lora(self.classifier.model, _read_adapters(folder / ADAPTERS))
        else:
            self.classifier.model.load_state_dict(saved.model.state_dict())
        self._refuse_damaged(folder, "weights", self.classifier.state_dict())

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        assert self.lr_scheduler is not None, "made before states are loaded"
        schedule = copy.deepcopy(self.lr_scheduler.state_dict())
        try:
            super()._load_optimizer_and_scheduler(checkpoint)
            if checkpoint is not None:
                self._check_states(Path(checkpoint), schedule)
        except CheckpointError:
            raise
        except Exception as error:  # a damaged file makes torch raise almost anything
            raise CheckpointError(
                "The optimiser's state cannot be loaded: it is damaged, or holds more than tensors",
                where=checkpoint,
                found=str(error).partition("\n")[0],
                fix=_OTHER_STATE,
            ) from error
        if checkpoint is not None and self.optimizer is not None:
            for number, kept in enumerate(self.optimizer.state.values()):
                named = {f"{name} of parameter {number}": value for name, value in kept.items()}
                self._refuse_damaged(Path(checkpoint), "optimiser's states", named)

    def _refuse_damaged(self, folder: Path, what: str, tensors: Mapping[str, Any]) -> None:
        """Stop where what is to be gone on from holds NaN or infinity: every later step would."""
        for name, tensor in tensors.items():
            if isinstance(tensor, Tensor) and not tensor.isfinite().all():
                raise CheckpointError(
                    f"Training cannot go on: the {what} of the checkpoint hold numbers that are not finite",
                    where=folder,
                    found=f"{int((~tensor.isfinite()).sum())} of {tensor.numel()} numbers of {name}",
                    fix=_OTHER_STATE,
                )

    def _check_states(self, checkpoint: Path, schedule: Mapping[str, Any]) -> None:
        """Raise where the states that were loaded are not whole, or not of this step.

        Args:
            checkpoint: Where they came from.
            schedule: The schedule's state before.
        """
        assert self.optimizer is not None, "made before states are loaded"
        assert self.lr_scheduler is not None, "made before states are loaded"
        faults = []
        for group in self.optimizer.param_groups:
            numbers = [value for value in group.values() if isinstance(value, float)]
            if not all(map(math.isfinite, numbers)):
                faults.append(f"a setting of the optimiser is {next(x for x in numbers if not math.isfinite(x))}")
            for parameter in group["params"]:
                state = self.optimizer.state.get(parameter)
                if state is None:
                    continue  # not trained yet
                moments = [state.get(name) for name in ("exp_avg", "exp_avg_sq")]
                if not all(isinstance(moment, Tensor) and moment.shape == parameter.shape for moment in moments):
                    faults.append(f"no moments for weights of shape {tuple(parameter.shape)}")
        found = self.lr_scheduler.state_dict()
        if found.get("base_lrs") != schedule["base_lrs"] or found.get("last_epoch") != self.state.global_step:
            faults.append(
                f"a schedule at step {found.get('last_epoch')} from {found.get('base_lrs')}, not at step "
                f"{self.state.global_step} from {schedule['base_lrs']}"
            )
        if faults:
            more = f"; {len(faults) - 1} more faults" if len(faults) > 1 else ""
            raise CheckpointError(
                "The optimiser's state is damaged, or of another run",
                where=checkpoint,
                found=f"{faults[0]}{more}",
                fix=_OTHER_STATE,
            )


def _read_adapters(path: Path) -> dict[str, Tensor]:
    """Return the weights of the adapters of a checkpoint.

    Raises:
        CheckpointError: If the file is damaged, or a weight is not finite.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            "The adapters of the checkpoint cannot be read", where=path, found=error, fix=_OTHER_STATE,
        ) from error  # fmt: skip
    refuse_non_finite(tensors, path, CheckpointError)
    return tensors


def _arguments(settings: TrainingSettings, n_clips: int, folder: Path, backbone: Backbone) -> TrainingArguments:
    total = settings.total_steps(n_clips)
    on_cpu = backbone.device.type == "cpu"
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=total,
        per_device_train_batch_size=settings.batch_size // n_processes(),
        gradient_accumulation_steps=settings.gradient_accumulation,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        lr_scheduler_type=SCHEDULERS[settings.scheduler],
        warmup_steps=math.ceil(total * settings.warmup_ratio),
        eval_strategy="steps",
        eval_steps=settings.checkpoint_every,
        save_strategy="steps",
        save_steps=settings.checkpoint_every,
        # Each step, so that no sum since the last log is lost when a run is killed.
        logging_steps=1,
        logging_nan_inf_filter=False,
        seed=settings.seed,
        bf16=settings.precision == "bf16",
        fp16=settings.precision == "fp16",
        # Not left to the Trainer, which turns TF32 on for bf16; `Run` sets the switches once it is made.
        tf32=None if on_cpu else settings.precision == "tf32",
        ddp_backend="gloo" if on_cpu and n_processes() > 1 else None,
        # A block that layer drop skips has no gradient in this process, which the others must be told.
        ddp_find_unused_parameters=getattr(backbone.config, "layerdrop", 0) > 0,
        use_cpu=on_cpu,
        dataloader_pin_memory=False,
        report_to="none",
        disable_tqdm=True,
        log_level="error",
    )
    arguments._n_gpu = 0 if on_cpu else 1  # never split over the GPUs that happen to be visible
    return arguments


@contextlib.contextmanager
def repeatable_kernels(device: torch.device) -> Iterator[None]:
    """Have cuDNN choose the same kernels every time while the block runs; a CPU does so anyway."""
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    if device.type == "cuda":
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before


@contextlib.contextmanager
def checkpointed_blocks(classifier: SerClassifier, wanted: bool) -> Iterator[None]:
    """Let the transformer blocks keep their inputs alone, and be computed anew for the gradient, while this lasts."""
    if not wanted:
        yield
        return
    model = classifier.backbone.model
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    try:
        yield
    finally:
        model.gradient_checkpointing_disable()
