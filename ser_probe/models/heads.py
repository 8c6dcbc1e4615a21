"""The classifier that is fine-tuned: a backbone and a head.

Training calls the same `run_encoder` as extraction, so that the trained model is the measured one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from ser_probe.errors import BackboneError, ConfigError, collect
from ser_probe.models.backbone import Backbone
from ser_probe.models.families import FAMILIES
from ser_probe.models.forward import LayerCallback, run_encoder, run_front_end
from ser_probe.models.frame_pooling import HEAD_POOLINGS, RowNorm
from ser_probe.models.frames import Frames
from ser_probe.models.layer_mixing import LAYER_CHOICES, Encode, LayerMixing
from ser_probe.models.targets import Targets

FRAMES, POOLED = "frames", "pooled"
MIXES = (FRAMES, POOLED)


@dataclass(frozen=True)
class HeadSettings:
    """How layers and frames become the outputs of a classifier. The defaults are a linear layer on the mean.

    Args:
        pooling: How the frames of a clip become one vector, a name of `HEAD_POOLINGS`.
        layers: Which layers: one of `LAYER_CHOICES`, or a layer's number, 0 to N.
        mix: `frames` sums layers frame by frame and pools the sum; `pooled` pools each layer and sums the vectors.
        hidden: Widths of the hidden layers.
        relu: Whether negative values of the pooled vector become 0.
        batch_norm: Whether the pooled vector, and what each hidden layer makes of it, go through batch norm.
        dropout: Share that is dropped of the pooled vector and of each hidden layer, in [0, 1).

    Raises:
        ConfigError: If some of it is impossible; all faults are listed.
    """

    pooling: str = "mean"
    layers: str | int = "final"
    mix: str = FRAMES
    hidden: tuple[int, ...] = ()
    relu: bool = False
    batch_norm: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        faults = list(self._faults())
        if faults:
            raise collect(ConfigError, "The settings of the head cannot be used", faults)

    def _faults(self) -> Iterator[str]:
        # Compared as a list, because what a file holds need not be hashable.
        if self.pooling not in list(HEAD_POOLINGS):
            yield f"pooling must be one of {', '.join(HEAD_POOLINGS)}, not {self.pooling!r}"
        if self.layers not in LAYER_CHOICES and not _is_whole(self.layers, at_least=0):
            yield f"layers must be {', '.join(LAYER_CHOICES)} or the number of a layer, not {self.layers!r}"
        if self.mix not in MIXES:
            yield f"mix must be one of {', '.join(MIXES)}, not {self.mix!r}"
        if not isinstance(self.hidden, tuple) or not all(_is_whole(width, at_least=1) for width in self.hidden):
            yield f"hidden must be the widths of hidden layers, each 1 or more, not {self.hidden!r}"
        for name in ("relu", "batch_norm"):
            if not isinstance(getattr(self, name), bool):
                yield f"{name} must be true or false, not {getattr(self, name)!r}"
        number = isinstance(self.dropout, int | float) and not isinstance(self.dropout, bool)
        if not number or not 0 <= self.dropout < 1:
            yield f"dropout must be in [0, 1), not {self.dropout!r}"

    def as_json(self) -> dict[str, Any]:
        """Return the same as JSON-like values, which `from_json` reads."""
        return {**vars(self), "hidden": list(self.hidden)}

    @classmethod
    def from_json(cls, values: Any) -> HeadSettings:
        """Return the settings that `as_json` has written.

        Raises:
            ConfigError: If they are not such: one is missing, unknown or impossible.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if isinstance(values, Mapping):
            faults = [f"{name} is missing" for name in names if name not in values]
            faults += [f"{name} is not known" for name in values if name not in names]
        else:
            faults = [f"they must be {', '.join(names)}, by name, not {values!r}"]
        if faults:
            raise collect(ConfigError, "The settings of the head cannot be used", faults)
        hidden = values["hidden"]
        return cls(**{**values, "hidden": tuple(hidden) if isinstance(hidden, list) else hidden})


PLAIN_HEAD = HeadSettings()


