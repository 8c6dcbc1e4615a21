"""The entries of the analyses: each is whole, agrees with what it names, and a forgotten part is loud."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ser_probe.analysis.stats.battery import TABLES as STATS_TABLES
from ser_probe.config.analyses import ANALYSES, Analysis, analysis_of_table
from ser_probe.report.figure_specs import FigureSpec
from ser_probe.report.headline import Headline
from ser_probe.steps.analyses import entries
from ser_probe.steps.analyses.entries import load_named, run_analysis
from ser_probe.steps.analyses.figures import report_figures, report_headlines
from ser_probe.steps.analyses.inputs import Inputs
from ser_probe.steps.outcome import Outcome

DOCS = Path(__file__).resolve().parents[1] / "docs" / "analysis"
every_analysis = pytest.mark.parametrize("analysis", ANALYSES.values(), ids=lambda entry: entry.name)


@every_analysis
def test_what_an_entry_names_is_there(analysis: Analysis) -> None:
    given = {field.name for field in dataclasses.fields(Inputs)} - {"output", "clips", "context", "progress"}
    assert analysis.needs | analysis.accepts <= given
    assert analysis.requires <= analysis.needs | analysis.accepts
    assert not analysis.needs & analysis.accepts
    for place in (analysis.run, analysis.lack, analysis.look_ahead):
        assert not place or callable(load_named(place))
    assert {*analysis.columns, *filter(None, [analysis.table_key])} <= {*analysis.section.model_fields}
    assert {*analysis.unlisted} <= {*analysis.tables}
    analysis.section()


@every_analysis
def test_figures_and_headlines_are_of_tables_that_the_analysis_writes(analysis: Analysis) -> None:
    figures: dict[str, FigureSpec] = {}
    for place in analysis.figures:
        figures |= load_named(place)
    headlines: list[Headline] = [load_named(place) for place in analysis.headlines]
    assert {shown.table for shown in (*figures.values(), *headlines)} <= {*analysis.tables}
    for figure, keys in analysis.figure_options.items():
        assert figure in figures
        assert {*keys.values()} <= {*analysis.section.model_fields}


@every_analysis
def test_docs_say_what_each_table_is(analysis: Analysis) -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCS.glob("*.md"))
    assert (DOCS / f"{analysis.name}.md").is_file()
    assert [table for table in analysis.tables if not re.search(rf"`{table}[`.]", text)] == []
    assert [page for page in analysis.pages if page not in text] == []


def test_names_of_tables_and_figures_are_of_one_analysis_alone() -> None:
    tables = Counter(table for analysis in ANALYSES.values() for table in analysis.tables)
    assert max(tables.values()) == 1
    assert list(analysis_of_table()) == list(tables)
    figures = [place for analysis in ANALYSES.values() for place in analysis.figures]
    n_figures = sum(len(load_named(place)) for place in figures)
    assert len([name for name, spec in report_figures().items() if spec.table in tables]) == n_figures
    assert len(report_headlines()) == 1 + sum(len(analysis.headlines) for analysis in ANALYSES.values())
    assert {*ANALYSES["stats"].tables} == {*STATS_TABLES}


def test_a_table_that_no_entry_names_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def write_more(inputs: Inputs, _: object) -> Outcome:
        return Outcome((inputs.output / "umap.parquet", inputs.output / "umap_more.parquet"))

    monkeypatch.setattr(entries, "load_named", lambda _: write_more)
    with pytest.raises(RuntimeError, match=r"the analysis umap in ANALYSES does not name its tables \['umap_more'\]"):
        run_analysis("umap", Inputs(tmp_path), ANALYSES["umap"].section())


REGISTERING = """
import dataclasses
from ser_probe.config.analyses import ANALYSES, register
from ser_probe.errors import ConfigError

another = dataclasses.replace(ANALYSES["umap"], name="maps", tables=("maps",))

def refused(entry):
    try:
        register(entry)
    except ConfigError as error:
        print(error.what)

register(another)
refused(another)
refused(dataclasses.replace(another, name="more", tables=("umap",)))
from ser_probe.config import StudyConfig
refused(dataclasses.replace(another, name="later", tables=("later",)))
"""


def test_a_name_is_registered_once_and_in_time() -> None:
    """In a process of its own: what is registered stays."""
    done = subprocess.run([sys.executable, "-c", REGISTERING], capture_output=True, text=True, check=True)
    first, second, third = done.stdout.splitlines()
    assert first == "There is an analysis 'maps' already"
    assert second == "There is a table 'umap' already"
    assert third.startswith("The analysis 'later' comes too late")
