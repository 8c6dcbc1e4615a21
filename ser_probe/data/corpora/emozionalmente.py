"""Emozionalmente: Italian, crowd-sourced, 431 amateur actors, 18 sentences, 7 states, 6902 clips.

Source: Catania, Wilke, Garzotto (2025), "Emozionalmente: A Crowdsourced Corpus of Simulated Emotional Speech in
Italian", IEEE Transactions on Audio, Speech and Language Processing 33, 1142-1155.

A clip's name is a time stamp; who speaks and what was asked for stand in `metadata/`. The pipeline of its publication
renames clips to `gender____actor____emotion____file`; such copies need no tables. Five listeners judged each clip.
Three of the sentences are EMOVO's, so that a test across the two shares text; 150 clips are at 44.1 kHz, all of them
disgust.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ser_probe.data.corpora.clips import FoundClips
from ser_probe.data.corpora.importer import CorpusRows, Importer, Option, Published
from ser_probe.data.labels import name_emotions
from ser_probe.errors import CorpusError, shorten

if TYPE_CHECKING:
    import pandas as pd

CODES = {
    "anger": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "joy": "happiness",
    "neutrality": "neutral",
    "sadness": "sadness",
    "surprise": "surprise",
}
GENDERS = dict.fromkeys(("f", "female", "femmina", "donna"), "female") | dict.fromkeys(
    ("m", "male", "maschio", "uomo"), "male"
)
SPLITS = {"train": "train", "dev": "validation", "test": "test"}

_FOLDERS = ("metadata", "../metadata")
_FIX = "give the folder that holds audio and metadata"


def rows(clips: FoundClips, *, labels: str, votes: bool, split: str) -> CorpusRows:
    """Return a row per clip; `intended` is the emotion that the actor was asked for.

    Raises:
        CorpusError: If tables are missing or not as expected, or clips of both forms of names lie there.
        ManifestError: If an emotion is not known.
    """
    renamed = [bool(actor) for actor in clips.part("actor")]
    if len({*renamed}) > 1:
        raise CorpusError(
            "The folder holds Emozionalmente's clips under two kinds of names",
            where=clips.root,
            found=f"{clips.paths[renamed.index(True)]} and {clips.paths[renamed.index(False)]}",
            fix="give the folder of one of them",
        )
    table, notes = _rows_of_names(clips) if renamed[0] else _rows_of_tables(clips)
    table = table.assign(
        label=name_emotions(table["label_code"], CODES, where=clips.home),
        gender=[GENDERS.get(gender.lower(), "") for gender in table["gender"]],
    )
    table.insert(1, "label", table.pop("label"))
    table = table.assign(intended=table["label"], language="it", corpus="emozionalmente")
    whole, rule = table, "intended emotion"
    if votes or labels == "perceived":
        table, vote_notes = _use_votes(table, clips, labels, votes)
        notes += vote_notes
    if labels == "perceived":
        rule = "what most of five listeners heard"
    if split == "official":
        table, split_notes = _add_splits(table, clips)
        notes += split_notes
    return CorpusRows(table.drop(columns="file").reset_index(drop=True), rule, tuple(notes), whole=whole)


def _rows_of_names(clips: FoundClips) -> tuple[pd.DataFrame, list[str]]:
    import pandas as pd

    genders = clips.part("gender")
    table = pd.DataFrame(
        {
            "path": clips.paths,
            "label_code": [code.lower() for code in clips.part("emotion")],
            "speaker": clips.part("actor"),
            "gender": genders,
            "file": [f"{file}.wav" for file in clips.part("file")],
        }
    )
    return table, _say_genders(genders)


def _rows_of_tables(clips: FoundClips) -> tuple[pd.DataFrame, list[str]]:
    import pandas as pd

    from ser_probe.data.corpora.matching import match_rows
    from ser_probe.data.corpora.own_tables import settle_numbers

    samples, path = _read(clips, "samples.csv", ["file_name", "actor", "emotion_expressed", "sentence"])
    users, users_path = _read(clips, "users.csv", ["username", "gender"])
    matched = match_rows(clips, [f"{file}.wav" for file in clips.part("file")], samples, "file_name", path)
    found = matched.rows
    users = users.drop_duplicates("username").set_index("username")
    if unknown := sorted({*found["actor"]} - {*users.index}):
        raise CorpusError("Emozionalmente's users.csv lacks actors", where=users_path, found=shorten(unknown, 3))
    people = users.loc[found["actor"]]
    table = pd.DataFrame(
        {
            "path": matched.clips.paths,
            "label_code": found["emotion_expressed"].str.lower(),
            "speaker": found["actor"],
            "gender": people["gender"].to_numpy(),
            "sentence": found["sentence"],
            **{name: settle_numbers(people[name]).to_numpy() for name in ("age", "mother_tongue") if name in people},
            "file": found["file_name"],
        }
    )
    return table, [*matched.notes, *_say_genders(people["gender"])]


def _read(clips: FoundClips, name: str, columns: list[str]) -> tuple[pd.DataFrame, Path]:
    from ser_probe.data.corpora.own_tables import find_own_file, read_own_table

    path = find_own_file(clips, [name], folders=_FOLDERS, fix=_FIX)
    return read_own_table(path, columns, "Emozionalmente"), path


def _say_genders(genders: Iterable[str]) -> list[str]:
    strange = sorted({gender for gender in genders if gender.lower() not in GENDERS})
    return [f"genders that are left empty: {shorten(map(repr, strange))}"] if strange else []


def _use_votes(table: pd.DataFrame, clips: FoundClips, labels: str, votes: bool) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows with the listeners' votes, as labels or as columns."""
    from ser_probe.data.corpora.votes import count_votes, name_winners

    heard, path = _read(clips, "evaluations.csv", ["file_name", "emotion_recognized"])
    emotions = name_emotions(heard["emotion_recognized"].str.lower(), CODES, where=path)
    counts = count_votes(list(table["file"]), zip(heard["file_name"], emotions, strict=True), list(CODES.values()))
    counts.index = table.index
    if votes:
        table = table.join(counts)
    if labels != "perceived":
        return table, []
    winners = name_winners(counts)
    decided = [winner != "" for winner in winners]
    codes = {name: code for code, name in CODES.items()}
    without = int((counts.sum(axis=1) == 0).sum())
    notes = []
    if not all(decided):
        ties = decided.count(False) - without
        notes.append(
            f"{decided.count(False)} clips are left out, because the listeners' vote is a tie ({ties}) or missing "
            f"({without})"
        )
    table = table.assign(label=winners, label_code=[codes.get(winner, "") for winner in winners])
    return table[decided], notes


