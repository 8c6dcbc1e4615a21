"""Analysis of variance: two routes, balance, invariances, planted effects, and designs that admit none."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from ser_probe.errors import AnalysisError

pytest.importorskip("statsmodels", reason="the analysis of variance needs the extra stats")

from ser_probe.analysis.stats.anova import RESIDUAL, Kind, anova_table
from ser_probe.analysis.stats.descriptives import describe_cells
from ser_probe.analysis.stats.linear_model import fit_linear
from ser_probe.analysis.stats.observations import Observations, make_observations, observe

Crossed = Callable[..., pd.DataFrame]
# Sums of squares by two different decompositions.
SAME = 1e-8


def _table(observations: Observations, *, order: int | None = None, kind: Kind = 3) -> pd.DataFrame:
    return anova_table(fit_linear(observations, order=order), kind=kind)


def balanced_sums(means: np.ndarray, n: int) -> dict[tuple[int, ...], float]:
    """The closed form for a balanced design: each term's sum of squares from its marginal means."""
    sums: dict[tuple[int, ...], float] = {}
    for size in range(1, means.ndim + 1):
        for term in itertools.combinations(range(means.ndim), size):
            others = tuple(axis for axis in range(means.ndim) if axis not in term)
            effect = means.mean(axis=others, keepdims=True) if others else means
            for axis in term:
                effect = effect - effect.mean(axis=axis, keepdims=True)
            sums[term] = n * float((np.broadcast_to(effect, means.shape) ** 2).sum())
    return sums


def test_a_balanced_design_has_its_closed_form_in_both_types(crossed: Crossed) -> None:
    table = crossed((2, 3, 2), n=5, add=lambda t: t["a"] * 0.8 + (t["b"] == 1) * t["c"])
    observations = make_observations(table, "y", ["a", "b", "c"])
    expected = balanced_sums(observations.means(), 5)
    residual = float(np.square(table["y"] - table.groupby(["a", "b", "c"])["y"].transform("mean")).sum())
    tables = [_table(observations, kind=kind) for kind in (2, 3)]
    for found in tables:
        assert found["term"].tolist() == ["a", "b", "c", "a × b", "a × c", "b × c", "a × b × c", RESIDUAL]
        np.testing.assert_allclose(found["sum_sq"], [*expected.values(), residual], rtol=SAME)
        assert found["df"].tolist() == [1, 2, 1, 2, 1, 2, 2, 48]
    np.testing.assert_allclose(tables[0]["F"][:-1], tables[1]["F"][:-1], rtol=SAME)
    assert [t["type"].iloc[0] for t in tables] == ["II", "III"]


def residual_sum(table: pd.DataFrame, columns: list[np.ndarray]) -> float:
    x = np.column_stack([np.ones(len(table)), *columns])
    y = table["y"].to_numpy()
    return float(np.square(y - x @ np.linalg.lstsq(x, y, rcond=None)[0]).sum())


def test_unbalanced_types_are_comparisons_of_models(crossed: Crossed) -> None:
    """Type II: a after b, without the interaction. Type III: a after everything, in sum-to-zero coding."""
    table = crossed((2, 3), n=8, add=lambda t: t["a"] + t["a"] * t["b"]).drop(index=[0, 1, 2, 3, 4, 9, 40])
    a = np.where(table["a"] == 0, 1.0, -1.0)
    b = [np.select([table["b"] == i, table["b"] == 2], [1.0, -1.0], 0.0) for i in (0, 1)]
    both = [a * column for column in b]
    observations = make_observations(table, "y", ["a", "b"])
    second, third = (_table(observations, kind=kind).set_index("term")["sum_sq"] for kind in (2, 3))
    full = residual_sum(table, [a, *b, *both])
    assert second["a"] == pytest.approx(residual_sum(table, b) - residual_sum(table, [a, *b]), rel=SAME)
    assert third["a"] == pytest.approx(residual_sum(table, [*b, *both]) - full, rel=SAME)
    for sums in (second, third):
        assert sums["a × b"] == pytest.approx(residual_sum(table, [a, *b]) - full, rel=SAME)
        assert sums[RESIDUAL] == pytest.approx(full, rel=SAME)
    assert second["a"] != pytest.approx(third["a"], rel=0.01)


def test_one_factor_is_scipys(crossed: Crossed) -> None:
    table = crossed((4,), n=5)
    found = _table(make_observations(table, "y", ["a"])).iloc[0]
    expected = scipy.stats.f_oneway(*(part["y"] for _, part in table.groupby("a")))
    assert (found["F"], found["p"]) == pytest.approx((expected.statistic, expected.pvalue))


