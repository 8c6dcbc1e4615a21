"""k-NN by one product equals scikit-learn's classifier at a fixed k, and a brute-force choice of k."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from ser_probe.analysis.probes.families import TEST, TRAIN, Folds
from ser_probe.analysis.probes.neighbours import METRICS, TIE_SHARE, fit_knn
from ser_probe.errors import AnalysisError

N, C = 150, 4


def _data(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    groups, labels = rng.integers(0, 10, N), rng.integers(0, C, N)
    x = rng.standard_normal((2, N, 12)) + rng.standard_normal((2, C, 12))[:, labels]
    return x * rng.uniform(0.1, 30, 12) + rng.uniform(-50, 50, 12), labels, groups


def _folds(groups: np.ndarray) -> Folds:
    return Folds(["a", "b"], np.stack([np.where(groups % 4 == f, TEST, TRAIN) for f in range(2)]).astype(np.int8))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 7, 50])
def test_votes_equal_scikit_learns(rng: np.random.Generator, metric: str, k: int) -> None:
    x, y, groups = _data(rng)
    folds = _folds(groups)
    probes = fit_knn(x, y[None], folds, groups=groups, n_classes=C, ks=(k,), metric=metric)
    assert (probes.strength == k).all()
    for r in range(2):
        training = folds.train(0)
        z = StandardScaler().fit(x[r][training]).transform(x[r])
        alone = KNeighborsClassifier(k, metric=metric).fit(z[training], y[training])
        votes = alone.predict_proba(z) * k
        shares = np.exp(probes.logits[r, 0, 0].astype(np.float64))
        np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
        given = shares * (k + C + TIE_SHARE) - 1
        assert (given > votes - 1e-4).all()
        assert (given < votes + TIE_SHARE + 1e-4).all()
        # scikit-learn gives ties to the first class; all others must agree.
        clear = (votes == votes.max(axis=1, keepdims=True)).sum(axis=1) == 1
        np.testing.assert_array_equal(shares.argmax(axis=1)[clear], alone.predict(z)[clear])
        assert (votes[np.arange(N), shares.argmax(axis=1)] == votes.max(axis=1)).all()


def test_k_is_the_one_of_a_search_by_scikit_learn(rng: np.random.Generator) -> None:
    x, y, groups = _data(rng)
    folds, ks = _folds(groups), (1, 3, 9, 31)  # of few classes, so that ties of votes are rare
    rows = np.stack([y, y % 2, rng.permutation(y)]) % 2
    probes = fit_knn(x, rows, folds, groups=groups, n_classes=2, ks=ks)
    for r in range(2):
        for s, labels in enumerate(rows):
            training = folds.train(1)
            z = StandardScaler().fit_transform(x[r][training])
            own, said = labels[training], np.empty((len(ks), len(training)), int)
            for kept, left in GroupKFold(5).split(z, groups=groups[training]):
                for number, k in enumerate(ks):
                    fitted = KNeighborsClassifier(k, metric="cosine").fit(z[kept], own[kept])
                    said[number, left] = fitted.predict(z[left])
            scores = [balanced_accuracy_score(own, each) for each in said]
            best = max(number for number in range(len(ks)) if scores[number] == max(scores))
            assert probes.strength[r, 1, s] == ks[best]


def test_ties_go_to_the_nearer_neighbours() -> None:
    x = np.array([0.0, 1.0, 1.2, 3.0, 9.0])[None, :, None]
    labels = np.array([[0, 1, 0, 1, 0]])
    folds = Folds(["a"], np.array([[0, 0, 0, 0, 2]], np.int8))
    moved = np.array([1.05, 1.15])
    for place, expected in zip(moved, (1, 0), strict=True):
        x[0, 4] = place  # next to class 1 at 1.0, or to class 0 at 1.2; one vote each
        probes = fit_knn(x, labels, folds, groups=np.arange(5), n_classes=2, ks=(2,), metric="euclidean")
        assert probes.logits[0, 0, 0, 4].argmax() == expected


def test_scale_shift_and_order_change_nothing(rng: np.random.Generator) -> None:
    x, y, groups = _data(rng)
    folds, order = _folds(groups), rng.permutation(N)
    plain = fit_knn(x, y[None], folds, groups=groups, n_classes=C)
    moved = fit_knn(x * rng.uniform(0.01, 100, 12) - 7, y[None], folds, groups=groups, n_classes=C)
    np.testing.assert_array_equal(moved.logits, plain.logits)
    shuffled = Folds(folds.names, folds.parts[:, order])
    mixed = fit_knn(x[:, order], y[None, order], shuffled, groups=groups[order], n_classes=C)
    np.testing.assert_array_equal(mixed.logits, plain.logits[..., order, :])
    np.testing.assert_array_equal(mixed.strength, plain.strength)
    # Classes that are not the features' own are not found.
    noise = fit_knn(x, rng.permutation(y)[None], folds, groups=groups, n_classes=C, ks=(9,))
    tested = folds.parts[0] == TEST
    own = fit_knn(x, y[None], folds, groups=groups, n_classes=C, ks=(9,))
    hits = [(each.logits[0, 0, 0].argmax(axis=1) == y)[tested].mean() for each in (own, noise)]
    assert hits[0] > 0.8 > 0.5 > hits[1]


def test_ks_beyond_the_inner_folds_are_left_out(rng: np.random.Generator) -> None:
    x, y, groups = _data(rng)
    folds = _folds(groups)
    assert (fit_knn(x, y[None], folds, groups=groups, n_classes=C, ks=(5, 100)).strength == 5).all()


def test_clips_without_direction_are_no_fault(rng: np.random.Generator) -> None:
    _, y, groups = _data(rng)
    probes = fit_knn(np.ones((1, N, 3)), y[None], _folds(groups), groups=groups, n_classes=C)
    assert np.isfinite(probes.logits).all()


def test_refuses_what_it_cannot_do(rng: np.random.Generator) -> None:
    x, y, groups = _data(rng)
    folds = _folds(groups)
    with pytest.raises(AnalysisError, match=r"metric is not known[\s\S]*did you mean 'cosine'"):
        fit_knn(x, y[None], folds, groups=groups, n_classes=C, metric="cosin")
    with pytest.raises(AnalysisError, match="is not whole"):
        fit_knn(x, y[None], folds, groups=groups, n_classes=C, ks=(1.5,))
    with pytest.raises(AnalysisError, match="fewer training clips than neighbours"):
        fit_knn(x, y[None], folds, groups=groups, n_classes=C, ks=(1000,))
    with pytest.raises(AnalysisError, match="numbers of neighbours to choose among"):
        fit_knn(x, y[None], folds, groups=groups, n_classes=C, ks=())
    with pytest.raises(AnalysisError, match="single class"):
        fit_knn(x, np.ones((1, N), int), folds, groups=groups, n_classes=C)
