"""Speech from espeak-ng, in a separate process. The only door to espeakng-loader.

espeak-ng keeps state between utterances (its noise, the wobble of a voice) that re-initialising does not clear; only a
new process always starts from the same state. So one child process speaks a list of utterances: the sound depends on
the list alone, and a crash of the library becomes an error message.

This file is also the child's program: it is run as a script, without the project on its path, and imports nothing
but the standard library at module level.
"""

from __future__ import annotations

import ctypes
import json
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

_TIMEOUT_S = 300
_NOISE_SEED = 1

# Constants of espeak-ng's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_CHARS_UTF8, _SSML = 0x01, 0x10
_POS_CHARACTER = 1
_OK = 0


@dataclass(frozen=True)
class Utterance:
    """What to say and how.

    Attributes:
        voice: A voice and its variant, such as 'en-us+f2'.
        ssml: The words, as SSML.
        rate_wpm: Words per minute, 80 to 450.
        pitch: Pitch, 0 to 99: 50 is the voice's own, and 50 steps are an octave.
        pitch_range: Pitch range, 0 to 99: 50 is the voice's own.
        volume: Linear amplitude, 0 to 200: 100 is the voice's own.
    """

    voice: str
    ssml: str
    rate_wpm: int
    pitch: int
    pitch_range: int
    volume: int


def speak(utterances: Sequence[Utterance]) -> tuple[int, list[bytes]]:
    """Say utterances one after the other.

    Returns:
        The sampling rate in Hz, and each utterance's samples as 16-bit little-endian PCM.

    Raises:
        CorpusError: If espeak-ng fails.
        MissingExtraError: If espeakng-loader is not installed.
    """
    from ser_probe.errors import CorpusError
    from ser_probe.packages import require

    loader = require("espeakng_loader", extra="sample", purpose="making the sample corpus")
    order = {
        "library": loader.get_library_path(),
        "data": loader.get_data_path(),
        "utterances": [asdict(utterance) for utterance in utterances],
    }
    try:
        # -I: isolated from the user's folder and environment variables.
        child = subprocess.run(
            [sys.executable, "-I", __file__],
            input=json.dumps(order).encode(),
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CorpusError("espeak-ng does not come to an end", found=f"no answer in {_TIMEOUT_S} s") from error
    if child.returncode != 0:
        messages = child.stderr.decode(errors="replace").strip().splitlines()
        raise CorpusError(
            "espeak-ng failed",
            where=order["library"],
            found=messages[-1] if messages else f"exit status {child.returncode}",
            fix="reinstall the package espeakng-loader",
        )
    return _unpack(child.stdout)


def _unpack(answer: bytes) -> tuple[int, list[bytes]]:
    (sample_rate_hz,) = struct.unpack_from("<I", answer)
    clips, position = [], 4
    while position < len(answer):
        (n_bytes,) = struct.unpack_from("<I", answer, position)
        position += 4
        clips.append(answer[position : position + n_bytes])
        position += n_bytes
    return sample_rate_hz, clips


def _answer(order: dict[str, Any]) -> None:
    """Speak an order's utterances and write the rate, then each length and its samples, to standard output."""
    library = ctypes.CDLL(order["library"])
    sample_rate_hz = library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, order["data"].encode(), 0)
    if sample_rate_hz <= 0:
        sys.exit(f"espeak_Initialize returned {sample_rate_hz}")
    # Initialising seeds the noise of breathy voices with the time of day.
    library.espeak_ng_SetRandSeed(ctypes.c_long(_NOISE_SEED))
    chunks: list[bytes] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    def keep(samples: int | None, n_samples: int, events: int | None) -> int:
        if samples and n_samples > 0:
            chunks.append(ctypes.string_at(samples, 2 * n_samples))
        return 0

    library.espeak_SetSynthCallback(keep)
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint,
        ctypes.c_void_p, ctypes.c_void_p,
    ]  # fmt: skip
    out = sys.stdout.buffer
    out.write(struct.pack("<I", sample_rate_hz))
    for utterance in order["utterances"]:
        chunks.clear()
        if library.espeak_SetVoiceByName(utterance["voice"].encode()) != _OK:
            sys.exit(f"espeak-ng has no voice {utterance['voice']!r}")
        for parameter, value in (
            (_RATE, utterance["rate_wpm"]),
            (_PITCH, utterance["pitch"]),
            (_RANGE, utterance["pitch_range"]),
            (_VOLUME, utterance["volume"]),
        ):
            library.espeak_SetParameter(parameter, value, 0)
        text = utterance["ssml"].encode() + b"\0"
        status = library.espeak_Synth(text, len(text), 0, _POS_CHARACTER, 0, _CHARS_UTF8 | _SSML, None, None)
        if status != _OK:
            sys.exit(f"espeak_Synth returned {status}")
        samples = b"".join(chunks)
        out.write(struct.pack("<I", len(samples)) + samples)


if __name__ == "__main__":
    _answer(json.load(sys.stdin))
