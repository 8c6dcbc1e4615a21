"""ShEMO: Persian, utterances of radio plays, 87 speakers, 6 states, 3000 clips.

Source: Mohamad Nezami, Jamshid Lou, Karami (2019), "ShEMO: a large-scale validated database for Persian speech emotion
detection", Language Resources and Evaluation.

A clip's name holds its label. `shemo.json` holds it too, with the words that are said; copies of it are about that
correct some labels, and one in use leaves 162 clips out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ser_probe.data.corpora.clips import FoundClips
from ser_probe.data.corpora.importer import CorpusRows, Importer, Option, Published
from ser_probe.data.labels import name_emotions
from ser_probe.errors import CorpusError

CODES = {
    "A": "anger",
    "F": "fear",
    "H": "happiness",
    "N": "neutral",
    "S": "sadness",
    "W": "surprise",
}
WORDS = {
    "anger": "A", "angry": "A", "fear": "F", "fearful": "F", "happiness": "H", "happy": "H", "neutral": "N",
    "sad": "S", "sadness": "S", "surprise": "W", "surprised": "W",
}  # fmt: skip
"""Letter by the word of shemo.json, whose copies differ in it."""

_JSON = "shemo.json"
_ORT = "transcript/final text"


def rows(clips: FoundClips, *, labels: str) -> CorpusRows:
    """Return a row per clip; `sentence_text` is what is said, where the corpus tells it.

    Raises:
        CorpusError: If `shemo.json` is to give the labels, and is missing or not readable.
        ManifestError: If an emotion is not known.
    """
    import pandas as pd

    entries = _read_json(clips, needed=labels == "json")
    named = [code.upper() for code in clips.part("code")]
    codes, notes = _codes_of(clips, entries, named) if labels == "json" else (named, [])
    speakers = [speaker.upper() for speaker in clips.part("speaker")]
    table = pd.DataFrame(
        {
            "path": clips.paths,
            "label": name_emotions(codes, CODES, where=clips.home),
            "label_code": codes,
            "speaker": speakers,
            "gender": ["female" if speaker[0] == "F" else "male" for speaker in speakers],
            "language": "fa",
            "corpus": "shemo",
        }
    )
    texts = _texts_of(clips, entries)
    if any(texts):
        table["sentence_text"] = texts
    rule = "what listeners agreed on, from the file name" if labels == "name" else f"from {_JSON}"
    return CorpusRows(table, rule, tuple(notes))


def _read_json(clips: FoundClips, *, needed: bool) -> dict[str, Mapping[str, Any]]:
    """Return the entries of shemo.json by a clip's name without its ending; none where it is not there."""
    from ser_probe.data.corpora.own_tables import find_own_file

    try:
        path = find_own_file(clips, [_JSON], folders=(".", ".."))
    except CorpusError:
        if needed:
            raise
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise CorpusError(f"ShEMO's {_JSON} is not readable", where=path, found=error) from error
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise CorpusError(
            f"ShEMO's {_JSON} is not as expected", where=path,
            expected='{"F21N37": {"speaker_id": "F21", "emotion": "neutral", "transcript": ...}, ...}',
        )  # fmt: skip
    return {name.removesuffix(".wav").upper(): entry for name, entry in entries.items()}


def _codes_of(
    clips: FoundClips, entries: Mapping[str, Mapping[str, Any]], named: list[str]
) -> tuple[list[str], list[str]]:
    """Return each clip's letter by shemo.json, by its name where that lacks it, and how many differ from the name."""
    stems = [stem.upper() for stem in clips.stems()]
    words = [str(entries[stem].get("emotion", "")).lower() if stem in entries else "" for stem in stems]
    found = name_emotions([word for word in words if word], WORDS, where=clips.home / _JSON)
    letters = iter(found)
    codes = [next(letters) if word else name for word, name in zip(words, named, strict=True)]
    notes = []
    if absent := words.count(""):
        notes.append(f"{absent} clips are not in {_JSON} and are labelled by their names")
    if changed := [stem for stem, code, name in zip(stems, codes, named, strict=True) if code != name]:
        notes.append(f"{len(changed)} clips have another label in {_JSON} than in their names, such as {changed[0]}")
    return codes, notes


def _texts_of(clips: FoundClips, entries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    from ser_probe.data.corpora.own_tables import read_own_text

    texts = []
    for stem in clips.stems():
        entry, path = entries.get(stem.upper()), clips.home / _ORT / f"{stem}.ort"
        if entry is not None:
            texts.append(" ".join(str(entry.get("transcript") or "").split()))
        else:
            texts.append(" ".join(read_own_text(path).split()) if path.is_file() else "")
    return texts


IMPORTER = Importer(
    name="shemo",
    title="ShEMO",
    holds="Persian, radio plays, 87 speakers, 6 states, 3000 clips",
    paper="Mohamad Nezami, Jamshid Lou, Karami (2019): ShEMO: a large-scale validated database for Persian speech "
    "emotion detection, Language Resources and Evaluation",
    licence="as its repository states",
    home="github.com/mansourehk/ShEMO",
    layout="female/F01A01.wav, male/M36S02.wav: <speaker><emotion><number>.wav; shemo.json where it is there",
    clip=r"(?:(?:fe)?male/)?(?P<speaker>[MF]\d\d)(?P<code>[AFHNSW])(?P<number>\d\d)\.wav",
    rows=rows,
    options={
        "labels": Option("name (from the file names) or json (from shemo.json, as corrected there)", "name",
                         ("name", "json")),
    },
    published=Published(3000, 87, {"A": 1042, "F": 32, "H": 203, "N": 1160, "S": 362, "W": 201}),
)  # fmt: skip
