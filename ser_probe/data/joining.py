"""Several manifests become one: people and clips of each corpus stay apart, labels are in one set of names."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ser_probe.data.columns import NUMBER_COLUMNS, TEXT_COLUMNS
from ser_probe.data.identities import settle_identities, spelling_key
from ser_probe.data.joined_labels import COMMON, describe_left_out, settle_labels
from ser_probe.data.manifest import Manifest
from ser_probe.errors import ManifestError, shorten

KEEP, DROP, AUTO = "keep", "drop", "auto"
"""What becomes of splits: they are kept, dropped, or kept where every manifest has them."""

_CONTENT_ID = re.compile(r"[0-9a-f]{32}")
_SHOWN = 3


@dataclass(frozen=True, eq=False)
class JoinedManifests:
    """Clips of several manifests.

    Attributes:
        table: One row per clip; `path` is absolute, `label` the shared name, `label_code` the label before.
        left_out: A row per corpus and label that was left out: `corpus`, `label`, `n`, `reason`.
        facts: What was done with splits and labels, a line each, by what it is about.
        notes: What the user should look at, a line each.
    """

    table: pd.DataFrame
    left_out: pd.DataFrame
    facts: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]


def join_manifests(
    manifests: Sequence[Manifest],
    *,
    labels: str | Sequence[str] = COMMON,
    label_map: Mapping[str, str] | None = None,
    splits: str = AUTO,
) -> JoinedManifests:
    """Join manifests.

    Clips without a `corpus` belong to one that is called after their file. Speakers and sentences whose id is found in
    two corpora are named `corpus/id`.

    Args:
        manifests: The manifests, as they were read.
        labels: `common` (the labels that every corpus has), `all`, or a list.
        label_map: New name by label, or by `corpus:label`; `-` leaves a label out.
        splits: `keep`, `drop`, or `auto`.

    Raises:
        ManifestError: If there are fewer than two manifests, one has no labels, splits are to be kept that one lacks,
            or the corpora share no label.
    """
    if len(manifests) < 2:
        raise ManifestError("Two manifests or more are joined", found=f"{len(manifests)}")
    _require_labels(manifests)
    notes = [f"{_name_of(manifest)}: {note}" for manifest in manifests for note in manifest.notes]
    names, said = _corpus_names(manifests)
    notes += said
    tables = [_with_corpus(manifest, name) for manifest, name in zip(manifests, names, strict=True)]
    tables, of_splits = _settle_splits(tables, manifests, splits)
    table, said = _stack(tables, manifests)
    notes += said
    table, said = settle_identities(_keep_sentences_apart(table))
    notes += said
    settled = settle_labels(table["label"], table["corpus"], keep=labels, label_map=label_map)
    if settled.unknown:
        notes.append(f"labels that the crosswalk does not have stay as they are: {shorten(settled.unknown)}")
    codes = table["label_code"].where(table["label_code"] != "", table["label"]) if "label_code" in table else None
    table = table.assign(label=settled.labels, label_code=table["label"] if codes is None else codes)
    table = table[table["label"] != ""].reset_index(drop=True)
    notes += _say_scales(table)
    facts = {
        "splits": of_splits,
        "renamed": tuple(f"{corpus}: {'; '.join(lines)}" for corpus, lines in sorted(settled.renamed.items())),
        "left out": tuple(describe_left_out(settled.left_out)),
    }
    return JoinedManifests(table, settled.left_out, facts, tuple(notes))


def _keep_sentences_apart(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with the corpus before ids of sentences that several have: `b1` is another sentence in each.

    A text of several words is no id; it is the same sentence in all.
    """
    if "sentence" not in table:
        return table
    keys = table["sentence"].map(spelling_key)
    shared = (keys != "") & ~keys.str.contains(" ") & (table.groupby(keys)["corpus"].transform("nunique") > 1)
    return table.assign(sentence=table["sentence"].where(~shared, table["corpus"] + "/" + table["sentence"]))


def _name_of(manifest: Manifest) -> str:
    return str(manifest.source or manifest.audio_root)


def _require_labels(manifests: Sequence[Manifest]) -> None:
    lacking = [_name_of(manifest) for manifest in manifests if "label" not in manifest.table]
    if lacking:
        raise ManifestError(
            "A manifest without labels cannot be joined",
            where=shorten(lacking),
            fix="name its column of labels: `ser-probe prepare table FILE --label-column NAME -o NEW.csv`",
        )


def _corpus_names(manifests: Sequence[Manifest]) -> tuple[list[str], list[str]]:
    """Return what clips without a corpus belong to: the name of their file, with its folder's where two are equal."""
    sources = [manifest.source or manifest.audio_root for manifest in manifests]
    stems = [source.stem for source in sources]
    names, notes = [], []
    for number, (source, stem) in enumerate(zip(sources, stems, strict=True), start=1):
        name = stem if stems.count(stem) == 1 else f"{source.absolute().parent.name}_{stem}"
        names.append(f"{name}_{number}" if name in names else name)
    for manifest, name in zip(manifests, names, strict=True):
        corpora = manifest.table["corpus"] if "corpus" in manifest.table else pd.Series("", index=manifest.table.index)
        if nameless := int((corpora == "").sum()):
            notes.append(f"{_name_of(manifest)}: {nameless} clips name no corpus and belong to one called {name!r}")
    return names, notes


