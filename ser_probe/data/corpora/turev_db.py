"""TurEV-DB: Turkish, 6 speakers, 82 words, 4 states, 1735 clips.

Source: Canpolat, Ormanoğlu, Zeyrek (2020), "Turkish Emotion Voice Database (TurEV-DB)", SLTU-CCURL. Names do not say
the gender of the speakers. One word is written with a digit (`7895_hl_ogul1.wav`) and kept so. The repository also
holds spectrograms and divided copies of the corpus: `Sound Source` is the folder of the clips.
"""

from __future__ import annotations

from ser_probe.data.corpora.clips import FoundClips
from ser_probe.data.corpora.importer import CorpusRows, Importer, Published
from ser_probe.data.labels import name_emotions
from ser_probe.errors import shorten

CODES = {
    "hl": "sadness",  # the folder is Sad
    "kz": "anger",  # Angry
    "mt": "happiness",  # Happy
    "sk": "calm",  # Calm
}


def rows(clips: FoundClips) -> CorpusRows:
    """Return a row per clip; `sentence` is the word."""
    import pandas as pd

    codes = [code.lower() for code in clips.part("code")]
    words = [word.lower() for word in clips.part("word")]
    odd = sorted({word for word in words if not word.isalpha()})
    notes = (f"a word that is written with a digit is kept so: {shorten(odd)}",) if odd else ()
    table = pd.DataFrame(
        {
            "path": clips.paths,
            "label": name_emotions(codes, CODES, where=clips.home),
            "label_code": codes,
            "speaker": clips.part("speaker"),
            "sentence": words,
            "language": "tr",
            "corpus": "turev_db",
        }
    )
    return CorpusRows(table, "intended emotion, from the file name", notes)


IMPORTER = Importer(
    name="turev_db",
    title="TurEV-DB",
    holds="Turkish, 6 speakers, 82 words, 4 states, 1735 clips",
    paper="Canpolat, Ormanoğlu, Zeyrek (2020): Turkish Emotion Voice Database (TurEV-DB), SLTU-CCURL",
    licence="CC BY-NC-ND 4.0",
    home="github.com/Xeonen/TurEV-DB",
    layout="Sound Source/Angry/1157_kz_acik.wav: <speaker>_<emotion>_<word>.wav",
    clip=r"(?:(?:Angry|Calm|Happy|Sad)/)?(?P<speaker>\d{4})_(?P<code>[a-z]{2})_(?P<word>[a-z]+\d?)\.wav",
    rows=rows,
    published=Published(1735, 6, {"hl": 483, "kz": 487, "mt": 357, "sk": 408}),
)
