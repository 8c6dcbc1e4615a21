"""The section `analyze.stats`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ser_probe.config.analysis import Analysis, OwnCommand
from ser_probe.config.sections import NULL, Count, Name, Positive, Section
from ser_probe.packages import Need

Probability = Annotated[float, Field(strict=True, gt=0, lt=1)]
Value = bool | int | float | str


def _test_scores() -> dict[str, Value | tuple[Value, ...]]:
    return {"measure": "uar", "split": "test", "control": "none"}


class StatsConfig(Section):
    """Test what explains a result: analysis of variance, comparisons, effect sizes, power, in tables and words."""

    table: Name = "probe"
    """The study's table that is tested, by name."""
    response: Name = "value"
    """Column that is explained; numbers."""
    where: dict[Name, Value | tuple[Value, ...]] = Field(default_factory=_test_scores)
    """Rows to take: a value, or a list of values, by column."""
    factors: Annotated[tuple[Name, ...], Field(min_length=1)] = ("step", "layer")
    """Columns that explain it."""
    apart: tuple[Name, ...] = ("corpus", "model", "target", "family", "pooling", "feature")
    """Columns whose values are analysed apart, where the table has them."""
    unit: Literal["auto"] | Name | None = "auto"
    """Column of what counts as one observation: rows of one unit and cell are averaged, and paired tests match by it.
    `auto`: `run_seed` where there are several runs, else `probe_seed`; null: every row."""
    random: Literal["auto"] | Name | None = "auto"
    """Column of a random effect (a speaker, a seed), for a linear mixed model; `auto`: the unit, where it has results
    in several cells; null: none."""
    order: Count | None = None
    """Highest order of interaction in the analysis of variance; null: all."""
    type: Literal[2, 3] = 3
    """Type of the sums of squares. Both are the same where all cells have equally many observations."""
    contrasts: tuple[Name, ...] = ("step:layer",)
    """What is compared: `a`, the levels of a factor; `a:b`, those of a within each level of b; empty: every factor."""
    pairs: Literal["all", "first"] = "first"
    """All pairs of levels, or each level against the first (step 0)."""
    test: Literal["auto", "welch", "pooled", "mann-whitney", "paired", "residual"] = "auto"
    """Test of the comparisons; `auto`: `paired` where there is a unit with results in several cells, else `welch`.
    `residual` takes the spread from the analysis of variance."""
    correct: Literal["holm", "bh"] = "holm"
    """Correction over all comparisons that the words go by; tables hold both."""
    equivalence: Positive | Name | None = None
    """Largest difference that does not matter, in the response's unit, or in standard deviations as `0.5g`: adds an
    equivalence test; null: no test."""
    effects: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.5, 0.8, 1.2)
    """Smallest effects of interest, in standard deviations, for which the needed repetitions are computed."""
    power: Probability = 0.8
    """Power that is wanted."""
    alpha: Probability = 0.05
    """Level of all tests; intervals are of 1 - alpha."""
    sd: Literal["sample", "population"] = "sample"
    """Standard deviation that is printed: divided by n - 1, or by n."""


ANALYSIS = Analysis(
    name="stats",
    section=StatsConfig,
    summary="Tests over the probe's scores.",
    run="ser_probe.steps.analyses.stats:run",
    tables=(
        *("descriptives", "anova", "contrasts", "assumptions", "robustness"),
        *("mixed", "equivalence", "power", "power_curve", "residuals"),
    ),
    needs=frozenset({"tables"}),
    accepts=frozenset({"table", "from_moments"}),
    requires=frozenset({"table"}),
    command=OwnCommand(
        instead={"table": "TABLE"},
        defaults={
            "where": ({}, "all rows"),
            "apart": ((), "none"),
            "unit": (NULL, "off: every row"),
            "contrasts": ((), "every factor"),
            "pairs": ("all", "all"),
        },
        required=("response", "factors"),
    ),
    figures=("ser_probe.report.stats.figures:STATS_FIGURES",),
    headlines=("ser_probe.report.stats.headline:STATS_HEADLINE",),
    pages={"stats_summary.md": "The statistics in words, with tables for a paper"},
    table_key="table",
    extra=Need("statsmodels.formula.api", "stats", "the analysis of variance (analyze.stats)"),
)
