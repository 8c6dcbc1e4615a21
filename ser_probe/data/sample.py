"""The built-in sample corpus: real synthesised speech, for the quickstart and the tests.

Sixteen voices of espeak-ng say six sentences, whose words carry no emotion, in six emotions. An emotion is made by
speech rate, pitch, pitch range, loudness and pauses, in the directions that the literature reports (`DELIVERIES`).
Speakers differ in voice, habits and expressivity, and clips vary, so that the emotions overlap. Nobody felt or acted
anything here: the corpus shows that the tools work, and says nothing about emotion.
"""

from __future__ import annotations

import importlib.metadata
import wave
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ser_probe.data.espeak import Utterance, speak
from ser_probe.errors import CorpusError
from ser_probe.files import atomic_path, content_id, fingerprint, read_json, write_json
from ser_probe.runtime import SILENT, Progress, derive_seed

RECORD = "sample.json"


@dataclass(frozen=True)
class Delivery:
    """How an emotion is spoken, against the same speaker's neutral voice.

    Attributes:
        rate: Factor of the speech rate.
        pitch_st: Shift of the mean pitch, in semitones.
        pitch_range: Factor of the pitch range.
        level_db: Shift of the level, in dB.
        pause: Factor of the pause between the two phrases of a sentence.
    """

    rate: float = 1.0
    pitch_st: float = 0.0
    pitch_range: float = 1.0
    level_db: float = 0.0
    pause: float = 1.0


# Directions: Banse & Scherer (1996), J. Pers. Soc. Psychol. 70, Table 6 [BS]; Juslin & Laukka (2003), Psychol. Bull.
# 129, Tables 7 and 11 [JL]; Scherer (2003), Speech Communication 40, Table 2 [S]. The sizes are chosen here, so that
# neighbours overlap.
DELIVERIES = {
    # [JL, S] fast, loud, high and widely varying pitch, few pauses.
    "anger": Delivery(rate=1.12, pitch_st=2.0, pitch_range=1.45, level_db=5.0, pause=0.6),
    # [BS] low pitch, slow; not loud. The least agreed upon in the voice.
    "disgust": Delivery(rate=0.88, pitch_st=-1.5, pitch_range=1.15, level_db=-1.0, pause=1.5),
    # [JL, S] the fastest; high pitch that varies little; [JL] softer than anger, unless it is panic.
    "fear": Delivery(rate=1.25, pitch_st=3.5, pitch_range=0.7, level_db=-1.5, pause=0.7),
    # [JL, S] fast, rather loud, high and widely varying pitch.
    "happiness": Delivery(rate=1.08, pitch_st=3.0, pitch_range=1.5, level_db=2.0, pause=0.8),
    "neutral": Delivery(),
    # [JL, S, BS] slow, soft, low and flat, with long pauses.
    "sadness": Delivery(rate=0.8, pitch_st=-2.0, pitch_range=0.6, level_db=-4.5, pause=2.2),
}

# How far speakers lie from each other, and a speaker's clips of one emotion from each other: standard deviations, of
# the logarithm where `Delivery` holds a factor.
_HABIT = Delivery(rate=0.06, pitch_st=0.9, pitch_range=0.12, level_db=1.2, pause=0.2)
_CLIP = Delivery(rate=0.05, pitch_st=0.8, pitch_range=0.15, level_db=1.3, pause=0.25)
# A speaker moves this share of the way from neutral to the delivery of the table.
_EXPRESSIVITY = (0.65, 1.35)

_RATE_WPM, _PITCH, _RANGE, _VOLUME, _PAUSE_MS = 175, 50, 50, 36, 180
_STEPS_PER_SEMITONE = 50 / 12
# Over this volume espeak-ng clips its loudest voice.
_MAX_VOLUME = 105

# Two phrases each, so that there is a place for a pause.
SENTENCES = {
    "s1": ("The keys", "are in the drawer."),
    "s2": ("The bus stops here", "at a quarter past nine."),
    "s3": ("She put the books", "on the upper shelf."),
    "s4": ("On Monday", "they paint the wall of the hall."),
    "s5": ("The letter on the table", "came with the morning post."),
    "s6": ("There are seven chairs in the room", "and two of them stand by the window."),
}

# Women and men in turn, so that the first n speakers hold as many of each.
SPEAKERS = {
    "f01": "f1", "m01": "m1", "f02": "f2", "m02": "m2", "f03": "f3", "m03": "m3", "f04": "f4", "m04": "m4",
    "f05": "f5", "m05": "m5", "f06": "Annie", "m06": "m6", "f07": "linda", "m07": "m7", "f08": "belinda", "m08": "m8",
}  # fmt: skip


