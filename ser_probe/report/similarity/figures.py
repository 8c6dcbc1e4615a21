"""The figures of similarity: layers with acoustic features, layers with layers, measures side by side, two models."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ser_probe.errors import AnalysisError, NothingToDrawError
from ser_probe.report.canvas import add_colour_bar, grid_shape, heading, new_panels, thin_labels
from ser_probe.report.corpora.figures import CORPORA_CAPTION, draw_similarity_corpora
from ser_probe.report.figure_specs import FigureSpec
from ser_probe.report.measures import DIRECTED, DISTANCES, measure_name
from ser_probe.report.similarity.plots import (
    colour_limits,
    plot_layer_checkpoint_map,
    plot_layer_matrix,
    rows_of_measure,
    with_functional_group,
)
from ser_probe.report.style import FUNCTIONAL_COLOURS, PAGE_WIDTH_IN, short, styled
from ser_probe.report.tables import (
    FUNCTIONALS,
    at_step,
    between_layers,
    first_and_last,
    layer_order,
    step_order,
    with_acoustics,
)

_COLUMNS = 3
# More than this many measures or matrices make a figure higher than a page.
_MOST_MEASURES, _MOST_MATRICES = 9, 6
_BESIDE: dict[str, Any] = {"location": "right", "pad": 0.02, "fraction": 0.05, "aspect": 30}
_BELOW: dict[str, Any] = {"location": "bottom", "shrink": 0.5, "fraction": 0.05, "aspect": 30}


@styled()
def draw_acoustic_similarity(table: pd.DataFrame, *, measure: str | None = None) -> Figure:
    """Draw the heat map layer x checkpoint of the similarity with acoustic features.

    Raises:
        AnalysisError: If the table holds no comparison with acoustic features, or not this measure.
    """
    rows = rows_of_measure(with_acoustics(table), measure)
    layers, steps = layer_order(rows["layer_a"]), step_order(rows["step_a"])
    limits = colour_limits(rows["value"])
    figure, (ax,) = new_panels(min(PAGE_WIDTH_IN, 3.4 + 0.55 * len(steps)), max(4.0, 1.2 + 0.27 * len(layers)))
    plot_layer_checkpoint_map(rows, ax, limits=limits)
    add_colour_bar([ax], limits, f"{measure_name(rows['measure'].iloc[0])} with eGeMAPS (no unit)", **_BESIDE)
    ax.set_title(heading(rows, "Similarity to eGeMAPS", "model_a").replace(" · ", "\n", 1))
    return figure


@styled()
def draw_biased_cka(table: pd.DataFrame) -> Figure:
    """Draw the biased CKA with acoustic features, and the value it takes on independent data to its right.

    Raises:
        AnalysisError: If the table has no biased CKA or no baseline for it.
    """
    rows = rows_of_measure(with_acoustics(table), "cka")
    if "baseline" not in rows or rows["baseline"].isna().all():
        raise AnalysisError(
            "Biased CKA is drawn only beside its independence baseline",
            expected="the similarity table's column baseline",
            found="no baseline",
        )
    layers, steps = layer_order(rows["layer_a"]), step_order(rows["step_a"])
    limits = colour_limits(pd.concat([rows["value"], rows["baseline"]]))
    width_in, height_in = min(PAGE_WIDTH_IN, 4.8 + 0.6 * len(steps)), max(3.6, 1.2 + 0.27 * len(layers))
    figure, (left, right) = new_panels(width_in, height_in, 2, sharey=True)
    plot_layer_checkpoint_map(rows, left, limits=limits)
    plot_layer_checkpoint_map(rows, right, column="baseline", limits=limits)
    left.set_title("biased CKA with eGeMAPS")
    right.set(title="on independent data", ylabel="")
    add_colour_bar([left, right], limits, f"{measure_name('cka')} (no unit)", **_BESIDE)
    figure.suptitle(heading(rows, "Biased CKA and its baseline", "model_a"))
    return figure


@styled()
def draw_layer_similarity(table: pd.DataFrame, *, measure: str | None = None) -> Figure:
    """Draw the similarity between layers within the first checkpoint, within the last, and across the two.

    Raises:
        NothingToDrawError: If the table holds no comparison between a model's layers.
        AnalysisError: If it does not hold this measure.
    """
    rows = rows_of_measure(table, measure)
    rows = rows[(rows["model_a"] == rows["model_b"]) & rows["step_a"].notna() & rows["step_b"].notna()]
    ends = first_and_last(step_order(pd.concat([rows["step_a"], rows["step_b"]])))
    pairs = [(step, step) for step in ends] + ([(ends[0], ends[1])] if len(ends) > 1 else [])
    parts = {pair: part for pair in pairs if not (part := _between_steps(rows, *pair)).empty}
    if not parts:
        raise NothingToDrawError(
            "The similarity table holds no comparison between the layers of a model",
            expected="rows with model_a = model_b at the first or the last step",
        )
    limits = colour_limits(pd.concat([part["value"] for part in parts.values()]))
    figure, axes = new_panels(PAGE_WIDTH_IN, 1.7 + 5.2 / max(2, len(parts)), len(parts))
    for ax, ((step_a, step_b), part) in zip(axes, parts.items(), strict=True):
        plot_layer_matrix(part, ax, limits=limits)
        ax.set(xlabel=f"layer at {at_step(step_a)}", ylabel=f"layer at {at_step(step_b)}")
        ax.set_title(f"within {at_step(step_a)}" if step_a == step_b else f"step {step_a} to {step_b}")
    add_colour_bar(axes, limits, f"{measure_name(rows['measure'].iloc[0])} (no unit)", **_BELOW)
    figure.suptitle(heading(rows, "Similarity between layers", "model_a"))
    return figure


def _between_steps(rows: pd.DataFrame, step_a: int, step_b: int) -> pd.DataFrame:
    """Return the comparisons of layers at two steps; of a measure with a direction those in this direction only."""
    if rows["measure"].iloc[0] in DIRECTED:
        return rows[(rows["step_a"] == step_a) & (rows["step_b"] == step_b)]
    return between_layers(rows, step_a, step_b)


@styled()
def draw_functional_groups(table: pd.DataFrame, *, measure: str | None = None) -> Figure:
    """Draw layer x checkpoint heat maps of the similarity with each group of functionals, on one scale.

    Raises:
        NothingToDrawError: If the table holds no comparison with groups of functionals.
    """
    rows = with_functional_group(table)
    if rows.empty:
        raise NothingToDrawError(
            "The similarity table holds no comparison with groups of functionals",
            expected="rows with layer_b such as functionals:spectral",
            found=", ".join(repr(name) for name in table["layer_b"].drop_duplicates().head(8)),
        )
    rows = rows_of_measure(rows, measure)
    groups = [name for name in FUNCTIONAL_COLOURS if name in set(rows["group"])]
    layers, steps = layer_order(rows["layer_a"]), step_order(rows["step_a"])
    limits = colour_limits(rows["value"])
    figure, axes = new_panels(PAGE_WIDTH_IN, max(3.4, 1.6 + 0.22 * len(layers)), len(groups), sharey=True)
    for ax, group in zip(axes, groups, strict=True):
        numbers = len(steps) <= 12 // len(groups)
        plot_layer_checkpoint_map(rows[rows["group"] == group], ax, limits=limits, numbers=numbers)
        thin_labels(ax.xaxis, most=4)
        ax.set_title(group)
        ax.set_xlabel("step" if len(groups) > 2 else "fine-tuning step")
    for ax in axes[1:]:
        ax.set_ylabel("")
    add_colour_bar(axes, limits, f"{measure_name(rows['measure'].iloc[0])} (no unit)", **_BELOW)
    figure.suptitle(heading(rows, "Similarity to groups of functionals", "model_a"))
    return figure


@styled()
def draw_measures(table: pd.DataFrame) -> Figure:
    """Draw layer x checkpoint heat maps of several measures of the similarity with acoustic features.

    Each has its own scale: measures differ in range, and of distances small is alike. Biased CKA is left out: it has a
    figure of its own, beside its baseline.

    Raises:
        NothingToDrawError: If the table holds fewer than two measures of it.
    """
    rows = with_acoustics(table)
    rows = rows[(rows["measure"] != "cka") & rows["value"].notna()]
    measures = list(rows["measure"].drop_duplicates())
    shown = measures[:_MOST_MEASURES]
    if len(shown) < 2:
        raise NothingToDrawError(
            "Fewer than two measures cannot be set side by side",
            expected="two measures or more beside biased CKA",
            found=", ".join(shown) or "none",
        )
    n_rows, columns = grid_shape(len(shown), _COLUMNS)
    panel_height_in = max(2.4, 1.2 + 0.14 * len(layer_order(rows["layer_a"])))
    figure, axes = new_panels(PAGE_WIDTH_IN, 0.8 + n_rows * panel_height_in, len(shown), columns, sharey=True)
    for place, (ax, name) in enumerate(zip(axes, shown, strict=True)):
        part = rows[rows["measure"] == name]
        limits = colour_limits(part["value"])
        plot_layer_checkpoint_map(part, ax, limits=limits, numbers=False)
        thin_labels(ax.xaxis, most=5)
        thin_labels(ax.yaxis, most=10)
        ax.set(title=measure_name(name), xlabel="step")
        add_colour_bar([ax], limits, "small is alike" if name in DISTANCES else "large is alike", **_BESIDE)
        if place % columns:
            ax.set_ylabel("")
    count = "several" if shown == measures else f"{len(shown)} of {len(measures)}"
    figure.suptitle(heading(rows, f"Similarity to eGeMAPS by {count} measures", "model_a"))
    return figure


@styled()
def draw_models(table: pd.DataFrame, *, measure: str | None = None) -> Figure:
    """Draw the similarity of the layers of one model with those of another, a panel for each pair of checkpoints.

    Raises:
        NothingToDrawError: If the table holds no comparison between two models.
    """
    acoustic = [table[f"layer_{side}"].astype(str).str.startswith(FUNCTIONALS) for side in "ab"]
    between = table[(table["model_a"] != table["model_b"]) & ~acoustic[0] & ~acoustic[1]]
    if between.empty:
        raise NothingToDrawError(
            "The similarity table holds no comparison between two models",
            expected="rows whose model_a and model_b differ",
            found=", ".join(short(name) for name in table["model_a"].drop_duplicates()),
        )
    rows = rows_of_measure(between, measure)
    keys = ["model_a", "checkpoint_a", "model_b", "checkpoint_b"]
    parts = [(names, part) for names, part in rows.groupby(keys, sort=False, dropna=False)]
    shown = parts if len(parts) <= _MOST_MATRICES else [*parts[: _MOST_MATRICES - 1], parts[-1]]
    limits = colour_limits(pd.concat([part["value"] for _, part in shown]))
    n_rows, columns = grid_shape(len(shown), _COLUMNS)
    panel_height_in = 3.6 if columns < _COLUMNS else 2.5
    width_in = PAGE_WIDTH_IN if columns > 1 else 4.6
    figure, axes = new_panels(width_in, 1.3 + n_rows * panel_height_in, len(shown), columns)
    for ax, (names, part) in zip(axes, shown, strict=True):
        plot_layer_matrix(part, ax, limits=limits)
        model_a, checkpoint_a, model_b, checkpoint_b = (short(name, 24) for name in names)
        ax.set(xlabel=f"{model_a}\n{checkpoint_a}".strip(), ylabel=f"{model_b}\n{checkpoint_b}".strip())
    add_colour_bar(axes, limits, f"{measure_name(rows['measure'].iloc[0])} (no unit)", **_BELOW)
    some = f", {len(shown)} of {len(parts)} pairs of checkpoints" if len(shown) < len(parts) else ""
    figure.suptitle(heading(rows, "Similarity between models" + some, "none"))
    return figure


_ACOUSTIC_SIMILARITY = """
Similarity (the measure is named at the colours) between each layer's pooled embeddings and the 88 eGeMAPS functionals
over the same clips. Debiased linear CKA is 0 for independent data and 1 for the same geometry up to rotation and scale.
The colours span the values found, not 0 to 1, so a small difference can look large: read the scale. CKA is led by the
directions of largest variance; a low value does not mean that the acoustic information is gone.
"""

_LAYER_SIMILARITY = """
Similarity (the measure is named at the colours) between layers: within the first checkpoint, within the last, and
between the two. Blocks are groups of layers with the same geometry; in the last panel the diagonal says how much each
layer kept. Neighbouring layers of a residual network are alike by construction, so a bright diagonal band is no finding
in itself.
"""

_BIASED_CKA = """
The customary (biased) linear CKA with eGeMAPS on the left; on the right what the same estimator gives for independent
data with as many clips and dimensions. Only what exceeds the right-hand panel is similarity. Shown so that values can
be compared with the literature.
"""

_GROUPS = """
The same with each group of the eGeMAPS functionals alone, on one scale: frequency (pitch, jitter, formants), energy
(loudness, shimmer, harmonics to noise), spectral (balance, MFCC, flux), temporal (rates, lengths of segments). Groups
share information: pitch and loudness rise together in speech, so similarity to one may come through another. They also
differ in size (24, 15, 43 and 6 functionals), and values depend on that: compare layers and checkpoints within a panel
rather than panels.
"""

_MEASURES = """
Several measures of the same comparison, each on its own scale: do not compare the colours of two panels, read whether
they agree on which layers and checkpoints are nearer. Of distances (Procrustes, angular shape) dark is near. Measures
that agree see the same thing; where one stands alone, ask what it alone is blind to.
"""

_MODELS = """
Layers of one model against layers of another over the same clips; widths may differ. A band along the diagonal says
that the models build up alike; a block that late layers share says that both were trained for the same. Models fed the
same audio are alike for that alone: compare with the first layers.
"""

# A table often lacks what a figure is about: an analysis compares what it was asked for.
_figure = partial(FigureSpec, table="similarity", apart=("corpus", "model_a"), optional=True)

SIMILARITY_FIGURES: dict[str, FigureSpec] = {
    "cka_egemaps": _figure(
        "Similarity to eGeMAPS, per layer and checkpoint", draw=draw_acoustic_similarity, caption=_ACOUSTIC_SIMILARITY
    ),
    "similarity_corpora": _figure(
        "Similarity by corpus", draw=draw_similarity_corpora, caption=CORPORA_CAPTION, apart=("model_a",)
    ),
    "cka_layers": _figure("Similarity between layers", draw=draw_layer_similarity, caption=_LAYER_SIMILARITY),
    "cka_biased": _figure(
        "Biased CKA beside its independence baseline", draw=draw_biased_cka, caption=_BIASED_CKA, pooled=True
    ),
    "similarity_groups": _figure(
        "Similarity to groups of functionals", draw=draw_functional_groups, caption=_GROUPS, pooled=True
    ),
    "similarity_measures": _figure(
        "Several measures of similarity to eGeMAPS", draw=draw_measures, caption=_MEASURES, pooled=True
    ),
    "similarity_models": _figure("Similarity between models", draw=draw_models, caption=_MODELS, apart=("corpus",)),
}
