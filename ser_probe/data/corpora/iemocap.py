"""IEMOCAP: English dialogues of 10 actors in 5 sessions, 10,039 turns labelled by listeners.

Source: Busso, Bulut, Lee, Kazemzadeh, Mower, Kim, Chang, Lee, Narayanan (2008), "IEMOCAP: Interactive emotional dyadic
motion capture database", Language Resources and Evaluation.

In `Ses01F_impro04_M016` the first letter says which actor wore the motion-capture markers, and the last one who
speaks: this is the man of session 1. A speaker taken from the first letter is two people, a man and a woman.

Labels stand in `dialog/EmoEvaluation/*.txt`, one line a turn and lines of single listeners below it; its subfolders
hold files of another form and are not read. Numbers are valence, activation, dominance, in this order, from 1 to 5;
activation is the column `arousal`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ser_probe.data.corpora.clips import FoundClips
from ser_probe.data.corpora.importer import CorpusRows, Importer, Option, Published
from ser_probe.data.labels import name_emotions
from ser_probe.errors import CorpusError, shorten

if TYPE_CHECKING:
    import pandas as pd

CODES = {
    "ang": "anger",
    "dis": "disgust",
    "exc": "excitement",
    "fea": "fear",
    "fru": "frustration",
    "hap": "happiness",
    "neu": "neutral",
    "oth": "other",
    "sad": "sadness",
    "sur": "surprise",
    "xxx": "no_agreement",
}
_FOUR = {"ang": "anger", "hap": "happiness", "exc": "happiness", "sad": "sadness", "neu": "neutral"}
CLASSES: Mapping[object, Mapping[str, str]] = {
    4: _FOUR,
    5: _FOUR | {"fru": "frustration"},
    6: {code: CODES[code] for code in ("ang", "hap", "exc", "sad", "neu", "fru")},
    "all": CODES,
}
"""Emotion by code, of those codes that are kept, by the option `labels`."""
WORDS = {
    "anger": "anger",
    "disgust": "disgust",
    "excited": "excitement",
    "fear": "fear",
    "frustration": "frustration",
    "happiness": "happiness",
    "neutral": "neutral",
    "neutral state": "neutral",
    "other": "other",
    "sadness": "sadness",
    "surprise": "surprise",
    "surprised": "surprise",
}
"""Emotion by a single listener's word."""

_TURN = re.compile(r"\[(?P<start>[\d.]+) - (?P<end>[\d.]+)\]\s+(\w+)\s+(\w+)\s+\[([\d.]+), ([\d.]+), ([\d.]+)\]\s*")
_LISTENER = re.compile(r"C-E\d+:\s*(?P<words>[^()]*)\(")
_SPOKEN = re.compile(r"(\w+) \[[\d.]+-[\d.]+\]:(.*)")


@dataclass
class _Dialogs:
    """What the label files say: rows of turns, votes of listeners as (turn, word), and files that are not there."""

    turns: list[tuple[str, str, float, float, float]] = field(default_factory=list)
    votes: list[tuple[str, str]] = field(default_factory=list)
    missing: list[Path] = field(default_factory=list)


def rows(clips: FoundClips, *, labels: int | str, part: str, votes: bool) -> CorpusRows:
    """Return a row per turn; `speaker` is session and letter of who speaks, `part` improvised or scripted.

    Raises:
        CorpusError: If the label files are missing or not readable.
        ManifestError: If an emotion code or a listener's word is not known.
    """
    import pandas as pd

    from ser_probe.data.corpora.matching import match_rows

    folder = _dialog_folder(clips)
    read = _read_dialogs(clips, folder)
    columns = ["turn", "code", "valence", "arousal", "dominance"]
    matched = match_rows(
        clips, clips.stems(), pd.DataFrame(read.turns, columns=columns), "turn", folder / "EmoEvaluation"
    )
    clips, found = matched.clips, matched.rows
    notes = [*matched.notes]
    if read.missing:
        notes.append(f"label files that are missing: {shorten([path.name for path in read.missing], 3)}")
    letters = [letter.upper() for letter in clips.part("letter")]
    whole = pd.DataFrame(
        {
            "path": clips.paths,
            "label": name_emotions(found["code"], CODES, where=folder),
            "label_code": found["code"],
            "speaker": [
                f"Ses0{session}{letter}" for session, letter in zip(clips.part("session"), letters, strict=True)
            ],
            "gender": ["female" if letter == "F" else "male" for letter in letters],
            "valence": found["valence"],
            "arousal": found["arousal"],
            "dominance": found["dominance"],
            "session": [int(session) for session in clips.part("session")],
            "part": ["improvised" if kind.lower() == "impro" else "scripted" for kind in clips.part("kind")],
            "dialog": clips.part("dialog"),
            "language": "en",
            "corpus": "iemocap",
        }
    )
    texts = _read_transcripts(clips)
    if texts:
        whole["sentence_text"] = [texts.get(turn, "") for turn in clips.stems()]
    else:
        notes.append("no transcripts (dialog/transcriptions), so that there is no column sentence_text")
    if votes:
        whole = whole.join(_count_votes(clips.stems(), read.votes, CLASSES[labels], folder))
    table, left_out = _choose(whole, CLASSES[labels], part)
    rule = f"what most listeners chose, {len(set(CLASSES[labels].values()))} labels"
    if labels in (4, 5):
        rule += ", excitement counted as happiness"
    return CorpusRows(table, rule if part == "both" else f"{rule}, {part} turns", (*notes, *left_out), whole=whole)


def _dialog_folder(clips: FoundClips) -> Path:
    """Return the first session's folder of dialogs, or the only one where a single session was given."""
    session = clips.home / f"Session{clips.part('session')[0]}"
    return (session if session.is_dir() else clips.home) / "dialog"


