"""A hyper-parameter search: the value of each trial, what each parameter did, and which of them mattered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from ser_probe.report.canvas import grid_shape, legend_below, new_panels
from ser_probe.report.measures import measure_name
from ser_probe.report.style import ACCENT, CLASS_COLOURS, GREY, PAGE_WIDTH_IN, short, styled
from ser_probe.report.tables import need

_STATES = {"complete": ("o", CLASS_COLOURS[0], "complete"), "pruned": ("x", GREY, "pruned (last value)")}
_COLUMNS = 2
_LABEL_CHARACTERS = 14
_MOST_TICKS = 6
# Digits that are named along a logarithmic axis of fewer decades than this, so that names do not touch.
_NAMED_DIGITS = ((1.5, (1.0, 2.0, 5.0)), (3.0, (1.0, 3.0)))


def plot_history(table: pd.DataFrame, ax: Axes, *, metric: str) -> Axes:
    """Draw the value of each trial and the best one so far. Pruned trials stand at their last value.

    Args:
        table: The search table: columns `trial`, `state`, `value`, `best_value`. Failed trials have no value.
        ax: Where to draw.
        metric: What the value is.
    """
    need(table, ["trial", "state", "value", "best_value"], "search")
    _draw_trials(table, ax, table["trial"])
    best = table.dropna(subset="best_value")
    ax.plot(best["trial"], best["best_value"], color=ACCENT, drawstyle="steps-post", label="best so far")
    ax.set(xlabel="trial", ylabel=f"{measure_name(metric)}\n(validation speakers)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def plot_parameter(table: pd.DataFrame, ax: Axes, *, parameter: str, metric: str, log: bool = False) -> Axes:
    """Draw the value of each trial against what it was tried with; the best complete trial is ringed.

    Args:
        table: The search table: columns `trial`, `state`, `value`, `best_value` and the parameter's.
        ax: Where to draw.
        parameter: The column. Where it holds text, each one that occurs has a place.
        metric: What the value is.
        log: Whether to draw orders of magnitude alike.
    """
    need(table, ["trial", "state", "value", "best_value", parameter], "search")
    column = table[parameter]
    if not pd.api.types.is_numeric_dtype(column):
        names = sorted(column.dropna().unique())
        column = column.map({name: place for place, name in enumerate(names)})
        ax.set_xticks(range(len(names)), labels=[short(name, _LABEL_CHARACTERS) for name in names])
        ax.set_xlim(-0.5, len(names) - 0.5)
    elif log:
        ax.set_xscale("log")
        _label_decades(ax, column)
    elif column.nunique() <= _MOST_TICKS and (column.dropna() % 1 == 0).all():
        places = sorted(column.dropna().unique())
        ax.set_xticks(places, labels=[f"{place:g}" for place in places])
    _draw_trials(table, ax, column)
    # The running best ends with the best value, whether it was minimised or maximised.
    best = table[(table["state"] == "complete") & table["value"].isin(table["best_value"].tail(1))].index[:1]
    ax.scatter(column[best], table["value"][best], s=110, facecolors="none", edgecolors=ACCENT, linewidths=1.6,
               label="best trial", zorder=4)  # fmt: skip
    ax.set(xlabel=parameter, ylabel=measure_name(metric))
    return ax


def plot_importance(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw each parameter's share of the variance between trials, the largest on top.

    Args:
        table: Columns `parameter`, `importance`.
        ax: Where to draw.
    """
    rows = need(table, ["parameter", "importance"], "search importance").sort_values("importance", kind="stable")
    bars = ax.barh([short(name) for name in rows["parameter"]], rows["importance"], color=CLASS_COLOURS[0], height=0.6)
    ax.bar_label(bars, fmt="%.2f", padding=3, fontsize=9)
    ax.set_xlim(0, 1.1)
    ax.grid(axis="y", visible=False)
    ax.set(xlabel="share of the variance between trials (fANOVA)", ylabel="")
    return ax


@styled()
def draw_history(table: pd.DataFrame, *, metric: str) -> Figure:
    """Draw the value of each trial in the order of the search; see `plot_history`."""
    figure, (ax,) = new_panels(PAGE_WIDTH_IN, 3.2)
    plot_history(table, ax, metric=metric)
    legend_below(figure, ax)
    counts = ", ".join(f"{count} {state}" for state, count in table["state"].value_counts().items())
    figure.suptitle(f"Search · {counts}")
    return figure


@styled()
def draw_parameters(table: pd.DataFrame, *, metric: str, parameters: Sequence[str], logs: Sequence[str] = ()) -> Figure:
    """Draw the values against each parameter, a panel each; see `plot_parameter`.

    Args:
        table: The search table.
        metric: What the value is.
        parameters: Columns of the table, at least one.
        logs: Those of them whose orders of magnitude are drawn alike.
    """
    n_rows, columns = grid_shape(len(parameters), _COLUMNS)
    figure, axes = new_panels(PAGE_WIDTH_IN, 2.8 * n_rows + 0.6, len(parameters), columns, sharey=True)
    for ax, parameter in zip(axes, parameters, strict=True):
        plot_parameter(table, ax, parameter=parameter, metric=metric, log=parameter in logs)
    for ax in axes[1::_COLUMNS]:
        ax.set_ylabel("")
    legend_below(figure, axes[0])
    figure.suptitle("Search · what each parameter did")
    return figure


@styled()
def draw_importance(table: pd.DataFrame) -> Figure:
    """Draw which parameters mattered; see `plot_importance`. With few trials this is a hint at most."""
    figure, (ax,) = new_panels(PAGE_WIDTH_IN, 1.4 + 0.4 * len(table))
    plot_importance(table, ax)
    figure.suptitle("Search · importance of the parameters")
    return figure


def _label_decades(ax: Axes, values: pd.Series) -> None:
    """Name the ticks of a logarithmic axis in plain figures: by default they are mathematical text, which is off."""
    decades = np.log10(values.max() / values.min())
    named = next((digits for most, digits in _NAMED_DIGITS if decades < most), (1.0,))
    ax.xaxis.set_major_locator(LogLocator(subs=named))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _draw_trials(table: pd.DataFrame, ax: Axes, x: pd.Series) -> None:
    for state, (marker, colour, label) in _STATES.items():
        rows = (table["state"] == state) & table["value"].notna()
        if rows.any():
            ax.scatter(x[rows], table["value"][rows], marker=marker, color=colour, s=34, label=label, zorder=3)
