"""MESD: Mexican Spanish, single words, voices of women, men and children, 6 states, 862 clips.

Source: Duville, Alonso-Valerdi, Ibarra-Zarate (2021), "Mexican Emotional Speech Database Based on Semantic,
Frequency, Familiarity, Concreteness, and Cultural Shaping of Affective Prosody", Data 6(12). The letter in the name
is a kind of voice (F, M, C: woman, man, child), not a speaker: no file says who of about a dozen people speaks. So
there is no column `speaker`, nobody can be held out, and a probe on it may know the voice.

The design has 864 cells (6 states, 3 voices, 48 words); `Anger_C_A_hoy` and `Neutral_C_A_tarde` were not published.
"""

from __future__ import annotations

from ser_probe.data.corpora.clips import FoundClips
from ser_probe.data.corpora.importer import CorpusRows, Importer, Published
from ser_probe.data.labels import name_emotions

CODES = {
    "Anger": "anger",
    "Disgust": "disgust",
    "Fear": "fear",
    "Happiness": "happiness",
    "Neutral": "neutral",
    "Sadness": "sadness",
}
VOICES = {"F": "woman", "M": "man", "C": "child"}
GENDERS = {"F": "female", "M": "male", "C": ""}
_NO_SPEAKERS = (
    "no file says who speaks (F, M and C are kinds of voices), so there is no column 'speaker': the clips cannot be "
    "split by speaker, and scores on them do not hold for new speakers"
)


def rows(clips: FoundClips) -> CorpusRows:
    """Return a row per clip; `voice` is woman, man or child, `word_list` A or B, `sentence` the word."""
    import pandas as pd

    codes = [code.capitalize() for code in clips.part("code")]
    voices = [voice.upper() for voice in clips.part("voice")]
    table = pd.DataFrame(
        {
            "path": clips.paths,
            "label": name_emotions(codes, CODES, where=clips.home),
            "label_code": codes,
            "voice": [VOICES[voice] for voice in voices],
            "gender": [GENDERS[voice] for voice in voices],
            "sentence": [word.lower() for word in clips.part("word")],
            "word_list": [letter.upper() for letter in clips.part("list")],
            "language": "es",
            "corpus": "mesd",
        }
    )
    return CorpusRows(table, "intended emotion, from the file name", (_NO_SPEAKERS,))


IMPORTER = Importer(
    name="mesd",
    title="MESD",
    holds="Spanish, voices of women, men and children, no speaker ids, single words, 6 states, 862 clips",
    paper="Duville, Alonso-Valerdi, Ibarra-Zarate (2021): Mexican Emotional Speech Database, Data 6(12)",
    licence="CC BY 4.0",
    home="data.mendeley.com/datasets/cy34mh68j9",
    layout="Mexican Emotional Speech Database (MESD)/Anger_C_A_abajo.wav: <emotion>_<voice>_<word list>_<word>.wav",
    clip=r"(?P<code>[A-Z]+)_(?P<voice>[FMC])_(?P<list>[AB])_(?P<word>[^/]+)\.wav",
    rows=rows,
    published=Published(862, None, dict.fromkeys(CODES, 144) | {"Anger": 143, "Neutral": 143}),
)
