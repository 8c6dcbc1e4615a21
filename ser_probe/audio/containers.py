"""What a file's header states against what the file holds: files that were cut short, and headers without sizes.

Read from the bytes, without decoding. The decoder gives no error: an interrupted download becomes a shorter clip, and a
recorder's header without sizes an empty one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ser_probe.audio import bitstreams
from ser_probe.audio.layout import AudioLayout, Patch

# A header written before the recording ended states 0, or the largest size that fits: from 2 GiB less a page on.
_UNKNOWN_FROM = 0x7FFF_0000
_HEAD_BYTES = 1 << 16


@dataclass(frozen=True)
class _Chunks:
    """How a family of containers writes its chunks.

    Attributes:
        start: Where the first chunk begins.
        head: Format of a chunk's head: its name and its size.
        align: Chunks begin at multiples of it.
        audio: Name of the chunk of samples.
        counts_head: Whether the size counts the head too.
        preamble: Bytes at the beginning of that chunk that are no samples.
        total: Place and format of the field that holds the size of the file, if there is one.
    """

    start: int
    head: str
    align: int
    audio: bytes
    counts_head: bool = False
    preamble: int = 0
    total: tuple[int, str] | None = None


_W64_DATA = b"data" + bytes.fromhex("f3acd3118cd100c04f8edb8a")
_RIFF = _Chunks(12, "<4sI", 2, b"data", total=(4, "<I"))
_RIFX = _Chunks(12, ">4sI", 2, b"data", total=(4, ">I"))
_AIFF = _Chunks(12, ">4sI", 2, b"SSND", preamble=8, total=(4, ">I"))
_SVX = _Chunks(12, ">4sI", 2, b"BODY", total=(4, ">I"))
_W64 = _Chunks(40, "<16sQ", 8, _W64_DATA, counts_head=True, total=(16, "<Q"))
_CAF = _Chunks(8, ">4sQ", 1, b"data", preamble=4)


def read_layout(path: Path) -> AudioLayout | None:
    """Return what a file's header promises and the file holds; None where the kind of file is not looked into.

    Raises:
        OSError: If the file cannot be read.
    """
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        head = stream.read(_HEAD_BYTES)
        for fits, read in _KINDS:
            if fits(head):
                try:
                    return read(stream, head, size)
                except (struct.error, IndexError, ValueError, OverflowError):
                    return None  # the header itself is damaged: the decoder says so
    return None


def _chunked(kind: str, chunks: _Chunks) -> Callable[[BinaryIO, bytes, int], AudioLayout | None]:
    return lambda stream, head, size: _read_chunked(kind, chunks, stream, size)


@dataclass(frozen=True)
class _AudioChunk:
    """The chunk of samples: where its content begins, the stated size of it, and what its head tells."""

    body: int
    stated: int
    wide_at: int | None
    notes: tuple[str, ...]


def _find_audio(chunks: _Chunks, stream: BinaryIO, size: int) -> _AudioChunk | None:
    """Return the chunk of samples; None where there is none before the first one that does not fit into the file."""
    length = struct.calcsize(chunks.head)
    at, wide, wide_at = chunks.start, 0, None
    notes: tuple[str, ...] = ()
    while at + length <= size:
        stream.seek(at)
        name, stated = struct.unpack(chunks.head, stream.read(length))
        if chunks.counts_head:
            stated = max(0, stated - length)
        body = at + length
        if name == b"ds64":  # RF64: the sizes that 32 bits do not hold
            wide_at, wide = body, struct.unpack("<QQ", stream.read(16))[1]
        elif name == b"fmt ":
            notes = _contradictions(chunks.head[0], stream.read(16))
        elif name == chunks.audio:
            stated = wide if wide_at is not None and stated == 0xFFFF_FFFF else stated
            return _AudioChunk(body, stated, wide_at, notes)
        at = body + stated
        at += -at % chunks.align
    return None


def _read_chunked(kind: str, chunks: _Chunks, stream: BinaryIO, size: int) -> AudioLayout | None:
    audio = _find_audio(chunks, stream, size)
    if audio is None:
        return None
    held, end = size - audio.body, audio.body + audio.stated
    unknown = audio.stated >= _UNKNOWN_FROM and audio.stated > held
    if audio.stated <= chunks.preamble < held:
        unknown = not _begins_a_chunk(chunks, stream, end, size)
    if unknown:
        return AudioLayout(kind, None, held - chunks.preamble, _true_sizes(chunks, audio, size), audio.notes)
    held = min(held, audio.stated) - chunks.preamble
    promised = audio.stated - chunks.preamble
    if size - end <= chunks.align:
        return AudioLayout(kind, promised, held, notes=audio.notes)
    if _begins_a_chunk(chunks, stream, end, size):
        # libsndfile takes what follows the samples of a W64 file for more of them.
        return AudioLayout(kind, promised, held, notes=audio.notes, end=end if kind == "W64" else None)
    return AudioLayout(kind, promised, held, notes=audio.notes, unread_bytes=size - end, end=end)


def _true_sizes(chunks: _Chunks, audio: _AudioChunk, size: int) -> tuple[Patch, ...]:
    """Return the sizes that a header lacks: all that follows is audio."""
    held = size - audio.body
    if audio.wide_at is not None:
        return (Patch(audio.wide_at, struct.pack("<QQ", size - 8, held)),)
    field = chunks.head[0] + chunks.head[-1]
    stated = held + (struct.calcsize(chunks.head) if chunks.counts_head else 0)
    patches = [Patch(audio.body - struct.calcsize(field), struct.pack(field, stated))]
    if chunks.total is not None:
        at, form = chunks.total
        patches.append(Patch(at, struct.pack(form, size if chunks.counts_head else size - 8)))
    return tuple(patches)


def _begins_a_chunk(chunks: _Chunks, stream: BinaryIO, at: int, size: int) -> bool:
    """Tell whether chunks follow: a name of letters, and a size that fits."""
    at += -at % chunks.align
    length = struct.calcsize(chunks.head)
    stream.seek(at)
    chunk_head = stream.read(length)
    if len(chunk_head) < length:
        return False
    name, stated = struct.unpack(chunks.head, chunk_head)
    # A second file appended to the first is no part of it.
    alone = name[:4] not in (b"RIFF", b"RIFX", b"RF64", b"FORM", b"riff")
    return alone and all(32 <= letter < 127 for letter in name[:4]) and stated <= size - at


def _contradictions(order: str, fmt: bytes) -> tuple[str, ...]:
    """Return a remark where a WAV's rate, bytes a frame and bytes a second contradict each other."""
    form, channels, rate_hz, bytes_per_s, frame_bytes, bits = struct.unpack(f"{order}HHIIHH", fmt)
    if form not in (1, 3, 0xFFFE):
        return ()
    if bytes_per_s == rate_hz * frame_bytes and frame_bytes == channels * -(-bits // 8):
        return ()
    return (
        f"the header contradicts itself: {rate_hz} Hz, {channels} channels and {bits} bits, yet {frame_bytes} bytes a "
        f"frame and {bytes_per_s} bytes a second; read by the former",
    )


def _read_au(stream: BinaryIO, head: bytes, size: int) -> AudioLayout | None:
    order = ">" if head.startswith(b".snd") else "<"
    start, stated = struct.unpack(f"{order}II", head[4:12])
    held = size - start
    # All ones mean an unknown size in this format; a recorder that was killed leaves 0.
    if stated >= _UNKNOWN_FROM or (stated == 0 and held > 0):
        return AudioLayout("AU", None, held, (Patch(8, struct.pack(f"{order}I", held)),))
    return AudioLayout("AU", stated, min(stated, held), unread_bytes=max(0, held - stated))


def _read_nist(stream: BinaryIO, head: bytes, size: int) -> AudioLayout | None:
    lines = head[:1024].decode("latin-1").split("\n")
    start = int(lines[1])
    fields = dict(line.split(" ", 2)[::2] for line in lines[2:] if line.count(" ") >= 2)
    stated = int(fields["sample_count"]) * int(fields["sample_n_bytes"]) * int(fields.get("channel_count", "1"))
    held = size - start
    return AudioLayout("NIST SPHERE", stated, min(stated, held), unread_bytes=max(0, held - stated))


_KINDS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO, bytes, int], AudioLayout | None]], ...] = (
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"WAVE", _chunked("WAV", _RIFF)),
    (lambda head: head[:4] == b"RIFX" and head[8:12] == b"WAVE", _chunked("WAV", _RIFX)),
    (lambda head: head[:4] in (b"RF64", b"BW64") and head[8:12] == b"WAVE", _chunked("RF64", _RIFF)),
    (lambda head: head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"), _chunked("AIFF", _AIFF)),
    (lambda head: head[:4] == b"FORM" and head[8:12] in (b"8SVX", b"16SV"), _chunked("SVX", _SVX)),
    (lambda head: head[:4] == b"riff" and head[24:28] == b"wave", _chunked("W64", _W64)),
    (lambda head: head[:4] == b"caff", _chunked("CAF", _CAF)),
    (lambda head: head[:4] in (b".snd", b"dns."), _read_au),
    (lambda head: head[:8] == b"NIST_1A\n", _read_nist),
    (lambda head: bitstreams.after_id3(head)[:4] == b"fLaC", bitstreams.read_flac),
    (lambda head: head[:4] == b"OggS", bitstreams.read_ogg),
    (bitstreams.is_mp3, bitstreams.read_mp3),
)
