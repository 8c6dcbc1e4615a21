"""The verb `report`: the figures of a study, drawn from its written tables, and one self-contained HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from ser_probe.data.manifest import read_manifest
from ser_probe.errors import AnalysisError
from ser_probe.files import read_json
from ser_probe.report.figures import write_figures
from ser_probe.report.html import write_report as write_html
from ser_probe.runtime import SILENT, Progress
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.tables import read_table

_ANALYSIS_OF_TABLE = {
    "probe": "probe",
    "probe_summary": "probe",
    "best_layers": "probe",
    "probe_classes": "probe",
    "probe_confusion": "probe",
    "probe_changes": "probe",
    "probe_centre": "probe",
    "probe_layer_weights": "probe",
    "probe_numbers": "probe",
    "probe_number_changes": "probe",
    "probe_description_length": "probe",
    "probe_curve": "probe",
    "probe_transfer": "probe",
    "probe_directions": "probe",
    "probe_corpus_transfer": "probe",
    "similarity": "similarity",
    "drift": "drift",
    "drift_groups": "drift",
    "drift_floor": "drift",
    "weight_drift": "drift",
    "geometry": "geometry",
    "geometry_spectrum": "geometry",
    "acoustics": "acoustics",
    "acoustics_changes": "acoustics",
    "acoustics_groups": "acoustics",
    "acoustics_functionals": "acoustics",
    "umap": "umap",
    "descriptives": "stats",
    "anova": "stats",
    "contrasts": "stats",
    "assumptions": "stats",
    "robustness": "stats",
    "mixed": "stats",
    "equivalence": "stats",
    "power": "stats",
    "power_curve": "stats",
    "residuals": "stats",
}


def write_report(run_dir: Path, *, progress: Progress = SILENT) -> Outcome:
    """Draw all figures of a study again and write its report.

    Args:
        run_dir: The study's folder, with its config and tables.
        progress: Told of what could not be drawn.

    Raises:
        AnalysisError: If the folder is not a study's.
    """
    config_path = run_dir / "config.yaml"
    if not config_path.is_file():
        raise AnalysisError(
            "The folder is not a study's", where=run_dir, expected="config.yaml and tables/", fix="give runs/<study>"
        )
    config_yaml = config_path.read_text(encoding="utf-8")
    config = yaml.safe_load(config_yaml)
    folder = run_dir / "tables"
    # A table of an analysis that was turned off since may be of other checkpoints.
    wanted = [name for name, analysis in _ANALYSIS_OF_TABLE.items() if config["analyze"].get(analysis) is not None]
    wanted = [*(["training"] if config["finetune"]["enabled"] else []), *wanted]
    tables = {name: read_table(folder, name) for name in wanted if (folder / f"{name}.parquet").is_file()}
    audit = read_table(folder, "split_audit") if (folder / "split_audit.parquet").is_file() else pd.DataFrame()
    best = _read_best(run_dir) if config["finetune"]["enabled"] else None
    training = tables.get("training")
    drawing: dict[str, dict[str, Any]] = {
        "umap": {"colours": _mapped_colours(config)},
        "training": {} if training is None else {"saved_steps": _saved_steps(training)},
    }
    if best:
        drawing["training"]["best_step"] = best["step"]
    progress.start("figures", 1, "set")
    figures, undrawn = write_figures(
        {**tables, **({} if audit.empty else {"audit": audit})},
        run_dir / "figures",
        options=drawing,
    )
    progress.advance()
    progress.finish()
    for line in undrawn:
        progress.say(line)
    record = read_json(run_dir / "record.json") if (run_dir / "record.json").is_file() else {}
    rejects = pd.read_csv(run_dir / "rejects.csv") if (run_dir / "rejects.csv").is_file() else None
    path = write_html(
        run_dir / "report.html",
        title=str(config.get("name", run_dir.name)),
        config_yaml=config_yaml,
        record=record["runs"][-1] if record.get("runs") else record,
        audit=audit,
        tables={name: table for name, table in tables.items() if name != "umap"},
        figures=figures,
        rejects=rejects,
        notes=undrawn,
        facts=_facts(run_dir, config, best),
        pages={title: f"tables/{name}" for name, title in _PAGES.items() if (folder / name).is_file()},
    )
    files = [file for figure in figures for file in (figure.png, figure.svg)]
    return Outcome((*files, path), {"figures": len(figures)})


_PAGES = {
    "umap.html": "Maps to move in and listen to",
    "stats_summary.md": "The statistics in words, with tables for a paper",
}
"""Files among a study's tables that are read by themselves."""


def _saved_steps(training: pd.DataFrame) -> list[int]:
    """Return the steps of the checkpoints: one is saved at each evaluation."""
    return sorted(training.loc[training["split"] == "validation", "step"].unique().tolist())


def _mapped_colours(config: dict[str, Any]) -> list[str]:
    umap = config["analyze"].get("umap")
    return list(umap["color"]) if umap else []


def _facts(run_dir: Path, config: dict[str, Any], best: dict[str, Any] | None) -> dict[str, object]:
    """Return what the head of the report says at a glance."""
    facts: dict[str, object] = {"backbone": config["backbone"]["name"]}
    if (run_dir / "manifest.csv").is_file():
        clips = read_manifest(run_dir / "manifest.csv").table
        facts["clips"] = len(clips)
        facts |= {f"{name}s": clips[name].nunique() for name in ("speaker", "label") if name in clips}
        if "duration_s" in clips:
            facts["duration"] = f"{clips['duration_s'].sum() / 60:.1f} min"
    if best:
        facts["best step"] = f"{best['step']} (validation {best['metric']} {best['value']:.4g})"
    if best and (run_dir / "training.json").is_file():
        facts["trained"] = read_json(run_dir / "training.json")["finished"]["parameters"]["words"]
    return facts


def _read_best(run_dir: Path) -> dict[str, Any] | None:
    path = run_dir / "best.json"
    return read_json(path) if path.is_file() else None
