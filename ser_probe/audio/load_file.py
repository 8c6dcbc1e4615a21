"""Decodes a whole file to one channel of samples at its own rate, or says why not. With `load` the door to soundfile.

Whatever the decoder raises becomes an `AudioError` of the file, except errors of a broken installation.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ser_probe.audio.containers import read_layout
from ser_probe.audio.layout import AudioLayout, patched, read_beyond
from ser_probe.audio.sample_sums import SampleSums
from ser_probe.clip_length import MIN_DURATION_S, too_short
from ser_probe.errors import AudioError, MissingExtraError
from ser_probe.files import LFS_FIX, is_lfs_pointer

try:
    import soundfile
except (ImportError, OSError) as error:  # OSError: libsndfile is not there
    raise MissingExtraError(
        "Audio cannot be read: the package soundfile cannot be loaded",
        found=error,
        fix="pip install --force-reinstall soundfile; `ser-probe doctor` tries it",
    ) from error

# A clip that lacks less than one frame of a model is accepted, with a note.
SLACK_S = 0.025
# From a bandwidth of 500 Hz, too narrow for a vowel, to the fastest recorders.
STORED_RATES_HZ = (1_000, 768_000)
_COPY_FIX = "copy or download it again"
_BLOCK_SAMPLES = 1 << 16
_MOST_PATCHED_BYTES = 1 << 30
# How libsndfile's log states the length in formats of old samplers and programs; True: in bytes, not frames.
_ODD_PROMISES = {
    "AVR": (r"Frames\s*: (\d+)", False),
    "MPC2K": (r"Frames\s*: (\d+)", False),
    "MAT4": (r"Cols\s*: (\d+)", False),
    "MAT5": (r"Cols\s*: (\d+)", False),
    "WVE": (r"Data length (\d+) should be", False),
    "VOC": (r"Extended II : (\d+)", True),
}
# Formats that do not state their length.
_NO_LENGTH = ("IRCAM", "PAF", "PVF", "XI")


@dataclass(frozen=True, eq=False)
class DecodedFile:
    """A file's audio.

    Attributes:
        samples: float64 `[n]`, the mean of the channels, full scale at 1.
        sample_rate_hz: Sampling rate in Hz, as stored.
        channels: Number of channels, as stored.
        notes: Remarks on how the file was read.
    """

    samples: np.ndarray
    sample_rate_hz: int
    channels: int
    notes: tuple[str, ...]

    def audio_id(self) -> str:
        """Return a hash of the decoded samples: equal for a WAV, a FLAC and a copy with another header."""
        digest = hashlib.blake2b(str(self.sample_rate_hz).encode(), digest_size=16)
        digest.update((self.samples.astype(np.float32) + 0.0).tobytes())  # -0.0 is 0.0
        return digest.hexdigest()


@dataclass(eq=False)
class OpenedFile:
    """A file opened for decoding.

    Attributes:
        stream: The decoder.
        duration_s: Length of the audio in the file, in s.
        notes: Remarks on how the file is read.
        layout: What its header promises; None for kinds of files that are not looked into.
    """

    stream: soundfile.SoundFile
    duration_s: float
    notes: list[str] = field(default_factory=list)
    layout: AudioLayout | None = None


@contextlib.contextmanager
def open_file(path: Path) -> Iterator[OpenedFile]:
    """Open a file for decoding.

    Raises:
        AudioError: If it is missing, a folder, empty, a Git LFS pointer, no audio, cut short, or holds no samples.
    """
    layout = _check_layout(path)
    with _open(path, layout) as stream:
        _check_rate(path, stream.samplerate)
        opened = OpenedFile(stream, stream.frames / stream.samplerate, layout=layout)
        if layout is None and stream.format == "MP3":
            opened.notes.append("the first frame is unlike those that follow: its length is the decoder's estimate")
        if layout is not None:
            opened.notes += layout.notes
            _compare(path, layout, opened)
        elif (promised_s := _odd_promise_s(stream)) is not None:
            if promised_s > opened.duration_s + SLACK_S:
                raise _cut(path, promised_s, opened.duration_s)
            if promised_s < opened.duration_s - SLACK_S:
                opened.notes.append(read_beyond(promised_s, opened.duration_s))
        if "not equal to frame count" in stream.extra_info:  # AIFF counts its samples twice
            opened.notes.append(
                f"the header contradicts itself on its length: read by its chunk, {opened.duration_s:.2f} s"
            )
        if stream.format in _NO_LENGTH:
            opened.notes.append(f"{stream.format} files do not state their length: whether it is whole cannot be told")
        if stream.frames == 0:
            found = "; ".join(opened.notes) or "a header and nothing after it"
            raise AudioError("The clip holds no samples", where=path, found=found)
        yield opened


def decode_file(path: Path, *, max_duration_s: float) -> DecodedFile:
    """Decode a file.

    Raises:
        AudioError: As `open_file`; if the file breaks off, is longer than `max_duration_s`, is silent, its channels
            cancel, or it holds a sample that is no finite number or beyond any full scale.
    """
    with open_file(path) as opened:
        rate_hz, channels = opened.stream.samplerate, opened.stream.channels
        sums = SampleSums(channels)
        blocks = [_mix(block) for block in read_blocks(path, opened, sums, max_duration_s=max_duration_s)]
        notes = tuple(opened.notes)
    samples = np.concatenate(blocks) if blocks else np.zeros(0)
    if not len(samples):
        raise AudioError("The clip holds no samples", where=path, found="a header that promises some")
    check_not_too_short(path, len(samples) / rate_hz)
    sums.check(path, samples)
    return DecodedFile(samples, rate_hz, channels, notes)


def check_not_too_short(path: Path, duration_s: float) -> None:
    """Refuse a clip that is too short for a frame of any model.

    Raises:
        AudioError: If it is shorter than 25 ms.
    """
    if duration_s < MIN_DURATION_S:
        least, found = f"{1000 * MIN_DURATION_S:.0f} ms", f"{1000 * duration_s:.2f} ms"
        raise too_short(AudioError, where=path, least=least, found=found)


def _too_long(path: Path, duration_s: float, max_duration_s: float) -> AudioError:
    """Return the error of a clip over the limit."""
    return AudioError(
        "The clip is too long",
        where=path,
        expected=f"at most {max_duration_s:g} s",
        found=f"{duration_s:.1f} s",
        fix="cut it into utterances, or raise audio.max_duration_s",
    )


def read_blocks(
    path: Path, opened: OpenedFile, sums: SampleSums, *, max_duration_s: float, dtype: str = "float64"
) -> Iterator[np.ndarray]:
    """Yield an opened file's samples in blocks `[n, channels]`; some decoders state no length and just end.

    Args:
        path: The file.
        opened: From `open_file`.
        sums: Takes each block.
        max_duration_s: Longest file that is decoded, in seconds.
        dtype: Of the samples.

    Raises:
        AudioError: If the file is longer than that, or breaks off.
    """
    stream = opened.stream
    rate_hz = stream.samplerate
    if opened.duration_s > max_duration_s + 1 / rate_hz:
        raise _too_long(path, opened.duration_s, max_duration_s)
    n_frames, promised_s = max(1, _BLOCK_SAMPLES // stream.channels), stream.frames / rate_hz
    while True:
        with _fault_of(
            path,
            f"The clip breaks off while it is decoded: {promised_s:.2f} s are promised, and after "
            f"{sums.n_frames / rate_hz:.2f} s or later the decoder fails",
            fix=_COPY_FIX,
        ):
            block = stream.read(n_frames, dtype=dtype, always_2d=True)
        if not len(block):
            break
        sums.add(block)
        yield block
    if promised_s - sums.n_frames / rate_hz > SLACK_S:
        raise _cut(path, promised_s, sums.n_frames / rate_hz)


def _mix(block: np.ndarray) -> np.ndarray:
    """Return the mean of the channels."""
    with np.errstate(all="ignore"):  # values that are not finite are refused later, with their place
        return block.mean(axis=1) if block.shape[1] > 1 else block[:, 0]


def _check_layout(path: Path) -> AudioLayout | None:
    """Return a file's layout, None for unknown formats; refuse what is no audio file, or cut short."""
    if not path.exists():
        raise AudioError("The clip does not exist", where=path, fix="check the manifest's paths and the audio root")
    if not path.is_file():
        raise AudioError("The clip is a folder or no ordinary file", where=path, expected="an audio file")
    with _fault_of(path, "The clip cannot be read"):
        if path.stat().st_size == 0:
            raise AudioError("The clip is an empty file", where=path, found="0 bytes", fix="copy it again")
        if is_lfs_pointer(path):
            raise AudioError("The clip is a Git LFS pointer: its audio was not fetched", where=path, fix=LFS_FIX)
        layout = read_layout(path)
    if layout is None:
        return None
    if layout.fault is not None:
        what, found = layout.fault
        raise AudioError(what, where=path, found=f"{layout.kind}: {found}", fix=_COPY_FIX)
    if layout.rate_hz and layout.promised is not None and layout.promised - layout.held > SLACK_S * layout.rate_hz:
        raise _cut(path, layout.promised / layout.rate_hz, layout.held / layout.rate_hz)
    return layout


