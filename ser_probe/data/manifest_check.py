"""All that is wrong with a manifest, reported at once.

A *fault* is structural (a column is missing, a recording has two labels) and stops the study; a *reject* is a clip that
cannot be used, which is listed and left out.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ser_probe.clip_length import MIN_DURATION_S
from ser_probe.data.clip_files import AudioFacts, look_into_files
from ser_probe.data.columns import ALIASES, NUMBER_COLUMNS
from ser_probe.data.identities import settle_identities
from ser_probe.data.manifest import Manifest
from ser_probe.data.thin_labels import labels_to_keep, thin_labels
from ser_probe.errors import ManifestError, collect, did_you_mean, shorten
from ser_probe.files import LFS_FIX
from ser_probe.runtime import SILENT, Progress

MAX_DURATION_S = 60.0

_SHOWN = 5
_CONTENT_ID = re.compile("[0-9a-f]{32}")  # as `files.content_id` writes it
# A stated duration may be rounded, or count a lossy file's padding: so far off in seconds, or as a share.
_OTHER_LENGTH_S, _OTHER_LENGTH = 0.1, 0.05


@dataclass(frozen=True, eq=False)
class ManifestReport:
    """What a check found.

    Attributes:
        manifest: The usable clips, with `clip_id` and `duration_s` as measured.
        faults: What must be fixed before the manifest can be used.
        warnings: What is worth knowing.
        rejects: The clips left out: columns path, kind, reason.
    """

    manifest: Manifest
    faults: list[str]
    warnings: list[str]
    rejects: pd.DataFrame

    def raise_for_faults(self) -> None:
        """Stop if there is a fault.

        Raises:
            ManifestError: With all faults.
        """
        if self.faults:
            where = self.manifest.source or self.manifest.audio_root
            fix = labels_to_keep(self.faults, self.manifest.table)
            raise collect(ManifestError, "The manifest cannot be used", self.faults, where=where, fix=fix)

    def summary(self) -> str:
        """Return what was found in a few lines."""
        table = self.manifest.table
        parts = [f"{len(table)} clips"]
        if "duration_s" in table:
            parts.append(f"{table['duration_s'].sum() / 3600:.2f} h of audio")
        parts += [f"{table[name].nunique()} {name}s" for name in ("speaker", "label") if name in table]
        lines = [", ".join(parts)]
        if len(self.rejects):
            lines.append(f"{len(self.rejects)} clips left out: {_count_kinds(self.rejects)}")
        lines += [f"warning: {warning}" for warning in self.warnings]
        lines += [f"fault: {fault}" for fault in self.faults]
        return "\n".join(lines)


def check_manifest(
    manifest: Manifest,
    inspect: Callable[[Path], AudioFacts],
    *,
    min_duration_s: float = MIN_DURATION_S,
    max_duration_s: float = MAX_DURATION_S,
    for_learning: bool = True,
    strict: bool = False,
    n_threads: int | None = None,
    progress: Progress = SILENT,
) -> ManifestReport:
    """Check a manifest's columns, cells and files.

    Args:
        manifest: What to check.
        inspect: Looks into one file; raises an `AudioError` if it cannot be used.
        min_duration_s: Shorter clips are left out, in seconds.
        max_duration_s: Longer clips are left out, in seconds.
        for_learning: Whether labels and speakers are needed.
        strict: Whether a clip that cannot be used is a fault.
        n_threads: Files looked into at a time; chosen by the machine if None.
        progress: Told of each file.

    Returns:
        The report; nothing is raised for what is wrong, see `ManifestReport.raise_for_faults`.
    """
    # Again, because tables are also made, and columns changed, after reading.
    table, notes = settle_identities(manifest.table.reset_index(drop=True), manifest.source)
    notes = list(dict.fromkeys([*manifest.notes, *notes]))
    table, id_notes = _keep_users_ids(table)
    notes += id_notes
    manifest = dataclasses.replace(manifest, table=table, notes=tuple(notes))
    faults = [*_missing_columns(table, for_learning), *_broken_cells(table, for_learning)]
    if not len(table):
        return ManifestReport(manifest, [*faults, "the manifest has no rows"], notes, _reject_table([]))
    if "path" not in table:
        return ManifestReport(manifest, faults, notes, _reject_table([]))

    facts, rejects = look_into_files(manifest, inspect, min_duration_s, max_duration_s, n_threads, progress)
    notes += _other_lengths(table.loc[list(facts)], facts)
    clips = table.loc[list(facts)].assign(
        clip_id=[fact.clip_id for fact in facts.values()],
        duration_s=[float(fact.duration_s) for fact in facts.values()],
    )
    clash_faults, duplicates, warnings = _find_duplicates(
        clips, [fact.audio_id for fact in facts.values()], for_learning
    )
    warnings += _noted({str(table.loc[row, "path"]): fact.notes for row, fact in facts.items()})
    clips = clips.drop(index=[row for row, _, _ in duplicates])
    faults += clash_faults
    rejected = _reject_table(
        (str(table.loc[row, "path"]), kind, reason) for row, kind, reason in sorted([*rejects, *duplicates])
    )
    pointers = int((rejected["kind"] == "lfs_pointer").sum())
    if pointers:
        warnings.append(f"{pointers} of {len(table)} files are Git LFS pointers, not audio: {LFS_FIX}")
    if not len(clips):
        faults.append(f"no clip can be used: {_count_kinds(rejected)}, such as {_describe(rejected)[0]}")
    elif strict:
        faults += _describe(rejected)
    if len(clips):
        faults += thin_labels(clips) if for_learning else ()
    warnings = [*notes, *warnings]
    usable = dataclasses.replace(manifest, table=clips.reset_index(drop=True))
    return ManifestReport(usable, faults, warnings, rejected)


def find_table_faults(manifest: Manifest, *, for_learning: bool = True) -> list[str]:
    """Return the faults that the table alone shows, without a look at any file; `check_manifest` names them too.

    Args:
        manifest: What to check.
        for_learning: Whether labels and speakers are needed.
    """
    table, _ = settle_identities(manifest.table.reset_index(drop=True), manifest.source)
    faults = [*_missing_columns(table, for_learning), *_broken_cells(table, for_learning)]
    return faults or (list(thin_labels(table)) if for_learning else [])


def _missing_columns(table: pd.DataFrame, for_learning: bool) -> Iterator[str]:
    for name in ("path", "label", "speaker") if for_learning else ("path",):
        if name in table:
            continue
        aliases = [repr(alias) for alias, meant in ALIASES.items() if meant == name]
        also = f" (or {' or '.join(aliases)})" if aliases else ""
        yield f"column {name!r}{also} is missing; {did_you_mean(name, map(str, table.columns))}"


def _broken_cells(table: pd.DataFrame, for_learning: bool) -> Iterator[str]:
    for name in ("path", "label", "speaker") if for_learning else ("path",):
        if name in table and (empty := _rows(table[name].isna() | (table[name] == ""))):
            yield f"column {name!r} is empty in {empty}"
    for name in NUMBER_COLUMNS:
        if name in table and not pd.api.types.is_numeric_dtype(table[name]):
            words = table[name].where(table[name] != "").dropna()
            broken = words[pd.to_numeric(words, errors="coerce").isna()]
            if len(broken):
                rows = _rows(table.index.isin(broken.index))
                yield f"column {name!r} must hold numbers; found {shorten(map(repr, broken), _SHOWN)} in {rows}"
        elif name in table and (rows := _rows(np.isinf(table[name].to_numpy(dtype=float)))):
            yield f"column {name!r} must hold finite numbers; infinite in {rows}"
    if {"speaker", "gender"} <= {*table.columns}:
        named = table[(table["gender"] != "") & (table["speaker"] != "")]
        counts = pd.crosstab(named["speaker"], named["gender"])
        for speaker in counts.index[(counts > 0).sum(axis=1) > 1]:
            genders = counts.loc[speaker][lambda count: count > 0]
            listed = ", ".join(f"{gender} in {n} clip{'s' * (n != 1)}" for gender, n in genders.items())
            apart = "" if "corpus" in table else ", or tell two corpora apart by a column 'corpus'"
            yield f"speaker {speaker!r} appears with {len(genders)} genders: {listed}; mend the column 'gender'{apart}"


def _keep_users_ids(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Keep ids of the user's own under another name, because `clip_id` becomes the hash of a clip's bytes."""
    if "clip_id" not in table:
        return table, []
    ids = table["clip_id"].fillna("").astype(str)
    if not len(ids) or all(not text or _CONTENT_ID.fullmatch(text) for text in ids):
        return table, []
    numbers = itertools.count(2)
    name = "own_clip_id"
    while name in table:
        name = f"own_clip_id_{next(numbers)}"
    note = f"the manifest's own column 'clip_id' is kept as {name!r}; 'clip_id' is the hash of a clip's bytes here"
    return table.rename(columns={"clip_id": name}), [note]


