"""What is asked of probes beyond their scores: code lengths, learning curves, transfer between checkpoints and corpora,
and directions. Called by the analysis `probe`, which has joined the caches and divided the clips."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ser_probe.analysis.inputs import RepresentationKey
from ser_probe.analysis.probes.controls import shuffle_values
from ser_probe.analysis.probes.description_length import describe_labels
from ser_probe.analysis.probes.directions import direction_cosines
from ser_probe.analysis.probes.families import Folds
from ser_probe.analysis.probes.family_table import FAMILIES, train_classes
from ser_probe.analysis.probes.learning_curve import learning_curve
from ser_probe.analysis.probes.transfer import checkpoint_transfer, corpus_transfer
from ser_probe.analysis.resampling import group_codes
from ser_probe.config import ProbeConfig
from ser_probe.errors import AnalysisError
from ser_probe.runtime import SILENT, Progress
from ser_probe.steps.analyses.probe_training import family_options
from ser_probe.steps.analyses.representations import Joined, Representation
from ser_probe.steps.tables import write_table

# Enough to tell the noise of a seed from a difference between checkpoints; more cost as much again each.
_MOST_SEEDS = 3


def wants_extras(probe: ProbeConfig) -> bool:
    """Tell whether a study asks for any of them."""
    return probe.description_length or probe.learning_curve or probe.transfer or probe.directions


def write_probe_extras(
    joined: Joined,
    output: Path,
    *,
    probe: ProbeConfig,
    labels: np.ndarray,
    groups: np.ndarray,
    folds: Folds,
    context: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
) -> list[Path]:
    """Write those of the further tables that the study asks for, from `probe_description_length` on.

    They use linear softmax probes trained as the study's; code lengths use regularised ones, which are not sure of
    themselves on few clips.

    Args:
        joined: The caches, joined on the clips that the folds divide.
        output: Folder of the tables.
        probe: What is asked for, and how a probe is trained.
        labels: Classes to predict, text [N].
        groups: Speakers [N].
        folds: How the clips are divided.
        context: Columns to add to the tables; `target` among them where there are several.
        progress: Told of each layer, and of what cannot be done and why.

    Returns:
        The files written.
    """
    parts, remarks = defaultdict[str, list[pd.DataFrame]](list), dict[str, None]()
    series = _checkpoints_by_model(joined)
    progress.start("probe extras", sum(len(_shared_layers(states)) for states in series), "layers")
    for states in series:
        # Only a layer that every checkpoint has can be followed.
        for layer in _shared_layers(states):
            x = np.stack([state.layer(layer) for state in states])
            names = [state.key(layer) for state in states]
            for name, table in _of_layer(x, names, joined, probe, labels, groups, folds, remarks):
                parts[name].append(table.assign(pooling=states[0].pooling))
            progress.advance()
    progress.finish()
    for remark in remarks:
        progress.say(remark)
    extra = {"feature": "embedding", "target": "label", **(context or {})}
    files: list[Path] = []
    for name, tables in parts.items():
        family = "logistic" if name == "probe_description_length" else "linear"
        files += write_table(pd.concat(tables, ignore_index=True).assign(**extra, family=family), output, name)
    return files


def _of_layer(
    x: np.ndarray,
    names: Sequence[RepresentationKey],
    joined: Joined,
    probe: ProbeConfig,
    labels: np.ndarray,
    groups: np.ndarray,
    folds: Folds,
    remarks: dict[str, None],
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the tables of one layer at all its checkpoints; what cannot be done is noted in `remarks`."""
    seeds = range(min(probe.initialisations, _MOST_SEEDS))
    linear = partial(train_classes, FAMILIES["linear"], options=family_options("linear", probe))
    single, several = partial(linear, seeds=range(1)), partial(linear, seeds=seeds)
    regularised = partial(train_classes, FAMILIES["logistic"], seeds=range(1))
    used = (folds.parts >= 0).any(axis=0)
    if probe.description_length:
        yield from _attempt(
            "probe_description_length",
            lambda: describe_labels(x[:, used], labels[used], groups[used], fit=regularised, names=names),
            remarks,
        )
    if probe.learning_curve:
        yield "probe_curve", learning_curve(x, labels, groups, folds, fit=single, names=names)
    if (probe.transfer or probe.directions) and len(x) > 1:
        classes, codes = group_codes(labels)
        trained = several(x, codes, folds, groups=groups, n_classes=len(classes))
        if probe.transfer:
            yield "probe_transfer", checkpoint_transfer(x, labels, groups, folds, trained, names=names)
        if probe.directions:
            given = np.stack([shuffle_values(codes, groups, seed, folds) for seed in seeds])
            shuffled = several(x, given, folds, groups=groups, n_classes=len(classes))
            cosines = direction_cosines(x, folds, trained, classes=list(classes), names=names, shuffled=shuffled)
            yield "probe_directions", cosines
    if probe.transfer and "corpus" in joined.clips and joined.clips["corpus"].nunique() > 1:
        corpora = joined.column("corpus")
        yield from _attempt(
            "probe_corpus_transfer",
            lambda: corpus_transfer(x, labels, groups, corpora, folds, fit=several, names=names),
            remarks,
        )


def _attempt(
    name: str, make: Callable[[], pd.DataFrame], remarks: dict[str, None]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield a table; where the clips do not allow it, note why: the other tables must not be lost for it."""
    try:
        yield name, make()
    except AnalysisError as error:
        remarks[f"{name}: left out. {error.what}" + (f" (found: {error.found})" if error.found else "")] = None


def _checkpoints_by_model(joined: Joined) -> list[list[Representation]]:
    models = list(dict.fromkeys(state.model for state in joined.checkpoints))
    return [[state for state in joined.checkpoints if state.model == model] for model in models]


def _shared_layers(states: Sequence[Representation]) -> list[str]:
    return [layer for layer in states[0].layer_names if all(layer in state.layer_names for state in states)]
