"""The figures of acoustics: names, order, marks, rankings, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from ser_probe.errors import AnalysisError
from ser_probe.report.acoustics.figures import draw_acoustics_groups, draw_acoustics_map, draw_acoustics_ranking
from ser_probe.report.acoustics.headline import acoustics_headline
from ser_probe.report.acoustics.plots import functional_order, short_functional

from ..acoustics_tables import FUNCTIONALS, acoustics_tables
from ..drawn import Tables

LAYERS, STEPS = ["0", "1", "final"], (0, 50)


@pytest.fixture
def own() -> Tables:
    return acoustics_tables(LAYERS, STEPS)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("F0semitoneFrom27.5Hz_sma3nz_percentile20.0", "F0 20 %"),
        ("F0semitoneFrom27.5Hz_sma3nz_stddevFallingSlope", "F0 falling slope SD"),
        ("loudness_sma3_meanRisingSlope", "loudness rising slope"),
        ("F2amplitudeLogRelF0_sma3nz_stddevNorm", "F2 level rel. SD"),
        ("slopeUV500-1500_sma3nz_amean", "slope 500-1500 UV mean"),
        ("mfcc4V_sma3nz_amean", "MFCC 4 V mean"),
        ("mfcc4_sma3_amean", "MFCC 4 mean"),
        ("MeanUnvoicedSegmentLength", "unvoiced length mean"),
        ("my_own feature", "my own feature"),
    ],
)
def test_short_names(name: str, short: str) -> None:
    assert short_functional(name) == short


def test_short_names_stay_apart() -> None:
    pytest.importorskip("opensmile")
    from ser_probe.embeddings.opensmile_sets import feature_names

    assert len({short_functional(name) for name in feature_names()}) == 88


def test_rows_are_in_groups_and_marked(own: Tables) -> None:
    shuffled = own["acoustics"].sample(frac=1, random_state=1)
    assert functional_order(shuffled)["group"].tolist() == sorted(
        FUNCTIONALS.values(), key=["frequency", "energy", "spectral", "temporal"].index
    )
    figure = draw_acoustics_map(own["acoustics"])
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[0] == "F0 mean"
    assert [label.endswith("†") for label in labels] == [False, False, False, True, False, True, False]
    first, last, change = (figure.axes[i].collections[0].get_array() for i in range(3))
    np.testing.assert_allclose(np.ma.filled(last - first, 0), np.ma.filled(change, 0), atol=1e-12)
    assert np.ma.getmaskarray(first)[3].all(), "a constant stays without a value"


def test_one_checkpoint_has_no_change(own: Tables) -> None:
    first = own["acoustics"][own["acoustics"]["step"] == 0]
    assert [ax.get_title() for ax in draw_acoustics_map(first).axes if ax.get_title()] == ["step 0"]


def test_ranking(own: Tables) -> None:
    lost, gained = draw_acoustics_ranking(own["acoustics_changes"], most=2).axes[:2]
    assert [label.get_text() for label in lost.get_yticklabels()] == ["F0 mean", "F0 20-80 % range"]
    assert [label.get_text() for label in gained.get_yticklabels()] == ["unvoiced length SD", "slope 500-1500 UV mean"]
    dots = [line for line in lost.lines if line.get_marker() == "o"]
    assert [dot.get_markerfacecolor() == "white" for dot in dots] == [False, True], "filled where p is small"


def test_controls_stand_beside_the_groups(own: Tables) -> None:
    ax = draw_acoustics_groups(own["acoustics_groups"]).axes[0]
    assert {"clips shuffled", "random weights", "gender alone"} <= {str(line.get_label()) for line in ax.lines}


def test_headline(own: Tables) -> None:
    table = acoustics_headline(own["acoustics_changes"])
    assert table["what"].tolist() == ["lost"] * 3 + ["gained"] * 2
    assert table["functional"].iloc[0] == "F0 mean"
    assert "MFCC 4 V rel. SD" not in set(table["functional"]), "what cannot be relied on is not ranked"
    assert table["95 % over speakers"].iloc[0] == "-0.425 to -0.325"


def test_faults(own: Tables) -> None:
    with pytest.raises(AnalysisError, match="The table of acoustics holds no checkpoint"):
        draw_acoustics_map(own["acoustics"].assign(step=np.nan))
    flagged = own["acoustics_changes"].assign(value=np.nan)
    with pytest.raises(AnalysisError, match="No functional has a change to rank"):
        draw_acoustics_ranking(flagged)
