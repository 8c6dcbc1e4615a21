"""The section `analyze.drift`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ser_probe.config.sections import Section


class DriftConfig(Section):
    """How far fine-tuning moved each layer from step 0, on the same clips."""

    measures: Annotated[
        tuple[Literal["cka_debiased", "mean_cosine", "relative_norm_change"], ...], Field(min_length=1)
    ] = ("cka_debiased", "mean_cosine", "relative_norm_change")
    """What is measured between a layer and itself at step 0."""
