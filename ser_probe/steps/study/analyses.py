"""The analyses of a study, each a stage of its own: what it is given, and what makes it stale."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ser_probe.analysis.acoustics.folds import MIN_SPEAKERS
from ser_probe.config import StudyConfig
from ser_probe.config.sections import Section
from ser_probe.runtime import Progress
from ser_probe.steps.analyses.acoustics import predict_acoustics
from ser_probe.steps.analyses.drift import measure_drift
from ser_probe.steps.analyses.geometry import describe_caches
from ser_probe.steps.analyses.probe import probe_caches
from ser_probe.steps.analyses.representations import NamedCache
from ser_probe.steps.analyses.similarity import compare_caches
from ser_probe.steps.analyses.stats import study_statistics
from ser_probe.steps.analyses.umap import map_caches
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.report import ANALYSIS_OF_TABLE
from ser_probe.steps.study.left_out import LeftOut
from ser_probe.steps.study.stages import Stages, file_state, file_states

ANALYSES = ("probe", "similarity", "drift", "geometry", "acoustics", "umap", "stats")
"""In the order in which a study runs them, by their key in `analyze`."""


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


def run_analyses(material: Material, stages: Stages, progress: Progress, left_out: LeftOut) -> None:
    """Run every analysis that the study asks for and whose inputs changed; one that fails does not stop the others."""
    for name in ANALYSES:
        config = getattr(material.study.analyze, name)
        if config is None:
            continue
        if lack := _lacks(name, material, left_out):
            left_out.pass_over(name, lack, progress)
            continue

        def run(counted: Progress, name: str = name, config: Section = config) -> None:
            inputs = {**_inputs(name, material), f"analyze.{name}": config.model_dump()}
            stages.run(name, inputs, lambda: _WORK[name](material, counted).files)

        left_out.attempt(name, run, None, progress)


def _lacks(name: str, material: Material, left_out: LeftOut) -> str:
    """Return what an analysis would need and the study has not; empty if it has all."""
    analyze = material.study.analyze
    if name == "acoustics" and material.features is None:
        return "because extract.egemaps " + ("failed" if "egemaps" in left_out.failed else "is off")
    if name == "acoustics":
        splits = _acoustic_splits(material)
        clips = material.clips
        known = clips if splits == "all" else clips[clips["split"].isin(splits)]
        if known["speaker"].nunique() < MIN_SPEAKERS:
            return f"because it needs {MIN_SPEAKERS} speakers: set analyze.acoustics.splits to all"
    if name == "stats" and analyze.stats is not None:
        table = analyze.stats.table
        if (source := ANALYSIS_OF_TABLE.get(table)) in {**left_out.failed, **left_out.passed_over}:
            return f"because the table {table!r} is that of {source}, which could not be made"
        if not (material.tables / f"{table}.parquet").is_file():
            return f"because no analysis wrote the table {table!r}"
    return ""


def _acoustic_splits(material: Material) -> Any:
    analyze = material.study.analyze
    assert analyze.acoustics is not None
    return analyze.acoustics.splits or analyze.splits


def _inputs(name: str, material: Material) -> dict[str, Any]:
    """Return what makes an analysis stale, of what it reads and no more."""
    study = material.study
    if name == "stats":
        assert study.analyze.stats is not None
        return {**material.context, "table": file_state(material.tables / f"{study.analyze.stats.table}.parquet")}
    files = [cache.path for cache in material.caches]
    if material.control is not None and name in ("probe", "acoustics"):
        files.append(material.control.path)
    if material.features is not None and name in ("probe", "similarity", "acoustics"):
        files.append(material.features)
    own: dict[str, Any] = (
        {"split": study.split.model_dump()} if name == "probe" else {"analyze.splits": study.analyze.splits}
    )
    if name == "drift":
        files += [cache.path for cache in material.repeats]
        own["weights"] = [
            [step, file_states(sorted(folder.glob("*.safetensors")))] for step, folder in material.checkpoints.items()
        ]
    if name in ("similarity", "drift", "geometry", "acoustics"):
        own["analyze.by_corpus"] = study.analyze.by_corpus
    if name in ("geometry", "acoustics", "umap"):
        own["seed"] = study.seed
    return {
        "clips and splits": material.clips_print,
        **material.context,
        "embeddings": [[str(path), file_state(path)] for path in files],
        **own,
    }


def _common(material: Material, progress: Progress) -> dict[str, Any]:
    return {"clips": material.clips, "context": material.context, "progress": progress}


def _probe(material: Material, progress: Progress) -> Outcome:
    study = material.study
    assert study.analyze.probe is not None
    return probe_caches(
        material.caches, material.tables, probe=study.analyze.probe, split=study.split, features=material.features,
        random_cache=material.control, **_common(material, progress),
    )  # fmt: skip


def _similarity(material: Material, progress: Progress) -> Outcome:
    return compare_caches(
        material.caches, material.tables, analyze=material.study.analyze, features=material.features,
        **_common(material, progress),
    )  # fmt: skip


def _drift(material: Material, progress: Progress) -> Outcome:
    return measure_drift(
        material.caches, material.tables, reference=material.caches[0], analyze=material.study.analyze,
        floor=material.repeats, checkpoints=material.checkpoints, **_common(material, progress),
    )  # fmt: skip


def _geometry(material: Material, progress: Progress) -> Outcome:
    study = material.study
    return describe_caches(
        material.caches, material.tables, analyze=study.analyze, seed=study.seed, **_common(material, progress)
    )


def _acoustics(material: Material, progress: Progress) -> Outcome:
    study = material.study
    assert material.features is not None
    analyze = study.analyze.model_copy(update={"splits": _acoustic_splits(material)})
    return predict_acoustics(
        material.caches, material.tables, features=material.features, random_cache=material.control,
        analyze=analyze, seed=study.seed, **_common(material, progress),
    )  # fmt: skip


def _umap(material: Material, progress: Progress) -> Outcome:
    return map_caches(
        material.caches, material.tables, analyze=material.study.analyze, seed=material.study.seed,
        audio_root=material.audio_root, **_common(material, progress),
    )  # fmt: skip


def _stats(material: Material, progress: Progress) -> Outcome:
    stats = material.study.analyze.stats
    assert stats is not None
    return study_statistics(material.tables, material.tables, stats=stats, context=material.context, progress=progress)


_WORK: dict[str, Callable[[Material, Progress], Outcome]] = {
    "probe": _probe,
    "similarity": _similarity,
    "drift": _drift,
    "geometry": _geometry,
    "acoustics": _acoustics,
    "umap": _umap,
    "stats": _stats,
}
