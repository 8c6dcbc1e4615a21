"""The analyses of a study, each a stage of its own: what it is given, and what makes it stale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ser_probe.config import Section, StudyConfig
from ser_probe.config.analyses import ANALYSES, Analysis, analysis_of_table
from ser_probe.runtime import SILENT, Progress
from ser_probe.steps.analyses.entries import load_named, run_analysis
from ser_probe.steps.analyses.inputs import Inputs
from ser_probe.steps.analyses.representations import NamedCache
from ser_probe.steps.study.left_out import LeftOut
from ser_probe.steps.study.stages import Stages, file_state, file_states


@dataclass(frozen=True)
class Material:
    """What the analyses of a study look at.

    Args:
        study: The resolved config.
        caches: A file a checkpoint, by step.
        control: The same architecture with random weights, None without.
        repeats: Step 0 extracted again in other ways, from which drift has its floor.
        checkpoints: Folders of the checkpoints' weights by name; empty without fine-tuning.
        features: Acoustic features, None without.
        clips: The study's clips with labels, speakers and splits.
        audio_root: Folder that the clips' paths start from.
        clips_print: Fingerprint of the clips.
        tables: Folder of the tables.
        context: Columns that every table gets.
    """

    study: StudyConfig
    caches: Sequence[NamedCache]
    control: NamedCache | None
    repeats: Sequence[NamedCache]
    checkpoints: Mapping[str, Path]
    features: Path | None
    clips: pd.DataFrame
    audio_root: Path
    clips_print: str
    tables: Path
    context: Mapping[str, Any]

    def given_to(self, analysis: Analysis, progress: Progress) -> Inputs:
        """Return the inputs of an analysis: what its entry says that it needs, and nothing else."""
        analyze = self.study.analyze
        known: dict[str, Any] = {
            "caches": self.caches, "features": self.features, "control": self.control, "repeats": self.repeats,
            "checkpoints": self.checkpoints, "audio_root": self.audio_root, "tables": self.tables,
            "split": self.study.split, "splits": analyze.splits, "by_corpus": analyze.by_corpus,
            "seed": self.study.seed,
        }  # fmt: skip
        needed = {name: known[name] for name in analysis.needs}
        return Inputs(self.tables, clips=self.clips, context=self.context, progress=progress, **needed)


def run_analyses(material: Material, stages: Stages, progress: Progress, left_out: LeftOut) -> None:
    """Run every analysis that the study asks for and whose inputs changed; one that fails does not stop the others."""
    for name, options in material.study.analyze.wanted().items():
        analysis = ANALYSES[name]
        if lack := _lack(analysis, options, material, left_out):
            left_out.pass_over(name, lack, progress)
            continue

        def run(counted: Progress, analysis: Analysis = analysis, options: Section = options) -> None:
            stale_by = {**_stale_by(analysis, options, material), f"analyze.{analysis.name}": options.model_dump()}
            inputs = material.given_to(analysis, counted)
            stages.run(analysis.name, stale_by, lambda: run_analysis(analysis.name, inputs, options).files)

        left_out.attempt(name, run, None, progress)


def _lack(analysis: Analysis, options: Section, material: Material, left_out: LeftOut) -> str:
    """Return what an analysis would need and the study has not; empty if it has all."""
    if "features" in analysis.requires and material.features is None:
        return "because extract.egemaps " + ("failed" if "egemaps" in left_out.failed else "is off")
    if analysis.table_key:
        table = getattr(options, analysis.table_key)
        if (source := analysis_of_table().get(table)) in {**left_out.failed, **left_out.passed_over}:
            return f"because the table {table!r} is that of {source}, which could not be made"
        if not (material.tables / f"{table}.parquet").is_file():
            return f"because no analysis wrote the table {table!r}"
    if analysis.lack:
        reason: str = load_named(analysis.lack)(material.given_to(analysis, SILENT), options)
        return reason
    return ""


def _stale_by(analysis: Analysis, options: Section, material: Material) -> dict[str, Any]:
    """Return what makes an analysis stale, of what it reads and no more."""
    needs, study = analysis.needs, material.study
    states: dict[str, Any] = {}
    if "caches" in needs:
        states["clips and splits"] = material.clips_print
        states["embeddings"] = [[str(path), file_state(path)] for path in _files(analysis, material)]
    if "checkpoints" in needs:
        states["weights"] = [
            [step, file_states(sorted(folder.glob("*.safetensors")))] for step, folder in material.checkpoints.items()
        ]
    if analysis.table_key:
        states["table"] = file_state(material.tables / f"{getattr(options, analysis.table_key)}.parquet")
    values = {
        "split": ("split", study.split.model_dump()),
        "splits": ("analyze.splits", study.analyze.splits),
        "by_corpus": ("analyze.by_corpus", study.analyze.by_corpus),
        "seed": ("seed", study.seed),
    }
    return {**material.context, **states, **dict(value for need, value in values.items() if need in needs)}


def _files(analysis: Analysis, material: Material) -> list[Path]:
    """Return the embedding files that an analysis reads."""
    files = [cache.path for cache in material.caches]
    if "control" in analysis.needs and material.control is not None:
        files.append(material.control.path)
    if "features" in analysis.needs and material.features is not None:
        files.append(material.features)
    if "repeats" in analysis.needs:
        files += [cache.path for cache in material.repeats]
    return files
