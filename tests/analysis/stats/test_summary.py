"""Words and printed tables: APA style, hostile names, and sentences that follow the numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("statsmodels", reason="the analysis of variance needs the extra stats")

from ser_probe.analysis.stats.battery import TABLES, Statistics, StatsOptions, analyse
from ser_probe.analysis.stats.observations import make_observations, observe
from ser_probe.analysis.stats.summary import latex_files, markdown_section, paragraphs
from ser_probe.analysis.stats.typeset import format_cell, latex, latex_table, markdown, markdown_table, p_value, share

Crossed = Callable[..., pd.DataFrame]
HOSTILE = "a_b|<script>$x$&%#{\\input{x}}~^\n*c*"


@pytest.fixture
def found(crossed: Crossed) -> Statistics:
    table = crossed((2, 3), n=9, add=lambda t: 2.0 * t["a"])
    observations = make_observations(table, "y", ["a", "b"], unit="seed", random="seed")
    return analyse(observations, StatsOptions(equivalence="0.5g"), group="seed")


def test_numbers_are_printed_in_apa_style() -> None:
    assert (p_value(0.00004), p_value(0.0473), p_value(1.0)) == ("< .001", "= .047", "= 1.000")
    assert p_value(np.nan) == "is not defined"
    assert (share(0.331), share(-0.05), share(1.0)) == (".33", "-.05", "1.00")
    cells = [
        ("p", 0.0002),
        ("p_holm", 0.2),
        ("df", 7.0),
        ("df", 6.73),
        ("F", 15002.58),
        ("sd", 0.0166),
        ("ci_low", 0.0),
    ]
    assert [format_cell(*cell) for cell in cells] == ["< .001", ".200", "7", "6.7", "15002.58", "0.0166", "0.0000"]
    assert [format_cell("x", value) for value in (None, np.nan, True, "text", 3e-9)] == [
        "–", "–", "yes", "text", "3.00e-09",
    ]  # fmt: skip


def test_a_share_above_its_own_interval_is_explained() -> None:
    table = pd.DataFrame({"a": np.repeat(np.arange(30), 2).astype(str), "y": np.random.default_rng(0).normal(size=60)})
    found = analyse(make_observations(table, "y", ["a"]), StatsOptions())
    row = found.tables["anova"].iloc[0]
    assert row["partial_eta_sq"] > row["ci_high"], "thirty levels share sixty values"
    told = f"(of the population's share; η² itself is biased upwards, ω² = {share(row['omega_sq'], 2)})"
    assert told in paragraphs(found, StatsOptions())[1]


def test_every_table_is_made_and_told(found: Statistics) -> None:
    assert set(found.tables) == set(TABLES)
    data, anova, contrasts, mixed, equivalence, checks, power = paragraphs(found, StatsOptions(), group="seed")
    assert data == "y was analysed by a and b (2 × 3; 54 observations, 9 in each cell)."
    row = found.tables["anova"].iloc[0]
    assert f"the main effect of a was significant, F(1, 48) = {row['F']:.2f}, p < .001, partial η² = ." in anova
    assert "main effect of b was not significant" in anova
    assert "over all levels of the other factors" in contrasts
    assert "Holm's correction over 4 comparisons" in contrasts
    assert "with seed as random intercept (9 of them" in mixed
    assert "a had an effect, F(1, " in mixed
    assert "pairs equivalent; the others are not thereby different" in equivalence
    assert "Independence cannot be tested." in checks
    assert "aligned ranks" in checks
    assert "64 for 0.50 SD" in power
    assert "The 9 at hand find differences of" in power


def test_power_is_told_for_the_test_that_was_made(found: Statistics) -> None:
    options = StatsOptions(test="paired", equivalence="0.5g")
    words = paragraphs(analyse(found.observations, options), options)[-1]
    assert "34 for 0.50 SD" in words
    assert "paired t-test" in words


def test_an_interaction_puts_its_main_effects_in_doubt(crossed: Crossed) -> None:
    table = crossed((2, 2), n=20, add=lambda t: 3.0 * t["a"] + 4.0 * t["a"] * t["b"])
    words = " ".join(paragraphs(analyse(make_observations(table, "y", ["a", "b"]), StatsOptions()), StatsOptions()))
    assert "a main effect is an average over levels between which it differs" in words


def test_many_comparisons_are_counted_and_the_largest_told(crossed: Crossed) -> None:
    table = crossed((6, 2), n=5, add=lambda t: 4.0 * (t["a"] == 5))
    options = StatsOptions(contrasts=("a:b",), correct="bh", test="mann-whitney")
    words = paragraphs(analyse(make_observations(table, "y", ["a", "b"]), options), options)[2]
    assert "Benjamini and Hochberg's correction over 30 comparisons; 1" in words
    assert words.count("U = ") == 3
    assert "a 5 against" in words


def test_what_could_not_be_tested_is_said() -> None:
    values = np.array([1.0, 2, 3, 4, 4, 4, 9, 9, 9])
    options = StatsOptions(equivalence="0.1")
    found = analyse(observe(values, x=np.repeat(["p", "q", "r"], 3)), options)
    assert "x r against q could not be tested" in paragraphs(found, options)[2]
    single = observe(np.array([1.0, 1, 2, 2, 3, 3.5]), x=np.repeat(["p", "q", "r"], 2))
    assert "is singular" not in " ".join(paragraphs(analyse(single, options), options))


def test_a_random_effect_that_cannot_be_is_left_out_with_its_reason(crossed: Crossed) -> None:
    observations = make_observations(crossed((2,), n=8).assign(g=lambda t: t["seed"] % 2), "y", ["a"], random="g")
    found = analyse(observations, StatsOptions(), group="g")
    assert "mixed" not in found.tables
    assert found.left_out == ("mixed model: There are too few groups for a random effect (2: 0, 1)",)
    assert "too few groups" in markdown_section(found, StatsOptions(), title="t")
    limited = analyse(make_observations(crossed((2, 2)), "y", ["a", "b"]), StatsOptions(order=1))
    assert limited.left_out == ("aligned ranks: they need the model with all interactions",)


def test_hostile_names_are_only_text(crossed: Crossed) -> None:
    table = crossed((2,), n=6).assign(a=lambda t: np.where(t["a"] == 0, HOSTILE, "plain"))
    table = table.rename(columns={"a": HOSTILE, "y": HOSTILE + "y"})
    options = StatsOptions()
    found = analyse(make_observations(table, HOSTILE + "y", [HOSTILE]), options)
    page = markdown_section(found, options, title=HOSTILE)
    assert "<script>" not in page
    assert "|<" not in page.replace("\\|\\<", "")
    assert all(
        line.count("|") - line.count("\\|") in (0, line.count(" | ") + 2)
        for line in page.splitlines()
        if line[:2] == "| "
    )
    for text in latex_files(found.tables, HOSTILE + "y").values():
        assert r"\input" not in text.replace(r"\textbackslash{}input", "")
        assert r"\textless{}script\textgreater{}" in text
        assert "\n*c*" not in text


def test_escapes_keep_a_text_on_its_line() -> None:
    assert markdown("a_b|c\n<d>") == r"a\_b\|c \<d\>"
    assert latex("50% of $x_1$ ~ η²") == r"50\% of \$x\_1\$ \textasciitilde{} $\eta$$^{2}$"


def test_long_tables_say_that_they_were_cut() -> None:
    table = pd.DataFrame({"term": [f"t{i}" for i in range(70)], "p": np.linspace(0, 1, 70)})
    columns = {"term": "Term", "p": "p", "absent": "Absent"}
    assert markdown_table(table, columns, most=5).endswith("The first 5 of 70 rows.")
    text = latex_table(table, columns, caption="C", label="tab:x")
    assert "The first 60 of 70 rows." in text
    assert text.count(r"\\") == 61
    assert r"\begin{tabular}{lr}" in text
    assert "Absent" not in text
