"""One person, one label, one name: values that differ by their spelling alone, and ids that two corpora share.

A person under two ids would train and test; two people under one id would be averaged; and a label in two spellings
would be two classes. All three are resolved here, before anything is split, grouped or counted.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

import pandas as pd

from ser_probe.data.columns import TEXT_COLUMNS, clean_text
from ser_probe.errors import ManifestError, collect, shorten

_LEADING_ZEROS = re.compile(r"(?<![\d.])0+(?=\d)")
_WHOLE_FLOAT = re.compile(r"(\d+)\.0+")
_INVISIBLE = "\u200c\u200d"
# No person or emotion is called so; 'None' and 'NA', in contrast, are labels of real corpora.
_FORGOTTEN = ("nan", "NaN", "<NA>", "#N/A", "null", "NULL")
_SHOWN = 3


def spelling_key(text: str, *, zeros: bool = True) -> str:
    """Return a key that is the same for all spellings of a name.

    Case, blanks, invisible characters and Unicode's forms of a letter are ignored; with `zeros` also leading zeros of
    numbers and the decimal of a whole number: 'S01' is 's1', and '1.0' is '1'.
    """
    plain = unicodedata.normalize("NFKC", clean_text(text)).casefold()
    plain = " ".join(plain.translate(dict.fromkeys(map(ord, _INVISIBLE))).split())
    if not zeros:
        return plain
    if match := _WHOLE_FLOAT.fullmatch(plain):
        plain = match[1]
    return _LEADING_ZEROS.sub("", plain)


def find_value(value: str, known: Iterable[str]) -> str | None:
    """Return the known value that is meant: the same, else the only one that differs by spelling alone."""
    names = list(dict.fromkeys(known))
    if value in names:
        return value
    near = [name for name in names if spelling_key(name) == spelling_key(value)]
    return near[0] if len(near) == 1 else None


def settle_identities(table: pd.DataFrame, where: object = None) -> tuple[pd.DataFrame, list[str]]:
    """Return a table in which each name has one spelling and each speaker's name stands for one person.

    Of several spellings of one name, the one of most clips is kept. Speakers whose id is found in two corpora are
    named `corpus/id`. A gender that is blank in some rows of a speaker is filled in from the others.

    Args:
        table: Manifest rows with settled cells.
        where: The file, for messages.

    Returns:
        The table, and a line for each change.

    Raises:
        ManifestError: If a clip without a corpus could be of either of two people.
    """
    notes: list[str] = []
    for name in map(str, table.columns):
        if name in ("path", "speaker", "clip_id") or not pd.api.types.is_string_dtype(table[name]):
            continue
        counts = _counts(table[name])
        if renamed := _one_spelling(counts, zeros=name in TEXT_COLUMNS):
            notes.append(_say_renamed(name, renamed, counts))
            table = table.assign(**{name: table[name].replace(renamed)})
    if "speaker" in table:
        table, changes = _settle_speakers(table, where)
        notes += changes
        table, changes = _fill_genders(table)
        notes += changes
    for name in ("label", "speaker"):
        if name in table and (forgotten := int(table[name].isin(_FORGOTTEN).sum())):
            words = ", ".join(map(repr, sorted(set(table[name]) & set(_FORGOTTEN))))
            notes.append(f"column {name!r} says {words} in {_clips(forgotten)}; if that means none, empty these cells")
    return table, notes


def _counts(column: pd.Series) -> dict[str, int]:
    return {str(text): int(count) for text, count in column.value_counts().items()}


def _one_spelling(counts: Mapping[str, int], *, zeros: bool) -> dict[str, str]:
    """Return the spelling to use in place of each other spelling."""
    groups: dict[str, list[str]] = {}
    for text in counts:
        if text:
            groups.setdefault(spelling_key(text, zeros=zeros), []).append(text)
    renamed: dict[str, str] = {}
    for spellings in groups.values():
        chosen = max(spellings, key=lambda text: (counts[text], text))
        renamed |= {text: chosen for text in spellings if text != chosen}
    return renamed


def _say_renamed(name: str, renamed: Mapping[str, str], counts: Mapping[str, int]) -> str:
    shown = [
        f"{old!r} ({_clips(counts[old])}) and {new!r} ({_clips(counts[new])})"
        for old, new in list(renamed.items())[:_SHOWN]
    ]
    more = f" and {len(renamed) - _SHOWN} more" if len(renamed) > _SHOWN else ""
    ignored = "zeros, case or blanks" if name in TEXT_COLUMNS else "case or blanks"
    return (
        f"column {name!r}: {'; '.join(shown)}{more} differ by spelling alone ({ignored}) and count as one, "
        f"{', '.join(repr(new) for new in list(dict.fromkeys(renamed.values()))[:_SHOWN])}"
    )


def _settle_speakers(table: pd.DataFrame, where: object) -> tuple[pd.DataFrame, list[str]]:
    """Return the table with one name a person: one spelling in a corpus, `corpus/id` for an id of several."""
    table = table.assign(speaker=table["speaker"].fillna("").astype(str))
    corpora = table["corpus"].fillna("").astype(str) if "corpus" in table else pd.Series("", index=table.index)
    pairs = pd.DataFrame({"corpus": corpora, "written": table["speaker"]})
    counts = pairs.value_counts(sort=False)
    # An earlier reading may have put the corpus before the id.
    bare = {(corpus, text): _without_corpus(text, corpus) for corpus, text in counts.index}
    homes: dict[str, set[str]] = {}
    for (corpus, _), text in bare.items():
        homes.setdefault(spelling_key(text), set()).add(corpus)
    shared = {key: corpora_of - {""} for key, corpora_of in homes.items() if key and len(corpora_of - {""}) > 1}
    torn = [key for key in shared if "" in homes[key]]
    if torn:
        faults = [f"{key!r} is in the corpora {', '.join(sorted(shared[key]))}, and in none" for key in torn]
        raise collect(
            ManifestError, "Clips name a speaker whose id several corpora have, but no corpus", faults, where=where,
            fix="fill the column 'corpus'",
        )  # fmt: skip
    names: dict[tuple[str, str], str] = {}
    merged: dict[str, str] = {}
    people: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for pair, text in bare.items():
        key = spelling_key(text)
        # A clip without a corpus belongs to the only corpus that has the id.
        home = pair[0] or (next(iter(homes[key] - {""}), "") if key not in shared else "")
        people.setdefault((home, key), []).append(pair)
    chosen = {
        person: max(spellings, key=lambda pair: (int(counts[pair]), bare[pair])) for person, spellings in people.items()
    }
    # A name with its corpus is kept from an earlier reading: the other corpus may have been left out since.
    qualified = {
        (home, key)
        for (home, key), spellings in people.items()
        if key in shared or (home and any(bare[pair] != pair[1] for pair in spellings))
    }
    taken = {f"{home}/{bare[chosen[home, key]]}" for home, key in qualified}
    for (home, key), spellings in people.items():
        speaker = bare[chosen[home, key]]
        # A plain name may equal the name with a corpus that somebody else was given.
        full = (home, key) in qualified or (home and speaker in taken)
        names |= {pair: (f"{home}/{speaker}" if full else speaker) if key else "" for pair in spellings}
        merged |= {pair[1]: chosen[home, key][1] for pair in spellings if key and bare[pair] != speaker}
    written = pd.Series([names[pair] for pair in zip(pairs["corpus"], pairs["written"], strict=True)], dtype=str)
    notes = []
    if merged:
        notes.append(_say_renamed("speaker", merged, _counts(table["speaker"])))
    new = sorted({pair[1] for pair, name in names.items() if spelling_key(bare[pair]) in shared and name != pair[1]})
    if new:
        corpus_names = " and ".join(map(repr, sorted(set().union(*shared.values()))))
        example = next(name for pair, name in names.items() if pair[1] == new[0] and name != pair[1])
        notes.append(
            f"speakers {shorten(map(repr, new), _SHOWN)} are in the corpora {corpus_names} and count as different "
            f"people, named as {example!r}; where they are the same people, give these rows one name in the column "
            "'corpus'"
        )
    return table.assign(speaker=written.set_axis(table.index)), notes


def _without_corpus(speaker: str, corpus: str) -> str:
    for slash in re.finditer("/", speaker) if corpus else ():
        if spelling_key(speaker[: slash.start()]) == spelling_key(corpus) and speaker[slash.end() :]:
            return speaker[slash.end() :]
    return speaker


def _fill_genders(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    if "gender" not in table:
        return table, []
    known = (
        table[(table["gender"] != "") & (table["speaker"] != "")].groupby("speaker")["gender"].agg(["nunique", "first"])
    )
    sure = known.loc[known["nunique"] == 1, "first"]
    blank = (table["gender"] == "") & table["speaker"].isin(sure.index)
    if not blank.any():
        return table, []
    filled = table["gender"].where(~blank, table["speaker"].map(sure))
    count = _clips(int(blank.sum()))
    note = f"column 'gender': blank in {count} of speakers whose other clips name one, filled in from them"
    return table.assign(gender=filled.astype(str)), [note]


def _clips(number: int) -> str:
    return f"{number} clip{'s' * (number != 1)}"
