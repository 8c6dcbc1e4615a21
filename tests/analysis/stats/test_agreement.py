"""Where another test, or no correction, leads to the opposite answer, words and tables say so."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.stats

pytest.importorskip("statsmodels", reason="the analysis of variance needs the extra stats")

from ser_probe.analysis.stats.agreement import opposite_answer, opposite_terms
from ser_probe.analysis.stats.battery import StatsOptions, analyse
from ser_probe.analysis.stats.observations import make_observations
from ser_probe.analysis.stats.summary import paragraphs

# One outlier takes the t-test its significance and leaves the ranks apart.
LOW = [0.50, 0.51, 0.52, 0.53, 0.54, 0.55, 0.56, 0.57]
HIGH = [0.60, 0.61, 0.62, 0.63, 0.64, 0.65, 0.66, 2.90]


def table(low: list[float], high: list[float]) -> pd.DataFrame:
    rows = [(name, seed, value) for name, values in (("a", low), ("b", high)) for seed, value in enumerate(values)]
    return pd.DataFrame(rows, columns=["model", "seed", "uar"])


def test_a_rank_test_that_disagrees_is_told_beside_the_p() -> None:
    options = StatsOptions()
    found = analyse(make_observations(table(LOW, HIGH), "uar", ["model"]), options)
    (row,) = found.tables["contrasts"].to_dict("records")
    assert row["p"] == pytest.approx(scipy.stats.ttest_ind(HIGH, LOW, equal_var=False).pvalue)
    assert row["other_test"] == "mann-whitney"
    assert row["p_other"] == pytest.approx(scipy.stats.mannwhitneyu(HIGH, LOW).pvalue)
    assert row["p"] > 0.05 > row["p_other"]
    _, anova, contrasts, *_ = paragraphs(found, options)
    assert "(OPPOSITE at alpha = 0.05: by the Mann-Whitney test p < .001)" in contrasts
    assert "(OPPOSITE at alpha = 0.05: by the Kruskal-Wallis test p < .001)" in anova
    assert opposite_terms(found.tables, 0.0001) == {}, "at a lower level none finds anything"


def test_tests_that_agree_say_nothing() -> None:
    options = StatsOptions()
    found = analyse(make_observations(table(LOW, [value + 0.2 for value in LOW]), "uar", ["model"]), options)
    assert "OPPOSITE" not in "".join(paragraphs(found, options))


def test_pairs_are_compared_with_the_signed_ranks() -> None:
    observations = make_observations(table(LOW, HIGH), "uar", ["model"], unit="seed")
    found = analyse(observations, StatsOptions(test="paired"))
    (row,) = found.tables["contrasts"].to_dict("records")
    assert row["other_test"] == "wilcoxon"
    assert row["p_other"] == pytest.approx(scipy.stats.wilcoxon(np.array(HIGH), np.array(LOW)).pvalue)


def test_ranks_of_few_pairs_do_not_speak_against_anything() -> None:
    found = analyse(
        make_observations(table(LOW[:5], [value + 0.1 + value**4 for value in LOW[:5]]), "uar", ["model"], unit="seed"),
        StatsOptions(test="paired"),
    )
    (row,) = found.tables["contrasts"].to_dict("records")
    assert row["p"] < 0.001 < 0.05 < row["p_other"]
    assert row["p_other"] == row["p_other_least"] == 2 / 2**5
    assert opposite_answer(row, "holm", 0.05) == ""


def test_a_correction_that_takes_the_answer_away_is_told() -> None:
    row = {"p": 0.03, "p_holm": 0.09, "p_bh": 0.04, "p_other_corrected": 0.2, "other_test": "mann-whitney"}
    assert opposite_answer(row, "holm", 0.05) == "OPPOSITE at alpha = 0.05: without correction p = .030"
    assert opposite_answer(row, "bh", 0.05) == "OPPOSITE at alpha = 0.05: by the Mann-Whitney test p = .200"
    assert opposite_answer(row, "holm", 0.01) == ""
    assert opposite_answer({**row, "p": np.nan}, "holm", 0.05) == ""
