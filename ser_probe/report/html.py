"""The report of a study: one HTML file that holds everything, loads nothing and runs nothing.

Whatever comes from files (labels, paths, configuration) is text: the template escapes it, pictures are
embedded as images (scripts inside an SVG do not run in one), and the page forbids scripts and requests.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import pandas as pd

from ser_probe.errors import AnalysisError
from ser_probe.files import flatten, write_text

if TYPE_CHECKING:
    from ser_probe.report.figures import FigureEntry

# Of a long table the report shows the beginning; the file beside the report holds the rest.
MOST_ROWS = 12
# A vector picture of more than this is slower to open than its raster image.
_LARGEST_SVG_BYTES = 1_500_000


@dataclass(frozen=True)
class TableView:
    """A table as text, ready to be shown."""

    columns: list[str]
    numeric: list[bool]
    rows: list[list[str]]
    total: int


@dataclass(frozen=True)
class FigureView:
    """A figure ready to be shown: its picture as a data address."""

    anchor: str
    title: str
    caption: str
    files: str
    picture: str


def write_report(
    path: Path,
    *,
    title: str,
    config_yaml: str,
    record: Mapping[str, Any],
    audit: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    figures: Sequence[FigureEntry],
    headlines: Sequence[tuple[str, Sequence[str], str, pd.DataFrame]] = (),
    rejects: pd.DataFrame | None = None,
    notes: Sequence[str] = (),
    facts: Mapping[str, object] | None = None,
    pages: Mapping[str, str] | None = None,
) -> Path:
    """Write a study's report as one self-contained HTML file.

    Args:
        path: Where to, whole or not at all.
        title: The study's name.
        config_yaml: The resolved configuration as it is written in the run folder.
        record: The run record (versions, command, time), nested as it may be.
        audit: The audit of the splits: columns `split`, `measure`, `level`, `value`.
        tables: The study's tables by name; the file of each is taken to be `tables/NAME.csv`.
        figures: The figures, in the order of the report.
        headlines: The rows at its head: title, sentences, how to read them, and the rows.
        rejects: The clips left out: columns `path`, `reason`.
        notes: Warnings and what was skipped, a line each.
        facts: What the head of the report says at a glance (clips, speakers, backbone), label to value.
        pages: Files beside the report that it links to, title to relative path.

    Returns:
        The path.

    Raises:
        AnalysisError: If a figure's file is missing.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ser_probe.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("report.html.j2").render(
        title=title,
        facts={key: _cell(value) for key, value in (facts or {}).items()},
        headlines=[(name, said, remark, view_table(table, decimals=3)) for name, said, remark, table in headlines],
        figures=[_view_figure(figure, path.parent) for figure in figures],
        audit=view_table(arrange_audit(audit)),
        shared_speakers=count_shared_speakers(audit),
        rejects=None if rejects is None else view_table(rejects, most=200),
        notes=list(notes),
        pages=list((pages or {}).items()),
        tables={name: view_table(table, most=MOST_ROWS) for name, table in tables.items()},
        record=flat_record(record),
        config_yaml=config_yaml,
    )
    write_text(path, text)
    return path


def view_table(table: pd.DataFrame, *, most: int | None = None, decimals: int | None = None) -> TableView:
    """Return a table's first rows as text: numbers to four digits or so many decimals, a dash for what is missing."""
    shown = table if most is None else table.head(most)
    columns = [shown.iloc[:, i] for i in range(shown.shape[1])]
    return TableView(
        columns=[str(name) for name in table.columns],
        numeric=[bool(pd.api.types.is_numeric_dtype(column)) for column in columns],
        rows=[
            [_cell(value, decimals) for value in row]
            for row in zip(*(column.tolist() for column in columns), strict=True)
        ],
        total=len(table),
    )


def arrange_audit(audit: pd.DataFrame) -> pd.DataFrame:
    """Return the audit with a row per count and a column per split."""
    if audit.empty:
        return pd.DataFrame()
    keyed = audit.assign(level=audit["level"].fillna("")).set_index(["measure", "level", "split"])["value"]
    order = {name: list(dict.fromkeys(keyed.index.get_level_values(name))) for name in ("measure", "split")}
    wide = keyed.unstack("split")[order["split"]].reset_index()
    # As the audit lists them, and levels by name.
    wide = wide.sort_values("measure", key=lambda column: column.map(order["measure"].index), kind="stable")
    wide["measure"] = wide["measure"].str.replace("_", " ").replace("hours", "hours of audio")
    return wide.rename(columns={"measure": "count", "level": "of"}).reset_index(drop=True)


def count_shared_speakers(audit: pd.DataFrame) -> int | None:
    """Return how many speakers at least are in more than one split; None if the audit does not say."""
    if audit.empty:
        return None
    counts = audit.loc[audit["measure"] == "shared_speakers", "value"]
    return None if counts.empty else int(counts.max())


def flat_record(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return nested values as pairs of a dotted name and a text."""
    return [
        (".".join(names), " ".join(map(str, value)) if isinstance(value, list | tuple) else _cell(value))
        for names, value in flatten(record)
        if value != {}
    ]


def _cell(value: object, decimals: int | None = None) -> str:
    """Return a value as it is read in a table."""
    if value is None or value is pd.NaT or (isinstance(value, float) and value != value):
        return "–"
    if isinstance(value, float) and decimals is not None:
        return f"{value:.{decimals}f}"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.4g}"
    return str(value)


def _view_figure(figure: FigureEntry, folder: Path) -> FigureView:
    for file in (figure.png, figure.svg):
        if not file.is_file():
            raise AnalysisError(
                "A figure of the report is missing", where=file, fix="draw the figures again before the report"
            )
    vector = figure.svg.stat().st_size <= _LARGEST_SVG_BYTES
    source, kind = (figure.svg, "svg+xml") if vector else (figure.png, "png")
    content = base64.b64encode(source.read_bytes()).decode()
    files = " and ".join(
        file.relative_to(folder).as_posix() if file.is_relative_to(folder) else file.name
        for file in (figure.png, figure.svg)
    )
    return FigureView(figure.name, figure.title, figure.caption, files, f"data:image/{kind};base64,{content}")
