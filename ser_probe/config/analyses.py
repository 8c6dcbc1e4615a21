"""The section `analyze`: what is computed from the caches. Every analysis can be turned off with `null`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ser_probe.config.sections import Count, Flag, Layer, Name, NonNegative, Positive, Section, Share, Split


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


class SimilarityConfig(Section):
    """How alike two representations of the same clips are."""

    measures: Annotated[tuple[Literal["cka_debiased", "cka"], ...], Field(min_length=1)] = ("cka_debiased", "cka")
    """`cka` is inflated where clips are few against dimensions, and is reported beside its baseline."""
    egemaps: Flag = True
    """Every layer of every checkpoint against eGeMAPS (Study E's Figure 1)."""
    layers_within: Flag = True
    """All pairs of layers within each checkpoint."""
    across: Flag = True
    """All pairs of layers between step 0 and each later checkpoint."""


class DriftConfig(Section):
    """How far fine-tuning moved each layer from step 0, on the same clips."""

    measures: Annotated[
        tuple[Literal["cka_debiased", "mean_cosine", "relative_norm_change"], ...], Field(min_length=1)
    ] = ("cka_debiased", "mean_cosine", "relative_norm_change")
    """What is measured between a layer and itself at step 0."""


class UmapConfig(Section):
    """Maps of the clips in two dimensions. For the eye only: distances between clusters mean little."""

    layers: Annotated[tuple[Layer, ...], Field(min_length=1)] = (0, "final")
    """Layers to draw: numbers, or `final`."""
    color: Annotated[tuple[Name, ...], Field(min_length=1)] = ("label", "speaker", "gender")
    """Columns to colour by, one row of panels each."""
    n_neighbors: Annotated[int, Field(strict=True, ge=2)] = 15
    """Neighbours that a clip is kept close to: few show detail, many show the whole."""
    min_dist: Share = 0.1
    """How close two points may come."""
    fit: Literal["joint", "reference"] = "joint"
    """All checkpoints of a layer share one map: `joint` lays all of them out together; `reference` lays out step 0
    and places the later ones among its clips, which shows what became of the old map and nothing new."""
    pca_dims: Annotated[int, Field(strict=True, ge=2)] = 50
    """Principal components kept before laying out; fewer are faster and drop detail."""


class AnalyzeConfig(Section):
    """The analyses; `null` turns one off."""

    splits: Literal["all"] | Annotated[tuple[Split, ...], Field(min_length=1)] = ("test",)
    """Clips that similarity, drift and maps look at; `[test]`: speakers that fine-tuning has not seen."""
    probe: ProbeConfig | None = ProbeConfig()
    """Probe heads per layer and checkpoint."""
    similarity: SimilarityConfig | None = SimilarityConfig()
    """CKA with eGeMAPS and between layers."""
    drift: DriftConfig | None = DriftConfig()
    """Change of each layer against step 0."""
    umap: UmapConfig | None = UmapConfig()
    """Two-dimensional maps; seconds per layer and checkpoint."""
