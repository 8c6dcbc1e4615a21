"""The verb `report`: the figures of a study, drawn from its written tables, and one self-contained HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ser_probe.config import AnalyzeConfig, StudyConfig, load_study
from ser_probe.config.analyses import ANALYSES, analysis_of_table
from ser_probe.errors import AnalysisError, ConfigError
from ser_probe.report.corpora.warnings import pooling_warnings
from ser_probe.report.figures import FigureEntry, write_figures
from ser_probe.report.headlines import headlines
from ser_probe.report.html import write_report as write_html
from ser_probe.runtime import SILENT, Progress
from ser_probe.steps.analyses.figures import report_figures, report_headlines
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.study.files import StudyFiles
from ser_probe.steps.study.left_out import read_left_out
from ser_probe.steps.trained_runs import untrained_remark

EVALUATION_TABLES = (
    *("evaluation", "evaluation_classes", "evaluation_confusion", "evaluation_reliability", "evaluation_agreement"),
    *("evaluation_left_out", "evaluation_rejects", "predictions"),
)
"""What the stage `evaluate` writes; it comes first."""


def write_report(run_dir: Path, *, draw: bool = True, progress: Progress = SILENT) -> Outcome:
    """Draw all figures of a study again and write its report.

    A table or record that is damaged, or is not what the study wrote, is left out; the report says which and why.

    Args:
        run_dir: The study's folder, with its config and tables.
        draw: Whether there are figures at all.
        progress: Told of what could not be drawn.

    Raises:
        AnalysisError: If the folder is not a study's.
        ConfigError: If its config is damaged.
    """
    config_path = run_dir / "config.yaml"
    if not config_path.is_file():
        raise AnalysisError(
            "The folder is not a study's", where=run_dir, expected="config.yaml and tables/", fix="give runs/<study>"
        )
    study, config_yaml = _read_config(config_path)
    files = StudyFiles(run_dir)
    left_out = read_left_out(run_dir)
    without = {**left_out.failed, **left_out.passed_over}
    # A table of an analysis that was turned off since, or failed the last time, may be of other checkpoints.
    wanted = [
        name
        for name, analysis in analysis_of_table().items()
        if study.analyze.options_of(analysis) is not None and analysis not in without
    ]
    if study.finetune.enabled:
        scored = study.evaluate is not None and "evaluate" not in without
        wanted = [*(EVALUATION_TABLES if scored else ()), "training", *wanted]
    read = {name: files.table(name) for name in wanted}
    tables = {name: table for name, table in read.items() if table is not None}
    audit = files.table("split_audit")
    best = files.json("best.json", _BEST) if study.finetune.enabled else None
    training = tables.get("training")
    drawing: dict[str, dict[str, Any]] = {
        **_analysis_drawing(study.analyze),
        "training": {} if training is None else {"saved_steps": _saved_steps(training)},
        **_evaluation_drawing(tables),
    }
    if best:
        drawing["training"]["best_step"] = best["step"]
    figures: list[FigureEntry] = []
    undrawn = [] if draw else [f"all figures (output.figures: false); `ser-probe report {run_dir}` draws them"]
    if draw:
        progress.start("figures", 1, "set")
        figures, undrawn = write_figures(
            {**tables, **({} if audit is None or audit.empty else {"audit": audit})},
            run_dir / "figures",
            specs=report_figures(),
            options=drawing,
        )
        progress.advance()
        progress.finish()
    record, rejects, facts = files.last_run(), files.rejects(), _facts(study, files, best)
    warnings = [f"warning: {untrained_remark(run_dir)}"] if best and best["step"] == 0 else []
    notes = [*files.notes, *(f"not drawn: {line}" for line in undrawn)]
    for line in notes:
        progress.say(line)
    pages, unlisted = dict(_PAGES), set[str]()
    for analysis in ANALYSES.values():
        pages |= analysis.pages
        unlisted |= {*analysis.unlisted}
    path = write_html(
        run_dir / "report.html",
        title=study.name,
        config_yaml=config_yaml,
        record=record,
        audit=pd.DataFrame() if audit is None else audit,
        tables={name: table for name, table in tables.items() if name not in unlisted},
        headlines=headlines(tables, report_headlines()),
        figures=figures,
        rejects=rejects,
        notes=[*warnings, *left_out.lines(), *notes, *pooling_warnings(tables)],
        facts=facts,
        pages={title: f"tables/{name}" for name, title in pages.items() if (run_dir / "tables" / name).is_file()},
    )
    written = [file for figure in figures for file in (figure.png, figure.svg)]
    return Outcome((*written, path), {"figures": len(figures)})


_BEST = {"step": int, "metric": str, "value": float}
_PAGES = {
    "evaluation.tex": "The scores of the classifier as a table for a paper (LaTeX)",
}
"""Files among a study's tables that are read by themselves, beside those of its analyses."""


def _analysis_drawing(analyze: AnalyzeConfig) -> dict[str, dict[str, Any]]:
    """Return what the figures of analyses are given of a study's options, by figure."""
    drawing: dict[str, dict[str, Any]] = {}
    for name, options in analyze.wanted().items():
        for figure, keys in ANALYSES[name].figure_options.items():
            drawing[figure] = {option: getattr(options, key) for option, key in keys.items()}
    return drawing


def _evaluation_drawing(tables: dict[str, pd.DataFrame]) -> dict[str, dict[str, Any]]:
    """Return the tables beside that of a figure which it also shows."""
    beside = {name: tables.get(f"evaluation_{name}") for name in ("reliability", "classes")}
    scores = tables.get("evaluation")
    return {"evaluation": {**beside, "scores": scores}, "evaluation_agreement": {"scores": scores}}


def _saved_steps(training: pd.DataFrame) -> list[int]:
    """Return the steps of the checkpoints: one is saved at each evaluation."""
    return sorted(training.loc[training["split"] == "validation", "step"].unique().tolist())


def _facts(study: StudyConfig, files: StudyFiles, best: dict[str, Any] | None) -> dict[str, object]:
    """Return what the head of the report says at a glance."""
    facts: dict[str, object] = {"backbone": study.backbone.name}
    clips = files.clips()
    if clips is not None:
        facts["clips"] = len(clips)
        facts |= {f"{name}s": clips[name].nunique() for name in ("speaker", "label") if name in clips}
        if "duration_s" in clips:
            facts["audio length"] = f"{clips['duration_s'].sum() / 60:.1f} min"
    if best:
        facts["best step"] = f"{best['step']} (validation {best['metric']} {best['value']:.4g})"
    if best and (trained := files.trained_part()):
        facts["trained"] = trained
    return facts


def _read_config(path: Path) -> tuple[StudyConfig, str]:
    """Return a study's config, and as it is written.

    Raises:
        ConfigError: If it is damaged, or of another version of ser-probe.
    """
    try:
        return load_study(path), path.read_text(encoding="utf-8")
    except ConfigError as error:
        error.fix = "run the study again from its own YAML: that writes this file anew"
        raise
