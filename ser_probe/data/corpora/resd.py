"""RESD: Russian, 50 acted dialogues of two speakers, 7 states, 1396 clips.

Source: Lubenets, Davidchuk, Amentes (2022), "Aniemore". In a dialogue each speaker plays one state, and the letter in
the name is that state's: who speaks and what is felt are one and the same within a dialogue. A speaker here is a
dialogue and a letter (`01a`); whether one person speaks in several dialogues is not said anywhere.

The published parts train and test share the speakers of almost all dialogues, so that a score on that split is not
one for new speakers; the part is kept as `official_split`, and the splits made here are of whole dialogues'
speakers.
"""

from __future__ import annotations

from ser_probe.data.corpora.clips import FoundClips, count_of
from ser_probe.data.corpora.importer import CorpusRows, Importer, Published
from ser_probe.data.labels import name_emotions
from ser_probe.errors import ManifestError, shorten

STATES = {
    "anger": "anger",
    "disgust": "disgust",
    "enthusiasm": "enthusiasm",
    "fear": "fear",
    "happiness": "happiness",
    "neutral": "neutral",
    "sadness": "sadness",
}
_NOTE = (
    "a speaker is a dialogue and a letter; whether one person speaks in several dialogues is not known, and within a "
    "dialogue the speaker tells the label"
)


def rows(clips: FoundClips) -> CorpusRows:
    """Return a row per clip; `dialogue` is its number, `turn` the clip's within it, `official_split` train or test.

    Raises:
        ManifestError: If a letter is not the first of one of the dialogue's two states, or a state is not known.
    """
    import pandas as pd

    letters = [letter.lower() for letter in clips.part("letter")]
    pairs = zip(clips.part("first"), clips.part("second"), letters, clips.paths, strict=True)
    codes = [_played(first.lower(), second.lower(), letter, path) for first, second, letter, path in pairs]
    dialogues = clips.part("dialogue")
    speakers = [dialogue + letter for dialogue, letter in zip(dialogues, letters, strict=True)]
    parts = [part.lower() for part in clips.part("part")]
    table = pd.DataFrame(
        {
            "path": clips.paths,
            "label": name_emotions(codes, STATES, where=clips.home),
            "label_code": codes,
            "speaker": speakers,
            "dialogue": dialogues,
            "turn": [int(turn) for turn in clips.part("turn")],
            "official_split": parts,
            "language": "ru",
            "corpus": "resd",
        }
    )
    notes = [_NOTE]
    halves = [
        {speaker for speaker, part in zip(speakers, parts, strict=True) if part == half} for half in ("train", "test")
    ]
    if shared := sorted(halves[0] & halves[1]):
        notes.append(
            f"the published parts train and test share {count_of(len(shared), 'speaker')}: {shorten(shared, 3)}"
        )
    if not any(parts):
        table = table.drop(columns="official_split")
    return CorpusRows(table, "played emotion, from the file name", tuple(notes))


def _played(first: str, second: str, letter: str, path: str) -> str:
    for state in (first, second):
        if state.startswith(letter):
            return state
    raise ManifestError(
        "A letter in a name of RESD is of neither of the dialogue's states",
        where=path,
        expected=f"{first[0]} or {second[0]}",
        found=letter,
    )


IMPORTER = Importer(
    name="resd",
    title="RESD",
    holds="Russian, 50 dialogues of two speakers, 7 states, 1396 clips",
    paper="Lubenets, Davidchuk, Amentes (2022): Aniemore, a library of emotion recognition for Russian",
    licence="as its page states",
    home="huggingface.co/datasets/Aniemore/resd",
    layout="train/anger_fear_14/14_anger_fear_a_010.wav: <dialogue>_<state>_<state>_<letter of the state>_<turn>.wav",
    clip=r"(?:(?P<part>train|test)/)?(?:(?:\d\d_)?[a-z]+_[a-z]+(?:_\d\d)?/)?"
    r"(?P<dialogue>\d\d)_(?P<first>[a-z]+)_(?P<second>[a-z]+)[ _]"
    r"(?P<letter>[a-z])_(?P<turn>\d{3})\.wav",
    rows=rows,
    published=Published(
        1396,
        100,
        {
            "anger": 219,
            "disgust": 185,
            "enthusiasm": 198,
            "fear": 223,
            "happiness": 218,
            "neutral": 191,
            "sadness": 162,
        },
    ),
)
