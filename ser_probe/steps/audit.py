"""The verb `audit`: what in a corpus would make results false, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ser_probe.analysis.audit.copies import find_copies, judge_copies, judge_speakers, shared_speakers
from ser_probe.analysis.audit.findings import Finding, clips_table, failing, findings_table
from ser_probe.analysis.audit.health import count_clips, judge_health
from ser_probe.analysis.audit.known_training import judge_models, models_trained_on
from ser_probe.analysis.audit.shortcut_findings import judge_shortcuts
from ser_probe.analysis.audit.shortcuts import find_shortcuts
from ser_probe.analysis.audit.split_leaks import judge_splits
from ser_probe.config.audit import AuditConfig
from ser_probe.data.manifest import Manifest, read_manifest
from ser_probe.errors import shorten
from ser_probe.files import write_json, write_text
from ser_probe.output_paths import check_output_folder
from ser_probe.report.audit.figures import FIGURES
from ser_probe.report.figures import write_figures
from ser_probe.runtime import SILENT, Progress, run_record
from ser_probe.steps.audit_measuring import MeasuredClips, measure_clips
from ser_probe.steps.audit_splits import with_splits
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.tables import write_table

CLIP_COLUMNS = ("path", "corpus", "split", "label", "speaker", "gender", "sentence", "sentence_text")
"""The columns of a manifest that the audit knows."""
FAIL_KINDS = {"leaks": "leak", "shortcuts": "shortcut", "health": "health"}


@dataclass(frozen=True)
class Audit:
    """The result of an audit.

    Attributes:
        outcome: Files and facts.
        findings: What was found, gravest first.
        failing: The findings for which the command is to fail.
    """

    outcome: Outcome
    findings: pd.DataFrame
    failing: Sequence[Finding]


def audit_manifest(
    path: Path,
    output: Path,
    config: AuditConfig,
    *,
    audio_root: Path | None = None,
    splits: str | None = None,
    progress: Progress = SILENT,
) -> Audit:
    """Measure every clip of a manifest and say what would make results false: the whole verb.

    Args:
        path: The manifest.
        output: Folder of the tables and figures.
        config: What to look for.
        audio_root: Folder that the manifest's paths start from.
        splits: A split made elsewhere: the name of a column, or a file with columns path and split.
        progress: Told of each clip.

    Raises:
        ManifestError: If the manifest or the split cannot be read, have no clip in common, or hold none.
    """
    check_output_folder(output)
    manifest = read_manifest(path, audio_root=audio_root)
    if splits is not None:
        manifest, remark = with_splits(manifest, splits)
        progress.say(remark)
    for note in manifest.notes:
        progress.say(f"warning: {note}")
    workers = None if config.workers == "auto" else config.workers
    measured = measure_clips(manifest, max_duration_s=config.max_duration_s, workers=workers, progress=progress)
    tables, findings = judge_clips(manifest.table, measured, config, progress=progress)
    return _write(manifest, tables, findings, output, config)


def judge_clips(
    table: pd.DataFrame, measured: MeasuredClips, config: AuditConfig, *, progress: Progress = SILENT
) -> tuple[dict[str, pd.DataFrame], list[Finding]]:
    """Return the tables of an audit by name, and its findings.

    Args:
        table: A manifest's rows.
        measured: Its clips.
        config: What to look for.
        progress: Told of what takes long.
    """
    clips = table[[name for name in CLIP_COLUMNS if name in table]].assign(clip_id=measured.clip_ids)
    copies = find_copies(clips, measured.audio_ids, measured.fingerprints)
    shared = shared_speakers(copies, clips)
    models = models_trained_on(clips["corpus"]) if "corpus" in clips else models_trained_on(pd.Series(dtype=str))
    heard = ((measured.properties["unreadable"] == "") & (measured.properties["fault"] == "")).to_numpy()
    shortcuts = find_shortcuts(measured.properties[heard], clips[heard], seed=config.seed, progress=progress)
    findings = [
        *judge_copies(copies),
        *judge_speakers(shared, clips),
        *judge_splits(clips),
        *judge_models(models),
        *judge_shortcuts(shortcuts),
        *judge_health(measured.properties, min_duration_s=config.min_duration_s),
    ]
    factors = [name for name in CLIP_COLUMNS if name in clips and name != "path"]
    properties = pd.concat([measured.properties[["path"]], clips[factors], measured.properties.drop(columns="path")],
                           axis=1)  # fmt: skip
    tables = {
        "audit_findings": findings_table(findings),
        "audit_clips": clips_table(findings),
        "audit_copies": copies,
        "audit_shortcuts": shortcuts,
        "audit_speakers": shared,
        "audit_models": models,
        "audit_counts": count_clips(clips),
        "audit_properties": properties,
    }
    return tables, findings


def _write(
    manifest: Manifest, tables: dict[str, pd.DataFrame], findings: list[Finding], output: Path, config: AuditConfig
) -> Audit:
    files = [file for name, table in tables.items() for file in write_table(table, output / "tables", name)]
    left_out: list[str] = []
    if config.figures:
        entries, left_out = write_figures(tables, output / "figures", specs=FIGURES)
        files += [file for entry in entries for file in (entry.png, entry.svg)]
    record = {"manifest": str(manifest.source), "options": config.model_dump(mode="json"), **run_record("cpu")}
    write_json(output / "audit.json", record)
    write_text(output / "audit.md", "\n".join(_lines(tables["audit_findings"])) + "\n")
    files += [output / "audit.json", output / "audit.md"]
    table = tables["audit_findings"]
    facts: dict[str, object] = {"clips": len(manifest)}
    facts |= {
        f"{kind} findings": _counted(table[table["kind"] == kind]) for kind in ("leak", "shortcut", "health")
        if (table["kind"] == kind).any()
    }  # fmt: skip
    fatal = failing(findings, [FAIL_KINDS[name] for name in config.fail_on])
    return Audit(Outcome(tuple(files), facts, warnings=tuple(left_out)), table, fatal)


def _counted(rows: pd.DataFrame) -> str:
    return shorten((f"{number} {name}" for name, number in rows["severity"].value_counts().items()), 3)


def _lines(table: pd.DataFrame) -> Iterator[str]:
    yield "# What in these clips can make results false"
    for row in table.to_dict("records"):
        yield f"\n**{row['severity']}, {row['kind']}: {row['check']}** ({row['n_clips']} clips). {row['words']}"
    if table.empty:
        yield "\nNothing was found."
