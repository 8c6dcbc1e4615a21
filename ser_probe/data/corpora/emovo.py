"""EMOVO: Italian emotional speech, 6 actors, 14 sentences, 7 states, 588 clips."""

from __future__ import annotations

from ser_probe.data.corpora.clips import FoundClips
from ser_probe.data.corpora.importer import CorpusRows, Importer, Published
from ser_probe.data.labels import name_emotions

CODES = {
    "dis": "disgust",  # disgusto
    "gio": "happiness",  # gioia
    "neu": "neutral",  # neutro
    "pau": "fear",  # paura
    "rab": "anger",  # rabbia
    "sor": "surprise",  # sorpresa
    "tri": "sadness",  # tristezza
}


def rows(clips: FoundClips) -> CorpusRows:
    """Return a row per clip."""
    import pandas as pd

    codes = [code.lower() for code in clips.part("code")]
    speakers = [speaker.lower() for speaker in clips.part("speaker")]
    table = pd.DataFrame(
        {
            "path": clips.paths,
            "label": name_emotions(codes, CODES, where=clips.home),
            "label_code": codes,
            "speaker": speakers,
            "gender": ["female" if speaker.startswith("f") else "male" for speaker in speakers],
            "sentence": [sentence.lower() for sentence in clips.part("sentence")],
            "language": "it",
            "corpus": "emovo",
        }
    )
    return CorpusRows(table, "intended emotion, from the file name")


IMPORTER = Importer(
    name="emovo",
    title="EMOVO",
    holds="Italian, 6 actors, 14 sentences, 7 states, 588 clips",
    paper="Costantini, Iaderola, Paoloni, Todisco (2014): EMOVO Corpus, LREC",
    licence="research use",
    home="",
    layout="f1/dis-f1-b1.wav: a folder per actor (f1-f3, m1-m3); <emotion>-<actor>-<sentence>.wav",
    clip=r"(?:[fm]\d/)?(?P<code>[a-z]{3})-(?P<speaker>[fm]\d)-(?P<sentence>[a-z]\d)\.wav",
    rows=rows,
    published=Published(588, 6, dict.fromkeys(CODES, 84), every=("speaker", "label_code", "sentence")),
)
