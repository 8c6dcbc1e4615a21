"""Figures of geometry: shape per layer, classes per layer, what the variance is about, the spectrum."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser_probe.errors import AnalysisError
from ser_probe.report.canvas import add_colour_key, heading, new_figure
from ser_probe.report.geometry.plots import (
    encoder_layers,
    encoder_steps,
    plot_geometry,
    plot_spectrum,
    plot_variance_shares,
)
from ser_probe.report.style import (
    LAYER_COLOURS,
    LEGEND_CHARACTERS,
    PAGE_WIDTH_IN,
    STEP_COLOURS,
    legend_columns,
    short,
    styled,
)
from ser_probe.report.tables import at_step, need, step_name

SHAPE_PANELS = ("rankme", "effective_rank", "participation_ratio_unbiased", "two_nn", "two_nn_mle", "anisotropy")
_PANEL_HEIGHT_IN = 1.95
_COLUMNS = ["step", "layer", "measure", "factor", "value", "baseline"]


def draw_geometry_shape(table: pd.DataFrame) -> Figure:
    """Draw each measure of shape per layer, a line per checkpoint.

    Args:
        table: The geometry table.

    Raises:
        AnalysisError: If the table holds no checkpoint.
    """
    measures = [name for name in SHAPE_PANELS if name in set(_checked(table)["measure"])]
    return _small_multiples(table, [(name, "") for name in measures], "Shape of the representation")


def draw_geometry_classes(table: pd.DataFrame) -> Figure:
    """Draw silhouette and Fisher ratio per layer, a row per measure, a column per factor.

    Args:
        table: The geometry table.

    Raises:
        AnalysisError: If the table holds no checkpoint, or no measure by factor.
    """
    factors = _factors_of(_checked(table), "silhouette")
    panels = [(measure, factor) for measure in ("silhouette", "fisher_ratio") for factor in factors]
    return _small_multiples(table, panels, "How far classes lie apart", columns=max(2, len(factors)))


def draw_geometry_shares(table: pd.DataFrame) -> Figure:
    """Draw each factor's share of the variance per layer, a line per checkpoint.

    Args:
        table: The geometry table.

    Raises:
        AnalysisError: If the table holds no checkpoint, or no share.
    """
    factors = _factors_of(_checked(table), "marginal_share")
    panels = [("marginal_share", name) for name in factors]
    return _small_multiples(table, panels, "What the variance is about", columns=2 if len(panels) == 4 else 3)


def draw_geometry_variance(table: pd.DataFrame) -> Figure:
    """Draw the unique shares of all factors as stacked bars per layer, at the first and the last checkpoint.

    Args:
        table: The geometry table.

    Raises:
        AnalysisError: If the table holds no checkpoint, or no share.
    """
    with styled():
        _factors_of(_checked(table), "unique_share")
        layers, steps = encoder_layers(table), encoder_steps(table)
        ends = list(dict.fromkeys([steps[0], steps[-1]]))
        figure = new_figure(PAGE_WIDTH_IN, 3.4)
        axes = list(figure.subplots(1, len(ends), sharey=True, squeeze=False)[0])
        for ax, step in zip(axes, ends, strict=True):
            plot_variance_shares(table, ax, layers=layers, step=step)
            ax.set(xlabel="hidden layer", title=at_step(step))
        axes[0].set_ylabel("share of the variance\n(beyond all other factors)")
        handles, labels = axes[0].get_legend_handles_labels()
        names = [short(label, LEGEND_CHARACTERS) for label in labels]
        figure.legend(handles, names, loc="outside lower center", ncols=legend_columns(names, PAGE_WIDTH_IN, 6))
        axes[0].margins(y=0.08)
        figure.suptitle(heading(_encoder_rows(table), "What the variance is about"))
        return figure


def draw_geometry_spectrum(table: pd.DataFrame) -> Figure:
    """Draw the spectrum of every layer at the first and the last checkpoint.

    Args:
        table: The table of spectra.

    Raises:
        AnalysisError: If the table holds no checkpoint.
    """
    with styled():
        need(table, ["step", "layer", "component", "value"], "geometry_spectrum")
        layers, steps = encoder_layers(table), encoder_steps(table)
        _check_steps(steps)
        ends = list(dict.fromkeys([steps[0], steps[-1]]))
        figure = new_figure(PAGE_WIDTH_IN, 3.2)
        axes = list(figure.subplots(1, len(ends), sharex=True, sharey=True, squeeze=False)[0])
        for ax, step in zip(axes, ends, strict=True):
            plot_spectrum(table, ax, layers=layers, step=step)
            ax.set(xlabel="component", title=at_step(step))
        axes[0].set_ylabel("share of the variance")
        add_colour_key(axes, layers, "hidden layer", LAYER_COLOURS)
        figure.suptitle(heading(_encoder_rows(table), "Spectrum of the covariance"))
        return figure


def _small_multiples(table: pd.DataFrame, panels: list[tuple[str, str]], title: str, *, columns: int = 3) -> Figure:
    with styled():
        layers, steps = encoder_layers(table), encoder_steps(table)
        columns = min(columns, len(panels))
        rows = -(-len(panels) // columns)
        figure = new_figure(PAGE_WIDTH_IN, 0.8 + _PANEL_HEIGHT_IN * rows)
        axes: list[Axes] = list(figure.subplots(rows, columns, sharex=True, squeeze=False).ravel())
        for ax, (measure, factor) in zip(axes, panels, strict=False):
            plot_geometry(table, ax, measure=measure, factor=factor, layers=layers, steps=steps)
        for ax in axes[len(panels) :]:
            ax.remove()
        for ax in axes[max(0, len(panels) - columns) : len(panels)]:
            ax.set_xlabel("hidden layer")
            ax.tick_params(labelbottom=True)
        add_colour_key(axes[: len(panels)], [step_name(step) for step in steps], "fine-tuning step", STEP_COLOURS)
        figure.suptitle(heading(_encoder_rows(table), title))
        return figure


def _encoder_rows(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["step"].notna()]


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    need(table, _COLUMNS, "geometry")
    _check_steps(encoder_steps(table))
    return table


def _check_steps(steps: list[int]) -> None:
    if not steps:
        raise AnalysisError("The geometry table holds no checkpoint", expected="rows with a step")


def _factors_of(table: pd.DataFrame, measure: str) -> list[str]:
    factors = list(table.loc[table["measure"] == measure, "factor"].drop_duplicates())
    if not factors:
        raise AnalysisError(
            "The geometry table holds no measure by factor",
            expected=f"rows of {measure}",
            fix="the clips need a column such as label or speaker with several values",
        )
    return factors
