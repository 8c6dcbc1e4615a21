"""ESD: Mandarin and English emotional speech, 10 speakers and 350 sentences a language, 5 states, 35,000 clips.

Source: Zhou, Sisman, Liu, Li (2022), "Emotional voice conversion: Theory, databases and ESD", Speech Communication.

Every speaker says the same 350 sentences in every state. The official train, evaluation and test folders divide the
sentences of each speaker: they are no splits of speakers, and stand in the column `official_split`. The text files of
the speakers are in several encodings, some with blanks in place of tabs.
"""

from __future__ import annotations

import re
from pathlib import Path

from ser_probe.data.corpora.clips import FoundClips
from ser_probe.data.corpora.importer import CorpusRows, Importer, Published
from ser_probe.data.labels import name_emotions
from ser_probe.errors import CorpusError, shorten

CODES = {"Angry": "anger", "Happy": "happiness", "Neutral": "neutral", "Sad": "sadness", "Surprise": "surprise"}
WORDS = {"中立": "Neutral", "快乐": "Happy", "伤心": "Sad", "生气": "Angry", "惊喜": "Surprise"}
MEN = (4, 5, 6, 8, 10, 11, 12, 13, 14, 20)
PARTS = {"train": "train", "evaluation": "validation", "test": "test", "": ""}
N_SENTENCES = 350

_LINE = re.compile(r"(?P<clip>\d{4}_\d{6})\s+(?P<text>.*\S)\s+(?P<label>\S+)")


def rows(clips: FoundClips) -> CorpusRows:
    """Return a row per clip; `sentence` is the language and a number that is the same for all speakers of it.

    Raises:
        CorpusError: If a speaker is none of the twenty, or a text file is in an encoding that is not known.
        ManifestError: If an emotion is not known.
    """
    import pandas as pd

    codes = [code.capitalize() for code in clips.part("code")]
    speakers = clips.part("speaker")
    numbers = [int(speaker) for speaker in speakers]
    if strangers := sorted({s for s, number in zip(speakers, numbers, strict=True) if not 1 <= number <= 20}):
        raise CorpusError(
            "Speakers who are not in ESD", where=clips.home, expected="0001 to 0020", found=shorten(strangers)
        )
    languages = ["zh" if number <= 10 else "en" for number in numbers]
    sentences = [(int(number) - 1) % N_SENTENCES + 1 for number in clips.part("number")]
    table = pd.DataFrame(
        {
            "path": clips.paths,
            "label": name_emotions(codes, CODES, where=clips.home),
            "label_code": codes,
            "speaker": speakers,
            "gender": ["male" if number in MEN else "female" for number in numbers],
            "sentence": [f"{language}{number:03d}" for language, number in zip(languages, sentences, strict=True)],
            "language": languages,
            "corpus": "esd",
        }
    )
    parts = [PARTS[part.lower()] for part in clips.part("part")]
    if any(parts):
        table["official_split"] = parts
    texts, notes = _read_texts(clips, sorted({*speakers}))
    stems = clips.stems()
    if texts:
        table["sentence_text"] = [texts[stem][0] if stem in texts else "" for stem in stems]
        pairs = zip(stems, codes, strict=True)
        if other := [stem for stem, code in pairs if texts.get(stem, ("", code))[1] not in (code, "")]:
            notes.append(
                f"{len(other)} clips lie in the folder of another emotion than their text file says, such as "
                f"{other[0]}; the folder counts"
            )
        if absent := [stem for stem in stems if stem not in texts]:
            notes.append(f"{len(absent)} clips without a line in a text file: {shorten(absent, 3)}")
    return CorpusRows(table, "intended emotion, from the folder", tuple(notes))


def _read_texts(clips: FoundClips, speakers: list[str]) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Return text and label of each clip that a text file names, and which speakers have no file."""
    texts: dict[str, tuple[str, str]] = {}
    missing = []
    for speaker in speakers:
        paths = [clips.home / speaker / f"{speaker}.txt", clips.home / f"{speaker}.txt"]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            missing.append(paths[0].name)
            continue
        for line in _decode(path, chinese=int(speaker) <= 10).splitlines():
            if match := _LINE.fullmatch(line.strip()):
                word = match["label"]
                texts[match["clip"]] = (match["text"], WORDS.get(word, word.capitalize()))
    return texts, [f"text files that are not there: {shorten(missing, 3)}"] if missing else []


def _decode(path: Path, *, chinese: bool) -> str:
    from ser_probe.data.corpora.own_tables import read_own_text

    # UTF-16 without a mark has a zero in every second byte of a number, and no other encoding has one.
    if b"\x00" in path.read_bytes()[:64]:
        return read_own_text(path, ["utf-16-le"])
    return read_own_text(path, ["utf-8-sig", "gb18030"] if chinese else ["utf-8-sig", "cp1252", "latin-1"])


IMPORTER = Importer(
    name="esd",
    title="ESD",
    holds="Mandarin and English, 10 speakers each, 350 sentences a language, 5 states, 35,000 clips",
    paper="Zhou, Sisman, Liu, Li (2022): Emotional voice conversion: Theory, databases and ESD, Speech Communication",
    licence="research use",
    home="github.com/HLTSingapore/Emotional-Speech-Data",
    layout="0011/Angry/0011_000351.wav, or with a folder train, evaluation or test before the file; 0011/0011.txt",
    clip=r"(?:00[012]\d/)?(?P<code>Angry|Happy|Neutral|Sad|Surprise)/(?:(?P<part>train|evaluation|test)/)?"
    r"(?P<speaker>00[012]\d)_(?P<number>\d{6})\.wav",
    rows=rows,
    published=Published(35000, 20, dict.fromkeys(CODES, 7000)),
)