def _open(path: Path, layout: AudioLayout | None) -> soundfile.SoundFile:
    source: str | io.BytesIO = str(path)
    if layout is not None and (layout.patches or layout.end is not None):
        if path.stat().st_size > _MOST_PATCHED_BYTES:
            raise AudioError(
                "The clip's header states no size, and the file is too large to be read without one",
                where=path,
                found=f"{path.stat().st_size / 2**30:.1f} GiB",
                fix="write the header anew with an audio tool",
            )
        source = io.BytesIO(patched(path.read_bytes(), layout))
    try:
        with _fault_of(
            path,
            "The clip cannot be opened as audio",
            expected="a format that libsndfile reads, such as WAV, FLAC, OGG or MP3",
        ):
            return soundfile.SoundFile(source)
    except AudioError:
        if layout is not None and layout.promised is not None and layout.promised > layout.held:
            raise AudioError(
                "The clip is cut short: its header promises more than the file holds",
                where=path,
                found=f"{layout.promised} bytes of audio promised, {layout.held} held",
                fix=_COPY_FIX,
            ) from None
        raise


def _compare(path: Path, layout: AudioLayout, opened: OpenedFile) -> None:
    """Note where the audio differs from what the header states; a file that was cut short is an error."""
    held_s = opened.duration_s
    if layout.promised is None:
        if layout.patches and not layout.notes:
            opened.notes.append(f"the header states no size: all {held_s:.2f} s that follow it were read")
        return
    # Amounts in bytes become seconds by what the decoder makes of the bytes that are there.
    unit_s = 1 / layout.rate_hz if layout.rate_hz else held_s / layout.held if layout.held > 0 else 0.0
    missing_s = (layout.promised - layout.held) * unit_s
    if missing_s > SLACK_S or (layout.promised > 0 and layout.held <= 0):
        raise _cut(path, layout.promised * unit_s, layout.held * unit_s)
    if missing_s > 0:
        opened.notes.append(f"the file ends {1000 * missing_s:.1f} ms before its header says")
    unread_s = max(layout.unread_bytes * unit_s, -missing_s)
    if unread_s > SLACK_S:
        opened.notes.append(
            f"the header says {held_s:.2f} s, and enough for {unread_s:.2f} s more follows that it does not account "
            "for: not read"
        )


