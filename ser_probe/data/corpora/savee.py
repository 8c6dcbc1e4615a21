"""SAVEE: British English, 4 men, 7 states, 480 clips.

Source: Haq and Jackson (2010), "Multimodal Emotion Recognition", in: Machine Audition, IGI Global. The corpus is met
in two layouts: a folder per speaker (`AudioData/DC/a01.wav`), and flat (`DC_a01.wav`). Each emotion has sentences of
its own beside a few common ones, and the names do not say which are common: a sentence is named by its emotion and
number, the same for all speakers.

Quirks: every clip of DC, JE and JK has a constant offset and none of KL does, so the offset tells the speaker; many
clips are clipped. The Info.txt that comes with the corpus says 15 clips a state; neutral has 30.
"""

from __future__ import annotations

from ser_probe.data.corpora.clips import FoundClips
from ser_probe.data.corpora.importer import CorpusRows, Importer, Published
from ser_probe.data.labels import name_emotions

CODES = {
    "a": "anger",
    "d": "disgust",
    "f": "fear",
    "h": "happiness",
    "n": "neutral",
    "sa": "sadness",
    "su": "surprise",
}


def rows(clips: FoundClips) -> CorpusRows:
    """Return a row per clip; `sentence` is the emotion's code and the number of its sentence."""
    import pandas as pd

    codes = [code.lower() for code in clips.part("code")]
    table = pd.DataFrame(
        {
            "path": clips.paths,
            "label": name_emotions(codes, CODES, where=clips.home),
            "label_code": codes,
            "speaker": [speaker.upper() for speaker in clips.part("speaker")],
            "gender": "male",
            "sentence": [code + number for code, number in zip(codes, clips.part("number"), strict=True)],
            "language": "en",
            "corpus": "savee",
        }
    )
    return CorpusRows(table, "intended emotion, from the file name")


IMPORTER = Importer(
    name="savee",
    title="SAVEE",
    holds="English, 4 men, 7 states, 480 clips",
    paper="Haq, Jackson (2010): Multimodal Emotion Recognition, in: Machine Audition, IGI Global",
    licence="research use, on registration",
    home="kahlan.eps.surrey.ac.uk/savee",
    layout="AudioData/DC/a01.wav, or flat DC_a01.wav: <speaker>, <emotion><number>.wav",
    # The code is all that stands between speaker and number: sa01 is sadness, not anger.
    clip=r"(?P<speaker>DC|JE|JK|KL)[/_](?P<code>sa|su|[adfhn])(?P<number>\d\d)\.wav",
    rows=rows,
    published=Published(480, 4, dict.fromkeys(CODES, 60) | {"n": 120}, every=("speaker", "sentence")),
)
