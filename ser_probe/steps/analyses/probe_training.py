"""The analysis `probe`, the training: layers are read, a few at a time, and every family learns from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ser_probe.analysis.inputs import RepresentationKey
from ser_probe.analysis.probes.family_table import FamilySpec, family
from ser_probe.analysis.probes.fitting import Probes, fit_probes, join_probes, majority_probe
from ser_probe.analysis.probes.mlp import MLP_OPTIONS
from ser_probe.analysis.probes.numbers import fit_numbers
from ser_probe.analysis.probes.training import ProbeOptions
from ser_probe.config import ProbeConfig
from ser_probe.errors import AnalysisError
from ser_probe.runtime import Progress
from ser_probe.steps.analyses.probe_targets import Task
from ser_probe.steps.analyses.representations import Representation

WEIGHTED_SUM = "weighted_sum"
"""The layer that a learned sum of layers is called."""
NUMBER_FAMILY = "ridge"

_FEATURE_BYTES = 512 * 2**20  # raw features that are held at a time
_SHOWN = 5


@dataclass(frozen=True)
class Trained:
    """Probes of one family on the layers of one file.

    Args:
        family: Its name.
        source: The file.
        probes: Classifiers (`Probes`) or regressions (`Regressions`), as the task has it.
        control: The same on shuffled labels, None without.
    """

    family: str
    source: Representation
    probes: Any
    control: Any


def train_task(
    task: Task, probe: ProbeConfig, *, random: Representation | None, progress: Progress
) -> Iterator[Trained]:
    """Yield the probes of a task, a file and a family at a time.

    Args:
        task: What to predict, and how clips are divided.
        probe: Families, seeds and controls.
        random: The same architecture with random weights, on the task's clips; None without.
        progress: Told of each representation and fold.
    """
    models = task.joined.checkpoints
    sources = [(one, "") for one in models]
    if task.joined.features is not None:
        sources.append((task.joined.features, ""))
    if random is not None:
        sources.append((random, "random_weights"))
    for source, control in sources:
        progress.say(f"probes of {task.name}: {source.model} {source.checkpoint}".rstrip())
        for name in class_families(probe) if task.kind == "classes" else (NUMBER_FAMILY,):
            spec = family(name, task.kind)
            if spec.sums_layers and len(source.layer_names) < 2:
                continue
            trained = _train(task, source, name, spec, probe, shuffle=not control, progress=progress)
            yield trained if not control else _as_control(trained, models[0], control)


def class_families(probe: ProbeConfig) -> tuple[str, ...]:
    """Return the families that predict classes; `ridge` beside them is for numeric targets."""
    return tuple(dict.fromkeys(name for name in probe.families if name != NUMBER_FAMILY))


def train_majority(task: Task) -> Probes:
    """Return the control that always answers the commonest class."""
    name = RepresentationKey("majority_class", "", float("nan"), "")
    return majority_probe(task.targets[0], task.folds, name=name, shares_groups=_leaks_speakers_by_design(task))


def family_options(name: str, probe: ProbeConfig) -> dict[str, Any]:
    """Return a family's own arguments as the study sets them."""
    if name not in ("linear", "layer_sum", "mlp"):
        return {}
    # The learning rate is the linear probes': a hidden layer overshoots at it, and keeps its own.
    options = ProbeOptions(
        learning_rate=MLP_OPTIONS.learning_rate if name == "mlp" else probe.learning_rate,
        batch_size=probe.batch_size,
        max_epochs=probe.max_epochs,
        min_delta=probe.min_delta,
        patience=probe.patience,
    )
    return {"options": options}


def _train(
    task: Task, source: Representation, name: str, spec: FamilySpec, probe: ProbeConfig, *, shuffle: bool,
    progress: Progress,
) -> Trained:  # fmt: skip
    wanted = (False, True) if shuffle and "shuffled_labels" in probe.controls else (False,)
    parts: dict[bool, list[Any]] = {shuffled: [] for shuffled in wanted}
    n_representations = 1 if spec.sums_layers else len(source.layer_names)
    progress.start(f"{name} probes", len(wanted) * n_representations * len(task.folds.names), "fits")
    for layers in _layer_groups(task, source, whole=spec.sums_layers):
        x = _read(task, source, layers)
        names = [source.key(WEIGHTED_SUM)] if spec.sums_layers else [source.key(layer) for layer in layers]
        common: Mapping[str, Any] = {
            "names": names, "spec": spec, "shares_groups": _leaks_speakers_by_design(task),
            "options": family_options(name, probe), "progress": progress,
        }  # fmt: skip
        for shuffled in wanted:
            if task.kind == "classes":
                fitted: Any = fit_probes(
                    x,
                    task.targets[0],
                    task.folds,
                    seeds=range(probe.initialisations),
                    shuffled_labels=shuffled,
                    **common,
                )
            else:
                fitted = fit_numbers(x, task.targets, task.folds, shuffled_labels=shuffled, **common)
            parts[shuffled].append(fitted)
    progress.finish()
    joined = {shuffled: _join(part_probes) for shuffled, part_probes in parts.items()}
    return Trained(name, source, joined[False], joined.get(True))


def _join(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], Probes):
        return join_probes(parts)
    return replace(
        parts[0],
        names=[name for part_probes in parts for name in part_probes.names],
        answers={
            part: np.concatenate([part_probes.answers[part] for part_probes in parts]) for part in parts[0].answers
        },
        strength=np.concatenate([part_probes.strength for part_probes in parts]),
    )


def _as_control(trained: Trained, model: Representation, control: str) -> Trained:
    """Return the probes of a file as a control of a model: under its name, at no checkpoint."""
    names = [RepresentationKey(model.model, "", float("nan"), name.layer) for name in trained.probes.names]
    return replace(trained, probes=replace(trained.probes, names=names, control=control))


def _layer_groups(task: Task, source: Representation, *, whole: bool) -> list[Sequence[str]]:
    """Return the layers that are read at a time."""
    if whole:
        return [source.layer_names]
    one = 4 * len(task.joined.clips) * source.layer(source.layer_names[0]).shape[1]
    at_once = max(1, _FEATURE_BYTES // one)
    return [source.layer_names[start : start + at_once] for start in range(0, len(source.layer_names), at_once)]


def _read(task: Task, source: Representation, layers: Sequence[str]) -> np.ndarray:
    """Return layers of the task's clips, [L, N, D].

    Raises:
        AnalysisError: If a clip has a value that is not finite; it is named.
    """
    x = np.stack(source.layers() if list(layers) == list(source.layer_names) else [source.layer(one) for one in layers])
    with np.errstate(over="ignore", invalid="ignore"):
        bad = ~np.isfinite(x.sum(axis=2, dtype=np.float64))
    if bad.any():
        clips = task.joined.clips.iloc[np.flatnonzero(bad.any(axis=0))]
        named = clips["path"] if "path" in clips else clips["clip_id"]
        raise AnalysisError(
            "Some clips have embeddings that are not finite",
            where=f"{source.path}, layers {', '.join(layers[i] for i in np.flatnonzero(bad.any(axis=1))[:_SHOWN])}",
            expected="numbers",
            found=f"NaN or infinity in {len(clips)} of {x.shape[1]} clips: " + ", ".join(map(str, named[:_SHOWN])),
            fix="leave these clips out of the manifest given with --clips, or extract them again",
        )
    return x


def _leaks_speakers_by_design(task: Task) -> bool:
    """Tell whether the division shares what it should keep apart: the published one does."""
    return task.divided_by == "clip" and task.targets[0].group_name != "clip"
