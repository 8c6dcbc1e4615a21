from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ser_probe.analysis.probes.controls import shuffle_values
from ser_probe.analysis.probes.divisions import single_fold
from ser_probe.analysis.probes.families import TEST, VALIDATION
from ser_probe.analysis.probes.family_table import FAMILIES
from ser_probe.analysis.probes.fitting import Probes, fit_probes, join_probes, majority_probe
from ser_probe.analysis.probes.scoring import score_probes
from ser_probe.analysis.probes.softmax import fit_softmax
from ser_probe.analysis.probes.targets import make_target
from ser_probe.errors import AnalysisError

from .conftest import LABELS, NAMES, Study, cell

CHANCE = 1 / len(LABELS)


def answers(probes: Probes) -> np.ndarray:
    return np.concatenate([probes.answers[VALIDATION], probes.answers[TEST]], axis=-1)


def test_probes_read_what_is_there(study: Study) -> None:
    table = score_probes(study.fit())
    uar = cell(table, measure="uar", split="test").groupby("layer")["value"].mean()
    assert uar["strong"] > 0.95
    assert CHANCE + 0.1 < uar["weak"] < 0.95
    assert uar["noise"] == pytest.approx(CHANCE, abs=0.12)
    assert set(table["control"]) == {"none"}
    assert set(table["n_speakers"]) == {2, 3}


def test_a_layer_does_not_depend_on_its_company(study: Study) -> None:
    together = study.fit()
    for r, name in enumerate(NAMES):
        alone = study.but(x=study.x[r : r + 1]).fit(names=[name], seeds=[2])
        np.testing.assert_array_equal(answers(alone)[0, 0], answers(together)[r, 2])
        assert alone.n_epochs[0, 0, 0] == together.n_epochs[r, 0, 2]


def test_neither_scale_nor_shift_of_the_features_matters_nor_do_test_clips(study: Study) -> None:
    before = study.fit()
    x = study.x * np.geomspace(0.01, 100, 16, dtype=np.float32) + 8
    x[:, study.split == "test"] += 500
    after = study.but(x=x).fit()
    same = after.answers[VALIDATION] == before.answers[VALIDATION]
    assert same.mean() > 0.995  # but for clips on a boundary: the shift costs float32 digits
    assert (after.answers[TEST] != before.answers[TEST]).any()


def test_test_labels_change_no_answer(study: Study, rng: np.random.Generator) -> None:
    y = study.y.copy()
    test = study.split == "test"
    y[test] = rng.permutation(y[test])
    np.testing.assert_array_equal(answers(study.but(y=y).fit()), answers(study.fit()))


@pytest.mark.parametrize("family", ["linear", "knn"])
def test_rotated_folds_answer_for_every_clip_once(study: Study, family: str) -> None:
    probes = study.fit(folds=study.rotated, spec=FAMILIES[family])
    assert probes.answers[TEST].shape == (3, len(probes.seeds), len(study.y))
    np.testing.assert_array_equal(np.sort(np.nonzero(study.rotated.parts == TEST)[1]), np.arange(len(study.y)))
    # Each fold by itself gives the same answers.
    split = np.array(["train", "validation", "test"])[study.rotated.parts[1]]
    alone = study.fit(folds=single_fold(split), spec=FAMILIES[family])
    own = np.nonzero(study.rotated.parts == TEST)[0] == 1
    np.testing.assert_array_equal(alone.answers[TEST], probes.answers[TEST][..., own])


