"""The figures of acoustics: every functional before and after, what is lost and gained, the means of each group."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ser_probe.errors import AnalysisError
from ser_probe.report.acoustics.plots import (
    functional_order,
    group_colour,
    group_order,
    plot_functional_map,
    plot_group_controls,
    plot_ranking,
)
from ser_probe.report.canvas import add_colour_key, heading, name_places, new_figure, new_panels
from ser_probe.report.corpora.figures import CORPORA_CAPTION, draw_acoustics_corpora
from ser_probe.report.figure_specs import FigureSpec
from ser_probe.report.layer_lines import encoder_layers, plot_lines_by_layer, require_steps
from ser_probe.report.measures import measure_name, short_measure_name
from ser_probe.report.style import CHANGE_COLOURS, HEAT_COLOURS, PAGE_WIDTH_IN, STEP_COLOURS, styled
from ser_probe.report.tables import at_step, first_and_last, need, pick, step_name

_ROW_IN = 0.098
_MEAN_LAYER = "mean"
_SMALLEST_CHANGE = 0.05  # the colours of a figure without changes must not magnify rounding
_TABLE = "The table of acoustics"
_CONTROLS = ("clips shuffled", "random weights", "gender alone")


@styled()
def draw_acoustics_map(table: pd.DataFrame, *, measure: str = "r2") -> Figure:
    """Draw every functional's R2 from every layer, at the first and the last checkpoint, and the difference.

    Args:
        table: The acoustics table.
        measure: `r2` or `r2_within`.

    Raises:
        AnalysisError: If the table holds no checkpoint or not this measure.
    """
    rows = pick(table, "acoustics", measure=measure, control="none")
    layers, steps = encoder_layers(rows), first_and_last(require_steps(rows, _TABLE))
    functionals = functional_order(table[table["feature"].notna()])
    grids = [_grid(rows[rows["step"] == step], functionals, layers) for step in steps]
    figure, axes = new_panels(PAGE_WIDTH_IN, max(3.0, 1.3 + _ROW_IN * len(functionals)), 3 if len(steps) > 1 else 1)
    norm = Normalize(0, max(0.05, float(np.nanmax([grid.to_numpy() for grid in grids]))))
    for ax, step, grid in zip(axes, steps, grids, strict=False):
        mesh = plot_functional_map(grid, ax, functionals=functionals, norm=norm, cmap=HEAT_COLOURS, names=ax is axes[0])
        ax.set_title(at_step(step), fontsize=9)
    bar = figure.colorbar(mesh, ax=axes[: len(steps)], location="bottom", aspect=40, pad=0.01, shrink=0.7)
    bar.set_label(f"{measure_name(measure)} (0 or less: darkest)", fontsize=9)
    if len(steps) > 1:
        _draw_difference(axes[2], grids[1] - grids[0], functionals)
    for ax in axes:
        ax.set_xlabel("hidden layer", fontsize=9)
    _add_group_key(figure, functionals)
    figure.suptitle(heading(rows[rows["step"].notna()], f"{measure_name(measure)} of acoustic functionals"))
    return figure


@styled()
def draw_acoustics_ranking(table: pd.DataFrame, *, measure: str = "r2", most: int = 12) -> Figure:
    """Draw the functionals that the last checkpoint lost and gained most, on the mean over layers.

    Args:
        table: The table of changes.
        measure: `r2` or `r2_within`.
        most: Functionals on each side.

    Raises:
        AnalysisError: If the table holds no mean over layers of this measure.
    """
    rows = pick(table, "acoustics_changes", measure=measure, layer=_MEAN_LAYER)
    rows = rows[(rows["step"] == rows["step"].max()) & (rows["flag"] == "")]
    columns = ["value", "ci_low", "ci_high", "p_holm"]
    ranked = rows.groupby(["feature", "group"], sort=False)[columns].mean().reset_index().dropna(subset=["value"])
    if ranked.empty:
        raise AnalysisError("No functional has a change to rank", expected=f"changes of {measure} without a flag")
    ranked = ranked.sort_values("value", kind="stable")
    lost, gained = ranked[ranked["value"] < 0].head(most), ranked[ranked["value"] > 0].tail(most).iloc[::-1]
    sides = [(title, part) for title, part in (("lost most", lost), ("gained most", gained)) if len(part)]
    height_in = 1.3 + 0.22 * max(len(part) for _, part in sides)
    figure, axes = new_panels(PAGE_WIDTH_IN, height_in, len(sides), sharex=True)
    for ax, (title, part) in zip(axes, sides, strict=True):
        plot_ranking(part, ax)
        ax.set_title(title, fontsize=9)
        ax.set_xlabel(f"change of {measure_name(measure)}\n(mean over layers)", fontsize=9)
    _add_group_key(figure, ranked)
    figure.suptitle(heading(rows, f"What fine-tuning lost and gained by step {int(rows['step'].iloc[0])}"))
    return figure


@styled()
def draw_acoustics_groups(table: pd.DataFrame) -> Figure:
    """Draw the mean R2 of each group of functionals per layer, with its controls, above the CKA with the group.

    Raises:
        AnalysisError: If the table holds no checkpoint.
    """
    need(table, ["step", "layer", "group", "control", "measure", "value"], "acoustics_groups")
    layers, steps = encoder_layers(table), require_steps(table, _TABLE)
    groups = group_order(table["group"], first="all")
    measures = [name for name in ("r2", "r2_within", "cka_debiased") if name in set(table["measure"])]
    figure = new_figure(PAGE_WIDTH_IN, 1.1 + 1.55 * len(measures))
    grid = figure.subplots(len(measures), len(groups), sharex=True, sharey="row", squeeze=False)
    for axes, measure in zip(grid, measures, strict=True):
        for ax, group in zip(axes, groups, strict=True):
            rows = table[(table["group"] == group) & (table["measure"] == measure) & (table["control"] == "none")]
            plot_lines_by_layer(rows, ax, layers=layers, steps=steps, small=True)
            name_places(ax, layers, 5, margin=0.5)
            plot_group_controls(table, ax, group=group, measure=measure, layers=layers)
            ax.tick_params(labelsize=9)
        axes[0].set_ylabel(short_measure_name(measure), fontsize=9)
    for ax, group in zip(grid[0], groups, strict=True):
        ax.set_title("all functionals" if group == "all" else group, fontsize=9)
    for ax in grid[-1]:
        ax.set_xlabel("hidden layer", fontsize=9)
    add_colour_key(list(grid.ravel()), [step_name(step) for step in steps], "fine-tuning step", STEP_COLOURS)
    lines = zip(*grid[0][0].get_legend_handles_labels(), strict=True)
    if controls := [(handle, name) for handle, name in lines if name in _CONTROLS]:
        figure.legend(*zip(*controls, strict=True), loc="outside lower center", ncols=len(controls))
    figure.suptitle(heading(table[table["step"].notna()], "Acoustic functionals, means of each group"))
    return figure


def _grid(rows: pd.DataFrame, functionals: pd.DataFrame, layers: list[str]) -> pd.DataFrame:
    values = rows.pivot_table(index="feature", columns="layer", values="value", aggfunc="mean", dropna=False)
    return values.reindex(index=functionals["feature"], columns=layers)


def _draw_difference(ax: Axes, values: pd.DataFrame, functionals: pd.DataFrame) -> None:
    limit = max(_SMALLEST_CHANGE, float(np.nanmax(np.abs(values.to_numpy(dtype=float)))))
    norm = TwoSlopeNorm(0, -limit, limit)
    mesh = plot_functional_map(values, ax, functionals=functionals, norm=norm, cmap=CHANGE_COLOURS)
    ax.set_title("change", fontsize=9)
    bar = ax.figure.colorbar(mesh, ax=ax, location="bottom", aspect=18, pad=0.01)
    bar.set_label("red: lost, blue: gained", fontsize=9)


def _add_group_key(figure: Figure, functionals: pd.DataFrame) -> None:
    handles = [
        Line2D([], [], color=group_colour(name), linewidth=5, label=name) for name in group_order(functionals["group"])
    ]
    if "flag" in functionals and (functionals["flag"] != "").any():
        handles.append(Line2D([], [], linestyle="none", label="† few clips decide, or constant"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), handlelength=1.4, columnspacing=1.4)


_MAP = """
How well each acoustic functional is predicted, by ridge regression for speakers that the fit has not heard, from each
layer before and after fine-tuning, and the change. 0 is what always answering the training mean reaches. Functionals
marked † vary in a few clips only, or not at all (pale): their value says whether those clips were hit. A functional
that differs between the sexes, as pitch does, is predicted by any layer that can tell these apart: see the figure
within speakers. A functional that is predicted worse has not left the layer; it is less easily read by a linear map of
these few clips. Loudness is normalised before extraction, so the level of a clip is known to no model.
"""

_WITHIN = """
The same within speakers: each speaker's mean is taken off the truth and off the predictions, so that only what varies
from clip to clip counts. A layer that knows nothing but the voice has 0 or a little less here.
"""

_RANKING = """
The functionals that fine-tuning lost and gained most, on the mean over layers; functionals marked as unreliable are
left out. Bars: 95 % intervals over speakers of the paired change. Filled: p < 0.05 after Holm's correction over all
functionals. The ranking is of many, so the first places are flattered by chance.
"""

_GROUPS = """
Means over the functionals of each group of eGeMAPS: R2, R2 within speakers, and debiased CKA with the group; one line
per checkpoint, bands are 95 % intervals over speakers of the first and the last one. Close dots: the clips of each
speaker shuffled, which leaves what the voice alone tells; red dashes: random weights; wide dots: the mean of the
speaker's gender. R2 asks whether the functionals can be read from a layer, CKA whether they are what its largest
directions are about: a layer can keep them and not be about them.
"""

_of_all_corpora = partial(FigureSpec, pooled=True)

ACOUSTICS_FIGURES: dict[str, FigureSpec] = {
    "acoustics_map": FigureSpec("Acoustic functionals kept by each layer", "acoustics", draw_acoustics_map, _MAP),
    "acoustics_within": _of_all_corpora(
        "Acoustic functionals kept within speakers", "acoustics", draw_acoustics_map, _WITHIN,
        options={"measure": "r2_within"},
    ),
    "acoustics_ranking": _of_all_corpora(
        "Acoustic functionals lost and gained", "acoustics_changes", draw_acoustics_ranking, _RANKING
    ),
    "acoustics_groups": _of_all_corpora(
        "Groups of acoustic functionals per layer", "acoustics_groups", draw_acoustics_groups, _GROUPS
    ),
    "acoustics_corpora": FigureSpec(
        "Acoustic functionals kept, by corpus", "acoustics_groups", draw_acoustics_corpora, CORPORA_CAPTION,
        apart=("model",), optional=True,
    ),
}  # fmt: skip
