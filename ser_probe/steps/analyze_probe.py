"""The analysis `probe`: a probe head per layer, checkpoint and seed, with its baselines and controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ser_probe.analysis.inputs import RepresentationKey
from ser_probe.analysis.probes.fitting import (
    Probes,
    best_layer,
    fit_probes,
    majority_probe,
    score_probes,
    summarise_probes,
)
from ser_probe.analysis.probes.softmax import ProbeOptions
from ser_probe.config import ProbeConfig, SplitConfig
from ser_probe.data.splits import split_speakers
from ser_probe.errors import AnalysisError
from ser_probe.runtime import SILENT, Progress
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.representations import FEATURE_LAYER, CacheFile, Joined, Representation, join_caches
from ser_probe.steps.tables import write_table

_HEADLINE_MEASURE = "uar"


def probe_caches(
    caches: Sequence[CacheFile],
    output: Path,
    *,
    probe: ProbeConfig,
    split: SplitConfig,
    features: Path | None = None,
    clips: pd.DataFrame | None = None,
    context: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
) -> Outcome:
    """Write `probe` (a row a seed), `probe_summary` (means with intervals over speakers) and `best_layers`.

    Args:
        caches: One file per checkpoint.
        output: Folder of the tables.
        probe: How to probe.
        split: How held-out speakers are divided anew, for `probe.splits: heldout`.
        features: Acoustic features, as a baseline.
        clips: The study's clips; by default the columns of the caches.
        context: Columns to add to the tables, such as corpus and run seed.
        progress: Told of each representation.
    """
    joined = join_caches(
        caches, features=features, clips=clips, splits=("test",) if probe.splits == "heldout" else None
    )
    target, groups = probe.target or "label", probe.groups
    labels, speakers = joined.column(target), joined.column(groups)
    parts = divide_clips(joined, probe, split)
    trained: list[tuple[Representation, Probes]] = []
    for one in [*joined.checkpoints, *([joined.features] if joined.features else [])]:
        progress.say(f"probes: {one.model} {one.checkpoint}".rstrip())
        trained += [(one, probes) for probes in _train(one, labels, parts, speakers, probe, progress)]
    if "majority_class" in probe.controls:
        name = RepresentationKey("majority_class", "", float("nan"), "")
        trained.append((joined.checkpoints[0], majority_probe(labels, parts, groups=speakers, name=name)))
    extra: dict[str, Any] = {"feature": "embedding", "target": target, "family": "linear", **(context or {})}
    seeds = _collect(trained, score_probes, extra)
    summary = _collect(trained, summarise_probes, extra)
    best = best_layer(summary[summary["model"] != "majority_class"], measure=_HEADLINE_MEASURE)
    files = [
        *write_table(seeds, output, "probe"),
        *write_table(summary, output, "probe_summary"),
        *write_table(best, output, "best_layers"),
    ]
    facts: dict[str, object] = {"clips": len(labels), "train / validation / test": _sizes(parts)}
    return Outcome(tuple(files), facts)


def divide_clips(joined: Joined, probe: ProbeConfig, split: SplitConfig) -> np.ndarray:
    """Return which clips train, stop and test the probes, [N].

    Raises:
        AnalysisError: If there are too few held-out speakers.
    """
    if probe.splits == "study":
        return joined.column("split")
    speakers = joined.column(probe.groups)
    if len(set(speakers)) < 3:
        raise AnalysisError(
            "There are too few held-out speakers to divide them for probes",
            expected="3 or more: one each to train, stop and test",
            found=f"{len(set(speakers))}: {', '.join(sorted(set(speakers)))}",
            fix="set analyze.probe.splits to study, which probes on the study's own splits",
        )
    table = joined.clips.assign(speaker=speakers)
    scheme = split.fractions.model_dump() if split.fractions is not None else split.scheme
    # A split column, one speaker or one fold at a time says nothing about how to divide what is held out.
    scheme = "study_e" if scheme in ("manifest", "loso", "kfold") else scheme
    return split_speakers(table, scheme=scheme, seed=split.seed).to_numpy().astype(str)


def _train(
    one: Representation,
    labels: np.ndarray,
    parts: np.ndarray,
    speakers: np.ndarray,
    probe: ProbeConfig,
    progress: Progress,
) -> list[Probes]:
    options = ProbeOptions(
        learning_rate=probe.learning_rate,
        batch_size=probe.batch_size,
        max_epochs=probe.max_epochs,
        min_delta=probe.min_delta,
        patience=probe.patience,
    )
    names = [one.key(layer) for layer in one.layer_names]
    stacked = np.stack(one.layers())
    return [
        fit_probes(
            stacked, labels, parts, groups=speakers, names=names, seeds=range(probe.seeds),
            shuffled_labels=shuffled, options=options, progress=progress,
        )
        for shuffled in (False, *((True,) if "shuffled_labels" in probe.controls else ()))
    ]  # fmt: skip


def _collect(trained, tabulate, extra: dict[str, Any]) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    tables = []
    for one, probes in trained:
        table = tabulate(probes).assign(pooling=one.pooling, **extra)
        table.loc[table["layer"] == FEATURE_LAYER, ["pooling", "feature"]] = ["functionals", "acoustic"]
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _sizes(parts: np.ndarray) -> str:
    return " / ".join(str(int((parts == part).sum())) for part in ("train", "validation", "test"))
