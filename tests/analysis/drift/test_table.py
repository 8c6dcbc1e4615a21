"""The drift of a layer as a table: by group, with intervals, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from ser_probe.analysis.drift.measures import MEASURES
from ser_probe.analysis.drift.table import COLUMNS, layer_drift
from ser_probe.analysis.similarity.cka import cka_pairs
from ser_probe.errors import AnalysisError
from tests.analysis.similarity.oracle_cka import linear_cka

EXACT = 1e-10
SQUARED = 1e-7  # roots of eigenvalues of squared products
CKA = 1e-6  # Gram matrices may be float32
N, D = 120, 8
SPEAKERS = np.repeat(list("abcdef"), 20)
LABELS = np.tile(["anger", "joy"], 60)
MEANS = ("mean_cosine", "mean_cosine_centred", "knn_overlap")


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((N, D)) + 1


@pytest.fixture
def y(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return x + 0.5 * rng.standard_normal(x.shape) + 0.2


@pytest.fixture
def table(x: np.ndarray, y: np.ndarray) -> pd.DataFrame:
    groupings = {"label": LABELS, "speaker": SPEAKERS}
    return layer_drift([x, y], [(0, 0), (0, 1)], speakers=SPEAKERS, groupings=groupings)


def values(table: pd.DataFrame, column: str = "value", pair: int | None = None, group: str = "all") -> pd.Series:
    """Return a group's values by measure, of the last pair by default."""
    rows = table[(table["pair"] == (table["pair"].max() if pair is None else pair)) & (table["group"] == group)]
    return rows.set_index("measure")[column]


def test_a_row_for_each_pair_group_and_measure(table: pd.DataFrame) -> None:
    assert list(table.columns) == COLUMNS
    by_group = sum(measure.by_group for measure in MEASURES.values())
    assert len(table) == 2 * (len(MEASURES) + 8 * by_group)
    assert list(values(table).index) == list(MEASURES)
    assert table.groupby("group_by")["n"].first().to_dict() == {"overall": N, "label": 60, "speaker": 20}
    assert table.groupby("group_by")["n_speakers"].first().to_dict() == {"overall": 6, "label": 6, "speaker": 1}


def test_no_change_is_no_drift_with_an_interval_of_no_width(table: pd.DataFrame) -> None:
    unchanged = pd.Series({name: measure.unchanged for name, measure in MEASURES.items()})
    for column in ("value", "ci_low", "ci_high"):
        found = values(table, column, pair=0)
        np.testing.assert_allclose(found, unchanged[found.index], atol=CKA)


def test_cka_is_that_of_the_clips_at_hand(table: pd.DataFrame, x: np.ndarray, y: np.ndarray) -> None:
    anger = LABELS == "anger"
    assert values(table)["cka_debiased"] == pytest.approx(linear_cka(x, y), abs=CKA)
    assert values(table, group="anger")["cka_debiased"] == pytest.approx(linear_cka(x[anger], y[anger]), abs=CKA)
    pairs = cka_pairs([x], [y], groups=SPEAKERS)["cka_debiased"]
    assert values(table, "ci_low")["cka_debiased"] == pytest.approx(pairs.ci_low.item(), abs=CKA)


@pytest.mark.parametrize("grouping", [["anger", "joy"], list("abcdef")])
def test_means_of_groups_make_the_mean_of_all(table: pd.DataFrame, grouping: list[str]) -> None:
    for measure in MEANS:
        parts = [values(table, group=group)[measure] for group in grouping]
        assert np.mean(parts) == pytest.approx(values(table)[measure], abs=EXACT), measure


def test_a_group_that_moved_alone_is_the_one_that_drifts(x: np.ndarray) -> None:
    y = x.copy()
    y[SPEAKERS == "c"] += np.linspace(1, 3, D)
    table = layer_drift([x, y], [(0, 1)], groupings={"speaker": SPEAKERS})
    shift, norm = (table[table["measure"] == name].set_index("group")["value"] for name in
                   ("mean_shift", "relative_norm_change"))  # fmt: skip
    moved = np.linspace(1, 3, D)
    assert shift["c"] == pytest.approx(moved @ moved / x.var(axis=0).sum(), abs=EXACT)
    assert shift.drop(["all", "c"]).max() == 0
    assert norm["c"] > 0.3
    assert norm.drop(["all", "c"]).abs().max() < EXACT


def test_the_interval_of_a_mean_over_equal_speakers_is_students(
    table: pd.DataFrame, x: np.ndarray, y: np.ndarray
) -> None:
    cosines = np.array([a @ b / np.sqrt(a @ a * (b @ b)) for a, b in zip(x, y, strict=True)])
    by_speaker = cosines.reshape(6, 20).mean(axis=1)
    interval = scipy.stats.t.interval(0.95, 5, by_speaker.mean(), scipy.stats.sem(by_speaker))
    found = values(table, "ci_low")["mean_cosine"], values(table, "ci_high")["mean_cosine"]
    assert found == pytest.approx(interval, abs=1e-8)
    norms = [np.linalg.norm(state, axis=1).mean() for state in (x, y)]
    assert values(table)["relative_norm_change"] == pytest.approx(norms[1] / norms[0] - 1, abs=EXACT)


