"""CREMA-D: English emotional speech, 91 actors (43 women, 48 men), 12 sentences, 6 states, 7442 clips.

Source: Cao, Cooper, Keutmann, Gur, Nenkova, Verma (2014), "CREMA-D: Crowd-sourced Emotional Multimodal Actors
Dataset", IEEE Transactions on Affective Computing. The repository keeps the audio in Git LFS: cloned without
it, every clip is a pointer file of some 130 bytes.

The intended emotion is in the file name; `processedResults/summaryTable.csv` holds what most listeners heard in
the voice alone. The two differ much: the crowd hears more than half of the clips as neutral. A vote may be a tie
("A:D"); a tie names no emotion, so these clips (644 of the 7442) are left out when the votes are the labels.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ser_probe.data.corpora.layout import FoundClips, find_clips
from ser_probe.data.labels import CREMA_D_CODES, CREMA_D_VOTES, name_emotions
from ser_probe.errors import CorpusError, did_you_mean, shorten
from ser_probe.runtime import logger

LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified", "X": "unspecified"}
LABELS = ("intended", "voice_vote")
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


def import_corpus(
    root: str | Path, *, labels: str = "intended", vote_counts: bool = False, allow_pointers: bool = False
) -> pd.DataFrame:
    """Return CREMA-D's manifest rows.

    Args:
        root: The clone of the corpus's repository, or the folder that holds it.
        labels: `intended` (what the actor was asked for) or `voice_vote` (what most listeners heard in the voice;
            clips whose vote is a tie are left out).
        vote_counts: Whether to add how many listeners heard each emotion in the voice, columns `votes_<emotion>`: soft
            labels for fine-tuning.
        allow_pointers: Whether to return rows although all audio is Git LFS pointers, for work on the metadata.

    Returns:
        One row per clip; `path` is relative to `root`, `label_code` the code that the label comes from, `intended`
        the intended emotion, `level` its intensity, `age` the actor's in years.

    Raises:
        CorpusError: If the folder does not hold the corpus, its tables are missing or incomplete, or all audio is
            Git LFS pointers.
        ManifestError: If an emotion code is not known.
    """
    if labels not in LABELS:
        raise CorpusError(
            "CREMA-D has no such labels", expected=" or ".join(LABELS), found=labels, fix=did_you_mean(labels, LABELS)
        )
    clips = find_clips(root, "crema_d")
    _check_pointers(clips, allow_pointers)
    codes = [code.upper() for code in clips.part("code")]
    sentences = [sentence.upper() for sentence in clips.part("sentence")]
    intended = name_emotions(codes, CREMA_D_CODES, where=clips.home)
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
        table = _add_vote_counts(table, clips.home)
    return _use_votes(table, clips.home) if labels == "voice_vote" else table


def _check_pointers(clips: FoundClips, allow_pointers: bool) -> None:
    pointers = clips.pointers()
    if not pointers:
        return
    if len(pointers) < len(clips.paths):
        logger.warning("CREMA-D: %d of %d clips are Git LFS pointers; %s", len(pointers), len(clips.paths), _PULL)
    elif not allow_pointers:
        raise CorpusError(
            f"All {len(pointers)} clips of CREMA-D are Git LFS pointers, not audio",
            where=clips.root / pointers[0],
            fix=_PULL,
        )


def _read_table(path: Path, columns: list[str]) -> pd.DataFrame:
    """Read one of the corpus's own tables as text."""
    if not path.is_file():
        raise CorpusError(
            f"CREMA-D's {path.name} is missing",
            where=path,
            fix="give the whole clone of the repository, not its audio folder alone",
        )
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except ValueError as error:  # pandas' parser errors and wrong encodings are kinds of ValueError
        raise CorpusError(f"CREMA-D's {path.name} is not a readable CSV file", where=path, found=error) from error
    missing = [name for name in columns if name not in table]
    if missing:
        raise CorpusError(
            f"CREMA-D's {path.name} lacks columns", where=path, expected=shorten(columns), found=shorten(table.columns)
        )
    return table


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


def _add_vote_counts(table: pd.DataFrame, home: Path) -> pd.DataFrame:
    """Return the rows with the counts of the voice votes; the first digit of a vote's number says what was shown."""
    path = home / "processedResults" / "tabulatedVotes.csv"
    votes = _read_table(path, [_NUMBER, *CREMA_D_VOTES, "fileName"])
    heard = votes[votes[_NUMBER].str.startswith("1")].set_index("fileName")
    stems = table["path"].map(lambda written: Path(written).stem)
    if unknown := sorted({*stems} - {*heard.index}):
        raise CorpusError("CREMA-D's tabulatedVotes.csv lacks voice votes of clips", where=path, found=shorten(unknown))
    counts = heard.loc[stems, list(CREMA_D_VOTES)]
    if not counts.stack().str.isdecimal().all():
        raise CorpusError("CREMA-D's tabulatedVotes.csv holds counts that are not whole numbers", where=path)
    named = {f"votes_{CREMA_D_VOTES[code]}": counts[code].astype(int).to_numpy() for code in CREMA_D_VOTES}
    return table.assign(**named)


def _use_votes(table: pd.DataFrame, home: Path) -> pd.DataFrame:
    """Return the rows whose voice vote has one winner, labelled by it."""
    path = home / "processedResults" / "summaryTable.csv"
    votes = _read_table(path, ["FileName", "VoiceVote"]).set_index("FileName")["VoiceVote"]
    stems = table["path"].map(lambda written: Path(written).stem)
    vote = stems.map(votes).fillna("")
    decided = (vote != "") & ~vote.str.contains(":")
    if not decided.all():
        logger.warning(
            "CREMA-D: %d clips are left out, because their voice vote is a tie (%d) or missing (%d)",
            (~decided).sum(), vote.str.contains(":").sum(), (vote == "").sum(),
        )  # fmt: skip
    codes = vote[decided]
    labels = name_emotions(codes, CREMA_D_VOTES, where=path)
    return table[decided].assign(label=labels, label_code=codes).reset_index(drop=True)
