"""The verb `prepare`: a corpus or a manifest -> a checked manifest with speaker-disjoint splits, and its audit."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ser_probe.config import AudioConfig, DataConfig, SplitConfig
from ser_probe.data.corpora import import_corpus
from ser_probe.data.identities import find_value
from ser_probe.data.manifest import Manifest, check_suffix, read_manifest, require_column, write_manifest
from ser_probe.data.manifest_check import ManifestReport, check_manifest, find_table_faults
from ser_probe.data.schemes import SPLITS
from ser_probe.data.splits import audit_splits, check_splits, split_speakers, summarise_audit
from ser_probe.errors import AudioError, ManifestError, SerProbeError, SplitError, did_you_mean
from ser_probe.runtime import SILENT, Progress
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.tables import write_csv, write_table

TABLE = "table"
"""The word for a file of the user's, in place of a corpus."""

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ser_probe.audio.load import ClipFacts


@dataclass(frozen=True)
class PreparedClips:
    """Checked clips.

    Attributes:
        report: The check: usable clips with `clip_id`, `duration_s` and, where asked for, `split`; rejects; warnings.
        audit: Who and what is in each split; None where no split was made.
    """

    report: ManifestReport
    audit: pd.DataFrame | None

    @property
    def manifest(self) -> Manifest:
        """The usable clips."""
        return self.report.manifest


def prepare_clips(
    manifest: Manifest,
    audio: AudioConfig,
    split: SplitConfig | None,
    *,
    strict: bool = False,
    for_learning: bool = True,
    labelled: bool = True,
    decode: bool = True,
    progress: Progress = SILENT,
) -> PreparedClips:
    """Check and split clips.

    Args:
        manifest: The clips, from `read_clips`.
        audio: Length limits.
        split: How to split the speakers; None keeps a split column, audited, or makes none.
        strict: Whether one unusable clip stops everything.
        for_learning: Whether labels and speakers are needed.
        labelled: Whether labels are what is learnt, so that they are needed and must be learnable.
        decode: Whether to decode each clip; else only its header and bytes are looked at.
        progress: Told of each file.

    Raises:
        ManifestError: With all faults of the manifest at once.
        SplitError: If the speakers cannot be split as asked.
    """
    import ser_probe.audio.load  # noqa: F401 - here, so that a missing package is not reported for a clip

    with _notes_before_errors(manifest, progress):
        # Faults of the table are found before minutes of decoding: files are then only inspected, so that all faults
        # are in one message.
        unusable = bool(find_table_faults(manifest, for_learning=for_learning and labelled))
        if not unusable and for_learning and "speaker" in manifest.table and len(manifest):
            _split(manifest.table, split)
        report = check_manifest(
            manifest,
            functools.partial(_try_clip, audio=audio, decode=decode and not unusable),
            min_duration_s=audio.min_duration_s,
            max_duration_s=audio.max_duration_s,
            for_learning=for_learning and labelled,
            strict=strict,
            progress=progress,
        )
        if for_learning and not labelled and "speaker" not in report.manifest.table:
            report.faults.append("column 'speaker' (or 'actor') is missing; nobody could be held out")
        report.raise_for_faults()
        table = report.manifest.table
        if split is None and not {"split", "speaker"} <= set(table):
            return PreparedClips(report, None)
        if split is not None or for_learning:
            table = _split(table, split)
        report = dataclasses.replace(report, manifest=dataclasses.replace(report.manifest, table=table))
        return PreparedClips(report, audit_splits(table))


@contextlib.contextmanager
def _notes_before_errors(manifest: Manifest, progress: Progress) -> Iterator[None]:
    """Report changes made in reading if an error follows, since they may be the reason; else the summary has them."""
    try:
        yield
    except SerProbeError:
        for note in manifest.notes:
            progress.say(f"warning: {note}")
        raise


def wanted_split(split: SplitConfig) -> SplitConfig | None:
    """Return how the speakers are to be split; None: the manifest's own splits are used."""
    return None if split.scheme == "manifest" else split


