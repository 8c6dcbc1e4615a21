"""All that the audit knows of a clip, from one opening and one decoding of its file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser_probe.audio.fingerprints import fingerprint_of
from ser_probe.audio.layout import AudioLayout
from ser_probe.audio.load_file import DecodedFile, open_file, read_blocks
from ser_probe.audio.sample_sums import SampleSums
from ser_probe.audio.sound_properties import mean_of_channels, measure_sound
from ser_probe.errors import AudioError
from ser_probe.files import content_id
from ser_probe.packages import import_fault

SUFFIXES = {
    "WAV": (".wav", ".wave"), "WAVEX": (".wav", ".wave"), "RF64": (".wav", ".rf64"), "AIFF": (".aif", ".aiff", ".aifc"),
    "FLAC": (".flac",), "OGG": (".ogg", ".oga", ".opus"), "MP3": (".mp3",), "AU": (".au", ".snd"), "CAF": (".caf",),
    "W64": (".w64",), "NIST": (".sph", ".nist", ".wav"),
}  # fmt: skip
"""How files of a format are called."""
_STORED = ("WAV", "RF64", "AIFF", "AU", "W64", "CAF", "SVX", "NIST SPHERE")
"""Containers that store the samples one by one."""


@dataclass(frozen=True, eq=False)
class MeasuredClip:
    """A clip as the audit knows it.

    Attributes:
        clip_id: Hash of the file's bytes.
        audio_id: Hash of the decoded samples, the channels' mean: equal in any lossless container.
        properties: Value by name: those of `measure_sound`, and file_rate_hz, file_format, header_bytes.
        fingerprint: Of `fingerprint_of`, uint32 `[T]`.
        notes: Remarks on how the file is read, and on its name and header.
        fault: Why no model should hear it, where that is so: it is silent, or its channels cancel.
    """

    clip_id: str
    audio_id: str
    properties: dict[str, float | str]
    fingerprint: np.ndarray
    notes: tuple[str, ...]
    fault: str | None


def measure_clip(path: Path, *, max_duration_s: float) -> MeasuredClip:
    """Measure a clip; silent ones, and those whose channels cancel, are measured too.

    Raises:
        AudioError: If the file cannot be decoded, breaks off, is longer than `max_duration_s`, or holds a sample that
            is not finite or beyond any full scale.
    """
    with open_file(path) as opened:
        stream = opened.stream
        rate_hz, subtype = stream.samplerate, stream.subtype
        sums = SampleSums(stream.channels)
        blocks = list(read_blocks(path, opened, sums, max_duration_s=max_duration_s, dtype="float32"))
        names = {"file_rate_hz": rate_hz, "file_format": f"{stream.format} {subtype}"}
        notes = [*opened.notes, *_misnamed(path, stream.format), *_wrong_total(path)]
        layout = opened.layout
    if not blocks:
        raise AudioError("The clip holds no samples", where=path, found="a header that promises some")
    sums.check_finite(path)
    samples = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    mix = mean_of_channels(samples)
    audio_id = DecodedFile(mix, rate_hz, samples.shape[1], ()).audio_id()
    sound = measure_sound(samples, rate_hz, subtype)
    properties = {**sound, **names, "header_bytes": _header_bytes(path, layout)}
    fault = None
    try:
        sums.check(path, mix)
    except AudioError as error:
        fault = error.what
    fingerprint = fingerprint_of(_without_silence(mix, rate_hz, sound), rate_hz)
    return MeasuredClip(content_id(path), audio_id, properties, fingerprint, tuple(notes), fault)


def try_clip(target: Path | str, *, max_duration_s: float) -> MeasuredClip | str:
    """Measure a clip, or return why it cannot be; of a text, which is such a reason, the text itself.

    Raises:
        MissingExtraError: If not the clip is at fault but a library, which cannot be loaded.
    """
    if isinstance(target, str):
        return target
    try:
        return measure_clip(target, max_duration_s=max_duration_s)
    except (AudioError, OSError) as error:
        if fault := import_fault(error):
            raise fault from error
        return error.line() if isinstance(error, AudioError) else " ".join(str(error).split())


def _without_silence(mix: np.ndarray, rate_hz: int, sound: dict[str, float]) -> np.ndarray:
    """Return a clip from its first to its last sound, without its offset; the silence has no bits to trust."""
    begin, end = (round(sound[f"{side}_silence_s"] * rate_hz) for side in ("leading", "trailing"))
    return (mix[begin : len(mix) - end] - sound["dc_offset"]).astype(np.float32, copy=False)


def _header_bytes(path: Path, layout: AudioLayout | None) -> float:
    """Return how many bytes of a file are no samples; NaN where samples are not stored one by one."""
    if layout is None or layout.kind not in _STORED:
        return float("nan")
    return float(path.stat().st_size - layout.held)


def _misnamed(path: Path, container: str) -> list[str]:
    """Return a remark on a file whose suffix is that of another format, which strict readers refuse."""
    suffixes = SUFFIXES.get(container, ())
    if not suffixes or path.suffix.lower() in suffixes or not path.suffix:
        return []
    return [f"{container} named {path.suffix}"]


def _wrong_total(path: Path) -> list[str]:
    """Return a remark on a WAV whose header states another size of the file than it has."""
    with path.open("rb") as stream:
        head = stream.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return []
    beyond = int.from_bytes(head[4:8], "little") + 8 - path.stat().st_size
    # An odd last chunk has a byte of padding that some programs count and do not write.
    return (
        [] if abs(beyond) <= 1 else [f"the RIFF size is {abs(beyond)} bytes too {'large' if beyond > 0 else 'small'}"]
    )
