"""The analysis `geometry` as a step: its tables, columns that cannot be factors, clips that are not shared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_probe.config import AnalyzeConfig, check_options
from ser_probe.errors import AnalysisError
from ser_probe.steps.tables import KEY_COLUMNS, read_table

from ..conftest import FEATURES, Said, analyse, tuned

Write = Callable[..., Path]
ALL = {"splits": "all", "geometry.permutations": 3}
CONTEXT = {"corpus": "emovo", "run_seed": 7}


@pytest.fixture
def caches(write_cache: Write, clips: pd.DataFrame) -> list[Path]:
    """Step 50 and step 0, in the wrong order."""
    return [write_cache("late", clips, tuned(50)), write_cache("first", clips, tuned(0))]


def test_tables(caches: list[Path], write_cache: Write, clips: pd.DataFrame, tmp_path: Path) -> None:
    features = write_cache("features", clips, FEATURES, layers=("functionals",), width=5, unit=1e6)
    said = Said()
    outcome = analyse(
        "geometry",
        caches,
        tmp_path,
        analyze=check_options(AnalyzeConfig, ALL),
        features=features,
        context=CONTEXT,
        progress=said,
    )
    assert [path.name for path in outcome.files] == [
        "geometry_spectrum.parquet", "geometry_spectrum.csv", "geometry.parquet", "geometry.csv",
    ]  # fmt: skip
    assert outcome.summary == {"clips": 72, "representations": 5}
    table, spectrum = read_table(tmp_path, "geometry"), read_table(tmp_path, "geometry_spectrum")
    assert {*KEY_COLUMNS} - {"feature"} <= set(table.columns)
    assert {"factor", "baseline", "change", "change_low", "change_high", "n_speakers"} <= set(table.columns)
    assert set(table["corpus"]) == {"emovo"}
    assert table.groupby("checkpoint", sort=False)["layer"].unique().map(list).to_dict() == {
        "step-0": ["0", "1"], "step-50": ["0", "1"], "": ["functionals"],
    }  # fmt: skip
    assert set(table.loc[table["layer"] == "functionals", "pooling"]) == {"functionals"}
    # In its own unit, the last of the features would be the only dimension.
    acoustic = table[(table["layer"] == "functionals") & (table["measure"] == "participation_ratio")]
    assert acoustic["value"].item() > 2
    assert spectrum["component"].max() == 8
    assert said.lines == ["geometry without sentence: the clips do not have it"]


def test_layers_that_know_the_label_are_told_from_those_that_do_not(caches: list[Path], tmp_path: Path) -> None:
    analyse("geometry", caches, tmp_path, analyze=check_options(AnalyzeConfig, ALL))
    table = read_table(tmp_path, "geometry").set_index(["step", "layer", "measure", "factor"])["value"]
    for measure in ("silhouette", "fisher_ratio", "marginal_share", "unique_share"):
        assert table[0, "1", measure, "label"] > 0.3, measure
        assert table[0, "0", measure, "label"] < 0.1, measure
        if measure != "silhouette":
            assert abs(table[0, "1", measure, "speaker"]) < 0.1, measure


def test_columns_that_cannot_be_factors_are_named(write_cache: Write, clips: pd.DataFrame, tmp_path: Path) -> None:
    clips = clips.assign(
        gender="female",
        sentence=[f"text {i}" for i in range(72)],
        language=np.where(np.arange(72) == 5, None, "it"),  # type: ignore[call-overload]
    )
    options = {**ALL, "geometry.factors": ["label", "gender", "sentence", "language"], "geometry.by": ["label"]}
    said = Said()
    path = write_cache("a", clips, tuned(0))
    # The study's own clips, in which a value may be missing.
    analyse("geometry", [path], tmp_path, analyze=check_options(AnalyzeConfig, options), clips=clips, progress=said)
    assert said.lines == [
        "geometry without gender: all clips have the same value",
        "geometry without sentence: it has 72 values for 72 clips",
        "geometry without language: 1 clips have no value",
    ]
    table = read_table(tmp_path, "geometry")
    assert set(table["factor"]) == {"", "label", "residual", "joint"}
    assert table.loc[table["measure"] == "anisotropy", "ci_low"].notna().all(), "speakers give intervals all the same"


def test_one_speaker_and_one_label_leave_the_shape(write_cache: Write, clips: pd.DataFrame, tmp_path: Path) -> None:
    few = clips[(clips["speaker"] == "s0") & (clips["label"] == "joy")]
    analyse("geometry", [write_cache("a", few, tuned(0))], tmp_path, analyze=check_options(AnalyzeConfig, ALL))
    table = read_table(tmp_path, "geometry")
    assert set(table["factor"]) == {""}
    assert table["ci_low"].isna().all()
    with pytest.raises(AnalysisError, match="too few clips to have a shape"):
        analyse("geometry", [write_cache("b", few[:2], tuned(0))], tmp_path, analyze=check_options(AnalyzeConfig, ALL))


def test_only_shared_clips_are_measured(
    write_cache: Write, clips: pd.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [write_cache("a", clips, tuned(0)), write_cache("b", clips[6:].sample(frac=1, random_state=1), tuned(50))]
    outcome = analyse("geometry", paths, tmp_path, analyze=check_options(AnalyzeConfig, ALL))
    assert outcome.summary["clips"] == 66
    assert set(read_table(tmp_path, "geometry")["n"]) == {66}
    assert "6 of 72 clips are not in all of the files" in caplog.text


def test_the_studys_splits(caches: list[Path], tmp_path: Path) -> None:
    outcome = analyse("geometry", caches, tmp_path, analyze=AnalyzeConfig())
    assert outcome.summary["clips"] == 12, "by default the test speakers alone"
