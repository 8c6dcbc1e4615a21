"""What an analysis goes without, because the clips do not have it, is said in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ser_probe.config import AnalyzeConfig, check_options
from ser_probe.errors import AnalysisError

from .conftest import FEATURES, Said, analyse, tuned

Write = Callable[..., Path]


def options(**given: Any) -> AnalyzeConfig:
    quick = {"acoustics.folds": 3, "acoustics.inner_folds": 2, "acoustics.cka": False, "geometry.permutations": 20}
    return check_options(AnalyzeConfig, {"splits": "all", **quick, **given})


def test_columns_that_the_clips_lack_are_said(write_cache: Write, clips: pd.DataFrame, tmp_path: Path) -> None:
    bare = clips.drop(columns=["speaker", "gender"])
    first, later = write_cache("first", bare, tuned(0)), write_cache("later", bare, tuned(50))
    said = Said()
    drift = options(**{"drift.measures": ["mean_cosine"]})
    analyse("drift", [first, later], tmp_path / "drift", reference=first, analyze=drift, progress=said)
    assert said.lines == [
        "drift without intervals over speakers: the clips have no column 'speaker'",
        "drift without speaker: the clips do not have it",
    ]
    said = Said()
    analyse("geometry", [first], tmp_path / "geometry", analyze=options(), progress=said)
    (line,) = [line for line in said.lines if "the clips do not have" in line]
    assert line.endswith(": the clips do not have them")
    assert {"speaker", "gender"} <= {*line.removeprefix("geometry without ").partition(":")[0].split(", ")}
    assert "geometry without intervals over speakers: the clips have no column 'speaker'" in said.lines
    for intervals, lines in (("fast", ["similarity without intervals over speakers"]), ("none", [])):
        said = Said()
        chosen = options(**{"similarity.egemaps": False, "similarity.intervals": intervals})
        analyse("similarity", [first], tmp_path / "similarity", analyze=chosen, progress=said)
        assert [line.partition(":")[0] for line in said.lines] == lines


def test_a_control_that_needs_a_column(write_cache: Write, clips: pd.DataFrame, tmp_path: Path) -> None:
    some = clips.assign(gender=clips["gender"].where(clips["speaker"] != "s0"))
    for kept, lack in ((clips.drop(columns="gender"), "have no column 'gender'"), (some, "do not all have a gender")):
        cache = write_cache("x", kept, tuned(0))
        features = write_cache("f", kept, FEATURES, layers=("functionals",), width=5)
        said = Said()
        analyse("acoustics", [cache], tmp_path / "out", features=features, analyze=options(), progress=said)
        assert f"acoustics without the control gender_only: the clips {lack}" in said.lines
        cache.unlink()
        features.unlink()
    cache = write_cache("x", clips.drop(columns="gender"), tuned(0))
    features = write_cache("f", clips.drop(columns="gender"), FEATURES, layers=("functionals",), width=5)
    asked = options(**{"acoustics.controls": ["gender_only"]})
    with pytest.raises(AnalysisError, match="The clips have no column 'gender'"):
        analyse("acoustics", [cache], tmp_path / "out", features=features, analyze=asked)
