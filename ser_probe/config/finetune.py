"""The section `finetune`: what is learnt, what stands on the backbone, how much of it trains, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ser_probe.config.augmentation import AugmentConfig
from ser_probe.config.sections import (
    Count,
    Flag,
    Name,
    NonNegative,
    OneOf,
    Positive,
    Precision,
    Section,
    Seed,
    Share,
)
from ser_probe.errors import ConfigError
from ser_probe.models.lora import TARGETS as LORA_TARGETS
from ser_probe.models.trained_part import parse_trained
from ser_probe.names.poolings import HEAD
from ser_probe.names.training import LOSSES, METRICS, SCHEDULERS, TARGETS


def _check_trained(name: str) -> str:
    try:
        parse_trained(name)
    except ConfigError as error:
        expected, fix = f"; expected {error.expected}", f"; {error.fix}" if error.fix else ""
        raise ValueError(f"{error.what[0].lower()}{error.what[1:]}: {name!r}{expected}{fix}") from error
    return name


def _check_lora_targets(names: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [name for name in names if name not in LORA_TARGETS]
    if unknown or not names:
        raise ValueError(f"name layers among {', '.join(LORA_TARGETS)}; found {', '.join(unknown) or 'none'}")
    return names


class EarlyStopping(Section):
    """When to stop fine-tuning before its last step."""

    metric: Annotated[str, OneOf(METRICS)] = "loss"
    """What is watched on the validation split; loss and rmse must fall, the others must rise. ccc and rmse are of
    numeric targets, the rest but loss of classes."""
    threshold: NonNegative = 0.025
    """A smaller change than this does not count as an improvement."""
    patience: Count = 5
    """Evaluations (one every `checkpoint_every` steps) without improvement before stopping."""


class LoraConfig(Section):
    """Low-rank adapters, for `trained: lora`."""

    rank: Count = 8
    """Width of the bottleneck; trainable parameters grow with it."""
    alpha: Positive = 16.0
    """The adapter's output is scaled by alpha / rank."""
    dropout: Share = 0.0
    """Dropout of the adapter's input."""
    targets: Annotated[tuple[Name, ...], AfterValidator(_check_lora_targets)] = ("q_proj", "v_proj")
    """Linear layers of each block that get an adapter: q_proj, k_proj, v_proj, out_proj, intermediate_dense,
    output_dense."""


class HeadConfig(Section):
    """What stands on the backbone: layers are mixed, frames pooled, and the vector goes through the head."""

    layers: Annotated[int, Field(strict=True, ge=0)] | Literal["final", "weighted", "weighted-raw"] = "final"
    """Layer that the head reads: `final`, a number, or a learned sum of all, its weights through a softmax (`weighted`)
    or as they are (`weighted-raw`)."""
    mix: Literal["frames", "pooled"] = "frames"
    """Whether layers are summed frame by frame and then pooled, or each is pooled first, which takes less memory."""
    pooling: Annotated[str, OneOf(HEAD)] = "mean"
    """How frames become one vector: statistics, attentive statistics, or an ECAPA-TDNN (needs the extra `ecapa`)."""
    batch_norm: Flag = False
    """Batch norm of the vector that the head reads and after each hidden layer; in training a clip then depends on its
    batch."""
    relu: Flag = False
    """ReLU of the vector that the head reads."""
    dropout: Share = 0.0
    """Dropout in the head: share of the vector, and of each hidden layer, dropped in training."""
    hidden: tuple[Count, ...] = ()
    """Widths of the head's hidden layers with ReLU, such as 256,128; none: the head is linear."""
    l2: NonNegative = 0.0
    """Weight of the sum of the head's squared weights in the loss."""


