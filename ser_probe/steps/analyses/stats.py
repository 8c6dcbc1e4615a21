"""The analysis `stats`: tests over a table of results, the study's own or any other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ser_probe.analysis.stats.agreement import opposite_terms
from ser_probe.analysis.stats.anova import RESIDUAL
from ser_probe.analysis.stats.battery import TABLES, Statistics, StatsOptions, analyse
from ser_probe.analysis.stats.comparisons import Test
from ser_probe.analysis.stats.linear_model import require_statsmodels
from ser_probe.analysis.stats.moments import observations_from_moments
from ser_probe.analysis.stats.observations import Observations, make_observations, natural_order, pick_rows
from ser_probe.analysis.stats.summary import latex_files, markdown_section
from ser_probe.analysis.stats.typeset import markdown, number, p_value, share
from ser_probe.config import StatsConfig
from ser_probe.data.columns import find_column
from ser_probe.errors import AnalysisError
from ser_probe.files import write_text
from ser_probe.steps.analyses.inputs import Inputs
from ser_probe.steps.analyses.stats_remarks import opposite_answers, refuse_pooled_beside_corpora
from ser_probe.steps.analyses.stats_units import seed_warnings, unit_column, what_repeats
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.results_file import read_results
from ser_probe.steps.tables import read_table, replace_tables, replace_text

_LATEX = ("descriptives.tex", "anova.tex", "contrasts.tex")


@dataclass(frozen=True, eq=False)
class _Part:
    """The rows that are analysed together.

    Args:
        label: What tells them from the other parts; empty where there is one part.
        names: Their value of each column that is kept apart.
        table: The rows.
    """

    label: str
    names: Mapping[str, Any]
    table: pd.DataFrame


@dataclass(frozen=True, eq=False)
class _PartResult:
    """What was found in a part, how, and with which random effect."""

    part: _Part
    statistics: Statistics
    options: StatsOptions
    random: str | None


def run(inputs: Inputs, config: StatsConfig) -> Outcome:
    """Write the statistics of one table of results, or else of a study's own table.

    Args:
        inputs: The table, or the folder of a study's tables.
        config: What is tested, and how.

    Raises:
        AnalysisError: If the table does not admit the analysis, or there is none.
        MissingExtraError: If statsmodels is not installed.
    """
    require_statsmodels()
    if inputs.table is not None:
        return _analyze_table(inputs, inputs.table, config)
    if inputs.tables is not None:
        return _study_statistics(inputs, inputs.tables, config)
    raise AnalysisError("There is no table to test", fix="give a table of results")


def _analyze_table(inputs: Inputs, table: Path, stats: StatsConfig) -> Outcome:
    """Write the statistics of a table of results: tables, LaTeX, and `summary.md`."""
    if inputs.from_moments and not {stats.random, stats.unit} <= {None, "auto"}:
        raise AnalysisError(
            "Means and deviations do not say which observations belong together",
            expected="neither a unit nor a random effect with --from-moments",
            found=f"unit {stats.unit}, random {stats.random}",
            fix="give the table of single results",
        )
    rows = read_results(table)
    stats = resolve_columns(stats, rows.columns)
    rows = pick_rows(rows, stats.where)
    refuse_pooled_beside_corpora(rows, stats)
    results: list[_PartResult] = []
    for part in _parts(rows, stats):
        if part.label:
            inputs.progress.say(f"statistics: {part.label}")
        if inputs.from_moments:
            observations = observations_from_moments(part.table, stats.factors, response=stats.response, sd=stats.sd)
            results.append(_analyse(part, observations, None, stats))
        else:
            results.append(_analyse_rows(part, stats))
    facts: dict[str, object] = {}
    for result in results:
        facts |= _facts(result.part.label, result.statistics, stats.alpha)
    title = f"Statistics of {results[0].statistics.observations.response}"
    words = () if inputs.from_moments else (what_repeats(rows, stats),)
    files = _write(results, inputs.output, "summary.md", title, stats, context={}, remarks=(), words=words)
    warnings = [
        *([] if inputs.from_moments else seed_warnings(rows, stats)),
        *(
            line
            for result in results
            for line in opposite_answers(result.part.label, result.statistics, result.options)
        ),
    ]
    return Outcome(tuple(files), facts, warnings=tuple(warnings))


def _study_statistics(inputs: Inputs, tables_folder: Path, stats: StatsConfig) -> Outcome:
    """Write the statistics of a study's own table, and `stats_summary.md` in words.

    A part of the table that admits no test is left out, and the summary says why.
    """
    progress = inputs.progress
    rows = read_table(tables_folder, stats.table)
    stats = resolve_columns(stats, rows.columns)
    rows = pick_rows(rows, stats.where)
    refuse_pooled_beside_corpora(rows, stats)
    results: list[_PartResult] = []
    rows, remarks = _with_factors(rows, stats)
    parts = list(_parts(rows, stats)) if len(rows) else []
    progress.start("statistics", len(parts), "tables")
    for part in parts:
        try:
            results.append(_analyse_rows(part, stats))
        except AnalysisError as error:
            remarks.append(f"{part.label}: {error.brief()}" if part.label else error.brief())
        progress.advance()
    progress.finish()
    for line in remarks:
        progress.say(f"statistics leave out: {line}")
    title = f"Statistics of the table {stats.table}"
    words = (what_repeats(rows, stats),)
    files = _write(
        results, inputs.output, "stats_summary.md", title, stats, context=inputs.context, remarks=remarks, words=words
    )
    facts: dict[str, object] = {"tests": f"{len(results)} of {len(parts)} parts of the table {stats.table}"}
    return Outcome(tuple(files), facts)


def resolve_columns(stats: StatsConfig, columns: Iterable[object]) -> StatsConfig:
    """Return the options with the table's own name for each column that they name by an alias (`emotion`, `actor`)."""
    known = [str(column) for column in columns]

    def own_name(name: str) -> str:
        return find_column(name, known) or name

    def own_all(names: Iterable[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(own_name, names)))

    chosen = {key: getattr(stats, key) for key in ("unit", "random")}
    return stats.model_copy(
        update={
            "response": own_name(stats.response),
            "where": {own_name(name): wanted for name, wanted in stats.where.items()},
            "factors": own_all(stats.factors),
            "apart": own_all(stats.apart),
            "contrasts": tuple(":".join(map(own_name, text.split(":"))) for text in stats.contrasts),
            **{key: name if name in (None, "auto") else own_name(name) for key, name in chosen.items()},
        }
    )


