"""Figures of acoustics: every functional before and after, what is lost and gained, the means of each group."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ser_probe.errors import AnalysisError
from ser_probe.report.acoustics.plots import (
    GROUP_ORDER,
    functional_order,
    group_colour,
    plot_functional_map,
    plot_group_controls,
    plot_ranking,
)
from ser_probe.report.canvas import add_colour_key, heading, new_figure
from ser_probe.report.geometry.plots import encoder_layers, encoder_steps, plot_lines_by_layer
from ser_probe.report.style import PAGE_WIDTH_IN, STEP_COLOURS, measure_name, styled
from ser_probe.report.tables import at_step, need, pick, step_name

_ROW_IN = 0.098
_MEAN_LAYER = "mean"
_SMALLEST_CHANGE = 0.05  # the colours of a figure without changes must not magnify rounding


def draw_acoustics_map(table: pd.DataFrame, *, measure: str = "r2") -> Figure:
    """Draw every functional's R2 from every layer, at the first and the last checkpoint, and the difference.

    Args:
        table: The acoustics table.
        measure: `r2` or `r2_within`.

    Raises:
        AnalysisError: If the table holds no checkpoint or not this measure.
    """
    with styled():
        rows = pick(table, "acoustics", measure=measure, control="none")
        layers, steps = encoder_layers(rows), _checked_steps(rows)
        functionals = functional_order(table[table["feature"].notna()])
        grids = {step: _grid(rows[rows["step"] == step], functionals, layers) for step in (steps[0], steps[-1])}
        differ = len(steps) > 1
        figure = new_figure(PAGE_WIDTH_IN, max(3.0, 1.3 + _ROW_IN * len(functionals)))
        axes = list(figure.subplots(1, 3 if differ else 1, squeeze=False)[0])
        top = max(0.05, float(np.nanmax([grid.to_numpy() for grid in grids.values()])))
        norm = Normalize(0, top)
        for ax, (step, grid) in zip(axes, grids.items(), strict=False):
            mesh = plot_functional_map(
                grid, ax, functionals=functionals, norm=norm, cmap="viridis", names=ax is axes[0]
            )
            ax.set_title(at_step(step), fontsize=9)
        bar = figure.colorbar(mesh, ax=axes[: len(grids)], location="bottom", aspect=40, pad=0.01, shrink=0.7)
        bar.set_label(f"{measure_name(measure)} (0 or less: darkest)", fontsize=9)
        if differ:
            _draw_difference(axes[2], grids[steps[-1]] - grids[steps[0]], functionals)
        for ax in axes:
            ax.set_xlabel("hidden layer", fontsize=9)
        _add_group_key(figure, functionals)
        figure.suptitle(heading(rows[rows["step"].notna()], f"{measure_name(measure)} of acoustic functionals"))
        return figure


def draw_acoustics_ranking(table: pd.DataFrame, *, measure: str = "r2", most: int = 12) -> Figure:
    """Draw the functionals that the last checkpoint lost and gained most, on the mean over layers.

    Args:
        table: The table of changes.
        measure: `r2` or `r2_within`.
        most: Functionals on each side.

    Raises:
        AnalysisError: If the table holds no mean over layers of this measure.
    """
    with styled():
        rows = pick(table, "acoustics_changes", measure=measure, layer=_MEAN_LAYER)
        rows = rows[(rows["step"] == rows["step"].max()) & (rows["flag"] == "")]
        columns = ["value", "ci_low", "ci_high", "p_holm"]
        ranked = rows.groupby(["feature", "group"], sort=False)[columns].mean().reset_index().dropna(subset=["value"])
        if ranked.empty:
            raise AnalysisError("No functional has a change to rank", expected=f"changes of {measure} without a flag")
        ranked = ranked.sort_values("value", kind="stable")
        lost, gained = ranked[ranked["value"] < 0].head(most), ranked[ranked["value"] > 0].tail(most).iloc[::-1]
        sides = [(title, part) for title, part in (("lost most", lost), ("gained most", gained)) if len(part)]
        figure = new_figure(PAGE_WIDTH_IN, 1.3 + 0.22 * max(len(part) for _, part in sides))
        axes = list(figure.subplots(1, len(sides), sharex=True, squeeze=False)[0])
        for ax, (title, part) in zip(axes, sides, strict=True):
            plot_ranking(part, ax)
            ax.set_title(title, fontsize=9)
            ax.set_xlabel(f"change of {measure_name(measure)}\n(mean over layers)", fontsize=9)
        _add_group_key(figure, ranked)
        step = int(rows["step"].iloc[0])
        figure.suptitle(heading(rows, f"What fine-tuning lost and gained by step {step}"))
        return figure


def draw_acoustics_groups(table: pd.DataFrame) -> Figure:
    """Draw the mean R2 of each group of functionals per layer, with its controls, above the CKA with the group.

    Args:
        table: The table of group means.

    Raises:
        AnalysisError: If the table holds no checkpoint.
    """
    with styled():
        need(table, ["step", "layer", "group", "control", "measure", "value"], "acoustics_groups")
        layers, steps = encoder_layers(table), _checked_steps(table)
        present = set(table["group"])
        groups = [name for name in ("all", *GROUP_ORDER, *sorted(present - {"all", *GROUP_ORDER})) if name in present]
        measures = [name for name in ("r2", "r2_within", "cka_debiased") if name in set(table["measure"])]
        figure = new_figure(PAGE_WIDTH_IN, 1.1 + 1.55 * len(measures))
        grid = figure.subplots(len(measures), len(groups), sharex=True, sharey="row", squeeze=False)
        for axes, measure in zip(grid, measures, strict=True):
            for ax, group in zip(axes, groups, strict=True):
                rows = table[(table["group"] == group) & (table["measure"] == measure) & (table["control"] == "none")]
                plot_lines_by_layer(rows, ax, layers=layers, steps=steps)
                plot_group_controls(table, ax, group=group, measure=measure, layers=layers)
                ax.tick_params(labelsize=9)
            axes[0].set_ylabel("CKA (debiased)" if measure == "cka_debiased" else measure_name(measure), fontsize=9)
        for ax, group in zip(grid[0], groups, strict=True):
            ax.set_title("all functionals" if group == "all" else group, fontsize=9)
        for ax in grid[-1]:
            ax.set_xlabel("hidden layer", fontsize=9)
        add_colour_key(list(grid.ravel()), [step_name(step) for step in steps], "fine-tuning step", STEP_COLOURS)
        _add_control_key(figure, grid[0][0])
        figure.suptitle(heading(table[table["step"].notna()], "Acoustic functionals, means of each group"))
        return figure


def _grid(rows: pd.DataFrame, functionals: pd.DataFrame, layers: list[str]) -> pd.DataFrame:
    values = rows.pivot_table(index="feature", columns="layer", values="value", aggfunc="mean", dropna=False)
    return values.reindex(index=functionals["feature"], columns=layers)


def _draw_difference(ax: Axes, values: pd.DataFrame, functionals: pd.DataFrame) -> None:
    limit = max(_SMALLEST_CHANGE, float(np.nanmax(np.abs(values.to_numpy(dtype=float)))))
    mesh = plot_functional_map(values, ax, functionals=functionals, norm=TwoSlopeNorm(0, -limit, limit), cmap="RdBu")
    ax.set_title("change", fontsize=9)
    bar = ax.figure.colorbar(mesh, ax=ax, location="bottom", aspect=18, pad=0.01)
    bar.set_label("red: lost, blue: gained", fontsize=9)


def _add_group_key(figure: Figure, functionals: pd.DataFrame) -> None:
    present = [str(group) for group in functionals["group"].drop_duplicates()]
    groups = [name for name in (*GROUP_ORDER, *sorted(set(present) - set(GROUP_ORDER))) if name in present]
    handles = [Line2D([], [], color=group_colour(name), linewidth=5, label=name) for name in groups]
    if "flag" in functionals and (functionals["flag"] != "").any():
        handles.append(Line2D([], [], linestyle="none", label="† few clips decide, or constant"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), handlelength=1.4, columnspacing=1.4)


def _add_control_key(figure: Figure, ax: Axes) -> None:
    known = ("clips shuffled", "random weights", "gender alone")
    found = [(h, name) for h, name in zip(*ax.get_legend_handles_labels(), strict=True) if name in known]
    if found:
        figure.legend(*zip(*found, strict=True), loc="outside lower center", ncols=len(found))


def _checked_steps(table: pd.DataFrame) -> list[int]:
    steps = encoder_steps(table)
    if not steps:
        raise AnalysisError("The table of acoustics holds no checkpoint", expected="rows with a step")
    return steps
