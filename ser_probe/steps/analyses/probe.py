"""The analysis `probe`: a probe head per layer, checkpoint and seed, with its baselines and controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ser_probe.analysis.probes.families import PART_NAMES
from ser_probe.analysis.probes.family_table import family
from ser_probe.config import ProbeConfig, SplitConfig, StudyConfig
from ser_probe.errors import AnalysisError, SerProbeError
from ser_probe.runtime import Progress, logger
from ser_probe.steps.analyses.corpora import corpus_sizes
from ser_probe.steps.analyses.inputs import Inputs
from ser_probe.steps.analyses.probe_division import Division, any_fine_tuned, embedded_clips, settle_division
from ser_probe.steps.analyses.probe_extras import wants_extras, write_probe_extras
from ser_probe.steps.analyses.probe_tables import ProbeTables
from ser_probe.steps.analyses.probe_targets import Task, probed_splits, settle_tasks
from ser_probe.steps.analyses.probe_training import NUMBER_FAMILY, class_families, train_majority, train_task
from ser_probe.steps.analyses.representations import Joined, Representation
from ser_probe.steps.outcome import Outcome

_SIGNIFICANT = 0.05


def run(inputs: Inputs, config: ProbeConfig) -> Outcome:
    """Write those tables of the entry `probe` that the targets and families give.

    `probe` has a row a seed, `probe_summary` means with intervals over speakers, `best_layers` what validation chose.

    Args:
        inputs: Caches, features as a baseline or as targets, a control, and how held-out speakers are divided anew.
        config: What to predict, and how.

    Raises:
        AnalysisError: If a target, family or division cannot be used, or embeddings are not finite.
    """
    progress, caches, clips = inputs.progress, inputs.caches, inputs.clips
    division = settle_division(config, embedded_clips(caches, clips), fine_tuned=any_fine_tuned(caches))
    probe = division.probe
    if division.reason:
        progress.say(division.line())
    context = {**inputs.context, "division": probe.division, "division_reason": division.reason}
    joined, random = _join(inputs, probe)
    if len(sizes := corpus_sizes(joined)) > 1:
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        progress.say(
            f"warning: the probes are of {len(sizes)} corpora pooled ({listed} clips): a probe can tell the corpus "
            "first and guess the labels that are common there. The table probe_corpus_transfer has probes of each "
            "corpus alone, tested on each" + ("" if probe.transfer else ", where transfer is on")
        )
    check_families(probe, tasks := settle_tasks(joined, probe, inputs.split))
    tables = ProbeTables(context)
    for task in tasks:
        _tell(task, progress)
        own_random = None if random is None else replace(random, rows=random.rows[task.targets[0].clips])
        trained = list(train_task(task, probe, random=own_random, progress=progress))
        trained.sort(key=lambda one: one.family)
        majority = train_majority(task) if task.kind == "classes" and "majority_class" in probe.controls else None
        for name, members in groupby(trained, key=lambda one: one.family):
            if task.kind == "classes":
                tables.add_classes(task, name, list(members), majority)
            else:
                tables.add_numbers(task, name, list(members))
    files = tables.write(inputs.output)
    _require_tables(files, probe)
    files += _extras(tasks, inputs.output, probe, context, progress)
    for remark in dict.fromkeys(tables.remarks):
        logger.warning(remark)
    return Outcome(tuple(files), _facts(joined, tasks, division))


def check_probes(clips: pd.DataFrame, probe: ProbeConfig, split: SplitConfig, *, fine_tuned: bool = False) -> None:
    """Raise now what would end the analysis `probe` only after hours of fine-tuning.

    Args:
        clips: A study's clips with `clip_id`, labels, speakers and splits.
        probe: What to predict, and how.
        split: How held-out speakers are divided anew.
        fine_tuned: Whether checkpoints will have been trained on the clips.

    Raises:
        AnalysisError: If a target, family or division cannot be used.
    """
    probe = settle_division(probe, clips, fine_tuned=fine_tuned).probe
    wanted = probed_splits(probe, (), clips)
    if wanted is not None:
        clips = clips[clips["split"].isin(wanted)].reset_index(drop=True)
    joined = Joined(clips, (), None, 0)
    check_families(probe, settle_tasks(joined, probe, split, features_known=False))


def look_ahead(study: StudyConfig, clips: pd.DataFrame, progress: Progress) -> None:
    """Raise where probes as they were asked for are impossible; with the defaults, they fail alone and later.

    Raises:
        SerProbeError: As `check_probes` does.
    """
    default = ProbeConfig()
    probe = study.analyze.section(ProbeConfig) or default
    as_default = all(getattr(probe, key) == getattr(default, key) for key in ("division", "targets", "groups"))
    if study.extract.splits != "all":
        clips = clips[clips["split"].isin(study.extract.splits)].reset_index(drop=True)
    try:
        check_probes(clips, probe, study.split, fine_tuned=study.finetune.enabled)
    except SerProbeError as error:
        if not as_default:
            raise
        progress.say(f"probe: will be left out. {error.line()}")


def check_families(probe: ProbeConfig, tasks: Sequence[Task]) -> None:
    """Check that every target has a family that can predict it.

    Raises:
        AnalysisError: If classes are to be predicted by a family of numbers.
    """
    kinds = {task.kind for task in tasks}
    if "classes" not in kinds:
        return
    if NUMBER_FAMILY in probe.families and "numbers" not in kinds:
        family(NUMBER_FAMILY, "classes")
    if not class_families(probe):
        family(probe.families[0], "classes")


def _join(inputs: Inputs, probe: ProbeConfig) -> tuple[Joined, Representation | None]:
    """Return the joined caches, and the one with random weights apart from them."""
    splits = probed_splits(probe, inputs.caches, inputs.clips)
    joined = replace(inputs, splits="all" if splits is None else splits).join(with_control=True)
    joined, random = joined.without_control(inputs.control)
    models = joined.checkpoints
    if random is not None and random.layer_names != models[0].layer_names:
        raise AnalysisError(
            "The control with random weights has other layers than the model",
            where=random.path,
            expected=", ".join(models[0].layer_names),
            found=", ".join(random.layer_names),
            fix="extract the same architecture with --random-weights",
        )
    return joined, random


def _extras(
    tasks: Sequence[Task], output: Path, probe: ProbeConfig, context: Mapping[str, Any] | None, progress: Progress
) -> list[Path]:
    """Write what is asked of the first target of classes beyond its scores."""
    classes = [task for task in tasks if task.kind == "classes"]
    if not classes or not wants_extras(probe):
        return []
    task, target = classes[0], classes[0].targets[0]
    return write_probe_extras(
        task.joined, output, probe=probe, labels=target.classes[target.values], groups=target.groups, folds=task.folds,
        context={**(context or {}), "target": target.name}, progress=progress,
    )  # fmt: skip


def _tell(task: Task, progress: Progress) -> None:
    """Say what must be known of a task's division before its scores are read."""
    for remark in task.remarks:
        logger.warning("%s: %s", task.name, remark)
    n_groups = _test_groups(task)
    n_layers = max((len(one.layer_names) for one in task.joined.checkpoints), default=0)
    smallest = 2.0 ** (1 - n_groups)
    if len(task.joined.checkpoints) > 1 and smallest * n_layers > _SIGNIFICANT:
        progress.say(
            f"{task.name}: with {n_groups} test {task.targets[0].group_name}s no p of a change is below "
            f"{smallest:.2g}, "
            f"nor below {min(1.0, smallest * n_layers):.2g} after Holm's correction over {n_layers} layers"
        )


