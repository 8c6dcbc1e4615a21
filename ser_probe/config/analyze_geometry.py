"""The section `analyze.geometry`."""

from __future__ import annotations

from ser_probe.config.analysis import Analysis
from ser_probe.config.sections import Count, Flag, Name, Section, Whole


class GeometryConfig(Section):
    """The shape of each layer: dimension, isotropy, and what its variance is about."""

    by: tuple[Name, ...] = ("label", "speaker")
    """Columns by which silhouette and Fisher ratio say how far the classes lie apart."""
    factors: tuple[Name, ...] = ("label", "speaker", "gender", "sentence")
    """Columns among which the variance is shared out. Those that have one value only, and defaults that the clips
    lack, are left out and named."""
    permutations: Whole = 20
    """Permutations of each column for the null beside its values; 0 for none."""
    components: Count = 64
    """Components of the spectrum that are listed."""
    rank_intervals: Flag = False
    """Intervals of the effective ranks too: an eigendecomposition per speaker, layer and checkpoint."""


ANALYSIS = Analysis(
    name="geometry",
    section=GeometryConfig,
    summary="Shape of each layer: dimension, isotropy, variance by label and speaker.",
    run="ser_probe.steps.analyses.geometry:run",
    tables=("geometry", "geometry_spectrum"),
    needs=frozenset({"caches", "splits", "by_corpus", "seed"}),
    accepts=frozenset({"features"}),
    figures=("ser_probe.report.geometry.figures:GEOMETRY_FIGURES",),
    headlines=("ser_probe.report.geometry.headline:GEOMETRY_HEADLINE",),
    columns=("by", "factors"),
)
