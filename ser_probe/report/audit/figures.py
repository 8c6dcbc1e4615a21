"""The figures of an audit, and how each is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from ser_probe.errors import NothingToDrawError
from ser_probe.report.audit.plots import SAME, plot_copies, plot_counts, plot_distribution, plot_speakers
from ser_probe.report.audit.shortcuts import SHORTCUT_FIGURES
from ser_probe.report.canvas import legend_below, new_panels
from ser_probe.report.figure_specs import FigureSpec
from ser_probe.report.style import PAGE_WIDTH_IN, styled

MOST_LABELS = 24
"""Of more labels the most frequent are drawn."""
_MOST_PARTS = 8
_ROW_IN = 0.24
_PROPERTIES = {
    "duration_s": "duration (s)",
    "leading_silence_s": "leading silence (s)",
    "rms_dbfs": "level (dBFS)",
    "noise_floor_dbfs": "noise (dBFS)",
}
_SPLITS = ("train", "validation", "test")


@styled()
def draw_properties(table: pd.DataFrame) -> Figure:
    """Draw durations, silence, levels and noise by label.

    Raises:
        NothingToDrawError: If there are no labels, or no clip was measured.
    """
    labels = _labels(table.assign(n_clips=1))
    shown = [name for name in _PROPERTIES if name in table and table[name].notna().any()]
    if not shown:
        raise NothingToDrawError("No clip was measured")
    figure, axes = new_panels(PAGE_WIDTH_IN, 1.3 + _ROW_IN * max(3, len(labels)), len(shown), sharey=True)
    for ax, name in zip(axes, shown, strict=True):
        plot_distribution(table, ax, value=name, labels=labels)
        ax.locator_params(axis="x", nbins=4)
        ax.set_xlabel(_PROPERTIES[name])
    figure.suptitle(f"What is not voice, by label · n = {len(table)} clips")
    return figure


@styled()
def draw_copies(table: pd.DataFrame) -> Figure:
    """Draw how many groups of copies break what.

    Raises:
        NothingToDrawError: If there are no copies.
    """
    if table.empty:
        raise NothingToDrawError("There are no copies")
    figure, (ax,) = new_panels(5.4, 2.7)
    plot_copies(table, ax)
    legend_below(figure, ax, len(SAME))
    n_groups = table["group"].nunique()
    figure.suptitle(f"What copies break · {len(table)} clips in {n_groups} {'group' if n_groups == 1 else 'groups'}")
    return figure


@styled()
def draw_counts(table: pd.DataFrame) -> Figure:
    """Draw the clips of each label by split or gender, and of each speaker.

    Raises:
        NothingToDrawError: If there are no labels.
    """
    labels = _labels(table)
    factors = [name for name in ("split", "gender") if name in table and 1 < table[name].nunique() <= _MOST_PARTS]
    has_speakers = "speaker" in table and (table["speaker"].astype(str) != "").any()
    by = factors or ["label_of_all"]
    table = table.assign(label_of_all="")
    figure, axes = new_panels(PAGE_WIDTH_IN, 1.7 + _ROW_IN * max(3, len(labels)), len(by) + int(has_speakers))
    for ax, factor in zip(axes, by, strict=False):
        plot_counts(table, ax, by=factor, labels=labels, parts=_parts(table, factor))
        ax.locator_params(axis="x", nbins=4)
        if factor in factors:
            ax.set_title(f"by {factor}")
            rows = -(-len(_parts(table, factor)) // 2)
            ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.28), ncols=2 if rows > 1 else 1 + rows)
    if has_speakers:
        plot_speakers(table, axes[-1])
        axes[-1].set_title("by speaker")
    figure.suptitle(f"Clips by label · n = {int(table['n_clips'].sum())}")
    return figure


def _labels(table: pd.DataFrame) -> list[str]:
    if "label" not in table or not len(table):
        raise NothingToDrawError("The clips have no labels")
    counts = table.assign(label=table["label"].astype(str)).groupby("label")["n_clips"].sum()
    return sorted(counts.sort_values(ascending=False, kind="stable").index[:MOST_LABELS])


def _parts(table: pd.DataFrame, factor: str) -> list[str]:
    """Return the values of a factor: splits in their order, none given last."""
    names = {str(name) for name in table[factor]}
    order = [name for name in _SPLITS if name in names] + sorted(names - {*_SPLITS, ""})
    return [*order, *([""] if "" in names else [])]


FIGURES: Mapping[str, FigureSpec] = {
    "audit_properties": FigureSpec(
        title="Durations, silence and levels by label",
        table="audit_properties",
        draw=draw_properties,
        caption="""
        Per label the median (dot), the quartiles (bar), 5 to 95 % of the clips (line), and the clips beyond. Where
        labels lie apart, a model can tell them without listening to the voice; whether it can for unheard speakers is
        what the scores of shortcuts say.
        """,
        apart=("corpus",),
    ),
    "audit_copies": FigureSpec(
        title="Copies",
        table="audit_copies",
        draw=draw_copies,
        caption="""
        Groups of clips that are one recording, by what the clips of a group do not have in common. A group with two
        labels and in two splits is in both rows. The same sound: other level, rate, container or length, by a
        fingerprint; copies under strong noise or of under half a second are not found.
        """,
        apart=(),
        optional=True,
    ),
    "audit_counts": FigureSpec(
        title="Clips by label",
        table="audit_counts",
        draw=draw_counts,
        caption="""
        How many clips each label has, by split and by gender, and how many each speaker has. Unequal numbers of labels
        are no fault, but accuracy then means another thing than UAR.
        """,
        apart=("corpus",),
    ),
    # Without labels and speakers there is nothing to tell.
    **{name: dataclasses.replace(spec, optional=True) for name, spec in SHORTCUT_FIGURES.items()},
}
"""The figures of an audit by name, in their order."""
