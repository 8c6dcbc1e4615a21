"""Maps: every clip is a point of its class, and panels agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from ser_probe.errors import AnalysisError
from ser_probe.report.figures import save_figure
from ser_probe.report.umap.figures import draw_umap
from ser_probe.report.umap.plots import plot_projection, projection_limits

from ..drawn import MakeTables, Tables


def test_every_clip_is_a_point_of_its_class(tables: Tables, ax: Axes) -> None:
    umap = tables["umap"]
    part = umap[(umap["layer"] == "final") & (umap["step"] == 150)]
    limits = projection_limits(umap)
    plot_projection(part, ax, colour="label", limits=limits)
    assert sum(len(points.get_offsets()) for points in ax.collections) == len(part)
    for points in ax.collections:
        own = part[part["label"] == points.get_label()]
        np.testing.assert_allclose(points.get_offsets(), own[["x", "y"]])
    assert ax.get_xlim() == limits[0]
    assert umap["x"].between(*limits[0]).all()
    assert umap["y"].between(*limits[1]).all()


def test_a_class_keeps_its_colour_where_another_is_absent(tables: Tables) -> None:
    umap = tables["umap"]
    names = sorted(umap["label"].unique())
    axes = Figure().subplots(1, 2)
    plot_projection(umap, axes[0], colour="label", names=names)
    plot_projection(umap[umap["label"] != names[0]], axes[1], colour="label", names=names)
    colours = [
        {p.get_label(): to_hex(p.get_facecolor()[0]) for p in ax.collections if len(p.get_offsets())} for ax in axes
    ]
    assert len(colours[1]) == len(names) - 1
    assert all(colours[0][name] == colour for name, colour in colours[1].items())


def test_umap_panels_share_limits_and_say_how_far_to_trust_them(tables: Tables) -> None:
    umap = tables["umap"]
    figure = draw_umap(umap[umap["layer"] == "final"])
    assert len(figure.axes) == 3 * 4
    assert len({(ax.get_xlim(), ax.get_ylim()) for ax in figure.axes}) == 1
    assert figure.axes[0].get_title() == "step 0\ntrust 0.90"


def test_of_many_checkpoints_umap_shows_the_first_the_last_and_says_so(make_tables: MakeTables) -> None:
    umap = make_tables(1, range(0, 450, 50))["umap"]
    figure = draw_umap(umap[umap["layer"] == "final"].drop(columns="trustworthiness"))
    assert [ax.get_title() for ax in figure.axes[:4]] == ["step 0", "step 150", "step 250", "step 400"]
    assert "4 of 9 checkpoints" in figure.get_suptitle()


def test_too_many_classes_to_tell_apart_are_counted_instead_of_listed(tables: Tables) -> None:
    umap = tables["umap"][tables["umap"]["layer"] == "0"]
    speakers = [str(1000 + i % 91) for i in range(len(umap))]
    figure = draw_umap(umap.assign(speaker=speakers), colours=["speaker"])
    legend = figure.axes[-1].get_legend()
    assert legend is not None
    assert legend.get_texts() == []
    assert legend.get_title().get_text() == "speaker:\n91 classes,\ncolours repeat"


def test_umap_of_several_layers_is_refused(tables: Tables) -> None:
    with pytest.raises(AnalysisError, match=r"shows one layer[\s\S]*layers 0, final"):
        draw_umap(tables["umap"])


def test_umap_without_a_column_to_colour_by_is_refused(tables: Tables) -> None:
    umap = tables["umap"]
    with pytest.raises(AnalysisError, match=r"no column to colour by[\s\S]*label, speaker, gender"):
        draw_umap(umap[umap["layer"] == "0"].drop(columns=["label", "speaker", "gender"]))


def test_labels_are_text_whatever_they_look_like(tables: Tables, tmp_path: Path) -> None:
    hostile = ["<script>alert(1)</script>", "$\\frac{", "_hidden", "x" * 300, "-->", "two\nlines"]
    umap = tables["umap"][tables["umap"]["layer"] == "0"].copy()
    names = sorted(umap["label"].unique())
    umap["label"] = umap["label"].map(dict(zip(names, hostile, strict=True)))
    figure = draw_umap(umap)
    legend = figure.axes[3].get_legend()
    assert legend is not None
    shown = {text.get_text() for text in legend.get_texts()}
    assert {"$\\frac{", "_hidden", "-->", "two lines"} <= shown
    _, svg = save_figure(figure, tmp_path, "hostile")
    assert "<script" not in svg.read_text(encoding="utf-8")
