"""The results as a page of Markdown and as tables in LaTeX."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ser_probe.analysis.stats import wording
from ser_probe.analysis.stats.agreement import opposite_terms
from ser_probe.analysis.stats.battery import Statistics, StatsOptions
from ser_probe.analysis.stats.observations import TIMES
from ser_probe.analysis.stats.typeset import latex_table, markdown, markdown_table, one_line

_MOST_ROWS = 30

ANOVA_COLUMNS = {
    "analysis": "Analysis", "term": "Term", "df": "df", "sum_sq": "Sum of squares", "F": "F", "p": "p",
    "partial_eta_sq": "partial η²", "ci_low": "CI low", "ci_high": "CI high", "omega_sq": "ω²",
}  # fmt: skip
CONTRAST_COLUMNS = {
    "analysis": "Analysis", "factor": "Factor", "level_a": "Level", "level_b": "against", "within": "within",
    "mean_a": "Mean", "mean_b": "against", "difference": "Difference", "statistic": "Statistic", "df": "df", "p": "p",
    "p_holm": "p (Holm)", "p_bh": "p (BH)", "other_test": "Other test",
    "p_other": "its p", "effect_size": "Effect size", "ci_low": "CI low", "ci_high": "CI high",
}  # fmt: skip
CELL_COLUMNS = {"mean": "Mean", "sd": "SD", "min": "Min", "max": "Max", "n": "n"}
_SECTIONS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("anova", "Analysis of variance", ANOVA_COLUMNS),
    ("contrasts", "Comparisons", CONTRAST_COLUMNS),
    ("mixed", "Mixed model", {
        "term": "Term", "kind": "Kind", "df": "df", "df_error": "df (error)", "statistic": "F", "p": "p",
        "estimate": "Estimate",
    }),
    ("equivalence", "Equivalence", {
        "factor": "Factor", "level_a": "Level", "level_b": "against", "within": "within", "difference": "Difference",
        "difference_low": "CI low", "difference_high": "CI high", "bound": "Bound", "p": "p", "p_holm": "p (Holm)",
        "equivalent": "Equivalent",
    }),
    ("assumptions", "Assumptions", {
        "check": "Check", "statistic_name": "", "statistic": "Statistic", "p": "p", "verdict": "Verdict",
        "words": "In words",
    }),
    ("robustness", "The same with weaker assumptions", {
        "term": "Term", "method": "Method", "statistic": "Statistic", "df": "df", "df_error": "df (error)", "p": "p",
    }),
    ("power", "Power", {
        "question": "Question", "design": "Design", "effect_size": "Effect (SD)", "n": "n", "power": "Power",
        "alpha": "alpha", "n_tests": "Tests",
    }),
)  # fmt: skip


def paragraphs(
    statistics: Statistics, options: StatsOptions, *, group: str | None = None, escape: wording.Escape = one_line
) -> list[str]:
    """Return the results as paragraphs, the most important first.

    Args:
        statistics: What was found.
        options: How.
        group: The name of the random effect.
        escape: What makes names safe where the text is shown.
    """
    tables, alpha = statistics.tables, options.alpha
    texts = [
        wording.describe_data(statistics.observations, escape=escape),
        wording.describe_anova(tables["anova"], alpha=alpha, escape=escape, opposite=opposite_terms(tables, alpha)),
        wording.describe_contrasts(
            tables["contrasts"],
            n_factors=len(statistics.observations.factors),
            correct=options.correct,
            alpha=alpha,
            escape=escape,
        ),
    ]
    if "mixed" in tables and group is not None:
        texts.append(wording.describe_mixed(tables["mixed"], group, alpha=alpha, escape=escape))
    if "equivalence" in tables:
        texts.append(wording.describe_equivalence(tables["equivalence"], alpha=alpha))
    robust = wording.describe_robustness(tables["anova"], tables["robustness"], alpha=alpha, escape=escape)
    texts.append(f"{wording.describe_assumptions(tables['assumptions'])} {robust}".strip())
    design = "paired" if options.test == "paired" else "two_sample"
    texts.append(wording.describe_power(tables["power"], target=options.power, design=design))
    return [paragraph for paragraph in texts if paragraph]


def markdown_section(
    statistics: Statistics, options: StatsOptions, *, title: str, group: str | None = None, level: int = 1
) -> str:
    """Return one analysis as Markdown: words, then tables.

    Args:
        statistics: What was found.
        options: How.
        title: Heading.
        group: The name of the random effect.
        level: Depth of the heading.
    """
    lines = [f"{'#' * level} {markdown(title)}", ""]
    for paragraph in paragraphs(statistics, options, group=group, escape=markdown):
        lines += [paragraph, ""]
    cells = statistics.tables["descriptives"]
    head = f"{'#' * (level + 1)}"
    lines += [
        f"{head} Cells ({options.sd} standard deviation)",
        "",
        markdown_table(cells, cell_columns(cells), most=_MOST_ROWS),
        "",
    ]
    for name, heading, columns in _SECTIONS:
        if name in statistics.tables and not statistics.tables[name].empty:
            lines += [f"{head} {heading}", "", markdown_table(statistics.tables[name], columns, most=_MOST_ROWS), ""]
    if statistics.left_out:
        lines += [f"{head} Left out", "", *(f"- {markdown(line)}" for line in statistics.left_out), ""]
    return "\n".join(lines)


def latex_files(tables: Mapping[str, pd.DataFrame], response: str) -> dict[str, str]:
    """Return the tables that a paper prints, in LaTeX, by file name.

    Args:
        tables: `descriptives`, `anova`, `contrasts`; rows of several analyses have a column `analysis`.
        response: What was measured.
    """
    made = {
        "descriptives": (cell_columns(tables["descriptives"]), f"Cells of {response}"),
        "anova": (ANOVA_COLUMNS, f"Analysis of variance of {response}"),
        "contrasts": (CONTRAST_COLUMNS, f"Comparisons of {response}"),
    }
    return {
        f"{name}.tex": latex_table(_shown(tables[name]), columns, caption=f"{caption}.", label=f"tab:{name}")
        for name, (columns, caption) in made.items()
        if name in tables
    }


def cell_columns(cells: pd.DataFrame) -> dict[str, str]:
    """Return the columns of a table of cells that are shown: the factors, then the numbers."""
    names = cells["factors"].iloc[0].split(TIMES)
    return {"analysis": "Analysis", **{name: name for name in names}, **CELL_COLUMNS}


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table without columns that say nothing in it: one analysis, comparisons within nothing."""
    empty = [name for name in ("analysis", "within") if name in table and (table[name] == "").all()]
    return table.drop(columns=empty)
