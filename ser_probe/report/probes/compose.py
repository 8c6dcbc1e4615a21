"""Figures about probes beyond their scores: what changed, which classes, where in the network, numeric targets."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ser_probe.errors import AnalysisError
from ser_probe.report.canvas import add_step_legend, new_figure, probe_heading
from ser_probe.report.evaluation.plots import plot_class_scores, plot_confusion
from ser_probe.report.probes.plots import WEIGHTED_SUM
from ser_probe.report.probes.plots_changes import (
    SIGNIFICANT,
    plot_centres,
    plot_changes,
    plot_recall_lines,
    plot_recall_map,
    plot_steps_by_layer,
    plot_sum_by_step,
)
from ser_probe.report.style import CLASS_COLOURS, PAGE_WIDTH_IN, measure_name, short, styled, thin_labels
from ser_probe.report.tables import FUNCTIONALS, at_step, need, pick, step_order

_MOST_NUMBER_PANELS = 4
_MOST_NAMED_CLASSES = 20
_LOWEST_R2 = -1.0
_CENTRES = ("centre_of_gravity", "expected_layer")


def draw_changes(table: pd.DataFrame, *, measure: str = "uar") -> Figure:
    """Draw the change of each layer's score against the first checkpoint, with its test.

    Args:
        table: The table of changes, of one target and family.
        measure: Which measure.

    Raises:
        AnalysisError: If the table has no such measure, or the probe has no layers to tell apart.
    """
    with styled():
        rows = pick(table, "probe changes", measure=measure)
        figure = new_figure(PAGE_WIDTH_IN, 3.6)
        ax = figure.subplots()
        if set(rows["layer"]) == {WEIGHTED_SUM}:
            plot_sum_by_step(rows, ax, baseline="before fine-tuning")
            ax.set_ylabel("change of UAR" if measure == "uar" else f"change of {measure_name(measure)}")
            add_step_legend(ax, [])
        else:
            plot_changes(rows, ax, measure=measure)
            add_step_legend(ax, step_order(rows["step"]))
        n_speakers, smallest = int(rows["n_speakers"].max()), float(rows["smallest_p"].max())
        within_reach = smallest * rows["layer"].nunique() < SIGNIFICANT
        several = rows["layer"].nunique() > 1
        reach = "filled: p < 0.05 after Holm" if several else f"p of the last step {rows['p'].iloc[-1]:.3g}"
        reach = reach if within_reach else "too few for any p < 0.05" + " after Holm" * several
        unit = rows["divided_by"].iloc[0] if "divided_by" in rows else "speaker"
        unit = "speaker" if unit == "clip" else unit
        ax.set_title(f"{probe_heading(rows, 'Change of the probe')}\n{n_speakers} test {unit}s: {reach}")
        return figure


def draw_selectivity(table: pd.DataFrame) -> Figure:
    """Draw how far each layer's recall is above that of the same probe on shuffled labels.

    Args:
        table: The probe summary, of one target and family.

    Raises:
        AnalysisError: If no probe on shuffled labels stands beside the others.
    """
    with styled():
        rows = pick(table, "probe summary", measure="selectivity_uar", split="test", control="none")
        figure = new_figure(PAGE_WIDTH_IN, 3.6)
        ax = figure.subplots()
        encoder = rows[rows["step"].notna()]
        if set(encoder["layer"]) == {WEIGHTED_SUM}:
            plot_sum_by_step(encoder, ax, baseline="no better than shuffled")
            add_step_legend(ax, [])
        else:
            plot_steps_by_layer(rows, ax, baseline="no better than shuffled")
            add_step_legend(ax, step_order(rows["step"]))
        ax.set_ylabel("selectivity (UAR above shuffled)")
        ax.set_title(probe_heading(rows[rows["step"].notna()], "Selectivity of the probe"))
        return figure


def draw_confusion_change(table: pd.DataFrame) -> Figure:
    """Draw who is taken for whom at the first and at the last checkpoint, each at the layer that validation chose.

    Args:
        table: The confusion table, of one target and family.

    Raises:
        AnalysisError: If no layer was chosen.
    """
    with styled():
        chosen = pick(table, "probe confusion", chosen=True)
        chosen = chosen[chosen["step"].notna()]
        steps = step_order(chosen["step"])
        if not steps:
            raise AnalysisError("The confusion table holds no layer that validation chose")
        shown = steps[:1] + (steps[-1:] if len(steps) > 1 else [])
        figure = new_figure(PAGE_WIDTH_IN if len(shown) > 1 else 4.4, 4.6)
        axes = list(figure.subplots(1, len(shown), squeeze=False)[0])
        for i, (ax, step) in enumerate(zip(axes, shown, strict=True)):
            own = chosen[chosen["step"] == step]
            plot_confusion(own, ax, width_in=2.4)
            if own["true"].nunique() > _MOST_NAMED_CLASSES:
                thin_labels(ax.xaxis, most=_MOST_NAMED_CLASSES)
                thin_labels(ax.yaxis, most=_MOST_NAMED_CLASSES)
            layer = short(own["layer"].iloc[0])
            ax.set_title(f"{at_step(step)}, " + ("sum of layers" if layer == WEIGHTED_SUM else f"layer {layer}"))
            if i:
                ax.set_ylabel("")
                ax.tick_params(labelleft=False)
        figure.suptitle(probe_heading(chosen, "Answers of the probe"))
        return figure


def draw_class_recall(table: pd.DataFrame) -> Figure:
    """Draw the recall of each class per layer, at the first and at the last checkpoint.

    Args:
        table: The table of classes, of one target and family.

    Raises:
        AnalysisError: If it holds no recall of layers.
    """
    with styled():
        rows = pick(table, "probe classes", measure="recall", split="test", control="none")
        rows = rows[rows["step"].notna()]
        classes, steps = sorted(rows["class"].unique()), step_order(rows["step"])
        if not steps:
            raise AnalysisError("The table of classes holds no checkpoint")
        shown = steps[:1] + (steps[-1:] if len(steps) > 1 else [])
        if rows["layer"].nunique() == 1:
            return _draw_recall_bars(rows[rows["step"].isin(shown)])
        few = len(classes) <= len(CLASS_COLOURS)
        figure = new_figure(PAGE_WIDTH_IN, 3.6 if few else 4.6)
        axes = list(figure.subplots(1, len(shown), squeeze=False, sharey=True)[0])
        for ax, step in zip(axes, shown, strict=True):
            own = rows[rows["step"] == step]
            (plot_recall_lines if few else plot_recall_map)(own, ax, classes=classes)
            ax.set_title(at_step(step))
            thin_labels(ax.xaxis, most=9)
        unit = rows["divided_by"].iloc[0] if "divided_by" in rows else "speaker"
        axes[0].set_ylabel(f"recall (test {unit}s)" if few else "class")
        if few:
            handles, labels = axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=4, columnspacing=1.2)
        else:
            bar = figure.colorbar(ScalarMappable(Normalize(0, 1), "Blues"), ax=axes, label="recall", pad=0.02)
            bar.outline.set_visible(False)  # type: ignore[operator]
        figure.suptitle(probe_heading(rows.drop(columns="n", errors="ignore"), "Recall per class: probe"))
        return figure


def _cut_below(ax: Axes, rows: pd.DataFrame) -> None:
    """Cut a panel of R2 at -1, where a failure in one speaker would flatten all else, and say what is beyond it."""
    low, high = ax.get_ylim()
    if low >= _LOWEST_R2:
        return
    ax.set_ylim(_LOWEST_R2, min(high, 1.05) if high > _LOWEST_R2 else 1)
    acoustic = rows.loc[rows["layer"] == FUNCTIONALS, "value"]
    beyond = rows.loc[(rows["layer"] != FUNCTIONALS) & (rows["value"] < _LOWEST_R2), "value"]
    said = [f"eGeMAPS {acoustic.mean():.1f}"] if not acoustic.empty and acoustic.mean() < _LOWEST_R2 else []
    said += [f"{len(beyond)} values down to {beyond.min():.1f}"] if len(beyond) else []
    if said:
        ax.text(0.02, 0.03, "below: " + ", ".join(said), transform=ax.transAxes, fontsize=9)


def _draw_recall_bars(rows: pd.DataFrame) -> Figure:
    """Draw the recall of each class of probes that take all layers at once, a bar a checkpoint."""
    figure = new_figure(PAGE_WIDTH_IN, min(9.0, 1.4 + 0.42 * rows["class"].nunique()))
    ax = figure.subplots()
    plot_class_scores(rows.assign(group=[at_step(int(step)) for step in rows["step"]]), ax)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
    ax.set_xlabel(f"{ax.get_xlabel()} (lines: 95 % over speakers)")
    ax.set_title(probe_heading(rows.drop(columns="n", errors="ignore"), "Recall per class: probe"))
    return figure


def draw_layer_weights(table: pd.DataFrame) -> Figure:
    """Draw what a learned sum of layers weighs each layer by, a line per checkpoint.

    Args:
        table: The table of layer weights, of one target.
    """
    with styled():
        rows = pick(table, "probe layer weights", measure="layer_weight", control="none")
        spread = rows.assign(
            ci_low=rows["value"] - rows["std_over_seeds"].fillna(0),
            ci_high=rows["value"] + rows["std_over_seeds"].fillna(0),
        )
        figure = new_figure(PAGE_WIDTH_IN, 3.4)
        ax = figure.subplots()
        plot_steps_by_layer(spread, ax)
        even = 1 / rows["layer"].nunique()
        ax.axhline(even, color="black", linewidth=0.8, linestyle=(0, (1, 4)), label="all equal")
        ax.set_ylabel("weight (sum over layers: 1)")
        add_step_legend(ax, step_order(rows["step"]))
        ax.set_title(probe_heading(rows, "Learned sum of layers"))
        return figure


def draw_centres(table: pd.DataFrame) -> Figure:
    """Draw where in the network the target is read, over fine-tuning steps.

    Args:
        table: The table of centres, of one target and family.

    Raises:
        AnalysisError: If it has no row of a checkpoint.
    """
    with styled():
        rows = need(table, ["step", "measure", "value"], "probe centre")
        present = [measure for measure in _CENTRES if measure in set(rows["measure"])]
        if not present or not step_order(rows["step"]):
            raise AnalysisError("The table of centres holds no checkpoint")
        figure = new_figure(PAGE_WIDTH_IN, 3.0)
        axes: list[Axes] = list(figure.subplots(1, len(present), squeeze=False, sharey=True)[0])
        for ax, measure in zip(axes, present, strict=True):
            plot_centres(rows, ax, measure=measure)
        for ax in axes[1:]:
            ax.set_ylabel("")
        figure.suptitle(probe_heading(rows, "Depth of the probe"))
        return figure


def draw_numbers(table: pd.DataFrame, *, measure: str = "r2") -> Figure:
    """Draw how well numeric targets are predicted per layer, a panel a target and a line a checkpoint.

    Args:
        table: The table of numeric targets, of one model; of more than four targets, the four best read are drawn.
        measure: Which measure.
    """
    with styled():
        rows = pick(table, "probe numbers", measure=measure, split="test", control="none")
        best = rows[rows["step"].notna()].groupby("target", sort=False)["value"].max()
        targets = [name for name in best.index if name in set(best.nlargest(_MOST_NUMBER_PANELS).index)]
        columns = min(2, len(targets))
        n_rows = -(-len(targets) // columns)
        figure = new_figure(PAGE_WIDTH_IN, 0.9 + 2.5 * n_rows)
        axes = list(figure.subplots(n_rows, columns, squeeze=False).ravel())
        for ax in axes[len(targets) :]:
            ax.set_axis_off()
        for ax, target in zip(axes, targets, strict=False):
            plot_steps_by_layer(rows[rows["target"] == target], ax)
            ax.set(title=short(target, 32), ylabel=measure_name(measure))
            _cut_below(ax, rows[rows["target"] == target])
            thin_labels(ax.xaxis, most=9)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=6, columnspacing=1.2, title="fine-tuning step")
        some = "" if len(targets) == len(best) else f" ({len(targets)} of {len(best)} targets, those read best)"
        figure.suptitle(probe_heading(rows[rows["step"].notna()].drop(columns="target"), "Numeric probes") + some)
        return figure
