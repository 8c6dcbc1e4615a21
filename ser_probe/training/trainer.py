"""The Hugging Face Trainer, brought to ser-probe's forward pass, checkpoints and exactness.

What differs from the stock Trainer, and why: the loss of accumulated batches is the mean over their clips, and
so is the validation loss (stock weighs batches alike); random numbers are drawn from a seed per step; nothing
is pickled but tensors; a checkpoint appears whole; a loss that is not finite stops the run.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from ser_probe.errors import CheckpointError, SerProbeError
from ser_probe.models.checkpoint import load_classifier, save_classifier
from ser_probe.models.forward import run_front_end
from ser_probe.models.frames import Frames
from ser_probe.models.heads import SerClassifier
from ser_probe.training.checkpoints import RESUME_FILES, STATE, drop_resume_files, new_checkpoint
from ser_probe.training.dataset import ClipDataset, EpochBatches, EpochLoader, length_sorted_batches
from ser_probe.training.settings import SCHEDULERS, TrainingSettings


class SerTrainer(Trainer):
    """Fine-tunes a classifier.

    Args:
        classifier: The classifier, on its device; trained in place.
        datasets: Training and validation clips.
        labels: Class names in the order of the logits.
        settings: How to train.
        folder: The run's folder of checkpoints.
        callbacks: Told of steps, logs and evaluations.
    """

    def __init__(
        self,
        classifier: SerClassifier,
        datasets: tuple[ClipDataset, ClipDataset],
        labels: list[str],
        settings: TrainingSettings,
        folder: Path,
        callbacks: list[TrainerCallback],
    ) -> None:
        self.classifier, self.settings, self.labels, self.folder = classifier, settings, labels, folder
        self.train_clips, self.validation_clips = datasets
        device = classifier.backbone.device
        super().__init__(
            model=classifier,
            args=_arguments(settings, len(self.train_clips), folder, device),
            train_dataset=self.train_clips,
            eval_dataset=self.validation_clips,
            callbacks=callbacks,
        )
        self.remove_callback(PrinterCallback)
        # The Trainer then counts the clips of accumulated batches and hands the count to compute_loss.
        self.model_accepts_loss_kwargs = self.loss_is_scaled_for_ga = True

    def get_train_dataloader(self) -> EpochLoader:
        """Return the training batches; their order is a function of seed and epoch."""
        batches = EpochBatches(len(self.train_clips), self.settings.batch_size, self.settings.seed)
        return EpochLoader(self.train_clips, batches)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Return AdamW: no weight decay on biases and norms, and the head's own learning rate."""
        if self.optimizer is None:
            decayed = set(self.get_decay_parameter_names(self.classifier))
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

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the cross-entropy summed over the batch, as its share of the mean over the accumulated clips."""
        losses, logits = self._losses(model, inputs)
        loss = losses.sum() / (len(losses) if num_items_in_batch is None else num_items_in_batch)
        self._refuse_non_finite("training loss", loss.item())
        return (loss, {"logits": logits}) if return_outputs else loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Measure the validation clips; log loss, accuracy, UAR and macro F1.

        Returns:
            `eval_loss`, `eval_accuracy`, `eval_uar`, `eval_macro_f1`; means over clips, whatever the batches.
        """
        dataset = self.validation_clips
        losses, predicted, true = [], [], []
        self.classifier.eval()
        with torch.no_grad():
            for rows in length_sorted_batches(dataset.clips, self.settings.batch_size):
                batch = self._prepare_inputs(dataset.collate([dataset[row] for row in rows]))
                batch_losses, logits = self._losses(self.classifier, batch)
                losses.append(batch_losses.double().cpu().numpy())
                predicted.append(logits.argmax(dim=-1).cpu().numpy())
                true.append(batch["labels"].cpu().numpy())
        loss = float(np.concatenate(losses).mean())
        self._refuse_non_finite("validation loss", loss)
        metrics: dict[str, float] = {"eval_loss": loss, **_scores(np.concatenate(true), np.concatenate(predicted))}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def save_step(self) -> None:
        """Save the checkpoint of the current step, whole or not at all."""
        step = self.state.global_step
        with new_checkpoint(self.folder, step) as temporary:
            save_classifier(temporary, self.classifier, self.labels)
            parts: tuple[Any, ...] = (self.optimizer, self.lr_scheduler)
            for name, part in zip(RESUME_FILES, parts, strict=True):
                torch.save(part.state_dict(), temporary / name)
            self.state.save_to_json(str(temporary / STATE))
        if self.settings.keep_optimizer == "last":
            drop_resume_files(self.folder, before=step)

    def _losses(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy of each clip [B] and the logits [B, K]."""
        if "features" in inputs:
            frames = Frames(inputs["features"], inputs["n_frames"])
        elif self.settings.train_front_end:
            frames = run_front_end(self.classifier.backbone, inputs["clips"])
        else:
            # As the cache computes it: a frozen front end has no gradient and stays in float32.
            with torch.no_grad(), torch.autocast(self.args.device.type, enabled=False):
                frames = run_front_end(self.classifier.backbone, inputs["clips"])
        logits = model(frames.to(self.args.device)).float()
        return cross_entropy(logits, inputs["labels"], reduction="none"), logits

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        self._refuse_non_finite("gradient norm", float(norm))
        return norm

    def _refuse_non_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            raise SerProbeError(
                f"The {what} is no longer a number; the training has diverged",
                where=f"step {self.state.global_step}, learning rate {self._get_learning_rate():.3g}",
                found=value,
                fix="lower learning_rate or raise warmup_ratio, and start over with --restart or in another folder",
            )

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self.save_step()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        saved, _ = load_classifier(Path(resume_from_checkpoint))
        # Copied into the tensors that are there: the optimiser holds on to them.
        self.classifier.load_state_dict(saved.state_dict())

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        try:
            super()._load_optimizer_and_scheduler(checkpoint)
        except Exception as error:  # a damaged file makes torch raise almost anything
            raise CheckpointError(
                "The optimiser's state cannot be loaded: it is damaged, or holds more than tensors",
                where=checkpoint,
                found=str(error).partition("\n")[0],
                fix="delete this checkpoint to go on from one before that has its state, or start over with --restart",
            ) from error


def _arguments(settings: TrainingSettings, n_clips: int, folder: Path, device: torch.device) -> TrainingArguments:
    total = settings.total_steps(n_clips)
    on_cpu = device.type == "cpu"
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=total,
        per_device_train_batch_size=settings.batch_size,
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
        # fp32 means fp32: convolutions on a GPU would otherwise round to TF32.
        tf32=None if on_cpu else False,
        use_cpu=on_cpu,
        dataloader_pin_memory=False,
        report_to="none",
        disable_tqdm=True,
        log_level="error",
    )
    arguments._n_gpu = 0 if on_cpu else 1  # never split over the GPUs that happen to be visible
    return arguments


def _scores(true: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return the scores of predicted classes, each array of shape [N]."""
    from sklearn.metrics import accuracy_score, f1_score, recall_score

    return {
        "eval_accuracy": float(accuracy_score(true, predicted)),
        "eval_uar": float(recall_score(true, predicted, labels=np.unique(true), average="macro", zero_division=0)),
        "eval_macro_f1": float(f1_score(true, predicted, average="macro", zero_division=0)),
    }


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
