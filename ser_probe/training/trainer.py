"""The Hugging Face Trainer, brought to ser-probe's forward pass, checkpoints and exactness.

Differences from the stock Trainer: the loss of accumulated batches, and of several processes, is the mean over their
clips (the stock Trainer weighs batches equally); the validation loss is that of all clips at once; random numbers are
drawn from a seed per step; nothing but tensors is pickled; a checkpoint is written completely or not at all; a loss
that is not finite stops the run.
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
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from ser_probe.errors import SerProbeError
from ser_probe.files import write_json
from ser_probe.models.backbone import Backbone
from ser_probe.models.checkpoint import load_classifier, save_classifier
from ser_probe.models.forward import run_front_end
from ser_probe.models.frames import Frames
from ser_probe.models.heads import SerClassifier
from ser_probe.models.lora import load_lora, lora_state
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
from ser_probe.training.resumed_state import (
    check_optimizer_state,
    checked_optimizer_state,
    read_adapters,
    refuse_not_finite,
)
from ser_probe.training.settings import SCHEDULERS, TrainingSettings


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
            # Decay would pull the weights of a sum of layers towards 0.
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
        return sum(gather(sum(batch["n_counted"] for batch in batch_samples)))

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the loss of the batch as its share of the mean over the accumulated clips, and the head's L2 term.

        With several processes the share is multiplied by their number, because their gradients are averaged.
        """
        outputs = self._outputs(model, inputs)
        total = inputs["n_counted"] if num_items_in_batch is None else num_items_in_batch
        share = n_processes() * inputs["n_counted"] / total
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
        outputs_by_row: dict[int, np.ndarray] = {}
        self.classifier.eval()
        with torch.no_grad():
            for rows in batches[rank() :: n_processes()]:
                batch = self._prepare_inputs(dataset.collate([dataset[row] for row in rows]))
                values = self._outputs(self.classifier, batch).double().cpu().numpy()
                outputs_by_row.update(zip(rows, values, strict=True))
        all_outputs = {row: output for part in gather(outputs_by_row) for row, output in part.items()}
        outputs = torch.from_numpy(np.stack([all_outputs[row] for row in range(len(dataset))]))
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
                    # The backbone is saved with its adapters merged; resuming needs them separately.
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
            # Like the cached front end: frozen, without gradient, in exact float32.
            with torch.no_grad(), products("fp32"), torch.autocast(self.args.device.type, enabled=False):
                frames = run_front_end(self.classifier.backbone, inputs["clips"])
        return model(frames.to(self.args.device)).float()

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        self._refuse_non_finite("gradient norm", float(norm))
        return norm

    def _refuse_non_finite(self, quantity: str, value: float) -> None:
        if not math.isfinite(value):
            if self.state.global_step == 0 and quantity == "validation loss":
                raise SerProbeError(
                    "The validation loss is no number before training has begun: the model computes none",
                    where=self.classifier.backbone.name,
                    found=value,
                    fix="look for weights that are not finite, or take a larger precision",
                )
            raise SerProbeError(
                f"The {quantity} is no longer a number; the training has diverged",
                where=f"step {self.state.global_step}, learning rate {self._get_learning_rate():.3g}",
                found=value,
                fix="lower learning_rate or raise warmup_ratio, and start over with --restart or in another folder",
            )

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self.save_step()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        folder = Path(resume_from_checkpoint)
        saved = load_classifier(folder)
        # Copied into the existing tensors, which the optimiser refers to.
        self.classifier.head.load_state_dict(saved.head.state_dict())
        if self.settings.trained == "lora":
            load_lora(self.classifier.model, read_adapters(folder / ADAPTERS))
        else:
            self.classifier.model.load_state_dict(saved.model.state_dict())
        refuse_not_finite(folder, "weights", self.classifier.state_dict())

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        assert self.optimizer is not None, "made before states are loaded"
        assert self.lr_scheduler is not None, "made before states are loaded"
        schedule = copy.deepcopy(self.lr_scheduler.state_dict())
        with checked_optimizer_state(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)
            if checkpoint is not None:
                step = self.state.global_step
                check_optimizer_state(Path(checkpoint), self.optimizer, self.lr_scheduler, schedule, step=step)


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
        # A block that layer drop skips has no gradient in this process; the others must know.
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
    """Let cuDNN choose the same kernels every time while the block runs; a CPU always does."""
    saved = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    if device.type == "cuda":
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = saved


@contextlib.contextmanager
def checkpointed_blocks(classifier: SerClassifier, enabled: bool) -> Iterator[None]:
    """Turn on gradient checkpointing while the block runs: transformer blocks are recomputed for the gradient."""
    if not enabled:
        yield
        return
    model = classifier.backbone.model
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    try:
        yield
    finally:
        model.gradient_checkpointing_disable()