def test_shift_scale_order_and_names_do_not_matter(crossed: Crossed) -> None:
    table = crossed((2, 3), n=5, add=lambda t: t["b"] * 0.5)
    expected = _table(make_observations(table, "y", ["a", "b"]))
    # An offset of a million costs digits of the sums of squares where it is not taken off first.
    moved = table.assign(y=1e6 + 1e-3 * table["y"]).sample(frac=1, random_state=2)
    moved = moved.rename(columns={"a": "C(x) + y", "b": "__import__('os')"})
    found = _table(make_observations(moved, "y", ["C(x) + y", "__import__('os')"]))
    np.testing.assert_allclose(found["F"][:-1], expected["F"][:-1], rtol=1e-5)
    assert found["term"].tolist()[2] == "C(x) + y × __import__('os')"
    changed = table.assign(y=table["y"] + (table["a"] == 0) * (table["b"] == 0) * 3)
    assert _table(make_observations(changed, "y", ["a", "b"]))["p"][2] < expected["p"][2]


def test_only_the_planted_effects_are_found(crossed: Crossed) -> None:
    table = crossed((2, 2, 2), n=40, add=lambda t: 1.5 * t["a"] + 2 * (t["b"] == t["c"]))
    found = _table(make_observations(table, "y", ["a", "b", "c"])).set_index("term")
    significant = set(found.index[found["p"] < 0.001])
    assert significant == {"a", "b × c"}
    assert found.loc["a", "ci_low"] < found.loc["a", "omega_sq"] < found.loc["a", "ci_high"]


def test_the_order_of_interactions_can_be_limited(crossed: Crossed) -> None:
    observations = make_observations(crossed((2, 2, 2)), "y", ["a", "b", "c"])
    assert _table(observations, order=1)["term"].tolist() == ["a", "b", "c", RESIDUAL]
    assert len(_table(observations, order=9)) == 8


def test_empty_cells_are_named_and_main_effects_still_possible(crossed: Crossed) -> None:
    table = crossed((2, 3)).query("not (a == 1 and b == 2)")
    observations = make_observations(table, "y", ["a", "b"])
    with pytest.raises(AnalysisError, match=r"Cells of the design are empty[\s\S]*1 of 6 cells without any: a=1 b=2"):
        _table(observations)
    assert len(_table(observations, order=1)) == 3
    apart = crossed((2, 2)).query("a == b")
    with pytest.raises(AnalysisError, match=r"cannot be told apart[\s\S]*a=0 b=1; a=1 b=0"):
        _table(make_observations(apart, "y", ["a", "b"]), order=1)


def test_designs_that_admit_no_analysis_are_refused(crossed: Crossed) -> None:
    single = make_observations(crossed((3, 2), n=1), "y", ["a", "b"])
    with pytest.raises(AnalysisError, match=r"fewer than 2 observations[\s\S]*6 observations in 6 cells"):
        _table(single)
    assert _table(single, order=1)["df"].tolist() == [2, 1, 2]
    copies = crossed((2, 2), n=3).assign(y=lambda t: 0.1 + 0.7 * t["a"] + t["b"] / 3)
    with pytest.raises(AnalysisError, match=r"'y' does not vary within cells[\s\S]*copies of one result"):
        _table(make_observations(copies, "y", ["a", "b"]))
    many = observe(np.arange(3000.0), x=np.arange(3000) % 1500, z=np.arange(3000) % 2)
    with pytest.raises(AnalysisError, match=r"too many cells[\s\S]*found: 3000: 1500 x 2 levels"):
        fit_linear(many)


def test_cells_are_described(crossed: Crossed) -> None:
    table = crossed((2, 2), n=5)
    observations = make_observations(table, "y", ["a", "b"])
    sample, population = (describe_cells(observations, sd=sd) for sd in ("sample", "population"))
    np.testing.assert_allclose(sample["sd"], table.groupby(["a", "b"])["y"].std())
    np.testing.assert_allclose(population["sd"], table.groupby(["a", "b"])["y"].std(ddof=0))
    expected = scipy.stats.ttest_1samp(table.query("a == 0 and b == 1")["y"], 0).confidence_interval()
    np.testing.assert_allclose(sample.loc[1, ["ci_low", "ci_high"]].tolist(), expected)
    assert sample[["a", "b"]].astype(str).agg("".join, axis=1).tolist() == ["00", "01", "10", "11"]
    with pytest.raises(AnalysisError, match="cannot be called 'mean'"):
        describe_cells(make_observations(table.rename(columns={"a": "mean"}), "y", ["mean", "b"]))
