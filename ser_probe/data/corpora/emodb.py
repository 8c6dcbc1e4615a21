"""EMO-DB (Berlin): German emotional speech, 10 actors (5 women, 5 men), 10 sentences, 7 states, 535 clips.

Only clips that listeners recognised were kept, so states and actors have unequal numbers of clips. The state coded A
(Angst) is called anxiety or fear; it is mapped to fear.
"""

from __future__ import annotations

from ser_probe.data.corpora.clips import FoundClips
from ser_probe.data.corpora.importer import CorpusRows, Importer, Published
from ser_probe.data.labels import name_emotions
from ser_probe.errors import CorpusError, shorten

CODES = {
    "A": "fear",  # Angst
    "E": "disgust",  # Ekel
    "F": "happiness",  # Freude
    "L": "boredom",  # Langeweile
    "N": "neutral",
    "T": "sadness",  # Trauer
    "W": "anger",  # Wut
}
GENDERS = {speaker: "male" for speaker in ("03", "10", "11", "12", "15")} | {
    speaker: "female" for speaker in ("08", "09", "13", "14", "16")
}


def rows(clips: FoundClips) -> CorpusRows:
    """Return a row per clip; `version` is the take.

    Raises:
        CorpusError: If a speaker is not one of the ten.
    """
    import pandas as pd

    codes = [code.upper() for code in clips.part("code")]
    speakers = clips.part("speaker")
    if strangers := sorted({*speakers} - {*GENDERS}):
        raise CorpusError(
            "Speakers who are not in EMO-DB", where=clips.home, expected=shorten(GENDERS), found=shorten(strangers)
        )
    table = pd.DataFrame(
        {
            "path": clips.paths,
            "label": name_emotions(codes, CODES, where=clips.home),
            "label_code": codes,
            "speaker": speakers,
            "gender": [GENDERS[speaker] for speaker in speakers],
            "sentence": [sentence.lower() for sentence in clips.part("sentence")],
            "version": [version.lower() for version in clips.part("version")],
            "language": "de",
            "corpus": "emodb",
        }
    )
    return CorpusRows(table, "intended emotion, from the file name")


IMPORTER = Importer(
    name="emodb",
    title="EMO-DB",
    holds="German, 10 actors, 10 sentences, 7 states, 535 clips",
    paper="Burkhardt, Paeschke, Rolfes, Sendlmeier, Weiss (2005): A Database of German Emotional Speech, Interspeech",
    licence="research use",
    home="",
    layout="wav/03a01Fa.wav: <speaker><sentence><emotion><version>.wav",
    # Oréau names clips alike, in folders called sessc, sessn and so on.
    clip=r"(?<!sess[a-z]/)(?:wav/)?(?P<speaker>\d{2})(?P<sentence>[ab]\d{2})(?P<code>[A-Z])(?P<version>[a-z])\.wav",
    rows=rows,
    published=Published(535, 10, {"W": 127, "L": 81, "E": 46, "A": 69, "F": 71, "T": 62, "N": 79}),
)
