"""One simulated study in which known layers were changed: the analyses find these. More of them: benchmarks/."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "planted_truth.py"


@pytest.fixture(scope="module")
def planted() -> ModuleType:
    spec = importlib.util.spec_from_file_location("planted_truth", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["planted_truth"] = module  # where its dataclasses look for their annotations
    spec.loader.exec_module(module)
    return module


def test_exactly_what_was_planted_is_found(planted: ModuleType) -> None:
    run = planted.run_once(100)
    assert {analysis: (run.missed[analysis], run.extra[analysis]) for analysis in run.missed} == dict.fromkeys(
        run.missed, (set(), set())
    )
    assert run.sizes["layer 3, angle from the mean centred cosine (rad)"] == pytest.approx(planted.ANGLE, abs=0.01)
    assert run.sizes["layer 11, squared move over variance"] == pytest.approx(planted.SHIFT**2, rel=0.01)
    assert run.sizes["layer 12, change of covariance"] == pytest.approx((planted.SCALE - 1) ** 2, rel=0.02)
    report = planted.as_markdown([run], 1.0)
    assert "Exact in at least 100% of the studies, required 95%: met." in report


def test_the_report_says_what_was_missed_and_what_was_not_planted(planted: ModuleType) -> None:
    run = planted.Run(sizes=dict.fromkeys(planted.PLANTED, 0.0))
    run.note("drift: cka_debiased, floor of repeats", {5, 7}, [7, 8])
    assert not run.exact("drift: cka_debiased, floor of repeats")
    report = planted.as_markdown([run], 1.0)
    assert "| 0 of 1 | 5 (1x) | 8 (1x) |" in report
    assert "required 95%: MISSED" in report
