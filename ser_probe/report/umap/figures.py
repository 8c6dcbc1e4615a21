"""The figures of maps: a column per checkpoint, a row per colouring, and how far to trust them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser_probe.errors import AnalysisError
from ser_probe.report.canvas import heading, new_figure
from ser_probe.report.figure_specs import FigureSpec
from ser_probe.report.style import PAGE_WIDTH_IN, styled
from ser_probe.report.tables import at_step, layer_order, need, step_order
from ser_probe.report.umap.plots import (
    add_class_legend,
    add_number_key,
    class_names,
    is_scale,
    number_scale,
    plot_projection,
    projection_limits,
)

# Points beyond this number would make an SVG of tens of megabytes.
_MOST_VECTOR_POINTS = 15_000
_MAP_COLUMNS = (
    *("model", "run_seed", "checkpoint", "step", "layer", "pooling", "clip_id", "x", "y"),
    *("split", "predicted", "trustworthiness", "seed_stability", "fit"),
)
_USUAL = ("label", "speaker", "gender")
_FITS = {"joint": "laid out together", "reference": "placed on the first one's map"}


@styled()
def draw_umap(table: pd.DataFrame, *, colours: Sequence[str] | None = None, most_checkpoints: int = 4) -> Figure:
    """Draw one layer's projections: a column per checkpoint, a row per colouring.

    Args:
        table: The rows of one layer of the projection table.
        colours: The columns that colour; those the table lacks are left out. By default all that are no part of the
            map itself.
        most_checkpoints: Of more checkpoints than this, so many are drawn, evenly spaced, with the first and the last.

    Raises:
        AnalysisError: If the table is empty, or holds several layers.
    """
    need(table, ["x", "y", "step", "layer"], "umap")
    if table["layer"].nunique() > 1:
        raise AnalysisError(
            "A projection figure shows one layer",
            found="layers " + ", ".join(layer_order(table["layer"])),
            fix="pick the rows of one layer",
        )
    wanted = _colours(table) if colours is None else list(colours)
    present = [colour for colour in wanted if colour in table and table[colour].notna().any()]
    if not present:
        raise AnalysisError("The projection table has no column to colour by", expected=", ".join(wanted or _USUAL))
    steps = _spaced(step_order(table["step"]), most_checkpoints)
    shown = table[table["step"].isin(steps)]
    limits = projection_limits(shown)
    figure = new_figure(PAGE_WIDTH_IN, (PAGE_WIDTH_IN - 1.6) / max(3, len(steps)) * len(present) + 0.9)
    grid = figure.subplots(len(present), len(steps), squeeze=False)
    many = len(shown) * len(present) > _MOST_VECTOR_POINTS
    for axes, colour in zip(grid, present, strict=True):
        _draw_row(table, list(axes), steps, colour, limits, rasterized=many)
    for ax, step in zip(grid[0], steps, strict=True):
        ax.set_title(_projection_title(shown[shown["step"] == step], step), fontsize=9)
    fit = _FITS.get(str(table["fit"].iloc[0])) if "fit" in table else None
    how = f"all checkpoints {fit}; " if fit and len(steps) > 1 else ""
    figure.supxlabel(
        f"UMAP 1 across, UMAP 2 up (no unit; {how}same limits in all panels){_key_to_titles(table)}", fontsize=9
    )
    total = table["step"].nunique()
    some = "" if len(steps) == total else f" · {len(steps)} of {total} checkpoints"
    clips = f" · n = {shown['clip_id'].nunique()} clips" if "clip_id" in shown else ""
    figure.suptitle(heading(table, f"UMAP of layer {table['layer'].iloc[0]}") + clips + some)
    return figure


def _colours(table: pd.DataFrame) -> list[str]:
    """Return the columns that are no part of the map; the corpus only where there are several."""
    names = [name for name in map(str, table) if name not in _MAP_COLUMNS]
    return [name for name in names if name != "corpus" or table[name].nunique() > 1]


def _draw_row(
    table: pd.DataFrame,
    axes: list[Axes],
    steps: list[int],
    colour: str,
    limits: tuple[tuple[float, float], tuple[float, float]],
    *,
    rasterized: bool,
) -> None:
    """Draw one colouring at all checkpoints, with its legend or scale."""
    numbers = is_scale(table[colour])
    names = [] if numbers else class_names(table, colour)
    scale = number_scale(table[colour]) if numbers else None
    for ax, step in zip(axes, steps, strict=True):
        part = table[table["step"] == step]
        plot_projection(part, ax, colour=colour, names=names, limits=limits, scale=scale, rasterized=rasterized)
        ax.set_box_aspect(1)
    axes[0].set_ylabel(f"by {colour}")
    if scale is None:
        add_class_legend(axes[-1], names, colour, some_unknown=bool(table[colour].isna().any()))
    else:
        add_number_key(axes[-1], scale, colour)


def _key_to_titles(table: pd.DataFrame) -> str:
    """Return what the numbers in the titles are."""
    meanings = {
        "trustworthiness": "trust: neighbours kept from the layer",
        "seed_stability": "stability: neighbours kept by another seed",
    }
    lines = [text for column, text in meanings.items() if column in table and table[column].notna().any()]
    return "\n" + "; ".join(lines) if lines else ""


def _projection_title(part: pd.DataFrame, step: int) -> str:
    title = at_step(step)
    if "trustworthiness" in part and part["trustworthiness"].notna().any():
        title += f"\ntrust {part['trustworthiness'].mean():.2f}"
    if "seed_stability" in part and part["seed_stability"].notna().any():
        title += f"\nstability {part['seed_stability'].mean():.2f}"
    return title


def _spaced(steps: list[int], most: int) -> list[int]:
    """Return at most so many steps, evenly spaced, with the first and the last."""
    if len(steps) <= most:
        return steps
    return [steps[i] for i in np.unique(np.linspace(0, len(steps) - 1, most).round().astype(int))]


_UMAP = """
Each point is a clip; every row shows the same projections, coloured by another property, and all panels share their
axis limits. What lies close together is alike. Distances between groups, their sizes and their orientation mean little,
and another seed gives another picture: a claim needs a probe. Trust(worthiness), where given, says how far neighbours
in the picture are neighbours in the embedding (1 is best). (Seed) stability says how far a map of the same data from
another seed names the same neighbours (mean Jaccard overlap: 1 all, near 0 none): what it does not repeat is chance.
The page umap.html plays the clips.
"""

UMAP_FIGURES: dict[str, FigureSpec] = {
    "umap": FigureSpec("UMAP", "umap", draw_umap, _UMAP, apart=("model", "layer"), named=("layer",)),
}