def require_splits(manifest: Manifest, split: SplitConfig, *, fix: str) -> None:
    """Refuse a manifest without splits if none are to be made, before its clips are looked at.

    Args:
        manifest: The clips, from `read_clips`.
        split: How the speakers are to be split.
        fix: What to do, in the words of the command.

    Raises:
        SplitError: If it has none.
    """
    if wanted_split(split) is None and "split" not in manifest.table:
        raise SplitError("The manifest has no column 'split'", where=manifest.source, fix=fix)


def _split(table: pd.DataFrame, split: SplitConfig | None) -> pd.DataFrame:
    """Return clips with the requested split, or with their own, checked.

    Raises:
        SplitError: If the speakers cannot be split so, or their own splits cannot be used.
    """
    if split is None:
        if "split" in table:
            check_splits(table)
        return table
    scheme: str | Mapping[str, float] = split.scheme
    if split.fractions is not None:
        scheme = split.fractions.model_dump()
    return table.assign(split=split_speakers(table, scheme=scheme, seed=split.seed, k=split.folds, fold=split.fold))


def _try_clip(path: Path, *, audio: AudioConfig, decode: bool) -> ClipFacts:
    """Return a clip's facts.

    With `decode` it is decoded: NaN, silence or a broken end would stop fine-tuning much later, and the same audio in
    another container is recognised by its samples. Resampling would find nothing more.
    """
    from ser_probe.audio.load import hear_clip, inspect_clip

    try:
        facts = inspect_clip(path)
        if decode and audio.min_duration_s <= facts.duration_s <= audio.max_duration_s:
            return hear_clip(path, max_duration_s=audio.max_duration_s)
    except AudioError as error:
        # The message becomes a line of a table whose first column is the file.
        found = "" if error.found is None else f" ({error.found})"
        raise AudioError(f"{error.what}{found}" + (f"; {error.fix}" if error.fix else "")) from error
    return facts


def read_clips(data: DataConfig, *, progress: Progress = SILENT) -> Manifest:
    """Return the clips that the config names: a manifest's or a corpus's rows, those it keeps, not yet checked.

    Raises:
        CorpusError: If the corpus folder is not what its importer expects.
        ManifestError: If the manifest cannot be read, or lacks a column or label that the config asks for.
    """
    if data.manifest is not None:
        return _choose_clips(read_manifest(data.manifest, audio_root=data.audio_root), data)
    assert data.corpus is not None, "the config's own check lets only one of the two be absent"
    root = Path(data.root) if data.root is not None else Path()
    if data.corpus == "sample":
        progress.say(f"the built-in sample corpus lies in {root}; it is synthesised if it is not there yet")
    corpus = import_corpus(data.corpus, root, **data.options)
    for fact in corpus.facts:
        progress.say(fact)
    return _choose_clips(Manifest(corpus.table, root, notes=corpus.notes), data)


def _choose_clips(manifest: Manifest, data: DataConfig) -> Manifest:
    """Return the clips with the labels and column values that the config keeps, the target as column `label`."""
    table = manifest.table
    target = require_column(table, data.target, manifest.source) if data.target != "label" else "label"
    if target != "label":
        table = table.assign(label=table[target].map(_as_label))
    chosen = {require_column(table, name, manifest.source): list(values) for name, values in data.keep.items()}
    if data.labels is not None:
        chosen[require_column(table, "label", manifest.source)] = list(data.labels)
    for column, values in chosen.items():
        cells = table[column].map(_as_label)
        present = {cell for cell in cells if cell}
        spellings = []
        for value in values:
            spelling = find_value(value, present)
            if spelling is None:
                raise ManifestError(
                    f"No clip has {column} {value!r}", where=manifest.source, fix=did_you_mean(value, present)
                )
            spellings.append(spelling)
        table = table[cells.isin(spellings)]
    return dataclasses.replace(manifest, table=table.reset_index(drop=True))


def _as_label(cell: object) -> str:
    """Return a cell as the name of a class: numbers as they are written, nothing as the empty text."""
    if cell is None or cell is pd.NA or cell != cell:
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def write_prepared(prepared: PreparedClips, manifest_path: Path, tables: Path, rejects_path: Path) -> list[Path]:
    """Write the manifest, the rejects and the audit table; return the files."""
    written = [write_manifest(prepared.manifest, manifest_path), rejects_path]
    write_csv(prepared.report.rejects, rejects_path)
    if prepared.audit is not None:
        written += write_table(prepared.audit, tables, "split_audit")
    return written


