"""What a file's header states about its audio, and what the file holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Patch(NamedTuple):
    """Bytes that a decoder should read at a place of the file, in place of as many bytes, or of `replaces` bytes."""

    at: int
    content: bytes
    replaces: int | None = None


@dataclass(frozen=True)
class AudioLayout:
    """What a file's header promises and the file holds.

    Attributes:
        kind: The container, as users call it.
        promised: Amount of audio by the header, in bytes, or in samples where `rate_hz` is given; None if it says none.
        held: Amount of audio in the file, in the same unit.
        patches: Changes that let a decoder find all audio where the header states no amount or a wrong one.
        notes: Remarks for the user.
        rate_hz: Sampling rate where amounts are samples.
        unread_bytes: Bytes after the audio that belong to nothing.
        end: Where the file should end for a decoder that would fail on the rest, or take it for audio.
        fault: A fault of a file whose header promises no amount, and the evidence.
    """

    kind: str
    promised: int | None
    held: int
    patches: tuple[Patch, ...] = ()
    notes: tuple[str, ...] = ()
    rate_hz: int | None = None
    unread_bytes: int = 0
    end: int | None = None
    fault: tuple[str, str] | None = None


def patched(content: bytes, layout: AudioLayout) -> bytes:
    """Return a file's bytes as its decoder should find them."""
    result = bytearray(content[: layout.end])
    for at, piece, replaces in sorted(layout.patches, reverse=True):
        result[at : at + (len(piece) if replaces is None else replaces)] = piece
    return bytes(result)


def read_beyond(promised_s: float, held_s: float) -> str:
    """Return the note of a file that was read beyond what its header promises."""
    return f"the header promises {promised_s:.2f} s and the file holds {held_s:.2f} s, which were read"
