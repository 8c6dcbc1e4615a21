"""BAVED: Arabic, 7 words at three levels of expressed emotion, 1935 clips.

Source: the repository's README; there is no paper. The level says how strong an emotion is and not which: 0 low
(tired or down), 1 the usual voice, 2 high (joy, anger, sadness and others in one class). The shared labels are
low_activation, neutral and high_activation; no other corpus has such classes.

Quirks: the README counts 61 speakers, names have 60, and the ids 46 and 53 are one person, all of whose clips are
there twice: both get the id 46, so that no split parts them, and 59 are left. `0/49-m-23-6-1-201.wav` has word 6 in
the folder of word 0; the name counts. The last number of a name is used twice and is no key.
"""

from __future__ import annotations

from ser_probe.data.corpora.clips import FoundClips, count_of
from ser_probe.data.corpora.importer import CorpusRows, Importer, Published
from ser_probe.data.corpora.speaker_genders import settle_genders
from ser_probe.data.labels import name_emotions
from ser_probe.errors import shorten

CODES = {"0": "low_activation", "1": "neutral", "2": "high_activation"}
WORDS = {
    "0": "اعجبني",
    "1": "لم يعجبني",
    "2": "هذا",
    "3": "الفيلم",
    "4": "رائع",
    "5": "مقول",
    "6": "سيئ",
}
SAME_PERSON = {"53": "46"}
_GENDERS = {"f": "female", "m": "male"}


def rows(clips: FoundClips) -> CorpusRows:
    """Return a row per clip; `sentence` is the word's number, `age` the speaker's in years, as the name has it."""
    import pandas as pd

    codes, words, written = (clips.part(name) for name in ("code", "word", "speaker"))
    speakers = [SAME_PERSON.get(speaker, speaker) for speaker in written]
    genders, notes = settle_genders(speakers, [_GENDERS[letter.lower()] for letter in clips.part("gender")])
    table = pd.DataFrame(
        {
            "path": clips.paths,
            "label": name_emotions(codes, CODES, where=clips.home),
            "label_code": codes,
            "speaker": speakers,
            "gender": genders,
            "age": [int(age) for age in clips.part("age")],
            "sentence": words,
            "sentence_text": [WORDS[word] for word in words],
            "language": "ar",
            "corpus": "baved",
        }
    )
    if renamed := sum(speaker in SAME_PERSON for speaker in written):
        notes = (*notes, f"speakers 46 and 53 are one person, here 46: {count_of(renamed, 'clip')} of 53")
    names = zip(clips.paths, clips.part("folder"), words, strict=True)
    if moved := [path for path, folder, word in names if folder and folder != word]:
        notes = (*notes, f"in the folder of another word, where the name counts: {shorten(moved)}")
    return CorpusRows(table, "level of expressed emotion, from the file name", notes)


IMPORTER = Importer(
    name="baved",
    title="BAVED",
    holds="Arabic, 59 speakers, 7 words, 3 levels of emotion, 1935 clips",
    paper="no paper; cite the repository",
    licence="as the repository states",
    home="github.com/40uf411/Basic-Arabic-Vocal-Emotions-Dataset",
    layout="0/49-m-23-0-1-176.wav: a folder a word; <speaker>-<gender>-<age>-<word>-<level>-<record>.wav",
    clip=r"(?:(?P<folder>[0-6])/)?(?P<speaker>\d+)-(?P<gender>[mf])-(?P<age>\d+)-(?P<word>[0-6])-(?P<code>\d)-"
    r"(?P<record>\d+)\.wav",
    rows=rows,
    published=Published(1935, 59),
)
