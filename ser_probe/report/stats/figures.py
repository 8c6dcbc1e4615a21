"""The figures of statistics, each with how it is read and how it misleads."""

from __future__ import annotations

from ser_probe.report.figure_specs import FigureSpec
from ser_probe.report.stats.compose import draw_cell_means, draw_effects, draw_power, draw_residuals

_CELLS = """
The mean of each cell with its own interval. Lines that run parallel mean that the factors add up; lines that do not
show an interaction. The vertical scale starts where the values do. The interval is over the repetitions that the table
holds: where these are seeds of a probe, it says nothing about other speakers or other fine-tuning runs.
"""

_EFFECTS = """
How far two levels lie apart, in standard deviations (or as a rank-biserial correlation), later level less earlier one.
Filled marks are significant after correction for the number of comparisons; intervals are not corrected. Standard
deviations between seeds can be tiny, so that a difference nobody would notice has a large effect size: read the
difference itself in the table.
"""

_RESIDUALS = """
Residuals in standard deviations against those of a normal sample: points on the line are normal, a bow is skewness, an
S heavy tails. The band holds 95 % of normal samples at each point, so that about 1 of 20 points lies outside by chance.
"""

_POWER = """
The chance to find a difference of so many standard deviations, against the number of repetitions. The effect must be
chosen by what would matter, not taken from the data. For many tests the level of each is smaller: see the power table.
"""

STATS_FIGURES: dict[str, FigureSpec] = {
    "stats_cells": FigureSpec("Means of the cells", "descriptives", draw_cell_means, _CELLS, apart=("analysis",)),
    "stats_effects": FigureSpec("Effect sizes", "contrasts", draw_effects, _EFFECTS, apart=("analysis",)),
    "stats_residuals": FigureSpec(
        "Residuals against a normal distribution", "residuals", draw_residuals, _RESIDUALS, apart=("analysis",)
    ),
    "stats_power": FigureSpec("Power against repetitions", "power_curve", draw_power, _POWER, apart=("analysis",)),
}
