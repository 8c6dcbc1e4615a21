"""Study B's printed tables from its printed means and standard deviations.

Study B compares two architectures, with and without pre-fine-tuning on Italian speech, on two test sets, with 110 seeds
each, and prints a mean and a standard deviation for each of the 8 cells (read as population ones).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_probe.errors import AnalysisError

pytest.importorskip("statsmodels", reason="the analysis of variance needs the extra stats")

from ser_probe.analysis.stats.anova import anova_table
from ser_probe.analysis.stats.battery import StatsOptions, analyse
from ser_probe.analysis.stats.comparisons import Contrast, compare
from ser_probe.analysis.stats.descriptives import describe_cells
from ser_probe.analysis.stats.linear_model import fit_linear
from ser_probe.analysis.stats.moments import observations_from_moments
from ser_probe.analysis.stats.observations import Observations, make_observations

CELLS = pd.read_csv(Path(__file__).resolve().parents[3] / "docs" / "analysis" / "study_b_cells.csv")
FACTORS = ["architecture", "pre_fine_tuning", "test_set"]
PRINTED_F = {
    "architecture": 431.28,
    "pre_fine_tuning": 7.59,
    "test_set": 15002.58,
    "architecture × pre_fine_tuning": 6.78,
    "pre_fine_tuning × test_set": 6.91,
    "architecture × test_set": 86.85,
    "architecture × pre_fine_tuning × test_set": 3.55,
}
# Means and deviations are printed with four decimals, which moves the smallest F by so much.
PRINTED_DIGITS = 0.02
# t-tests with pooled variance over all 880 models, ignoring the other factors: test set, architecture, pre-fine-tuning.
PRINTED_T = {"test_set": 96.48, "architecture": -4.87, "pre_fine_tuning": -0.638}


@pytest.fixture(scope="module")
def observations() -> Observations:
    return observations_from_moments(CELLS, FACTORS, response="accuracy", sd="population")


def test_the_cells_have_exactly_the_printed_moments(observations: Observations) -> None:
    cells = describe_cells(observations, sd="population")
    merged = CELLS.merge(cells, on=FACTORS, suffixes=("", "_made"))
    assert len(merged) == 8
    for name in ("mean", "sd", "n"):
        np.testing.assert_allclose(merged[f"{name}_made"], merged[name], rtol=1e-12)
    # A range was printed too, and cannot be had back from moments.
    assert cells[["min", "max"]].isna().all().all()


def test_the_analysis_of_variance_is_the_printed_one(observations: Observations) -> None:
    table = anova_table(fit_linear(observations)).set_index("term")
    for term, value in PRINTED_F.items():
        assert table.loc[term, "F"] == pytest.approx(value, rel=PRINTED_DIGITS), term
        assert (table.loc[term, "df"], table.loc[term, "df_error"]) == (1, 872)
    # Read as sample deviations three of the interactions are off by more: the printed ones are population ones.
    other = anova_table(fit_linear(observations_from_moments(CELLS, FACTORS, sd="sample"))).set_index("term")
    off = [term for term, value in PRINTED_F.items() if abs(other.loc[term, "F"] / value - 1) > PRINTED_DIGITS]
    assert len(off) == 3


def test_the_t_tests_are_the_printed_ones(observations: Observations) -> None:
    table = compare(observations, [Contrast(name) for name in FACTORS], test="pooled").set_index("factor")
    for factor, value in PRINTED_T.items():
        assert table.loc[factor, "statistic"] == pytest.approx(value, rel=1e-3), factor
        assert table.loc[factor, "df"] == 878
    signs = table[["level_a", "level_b"]].agg(" - ".join, axis=1).to_dict()
    assert signs == {
        "test_set": "Emozionalmente - EMOVO",
        "architecture": "HuBERT - wav2vec 2.0",
        "pre_fine_tuning": "none - Italian",
    }


def test_moments_give_what_the_single_values_give(rng: np.random.Generator) -> None:
    """The two routes on data that are there: also unbalanced, both types, t-tests, and HC3."""
    sizes = [4, 7, 5, 9, 6, 3]
    rows = [(i // 3, i % 3, value) for i, n in enumerate(sizes) for value in rng.exponential(size=n) + i]
    table = pd.DataFrame(rows, columns=["a", "b", "y"])
    grouped = table.groupby(["a", "b"])["y"]
    cells = grouped.agg(mean="mean", sd="std", n="size").reset_index()
    real, made = make_observations(table, "y", ["a", "b"]), observations_from_moments(cells, ["a", "b"])
    for kind in (2, 3):
        one, other = (anova_table(fit_linear(x), kind=kind).drop(columns=["type", "term"]) for x in (real, made))
        np.testing.assert_allclose(one, other, rtol=1e-9, equal_nan=True)
    for test in ("welch", "pooled"):
        one, other = (compare(x, [Contrast("a", ("b",)), Contrast("b")], test=test) for x in (real, made))
        np.testing.assert_allclose(one["statistic"], other["statistic"])
        np.testing.assert_allclose(one["p_holm"], other["p_holm"])
    robust = [analyse(x, StatsOptions()).tables["robustness"].query("method == 'hc3'") for x in (real, made)]
    np.testing.assert_allclose(robust[0]["statistic"], robust[1]["statistic"])


def test_what_needs_single_values_is_left_out_or_refused(observations: Observations) -> None:
    found = analyse(observations, StatsOptions(test="pooled"))
    assert "residuals" not in found.tables
    assert set(found.tables["robustness"]["method"]) == {"hc3"}
    checks = found.tables["assumptions"].set_index("check")["verdict"]
    assert checks["normality"] == checks["outliers"] == "not checked"
    assert found.left_out == ("normality, outliers and ranks: only means and deviations are known",)
    for test in ("mann-whitney", "paired"):
        with pytest.raises(AnalysisError, match=rf"The test '{test}' needs single values"):
            analyse(observations, StatsOptions(test=test))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="sd"), r"no column 'sd'[\s\S]*architecture, pre_fine_tuning, test_set, mean, sd, n"),
        (lambda t: pd.concat([t, t.tail(1)]), r"more than once[\s\S]*row 9[\s\S]*architecture=HuBERT"),
        (lambda t: t.assign(n=1), r"cannot be used[\s\S]*row 1, 2, 3[\s\S]*whole n of 2 or more[\s\S]*n = 1"),
        (lambda t: t.assign(sd=-0.1), r"cannot be used[\s\S]*sd = -0.1"),
        (lambda t: t.assign(mean="high"), r"cannot be used[\s\S]*mean = high"),
    ],
)
def test_bad_tables_of_means_are_refused(change: object, message: str) -> None:
    with pytest.raises(AnalysisError, match=message):
        observations_from_moments(change(CELLS), FACTORS)  # type: ignore[operator]
