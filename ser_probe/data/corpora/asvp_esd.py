"""ASVP-ESD: emotional sounds from films and the web in many languages, with and without words, 13,964 clips.

Source: Landry, He, Yan, Li (2020), "ASVP-ESD: A dataset and its benchmark for emotion recognition using both speech
and non-speech utterances"; names counted in the release with the folders Audio and Bonus. Labels are what most of its
annotators heard. Two thirds of the clips are laughs, cries, screams and the like: by default only speech is taken.

A name is 03-<channel>-<emotion>-<intensity>-<statement>-<actor>-<age>-<source>-<language>-..., with a variable tail.
Only the first six fields are the same in all names; a few have a blank, a field of one digit, or two fields run
together in the tail, whose codes then stay empty. Readers of the corpus disagree about what the language codes mean,
so `language` is und (undetermined) and the code is kept. Even actors are men. Where folder and name disagree about
the actor, or the folder has no number, the name counts. One clip has the emotion 17, which is not defined, and is
left out.
"""

from __future__ import annotations

import re

from ser_probe.data.corpora.clips import FoundClips, count_of
from ser_probe.data.corpora.importer import CorpusRows, Importer, Option, Published
from ser_probe.data.labels import name_emotions
from ser_probe.errors import shorten

CODES = {
    "01": "boredom",
    "02": "neutral",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
    "09": "excitement",
    "10": "pleasure",
    "11": "pain",
    "12": "disappointment",
    "13": "other",  # breath and the like
}
LEVELS = {"01": "normal", "02": "high"}
_CHANNELS = {"01": "speech", "02": "non_speech"}
_UNDEFINED = "17"
_MIXED = "66"  # in the tail: several voices
_SPEECH = dict(zip(CODES, (98, 1314, 613, 551, 1064, 170, 190, 492, 270, 35, 54, 288), strict=False))
_OTHER = dict(zip(CODES, (450, 284, 1255, 2143, 389, 1010, 709, 1094, 131, 330, 780, 77, 172), strict=True))
PUBLISHED = {
    "speech": Published(5139, 129, _SPEECH),
    "non_speech": Published(8824, 131, _OTHER),
    "both": Published(13963, 131, {code: count + _SPEECH.get(code, 0) for code, count in _OTHER.items()}),
}


def rows(clips: FoundClips, *, channel: str) -> CorpusRows:
    """Return a row per clip; `level` is the intensity, `channel` speech or non_speech.

    `age_code`, `source_code` and `language_code` are the corpus's own codes; `mixed_voices` is 1 where the name says
    that several voices are heard.

    Raises:
        ManifestError: If an emotion code is not known.
    """
    import pandas as pd

    clips, notes = _choose_clips(clips, channel)
    codes, actors = clips.part("code"), clips.part("actor")
    tails = [_fields(tail) for tail in clips.part("tail")]
    table = pd.DataFrame(
        {
            "path": clips.paths,
            "label": name_emotions(codes, CODES, where=clips.home),
            "label_code": codes,
            "speaker": actors,
            "gender": ["female" if int(actor) % 2 else "male" for actor in actors],
            "level": [LEVELS.get(level, "unspecified") for level in clips.part("level")],
            "channel": [_CHANNELS[number] for number in clips.part("channel")],
            "age_code": [tail[0] for tail in tails],
            "source_code": [tail[1] for tail in tails],
            "language_code": [tail[2] for tail in tails],
            "mixed_voices": [int(_MIXED in tail[3:]) for tail in tails],
            "language": "und",
            "corpus": "asvp_esd",
        }
    )
    return CorpusRows(table, "what most annotators heard, from the file name", tuple(notes), PUBLISHED[channel])


def _choose_clips(clips: FoundClips, channel: str) -> tuple[FoundClips, list[str]]:
    """Return the clips of the channel with a defined emotion, and what the user should know of them."""
    notes = []
    wanted = [channel == "both" or _CHANNELS[number] == channel for number in clips.part("channel")]
    if others := len(wanted) - sum(wanted):
        other = "non_speech" if channel == "speech" else "speech"
        notes.append(f"{count_of(others, 'clip')} of {other} left out (option channel={other} or both takes them)")
    clips = clips.choose(wanted)
    defined = [code != _UNDEFINED for code in clips.part("code")]
    if not all(defined):
        undefined = [path for path, known in zip(clips.paths, defined, strict=True) if not known]
        notes.append(f"emotion {_UNDEFINED} is not defined, left out: {shorten(undefined)}")
    clips = clips.choose(defined)
    pairs = list(zip(clips.paths, clips.part("folder"), clips.part("actor"), strict=True))
    moved = [path for path, folder, actor in pairs if folder and int(folder) != int(actor)]
    if moved:
        notes.append(
            f"{count_of(len(moved), 'clip')} in another actor's folder, where the name counts: {shorten(moved, 3)}"
        )
    return clips, notes


def _fields(tail: str) -> list[str]:
    """Return the fields after the actor: age, source, language, then others; the first three empty if not all plain."""
    fields = [field.strip() for field in tail.split("-")]
    plain = len(fields) >= 2 and all(re.fullmatch(r"\d\d", field) for field in fields[:3])
    return [*(fields[:3] if plain else []), "", "", ""][:3] + (fields[3:] if plain else fields)


IMPORTER = Importer(
    name="asvp_esd",
    title="ASVP-ESD",
    holds="many languages, 131 voices, 13 states, 5140 clips of speech and 8824 of other sounds",
    paper="Landry, He, Yan, Li (2020): ASVP-ESD: A dataset and its benchmark for emotion recognition using both speech "
    "and non-speech utterances",
    licence="as its page states",
    home="zenodo.org, under ASVP-ESD",
    layout="Audio/actor_31/03-01-02-01-02-31-02-03-01.wav: <modality>-<channel>-<emotion>-<intensity>-<statement>-"
    "<actor>-<age>-<source>-<language>..., beside Bonus/",
    clip=r"(?:(?P<part>Audio|Bonus)/)?(?:actor_(?P<folder>\d*)/)?03-(?P<channel>0[12])-(?P<code>\d\d)-(?P<level>\d+)-"
    r"(?P<statement>\d+)-(?P<actor>\d+)-(?P<tail>\d+(?: ?-\d+)+)\.wav",
    rows=rows,
    options={
        "channel": Option(
            "speech; non_speech: laughs, cries, screams and the like; or both",
            "speech",
            ("speech", "non_speech", "both"),
        )
    },
    published=PUBLISHED["speech"],
)
