"""Numbers and tables as a paper prints them: APA style, Markdown, and LaTeX with booktabs.

Text from files is escaped only here, so that a label cannot become a LaTeX command or an HTML tag.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "×": r"$\times$", "η": r"$\eta$", "ω": r"$\omega$", "²": r"$^{2}$", "–": "--",
    "±": r"$\pm$",
}  # fmt: skip
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~$!])")
_NONE = "–"
# Rows that a printed table may have; the files hold all of them.
MOST_ROWS = 60
_P_COLUMNS = ("p", "p_holm", "p_bh", "p_mcnemar")
_SHARES = ("partial_eta_sq", "omega_sq", "effect_r")
_COUNTS = ("df", "df_error", "n", "n_speakers", "n_a", "n_b", "n_groups", "n_tests")


def one_line(text: object) -> str:
    """Return a text on one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def markdown(text: object) -> str:
    """Return a text that Markdown shows as it is, on one line."""
    return _MARKDOWN.sub(r"\\\1", one_line(text))


def latex(text: object) -> str:
    """Return a text that LaTeX prints as it is, on one line."""
    return "".join(_LATEX.get(letter, letter) for letter in one_line(text))


def number(value: float, decimals: int = 2) -> str:
    """Return a number with so many decimals; large ones without exponent, none as a dash."""
    return _NONE if value is None or np.isnan(value) else f"{value:.{decimals}f}"


def share(value: float, decimals: int = 2) -> str:
    """Return a number that cannot exceed 1 in size, without the zero before its point, as APA prints it."""
    text = number(value, decimals)
    return re.sub(r"^(-?)0\.", r"\1.", text)


def p_value(p: float) -> str:
    """Return `= .012` or `< .001`."""
    return "is not defined" if np.isnan(p) else "< .001" if p < 0.001 else f"= {share(p, 3)}"


def degrees(df: float) -> str:
    """Return degrees of freedom: whole ones without decimals."""
    return number(df, 0 if float(df).is_integer() else 1)


def format_cell(column: str, value: object) -> str:
    """Return a value of a statistical table as text, by the name of its column."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return _NONE
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    x = float(value)  # type: ignore[arg-type]
    if column in _P_COLUMNS:
        return "< .001" if x < 0.001 else share(x, 3)
    if column in _SHARES:
        return share(x, 3)
    if column in _COUNTS and not x.is_integer():
        return number(x, 1)
    if x.is_integer() and abs(x) < 1e15 and column in (*_COUNTS, "step"):
        return str(int(x))
    # Scores and their deviations are below 1: they keep four decimals.
    decimals = 2 if abs(x) >= 10 else 3 if abs(x) >= 1 else 4
    return number(x, decimals) if abs(x) >= 0.0001 or x == 0 else f"{x:.2e}"


def markdown_table(table: pd.DataFrame, columns: Mapping[str, str], *, most: int | None = None) -> str:
    """Return a table in Markdown.

    Args:
        table: The rows.
        columns: What each column that is shown is called.
        most: Rows at most; a line says how many there are.
    """
    shown = table if most is None else table.head(most)
    names = [name for name in columns if name in shown]
    lines = [
        "| " + " | ".join(markdown(columns[name]) for name in names) + " |",
        "|" + "|".join("---:" if pd.api.types.is_numeric_dtype(shown[name]) else "---" for name in names) + "|",
    ]
    lines += ["| " + " | ".join(markdown(cell) for cell in row) + " |" for row in _rows(shown, names)]
    if len(shown) < len(table):
        lines += ["", f"The first {len(shown)} of {len(table)} rows."]
    return "\n".join(lines)


def latex_table(table: pd.DataFrame, columns: Mapping[str, str], *, caption: str, label: str) -> str:
    """Return a table in LaTeX, with the rules of booktabs.

    Args:
        table: The rows.
        columns: What each column that is shown is called.
        caption: Its caption, plain text.
        label: Its label, letters, digits and colons.
    """
    shown = table.head(MOST_ROWS)
    names = [name for name in columns if name in shown]
    alignment = "".join("r" if pd.api.types.is_numeric_dtype(shown[name]) else "l" for name in names)
    cut = "" if len(shown) == len(table) else f" The first {len(shown)} of {len(table)} rows."
    body = [" & ".join(latex(cell) for cell in row) + r" \\" for row in _rows(shown, names)]
    return "\n".join([
        "% needs \\usepackage{booktabs}", r"\begin{table}", r"\centering", rf"\caption{{{latex(caption)}{cut}}}",
        rf"\label{{{label}}}", rf"\begin{{tabular}}{{{alignment}}}", r"\toprule",
        " & ".join(latex(columns[name]) for name in names) + r" \\", r"\midrule", *body, r"\bottomrule",
        r"\end{tabular}", r"\end{table}", "",
    ])  # fmt: skip


def _rows(table: pd.DataFrame, names: Sequence[str]) -> list[list[str]]:
    return [
        [format_cell(name, value) for name, value in zip(names, row, strict=True)]
        for row in zip(*(table[name].tolist() for name in names), strict=True)
    ]
