"""The section `analyze.umap`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ser_probe.config.sections import Count, Flag, Layer, Name, Section, Share


class UmapConfig(Section):
    """Maps of the clips in two dimensions. For the eye only: distances between clusters mean little."""

    layers: Annotated[tuple[Layer, ...], Field(min_length=1)] = (0, "final")
    """Layers to draw: numbers, or `final`."""
    color: Annotated[tuple[Name, ...], Field(min_length=1)] = ("label", "speaker", "gender")
    """Columns to colour by, one row of panels each. A column of numbers is coloured along a scale. Of the defaults,
    those that the clips lack are left out."""
    n_neighbors: Annotated[int, Field(strict=True, ge=2)] = 15
    """Neighbours that a clip is kept close to: few show detail, many show the whole."""
    min_dist: Share = 0.1
    """How close two points may come."""
    fit: Literal["joint", "reference"] = "joint"
    """All checkpoints of a layer share one map: `joint` lays all of them out together; `reference` lays out step 0
    and places the later ones among its clips, which shows what became of the old map and nothing new."""
    pca_dims: Annotated[int, Field(strict=True, ge=2)] = 50
    """Principal components kept before laying out; fewer are faster and drop detail."""
    stability_seeds: Count = 2
    """Seeds whose maps are compared: how far they agree on neighbours is printed in the figure. The time grows with
    it; 1 turns it off."""
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
