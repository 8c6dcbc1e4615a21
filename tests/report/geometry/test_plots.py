"""The figures of geometry: what is drawn where, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from ser_probe.errors import AnalysisError
from ser_probe.report.geometry.figures import (
    draw_geometry_classes,
    draw_geometry_shape,
    draw_geometry_spectrum,
    draw_geometry_variance,
)
from ser_probe.report.geometry.headline import geometry_headline
from ser_probe.report.geometry.plots import factor_colours

from ..drawn import Tables
from ..geometry_tables import UNIQUE, geometry_tables

LAYERS, STEPS = ["0", "1", "final"], (0, 50)


@pytest.fixture
def own() -> Tables:
    return geometry_tables(LAYERS, STEPS)


def test_bars_stack_to_what_is_explained(own: Tables) -> None:
    figure = draw_geometry_variance(own["geometry"])
    first = figure.axes[0]
    tops = {round(bar.get_x()): bar.get_y() + bar.get_height() for bar in first.patches}
    assert tops[0] == pytest.approx(sum(UNIQUE.values())), "the residual is not drawn"
    assert [ax.get_title() for ax in figure.axes] == ["step 0", "step 50"]


def test_a_share_below_0_is_drawn_as_none(own: Tables) -> None:
    table = own["geometry"].copy()
    chosen = (table["measure"] == "unique_share") & (table["factor"] == "gender")
    table.loc[chosen, "value"] = -0.2
    heights = [bar.get_height() for bar in draw_geometry_variance(table).axes[0].patches]
    assert min(heights) == 0
    assert "joint" in factor_colours(table)
    table.loc[table["factor"] == "joint", "value"] = 0.0
    assert "joint" not in factor_colours(table), "a balanced design has none"


def test_acoustic_features_are_no_layer(own: Tables) -> None:
    ax = draw_geometry_shape(own["geometry"]).axes[3]
    assert [label.get_text() for label in ax.get_xticklabels()] == LAYERS
    assert "eGeMAPS" not in str(draw_geometry_spectrum(own["geometry_spectrum"]).get_suptitle())


def test_the_null_is_drawn_beside_the_classes(own: Tables) -> None:
    ax = draw_geometry_classes(own["geometry"]).axes[0]
    dotted = [line.get_ydata() for line in ax.lines if line.get_linestyle() != "-"]
    assert len(dotted) == 2
    np.testing.assert_allclose(dotted[0], -0.02)


def test_headline(own: Tables) -> None:
    table = geometry_headline(own["geometry"])
    assert table["step"].tolist() == [0, 50]
    assert table["layer"].tolist() == ["final", "final"]
    assert table["variance about label"].tolist() == pytest.approx([0.1, 0.5])
    assert table["change of variance about label"].tolist()[1] == "-0.1 (-0.2 to -0.05)"
    assert table["change of variance about label"].isna().tolist() == [True, False]


def test_faults(own: Tables) -> None:
    acoustic = own["geometry"][own["geometry"]["layer"] == "functionals"]
    with pytest.raises(AnalysisError, match="The geometry table holds no checkpoint"):
        draw_geometry_shape(acoustic)
    shape = own["geometry"][own["geometry"]["factor"] == ""]
    with pytest.raises(AnalysisError, match="The geometry table holds no measure by factor"):
        draw_geometry_classes(shape)
