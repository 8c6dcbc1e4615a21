"""The tables of acoustics: planted losses and gains are found, nothing else is; flags stay out of the means."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ser_probe.analysis.acoustics.functionals import CONSTANT, FEW_CLIPS
from ser_probe.analysis.acoustics.prediction import AcousticTargets, score_layers
from ser_probe.analysis.acoustics.scores import MEASURES
from ser_probe.analysis.acoustics.table import (
    MEAN_LAYER,
    Functionals,
    Scored,
    acoustics_table,
    changes_table,
    groups_table,
)
from ser_probe.analysis.inputs import RepresentationKey

from .conftest import N, Voices

WIDER = 1.5  # five folds
NAMES = ["kept", "pitch", "noisy", "silent", "absent"]


@pytest.fixture
def functionals() -> Functionals:
    """The constant one was not predicted; the last one stands for one that a few clips decide."""
    flags = ["", "", "", CONSTANT, FEW_CLIPS]
    return Functionals(NAMES, ["spectral", "frequency", "spectral", "energy", "temporal"], flags)


@pytest.fixture
def scored(voices: Voices, targets: AcousticTargets, rng: np.random.Generator) -> Scored:
    """Fine-tuning removes the first target from layer 1, and puts the last one into it."""
    later = voices.x.copy()
    later[:, 1] = rng.standard_normal(N)
    later[:, 3] = targets.y[:, 3] + 0.3 * rng.standard_normal(N)
    found = {}
    for step, layers in ((0, [voices.x, voices.x]), (50, [voices.x, later])):
        for layer, (real, control) in enumerate(score_layers(np.stack(layers), targets)):
            key = RepresentationKey("tiny", f"step-{step}", float(step), str(layer))
            found |= {(key, "none"): real, (key, "shuffled_clips"): control}
    return found


def test_rows(scored: Scored, functionals: Functionals) -> None:
    table = acoustics_table(scored, functionals, N, WIDER)
    assert len(table) == 2 * 2 * 2 * 5 * len(MEASURES)
    assert not table.duplicated(["step", "layer", "feature", "measure", "control"]).any()
    assert table.loc[table["feature"] == "silent", "value"].isna().all()
    assert set(table.loc[table["feature"] == "silent", "flag"]) == {CONSTANT}
    rest = table[table["feature"] != "silent"]
    assert ((rest["ci_low"] <= rest["value"]) & (rest["value"] <= rest["ci_high"])).all()
    first = rest[(rest["measure"] == "r2") & (rest["control"] == "none") & (rest["step"] == 0)]
    values = first[first["layer"] == "1"].set_index("feature")["value"]
    assert values["kept"] > 0.95 > values["pitch"] > values["absent"]
    assert set(table["n_speakers"]) == {8}


def test_planted_changes_are_found_and_no_others(scored: Scored, functionals: Functionals) -> None:
    table = changes_table(scored, functionals, N, WIDER)
    assert set(table["step"]) == {50.0}, "the first step is what is compared with"
    assert set(table["layer"]) == {"0", "1", MEAN_LAYER}
    changes = table[table["measure"] == "r2"].set_index(["layer", "feature"])
    np.testing.assert_allclose(changes.loc["0", "value"], 0, atol=1e-6)
    assert (changes.loc["0", "p"] == 1).all()
    lost, gained = changes.loc[("1", "kept")], changes.loc[("1", "absent")]
    assert lost["ci_high"] < -0.8
    assert gained["ci_low"] > 0.6
    assert lost["p"] < gained["p"] < 0.001
    assert lost["p_holm"] == pytest.approx(3 * lost["p"])
    assert np.isnan(gained["p_holm"]), "a flagged one is not among those that are corrected for"
    same = changes.loc[("1", "noisy")]
    assert same["ci_low"] < 0.05
    assert same["p_holm"] > 0.05
    np.testing.assert_allclose(changes.loc[MEAN_LAYER, "value"], changes.loc["1", "value"] / 2, atol=1e-6)


def test_group_means_leave_flagged_functionals_out(scored: Scored, functionals: Functionals) -> None:
    table = groups_table(scored, functionals, N, WIDER)
    assert set(table["group"]) == {"all", "spectral", "frequency"}, "the others have no functional without a flag"
    own = table[(table["measure"] == "r2") & (table["control"] == "none") & (table["step"] == 0)]
    own = own[own["layer"] == "0"].set_index("group")
    single = acoustics_table(scored, functionals, N, WIDER)
    single = single[(single["measure"] == "r2") & (single["control"] == "none") & (single["step"] == 0)]
    single = single[single["layer"] == "0"].set_index("feature")["value"]
    assert own.loc["spectral", "value"] == pytest.approx(single[["kept", "noisy"]].mean())
    assert own.loc["all", "value"] == pytest.approx(single[["kept", "noisy", "pitch"]].mean())
    assert own.loc["all", "n_features"] == 3
    assert own.loc["spectral", "ci_low"] < own.loc["spectral", "value"] < own.loc["spectral", "ci_high"]


def test_one_step_has_no_changes(scored: Scored, functionals: Functionals) -> None:
    first = {key: sums for key, sums in scored.items() if key[0].step == 0}
    assert changes_table(first, functionals, N, WIDER).empty


def test_checkpoints_share_only_some_layers(scored: Scored, functionals: Functionals) -> None:
    some = {key: sums for key, sums in scored.items() if key[0].step == 0 or key[0].layer == "1"}
    table: pd.DataFrame = changes_table(some, functionals, N, WIDER)
    assert set(table["layer"]) == {"1", MEAN_LAYER}