def _other_lengths(table: pd.DataFrame, facts: Mapping[int, AudioFacts]) -> Iterator[str]:
    """Report clips that are not as long as the manifest says: the only sign of some files that were cut short."""
    if "duration_s" not in table or not pd.api.types.is_numeric_dtype(table["duration_s"]):
        return
    measured = pd.Series({row: float(fact.duration_s) for row, fact in facts.items()}, dtype=float)
    stated = table["duration_s"].astype(float)
    wrong = (stated - measured).abs() > np.maximum(_OTHER_LENGTH_S, _OTHER_LENGTH * measured)
    if wrong.any():
        rows = wrong[wrong].index
        shown = [f"{table.loc[row, 'path']} ({stated[row]:g} s, measured {measured[row]:g} s)" for row in rows]
        yield f"{len(rows)} clip{'s' * (len(rows) != 1)} not as long as the manifest says: {shorten(shown, _SHOWN)}"


def _noted(notes: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Report how files with incomplete or wrong headers were read."""
    lines = [f"{path}: {note}" for path, of_file in notes.items() for note in of_file]
    yield from lines[:_SHOWN]
    if len(lines) > _SHOWN:
        yield f"{len(lines) - _SHOWN} more clips have such headers"


def _find_duplicates(
    clips: pd.DataFrame, audio_ids: Sequence[str], for_learning: bool
) -> tuple[list[str], list[tuple[int, str, str]], list[str]]:
    """Return faults, rejects and warnings for clips that sound the same: copies of a file, or of its samples.

    The first of several equal clips stays. Two labels for one recording contradict each other, and two speakers
    would let it stand on both sides of a split: both are for the user to resolve.
    """
    faults, rejects = [], []
    audio = pd.Series(audio_ids, index=clips.index, dtype=str)
    for _, copies in clips[audio.duplicated(keep=False)].groupby(audio, sort=False):
        first, *later = copies.index
        clashes = [
            f"{name}s {', '.join(sorted(copies[name].unique()))}"
            for name in ("label", "speaker")
            if for_learning and name in copies and copies[name].nunique() > 1
        ]
        if clashes:
            faults.append(f"the same audio has {' and '.join(clashes)}: {shorten(copies['path'], _SHOWN)}")
        rejects += [(row, "duplicate", f"the same audio as {copies.loc[first, 'path']}") for row in later]
    repeat = (
        "clip repeats the audio of another and is" if len(rejects) == 1 else "clips repeat the audio of others and are"
    )
    warnings = [f"{len(rejects)} {repeat} left out"] if rejects else []
    return faults, rejects, warnings


def _reject_table(rejects: Iterable[tuple[str, str, str]]) -> pd.DataFrame:
    return pd.DataFrame(list(rejects), columns=["path", "kind", "reason"], dtype=str)


def _count_kinds(rejects: pd.DataFrame) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in rejects["kind"].value_counts().items())


def _describe(rejects: pd.DataFrame) -> list[str]:
    return [f"{path}: {reason}" for path, reason in zip(rejects["path"], rejects["reason"], strict=True)]


def _rows(chosen: Iterable[bool]) -> str:
    """Return row numbers as a spreadsheet shows them (the header is row 1), or '' if there are none."""
    numbers = [str(number) for number, hit in enumerate(chosen, start=2) if hit]
    return f"row{'s' * (len(numbers) > 1)} {shorten(numbers, _SHOWN)}" if numbers else ""
