from __future__ import annotations

import numpy as np
import pytest

from ser_probe.analysis.inputs import RepresentationKey
from ser_probe.analysis.similarity.cka import cka_baseline, linear_cka
from ser_probe.analysis.similarity.table import COLUMNS, permutation_p, similarity_table, standardised
from ser_probe.errors import AnalysisError

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
    table = similarity_table(layers, groups=SPEAKERS)
    assert list(table.columns) == COLUMNS
    assert len(table) == 2 * 4 * 4
    for row in table.itertuples():
        a = layers[RepresentationKey(row.model_a, row.checkpoint_a, row.step_a, row.layer_a)]
        b = layers[RepresentationKey(row.model_b, row.checkpoint_b, row.step_b, row.layer_b)]
        debiased = row.measure == "cka_debiased"
        assert row.value == pytest.approx(linear_cka(a, b, debiased=debiased), abs=1e-10)
        assert row.baseline == pytest.approx(0 if debiased else cka_baseline(a, b), abs=1e-10)
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
        (standardise, name): similarity_table(layers, {key: features}, standardise_others=standardise)["value"]
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


def test_permutation_p_tells_related_from_unrelated(rng: np.random.Generator) -> None:
    x, unrelated = rng.standard_normal((2, 30, 5))
    p = permutation_p([x, unrelated], [x[:, :2], unrelated + 10 * x[:, :1]], n_permutations=99)
    assert p[0, 0] == pytest.approx(0.01)
    assert p[1, 0] > 0.05
    table = similarity_table({RepresentationKey("m", "", 0, "0"): x}, n_permutations=19)
    assert table.set_index("measure")["p"]["cka_debiased"] == pytest.approx(0.05)


def test_permutation_p_is_uniform_without_relation(rng: np.random.Generator) -> None:
    p = np.concatenate([
        permutation_p([rng.standard_normal((20, 3))], rng.standard_normal((1, 20, 4)), n_permutations=19, seed=seed)
        for seed in range(300)
    ])  # fmt: skip
    # Three standard errors of the mean of 300 uniform values; the mean of 1/20 .. 20/20 is 0.525.
    assert p.mean() == pytest.approx(0.525, abs=0.05)
    assert (p <= 0.1).mean() == pytest.approx(0.1, abs=0.052)


def test_a_bad_layer_is_named(rng: np.random.Generator) -> None:
    layers = _layers(rng)
    layers[RepresentationKey("m", "step-9", 9, "1")] = np.ones((40, 6))
    with pytest.raises(AnalysisError, match="do not vary") as caught:
        similarity_table(layers)
    assert caught.value.where == "m step-9 layer 1"