def _analyse_rows(part: _Part, stats: StatsConfig) -> _PartResult:
    """Analyse a part whose rows are single results."""
    unit = unit_column(part.table, stats)
    random = unit if stats.random == "auto" else stats.random
    observations = make_observations(part.table, stats.response, stats.factors, unit=unit, random=random)
    # A unit that has a result in one cell only has nothing to be compared with itself.
    recurs = observations.units is not None and len(set(observations.units)) < len(observations.units)
    if stats.random == "auto" and not recurs:
        random = None
    test = stats.test if stats.test != "auto" else "paired" if recurs else "welch"
    return _analyse(part, observations, random, stats, test)


def _analyse(
    part: _Part, observations: Observations, random: str | None, stats: StatsConfig, test: Test = "welch"
) -> _PartResult:
    options = _options(stats, test if stats.test == "auto" else stats.test)
    return _PartResult(part, analyse(_named(observations, stats), options, group=random), options, random)


def _options(stats: StatsConfig, test: Test) -> StatsOptions:
    same = {field.name for field in dataclasses.fields(StatsOptions)} & {*StatsConfig.model_fields}
    given = {name: getattr(stats, name) for name in same} | {"kind": stats.type, "test": test}
    bound = stats.equivalence
    return StatsOptions(**given | {"equivalence": None if bound is None else str(bound)})


def _parts(rows: pd.DataFrame, stats: StatsConfig) -> Iterator[_Part]:
    """Yield the rows of each combination of the columns that are kept apart."""
    taken = {stats.response, *stats.factors, stats.unit, stats.random}
    columns = [name for name in stats.apart if name in rows.columns and name not in taken]
    if not columns:
        yield _Part("", {}, rows)
        return
    filled = rows.assign(**{name: rows[name].astype(object).where(rows[name].notna(), "") for name in columns})
    varying = [name for name in columns if filled[name].nunique() > 1]
    for values, part in filled.groupby(columns, sort=False):
        names = dict(zip(columns, values, strict=True))
        label = ", ".join(f"{name} {names[name]}".strip() for name in varying)
        yield _Part(label, names, part)


