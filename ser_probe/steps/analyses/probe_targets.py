"""What the analysis `probe` predicts, of which clips, and who trains and tests: settled before any layer is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ser_probe.analysis.probes.divisions import check_folds, random_fold, rotated_folds, single_fold
from ser_probe.analysis.probes.families import Folds
from ser_probe.analysis.probes.targets import Kind, Target, can_be_computed, make_target, names_groups
from ser_probe.config import ProbeConfig, SplitConfig
from ser_probe.data.splits import speaker_folds, split_speakers
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import AnalysisError, did_you_mean
from ser_probe.steps.analyses.probe_division import known_clips
from ser_probe.steps.analyses.representations import CacheFile, Joined

EGEMAPS = "egemaps"
_ROTATED = ("kfold", "loso")


@dataclass(frozen=True)
class Task:
    """Targets that are probed together: one of classes, or several of numbers.

    Args:
        targets: What to predict, of the same N clips.
        joined: These clips, and where they lie in the files.
        folds: How they are divided.
        divided_by: What the parts do not share: `speaker`, `sentence` or `clip`.
        shares_speakers: Whether a speaker may be in several parts.
        remarks: What must be said about the division, a line each.
    """

    targets: tuple[Target, ...]
    joined: Joined
    folds: Folds
    divided_by: str
    shares_speakers: bool
    remarks: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """`classes` or `numbers`."""
        return self.targets[0].kind

    @property
    def name(self) -> str:
        """The target's name, or how many there are."""
        return self.targets[0].name if len(self.targets) == 1 else f"{len(self.targets)} numeric targets"


def probed_splits(
    probe: ProbeConfig, caches: Sequence[CacheFile], clips: pd.DataFrame | None
) -> tuple[str, ...] | None:
    """Return the splits whose clips are probed; None for all clips."""
    if probe.division == "study" or (probe.division in _ROTATED and probe.among == "all"):
        return None
    if probe.division == "heldout":
        return ("test",)
    return ("test",) if "split" in known_clips(caches, clips) else None


def settle_tasks(joined: Joined, probe: ProbeConfig, split: SplitConfig, *, features_known: bool = True) -> list[Task]:
    """Return what is to be probed, divided and checked.

    Args:
        joined: The clips, of the splits of `probed_splits`.
        probe: Targets, groups and division.
        split: How held-out speakers are divided anew.
        features_known: Whether acoustic features are there, for targets among them; without, these are passed over.

    Raises:
        AnalysisError: If a target or its division cannot be used: all that can go wrong before layers are read.
    """
    columns = {"targets": joined.known_names(probe.targets), "groups": joined.name_of(probe.groups)}
    probe = probe.model_copy(update=columns)
    tasks: list[Task] = []
    published = probe.division == "study_e_published"
    # Acoustic features must not predict themselves, so that functionals are apart from other numbers.
    numbers: dict[tuple[bool, bytes], list[Target]] = {}
    for name in probe.targets:
        for target, shares, remarks in _targets(name, joined, probe, features_known):
            if target.kind == "numbers":
                acoustic = name == EGEMAPS or name.startswith(f"{EGEMAPS}:")
                numbers.setdefault((acoustic, target.clips.tobytes()), []).append(target)
                continue
            clips_of_task = joined.of_clips(target.clips)
            folds = _divide(target, clips_of_task, probe, split)
            check_folds(target.classes[target.values], folds, target.groups, shares_groups=published)
            tasks.append(Task((target,), clips_of_task, folds, target.group_name, shares or published, remarks))
    for (acoustic, _), targets in numbers.items():
        clips_of_task = joined.of_clips(targets[0].clips)
        folds = _divide(targets[0], clips_of_task, probe, split)
        check_folds(None, folds, targets[0].groups, shares_groups=published)
        clips_of_task = replace(clips_of_task, features=None) if acoustic else clips_of_task
        tasks.append(Task(tuple(targets), clips_of_task, folds, targets[0].group_name, published))
    if published:
        remark = "clips are divided at random, as Study E published it: training and test share speakers"
        tasks = [replace(task, divided_by="clip", remarks=(*task.remarks, remark)) for task in tasks]
    return tasks


def _targets(
    name: str, joined: Joined, probe: ProbeConfig, features_known: bool
) -> list[tuple[Target, bool, tuple[str, ...]]]:
    """Return the targets of a name, each with whether its parts share speakers and what is to be said."""
    groups = joined.column(probe.groups)
    if name == EGEMAPS or name.startswith(f"{EGEMAPS}:"):
        columns = _functionals(name, joined) if features_known else {}
        return [
            (make_target(column, values, groups, group_name=probe.groups, kind="numbers"), False, ())
            for column, values in columns.items()
        ]
    if name not in joined.clips:
        known = [str(column) for column in joined.clips.columns]
        raise AnalysisError(f"The clips have no column {name!r} to predict", fix=did_you_mean(name, [*known, EGEMAPS]))
    values = joined.clips[name]
    kind: Kind | None = None if probe.task == "auto" else probe.task
    target = make_target(name, values, groups, group_name=probe.groups, kind=kind)
    remarks = (f"{target.n_missing} clips have no {name} and are left out",) if target.n_missing else ()
    if target.kind == "numbers" or not names_groups(target.values, target.groups):
        return [(target, False, remarks)]
    column, other = _other_groups(joined, target)
    target = replace(target, groups=other, group_name=column)
    what = "whole sentences" if column == "sentence" else "single clips"
    remark = f"{name} is what divides clips, so no {name} can be kept out of training: {what} are divided instead"
    return [(target, True, (*remarks, remark))]


