"""AESDD: Greek, 6 actors, 20 utterances, 5 states, 604 clips.

Source: Vryzas, Kotsakis, Liatsou, Dimoulas, Kalliris (2018), "Speech Emotion Recognition for Performance
Interaction", Journal of the Audio Engineering Society 66(6). Of the 20 utterances, 19 are the same in all emotions
and the last is improvised by each actor, so that it has no `sentence`. Some clips of speaker 5 have a second take,
marked a or b after the bracket; `f10 (01)` is of speaker 1.

Public readers of the corpus take the odd numbers for men, but its own description counts 3 women and 2 men among the
first five speakers, and the two cannot both be true: genders are not given. The clip `s05 (3)` is missing in public
lists of the corpus and is left out where it is there, so that all use the same 604.
"""

from __future__ import annotations

from ser_probe.data.corpora.clips import FoundClips
from ser_probe.data.corpora.importer import CorpusRows, Importer, Published
from ser_probe.data.labels import name_emotions

CODES = {"a": "anger", "d": "disgust", "f": "fear", "h": "happiness", "s": "sadness"}
_IMPROVISED = "20"
_NOT_LISTED = ("s", "05", "3")


def rows(clips: FoundClips) -> CorpusRows:
    """Return a row per clip; `version` is the letter of a second take, or empty."""
    import pandas as pd

    names = zip(clips.part("code"), clips.part("sentence"), clips.part("speaker"), strict=True)
    kept = [(code.lower(), sentence, speaker) != _NOT_LISTED for code, sentence, speaker in names]
    notes = ("public lists of the corpus leave out s05 (3).wav, and so does this one",) if not all(kept) else ()
    clips = clips.choose(kept)
    codes = [code.lower() for code in clips.part("code")]
    table = pd.DataFrame(
        {
            "path": clips.paths,
            "label": name_emotions(codes, CODES, where=clips.home),
            "label_code": codes,
            "speaker": clips.part("speaker"),
            "sentence": ["" if number == _IMPROVISED else number for number in clips.part("sentence")],
            "version": [version.lower() for version in clips.part("version")],
            "language": "el",
            "corpus": "aesdd",
        }
    )
    return CorpusRows(table, "intended emotion, from the file name", notes)


IMPORTER = Importer(
    name="aesdd",
    title="AESDD",
    holds="Greek, 6 actors, 20 utterances, 5 states, 604 clips",
    paper="Vryzas, Kotsakis, Liatsou, Dimoulas, Kalliris (2018): Speech Emotion Recognition for Performance "
    "Interaction, Journal of the Audio Engineering Society 66(6)",
    licence="as its page states",
    home="m3c.web.auth.gr/research/aesdd-speech-emotion-recognition",
    layout="anger/a03 (3).wav: <emotion><utterance> (<speaker>).wav",
    clip=r"(?:(?:anger|disgust|fear|happiness|sadness)/)?(?P<code>[adfhs])(?P<sentence>\d\d) \(0?(?P<speaker>\d)\)"
    r"(?P<version>[ab]?)\.wav",
    rows=rows,
    published=Published(604, 6, {"a": 121, "d": 122, "f": 120, "h": 119, "s": 122}),
)
