"""Transfer: what a shift, a scale, a rotation and a loss do to a probe carried to another checkpoint or corpus."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import scipy.stats

from ser_probe.analysis.inputs import RepresentationKey
from ser_probe.analysis.metrics import confusion_matrices, confusion_scores
from ser_probe.analysis.probes.families import TEST, TRAIN, VALIDATION, Folds
from ser_probe.analysis.probes.transfer import best_rotation, checkpoint_transfer, corpus_transfer
from ser_probe.errors import AnalysisError

from .least_squares import fit_least_squares

N, N_SPEAKERS, N_CLASSES, WIDTH = 480, 12, 4, 12
STATES = ("start", "shifted", "lost", "rotated")
FLOAT64 = 1e-9


@pytest.fixture
def clips(rng: np.random.Generator) -> dict[str, np.ndarray]:
    labels, groups = np.arange(N) % N_CLASSES, np.arange(N) // (N // N_SPEAKERS)
    noise = rng.standard_normal((N, WIDTH)) / 3
    start = np.eye(N_CLASSES, WIDTH)[labels] + noise
    turn = scipy.stats.ortho_group.rvs(WIDTH, random_state=1)
    shifted = start * np.geomspace(0.05, 20, WIDTH) - 30 * np.arange(WIDTH)
    return {"labels": labels, "groups": groups, "x": np.stack([start, shifted, noise, 3 * start @ turn + 5])}


@pytest.fixture
def folds(clips: dict[str, np.ndarray]) -> Folds:
    return Folds(["study"], np.select([clips["groups"] < 6, clips["groups"] < 7], [TRAIN, VALIDATION], TEST)[None])


def transferred(clips: dict[str, np.ndarray], folds: Folds, **options: object) -> pd.DataFrame:
    probes = fit_least_squares(
        clips["x"], clips["labels"], folds, groups=clips["groups"], n_classes=N_CLASSES, n_seeds=2
    )
    names = [RepresentationKey("m", state, step, "3") for step, state in enumerate(STATES)]
    return checkpoint_transfer(**clips, folds=folds, probes=probes, names=names, **options)  # type: ignore[arg-type]


def test_which_change_is_mended_by_which_alignment(clips: dict[str, np.ndarray], folds: Folds) -> None:
    table = transferred(clips, folds)
    table = table[table["measure"] == "uar"].set_index(["trained_on", "tested_on", "alignment"])
    value = table["value"]
    own = value["start", "start", "none"]
    assert own > 0.9
    assert value["start", "shifted", "none"] < 0.4
    assert value["start", "shifted", "scaled"] == pytest.approx(own, abs=0.01)
    assert value["start", "rotated", "none"] < 0.5, "nothing is lost, and yet the probe fails"
    assert value["start", "rotated", "scaled"] < 0.6, "a rotation is no change of scale"
    assert value["start", "rotated", "rotated"] == pytest.approx(own, abs=0.01)
    assert value["rotated", "start", "rotated"] == pytest.approx(own, abs=0.01), "and back"
    assert value["rotated", "rotated", "none"] == pytest.approx(own, abs=0.01), "its own probe reads it as well"
    gone = transferred({**clips, "x": clips["x"][[3, 0, 1, 2]]}, folds)
    gone = gone[(gone["measure"] == "uar") & (gone["trained_step"] == 0) & (gone["tested_step"] == 3)]
    assert set(gone["alignment"]) == {"none", "scaled", "rotated"}
    assert gone["value"].max() < 0.4, "what is gone comes back by no map"
    assert table.loc[("start", "rotated", "none"), "own_value"] == value["rotated", "rotated", "none"]


def test_rows(clips: dict[str, np.ndarray], folds: Folds) -> None:
    table = transferred(clips, folds)
    per_alignment = table[table["measure"] == "uar"].groupby("alignment").size().to_dict()
    assert per_alignment == {"none": 16, "scaled": 12, "rotated": 2}, "rotated: first and last only"
    assert (table["n"] == 200).all()
    assert (table["n_speakers"] == 5).all()
    assert (table["n_seeds"] == 2).all()
    assert (table["ci_low"] <= table["value"]).all()
    assert (table["value"] <= table["ci_high"]).all()
    row = table[(table["trained_on"] == "start") & (table["tested_on"] == "lost")].iloc[0]
    assert (row["checkpoint"], row["step"], row["layer"]) == ("lost", 2, "3"), "keyed by what is tested"
    assert set(transferred(clips, folds, alignments=["none"])["alignment"]) == {"none"}


def test_another_route_for_the_plain_score(clips: dict[str, np.ndarray], folds: Folds) -> None:
    table = transferred(clips, folds)
    probes = fit_least_squares(
        clips["x"], clips["labels"], folds, groups=clips["groups"], n_classes=N_CLASSES, n_seeds=2
    )
    assert probes.weights is not None
    test = folds.test(0)
    with_one = np.column_stack([clips["x"][1][test], np.ones(len(test))])
    answers = np.stack([(with_one @ weights).argmax(axis=1) for weights in probes.weights[0, 0]])
    expected = confusion_scores(confusion_matrices(clips["labels"][test], answers, N_CLASSES))["accuracy"].mean()
    row = table[(table["trained_on"] == "start") & (table["tested_on"] == "shifted") & (table["alignment"] == "none")]
    assert row.loc[row["measure"] == "accuracy", "value"].item() == pytest.approx(expected)


def test_folds_are_pooled(clips: dict[str, np.ndarray]) -> None:
    turned = [np.select([(clips["groups"] + 4 * f) % 12 < 4, (clips["groups"] + 4 * f) % 12 < 5], [TEST, VALIDATION], 0)
              for f in range(3)]  # fmt: skip
    table = transferred(clips, Folds(["a", "b", "c"], np.stack(turned)))
    assert (table["n"] == N).all()
    assert (table["n_speakers"] == N_SPEAKERS).all()


def test_the_rotation_is_scipys(rng: np.random.Generator) -> None:
    source = rng.standard_normal((50, 6))
    turn = scipy.stats.ortho_group.rvs(6, random_state=2)
    matrix, trace = best_rotation(source, 2.5 * source @ turn)
    np.testing.assert_allclose(matrix, turn, rtol=FLOAT64, atol=FLOAT64)
    assert trace / (source**2).sum() == pytest.approx(2.5)
    target = rng.standard_normal((50, 6))
    orthogonal, scale = scipy.linalg.orthogonal_procrustes(source, target)
    matrix, trace = best_rotation(source, target)
    np.testing.assert_allclose(matrix, orthogonal, atol=FLOAT64)
    assert trace == pytest.approx(scale)
    back, same = best_rotation(target, source)
    np.testing.assert_allclose(back, matrix.T, atol=FLOAT64)
    assert same == pytest.approx(trace)


@pytest.fixture
def corpora(clips: dict[str, np.ndarray]) -> np.ndarray:
    return np.array(["emovo", "emodb"])[clips["groups"] % 2]


@pytest.fixture
def both(clips: dict[str, np.ndarray]) -> Folds:
    """Training, validation and test speakers of both corpora."""
    return Folds(["study"], np.select([clips["groups"] < 6, clips["groups"] < 8], [TRAIN, VALIDATION], TEST)[None])


def test_corpora_that_agree_and_corpora_that_do_not(
    clips: dict[str, np.ndarray], corpora: np.ndarray, both: Folds
) -> None:
    same = clips["x"][0]
    other = np.where((corpora == "emodb")[:, None], np.roll(same, 1, axis=1), same)  # other features say the same
    table = corpus_transfer(np.stack([same, other]), clips["labels"], clips["groups"], corpora, both,
                            fit=fit_least_squares, names=["same", "other"])  # fmt: skip
    table = table[table["measure"] == "uar"].set_index(["layer", "trained_on", "tested_on"])
    value = table["value"]
    assert value["same"].min() > 0.85
    assert value["other", "emovo", "emovo"] > 0.85
    assert value["other", "emodb", "emodb"] > 0.85
    assert max(value["other", "emovo", "emodb"], value["other", "emodb", "emovo"]) < 0.4
    assert table.loc[("other", "emovo", "emodb"), "own_value"] == value["other", "emodb", "emodb"]
    assert (table["n"] == 80).all()
    assert (table["n_speakers"] == 2).all()
    assert (table["n_dropped"] == 0).all()


def test_labels_that_only_one_corpus_has_are_left_out(
    clips: dict[str, np.ndarray], corpora: np.ndarray, both: Folds
) -> None:
    names = np.array(["joy", "fear", "anger", "calm"])[clips["labels"]]
    names = np.where((corpora == "emodb") & (names == "calm"), "boredom", names)
    table = corpus_transfer(clips["x"][:1], names, clips["groups"], corpora, both, fit=fit_least_squares, names=["a"])
    assert set(table["n_dropped"]) == {120}
    assert table.loc[table["measure"] == "uar", "value"].min() > 0.85
    with pytest.raises(AnalysisError, match="cannot be carried from corpus to corpus") as raised:
        corpus_transfer(clips["x"][:1], np.char.add(corpora, names), clips["groups"], corpora, both,
                        fit=fit_least_squares, names=["a"])  # fmt: skip
    assert "shared labels: none" in str(raised.value.found)
    with pytest.raises(AnalysisError, match="cannot be carried from corpus to corpus"):
        corpus_transfer(
            clips["x"][:1], names, clips["groups"], np.full(N, "one"), both, fit=fit_least_squares, names=["a"]
        )


def test_a_corpus_without_a_part_and_a_family_without_weights(
    clips: dict[str, np.ndarray], corpora: np.ndarray, folds: Folds
) -> None:
    with pytest.raises(AnalysisError, match="no clips in a part") as raised:
        corpus_transfer(
            clips["x"][:1], clips["labels"], clips["groups"], corpora, folds, fit=fit_least_squares, names=["a"]
        )
    assert "corpus emodb, fold 0" in str(raised.value.where)
    probes = fit_least_squares(clips["x"], clips["labels"], folds, groups=clips["groups"], n_classes=N_CLASSES)
    with pytest.raises(AnalysisError, match="Only a linear probe can be applied"):
        checkpoint_transfer(**clips, folds=folds, probes=type(probes)(**{**vars(probes), "weights": None}), names=[])
