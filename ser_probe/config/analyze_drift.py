"""The section `analyze.drift`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ser_probe.config.analysis import Analysis, OwnCommand
from ser_probe.config.sections import Count, Flag, Name, OneOf, Section
from ser_probe.names.measures import DRIFT

DriftMeasure = Annotated[str, OneOf(DRIFT)]


class DriftConfig(Section):
    """How far fine-tuning moved each layer from step 0 and from the checkpoint before, on the same clips."""

    measures: Annotated[tuple[DriftMeasure, ...], Field(min_length=1)] = tuple(DRIFT)
    """Measures of change between two states of a layer. `procrustes` and `covariance_shift` take a decomposition for
    each layer and checkpoint, and nearly all of the time."""
    against: Annotated[tuple[Literal["first", "previous"], ...], Field(min_length=1)] = ("first", "previous")
    """The state measured from: `first`, that of step 0; `previous`, that of the checkpoint before."""
    by: tuple[Name, ...] = ("label", "speaker")
    """Columns of the clips by whose values drift is given apart, too. Of the defaults, those that the clips lack are
    left out."""
    neighbours: Count = 10
    """Nearest clips whose change `knn_overlap` counts; at most a quarter of all clips are taken."""
    weights: Flag = True
    """Also how far the weights of each block moved, where there are checkpoints of them."""
    floor: tuple[Literal["precision", "batch"], ...] = ("precision",)
    """What drift has to exceed: step 0 is extracted again in bf16 (in fp32 where the study is not), or with clips
    batched otherwise. Each costs one more pass over the clips. Empty: drift has no threshold."""


ANALYSIS = Analysis(
    name="drift",
    section=DriftConfig,
    summary="Change of each layer against step 0.",
    run="ser_probe.steps.analyses.drift:run",
    tables=("drift", "drift_groups", "drift_floor", "weight_drift"),
    needs=frozenset({"caches", "repeats", "checkpoints", "splits", "by_corpus"}),
    accepts=frozenset({"reference", "seed_caches"}),
    requires=frozenset({"reference"}),
    command=OwnCommand(instead={"weights": "--weights", "floor": "--floor"}),
    figures=("ser_probe.report.drift.figures:DRIFT_FIGURES",),
    headlines=("ser_probe.report.drift.headline:DRIFT_HEADLINE",),
    columns=("by",),
)
