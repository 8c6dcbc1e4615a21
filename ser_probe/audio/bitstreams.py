"""How much audio a FLAC, Ogg or MP3 file holds, by its frames and pages, without decoding.

Formats: RFC 9639 (FLAC), RFC 3533 (Ogg), ISO 11172-3 and 13818-3 (MPEG audio; the Xing header is an extension).
"""

from __future__ import annotations

import functools
import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from ser_probe.audio.layout import AudioLayout, Patch, read_beyond

# The last frame of a FLAC file begins within these last bytes, except frames of many uncompressed channels.
_FLAC_TAIL_BYTES = 1 << 18
_OGG_HEAD_BYTES = 27
_OGG_LAST, _OGG_FIRST = 4, 2

_MPEG_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_MPEG_KBITS = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
CUT, DAMAGED = "The clip is cut short", "The clip is damaged"

# Every byte with its bits reversed: zlib's checksum reads bits in that order, Ogg's does not.
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_ENDS_OF_MP3 = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3", b"3DI")


def after_id3(head: bytes) -> bytes:
    """Return what follows an ID3 tag at the beginning."""
    return head[_id3_bytes(head) :]


def _id3_bytes(head: bytes) -> int:
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    # Seven bits a byte.
    return 10 + functools.reduce(lambda size, byte: size << 7 | byte & 0x7F, head[6:10], 0)


def _crc_table(polynomial: int, bits: int) -> list[int]:
    top, mask = 1 << (bits - 1), (1 << bits) - 1
    table = []
    for byte in range(256):
        value = byte << (bits - 8)
        for _ in range(8):
            value = ((value << 1) ^ (polynomial if value & top else 0)) & mask
        table.append(value)
    return table


_CRC8, _CRC16 = _crc_table(0x07, 8), _crc_table(0x8005, 16)


def _crc8(content: bytes) -> int:
    return functools.reduce(lambda value, byte: _CRC8[value ^ byte], content, 0)


def _crc16(content: bytes) -> int:
    value = 0
    for byte in content:
        value = (value << 8 & 0xFF00) ^ _CRC16[value >> 8 ^ byte]
    return value


def read_flac(stream: BinaryIO, head: bytes, size: int) -> AudioLayout | None:
    """Return the layout of a FLAC file; None where its last frame is not whole, which the decoder finds too."""
    at = _id3_bytes(head) + 4
    info_at, last = at + 4, False
    while not last:
        stream.seek(at)
        kind_and_size = stream.read(4)
        last = bool(kind_and_size[0] & 0x80)
        at += 4 + int.from_bytes(kind_and_size[1:4], "big")
    stream.seek(info_at)
    info = stream.read(34)
    packed = int.from_bytes(info[10:18], "big")
    rate_hz, promised = packed >> 44, packed & (1 << 36) - 1
    block = int.from_bytes(info[2:4], "big")
    held = _last_flac_sample(stream, at, size, block)
    if held is None:
        why = (CUT, "its header states no length, and its last frame is not whole") if promised == 0 else None
        return AudioLayout("FLAC", promised or None, promised, rate_hz=rate_hz, fault=why)
    if promised >= held:
        return AudioLayout("FLAC", promised, held, rate_hz=rate_hz)
    patch = Patch(info_at + 10, ((packed >> 36 << 36) | held).to_bytes(8, "big"))
    if promised == 0:
        return AudioLayout("FLAC", None, held, (patch,), rate_hz=rate_hz)
    return AudioLayout("FLAC", None, held, (patch,), (read_beyond(promised / rate_hz, held / rate_hz),), rate_hz)


def _last_flac_sample(stream: BinaryIO, start: int, size: int, block: int) -> int | None:
    """Return the number of samples up to the end of the last frame, by its number; None if it is not whole."""
    begin = max(start, size - _FLAC_TAIL_BYTES)
    stream.seek(begin)
    tail = stream.read()
    at = len(tail)
    while (at := tail.rfind(b"\xff", 0, at)) >= 0:
        sample = _flac_frame(tail[at : at + 16], block)
        # A frame ends in its checksum: computed over frame and checksum it is 0.
        if sample is not None and _crc16(tail[at:]) == 0:
            return sample
    return None


