"""Directions of probes: what leaves their cosine unchanged, what changes it, and where the null lies."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from ser_probe.analysis.inputs import RepresentationKey
from ser_probe.analysis.probes.directions import (
    chance_squares,
    class_directions,
    direction_cosines,
    seed_pair_cosines,
)
from ser_probe.analysis.probes.families import TEST, TRAIN, VALIDATION, ClassProbes, Folds
from ser_probe.errors import AnalysisError

from .least_squares import fit_least_squares

N, N_CLASSES, WIDTH, N_SEEDS = 400, 3, 16, 3
FLOAT32 = 1e-5


@pytest.fixture
def labels() -> np.ndarray:
    return np.arange(N) % N_CLASSES


@pytest.fixture
def folds() -> Folds:
    return Folds(["study"], np.select([np.arange(N) < 300, np.arange(N) < 350], [TRAIN, VALIDATION], TEST)[None])


@pytest.fixture
def states(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """The start, the same in other units, and the same with the labels in other features."""
    noise = rng.standard_normal((N, WIDTH))
    start = np.eye(N_CLASSES, WIDTH)[labels] + noise
    moved = np.roll(np.eye(N_CLASSES, WIDTH)[labels], 6, axis=1) + noise
    return np.stack([start, start * np.geomspace(0.01, 100, WIDTH) + 7, moved])


def cosines(x: np.ndarray, labels: np.ndarray, folds: Folds, *, n_seeds: int = N_SEEDS) -> pd.DataFrame:
    given = {"groups": labels, "n_classes": N_CLASSES, "n_seeds": n_seeds}
    probes = fit_least_squares(x, labels, folds, **given)
    shuffled = fit_least_squares(x, np.random.default_rng(1).permutation(labels), folds, **given)
    names = [RepresentationKey("m", f"step-{t}", t, "3") for t in range(len(x))]
    return direction_cosines(x, folds, probes, classes=["a", "b", "c"], names=names, shuffled=shuffled)


def test_units_do_not_matter_and_places_do(states: np.ndarray, labels: np.ndarray, folds: Folds) -> None:
    table = cosines(states, labels, folds)
    value = table.groupby(["step_a", "step_b"])["value"].mean()
    assert value[0, 1] == pytest.approx(value[0, 0], abs=FLOAT32), "units leave directions as they are"
    assert 0.5 < value[0, 0] < 0.99, "two seeds of one checkpoint are not the same probe"
    corrected = table.groupby(["step_a", "step_b"])["disattenuated"].mean()
    assert corrected[0, 0] == pytest.approx(1)
    assert corrected[0, 1] == pytest.approx(1, abs=FLOAT32)
    assert abs(value[0, 2]) < table["null"].max(), "labels in other features: no more alike than chance"
    assert value[0, 0] > table["null"].max()
    assert len(table) == 6 * N_CLASSES
    assert set(table["n_seeds"]) == {N_SEEDS}


def test_a_rotation_changes_them(states: np.ndarray, labels: np.ndarray, folds: Folds) -> None:
    turned = states[0] @ scipy.stats.ortho_group.rvs(WIDTH, random_state=3)
    value = cosines(np.stack([states[0], turned]), labels, folds).groupby(["step_a", "step_b"])["value"].mean()
    assert abs(value[0, 1]) < 0.5 < value[1, 1]


def test_one_seed_has_no_ceiling(states: np.ndarray, labels: np.ndarray, folds: Folds) -> None:
    table = cosines(states, labels, folds, n_seeds=1)
    assert table["ceiling"].isna().all()
    assert table["disattenuated"].isna().all()
    assert table["null"].between(0, 1).all()
    probes = fit_least_squares(states, labels, folds, groups=labels, n_classes=N_CLASSES)
    names = [RepresentationKey("m", f"step-{t}", t, "3") for t in range(3)]
    assert direction_cosines(states, folds, probes, classes=["a", "b", "c"], names=names)["null"].isna().all()
    assert table.loc[table["step_a"] == table["step_b"], "value"].to_numpy() == pytest.approx(1)


def test_pairs_of_different_seeds_by_hand(rng: np.random.Generator) -> None:
    directions = class_directions(rng.standard_normal((2, 4, 9, 3)), np.ones((2, 8)))
    by_hand = np.mean(
        [[directions[0, i, c] @ directions[1, j, c] for i in range(4) for j in range(4) if i != j] for c in range(3)],
        axis=1,
    )
    np.testing.assert_allclose(seed_pair_cosines(directions)[0, 1], by_hand)


def test_directions_are_of_unit_length_and_blind_to_what_all_classes_share(rng: np.random.Generator) -> None:
    weights, deviations = rng.standard_normal((2, 3, 9, 4)), rng.uniform(0.5, 2, (2, 8))
    directions = class_directions(weights, deviations)
    assert directions.shape == (2, 3, 4, 8)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=-1), 1)
    shared = weights + rng.standard_normal((2, 3, 9, 1))
    np.testing.assert_allclose(class_directions(shared, deviations), directions)
    assert not class_directions(np.ones((1, 1, 9, 4)), deviations[:1]).any(), "it prefers no class"


def test_the_null_is_what_shuffled_labels_give(rng: np.random.Generator) -> None:
    """Features of few effective dimensions: nine in ten pairs of unrelated probes lie within the null, not all."""
    x = rng.standard_normal((N, 20)) @ rng.standard_normal((20, 60)) + 0.1 * rng.standard_normal((N, 60))
    folds = Folds(["study"], np.full((1, N), TRAIN))
    names = [RepresentationKey("m", "step-0", 0, "3"), RepresentationKey("m", "step-1", 1, "3")]
    inside, isotropic, nulls = [], [], []
    for _ in range(12):
        one, *others = (rng.integers(0, N_CLASSES, N) for _ in range(4))
        pair = [
            fit_least_squares(x[None], labels, folds, groups=one, n_classes=N_CLASSES) for labels in (one, others[0])
        ]
        # The second checkpoint is as good as any shuffle: its labels have nothing to do with the first's.
        probes = type(pair[0])(**{**vars(pair[0]), "weights": np.concatenate([each.weights for each in pair])})
        unrelated = [
            fit_least_squares(x[None], labels, folds, groups=one, n_classes=N_CLASSES) for labels in others[1:]
        ]
        shuffled = np.concatenate([each.weights for each in unrelated])
        table = direction_cosines(
            np.stack([x, x]), folds, probes, classes=["a", "b", "c"], names=names,
            shuffled=type(pair[0])(**{**vars(pair[0]), "weights": shuffled}),
        )  # fmt: skip
        across = table[table["step_b"] > table["step_a"]]
        inside += list(abs(across["value"]) < across["null"])
        isotropic += list(abs(across["value"]) < across["null_isotropic"])
        nulls.append(across["null"].iloc[0])
    assert np.mean(inside) > 0.8
    assert np.mean(isotropic) < np.mean(inside), "random directions of all dimensions are too few to hold them"
    assert np.mean(nulls) > 1.2 * 1.959964 / np.sqrt(60)


def test_chance_by_hand(rng: np.random.Generator) -> None:
    directions, shuffled = (class_directions(rng.standard_normal((2, 3, 9, 4)), np.ones((2, 8))) for _ in range(2))
    by_hand = np.mean([
        np.mean([directions[0, j, c] @ shuffled[1, i, c] for j in range(3) if j != i]) ** 2
        for i in range(3) for c in range(4)
    ])  # fmt: skip
    assert chance_squares(directions, shuffled)[0, 1] == pytest.approx(by_hand)
    assert chance_squares(directions[:, :1], shuffled[:, :1])[1, 0] == pytest.approx(
        np.mean([(directions[1, 0, c] @ shuffled[0, 0, c]) ** 2 for c in range(4)])
    )


def test_a_family_without_weights(states: np.ndarray, folds: Folds) -> None:
    probes = ClassProbes(np.zeros((3, 1, 1, N, 3)), None, np.zeros((3, 1, 1)), np.zeros((3, 1, 1)))
    with pytest.raises(AnalysisError, match="Only a linear probe has directions"):
        direction_cosines(states, folds, probes, classes=["a", "b", "c"], names=[])
