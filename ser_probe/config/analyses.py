"""The section `analyze`: what is computed from the caches. Every analysis can be turned off with `null`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ser_probe.config.analyze_acoustics import AcousticsConfig
from ser_probe.config.analyze_drift import DriftConfig
from ser_probe.config.analyze_geometry import GeometryConfig
from ser_probe.config.analyze_probe import ProbeConfig
from ser_probe.config.analyze_similarity import SimilarityConfig
from ser_probe.config.analyze_stats import StatsConfig
from ser_probe.config.analyze_umap import UmapConfig
from ser_probe.config.sections import Flag, Section, Split


class AnalyzeConfig(Section):
    """The analyses; `null` turns one off."""

    splits: Literal["all"] | Annotated[tuple[Split, ...], Field(min_length=1)] = ("test",)
    """Clips that similarity, drift and maps look at; `[test]`: speakers that fine-tuning has not seen."""
    by_corpus: Flag = True
    """Where the clips are of several corpora, also give similarity, drift, geometry and acoustics for each corpus as if
    it were alone: pooled values say first of all what sets the corpora apart. Takes up to as long again."""
    probe: ProbeConfig | None = ProbeConfig()
    """Probe heads per layer and checkpoint."""
    similarity: SimilarityConfig | None = SimilarityConfig()
    """CKA with eGeMAPS and between layers."""
    drift: DriftConfig | None = DriftConfig()
    """Change of each layer against step 0."""
    umap: UmapConfig | None = UmapConfig()
    """Two-dimensional maps; seconds per layer and checkpoint."""
    geometry: GeometryConfig | None = GeometryConfig()
    """Shape of each layer: dimension, isotropy, variance by label and speaker."""
    acoustics: AcousticsConfig | None = AcousticsConfig()
    """Which acoustic functionals each layer keeps; needs `extract.egemaps`."""
    stats: StatsConfig | None = StatsConfig()
    """Tests over the probe's scores."""


ANALYSES = tuple(name for name in AnalyzeConfig.model_fields if name not in ("splits", "by_corpus"))
"""The keys that are an analysis each."""
