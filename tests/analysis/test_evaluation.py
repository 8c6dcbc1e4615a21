"""Scores with intervals over speakers: values against scikit-learn, intervals against really repeated clips."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.spatial.distance
import scipy.stats
from sklearn import metrics as sk

from ser_probe.analysis.calibration import top_label
from ser_probe.analysis.evaluation import (
    CLASS_SCORES,
    SpeakerBootstrap,
    average_confusion,
    confusion_table,
    score_classes,
    score_distributions,
    score_each_class,
    score_numbers,
    split_groups,
    summarise_runs,
)
from ser_probe.analysis.resampling import bootstrap_counts
from ser_probe.errors import AnalysisError
from tests.analysis.calibration_error import expected_calibration_error
from tests.concordance import ccc

CLASSES = ("anger", "joy", "neutral", "sadness")
N = 240
ROUNDING = 1e-12


@pytest.fixture
def labels(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, len(CLASSES), N)


@pytest.fixture
def speakers(rng: np.random.Generator) -> np.ndarray:
    return rng.choice([f"s{k}" for k in range(7)], N)


@pytest.fixture
def probabilities(rng: np.random.Generator, labels: np.ndarray, speakers: np.ndarray) -> np.ndarray:
    """Better than chance, and better on some speakers than on others."""
    skill = np.array([int(name[1]) for name in speakers]) / 3
    logits = rng.standard_normal((N, len(CLASSES))) + skill[:, None] * np.eye(len(CLASSES))[labels]
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def values_of(table: pd.DataFrame, column: str = "value") -> dict[str, float]:
    return dict(zip(table["measure"], table[column], strict=True))


def test_scores_are_those_of_the_libraries(labels: np.ndarray, probabilities: np.ndarray, speakers: np.ndarray) -> None:
    table = score_classes(labels, probabilities, len(CLASSES), SpeakerBootstrap(speakers, N))
    assert tuple(table["measure"]) == CLASS_SCORES
    assert (table["n"] == N).all()
    assert (table["n_speakers"] == 7).all()
    predicted = probabilities.argmax(axis=1)
    expected = {
        "accuracy": sk.accuracy_score(labels, predicted),
        "uar": sk.balanced_accuracy_score(labels, predicted),
        "macro_f1": sk.f1_score(labels, predicted, average="macro"),
        "weighted_f1": sk.f1_score(labels, predicted, average="weighted"),
        "ece": expected_calibration_error(*top_label(probabilities, labels)),
        "ece_equal_mass": expected_calibration_error(*top_label(probabilities, labels), scheme="equal_mass"),
        "brier": sk.brier_score_loss(labels, probabilities, labels=range(4), scale_by_half=False),
        "nll": sk.log_loss(labels, probabilities, labels=range(4)),
        "confidence": probabilities.max(axis=1).mean(),
    }
    assert values_of(table) == pytest.approx(expected, abs=ROUNDING)
    assert (table["ci_low"] < table["value"]).all()
    assert (table["value"] < table["ci_high"]).all()


@pytest.mark.parametrize("measure", ["uar", "brier", "ece"])
def test_the_interval_is_that_of_resampling_the_clips(
    labels: np.ndarray, probabilities: np.ndarray, speakers: np.ndarray, measure: str
) -> None:
    """The second route: clips of drawn speakers are really repeated, and scored as a corpus of their own."""
    people = SpeakerBootstrap(speakers, N, n_resamples=60, seed=3)
    (row,) = (r for r in score_classes(labels, probabilities, 4, people).itertuples() if r.measure == measure)
    names = np.unique(speakers)
    scores = []
    for counts in bootstrap_counts(7, n_resamples=60, seed=3):
        times = counts[np.searchsorted(names, speakers)]
        chosen = np.repeat(np.arange(N), times)
        y, p = labels[chosen], probabilities[chosen]
        scores.append({
            "uar": lambda y=y, p=p: sk.balanced_accuracy_score(y, p.argmax(axis=1)),
            "brier": lambda y=y, p=p: sk.brier_score_loss(y, p, labels=range(4), scale_by_half=False),
            "ece": lambda y=y, p=p: expected_calibration_error(*top_label(p, y)),
        }[measure]())  # fmt: skip
    half = scipy.stats.t.ppf(0.975, 6) * np.std(scores) * np.sqrt(7 / 6)
    assert row.ci_high - row.value == pytest.approx(half, abs=1e-9)
    assert row.value - row.ci_low == pytest.approx(half, abs=1e-9)


def test_two_speakers_or_unknown_ones_give_no_interval(labels: np.ndarray, probabilities: np.ndarray) -> None:
    for speakers, count in ((np.arange(N) % 2, 2), (None, 0)):
        table = score_classes(labels, probabilities, 4, SpeakerBootstrap(speakers, N))
        assert table[["ci_low", "ci_high"]].isna().all(axis=None)
        assert table["value"].notna().all()
        assert (table["n_speakers"] == count).all()
    with pytest.raises(AnalysisError, match="do not describe the same clips"):
        SpeakerBootstrap(np.arange(N - 1), N)
    with pytest.raises(AnalysisError, match="do not describe the same clips"):
        score_classes(labels[1:], probabilities, 4, SpeakerBootstrap(None, N))


def test_each_class(labels: np.ndarray, probabilities: np.ndarray, speakers: np.ndarray) -> None:
    labels[labels == 3] = 0  # sadness never occurs
    predicted = probabilities.argmax(axis=1)
    table = score_each_class(labels, predicted, CLASSES, SpeakerBootstrap(speakers, N))
    report = sk.classification_report(labels, predicted, labels=range(4), target_names=CLASSES, output_dict=True,
                                      zero_division=np.nan)  # fmt: skip
    for name in CLASSES:
        own = table[table["class"] == name]
        expected = {key.removesuffix("-score"): value for key, value in report[name].items()}
        assert values_of(own) == pytest.approx(expected, abs=ROUNDING, nan_ok=True)
        assert (own["n"] == report[name]["support"]).all()
    absent = table[(table["class"] == "sadness") & (table["measure"] == "recall")]
    assert absent[["value", "ci_low", "ci_high"]].isna().all(axis=None)
    present = table[(table["class"] == "joy") & (table["measure"] != "support")]
    assert ((present["ci_low"] < present["value"]) & (present["value"] < present["ci_high"])).all()


def test_numbers(rng: np.random.Generator, speakers: np.ndarray) -> None:
    true = rng.standard_normal((N, 3))
    predicted = 0.7 * true + 0.4 * rng.standard_normal((N, 3))
    true[:50, 1], true[:, 2] = np.nan, np.nan
    table = score_numbers(true, predicted, ("arousal", "valence", "dominance"), speakers)
    assert set(table["target"]) == {"arousal", "valence"}, "nobody knows the dominance of any clip"
    for k, name in enumerate(("arousal", "valence")):
        own, known = table[table["target"] == name], ~np.isnan(true[:, k])
        assert (own["n"] == known.sum()).all()
        assert values_of(own)["ccc"] == pytest.approx(ccc(true[known, k], predicted[known, k]), abs=ROUNDING)
        assert (own["ci_low"] < own["ci_high"]).all()
    assert score_numbers(true[:, 2:], predicted[:, 2:], ("dominance",), speakers).empty


def test_distributions(rng: np.random.Generator, speakers: np.ndarray) -> None:
    p, q = rng.dirichlet(np.ones(5), N), rng.dirichlet(np.ones(5), N)
    p[0] = [1, 0, 0, 0, 0]
    table = score_distributions(p, q, SpeakerBootstrap(speakers, N))
    expected = {
        "kl_divergence": scipy.stats.entropy(p, q, axis=1).mean(),
        "js_divergence": (scipy.spatial.distance.jensenshannon(p, q, axis=1, base=2) ** 2).mean(),
    }
    assert values_of(table) == pytest.approx(expected, abs=ROUNDING)
    assert (table["ci_low"] < table["ci_high"]).all()
    same = values_of(score_distributions(p, p, SpeakerBootstrap(None, N)))
    assert same == pytest.approx(dict.fromkeys(expected, 0), abs=ROUNDING)
    opposite = values_of(score_distributions(np.eye(2), np.eye(2)[::-1], SpeakerBootstrap(None, 2)))
    assert opposite["js_divergence"] == pytest.approx(1, abs=ROUNDING)
    assert opposite["kl_divergence"] > 700, "finite, and as large as a float64 has it"


def test_confusion(labels: np.ndarray, probabilities: np.ndarray) -> None:
    labels[labels == 2] = 0
    predicted = probabilities.argmax(axis=1)
    table = confusion_table(labels, predicted, CLASSES)
    counts = table.pivot(index="true", columns="predicted", values="count").to_numpy()
    np.testing.assert_array_equal(counts, sk.confusion_matrix(labels, predicted, labels=range(4)))
    shares = table.pivot(index="true", columns="predicted", values="share").to_numpy()
    present = [0, 1, 3]
    expected = sk.confusion_matrix(labels, predicted, labels=range(4), normalize="true")
    np.testing.assert_allclose(shares[present], expected[present], rtol=0, atol=ROUNDING)
    assert np.isnan(shares[2]).all(), "a class that never occurs was not mistaken for anything"


def test_groups() -> None:
    found = list(split_groups({"gender": np.array(["m", "f", "", "m"]), "age": np.array([30, 30, 30, 41])}, 4))
    shown = [(by, group, np.flatnonzero(chosen).tolist()) for by, group, chosen in found]
    assert shown == [
        ("overall", "all", [0, 1, 2, 3]), ("gender", "f", [1]), ("gender", "m", [0, 3]),
        ("age", "30", [0, 1, 2]), ("age", "41", [3]),
    ]  # fmt: skip


def test_over_runs() -> None:
    rows = [(seed, group, "uar", value) for group, values in (("all", (0.5, 0.6, 0.8)), ("f", (0.4, np.nan, 0.5)))
            for seed, value in enumerate(values)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["run_seed", "group", "measure", "value"]).assign(corpus="x", ci_low=0)
    summary = summarise_runs(table)
    first = summary.iloc[0]
    assert (first["corpus"], first["group"], first["n_runs"]) == ("x", "all", 3)
    # Study B's columns; deviations of a sample: ((0.4/3)^2 + (0.1/3)^2 + (0.5/3)^2) / 2.
    assert first[["mean", "std", "min", "max"]].tolist() == pytest.approx([1.9 / 3, np.sqrt(0.42 / 18), 0.5, 0.8])
    assert summary.iloc[1][["mean", "n_runs"]].tolist() == pytest.approx([0.45, 2])
    assert np.isnan(summarise_runs(table[table["run_seed"] == 0])["std"]).all()


def test_the_mean_of_matrices_is_of_shares_not_of_counts() -> None:
    cells = [("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")]
    runs = [((9, 1), (0, 10)), ((2, 2), (1, 3))]
    rows = [
        (seed, true, guess, counts["ab".index(true)]["ab".index(guess)],
         counts["ab".index(true)]["ab".index(guess)] / sum(counts["ab".index(true)]))
        for seed, counts in enumerate(runs) for true, guess in cells
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["run_seed", "true", "predicted", "count", "share"])
    mean = average_confusion(table)
    assert list(zip(mean["true"], mean["predicted"], strict=True)) == cells
    assert mean["count"].tolist() == [5.5, 1.5, 0.5, 6.5]
    assert mean["share"].tolist() == pytest.approx([0.7, 0.3, 0.125, 0.875])
    assert mean["share_std"].iloc[0] == pytest.approx(np.std([0.9, 0.5], ddof=1))
    assert (mean["n_runs"] == 2).all()
