"""EmoV-DB: English, 2 women and 2 men reading CMU Arctic sentences, 5 states, 6887 clips.

Source: Adigwe, Tits, El Haddad, Ostadabbas, Dutoit (2018), "The Emotional Voices Database", arXiv:1806.09514; counted
as in OpenSLR 115. The speaker stands in the folder alone (`bea_Amused/`, or `bea/Amused/` in sorted copies), so a
file without its folder cannot be used.

Quirks: the emotion is written in several ways (`Disgust_`, `disgust_`, folder Sleepy with `sleepiness_`); the range
of sentences in a name is written with a dash or an underscore; josh has no angry and no disgusted clips, so that
emotion and speaker are not independent; bea has 44.1 kHz, the others 16 kHz.
"""

from __future__ import annotations

from ser_probe.data.corpora.clips import FoundClips
from ser_probe.data.corpora.importer import CorpusRows, Importer, Published
from ser_probe.data.labels import name_emotions

CODES = {
    "amused": "amusement",
    "anger": "anger",
    "disgust": "disgust",
    "neutral": "neutral",
    "sleepiness": "sleepiness",
}
GENDERS = {"bea": "female", "jenie": "female", "josh": "male", "sam": "male"}


def rows(clips: FoundClips) -> CorpusRows:
    """Return a row per clip; `sentence` is its number in CMU Arctic."""
    import pandas as pd

    codes = [code.lower() for code in clips.part("code")]
    speakers = [speaker.lower() for speaker in clips.part("speaker")]
    table = pd.DataFrame(
        {
            "path": clips.paths,
            "label": name_emotions(codes, CODES, where=clips.home),
            "label_code": codes,
            "speaker": speakers,
            "gender": [GENDERS[speaker] for speaker in speakers],
            "sentence": clips.part("sentence"),
            "language": "en",
            "corpus": "emov_db",
        }
    )
    return CorpusRows(table, "intended emotion, from the file name")


IMPORTER = Importer(
    name="emov_db",
    title="EmoV-DB",
    holds="English, 2 women and 2 men, read sentences, 5 states, 6887 clips",
    paper="Adigwe, Tits, El Haddad, Ostadabbas, Dutoit (2018): The Emotional Voices Database, arXiv:1806.09514",
    licence="as its page states",
    home="openslr.org/115",
    layout="bea_Amused/amused_1-15_0001.wav, or bea/Amused/...: <speaker>_<Emotion>/<emotion>_<range>_<sentence>.wav",
    clip=r"(?P<speaker>bea|jenie|josh|sam)[_/][a-z]+/(?P<code>[a-z]+)_(?P<range>\d+[-_]\d+)_(?P<sentence>\d{4})\.wav",
    rows=rows,
    published=Published(6887, 4, {"amused": 1315, "anger": 1267, "disgust": 1019, "neutral": 1566, "sleepiness": 1720}),
)
