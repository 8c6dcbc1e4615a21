"""All keys of a study, and another value for each: what the tests walk that prove that no key does nothing."""

from __future__ import annotations

import typing
from collections.abc import Iterator

from pydantic import BaseModel

from ser_probe.config import StudyConfig
from ser_probe.config.faults import section_below


def walk_keys(schema: type[BaseModel] = StudyConfig, above: str = "") -> Iterator[str]:
    """Yield every key of a study that holds a value; of sections what is in them."""
    for name, field in schema.model_fields.items():
        below = section_below(schema, name)
        if below is not None:
            yield from walk_keys(below, f"{above}{name}.")
        elif not _has_one_value(field.annotation):
            yield f"{above}{name}"


def _has_one_value(annotation: object) -> bool:
    return typing.get_origin(annotation) is typing.Literal and len(typing.get_args(annotation)) == 1


CHANGED = {
    "name": "another", "seed": "3",
    "data.manifest": "other.csv", "data.audio_root": "elsewhere", "data.corpus": "emovo", "data.root": "elsewhere",
    "data.options": "{labels: voice_vote}", "data.target": "style", "data.labels": "[anger, joy]",
    "data.keep": "{language: [it]}", "data.strict": "true",
    "audio.loudness_lufs": "-30.0", "audio.peak_dbfs": "-20.0", "audio.trim": "energy", "audio.min_duration_s": "0.6",
    "audio.max_duration_s": "0.7",
    "split.scheme": "study_b", "split.seed": "7", "split.fractions.train": "0.66", "split.fractions.validation": "0.66",
    "split.fractions.test": "0.66", "split.folds": "4", "split.fold": "1",
    "backbone.name": "tiny-hubert-base", "backbone.revision": "main", "backbone.random_weights": "5",
    "extract.pooling": "max", "extract.precision": "bf16", "extract.storage": "float16", "extract.splits": "[train]",
    "extract.checkpoints": "[0]", "extract.egemaps": "false", "extract.random_control": "false",
    "extract.long_clips": "chunk", "extract.chunk_overlap_s": "1.0", "extract.batch_seconds": "9.0",
    "extract.max_clips": "3", "extract.workers": "3", "extract.device": "cuda", "extract.verify": "2",
    "finetune.enabled": "false", "finetune.seed": "4", "finetune.targets": "distribution",
    "finetune.target_columns": "[arousal, valence]", "finetune.loss": "ccc", "finetune.class_weights": "balanced",
    "finetune.label_smoothing": "0.1", "finetune.head.layers": "1", "finetune.head.mix": "pooled",
    "finetune.head.pooling": "max", "finetune.head.batch_norm": "true", "finetune.head.relu": "true",
    "finetune.head.dropout": "0.4", "finetune.head.hidden": "[7]", "finetune.head.l2": "0.2",
    "finetune.trained": "head", "finetune.lora.rank": "2", "finetune.lora.alpha": "3.0",
    "finetune.lora.dropout": "0.1", "finetune.lora.targets": "[k_proj]", "finetune.augment.mode": "union",
    "finetune.augment.probability": "0.9",
    "finetune.augment.transforms": "[{name: FrequencyMask, max_width_hz: 500.0}]",
    "finetune.epochs": "3.0", "finetune.max_steps": "7", "finetune.batch_size": "3",
    "finetune.gradient_accumulation": "2", "finetune.gradient_checkpointing": "true",
    "finetune.group_by_length": "false", "finetune.learning_rate": "2e-4", "finetune.head_learning_rate": "3e-3",
    "finetune.weight_decay": "0.2", "finetune.warmup_ratio": "0.3", "finetune.scheduler": "cosine",
    "finetune.max_grad_norm": "2.0", "finetune.precision": "bf16", "finetune.checkpoint_every": "9",
    "finetune.early_stopping.metric": "uar", "finetune.early_stopping.threshold": "0.5",
    "finetune.early_stopping.patience": "2", "finetune.spec_augment": "true", "finetune.cache_front_end": "false",
    "finetune.cache_audio": "false", "finetune.keep_optimizer": "all", "finetune.device": "cuda",
    "evaluate.splits": "[validation]", "evaluate.checkpoints": "[best]",
    "evaluate.test_sets": "[{name: away, manifest: other.csv}]", "evaluate.by": "[speaker]", "evaluate.bins": "9",
    "evaluate.resamples": "200", "evaluate.seed": "6", "evaluate.precision": "bf16", "evaluate.batch_seconds": "9.0",
    "evaluate.max_clips": "3", "evaluate.workers": "3", "evaluate.device": "cuda",
    "search.trials": "3", "search.fraction": "0.9", "search.metric": "accuracy", "search.seed": "5",
    "search.pruning": "none", "search.space": "{finetune.weight_decay: {low: 0.1, high: 0.2}}",
    "output.runs": "elsewhere", "output.cache": "elsewhere", "output.figures": "false",
}  # fmt: skip
"""Another value for each key outside of the analyses, in YAML; see `TOGETHER`."""

_FRACTIONS = ("split.scheme=fractions", "split.fractions={train: 0.34, validation: 0.33, test: 0.33}")
_AUGMENT = ("finetune.augment={transforms: [{name: FrequencyMask}]}",)
TOGETHER = {
    "split.seed": ("split.scheme=study_e",),
    **{f"split.fractions.{name}": _FRACTIONS for name in ("train", "validation", "test")},
    "split.folds": ("split.scheme=kfold",), "split.fold": ("split.scheme=kfold",),
    "extract.chunk_overlap_s": ("extract.long_clips=chunk",),
    "finetune.targets": ("finetune.targets=numeric", "finetune.target_columns=[arousal]"),
    "finetune.target_columns": ("finetune.targets=numeric", "finetune.target_columns=[arousal]"),
    "finetune.loss": ("finetune.targets=numeric", "finetune.target_columns=[arousal]"),
    "finetune.head.mix": ("finetune.head.layers=weighted",),
    **{f"finetune.lora.{key}": ("finetune.trained=lora",) for key in ("rank", "alpha", "dropout", "targets")},
    **{f"finetune.augment.{key}": _AUGMENT for key in ("mode", "probability", "transforms")},
}  # fmt: skip
"""What must be set too for a key to mean something; the outcome is compared with that of these alone."""

ALONGSIDE = {
    "split.fractions.train": ("split.fractions.validation=0.17", "split.fractions.test=0.17"),
    "split.fractions.validation": ("split.fractions.train=0.17", "split.fractions.test=0.17"),
    "split.fractions.test": ("split.fractions.train=0.17", "split.fractions.validation=0.17"),
    "finetune.targets": ("finetune.target_columns=[anger, joy]",),
}  # fmt: skip
"""What must change with a key, for the whole to be a study."""
