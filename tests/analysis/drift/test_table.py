"""Each drift measure sees one kind of change and not the others."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from ser_probe.analysis.drift.table import COLUMNS, drift_table
from ser_probe.errors import AnalysisError

EXACT = 1e-10
SPEAKERS = np.repeat(list("abcdef"), 10)


@pytest.fixture
def layers(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((2, 60, 8)) + 1


def _values(table: pd.DataFrame, layer: str = "1") -> pd.Series:
    return table[table["layer"] == layer].set_index("measure")["value"]


def test_no_change_is_no_drift_with_an_interval_of_no_width(layers: np.ndarray) -> None:
    table = drift_table(layers, layers, ["0", "1"], groups=SPEAKERS)
    assert list(table.columns) == COLUMNS
    assert len(table) == 6
    expected = table["measure"].map({"cka_debiased": 1.0, "mean_cosine": 1.0, "relative_norm_change": 0.0})
    for column in ("value", "ci_low", "ci_high"):
        np.testing.assert_allclose(table[column], expected, atol=EXACT)
    assert (table["n"] == 60).all()
    assert (table["n_speakers"] == 6).all()


def test_a_rotation_changes_directions_only(layers: np.ndarray, rng: np.random.Generator) -> None:
    rotation = scipy.stats.ortho_group.rvs(8, random_state=rng)
    drift = _values(drift_table(layers, layers @ rotation, ["0", "1"]))
    assert drift["cka_debiased"] == pytest.approx(1, abs=EXACT)
    assert drift["relative_norm_change"] == pytest.approx(0, abs=EXACT)
    assert drift["mean_cosine"] < 0.8


def test_scaling_changes_norms_only(layers: np.ndarray) -> None:
    drift = _values(drift_table(layers, 1.5 * layers, ["0", "1"]))
    assert drift["relative_norm_change"] == pytest.approx(0.5, abs=EXACT)
    assert drift["cka_debiased"] == pytest.approx(1, abs=EXACT)
    assert drift["mean_cosine"] == pytest.approx(1, abs=EXACT)


def test_a_common_shift_is_no_change_of_geometry_but_hides_others_from_the_cosine(
    layers: np.ndarray, rng: np.random.Generator
) -> None:
    shifted = _values(drift_table(layers, layers + 5, ["0", "1"]))
    assert shifted["cka_debiased"] == pytest.approx(1, abs=EXACT)
    assert shifted["mean_cosine"] < 0.9
    unrelated = rng.standard_normal(layers.shape)
    drift = _values(drift_table(layers + 100, unrelated + 100, ["0", "1"]))
    assert drift["mean_cosine"] > 0.999
    assert abs(drift["cka_debiased"]) < 0.1


def test_only_the_layer_that_moved_moves(layers: np.ndarray, rng: np.random.Generator) -> None:
    now = layers.copy()
    now[1] += rng.standard_normal(now[1].shape)
    table = drift_table(layers, now, ["0", "1"], groups=SPEAKERS)
    assert _values(table, "0")["cka_debiased"] == pytest.approx(1, abs=EXACT)
    moved = table[table["layer"] == "1"].set_index("measure")
    assert moved["value"]["cka_debiased"] < 0.8
    assert moved["ci_high"]["cka_debiased"] < 1
    assert (moved["ci_low"] <= moved["value"]).all()
    assert (moved["value"] <= moved["ci_high"]).all()


def test_clip_measures_equal_plain_loops(layers: np.ndarray, rng: np.random.Generator) -> None:
    now = layers * 2 + rng.standard_normal(layers.shape)
    drift = drift_table(layers, now, ["0", "1"], groups=SPEAKERS).set_index(["layer", "measure"])
    x, y = layers[1], now[1]
    cosines = np.array([a @ b / np.sqrt(a @ a * (b @ b)) for a, b in zip(x, y, strict=True)])
    assert drift.loc[("1", "mean_cosine"), "value"] == pytest.approx(cosines.mean(), abs=EXACT)
    norms = [np.mean([np.sqrt(row @ row) for row in rows]) for rows in (x, y)]
    assert drift.loc[("1", "relative_norm_change"), "value"] == pytest.approx(norms[1] / norms[0] - 1, abs=EXACT)
    by_speaker = cosines.reshape(6, 10).mean(axis=1)  # equal counts: the jackknife is the plain t interval
    low, high = scipy.stats.t.interval(0.95, 5, by_speaker.mean(), scipy.stats.sem(by_speaker))
    assert drift.loc[("1", "mean_cosine"), "ci_low"] == pytest.approx(low, abs=1e-8)
    assert drift.loc[("1", "mean_cosine"), "ci_high"] == pytest.approx(high, abs=1e-8)


@pytest.mark.parametrize("groups", [None, np.array(["a"] * 60), np.repeat(["a", "b"], 30)])
def test_without_three_speakers_there_is_no_interval(layers: np.ndarray, groups: np.ndarray | None) -> None:
    table = drift_table(layers, layers + 1, ["0", "1"], groups=groups)
    assert table[["ci_low", "ci_high"]].isna().all(axis=None)
    assert table["value"].notna().all()


def test_other_layers_or_shapes_are_refused(layers: np.ndarray) -> None:
    with pytest.raises(AnalysisError, match="same layers now and then"):
        drift_table(layers, layers[:1], ["0", "1"])
    with pytest.raises(AnalysisError, match="another shape now"):
        drift_table(layers, layers[:, :50], ["0", "1"])
    with pytest.raises(AnalysisError, match="same clips"):
        drift_table(layers, layers, ["0", "1"], groups=SPEAKERS[:50])


def test_a_clip_without_direction_is_named(layers: np.ndarray) -> None:
    now = layers.copy()
    now[1, 7] = 0
    with pytest.raises(AnalysisError, match="no direction") as caught:
        drift_table(layers, now, ["0", "1"])
    assert caught.value.where == "layer 1, clip 7"