def _other_groups(joined: Joined, target: Target) -> tuple[str, np.ndarray]:
    """Return what divides clips where speakers cannot: sentences that every part can have, else each clip by itself."""
    table = joined.clips.iloc[target.clips]
    if "sentence" in table:
        sentences = table["sentence"]
        if sentences.notna().all() and (sentences.astype(str) != "").all() and sentences.nunique() >= 3:
            return "sentence", sentences.astype(str).to_numpy()
    return "clip", table["clip_id"].astype(str).to_numpy()


def _functionals(name: str, joined: Joined) -> dict[str, pd.Series]:
    """Return the acoustic functionals of a target's name, by their own."""
    if joined.features is None:
        raise AnalysisError(
            f"The target {name!r} needs acoustic features",
            fix="give their file (--features FEATURES.h5), or extract them (extract.egemaps)",
        )
    with EmbeddingCache.open(joined.features.path) as cache:
        known = [str(feature) for feature in cache.attributes.get("feature_names", [])]
        layer = cache.layer_names[0]
    values = joined.features.layer(layer)
    wanted = known if name == EGEMAPS else [name.removeprefix(f"{EGEMAPS}:")]
    for feature in wanted:
        if feature not in known:
            raise AnalysisError(
                f"There is no acoustic functional {feature!r}", where=joined.features.path,
                fix=did_you_mean(feature, known),
            )  # fmt: skip
    columns = {feature: pd.Series(values[:, known.index(feature)], dtype=float) for feature in wanted}
    if name != EGEMAPS:
        return columns
    # A functional that is the same for all clips says nothing and has no R2; among 88 it is passed over.
    varying = {
        feature: column
        for feature, column in columns.items()
        if column.nunique() > 1 and can_be_computed(column.to_numpy())
    }
    if not varying:
        raise AnalysisError(
            "No acoustic functional varies over these clips", where=joined.features.path, found=f"{len(values)} clips"
        )
    return varying


def _divide(target: Target, joined: Joined, probe: ProbeConfig, split: SplitConfig) -> Folds:
    """Return how a target's clips are divided.

    Raises:
        AnalysisError: If there are too few speakers, or fewer than folds.
    """
    own_groups = target.group_name == probe.groups
    if probe.division == "study_e_published":
        return random_fold(len(target.clips), seed=split.seed)
    if probe.division == "study" and own_groups:
        return single_fold(joined.column("split"))
    groups = sorted(set(target.groups))
    table = joined.clips.assign(speaker=target.groups)
    if target.kind == "classes":
        table["label"] = target.classes[target.values]
    if target.group_name != "speaker":
        # Another column than the speaker's may well have clips of both genders in one group.
        table = table.drop(columns="gender", errors="ignore")
    if probe.division in _ROTATED:
        whole = probe.division == "loso" and own_groups
        _require(len(groups) >= (3 if whole else probe.folds), probe, groups)
        codes = speaker_folds(table, None if whole else probe.folds, split.seed).to_numpy()
        return rotated_folds(codes, [f"without {name}" for name in groups] if whole else None)
    if len(groups) < 3:
        raise AnalysisError(
            "There are too few held-out speakers to divide them for probes",
            expected="3 or more: one each to train, stop and test",
            found=f"{len(groups)}: {', '.join(groups)}",
            fix="set analyze.probe.division to study, which probes on the study's own splits, or to auto",
        )
    scheme = split.fractions.model_dump() if split.fractions is not None else split.scheme
    # A split column, one speaker or one fold at a time says nothing about how to divide what is held out.
    scheme = "study_e" if scheme in ("manifest", "loso", "kfold") else scheme
    return single_fold(split_speakers(table, scheme=scheme, seed=split.seed).to_numpy(), "heldout")


def _require(enough: bool, probe: ProbeConfig, groups: Sequence[str]) -> None:
    if enough:
        return
    folds = probe.folds if probe.division == "kfold" else 3
    among = " (or look at all clips: analyze.probe.among all)" if probe.among == "test" else ""
    raise AnalysisError(
        "There are fewer speakers than folds",
        expected=f"{folds} or more",
        found=f"{len(groups)}: {', '.join(groups[:8])}",
        fix=f"take fewer folds (analyze.probe.folds), or set analyze.probe.division to study{among}",
    )
