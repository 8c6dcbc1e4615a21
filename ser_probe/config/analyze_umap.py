"""The section `analyze.umap`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from ser_probe.config.analysis import Analysis
from ser_probe.config.clashes import Clash, known_depth
from ser_probe.config.sections import Count, Flag, Layer, Name, Section, Share

if TYPE_CHECKING:
    from ser_probe.config.study import StudyConfig


class UmapConfig(Section):
    """Maps of the clips in two dimensions, coloured by label, speaker, gender, or right and wrong.

    For the eye only: distances between clusters mean little.
    """

    layers: Annotated[tuple[Layer, ...], Field(min_length=1)] = (0, "final")
    """Layers to draw: numbers, or `final`."""
    color: Annotated[tuple[Name, ...], Field(min_length=1)] = ("label", "speaker", "gender")
    """Columns to colour by, one row of panels each; one of numbers along a scale. Of the defaults, those that the clips
    lack are left out."""
    neighbours: Annotated[int, Field(strict=True, ge=2)] = 15
    """Neighbours that a clip is kept close to: few show detail, many show the whole."""
    min_dist: Share = 0.1
    """How close two points may come."""
    fit: Literal["joint", "reference"] = "joint"
    """All checkpoints of a layer share one map: `joint` lays all of them out together; `reference` lays out step 0
    and places the later ones among its clips, which shows what became of the old map and nothing new."""
    pca_dims: Annotated[int, Field(strict=True, ge=2)] = 50
    """Principal components kept before laying out; fewer are faster and drop detail."""
    stability_seeds: Count = 2
    """Seeds whose maps are compared: how far they agree on neighbours is printed in the figure; 1 turns it off. The
    time grows with it."""
    page: Flag = True
    """Also a page, `umap.html`, in which a point shows its clip and plays it."""
    embed_audio: Flag = False
    """Put the clips' audio (8 kHz, mono) into the page, so that it can be moved; else the page links to the files."""
    embed_mb: Count = 25
    """Audio in the page at most, in megabytes; further clips are linked."""

    @model_validator(mode="after")
    def _refuse_idle(self) -> Self:
        if self.embed_mb != type(self).model_fields["embed_mb"].default and not self.embed_audio:
            raise ValueError("analyze.umap.embed_mb would be ignored: analyze.umap.embed_audio is false")
        if self.embed_audio and not self.page:
            raise ValueError("analyze.umap.embed_audio would be ignored: analyze.umap.page is false")
        return self


def umap_clashes(umap: UmapConfig, study: StudyConfig) -> Iterator[Clash]:
    """Yield the layers to draw that the backbone does not have."""
    depth = known_depth(study.backbone.name)
    beyond = [layer for layer in umap.layers if layer != "final" and depth is not None and layer > depth]
    if beyond:
        yield Clash(
            ("analyze.umap.layers", "backbone.name"),
            f"'{study.backbone.name}' has the layers 0 to {depth} and 'final'; found {beyond}",
        )


ANALYSIS = Analysis(
    name="umap",
    section=UmapConfig,
    summary="Two-dimensional maps; seconds per layer and checkpoint.",
    run="ser_probe.steps.analyses.umap:run",
    tables=("umap",),
    needs=frozenset({"caches", "splits", "seed", "audio_root"}),
    accepts=frozenset({"predictions"}),
    figures=("ser_probe.report.umap.figures:UMAP_FIGURES",),
    figure_options={"umap": {"colours": "color"}},
    pages={"umap.html": "Maps to move in and listen to"},
    unlisted=("umap",),
    columns=("color",),
    clashes=umap_clashes,
    loads=("sklearn", "numba"),  # numba stands for umap, which takes longer
    finds=("umap",),
    key_follows="drift",
)
