"""Work in threads: the same answers in the same order as one after the other."""

from __future__ import annotations

import time

import numpy as np
import pytest

from ser_probe.analysis.similarity import side_by_side
from ser_probe.analysis.similarity.cka import cka_pairs
from ser_probe.analysis.similarity.measures import measure_pairs
from ser_probe.analysis.similarity.options import Options
from ser_probe.analysis.similarity.side_by_side import for_each, in_order
from ser_probe.analysis.similarity.sources import Sides
from ser_probe.errors import AnalysisError


def test_answers_come_in_the_order_of_the_tasks() -> None:
    def work(task: int) -> int:
        time.sleep(0.002 * (task % 3 == 0))
        return task * task

    for size in (0, 2**30):
        assert list(in_order(work, iter(range(20)), size, waiting=7)) == [(task, task * task) for task in range(20)]


def test_every_representation_is_worked_on() -> None:
    for size in (0, 2**30):
        done: list[int] = []
        for_each(done.append, 9, size)
        assert sorted(done) == list(range(9))


@pytest.mark.parametrize("grouped", [True, False])
def test_threads_change_no_bit(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, grouped: bool) -> None:
    layers = list(rng.standard_normal((4, 60, 20)).astype(np.float32))
    groups = np.repeat(list("abcde"), 12) if grouped else None
    names = ["cka_debiased", "cka", "rsa_pearson", "cka_rbf"]
    found = []
    for much in (10**18, 0):
        monkeypatch.setattr(side_by_side, "_MUCH", much)
        found.append(measure_pairs(names, Sides(layers), Options(groups=groups, memory_bytes=20_000)))
    for name in names:
        np.testing.assert_array_equal(found[0][name].value, found[1][name].value)
        np.testing.assert_array_equal(found[0][name].ci_low, found[1][name].ci_low)


def test_a_fault_in_a_thread_is_the_fault(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "_MUCH", 0)
    layers = [*rng.standard_normal((3, 20, 5)), np.ones((20, 5))]
    with pytest.raises(AnalysisError, match="do not vary") as caught:
        cka_pairs(layers, names=["a", "b", "c", "flat"])
    assert caught.value.where == "flat"
