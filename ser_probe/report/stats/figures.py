"""The figures of statistics: means of cells, effect sizes, residuals, and power against repetitions."""

from __future__ import annotations

import itertools
from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from ser_probe.errors import AnalysisError
from ser_probe.report.canvas import grid_shape, legend_below, new_panels
from ser_probe.report.figure_specs import FigureSpec
from ser_probe.report.measures import measure_name
from ser_probe.report.stats.plots import level_order, plot_cell_means, plot_effects, plot_power, plot_residuals
from ser_probe.report.style import PAGE_WIDTH_IN, short, styled
from ser_probe.report.tables import need

# How the analysis joins the names of factors.
_TIMES = " × "
_MOST_PANELS = 6
_MOST_LINES = 12
_MOST_ROWS = 45
_ROW_IN = 0.21
_CORRECTIONS = {"holm": "Holm", "bh": "Benjamini-Hochberg"}
_DESIGNS = {"two_sample": "two independent models", "paired": "pairs"}


@styled()
def draw_cell_means(table: pd.DataFrame) -> Figure:
    """Draw the mean of every cell with its interval.

    The factor with the most levels goes across, the next makes the lines, the others the panels.

    Raises:
        AnalysisError: If the table is empty, or the design has too many cells for a page.
    """
    need(table, ["factors", "response", "mean", "ci_low", "ci_high", "n", "alpha"], "descriptives")
    names = str(table["factors"].iloc[0]).split(_TIMES)
    levels = {name: level_order(table[name].tolist()) for name in names}
    # Of factors with equally many levels, the one named later goes across.
    ranked = sorted(names, key=lambda name: (-len(levels[name]), -names.index(name)))
    x, lines, others = ranked[0], ranked[1] if len(ranked) > 1 else None, sorted(ranked[2:], key=names.index)
    combinations = list(itertools.product(*(levels[name] for name in others)))
    line_levels = levels[lines] if lines is not None else [""]
    if len(combinations) > _MOST_PANELS or len(line_levels) > _MOST_LINES:
        raise AnalysisError(
            "The design has too many cells for one figure of means",
            expected=f"{_MOST_PANELS} panels of {_MOST_LINES} lines at most",
            found=f"{len(combinations)} panels of {len(line_levels)} lines",
        )
    n_rows, columns = grid_shape(len(combinations), 3)
    figure, axes = new_panels(PAGE_WIDTH_IN, 1.1 + 2.7 * n_rows, len(combinations), columns, sharey=True)
    for place, (ax, values) in enumerate(zip(axes, combinations, strict=True)):
        part = table
        for name, value in zip(others, values, strict=True):
            part = part[part[name].astype(str) == value]
        plot_cell_means(part, ax, x=x, lines=lines, x_levels=levels[x], line_levels=line_levels)
        ax.set_title(", ".join(f"{short(n, 18)}: {short(v, 18)}" for n, v in zip(others, values, strict=True)))
        if place % columns:
            ax.set_ylabel("")
    if lines is not None:
        legend_below(figure, axes[0], 6, title=short(lines))
    response = measure_name(str(table["response"].iloc[0]))
    figure.suptitle(f"Mean {response} with {_level(table)} interval · {_counts(table)}")
    return figure


@styled()
def draw_effects(table: pd.DataFrame) -> Figure:
    """Draw the effect size of every comparison with its interval; of very many a panel for each pair of levels.

    Raises:
        AnalysisError: If there is none, or more than fit a page.
    """
    need(table, ["factor", "level_a", "level_b", "within", "effect_size"], "contrasts")
    table = table[table["effect_size"].notna()]
    if table.empty:
        raise AnalysisError("No comparison has an effect size", found="observations without spread")
    table = table.assign(
        pair=[f"{row['factor']} {row['level_a']} – {row['level_b']}" for row in table.to_dict("records")]
    )
    if len(table) <= _MOST_ROWS:
        figure, (ax,) = new_panels(PAGE_WIDTH_IN, 1.2 + _ROW_IN * max(len(table), 3))
        places = (f" ({within})" if within else "" for within in table["within"])
        names = [short(pair + place, 60) for pair, place in zip(table["pair"], places, strict=True)]
        plot_effects(table, ax, labels=names)
    else:
        figure = _panels_of_pairs(table)
    significant = (table[f"p_{table['correction'].iloc[0]}"] < table["alpha"]).sum()
    corrected = f"{len(table)} significant after {_CORRECTIONS[str(table['correction'].iloc[0])]} (filled)"
    figure.suptitle(f"Effect sizes with {_level(table)} intervals · {significant} of {corrected}")
    return figure


