"""Names that the user gives models: by file, by model, or in the order of the files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ser_probe.errors import AnalysisError
from ser_probe.steps.analyses.cache_names import name_caches, named_like
from ser_probe.steps.analyses.representations import join_caches, path_of

from ..conftest import tuned


@pytest.fixture
def caches(write_cache: Callable[..., Path], clips: pd.DataFrame) -> list[Path]:
    """Two checkpoints of one model, and another model without a step."""
    other = {"model": "other/model", "pooling": "mean"}
    return [write_cache("a", clips, tuned(0)), write_cache("b", clips, tuned(50)), write_cache("c", clips, other)]


def names(caches: list[Path], *given: str) -> list[tuple[str, str]]:
    joined = join_caches(name_caches(caches, given))
    return sorted((one.path.stem, one.model) for one in joined.checkpoints)


def test_a_model_is_called_as_the_user_says(caches: list[Path]) -> None:
    own = [("a", "tiny"), ("b", "tiny"), ("c", "other/model")]
    assert names(caches) == own
    assert name_caches(caches, None) == caches
    assert names(caches, "My model=tiny") == [("a", "My model"), ("b", "My model"), own[2]]
    assert names(caches, "X=other/model", f"Y={caches[0]}") == [("a", "Y"), ("b", "tiny"), ("c", "X")]
    assert names(caches, "A", "B", "C") == [("a", "A"), ("b", "B"), ("c", "C")]
    joined = join_caches(name_caches(caches, ["A=tiny", "C=other/model"]))
    assert {(one.model, one.checkpoint) for one in joined.checkpoints} == {("A", "step-0"), ("A", "step-50"), ("C", "")}


def test_a_reference_is_called_as_its_model(caches: list[Path]) -> None:
    first, second, other = caches
    named = name_caches([second, other], ["A=tiny"])
    assert named_like(second, named) == named[0]
    assert named_like(first, named).model == "A"  # type: ignore[union-attr]
    assert named_like(other, named) == other
    assert named_like(first, [second]) == first
    assert path_of(named_like(first, named)) == first


def test_names_that_name_nothing_are_refused(caches: list[Path]) -> None:
    with pytest.raises(AnalysisError, match=r"(?s)No file and no model of the files is called 'tinny'.*'tiny'"):
        name_caches(caches, ["A=tinny"])
    with pytest.raises(AnalysisError, match="2 names are given for 3 files"):
        name_caches(caches, ["A", "B"])
    for given in (["A", "B=tiny"], ["=tiny"], ["A="], [" "]):
        with pytest.raises(AnalysisError, match=r"(?s)names of models cannot be used.*where: --name"):
            name_caches(caches, given)
