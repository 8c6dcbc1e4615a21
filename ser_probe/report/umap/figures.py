"""The figures of maps, each with how it is read and how it misleads."""

from __future__ import annotations

from ser_probe.report.figure_specs import FigureSpec
from ser_probe.report.umap.compose import draw_umap

_UMAP = """
Each point is a clip; every row shows the same projections, coloured by another property, and all panels share their
axis limits. What lies close together is alike. Distances between groups, their sizes and their orientation mean little,
and another seed gives another picture: a claim needs a probe. Trust(worthiness), where given, says how far neighbours
in the picture are neighbours in the embedding (1 is best). (Seed) stability says how far a map of the same data from
another seed names the same neighbours (mean Jaccard overlap: 1 all, near 0 none): what it does not repeat is chance.
The page umap.html plays the clips.
"""

UMAP_FIGURES: dict[str, FigureSpec] = {
    "umap": FigureSpec("UMAP", "umap", draw_umap, _UMAP, apart=("model", "layer"), named=("layer",)),
}
