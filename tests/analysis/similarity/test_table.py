from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from ser_probe.analysis.inputs import RepresentationKey
from ser_probe.analysis.similarity.cka import cka_pairs
from ser_probe.analysis.similarity.measures import compare_two
from ser_probe.analysis.similarity.options import Options
from ser_probe.analysis.similarity.table import COLUMNS, Permutations, similarity_table, standardised, title
from ser_probe.errors import AnalysisError
from tests.analysis.similarity.oracle_cka import linear_cka

SPEAKERS = np.repeat(list("abcde"), 8)


def _layers(rng: np.random.Generator) -> dict[RepresentationKey, np.ndarray]:
    x = rng.standard_normal((40, 6))
    return {
        RepresentationKey("m", f"step-{step}", step, str(layer)): x + (step + layer) * rng.standard_normal((40, 6))
        for step in (0, 5)
        for layer in (0, 1)
    }


def test_every_pair_has_its_own_value(rng: np.random.Generator) -> None:
    layers = _layers(rng)
    table = similarity_table(layers, options=Options(groups=SPEAKERS))
    assert list(table.columns) == COLUMNS
    assert len(table) == 2 * 4 * 4
    for row in table.itertuples():
        a = layers[RepresentationKey(row.model_a, row.checkpoint_a, row.step_a, row.layer_a)]
        b = layers[RepresentationKey(row.model_b, row.checkpoint_b, row.step_b, row.layer_b)]
        debiased = row.measure == "cka_debiased"
        assert row.value == pytest.approx(linear_cka(a, b, debiased=debiased), abs=1e-10)
        assert row.baseline == pytest.approx(0 if debiased else cka_pairs([a], [b])["cka"].baseline[0, 0], abs=1e-10)
        assert row.ci_low <= row.value <= row.ci_high
        assert (row.n, row.n_speakers) == (40, 5)


def test_against_features_of_another_kind(rng: np.random.Generator) -> None:
    layers = _layers(rng)
    acoustic = {RepresentationKey("eGeMAPSv02", "", np.nan, "functionals"): rng.standard_normal((40, 88))}
    table = similarity_table(layers, acoustic)
    assert len(table) == 2 * 4
    assert set(table["layer_b"]) == {"functionals"}
    assert table["step_b"].isna().all()
    assert table[["ci_low", "p", "n_speakers"]].isna().all(axis=None)


def test_standardised_features_do_not_depend_on_their_units(rng: np.random.Generator) -> None:
    layers, x = _layers(rng), rng.standard_normal((40, 88)) + rng.standard_normal((40, 1))
    key = RepresentationKey("eGeMAPSv02", "", np.nan, "functionals")
    other_units = x * np.geomspace(1e-3, 1e3, 88) + 5
    tables = {
        (standardise, name): similarity_table(layers, {key: standardised(features) if standardise else features})[
            "value"
        ]
        for standardise in (True, False)
        for name, features in (("as is", x), ("other units", other_units))
    }
    np.testing.assert_allclose(tables[True, "as is"], tables[True, "other units"], atol=1e-8)
    assert np.abs(tables[False, "as is"] - tables[False, "other units"]).max() > 0.01


def test_standardised_features_that_do_not_vary_become_zero(rng: np.random.Generator) -> None:
    x = np.column_stack([rng.standard_normal(9), np.full(9, 0.1), np.zeros(9)])
    np.testing.assert_array_equal(standardised(x)[:, 1:], 0)
    np.testing.assert_allclose(standardised(x)[:, 0].std(), 1)
    x[3, 0] = np.nan
    with pytest.raises(AnalysisError, match="NaN or infinite") as caught:
        standardised(x)
    assert caught.value.where == "clips 3"


def test_p_values_where_they_are_asked_for(rng: np.random.Generator) -> None:
    layers = _layers(rng)
    table = similarity_table(layers, measures=["cka_debiased", "procrustes"], permutations=Permutations(19))
    itself = table[(table["layer_a"] == table["layer_b"]) & (table["step_a"] == table["step_b"])]
    assert set(itself["p"]) == {0.05}
    # Procrustes has no exact baseline: the mean over the permutations is one, well below 1.
    baseline = table.set_index("measure")["baseline"]["procrustes"]
    assert baseline.between(0.1, 0.9).all()
    wanted, asked = np.ones((4, 4), bool), np.eye(4, dtype=bool)
    some = similarity_table(layers, wanted=wanted, permutations=Permutations(19, pairs=asked))
    assert some["p"].notna().sum() == 2 * 4
    none = similarity_table(layers, permutations=Permutations(19, pairs=~wanted))
    assert none["p"].isna().all()


def test_only_the_pairs_that_are_wanted_are_written(rng: np.random.Generator) -> None:
    layers, wanted = _layers(rng), np.zeros((4, 4), bool)
    wanted[0, 3] = wanted[2, 1] = True
    table = similarity_table(layers, measures=["cka", "pwcca"], wanted=wanted, options=Options(groups=SPEAKERS))
    assert len(table) == 4
    whole = similarity_table(layers, measures=["cka", "pwcca"], options=Options(groups=SPEAKERS))
    merged = table.merge(whole, on=COLUMNS[:9], suffixes=("", "_whole"))
    np.testing.assert_allclose(merged["value"], merged["value_whole"], atol=1e-12)
    assert len(merged) == 4


def test_intervals_of_slow_measures_on_demand(rng: np.random.Generator) -> None:
    layers = dict(list(_layers(rng).items())[:2])
    options = Options(groups=SPEAKERS)
    table = similarity_table(layers, measures=["procrustes", "cka"], options=options, all_intervals=True)
    assert table["ci_low"].notna().all()
    x, y = layers.values()
    left_out = [compare_two("procrustes", x[s != SPEAKERS], y[s != SPEAKERS]) for s in "abcde"]
    half = scipy.stats.t.ppf(0.975, 4) * np.sqrt(4) * np.std(left_out)
    row = table[(table["measure"] == "procrustes") & (table["layer_a"] == "0") & (table["layer_b"] == "1")].iloc[0]
    assert row["ci_high"] == pytest.approx(row["value"] + half, abs=1e-9)
    for groups in (None, np.repeat(["a", "b"], 20)):
        few = similarity_table(layers, measures=["procrustes"], options=Options(groups=groups), all_intervals=True)
        assert few["ci_low"].isna().all()


def test_flags_are_text(rng: np.random.Generator) -> None:
    table = similarity_table(_layers(rng), measures=["cca_mean_insample", "cka"], options=Options(groups=SPEAKERS))
    assert set(table["flag"]) == {""}
    wide = {RepresentationKey("m", "", 0, "0"): rng.standard_normal((40, 30))}
    assert similarity_table(wide, measures=["cca_mean_insample"])["flag"].tolist() == ["refused: n < d1 + d2"]
    assert title(RepresentationKey("m", "", np.nan, "3")) == "m layer 3"


def test_a_bad_layer_is_named(rng: np.random.Generator) -> None:
    layers = _layers(rng)
    layers[RepresentationKey("m", "step-9", 9, "1")] = np.ones((40, 6))
    with pytest.raises(AnalysisError, match="do not vary") as caught:
        similarity_table(layers)
    assert caught.value.where == "m step-9 layer 1"
