"""Low-rank adapters in the blocks of a backbone, and how they are merged into plain weights. The one door to peft.

A linear layer of weights W computes (W + alpha / rank * B A) x, where W is frozen, and A [rank, in] and B [out, rank]
are trained (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", section 4.1). B starts at zero, so
that training starts from the unchanged model.

Importing this module loads no torch, and nothing but `add_lora` needs peft.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ser_probe.errors import CheckpointError, ConfigError, collect, did_you_mean
from ser_probe.packages import require

if TYPE_CHECKING:
    from torch import Tensor

TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj", "intermediate_dense", "output_dense")
"""The linear layers of a transformer block that can have adapters, by the names that all families here share."""

_ADAPTER = "default"  # what peft calls an adapter of no name


@dataclass(frozen=True)
class LoraSettings:
    """Which adapters are added.

    Args:
        rank: Width of the bottleneck, from 1 on.
        alpha: Numerator of the scale alpha / rank of an adapter's output, above 0.
        dropout: Dropout of an adapter's input in training, in [0, 1).
        targets: Names of `TARGETS`: the linear layers, in every block, that get one.

    Raises:
        ConfigError: If a value is out of its range; all faults at once.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ("q_proj", "v_proj")

    def __post_init__(self) -> None:
        faults = []
        if self.rank < 1 or self.rank != int(self.rank):
            faults.append(f"rank must be a whole number from 1 on. Got {self.rank!r}.")
        if not 0 < self.alpha < float("inf"):
            faults.append(f"alpha must be above 0 and finite. Got {self.alpha!r}.")
        if not 0 <= self.dropout < 1:
            faults.append(f"dropout must be at least 0 and below 1. Got {self.dropout!r}.")
        if not self.targets:
            faults.append(f"targets must name at least one of {', '.join(TARGETS)}.")
        unknown = [name for name in self.targets if name not in TARGETS]
        faults += [f"targets knows no layer {name!r}: {did_you_mean(name, TARGETS)}" for name in unknown]
        if faults:
            raise collect(ConfigError, "The settings of the adapters cannot be used", faults)


def add_lora(model: Any, settings: LoraSettings, seed: int) -> None:
    """Add adapters to the blocks of a model, in place. Its outputs stay, bit for bit, until they are trained.

    The adapters alone require a gradient afterwards. The caller's random state is left as it was.

    Args:
        model: The transformers model.
        settings: What to add.
        seed: Seed of A.

    Raises:
        MissingExtraError: If peft is not installed.
        ValueError: If the model has adapters already.
    """
    if _adapted_layers(model):
        raise ValueError("the model has adapters already")
    peft = require("peft", extra="peft", purpose="Training low-rank adapters")
    import torch

    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=rf"encoder\.layers\.\d+\..*\b({'|'.join(settings.targets)})",
    )
    # Adapters are drawn on the CPU and then moved to their layer, so that a seed means the same on every device.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        peft.inject_adapter_in_model(config, model, adapter_name=_ADAPTER)


def lora_state(model: Any) -> dict[str, Tensor]:
    """Return the weights of the adapters, in the host's memory: `<layer>.lora_A.weight` and `<layer>.lora_B.weight`."""
    return {name: weight.detach().cpu().clone() for name, weight in _adapter_weights(model).items()}


def load_lora(model: Any, tensors: Mapping[str, Tensor]) -> None:
    """Load the weights of adapters that `lora_state` has returned into a model with adapters of the same settings.

    Raises:
        CheckpointError: If they are not those of this model's adapters.
    """
    import torch

    weights = _adapter_weights(model)
    expected = {name: tuple(weight.shape) for name, weight in weights.items()}
    given = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if expected != given:
        odd = sorted(name for name in {*expected, *given} if expected.get(name) != given.get(name))
        raise CheckpointError(
            "The adapters' weights do not fit the adapters of the model",
            where=odd[0],
            expected=f"{len(expected)} tensors, this one of shape {expected.get(odd[0])}",
            found=f"{len(given)} tensors, this one of shape {given.get(odd[0])}",
            fix="train with the rank and the layers that the checkpoint was made with",
        )
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(tensors[name])


def merged_state(model: Any) -> dict[str, Tensor]:
    """Return the weights of a model under its plain names, those of adapters added in: W + alpha / rank * B A.

    The model stays as it is. Of one without adapters it is the state dict; tensors without an adapter are not copied.
    """
    layers = _adapted_layers(model)
    inner = {f"{name}.base_layer.weight": layer for name, layer in layers.items()}
    state = {}
    for name, weight in model.state_dict().items():
        if name in inner:
            weight = _merge(inner[name])
        if ".lora_" not in name:
            state[name.replace(".base_layer.", ".")] = weight
    return state


def _merge(layer: Any) -> Tensor:
    """Return the weights of a layer with its adapter merged, computed in float64 and rounded once."""
    weight = layer.base_layer.weight.detach()
    down, up = layer.lora_A[_ADAPTER].weight.detach(), layer.lora_B[_ADAPTER].weight.detach()
    return (weight.double() + layer.scaling[_ADAPTER] * (up.double() @ down.double())).to(weight.dtype)


def _adapted_layers(model: Any) -> dict[str, Any]:
    """Return the layers that have adapters, by name, recognised without peft, which takes seconds to import."""
    return {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}


def _adapter_weights(model: Any) -> dict[str, Any]:
    return {name.replace(f".{_ADAPTER}.", "."): weight for name, weight in model.named_parameters() if ".lora_" in name}