def prepare_corpus(
    data: DataConfig,
    audio: AudioConfig,
    split: SplitConfig | None,
    output: Path,
    *,
    progress: Progress = SILENT,
) -> Outcome:
    """Write a checked and split manifest: the whole verb.

    Splits that an option of the importer asks for are kept, and a corpus with fewer speakers than splits gets none.

    Args:
        data: The corpus or manifest to import.
        audio: Length limits.
        split: How to split the speakers; None keeps a split column or makes none.
        output: The manifest to write; rejects and audit lie beside it.
        progress: Told of each file.

    Raises:
        CorpusError: If the corpus folder is not what its importer expects.
        ManifestError: With all faults of the clips.
        SplitError: If the speakers cannot be split as asked.
    """
    check_suffix(output)
    manifest = read_clips(data, progress=progress)
    chosen = _kept_split(
        manifest, split, "the corpus's own splits are kept, as its option asks for; --scheme and the like do nothing",
        progress,
    )  # fmt: skip
    prepared = prepare_clips(
        manifest,
        audio,
        chosen,
        strict=data.strict,
        for_learning="speaker" in manifest.table,
        progress=progress,
    )
    return _write_outcome(prepared, output)


def _kept_split(manifest: Manifest, split: SplitConfig | None, kept: str, progress: Progress) -> SplitConfig | None:
    """Return how clips are split where nobody asked for it: not at all if they are split, or have too few speakers."""
    table = manifest.table
    if "split" in table:
        progress.say(kept)
        return None
    if "speaker" not in table or table["speaker"].nunique() < len(SPLITS):
        progress.say(f"no splits: {', '.join(SPLITS)} need a speaker each")
        return None
    return split


def prepare_table(
    data: DataConfig,
    audio: AudioConfig,
    split: SplitConfig,
    output: Path,
    *,
    rename: Mapping[str, str] | None = None,
    keep_splits: bool = True,
    progress: Progress = SILENT,
) -> Outcome:
    """Write a checked and, where it names speakers, split manifest of a table under any names of columns.

    Args:
        data: The table, as `manifest`; where its paths start from.
        audio: Length limits.
        split: How to split the speakers.
        output: The manifest to write; rejects and audit lie beside it.
        rename: New names of columns, by those of the file.
        keep_splits: Whether a split column goes before `split`, and speakers too few for it are no fault.
        progress: Told of each file, and of what cannot be done with this table.

    Raises:
        ManifestError: If the table cannot be read, or has no paths.
        SplitError: If the speakers cannot be split as asked.
    """
    assert data.manifest is not None, "the command line gives a file"
    check_suffix(output)
    manifest = _choose_clips(read_manifest(data.manifest, audio_root=data.audio_root, rename=rename), data)
    table = manifest.table
    lacking = [name for name in ("label", "speaker") if name not in table]
    if lacking:
        columns = " and no ".join(map(repr, lacking))
        options = " and ".join(f"--{name}-column" for name in lacking)
        progress.say(f"no column {columns} (name it with {options}): clips are checked for extraction alone")
    chosen: SplitConfig | None = split
    if keep_splits:
        kept = "the table's own splits are kept; --scheme study_e splits the speakers anew"
        chosen = _kept_split(manifest, split, kept, progress)
    prepared = prepare_clips(manifest, audio, chosen, strict=data.strict, for_learning=not lacking, progress=progress)
    return _write_outcome(prepared, output)


def _write_outcome(prepared: PreparedClips, output: Path) -> Outcome:
    rejects_path = output.with_name(f"{output.stem}.rejects.csv")
    with_audit = output.with_name(f"{output.stem}.audit")
    files = write_prepared(prepared, output, with_audit, rejects_path)
    summary: dict[str, object] = {"clips": prepared.report.summary()}
    if prepared.audit is not None:
        summary["splits"] = "\n" + summarise_audit(prepared.audit)
    return Outcome(tuple(reversed(files)), summary, len(prepared.report.rejects), rejects_path)
