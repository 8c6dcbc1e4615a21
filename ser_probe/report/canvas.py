"""Figures about layers at given checkpoints: similarity heat maps and probe curves."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

from ser_probe.errors import AnalysisError, NothingToDrawError
from ser_probe.report.probes.plots import WEIGHTED_SUM, plot_scores_by_layer, plot_scores_by_step
from ser_probe.report.similarity.plots import (
    DIRECTED,
    add_colour_bar,
    colour_limits,
    plot_layer_checkpoint_map,
    plot_layer_matrix,
    rows_of_measure,
)
from ser_probe.report.style import (
    PAGE_WIDTH_IN,
    STEP_COLOURS,
    line_colours,
    measure_name,
    short,
    spaced,
    styled,
    thin_labels,
)
from ser_probe.report.tables import (
    at_step,
    between_layers,
    clip_count,
    layer_order,
    pick,
    step_name,
    step_order,
    with_acoustics,
)

# More checkpoints than this make a legend longer than the figure is high; a colour bar takes its place.
_MOST_LISTED_STEPS = 12


def new_figure(width_in: float, height_in: float) -> Figure:
    """Return an empty figure of this size at print, whose panels and legends make room for each other."""
    return Figure(figsize=(width_in, height_in), layout="constrained")


def add_colour_key(axes: list[Axes], names: list[str], title: str, colours: str) -> None:
    """Draw a colour bar with one step per line of these panels, named beside it."""
    scale = ScalarMappable(
        BoundaryNorm([*range(len(names) + 1)], len(names)), ListedColormap(line_colours(len(names), colours))
    )
    bar = axes[0].figure.colorbar(scale, ax=axes, label=title, aspect=30, pad=0.02, fraction=0.05)
    bar.outline.set_visible(False)
    bar.minorticks_off()
    shown = spaced(len(names), 13)
    bar.set_ticks([i + 0.5 for i in shown], labels=[names[i] for i in shown])
    bar.ax.tick_params(length=0)


def heading(table: pd.DataFrame, what: str, model: str = "model") -> str:
    """Return a figure's title: what it shows, of which model, over how many clips."""
    models = [short(name) for name in table[model].drop_duplicates()] if model in table else []
    return " · ".join(part for part in (what, ", ".join(models), clip_count(table)) if part)


def draw_acoustic_similarity(table: pd.DataFrame, *, measure: str | None = None) -> Figure:
    """Draw the heat map layer x checkpoint of the similarity with acoustic features.

    Args:
        table: The similarity table.
        measure: Which measure; the main one by default.

    Raises:
        AnalysisError: If the table holds no comparison with acoustic features, or not this measure.
    """
    with styled():
        rows = rows_of_measure(with_acoustics(table), measure)
        measure = str(rows["measure"].iloc[0])
        layers, steps = layer_order(rows["layer_a"]), step_order(rows["step_a"])
        limits = colour_limits(rows["value"])
        figure = new_figure(min(PAGE_WIDTH_IN, 3.4 + 0.55 * len(steps)), max(4.0, 1.2 + 0.27 * len(layers)))
        ax = figure.subplots()
        plot_layer_checkpoint_map(rows, ax, limits=limits)
        add_colour_bar([ax], limits, f"{measure_name(measure)} with eGeMAPS (no unit)")
        ax.set_title(heading(rows, "Similarity to eGeMAPS", "model_a").replace(" · ", "\n", 1))
        return figure


def draw_biased_cka(table: pd.DataFrame) -> Figure:
    """Draw the biased CKA with acoustic features beside the value it takes on independent data.

    Raises:
        AnalysisError: If the table has no biased CKA or no baseline for it.
    """
    with styled():
        rows = rows_of_measure(with_acoustics(table), "cka")
        if "baseline" not in rows or rows["baseline"].isna().all():
            raise AnalysisError(
                "Biased CKA is drawn only beside its independence baseline",
                expected="the similarity table's column baseline",
                found="no baseline",
            )
        layers, steps = layer_order(rows["layer_a"]), step_order(rows["step_a"])
        limits = colour_limits(pd.concat([rows["value"], rows["baseline"]]))
        figure = new_figure(min(PAGE_WIDTH_IN, 4.8 + 0.6 * len(steps)), max(3.6, 1.2 + 0.27 * len(layers)))
        left, right = figure.subplots(1, 2, sharey=True)
        plot_layer_checkpoint_map(rows, left, limits=limits)
        plot_layer_checkpoint_map(rows, right, column="baseline", limits=limits)
        left.set_title("biased CKA with eGeMAPS")
        right.set(title="on independent data", ylabel="")
        add_colour_bar([left, right], limits, f"{measure_name('cka')} (no unit)")
        figure.suptitle(heading(rows, "Biased CKA and its baseline", "model_a"))
        return figure


