"""Fine-tuning a backbone: start, go on after an interruption, or find that it is done. The room's one entry.

Exactness: with the same machine, package versions and number of threads a resumed run ends with the same weights
as an uninterrupted one, bit for bit, on a CPU. On a GPU some kernels add in no fixed order: equal up to rounding.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ser_probe.errors import ConfigError, SerProbeError
from ser_probe.files import fingerprint
from ser_probe.models.backbone import Backbone
from ser_probe.models.heads import HeadSettings, SerClassifier, refuse_untrainable
from ser_probe.models.lora import LoraSettings
from ser_probe.models.targets import Targets
from ser_probe.models.trained_part import TrainedPart, choose_trained
from ser_probe.runtime import SILENT, Progress, derive_seed, seed_everything
from ser_probe.training.clip_cache import ClipCache
from ser_probe.training.dataset import ClipDataset
from ser_probe.training.front_end_cache import open_audio, open_front_end
from ser_probe.training.locks import training_lock
from ser_probe.training.processes import gather, is_first, join_processes, n_processes
from ser_probe.training.run import OnEvaluation, Run, TrainingResult
from ser_probe.training.settings import WITHOUT_EFFECT, SplitClips, TrainingSettings, check_clips

_FORMAT = 2


@dataclass(frozen=True)
class TrainingTask:
    """What to learn, from which clips, and with which head.

    Args:
        train: The training clips.
        validation: The validation clips.
        targets: What is predicted of them.
        head: What stands on the backbone.
        lora: The adapters, where `settings.trained` is `lora`.
    """

    train: SplitClips
    validation: SplitClips
    targets: Targets
    head: HeadSettings = field(default_factory=HeadSettings)
    lora: LoraSettings | None = None


def fine_tune(
    backbone: Backbone,
    task: TrainingTask,
    settings: TrainingSettings,
    folder: Path,
    *,
    cache_folder: Path,
    recipe: Mapping[str, Any],
    notes: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
    restart: bool = False,
    on_evaluation: OnEvaluation | None = None,
) -> TrainingResult:
    """Fine-tune a backbone with a head, or go on with a run that was interrupted in the same folder.

    A finished run is left as it is, and its result returned. Writes `checkpoints/checkpoint-<step>/`,
    `best.json`, `training.json` and `tensorboard/`. Of several processes (`training.processes`) each calls this with
    the same arguments, and the first one writes.

    Args:
        backbone: The backbone, on the device to train on. It is trained in place.
        task: Clips, targets and head.
        settings: How to train.
        folder: The run's folder.
        cache_folder: Folder of cached front ends and decoded audio, shared by runs.
        recipe: How files became samples (rate, loudness, ...), JSON-like; a run with another one is another run.
        notes: JSON files to put into each checkpoint, by name.
        progress: Told of the work.
        restart: Delete the folder's checkpoints first.
        on_evaluation: Called with step and measures of each evaluation; an error that it raises ends the training.

    Raises:
        BackboneError: If the backbone is of a family that cannot be fine-tuned, or has not the layers asked for.
        SplitError: If the clips cannot be learnt from.
        ConfigError: If loss, metric or number of processes do not fit.
        OtherRunError: If the folder holds a run made from something else.
        CheckpointError: If it holds a damaged run, or one in progress.
        CacheError: If front ends or audio cannot be cached.
        SerProbeError: If the loss diverges.
    """
    refuse_untrainable(backbone)
    check_clips(task.train, task.validation, task.targets, settings)
    _refuse_processes(backbone, settings)
    join_processes(backbone.device)
    progress = progress if is_first() else SILENT
    run = Run(folder, settings, progress)

    def begin() -> None:
        run.begin(_ingredients(backbone, task, settings, recipe), backbone.device, restart=restart)

    with _run_lock(folder):
        _on_first_process(begin)
        resumed_from = None
        if not run.finished():
            with _kept_random_state():
                datasets = _open_datasets(backbone, task, settings, cache_folder, recipe, progress)
                classifier, part = _build(backbone, task, settings)
                resumed_from = run.train(classifier, part, datasets, notes or {}, on_evaluation)
        return dataclasses.replace(run.result(), resumed_from=resumed_from)


def _refuse_processes(backbone: Backbone, settings: TrainingSettings) -> None:
    """Refuse devices and batches that the processes cannot share."""
    if n_processes() == 1 and backbone.device.index not in (None, 0):
        raise SerProbeError(
            "Fine-tuning runs on the first CUDA device that torch sees", found=backbone.device,
            fix=f"set CUDA_VISIBLE_DEVICES={backbone.device.index} and take the device cuda",
        )  # fmt: skip
    if settings.batch_size % n_processes():
        raise ConfigError(
            "The clips of a batch cannot be shared evenly by the processes",
            expected=f"a batch_size that is a multiple of {n_processes()}",
            found=settings.batch_size,
        )
    if settings.precision in ("tf32", "fp16") and backbone.device.type == "cpu":
        raise ConfigError(
            f"A CPU does not train in {settings.precision}", expected="fp32 or bf16", found=settings.precision
        )


@contextlib.contextmanager
def _run_lock(folder: Path) -> Iterator[None]:
    """Hold the run's lock; the first process takes it for all."""
    with contextlib.ExitStack() as stack:
        if is_first():
            stack.enter_context(training_lock(folder))
        yield


