"""Code lengths, learning curves, transfer and directions of probes. Table -> Axes."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from ser_probe.report.style import ACCENT, GREY, STEP_COLOURS, line_colours, measure_name, spaced
from ser_probe.report.tables import layer_order, need, step_name, step_order

ALIGNMENT_TITLES = {"none": "as they are", "scaled": "mean and scale matched", "rotated": "best rotation first"}


def plot_compression(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw how many times shorter the labels' code is than the uniform one, per layer; a line per checkpoint.

    Args:
        table: Columns `step`, `layer`, `measure`, `value`, `uniform_bits`, `frequency_bits`, `ceiling`.
        ax: Where to draw.
    """
    columns = ["step", "layer", "measure", "value", "uniform_bits", "frequency_bits", "ceiling"]
    rows = need(table, columns, "probe_description_length")
    rows = rows[rows["measure"] == "compression"]
    layers = layer_order(rows["layer"])
    _lines_over_layers(rows, ax, layers, spread=True)
    ax.axhline(1, color=GREY, linestyle="--", linewidth=1, label="uniform code")
    frequency = (rows["uniform_bits"] / rows["frequency_bits"]).mean()
    # Frequencies of equal classes save nothing: the two lines would be one.
    if abs(frequency - 1) > 0.01:
        ax.axhline(frequency, color=GREY, linestyle=":", linewidth=1, label="class frequencies alone")
    _name_layers(ax, layers, most=17)
    ax.set_ylabel("compression of the labels (ratio)")
    return ax


def plot_learning(table: pd.DataFrame, ax: Axes, *, measure: str = "uar") -> Axes:
    """Draw the score of one layer against the number of training clips, drawn as fewer speakers or as fewer clips.

    Args:
        table: Rows of one layer: `step`, `by`, `fraction`, `measure`, `value`, `sd_over_draws`, `train_clips`.
        ax: Where to draw.
        measure: Which measure.
    """
    columns = ["step", "by", "fraction", "measure", "value", "sd_over_draws", "train_clips"]
    rows = need(table, columns, "probe_curve")
    rows = rows[rows["measure"] == measure]
    steps = step_order(rows["step"])
    for step, colour in zip(steps, line_colours(len(steps), STEP_COLOURS), strict=True):
        for by, style in (("speakers", "-"), ("clips", "--")):
            part = rows[(rows["step"] == step) & (rows["by"] == by)].sort_values("train_clips")
            ax.plot(part["train_clips"], part["value"], style, color=colour, marker="o", markersize=3)
            spread = part["sd_over_draws"].fillna(0)
            ax.fill_between(part["train_clips"], part["value"] - spread, part["value"] + spread,
                            color=colour, alpha=0.12, linewidth=0)  # fmt: skip
    ax.set(xlabel="training clips", ylabel=measure_name(measure))
    ax.set_xlim(left=0)
    return ax


def plot_transfer(table: pd.DataFrame, ax: Axes, *, alignment: str, to_later: bool, measure: str = "uar") -> Axes:
    """Draw what probes reach at another checkpoint than their own, per layer; a line per later checkpoint.

    Args:
        table: Columns `trained_step`, `tested_step`, `layer`, `alignment`, `measure`, `value`, `own_value`.
        ax: Where to draw.
        alignment: `none`, `scaled` or `rotated`.
        to_later: Probes of the first checkpoint applied to later ones; else those of later ones applied to the first.
        measure: Which measure.
    """
    rows = need(table, ["trained_step", "tested_step", "layer", "alignment", "value", "own_value"], "probe_transfer")
    rows = rows[rows["measure"] == measure]
    first = step_order(rows["trained_step"])[0]
    fixed, moving = ("trained_step", "tested_step") if to_later else ("tested_step", "trained_step")
    chosen = rows[(rows["alignment"] == alignment) & (rows[fixed] == first) & (rows[moving] != first)]
    layers = layer_order(rows["layer"])
    steps = step_order(rows["tested_step"])
    own = chosen.groupby("layer")["own_value"].agg(["min", "max"]).reindex(layers)
    ax.fill_between(range(len(layers)), own["min"], own["max"], color="#bdbdbd", alpha=0.6, linewidth=1,
                    edgecolor=GREY, label="probe of the tested checkpoint itself")  # fmt: skip
    _lines_over_layers(chosen.assign(step=chosen[moving]), ax, layers, steps=steps)
    _name_layers(ax, layers, most=5)
    return ax


