"""Figures of statistics: which factor goes where, what is filled, and what does not fit a page."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from ser_probe.errors import AnalysisError
from ser_probe.report.stats.figures import draw_cell_means, draw_effects, draw_power, draw_residuals
from ser_probe.report.stats.headline import stats_headline
from ser_probe.report.stats.plots import level_order

from ..stats_tables import contrasts_table, descriptives_table, power_curve_table, residuals_table


def test_levels_are_in_order_of_size_then_as_they_come() -> None:
    assert level_order(["100", "final", "0", "50", "a"]) == ["0", "50", "100", "final", "a"]


def test_the_largest_factor_goes_across_and_the_others_make_lines_and_panels() -> None:
    figure = draw_cell_means(descriptives_table({"a": "xy", "layer": range(5), "b": "pqr"}))
    assert [ax.get_title() for ax in figure.axes] == ["a: x", "a: y"]
    assert {ax.get_xlabel() for ax in figure.axes} == {"layer"}
    assert [ax.get_ylabel() for ax in figure.axes] == ["unweighted average recall", ""]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["p", "q", "r"]
    assert figure.legends[0].get_title().get_text() == "b"


def test_means_lie_where_the_table_has_them_in_the_order_of_the_levels() -> None:
    table = descriptives_table({"step": [0, 50, 100], "layer": ["0", "1", "final"]}).sample(frac=1, random_state=0)
    (ax,) = draw_cell_means(table).axes
    lines = [container.lines[0] for container in ax.containers]
    assert len(lines) == 3
    np.testing.assert_allclose([line.get_ydata()[-1] for line in lines], [0.46, 0.49, 0.52])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "1", "final"]


def test_one_factor_is_one_line() -> None:
    figure = draw_cell_means(descriptives_table({"model": "xyz"}))
    assert len(figure.axes[0].containers) == 1
    assert not figure.legends


def test_too_many_cells_are_refused() -> None:
    with pytest.raises(AnalysisError, match=r"too many cells for one figure[\s\S]*9 panels of 3 lines"):
        draw_cell_means(descriptives_table({name: range(3) for name in "abcd"}))


def test_filled_marks_are_those_that_the_correction_leaves() -> None:
    table = contrasts_table([(50, 0)], [f"layer={i}" for i in range(8)])
    figure = draw_effects(table)
    (ax,) = figure.axes
    faces = ax.collections[-1].get_facecolors()
    filled = [not np.allclose(face[:3], to_rgb("white")) for face in faces]
    assert filled == (table["p_holm"] < 0.05).tolist()
    assert "2 of 8 significant after Holm" in figure.get_suptitle()
    assert ax.get_yticklabels()[0].get_text() == "step 50 – 0 (layer=0)"
    low, high = ax.get_ylim()
    assert low > high, "the first row is on top"


def test_very_many_comparisons_get_a_panel_for_each_pair() -> None:
    table = contrasts_table([(step, 0) for step in (50, 100)], [f"layer={i}" for i in range(25)])
    figure = draw_effects(table)
    assert [ax.get_title() for ax in figure.axes] == ["step 50 – 0", "step 100 – 0"]
    assert len(figure.axes[0].get_yticks()) == 25
    with pytest.raises(AnalysisError, match=r"too many comparisons for one figure[\s\S]*60 rows of 2 pairs"):
        draw_effects(contrasts_table([(1, 0), (2, 0)], [f"layer={i}" for i in range(60)]))


def test_comparisons_without_spread_are_not_drawn() -> None:
    table = contrasts_table([(50, 0)], ["", "x=1"])
    table.loc[0, ["effect_size", "p_holm"]] = np.nan
    assert len(draw_effects(table).axes[0].get_yticks()) == 1
    with pytest.raises(AnalysisError, match="No comparison has an effect size"):
        draw_effects(table.assign(effect_size=np.nan))


def test_residuals_outside_the_band_stand_out() -> None:
    (ax,) = draw_residuals(residuals_table()).axes
    counts = {part.get_label(): len(part.get_offsets()) for part in ax.collections[1:]}
    assert counts == {"inside the band": 59, "outside": 1}


def test_power_shows_what_is_wanted_and_what_is_at_hand() -> None:
    figure = draw_power(power_curve_table())
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["0.5 SD", "1 SD", "wanted", "at hand"]
    assert [ax.get_title() for ax in figure.axes] == ["two independent models", "pairs"]
    without = draw_power(power_curve_table(np.nan))
    assert "at hand" not in [text.get_text() for text in without.legends[0].get_texts()]


def test_the_headline_has_the_terms_and_no_residual() -> None:
    anova = pd.DataFrame({
        "term": ["step", "layer", "Residual"], "F": [9.0, 1.0, np.nan], "p": [1e-9, 0.4, np.nan],
        "partial_eta_sq": [0.6, 0.1, np.nan], "omega_sq": [0.5, 0.0, np.nan], "analysis": "",
    })  # fmt: skip
    head = stats_headline(anova)
    assert head.columns.tolist() == ["term", "F", "p", "partial η²", "ω²"]
    assert head["p"].tolist() == ["< .001", "0.400"]
    assert stats_headline(anova.assign(analysis="mlp"))["of"].tolist() == ["mlp", "mlp"]
    with pytest.raises(AnalysisError, match="anova table lacks columns"):
        stats_headline(anova.drop(columns="F"))


@pytest.mark.parametrize("draw", [draw_cell_means, draw_effects, draw_residuals, draw_power])
def test_a_table_of_something_else_is_refused(draw: object) -> None:
    with pytest.raises(AnalysisError, match="table lacks columns"):
        draw(pd.DataFrame({"x": [1]}))  # type: ignore[operator]
