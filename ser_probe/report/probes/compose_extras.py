"""Figures about what probes need and where they still work: code lengths, learning curves, transfer, directions."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ser_probe.report.canvas import add_colour_key, add_step_legend, heading, new_figure
from ser_probe.report.probes.plots_extras import (
    ALIGNMENT_TITLES,
    plot_compression,
    plot_corpus_transfer,
    plot_direction_cosines,
    plot_learning,
    plot_transfer,
)
from ser_probe.report.style import GREY, PAGE_WIDTH_IN, STEP_COLOURS, line_colours, measure_name, short, styled
from ser_probe.report.tables import at_step, layer_order, need, pick, step_name, step_order


def draw_description_length(table: pd.DataFrame) -> Figure:
    """Draw the compression of the labels by each layer, a line per checkpoint.

    Raises:
        AnalysisError: If the table is empty or lacks columns.
    """
    with styled():
        rows = pick(table, "probe_description_length", measure="compression")
        figure = new_figure(PAGE_WIDTH_IN, 3.6)
        ax = figure.subplots()
        plot_compression(rows, ax)
        add_step_legend(ax, step_order(rows["step"]))
        ax.set_title(
            heading(rows, f"Online code of {_target(rows)}") + f" · at most {rows['ceiling'].mean():.2g} can be reached"
        )
        return figure


def draw_learning_curves(table: pd.DataFrame, *, measure: str = "uar") -> Figure:
    """Draw the learning curves of the first, a middle and the last layer, at the first and the last checkpoint.

    Raises:
        AnalysisError: If the table is empty or lacks the measure.
    """
    with styled():
        rows = pick(table, "probe_curve", measure=measure)
        layers, steps = layer_order(rows["layer"]), step_order(rows["step"])
        shown = list(dict.fromkeys([layers[0], layers[len(layers) // 2], layers[-1]]))
        ends = list(dict.fromkeys([steps[0], steps[-1]]))
        figure = new_figure(PAGE_WIDTH_IN, 3.2)
        axes = list(figure.subplots(1, len(shown), sharex=True, sharey=True, squeeze=False)[0])
        for ax, layer in zip(axes, shown, strict=True):
            plot_learning(rows[(rows["layer"] == layer) & rows["step"].isin(ends)], ax, measure=measure)
            ax.set_title(f"layer {layer}")
            ax.label_outer()
        colours = line_colours(len(ends), STEP_COLOURS)
        handles = [Line2D([], [], color=colour, marker="o", markersize=3) for colour in colours]
        handles += [Line2D([], [], color=GREY, linestyle=style) for style in ("-", "--")]
        names = [*(at_step(step) for step in ends), "fewer speakers", "fewer clips of each speaker"]
        figure.legend(handles, names, loc="outside lower center", ncols=len(names))
        figure.suptitle(heading(rows, f"Learning curves of {_target(rows)}"))
        return figure


def draw_transfer(table: pd.DataFrame, *, measure: str = "uar") -> Figure:
    """Draw probes of the first checkpoint applied to later ones and back, under each alignment.

    Raises:
        AnalysisError: If the table is empty or lacks the measure.
    """
    with styled():
        rows = pick(table, "probe_transfer", measure=measure)
        steps = step_order(rows["tested_step"])
        shown = [name for name in ALIGNMENT_TITLES if (rows["alignment"] == name).any()]
        figure = new_figure(PAGE_WIDTH_IN, 5.2)
        grid = figure.subplots(2, len(shown), sharex=True, sharey=True, squeeze=False)
        for axes, to_later in zip(grid, (True, False), strict=True):
            for ax, alignment in zip(axes, shown, strict=True):
                plot_transfer(rows, ax, alignment=alignment, to_later=to_later, measure=measure)
                if to_later:
                    ax.set_title(ALIGNMENT_TITLES[alignment])
                _hide_inner_names(ax)
            way = f"step {steps[0]} to later" if to_later else f"later to step {steps[0]}"
            axes[0].set_ylabel(f"{measure_name(measure).replace(' average', chr(10) + 'average')}\n{way}")
        names = [step_name(step) for step in steps]
        add_colour_key(list(grid.ravel()), names, "the later checkpoint's step", STEP_COLOURS)
        band = grid[0, 0].get_legend_handles_labels()
        place = band[1].index("probe of the tested checkpoint itself")
        figure.legend([band[0][place]], [band[1][place]], loc="outside lower center")
        figure.suptitle(heading(rows, f"Probes of {_target(rows)} at another checkpoint"))
        return figure


def draw_directions(table: pd.DataFrame) -> Figure:
    """Draw how alike the class directions of the first and each later checkpoint are, between ceiling and null.

    Raises:
        AnalysisError: If the table is empty or holds one checkpoint only.
    """
    with styled():
        rows = need(table, ["step_a", "step_b", "layer", "value"], "probe_directions")
        steps = step_order(pd.concat([rows["step_a"], rows["step_b"]]))
        figure = new_figure(PAGE_WIDTH_IN, 3.6)
        ax = figure.subplots()
        plot_direction_cosines(rows, ax)
        add_step_legend(ax, steps)
        ax.set_title(heading(rows.drop(columns="n"), f"Probe directions of step {steps[0]} and later"))
        return figure


def draw_corpus_transfer(table: pd.DataFrame, *, measure: str = "uar") -> Figure:
    """Draw, per tested corpus, probes trained on each corpus, at the first and the last checkpoint.

    Raises:
        AnalysisError: If the table is empty or lacks the measure.
    """
    with styled():
        rows = pick(table, "probe_corpus_transfer", measure=measure)
        steps = step_order(rows["step"])
        ends = list(dict.fromkeys([steps[0], steps[-1]]))
        corpora = sorted(rows["tested_on"].unique())
        figure = new_figure(PAGE_WIDTH_IN, 0.8 + 2.3 * len(ends))
        grid = figure.subplots(len(ends), len(corpora), sharex=True, sharey=True, squeeze=False)
        for axes, step in zip(grid, ends, strict=True):
            for ax, corpus in zip(axes, corpora, strict=True):
                plot_corpus_transfer(rows, ax, tested_on=corpus, step=step, measure=measure)
                if ax.get_subplotspec().is_first_row():  # type: ignore[union-attr]
                    ax.set_title(f"tested on {short(corpus, 18)}")
                ax.set_ylabel(f"{measure_name(measure).replace(' average', chr(10) + 'average')}\n{at_step(step)}")
                _hide_inner_names(ax)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, [short(name, 18) for name in labels], title="trained on", loc="outside lower center",
                      ncols=min(4, len(labels)))  # fmt: skip
        figure.suptitle(heading(rows.drop(columns="n"), f"Probes of {_target(rows)} on another corpus"))
        return figure


def _target(rows: pd.DataFrame) -> str:
    return ", ".join(short(name) for name in rows["target"].drop_duplicates()) if "target" in rows else "labels"


def _hide_inner_names(ax: Axes) -> None:
    """Show what an axis is called only where no panel with the same axis lies further out."""
    place = ax.get_subplotspec()
    assert place is not None
    ax.xaxis.label.set_visible(place.is_last_row())
    ax.yaxis.label.set_visible(place.is_first_col())
    ax.tick_params(labelbottom=place.is_last_row(), labelleft=place.is_first_col())