class FinetuneConfig(Section):
    """Fine-tuning: what is learnt, by what, and how."""

    enabled: Flag = True
    """false looks at the pretrained model alone (step 0)."""
    seed: Seed = 0
    """Seed of head, order, dropout and augmentation; unset: the study's seed."""
    targets: Annotated[str, OneOf(TARGETS)] = "classes"
    """What is predicted: the label of `data.target`; shares of the classes, as of votes (soft labels); or numbers, such
    as arousal and valence."""
    target_columns: tuple[Name, ...] | dict[Name, Name] = ()
    """Columns of the manifest with the votes or shares of each class, or with the numeric targets, such as
    arousal,valence. As `{name: column}` where they are to be called otherwise."""
    loss: Annotated[str, OneOf(LOSSES)] | None = None
    """What is minimised; ccc is 1 minus the concordance correlation within each batch; null: cross_entropy for classes
    and distributions, mse for numbers."""
    class_weights: Literal["none", "balanced"] = "none"
    """Weights of the classes; `balanced` weighs clips by the inverse frequency of their class in the training split."""
    label_smoothing: Share = 0.0
    """Share of each label that is spread over all classes."""
    head: HeadConfig = HeadConfig()
    """What stands on the backbone."""
    trained: Annotated[Name, AfterValidator(_check_trained)] = "encoder"
    """How much trains: `encoder` (all but the convolutional front end), `all` (twice the time and memory), `last:K`
    blocks, `head` alone, or `lora` (adapters; needs the extra `peft`). From random weights: backbone.random_weights."""
    lora: LoraConfig | None = None
    """The adapters of `trained: lora`; null: rank 8 on q_proj and v_proj."""
    augment: AugmentConfig | None = None
    """Augmentation of the training clips (needs the extra `augment`); null: none."""
    epochs: Positive = 10.0
    """Passes over the training split; early stopping may end sooner."""
    max_steps: Count | None = None
    """Optimiser steps to stop at, whatever the epochs; null: no limit."""
    batch_size: Count = 16
    """Clips in a forward pass, of all devices together; memory grows with it: halve it and double
    `gradient_accumulation` to save some."""
    gradient_accumulation: Count = 1
    """Forward passes summed into one optimiser step."""
    gradient_checkpointing: Flag = False
    """Compute each block anew for its gradient: a third more time, memory of one block instead of all."""
    group_by_length: Flag = True
    """Batches of clips of about the same length, in random order: less padding, less time."""
    learning_rate: Positive = 1e-5
    """Highest learning rate of AdamW."""
    head_learning_rate: Positive | None = None
    """Learning rate of the new head; null: as the backbone."""
    weight_decay: NonNegative = 0.01
    """Weight decay of AdamW; biases and norms are spared."""
    warmup_ratio: Share = 0.1
    """Share of all steps over which the learning rate rises from 0."""
    scheduler: Annotated[str, OneOf(SCHEDULERS)] = "linear"
    """How the learning rate goes on after the warm-up."""
    max_grad_norm: Positive = 1.0
    """Longer gradients are scaled down to this norm."""
    precision: Precision = "fp32"
    """Arithmetic of the encoder in training; weights stay float32. The others than fp32 are faster on GPUs (a CPU knows
    fp32 and bf16), and what is trained is then no longer exactly what extraction measures in fp32."""
    checkpoint_every: Count = 50
    """Steps between evaluations; each saves a checkpoint (wavlm-large: 1.2 GB) and is extracted later."""
    early_stopping: EarlyStopping | None = EarlyStopping()
    """Stop when validation no longer improves; null: train to the last step."""
    spec_augment: Flag = False
    """Mask random stretches of time and channels in training, as the pretraining recipes do."""
    cache_front_end: Literal["auto"] | Flag = "auto"
    """Compute the frozen front end once per clip and keep it on disk (about 100 kB per second of audio for base and
    large models): same results, less time; `auto` does so where neither it nor the clips change."""
    cache_audio: Flag = True
    """Keep the decoded clips on disk (64 kB per second) where the front end cannot be kept, so that no epoch decodes
    again."""
    keep_optimizer: Literal["last", "all"] = "last"
    """Optimiser states, twice the model's size each, to keep: `last` is enough to resume."""
    device: Name = "auto"
    """`auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`."""
