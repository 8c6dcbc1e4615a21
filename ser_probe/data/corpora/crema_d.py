"""CREMA-D: English emotional speech, 91 actors (43 women, 48 men), 12 sentences, 6 states, 7442 clips.

Source: Cao, Cooper, Keutmann, Gur, Nenkova, Verma (2014), "CREMA-D: Crowd-sourced Emotional Multimodal Actors
Dataset", IEEE Transactions on Affective Computing. The repository keeps the audio in Git LFS: cloned without
it, every clip is a pointer file of some 130 bytes.

The intended emotion is in the file name; `processedResults/summaryTable.csv` holds what most of the crowd perceived in
the voice alone, the face alone, and both. The voice differs much from what was intended: the crowd hears more than half
of the clips as neutral. A vote may be a tie ("A:D"); a tie names no emotion, so these clips (644 of the 7442 by voice)
are left out when the votes are the labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ser_probe.data.corpora.clips import FoundClips
from ser_probe.data.corpora.importer import CorpusRows, Importer, Option, Published
from ser_probe.data.labels import name_emotions
from ser_probe.errors import CorpusError, shorten

if TYPE_CHECKING:
    import pandas as pd

CODES = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}
VOTES = {code[0]: name for code, name in CODES.items()}


@dataclass(frozen=True)
class _Channel:
    """What the crowd was shown: its column of winners, the first digit of its rows of counts, and its counts."""

    column: str
    digit: str
    perceived: str
    n_decided: int


CHANNELS = {
    "voice_vote": _Channel("VoiceVote", "1", "heard in the voice", 6798),
    "face_vote": _Channel("FaceVote", "2", "saw in the face", 6972),
    "both_vote": _Channel("MultiModalVote", "3", "perceived in voice and face", 7022),
}
SILENT = "1076_MTI_SAD_XX"
"""A clip without any sound, as the corpus's README says."""


LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified", "X": "unspecified"}
SENTENCES = {
    "DFA": "Don't forget a jacket",
    "IEO": "It's eleven o'clock",
    "IOM": "I'm on my way to the meeting",
    "ITH": "I think I have a doctor's appointment",
    "ITS": "I think I've seen this before",
    "IWL": "I would like a new alarm clock",
    "IWW": "I wonder what this is about",
    "MTI": "Maybe tomorrow it will be cold",
    "TAI": "The airplane is almost full",
    "TIE": "That is exactly what happened",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
_NUMBER = "Unnamed: 0"  # what pandas calls the first column of the votes, which has no name
_PULL = "run `git lfs install` and `git lfs pull` in the clone"


def rows(clips: FoundClips, *, labels: str, vote_counts: bool, votes_of: str, allow_pointers: bool) -> CorpusRows:
    """Return a row per clip; `intended` is the intended emotion, `level` its intensity, `age` the actor's in years.

    Raises:
        CorpusError: If the tables are missing or incomplete, or all audio is Git LFS pointers.
        ManifestError: If an emotion code is not known.
    """
    import pandas as pd

    notes = _check_pointers(clips, allow_pointers)
    codes = [code.upper() for code in clips.part("code")]
    sentences = [sentence.upper() for sentence in clips.part("sentence")]
    intended = name_emotions(codes, CODES, where=clips.home)
    table = pd.DataFrame(
        {
            "path": clips.paths,
            "label": intended,
            "label_code": codes,
            "speaker": clips.part("speaker"),
            "sentence": sentences,
            "sentence_text": [SENTENCES.get(sentence, "") for sentence in sentences],
            "level": [LEVELS[level.upper()] for level in clips.part("level")],
            "intended": intended,
            "language": "en",
            "corpus": "crema_d",
        }
    )
    table = _add_demographics(table, clips.home)
    if vote_counts:
        table = _add_vote_counts(table, clips.home, CHANNELS[f"{votes_of}_vote"])
    if any(SILENT in path for path in clips.paths):
        notes = (*notes, f"{SILENT} holds no sound, as the corpus's README says")
    if labels != "intended":
        channel = CHANNELS[labels]
        table, ties = _use_votes(table, clips.home, channel)
        rule = f"what most of the crowd {channel.perceived}"
        return CorpusRows(table, rule, (*notes, *ties), Published(channel.n_decided, 91))
    return CorpusRows(table, "intended emotion, from the file name", notes)


def _check_pointers(clips: FoundClips, allow_pointers: bool) -> tuple[str, ...]:
    pointers = clips.pointers()
    if not pointers:
        return ()
    if len(pointers) < len(clips):
        return (f"{len(pointers)} of {len(clips)} clips are Git LFS pointers; {_PULL}",)
    if not allow_pointers:
        raise CorpusError(
            f"All {len(pointers)} clips of CREMA-D are Git LFS pointers, not audio",
            where=clips.root / pointers[0],
            fix=_PULL,
        )
    return ()


def _read_table(path: Path, columns: list[str]) -> pd.DataFrame:
    from ser_probe.data.corpora.own_tables import read_own_table

    fix = "give the whole clone of the repository, not its audio folder alone"
    return read_own_table(path, columns, "CREMA-D", fix=fix)


def _add_demographics(table: pd.DataFrame, home: Path) -> pd.DataFrame:
    path = home / "VideoDemographics.csv"
    actors = _read_table(path, ["ActorID", "Age", "Sex", "Race", "Ethnicity"]).set_index("ActorID")
    if unknown := sorted({*table["speaker"]} - {*actors.index}):
        raise CorpusError("CREMA-D's demographics lack actors", where=path, found=shorten(unknown))
    if strange := sorted({age for age in actors["Age"] if not age.isdecimal()}):
        raise CorpusError("CREMA-D's demographics hold ages that are not numbers", where=path, found=shorten(strange))
    known = actors.loc[table["speaker"]]
    return table.assign(
        gender=known["Sex"].str.lower().to_numpy(),
        age=known["Age"].astype(int).to_numpy(),
        race=known["Race"].to_numpy(),
        ethnicity=known["Ethnicity"].to_numpy(),
    )


def _add_vote_counts(table: pd.DataFrame, home: Path, channel: _Channel) -> pd.DataFrame:
    """Return the rows with the counts of votes; the first digit of a row's number says what was shown."""
    path = home / "processedResults" / "tabulatedVotes.csv"
    votes = _read_table(path, [_NUMBER, *VOTES, "fileName"])
    heard = votes[votes[_NUMBER].str.startswith(channel.digit)].set_index("fileName")
    stems = table["path"].map(lambda written: Path(written).stem)
    if unknown := sorted({*stems} - {*heard.index}):
        raise CorpusError("CREMA-D's tabulatedVotes.csv lacks votes of clips", where=path, found=shorten(unknown))
    counts = heard.loc[stems, list(VOTES)]
    if not counts.stack().str.isdecimal().all():
        raise CorpusError("CREMA-D's tabulatedVotes.csv holds counts that are not whole numbers", where=path)
    named = {f"votes_{VOTES[code]}": counts[code].astype(int).to_numpy() for code in VOTES}
    return table.assign(**named)


def _use_votes(table: pd.DataFrame, home: Path, channel: _Channel) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the rows whose vote has one winner, labelled by it, and what was left out."""
    path = home / "processedResults" / "summaryTable.csv"
    votes = _read_table(path, ["FileName", channel.column]).set_index("FileName")[channel.column]
    stems = table["path"].map(lambda written: Path(written).stem)
    vote = stems.map(votes).fillna("")
    decided = (vote != "") & ~vote.str.contains(":")
    notes: tuple[str, ...] = ()
    if not decided.all():
        ties, missing = vote.str.contains(":").sum(), (vote == "").sum()
        notes = (f"{(~decided).sum()} clips are left out, because their vote is a tie ({ties}) or missing ({missing})",)
    codes = vote[decided]
    labels = name_emotions(codes, VOTES, where=path)
    return table[decided].assign(label=labels, label_code=codes).reset_index(drop=True), notes


IMPORTER = Importer(
    name="crema_d",
    title="CREMA-D",
    holds="English, 91 actors, 12 sentences, 6 states, 7442 clips",
    paper="Cao, Cooper, Keutmann, Gur, Nenkova, Verma (2014): CREMA-D, IEEE Transactions on Affective Computing",
    licence="Open Database License 1.0; contents: Database Contents License 1.0",
    home="github.com/CheyneyComputerScience/CREMA-D",
    layout="AudioWAV/1001_DFA_ANG_XX.wav beside VideoDemographics.csv: <actor>_<sentence>_<emotion>_<level>.wav",
    # Copies of the corpus are about that write one level as X.
    clip=r"(?:AudioWAV/)?(?P<speaker>\d{4})_(?P<sentence>[A-Z]{3})_(?P<code>[A-Z]{3})_(?P<level>HI|LO|MD|XX?)\.wav",
    rows=rows,
    options={
        "labels": Option(
            "intended (what the actor was asked for), or what most of the crowd perceived: voice_vote, face_vote or "
            "both_vote; ties are left out",
            "intended",
            ("intended", *CHANNELS),
        ),
        "vote_counts": Option(
            "true adds how many of the crowd perceived each emotion, as columns votes_<emotion>: soft labels", False
        ),
        "votes_of": Option("what these were shown: voice, face or both", "voice", ("voice", "face", "both")),
        "allow_pointers": Option("true returns rows although all audio is Git LFS pointers", False),
    },
    published=Published(7442, 91, dict.fromkeys(CODES, 1271) | {"NEU": 1087}),
)
