"""CaFE: Canadian French, 6 women and 6 men, 6 sentences, 7 states at two intensities, 936 clips.

Source: Gournay, Lahaie, Lefebvre (2018), "A Canadian French Emotional Speech Dataset", ACM Multimedia Systems.
Speakers with odd numbers are men. The archives write the accents of their folders in an old code page, so that many
programs unpack `ColŠre` for Colère: the letter in the file name says the emotion, and folders do not count. The
release at 192 kHz is in AIFF. Neutral has one intensity.
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
LEVELS = {"1": "low", "2": "high"}  # faible, fort


def rows(clips: FoundClips) -> CorpusRows:
    """Return a row per clip; `level` is low or high, for neutral unspecified."""
    import pandas as pd

    codes = [code.upper() for code in clips.part("code")]
    speakers = clips.part("speaker")
    levels = zip(codes, clips.part("level"), strict=True)
    table = pd.DataFrame(
        {
            "path": clips.paths,
            "label": name_emotions(codes, CODES, where=clips.home),
            "label_code": codes,
            "speaker": speakers,
            "gender": ["male" if int(speaker) % 2 else "female" for speaker in speakers],
            "sentence": clips.part("sentence"),
            "level": ["unspecified" if code == "N" else LEVELS[level] for code, level in levels],
            "language": "fr",
            "corpus": "cafe",
        }
    )
    return CorpusRows(table, "intended emotion, from the file name")


IMPORTER = Importer(
    name="cafe",
    title="CaFE",
    holds="French, 12 actors, 6 sentences, 7 states, 936 clips",
    paper="Gournay, Lahaie, Lefebvre (2018): A Canadian French Emotional Speech Dataset, ACM Multimedia Systems",
    licence="CC BY-NC-SA 4.0",
    home="zenodo.org/records/1478765",
    layout="CaFE_48k/Peur/Fort/12-P-2-5.wav: <speaker>-<emotion>-<intensity>-<sentence>.wav, at 192 kHz .aiff",
    # Folders with an accent are met in several spellings of it.
    clip=r"(?:(?:Col[^/]*re|D[^/]*go[^/]*t|Joie|Neutre|Peur|Surprise|Tristesse)/)?(?:(?:Faible|Fort)/)?"
    r"(?P<speaker>\d\d)-(?P<code>[A-Z])-(?P<level>[12])-(?P<sentence>[1-6])\.(?:wav|aiff?)",
    rows=rows,
    suffixes=(".wav", ".aif", ".aiff"),
    published=Published(936, 12, dict.fromkeys(CODES, 144) | {"N": 72}, every=("speaker", "label_code", "sentence")),
)
