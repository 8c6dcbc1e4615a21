"""Probe scores per layer or step, a line per checkpoint, with the acoustic baseline and the controls."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser_probe.report.canvas import add_step_legend, heading, name_steps, new_panels, thin_labels
from ser_probe.report.layer_lines import encoder_layers, encoder_steps, plot_lines_by_layer, spread_by_layer
from ser_probe.report.measures import measure_name
from ser_probe.report.style import ACCENT, GREY, PAGE_WIDTH_IN, STEP_COLOURS, line_colours, short, styled
from ser_probe.report.tables import FUNCTIONALS, best_layers, encoder_rows, first_and_last, pick, step_order

WEIGHTED_SUM = "weighted_sum"
"""The layer of probes that take a learned sum of all layers."""

# Rings of more checkpoints than this lie on each other; then the first and the last are ringed.
_MOST_RINGS = 8
_CONTROLS_BY_LAYER = (
    ("random_weights", "random weights", (0, (5, 1.2, 1, 1.2))),
    ("shuffled_labels", "shuffled labels", (0, (1, 1.4))),
)


@styled()
def draw_scores(table: pd.DataFrame, *, measure: str = "weighted_f1", split: str = "test") -> Figure:
    """Draw probe scores per layer, a line per checkpoint, with the eGeMAPS baseline and the controls.

    Raises:
        AnalysisError: If the table does not hold this measure for this split.
    """
    rows = pick(table, "probe", split=split, measure=measure)
    figure, (ax,) = new_panels(PAGE_WIDTH_IN, 4.0)
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
    title = heading(rows, f"{what} of {target_names(rows)}{kind}" if "target" in rows else what + kind)
    if "shares_speakers" in rows and rows["shares_speakers"].fillna(False).astype(bool).any():
        title += "\ntraining and test SHARE SPEAKERS: not scores of new speakers"
    return title


def target_names(rows: pd.DataFrame) -> str:
    """Return what the probes of a table read, as a title says it."""
    return ", ".join(short(name) for name in rows["target"].drop_duplicates()) if "target" in rows else "labels"


def plot_scores_by_layer(
    table: pd.DataFrame, ax: Axes, *, measure: str = "weighted_f1", split: str = "test", mark_best: bool = True
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
    scores = encoder_rows(pick(rows, "probe", control="none"))
    layers, steps = encoder_layers(scores), encoder_steps(scores)
    _draw_controls(rows, ax, layers)
    spread = spread_by_layer(scores)
    plot_lines_by_layer(spread, ax, layers=layers, steps=steps)
    chosen = best_layers(table, measure) if mark_best else {}
    means = spread.set_index(["step", "layer"])["value"]
    for step, colour in zip(steps, line_colours(len(steps), STEP_COLOURS), strict=True):
        ringed = len(steps) <= _MOST_RINGS or step in first_and_last(steps)
        if ringed and (step, chosen.get(step)) in means.index:
            ax.plot(
                layers.index(chosen[step]), means[step, chosen[step]], linestyle="none", marker="o", markersize=9,
                markerfacecolor="none", markeredgecolor=colour, markeredgewidth=1.5, zorder=4,
            )  # fmt: skip
    name_layers(ax, layers, most=17)
    ax.set_ylabel(f"{measure_name(measure)} ({scored_part(rows, split)})")
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
    scores = encoder_rows(rows[rows["control"] == "none"])
    spread = scores.groupby("step")["value"].agg(["mean", "std"]).fillna({"std": 0.0})
    _draw_controls(rows, ax, [])
    colour = line_colours(1, STEP_COLOURS)[0]
    ax.errorbar(spread.index, spread["mean"], yerr=spread["std"], color=colour, marker="o", markersize=4, capsize=3,
                label="learned sum of layers", zorder=3)  # fmt: skip
    name_steps(ax, step_order(spread.index))
    ax.set_ylabel(f"{measure_name(measure)} ({scored_part(rows, split)})")
    return ax


def name_layers(ax: Axes, layers: list[str], most: int | None = None) -> None:
    """Name at most about so many layers along a panel, by default as many as fit, with a grid line at every layer."""
    ax.set_xticks(range(len(layers)), layers)
    thin_labels(ax.xaxis, most or max(5, round(2.4 * ax.get_position().width * PAGE_WIDTH_IN)))
    ax.set_xlim(-0.5, len(layers) - 0.5)
    ax.set_xlabel("hidden layer")


def scored_part(rows: pd.DataFrame, split: str) -> str:
    """Return whose scores these are: `test speakers`, or test clips where the parts share speakers."""
    divided: list[str] = list(rows["divided_by"].dropna().unique()) if "divided_by" in rows else []
    return f"{split} {divided[0]}s" if len(divided) == 1 else f"{split} speakers"


def _draw_controls(rows: pd.DataFrame, ax: Axes, layers: list[str]) -> None:
    """Draw what the scores are compared with: acoustic features, random weights, shuffled labels, majority class."""
    acoustic = rows[(rows["layer"] == FUNCTIONALS) & (rows["control"] == "none")]["value"]
    if not acoustic.empty:
        ax.axhline(acoustic.mean(), color=ACCENT, linestyle=(0, (6, 3)), linewidth=1.8, label="eGeMAPS")
    for control, label, style in _CONTROLS_BY_LAYER:
        controls = rows[(rows["control"] == control) & (rows["layer"] != FUNCTIONALS)]
        means = controls.groupby("layer")["value"].mean()
        means = means.reindex([layer for layer in layers if layer in means.index])
        if len(means) > 1:
            x = [layers.index(layer) for layer in means.index]
            ax.plot(x, means, color=GREY, linestyle=style, linewidth=1.8, label=label)
        elif not controls.empty:
            ax.axhline(controls["value"].mean(), color=GREY, linestyle=style, linewidth=1.8, label=label)
    majority = rows[rows["control"] == "majority_class"]["value"]
    if not majority.empty:
        ax.axhline(majority.mean(), color=GREY, linestyle=(0, (1, 4)), linewidth=1.8, label="majority class")
