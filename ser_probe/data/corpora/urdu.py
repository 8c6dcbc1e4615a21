"""URDU: spontaneous Urdu speech from talk shows, 38 speakers (11 women, 27 men), 4 states, 400 clips.

Source: Latif, Qayyum, Usman, Qadir (2018), "Cross Lingual Speech Emotion Recognition: Urdu vs. Western Languages",
FIT. Most speakers are heard in one or two states only, some in a single one with dozens of clips: who speaks tells
much of the label.
"""

from __future__ import annotations

from ser_probe.data.corpora.clips import FoundClips
from ser_probe.data.corpora.importer import CorpusRows, Importer, Published
from ser_probe.data.labels import name_emotions

CODES = {"A": "anger", "H": "happiness", "N": "neutral", "S": "sadness"}


def rows(clips: FoundClips) -> CorpusRows:
    """Return a row per clip; there are no sentences, since the speech is spontaneous."""
    import pandas as pd

    codes = [code.upper() for code in clips.part("code")]
    speakers = [speaker.upper() for speaker in clips.part("speaker")]
    table = pd.DataFrame(
        {
            "path": clips.paths,
            "label": name_emotions(codes, CODES, where=clips.home),
            "label_code": codes,
            "speaker": speakers,
            "gender": ["female" if speaker.startswith("SF") else "male" for speaker in speakers],
            "language": "ur",
            "corpus": "urdu",
        }
    )
    return CorpusRows(table, "emotion of spontaneous speech, from the file name")


IMPORTER = Importer(
    name="urdu",
    title="URDU",
    holds="Urdu, 38 speakers in talk shows, 4 states, 400 clips",
    paper="Latif, Qayyum, Usman, Qadir (2018): Cross Lingual Speech Emotion Recognition: Urdu vs. Western Languages, "
    "FIT",
    licence="research use",
    home="github.com/siddiquelatif/URDU-Dataset",
    layout="Angry/SM1_F10_A010.wav: <speaker>_F<file>_<emotion><number>.wav, speaker SF... a woman, SM... a man",
    clip=r"(?:(?:Angry|Happy|Neutral|Sad)/)?(?P<speaker>S[FM]\d+)_F(?P<file>\d+)_(?P<code>[A-Z])(?P<number>\d+)\.wav",
    rows=rows,
    published=Published(400, 38, dict.fromkeys(CODES, 100)),
)
