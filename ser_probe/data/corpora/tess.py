"""TESS: Canadian English, two women (64 and 26 years old), 200 words in a carrier phrase, 7 states, 2800 clips.

Source: Pichora-Fuller and Dupuis (2020), "Toronto emotional speech set (TESS)", Borealis. The code `ps` is pleasant
surprise; whether it counts as surprise is an option.

Quirks of the published files: `OA_bite_neutral.wav` is of speaker OAF; `YAF_germ_angry.wav` and `YAF_neat_fear.wav`
are AIFF inside; `OAF_food_fear.wav` has 96 kHz, all others 24,414 Hz; only the files of OAF have a LIST chunk. Names
of folders vary in words and case, so that they are not looked at. With two speakers, a model that is tested on one
was trained on the other alone.
"""

from __future__ import annotations

from ser_probe.data.corpora.clips import FoundClips
from ser_probe.data.corpora.importer import CorpusRows, Importer, Option, Published
from ser_probe.data.labels import name_emotions
from ser_probe.errors import shorten

CODES = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "neutral": "neutral",
    "ps": "surprise",  # pleasant surprise
    "sad": "sadness",
}
AGES = {"OAF": 64, "YAF": 26}


def rows(clips: FoundClips, *, surprise: str) -> CorpusRows:
    """Return a row per clip; `sentence` is the word after "Say the word", `age` the speaker's in years.

    Raises:
        ManifestError: If an emotion code is not known.
    """
    import pandas as pd

    written = [speaker.upper() for speaker in clips.part("speaker")]
    speakers = ["OAF" if speaker == "OA" else speaker for speaker in written]
    misnamed = [path for path, speaker in zip(clips.paths, written, strict=True) if speaker == "OA"]
    notes = (f"speaker OA is a slip for OAF: {shorten(misnamed)}",) if misnamed else ()
    codes = [code.lower() for code in clips.part("code")]
    words = [word.lower() for word in clips.part("word")]
    table = pd.DataFrame(
        {
            "path": clips.paths,
            "label": name_emotions(codes, CODES | {"ps": surprise}, where=clips.home),
            "label_code": codes,
            "speaker": speakers,
            "gender": "female",
            "age": [AGES[speaker] for speaker in speakers],
            "sentence": words,
            "sentence_text": [f"Say the word {word}" for word in words],
            "language": "en",
            "corpus": "tess",
        }
    )
    return CorpusRows(table, "intended emotion, from the file name; ps is pleasant surprise", notes)


IMPORTER = Importer(
    name="tess",
    title="TESS",
    holds="English, 2 women, 200 words, 7 states, 2800 clips",
    paper="Pichora-Fuller, Dupuis (2020): Toronto emotional speech set (TESS), Borealis",
    licence="CC BY-NC-ND 4.0",
    home="doi.org/10.5683/SP2/E8H2MF",
    layout="OAF_angry/OAF_back_angry.wav: <speaker>_<word>_<emotion>.wav; names of folders do not count",
    clip=r"(?:[OY]AF_[a-z_]+/)?(?P<speaker>OAF|YAF|OA)_(?P<word>[a-z'-]+)_(?P<code>[a-z]+)\.wav",
    rows=rows,
    options={
        "surprise": Option(
            "surprise, or pleasant_surprise to keep it apart from other corpora's surprise",
            "surprise",
            ("surprise", "pleasant_surprise"),
        )
    },
    published=Published(2800, 2, dict.fromkeys(CODES, 400), every=("speaker", "sentence", "label_code")),
)