def _with_corpus(manifest: Manifest, name: str) -> pd.DataFrame:
    """Return a manifest's rows with absolute paths, and a corpus in each."""
    table = manifest.table
    corpora = table["corpus"].where(table["corpus"] != "", name) if "corpus" in table else name
    return table.assign(path=[os.path.abspath(path) for path in manifest.audio_paths()], corpus=corpora)


def _settle_splits(
    tables: list[pd.DataFrame], manifests: Sequence[Manifest], splits: str
) -> tuple[list[pd.DataFrame], tuple[str, ...]]:
    having = ["split" in table for table in tables]
    if splits == KEEP and not all(having):
        raise ManifestError(
            "Splits cannot be kept that are not there",
            where=shorten([_name_of(one) for one, has in zip(manifests, having, strict=True) if not has]),
            fix="leave --splits out, or split that corpus first",
        )
    if not any(having):
        return tables, ()
    if splits == DROP or not all(having):
        reason = "" if splits == DROP else ", because not every manifest has them"
        return [table.drop(columns="split", errors="ignore") for table in tables], (f"dropped{reason}",)
    return tables, ("kept: each clip stays in the split of its own manifest",)


def _stack(tables: list[pd.DataFrame], manifests: Sequence[Manifest]) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows under each other, each file once; cells of columns that a manifest lacks are empty."""
    notes = []
    if any("clip_id" in table for table in tables) and not all("clip_id" in table for table in tables):
        tables = [table.drop(columns="clip_id", errors="ignore") for table in tables]
        notes.append(
            "the column 'clip_id' is dropped, because not every manifest has it; it is made when clips are read"
        )
    notes += _say_partial(tables, manifests)
    table = pd.concat(tables, ignore_index=True)
    for name in map(str, table.columns):
        if name in TEXT_COLUMNS or any(
            not pd.api.types.is_numeric_dtype(part[name]) for part in tables if name in part
        ):
            table[name] = table[name].map(lambda cell: "" if pd.isna(cell) else str(cell)).astype(object)
    again = table["path"].duplicated()
    if again.any():
        notes.append(
            f"{again.sum()} clips are in several manifests and count once: {shorten(table['path'][again], _SHOWN)}"
        )
        table = table[~again].reset_index(drop=True)
    if "clip_id" in table:
        table, said = _settle_ids(table)
        notes += said
    return table, notes


def _say_partial(tables: list[pd.DataFrame], manifests: Sequence[Manifest]) -> list[str]:
    having = Counter(str(name) for table in tables for name in table)
    partial = [name for name, count in having.items() if count < len(tables) and name != "label_code"]
    if not partial:
        return []
    lines = [f"columns that not every manifest has, with empty cells for the others: {shorten(partial)}"]
    for table, manifest in zip(tables, manifests, strict=True):
        if "speaker" in partial and "speaker" not in table:
            lines.append(f"{_name_of(manifest)} names no speakers: its clips cannot be split by speaker")
    return lines


def _settle_ids(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows with one id a clip: ids of the user's that two corpora have get the corpus before them.

    An id that `prepare` made is the hash of a clip's bytes: two of them are the same audio, which is said.
    """
    ids = table["clip_id"].astype(str)
    shared = (ids != "") & (table.groupby(ids)["corpus"].transform("nunique") > 1)
    made = ids.map(lambda text: _CONTENT_ID.fullmatch(text) is not None)
    notes = []
    if (shared & made).any():
        paths = table["path"][shared & made]
        notes.append(
            f"the same audio is in several corpora, {ids[shared & made].nunique()} times: {shorten(paths, _SHOWN)}"
        )
    own = shared & ~made
    if own.any():
        notes.append(
            f"{own.sum()} clips have an id that several corpora use, and are named as {table['corpus'][own].iloc[0]}/"
            f"{ids[own].iloc[0]}"
        )
    return table.assign(clip_id=ids.where(~own, table["corpus"].astype(str) + "/" + ids)), notes


def _say_scales(table: pd.DataFrame) -> list[str]:
    """Return a line for each number that corpora rate on ranges that differ."""
    lines = []
    for name in NUMBER_COLUMNS:
        if name == "duration_s" or name not in table or not pd.api.types.is_numeric_dtype(table[name]):
            continue
        ranges = table.groupby("corpus")[name].agg(["min", "max"]).dropna()
        if len(ranges) > 1:
            listed = [f"{corpus} {low:g} to {high:g}" for corpus, low, high in ranges.itertuples()]
            lines.append(f"{name} is rated in several corpora, maybe on different scales: {shorten(listed)}")
    return lines


def relative_paths(paths: Sequence[str], root: Path | None, folder: Path) -> tuple[list[str], str]:
    """Return absolute paths as they are to be written, and how.

    Args:
        paths: The clips' absolute paths.
        root: The folder that they are to start from; None: the manifest's own folder where all lie below it.
        folder: The manifest's own folder.

    Raises:
        ManifestError: If a clip lies outside the root.
    """
    home = Path(os.path.abspath(folder if root is None else root.expanduser()))
    outside = [path for path in paths if not Path(path).is_relative_to(home)]
    if root is not None and outside:
        raise ManifestError(
            f"{len(outside)} clips do not lie below the root that paths are to start from", where=home,
            found=shorten(outside, _SHOWN), fix=f"give a folder around them, such as {os.path.commonpath(paths)}",
        )  # fmt: skip
    if outside:
        return list(paths), "absolute"
    written = [Path(path).relative_to(home).as_posix() for path in paths]
    return written, f"relative to {home}"
