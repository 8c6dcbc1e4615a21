"""Whether an answer depends on the choice of test or correction: the same comparison tested in another way.

The other test stands beside the one that was chosen and does not replace it: which to report must not be decided by its
p-value. Where the two lead to opposite answers at the level of the tests, words and command say so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy.stats

from ser_probe.analysis.stats.anova import RESIDUAL
from ser_probe.analysis.stats.comparisons import Contrast, Pairs, Test, adjust, compare, each_pair, matched
from ser_probe.analysis.stats.observations import Observations
from ser_probe.analysis.stats.typeset import p_value

OTHER_TESTS: dict[str, str] = {
    "welch": "mann-whitney", "pooled": "mann-whitney", "residual": "mann-whitney", "mann-whitney": "welch",
    "paired": "wilcoxon",
}  # fmt: skip
"""By each test of two levels one of the other kind: of ranks for those of means, of means for that of ranks."""
TEST_NAMES = {
    "mann-whitney": "the Mann-Whitney test", "welch": "Welch's t-test", "wilcoxon": "Wilcoxon's signed-rank test",
    "hc3": "HC3", "aligned_rank": "aligned ranks", "kruskal": "the Kruskal-Wallis test", "mixed": "the mixed model",
}  # fmt: skip


def with_other_test(
    table: pd.DataFrame,
    observations: Observations,
    contrasts: Sequence[Contrast],
    *,
    test: Test,
    pairs: Pairs,
    correct: Literal["holm", "bh"],
    alpha: float,
) -> pd.DataFrame:
    """Return comparisons with the p-values of a test of the other kind.

    Args:
        table: The comparisons, as `compare` returned them.
        observations: The data; means and deviations alone admit no test of ranks.
        contrasts: What was compared.
        test: How.
        pairs: Which levels.
        correct: The correction that the text reports.
        alpha: Level.

    Returns:
        With `other_test`, its `p_other`, `p_other_corrected` over the whole table (NaN where there is none), and
        `p_other_least`, the smallest that could be at these numbers: ranks of few values never reach a low p.
    """
    p = np.full(len(table), np.nan)
    if observations.exact and len(table):
        other_test = OTHER_TESTS[test]
        if other_test == "wilcoxon":
            p = np.array([_wilcoxon(*matched(a, b)) for _, a, b in each_pair(observations, contrasts, pairs)])
        elif other_test in ("welch", "mann-whitney"):
            chosen: Test = "welch" if other_test == "welch" else "mann-whitney"
            p = compare(observations, contrasts, test=chosen, pairs=pairs, alpha=alpha)["p"].to_numpy(np.float64)
    n_tests = max(1, int(np.isfinite(p).sum()))
    least = [
        min(1.0, n_tests * _least_p(OTHER_TESTS[test], row["n_a"], row["n_b"])) for row in table.to_dict("records")
    ]
    return table.assign(
        other_test=OTHER_TESTS[test],
        p_other=p,
        p_other_corrected=adjust(p, correct),
        p_other_least=np.array(least, float),
    )


def _least_p(test: str, n_a: int, n_b: int) -> float:
    """Return the smallest two-sided p-value that a test of ranks can have; 0 for tests of means."""
    if test == "wilcoxon":
        return 2.0 ** (1 - n_a)
    return 2 / math.comb(n_a + n_b, n_a) if test == "mann-whitney" else 0.0


def opposite_answer(row: Mapping[Any, Any], correct: str, alpha: float) -> str:
    """Return what leads to the opposite answer about one comparison; empty where nothing does."""
    corrected = row[f"p_{correct}"]
    if np.isnan(row["p"]):
        return ""
    is_significant, parts = corrected < alpha, []
    if (row["p"] < alpha) != is_significant:
        parts.append(f"without correction p {p_value(row['p'])}")
    rank = row.get("p_other_corrected", np.nan)
    # A test that cannot be significant with so few observations does not contradict one that is.
    can_find = row.get("p_other_least", 0.0) < alpha
    if not np.isnan(rank) and (rank < alpha) != is_significant and (can_find or not is_significant):
        parts.append(f"by {TEST_NAMES[row['other_test']]} p {p_value(rank)}")
    return f"OPPOSITE at alpha = {alpha:g}: {' and '.join(parts)}" if parts else ""


def opposite_terms(tables: Mapping[str, pd.DataFrame], alpha: float) -> dict[str, str]:
    """Return what leads to the opposite answer about terms of the analysis of variance, by term.

    Args:
        tables: `anova`, and `robustness` and `mixed` where there are.
        alpha: Level.
    """
    anova = tables["anova"]
    decided = {row["term"]: row["p"] < alpha for row in anova.to_dict("records") if row["term"] != RESIDUAL}
    by_term: dict[str, list[str]] = {}
    for method, term, p in _other_answers(tables):
        if term in decided and not np.isnan(p) and (p < alpha) != decided[term]:
            by_term.setdefault(term, []).append(f"by {TEST_NAMES.get(method, method)} p {p_value(p)}")
    return {term: f"OPPOSITE at alpha = {alpha:g}: {' and '.join(parts)}" for term, parts in by_term.items()}


def _other_answers(tables: Mapping[str, pd.DataFrame]) -> list[tuple[str, str, float]]:
    rows = [(str(row["method"]), row["term"], row["p"]) for row in tables["robustness"].to_dict("records")]
    if "mixed" in tables:
        fixed = tables["mixed"][tables["mixed"]["kind"] == "fixed"]
        rows += [("mixed", row["term"], row["p"]) for row in fixed.to_dict("records")]
    return rows


def _wilcoxon(first: np.ndarray, second: np.ndarray) -> float:
    """Return the p-value of Wilcoxon's signed-rank test of pairs; NaN where nothing differs."""
    if len(first) < 2 or not (first != second).any():
        return np.nan
    return float(scipy.stats.wilcoxon(first, second).pvalue)