def test_memory_for_answers_changes_nothing(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = study.fit(folds=study.rotated)
    monkeypatch.setattr("ser_probe.analysis.probes.fitting._ANSWER_BYTES", 1)
    parts = study.fit(folds=study.rotated)
    np.testing.assert_array_equal(answers(parts), answers(whole))
    np.testing.assert_array_equal(parts.n_epochs, whole.n_epochs)


def test_layers_trained_apart_are_joined(study: Study) -> None:
    whole = study.fit()
    parts = [study.but(x=study.x[r : r + 1]).fit(names=[NAMES[r]]) for r in range(3)]
    joined = join_probes(parts)
    assert list(joined.names) == NAMES
    np.testing.assert_array_equal(answers(joined), answers(whole))
    assert join_probes(parts[:1]) is parts[0]


def test_shuffled_labels_teach_nothing_and_keep_each_speakers_counts(study: Study) -> None:
    seen: list[np.ndarray] = []

    def spy(x: np.ndarray, labels: np.ndarray, *rest: Any, **options: Any) -> Any:
        seen.append(labels)
        return fit_softmax(x, labels, *rest, **options)

    # Each speaker has labels in shares of its own, so that a shuffle across speakers would show.
    y = study.y.copy()
    y[study.groups == "s1"] = np.repeat(["anger", "joy"], [14, 2])
    changed = study.but(y=y)
    table = score_probes(changed.fit(shuffled_labels=True, spec=replace(FAMILIES["linear"], fit=spy)))
    assert set(table["control"]) == {"shuffled_labels"}
    assert cell(table, measure="uar", split="test", layer="strong")["value"].mean() < 0.5
    codes = changed.target.values
    training = study.split == "train"
    for shuffled in seen[0][:, training]:
        assert (shuffled != codes[training]).any()
        for speaker in np.unique(study.groups[training]):
            own = study.groups[training] == speaker
            np.testing.assert_array_equal(np.sort(shuffled[own]), np.sort(codes[training][own]))
    assert (seen[0][0] != seen[0][1]).any()  # every seed has a shuffle of its own


def test_a_family_without_seeds_is_trained_once_and_on_three_shuffles(study: Study) -> None:
    knn = FAMILIES["knn"]
    assert len(study.fit(spec=knn, seeds=range(10)).seeds) == 1
    assert len(study.fit(spec=knn, seeds=range(10), shuffled_labels=True).seeds) == 3


def test_the_control_is_at_chance_where_classes_lie_apart(rng: np.random.Generator) -> None:
    """Stopping by true validation labels would choose, of ignorant probes, those that happen to know them."""
    n_speakers, n_classes, seeds = 9, 4, range(60)
    y = np.tile(np.repeat(np.arange(n_classes), 8), n_speakers)
    groups = np.repeat([f"s{speaker}" for speaker in range(n_speakers)], 8 * n_classes)
    split = np.repeat(["train", "validation", "test"], 3 * 8 * n_classes)
    x = (4 * np.eye(n_classes)[y] + 0.1 * rng.standard_normal((len(y), n_classes))).astype(np.float32)[None]
    target, folds = make_target("label", pd.Series(y.astype(str)), groups), single_fold(split)
    probes = fit_probes(x, target, folds, names=["apart"], spec=FAMILIES["linear"], seeds=seeds, shuffled_labels=True)
    scores = cell(score_probes(probes), measure="uar", split="test")["value"]
    standard_error = scores.std(ddof=1) / np.sqrt(len(scores))
    assert abs(scores.mean() - 1 / n_classes) < 3 * standard_error
    # The counter-case: the same shuffled training labels, stopped by true ones.
    own = np.stack([np.where(split == "train", shuffle_values(y, groups, seed), y) for seed in seeds])
    logits = fit_softmax(x, own, folds, n_classes=n_classes, seeds=seeds).logits[0, 0]
    testing = split == "test"
    knowing = (logits[:, testing].argmax(axis=-1) == y[testing]).mean(axis=1)
    assert knowing.mean() - 1 / n_classes > 3 * knowing.std(ddof=1) / np.sqrt(len(knowing))


def test_the_majority_class_scores_its_share(study: Study) -> None:
    y = study.y.copy()
    y[np.flatnonzero((study.split == "train") & (y == "joy"))[:3]] = "fear"
    probes = majority_probe(study.but(y=y).target, study.folds)
    table = score_probes(probes).set_index(["split", "measure"])
    assert set(table["control"]) == {"majority_class"}
    assert table["value"]["test", "uar"] == table["value"]["test", "accuracy"] == CHANCE
    assert (table["n_epochs"] == 0).all()


def test_a_constant_feature_tells_nothing(study: Study) -> None:
    constant = np.full((1, len(study.y), 4), 7.0, np.float32)
    probes = study.but(x=constant).fit(names=["constant"])
    scores = cell(score_probes(probes), measure="uar", split="test")["value"]
    assert scores.tolist() == [CHANCE] * 3, "every clip gets the same answer"
    with_noise = np.concatenate([study.x, np.full((3, len(study.y), 1), 7.0, np.float32)], axis=2)
    assert np.isfinite(score_probes(study.but(x=with_noise).fit())["value"]).all()


def test_a_shared_speaker_is_refused_by_name(study: Study) -> None:
    split = study.split.copy()
    split[np.flatnonzero(study.groups == "s0")[0]] = "test"
    with pytest.raises(AnalysisError, match="speaker s0 is in test and train"):
        study.but(split=split).fit()
    with pytest.raises(AnalysisError, match="speaker s0"):
        majority_probe(study.target, single_fold(split))


def test_inputs_of_other_clips_or_names_are_refused(study: Study) -> None:
    with pytest.raises(AnalysisError, match="same clips"):
        study.but(x=study.x[:, 1:]).fit()
    with pytest.raises(AnalysisError, match="one name per representation"):
        study.fit(names=NAMES[:2])
    with pytest.raises(AnalysisError, match="not a table of numbers"):
        study.but(x=study.x[0]).fit()
    with pytest.raises(AnalysisError, match="NaN or infinite"):
        study.but(x=np.where(np.arange(16) == 3, np.nan, study.x)).fit()
