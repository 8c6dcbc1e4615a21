from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_probe.embeddings.plan import drop_done, plan_batches
from ser_probe.errors import ConfigError, ManifestError

DURATIONS = st.lists(
    # Few distinct values, so that equal lengths are common, and clips longer than any budget.
    st.sampled_from([0.1, 0.5, 1.0, 1.5, 2.0, 60.0]) | st.floats(0.03, 20),
    max_size=60,
)
BUDGETS = st.floats(0.5, 40)
LIMITS = st.none() | st.integers(1, 8)


def ids_of(durations: list[float]) -> list[str]:
    return [f"{row:04d}" for row in range(len(durations))]


@given(DURATIONS, BUDGETS, LIMITS)
def test_each_row_once_and_the_budget_held(durations: list[float], budget_s: float, limit: int | None) -> None:
    batches = plan_batches(durations, ids_of(durations), budget_s=budget_s, max_clips=limit)
    assert sorted(row for batch in batches for row in batch) == list(range(len(durations)))
    for batch in batches:
        longest = max(durations[row] for row in batch)
        assert len(batch) == 1 or longest * len(batch) <= budget_s
        assert limit is None or len(batch) <= limit


@given(DURATIONS, BUDGETS, LIMITS)
def test_no_batch_could_have_taken_the_next_clip(durations: list[float], budget_s: float, limit: int | None) -> None:
    batches = plan_batches(durations, ids_of(durations), budget_s=budget_s, max_clips=limit)
    for batch in batches[:-1]:
        longest = max(durations[row] for row in batch)
        assert longest * (len(batch) + 1) > budget_s or len(batch) == limit


@given(DURATIONS, BUDGETS, LIMITS, st.randoms(use_true_random=False))
def test_plan_does_not_depend_on_the_order_of_rows(
    durations: list[float], budget_s: float, limit: int | None, random: np.random.Generator
) -> None:
    ids = ids_of(durations)
    order = list(range(len(ids)))
    random.shuffle(order)
    plan = plan_batches(durations, ids, budget_s=budget_s, max_clips=limit)
    shuffled = plan_batches(
        [durations[row] for row in order], [ids[row] for row in order], budget_s=budget_s, max_clips=limit
    )
    assert [[ids[row] for row in batch] for batch in plan] == [[ids[order[row]] for row in batch] for batch in shuffled]


def test_clips_of_like_length_share_a_batch_and_the_longest_come_first() -> None:
    batches = plan_batches([1.0, 9.0, 1.2, 30.0, 8.0], list("abcde"), budget_s=20)
    assert [batch.tolist() for batch in batches] == [[3], [1, 4], [2, 0]]


def test_done_rows_are_dropped_and_the_other_batches_stay_as_they_are() -> None:
    batches = [np.array([3]), np.array([1, 4]), np.array([2, 0])]
    left = drop_done(batches, np.array([False, False, False, True, True]))
    assert [batch.tolist() for batch in left] == [[1], [2, 0]]
    assert drop_done(batches, np.ones(5, dtype=bool)) == []


@pytest.mark.parametrize("budget_s", [0.0, -1.0, float("nan")])
def test_budget_must_admit_something(budget_s: float) -> None:
    with pytest.raises(ConfigError, match="budget must be above 0"):
        plan_batches([1.0], ["a"], budget_s=budget_s)


def test_limit_must_admit_a_clip() -> None:
    with pytest.raises(ConfigError, match="at least one clip"):
        plan_batches([1.0], ["a"], budget_s=1, max_clips=0)


@pytest.mark.parametrize("duration_s", [0.0, -1.0, float("nan"), float("inf")])
def test_unusable_duration_is_named(duration_s: float) -> None:
    with pytest.raises(ManifestError, match=r"(?s)1 clips have no usable duration.*clip b"):
        plan_batches([1.0, duration_s], ["a", "b"], budget_s=1)
