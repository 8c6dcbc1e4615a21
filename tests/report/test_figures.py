"""Whole figures: every one is drawn, saved twice with equal bytes, and says what it cannot draw."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from ser_probe.errors import AnalysisError
from ser_probe.report.drift.figures import draw_drift
from ser_probe.report.figures import PNG_DPI, save_figure, write_figures
from ser_probe.report.probes.scores import draw_scores
from ser_probe.report.similarity.figures import draw_acoustic_similarity
from ser_probe.report.style import PAGE_WIDTH_IN, styled
from ser_probe.report.tables import POOLED
from ser_probe.report.titles import fit_titles
from ser_probe.report.training.figures import draw_training
from ser_probe.steps.analyses.figures import report_figures

from .drawn import MakeTables, Tables

FIGURES = report_figures()
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
        "from ser_probe.report.drift.figures import DRIFT_FIGURES\n"
        "from ser_probe.report.figures import write_figures\n"
        "table = pandas.read_csv('drift.csv', dtype={'layer': str})\n"
        "write_figures({'drift': table}, pathlib.Path(sys.argv[1]), specs=DRIFT_FIGURES, names=['drift_steps'])\n"
    )
    for folder in ("a", "b"):
        subprocess.run([sys.executable, "-c", script, folder], cwd=tmp_path, check=True)
    for kind in ("png", "svg"):
        first, second = (tmp_path / folder / f"drift_steps.{kind}" for folder in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()


def test_drawing_leaves_the_settings_of_matplotlib_alone(tables: Tables, tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    write_figures({"audit": tables["audit"]}, tmp_path, specs=FIGURES)
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_figures_of_a_study_are_written_in_their_parts(tables: Tables, figures_folder: Path) -> None:
    """That all can be drawn is tested above, and with the tables of a study that was run."""
    options = {"training": {"best_step": 100, "saved_steps": [0, 50, 100, 150]}}
    apart = ("umap", "drift_groups", "evaluation", "evaluation_agreement")
    names = ["training", "probe_models", *apart]
    entries, left_out = write_figures(tables, figures_folder, specs=FIGURES, options=options, names=names)
    assert left_out == []
    assert {entry.name for entry in entries} == {
        "training", "probe_models",
        "umap_0", "umap_final", "drift_groups_label", "drift_groups_speaker", "evaluation_test",
        "evaluation_agreement_test",
    }  # fmt: skip
    for entry in entries:
        assert entry.png.stat().st_size > 0
        assert entry.svg.stat().st_size > 0


def test_two_models_get_a_figure_each(tables: Tables, figures_folder: Path) -> None:
    drift = pd.concat([tables["drift"], tables["drift"].assign(model="../../hubert large")])
    entries, _ = write_figures({"drift": drift}, figures_folder, specs=FIGURES, names=["drift_steps"])
    # A name from a table is never a path.
    assert [entry.name for entry in entries] == ["drift_steps_wavlm-large", "drift_steps_hubert-large"]
    assert {path.parent for entry in entries for path in (entry.png, entry.svg)} == {figures_folder}


def test_what_cannot_be_drawn_is_said_and_the_rest_is_drawn(tables: Tables, figures_folder: Path) -> None:
    similarity = tables["similarity"].drop(columns="baseline")
    entries, left_out = write_figures({"similarity": similarity}, figures_folder, specs=FIGURES)
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
        write_figures(tables, tmp_path, specs=FIGURES, **arguments)  # type: ignore[arg-type]


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


def test_of_several_corpora_figures_are_of_all_pooled_or_of_each_and_say_so(
    tables: Tables, figures_folder: Path
) -> None:
    several = pd.concat([tables["drift"].assign(corpus=name) for name in ("all", "berlin")], ignore_index=True)
    names = ["drift_layers", "drift_previous", "drift_corpora"]
    entries, left_out = write_figures({"drift": several}, figures_folder, specs=FIGURES, names=names)
    assert left_out == []
    assert {entry.name: entry.title for entry in entries} == {
        "drift_layers_all": "Drift along the layers (all corpora pooled)",
        "drift_layers_berlin": "Drift along the layers (corpus berlin)",
        "drift_corpora": "Drift by corpus",
        "drift_previous": "Drift from checkpoint to checkpoint (all corpora pooled)",
    }
