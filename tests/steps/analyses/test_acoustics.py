"""The analysis `acoustics` as a step: its tables and controls, planted losses, and what cannot be done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ser_probe.config import AnalyzeConfig, check_options
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import AnalysisError
from ser_probe.steps.tables import KEY_COLUMNS, read_table

from ..conftest import FEATURES, Said, analyse, tuned

Write = Callable[..., Path]
ALL = {"splits": "all", "acoustics.folds": 3, "acoustics.inner_folds": 2}
NAMES = ["loudness_sma3_amean", "F1frequency_sma3nz_amean", "jitterLocal_sma3nz_amean", "mfcc1_sma3_amean", "mine"]
CONTEXT = {"corpus": "emovo", "run_seed": 7}


@pytest.fixture
def caches(write_cache: Write, clips: pd.DataFrame) -> list[Path]:
    return [write_cache("late", clips, tuned(50)), write_cache("first", clips, tuned(0))]


@pytest.fixture
def features(write_cache: Write, clips: pd.DataFrame) -> Path:
    """The first three of five tell the labels apart, as layer 1 does."""
    return write_cache("features", clips, {**FEATURES, "feature_names": NAMES}, layers=("functionals",), width=5)


def analysed(caches: list[Path], features: Path, output: Path, **more: Any) -> dict[str, pd.DataFrame]:
    options = check_options(AnalyzeConfig, {**ALL, **more.pop("options", {})})
    outcome = analyse("acoustics", caches, output, features=features, analyze=options, context=CONTEXT, **more)
    return {path.stem: read_table(output, path.stem) for path in outcome.files if path.suffix == ".parquet"}


def test_tables(caches: list[Path], features: Path, write_cache: Write, clips: pd.DataFrame, tmp_path: Path) -> None:
    random = write_cache("random", clips, {"model": "tiny", "checkpoint": "random", "step": 0, "pooling": "mean"})
    tables = analysed(caches, features, tmp_path / "t", control=random)
    assert list(tables) == ["acoustics_functionals", "acoustics_groups", "acoustics_changes", "acoustics"]
    table = tables["acoustics"]
    assert {*KEY_COLUMNS} <= set(table.columns)
    assert set(table["measure"]) == {"r2", "r2_within", "pearson", "ccc"}
    assert set(table["transform"]) == {"none"}
    layers = table.groupby(["control", "checkpoint"])["layer"].unique().map(list).to_dict()
    assert layers == {
        ("none", "step-0"): ["0", "1"], ("none", "step-50"): ["0", "1"],
        ("shuffled_clips", "step-0"): ["0", "1"], ("shuffled_clips", "step-50"): ["0", "1"],
        ("random_weights", ""): ["0", "1"], ("gender_only", ""): [""],
    }  # fmt: skip
    assert set(table["model"]) == {"tiny"}
    groups = table.drop_duplicates("feature").set_index("feature")["group"].to_dict()
    assert groups == dict(zip(NAMES, ["energy", "frequency", "frequency", "spectral", "other"], strict=True))
    r2 = table[(table["measure"] == "r2") & (table["step"] == 0)].set_index(["control", "layer", "feature"])["value"]
    for name in NAMES[:3]:
        assert r2["none", "1", name] > 0.6
        assert r2["none", "0", name] < 0.2
        assert r2["shuffled_clips", "1", name] < 0.05
    assert r2["none", "1", "mine"] < 0.2
    means = tables["acoustics_groups"]
    assert set(means["group"]) == {"all", "energy", "frequency", "spectral", "other"}
    kept = means[(means["measure"] == "cka_debiased") & (means["step"] == 0) & (means["group"] == "frequency")]
    assert kept.set_index("layer")["value"]["1"] > 0.3
    assert set(tables["acoustics_changes"]["layer"]) == {"0", "1", "mean"}
    assert {"share_speaker", "share_gender", "share_label"} <= set(tables["acoustics_functionals"].columns)


def test_ranks_and_fewer_controls(caches: list[Path], features: Path, tmp_path: Path) -> None:
    options = {"acoustics.transform": "rank", "acoustics.controls": [], "acoustics.cka": False}
    tables = analysed(caches[:1], features, tmp_path / "t", options=options)
    assert "acoustics_changes" not in tables, "one checkpoint has nothing to be compared with"
    assert set(tables["acoustics"]["control"]) == {"none"}
    assert set(tables["acoustics"]["transform"]) == {"rank"}
    assert "cka_debiased" not in set(tables["acoustics_groups"]["measure"])


def test_a_constant_functional_is_named_and_not_divided_by(
    caches: list[Path], write_cache: Write, clips: pd.DataFrame, tmp_path: Path
) -> None:
    level = write_cache("level", clips, {**FEATURES, "feature_names": NAMES}, layers=("functionals",), width=5, unit=0)
    said = Said()
    tables = analysed(caches, level, tmp_path / "t", progress=said)
    assert said.lines[0] == "acoustics: 1 functionals are left out of means and rankings: constant"
    own = tables["acoustics"][tables["acoustics"]["feature"] == "mine"]
    assert set(own["flag"]) == {"constant"}
    assert own["value"].isna().all()
    assert "mine" not in set(tables["acoustics_changes"]["feature"])
    with EmbeddingCache.open(level) as cache:
        assert (cache.layer("functionals")[:, -1] == 0).all()
    one = {**FEATURES, "feature_names": NAMES[:1]}
    nothing = write_cache("nothing", clips.assign(label="joy"), one, layers=("functionals",), width=1, unit=0)
    with pytest.raises(AnalysisError, match="No acoustic feature varies"):
        analysed(caches, nothing, tmp_path / "u")


def test_fewer_speakers_than_folds(write_cache: Write, clips: pd.DataFrame, features: Path, tmp_path: Path) -> None:
    three = clips[clips["speaker"].isin(["s0", "s1", "s2"])]
    said = Said()
    options = {"acoustics.folds": 5}
    tables = analysed([write_cache("a", three, tuned(0))], features, tmp_path / "t", options=options, progress=said)
    assert said.lines == ["acoustics: 3 speakers are 3 folds, not 5"]
    assert set(tables["acoustics"]["n"]) == {36}
    one = write_cache("b", clips[clips["speaker"] == "s0"], tuned(0))
    with pytest.raises(AnalysisError, match="Too few speakers or folds"):
        analysed([one], features, tmp_path / "u")


def test_faults(caches: list[Path], features: Path, tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="The control with random weights is the only file"):
        analysed([], features, tmp_path / "t", control=caches[0])
    assert not (tmp_path / "t").exists()