def _is_whole(value: Any, *, at_least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= at_least


class Head(nn.Module):
    """Layers and frames of the encoder -> outputs [B, K]: all that is trained besides the backbone.

    The order is: layers are mixed and frames pooled (or the other way round, `HeadSettings.mix`); the pooled vector
    goes through batch norm, ReLU (each if asked for) and dropout; then through each hidden layer, which is linear,
    batch norm (if asked for), ReLU and dropout; then through the linear layer of the outputs.

    Args:
        settings: What it is made of.
        layer_names: The model's stored layers.
        width: D.
        n_outputs: K.

    Raises:
        ConfigError: If the model has no layer of the settings' number.
        MissingExtraError: If the pooling needs a package that is not installed.
    """

    def __init__(self, settings: HeadSettings, layer_names: Sequence[str], width: int, n_outputs: int) -> None:
        super().__init__()
        self.pools_first = settings.mix == POOLED
        self.mixing = LayerMixing(settings.layers, layer_names)
        self.pooling = HEAD_POOLINGS[settings.pooling](width)
        width = self.pooling.out_width
        layers = _activation(settings, width, relu=settings.relu)
        for hidden in settings.hidden:
            # A bias before a batch norm has no effect.
            layers += [nn.Linear(width, hidden, bias=not settings.batch_norm)]
            layers += _activation(settings, hidden, relu=True)
            width = hidden
        self.layers = nn.Sequential(*layers)
        self.linear = nn.Linear(width, n_outputs)

    def forward(self, encode: Encode, mask: Tensor) -> Tensor:
        """Return outputs, shape [B, K].

        Args:
            encode: Runs the encoder.
            mask: True where a frame belongs to its clip, shape [B, T]; a clip's frames come first.
        """
        if self.pools_first:
            return self.classify(self.mixing(encode, lambda frames: self.pooling(frames, mask)))
        return self.classify(self.pooling(self.mixing(encode), mask))

    def classify(self, pooled: Tensor) -> Tensor:
        """Return outputs, shape [B, K], from what pooling and mixing have made of clips, shape [B, D']."""
        return self.linear(self.layers(pooled))


def _activation(settings: HeadSettings, width: int, *, relu: bool) -> list[nn.Module]:
    """Return the layers after the pooled vector, or after the linear part of a hidden layer."""
    layers: list[nn.Module] = [RowNorm(nn.BatchNorm1d(width))] if settings.batch_norm else []
    return [*layers, *([nn.ReLU()] if relu else []), nn.Dropout(settings.dropout)]


def refuse_untrainable(backbone: Backbone) -> None:
    """Refuse a backbone of a family that cannot be fine-tuned.

    Raises:
        BackboneError: If so.
    """
    if not backbone.facts.trainable:
        raise BackboneError(
            f"Models of the family {backbone.family} cannot be fine-tuned here",
            where=backbone.name,
            expected=", ".join(name for name, family in FAMILIES.items() if family.trainable),
            found=backbone.family,
            fix="extract it as it is (in a study: finetune.enabled: false), or name another backbone",
        )


class SerClassifier(nn.Module):
    """A backbone with a head.

    Args:
        backbone: The backbone; its model becomes a submodule.
        targets: What the outputs mean.
        settings: What the head is made of. Its first weights are drawn from torch's generator.
        spec_augment: Whether training masks stretches of the frames as the backbone's config says.

    Raises:
        BackboneError: If the backbone is of a family that cannot be fine-tuned.
        ConfigError: If it has no layer of the settings' number.
        MissingExtraError: If the pooling needs a package that is not installed.
    """

    def __init__(
        self,
        backbone: Backbone,
        targets: Targets,
        settings: HeadSettings = PLAIN_HEAD,
        *,
        spec_augment: bool = False,
    ) -> None:
        super().__init__()
        refuse_untrainable(backbone)
        self.backbone, self.targets, self.settings, self.spec_augment = backbone, targets, settings, spec_augment
        self.model = backbone.model  # registered as a submodule; `backbone.model` stays the same object
        self.head = Head(settings, backbone.layer_names, backbone.width, len(targets.names))

    def forward(self, inputs: Frames | Sequence[np.ndarray]) -> Tensor:
        """Return outputs of shape [B, K] from the front end's output or from clips.

        Returns:
            Logits of the classes, or numeric targets as z-scores (`Targets.restore` gives them their units).
        """
        frames = inputs if isinstance(inputs, Frames) else run_front_end(self.backbone, inputs)
        frames = frames.to(self.backbone.device)

        def encode(on_layer: LayerCallback | None) -> Tensor:
            return run_encoder(self.backbone, frames, on_layer, spec_augment=self.spec_augment)

        return self.head(encode, frames.mask)

    def layer_weights(self) -> dict[str, float]:
        """Return the weight of each layer in the head; layers that it does not use are left out."""
        return self.head.mixing.layer_weights()
