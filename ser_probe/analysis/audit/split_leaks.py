"""What the splits have in common although they should not: speakers and sentences. And splits that lack something."""

from __future__ import annotations

import re
import unicodedata

import pandas as pd

from ser_probe.analysis.audit.findings import Finding, count, listed

SENTENCES = ("sentence_text", "sentence")
"""Columns that say what is spoken, the first that there is: words before codes, which corpora give anew."""
_LEARNT = ("train",)
_SPLIT_ORDER = ("train", "validation", "test")


def judge_splits(clips: pd.DataFrame) -> list[Finding]:
    """Return the leaks between splits.

    Args:
        clips: A row a clip: path, split; speaker, label, sentence_text or sentence where there are.
    """
    if "split" not in clips:
        return []
    split = clips["split"].fillna("").astype(str)
    chosen = clips[split != ""].assign(split=split[split != ""])
    findings = []
    if unsplit := int((split == "").sum()):
        paths = tuple(clips.loc[split == "", "path"])
        words = f"{count(unsplit, 'clip')} of {len(clips)} belong to no split."
        findings.append(Finding("health", "no_split", "note", words, paths))
    if "speaker" in chosen:
        findings += _shared_speakers(chosen)
    if (column := next((name for name in SENTENCES if name in chosen), None)) is not None:
        findings += _shared_sentences(chosen, column)
    if "label" in chosen:
        findings += _missing_labels(chosen)
    return findings


def normalise_sentence(text: object) -> str:
    """Return a sentence without case, accents of typing and punctuation: one sentence is one text in any spelling."""
    plain = unicodedata.normalize("NFKC", "" if text is None or text != text else str(text)).casefold()
    return " ".join(re.sub(r"[^\w\s]|_", " ", plain.replace("’", "'")).split())


def _shared_speakers(clips: pd.DataFrame) -> list[Finding]:
    named = clips[clips["speaker"].fillna("").astype(str) != ""]
    splits = named.groupby("speaker")["split"].unique()
    torn = splits[splits.map(len) > 1]
    if torn.empty:
        return []
    shown = [f"{speaker} ({' and '.join(sorted(names, key=_place))})" for speaker, names in torn.items()]
    words = (
        f"{count(len(torn), 'speaker')} of {len(splits)} {'is' if len(torn) == 1 else 'are'} in several splits: "
        f"{listed(shown)}. A model that knows the voice is scored too well."
    )
    paths = tuple(named.loc[named["speaker"].isin(torn.index), "path"])
    return [Finding("leak", "speakers_across_splits", "error", words, paths)]


def _shared_sentences(clips: pd.DataFrame, column: str) -> list[Finding]:
    sentences = clips[column].map(normalise_sentence)
    learnt = clips["split"].isin(_LEARNT)
    tested = (clips["split"] == "test") & (sentences != "")
    known = {*sentences[learnt & (sentences != "")]}
    shared = tested & sentences.isin(known)
    if not shared.any():
        return []
    share = shared.sum() / tested.sum()
    names = sorted({*sentences[shared]})
    # All clips: the actors speak the same sentences, by design. Some: chance, or two corpora with a sentence in common.
    severity = "note" if share == 1 else "warning"
    words = (
        f"{count(len(names), 'sentence')} of the test set {'is' if len(names) == 1 else 'are'} trained on too "
        f"({int(shared.sum())} of {int(tested.sum())} test clips, {share:.0%}): {listed(map(repr, names))}. "
        "What is tested is not independent of the words."
    )
    return [Finding("leak", "sentences_across_splits", severity, words, tuple(clips.loc[shared, "path"]))]


def _missing_labels(clips: pd.DataFrame) -> list[Finding]:
    counts = pd.crosstab(clips["label"].astype(str), clips["split"])
    missing = [
        f"{label} in {split}" for split in sorted(counts, key=_place) for label in counts.index[counts[split] == 0]
    ]
    if not missing:
        return []
    words = f"No clip is labelled {listed(missing)}: scores over the labels are not those of the whole."
    return [Finding("health", "label_without_split", "warning", words)]


def _place(name: object) -> tuple[int, str]:
    text = str(name)
    return (_SPLIT_ORDER.index(text) if text in _SPLIT_ORDER else len(_SPLIT_ORDER), text)
