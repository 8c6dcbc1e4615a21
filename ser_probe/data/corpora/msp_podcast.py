"""MSP-Podcast: English, spontaneous speech from podcasts, labelled by listeners; it grows with every release.

Source: Lotfian and Busso (2019), "Building Naturalistic Emotionally Balanced Speech Corpus by Retrieving Emotional
Speech from Existing Podcast Recordings", IEEE Transactions on Affective Computing.

The label file is `labels_consensus.csv`, in old releases `labels_concensus.csv` (so spelt), and in still older ones
`labels.txt`. Its numbers are activation, valence, dominance, in this order, from 1 to 7; activation is the column
`arousal`. A speaker who was not identified is called `Unknown`: these are many people, so each such clip gets a
speaker of its own, which keeps them apart in a split, but two clips of one unknown person may lie on both sides.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ser_probe.data.corpora.clips import FoundClips
from ser_probe.data.corpora.importer import CorpusRows, Importer, Option
from ser_probe.data.labels import name_emotions
from ser_probe.errors import CorpusError, collect, did_you_mean, shorten

if TYPE_CHECKING:
    import pandas as pd

CODES = {
    "A": "anger",
    "C": "contempt",
    "D": "disgust",
    "F": "fear",
    "H": "happiness",
    "N": "neutral",
    "O": "other",
    "S": "sadness",
    "U": "surprise",
    "X": "no_agreement",
}
NO_EMOTION = ("O", "X")
PARTITIONS = {
    "train": "train",
    "development": "validation",
    "validation": "validation",
    "test1": "test",
    "test2": "test",
    "test3": "test",
}
FILES = ("labels_consensus.csv", "labels_concensus.csv", "labels.txt")
_UNKNOWN = "Unknown_"
_FOLDERS = ("Labels", "labels", ".", "../Labels", "..")
_NUMBERS = {"EmoAct": "arousal", "EmoVal": "valence", "EmoDom": "dominance"}
_COLUMNS = ("FileName", "EmoClass", *_NUMBERS, "SpkrID", "Gender", "Split_Set")
_CONSENSUS = re.compile(r"(MSP-PODCAST_[\d_]+\.wav);\s*(\w);\s*A:([\d.]+);\s*V:([\d.]+);\s*D:([\d.]+);?\s*")


def rows(clips: FoundClips, *, labels: int | str, split: str) -> CorpusRows:
    """Return a row per clip; `official_split` is the corpus's own partition.

    Raises:
        CorpusError: If the label file is missing or not as expected.
        ManifestError: If an emotion code is not known.
    """
    import pandas as pd

    from ser_probe.data.corpora.matching import match_rows
    from ser_probe.data.corpora.own_tables import find_own_file

    path = find_own_file(clips, FILES, folders=_FOLDERS, fix="give the folder that holds Audios and Labels")
    found = _read_labels(path)
    keys = [f"{stem.upper()}.wav" for stem in clips.stems()]
    matched = match_rows(clips, keys, found, "FileName", path)
    notes, found = [*matched.notes], matched.rows
    codes = found["EmoClass"].str.upper()
    table = pd.DataFrame(
        {
            "path": matched.clips.paths,
            "label": name_emotions(codes, CODES, where=path),
            "label_code": codes,
            **{column: _numbers(found[name], path) for name, column in _NUMBERS.items()},
            "language": "en",
            "corpus": "msp_podcast",
        }
    )
    if "SpkrID" in found:
        table = _add_speakers(table, found, matched.clips.stems(), path)
    else:
        notes.append("labels.txt names no speakers, genders and partitions, so that nobody can be held out by name")
    if split == "official":
        table = table.assign(split=_official(table, path))
    rule, whole = "what most listeners chose", table
    if labels == "all":
        rule += ", other and no_agreement among them"
    else:
        rule += ", 8 labels"
        dropped = codes.isin(NO_EMOTION)
        if dropped.any():
            listed = ", ".join(f"{code} ({CODES[code]}) {n}" for code, n in sorted(Counter(codes[dropped]).items()))
            notes.append(f"{dropped.sum()} clips left out by their label: {listed} (the option labels=all keeps them)")
        table = table[~dropped].reset_index(drop=True)
    return CorpusRows(table, rule, (*notes, *_say_unknown(table)), whole=whole)


def _say_unknown(table: pd.DataFrame) -> list[str]:
    unknown = int(table["speaker"].str.startswith(_UNKNOWN).sum()) if "speaker" in table else 0
    if not unknown:
        return []
    return [
        f"{unknown} clips of speakers who are Unknown: each counts as a speaker of its own, and the same person may be "
        "in several; leave them out where a result is about speakers"
    ]


def _read_labels(path: Path) -> pd.DataFrame:
    import pandas as pd

    from ser_probe.data.corpora.own_tables import read_own_table, read_own_text

    if path.suffix == ".csv":
        table = read_own_table(path, _COLUMNS, "MSP-Podcast")
        return table.assign(FileName=table["FileName"].str.replace(r"\.wav$", "", regex=True, case=False) + ".wav")
    # Below the line of each clip stand those of its listeners, which begin otherwise.
    matches = [match for line in read_own_text(path).splitlines() if (match := _CONSENSUS.fullmatch(line.strip()))]
    if not matches:
        raise CorpusError(
            "MSP-Podcast's labels.txt has no line that is a clip's",
            where=path,
            expected="MSP-PODCAST_0001_0008.wav; N; A:2.200000; V:4.000000; D:2.600000;",
        )
    return pd.DataFrame([match.groups() for match in matches], columns=list(_COLUMNS[:5]))


def _numbers(cells: pd.Series, path: Path) -> pd.Series:
    import pandas as pd

    numbers = pd.to_numeric(cells, errors="coerce").astype(float)
    if numbers.isna().any():
        raise CorpusError(
            f"MSP-Podcast's {path.name} holds values of {cells.name} that are not numbers",
            where=path,
            found=shorten(map(repr, sorted({*cells[numbers.isna()]})), 5),
        )
    return numbers


def _add_speakers(table: pd.DataFrame, found: pd.DataFrame, stems: list[str], path: Path) -> pd.DataFrame:
    """Return the rows with speaker, gender and partition."""
    unknown = found["SpkrID"].str.lower().isin(["unknown", ""])
    names = [
        f"{_UNKNOWN}{stem}" if alone else name
        for name, stem, alone in zip(found["SpkrID"], stems, unknown, strict=True)
    ]
    genders = found["Gender"].str.lower()
    if strange := sorted({*genders} - {"female", "male", "unknown", ""}):
        raise CorpusError(
            f"MSP-Podcast's {path.name} holds genders that are not known", where=path,
            expected="Female, Male or Unknown", found=shorten(strange),
        )  # fmt: skip
    return table.assign(
        speaker=names, gender=genders.replace("unknown", "").to_numpy(), official_split=found["Split_Set"].to_numpy()
    )


def _official(table: pd.DataFrame, path: Path) -> list[str]:
    """Return train, validation or test for each clip.

    Raises:
        CorpusError: If the label file has no partition, or one that is not known.
    """
    if "official_split" not in table:
        raise CorpusError(
            f"MSP-Podcast's {path.name} names no partition", where=path, fix="leave the option split=official out"
        )
    unknown = sorted({name for name in table["official_split"] if name.lower() not in PARTITIONS})
    if unknown:
        faults = [f"{name!r}: {did_you_mean(name, PARTITIONS)}" for name in unknown]
        raise collect(CorpusError, f"Partitions of MSP-Podcast's {path.name} that are not known", faults, where=path)
    return [PARTITIONS[name.lower()] for name in table["official_split"]]


IMPORTER = Importer(
    name="msp_podcast",
    title="MSP-Podcast",
    holds="English, spontaneous, over 200,000 clips of podcasts (release 1.12), 8 states, numbers from 1 to 7",
    paper="Lotfian and Busso (2019): Building Naturalistic Emotionally Balanced Speech Corpus by Retrieving Emotional "
    "Speech from Existing Podcast Recordings, IEEE Transactions on Affective Computing",
    licence="by an agreement with the authors",
    home="",
    layout="Audios/MSP-PODCAST_0001_0008.wav with Labels/labels_consensus.csv (old: Audio, labels_concensus.csv, "
    "labels.txt)",
    clip=r"(?:Audios?/)?(?P<clip_name>MSP-PODCAST_\d+_\d+(?:_\d+)?)\.wav",
    rows=rows,
    options={
        "labels": Option("8 (other and no agreement are left out and counted) or all", 8, (8, "all")),
        "split": Option(
            "official takes the corpus's partition as splits: Development validates, Test1, Test2 and Test3 test",
            "none",
            ("none", "official"),
        ),
    },
)
