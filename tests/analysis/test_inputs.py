from __future__ import annotations

import numpy as np
import pytest

from ser_probe.analysis.inputs import RepresentationKey, check_features, check_lengths, key_columns
from ser_probe.errors import AnalysisError


@pytest.mark.parametrize("bad", [np.zeros(3), np.zeros((0, 3)), np.array([["a"]])])
def test_features_must_be_a_table_of_numbers(bad: np.ndarray) -> None:
    with pytest.raises(AnalysisError, match="x are not a table of numbers"):
        check_features(bad, "x")


def test_clips_that_are_not_finite_are_named(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 9, 3))
    x[0, 4, 1], x[1, 7, 2] = np.nan, np.inf
    with pytest.raises(AnalysisError, match="NaN or infinite") as caught:
        check_features(x, "x", ndim=3)
    assert caught.value.where == "clips 4, 7"
    assert caught.value.found == "2 of 9 clips"


def test_many_bad_clips_do_not_bury_the_message() -> None:
    with pytest.raises(AnalysisError) as caught:
        check_features(np.full((9, 2), np.nan), "x")
    assert str(caught.value.where).endswith("3, 4, ...")


def test_lengths_must_agree() -> None:
    check_lengths(x=[1, 2], y=np.ones(2))
    with pytest.raises(AnalysisError, match="do not describe the same clips") as caught:
        check_lengths(x=[1, 2], y=[1])
    assert caught.value.found == "x: 2, y: 1"


def test_a_name_becomes_columns() -> None:
    assert key_columns("3") == {"layer": "3"}
    key = RepresentationKey("m", "step-5", 5, "3")
    assert key_columns(key) == {"model": "m", "checkpoint": "step-5", "step": 5, "layer": "3"}
