"""The section `analyze.probe`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ser_probe.config.sections import Count, Name, NonNegative, Positive, Section


class ProbeConfig(Section):
    """Probe heads on frozen embeddings: where is the target linearly readable?"""

    families: Annotated[tuple[Literal["linear"], ...], Field(min_length=1)] = ("linear",)
    """Probe heads. `linear` is Study E's: one softmax layer, Adam, early stopping on validation."""
    splits: Literal["study", "heldout"] = "heldout"
    """`heldout` divides the study's test speakers anew by `split.scheme`, so that fine-tuning has seen no
    speaker of the probe; `study` reuses the study's own splits, the only way with few speakers."""
    target: Name | None = None
    """Column to predict; null: the study's target."""
    groups: Name = "speaker"
    """Column whose values are never in two parts of the probe's split; intervals are drawn over it."""
    seeds: Count = 10
    """Initialisations per layer and checkpoint; time grows with it."""
    learning_rate: Positive = 1e-2
    """Learning rate of Adam."""
    batch_size: Count = 16
    """Clips per step of the probe."""
    max_epochs: Count = 1000
    """Passes over the probe's training clips at most."""
    patience: Count = 5
    """Epochs without improvement of the validation loss before a probe stops."""
    min_delta: NonNegative = 0.025
    """Smallest fall of the validation loss that counts as an improvement."""
    controls: tuple[Literal["shuffled_labels", "majority_class"], ...] = ("shuffled_labels", "majority_class")
    """What stands beside each probe: the same probe on shuffled labels (doubles the time), and always guessing
    the commonest class. The 88 eGeMAPS functionals are a baseline wherever `extract.egemaps` is on."""
