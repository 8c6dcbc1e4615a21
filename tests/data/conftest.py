"""Small trees laid out like the real corpora, and a look into files that does not need the audio room."""

from __future__ import annotations

import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_probe.data.manifest import Manifest
from ser_probe.errors import AudioError
from ser_probe.files import content_id

EMOVO_CLIPS = [
    f"{actor}/{emotion}-{actor}-{sentence}.wav"
    for actor in ("f1", "f2", "f3", "m1", "m2", "m3")
    for emotion in ("dis", "gio", "neu", "pau", "rab", "sor", "tri")
    for sentence in ("b1", "n3")
]
EMODB_CLIPS = [
    f"wav/{speaker}{sentence}{code}{version}.wav"
    for speaker in ("03", "08", "09", "10")
    for sentence in ("a01", "b10")
    for code, version in (("W", "a"), ("L", "b"), ("E", "a"), ("A", "c"), ("F", "a"), ("T", "f"), ("N", "a"))
]
CREMA_D_CLIPS = [
    f"{actor}_{sentence}_{code}_{level}.wav"
    for actor in ("1001", "1002", "1003")
    for sentence, level in (("IEO", "HI"), ("DFA", "XX"))
    for code in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
]
DEMOGRAPHICS = """"ActorID","Age","Sex","Race","Ethnicity"
1001,51,"Male","Caucasian","Not Hispanic"
1002,21,"Female","Asian","Not Hispanic"
1003,38,"Female","African American","Hispanic"
"""
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{:064x}\nsize 72862\n"


@dataclass(frozen=True)
class Facts:
    clip_id: str
    duration_s: float
    sample_rate_hz: int
    channels: int
    audio_id: str
    notes: tuple[str, ...] = ()


def look_at_wav(path: Path) -> Facts:
    try:
        with wave.open(str(path)) as stream:
            rate, frames, channels = stream.getframerate(), stream.getnframes(), stream.getnchannels()
    except (wave.Error, EOFError) as error:
        raise AudioError("The clip cannot be decoded", where=path, found=error) from error
    clip_id = content_id(path)
    return Facts(clip_id, frames / rate, rate, channels, clip_id)


def write_wav(path: Path, n_samples: int = 800, value: int = 0) -> Path:
    """Write a clip of 16 kHz; another value gives other content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as stream:
        stream.setparams((1, 2, 16_000, n_samples, "NONE", ""))
        stream.writeframes(np.full(n_samples, value, dtype=np.int16).tobytes())
    return path


def write_wavs(root: Path, names: list[str]) -> Path:
    for value, name in enumerate(names):
        write_wav(root / name, value=value)
    return root


@pytest.fixture
def emovo_tree(tmp_path: Path) -> Path:
    return write_wavs(tmp_path / "EMOVO", EMOVO_CLIPS)


@pytest.fixture
def emodb_tree(tmp_path: Path) -> Path:
    return write_wavs(tmp_path / "EMODB", EMODB_CLIPS)


@pytest.fixture
def crema_d_tree(tmp_path: Path) -> Path:
    """Anger in sentence DFA is heard as a tie; fear in IEO as sadness; all else as intended."""
    root = write_wavs(tmp_path / "CREMA-D", [f"AudioWAV/{name}" for name in CREMA_D_CLIPS])
    (root / "VideoDemographics.csv").write_text(DEMOGRAPHICS)
    lines = ['"","FileName","VoiceVote","VoiceLevel"']
    for row, name in enumerate(CREMA_D_CLIPS):
        vote = name.split("_")[2][0]
        vote = "A:D" if "DFA_ANG" in name else "S" if "IEO_FEA" in name else vote
        lines.append(f'"{row}","{Path(name).stem}","{vote}","70.1"')
    (root / "processedResults").mkdir()
    (root / "processedResults" / "summaryTable.csv").write_text("\n".join(lines) + "\n")
    counts = ['"","A","D","F","H","N","S","fileName"']
    for row, name in enumerate(CREMA_D_CLIPS):
        winner = name.split("_")[2][0]
        # Ten heard the voice, of whom seven as it is meant; all saw the face alike.
        for shown, many, few in (("1", 7, 3), ("2", 10, 0)):
            votes = [many if code == winner else few if code == "ADFHNS"["ADFHNS".index(winner) - 1] else 0
                     for code in "ADFHNS"]  # fmt: skip
            counts.append(f'"{shown}{row:05d}",{",".join(map(str, votes))},"{Path(name).stem}"')
    (root / "processedResults" / "tabulatedVotes.csv").write_text("\n".join(counts) + "\n")
    return root


@pytest.fixture
def turn_to_pointers() -> Callable[[list[Path]], None]:
    def turn(paths: list[Path]) -> None:
        for number, path in enumerate(paths):
            path.write_text(POINTER.format(number))

    return turn


@pytest.fixture
def small_manifest(tmp_path: Path) -> Manifest:
    """Four speakers, two labels, eight sound clips."""
    rows = [
        (f"{speaker}-{label}.wav", label, speaker, gender)
        for speaker, gender in (("01", "female"), ("02", "male"), ("03", "female"), ("04", "male"))
        for label in ("anger", "NA")
    ]
    write_wavs(tmp_path, [path for path, *_ in rows])
    return Manifest(pd.DataFrame(rows, columns=["path", "label", "speaker", "gender"]), tmp_path)
