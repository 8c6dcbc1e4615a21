"""The table of geometry: its rows, what is beside each value, planted truth, and where it stops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ser_probe.analysis.geometry.spectrum import centred, eigenvalues, rankme
from ser_probe.analysis.geometry.table import COLUMNS, FACTOR_MEASURES, SHAPE_MEASURES, Geometry, geometry_table
from ser_probe.analysis.inputs import RepresentationKey
from ser_probe.errors import AnalysisError

N, WIDTH = 144, 16
Factors = dict[str, np.ndarray]


@pytest.fixture
def factors() -> Factors:
    row = np.arange(N)
    speaker = row // 3 % 6
    return {
        "label": np.array(["anger", "joy", "sadness"])[row % 3],
        "speaker": np.array([f"s{number}" for number in range(6)])[speaker],
        "gender": np.array(["female", "male"])[speaker % 2],
    }


@pytest.fixture
def tables(factors: Factors, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Layer 0 never changes; layer 1 parts the labels at step 50."""
    noise = rng.standard_normal((2, N, WIDTH))
    label = np.unique(factors["label"], return_inverse=True)[1]
    moved = 2 * rng.standard_normal((3, WIDTH))[label]

    def representations() -> object:
        for step in (0, 50):
            for layer in (0, 1):
                x = noise[layer] + (moved if step and layer else 0) + 0.5
                yield RepresentationKey("tiny", f"step-{step}", float(step), str(layer)), x.astype(np.float32)

    geometry = Geometry(N, speakers=factors["speaker"], factors=factors, n_permutations=5)
    return geometry_table(representations(), geometry, n_speakers=6, n_components=10)  # type: ignore[arg-type]


def test_rows(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    table, spectrum = tables
    assert list(table.columns) == COLUMNS
    assert set(table["measure"]) == {*SHAPE_MEASURES, *FACTOR_MEASURES}
    assert table.groupby(["step", "layer"]).size().nunique() == 1
    assert not table.duplicated([*RepresentationKey._fields, "measure", "factor"]).any()
    factors = table.groupby("measure")["factor"].unique().map(set)
    assert factors["silhouette"] == factors["fisher_ratio"] == {"label", "speaker"}
    assert factors["marginal_share"] == {"label", "speaker", "gender"}
    assert factors["unique_share"] == {"label", "speaker", "gender", "label:speaker", "residual", "joint"}
    assert factors["rankme"] == {""}
    assert (table["n"] == N).all()
    assert table["value"].notna().all()
    assert spectrum.groupby(["step", "layer"])["component"].max().eq(10).all()
    assert spectrum.groupby(["step", "layer"])["value"].sum().between(0.5, 1).all()


def test_intervals_and_nulls(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    table, _ = tables
    without = table["measure"].isin(["effective_rank", "rankme"])
    assert table.loc[without, ["ci_low", "ci_high"]].isna().all(axis=None)
    rest = table[~without]
    assert ((rest["ci_low"] <= rest["value"]) & (rest["value"] <= rest["ci_high"])).all()
    of_shape = table[table["measure"].isin(SHAPE_MEASURES)]
    ceiling = of_shape.groupby("measure")["baseline"].agg(["min", "max"])
    assert (ceiling["min"] == ceiling["max"]).all(), "one ceiling for all representations of a width"
    assert ceiling.loc["participation_ratio_unbiased", "min"] == pytest.approx(WIDTH, rel=0.15)
    nulls = table[(table["measure"] == "silhouette") & (table["layer"] == "1") & (table["factor"] == "label")]
    assert nulls["baseline"].abs().max() < 0.05


def test_what_changed_is_found_and_the_rest_is_not(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    table, _ = tables
    assert table.loc[table["step"] == 0, "change"].isna().all(), "the first step is what is compared with"
    late = table[table["step"] == 50].set_index(["layer", "measure", "factor"])
    still = late.loc["0"]
    np.testing.assert_allclose(still[["change"]], 0, atol=1e-12)
    for measure in ("silhouette", "fisher_ratio", "marginal_share", "unique_share"):
        row = late.loc["1", measure, "label"]
        assert row["change_low"] > 0.05, measure
    assert late.loc["1", "participation_ratio", ""]["change_high"] < 0
    assert (
        late.loc["1", "unique_share", "gender"]["change_low"]
        < 0
        < late.loc["1", "unique_share", "gender"]["change_high"]
    )


def test_ranks_have_intervals_on_demand(factors: Factors, rng: np.random.Generator) -> None:
    x = rng.standard_normal((N, WIDTH))
    geometry = Geometry(N, speakers=factors["speaker"], n_permutations=0, rank_intervals=True)
    found = geometry.measure(x).values["rankme", ""]
    expected = [rankme(eigenvalues(centred(x[factors["speaker"] != f"s{g}"]))) for g in range(6)]
    np.testing.assert_allclose(found[1:], expected)


def test_without_speakers_or_factors(rng: np.random.Generator) -> None:
    key = RepresentationKey("tiny", "step-0", 0.0, "0")
    table, _ = geometry_table([(key, rng.standard_normal((20, 4)))], Geometry(20))
    assert set(table["measure"]) == set(SHAPE_MEASURES)
    assert table[["ci_low", "ci_high", "n_speakers"]].isna().all(axis=None)
    narrow, _ = geometry_table([(key, rng.standard_normal((20, 1)))], Geometry(20))
    assert set(narrow["measure"]) == set(SHAPE_MEASURES) - {"isoscore"}


def test_faults_say_which_representation(factors: Factors, rng: np.random.Generator) -> None:
    key, x = RepresentationKey("tiny", "step-0", 0.0, "3"), rng.standard_normal((N, WIDTH))
    geometry = Geometry(N, factors=factors, n_permutations=0)
    for row, match in ((np.nan, "hold NaN or infinite values"), (0.0, "A vector of zeros has no direction")):
        broken = x.copy()
        broken[5] = row
        with pytest.raises(AnalysisError, match=match) as raised:
            geometry_table([(key, broken)], geometry)
        assert "tiny step-0 layer 3" in str(raised.value)
    with pytest.raises(AnalysisError, match="The features of tiny step-0 layer 3 do not vary"):
        geometry_table([(key, np.ones((N, WIDTH)))], geometry)
    with pytest.raises(AnalysisError, match="The inputs do not describe the same clips"):
        geometry_table([(key, x[:-1])], geometry)
    with pytest.raises(AnalysisError, match="The silhouette by label needs at least two classes"):
        Geometry(N, factors={"label": np.full(N, "joy")})
    with pytest.raises(AnalysisError, match="are too few clips to have a shape"):
        Geometry(2).measure(x[:2])
