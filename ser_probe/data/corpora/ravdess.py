"""RAVDESS: North American English, 24 actors (12 women, 12 men), two sentences, spoken and sung.

Source: Livingstone and Russo (2018), "The Ryerson Audio-Visual Database of Emotional Speech and Song", PLOS ONE
13(5). Speech has eight states, song the first six; nobody sang as Actor 18. The eight states include calm, which many
studies count as neutral: an option, because it decides what the classes mean. Neutral was recorded at normal
intensity only.

Quirks of the published files: five speech clips are stereo with two equal channels; two clips of Actor 07
(03-01-03-01-02-01-07 and 03-01-03-01-02-02-07) are the same recording; levels differ by more than 40 dB. Copies
rearranged into folders by emotion are about, in which a folder may name another emotion than the file: the file
counts. The sound of the videos (01-...) is that of the clips (03-...), so a clip that is there as both is taken once.
"""

from __future__ import annotations

import re

from ser_probe.data.corpora.clips import FoundClips, count_of
from ser_probe.data.corpora.importer import CorpusRows, Importer, Option, Published
from ser_probe.data.labels import name_emotions
from ser_probe.errors import shorten

CODES = {
    "01": "neutral",
    "02": "calm",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
LEVELS = {"01": "normal", "02": "strong"}
SENTENCES = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
_CHANNELS = {"01": "speech", "02": "song"}
_SPEECH = {"01": 96} | dict.fromkeys(("02", "03", "04", "05", "06", "07", "08"), 192)
_SONG = {"01": 92} | dict.fromkeys(("02", "03", "04", "05", "06"), 184)
_BOTH = {code: count + _SONG.get(code, 0) for code, count in _SPEECH.items()}
PUBLISHED = {
    "speech": Published(1440, 24, _SPEECH),
    "song": Published(1012, 23, _SONG),
    "both": Published(2452, 24, _BOTH),
}


def rows(clips: FoundClips, *, channel: str, calm: str) -> CorpusRows:
    """Return a row per clip; `level` is the intensity, `repetition` 1 or 2, `channel` speech or song.

    Raises:
        ManifestError: If an emotion code is not known.
    """
    import pandas as pd

    clips, notes = _choose_clips(clips, channel)
    codes, sentences, actors = (clips.part(name) for name in ("code", "sentence", "actor"))
    labels = name_emotions(codes, CODES, where=clips.home)
    rule = "intended emotion, from the file name"
    if calm == "neutral":
        labels = ["neutral" if label == "calm" else label for label in labels]
        rule += "; calm counts as neutral"
    table = pd.DataFrame(
        {
            "path": clips.paths,
            "label": labels,
            "label_code": codes,
            "speaker": actors,
            "gender": ["male" if int(actor) % 2 else "female" for actor in actors],
            "sentence": sentences,
            "sentence_text": [SENTENCES[sentence] for sentence in sentences],
            "level": [LEVELS[level] for level in clips.part("level")],
            "repetition": [int(repetition) for repetition in clips.part("repetition")],
            "channel": [_CHANNELS[number] for number in clips.part("channel")],
            "language": "en",
            "corpus": "ravdess",
        }
    )
    return CorpusRows(table, rule, (*notes, *_strange_folders(clips)), PUBLISHED[channel])


def _choose_clips(clips: FoundClips, channel: str) -> tuple[FoundClips, list[str]]:
    """Return the clips of the channel, each recording once, and what was left out."""
    notes = []
    numbers = clips.part("channel")
    wanted = [channel == "both" or _CHANNELS[number] == channel for number in numbers]
    if others := len(wanted) - sum(wanted):
        other = "song" if channel == "speech" else "speech"
        notes.append(f"{count_of(others, 'clip')} of {other} left out (option channel={other} or both takes them)")
    clips = clips.choose(wanted)
    keys = [stem[3:] for stem in clips.stems()]
    kinds = clips.part("modality")
    audio = {key for key, kind in zip(keys, kinds, strict=True) if kind == "03"}
    once = [kind == "03" or (kind == "01" and key not in audio) for key, kind in zip(keys, kinds, strict=True)]
    if doubled := len(once) - sum(once):
        notes.append(f"{count_of(doubled, 'file')} of videos left out, which are there as audio clips or have no sound")
    return clips.choose(once), notes


def _strange_folders(clips: FoundClips) -> list[str]:
    """Return a note of clips in a folder of another actor or emotion."""
    strange = []
    for path, code, actor in zip(clips.paths, clips.part("code"), clips.part("actor"), strict=True):
        of_actor = re.search(r"(?:^|/)actor_(\d\d)/[^/]*$", path, re.IGNORECASE)
        of_emotion = re.search(r"(?:^|/)(0[1-8])_[a-z]+/[^/]*$", path, re.IGNORECASE)
        if (of_actor and of_actor[1] != actor) or (of_emotion and of_emotion[1] != code):
            strange.append(path)
    if not strange:
        return []
    return [
        f"{count_of(len(strange), 'clip')} in a folder of another actor or emotion than the name's, where the name "
        f"counts: {shorten(strange, 3)}"
    ]


IMPORTER = Importer(
    name="ravdess",
    title="RAVDESS",
    holds="English, 24 actors, 2 sentences, 8 states, 1440 spoken and 1012 sung clips",
    paper="Livingstone, Russo (2018): The Ryerson Audio-Visual Database of Emotional Speech and Song, PLOS ONE 13(5)",
    licence="CC BY-NC-SA 4.0",
    home="zenodo.org/records/1188976",
    layout="Audio_Speech_Actors_01-24/Actor_01/03-01-05-01-02-01-01.wav: <modality>-<channel>-<emotion>-<intensity>-"
    "<sentence>-<repetition>-<actor>.wav",
    clip=r"(?:Actor_\d\d/)?(?P<modality>0[1-3])-(?P<channel>0[12])-(?P<code>\d\d)-(?P<level>0[12])-(?P<sentence>0[12])-"
    r"(?P<repetition>0[12])-(?P<actor>\d\d)\.wav",
    rows=rows,
    options={
        "channel": Option("speech, song, or both", "speech", ("speech", "song", "both")),
        "calm": Option(
            "calm keeps calm as a label of its own; neutral counts it as neutral", "calm", ("calm", "neutral")
        ),
    },
    published=PUBLISHED["speech"],
)