def write_sample_corpus(
    root: Path, *, seed: int = 0, n_speakers: int = 16, n_sentences: int = 6, progress: Progress = SILENT
) -> pd.DataFrame:
    """Write the sample corpus, unless it is already there.

    A folder that holds the same corpus is used as it is; clips of it that are missing or changed are made again.

    Args:
        root: Folder of the corpus; made if it does not exist.
        seed: Seed of the speakers' habits and the clips' variation.
        n_speakers: Number of speakers, 2 to 16; women and men in turn.
        n_sentences: Number of sentences, 1 to 6.
        progress: Told of each clip.

    Returns:
        Manifest rows: path (relative to `root`), label, speaker, gender, sentence, language, corpus, text.

    Raises:
        CorpusError: If a number is out of range, the root is a file, or espeak-ng fails.
        MissingExtraError: If espeak-ng is not installed.
    """
    _check(root, n_speakers, n_sentences)
    speakers, sentences = list(SPEAKERS)[:n_speakers], list(SENTENCES)[:n_sentences]
    rows = {
        speaker: [_row(speaker, label, sentence) for label in DELIVERIES for sentence in sentences]
        for speaker in speakers
    }
    takes = {speaker: _Take.plan(rows[speaker], seed) for speaker in speakers}
    record = _read_record(root)
    missing = [speaker for speaker in speakers if not takes[speaker].is_done(root, record.get(speaker))]
    if missing:
        progress.start("synthesising the sample corpus", sum(len(rows[speaker]) for speaker in missing), "clips")
        # Threads, because the work is done in each speaker's child process.
        with ThreadPoolExecutor(max_workers=2) as pool:
            for speaker, done in zip(missing, pool.map(lambda name: takes[name].write(root), missing), strict=True):
                record[speaker] = done
                progress.advance(len(rows[speaker]))
        progress.finish()
        write_json(root / RECORD, {"seed": seed, "espeakng_loader": _loader_version(), "speakers": record})
    return pd.DataFrame([row for speaker in speakers for row in rows[speaker]])


def _check(root: Path, n_speakers: int, n_sentences: int) -> None:
    for name, number, low, high in (
        ("n_speakers", n_speakers, 2, len(SPEAKERS)),
        ("n_sentences", n_sentences, 1, len(SENTENCES)),
    ):
        if not low <= number <= high:
            raise CorpusError(f"The sample corpus has no such {name}", expected=f"{low} to {high}", found=number)
    if root.exists() and not root.is_dir():
        raise CorpusError("The sample corpus needs a folder, and this is a file", where=root, fix="name another folder")


def _row(speaker: str, label: str, sentence: str) -> dict[str, str]:
    return {
        "path": f"{speaker}/{label}-{speaker}-{sentence}.wav",
        "label": label,
        "speaker": speaker,
        "gender": "female" if speaker.startswith("f") else "male",
        "sentence": sentence,
        "language": "en",
        "corpus": "sample",
        "text": " ".join(SENTENCES[sentence]),
    }


def _read_record(root: Path) -> dict[str, Any]:
    """Return what an earlier call recorded of each speaker; nothing where the record is missing or damaged."""
    try:
        return dict(read_json(root / RECORD)["speakers"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _loader_version() -> str | None:
    try:
        return importlib.metadata.version("espeakng-loader")
    except importlib.metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True)
class _Take:
    """One speaker's clips, spoken in one go.

    Attributes:
        utterances: What is said, path by path.
        key: Identifies them and their order, on which the bytes depend too.
    """

    utterances: dict[str, Utterance]
    key: str

    @classmethod
    def plan(cls, rows: list[dict[str, str]], seed: int) -> _Take:
        planned = {row["path"]: plan_utterance(row["speaker"], row["label"], row["sentence"], seed) for row in rows}
        return cls(planned, fingerprint([(path, asdict(utterance)) for path, utterance in planned.items()]))

    def is_done(self, root: Path, done: Any) -> bool:
        """Tell whether the clips are there and unchanged."""
        if not isinstance(done, dict) or done.get("key") != self.key:
            return False
        ids = done.get("clips", {})
        return all((root / path).is_file() and content_id(root / path) == ids.get(path) for path in self.utterances)

    def write(self, root: Path) -> dict[str, Any]:
        """Speak and write the clips; return what the record keeps of them."""
        sample_rate_hz, clips = speak(list(self.utterances.values()))
        ids = {}
        for path, samples in zip(self.utterances, clips, strict=True):
            with atomic_path(root / path) as temporary, wave.open(str(temporary), "wb") as stream:
                stream.setnchannels(1)
                stream.setsampwidth(2)
                stream.setframerate(sample_rate_hz)
                stream.writeframes(samples)
            ids[path] = content_id(root / path)
        return {"key": self.key, "clips": ids}


def plan_utterance(speaker: str, label: str, sentence: str, seed: int) -> Utterance:
    """Return how a speaker says a sentence in an emotion; a function of the arguments alone."""
    speaker_rng = np.random.default_rng(derive_seed("sample", seed, speaker))
    clip_rng = np.random.default_rng(derive_seed("sample", seed, speaker, label, sentence))
    expressivity = speaker_rng.uniform(*_EXPRESSIVITY)
    emotion = asdict(DELIVERIES[label])
    shift = {}
    for name, habit in asdict(_HABIT).items():
        is_factor = name not in ("pitch_st", "level_db")
        direction = np.log(emotion[name]) if is_factor else emotion[name]
        varied = habit * speaker_rng.standard_normal() + asdict(_CLIP)[name] * clip_rng.standard_normal()
        total = expressivity * direction + varied
        shift[name] = float(np.exp(total) if is_factor else total)
    first, second = SENTENCES[sentence]
    pause_ms = round(_PAUSE_MS * shift["pause"])
    return Utterance(
        voice=f"en-us+{SPEAKERS[speaker]}",
        ssml=f'<speak>{first} <break time="{pause_ms}ms"/> {second}</speak>',
        rate_wpm=round(_RATE_WPM * shift["rate"]),
        pitch=int(np.clip(round(_PITCH + _STEPS_PER_SEMITONE * shift["pitch_st"]), 0, 99)),
        pitch_range=int(np.clip(round(_RANGE * shift["pitch_range"]), 0, 99)),
        volume=min(round(_VOLUME * 10 ** (shift["level_db"] / 20)), _MAX_VOLUME),
    )