def _files_of(clips: FoundClips, kind: str) -> list[Path]:
    """Return where the file of each dialog must be, of one kind: EmoEvaluation or transcriptions."""
    dialogs = dict(zip(clips.part("dialog"), clips.part("session"), strict=True))
    single = (clips.home / "dialog").is_dir()
    home = clips.home
    return [
        (home if single else home / f"Session{session}") / "dialog" / kind / f"{dialog}.txt"
        for dialog, session in sorted(dialogs.items())
    ]


def _read_dialogs(clips: FoundClips, folder: Path) -> _Dialogs:
    from ser_probe.data.corpora.own_tables import read_own_text

    read = _Dialogs()
    files = _files_of(clips, "EmoEvaluation")
    for path in files:
        if not path.is_file():
            read.missing.append(path)
            continue
        turn = ""
        for number, line in enumerate(read_own_text(path).splitlines(), start=1):
            if line.startswith("["):
                match = _TURN.fullmatch(line)
                if match is None:
                    raise CorpusError(
                        "A line of IEMOCAP's label file is not as the others",
                        where=f"{path}, line {number}",
                        expected="[6.2901 - 8.2357], turn, emotion, [2.5000, 2.5000, 2.5000], with tabs between",
                        found=line[:80],
                    )
                turn = match[3]
                values = (float(match[5]), float(match[6]), float(match[7]))
                read.turns.append((turn, match[4].lower(), *values))
            elif (heard := _LISTENER.match(line)) and turn:
                words = [word.strip().lower() for word in heard["words"].split(";")]
                read.votes += [(turn, word) for word in words if word]
    if len(read.missing) == len(files):
        raise CorpusError(
            "IEMOCAP's label files are missing",
            where=read.missing[0],
            expected=f"a text file for each of {len(files)} dialogs, in SessionN/dialog/EmoEvaluation",
            fix="give the whole corpus as it was unpacked, not its audio folder alone",
        )
    return read


def _read_transcripts(clips: FoundClips) -> dict[str, str]:
    from ser_probe.data.corpora.own_tables import read_own_text

    texts: dict[str, str] = {}
    for path in _files_of(clips, "transcriptions"):
        if path.is_file():
            spoken = (_SPOKEN.fullmatch(line.strip()) for line in read_own_text(path).splitlines())
            texts |= {match[1]: match[2].strip() for match in spoken if match}
    return texts


def _count_votes(
    turns: list[str], votes: list[tuple[str, str]], classes: Mapping[str, str], where: Path
) -> pd.DataFrame:
    """Return how many listeners chose each emotion that is kept; what the speakers say of themselves is no vote."""
    from ser_probe.data.corpora.votes import count_votes

    by_emotion = {CODES[code]: name for code, name in classes.items()}
    emotions = name_emotions([word for _, word in votes], WORDS, where=where)
    named = [(turn, by_emotion.get(emotion)) for (turn, _), emotion in zip(votes, emotions, strict=True)]
    names = sorted({*classes.values()} - {"no_agreement"})
    return count_votes(turns, [(turn, name) for turn, name in named if name is not None], names)


def _choose(whole: pd.DataFrame, classes: Mapping[str, str], part: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the turns that the options keep, with their labels, and how many of which others were left out."""
    kept = whole["label_code"].isin(list(classes))
    notes = []
    if not kept.all():
        counts = Counter(whole.loc[~kept, "label_code"])
        listed = ", ".join(f"{code} {count}" for code, count in sorted(counts.items()))
        notes.append(f"{(~kept).sum()} turns left out by their label: {listed} (the option labels=all keeps them)")
    if part != "both":
        other = kept & (whole["part"] != part)
        notes.append(f"{other.sum()} turns left out, because they are not {part}")
        kept &= whole["part"] == part
    table = whole[kept].reset_index(drop=True)
    return table.assign(label=table["label_code"].map(dict(classes))), notes


IMPORTER = Importer(
    name="iemocap",
    title="IEMOCAP",
    holds="English, 10 actors in 5 sessions of improvised and scripted dialogues, 10,039 turns, 5531 in 4 classes",
    paper="Busso, Bulut, Lee, Kazemzadeh, Mower, Kim, Chang, Lee, Narayanan (2008): IEMOCAP, Language Resources and "
    "Evaluation",
    licence="research use, by an agreement with the University of Southern California",
    home="sail.usc.edu/iemocap",
    layout="Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav with Session1/dialog/EmoEvaluation/*.txt",
    clip=r"(?:(?:Session[1-5]/)?sentences/wav/)?(?P<dialog>Ses0(?P<session>[1-5])[FM]_(?P<kind>impro|script)\d\d"
    r"(?:_\d[ab]?|[ab])?(?:_\d)?)/(?P=dialog)_(?P<letter>[FM])(?P<turn>\d{3})\.wav",
    rows=rows,
    options={
        "labels": Option(
            "4 (anger, sadness, neutral, happiness with excitement), 5 (those and frustration), 6 (excitement apart), "
            "or all (also the rare ones, other, and no_agreement)",
            4,
            (4, 5, 6, "all"),
        ),
        "part": Option("improvised, scripted or both", "both", ("both", "improvised", "scripted")),
        "votes": Option(
            "true adds how many listeners chose each emotion, as columns votes_<emotion>: soft labels; a listener may "
            "choose several",
            False,
        ),
    },
    published=Published(
        10039,
        10,
        {
            "ang": 1103, "hap": 595, "exc": 1041, "sad": 1084, "neu": 1708, "fru": 1849, "fea": 40, "sur": 107,
            "dis": 2, "oth": 3, "xxx": 2507,
        },
    ),
)  # fmt: skip