def _flac_frame(head: bytes, block: int) -> int | None:
    """Return the number of samples up to the end of a frame, by its header; None if this is none."""
    if len(head) < 6 or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return None
    size_code, rate_code = head[2] >> 4, head[2] & 0x0F
    if size_code == 0 or rate_code == 15:
        return None
    extra = 0 if head[4] < 0x80 else 7 - (~head[4] & 0xFF).bit_length()
    number = head[4] if not extra else head[4] & (0x3F >> extra)
    for byte in head[5 : 5 + extra]:
        number = number << 6 | byte & 0x3F
    at = 5 + extra
    if size_code == 1:
        samples = 192
    elif size_code < 6:
        samples = 576 << (size_code - 2)
    elif size_code < 8:
        width = size_code - 5
        samples = 1 + int.from_bytes(head[at : at + width], "big")
        at += width
    else:
        samples = 256 << (size_code - 8)
    at += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if at >= len(head) or _crc8(head[:at]) != head[at]:
        return None
    by_sample = head[1] & 1  # blocks of varying size are numbered by their first sample
    return (number if by_sample else number * block) + samples


def read_ogg(stream: BinaryIO, head: bytes, size: int) -> AudioLayout | None:
    """Return the layout of an Ogg file: whether its last page is whole and marked as the last."""
    at, flags, pages, streams = 0, 0, 0, 0
    while at + _OGG_HEAD_BYTES <= size:
        stream.seek(at)
        header = stream.read(_OGG_HEAD_BYTES + 255)
        n_segments = header[26]
        length = _OGG_HEAD_BYTES + n_segments + sum(header[_OGG_HEAD_BYTES : _OGG_HEAD_BYTES + n_segments])
        if header[:4] != b"OggS" or at + length > size:
            break
        stream.seek(at)
        if not _is_ogg_page(stream.read(length)):
            # The decoder would skip the page silently.
            return AudioLayout("Ogg", None, at, fault=(DAMAGED, f"the checksum of its page {pages + 1} is another"))
        flags = header[5]
        at, pages, streams = at + length, pages + 1, streams + (flags & _OGG_FIRST != 0)
    rest = size - at
    if not flags & _OGG_LAST and rest:
        return AudioLayout("Ogg", None, at, fault=(CUT, f"it ends within its page {pages + 1}"))
    notes = []
    if not flags & _OGG_LAST:
        notes.append("the file has no page marked as its last: what was there was read, and more may be missing")
    if streams > 1:
        notes.append(f"the file holds {streams} streams, of which the first was read")
    return AudioLayout("Ogg", None, at, notes=tuple(notes), unread_bytes=rest)