def _odd_promise_s(stream: soundfile.SoundFile) -> float | None:
    """Return the length that the header of a rare format states, by the decoder's log, in s."""
    pattern, in_bytes = _ODD_PROMISES.get(stream.format, ("", False))
    matches = re.findall(pattern, stream.extra_info) if pattern else []
    if not matches:
        return None
    frame_bytes = stream.channels * (2 if stream.subtype == "PCM_16" else 1) if in_bytes else 1
    return int(matches[-1]) / frame_bytes / stream.samplerate


def _cut(path: Path, promised_s: float, held_s: float) -> AudioError:
    return AudioError(
        "The clip is cut short: its header promises more than the file holds",
        where=path,
        found=f"{promised_s:.2f} s promised, {held_s:.2f} s held",
        fix=_COPY_FIX,
    )


def _check_rate(path: Path, rate_hz: int) -> None:
    low, high = STORED_RATES_HZ
    if not low <= rate_hz <= high:
        raise AudioError(
            "The clip's sampling rate is none at which speech is recorded",
            where=path,
            expected=f"a rate from {low} to {high} Hz",
            found=f"{rate_hz} Hz in the header",
            fix="correct the header if it is wrong, or convert the clip to 16000 Hz with an audio tool",
        )


@contextlib.contextmanager
def _fault_of(path: Path, problem: str, *, expected: str | None = None, fix: str | None = None) -> Iterator[None]:
    """Turn whatever the decoder raises into an error of this file, except a broken installation or a full memory."""
    try:
        yield
    except (AudioError, ImportError, MemoryError):
        raise
    except Exception as error:
        reason = getattr(error, "error_string", None) or str(error) or type(error).__name__
        raise AudioError(problem, where=path, expected=expected, found=reason, fix=fix) from error
