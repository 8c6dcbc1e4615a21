"""The figure of the shortcuts: what stands where, what is filled, and what the legend explains."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from ser_probe.errors import AnalysisError, NothingToDrawError
from ser_probe.report.audit.shortcuts import SHORTCUT_FIGURES, draw_shortcuts, plot_shortcuts
from ser_probe.report.canvas import new_panels
from ser_probe.report.figures import compose_figures
from ser_probe.report.style import ACCENT, CLASS_COLOURS
from tests.report.drawn import labels

GROUPS = ["duration", "DC offset", "rate and container", "channels"]
VERDICTS = ["clear", "none", "strong", "constant"]


@pytest.fixture
def table() -> pd.DataFrame:
    rows = []
    for target in ("label", "speaker"):
        for place, (group, verdict) in enumerate(zip(GROUPS, VERDICTS, strict=True)):
            uar = 0.25 if verdict == "constant" else 0.3 + 0.1 * place
            ends = (np.nan, np.nan) if verdict == "constant" else (uar - 0.05, uar + 0.05)
            rows.append((target, group, 400, uar, 0.25, *ends, 0.01, verdict, verdict == "strong"))
    return pd.DataFrame(
        rows, columns=["target", "properties", "n_clips", "uar", "chance", "low", "high", "p_adjusted", "verdict",
                       "alarm"],
    )  # fmt: skip


def test_marks(table: pd.DataFrame) -> None:
    _, (ax,) = new_panels(4, 3)
    plot_shortcuts(table, ax, target="speaker", groups=GROUPS)
    crosses, dots = ax.collections[0], ax.collections[2]
    np.testing.assert_allclose(np.asarray(crosses.get_offsets()), [[0.25, 3]])
    np.testing.assert_allclose(np.asarray(dots.get_offsets()), [[0.3, 0], [0.4, 1], [0.5, 2]])
    filled = [to_hex(colour).upper() for colour in dots.get_facecolors()]  # type: ignore[attr-defined]
    assert filled == [CLASS_COLOURS[0].upper(), "#FFFFFF", ACCENT.upper()]
    assert list(np.asarray(ax.lines[0].get_xdata())) == [0.25, 0.25]
    assert labels(ax.get_yticklabels()) == GROUPS
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first group is at the top"


def test_figure(table: pd.DataFrame) -> None:
    (drawn,) = compose_figures({"audit_shortcuts": table}, specs=SHORTCUT_FIGURES)
    assert drawn.figure is not None
    assert [ax.get_title() for ax in drawn.figure.axes] == ["label, 400 clips", "speaker, 400 clips"]
    entries = labels(drawn.figure.legends[0].get_texts())
    assert entries == ["alarm", "significant", "not significant", "all alike", "chance"]
    plain = draw_shortcuts(table[table["verdict"] == "none"])
    assert labels(plain.legends[0].get_texts()) == ["not significant", "chance"]


def test_bad_tables(table: pd.DataFrame) -> None:
    with pytest.raises(NothingToDrawError, match="shortcuts table is empty"):
        draw_shortcuts(table.iloc[:0])
    with pytest.raises(AnalysisError, match="lacks columns"):
        draw_shortcuts(table.drop(columns="low"))
    _, (ax,) = new_panels(4, 3)
    with pytest.raises(NothingToDrawError, match="holds nothing to draw"):
        plot_shortcuts(table, ax, target="corpus", groups=GROUPS)