def _is_ogg_page(page: bytes) -> bool:
    """Tell whether a page has the checksum that stands in it: CRC-32 from 0, bits from the top."""
    stated = int.from_bytes(page[22:26], "little")
    reflected = (page[:22] + bytes(4) + page[26:]).translate(_REVERSED)
    checksum = zlib.crc32(reflected, 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int(f"{checksum:032b}"[::-1], 2) == stated


@dataclass(frozen=True)
class _MpegFrame:
    """A frame's header: version, layer and rate, which are constant in a file, and its length in bytes and samples."""

    constant: tuple[int, int, int]
    mono: bool
    crc: bool
    rate_hz: int
    n_bytes: int
    n_samples: int


def _mpeg_frame(head: bytes) -> _MpegFrame | None:
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    kbits_code, rate_code = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or kbits_code in (0, 15) or rate_code == 3:
        return None
    rate_hz = _MPEG_RATES_HZ[version][rate_code]
    kbits = _MPEG_KBITS[version == 3, layer][kbits_code - 1]
    n_samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    slot = 4 if layer == 1 else 1
    n_bytes = (n_samples // 8 * kbits * 1000 // rate_hz // slot + (head[2] >> 1 & 1)) * slot
    mono, crc = head[3] >> 6 == 3, not head[1] & 1
    return _MpegFrame((version, layer, rate_hz), mono, crc, rate_hz, n_bytes, n_samples)


def is_mp3(head: bytes) -> bool:
    """Tell whether a file begins with a frame of MPEG audio and holds another like it, or begins with a tag."""
    if head[:3] == b"ID3" and _id3_bytes(head) + 4 > len(head):
        return True
    content = after_id3(head)
    first = _mpeg_frame(content)
    return first is not None and _next_frame(content, min(first.n_bytes, len(content)), first) is not None


def _next_frame(content: bytes, at: int, first: _MpegFrame) -> int | None:
    """Return where the next frame like the first begins that is followed by another one or by the end."""
    while (at := content.find(b"\xff", at)) >= 0:
        frame = _mpeg_frame(content[at : at + 4])
        if frame is not None and frame.constant == first.constant:
            next_frame = _mpeg_frame(content[at + frame.n_bytes : at + frame.n_bytes + 4])
            if at + frame.n_bytes >= len(content) or (next_frame is not None and next_frame.constant == first.constant):
                return at
        at += 1
    return None


def read_mp3(stream: BinaryIO, head: bytes, size: int) -> AudioLayout | None:
    """Return the layout of an MP3 file, by counting its frames."""
    start = _id3_bytes(head)
    stream.seek(start)
    content = stream.read()
    first = _mpeg_frame(content)
    if first is None:
        return None
    frames = _walk_mp3(content, first)
    stated, has_table = _xing_frames(content, first)
    held = (len(frames.lengths) - has_table) * first.n_samples
    notes = []
    # The decoder resynchronises after bytes that are no frame, but then ignores the table.
    patches = [Patch(start + at, b"", length) for at, length in frames.gaps]
    if frames.gaps:
        odd = sum(length for _, length in frames.gaps)
        notes.append(f"{odd} bytes between its frames are none, and were left out")
    if stated:
        return AudioLayout("MP3", stated * first.n_samples, held, tuple(patches), tuple(notes), first.rate_hz)
    if frames.missing_bytes:
        notes.append(f"the last frame lacks {frames.missing_bytes} of its bytes, and was left out")
    if max(frames.lengths, default=0) - min(frames.lengths, default=0) <= 1:
        return AudioLayout("MP3", held, held, tuple(patches), tuple(notes), first.rate_hz)
    # With frames of varying size the decoder estimates the length from the first one, and stops there.
    patches.append(Patch(start, _xing_table(content, held // first.n_samples), 0))
    return AudioLayout("MP3", None, held, tuple(patches), tuple(notes), first.rate_hz)


@dataclass(frozen=True)
class _Mp3Frames:
    """The frames of an MP3 file: their lengths, place and length of the gaps, and bytes missing from the last frame."""

    lengths: list[int]
    gaps: list[tuple[int, int]]
    missing_bytes: int


def _walk_mp3(content: bytes, first: _MpegFrame) -> _Mp3Frames:
    at = 0
    lengths: list[int] = []
    gaps: list[tuple[int, int]] = []
    while at < len(content):
        frame = _mpeg_frame(content[at : at + 4])
        if frame is None or frame.constant != first.constant:
            # Tags and padding at the end are usual.
            if content.startswith(_ENDS_OF_MP3, at) or (after := _next_frame(content, at, first)) is None:
                break
            gaps.append((at, after - at))
            at = after
            continue
        if at + frame.n_bytes > len(content):
            return _Mp3Frames(lengths, gaps, at + frame.n_bytes - len(content))
        lengths.append(frame.n_bytes)
        at += frame.n_bytes
    return _Mp3Frames(lengths, gaps, 0)


def _side_bytes(frame: _MpegFrame) -> int:
    return 4 + 2 * frame.crc + ((17 if frame.mono else 32) if frame.constant[0] == 3 else (9 if frame.mono else 17))


def _xing_frames(content: bytes, first: _MpegFrame) -> tuple[int | None, bool]:
    """Return the number of frames that the file's first frame states, if it does, and whether it is such a table."""
    at = _side_bytes(first)
    # If any byte before the word is not 0, the decoder takes the frame for audio.
    if content[at : at + 4] in (b"Xing", b"Info") and not any(content[4:at]):
        flags, frames = struct.unpack(">II", content[at + 4 : at + 12])
        return (frames or None) if flags & 1 else None, True
    if content[36:40] == b"VBRI":
        return struct.unpack(">I", content[50:54])[0] or None, True
    return None, False


def _xing_table(content: bytes, frames: int) -> bytes:
    """Return a first frame that states the number of frames; its bit rate leaves room for that."""
    head = bytes([content[0], content[1] | 1, 0x90 | content[2] & 0x0C, content[3]])
    frame = _mpeg_frame(head)
    assert frame is not None
    table = head + bytes(_side_bytes(frame) - 4) + b"Xing" + struct.pack(">II", 1, frames)
    return table + bytes(frame.n_bytes - len(table))