def draw_layer_similarity(table: pd.DataFrame, *, measure: str | None = None) -> Figure:
    """Draw the similarity between layers within the first checkpoint, within the last, and across the two.

    Args:
        table: The similarity table.
        measure: Which measure; the main one by default.

    Raises:
        NothingToDrawError: If the table holds no comparison between a model's layers.
        AnalysisError: If it does not hold this measure.
    """
    with styled():
        rows = rows_of_measure(table, measure)
        measure = str(rows["measure"].iloc[0])
        own = rows[(rows["model_a"] == rows["model_b"]) & rows["step_a"].notna() & rows["step_b"].notna()]
        steps = step_order(pd.concat([own["step_a"], own["step_b"]]))
        pairs = dict.fromkeys((a, b) for a in steps[:1] + steps[-1:] for b in steps[:1] + steps[-1:] if a <= b)
        order = sorted(pairs, key=lambda pair: (pair[0] != pair[1], pair))
        parts = {pair: part for pair in order if not (part := _between(own, *pair, measure)).empty}
        if not parts:
            raise NothingToDrawError(
                "The similarity table holds no comparison between the layers of a model",
                expected="rows with model_a = model_b at the first or the last step",
            )
        limits = colour_limits(pd.concat([part["value"] for part in parts.values()]))
        figure = new_figure(PAGE_WIDTH_IN, 1.7 + 5.2 / max(2, len(parts)))
        axes = list(figure.subplots(1, len(parts), squeeze=False)[0])
        for ax, ((step_a, step_b), part) in zip(axes, parts.items(), strict=True):
            plot_layer_matrix(part, ax, limits=limits)
            thin_labels(ax.xaxis, most=6)
            thin_labels(ax.yaxis, most=9)
            ax.set(xlabel=f"layer at {at_step(step_a)}", ylabel=f"layer at {at_step(step_b)}")
            ax.set_title(f"within {at_step(step_a)}" if step_a == step_b else f"step {step_a} to {step_b}")
        add_colour_bar(axes, limits, f"{measure_name(measure)} (no unit)", below=True)
        figure.suptitle(heading(own, "Similarity between layers", "model_a"))
        return figure


def _between(own: pd.DataFrame, step_a: int, step_b: int, measure: str) -> pd.DataFrame:
    """Return the comparisons of layers at two steps; of a measure with a direction those in this direction only."""
    if measure in DIRECTED:
        return own[(own["step_a"] == step_a) & (own["step_b"] == step_b)]
    return between_layers(own, step_a, step_b)


def draw_scores(table: pd.DataFrame, *, measure: str = "weighted_f1", split: str = "test") -> Figure:
    """Draw probe scores per layer, a line per checkpoint, with the eGeMAPS baseline and the controls.

    Args:
        table: The probe table.
        measure: Which measure.
        split: Which speakers are scored.

    Raises:
        AnalysisError: If the table does not hold this measure for this split.
    """
    with styled():
        rows = pick(table, "probe", split=split, measure=measure)
        figure = new_figure(PAGE_WIDTH_IN, 4.0)
        ax = figure.subplots()
        models = rows[rows["step"].notna()]
        if set(models["layer"]) == {WEIGHTED_SUM}:
            plot_scores_by_step(table, ax, measure=measure, split=split)
            add_step_legend(ax, [])
        else:
            plot_scores_by_layer(table, ax, measure=measure, split=split)
            add_step_legend(ax, step_order(rows.loc[rows["control"] == "none", "step"]))
        ax.set_title(probe_heading(models))
        return figure


def probe_heading(rows: pd.DataFrame, what: str = "Probe") -> str:
    """Return a figure's title: of which target and family, which model, how many clips; and if speakers are shared."""
    families = list(rows["family"].dropna().unique()) if "family" in rows else []
    kind = "" if families in ([], ["linear"]) else f" ({', '.join(short(name) for name in families)})"
    target = ", ".join(short(name) for name in rows["target"].drop_duplicates()) if "target" in rows else ""
    title = heading(rows, f"{what} of {target}{kind}" if target else what + kind)
    if "shares_speakers" in rows and rows["shares_speakers"].fillna(False).astype(bool).any():
        title += "\ntraining and test SHARE SPEAKERS: not scores of new speakers"
    return title


def add_step_legend(ax: Axes, steps: list[int]) -> None:
    """List the checkpoints and the other lines beside a panel; many checkpoints become a colour bar."""
    handles, labels = ax.get_legend_handles_labels()
    numbers = {step_name(step) for step in steps}
    lines = [(handle, label) for handle, label in zip(handles, labels, strict=True) if label in numbers]
    others = [(handle, label) for handle, label in zip(handles, labels, strict=True) if label not in numbers]
    figure = ax.get_figure(root=True)
    assert figure is not None
    if len(steps) > _MOST_LISTED_STEPS:
        add_colour_key([ax], [step_name(step) for step in steps], "fine-tuning step", STEP_COLOURS)
        lines = []
    if lines:
        first = ax.legend(*zip(*lines, strict=True), title="fine-tuning step", loc="upper left",
                          bbox_to_anchor=(1.01, 1.0), alignment="left")  # fmt: skip
        if others:
            ax.add_artist(first)  # the next legend takes its place
    if others and lines:
        ax.legend(*zip(*others, strict=True), loc="lower left", bbox_to_anchor=(1.01, 0.0), alignment="left")
    elif others:
        figure.legend(*zip(*others, strict=True), loc="outside lower center", ncols=len(others))