def _with_factors(rows: pd.DataFrame, stats: StatsConfig) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows that have a level of every factor, and what is said about the others (features have no step)."""
    factors = [name for name in stats.factors if name in rows.columns]
    complete = rows[factors].notna().all(axis=1)
    if complete.all():
        return rows, []
    lacking = [name for name in factors if rows[name].isna().any()]
    models = f" ({', '.join(map(str, rows.loc[~complete, 'model'].unique()))})" if "model" in rows else ""
    return rows[complete], [f"{int((~complete).sum())} rows without {' or '.join(lacking)}{models}"]


def _named(observations: Observations, stats: StatsConfig) -> Observations:
    """Return observations whose response is called as what was measured, where the column says only `value`."""
    measure = stats.where.get("measure")
    named = stats.response == "value" and isinstance(measure, str)
    return dataclasses.replace(observations, response=str(measure)) if named else observations


def _facts(label: str, statistics: Statistics, alpha: float) -> dict[str, object]:
    """Return what is printed at a glance: the number of observations, and each term of the analysis of variance."""
    before = f"{label}: " if label else ""
    counts = statistics.observations.counts()
    facts: dict[str, object] = {f"{before}observations": f"{int(counts.sum())} in {counts.size} cells"}
    if statistics.observations.notes:
        facts[f"{before}note"] = "; ".join(statistics.observations.notes)
    anova = statistics.tables["anova"]
    opposite = opposite_terms(statistics.tables, alpha)
    for row in anova[anova["term"] != RESIDUAL].to_dict("records"):
        facts[f"{before}{row['term']}"] = (
            f"F({row['df']}, {row['df_error']}) = {number(row['F'])}, p {p_value(row['p'])}, partial η² = "
            f"{share(row['partial_eta_sq'], 3)} [{share(row['ci_low'], 3)}, {share(row['ci_high'], 3)}]"
            + (f" ({opposite[row['term']]})" if row["term"] in opposite else "")
        )
    if statistics.left_out:
        facts[f"{before}left out"] = "; ".join(statistics.left_out)
    return facts


def _write(
    results: Sequence[_PartResult],
    output: Path,
    summary: str,
    title: str,
    stats: StatsConfig,
    *,
    context: Mapping[str, Any],
    remarks: Sequence[str],
    words: Sequence[str] = (),
) -> list[Path]:
    """Write tables, LaTeX and the page of words; what an earlier run wrote and this one did not is removed."""
    tables = {
        name: _join(name, results, context)
        for name in TABLES
        if any(name in result.statistics.tables for result in results)
    }
    files = replace_tables(tables, output, TABLES)
    printed = latex_files(tables, results[0].statistics.observations.response) if results else {}
    for name in _LATEX:
        files += replace_text(output / name, printed.get(name))
    lines = [f"# {markdown(title)}", "", *(f"{line}\n" for line in words)]
    if stats.where:
        lines += [f"Rows: {', '.join(f'{markdown(k)} = {markdown(_shown(v))}' for k, v in stats.where.items())}.", ""]
    for result in results:
        heading = result.part.label or f"{result.statistics.observations.response} by {', '.join(stats.factors)}"
        lines.append(markdown_section(result.statistics, result.options, title=heading, group=result.random, level=2))
    if remarks:
        lines += ["## Not tested", "", *(f"- {markdown(line)}" for line in remarks), ""]
    write_text(output / summary, "\n".join(lines))
    return [*files, output / summary]


def _join(name: str, results: Sequence[_PartResult], context: Mapping[str, Any]) -> pd.DataFrame:
    """Return a table of all parts, with the columns that tell them apart and those of the study."""
    pieces = []
    for result in results:
        if name in result.statistics.tables:
            table = result.statistics.tables[name]
            extra = {"analysis": result.part.label, **context, **result.part.names}
            pieces.append(table.assign(**{key: value for key, value in extra.items() if key not in table.columns}))
    return pd.concat(pieces, ignore_index=True)


def _shown(value: Any) -> str:
    listed = list(value) if isinstance(value, tuple | list) else [value]
    return " or ".join(natural_order([str(level) for level in listed]))
