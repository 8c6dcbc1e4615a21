"""MELD: English, utterances of the television series Friends, 7 emotions, 13,708 rows in three official parts.

Source: Poria, Hazarika, Majumder, Naik, Cambria, Mihalcea (2019), "MELD: A Multimodal Multi-Party Dataset for Emotion
Recognition in Conversations", ACL.

The corpus is video; ser-probe reads a .wav beside each .mp4. Numbers of dialogues start anew in each part:
`dia0_utt0` is three clips, told apart by the folder. Most speakers of the test part are also in the training part, so
the official parts are no splits of speakers; they are the column `official_split`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ser_probe.data.corpora.clips import FoundClips
from ser_probe.data.corpora.importer import CorpusRows, Importer, Published
from ser_probe.data.labels import name_emotions
from ser_probe.errors import CorpusError, shorten

if TYPE_CHECKING:
    import pandas as pd

CODES = {
    "anger": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "joy": "happiness",
    "neutral": "neutral",
    "sadness": "sadness",
    "surprise": "surprise",
}
PARTS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
GENDERS = dict.fromkeys(("Monica", "Phoebe", "Rachel"), "female") | dict.fromkeys(("Chandler", "Joey", "Ross"), "male")
"""Of the six main characters; the label files name nobody's."""
OVERLONG = {"test_dia38_utt4": 304, "test_dia220_utt0": 235, "train_dia309_utt0": 41}
"""Seconds of clips that hold much more than their utterance, because their times in the label file are wrong."""

_COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")
_CONVERT = (
    'find . -name "*.mp4" -exec sh -c '
    '\'ffmpeg -n -loglevel error -i "$1" -vn -ac 1 -ar 16000 "${1%.mp4}.wav"\' sh {} ";"'
)


def rows(clips: FoundClips) -> CorpusRows:
    """Return a row per clip; `utterance` is its official part, dialogue and number.

    Raises:
        CorpusError: If there is video alone, or a label file is missing or not as expected.
        ManifestError: If an emotion is not known.
    """
    import pandas as pd

    from ser_probe.data.corpora.matching import match_rows

    clips, notes = _audio_only(clips)
    parts = [_part_of(folder) for folder in clips.part("part")]
    found = _read_labels(clips, sorted({*parts}))
    keys = [
        f"{part}_dia{int(dialogue)}_utt{int(utterance)}"
        for part, dialogue, utterance in zip(parts, clips.part("dialogue"), clips.part("utterance"), strict=True)
    ]
    matched = match_rows(clips, keys, found, "utterance", clips.home / "*_sent_emo.csv")
    found = matched.rows
    codes = found["Emotion"].str.lower()
    speakers = found["Speaker"].to_numpy()
    table = pd.DataFrame(
        {
            "path": matched.clips.paths,
            "label": name_emotions(codes, CODES, where=clips.home),
            "label_code": codes,
            "speaker": speakers,
            "gender": [GENDERS.get(speaker, "") for speaker in speakers],
            "utterance": found["utterance"],
            "dialogue": found["utterance"].str.replace(r"_utt\d+$", "", regex=True),
            "sentence_text": found["Utterance"],
            "official_split": found["utterance"].str.partition("_")[0].replace("dev", "validation"),
            "language": "en",
            "corpus": "meld",
        }
    )
    return CorpusRows(
        table, "what most annotators chose from text and video", (*notes, *matched.notes, *_say_defects(table))
    )


def _part_of(folder: str) -> str:
    return next(part for part, name in PARTS.items() if name == folder.lower())


def _audio_only(clips: FoundClips) -> tuple[FoundClips, list[str]]:
    """Return the clips without videos, and how many videos have no audio beside them.

    Raises:
        CorpusError: If none has.
    """
    audio = [path.lower().endswith(".wav") for path in clips.paths]
    heard = {str(PurePosixPath(path).with_suffix("")) for path in clips.choose(audio).paths}
    silent = [path for path in clips.paths if str(PurePosixPath(path).with_suffix("")) not in heard]
    fix = f"extract the audio beside each video: cd {clips.home} && {_CONVERT}"
    if not heard:
        raise CorpusError(
            f"MELD's {len(clips)} clips are video, and ser-probe reads audio",
            where=clips.root / clips.paths[0],
            expected="a .wav beside each .mp4",
            fix=fix,
        )
    if silent:
        return clips.choose(audio), [f"{len(silent)} videos without a .wav beside them ({silent[0]}); {fix}"]
    return clips.choose(audio), []


def _read_labels(clips: FoundClips, parts: list[str]) -> pd.DataFrame:
    import pandas as pd

    from ser_probe.data.corpora.own_tables import find_own_file, read_own_table

    tables = []
    for part in parts:
        path = find_own_file(clips, [f"{part}_sent_emo.csv"], folders=(".", part, "MELD", "data/MELD", ".."))
        table = read_own_table(path, _COLUMNS, "MELD")
        if not (table["Dialogue_ID"].str.isdecimal() & table["Utterance_ID"].str.isdecimal()).all():
            raise CorpusError(f"MELD's {path.name} holds numbers of dialogues that are not whole numbers", where=path)
        numbers = zip(table["Dialogue_ID"].astype(int), table["Utterance_ID"].astype(int), strict=True)
        tables.append(table.assign(utterance=[f"{part}_dia{dialogue}_utt{number}" for dialogue, number in numbers]))
    return pd.concat(tables, ignore_index=True)


def _say_defects(table: pd.DataFrame) -> list[str]:
    notes = []
    in_parts = table.groupby("speaker")["official_split"].agg(set)
    testers = [parts for parts in in_parts if "test" in parts]
    shared = sum("train" in parts for parts in testers)
    if shared:
        notes.append(
            f"{shared} of {len(testers)} speakers of the official test part are in the training part too: it is the "
            "column official_split, and no split of speakers"
        )
    if overlong := [f"{name} ({OVERLONG[name]} s)" for name in table["utterance"] if name in OVERLONG]:
        notes.append(f"clips that hold much more than their utterance: {shorten(overlong)}")
    if nobody := Counter(table["gender"])[""]:
        notes.append(f"{nobody} clips are not of the six main characters, whose genders alone are known")
    return notes


IMPORTER = Importer(
    name="meld",
    title="MELD",
    holds="English, the television series Friends, 7 emotions, 13,706 clips in three official parts",
    paper="Poria, Hazarika, Majumder, Naik, Cambria, Mihalcea (2019): MELD, ACL",
    licence="GPL-3.0, as its repository states; the videos are from a television series",
    home="github.com/declare-lab/MELD",
    layout="train_splits/dia0_utt0.wav, dev_splits_complete/, output_repeated_splits_test/ with train_sent_emo.csv, "
    "dev_sent_emo.csv, test_sent_emo.csv; a .wav beside each .mp4",
    clip=r"(?:(?:train|dev|test)/)?(?P<part>train_splits|dev_splits_complete|output_repeated_splits_test)/"
    r"dia(?P<dialogue>\d+)_utt(?P<utterance>\d+)\.(?:wav|mp4)",
    rows=rows,
    suffixes=(".wav", ".mp4"),
    published=Published(
        13706,
        labels={
            "anger": 1607, "disgust": 361, "fear": 358, "joy": 2308, "neutral": 6434, "sadness": 1002, "surprise": 1636,
        },
    ),
)  # fmt: skip
