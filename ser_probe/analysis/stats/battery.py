"""All tables that one set of observations allows, and what was left out and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from ser_probe.analysis.stats.agreement import with_other_test
from ser_probe.analysis.stats.anova import Kind, anova_table
from ser_probe.analysis.stats.assumptions import check_assumptions, residual_table
from ser_probe.analysis.stats.comparisons import Contrast, Pairs, Test, compare, parse_contrast
from ser_probe.analysis.stats.descriptives import Deviation, describe_cells
from ser_probe.analysis.stats.equivalence import equivalence_table, parse_bound
from ser_probe.analysis.stats.linear_model import LinearFit, fit_linear
from ser_probe.analysis.stats.mixed import fit_mixed
from ser_probe.analysis.stats.observations import Observations
from ser_probe.analysis.stats.power import power_curves, power_table
from ser_probe.analysis.stats.robust import robust_table
from ser_probe.errors import AnalysisError

TABLES = (
    *("descriptives", "anova", "contrasts", "mixed", "equivalence", "robustness"),
    *("assumptions", "power", "power_curve", "residuals"),
)
"""The tables that an analysis can have."""


@dataclass(frozen=True)
class StatsOptions:
    """What is computed, and how.

    Args:
        contrasts: What is compared: `step`, or `step:layer` within each layer; empty for every factor.
        order: Highest order of interaction; None for all.
        kind: Type of the sums of squares.
        test: Of the comparisons.
        pairs: All pairs of levels, or each against the first.
        correct: The correction that the text reports; tables hold both.
        equivalence: Bound of an equivalence test, as `0.02` or `0.5g`; None for no such test.
        effects: Smallest effects of interest for the power, in standard deviations.
        power: Power that is wanted.
        alpha: Level of all tests; intervals are of 1 - alpha.
        sd: Which standard deviation is printed.
    """

    contrasts: tuple[str, ...] = ()
    order: int | None = None
    kind: Kind = 3
    test: Test = "welch"
    pairs: Pairs = "all"
    correct: Literal["holm", "bh"] = "holm"
    equivalence: str | None = None
    effects: tuple[float, ...] = (0.5, 0.8, 1.2)
    power: float = 0.8
    alpha: float = 0.05
    sd: Deviation = "sample"


@dataclass(frozen=True, eq=False)
class Statistics:
    """What was found.

    Args:
        observations: What was analysed.
        tables: Some of `TABLES`, by name.
        left_out: What could not be computed, and why, a line each.
    """

    observations: Observations
    tables: Mapping[str, pd.DataFrame]
    left_out: tuple[str, ...] = field(default=())


def analyse(observations: Observations, options: StatsOptions, *, group: str | None = None) -> Statistics:
    """Compute every table that the observations allow.

    Args:
        observations: The data.
        options: What is wanted.
        group: The name of the random effect, where there is one.

    Raises:
        AnalysisError: If the design allows no analysis of variance, or a comparison names no factor.
        MissingExtraError: If statsmodels is not installed.
    """
    _refuse_lost_values(observations, options.test)
    contrasts = [parse_contrast(text, observations) for text in options.contrasts or observations.names]
    fit = fit_linear(observations, order=options.order)
    alpha = options.alpha
    tables = {
        "descriptives": describe_cells(observations, sd=options.sd, alpha=alpha),
        "anova": anova_table(fit, kind=options.kind, alpha=alpha),
        "contrasts": with_other_test(
            compare(observations, contrasts, test=options.test, pairs=options.pairs, fit=fit, alpha=alpha),
            observations,
            contrasts,
            test=options.test,
            pairs=options.pairs,
            correct=options.correct,
            alpha=alpha,
        ).assign(correction=options.correct, alpha=alpha),
        "robustness": robust_table(fit),
        "assumptions": check_assumptions(fit, alpha=alpha),
        **_power(observations, contrasts, options),
    }  # fmt: skip
    if observations.exact:
        tables["residuals"] = residual_table(fit)
    left_out = list(_without(observations, fit))
    if options.equivalence is not None:
        bound = parse_bound(options.equivalence)
        tables["equivalence"] = equivalence_table(
            observations, contrasts, bound, test=options.test, pairs=options.pairs, alpha=alpha
        )
    if group is not None:
        try:
            tables["mixed"] = fit_mixed(observations, order=options.order).table()
        except AnalysisError as error:
            left_out.append(f"mixed model: {error.brief()}")
    return Statistics(observations, {name: tables[name] for name in TABLES if name in tables}, tuple(left_out))


def _refuse_lost_values(observations: Observations, test: Test) -> None:
    if not observations.exact and test in ("mann-whitney", "paired"):
        raise AnalysisError(
            f"The test {test!r} needs single values, not means and deviations",
            expected="welch, pooled or residual",
            found=test,
            fix="give the table of single results",
        )


def _without(observations: Observations, fit: LinearFit) -> list[str]:
    if not observations.exact:
        return ["normality, outliers and ranks: only means and deviations are known"]
    if len(observations.factors) > 1 and fit.order < len(observations.factors):
        return ["aligned ranks: they need the model with all interactions"]
    return []


def _power(observations: Observations, contrasts: list[Contrast], options: StatsOptions) -> dict[str, pd.DataFrame]:
    counts = observations.counts()
    n = int(counts[counts > 0].min())
    n_tests = sum(_count(contrast, observations, options.pairs) for contrast in contrasts)
    table = power_table(options.effects, n=n, power=options.power, alpha=options.alpha, n_tests=max(n_tests, 1))
    curves = power_curves(options.effects, n=n, target=options.power, alpha=options.alpha)
    return {"power": table, "power_curve": curves}


def _count(contrast: Contrast, observations: Observations, pairs: Pairs) -> int:
    levels = len(observations.factor(contrast.factor).levels)
    places = 1
    for name in contrast.within:
        places *= len(observations.factor(name).levels)
    return places * (levels * (levels - 1) // 2 if pairs == "all" else levels - 1)
