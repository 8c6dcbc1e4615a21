"""Whole figures: every one is drawn, saved twice with equal bytes, and says what it cannot draw."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from ser_probe.errors import AnalysisError
from ser_probe.report.canvas import (
    draw_acoustic_similarity,
    draw_biased_cka,
    draw_layer_similarity,
    draw_scores,
)
from ser_probe.report.drift.compose import draw_drift
from ser_probe.report.figures import FIGURES, PNG_DPI, save_figure, write_figures
from ser_probe.report.style import PAGE_WIDTH_IN, styled
from ser_probe.report.tables import POOLED
from ser_probe.report.titles import fit_titles
from ser_probe.report.training.compose import draw_training
from ser_probe.report.training.splits import draw_splits
from ser_probe.report.umap.compose import draw_umap

Tables = dict[str, pd.DataFrame]
MakeTables = Callable[[int, Sequence[int]], Tables]

BY_CORPUS = {name for name in FIGURES if name.endswith("_corpora")}
SMALLEST_FONT_PT = 9
# 88 rows have names of 6 points, or two pages.
SMALLER_FONTS_PT = {"acoustics_map": 6, "acoustics_within": 6}


def one_part(tables: Tables, name: str) -> pd.DataFrame:
    """The table of a figure, of one layer, one way of grouping or several corpora where the figure shows those."""
    table = tables[FIGURES[name].table]
    if name in BY_CORPUS:
        return pd.concat([table.assign(corpus=corpus) for corpus in ("all", "berlin", "rome")], ignore_index=True)
    if name == "drift_groups":
        return table[table["group_by"] == "label"]
    return table[table["layer"] == "final"] if name == "umap" else table


LONG = " of /somewhere/a-name-of-a-run_that-says-what.was.done with more words than any title has room for"


def with_long_names(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose models, corpora, targets and factors have names that no figure has room for."""
    columns = ("model", "model_a", "model_b", "corpus", "target", "response", "factor")

    def longer(value: object) -> object:
        return f"{value}{LONG}" if isinstance(value, str) and value not in ("", POOLED, "eGeMAPSv02") else value

    named = {name: table[name].map(longer) for name in columns if name in table}
    return table.assign(**named)


def tick_labels(figure: Figure) -> set[int]:
    """Those outside the limits of their axis have places, and are not drawn."""
    axes = [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]
    return {id(text) for axis in axes for minor in (False, True) for text in axis.get_ticklabels(minor=minor)}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_at_page_width_in_readable_fonts_with_named_axes(tables: Tables, name: str) -> None:
    """And no name is so long that its title is cut off at the figure's edge."""
    figure = FIGURES[name].draw(with_long_names(one_part(tables, name)), **(FIGURES[name].options or {}))
    assert_axes_named(figure, name)
    with styled():
        figure.draw_without_rendering()
        fit_titles(figure)
        for _ in range(2):
            figure.draw_without_rendering()
        unseen = tick_labels(figure)
        for text in figure.findobj(Text):
            if text.get_visible() and text.get_text().strip() and id(text) not in unseen:
                box = text.get_window_extent()
                assert box.x0 >= -1, text
                assert box.x1 <= figure.bbox.width + 1, text
                assert box.y0 >= -1, text
                assert box.y1 <= figure.bbox.height + 1, text
    assert figure.get_figwidth() <= PAGE_WIDTH_IN
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    assert shown
    assert min(text.get_fontsize() for text in shown) >= SMALLER_FONTS_PT.get(name, SMALLEST_FONT_PT)


def assert_axes_named(figure: Figure, name: str) -> None:
    named = [ax for ax in figure.axes if ax.get_xlabel() or ax.get_ylabel()]
    if name == "umap":
        assert "no unit" in str(figure.get_supxlabel())
        assert [ax.get_ylabel() for ax in named] == ["by label", "by speaker", "by gender"]
    elif name == "training_runs":  # panels of a row and of a column share their axes
        assert [ax.get_ylabel() for ax in figure.axes[::2]] == ["loss", "score (validation speakers)", "learning rate"]
        assert [ax.get_xlabel() for ax in figure.axes[-2:]] == ["fine-tuning step"] * 2
    elif name == "acoustics_groups":  # the same, in rows of five panels and a colour bar
        assert [ax.get_ylabel() for ax in figure.axes[:11:5]] == ["R²", "R² within speakers", "CKA (debiased)"]
        assert [ax.get_xlabel() for ax in figure.axes[10:15]] == ["hidden layer"] * 5
    else:
        assert len(named) == len([ax for ax in figure.axes if ax.axison])


@pytest.mark.parametrize("name", FIGURES)
def test_captions_say_how_to_read_a_figure(name: str) -> None:
    assert len(FIGURES[name].caption.split()) > 20