def _add_splits(table: pd.DataFrame, clips: FoundClips) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows with the splits of release 1.1, without the clips that are in none."""
    split_of: dict[str, str] = {}
    for name, split in SPLITS.items():
        found, path = _read(clips, f"split/{name}.csv", ["file_name"])
        if twice := sorted({*found["file_name"]} & {*split_of}):
            raise CorpusError("Emozionalmente's splits share clips", where=path, found=shorten(twice, 3))
        split_of |= dict.fromkeys(found["file_name"], split)
    table = table.assign(split=table["file"].map(split_of).fillna(""))
    outside = table["split"] == ""
    notes = [f"{outside.sum()} clips are left out, because the official splits lack them"] if outside.any() else []
    if outside.all():
        raise CorpusError("Emozionalmente's official splits hold none of the clips", where=path)
    return table[~outside], notes


IMPORTER = Importer(
    name="emozionalmente",
    title="Emozionalmente",
    holds="Italian, 431 amateur actors, 18 sentences, 7 states, 6902 clips, five listeners each",
    paper="Catania, Wilke, Garzotto (2025): Emozionalmente: A Crowdsourced Corpus of Simulated Emotional Speech in "
    "Italian, IEEE Transactions on Audio, Speech and Language Processing",
    licence="as its page states",
    home="zenodo.org/records/12616095",
    layout="audio/1613655062436.wav with metadata/samples.csv and metadata/users.csv; or files that are named "
    "gender____actor____emotion____file",
    clip=r"(?:audio/)?(?:(?P<gender>[^/]+?)____(?P<actor>[^/]+?)____(?P<emotion>[^/]+?)____)?(?P<file>\d{13})\.wav",
    rows=rows,
    options={
        "labels": Option(
            "intended (what the actor was asked for) or perceived (what most of five listeners heard; ties are left "
            "out)",
            "intended",
            ("intended", "perceived"),
        ),
        "votes": Option(
            "true adds how many listeners heard each emotion, as columns votes_<emotion>: soft labels", False
        ),
        "split": Option("official takes the splits of release 1.1 (metadata/split)", "none", ("none", "official")),
    },
    published=Published(6902, 431, dict.fromkeys(CODES, 986)),
)
