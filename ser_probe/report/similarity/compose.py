"""Figures of similarity beyond one measure of one model: measures side by side, groups of functionals, two models."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser_probe.errors import NothingToDrawError
from ser_probe.report.canvas import heading, new_figure
from ser_probe.report.similarity.plots import (
    DISTANCES,
    add_colour_bar,
    colour_limits,
    main_measure,
    plot_layer_checkpoint_map,
    plot_layer_matrix,
    rows_of_measure,
    with_functional_group,
)
from ser_probe.report.style import PAGE_WIDTH_IN, measure_name, short, styled, thin_labels
from ser_probe.report.tables import layer_order, step_order, with_acoustics

GROUPS = ("frequency", "energy", "spectral", "temporal")
_COLUMNS = 3
# More than this many measures or matrices make a figure higher than a page.
_MOST_MEASURES, _MOST_MATRICES = 9, 6


def draw_functional_groups(table: pd.DataFrame, *, measure: str | None = None) -> Figure:
    """Draw layer x checkpoint heat maps of the similarity with each group of functionals, on one scale.

    Args:
        table: The similarity table.
        measure: Which measure; the main one by default.

    Raises:
        NothingToDrawError: If the table holds no comparison with groups of functionals.
    """
    with styled():
        rows = with_functional_group(table)
        if rows.empty:
            raise NothingToDrawError(
                "The similarity table holds no comparison with groups of functionals",
                expected="rows with layer_b such as functionals:spectral",
                found=", ".join(repr(name) for name in table["layer_b"].drop_duplicates().head(8)),
            )
        rows = rows_of_measure(rows, measure)
        groups = [*(name for name in GROUPS if name in set(rows["group"]))]
        layers, steps = layer_order(rows["layer_a"]), step_order(rows["step_a"])
        limits = colour_limits(rows["value"])
        figure = new_figure(PAGE_WIDTH_IN, max(3.4, 1.6 + 0.22 * len(layers)))
        axes = list(figure.subplots(1, len(groups), sharey=True, squeeze=False)[0])
        fits = len(steps) <= 12 // len(groups)
        for ax, group in zip(axes, groups, strict=True):
            plot_layer_checkpoint_map(rows[rows["group"] == group], ax, limits=limits, numbers=fits)
            thin_labels(ax.xaxis, most=4)
            ax.set_title(group)
            ax.set_xlabel("step" if len(groups) > 2 else "fine-tuning step")
        for ax in axes[1:]:
            ax.set_ylabel("")
        add_colour_bar(axes, limits, f"{measure_name(rows['measure'].iloc[0])} (no unit)", below=True)
        figure.suptitle(heading(rows, "Similarity to groups of functionals", "model_a"))
        return figure


def draw_measures(table: pd.DataFrame) -> Figure:
    """Draw layer x checkpoint heat maps of several measures of the similarity with acoustic features.

    Each has its own scale: measures differ in range, and of distances small is alike. Biased CKA is left out: it has a
    figure of its own, beside its baseline.

    Args:
        table: The similarity table.

    Raises:
        NothingToDrawError: If the table holds fewer than two measures of it.
    """
    with styled():
        rows = with_acoustics(table)
        rows = rows[(rows["measure"] != "cka") & rows["value"].notna()]
        found = list(rows["measure"].drop_duplicates())
        names = found[:_MOST_MEASURES]
        if len(names) < 2:
            raise NothingToDrawError(
                "Fewer than two measures cannot be set side by side",
                expected="two measures or more beside biased CKA",
                found=", ".join(names) or "none",
            )
        layers = layer_order(rows["layer_a"])
        across = min(_COLUMNS, len(names))
        down = -(-len(names) // across)
        figure = new_figure(PAGE_WIDTH_IN, 0.8 + down * max(2.4, 1.2 + 0.14 * len(layers)))
        grid = figure.subplots(down, across, squeeze=False, sharey=True)
        flat: list[Axes] = list(grid.ravel())
        for ax, name in zip(flat, names, strict=False):
            part = rows[rows["measure"] == name]
            limits = colour_limits(part["value"])
            plot_layer_checkpoint_map(part, ax, limits=limits, numbers=False)
            thin_labels(ax.xaxis, most=5)
            thin_labels(ax.yaxis, most=10)
            ax.set_title(measure_name(name))
            ax.set_xlabel("step")
            add_colour_bar([ax], limits, "small is alike" if name in DISTANCES else "large is alike")
        for place, ax in enumerate(flat):
            if place >= len(names):
                ax.remove()
            elif place % across:
                ax.set_ylabel("")
        count = "several" if names == found else f"{len(names)} of {len(found)}"
        figure.suptitle(heading(rows, f"Similarity to eGeMAPS by {count} measures", "model_a"))
        return figure


def draw_models(table: pd.DataFrame, *, measure: str | None = None) -> Figure:
    """Draw the similarity of the layers of one model with those of another, a panel for each pair of checkpoints.

    Args:
        table: The similarity table.
        measure: Which measure; the main one by default.

    Raises:
        NothingToDrawError: If the table holds no comparison between two models.
    """
    with styled():
        between = table[
            (table["model_a"] != table["model_b"])
            & ~table["layer_b"].astype(str).str.startswith("functionals")
            & ~table["layer_a"].astype(str).str.startswith("functionals")
        ]
        if between.empty:
            raise NothingToDrawError(
                "The similarity table holds no comparison between two models",
                expected="rows whose model_a and model_b differ",
                found=", ".join(short(name) for name in table["model_a"].drop_duplicates()),
            )
        rows = rows_of_measure(between, measure or main_measure(between))
        keys = ["model_a", "checkpoint_a", "model_b", "checkpoint_b"]
        parts = [(names, part) for names, part in rows.groupby(keys, sort=False, dropna=False)]
        shown = parts if len(parts) <= _MOST_MATRICES else [*parts[: _MOST_MATRICES - 1], parts[-1]]
        limits = colour_limits(pd.concat([part["value"] for _, part in shown]))
        across = min(_COLUMNS, len(shown))
        down = -(-len(shown) // across)
        figure = new_figure(PAGE_WIDTH_IN if across > 1 else 4.6, 1.3 + down * (3.6 if across < _COLUMNS else 2.5))
        flat: list[Axes] = list(figure.subplots(down, across, squeeze=False).ravel())
        for ax, (names, part) in zip(flat, shown, strict=False):
            plot_layer_matrix(part, ax, limits=limits)
            thin_labels(ax.xaxis, most=6)
            thin_labels(ax.yaxis, most=9)
            model_a, checkpoint_a, model_b, checkpoint_b = (short(name, 24) for name in names)
            ax.set(xlabel=f"{model_a}\n{checkpoint_a}".strip(), ylabel=f"{model_b}\n{checkpoint_b}".strip())
        for ax in flat[len(shown) :]:
            ax.remove()
        add_colour_bar(flat[: len(shown)], limits, f"{measure_name(rows['measure'].iloc[0])} (no unit)", below=True)
        title = "Similarity between models"
        if len(shown) < len(parts):
            title += f", {len(shown)} of {len(parts)} pairs of checkpoints"
        figure.suptitle(heading(rows, title, "none"))
        return figure