def plot_direction_cosines(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the cosine between class directions of the first and each later checkpoint, per layer.

    Args:
        table: Columns `step_a`, `step_b`, `layer`, `class`, `value`, `ceiling`, `null`.
        ax: Where to draw.
    """
    rows = need(table, ["step_a", "step_b", "layer", "class", "value", "ceiling", "null"], "probe_directions")
    steps = step_order(pd.concat([rows["step_a"], rows["step_b"]]))
    layers = layer_order(rows["layer"])
    from_first = rows[(rows["step_a"] == steps[0]) & (rows["step_b"] != steps[0])]
    means = from_first.groupby("layer")[["ceiling", "null"]].mean().reindex(layers)
    ax.fill_between(range(len(layers)), -means["null"], means["null"], color="#dcdcdc", linewidth=0,
                    label="95 % with shuffled labels")  # fmt: skip
    ax.plot(range(len(layers)), means["ceiling"], color=ACCENT, linestyle="--", linewidth=1.2,
            label="two seeds of one checkpoint")  # fmt: skip
    _lines_over_layers(from_first.assign(step=from_first["step_b"]), ax, layers, steps=steps)
    ax.axhline(0, color=GREY, linewidth=0.8)
    _name_layers(ax, layers, most=17)
    ax.set_ylabel("cosine (mean over classes)")
    return ax


def plot_corpus_transfer(table: pd.DataFrame, ax: Axes, *, tested_on: str, step: int, measure: str = "uar") -> Axes:
    """Draw the scores on one corpus of probes trained on each, per layer, at one checkpoint.

    Args:
        table: Columns `trained_on`, `tested_on`, `step`, `layer`, `measure`, `value`.
        ax: Where to draw.
        tested_on: The corpus.
        step: The checkpoint.
        measure: Which measure.
    """
    rows = need(table, ["trained_on", "tested_on", "step", "layer", "measure", "value"], "probe_corpus_transfer")
    rows = rows[(rows["measure"] == measure) & (rows["tested_on"] == tested_on) & (rows["step"] == step)]
    layers, corpora = layer_order(rows["layer"]), sorted(table["trained_on"].unique())
    for corpus, colour in zip(corpora, line_colours(len(corpora), "plasma"), strict=True):
        value = rows[rows["trained_on"] == corpus].set_index("layer")["value"].reindex(layers)
        ax.plot(range(len(layers)), value, color=colour, marker="o", markersize=3, label=str(corpus))
    _name_layers(ax, layers, most=8)
    return ax


def _lines_over_layers(
    rows: pd.DataFrame, ax: Axes, layers: list[str], *, steps: list[int] | None = None, spread: bool = False
) -> None:
    """Draw a line per step; steps that are given but have no rows keep their colour."""
    steps = steps or step_order(rows["step"])
    for step, colour in zip(steps, line_colours(len(steps), STEP_COLOURS), strict=True):
        part = rows[rows["step"] == step]
        if part.empty:
            continue
        each = part.groupby("layer")["value"].agg(["mean", "std"]).reindex(layers)
        ax.plot(
            range(len(layers)), each["mean"], color=colour, marker="o", markersize=3, label=step_name(step), zorder=3
        )
        if spread and step in (steps[0], steps[-1]):
            deviation = each["std"].fillna(0)
            ax.fill_between(range(len(layers)), each["mean"] - deviation, each["mean"] + deviation, color=colour,
                            alpha=0.16, linewidth=0)  # fmt: skip


def _name_layers(ax: Axes, layers: list[str], most: int) -> None:
    """Name at most about so many layers; ticks, unlike the visibility of labels, are shared by panels."""
    shown = spaced(len(layers), most)
    ax.set_xticks(shown, [layers[i] for i in shown])
    ax.set_xlim(-0.5, len(layers) - 0.5)
    ax.set_xlabel("hidden layer")
