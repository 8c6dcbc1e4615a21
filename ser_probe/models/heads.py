"""The classifier that is fine-tuned: a backbone, a pooling over frames and a head.

What is trained is what is measured: training calls `run_encoder`, and so does extraction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from ser_probe.errors import BackboneError
from ser_probe.models.backbone import Backbone
from ser_probe.models.families import FAMILIES
from ser_probe.models.forward import run_encoder, run_front_end
from ser_probe.models.frames import Frames
from ser_probe.models.pooling import POOLINGS


class LinearHead(nn.Module):
    """Dropout and one linear layer: [B, D] -> [B, K]."""

    def __init__(self, width: int, n_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, n_classes)

    def forward(self, pooled: Tensor) -> Tensor:
        """Return logits of shape [B, K]."""
        return self.linear(self.dropout(pooled))


def refuse_untrainable(backbone: Backbone) -> None:
    """Refuse a backbone of a family that fine-tuning knows no recipe for.

    Raises:
        BackboneError: If it is of one.
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
    """A backbone with a pooling and a head on layer `final`.

    Args:
        backbone: The backbone; its model becomes a submodule.
        n_classes: K.
        pooling: A name of `POOLINGS`.
        dropout: Dropout before the linear layer, in [0, 1).
        spec_augment: Whether training masks stretches of the frames as the backbone's config says.

    Raises:
        BackboneError: If the backbone is of a family that cannot be fine-tuned.
    """

    def __init__(
        self,
        backbone: Backbone,
        n_classes: int,
        *,
        pooling: str = "mean",
        dropout: float = 0.0,
        spec_augment: bool = False,
    ) -> None:
        super().__init__()
        refuse_untrainable(backbone)
        self.backbone = backbone
        self.model = backbone.model  # registered as a submodule; `backbone.model` stays the same object
        self.head = LinearHead(POOLINGS[pooling].factor * backbone.width, n_classes, dropout)
        self.n_classes, self.pooling, self.dropout, self.spec_augment = (
            n_classes,
            pooling,
            dropout,
            spec_augment,
        )

    def forward(self, inputs: Frames | Sequence[np.ndarray]) -> Tensor:
        """Return logits of shape [B, K] from the front end's output or from clips."""
        frames = inputs if isinstance(inputs, Frames) else run_front_end(self.backbone, inputs)
        frames = frames.to(self.backbone.device)
        final = run_encoder(self.backbone, frames, spec_augment=self.spec_augment)
        return self.head(POOLINGS[self.pooling](final, frames.mask))

    def freeze_front_end(self) -> None:
        """Keep the convolutional front end as it is; its output may then be computed once and reused."""
        self.backbone.model.feature_extractor._freeze_parameters()

    def settings(self) -> dict[str, Any]:
        """Return what, beside the weights, rebuilds the head."""
        return {
            "kind": "linear",
            "n_classes": self.n_classes,
            "pooling": self.pooling,
            "dropout": self.dropout,
        }
