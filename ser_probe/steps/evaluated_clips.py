"""The clips that a classifier is scored on: rows of manifests, with labels read as its classes and files checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ser_probe.config import AudioConfig
from ser_probe.config.evaluation import EvaluateConfig
from ser_probe.data.columns import find_column
from ser_probe.data.identities import find_value
from ser_probe.data.label_map import check_label_map, map_labels
from ser_probe.data.manifest import Manifest, read_manifest, require_column
from ser_probe.embeddings.passes import ClipList
from ser_probe.errors import AnalysisError, ManifestError, did_you_mean, show
from ser_probe.files import distinct_names
from ser_probe.models.targets import CLASSES, DISTRIBUTION, Targets
from ser_probe.runtime import LARGEST_NUMBER, SILENT, Progress
from ser_probe.steps.prepare import prepare_clips

_AUTO_BY = ("gender", "corpus")
_SHOWN = 8


@dataclass(frozen=True, eq=False)
class EvaluatedClips:
    """The clips of an evaluation.

    Attributes:
        clips: The usable clips: `clip_id`, `path`, `duration_s`, `corpus`, the manifest's further columns; `label` as a
            class of the model and `corpus_label` as the manifest has it, where there are labels.
        by: Columns whose values are scored apart.
        left_out: Clips whose label is no class: `corpus`, `label`, `n`, `reason`.
        rejects: Clips that cannot be used: `path`, `reason`.
    """

    clips: ClipList
    by: tuple[str, ...]
    left_out: pd.DataFrame
    rejects: pd.DataFrame


def read_evaluated_clips(
    manifests: Sequence[Path],
    targets: Targets,
    config: EvaluateConfig,
    audio: AudioConfig,
    *,
    audio_root: Path | None = None,
    progress: Progress = SILENT,
) -> EvaluatedClips:
    """Read, choose and check the clips to evaluate.

    Args:
        manifests: One or more manifests; a corpus may be in several.
        targets: What the classifier predicts.
        config: Split, label map, columns.
        audio: Length limits.
        audio_root: Folder that the manifests' paths start from; None: each manifest's own folder.
        progress: Told of files, and of what was left out.

    Raises:
        ManifestError: If a manifest cannot be read or used.
        ConfigError: If the label map names a class that the model has not.
        AnalysisError: If a column or split that was asked for is missing, or a corpus has no label that the model
            knows.
    """
    check_label_map(config.label_map, targets.names)  # before anything is read
    read = [read_manifest(path, audio_root=audio_root) for path in manifests]
    chosen = [_choose_splits(manifest, config.splits, progress) for manifest in read]
    chosen, by, left_out = settle_clips(chosen, targets, config, progress=progress)
    tables, paths, rejects = [], [], []
    for manifest in chosen:
        # Labels are checked already, and clips are decoded later; only with `strict` all faults are wanted before.
        prepared = prepare_clips(
            manifest, audio, None, strict=config.strict, for_learning=False, decode=config.strict, progress=progress
        )
        progress.say(prepared.report.summary())
        tables.append(prepared.manifest.table)
        paths += prepared.manifest.audio_paths()
        rejects.append(prepared.report.rejects[["path", "reason"]])
    table = pd.concat(tables, ignore_index=True)
    again = table.duplicated(["corpus", "clip_id"])
    if again.any():
        progress.say(f"{int(again.sum())} clips are in several manifests and count once")
    clips = ClipList(
        table[~again].reset_index(drop=True), [p for p, twice in zip(paths, again, strict=True) if not twice]
    )
    return EvaluatedClips(clips, by, left_out, pd.concat(rejects, ignore_index=True))


def settle_clips(
    manifests: Sequence[Manifest], targets: Targets, config: EvaluateConfig, *, progress: Progress = SILENT
) -> tuple[list[Manifest], tuple[str, ...], pd.DataFrame]:
    """Interpret the columns of manifests for a classifier: corpora, true values, classes.

    Args:
        manifests: The clips to score, of each manifest.
        targets: What the classifier predicts.
        config: Label map, columns.
        progress: Told of what is left out or read otherwise.

    Returns:
        The manifests without the clips whose label is no class; the columns whose values are scored apart; the clips
        left out, as `EvaluatedClips` has them.

    Raises:
        As `read_evaluated_clips`.
    """
    names = _unnamed_corpora([manifest.source for manifest in manifests])
    settled = [
        _settle_columns(manifest, targets, config, name, progress)
        for manifest, name in zip(manifests, names, strict=True)
    ]
    _tell_shared_corpora(settled, progress)
    columns = {name for manifest in settled for name in manifest.table.columns}
    by = _choose_columns(config.by, columns, [manifest.table for manifest in settled])
    left_out = pd.DataFrame(columns=["corpus", "label", "n", "reason"])
    if "label" in columns and not targets.is_numeric:
        settled, left_out = _map_labels(settled, targets, config, progress)
    return settled, by, left_out


def _choose_splits(manifest: Manifest, splits: str | Sequence[str], progress: Progress) -> Manifest:
    """Return the clips of some splits; `auto` takes the test split where there are clips of it, else all clips."""
    table = manifest.table
    known = table["split"].value_counts() if "split" in table else pd.Series(dtype=int)
    if splits == "all" or (splits == "auto" and "test" not in known):
        progress.say(f"{manifest.source}: all {len(table)} clips")
        return manifest
    wanted = ["test"] if splits == "auto" else [splits] if isinstance(splits, str) else list(splits)
    if missing := [split for split in wanted if split not in known]:
        raise AnalysisError(
            f"No clip of the manifest is in the split {missing[0]!r}",
            where=manifest.source,
            found=", ".join(f"{count} {name}" for name, count in known.items()) or "no column 'split'",
            fix="evaluate all clips with --splits all",
        )
    chosen = table[table["split"].isin(wanted)].reset_index(drop=True)
    named = f"the split {wanted[0]}" if len(wanted) == 1 else f"the splits {', '.join(wanted)}"
    progress.say(f"{manifest.source}: {len(chosen)} of {len(table)} clips, those of {named}")
    return dataclasses.replace(manifest, table=chosen)


def _settle_columns(
    manifest: Manifest, targets: Targets, config: EvaluateConfig, unnamed: str, progress: Progress
) -> Manifest:
    """Return a manifest with a corpus, with true values under the names of the targets, and with labels by vote.

    Args:
        manifest: The clips.
        targets: What the classifier predicts.
        config: Which columns hold true values, and what labels stand for.
        unnamed: The corpus of clips without one.
        progress: Told where votes are used in place of labels.

    Raises:
        AnalysisError: If a column that was named is missing, or is named for what is no target.
        ManifestError: If a column of true values or votes holds text.
    """
    table = manifest.table
    for name, column in config.target_columns.items():
        if name not in targets.names:
            raise AnalysisError(f"The model has no target {name!r}", fix=did_you_mean(name, targets.names))
        table = table.assign(**{name: table[require_column(table, column, manifest.source)]})
    if targets.kind != CLASSES:
        known = [name for name in targets.names if name in table]
        table = table.assign(**{name: _numbers(table, name, manifest.source) for name in known})
    corpus = table["corpus"].where(table["corpus"] != "", unnamed) if "corpus" in table else unnamed
    table = table.assign(corpus=corpus)
    if targets.kind == DISTRIBUTION and {*targets.names} <= {*table.columns}:
        labels = set(table["label"]) if "label" in table else set()
        if any(_is_class(label, targets, config) for label in labels):
            return dataclasses.replace(manifest, table=table)
        if labels:
            progress.say(f"{manifest.source}: no label is a class of the model; the class of most votes is scored")
        # As fine-tuning does without labels: the class of most votes, of equals the first.
        shares = table[list(targets.names)].fillna(0).to_numpy()
        votes = np.array(targets.names, dtype=object)[shares.argmax(axis=1)]
        table = table.assign(label=np.where(shares.sum(axis=1) > 0, votes, ""))
    return dataclasses.replace(manifest, table=table)


def _is_class(label: str, targets: Targets, config: EvaluateConfig) -> bool:
    return find_value(label, targets.names) is not None or bool(config.label_map)


def _unnamed_corpora(sources: Sequence[Path | None]) -> list[str]:
    """Return names for the corpora of manifests without a column `corpus`.

    The name is that of the file, or of the folder for a file called `manifest`; equal names get as many parent folders
    as tell them apart.
    """
    paths = [None if source is None else source.expanduser().absolute() for source in sources]
    parts = [
        ("clips",) if path is None else path.parent.resolve().parts if path.stem == "manifest"
        else (*path.parent.parts, path.stem)
        for path in paths
    ]  # fmt: skip
    return distinct_names(parts)


def _tell_shared_corpora(manifests: Sequence[Manifest], progress: Progress) -> None:
    """Report corpora that are in several manifests: they are scored as one."""
    homes: dict[str, list[str]] = {}
    for manifest in manifests:
        for corpus in manifest.table["corpus"].unique():
            homes.setdefault(str(corpus), []).append(str(manifest.source))
    for corpus, sources in homes.items():
        if len(sources) > 1:
            progress.say(f"{', '.join(sources)} have clips of the corpus {corpus}, which is scored as one")


def _choose_columns(by: str | tuple[str, ...], columns: set[str], tables: Sequence[pd.DataFrame]) -> tuple[str, ...]:
    if by == "auto":
        return tuple(name for name in _AUTO_BY if any(name in table and (table[name] != "").any() for table in tables))
    assert not isinstance(by, str), "the schema admits no other word"
    chosen = []
    for name in by:
        column = find_column(name, columns)
        if column is None:
            raise AnalysisError(f"No manifest has the column {name!r}", fix=did_you_mean(name, columns))
        chosen.append(column)
    return tuple(dict.fromkeys(chosen))


def _map_labels(
    manifests: Sequence[Manifest], targets: Targets, config: EvaluateConfig, progress: Progress
) -> tuple[list[Manifest], pd.DataFrame]:
    """Return the manifests with labels that are classes, without the clips of others, and the table of those."""
    tables = [m.table if "label" in m.table else m.table.assign(label="") for m in manifests]
    all_labels = pd.concat([table[["corpus", "label"]] for table in tables], ignore_index=True)
    mapped = map_labels(all_labels["label"].tolist(), all_labels["corpus"].tolist(), targets.names, config.label_map)
    if mapped.unused:
        progress.say(f"entries of the label map that no clip has: {', '.join(mapped.unused)}")
    for corpus, part in mapped.left_out.groupby("corpus", sort=False):
        labels = ", ".join(f"{n} {label or '(empty)'}" for label, n in zip(part["label"], part["n"], strict=True))
        progress.say(f"{corpus}: {part['n'].sum()} clips are left out, whose label is no class of the model: {labels}")
        if part["n"].sum() == (all_labels["corpus"] == corpus).sum():
            raise AnalysisError(
                f"No label of {corpus} is a class of the model",
                expected=", ".join(targets.names),
                found=", ".join(show(label) for label in part["label"][:_SHOWN]),
                fix="say what its labels stand for, with --map LABEL=CLASS or --label-map FILE.yaml",
            )
    for corpus, names in mapped.absent.items():
        progress.say(f"{corpus}: no clip of the classes {', '.join(names)}")
    kept, start = [], 0
    for manifest, table in zip(manifests, tables, strict=True):
        classes = mapped.classes[start : start + len(table)]
        start += len(table)
        table = table.assign(corpus_label=table["label"], label=classes)[classes != ""]
        if len(table):
            kept.append(dataclasses.replace(manifest, table=table.reset_index(drop=True)))
    return kept, mapped.left_out


def _numbers(table: pd.DataFrame, name: str, where: object) -> pd.Series:
    """Return a column as numbers, NaN where the cell is empty."""
    values = table[name].where(table[name].astype(str) != "")
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    broken = values[~(numbers.abs() < LARGEST_NUMBER) & values.notna()]
    if len(broken):
        bad_values = ", ".join(map(show, broken.unique()[:_SHOWN]))
        raise ManifestError(
            f"The column {name!r} must hold finite numbers", where=where,
            expected=f"numbers of less than {LARGEST_NUMBER:g}, or nothing", found=bad_values,
        )  # fmt: skip
    return numbers