def _test_groups(task: Task) -> int:
    tested = (task.folds.parts == PART_NAMES.index("test")).any(axis=0)
    return len(np.unique(task.targets[0].groups[tested]))


def _require_tables(files: Sequence[Path], probe: ProbeConfig) -> None:
    if not files:
        raise AnalysisError(
            "There is nothing that these probes could learn from",
            expected="a file with two layers or more for layer_sum",
            found=f"files with one layer, families {', '.join(probe.families)}",
            fix="take other families (analyze.probe.families), or files with more layers",
        )


def _facts(joined: Joined, tasks: Sequence[Task], division: Division) -> dict[str, object]:
    facts = joined.counts()
    if division.reason:
        facts["division"] = division.line().removeprefix("probe: division ")
    for task in tasks:
        prefix = "" if len(tasks) == 1 else f"{task.name}: "
        facts[f"{prefix}train / validation / test"] = _sizes(task)
        facts |= {f"{prefix}remark {i + 1}": remark for i, remark in enumerate(task.remarks)}
    return facts


def _sizes(task: Task) -> str:
    if len(task.folds.names) > 1:
        return f"{len(task.folds.names)} folds, each clip tests once"
    return " / ".join(str(int((task.folds.parts[0] == part).sum())) for part in range(len(PART_NAMES)))