@styled()
def draw_residuals(table: pd.DataFrame) -> Figure:
    """Draw the quantiles of the residuals against those of a normal distribution."""
    figure, (ax,) = new_panels(4.6, 4.0)
    plot_residuals(table, ax)
    ax.legend(loc="upper left")
    ax.set_title(f"Residuals of the analysis of variance · n = {len(table)}")
    return figure


@styled()
def draw_power(table: pd.DataFrame) -> Figure:
    """Draw how power rises with repetitions, for independent and for paired ones."""
    need(table, ["design", "effect_size", "n", "power", "alpha"], "power_curve")
    designs = list(dict.fromkeys(table["design"]))
    figure, axes = new_panels(PAGE_WIDTH_IN, 3.2, len(designs))
    for ax, design in zip(axes, designs, strict=True):
        plot_power(table[table["design"] == design], ax)
        ax.set_title(_DESIGNS.get(str(design), str(design)))
        ax.set_xlabel("pairs" if design == "paired" else "repetitions of each model")
    legend_below(figure, axes[0])
    figure.suptitle(f"Power of a two-sided t-test at alpha = {float(table['alpha'].iloc[0]):g}")
    return figure


def _panels_of_pairs(table: pd.DataFrame) -> Figure:
    """Draw a panel for each pair of levels, a row for each place in which it is compared."""
    pairs, places = list(dict.fromkeys(table["pair"])), list(dict.fromkeys(table["within"]))
    if len(pairs) > 2 * _MOST_PANELS or len(places) > _MOST_ROWS:
        raise AnalysisError(
            "There are too many comparisons for one figure",
            expected=f"{_MOST_ROWS} rows of {2 * _MOST_PANELS} pairs at most",
            found=f"{len(table)}: {len(places)} rows of {len(pairs)} pairs",
        )
    n_rows, columns = grid_shape(len(pairs), 4)
    height_in = 0.8 + n_rows * (0.7 + 0.17 * len(places))
    figure, axes = new_panels(PAGE_WIDTH_IN, height_in, len(pairs), columns, sharex=True)
    for i, (ax, pair) in enumerate(zip(axes, pairs, strict=True)):
        # An empty row is a comparison that could not be tested.
        part = table[table["pair"] == pair].set_index("within").reindex(places).reset_index()
        plot_effects(part, ax, labels=[short(str(place).split("=", 1)[-1], 20) for place in places])
        ax.set_title(short(pair, 24), fontsize=9)
        if i % columns:
            ax.tick_params(labelleft=False)
        else:
            ax.set_ylabel(short(str(places[0]).split("=", 1)[0]))
        if i // columns < n_rows - 1:
            ax.set_xlabel("")
    return figure


def _level(table: pd.DataFrame) -> str:
    """Return how sure the intervals are: `95 %`."""
    return f"{100 * (1 - float(table['alpha'].iloc[0])):g} %"


def _counts(table: pd.DataFrame) -> str:
    low, high = int(table["n"].min()), int(table["n"].max())
    return f"n = {low} a cell" if low == high else f"n = {low} to {high} a cell"


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

_figure = partial(FigureSpec, apart=("analysis",))

STATS_FIGURES: dict[str, FigureSpec] = {
    "stats_cells": _figure("Means of the cells", "descriptives", draw_cell_means, _CELLS),
    "stats_effects": _figure("Effect sizes", "contrasts", draw_effects, _EFFECTS),
    "stats_residuals": _figure("Residuals against a normal distribution", "residuals", draw_residuals, _RESIDUALS),
    "stats_power": _figure("Power against repetitions", "power_curve", draw_power, _POWER),
}
