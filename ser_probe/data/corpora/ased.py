"""ASED: Amharic, 65 speakers (25 women, 40 men), 27 sentences, 5 states, 2474 clips.

Source: Retta, Almekhlafi, Sutcliffe, Mhamed, Ali, Feng (2022), "A New Amharic Speech Emotion Dataset and
Classification Benchmark", ACM TALLIP. Five sentences belong to each state and two are common to all; names number the
sentences 01-07 within a state and do not say which are common, so that a sentence is named by state and number.

Quirks: the length of a clip names its state for more than half of the clips (they are padded to a few fixed lengths);
`S4-04-02-01-29.wav` has a capital S and is sad; five speakers have one clip with the wrong gender, where what their
other clips say counts; four clips are there twice, as both repetitions of a sentence.
"""

from __future__ import annotations

from ser_probe.data.corpora.clips import FoundClips
from ser_probe.data.corpora.importer import CorpusRows, Importer, Published
from ser_probe.data.corpora.speaker_genders import settle_genders
from ser_probe.data.labels import name_emotions

CODES = {"n1": "neutral", "f2": "fear", "h3": "happiness", "s4": "sadness", "a5": "anger"}
_GENDERS = {"01": "female", "02": "male"}


def rows(clips: FoundClips) -> CorpusRows:
    """Return a row per clip; `sentence` is its state and number, `repetition` 1 or 2."""
    import pandas as pd

    codes = [code.lower() for code in clips.part("code")]
    speakers = clips.part("speaker")
    genders, notes = settle_genders(speakers, [_GENDERS[number] for number in clips.part("gender")])
    table = pd.DataFrame(
        {
            "path": clips.paths,
            "label": name_emotions(codes, CODES, where=clips.home),
            "label_code": codes,
            "speaker": speakers,
            "gender": genders,
            "sentence": [f"{code}-{number}" for code, number in zip(codes, clips.part("sentence"), strict=True)],
            "repetition": [int(repetition) for repetition in clips.part("repetition")],
            "language": "am",
            "corpus": "ased",
        }
    )
    return CorpusRows(table, "intended emotion that most of eight judges accepted, from the file name", notes)


IMPORTER = Importer(
    name="ased",
    title="ASED",
    holds="Amharic, 65 speakers, 27 sentences, 5 states, 2474 clips",
    paper="Retta, Almekhlafi, Sutcliffe, Mhamed, Ali, Feng (2022): A New Amharic Speech Emotion Dataset and "
    "Classification Benchmark, ACM TALLIP",
    licence="as the repository states",
    home="github.com/Ethio2021/ASED_V1",
    layout="04Sad/s4-04-01-01-29.wav: <state>-<sentence>-<repetition>-<gender>-<speaker>.wav",
    clip=r"(?:0[1-5][a-z]+/)?(?P<code>[a-z]\d)-(?P<sentence>\d\d)-(?P<repetition>\d\d)-(?P<gender>0[12])-"
    r"(?P<speaker>\d\d)\.wav",
    rows=rows,
    published=Published(2474, 65),
)
