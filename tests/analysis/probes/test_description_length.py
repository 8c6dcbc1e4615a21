"""The online code: blocks end at speakers, uniform answers cost log2 C, what is readable costs less, noise does not."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from ser_probe.analysis.probes.description_length import (
    describe_labels,
    frequency_code,
    plan_transmission,
    transmission_folds,
)
from ser_probe.analysis.probes.families import ClassProbes, Folds
from ser_probe.errors import AnalysisError

from .least_squares import fit_least_squares

N, N_SPEAKERS, N_CLASSES, WIDTH = 240, 12, 4, 10
# Log losses are summed in float64 from float32 logits.
FLOAT32 = 1e-5


@pytest.fixture
def clips(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Twelve speakers of unequal numbers of clips, four labels; three layers: clear, blurred, of noise."""
    labels = rng.integers(0, N_CLASSES, N)
    groups = np.sort(np.concatenate([np.arange(N_SPEAKERS), rng.integers(0, N_SPEAKERS, N - N_SPEAKERS)]))
    noise = rng.standard_normal((N, WIDTH))
    own = np.eye(N_CLASSES, WIDTH)[labels]
    return {"labels": labels, "groups": groups, "x": np.stack([noise / 20 + own, noise / 2 + own, noise])}


def uniform(x: np.ndarray, labels: np.ndarray, folds: Folds, *, groups: np.ndarray, n_classes: int) -> ClassProbes:
    shape = (len(x), len(folds.names), 1)
    return ClassProbes(np.zeros((*shape, x.shape[1], n_classes)), None, np.zeros(shape), np.zeros(shape))


def test_blocks_end_where_speakers_do(clips: dict[str, np.ndarray]) -> None:
    labels, groups = clips["labels"], clips["groups"]
    for seed in range(5):
        plan = plan_transmission(labels, groups, seed=seed, needs_validation=True)
        assert sorted(plan.order) == list(range(N))
        assert plan.ends[-1] == N
        folds = transmission_folds(plan)
        for fold in range(len(folds.names)):
            parts = [set(groups[part(fold)]) for part in (folds.train, folds.validation, folds.test)]
            assert all(parts)
            assert not parts[0] & parts[1]
            assert not (parts[0] | parts[1]) & parts[2]
            assert set(labels[folds.train(fold)]) == set(range(N_CLASSES))
        tested = np.concatenate([folds.test(fold) for fold in range(len(folds.names))])
        assert sorted([*tested, *plan.order[: plan.ends[0]]]) == list(range(N)), "each label is sent once"
    without = plan_transmission(labels, groups, seed=0)
    assert without.n_validation == (0,) * (len(without.ends) - 1)
    assert without.ends[0] <= plan_transmission(labels, groups, seed=0, needs_validation=True).ends[0]
    assert (plan_transmission(labels, groups, seed=0).order == plan_transmission(labels, groups, seed=0).order).all()
    assert (plan_transmission(labels, groups, seed=1).order != plan_transmission(labels, groups, seed=0).order).any()


def test_a_probe_that_knows_nothing_costs_the_uniform_code(clips: dict[str, np.ndarray]) -> None:
    table = describe_labels(clips["x"], clips["labels"], clips["groups"], fit=uniform, names=["a", "b", "c"])
    length = table[table["measure"] == "codelength"]["value"]
    np.testing.assert_allclose(length, N * 2, rtol=FLOAT32)
    np.testing.assert_allclose(table[table["measure"] == "compression"]["value"], 1, rtol=FLOAT32)
    np.testing.assert_allclose(table[table["measure"] == "bits_per_clip"]["value"], 2, rtol=FLOAT32)