def _on_first_process(work: Callable[[], None]) -> None:
    """Let the first process do some work while the others wait; an error is raised in all of them."""
    error: SerProbeError | None = None
    if is_first():
        try:
            work()
        except SerProbeError as caught:
            error = caught
    error = gather(error)[0]
    if error is not None:
        raise error


def _open_datasets(
    backbone: Backbone,
    task: TrainingTask,
    settings: TrainingSettings,
    folder: Path,
    recipe: Mapping[str, Any],
    progress: Progress,
) -> tuple[ClipDataset, ClipDataset]:
    """Return training and validation clips, read from the cached front end or audio where possible."""
    splits = (task.train, task.validation)
    by_front_end = [clips for clips in splits if settings.caches_front_end(clips)]
    by_audio = [clips for clips in splits if settings.cache_audio and clips not in by_front_end]
    frames: ClipCache | None = None
    audio: ClipCache | None = None
    if by_front_end:
        frames = open_front_end(backbone, by_front_end, folder, recipe=recipe, progress=progress)
    if by_audio:
        rate_hz = backbone.input.sample_rate_hz
        audio = open_audio(by_audio, folder, recipe=recipe, sample_rate_hz=rate_hz, progress=progress)
    datasets = [
        ClipDataset(
            clips,
            task.targets,
            frames if clips in by_front_end else None,
            audio if clips in by_audio else None,
            seed=settings.seed,
        )
        for clips in splits
    ]
    return datasets[0], datasets[1]


def _build(backbone: Backbone, task: TrainingTask, settings: TrainingSettings) -> tuple[SerClassifier, TrainedPart]:
    """Return the classifier with its fresh head, on the backbone's device, and what of it trains."""
    seed_everything(derive_seed(settings.seed, "head"))
    classifier = SerClassifier(backbone, task.targets, task.head, spec_augment=settings.spec_augment)
    part = choose_trained(
        classifier,
        settings.trained,
        task.lora,
        spec_augment=settings.spec_augment,
        deepest=task.head.layers if isinstance(task.head.layers, int) else None,
        seed=derive_seed(settings.seed, "adapters"),
    )
    return classifier.to(backbone.device), part


def _ingredients(
    backbone: Backbone, task: TrainingTask, settings: TrainingSettings, recipe: Mapping[str, Any]
) -> dict[str, Any]:
    """Return everything that the trained weights depend on, under names that a user understands."""
    chosen = {name: value for name, value in vars(settings).items() if name not in WITHOUT_EFFECT}
    training_config = {
        name: value
        for name, value in json.loads(backbone.config.to_json_string(use_diff=False)).items()
        if "dropout" in name or name.startswith(("mask_", "layerdrop"))
    }
    return {
        "format": _FORMAT,
        **chosen,
        **{f"head.{name}": value for name, value in vars(task.head).items()},
        "lora": vars(task.lora) if settings.trained == "lora" and task.lora else None,
        "targets": task.targets.as_json(),
        "training clips": fingerprint([list(task.train.ids), np.asarray(task.train.targets).tolist()]),
        "validation clips": fingerprint([list(task.validation.ids), np.asarray(task.validation.targets).tolist()]),
        "augmentation": dict(task.train.augmentation),
        "audio": dict(recipe),
        "backbone weights": backbone.weights_hash(),
        "backbone config": fingerprint([backbone.architecture(), training_config, backbone.input.ingredients()]),
    }


@contextlib.contextmanager
def _kept_random_state() -> Iterator[None]:
    """Restore the caller's random states afterwards, because training seeds them all."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the generator transformers draws from
    cuda = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices=cuda):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
