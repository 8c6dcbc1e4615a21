from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import f1_score, recall_score

from ser_probe.analysis.inputs import RepresentationKey
from ser_probe.analysis.metrics import MEASURES
from ser_probe.analysis.probes.fitting import (
    _shuffled,
    best_layer,
    fit_probes,
    majority_probe,
    score_probes,
    summarise_probes,
)
from ser_probe.analysis.probes.softmax import ProbeOptions, fit_softmax_probes, standardise
from ser_probe.errors import AnalysisError

N_SPEAKERS, LABELS, TAKES = 9, ["anger", "joy", "fear", "calm"], 4
NAMES = ["noise", "weak", "strong"]
CHANCE = 1 / len(LABELS)


def probe_table(**study: Any) -> pd.DataFrame:
    return score_probes(fit_probes(**study))


@pytest.fixture
def study(rng: np.random.Generator) -> dict[str, Any]:
    """Nine speakers, four labels: three layers that hold nothing, something and nearly all of the label."""
    groups = np.repeat([f"s{i}" for i in range(N_SPEAKERS)], len(LABELS) * TAKES)
    y = np.tile(np.repeat(LABELS, TAKES), N_SPEAKERS)
    centres = rng.standard_normal((len(LABELS), 16))[np.unique(y, return_inverse=True)[1]]
    voices = np.repeat(rng.standard_normal((N_SPEAKERS, 16)), len(LABELS) * TAKES, axis=0)
    noise = rng.standard_normal((3, len(y), 16))
    x = np.array([0, 0.5, 3])[:, None, None] * centres + 0.5 * voices + noise
    split = np.repeat(["train"] * 4 + ["validation"] * 2 + ["test"] * 3, len(LABELS) * TAKES)
    return {"x": x.astype(np.float32), "y": y, "split": split, "groups": groups, "names": NAMES, "seeds": range(3)}


def _cell(table: pd.DataFrame, **where: str) -> pd.DataFrame:
    for column, value in where.items():
        table = table[table[column] == value]
    return table


def test_probes_read_what_is_there(study: dict[str, Any]) -> None:
    table = probe_table(**study)
    assert len(table) == 3 * 3 * 2 * len(MEASURES)
    uar = _cell(table, measure="uar", split="test").groupby("layer")["value"].mean()
    assert uar["strong"] > 0.95
    assert CHANCE + 0.1 < uar["weak"] < 0.95
    assert uar["noise"] == pytest.approx(CHANCE, abs=0.12)
    assert set(table["control"]) == {"none"}
    assert set(table["n_speakers"]) == {2, 3}


def test_scores_are_those_of_the_predictions(study: dict[str, Any]) -> None:
    probes = fit_probes(**study)
    table = score_probes(probes)
    test = study["split"] == "test"
    for r, layer in enumerate(NAMES):
        for s in range(3):
            row = _cell(table, layer=layer, split="test")
            row = row[row["probe_seed"] == s].set_index("measure")
            truth, answer = study["y"][test], probes.classes[probes.predictions[r, s, test]]
            assert row["value"]["weighted_f1"] == pytest.approx(f1_score(truth, answer, average="weighted"))
            assert row["value"]["uar"] == pytest.approx(recall_score(truth, answer, average="macro"))
            assert (row["n"] == test.sum()).all()
            assert (row["n_epochs"] == probes.n_epochs[r, s]).all()


def test_a_layer_does_not_depend_on_its_company(study: dict[str, Any]) -> None:
    together = fit_probes(**study)
    for r, name in enumerate(NAMES):
        alone = fit_probes(**{**study, "x": study["x"][r : r + 1], "names": [name], "seeds": [2]})
        np.testing.assert_array_equal(alone.predictions[0, 0], together.predictions[r, 2])
        assert alone.n_epochs[0, 0] == together.n_epochs[r, 2]


def test_neither_scale_nor_shift_of_the_features_matters_nor_do_test_clips(study: dict[str, Any]) -> None:
    before = fit_probes(**study)
    x = study["x"] * np.geomspace(0.01, 100, 16, dtype=np.float32) + 8
    x[:, study["split"] == "test"] += 500
    after = fit_probes(**{**study, "x": x})
    kept = study["split"] != "test"
    same = (after.predictions == before.predictions)[..., kept].mean()
    assert same > 0.995  # but for clips on a boundary: the shift costs float32 digits
    assert (after.predictions != before.predictions)[..., ~kept].any()


