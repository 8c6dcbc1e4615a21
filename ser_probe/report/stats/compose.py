"""Figures of statistics: means of cells, sizes of effects, residuals, and what a number of repetitions would find."""

from __future__ import annotations

import itertools

import pandas as pd
from matplotlib.figure import Figure

from ser_probe.errors import AnalysisError
from ser_probe.report.canvas import new_figure
from ser_probe.report.stats.plots import level_order, plot_cell_means, plot_effects, plot_power, plot_residuals
from ser_probe.report.style import PAGE_WIDTH_IN, measure_name, short, styled
from ser_probe.report.tables import need

# How the analysis joins the names of factors.
_TIMES = " × "
_MOST_PANELS = 6
_MOST_LINES = 12
_MOST_ROWS = 45
_ROW_IN = 0.21


def draw_cell_means(table: pd.DataFrame) -> Figure:
    """Draw the mean of every cell with its interval.

    The factor with the most levels goes across, the next one makes the lines, the others the panels.

    Args:
        table: The descriptives of one analysis.

    Raises:
        AnalysisError: If the table is empty, or the design has too many cells for a page.
    """
    need(table, ["factors", "response", "mean", "ci_low", "ci_high", "n", "alpha"], "descriptives")
    names = str(table["factors"].iloc[0]).split(_TIMES)
    levels = {name: level_order(table[name].tolist()) for name in names}
    # Of equally many the later one goes across, as in the order in which factors are named.
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
    with styled():
        columns = min(3, len(combinations))
        rows = -(-len(combinations) // columns)
        figure = new_figure(PAGE_WIDTH_IN, 1.1 + 2.7 * rows)
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for i, (ax, values) in enumerate(itertools.zip_longest(grid.ravel(), combinations)):
            if values is None:
                figure.delaxes(ax)
                continue
            part = table
            for name, value in zip(others, values, strict=True):
                part = part[part[name].astype(str) == value]
            plot_cell_means(part, ax, x=x, lines=lines, x_levels=levels[x], line_levels=line_levels)
            ax.set_title(", ".join(f"{short(n, 18)}: {short(v, 18)}" for n, v in zip(others, values, strict=True)))
            if i % columns:
                ax.set_ylabel("")
        if lines is not None:
            handles, labels = grid[0][0].get_legend_handles_labels()
            figure.legend(handles, labels, title=short(lines), loc="outside lower center", ncols=min(6, len(labels)))
        level = f"{100 * (1 - float(table['alpha'].iloc[0])):g} %"
        response = measure_name(str(table["response"].iloc[0]))
        figure.suptitle(f"Mean {response} with {level} interval · {_counts(table)}")
        return figure


def draw_effects(table: pd.DataFrame) -> Figure:
    """Draw the effect size of every comparison with its interval; of very many a panel for each pair of levels.

    Args:
        table: The contrasts of one analysis.

    Raises:
        AnalysisError: If there is none, or more than fit a page.
    """
    need(table, ["factor", "level_a", "level_b", "within", "effect_size"], "contrasts")
    table = table[table["effect_size"].notna()]
    if table.empty:
        raise AnalysisError("No comparison has an effect size", found="observations without spread")
    pairs = [_pair(row) for row in table.to_dict("records")]
    with styled():
        if len(table) <= _MOST_ROWS:
            figure = new_figure(PAGE_WIDTH_IN, 1.2 + _ROW_IN * max(len(table), 3))
            names = [
                f"{pair}{_place(row['within'])}" for pair, row in zip(pairs, table.to_dict("records"), strict=True)
            ]
            plot_effects(table, figure.subplots(), labels=[short(name, 60) for name in names])
        else:
            figure = _panels_of_pairs(table.assign(pair=pairs))
        kept = (table[f"p_{table['correction'].iloc[0]}"] < table["alpha"]).sum()
        corrected = {"holm": "Holm", "bh": "Benjamini-Hochberg"}[str(table["correction"].iloc[0])]
        level = f"{100 * (1 - float(table['alpha'].iloc[0])):g} %"
        figure.suptitle(
            f"Effect sizes with {level} intervals · {kept} of {len(table)} significant after {corrected} (filled)"
        )
        return figure


def draw_residuals(table: pd.DataFrame) -> Figure:
    """Draw the quantiles of the residuals against those of a normal distribution.

    Args:
        table: The residuals of one analysis.
    """
    with styled():
        figure = new_figure(4.6, 4.0)
        ax = figure.subplots()
        plot_residuals(table, ax)
        ax.legend(loc="upper left")
        ax.set_title(f"Residuals of the analysis of variance · n = {len(table)}")
        return figure


def draw_power(table: pd.DataFrame) -> Figure:
    """Draw how power rises with repetitions, for independent and for paired ones.

    Args:
        table: The power curves of one analysis.
    """
    need(table, ["design", "effect_size", "n", "power", "alpha"], "power_curve")
    names = {"two_sample": "two independent models", "paired": "pairs"}
    with styled():
        figure = new_figure(PAGE_WIDTH_IN, 3.2)
        designs = list(dict.fromkeys(table["design"]))
        for ax, design in zip(figure.subplots(1, len(designs), squeeze=False)[0], designs, strict=True):
            plot_power(table[table["design"] == design], ax)
            ax.set_title(names.get(str(design), str(design)))
            ax.set_xlabel("pairs" if design == "paired" else "repetitions of each model")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
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
    columns = min(4, len(pairs))
    rows = -(-len(pairs) // columns)
    figure = new_figure(PAGE_WIDTH_IN, 0.8 + rows * (0.7 + 0.17 * len(places)))
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for i, ax in enumerate(grid.ravel()):
        if i >= len(pairs):
            figure.delaxes(ax)
            continue
        part = table[table["pair"] == pairs[i]].set_index("within").reindex(places).reset_index()
        plot_effects(part, ax, labels=[short(str(place).split("=", 1)[-1], 20) for place in places])
        # An empty row is a comparison that could not be tested.
        ax.set_title(short(pairs[i], 24), fontsize=9)
        if i % columns:
            ax.tick_params(labelleft=False)
        else:
            ax.set_ylabel(short(str(places[0]).split("=", 1)[0]))
        if i // columns < rows - 1:
            ax.set_xlabel("")
    return figure


def _pair(row: dict[object, object]) -> str:
    return f"{row['factor']} {row['level_a']} – {row['level_b']}"


def _place(within: object) -> str:
    return f" ({within})" if within else ""


def _counts(table: pd.DataFrame) -> str:
    low, high = int(table["n"].min()), int(table["n"].max())
    return f"n = {low} a cell" if low == high else f"n = {low} to {high} a cell"
