"""Figures of the audit: what is drawn is what the tables hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from ser_probe.errors import AnalysisError, NothingToDrawError
from ser_probe.report.audit.figures import FIGURES, MOST_LABELS, draw_copies, draw_counts, draw_properties
from ser_probe.report.audit.plots import BROKEN, plot_distribution


def properties(rng: np.random.Generator, labels: list[str]) -> pd.DataFrame:
    return pd.DataFrame({
        "label": np.repeat(labels, 5), "duration_s": rng.uniform(1, 3, 5 * len(labels)),
        "leading_silence_s": 0.1, "rms_dbfs": -30.0, "noise_floor_dbfs": np.nan,
    })  # fmt: skip


def test_properties_have_a_panel_each_and_a_row_a_label(rng: np.random.Generator) -> None:
    figure = draw_properties(properties(rng, ["joy", "fear"]))
    assert [ax.get_xlabel() for ax in figure.axes] == ["duration (s)", "leading silence (s)", "level (dBFS)"]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["fear", "joy"]


def test_the_dot_is_the_median() -> None:
    table = pd.DataFrame({"label": "joy", "duration_s": [1.0, 2.0, 9.0]})
    ax = plot_distribution(table, Figure().subplots(), value="duration_s", labels=["joy"])
    assert ax.lines[-1].get_xdata()[0] == 2.0  # type: ignore[index]


def test_of_many_labels_the_most_frequent_are_drawn(rng: np.random.Generator) -> None:
    figure = draw_properties(properties(rng, [f"l{number:02}" for number in range(MOST_LABELS + 6)]))
    assert len(figure.axes[0].get_yticks()) == MOST_LABELS


def test_copies_are_counted_in_each_row_that_they_break() -> None:
    table = pd.DataFrame({
        "group": [0, 0, 1, 1, 2, 2], "same": ["bytes"] * 4 + ["sound"] * 2,
        "breaks": ["label, split"] * 2 + [""] * 2 + ["label"] * 2,
    })  # fmt: skip
    (ax,) = draw_copies(table).axes
    widths = {words: 0.0 for words in BROKEN.values()}
    for bar in ax.patches:
        widths[list(BROKEN.values())[round(bar.get_y() + bar.get_height() / 2)]] += bar.get_width()  # type: ignore[attr-defined]
    assert widths == {**dict.fromkeys(BROKEN.values(), 0.0), "different labels": 2, "different splits": 1,
                      "nothing: repetitions": 1}  # fmt: skip


def test_counts_add_up_to_the_clips() -> None:
    table = pd.DataFrame({
        "split": ["train", "test", "test"], "label": ["joy", "joy", "fear"], "speaker": ["a", "b", "b"],
        "gender": ["male", "", ""], "n_clips": [3, 2, 1],
    })  # fmt: skip
    figure = draw_counts(table)
    assert [ax.get_title() for ax in figure.axes] == ["by split", "by gender", "by speaker"]
    for ax in figure.axes[:2]:
        assert sum(bar.get_width() for bar in ax.patches) == 6  # type: ignore[attr-defined]
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == ["male", "none given"]  # type: ignore[union-attr]
    assert sum(bar.get_height() for bar in figure.axes[2].patches) == 6  # type: ignore[attr-defined]
    assert len(draw_counts(table[["label", "n_clips"]]).axes) == 1


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_to_draw_is_said(name: str) -> None:
    scores = ["target", "properties", "uar", "chance", "low", "high", "p_adjusted", "verdict", "alarm"]
    empty = pd.DataFrame(columns=["group", "same", "breaks", "n_clips", "label", *scores])
    with pytest.raises(NothingToDrawError):
        FIGURES[name].draw(empty)


def test_a_table_without_its_columns_is_refused() -> None:
    with pytest.raises(AnalysisError, match="lacks columns"):
        draw_copies(pd.DataFrame({"group": [0]}))
