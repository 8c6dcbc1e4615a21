"""Figures of an evaluation: what is drawn is what the table says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser_probe.errors import AnalysisError
from ser_probe.report.evaluation.figures import draw_agreement, draw_confusions, draw_evaluation, group_column
from ser_probe.report.evaluation.files import write_evaluation_figures
from ser_probe.report.evaluation.plots import plot_agreement, plot_class_scores, plot_confusion, plot_reliability
from ser_probe.report.figures import save_figure

from ..drawn import labels

CLASSES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
GROUPS = (("overall", "all"), ("gender", "female"), ("gender", "male"), *(("speaker", f"s{k}") for k in range(6)))
KEYS = {"corpus": "emovo", "model": "runs/x", "run_seed": 0, "checkpoint": "step-150", "step": 150}


def confusion_rows(rng: np.random.Generator) -> pd.DataFrame:
    tables = []
    for group_by, group in GROUPS:
        counts = rng.poisson(2, (7, 7)) + 14 * np.eye(7, dtype=int)
        rows = [
            (CLASSES[i], CLASSES[j], counts[i, j], counts[i, j] / counts[i].sum()) for i in range(7) for j in range(7)
        ]
        table = pd.DataFrame(rows, columns=["true", "predicted", "count", "share"])
        tables.append(table.assign(group_by=group_by, group=group, **KEYS))
    return pd.concat(tables, ignore_index=True)


def reliability_rows(run_seed: int = 0) -> pd.DataFrame:
    low = np.arange(15) / 15
    n = np.array([0, 0, 0, 1, 3, 6, 9, 11, 12, 14, 13, 12, 10, 8, 6])
    confidence = np.where(n > 0, low + 1 / 30, np.nan)
    table = pd.DataFrame({"bin": range(15), "low": low, "high": low + 1 / 15, "n": n, "confidence": confidence})
    table["accuracy"] = table["confidence"] * (0.85 - 0.05 * run_seed)
    return table.assign(group_by="overall", group="all", **{**KEYS, "run_seed": run_seed})


def class_rows(rng: np.random.Generator) -> pd.DataFrame:
    rows = [
        (group_by, group, name, measure, value, value - 0.1, value + 0.1)
        for group_by, group in GROUPS for name in CLASSES for measure in ("recall", "f1")
        for value in [rng.uniform(0.3, 0.9)]
    ]  # fmt: skip
    columns = ["group_by", "group", "class", "measure", "value", "ci_low", "ci_high"]
    return pd.DataFrame(rows, columns=columns).assign(n=20, **KEYS)


def score_rows() -> pd.DataFrame:
    values = {"accuracy": 0.62, "uar": 0.61, "macro_f1": 0.6, "ece": 0.12}
    rows = pd.DataFrame({"measure": list(values), "value": list(values.values())})
    return rows.assign(group_by="overall", group="all", **KEYS)


@pytest.fixture
def confusion(rng: np.random.Generator) -> pd.DataFrame:
    return confusion_rows(rng)


def overall(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["group_by"] == "overall"]


def test_a_confusion_matrix_is_the_table(confusion: pd.DataFrame, ax: Axes) -> None:
    table = overall(confusion)
    plot_confusion(table, ax, counts=True)
    expected = table["share"].to_numpy().reshape(7, 7)
    np.testing.assert_array_equal(ax.collections[0].get_array(), expected)
    assert ax.collections[0].get_clim() == (0, 1)
    assert labels(ax.get_yticklabels()) == labels(ax.get_xticklabels()) == list(CLASSES)
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first true class is on top, as in a table"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "true (rows in %)")
    first = table[(table["true"] == "anger") & (table["predicted"] == "disgust")].iloc[0]
    (text,) = [text for text in ax.texts if text.get_position() == (1.5, 0.5)]
    assert text.get_text() == f"{100 * first['share']:.0f}\n({first['count']})"


def test_a_class_that_never_occurs_is_an_empty_row(confusion: pd.DataFrame, ax: Axes) -> None:
    table = overall(confusion).copy()
    table.loc[table["true"] == "fear", "share"] = np.nan
    plot_confusion(table, ax)
    assert np.ma.getmaskarray(ax.collections[0].get_array()).all(axis=1).tolist() == [
        name == "fear" for name in CLASSES
    ]
    assert len(ax.texts) == 42


def test_large_matrices_have_no_numbers(ax: Axes) -> None:
    names = [f"c{k:02d}" for k in range(15)]
    cells = [(a, b, float(a == b)) for a in names for b in names]
    plot_confusion(pd.DataFrame(cells, columns=["true", "predicted", "share"]), ax)
    assert not ax.texts


def test_reliability_is_drawn_where_there_are_clips(ax: Axes) -> None:
    table = reliability_rows()
    plot_reliability(table, ax)
    (line,) = [line for line in ax.lines if line.get_label() == "accuracy"]
    filled = table[table["n"] > 0]
    np.testing.assert_array_equal(line.get_xdata(), filled["confidence"])
    np.testing.assert_array_equal(line.get_ydata(), filled["accuracy"])
    heights = [bar.get_height() for bar in ax.patches]
    np.testing.assert_allclose(heights, table["n"] / table["n"].sum())


def test_reliability_of_several_runs_is_a_line_each(ax: Axes) -> None:
    plot_reliability(pd.concat([reliability_rows(seed) for seed in range(3)]), ax)
    assert not ax.patches
    assert len(ax.lines) == 4
    assert [line.get_label() for line in ax.lines][:2] == ["calibrated", "accuracy, a line a run"]


def test_bars_are_the_recalls(rng: np.random.Generator, ax: Axes) -> None:
    table = class_rows(rng)
    table = table[table["group_by"] == "gender"].copy()
    table.loc[(table["group"] == "male") & (table["class"] == "fear"), ["value", "ci_low", "ci_high"]] = np.nan
    plot_class_scores(table, ax)
    recall = table[table["measure"] == "recall"]
    for container, group in zip(ax.containers, ("female", "male"), strict=True):
        own = recall[recall["group"] == group]["value"]
        np.testing.assert_array_equal([bar.get_width() for bar in container], own)
        assert container.get_label() == group
    assert [len(lines.get_segments()) for lines in ax.collections] == [7, 6], "no interval, no line"
    assert labels(ax.get_yticklabels()) == list(CLASSES)
    assert ax.get_xlim() == (0, 1)


def test_agreement(rng: np.random.Generator, ax: Axes) -> None:
    table = pd.DataFrame({"true": rng.normal(3, 1, 30), "predicted": rng.normal(3, 0.5, 30)})
    plot_agreement(table, ax)
    np.testing.assert_array_equal(ax.lines[1].get_xdata(), table["true"])
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), table["predicted"])
    assert ax.get_xlim() == ax.get_ylim()
    plot_agreement(pd.DataFrame({"true": [2.0], "predicted": [2.0]}), Figure().subplots())


@pytest.mark.parametrize("plot", [plot_confusion, plot_reliability, plot_class_scores, plot_agreement])
def test_tables_that_are_empty_or_of_something_else(plot, ax: Axes) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(AnalysisError, match="lacks columns"):
        plot(pd.DataFrame({"x": [1]}), ax)


def test_panels_are_of_the_first_column_with_few_groups(confusion: pd.DataFrame) -> None:
    assert group_column(confusion) == "gender"
    assert group_column(confusion[confusion["group_by"] != "gender"]) is None, "6 speakers are too many"
    assert group_column(confusion[confusion["group"] != "male"]) is None, "one group is no comparison"
    figure = draw_confusions(confusion)
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert [title.split("\n")[0] for title in titles] == ["all clips", "gender: female", "gender: male"]
    assert titles[0].endswith(f"n = {overall(confusion)['count'].sum()}")


def test_the_best_of_it(confusion: pd.DataFrame, rng: np.random.Generator) -> None:
    figure = draw_evaluation(confusion, reliability_rows(), class_rows(rng), score_rows())
    title = figure.get_suptitle()
    assert title == "runs/x · emovo · step-150 · seed 0\naccuracy 0.620, UAR 0.610, macro F1 0.600, ECE 0.120"
    panels = [ax for part in figure.subfigs for ax in part.axes]
    assert [ax.get_xlabel() for ax in panels] == ["predicted"] * 3 + [
        "confidence",
        "recall per class (lines: 95 % over speakers)",
    ]
    assert [container.get_label() for container in panels[-1].containers] == ["female", "male"]


def test_several_runs_in_one_matrix_are_refused(confusion: pd.DataFrame) -> None:
    with pytest.raises(AnalysisError, match="drawn of one run or of the mean over runs"):
        draw_confusions(pd.concat([confusion, confusion.assign(run_seed=1)]))


def test_agreement_names_each_target() -> None:
    values = pd.DataFrame({"target": ["arousal", "valence"] * 4, "true": np.arange(8.0), "predicted": np.arange(8.0)})
    scores = pd.DataFrame({"target": ["arousal", "valence"], "measure": "ccc", "value": [1.0, 0.25]})
    figure = draw_agreement(values.assign(**KEYS), scores)
    assert [ax.get_title() for ax in figure.axes] == ["arousal\nCCC 1.000", "valence\nCCC 0.250"]


def test_files(confusion: pd.DataFrame, rng: np.random.Generator, tmp_path: Path) -> None:
    others = [tmp_path / "confusion_notes.png", tmp_path / "drift_steps.png", tmp_path / "evaluation_notes.svg"]
    for path in others:
        path.write_text("the user's own")
    save_figure(Figure(), tmp_path, "confusion_elsewhere")
    tables = {
        "confusion": confusion, "classes": class_rows(rng), "reliability": reliability_rows(), "scores": score_rows(),
    }  # fmt: skip
    files = write_evaluation_figures(tables, tmp_path)
    assert [path.name for path in files] == [
        f"{kind}_emovo.{suffix}" for kind in ("evaluation", "confusion") for suffix in ("png", "svg")
    ]
    assert sorted(tmp_path.iterdir()) == sorted([*files, *others]), "only figures of an evaluation before are gone"
    assert write_evaluation_figures({"scores": score_rows()}, tmp_path) == []


def test_counts_of_a_mean_over_runs_have_one_decimal(ax: Axes) -> None:
    cells = [("a", "a", 0.8, 13 / 3), ("a", "b", 0.2, 120.4), ("b", "a", 0.0, 0.0), ("b", "b", 1.0, 7.0)]
    plot_confusion(pd.DataFrame(cells, columns=["true", "predicted", "share", "count"]), ax, counts=True)
    assert labels(ax.texts) == ["80\n(4.3)", "20\n(120)", "0\n(0)", "100\n(7)"]
