"""AcousticTargets: transforms, flags, and what their variance is about before any model."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from ser_probe.analysis.acoustics.functionals import (
    CONSTANT,
    FEW_CLIPS,
    describe_functionals,
    flag_targets,
    shares_between,
    transform_targets,
)
from ser_probe.errors import AnalysisError


@pytest.fixture
def y(rng: np.random.Generator) -> np.ndarray:
    """Sound; constant up to float32; mostly one outlier; constant 0."""
    table = rng.standard_normal((300, 4)) + 3
    table[:, 1] = np.float32(-23.1) * (1 + 1e-7 * rng.integers(0, 2, 300))
    table[7, 2] = 900
    table[:, 3] = 0
    return table


def test_flags(y: np.ndarray) -> None:
    assert flag_targets(y) == ["", CONSTANT, FEW_CLIPS, CONSTANT]
    ranked = transform_targets(y[:, [0, 2]], "rank")
    assert flag_targets(ranked) == ["", ""], "ranks have no outliers"
    rare = np.zeros((300, 1))
    rare[0] = 1
    assert flag_targets(rare) == [FEW_CLIPS]


def test_normal_scores_keep_the_order_and_nothing_else(y: np.ndarray) -> None:
    scores = transform_targets(y, "rank")
    assert scipy.stats.spearmanr(scores[:, 2], y[:, 2]).statistic == pytest.approx(1)
    np.testing.assert_array_equal(transform_targets(np.exp(y[:, :1]), "rank"), scores[:, :1])
    np.testing.assert_allclose(scores[:, [0, 2, 3]].mean(axis=0), 0, atol=1e-12)
    assert scores[:, 0].std() == pytest.approx(1, abs=0.03)
    assert (scores[:, 3] == 0).all()
    np.testing.assert_array_equal(transform_targets(y), y)


def test_faults(y: np.ndarray) -> None:
    with pytest.raises(AnalysisError, match="There is no such transform"):
        transform_targets(y, "log")
    y[2, 1] = np.nan
    with pytest.raises(AnalysisError, match="The acoustic features hold NaN") as raised:
        transform_targets(y)
    assert raised.value.where == "clips 2"


def test_shares_are_the_adjusted_r2_of_the_class_means(rng: np.random.Generator) -> None:
    classes = rng.integers(0, 5, 200)
    y = rng.standard_normal((200, 2)) + np.c_[classes, np.zeros(200)]
    found = shares_between(y, classes)
    for column, value in zip(y.T, found, strict=True):
        f = scipy.stats.f_oneway(*(column[classes == c] for c in range(5))).statistic
        eta = f * 4 / (f * 4 + 195)
        assert value == pytest.approx(1 - (1 - eta) * 199 / 195)
    assert np.isnan(shares_between(np.ones((200, 1)), classes)[0])


def test_description(y: np.ndarray, rng: np.random.Generator) -> None:
    names = [f"f{number}" for number in range(4)]
    speakers = np.arange(300) % 5
    table = describe_functionals(y, names, {"f0": "energy"}, predicted=y, factors={"speaker": speakers})
    assert table["group"].tolist() == ["energy", "other", "other", "other"]
    assert table["flag"].tolist() == ["", CONSTANT, FEW_CLIPS, CONSTANT]
    assert table["skewness"].notna().tolist() == [True, False, True, False]
    assert table["share_speaker"].notna().tolist() == [True, False, True, False]
    assert table.loc[2, "skewness"] > 10
    assert table.loc[0, "mean"] == pytest.approx(3, abs=0.3)
