"""Compiling asks for no folder that can be written to, and leaves torch its threads."""

from __future__ import annotations

import threading

import pytest

from ser_probe.analysis.probes.compiled import compiled


def _double(number: float) -> float:
    return number * 2


def test_a_folder_that_cannot_be_written_to_costs_the_cache_only(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba
    from numba.core.caching import CompileResultCacheImpl

    monkeypatch.setattr(CompileResultCacheImpl, "_locator_classes", [])
    with pytest.raises(RuntimeError, match="cannot cache"):
        numba.njit(cache=True)(_double)
    assert compiled()(_double)(2.0) == 4


def test_infinities_and_nan_keep_their_meaning() -> None:
    """`fastmath` in full lets the compiler assume that there are none: a first loss would not beat infinity."""
    lower = compiled()(lambda loss, best: loss < best)
    assert lower(1.0, float("inf"))
    assert not lower(float("nan"), float("inf"))


def test_no_threads_are_started() -> None:
    before = threading.active_count()
    compiled()(_double)(1.0)
    assert threading.active_count() == before
