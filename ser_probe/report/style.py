"""How figures look: fonts, colour-blind safe colours, the names of measures on axes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axis import Axis
from matplotlib.colors import Colormap, to_hex, to_rgb

# The text width of a printed page. Figures are drawn as wide as they are printed, so that sizes below are true.
PAGE_WIDTH_IN = 7.2

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "figure.titlesize": 11,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.title_fontsize": 9,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.6,
    "axes.unicode_minus": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    # A label such as "$x" is a label, not mathematics, and must not stop the figure.
    "text.parse_math": False,
    # Text as outlines looks the same everywhere; the salt makes element names, and so the bytes, repeatable.
    "svg.fonttype": "path",
    "svg.hashsalt": "ser-probe",
}

GREY = "#5f5f5f"
PALE = "#dcdcdc"
ACCENT = "#b3261e"

# Okabe and Ito (2008), without the yellow, which is too light on white; black last.
CLASS_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F4F24", "#000000")
CLASS_MARKERS = ("o", "^", "s", "D", "v", "P", "X", "<")

# Lines: the light end of each map is left out, since pale yellow cannot be read on white.
_READABLE = 0.87
STEP_COLOURS = "viridis"
LAYER_COLOURS = "plasma"

MEASURES = {
    "weighted_f1": "weighted F1",
    "macro_f1": "macro F1",
    "uar": "unweighted average recall",
    "accuracy": "accuracy",
    "selectivity_uar": "selectivity (UAR above shuffled labels)",
    "r2": "R²",
    "ccc": "CCC",
    "pearson": "Pearson's r",
    "cka_debiased": "debiased linear CKA",
    "cka": "biased linear CKA",
    "cka_rbf": "biased RBF CKA",
    "cka_rbf_debiased": "debiased RBF CKA",
    "cka_minibatch": "minibatch linear CKA",
    "cca_mean": "mean CCA, held out",
    "cca_mean_squared": "mean squared CCA, held out",
    "svcca": "SVCCA, held out",
    "pwcca": "PWCCA, held out",
    "cca_mean_insample": "mean CCA, in-sample",
    "cca_mean_squared_insample": "mean squared CCA, in-sample",
    "svcca_insample": "SVCCA, in-sample",
    "pwcca_insample": "PWCCA, in-sample",
    "angular_shape": "angular shape distance (rad)",
    "rsa": "RSA (Spearman)",
    "rsa_pearson": "RSA (Pearson)",
    "mutual_knn": "mutual k-NN overlap",
    "distance_correlation": "distance correlation",
    "distance_correlation_debiased": "bias-corrected dCor",
    "linear_predictivity": "linear predictivity (R²)",
    "mean_cosine": "mean cosine",
    "procrustes": "Procrustes distance",
    "mean_cosine_centred": "mean cosine, centred",
    "knn_overlap": "neighbours kept",
    "mean_shift": "shift of the mean",
    "covariance_shift": "change of covariance",
    "relative_norm_change": "relative change of norm",
    "rankme": "RankMe",
    "effective_rank": "effective rank",
    "participation_ratio_unbiased": "participation ratio",
    "two_nn": "two-NN dimension",
    "two_nn_mle": "two-NN dimension (ML)",
    "fisher_ratio": "Fisher ratio",
    "marginal_share": "share of variance",
    "unique_share": "unique share of variance",
    "r2_within": "R² within speakers",
    "loss": "loss",
    "learning_rate": "learning rate",
}

# A legend stands beside its panel and takes the room for its longest name from it.
LEGEND_CHARACTERS = 18
# Of the font of legends, in widths of a wide letter; a handle and the gap to the next column take as much as 7.
_LETTERS_AN_INCH, _HANDLE_LETTERS = 13.0, 7


def styled() -> AbstractContextManager[None]:
    """Return a context in which figures are made and saved in this style; outside it nothing changes."""
    return matplotlib.rc_context(STYLE)


def measure_name(measure: str) -> str:
    """Return what a measure is called on an axis."""
    return MEASURES.get(measure, short(measure.replace("_", " ")))


def short(text: object, most: int = 40) -> str:
    """Return a label on one line and no longer than fits; it comes from files and may be anything."""
    line = " ".join(str(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def legend_columns(names: Sequence[str], width_in: float, most: int) -> int:
    """Return how many columns a legend below a figure of this width has room for, by its longest name."""
    letters = width_in * _LETTERS_AN_INCH
    return max(1, min(len(names), most, int(letters // (max(map(len, names), default=0) + _HANDLE_LETTERS))))


def line_colours(count: int, name: str) -> list[str]:
    """Return `count` colours from dark to bright along a sequential map, all readable on white."""
    positions = np.linspace(0.0, _READABLE, count) if count > 1 else np.array([0.0])
    return [to_hex(colour) for colour in matplotlib.colormaps[name](positions)]


def class_styles(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return a colour and a marker per class; beyond eight classes the marker tells equal colours apart."""
    n = len(CLASS_COLOURS)
    return {
        name: (CLASS_COLOURS[i % n], CLASS_MARKERS[(i // n + i * (len(names) <= n)) % len(CLASS_MARKERS)])
        for i, name in enumerate(names)
    }


def spaced(count: int, most: int) -> list[int]:
    """Return at most about `most` positions of 0..count-1, evenly spaced, the last always and none close to it."""
    every = max(1, -(-count // most))
    last = count - 1
    return [i for i in range(count) if i == last or (i % every == 0 and last - i >= every)]


def thin_labels(axis: Axis, most: int) -> None:
    """Hide tick labels that would touch their neighbours, keeping the last one."""
    labels = axis.get_ticklabels()
    shown = set(spaced(len(labels), most))
    for i, label in enumerate(labels):
        label.set_visible(i in shown)


def text_colour(cmap: Colormap, position: float) -> str:
    """Return black or white, whichever is easier to read on the colour at a position in [0, 1] of a map."""
    red, green, blue = to_rgb(cmap(float(np.clip(position, 0, 1))))
    # Relative luminance (ITU-R BT.709); 0.45 is where black and white are read equally well here.
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.45 else "white"
