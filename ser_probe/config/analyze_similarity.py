"""The section `analyze.similarity`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ser_probe.config.sections import Flag, Section


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
