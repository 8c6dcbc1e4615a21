"""The analyses as steps: which rows stand beside each other, and what is said where there can be none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_probe.config import AnalyzeConfig, SimilarityConfig
from ser_probe.errors import AnalysisError
from ser_probe.steps.tables import read_table

from .conftest import FEATURES, analyse, tuned

Write = Callable[..., Path]
CONTEXT = {"corpus": "emovo", "run_seed": 7}
LABELS_FOUND = 0.5  # debiased CKA of two noisy copies of the labels; 0.002 where noise in large units drowns them


@pytest.fixture
def caches(write_cache: Write, clips: pd.DataFrame) -> list[Path]:
    """Step 50 and step 0, in the wrong order."""
    return [write_cache("late", clips, tuned(50)), write_cache("first", clips, tuned(0))]


@pytest.fixture
def features(write_cache: Write, clips: pd.DataFrame) -> Path:
    return write_cache("features", clips, FEATURES, layers=("functionals",), width=5)


def test_similarity_rows(caches: list[Path], features: Path, tmp_path: Path) -> None:
    analyse("similarity", caches, tmp_path, analyze=AnalyzeConfig(splits="all"), features=features, context=CONTEXT)
    table = read_table(tmp_path, "similarity")
    columns = [f"{name}_{side}" for side in "ab" for name in ("model", "checkpoint", "step", "layer")]
    assert {*columns, "measure", "value", "ci_low", "ci_high", "p", "n", "baseline", "corpus"} <= set(table.columns)
    assert set(table["measure"]) == {"cka_debiased", "cka"}
    pairs = table[table["measure"] == "cka"].groupby(["checkpoint_a", "model_b", "checkpoint_b"]).size().to_dict()
    assert pairs == {
        ("step-0", "eGeMAPSv02", ""): 2, ("step-50", "eGeMAPSv02", ""): 2,
        ("step-0", "tiny", "step-0"): 4, ("step-50", "tiny", "step-50"): 4, ("step-0", "tiny", "step-50"): 4,
    }  # fmt: skip
    itself = table[(table["layer_a"] == table["layer_b"]) & (table["checkpoint_a"] == table["checkpoint_b"])]
    np.testing.assert_allclose(itself["value"], 1, atol=1e-6)
    assert table.loc[table["measure"] == "cka", "baseline"].between(0.01, 1).all()


def test_no_feature_drowns_the_others(write_cache: Write, clips: pd.DataFrame, tmp_path: Path) -> None:
    """Features in Hz beside features in dB: the one alone would decide, were they not standardised."""
    path = write_cache("a", clips, tuned(0))
    options = AnalyzeConfig(splits="all", similarity=SimilarityConfig(pairs=()))
    found = []
    for unit in (1.0, 1000.0):
        features = write_cache(f"{unit:g}", clips, FEATURES, layers=("functionals",), width=5, unit=unit)
        analyse("similarity", [path], tmp_path / f"{unit:g}", analyze=options, features=features)
        table = read_table(tmp_path / f"{unit:g}", "similarity")
        found.append(table.query("measure == 'cka_debiased' and layer_a == '1'")["value"].item())
    # Other noise in each file, the same labels: both find the labels in layer 1.
    assert min(found) > LABELS_FOUND


def test_nothing_to_compare(caches: list[Path], tmp_path: Path) -> None:
    nothing = AnalyzeConfig(splits="all", similarity=SimilarityConfig(pairs=("across",)))
    with pytest.raises(AnalysisError, match="There is nothing to compare"):
        analyse("similarity", caches[:1], tmp_path / "t", analyze=nothing)
    assert len(analyse("similarity", caches, tmp_path / "t", analyze=nothing).files) == 2


def test_analyses_look_at_the_splits_asked_for(caches: list[Path], tmp_path: Path) -> None:
    outcome = analyse("drift", caches, tmp_path, reference=caches[1], analyze=AnalyzeConfig())
    assert outcome.summary == {"clips": 12}, "by default the test speakers alone"
    assert set(read_table(tmp_path, "drift")["n"]) == {12}