def test_nothing_sticks_out_of_a_large_figure(make_tables: MakeTables) -> None:
    tables = make_tables(24, range(0, 400, 50))
    for figure in (
        draw_training(tables["training"], best_step=300, saved_steps=range(0, 400, 50)),
        draw_scores(tables["probe"]),
        draw_acoustic_similarity(tables["similarity"]),
        draw_drift(tables["drift"]),
    ):
        figure.draw_without_rendering()
        figure.draw_without_rendering()
        box, page = figure.get_tightbbox(), figure.bbox_inches
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= page.x1
        assert box.y1 <= page.y1


def test_saved_files_are_png_at_200_dpi_and_svg_and_repeat_to_the_byte(tables: Tables, tmp_path: Path) -> None:
    files = [save_figure(draw_scores(tables["probe"]), tmp_path / folder, "scores") for folder in ("a", "b")]
    assert [path.name for path in files[0]] == ["scores.png", "scores.svg"]
    for first, second in zip(*files, strict=True):
        assert first.read_bytes() == second.read_bytes()
    with Image.open(files[0][0]) as picture:
        assert picture.width == round(PAGE_WIDTH_IN * PNG_DPI)
        assert picture.info["dpi"] == pytest.approx((PNG_DPI, PNG_DPI), abs=0.1)
    svg = files[0][1].read_text(encoding="utf-8")
    assert svg.startswith("<?xml")
    assert "<dc:date>" not in svg
    assert [path.name for path in (tmp_path / "a").iterdir() if path.name.startswith(".")] == []