def test_what_is_readable_is_short_and_noise_is_not(clips: dict[str, np.ndarray]) -> None:
    table = describe_labels(clips["x"], clips["labels"], clips["groups"], fit=fit_least_squares,
                            names=["clear", "blurred", "noise"], order_seeds=range(4))  # fmt: skip
    table = table[table["measure"] == "compression"]
    value = table.groupby("layer")["value"].mean()
    assert value["clear"] > value["blurred"] + 0.2 > value["noise"] + 0.4
    assert value["noise"] < 1.02, "random labels cannot be compressed"
    assert value["clear"] > 0.75 * table["ceiling"].mean(), "the ceiling is nearly reached"
    assert (table["value"] <= table["ceiling"]).all()
    shuffled = np.random.default_rng(0).permutation(clips["labels"])
    control = describe_labels(clips["x"][:1], shuffled, clips["groups"], fit=fit_least_squares, names=["clear"])
    assert control[control["measure"] == "compression"]["value"].max() < 1.05


def test_the_code_is_the_loss_of_a_probe_trained_block_by_block(clips: dict[str, np.ndarray]) -> None:
    """Another route: scikit-learn's classifier, trained by hand on what was sent, scored by its own log loss."""
    x, labels, groups = clips["x"][1], clips["labels"], clips["groups"]

    def fit(x: np.ndarray, y: np.ndarray, folds: Folds, *, groups: np.ndarray, n_classes: int) -> ClassProbes:
        each = [
            LogisticRegression().fit(x[0][folds.train(f)], y[folds.train(f)]).decision_function(x[0])
            for f in range(len(folds.names))
        ]
        shape = (1, len(each), 1)
        return ClassProbes(np.stack(each)[None, :, None], None, np.zeros(shape), np.zeros(shape))

    table = describe_labels(x[None], labels, groups, fit=fit, names=["a"], order_seeds=[3])
    plan = plan_transmission(labels, groups, seed=3)
    bits = plan.ends[0] * np.log2(N_CLASSES)
    for start, stop, held in zip(plan.ends, plan.ends[1:], plan.n_validation, strict=False):
        train, block = plan.order[: start - held], plan.order[start:stop]
        probability = LogisticRegression().fit(x[train], labels[train]).predict_proba(x[block])
        bits -= np.log2(probability[np.arange(len(block)), labels[block]]).sum()
    assert table.loc[table["measure"] == "codelength", "value"].item() == pytest.approx(bits, rel=FLOAT32)


def test_names_and_order_of_classes_do_not_matter(clips: dict[str, np.ndarray]) -> None:
    renamed = np.array(["d", "a", "c", "b"])[clips["labels"]]
    tables = [
        describe_labels(clips["x"][:1], labels, clips["groups"], fit=fit_least_squares, names=["a"])
        for labels in (clips["labels"], renamed)
    ]
    np.testing.assert_allclose(tables[0]["value"], tables[1]["value"], rtol=FLOAT32)


def test_frequencies_alone_shorten_an_uneven_code_only() -> None:
    even, uneven = np.arange(400) % 4, np.where(np.arange(400) % 10 == 0, 1 + np.arange(400) % 3, 0)
    assert frequency_code(even, 4, first=20) > 800
    assert frequency_code(even, 4, first=20) < 810, "learning that all are equally frequent costs a few bits"
    share = np.bincount(uneven) / 400
    entropy = -400 * (share * np.log2(share)).sum()
    assert entropy < frequency_code(uneven, 4, first=0) < entropy + 20
    # By hand: four labels of two classes, one uncoded.
    expected = 1 - np.log2(0.5 / 2) - np.log2(1.5 / 3) - np.log2(1.5 / 4)
    assert frequency_code(np.array([0, 1, 0, 1]), 2, first=1) == pytest.approx(expected)


def test_too_few_speakers_to_send_in_blocks(rng: np.random.Generator) -> None:
    labels = np.arange(40) % 2
    with pytest.raises(AnalysisError, match="no block is left") as raised:
        describe_labels(
            rng.standard_normal((1, 40, 3)), labels, labels // 2 + np.arange(40) % 2, fit=uniform, names=["a"]
        )
    assert raised.value.found == "2 speakers, 2 classes"
    with pytest.raises(AnalysisError, match="no block is left"):
        plan_transmission(np.arange(6), np.arange(6), seed=0)
