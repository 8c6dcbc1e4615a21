"""The labels of several corpora in one set of names: by the user's map, else by the crosswalk, else as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from ser_probe.data.crosswalk import find_emotion
from ser_probe.data.identities import find_value
from ser_probe.data.label_map import LEAVE_OUT
from ser_probe.errors import ManifestError, collect, did_you_mean, shorten

COMMON, ALL = "common", "all"
"""Which labels are kept: those of every corpus, or all."""

_MAPPED_OUT = "left out by the map"
_EMPTY = "no label"


@dataclass(frozen=True, eq=False)
class SettledLabels:
    """Labels in shared names.

    Attributes:
        labels: Each clip's label; the empty text where the clip is left out.
        left_out: A row per corpus and label that was left out: `corpus`, `label`, `n`, `reason`.
        renamed: What became of each label that has another name now, by corpus, as `joy -> happiness (84)`.
        unknown: Labels that stay as they are, because neither map nor crosswalk has them.
    """

    labels: pd.Series
    left_out: pd.DataFrame
    renamed: dict[str, list[str]]
    unknown: list[str]


def settle_labels(
    labels: pd.Series,
    corpora: pd.Series,
    *,
    keep: str | Sequence[str] = COMMON,
    label_map: Mapping[str, str] | None = None,
) -> SettledLabels:
    """Return labels of several corpora in shared names, those that are kept.

    Args:
        labels: Each clip's label, [N].
        corpora: Each clip's corpus, [N].
        keep: `common`, `all`, or the labels to keep, by their new names.
        label_map: New name by label, or by `corpus:label` for one corpus; `-` leaves a label out.

    Raises:
        ManifestError: If the map names labels that no clip has, the corpora share no label, or none has one that is to
            be kept.
    """
    label_map = label_map or {}
    counts = pd.DataFrame({"corpus": corpora, "label": labels}).value_counts(sort=False)
    pairs = [(str(corpus), str(label)) for corpus, label in counts.index]
    _check_map(label_map, pairs)
    names = {pair: _name(*pair, label_map) for pair in pairs}
    kept = _kept_names({pair: name for pair, name in names.items() if name not in ("", LEAVE_OUT)}, keep)
    reasons = {pair: _reason(name, kept, keep) for pair, name in names.items()}
    settled = [
        "" if reasons[pair] else names[pair] for pair in zip(corpora.astype(str), labels.astype(str), strict=True)
    ]
    rows = [
        {"corpus": pair[0], "label": pair[1], "n": int(counts[pair]), "reason": reason}
        for pair, reason in sorted(reasons.items())
        if reason
    ]
    renamed: dict[str, list[str]] = {}
    for (corpus, label), name in names.items():
        if name not in (label, LEAVE_OUT) and not reasons[corpus, label]:
            renamed.setdefault(corpus, []).append(f"{label} -> {name} ({counts[corpus, label]})")
    unknown = {label for (_, label), name in names.items() if label and name == label and find_emotion(label) is None}
    return SettledLabels(
        pd.Series(settled, index=labels.index, dtype=object),
        pd.DataFrame(rows, columns=["corpus", "label", "n", "reason"]),
        renamed,
        sorted(unknown),
    )


def _check_map(label_map: Mapping[str, str], pairs: Sequence[tuple[str, str]]) -> None:
    named = {label for _, label in pairs} | {name for _, label in pairs if (name := find_emotion(label))}
    known = [*named, *(f"{corpus}:{label}" for corpus, label in pairs)]
    faults = [
        f"{entry!r}: {did_you_mean(entry, known)}"
        for entry in label_map
        if not any(_fits(entry, corpus, label) for corpus, label in pairs)
    ]
    if faults:
        raise collect(ManifestError, "--map names labels that no clip has", faults)


def _fits(entry: str, corpus: str, label: str) -> bool:
    """Tell whether an entry of the map is of a label: by its own word, or by its shared name."""
    if find_value(entry, [label, find_emotion(label) or label]) is not None:
        return True
    home, colon, of_corpus = entry.partition(":")
    if not colon or find_value(home, [corpus]) is None:
        return False
    return find_value(of_corpus, [label, find_emotion(label) or label]) is not None


def _name(corpus: str, label: str, label_map: Mapping[str, str]) -> str:
    """Return the new name of a label: an entry for its corpus goes before one for all."""
    if not label:
        return ""
    entries = [entry for entry in label_map if _fits(entry, corpus, label)]
    entries.sort(key=lambda entry: (":" not in entry, find_value(entry.rpartition(":")[2], [label]) is None))
    if not entries:
        return find_emotion(label) or label
    name = label_map[entries[0]]
    return name if name == LEAVE_OUT else find_emotion(name) or name


def _kept_names(names: Mapping[tuple[str, str], str], keep: str | Sequence[str]) -> set[str]:
    by_corpus: dict[str, set[str]] = {}
    for (corpus, _), name in names.items():
        by_corpus.setdefault(corpus, set()).add(name)
    everything = set().union(*by_corpus.values()) if by_corpus else set()
    if keep == ALL:
        return everything
    listed = {corpus: ", ".join(sorted(found)) for corpus, found in by_corpus.items()}
    if keep == COMMON:
        shared = set.intersection(*by_corpus.values()) if by_corpus else set()
        if not shared:
            raise ManifestError(
                "The corpora share no label",
                found="; ".join(f"{corpus}: {names_}" for corpus, names_ in listed.items()) or "no labels",
                fix="say which labels are the same with --map old=new (or corpus:old=new), or keep all with "
                "--labels all",
            )
        return shared
    chosen = [keep] if isinstance(keep, str) else list(keep)
    settled = {name: find_value(find_emotion(name) or name, everything) for name in chosen}
    faults = [f"{name!r}: {did_you_mean(name, everything)}" for name, there in settled.items() if there is None]
    if faults:
        raise collect(ManifestError, "--labels names labels that no corpus has", faults)
    return {there for there in settled.values() if there is not None}


def _reason(name: str, kept: set[str], keep: str | Sequence[str]) -> str:
    if name == "":
        return _EMPTY
    if name == LEAVE_OUT:
        return _MAPPED_OUT
    if name in kept:
        return ""
    return "not in every corpus" if keep == COMMON else "not among the labels that are kept"


def describe_left_out(left_out: pd.DataFrame) -> list[str]:
    """Return what was left out, a line per corpus and reason, with the number of clips of each label."""
    lines = []
    for (corpus, reason), rows in left_out.groupby(["corpus", "reason"], sort=True):
        listed = [f"{label or '(none)'} {n}" for label, n in zip(rows["label"], rows["n"], strict=True)]
        lines.append(f"{corpus}: {rows['n'].sum()} clips, {reason}: {shorten(listed, 12)}")
    return lines
