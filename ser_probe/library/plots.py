"""Plots as a notebook draws them: a table or a result in, Axes out, which may be given.

What is drawn, and how it misleads, is said by the functions of `report` that these call.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, ParamSpec, Protocol

import pandas as pd
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ser_probe.library.results import AnalysisResult, FinetuneResult
from ser_probe.report.acoustics.plots import plot_group_controls
from ser_probe.report.canvas import add_colour_bar, add_step_legend
from ser_probe.report.drift.plots import plot_drift_over_layers
from ser_probe.report.evaluation import plots as evaluation
from ser_probe.report.geometry import plots as geometry
from ser_probe.report.layer_lines import plot_lines_by_layer
from ser_probe.report.measures import measure_name
from ser_probe.report.probes.changes import plot_changes
from ser_probe.report.probes.scores import plot_scores_by_layer
from ser_probe.report.similarity.plots import colour_limits, plot_layer_matrix, rows_of_measure
from ser_probe.report.style import styled
from ser_probe.report.tables import layer_order, pick, pooled_rows, step_order, with_steps
from ser_probe.report.training.plots import plot_loss
from ser_probe.report.umap.plots import add_class_legend, class_names, is_scale, plot_projection

Table = pd.DataFrame | AnalysisResult | FinetuneResult

P = ParamSpec("P")
_SHARED = """

    Args:
        table: The table `{table}`, or the result that holds it.
        ax: Where to draw; None: a new figure.
        where: Rows to take, by column{default}.

    Raises:
        AnalysisError: If there are no such rows.
    """


class Plot(Protocol[P]):
    """A function that draws a table; further keyword arguments name the rows to take."""

    def __call__(self, table: Table, ax: Axes | None = None, *args: P.args, **kwargs: P.kwargs) -> Axes:
        """Draw, and return where."""


def _plot(name: str, **default: object) -> Callable[[Callable[Concatenate[pd.DataFrame, Axes, P], None]], Plot[P]]:
    """Make a public function of one that draws rows: it takes the table of this name, an ax or none, and `where`.

    The rows that `**where` names are taken here; the function that draws has it for its signature alone.
    """

    def decorate(draw: Callable[Concatenate[pd.DataFrame, Axes, P], None]) -> Plot[P]:
        arguments = inspect.signature(draw).parameters.values()
        options = [argument for argument in arguments if argument.kind is argument.KEYWORD_ONLY]
        names = [option.name for option in options]

        @functools.wraps(draw)
        def plot(table: Table, ax: Axes | None = None, **kwargs: Any) -> Axes:
            wanted = default | {column: value for column, value in kwargs.items() if column not in names}
            rows = _rows(table if isinstance(table, pd.DataFrame) else getattr(table, name), name, wanted)
            with styled():
                ax = pyplot.subplots(layout="constrained")[1] if ax is None else ax
                draw(rows, ax, **{option: kwargs[option] for option in names if option in kwargs})  # type: ignore[call-arg]
            return ax

        first = [inspect.Parameter(taken, inspect.Parameter.POSITIONAL_OR_KEYWORD) for taken in ("table", "ax")]
        where = inspect.Parameter("where", inspect.Parameter.VAR_KEYWORD)
        plot.__signature__ = inspect.Signature([first[0], first[1].replace(default=None), *options, where])  # type: ignore[attr-defined]
        said = "".join(f"; by default {column}={value!r}" for column, value in default.items())
        plot.__doc__ = f"{draw.__doc__}{_SHARED.format(table=name, default=said)}"
        return plot  # type: ignore[return-value]

    return decorate


def _rows(table: pd.DataFrame, name: str, where: Mapping[str, object]) -> pd.DataFrame:
    """Return the rows to draw; of several corpora those of all pooled, where no one is named."""
    rows = with_steps(table)
    rows = rows if "corpus" in where else pooled_rows(rows)
    return pick(rows, name, **where) if where else rows


@_plot("probe")
def plot_probe_scores(
    rows: pd.DataFrame, ax: Axes, *, measure: str = "weighted_f1", split: str = "test", **where: object
) -> None:
    """Draw the score of a probe per layer, a line per checkpoint, with its controls; see `plot_scores_by_layer`."""
    plot_scores_by_layer(rows, ax, measure=measure, split=split)
    add_step_legend(ax, step_order(rows.loc[rows["control"] == "none", "step"]))


@_plot("probe_changes")
def plot_probe_changes(rows: pd.DataFrame, ax: Axes, *, measure: str = "uar", **where: object) -> None:
    """Draw how the score of each layer has changed against the first checkpoint; see `plot_changes`."""
    plot_changes(rows, ax, measure=measure)
    add_step_legend(ax, step_order(rows["step"]))


@_plot("similarity")
def plot_similarity(rows: pd.DataFrame, ax: Axes, *, measure: str | None = None, **where: object) -> None:
    """Draw the similarity of the layers of two representations as a heat map; see `plot_layer_matrix`.

    Of several pairs of representations the last one of two different ones is drawn, so that `where` names another, as
    `step_a=0, step_b=50`. Without a measure the main one is drawn.
    """
    rows = rows_of_measure(rows, measure)
    sides = [rows[f"model_{side}"].str.cat(rows[f"checkpoint_{side}"], " ").str.strip() for side in "ab"]
    different = sides[0] != sides[1]
    last = rows.index[different][-1] if different.any() else rows.index[-1]
    rows = rows[(sides[0] == sides[0][last]) & (sides[1] == sides[1][last])]
    limits = colour_limits(rows["value"])
    plot_layer_matrix(rows, ax, limits=limits)
    ax.set(xlabel=f"layer of {sides[0][last]}", ylabel=f"layer of {sides[1][last]}")
    add_colour_bar([ax], limits, measure_name(str(rows["measure"].iloc[0])))


@_plot("drift", against="first")
def plot_drift(rows: pd.DataFrame, ax: Axes, *, measure: str = "cka_debiased", **where: object) -> None:
    """Draw how far each layer has moved, a line per checkpoint, with its floor; see `plot_drift_over_layers`."""
    plot_drift_over_layers(rows, ax, measure=measure)
    add_step_legend(ax, step_order(rows["step"]))


@_plot("geometry")
def plot_geometry(
    rows: pd.DataFrame, ax: Axes, *, measure: str = "effective_rank", factor: str = "", **where: object
) -> None:
    """Draw a measure of the shape of each layer, some by a factor such as `label`, a line per checkpoint."""
    layers, steps = layer_order(rows["layer"]), step_order(rows["step"])
    geometry.plot_geometry(rows, ax, measure=measure, factor=factor, layers=layers, steps=steps)
    ax.set_xlabel("hidden layer")
    add_step_legend(ax, steps)


@_plot("acoustics_groups")
def plot_acoustics(rows: pd.DataFrame, ax: Axes, *, group: str = "all", measure: str = "r2", **where: object) -> None:
    """Draw how well a group of acoustic features is predicted from each layer, a line per checkpoint, with controls.

    The bands are 95 % intervals over speakers of the first and the last checkpoint's own values.
    """
    rows = pick(rows, "acoustics_groups", group=group, measure=measure)
    scores = pick(rows, "acoustics_groups", control="none")
    layers, steps = layer_order(scores["layer"]), step_order(scores["step"])
    plot_lines_by_layer(scores, ax, layers=layers, steps=steps)
    plot_group_controls(rows, ax, group=group, measure=measure, layers=layers)
    ax.set(xlabel="hidden layer", ylabel=f"{measure_name(measure)}, {group} features")
    add_step_legend(ax, steps)


@_plot("umap")
def plot_umap(rows: pd.DataFrame, ax: Axes, *, color: str = "label", layer: str | None = None, **where: object) -> None:
    """Draw the map of one layer, by default the last one, and of the last step that is there; see `plot_projection`."""
    rows = pick(rows, "umap", layer=layer or layer_order(rows["layer"])[-1])
    rows = pick(rows, "umap", step=rows["step"].max())
    plot_projection(rows, ax, colour=color)
    if not is_scale(rows[color]):
        add_class_legend(ax, class_names(rows, color), color, some_unknown=bool(rows[color].isna().any()))
    ax.set(box_aspect=1, title=f"layer {rows['layer'].iloc[0]}")


@_plot("confusion", group_by="overall")
def plot_confusion(rows: pd.DataFrame, ax: Axes, *, counts: bool = False, **where: object) -> None:
    """Draw a confusion matrix in percent of each true class; see `report.evaluation.plots.plot_confusion`."""
    evaluation.plot_confusion(rows, ax, counts=counts)


@_plot("reliability")
def plot_reliability(rows: pd.DataFrame, ax: Axes, **where: object) -> None:
    """Draw accuracy against confidence; see `report.evaluation.plots.plot_reliability`."""
    evaluation.plot_reliability(rows, ax)


@_plot("training")
def plot_training(rows: pd.DataFrame, ax: Axes, **where: object) -> None:
    """Draw the losses of a fine-tuning run by step; see `plot_loss`."""
    plot_loss(rows, ax)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend()


PLOTS: Mapping[str, Callable[..., Axes]] = {
    "probe": plot_probe_scores,
    "similarity": plot_similarity,
    "drift": plot_drift,
    "geometry": plot_geometry,
    "acoustics": plot_acoustics,
    "umap": plot_umap,
    "evaluate": plot_confusion,
    "finetune": plot_training,
}
"""What the `plot` of a result draws, by its name."""
