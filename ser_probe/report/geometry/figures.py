"""The figures of geometry, each with how it is read and how it misleads."""

from __future__ import annotations

from ser_probe.report.corpora.compose import CORPORA_CAPTION, draw_geometry_corpora
from ser_probe.report.figure_specs import FigureSpec
from ser_probe.report.geometry.compose import (
    draw_geometry_classes,
    draw_geometry_shape,
    draw_geometry_shares,
    draw_geometry_spectrum,
    draw_geometry_variance,
)

_SHAPE = """
Each measure of shape per layer; one line per checkpoint, dark for early and bright for late. RankMe, effective rank
and participation ratio count linear directions (the first counts small ones most, the last hardly); two-NN counts the
dimensions of the manifold that neighbours lie on; anisotropy is the mean cosine between two clips. Bands: 95 %
intervals over speakers of the first and the last checkpoint (jackknife; ranks have none unless asked for). All but the
unbiased participation ratio depend on how many clips there are: compare values of one figure, not of two corpora.
Scales start where the values do. Two-NN is far too low above about 20 dimensions; the value of isotropic clips, given
above a panel, shows how much.
"""

_CLASSES = """
Silhouette (1: clips lie with their own class, 0: between classes) and Fisher ratio (variance between classes over
variance within, adjusted for chance) by label and by speaker; one line per checkpoint. Dotted, for the first and the
last one: the mean over permuted classes (labels within each speaker, speakers within each label); what is not above it
is no structure. In many dimensions a silhouette near 0 goes along with classes that a probe tells apart perfectly.
"""

_SHARES = """
The share of the variance that each factor explains alone, adjusted for chance (epsilon squared); one line per
checkpoint. Dotted: permuted classes. Gender is measured against the spread between speakers, so with few speakers its
interval is wide. Factors that go together in the clips are each credited with what they share.
"""

_VARIANCE = """
What each factor explains of the variance beyond all others, before and after fine-tuning; the bars end where noise
begins, so that a bar of height 1 would leave nothing unexplained. The hatched part is what labels mean differently
from speaker to speaker; `joint` is what several factors explain and none alone. Clips that fine-tuning has trained on
lie apart by label because they were pushed there: look at held-out speakers.
"""

_SPECTRUM = """
Each principal component's share of the variance, both axes logarithmic, one line per layer. A steep line is a
representation that lives in few directions. With N clips there are at most N - 1 components, and the last of them are
mostly noise.
"""

GEOMETRY_FIGURES: dict[str, FigureSpec] = {
    "geometry_shape": FigureSpec("Shape of the layers", "geometry", draw_geometry_shape, _SHAPE),
    "geometry_corpora": FigureSpec(
        "Geometry by corpus", "geometry", draw_geometry_corpora, CORPORA_CAPTION, apart=("model",), optional=True
    ),
    "geometry_classes": FigureSpec("How far classes lie apart", "geometry", draw_geometry_classes, _CLASSES),
    "geometry_shares": FigureSpec(
        "Share of the variance by factor", "geometry", draw_geometry_shares, _SHARES, pooled=True
    ),
    "geometry_variance": FigureSpec("What the variance is about", "geometry", draw_geometry_variance, _VARIANCE),
    "geometry_spectrum": FigureSpec(
        "Spectrum of the layers", "geometry_spectrum", draw_geometry_spectrum, _SPECTRUM, pooled=True
    ),
}
