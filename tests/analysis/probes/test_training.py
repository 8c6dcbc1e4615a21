"""What sets up a probe: seeds, standardised features, raw units, and the checks before training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ser_probe.analysis.probes.families import TRAIN, UNUSED, VALIDATION, Folds
from ser_probe.analysis.probes.training import (
    check_training,
    epoch_orders,
    in_raw_units,
    initial_weights,
    standardisation,
    standardise,
)
from ser_probe.errors import AnalysisError


def test_seeds_fix_weights_and_orders_apart() -> None:
    assert torch.equal(initial_weights(3, 5, 2), initial_weights(3, 5, 2))
    assert initial_weights(3, 100, 2).abs().max() <= 0.1
    orders = epoch_orders(3, 8)
    first, second = next(orders), next(orders)
    assert sorted(first.tolist()) == list(range(8))
    assert not torch.equal(first, second)
    assert torch.equal(first, next(epoch_orders(3, 8)))


def test_standardising_uses_the_training_part_only(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 30, 4)) * 5 + 2
    training = np.arange(30) < 20
    z = standardise(x, training)
    np.testing.assert_allclose(z[:, :20].mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(z[:, :20].std(axis=1), 1, atol=1e-6)
    changed = x.copy()
    changed[:, 20:] += 1000
    np.testing.assert_array_equal(standardise(changed, training)[:, :20], z[:, :20])
    changed[:, :20] *= 2
    assert np.abs(standardise(changed, training)[:, 20:] - z[:, 20:]).max() > 1


def test_constant_features_become_zero() -> None:
    x = np.full((1, 6, 2), 0.1, np.float32)
    x[0, :, 1] = np.arange(6)
    x[0, 5, 0] = 7  # varies on a clip that does not train
    z = standardise(x, np.arange(6) < 5)
    assert (z[0, :, 0] == 0).all()
    assert np.isfinite(z).all()


def test_weights_in_raw_units_say_the_same(rng: np.random.Generator) -> None:
    x = rng.standard_normal((40, 5)) * [1, 10, 0.1, 3, 0] + [0, 50, 1, -2, 4]
    mean, scale = standardisation(x, np.arange(30))
    weights = rng.standard_normal((2, 6, 3))
    z = np.column_stack([(x - mean) * scale, np.ones(40)])
    raw = np.column_stack([x, np.ones(40)]) @ in_raw_units(weights, mean, scale)
    np.testing.assert_allclose(raw, z @ weights, atol=1e-4)  # weights in float32, features up to 80


FOLDS = Folds(["first", "second"], np.array([[TRAIN, TRAIN, VALIDATION, UNUSED]] * 2, np.int8))
LABELS = np.array([[0, 1, 1, -1]])


def test_labels_of_clips_that_do_not_train_may_be_missing(rng: np.random.Generator) -> None:
    _, labels = check_training(rng.standard_normal((1, 4, 2)), LABELS, FOLDS, n_classes=2, seeds=[0])
    assert labels.dtype == np.int64


@pytest.mark.parametrize(
    ("labels", "parts", "message"),
    [
        (LABELS[:, :3], FOLDS.parts, "do not fit the features"),
        (LABELS, FOLDS.parts[:1], "do not fit the features"),
        (LABELS, np.where(FOLDS.parts == VALIDATION, UNUSED, FOLDS.parts), "no validation clips"),
        (LABELS, np.where(FOLDS.parts == TRAIN, UNUSED, FOLDS.parts), "no training clips"),
        (np.array([[0, 2, 1, 0]]), FOLDS.parts, "Labels of training clips are not classes"),
        (np.array([[0, 1, -1, 0]]), FOLDS.parts, "Labels of validation clips are not classes"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    rng: np.random.Generator, labels: np.ndarray, parts: np.ndarray, message: str
) -> None:
    with pytest.raises(AnalysisError, match=message):
        check_training(rng.standard_normal((1, 4, 2)), labels, Folds(FOLDS.names, parts), n_classes=2, seeds=[0])
