"""The files of an evaluation's figures: a set per corpus, of each run and of the mean over runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ser_probe.files import distinct_slugs
from ser_probe.report.evaluation.figures import draw_agreement, draw_confusions, draw_evaluation
from ser_probe.report.figures import is_saved_figure, save_figure
from ser_probe.runtime import SILENT, Progress

MOST_RUN_FIGURES = 20
"""With more runs than this only their mean is drawn; the tables hold every run."""

_KINDS = ("evaluation", "confusion", "agreement")


def write_evaluation_figures(
    tables: Mapping[str, pd.DataFrame], folder: Path, *, progress: Progress = SILENT
) -> list[Path]:
    """Draw every figure that the tables allow, and remove those of an earlier evaluation.

    Args:
        tables: By name: `scores`, `summary`; of classes `confusion`, `confusion_mean`, `classes`, `class_summary`,
            `reliability`; of numeric targets `agreement` with a row per clip and target.
        folder: Where to.
        progress: Told of figures, and of what is not drawn.

    Returns:
        PNG and SVG of each figure: `evaluation_<corpus>` and `confusion_<corpus>`, or `agreement_<corpus>`; with
        several runs also one a run, `..._seed-<n>`.
    """
    source = tables.get("confusion", tables.get("agreement"))
    n_runs = 0 if source is None else _run_names(source).nunique()
    if n_runs > MOST_RUN_FIGURES:
        progress.say(f"no figures of each of {n_runs} runs: the tables have them")
    files: list[Path] = []
    figures = [*_class_figures(tables), *_number_figures(tables)]
    if figures:
        progress.start("figures", len(figures), "figures")
        for name, figure in figures:
            files += save_figure(figure, folder, name)
            progress.advance()
        progress.finish()
    for path in folder.glob("*"):
        named_alike = path.stem.split("_")[0] in _KINDS and path.suffix in (".png", ".svg")
        if named_alike and path not in files and path.is_file() and is_saved_figure(path):
            path.unlink()
    return files


def _class_figures(tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Figure]]:
    if "confusion" not in tables:
        return
    corpora = list(dict.fromkeys(tables["confusion"]["corpus"]))
    for corpus, file_name in zip(corpora, distinct_slugs(corpora), strict=True):
        of_corpus = {name: table[table["corpus"] == corpus] for name, table in tables.items() if "corpus" in table}
        n_runs = _run_names(of_corpus["confusion"]).nunique()
        confusion, classes, scores = of_corpus["confusion"], of_corpus["classes"], of_corpus["scores"]
        if n_runs > 1:
            confusion = of_corpus["confusion_mean"]
            classes, scores = _as_values(of_corpus["class_summary"]), _as_values(of_corpus["summary"])
        overall = scores[scores["group_by"] == "overall"]
        yield f"evaluation_{file_name}", draw_evaluation(confusion, of_corpus["reliability"], classes, overall)
        yield f"confusion_{file_name}", draw_confusions(confusion)
        if 1 < n_runs <= MOST_RUN_FIGURES:
            for name, part in _by_run(of_corpus["confusion"]):
                yield f"confusion_{file_name}_{name}", draw_confusions(part)


def _number_figures(tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Figure]]:
    if "agreement" not in tables:
        return
    scores = tables["scores"][tables["scores"]["group_by"] == "overall"]
    corpora = list(dict.fromkeys(tables["agreement"]["corpus"]))
    for corpus, file_name in zip(corpora, distinct_slugs(corpora), strict=True):
        runs = _by_run(tables["agreement"][tables["agreement"]["corpus"] == corpus])
        for name, part in runs if len(runs) <= MOST_RUN_FIGURES else []:
            of_run = scores[(scores["corpus"] == corpus) & (_run_names(scores) == name)]
            suffix = "" if len(runs) == 1 else f"_{name}"
            yield f"agreement_{file_name}{suffix}", draw_agreement(part, of_run)


def _as_values(summary: pd.DataFrame) -> pd.DataFrame:
    """Return means over runs as values, with one standard deviation to each side as their interval."""
    low, high = summary["mean"] - summary["std"], summary["mean"] + summary["std"]
    return summary.assign(value=summary["mean"], ci_low=low, ci_high=high)


def _run_names(table: pd.DataFrame) -> pd.Series:
    """Return the run of each row as file names have it: `seed-3`."""
    return "seed-" + table["run_seed"].astype(str)


def _by_run(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    names = _run_names(table)
    return [(name, table[names == name]) for name in dict.fromkeys(names)]
