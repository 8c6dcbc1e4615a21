"""Probe scores per layer, a line per checkpoint, with the baseline and the controls. Table -> Axes."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from ser_probe.report.style import ACCENT, GREY, STEP_COLOURS, line_colours, measure_name, thin_labels
from ser_probe.report.tables import FUNCTIONALS, best_layers, layer_order, pick, step_name, step_order

# Rings of more checkpoints than this lie on each other; then the first and the last are ringed.
MOST_RINGS = 8
WEIGHTED_SUM = "weighted_sum"
"""The layer of probes that take a learned sum of all layers."""

_CONTROLS_BY_LAYER = (
    ("random_weights", "random weights", (0, (5, 1.2, 1, 1.2))),
    ("shuffled_labels", "shuffled labels", (0, (1, 1.4))),
)


def plot_scores_by_layer(
    table: pd.DataFrame,
    ax: Axes,
    *,
    measure: str = "weighted_f1",
    split: str = "test",
    mark_best: bool = True,
) -> Axes:
    """Draw a probe's mean score per layer: a line per checkpoint, dark for early and bright for late.

    The bands (first and last checkpoint) are one standard deviation over probe seeds. They show how much the
    probe's initialisation matters, not how much other speakers would: they must not be read as intervals for
    the difference between two lines.

    Args:
        table: Columns `step`, `layer`, `control`, `split`, `measure`, `value`.
        ax: Where to draw.
        measure: Which measure, on the scale 0 to 1.
        split: Which speakers are scored.
        mark_best: Ring the layer that is best on the validation speakers, where those rows are there.
    """
    rows = pick(table, "probe", split=split, measure=measure)
    scores = pick(rows, "probe", control="none")
    encoder = scores[(scores["layer"] != FUNCTIONALS) & scores["step"].notna()]
    layers, steps = layer_order(encoder["layer"]), step_order(encoder["step"])
    position = {layer: i for i, layer in enumerate(layers)}
    colours = line_colours(len(steps), STEP_COLOURS)
    chosen = best_layers(table, measure) if mark_best else {}
    _draw_controls(rows, ax, position)
    for step, colour in zip(steps, colours, strict=True):
        spread = _spread_by_layer(encoder[encoder["step"] == step], layers)
        x = [position[layer] for layer in spread.index]
        ax.plot(x, spread["mean"], color=colour, marker="o", markersize=3, label=step_name(step), zorder=3)
        if step in (steps[0], steps[-1]):
            low, high = spread["mean"] - spread["std"], spread["mean"] + spread["std"]
            ax.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0, zorder=2)
        if chosen.get(step) in spread.index and (len(steps) <= MOST_RINGS or step in (steps[0], steps[-1])):
            ax.plot(
                position[chosen[step]], spread["mean"][chosen[step]], linestyle="none", marker="o", markersize=9,
                markerfacecolor="none", markeredgecolor=colour, markeredgewidth=1.5, zorder=4,
            )  # fmt: skip
    ax.set_xticks(range(len(layers)), layers)
    thin_labels(ax.xaxis, most=17)
    ax.set_xlim(-0.5, len(layers) - 0.5)
    ax.set(xlabel="hidden layer", ylabel=f"{measure_name(measure)} ({scored_part(rows, split)})")
    return ax


def plot_scores_by_step(table: pd.DataFrame, ax: Axes, *, measure: str = "weighted_f1", split: str = "test") -> Axes:
    """Draw the mean score of probes that take all layers at once, over fine-tuning steps.

    The bars are one standard deviation over probe seeds, as in `plot_scores_by_layer`.

    Args:
        table: As there; one layer only.
        ax: Where to draw.
        measure: Which measure, on the scale 0 to 1.
        split: Which speakers are scored.
    """
    rows = pick(table, "probe", split=split, measure=measure)
    encoder = rows[(rows["control"] == "none") & (rows["layer"] != FUNCTIONALS) & rows["step"].notna()]
    spread = encoder.groupby("step")["value"].agg(["mean", "std"]).fillna({"std": 0.0})
    _draw_controls(rows, ax, {})
    colour = line_colours(1, STEP_COLOURS)[0]
    ax.errorbar(spread.index, spread["mean"], yerr=spread["std"], color=colour, marker="o", markersize=4, capsize=3,
                label="learned sum of layers", zorder=3)  # fmt: skip
    ax.set_xticks(steps := step_order(spread.index), [step_name(step) for step in steps])
    ax.set(xlabel="fine-tuning step", ylabel=f"{measure_name(measure)} ({scored_part(rows, split)})")
    return ax


def scored_part(rows: pd.DataFrame, split: str) -> str:
    """Return whose scores these are: `test speakers`, or test clips where the parts share speakers."""
    divided: list[str] = list(rows["divided_by"].dropna().unique()) if "divided_by" in rows else []
    return f"{split} {divided[0]}s" if len(divided) == 1 else f"{split} speakers"


def _spread_by_layer(rows: pd.DataFrame, layers: list[str]) -> pd.DataFrame:
    """Return the mean and standard deviation over seeds per layer; a single seed has deviation 0."""
    spread = rows.groupby("layer")["value"].agg(["mean", "std"])
    return spread.reindex([layer for layer in layers if layer in spread.index]).fillna({"std": 0.0})


def _draw_controls(rows: pd.DataFrame, ax: Axes, position: dict[str, int]) -> None:
    """Draw what the scores are compared with: acoustic features, random weights, shuffled labels, majority class."""
    acoustic = rows[(rows["layer"] == FUNCTIONALS) & (rows["control"] == "none")]["value"]
    if not acoustic.empty:
        ax.axhline(acoustic.mean(), color=ACCENT, linestyle=(0, (6, 3)), linewidth=1.8, label="eGeMAPS")
    for control, label, style in _CONTROLS_BY_LAYER:
        own = rows[(rows["control"] == control) & (rows["layer"] != FUNCTIONALS)]
        by_layer = _spread_by_layer(own, [layer for layer in position if layer in set(own["layer"])])
        if len(by_layer) > 1:
            x = [position[layer] for layer in by_layer.index]
            ax.plot(x, by_layer["mean"], color=GREY, linestyle=style, linewidth=1.8, label=label)
        elif not own.empty:
            ax.axhline(own["value"].mean(), color=GREY, linestyle=style, linewidth=1.8, label=label)
    majority = rows[rows["control"] == "majority_class"]["value"]
    if not majority.empty:
        ax.axhline(majority.mean(), color=GREY, linestyle=(0, (1, 4)), linewidth=1.8, label="majority class")
