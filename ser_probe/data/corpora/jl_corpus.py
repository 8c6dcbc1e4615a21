"""JL-Corpus: New Zealand English, 2 women and 2 men, 5 primary and 5 secondary emotions, 2400 clips.

Source: James, Tian, Watson (2018), "An Open Source Emotional Speech Corpus for Human Robot Interaction Applications",
Interspeech. The names have four parts: speaker, emotion, sentence (a number and a or b), repetition. `female1` holds
the word male: the whole name of the speaker is read. Beside each clip lies a text file of the same name.
"""

from __future__ import annotations

from ser_probe.data.corpora.clips import FoundClips, count_of
from ser_probe.data.corpora.importer import CorpusRows, Importer, Option, Published
from ser_probe.data.labels import name_emotions

PRIMARY = {"angry": "anger", "excited": "excitement", "happy": "happiness", "neutral": "neutral", "sad": "sadness"}
SECONDARY = {
    "anxious": "anxiety",
    "apologetic": "apology",
    "assertive": "assertiveness",
    "concerned": "concern",
    "encouraging": "encouragement",
}
CODES = PRIMARY | SECONDARY
_SETS = {"primary": PRIMARY, "secondary": SECONDARY, "all": CODES}
PUBLISHED = {name: Published(240 * len(codes), 4, dict.fromkeys(codes, 240)) for name, codes in _SETS.items()}


def rows(clips: FoundClips, *, emotions: str) -> CorpusRows:
    """Return a row per clip; `sentence` is its number with the letter, `repetition` 1 or 2.

    Raises:
        ManifestError: If an emotion is not known.
    """
    import pandas as pd

    codes = [code.lower() for code in clips.part("code")]
    name_emotions(codes, CODES, where=clips.home)
    wanted = [code in _SETS[emotions] for code in codes]
    clips = clips.choose(wanted)
    notes: tuple[str, ...] = ()
    if left_out := len(wanted) - sum(wanted):
        notes = (
            f"{count_of(left_out, 'clip')} of other than the {emotions} emotions left out "
            "(option emotions=all takes them)",
        )
    codes = [code.lower() for code in clips.part("code")]
    speakers = [speaker.lower() for speaker in clips.part("speaker")]
    table = pd.DataFrame(
        {
            "path": clips.paths,
            "label": name_emotions(codes, CODES, where=clips.home),
            "label_code": codes,
            "speaker": speakers,
            "gender": [speaker[:-1] for speaker in speakers],
            "sentence": [sentence.lower() for sentence in clips.part("sentence")],
            "repetition": [int(repetition) for repetition in clips.part("repetition")],
            "language": "en",
            "corpus": "jl_corpus",
        }
    )
    return CorpusRows(table, "intended emotion, from the file name", notes, PUBLISHED[emotions])


IMPORTER = Importer(
    name="jl_corpus",
    title="JL-Corpus",
    holds="English, 2 women and 2 men, 10 states, 2400 clips",
    paper="James, Tian, Watson (2018): An Open Source Emotional Speech Corpus for Human Robot Interaction "
    "Applications, Interspeech",
    licence="as its page states",
    home="kaggle.com/datasets/tli725/jl-corpus",
    layout="Raw JL corpus (unchecked and unannotated)/JL(wav+txt)/female1_angry_10a_1.wav: "
    "<speaker>_<emotion>_<sentence>_<repetition>.wav",
    clip=r"(?:JL\(wav\+txt\)/)?(?P<speaker>(?:fe)?male[12])_(?P<code>[a-z]+)_(?P<sentence>\d+[ab])_(?P<repetition>[12])\.wav",
    rows=rows,
    options={
        "emotions": Option(
            "all; primary: angry, excited, happy, neutral, sad; or secondary: anxious, apologetic, assertive, "
            "concerned, encouraging",
            "all",
            ("all", "primary", "secondary"),
        )
    },
    published=PUBLISHED["all"],
)
