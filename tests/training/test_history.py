from __future__ import annotations

import numpy as np
import pytest

from ser_probe.training.history import best_evaluation, count_stale, should_stop, training_table
from ser_probe.training.settings import TrainingSettings


def history(losses: list[float], every: int = 50) -> list[dict[str, float]]:
    scores = {"eval_accuracy": 0.5, "eval_uar": 0.4, "eval_macro_f1": 0.3}
    return [{"step": row * every, "epoch": row / 2, "eval_loss": loss, **scores} for row, loss in enumerate(losses)]


def test_early_stopping_counts_as_by_hand() -> None:
    # Gains on the best so far: 0.30 counts; then -0.10, 0.02, 0.02, 0.00 and 0.02 do not (each below 0.025).
    losses = [1.80, 1.50, 1.60, 1.48, 1.46, 1.46, 1.44]
    stale = [count_stale(losses[:n], 0.025, more_is_better=False) for n in range(1, len(losses) + 1)]
    assert stale == [0, 0, 1, 2, 3, 4, 5]
    assert count_stale([*losses, 1.40], 0.025, more_is_better=False) == 0


def test_early_stopping_looks_the_other_way_for_scores() -> None:
    assert count_stale([0.2, 0.3, 0.4], 0.05, more_is_better=True) == 0
    assert count_stale([0.2, 0.3, 0.4], 0.05, more_is_better=False) == 2


def test_a_gain_of_exactly_the_threshold_does_not_count() -> None:
    assert count_stale([1.0, 0.75], 0.25, more_is_better=False) == 1
    assert count_stale([1.0, 0.75], 0.2, more_is_better=False) == 0


@pytest.mark.parametrize(("n_flat", "stops"), [(4, False), (5, True)])
def test_patience_is_a_number_of_evaluations(n_flat: int, stops: bool) -> None:
    entries = history([1.8, 1.2] + [1.2] * n_flat)
    assert should_stop(entries, TrainingSettings(early_stopping_patience=5)) is stops
    assert not should_stop(entries, TrainingSettings(early_stopping_patience=None))


def test_the_best_is_the_first_of_equals() -> None:
    assert best_evaluation(history([1.8, 1.2, 1.5, 1.2]), "loss") == (50, 1.2)
    assert best_evaluation(history([1.8, 1.2, 1.5, 1.2]), "uar") == (0, 0.4)


def test_the_table_is_tidy() -> None:
    step = {"step": 1, "epoch": 0.5, "loss": 1.7, "learning_rate": 1e-5, "grad_norm": 3.0}
    table = training_table([*history([1.8]), step, {"step": 1, "epoch": 0.5, "train_runtime": 9.0}], run_seed=7)
    assert list(table.columns) == ["run_seed", "step", "epoch", "split", "measure", "value"]
    assert table["measure"].tolist() == ["loss", "accuracy", "uar", "macro_f1", "loss", "learning_rate"]
    assert table["split"].tolist() == ["validation"] * 4 + ["train"] * 2
    np.testing.assert_allclose(table["value"], [1.8, 0.5, 0.4, 0.3, 1.7, 1e-5])
    assert set(table["run_seed"]) == {7}
