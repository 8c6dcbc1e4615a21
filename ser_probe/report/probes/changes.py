"""What became of each layer: changes of its score, its selectivity, its weight in a learned sum, numeric targets."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser_probe.errors import AnalysisError
from ser_probe.report.canvas import add_step_legend, grid_shape, legend_below, name_steps, new_panels, thin_labels
from ser_probe.report.layer_lines import encoder_layers, encoder_steps, plot_lines_by_layer
from ser_probe.report.measures import measure_name, short_measure_name
from ser_probe.report.probes.scores import WEIGHTED_SUM, name_layers, probe_heading
from ser_probe.report.style import ACCENT, GREY, PAGE_WIDTH_IN, STEP_COLOURS, line_colours, short, styled
from ser_probe.report.tables import FUNCTIONALS, encoder_rows, layer_order, need, pick, step_name, step_order

SIGNIFICANT = 0.05
_MOST_NUMBER_PANELS = 4
_LOWEST_R2 = -1.0
_CENTRES = ("centre_of_gravity", "expected_layer")


@styled()
def draw_changes(table: pd.DataFrame, *, measure: str = "uar") -> Figure:
    """Draw the change of each layer's score against the first checkpoint, with its test.

    Args:
        table: The table of changes, of one target and family.
        measure: Which measure.

    Raises:
        AnalysisError: If the table has no such measure, or the probe has no layers to tell apart.
    """
    rows = pick(table, "probe changes", measure=measure)
    figure, (ax,) = new_panels(PAGE_WIDTH_IN, 3.6)
    if set(rows["layer"]) == {WEIGHTED_SUM}:
        plot_sum_by_step(rows, ax, baseline="before fine-tuning")
        ax.set_ylabel(f"change of {short_measure_name(measure)}")
        add_step_legend(ax, [])
    else:
        plot_changes(rows, ax, measure=measure)
        add_step_legend(ax, step_order(rows["step"]))
    unit = rows["divided_by"].iloc[0] if "divided_by" in rows else "speaker"
    unit = "speaker" if unit == "clip" else unit
    tested = f"{int(rows['n_speakers'].max())} test {unit}s: {_what_is_filled(rows)}"
    ax.set_title(f"{probe_heading(rows, 'Change of the probe')}\n{tested}")
    return figure


def _what_is_filled(rows: pd.DataFrame) -> str:
    """Say which dots are filled, or that so few speakers cannot give a significant change."""
    n_layers, smallest = rows["layer"].nunique(), float(rows["smallest_p"].max())
    if smallest * n_layers >= SIGNIFICANT:
        return "too few for any p < 0.05" + " after Holm" * (n_layers > 1)
    return "filled: p < 0.05 after Holm" if n_layers > 1 else f"p of the last step {rows['p'].iloc[-1]:.3g}"


@styled()
def draw_selectivity(table: pd.DataFrame) -> Figure:
    """Draw how far each layer's recall is above that of the same probe on shuffled labels.

    Args:
        table: The probe summary, of one target and family.

    Raises:
        AnalysisError: If the table has no scores of probes on shuffled labels to compare with.
    """
    rows = pick(table, "probe summary", measure="selectivity_uar", split="test", control="none")
    figure, (ax,) = new_panels(PAGE_WIDTH_IN, 3.6)
    models = rows[rows["step"].notna()]
    if set(models["layer"]) == {WEIGHTED_SUM}:
        plot_sum_by_step(models, ax, baseline="no better than shuffled")
        add_step_legend(ax, [])
    else:
        plot_steps_by_layer(rows, ax, baseline="no better than shuffled")
        add_step_legend(ax, step_order(rows["step"]))
    ax.set_ylabel("selectivity (UAR above shuffled)")
    ax.set_title(probe_heading(models, "Selectivity of the probe"))
    return figure


@styled()
def draw_layer_weights(table: pd.DataFrame) -> Figure:
    """Draw what a learned sum of layers weighs each layer by, a line per checkpoint.

    Args:
        table: The table of layer weights, of one target.
    """
    rows = pick(table, "probe layer weights", measure="layer_weight", control="none")
    deviation = rows["std_over_seeds"].fillna(0)
    figure, (ax,) = new_panels(PAGE_WIDTH_IN, 3.4)
    plot_steps_by_layer(rows.assign(ci_low=rows["value"] - deviation, ci_high=rows["value"] + deviation), ax)
    even = 1 / rows["layer"].nunique()
    ax.axhline(even, color="black", linewidth=0.8, linestyle=(0, (1, 4)), label="all equal")
    ax.set_ylabel("weight (sum over layers: 1)")
    add_step_legend(ax, step_order(rows["step"]))
    ax.set_title(probe_heading(rows, "Learned sum of layers"))
    return figure


@styled()
def draw_centres(table: pd.DataFrame) -> Figure:
    """Draw where in the network the target is read, over fine-tuning steps.

    Args:
        table: The table of centres, of one target and family.

    Raises:
        AnalysisError: If it has no row of a checkpoint.
    """
    rows = need(table, ["step", "measure", "value"], "probe centre")
    present = [measure for measure in _CENTRES if measure in set(rows["measure"])]
    if not present or not step_order(rows["step"]):
        raise AnalysisError("The table of centres holds no checkpoint")
    figure, axes = new_panels(PAGE_WIDTH_IN, 3.0, len(present), sharey=True)
    for ax, measure in zip(axes, present, strict=True):
        plot_centres(rows, ax, measure=measure)
    for ax in axes[1:]:
        ax.set_ylabel("")
    figure.suptitle(probe_heading(rows, "Depth of the probe"))
    return figure


@styled()
def draw_numbers(table: pd.DataFrame, *, measure: str = "r2") -> Figure:
    """Draw how well numeric targets are predicted per layer, a panel a target and a line a checkpoint.

    Args:
        table: The table of numeric targets, of one model; of more than four targets, the four best read are drawn.
        measure: Which measure.
    """
    rows = pick(table, "probe numbers", measure=measure, split="test", control="none")
    models = rows[rows["step"].notna()]
    best = models.groupby("target", sort=False)["value"].max()
    targets = [name for name in best.index if name in set(best.nlargest(_MOST_NUMBER_PANELS).index)]
    n_rows, columns = grid_shape(len(targets), 2)
    figure, axes = new_panels(PAGE_WIDTH_IN, 0.9 + 2.5 * n_rows, len(targets), columns)
    for ax, target in zip(axes, targets, strict=True):
        of_target = rows[rows["target"] == target]
        plot_steps_by_layer(of_target, ax)
        ax.set(title=short(target, 32), ylabel=measure_name(measure))
        _cut_at_lowest(ax, of_target)
        thin_labels(ax.xaxis, most=9)
    legend_below(figure, axes[0], 6, columnspacing=1.2, title="fine-tuning step")
    some = "" if len(targets) == len(best) else f" ({len(targets)} of {len(best)} targets, those read best)"
    figure.suptitle(probe_heading(models.drop(columns="target"), "Numeric probes") + some)
    return figure


def _cut_at_lowest(ax: Axes, rows: pd.DataFrame) -> None:
    """Cut a panel of R2 at -1, where a failure in one speaker would flatten all else, and say what is beyond it."""
    low, high = ax.get_ylim()
    if low >= _LOWEST_R2:
        return
    ax.set_ylim(_LOWEST_R2, min(high, 1.05) if high > _LOWEST_R2 else 1)
    acoustic = rows.loc[rows["layer"] == FUNCTIONALS, "value"]
    hidden = rows.loc[(rows["layer"] != FUNCTIONALS) & (rows["value"] < _LOWEST_R2), "value"]
    texts = [f"eGeMAPS {acoustic.mean():.1f}"] if not acoustic.empty and acoustic.mean() < _LOWEST_R2 else []
    texts += [f"{len(hidden)} values down to {hidden.min():.1f}"] if len(hidden) else []
    if texts:
        ax.text(0.02, 0.03, "below: " + ", ".join(texts), transform=ax.transAxes, fontsize=9)


def plot_changes(table: pd.DataFrame, ax: Axes, *, measure: str = "uar") -> Axes:
    """Draw how far each layer's score is from that of the first checkpoint, with the interval of the last one.

    Filled dots are layers whose change is significant after Holm's correction over layers. Whether a dot can be filled
    at all depends on how many speakers were tested. Dots are not independent: neighbouring layers hold much the same.

    Args:
        table: Columns `step`, `layer`, `measure`, `value`, `ci_low`, `ci_high`, `p_holm`.
        ax: Where to draw.
        measure: Which measure.
    """
    need(table, ["step", "layer", "measure", "value", "ci_low", "ci_high", "p_holm"], "probe changes")
    rows = pick(table, "probe changes", measure=measure)
    layers, steps = layer_order(rows["layer"]), step_order(rows["step"])
    colours = line_colours(len(steps) + 1, STEP_COLOURS)[1:]  # the first checkpoint's colour is that of 0
    ax.axhline(0, color=GREY, linewidth=1)
    x = np.arange(len(layers))
    for step, colour in zip(steps, colours, strict=True):
        line = rows[rows["step"] == step].set_index("layer").reindex(layers)
        last = step == steps[-1]
        ax.plot(x, line["value"], color=colour, linewidth=1.8 if last else 1.0, label=step_name(step), zorder=3)
        if last:
            ax.vlines(x, line["ci_low"], line["ci_high"], color=colour, linewidth=1.4, zorder=2)
        significant = (line["p_holm"] < SIGNIFICANT).to_numpy()
        for dots, face in ((significant, colour), (~significant, "white")):
            ax.plot(x[dots], line["value"][dots], linestyle="none", marker="o", markersize=5 if last else 3,
                    markerfacecolor=face, markeredgecolor=colour, zorder=4)  # fmt: skip
    name_layers(ax, layers)
    ax.set_ylabel(f"change of {short_measure_name(measure)}")
    return ax


def plot_steps_by_layer(table: pd.DataFrame, ax: Axes, *, baseline: str | None = None) -> Axes:
    """Draw a value per layer, a line per checkpoint, with the intervals of the first and the last.

    Args:
        table: Columns `step`, `layer`, `value`, `ci_low`, `ci_high`: one row per step and layer. Rows of acoustic
            features become a dashed line.
        ax: Where to draw.
        baseline: What 0 is called; None draws no line there.
    """
    rows = encoder_rows(need(table, ["step", "layer", "value", "ci_low", "ci_high"], "probe"))
    layers, steps = encoder_layers(rows), encoder_steps(rows)
    if baseline is not None:
        ax.axhline(0, color=GREY, linewidth=1, linestyle=(0, (1, 1.4)), label=baseline)
    acoustic = table.loc[table["layer"] == FUNCTIONALS, "value"]
    if not acoustic.empty:
        ax.axhline(acoustic.mean(), color=ACCENT, linestyle=(0, (6, 3)), linewidth=1.8, label="eGeMAPS")
    plot_lines_by_layer(rows, ax, layers=layers, steps=steps)
    name_layers(ax, layers)
    return ax


def plot_sum_by_step(table: pd.DataFrame, ax: Axes, *, baseline: str | None = None) -> Axes:
    """Draw a value of probes that take all layers at once over fine-tuning steps, with its interval.

    Args:
        table: Columns `step`, `value`, `ci_low`, `ci_high`: one row per step.
        ax: Where to draw.
        baseline: What 0 is called.
    """
    rows = need(table, ["step", "value", "ci_low", "ci_high"], "probe").sort_values("step")
    colour = line_colours(1, STEP_COLOURS)[0]
    ax.axhline(0, color=GREY, linewidth=1, linestyle=(0, (1, 1.4)), label=baseline)
    ax.vlines(rows["step"], rows["ci_low"], rows["ci_high"], color=colour, linewidth=1.4)
    ax.plot(rows["step"], rows["value"], color=colour, marker="o", markersize=4, label="learned sum of layers")
    name_steps(ax, step_order(rows["step"]))
    return ax


def plot_centres(table: pd.DataFrame, ax: Axes, *, measure: str) -> Axes:
    """Draw a depth over fine-tuning steps with its interval over speakers; the ends of the network bound the axis.

    Args:
        table: Columns `step`, `measure`, `value`, `ci_low`, `ci_high`, `first_layer`, `last_layer`.
        ax: Where to draw.
        measure: `centre_of_gravity` or `expected_layer`.
    """
    rows = pick(table, "probe centre", measure=measure).sort_values("step")
    colour = line_colours(1, STEP_COLOURS)[0]
    ax.fill_between(rows["step"], rows["ci_low"], rows["ci_high"], color=colour, alpha=0.16, linewidth=0)
    ax.plot(rows["step"], rows["value"], color=colour, marker="o", markersize=4)
    ax.set_ylim(rows["first_layer"].min(), rows["last_layer"].max())
    name_steps(ax, step_order(rows["step"]))
    thin_labels(ax.xaxis, most=6)
    ax.set(ylabel="depth in layers", title=measure_name(measure))
    return ax
