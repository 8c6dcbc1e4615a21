"""The figures of several corpora: along the layers, a line for all clips pooled and a line for each corpus."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser_probe.errors import NothingToDrawError
from ser_probe.report.canvas import heading, legend_columns, name_places, new_panels
from ser_probe.report.corpora.warnings import DRIFT, SHAPE, acoustics_rows, drift_rows, geometry_rows, similarity_rows
from ser_probe.report.measures import measure_name
from ser_probe.report.style import CLASS_COLOURS, GREY, PAGE_WIDTH_IN, short, styled
from ser_probe.report.tables import FUNCTIONALS, POOLED, has_corpora, layer_order, need

CORPORA_CAPTION = """
At the last step, along the layers: all clips pooled (broken line), and each corpus by itself; bands are 95 % intervals
over speakers. Over several corpora every representation also tells the corpora apart, by channel, language and the way
emotions were made, and the pooled value counts that as structure like any other. Where the broken line leaves the
others, it says more of the collection than of speech. Corpora differ in size and labels too: compare layers along a
line rather than lines.
"""
"""The caption of every figure by corpus."""
_DRIFT_PANELS = (DRIFT, "procrustes", "knn_overlap")
_GEOMETRY_PANELS = ((SHAPE, ""), ("anisotropy", ""), ("unique_share", "label"))
_PANEL_HEIGHT_IN = 3.2


def draw_similarity_corpora(table: pd.DataFrame) -> Figure:
    """Draw the similarity by corpus along the layers, at the last step.

    Raises:
        NothingToDrawError: If the table is of one corpus, or holds no comparison along layers.
    """
    rows, _, what = similarity_rows(_several(table, "similarity"))
    rows = rows.assign(layer=rows["layer_a"])
    return _draw([(measure_name(rows["measure"].iloc[0]), rows)], heading(rows, _capitalised(what), "model_a"))


def draw_drift_corpora(table: pd.DataFrame) -> Figure:
    """Draw drift by corpus along the layers at the last step, a panel a measure.

    Raises:
        NothingToDrawError: If the table is of one corpus.
    """
    table = _several(table, "drift")
    measures = list(table["measure"].drop_duplicates())
    names = [name for name in _DRIFT_PANELS if name in measures] or measures[:1]
    panels = [(measure_name(name), drift_rows(table[table["measure"] == name])[0]) for name in names]
    step = int(panels[0][1]["step"].iloc[0])
    return _draw(panels, heading(panels[0][1], f"Drift by corpus at step {step}"))


def draw_geometry_corpora(table: pd.DataFrame) -> Figure:
    """Draw dimension, anisotropy and the share of the labels by corpus along the layers, at the last step.

    Raises:
        NothingToDrawError: If the table is of one corpus.
    """
    table = _several(table, "geometry")
    _, _, what = geometry_rows(table)
    when = what.partition(" at ")[2]
    last = table[table["step"] == table["step"].max()] if when else table
    last = last[last["layer"].astype(str) != FUNCTIONALS]
    panels = []
    for measure, factor in _GEOMETRY_PANELS:
        rows = last[(last["measure"] == measure) & (last["factor"] == factor)]
        if not rows.empty:
            panels.append((f"{measure_name(measure)}\nby {factor}" if factor else measure_name(measure), rows))
    return _draw(panels, heading(last, f"Geometry by corpus{f' at {when}' if when else ''}"))


def draw_acoustics_corpora(table: pd.DataFrame) -> Figure:
    """Draw how well the functionals of unheard speakers are predicted, by corpus along the layers at the last step.

    Raises:
        NothingToDrawError: If the table is of one corpus.
    """
    table = _several(table, "acoustics_groups")
    rows, _, what = acoustics_rows(table)
    return _draw([(measure_name("r2"), rows)], heading(rows, _capitalised(what)))


def plot_by_corpus(rows: pd.DataFrame, ax: Axes, *, names: list[str], layers: list[str]) -> Axes:
    """Draw a value along the layers, a line for each corpus and a broken one for all clips pooled.

    Args:
        rows: Columns `corpus`, `layer`, `value`, and `ci_low` and `ci_high` for bands; rows of a point are averaged.
        ax: Where to draw.
        names: The corpora, in the order of their colours.
        layers: The layers, from the input on.
    """
    need(rows, ["corpus", "layer", "value"], "figure by corpus")
    rows = rows.assign(layer=rows["layer"].astype(str))
    # Beyond eight corpora the colours repeat.
    for place, name in enumerate([*names, POOLED]):
        by_layer = rows[rows["corpus"].astype(str) == name].groupby("layer")
        line = by_layer["value"].mean().reindex(layers)
        pooled = name == POOLED
        colour = GREY if pooled else CLASS_COLOURS[place % len(CLASS_COLOURS)]
        label = "all corpora pooled" if pooled else f" {short(name, 24)}"
        style = {"linestyle": "--", "linewidth": 2.0} if pooled else {"linestyle": "-"}
        ax.plot(range(len(layers)), line, color=colour, marker="o", markersize=3, label=label, **style)
        if {"ci_low", "ci_high"} <= set(rows) and not pooled:
            low, high = (by_layer[end].mean().reindex(layers) for end in ("ci_low", "ci_high"))
            ax.fill_between(range(len(layers)), low, high, color=colour, alpha=0.15, linewidth=0)
    name_places(ax, layers, 6)
    ax.set_xlabel("hidden layer")
    return ax


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _several(table: pd.DataFrame, what: str) -> pd.DataFrame:
    if not has_corpora(table):
        raise NothingToDrawError(f"The {what} table is of one corpus, or not given by corpus")
    return table


@styled()
def _draw(panels: list[tuple[str, pd.DataFrame]], title: str) -> Figure:
    figure, axes = new_panels(PAGE_WIDTH_IN if len(panels) > 1 else 5.4, _PANEL_HEIGHT_IN, len(panels))
    corpora = pd.concat([rows["corpus"] for _, rows in panels]).drop_duplicates()
    names = [str(name) for name in corpora if name != POOLED]
    for ax, (label, rows) in zip(axes, panels, strict=True):
        plot_by_corpus(rows, ax, names=names, layers=layer_order(rows["layer"]))
        ax.set_ylabel(label)
    handles, labels = axes[0].get_legend_handles_labels()
    columns = legend_columns(labels, figure.get_figwidth(), 4)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    figure.suptitle(title)
    return figure
