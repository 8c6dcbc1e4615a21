"""Losses and scores against torch, scikit-learn and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score

from ser_probe.models.targets import Targets, numeric_targets
from ser_probe.training.losses import (
    concordance_loss,
    cross_entropy,
    inverse_frequencies,
    make_loss,
    prepare_targets,
    score,
)
from tests.concordance import ccc

ROUNDING = 1e-6  # float32, of values of about 1
CLASSES = Targets("classes", ("a", "b", "c"))
SHARES = Targets("distribution", ("a", "b", "c"))


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(40, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(0).choice(3, 40, p=[0.6, 0.3, 0.1])


@pytest.fixture
def shares() -> np.ndarray:
    return np.random.default_rng(1).dirichlet([0.5, 1, 2], 40).astype(np.float32)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_of_labels_is_torchs(logits: torch.Tensor, labels: np.ndarray, smoothing: float) -> None:
    found = cross_entropy(logits, prepare_targets(CLASSES, labels), None, smoothing)
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(labels), label_smoothing=smoothing)
    assert found.item() == pytest.approx(expected.item(), abs=ROUNDING)
    ours, theirs = (torch.autograd.grad(loss, logits, retain_graph=True)[0] for loss in (found, expected))
    assert (ours - theirs).abs().max() < ROUNDING


def test_weights_are_inverse_frequencies_of_mean_1(logits: torch.Tensor, labels: np.ndarray) -> None:
    weights = inverse_frequencies(labels, 3)
    counts = np.bincount(labels)
    np.testing.assert_allclose(weights.numpy(), 40 / (3 * counts), rtol=ROUNDING)
    assert weights[torch.tensor(labels)].mean().item() == pytest.approx(1, abs=ROUNDING)
    found = make_loss("cross_entropy", CLASSES, labels, class_weights=True)(logits, prepare_targets(CLASSES, labels))
    # torch divides by the sum of the weights, which is the number of clips here.
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(labels), weight=weights)
    assert found.item() == pytest.approx(expected.item(), abs=ROUNDING)
    plain = make_loss("cross_entropy", CLASSES, labels)(logits, prepare_targets(CLASSES, labels))
    assert abs(found.item() - plain.item()) > 1e-2


def test_soft_labels_are_the_divergence_up_to_the_entropy(logits: torch.Tensor, shares: np.ndarray) -> None:
    goal = prepare_targets(SHARES, shares)
    found = make_loss("cross_entropy", SHARES, shares)(logits, goal)
    divergence = torch.nn.functional.kl_div(logits.log_softmax(1), goal, reduction="batchmean")
    entropy = -(goal * goal.log()).sum(1).mean()
    assert found.item() == pytest.approx((divergence + entropy).item(), abs=ROUNDING)
    ours, theirs = (torch.autograd.grad(loss, logits, retain_graph=True)[0] for loss in (found, divergence))
    assert (ours - theirs).abs().max() < ROUNDING
    # It is smallest where the output is the distribution, and not where it is the winner alone.
    at_goal, at_winner = goal.log(), 20 * prepare_targets(CLASSES, shares.argmax(1))
    assert cross_entropy(at_goal, goal).item() == pytest.approx(entropy.item(), abs=ROUNDING)
    assert cross_entropy(at_winner, goal) > cross_entropy(at_goal, goal)


def test_weights_of_soft_labels_count_shares(shares: np.ndarray) -> None:
    one_hot = np.eye(3, dtype=np.float32)[shares.argmax(1)]
    np.testing.assert_allclose(inverse_frequencies(one_hot, 3), inverse_frequencies(shares.argmax(1), 3))
    np.testing.assert_allclose(inverse_frequencies(shares, 3), 40 / (3 * shares.sum(0)), rtol=ROUNDING)


def test_concordance_loss_is_that_of_the_measure() -> None:
    rng = np.random.default_rng(2)
    true = rng.normal(size=(50, 2))
    outputs = 0.7 * true + 0.3 * rng.normal(size=(50, 2)) + 0.2
    expected = 1 - np.mean([ccc(true[:, column], outputs[:, column]) for column in range(2)])
    found = concordance_loss(torch.from_numpy(outputs), torch.from_numpy(true))
    assert found.item() == pytest.approx(expected, abs=ROUNDING)
    # Shift and scale cost, which a correlation would not see.
    shifted = concordance_loss(torch.from_numpy(true + 1), torch.from_numpy(true))
    assert shifted.item() > 0.1
    assert concordance_loss(torch.from_numpy(true), torch.from_numpy(true)).item() == pytest.approx(0, abs=ROUNDING)


@pytest.mark.parametrize("n_clips", [1, 3])
def test_concordance_of_equal_clips_has_a_finite_gradient(n_clips: int) -> None:
    outputs = torch.ones(n_clips, 2, requires_grad=True)
    concordance_loss(outputs, torch.ones(n_clips, 2)).backward()
    assert torch.isfinite(outputs.grad).all()


def test_scores_of_classes_are_scikit_learns(logits: torch.Tensor, labels: np.ndarray) -> None:
    outputs = logits.detach().numpy()
    found = score(CLASSES, outputs, prepare_targets(CLASSES, labels).numpy())
    predicted = outputs.argmax(1)
    assert found["uar"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert found["weighted_f1"] == pytest.approx(f1_score(labels, predicted, average="weighted"))
    assert found["accuracy"] == pytest.approx((labels == predicted).mean())


def test_scores_of_numbers() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(3, 2, size=(60, 2))
    targets = numeric_targets(("arousal", "valence"), values)
    true = targets.standardise(values)
    np.testing.assert_allclose(targets.restore(true), values, atol=1e-5)
    np.testing.assert_allclose([true.mean(), true.std()], [0, 1], atol=ROUNDING)
    outputs = true + 0.5 * rng.normal(size=true.shape)
    found = score(targets, outputs, true)
    expected = np.mean([ccc(values[:, k], targets.restore(outputs)[:, k]) for k in range(2)])
    assert found["ccc"] == pytest.approx(expected, abs=ROUNDING), "the scale of the outputs does not matter"
    assert found["rmse"] == pytest.approx(np.sqrt(((outputs - true) ** 2).mean()))


def test_concordance_of_a_constant_target_is_0() -> None:
    constant = np.ones((5, 1))
    assert score(Targets("numeric", ("x",), (0.0,), (1.0,)), constant, constant)["ccc"] == 0.0
