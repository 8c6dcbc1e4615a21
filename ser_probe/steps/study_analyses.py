"""The analyses of a study, each a stage of its own: what it is given, and what makes it stale."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ser_probe.config import StudyConfig
from ser_probe.runtime import Progress
from ser_probe.steps.analyze_drift import measure_drift
from ser_probe.steps.analyze_probe import probe_caches
from ser_probe.steps.analyze_similarity import compare_caches
from ser_probe.steps.analyze_umap import map_caches
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.representations import NamedCache
from ser_probe.steps.stages import Stages, file_state

ANALYSES = ("probe", "similarity", "drift", "umap")
"""In the order in which a study runs them, by their key in `analyze`."""


@dataclass(frozen=True)
class Material:
    """What the analyses of a study look at.

    Args:
        study: The resolved config.
        caches: A file a checkpoint, by step.
        control: The same architecture with random weights, None without.
        features: Acoustic features, None without.
        clips: The study's clips with labels, speakers and splits.
        clips_print: Fingerprint of the clips.
        tables: Folder of the tables.
        context: Columns that every table gets.
    """

    study: StudyConfig
    caches: Sequence[NamedCache]
    control: NamedCache | None
    features: Path | None
    clips: pd.DataFrame
    clips_print: str
    tables: Path
    context: Mapping[str, Any]


def run_analyses(material: Material, stages: Stages, progress: Progress) -> None:
    """Run every analysis that the study asks for and whose inputs changed."""
    analyze = material.study.analyze
    for name in ANALYSES:
        config = getattr(analyze, name)
        if config is not None:
            inputs = {**_inputs(material), f"analyze.{name}": config.model_dump(), **_own_inputs(name, material)}
            work = _WORK[name]
            stages.run(name, inputs, lambda work=work: work(material, progress).files)  # type: ignore[misc]


def _inputs(material: Material) -> dict[str, Any]:
    files = [cache.path for cache in (*material.caches, *([material.control] if material.control else []))]
    files.append(material.features or Path())
    return {
        "clips and splits": material.clips_print,
        **material.context,
        "embeddings": [[str(path), file_state(path)] for path in files],
    }


def _own_inputs(name: str, material: Material) -> dict[str, Any]:
    study = material.study
    if name == "probe":
        return {"split": study.split.model_dump()}
    seeded = {"seed": study.seed} if name == "umap" else {}
    return {"analyze.splits": study.analyze.splits, **seeded}


def _common(material: Material, progress: Progress) -> dict[str, Any]:
    return {"clips": material.clips, "context": material.context, "progress": progress}


def _probe(material: Material, progress: Progress) -> Outcome:
    study = material.study
    assert study.analyze.probe is not None
    return probe_caches(
        material.caches, material.tables, probe=study.analyze.probe, split=study.split, features=material.features,
        **_common(material, progress),
    )  # fmt: skip


def _similarity(material: Material, progress: Progress) -> Outcome:
    return compare_caches(
        material.caches, material.tables, analyze=material.study.analyze, features=material.features,
        **_common(material, progress),
    )  # fmt: skip


def _drift(material: Material, progress: Progress) -> Outcome:
    return measure_drift(
        material.caches, material.tables, reference=material.caches[0], analyze=material.study.analyze,
        **_common(material, progress),
    )  # fmt: skip


def _umap(material: Material, progress: Progress) -> Outcome:
    return map_caches(
        material.caches, material.tables, analyze=material.study.analyze, seed=material.study.seed,
        **_common(material, progress),
    )  # fmt: skip


_WORK: dict[str, Callable[[Material, Progress], Outcome]] = {
    "probe": _probe,
    "similarity": _similarity,
    "drift": _drift,
    "umap": _umap,
}