def test_bytes_do_not_depend_on_the_process(tables: Tables, tmp_path: Path) -> None:
    tables["drift"].to_csv(tmp_path / "drift.csv", index=False)
    script = (
        "import pandas, pathlib, sys\n"
        "from ser_probe.report.figures import write_figures\n"
        "table = pandas.read_csv('drift.csv', dtype={'layer': str})\n"
        "write_figures({'drift': table}, pathlib.Path(sys.argv[1]), names=['drift_steps'])\n"
    )
    write_figures(
        {"drift": pd.read_csv(tmp_path / "drift.csv", dtype={"layer": str})}, tmp_path / "a", names=["drift_steps"]
    )
    subprocess.run([sys.executable, "-c", script, "b"], cwd=tmp_path, check=True)
    for kind in ("png", "svg"):
        first, second = (tmp_path / folder / f"drift_steps.{kind}" for folder in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()


def test_drawing_leaves_the_settings_of_matplotlib_alone(tables: Tables, tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    write_figures({"audit": tables["audit"]}, tmp_path)
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_figures_of_a_study_are_written_in_their_parts(tables: Tables, figures_folder: Path) -> None:
    """That all can be drawn is tested above, and with the tables of a study that was run."""
    options = {"training": {"best_step": 100, "saved_steps": [0, 50, 100, 150]}}
    entries, left_out = write_figures(tables, figures_folder, options=options, names=["training", "evaluation"])
    assert left_out == []
    assert {entry.name for entry in entries} == {"training", "evaluation_test"}
    for entry in entries:
        assert entry.png.stat().st_size > 0
        assert entry.svg.stat().st_size > 0


@pytest.mark.usefixtures("unsaved")
def test_parts_of_a_study_get_a_figure_each(tables: Tables, figures_folder: Path) -> None:
    names = ["probe_models", "umap", "drift_groups", "evaluation_agreement"]
    entries, left_out = write_figures(tables, figures_folder, names=names)
    assert left_out == []
    assert {entry.name for entry in entries} == {
        "probe_models", "umap_0", "umap_final", "drift_groups_label", "drift_groups_speaker",
        "evaluation_agreement_test",
    }  # fmt: skip


@pytest.mark.usefixtures("unsaved")
def test_two_models_get_a_figure_each(tables: Tables, figures_folder: Path) -> None:
    drift = pd.concat([tables["drift"], tables["drift"].assign(model="../../hubert large")])
    entries, _ = write_figures({"drift": drift}, figures_folder, names=["drift_steps"])
    # A name from a table is never a path.
    assert [entry.name for entry in entries] == ["drift_steps_wavlm-large", "drift_steps_hubert-large"]
    assert {path.parent for entry in entries for path in (entry.png, entry.svg)} == {figures_folder}


@pytest.mark.usefixtures("unsaved")
def test_what_cannot_be_drawn_is_said_and_the_rest_is_drawn(tables: Tables, figures_folder: Path) -> None:
    similarity = tables["similarity"].drop(columns="baseline")
    entries, left_out = write_figures({"similarity": similarity}, figures_folder)
    assert {entry.name for entry in entries} == {
        "cka_egemaps", "cka_layers", "similarity_groups", "similarity_measures", "similarity_models",
    }  # fmt: skip
    assert left_out == [
        "Biased CKA beside its independence baseline: Biased CKA is drawn only beside its independence baseline "
        "(no baseline)"
    ]


@pytest.mark.parametrize("arguments", [{"names": ["heat"]}, {"options": {"heat": {}}}])
def test_an_unknown_figure_is_refused(tables: Tables, tmp_path: Path, arguments: dict[str, object]) -> None:
    with pytest.raises(AnalysisError, match=r"no such figure[\s\S]*found: heat"):
        write_figures(tables, tmp_path, **arguments)  # type: ignore[arg-type]


def test_biased_cka_never_stands_alone(tables: Tables) -> None:
    with pytest.raises(AnalysisError, match="only beside its independence baseline"):
        draw_biased_cka(tables["similarity"].assign(baseline=np.nan))
    value, baseline = draw_biased_cka(tables["similarity"]).axes[:2]
    assert value.collections[0].get_clim() == baseline.collections[0].get_clim()
    np.testing.assert_allclose(baseline.collections[0].get_array(), 0.18)


def test_layers_are_compared_within_and_across_on_one_scale(tables: Tables) -> None:
    axes = [ax for ax in draw_layer_similarity(tables["similarity"]).axes if ax.get_title()]
    assert [ax.get_title() for ax in axes] == ["within step 0", "within step 150", "step 0 to 150"]
    assert len({ax.collections[0].get_clim() for ax in axes}) == 1
    # Across, the last checkpoint is up and the first one across; the early layers are kept, the late ones are not.
    assert (axes[2].get_xlabel(), axes[2].get_ylabel()) == ("layer at step 0", "layer at step 150")
    diagonal = np.diag(axes[2].collections[0].get_array())
    assert np.all(np.diff(diagonal) < 0)


def test_without_comparisons_of_layers_there_is_no_matrix(tables: Tables) -> None:
    similarity = tables["similarity"]
    with pytest.raises(AnalysisError, match="no comparison between the layers of a model"):
        draw_layer_similarity(similarity[similarity["layer_b"] == "functionals"])


@pytest.mark.usefixtures("unsaved")
def test_what_an_analysis_was_not_asked_for_is_not_called_missing(tables: Tables, figures_folder: Path) -> None:
    """As `analyze similarity --pairs models`, which compares no layers of one model."""
    similarity = tables["similarity"]
    between = similarity[similarity["model_a"] != similarity["model_b"]]
    entries, left_out = write_figures({"similarity": between}, figures_folder)
    assert entries
    assert left_out == []


def test_many_checkpoints_are_shown_by_a_colour_bar(make_tables: MakeTables) -> None:
    tables = make_tables(2, range(0, 1000, 50))
    figure = draw_scores(tables["probe"])
    assert [ax.get_ylabel() for ax in figure.axes] == ["weighted F1 (test speakers)", "fine-tuning step"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["eGeMAPS", "shuffled labels", "majority class"]


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


def test_drift_of_step_0_alone_is_refused(tables: Tables) -> None:
    drift = tables["drift"]
    with pytest.raises(AnalysisError, match="holds only step 0"):
        draw_drift(drift[drift["step"] == 0])
    with pytest.raises(AnalysisError, match=r"against one of two things[\s\S]*found: depth"):
        draw_drift(drift, x="depth")


def test_an_audit_that_counts_no_class_is_refused(tables: Tables) -> None:
    audit = tables["audit"]
    with pytest.raises(AnalysisError, match="counts no class that can be drawn"):
        draw_splits(audit[audit["measure"] == "clips"])


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


def test_titles_wider_than_their_figure_are_broken_between_their_parts() -> None:
    figure = Figure(figsize=(3.0, 2.0), layout="constrained")
    ax = figure.subplots()
    ax.set_title("a short title")
    figure.suptitle("Answers of the probe of label · a-model-with-a-name · n = 12 clips")
    figure.draw_without_rendering()
    fit_titles(figure)
    assert figure.get_suptitle().startswith("Answers of the probe of label\na-model-with-a-name")
    assert ax.get_title() == "a short title"
    figure.draw_without_rendering()
    title = next(text for text in figure.texts if text.get_text() == figure.get_suptitle())
    extent = title.get_window_extent()
    assert extent.x0 >= 0
    assert extent.x1 <= figure.bbox.width


@pytest.mark.usefixtures("unsaved")
def test_of_several_corpora_figures_are_of_all_pooled_or_of_each_and_say_so(
    tables: Tables, figures_folder: Path
) -> None:
    several = pd.concat([tables["drift"].assign(corpus=name) for name in ("all", "berlin")], ignore_index=True)
    names = ["drift_layers", "drift_previous", "drift_corpora"]
    entries, left_out = write_figures({"drift": several}, figures_folder, names=names)
    assert left_out == []
    assert {entry.name: entry.title for entry in entries} == {
        "drift_layers_all": "Drift along the layers (all corpora pooled)",
        "drift_layers_berlin": "Drift along the layers (corpus berlin)",
        "drift_corpora": "Drift by corpus",
        "drift_previous": "Drift from checkpoint to checkpoint (all corpora pooled)",
    }