@pytest.mark.parametrize("speakers", [None, np.array(["a"] * N), np.repeat(["a", "b"], N // 2)])
def test_without_three_speakers_there_is_no_interval(x: np.ndarray, y: np.ndarray, speakers: np.ndarray | None) -> None:
    table = layer_drift([x, y], [(0, 1)], speakers=speakers)
    assert table[["ci_low", "ci_high"]].isna().all(axis=None)
    assert table["value"].notna().all()


def test_a_group_of_one_clip_has_means_and_no_cka(x: np.ndarray, y: np.ndarray) -> None:
    alone = np.where(np.arange(N) == 5, "alone", "rest")
    table = layer_drift([x, y], [(0, 1)], speakers=SPEAKERS, groupings={"label": alone})
    found = values(table, group="alone")
    assert "cka_debiased" not in found
    cosine = x[5] @ y[5] / np.linalg.norm(x[5]) / np.linalg.norm(y[5])
    assert found["mean_cosine"] == pytest.approx(cosine, abs=EXACT)
    assert values(table, "n", group="alone").unique().tolist() == [1]
    assert "covariance_shift" not in found
    assert np.isnan(found["mean_shift"]), "it has no other clip to move alike with"


def test_small_data_have_fewer_neighbours_and_the_baseline_says_so(x: np.ndarray, y: np.ndarray) -> None:
    table = layer_drift([x[:21], y[:21]], [(0, 1)], n_neighbours=10)
    baseline = values(table, "baseline")
    assert baseline["knn_overlap"] == 5 / 20
    assert baseline["cka_debiased"] == 0
    assert np.isnan(baseline["procrustes"])


def test_a_narrow_and_a_wide_layer_of_equal_geometry_drift_alike(x: np.ndarray, y: np.ndarray) -> None:
    """Wide enough to be measured in the coordinates of the rows instead of the columns'."""
    widened = np.linalg.qr(np.random.default_rng(0).standard_normal((3 * N, D)))[0].T
    tables = [layer_drift([a, b], [(0, 1)], speakers=SPEAKERS) for a, b in ((x, y), (x @ widened, y @ widened))]
    for column in ("value", "ci_low", "ci_high"):
        np.testing.assert_allclose(tables[0][column], tables[1][column], atol=CKA)


def test_one_measure_alone_is_as_among_all(table: pd.DataFrame, x: np.ndarray, y: np.ndarray) -> None:
    for measure in MEASURES:
        alone = layer_drift([x, y], [(0, 1)], speakers=SPEAKERS, measures=[measure])
        assert alone["measure"].tolist() == [measure]
        assert alone["value"].item() == pytest.approx(values(table)[measure], abs=SQUARED)


def test_overall_values_of_a_pair_are_the_same(x: np.ndarray, y: np.ndarray) -> None:
    pairs, groupings = [(0, 0), (0, 1), (1, 0)], {"label": LABELS}
    full = layer_drift([x, y], pairs, speakers=SPEAKERS, groupings=groupings)
    brief = layer_drift([x, y], pairs, speakers=SPEAKERS, groupings=groupings, overall_only=[0, 1])
    for pair in range(3):
        expected, found = values(full, pair=pair), values(brief, pair=pair)
        np.testing.assert_allclose(found[expected.index], expected, atol=SQUARED)
    without = brief[brief["ci_low"].isna()]
    assert set(without["pair"]) == {1}
    assert sorted(without["measure"].unique()) == ["covariance_shift", "procrustes"]
    assert "procrustes" not in values(brief, pair=1, group="anger")
    assert "procrustes" in values(brief, pair=2, group="anger")


def test_what_is_refused(x: np.ndarray, y: np.ndarray) -> None:
    with pytest.raises(AnalysisError, match=r"no measure of drift 'procrustus'[\s\S]*did you mean 'procrustes'"):
        layer_drift([x, y], [(0, 1)], measures=["procrustus"])
    with pytest.raises(AnalysisError, match="another shape now"):
        layer_drift([x, y[:50]], [(0, 1)])
    with pytest.raises(AnalysisError, match="another shape now") as wider:
        layer_drift([x, np.ones((N, D + 1))], [(0, 1)], names=["before", "after"])
    assert (wider.value.where, wider.value.found) == ("after", (N, D + 1))
    with pytest.raises(AnalysisError, match="same clips"):
        layer_drift([x, y], [(0, 1)], speakers=SPEAKERS[:50])
    y[7, 2] = np.nan
    with pytest.raises(AnalysisError, match="NaN or infinite") as nan:
        layer_drift([x, y], [(0, 1)])
    assert nan.value.where == "clips 7"
    with pytest.raises(AnalysisError, match="do not vary"):
        layer_drift([x, np.ones((N, D))], [(0, 1)])


def test_a_clip_without_direction_is_named(x: np.ndarray, y: np.ndarray) -> None:
    y[7] = 0
    with pytest.raises(AnalysisError, match="no direction") as caught:
        layer_drift([x, y], [(0, 1)], names=["layer 1 of a.h5", "layer 1 of b.h5"])
    assert caught.value.where == "layer 1 of b.h5, clip 7"
