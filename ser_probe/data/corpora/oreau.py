"""Oréau: French, 32 speakers (7 women, 25 men), 7 states, 434 clips.

Source: Kerkeni, Cleder, Serrestou, Raoof (2020), "French Emotional Speech Database - Oréau", Zenodo. The names are
built like EMO-DB's (speaker, text, emotion, version), with other codes; the folders `f/sessc/` (gender, session of an
emotion) tell the two apart and give the gender. Two clips have a text `z` in place of `a`. Speakers have 7 to 37
clips.
"""

from __future__ import annotations

from ser_probe.data.corpora.clips import FoundClips
from ser_probe.data.corpora.importer import CorpusRows, Importer, Published
from ser_probe.data.labels import name_emotions

CODES = {
    "C": "anger",  # colère
    "D": "disgust",  # dégoût
    "J": "happiness",  # joie
    "N": "neutral",  # neutre
    "P": "fear",  # peur
    "S": "surprise",  # surprise
    "T": "sadness",  # tristesse
}


def rows(clips: FoundClips) -> CorpusRows:
    """Return a row per clip; `sentence` is the emotion's code and the text: each emotion has its own texts."""
    import pandas as pd

    codes = [code.upper() for code in clips.part("code")]
    texts = [text.lower() for text in clips.part("sentence")]
    table = pd.DataFrame(
        {
            "path": clips.paths,
            "label": name_emotions(codes, CODES, where=clips.home),
            "label_code": codes,
            "speaker": clips.part("speaker"),
            "gender": ["female" if letter.lower() == "f" else "male" for letter in clips.part("gender")],
            "sentence": [code + text for code, text in zip(codes, texts, strict=True)],
            "version": [version.lower() for version in clips.part("version")],
            "language": "fr",
            "corpus": "oreau",
        }
    )
    return CorpusRows(table, "intended emotion, from the file name")


IMPORTER = Importer(
    name="oreau",
    title="Oréau",
    holds="French, 32 speakers, 7 states, 434 clips",
    paper="Kerkeni, Cleder, Serrestou, Raoof (2020): French Emotional Speech Database - Oréau, Zenodo",
    licence="as its page states",
    home="zenodo.org/records/4405783",
    layout="OréauFR_02/f/sessc/10a01Ca.wav: <gender>/sess<emotion>/<speaker><text><emotion><version>.wav",
    clip=r"(?P<gender>[fm])/sess[a-z]/(?P<speaker>\d\d)(?P<sentence>[a-z]\d\d)(?P<code>[A-Z])(?P<version>[a-z])\.wav",
    rows=rows,
    published=Published(434, 32, {"C": 67, "D": 67, "J": 62, "N": 70, "P": 51, "S": 62, "T": 55}),
)
