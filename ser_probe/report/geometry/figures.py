"""The figures of geometry: shape per layer, classes per layer, what the variance is about, the spectrum."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from ser_probe.errors import AnalysisError
from ser_probe.report.canvas import add_colour_key, grid_shape, heading, legend_columns, new_panels
from ser_probe.report.corpora.figures import CORPORA_CAPTION, draw_geometry_corpora
from ser_probe.report.figure_specs import FigureSpec
from ser_probe.report.geometry.plots import plot_geometry, plot_spectrum, plot_variance_shares
from ser_probe.report.layer_lines import encoder_layers, encoder_steps, require_steps
from ser_probe.report.style import LAYER_COLOURS, LEGEND_CHARACTERS, PAGE_WIDTH_IN, STEP_COLOURS, short, styled
from ser_probe.report.tables import at_step, first_and_last, need, step_name

_SHAPE_MEASURES = ("rankme", "effective_rank", "participation_ratio_unbiased", "two_nn", "two_nn_mle", "anisotropy")
_PANEL_HEIGHT_IN = 1.95
_TABLE = "The geometry table"
_COLUMNS = ["step", "layer", "measure", "factor", "value", "baseline"]


def draw_geometry_shape(table: pd.DataFrame) -> Figure:
    """Draw each measure of shape per layer, a line per checkpoint.

    Raises:
        AnalysisError: If the geometry table holds no checkpoint.
    """
    measures = [name for name in _SHAPE_MEASURES if name in set(_checked(table)["measure"])]
    return _small_multiples(table, [(name, "") for name in measures], "Shape of the representation")


def draw_geometry_classes(table: pd.DataFrame) -> Figure:
    """Draw silhouette and Fisher ratio per layer, a row per measure, a column per factor.

    Raises:
        AnalysisError: If the geometry table holds no checkpoint, or no measure by factor.
    """
    factors = _factors_of(_checked(table), "silhouette")
    panels = [(measure, factor) for measure in ("silhouette", "fisher_ratio") for factor in factors]
    return _small_multiples(table, panels, "How far classes lie apart", columns=max(2, len(factors)))


def draw_geometry_shares(table: pd.DataFrame) -> Figure:
    """Draw each factor's share of the variance per layer, a line per checkpoint.

    Raises:
        AnalysisError: If the geometry table holds no checkpoint, or no share.
    """
    factors = _factors_of(_checked(table), "marginal_share")
    panels = [("marginal_share", name) for name in factors]
    return _small_multiples(table, panels, "What the variance is about", columns=2 if len(panels) == 4 else 3)


@styled()
def draw_geometry_variance(table: pd.DataFrame) -> Figure:
    """Draw the unique shares of all factors as stacked bars per layer, at the first and the last checkpoint.

    Raises:
        AnalysisError: If the geometry table holds no checkpoint, or no share.
    """
    _factors_of(_checked(table), "unique_share")
    layers, steps = encoder_layers(table), first_and_last(encoder_steps(table))
    figure, axes = new_panels(PAGE_WIDTH_IN, 3.4, len(steps), sharey=True)
    for ax, step in zip(axes, steps, strict=True):
        plot_variance_shares(table, ax, layers=layers, step=step)
        ax.set(xlabel="hidden layer", title=at_step(step))
    axes[0].set_ylabel("share of the variance\n(beyond all other factors)")
    handles, labels = axes[0].get_legend_handles_labels()
    names = [short(label, LEGEND_CHARACTERS) for label in labels]
    figure.legend(handles, names, loc="outside lower center", ncols=legend_columns(names, PAGE_WIDTH_IN, 6))
    axes[0].margins(y=0.08)
    figure.suptitle(heading(table[table["step"].notna()], "What the variance is about"))
    return figure


@styled()
def draw_geometry_spectrum(table: pd.DataFrame) -> Figure:
    """Draw the spectrum of every layer at the first and the last checkpoint.

    Raises:
        AnalysisError: If the table of spectra holds no checkpoint.
    """
    need(table, ["step", "layer", "component", "value"], "geometry_spectrum")
    layers, steps = encoder_layers(table), first_and_last(require_steps(table, _TABLE))
    figure, axes = new_panels(PAGE_WIDTH_IN, 3.2, len(steps), sharex=True, sharey=True)
    for ax, step in zip(axes, steps, strict=True):
        plot_spectrum(table, ax, layers=layers, step=step)
        ax.set(xlabel="component", title=at_step(step))
    axes[0].set_ylabel("share of the variance")
    add_colour_key(axes, layers, "hidden layer", LAYER_COLOURS)
    figure.suptitle(heading(table[table["step"].notna()], "Spectrum of the covariance"))
    return figure


@styled()
def _small_multiples(table: pd.DataFrame, panels: list[tuple[str, str]], title: str, *, columns: int = 3) -> Figure:
    layers, steps = encoder_layers(table), encoder_steps(table)
    n_rows, columns = grid_shape(len(panels), columns)
    figure, axes = new_panels(PAGE_WIDTH_IN, 0.8 + _PANEL_HEIGHT_IN * n_rows, len(panels), columns, sharex=True)
    for ax, (measure, factor) in zip(axes, panels, strict=True):
        plot_geometry(table, ax, measure=measure, factor=factor, layers=layers, steps=steps)
    for ax in axes[-columns:]:
        ax.set_xlabel("hidden layer")
        ax.tick_params(labelbottom=True)
    add_colour_key(axes, [step_name(step) for step in steps], "fine-tuning step", STEP_COLOURS)
    figure.suptitle(heading(table[table["step"].notna()], title))
    return figure


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    require_steps(need(table, _COLUMNS, "geometry"), _TABLE)
    return table


def _factors_of(table: pd.DataFrame, measure: str) -> list[str]:
    factors = list(table.loc[table["measure"] == measure, "factor"].drop_duplicates())
    if not factors:
        raise AnalysisError(
            "The geometry table holds no measure by factor",
            expected=f"rows of {measure}",
            fix="the clips need a column such as label or speaker with several values",
        )
    return factors


_SHAPE = """
Each measure of shape per layer; one line per checkpoint, dark for early and bright for late. RankMe, effective rank
and participation ratio count linear directions (the first counts small ones most, the last hardly); two-NN counts the
dimensions of the manifold that neighbours lie on; anisotropy is the mean cosine between two clips. Bands: 95 %
intervals over speakers of the first and the last checkpoint (jackknife; ranks have none unless asked for). All but the
unbiased participation ratio depend on how many clips there are: compare values of one figure, not of two corpora.
Scales start where the values do. Two-NN is far too low above about 20 dimensions; the value of isotropic clips, given
above a panel, shows how much.
"""

_CLASSES = """
Silhouette (1: clips lie with their own class, 0: between classes) and Fisher ratio (variance between classes over
variance within, adjusted for chance) by label and by speaker; one line per checkpoint. Dotted, for the first and the
last one: the mean over permuted classes (labels within each speaker, speakers within each label); what is not above it
is no structure. In many dimensions a silhouette near 0 goes along with classes that a probe tells apart perfectly.
"""

_SHARES = """
The share of the variance that each factor explains alone, adjusted for chance (epsilon squared); one line per
checkpoint. Dotted: permuted classes. Gender is measured against the spread between speakers, so with few speakers its
interval is wide. Factors that go together in the clips are each credited with what they share.
"""

_VARIANCE = """
What each factor explains of the variance beyond all others, before and after fine-tuning; the bars end where noise
begins, so that a bar of height 1 would leave nothing unexplained. The hatched part is what labels mean differently
from speaker to speaker; `joint` is what several factors explain and none alone. Clips that fine-tuning has trained on
lie apart by label because they were pushed there: look at held-out speakers.
"""

_SPECTRUM = """
Each principal component's share of the variance, both axes logarithmic, one line per layer. A steep line is a
representation that lives in few directions. With N clips there are at most N - 1 components, and the last of them are
mostly noise.
"""

GEOMETRY_FIGURES: dict[str, FigureSpec] = {
    "geometry_shape": FigureSpec("Shape of the layers", "geometry", draw_geometry_shape, _SHAPE),
    "geometry_corpora": FigureSpec(
        "Geometry by corpus", "geometry", draw_geometry_corpora, CORPORA_CAPTION, apart=("model",), optional=True
    ),
    "geometry_classes": FigureSpec("How far classes lie apart", "geometry", draw_geometry_classes, _CLASSES),
    "geometry_shares": FigureSpec(
        "Share of the variance by factor", "geometry", draw_geometry_shares, _SHARES, pooled=True
    ),
    "geometry_variance": FigureSpec("What the variance is about", "geometry", draw_geometry_variance, _VARIANCE),
    "geometry_spectrum": FigureSpec(
        "Spectrum of the layers", "geometry_spectrum", draw_geometry_spectrum, _SPECTRUM, pooled=True
    ),
}
