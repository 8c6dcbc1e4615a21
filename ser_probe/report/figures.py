"""Whole figures: panels put together from tables, saved as PNG and SVG, one for each part of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ser_probe.errors import AnalysisError, NothingToDrawError
from ser_probe.files import atomic_path, distinct_slugs
from ser_probe.report.figure_specs import FigureSpec
from ser_probe.report.style import short, styled
from ser_probe.report.tables import POOLED, has_corpora, pooled_rows, variants, with_steps
from ser_probe.report.titles import fit_titles

PNG_DPI = 200
_MADE_BY = "ser-probe"
# How that stands in a PNG and in an SVG.
_MARKS = (f"Software\0{_MADE_BY}".encode(), f"<dc:title>{_MADE_BY}</dc:title>".encode())
_HEAD_BYTES = 4096


@dataclass(frozen=True)
class FigureEntry:
    """A figure on disk: its name, what it is called, its files, and how to read it."""

    name: str
    title: str
    png: Path
    svg: Path
    caption: str


@dataclass(frozen=True)
class DrawnFigure:
    """A figure that was drawn: its name, what it is called, and how to read it; with no figure, why there is none."""

    name: str
    title: str
    figure: Figure | None
    caption: str


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PNG (200 dpi) and SVG; equal figures give equal bytes.

    Args:
        figure: The figure.
        folder: Where to; it is made where it does not exist.
        name: The files' name without suffix.

    Returns:
        The paths of the PNG and of the SVG.
    """
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    # Neither the date nor the drawing library's version goes into a file, so that a repeated run shows no change.
    metadata: list[dict[str, Any]] = [{"Software": _MADE_BY}, {"Date": None, "Creator": _MADE_BY}]
    with styled():
        # One pass makes room for the legends, the next one for what their room displaced.
        figure.draw_without_rendering()
        if fit_titles(figure):
            figure.draw_without_rendering()
        for path, values in zip(paths, metadata, strict=True):
            with atomic_path(path) as temporary:
                figure.savefig(temporary, dpi=PNG_DPI, metadata=values)
            # Saving has laid it out; the next file shows the same places, in half the time.
            figure.set_layout_engine(None)
    return paths


def is_saved_figure(path: Path) -> bool:
    """Return whether a file is one that `save_figure` wrote, as its first bytes say: such a file may be deleted."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    return any(mark in head for mark in _MARKS)


def write_figures(
    tables: Mapping[str, pd.DataFrame],
    folder: Path,
    *,
    specs: Mapping[str, FigureSpec],
    options: Mapping[str, Mapping[str, Any]] | None = None,
    names: Sequence[str] | None = None,
) -> tuple[list[FigureEntry], list[str]]:
    """Draw and save every figure that the tables allow.

    Args:
        tables: The tables by name: those that the figures name. Absent ones are passed over.
        folder: Where to.
        specs: The figures by name, in their order.
        options: More for a figure's draw function, by figure name (`{"training": {"best_step": 150}}`).
        names: Which figures; all by default.

    Returns:
        What was written, and a line for each figure that could not be drawn although its table is there.

    Raises:
        AnalysisError: If a name is not one of the figures.
    """
    written: list[FigureEntry] = []
    left_out: list[str] = []
    for drawn in compose_figures(tables, specs=specs, options=options, names=names):
        if drawn.figure is None:
            left_out.append(drawn.caption)
            continue
        png, svg = save_figure(drawn.figure, folder, drawn.name)
        written.append(FigureEntry(drawn.name, drawn.title, png, svg, drawn.caption))
    return written, left_out


def compose_figures(
    tables: Mapping[str, pd.DataFrame],
    *,
    specs: Mapping[str, FigureSpec],
    options: Mapping[str, Mapping[str, Any]] | None = None,
    names: Sequence[str] | None = None,
) -> Iterator[DrawnFigure]:
    """Yield every figure that the tables allow, and why one cannot be drawn; arguments as `write_figures` takes them.

    Raises:
        AnalysisError: If a name is not one of the figures.
    """
    unknown = sorted({*(names or ()), *(options or {})} - set(specs))
    if unknown:
        raise AnalysisError("There is no such figure", found=", ".join(unknown), expected=", ".join(specs))
    for name, spec in specs.items():
        if spec.table in tables and (names is None or name in names):
            yield from _variants_of(
                name, spec, tables[spec.table], {**(spec.options or {}), **(options or {}).get(name, {})}
            )


def _variants_of(name: str, spec: FigureSpec, whole: pd.DataFrame, given: Mapping[str, Any]) -> Iterator[DrawnFigure]:
    """Yield a figure for each part of its table."""
    table = pooled_rows(whole) if spec.pooled else whole
    of_several = has_corpora(whole)
    parts = list(variants(with_steps(table), spec.apart, named=spec.named))
    by_key = {key: [values[key] for values, _ in parts] for key in (parts[0][0] if parts else ())}
    slugs = {key: dict(zip(found, distinct_slugs(found), strict=True)) for key, found in by_key.items()}
    for values, part in parts:
        file_name = "_".join([name, *(slugs[key][value] for key, value in values.items())])
        try:
            figure = spec.draw(with_steps(part), **given)
        except AnalysisError as error:
            if not (spec.optional and isinstance(error, NothingToDrawError)):
                yield DrawnFigure(file_name, spec.title, None, f"{spec.title}: {error.brief()}")
            continue
        corpus = _corpus_title(spec, values, of_several)
        if corpus:
            _add_to_title(figure, corpus)
        others = (f"{key.removesuffix('_a')} {short(value)}" for key, value in values.items() if key != "corpus")
        detail = ", ".join([*([corpus] if corpus else []), *others])
        title = f"{spec.title} ({detail})" if detail else spec.title
        yield DrawnFigure(file_name, title, figure, " ".join(spec.caption.split()))


def _corpus_title(spec: FigureSpec, values: Mapping[str, str], of_several: bool) -> str:
    """Return of which corpus a figure is, where its table has several."""
    if of_several and "corpus" in spec.apart and values.get("corpus", POOLED) == POOLED:
        return "all corpora pooled"
    return f"corpus {short(values['corpus'])}" if "corpus" in values else ""


def _add_to_title(figure: Figure, text: str) -> None:
    if above_all := figure.get_suptitle():
        figure.suptitle(f"{above_all} · {text}")
    else:
        ax = figure.axes[0]
        ax.set_title(f"{ax.get_title()} · {text}")
