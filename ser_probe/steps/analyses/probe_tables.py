"""The analysis `probe`, its tables: scores, classes, chosen layers, changes and centres of what was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ser_probe.analysis.inputs import RepresentationKey
from ser_probe.analysis.probes.change_table import centre_table, change_table, number_change_table, shared_layers
from ser_probe.analysis.probes.class_tables import class_table, confusion_table
from ser_probe.analysis.probes.families import TEST
from ser_probe.analysis.probes.fitting import SCORED_PARTS, Probes
from ser_probe.analysis.probes.model_table import model_table
from ser_probe.analysis.probes.numbers import Regressions, best_number_layers, number_table
from ser_probe.analysis.probes.scoring import (
    PartScores,
    absent_classes,
    score_part,
    score_probes,
    summarise_probes,
    with_selectivity,
)
from ser_probe.analysis.probes.selection import best_layers
from ser_probe.config.analyze_probe import ANALYSIS
from ser_probe.steps.analyses.probe_targets import Task
from ser_probe.steps.analyses.probe_training import Trained
from ser_probe.steps.analyses.representations import FEATURE_LAYER, Representation
from ser_probe.steps.tables import write_table

HEADLINE_MEASURE = "uar"


@dataclass
class ProbeTables:
    """Tables in the making: rows are added a task and a family at a time.

    Args:
        context: Columns of all tables, such as corpus and run seed.
    """

    context: Mapping[str, Any]
    parts: dict[str, list[pd.DataFrame]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def write(self, output: Path) -> list[Path]:
        """Write the tables that have rows; return their paths."""
        files: list[Path] = []
        for name in ANALYSIS.tables:
            rows = [part for part in self.parts.get(name, []) if not part.empty]
            if rows:
                files += write_table(pd.concat(rows, ignore_index=True), output, name)
        return files

    def add(self, name: str, table: pd.DataFrame, task: Task, family: str, source: Representation) -> None:
        """Add rows, with the columns that say what they are about."""
        if table.empty:
            return
        table = table.assign(pooling=source.pooling, feature="embedding")
        if "target" not in table:
            table["target"] = task.targets[0].name
        table = table.assign(
            family=family, divided_by=task.divided_by, shares_speakers=task.shares_speakers, **self.context
        )
        if "layer" in table:
            table.loc[table["layer"] == FEATURE_LAYER, ["pooling", "feature"]] = ["functionals", "acoustic"]
        self.parts.setdefault(name, []).append(table)

    def add_classes(self, task: Task, family: str, trained: Sequence[Trained], majority: Probes | None) -> None:
        """Add everything about the classifiers of one family.

        Args:
            task: What they predict.
            family: Its name.
            trained: Those of every file.
            majority: The control that reads nothing, None without.
        """
        states: list[tuple[Trained, PartScores, PartScores | None]] = []
        for member in trained:
            scores = _score(member.probes)
            control = None if member.control is None else _score(member.control)
            if control is not None:
                self._add_scores(task, family, member.source, member.control, control)
                scores = {part: with_selectivity(scores[part], control[part]) for part in SCORED_PARTS}
            self._add_scores(task, family, member.source, member.probes, scores)
            best = self._add_best(task, family, member, scores[TEST])
            self.add("probe_classes", class_table(member.probes, scores[TEST]), task, family, member.source)
            self.add("probe_confusion", confusion_table(member.probes, best), task, family, member.source)
            self.add("probe_layer_weights", _layer_weights(member), task, family, member.source)
            states.append((member, scores[TEST], None if control is None else control[TEST]))
        if absent := absent_classes(trained[0].probes):
            self.remarks.append(f"{task.name}: no test clip is {', '.join(absent)}; scores are means over the others")
        if majority is not None:
            self._add_scores(task, family, trained[0].source, majority, _score(majority))
        for model_states in _series(states):
            for member, test, test_control in model_states:
                self.add("probe_centre", centre_table(member.probes, test, test_control), task, family, member.source)
            first, first_scores, _ = model_states[0]
            for member, test, _ in model_states[1:]:
                self._say_different_layers(first.probes, member.probes)
                table = change_table(first.probes, member.probes, first_scores, test)
                self.add("probe_changes", table, task, family, member.source)
        self._add_models(task, family, [member for member, *_ in states])

    def add_numbers(self, task: Task, family: str, trained: Sequence[Trained]) -> None:
        """Add everything about the regressions of one family; as `add_classes`."""
        for member in trained:
            for probes in (member.probes, member.control):
                if probes is not None:
                    self.add("probe_numbers", number_table(probes), task, family, member.source)
            if member.probes.control == "none":
                table = best_number_layers(member.probes, range(len(member.probes.names)))
                self.add("best_layers", table, task, family, member.source)
        for states in _series([(member, None, None) for member in trained]):
            for member, *_ in states[1:]:
                table = number_change_table(states[0][0].probes, member.probes)
                self.add("probe_number_changes", table, task, family, member.source)

    def _add_scores(
        self,
        task: Task,
        family: str,
        source: Representation,
        probes: Any,
        scores: dict[int, PartScores],
    ) -> None:
        self.add("probe", score_probes(probes, scores), task, family, source)
        self.add("probe_summary", summarise_probes(probes, scores), task, family, source)

    def _add_best(self, task: Task, family: str, member: Trained, test: PartScores) -> list[int]:
        """Add the chosen layer of a file; return its position, or none for a control."""
        if member.probes.control != "none":
            return []
        best = best_layers(member.probes, test, measure=HEADLINE_MEASURE)
        self.add("best_layers", best, task, family, member.source)
        layers = [name.layer for name in member.probes.names]
        return [layers.index(layer) for layer in best["layer"]]

    def _add_models(self, task: Task, family: str, trained: Sequence[Trained]) -> None:
        """Add comparisons of the models, each at its last checkpoint, and of the acoustic features with them."""
        last = _last_of_each(trained)
        table = model_table({name: member.probes for name, member in last.items()}, measure=HEADLINE_MEASURE)
        if not table.empty:
            poolings = {name: member.source.pooling for name, member in last.items()}
            table = table.assign(
                target=task.targets[0].name, family=family, pooling_a=table["model_a"].map(poolings),
                pooling_b=table["model_b"].map(poolings), divided_by=task.divided_by,
                shares_speakers=task.shares_speakers, **self.context,
            )  # fmt: skip
            self.parts.setdefault("probe_models", []).append(table)

    def _say_different_layers(self, before: Any, after: Any) -> None:
        shared = len(shared_layers(before.names, after.names))
        n = max(len(before.names), len(after.names))
        if shared < n:
            self.remarks.append(f"files differ in their layers: {shared} of {n} are compared with the first one's")


def _score(probes: Any) -> dict[int, PartScores]:
    return {part: score_part(probes, part) for part in SCORED_PARTS}


def _series(states: Sequence[tuple[Trained, Any, Any]]) -> list[list[tuple[Trained, Any, Any]]]:
    """Return the checkpoints of each model in the order of their steps, controls and acoustic features left out."""
    models: dict[str, list[tuple[Trained, Any, Any]]] = {}
    for state in states:
        member = state[0]
        if member.probes.control == "none" and not np.isnan(member.source.step):
            models.setdefault(member.source.model, []).append(state)
    return [sorted(series, key=lambda state: state[0].source.step) for series in models.values()]


def _last_of_each(trained: Sequence[Trained]) -> dict[str, Trained]:
    """Return the last checkpoint of each model, controls left out; a model of several poolings is as many models."""
    last: dict[tuple[str, str], Trained] = {}
    for member in trained:
        key = (member.source.model, member.source.pooling)
        if member.probes.control == "none" and not (key in last and member.source.step <= last[key].source.step):
            last[key] = member
    models = [model for model, _ in last]
    return {
        model if models.count(model) == 1 else f"{model} ({pooling})": member
        for (model, pooling), member in last.items()
    }


def _layer_weights(member: Trained) -> pd.DataFrame:
    """Return what a learned sum of layers weighs each by: means over folds and seeds."""
    probes = member.probes
    if isinstance(probes, Regressions) or probes.layer_weights is None:
        return pd.DataFrame()
    weights = probes.layer_weights[0].reshape(-1, probes.layer_weights.shape[-1])
    name = probes.names[0]
    assert isinstance(name, RepresentationKey)
    return pd.DataFrame({
        "model": name.model, "checkpoint": name.checkpoint, "step": name.step, "layer": list(member.source.layer_names),
        "control": probes.control, "measure": "layer_weight", "value": weights.mean(axis=0),
        "std_over_seeds": weights.std(axis=0, ddof=1) if len(weights) > 1 else np.nan, "n_seeds": len(weights),
    })  # fmt: skip
