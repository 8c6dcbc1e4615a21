"""Which part of a classifier trains: the names of the parts, and their parameters.

Freezing keeps weights, not modes: dropout and layer drop of frozen blocks stay active in training, as is usual, so that
the trained parts see the same noise as if all were trained.

A parameter that no gradient reaches never counts as trained, even if its part is: training on several devices fails at
such parameters, and counting them would mislead.

Importing this module loads no torch, so that a config can be checked against `parse_trained` alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ser_probe.errors import ConfigError, did_you_mean
from ser_probe.models.lora import LoraSettings, add_lora

if TYPE_CHECKING:
    from ser_probe.models.heads import SerClassifier

ENCODER, ALL, LAST, HEAD, LORA = "encoder", "all", "last", "head", "lora"

TRAINED = {
    ENCODER: "everything but the convolutional front end",
    ALL: "everything",
    "last:K": "the last K transformer blocks that the head hears, the final norm behind them, and the head",
    HEAD: "the head alone",
    LORA: "low-rank adapters in the linear layers of the blocks, and the head",
}
"""The parts of a classifier that can be trained, and what they are."""

_BLOCK = re.compile(r"encoder\.layers\.(\d+)\.")


@dataclass(frozen=True)
class ClassifierPart:
    """A part of a classifier, as `parse_trained` reads it.

    Args:
        kind: `encoder`, `all`, `last`, `head` or `lora`.
        n_blocks: K of `last:K`; else None.
    """

    kind: str
    n_blocks: int | None = None


@dataclass(frozen=True)
class TrainedPart:
    """The trained parameters of a classifier, for a report.

    Args:
        n_trained: Parameters that train.
        n_total: Parameters there are, adapters among them.
        names: What trains, in groups: `encoder.layers.0-11` (from 0, as the weights are named), `head`, ...
    """

    n_trained: int
    n_total: int
    names: tuple[str, ...]

    def __str__(self) -> str:
        share = self.n_trained / self.n_total
        return f"{self.n_trained:,} of {self.n_total:,} parameters ({share:.2%}): {', '.join(self.names)}"


def parse_trained(text: str) -> ClassifierPart:
    """Return the part of a name of `TRAINED`.

    Raises:
        ConfigError: If there is none of that name, or its K is no number from 1 on.
    """
    if match := re.fullmatch(r"last:([1-9][0-9]{0,3})", text):
        return ClassifierPart(LAST, int(match[1]))
    if text.startswith("last"):
        raise ConfigError(
            "The number of blocks that train is not one",
            expected="last:K with a whole number K from 1 on, such as last:2",
            found=text,
        )
    if text not in TRAINED:
        raise ConfigError(
            "There is no such part of a classifier to train",
            expected=", ".join(TRAINED),
            found=text,
            fix=did_you_mean(text, TRAINED),
        )
    return ClassifierPart(text)


def choose_trained(
    classifier: SerClassifier,
    part: str,
    lora: LoraSettings | None = None,
    *,
    spec_augment: bool = False,
    deepest: int | None = None,
    seed: int = 0,
) -> TrainedPart:
    """Choose which parameters of a classifier train; for `lora`, add the adapters first.

    Args:
        classifier: The classifier; changed in place.
        part: A name of `TRAINED`.
        lora: What adapters are added for `lora`; None takes the defaults.
        spec_augment: Whether training masks stretches of frames: only then is the vector that stands for them used.
        deepest: The highest layer that the head reads, of 0..N; blocks behind it are frozen, for no gradient reaches
            them. None where it reads `final`.
        seed: Seed of the adapters.

    Raises:
        ConfigError: If the part is not known, or the head hears fewer than K blocks.
        MissingExtraError: If the part is `lora` and peft is not installed.
    """
    chosen, backbone = parse_trained(part), classifier.backbone
    n_heard = backbone.n_layers if deepest is None else deepest
    if chosen.n_blocks is not None and chosen.n_blocks > n_heard:
        raise ConfigError(
            "More blocks are to train than the head hears",
            where=backbone.name,
            expected=f"last:1 to last:{n_heard}" if n_heard else "another part: the head hears no block",
            found=part,
        )
    model = backbone.model
    if chosen.kind == LORA:
        add_lora(model, lora or LoraSettings(), seed)
    if chosen.kind == ALL:
        model.feature_extractor._requires_grad = True
    else:
        # transformers must know, or gradients would flow down to the samples.
        model.feature_extractor._freeze_parameters()
    classifier.requires_grad_(True)  # the head; the backbone's parameters are set below
    unreached = set() if deepest is None else _behind(backbone, deepest)
    if not (spec_augment and _masks_frames(model.config)):
        unreached.add("masked_spec_embed")
    for name, weight in model.named_parameters():
        weight.requires_grad_(name not in unreached and _belongs(name, chosen, backbone, n_heard))
    return _describe(classifier)


def _belongs(name: str, part: ClassifierPart, backbone: Any, n_heard: int) -> bool:
    """Tell whether a parameter of the backbone belongs to a part."""
    if part.kind in (ENCODER, ALL):
        return part.kind == ALL or not name.startswith("feature_extractor.")
    if part.kind == LORA:
        return ".lora_" in name
    if part.n_blocks is not None:
        block = _block_of(name)
        return _is_final_norm(name, backbone) if block is None else block >= n_heard - part.n_blocks
    return False


def _behind(backbone: Any, deepest: int) -> set[str]:
    """Return the parameters that layers 0..deepest do not depend on."""
    names = [name for name, _ in backbone.model.named_parameters()]
    blocks = {name for name in names if (block := _block_of(name)) is not None and block >= deepest}
    return blocks | {name for name in names if _is_final_norm(name, backbone)}


def _block_of(name: str) -> int | None:
    """Return the number of the block, from 0, that a parameter is of; None if it is of none."""
    match = _BLOCK.match(name)
    return int(match[1]) if match else None


def _is_final_norm(name: str, backbone: Any) -> bool:
    # Post-norm models have one of the same name before their first block.
    return bool(backbone.pre_norm) and name.startswith("encoder.layer_norm.")


def _masks_frames(config: Any) -> bool:
    """Tell whether SpecAugment, as a config has it, replaces any frames."""
    return bool(getattr(config, "apply_spec_augment", True)) and config.mask_time_prob > 0


def _describe(classifier: SerClassifier) -> TrainedPart:
    backbone = dict(classifier.backbone.model.named_parameters())
    trained = [name for name, weight in backbone.items() if weight.requires_grad]
    blocks = [block for name in trained if (block := _block_of(name)) is not None]
    around = [name for name in trained if _block_of(name) is None]
    groups = [".".join(name.split(".")[: 2 if name.startswith("encoder.") else 1]) for name in around]
    if blocks:
        first, last = min(blocks), max(blocks)
        adapters = "lora in " if any(".lora_" in name for name in trained) else ""
        groups.append(f"{adapters}encoder.layers.{first}" + (f"-{last}" if last > first else ""))
    all_weights = list(classifier.parameters())
    return TrainedPart(
        n_trained=sum(weight.numel() for weight in all_weights if weight.requires_grad),
        n_total=sum(weight.numel() for weight in all_weights),
        names=(*dict.fromkeys(groups), "head"),
    )
