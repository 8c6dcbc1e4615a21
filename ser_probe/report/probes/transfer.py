"""Probes at another checkpoint and on another corpus, and whether their directions have turned."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser_probe.report.canvas import (
    add_colour_key,
    add_step_legend,
    heading,
    legend_below,
    name_places,
    new_figure,
    new_panels,
)
from ser_probe.report.layer_lines import plot_lines_by_layer
from ser_probe.report.measures import measure_name
from ser_probe.report.probes.scores import target_names
from ser_probe.report.style import (
    ACCENT,
    CORPUS_COLOURS,
    GREY,
    MID_GREY,
    PAGE_WIDTH_IN,
    PALE,
    STEP_COLOURS,
    line_colours,
    short,
    styled,
)
from ser_probe.report.tables import at_step, first_and_last, layer_order, need, pick, step_name, step_order

_ALIGNMENTS = {"none": "as they are", "scaled": "mean and scale matched", "rotated": "best rotation first"}
_TESTED_ITSELF = "probe of the tested checkpoint itself"


@styled()
def draw_transfer(table: pd.DataFrame, *, measure: str = "uar") -> Figure:
    """Draw probes of the first checkpoint applied to later ones and back, under each alignment.

    Raises:
        AnalysisError: If the table is empty or lacks the measure.
    """
    rows = pick(table, "probe_transfer", measure=measure)
    steps = step_order(rows["tested_step"])
    shown = [name for name in _ALIGNMENTS if (rows["alignment"] == name).any()]
    figure = new_figure(PAGE_WIDTH_IN, 5.2)
    grid = figure.subplots(2, len(shown), sharex=True, sharey=True, squeeze=False)
    for axes, to_later in zip(grid, (True, False), strict=True):
        for ax, alignment in zip(axes, shown, strict=True):
            plot_transfer(rows, ax, alignment=alignment, to_later=to_later, measure=measure)
            if to_later:
                ax.set_title(_ALIGNMENTS[alignment])
            _hide_inner_names(ax)
        way = f"step {steps[0]} to later" if to_later else f"later to step {steps[0]}"
        axes[0].set_ylabel(f"{_on_two_lines(measure)}\n{way}")
    names = [step_name(step) for step in steps]
    add_colour_key(list(grid.ravel()), names, "the later checkpoint's step", STEP_COLOURS)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend([handles[labels.index(_TESTED_ITSELF)]], [_TESTED_ITSELF], loc="outside lower center")
    figure.suptitle(heading(rows, f"Probes of {target_names(rows)} at another checkpoint"))
    return figure


@styled()
def draw_directions(table: pd.DataFrame) -> Figure:
    """Draw how alike the class directions of the first and each later checkpoint are, between ceiling and null.

    Raises:
        AnalysisError: If the table is empty or holds one checkpoint only.
    """
    rows = need(table, ["step_a", "step_b", "layer", "value"], "probe_directions")
    steps = step_order(pd.concat([rows["step_a"], rows["step_b"]]))
    figure, (ax,) = new_panels(PAGE_WIDTH_IN, 3.6)
    plot_direction_cosines(rows, ax)
    add_step_legend(ax, steps)
    ax.set_title(heading(rows.drop(columns="n"), f"Probe directions of step {steps[0]} and later"))
    return figure


@styled()
def draw_corpus_transfer(table: pd.DataFrame, *, measure: str = "uar") -> Figure:
    """Draw, per tested corpus, probes trained on each corpus, at the first and the last checkpoint.

    Raises:
        AnalysisError: If the table is empty or lacks the measure.
    """
    rows = pick(table, "probe_corpus_transfer", measure=measure)
    steps, corpora = first_and_last(step_order(rows["step"])), sorted(rows["tested_on"].unique())
    figure = new_figure(PAGE_WIDTH_IN, 0.8 + 2.3 * len(steps))
    grid = figure.subplots(len(steps), len(corpora), sharex=True, sharey=True, squeeze=False)
    for axes, step in zip(grid, steps, strict=True):
        for ax, corpus in zip(axes, corpora, strict=True):
            plot_corpus_transfer(rows, ax, tested_on=corpus, step=step, measure=measure)
            ax.set_ylabel(f"{_on_two_lines(measure)}\n{at_step(step)}")
            _hide_inner_names(ax)
    for ax, corpus in zip(grid[0], corpora, strict=True):
        ax.set_title(f"tested on {short(corpus, 18)}")
    legend_below(figure, grid[0, 0], 4, longest=18, title="trained on")
    figure.suptitle(heading(rows.drop(columns="n"), f"Probes of {target_names(rows)} on another corpus"))
    return figure


def _on_two_lines(measure: str) -> str:
    return measure_name(measure).replace(" average", "\naverage")


def _hide_inner_names(ax: Axes) -> None:
    """Name axes only in the first column and the last row of panels."""
    place = ax.get_subplotspec()
    assert place is not None
    ax.xaxis.label.set_visible(place.is_last_row())
    ax.yaxis.label.set_visible(place.is_first_col())
    ax.tick_params(labelbottom=place.is_last_row(), labelleft=place.is_first_col())


def plot_transfer(table: pd.DataFrame, ax: Axes, *, alignment: str, to_later: bool, measure: str = "uar") -> Axes:
    """Draw what probes reach at a checkpoint that they were not trained at, per layer; a line per later checkpoint.

    Args:
        table: Columns `trained_step`, `tested_step`, `layer`, `alignment`, `measure`, `value`, `own_value`.
        ax: Where to draw.
        alignment: `none`, `scaled` or `rotated`.
        to_later: Probes of the first checkpoint applied to later ones; else those of later ones applied to the first.
        measure: Which measure.
    """
    rows = need(table, ["trained_step", "tested_step", "layer", "alignment", "value", "own_value"], "probe_transfer")
    rows = rows[rows["measure"] == measure]
    first = step_order(rows["trained_step"])[0]
    fixed, moving = ("trained_step", "tested_step") if to_later else ("tested_step", "trained_step")
    chosen = rows[(rows["alignment"] == alignment) & (rows[fixed] == first) & (rows[moving] != first)]
    layers = layer_order(rows["layer"])
    steps = step_order(rows["tested_step"])
    reachable = chosen.groupby("layer")["own_value"].agg(["min", "max"]).reindex(layers)
    ax.fill_between(range(len(layers)), reachable["min"], reachable["max"], color=MID_GREY, alpha=0.6, linewidth=1,
                    edgecolor=GREY, label=_TESTED_ITSELF)  # fmt: skip
    means = chosen.assign(step=chosen[moving])[["step", "layer", "value"]]
    plot_lines_by_layer(means, ax, layers=layers, steps=steps)
    name_places(ax, layers, 5, margin=0.5)
    ax.set_xlabel("hidden layer")
    return ax


def plot_direction_cosines(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the cosine between class directions of the first and each later checkpoint, per layer.

    Args:
        table: Columns `step_a`, `step_b`, `layer`, `class`, `value`, `ceiling`, `null`.
        ax: Where to draw.
    """
    rows = need(table, ["step_a", "step_b", "layer", "class", "value", "ceiling", "null"], "probe_directions")
    steps = step_order(pd.concat([rows["step_a"], rows["step_b"]]))
    layers = layer_order(rows["layer"])
    from_first = rows[(rows["step_a"] == steps[0]) & (rows["step_b"] != steps[0])]
    means = from_first.groupby("layer")[["ceiling", "null"]].mean().reindex(layers)
    ax.fill_between(range(len(layers)), -means["null"], means["null"], color=PALE, linewidth=0,
                    label="95 % with shuffled labels")  # fmt: skip
    ax.plot(range(len(layers)), means["ceiling"], color=ACCENT, linestyle="--", linewidth=1.2,
            label="two seeds of one checkpoint")  # fmt: skip
    cosines = from_first.assign(step=from_first["step_b"])[["step", "layer", "value"]]
    plot_lines_by_layer(cosines, ax, layers=layers, steps=steps)
    ax.axhline(0, color=GREY, linewidth=0.8)
    name_places(ax, layers, 17, margin=0.5)
    ax.set(xlabel="hidden layer", ylabel="cosine (mean over classes)")
    return ax


def plot_corpus_transfer(table: pd.DataFrame, ax: Axes, *, tested_on: str, step: int, measure: str = "uar") -> Axes:
    """Draw the scores on one corpus of probes trained on each, per layer, at one checkpoint.

    Args:
        table: Columns `trained_on`, `tested_on`, `step`, `layer`, `measure`, `value`.
        ax: Where to draw.
        tested_on: The corpus.
        step: The checkpoint.
        measure: Which measure.
    """
    rows = need(table, ["trained_on", "tested_on", "step", "layer", "measure", "value"], "probe_corpus_transfer")
    rows = rows[(rows["measure"] == measure) & (rows["tested_on"] == tested_on) & (rows["step"] == step)]
    layers, corpora = layer_order(rows["layer"]), sorted(table["trained_on"].unique())
    for corpus, colour in zip(corpora, line_colours(len(corpora), CORPUS_COLOURS), strict=True):
        value = rows[rows["trained_on"] == corpus].set_index("layer")["value"].reindex(layers)
        ax.plot(range(len(layers)), value, color=colour, marker="o", markersize=3, label=str(corpus))
    name_places(ax, layers, 8, margin=0.5)
    ax.set_xlabel("hidden layer")
    return ax
