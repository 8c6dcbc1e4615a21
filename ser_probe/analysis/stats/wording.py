"""Statistics as sentences that a paper could print, in APA style.

Every sentence is made from a table's numbers. Nothing is called proven, equal or caused: a test that is not significant
is reported as that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ser_probe.analysis.stats.agreement import opposite_answer
from ser_probe.analysis.stats.anova import RESIDUAL
from ser_probe.analysis.stats.assumptions import DOUBT
from ser_probe.analysis.stats.observations import TIMES, Observations
from ser_probe.analysis.stats.typeset import degrees, number, one_line, p_value, share

Escape = Callable[[object], str]
_TESTS = {
    "welch": "Welch's t-tests",
    "pooled": "t-tests with pooled variance",
    "mann-whitney": "Mann-Whitney tests",
    "paired": "paired t-tests",
    "residual": "comparisons of cell means against the residual of the analysis of variance",
}
_CORRECTIONS = {"holm": "Holm's correction", "bh": "Benjamini and Hochberg's correction"}
# With more comparisons than this, the text counts them and reports only the largest.
_MOST_TOLD = 8
_TOLD = 3
_SMALL_SHARE = 0.1


def describe_data(observations: Observations, *, escape: Escape = one_line) -> str:
    """Return what was analysed: design, number of observations, what was left out."""
    n, shape = len(observations.values), observations.shape
    design = " × ".join(map(str, shape)) if len(shape) > 1 else f"one factor with {shape[0]} levels"
    names = _listing([escape(name) for name in observations.names])
    counts = observations.counts()
    cells = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    text = (
        f"{escape(observations.response)} was analysed by {names} ({design}; {n} observations, {cells} in each cell)."
    )
    return " ".join([text, *(_sentence(escape(note)) for note in observations.notes)])


def describe_anova(
    table: pd.DataFrame,
    *,
    alpha: float = 0.05,
    escape: Escape = one_line,
    opposite: Mapping[str, str] | None = None,
) -> str:
    """Return every term of an analysis of variance as a sentence, main effects first.

    Args:
        table: The analysis of variance.
        alpha: Level.
        escape: What makes names safe.
        opposite: Which other tests lead to the opposite answer, by term.
    """
    terms = table[table["term"] != RESIDUAL]
    kind = table["type"].iloc[0]
    told = [
        _term(row, alpha, escape) + _bracketed((opposite or {}).get(row["term"], ""))
        for row in terms.to_dict("records")
    ]
    text = f"In the analysis of variance (type {kind} sums of squares), {'; '.join(told)}."
    significant = {row["term"] for row in terms.to_dict("records") if row["p"] < alpha}
    inside = [name for name in significant if TIMES in name]
    shares_factor = (
        set(name.split(TIMES)) & set(other.split(TIMES)) for name in inside for other in significant - {name}
    )
    if any(shares_factor):
        text += " With these interactions a main effect is an average over levels between which it differs."
    return text


def describe_contrasts(
    table: pd.DataFrame,
    *,
    n_factors: int = 1,
    correct: str = "holm",
    alpha: float = 0.05,
    escape: Escape = one_line,
) -> str:
    """Return comparisons as sentences; of many their number and the largest.

    Args:
        table: The comparisons.
        n_factors: How many factors the design has: over those that a comparison does not name it pools.
        correct: Which corrected p-value is told, `holm` or `bh`.
        alpha: Level.
        escape: What makes names safe.
    """
    if table.empty:
        return ""
    column, test = f"p_{correct}", str(table["test"].iloc[0])
    pooling = n_factors > 1 and test != "residual" and bool((table["within"] == "").any())
    start = (
        f"Levels were compared by {_TESTS[test]}"
        + (" over all levels of the other factors, whose effects are part of the spread" if pooling else "")
        + f"; p-values have {_CORRECTIONS[correct]} over {len(table)} comparisons"
    )
    if len(table) <= _MOST_TOLD:
        rows = table.to_dict("records")
        return f"{start}: " + "; ".join(_contrast(row, column, alpha, escape) for row in rows) + "."
    significant = table[table[column] < alpha]
    text = f"{start}; {len(significant)} of {len(table)} were significant."
    if len(significant):
        largest = significant.loc[significant["effect_size"].abs().sort_values(ascending=False).index].head(_TOLD)
        rows = largest.to_dict("records")
        text += " The largest: " + "; ".join(_contrast(row, column, alpha, escape) for row in rows) + "."
    if n_opposite := sum(bool(opposite_answer(row, correct, alpha)) for row in table.to_dict("records")):
        text += f" About {n_opposite} another test, or leaving out the correction, gives the OPPOSITE answer."
    untested = int(table["p"].isna().sum())
    return text + (f" {untested} could not be tested, for want of observations or spread." if untested else "")


def describe_assumptions(table: pd.DataFrame) -> str:
    """Return what the checks found, in one paragraph."""
    doubtful = table[table["verdict"] == DOUBT]
    fine = [row["check"] for row in table.to_dict("records") if row["verdict"] == "holds"]
    parts = [f"{_listing(fine)} showed no problem" if fine else ""]
    parts += [f"{row['check']} {_statistic(row)}: {row['words']}" for row in doubtful.to_dict("records")]
    said = "; ".join(part for part in parts if part)
    return f"Of the assumptions, {said}. Independence cannot be tested." if said else ""


def describe_robustness(anova: pd.DataFrame, robust: pd.DataFrame, *, alpha: float, escape: Escape = one_line) -> str:
    """Return whether tests with weaker assumptions come to the same decisions."""
    names = {"hc3": "tests that allow unequal variances (HC3)", "aligned_rank": "tests of aligned ranks",
             "kruskal": "the Kruskal-Wallis test"}  # fmt: skip
    decided = dict(zip(anova["term"], anova["p"] < alpha, strict=True))
    sentences = []
    for method, rows in robust.groupby("method", sort=False):
        disagreeing = [row["term"] for row in rows.to_dict("records") if (row["p"] < alpha) != decided[row["term"]]]
        what = names[str(method)]
        told = "come to the same decisions"
        if disagreeing:
            told = f"disagree about {_listing([escape(term) for term in disagreeing])}"
        sentences.append(f"{what[0].upper()}{what[1:]} {told}.")
    return " ".join(sentences).replace("test disagree", "test disagrees").replace("test come", "test comes")


def describe_mixed(table: pd.DataFrame, group: str, *, alpha: float = 0.05, escape: Escape = one_line) -> str:
    """Return a mixed model in words: terms, intraclass correlation, and whether the fit can be trusted."""
    first = table.iloc[0]
    terms = []
    for row in table[table["kind"] == "fixed"].to_dict("records"):
        effect = "had an effect" if row["p"] < alpha else "had no detectable effect"
        df = f"{degrees(row['df'])}, {degrees(row['df_error'])}"
        terms.append(f"{escape(row['term'])} {effect}, F({df}) = {number(row['statistic'])}, p {p_value(row['p'])}")
    icc = float(table.loc[table["kind"] == "share", "estimate"].iloc[0])
    text = (
        f"In a linear mixed model with {escape(group)} as random intercept ({first['n_groups']} of them; REML, Wald F "
        f"with between-within degrees of freedom), {'; '.join(terms)}. Of the remaining variance {share(icc)} lay "
        f"between levels of {escape(group)} (intraclass correlation)."
    )
    if first["singular"]:
        text += (
            " The fit is singular: the variance between them is estimated as 0, and the model is a plain linear one."
        )
    if not first["converged"]:
        text += " The optimiser did not converge: do not report these numbers."
    return text


def describe_equivalence(table: pd.DataFrame, *, alpha: float = 0.05) -> str:
    """Return how many pairs are equivalent within the bound."""
    if table.empty:
        return "No pair could be tested for equivalence, for want of observations or spread."
    bounds = table["bound"]
    bound = (
        number(bounds.iloc[0], 4) if np.ptp(bounds) == 0 else f"{number(bounds.min(), 4)} to {number(bounds.max(), 4)}"
    )
    return (
        f"Two one-sided tests (bounds ± {bound}, Holm's correction, alpha {share(alpha)}) found "
        f"{int(table['equivalent'].sum())} of {len(table)} pairs equivalent; the others are not thereby different."
    )


def describe_power(table: pd.DataFrame, *, target: float, design: str = "two_sample") -> str:
    """Return how many repetitions would be needed, and what those at hand can find.

    Args:
        table: The power table.
        target: Power that is wanted.
        design: `two_sample` or `paired`, as the comparisons were made.
    """
    rows = table[table["design"] == design]
    plain = rows[rows["n_tests"] == 1]
    needed = [
        f"{row['n']} for {number(row['effect_size'])} SD"
        for row in plain[plain["question"] == "needed"].to_dict("records")
    ]
    alpha = share(float(plain["alpha"].iloc[0]))
    if design == "paired":
        text = f"To find a difference between pairs with power {share(target)} (two-sided paired t-test, alpha {alpha})"
        text += f", so many pairs are needed, in SD of the differences: {', '.join(needed)}."
    else:
        text = f"To find a difference between two models with power {share(target)} (two-sided t-test, alpha {alpha})"
        text += f", each needs this many repetitions: {', '.join(needed)}."
    least = rows[rows["question"] == "detectable"]
    if len(least):
        n, size = int(least["n"].iloc[0]), float(least["effect_size"].iloc[0])
        text += f" The {n} at hand find differences of {number(size)} SD or more"
        if len(least) > 1:
            text += (
                f", or of {number(float(least['effect_size'].iloc[1]))} SD where it is the smallest p-value of "
                f"{int(least['n_tests'].iloc[1])} tests"
            )
        text += "."
    return text


def _term(row: dict[Any, Any], alpha: float, escape: Escape) -> str:
    name = escape(row["term"])
    what = f"the interaction {name}" if TIMES in row["term"] else f"the main effect of {name}"
    verdict = "was significant" if row["p"] < alpha else "was not significant"
    df = f"{degrees(row['df'])}, {degrees(row['df_error'])}"
    # A small share needs a third decimal to be told from none.
    decimals = 2 if row["partial_eta_sq"] >= _SMALL_SHARE else 3
    eta, low, high = (share(row[name], decimals) for name in ("partial_eta_sq", "ci_low", "ci_high"))
    interval = f"{100 * (1 - alpha):g} % CI [{low}, {high}]"
    if row["partial_eta_sq"] > row["ci_high"]:
        less_biased = share(row["omega_sq"], decimals)
        interval += f" (of the population's share; η² itself is biased upwards, ω² = {less_biased})"
    return f"{what} {verdict}, F({df}) = {number(row['F'])}, p {p_value(row['p'])}, partial η² = {eta}, {interval}"


def _contrast(row: dict[Any, Any], column: str, alpha: float, escape: Escape) -> str:
    level = f"{100 * (1 - alpha):g} %"
    place = f" at {escape(row['within'])}" if row["within"] else ""
    who = f"{escape(row['factor'])} {escape(row['level_a'])} against {escape(row['level_b'])}{place}"
    if np.isnan(row["p"]):
        return f"{who} could not be tested"
    if row["test"] == "mann-whitney":
        numbers = f"U = {number(row['statistic'], 0)}, p {p_value(row[column])}, rank-biserial r = "
        size = f"{share(row['effect_size'])}, {level} CI [{share(row['ci_low'])}, {share(row['ci_high'])}]"
    else:
        numbers = f"t({degrees(row['df'])}) = {number(row['statistic'])}, p {p_value(row[column])}, g = "
        size = f"{number(row['effect_size'])}, {level} CI [{number(row['ci_low'])}, {number(row['ci_high'])}]"
    said = _bracketed(opposite_answer(row, column.removeprefix("p_"), alpha))
    return f"{who}: difference {number(row['difference'], 4)}, {numbers}{size}{said}"


def _bracketed(text: str) -> str:
    return f" ({text})" if text else ""


def _statistic(row: dict[Any, Any]) -> str:
    if np.isnan(row["statistic"]):
        return "is in doubt"
    p = "" if np.isnan(row["p"]) else f", p {p_value(row['p'])}"
    return f"is in doubt ({row['statistic_name']} = {number(row['statistic'])}{p})"


def _listing(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + f" and {names[-1]}" if names else ""


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
