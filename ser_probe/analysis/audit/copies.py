"""Clips that are one recording: which, how surely, and what that breaks.

A group holds all clips that are linked by equal bytes, equal samples or the same sound. Two labels on one recording
make one of them false; a recording on both sides of a split is tested on what was learnt.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ser_probe.analysis.audit.findings import MOST_SHOWN, Finding, count
from ser_probe.analysis.audit.near_copies import find_near_copies

BYTES, SAMPLES, SOUND = "bytes", "samples", "sound"
"""What the clips of a group have in common, the least of it that all have."""
FACTORS = ("label", "speaker", "split", "corpus", "sentence")
_WHAT = {BYTES: "identical files", SAMPLES: "identical samples", SOUND: "the same sound"}
_ONE_PERSON_SHARE, _ONE_PERSON_CLIPS = 0.5, 3
"""Two ids are one person where at least this share of the clips of one are under the other too, and so many."""


def find_copies(
    clips: pd.DataFrame, audio_ids: Sequence[str] | None = None, fingerprints: Sequence[np.ndarray] | None = None
) -> pd.DataFrame:
    """Find clips that are one recording.

    Args:
        clips: A row a clip: path and clip_id (hash of its bytes); label, speaker, split, corpus where there are.
        audio_ids: Hash of each clip's samples.
        fingerprints: Of each clip, uint32 `[T]`.

    Returns:
        A row for each clip of a group of two and more: group, same (one of `bytes`, `samples`, `sound`), wrong_bits
        (largest share of a link by sound), path, those of `FACTORS` that there are, breaks: which of these differ
        within the group, as `label, split`.
    """
    group = np.arange(len(clips))
    by_bytes = _joined(group, clips["clip_id"].to_numpy())
    by_samples = by_bytes if audio_ids is None else _joined(by_bytes, np.asarray(audio_ids))
    # Of equal samples one is enough to compare.
    near = [] if fingerprints is None else find_near_copies(
        [bits if by_samples[place] == place else bits[:0] for place, bits in enumerate(fingerprints)]
    )  # fmt: skip
    whole = _linked(by_samples, [(pair.first, pair.second) for pair in near])
    sizes = np.bincount(whole, minlength=len(clips))
    chosen = np.flatnonzero(sizes[whole] > 1)
    factors = [name for name in FACTORS if name in clips]
    columns = ["group", "same", "wrong_bits", "path", *factors, "breaks"]
    if not len(chosen):
        return pd.DataFrame(columns=columns)
    table = clips.iloc[chosen][["path", *factors]].copy()
    table["group"] = pd.factorize(whole[chosen])[0]
    parts = pd.DataFrame({"group": table["group"].to_numpy(), "bytes": by_bytes[chosen], "samples": by_samples[chosen]})
    kinds = parts.groupby("group")[["bytes", "samples"]].nunique()
    same = np.select([kinds["bytes"] == 1, kinds["samples"] == 1], [BYTES, SAMPLES], SOUND)
    table["same"] = table["group"].map(dict(zip(kinds.index, same, strict=True)))
    wrong: dict[int, float] = {}
    for pair in near:
        wrong[whole[pair.first]] = max(wrong.get(whole[pair.first], 0.0), pair.wrong_bits)
    table["wrong_bits"] = [wrong.get(place, 0.0) if kind == SOUND else 0.0
                           for place, kind in zip(whole[chosen], table["same"], strict=True)]  # fmt: skip
    differing = table.groupby("group")[factors].nunique() > 1 if factors else pd.DataFrame(index=kinds.index)
    breaks = {number: ", ".join(name for name in factors if row[name]) for number, row in differing.iterrows()}
    table["breaks"] = table["group"].map(breaks)
    return table.sort_values(["group", "path"], kind="stable").reset_index(drop=True)[columns]


def judge_copies(copies: pd.DataFrame) -> list[Finding]:
    """Return what copies break: labels that contradict, splits and corpora that leak, speakers that share."""
    findings = []
    consequences = {
        "label": ("label_conflict", "error", "with different labels: at most one of them is right"),
        "split": ("copies_across_splits", "error", "in different splits: what was learnt is tested"),
        "corpus": ("copies_across_corpora", "error", "in different corpora: a test on the other one is none"),
        "speaker": ("copies_across_speakers", "warning", "under different speakers: an id is wrong, or a file is"),
        "sentence": ("copies_across_sentences", "warning", "under different sentences: what is said is wrong for some"),
    }
    for factor, (check, severity, what) in consequences.items():
        rows = copies[copies["breaks"].map(lambda broken, name=factor: name in str(broken).split(", "))]
        if len(rows):
            findings.append(_finding(rows, check, severity, what, factor))
    rest = copies[copies["breaks"] == ""]
    if len(rest):
        findings.append(_finding(rest, "copies", "note", "of one label, speaker and split: they count twice", None))
    return findings


def shared_speakers(copies: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame:
    """Return pairs of speakers that have recordings in common.

    Returns:
        speaker_a, speaker_b, shared (recordings), clips_a, clips_b (clips of each), one_person: whether at least half
        of the clips of one, and three, are among them.
    """
    columns = ["speaker_a", "speaker_b", "shared", "clips_a", "clips_b", "one_person"]
    if "speaker" not in copies or "speaker" not in clips:
        return pd.DataFrame(columns=columns)
    named = copies[["group", "speaker"]].drop_duplicates()
    pairs = named.merge(named, on="group", suffixes=("_a", "_b"))
    pairs = pairs[pairs["speaker_a"] < pairs["speaker_b"]]
    counts: dict[object, int] = clips["speaker"].value_counts().to_dict()
    rows = []
    for (first, second), common in pairs.groupby(["speaker_a", "speaker_b"]):
        shared, clips_a, clips_b = len(common), counts[first], counts[second]
        one = shared >= _ONE_PERSON_CLIPS and shared >= _ONE_PERSON_SHARE * min(clips_a, clips_b)
        rows.append((first, second, shared, clips_a, clips_b, one))
    return pd.DataFrame(rows, columns=columns)


def judge_speakers(shared: pd.DataFrame, clips: pd.DataFrame) -> list[Finding]:
    """Return a finding for every two speakers that are one person."""
    findings = []
    for row in shared[shared["one_person"].astype(bool)].to_dict("records"):
        first, second = row["speaker_a"], row["speaker_b"]
        paths = tuple(clips.loc[clips["speaker"].isin([first, second]), "path"])
        words = (
            f"Speakers {first} and {second} are one person: {row['shared']} recordings are under both ids, of "
            f"{row['clips_a']} and {row['clips_b']} clips. A split of speakers can have this person on both sides."
        )
        findings.append(Finding("leak", "one_person", "error", words, paths))
    return findings


def _finding(rows: pd.DataFrame, check: str, severity: str, what: str, factor: str | None) -> Finding:
    by_kind = rows.drop_duplicates("group")["same"].value_counts()
    counts = " and ".join(
        f"{count(int(number), 'group')} of clips with {_WHAT[str(kind)]}" for kind, number in by_kind.items()
    )
    first = rows["group"].drop_duplicates().head(MOST_SHOWN)
    shown = [_group_words(rows[rows["group"] == number], factor) for number in first]
    more = by_kind.sum() - len(shown)
    words = f"{counts} {'is' if by_kind.sum() == 1 else 'are'} {what}. {'; '.join(shown)}"
    words += f"; and {more} more" if more else ""
    return Finding("leak", check, severity, words, tuple(rows["path"]))


def _group_words(group: pd.DataFrame, factor: str | None) -> str:
    names = [f"{row['path']} ({row[factor]})" if factor else row["path"] for row in group.to_dict("records")]
    return " = ".join(names[:6]) + (f" = {len(names) - 6} more" if len(names) > 6 else "")


def _joined(group: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return groups joined where their clips have one id."""
    codes, _ = pd.factorize(ids)
    firsts = pd.Series(np.arange(len(ids))).groupby(codes).transform("first").to_numpy()
    return _linked(group, list(zip(range(len(ids)), firsts.tolist(), strict=True)))


def _linked(group: np.ndarray, links: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return groups, each named by its first clip, joined by links between clips."""
    root = group.copy()

    def find(place: int) -> int:
        while root[place] != place:
            root[place] = root[root[place]]
            place = int(root[place])
        return place

    for first, second in links:
        low, high = sorted((find(first), find(second)))
        root[high] = low
    return np.array([find(place) for place in range(len(root))], dtype=int)