def test_test_labels_change_no_prediction(study: dict[str, Any], rng: np.random.Generator) -> None:
    y = study["y"].copy()
    test = study["split"] == "test"
    y[test] = rng.permutation(y[test])
    np.testing.assert_array_equal(fit_probes(**{**study, "y": y}).predictions, fit_probes(**study).predictions)


def test_memory_for_features_changes_nothing(study: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit_probes(**study)
    monkeypatch.setattr("ser_probe.analysis.probes.fitting._FEATURE_BYTES", 1)
    np.testing.assert_array_equal(fit_probes(**study).predictions, whole.predictions)


def test_shuffled_labels_teach_nothing_and_keep_each_speakers_counts(
    study: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    from ser_probe.analysis.probes import fitting as module

    fit = module.fit_softmax_probes

    def spy(train: torch.Tensor, train_labels: torch.Tensor, *rest: Any, **options: Any) -> Any:
        seen.append(train_labels)
        return fit(train, train_labels, *rest, **options)

    monkeypatch.setattr(module, "fit_softmax_probes", spy)
    # Each speaker has labels in shares of its own, so that a shuffle across speakers would show.
    y = study["y"].copy()
    y[study["groups"] == "s1"] = np.repeat(["anger", "joy"], [14, 2])
    table = probe_table(**{**study, "y": y}, shuffled_labels=True)
    assert set(table["control"]) == {"shuffled_labels"}
    assert _cell(table, measure="uar", split="test", layer="strong")["value"].mean() < 0.5
    codes = np.unique(y, return_inverse=True)[1]
    training = study["split"] == "train"
    for shuffled in seen[0].numpy():
        assert (shuffled != codes[training]).any()
        for speaker in np.unique(study["groups"][training]):
            own = study["groups"][training] == speaker
            np.testing.assert_array_equal(np.sort(shuffled[own]), np.sort(codes[training][own]))
    assert (seen[0][0] != seen[0][1]).any()  # every seed has a shuffle of its own


def test_the_control_is_at_chance_where_classes_lie_apart(rng: np.random.Generator) -> None:
    """Stopping by true validation labels would choose, of ignorant probes, those that happen to know them."""
    n_speakers, n_classes, seeds = 9, 4, range(60)
    y = np.tile(np.repeat(np.arange(n_classes), 8), n_speakers)
    groups = np.repeat([f"s{speaker}" for speaker in range(n_speakers)], 8 * n_classes)
    split = np.repeat(["train", "validation", "test"], 3 * 8 * n_classes)
    x = (4 * np.eye(n_classes)[y] + 0.1 * rng.standard_normal((len(y), n_classes))).astype(np.float32)[None]
    study = {"x": x, "y": y.astype(str), "split": split, "groups": groups, "names": ["apart"], "seeds": seeds}
    scores = _cell(probe_table(**study, shuffled_labels=True), measure="uar", split="test", layer="apart")["value"]
    standard_error = scores.std(ddof=1) / np.sqrt(len(scores))
    assert abs(scores.mean() - 1 / n_classes) < 3 * standard_error
    # The counter-case: the same shuffled training labels, stopped by true ones.
    training, validating, testing = (split == part for part in ("train", "validation", "test"))
    own = torch.from_numpy(np.stack([_shuffled(y, groups, seed)[training] for seed in seeds]))
    features = torch.from_numpy(standardise(x, training))
    fitted = fit_softmax_probes(
        features[:, training], own, features[:, validating], torch.from_numpy(y[validating]),
        n_classes=n_classes, seeds=seeds, options=ProbeOptions(),
    )  # fmt: skip
    logits = features[0, testing].numpy() @ fitted.weights[0, :, :-1] + fitted.weights[0, :, -1:]
    knowing = (logits.argmax(axis=-1) == y[testing]).mean(axis=1)
    assert knowing.mean() - 1 / n_classes > 3 * knowing.std(ddof=1) / np.sqrt(len(knowing))


def test_the_majority_class_scores_its_share(study: dict[str, Any]) -> None:
    y = study["y"].copy()
    y[np.flatnonzero((study["split"] == "train") & (y == "joy"))[:3]] = "fear"
    table = score_probes(majority_probe(y, study["split"], groups=study["groups"])).set_index(["split", "measure"])
    assert set(table["control"]) == {"majority_class"}
    assert table["value"]["test", "uar"] == table["value"]["test", "accuracy"] == CHANCE
    assert (table["n_epochs"] == 0).all()


def test_the_summary_is_the_mean_over_seeds_with_an_interval_over_speakers(study: dict[str, Any]) -> None:
    probes = fit_probes(**study)
    table, summary = score_probes(probes), summarise_probes(probes)
    assert len(summary) == 3 * 2 * len(MEASURES)
    by_seed = table.groupby(["layer", "split", "measure"])["value"]
    summary = summary.set_index(["layer", "split", "measure"])
    np.testing.assert_allclose(summary["value"], by_seed.mean().loc[summary.index])
    np.testing.assert_allclose(summary["std_over_seeds"], by_seed.std().loc[summary.index])
    test, validation = summary.xs("test", level="split"), summary.xs("validation", level="split")
    assert (test["ci_low"] <= test["value"]).all()
    assert (test["value"] <= test["ci_high"]).all()
    assert test["n_speakers"].unique() == 3
    assert validation[["ci_low", "ci_high"]].isna().all(axis=None)  # two speakers
    pd.testing.assert_frame_equal(summarise_probes(probes), summarise_probes(probes))
    single = summarise_probes(fit_probes(**{**study, "seeds": [0]}))
    assert single["std_over_seeds"].isna().all()


def test_the_summarys_interval_is_wider_where_speakers_differ(study: dict[str, Any]) -> None:
    probes = fit_probes(**study)
    even, uneven = probes.predictions.copy(), probes.predictions.copy()
    answers = (probes.labels + 1) % len(LABELS)
    wrong = np.flatnonzero(study["split"] == "test")
    even[:], uneven[:] = probes.labels, probes.labels
    even[..., wrong[::3]] = answers[wrong[::3]]  # a third of each speaker's clips
    uneven[..., wrong[:16]] = answers[wrong[:16]]  # all of one speaker's clips
    widths = []
    for predictions in (even, uneven):
        summary = summarise_probes(type(probes)(**{**probes.__dict__, "predictions": predictions}))
        row = _cell(summary, layer="noise", split="test", measure="accuracy").iloc[0]
        assert row["value"] == pytest.approx(2 / 3, abs=0.01)
        widths.append(row["ci_high"] - row["ci_low"])
    assert widths[0] < 0.2 < widths[1]


def test_the_best_layer_is_chosen_on_validation_alone() -> None:
    rows = [
        ("m", 0.0, "0", "validation", 0.5), ("m", 0.0, "0", "test", 0.4),
        ("m", 0.0, "1", "validation", 0.6), ("m", 0.0, "1", "test", 0.3),
        ("m", 0.0, "2", "validation", 0.6), ("m", 0.0, "2", "test", 0.9),
        ("egemaps", np.nan, "functionals", "validation", 0.2), ("egemaps", np.nan, "functionals", "test", 0.2),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["model", "step", "layer", "split", "value"])
    table = table.assign(measure="uar", control="none")
    shuffled = table.assign(control="shuffled_labels", value=1.0)
    best = best_layer(pd.concat([table, shuffled, table.assign(measure="accuracy", value=1 - table["value"])]))
    assert best["layer"].tolist() == ["1", "functionals"]
    assert best["validation_value"].tolist() == [0.6, 0.2]
    assert best["test_value"].tolist() == [0.3, 0.2]
    with pytest.raises(AnalysisError, match="no score to choose a layer by") as caught:
        best_layer(table, measure="ccc")
    assert "uar, validation, none" in str(caught.value.found)


def test_the_best_layer_of_a_study(study: dict[str, Any]) -> None:
    assert best_layer(probe_table(**study))["layer"].tolist() == ["strong"]
    keys = [RepresentationKey("m", f"step-{step}", step, "0") for step in range(3)]
    best = best_layer(summarise_probes(fit_probes(**{**study, "names": keys})))
    assert best["checkpoint"].tolist() == ["step-0", "step-1", "step-2"]


def test_a_shared_speaker_is_refused_by_name(study: dict[str, Any]) -> None:
    split = study["split"].copy()
    split[np.flatnonzero(study["groups"] == "s0")[0]] = "test"
    with pytest.raises(AnalysisError, match="speaker s0 is in test and train"):
        fit_probes(**{**study, "split": split})
    with pytest.raises(AnalysisError, match="speaker s0"):
        majority_probe(study["y"], split, groups=study["groups"])


def test_inputs_of_other_clips_or_names_are_refused(study: dict[str, Any]) -> None:
    with pytest.raises(AnalysisError, match="same clips"):
        fit_probes(**{**study, "y": study["y"][1:]})
    with pytest.raises(AnalysisError, match="one name per representation"):
        fit_probes(**{**study, "names": NAMES[:2]})
    with pytest.raises(AnalysisError, match="not a table of numbers"):
        fit_probes(**{**study, "x": study["x"][0]})
