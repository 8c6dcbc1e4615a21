"""What the header of a file promises, and what the file holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Patch(NamedTuple):
    """Bytes that a decoder should find at a place of the file, instead of as many or of so many others."""

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
        patches: What makes a decoder find the audio of a header that is silent or wrong about its amount; else empty.
        notes: What is worth knowing.
        rate_hz: Sampling rate where amounts are samples.
        unread_bytes: Bytes after the audio that belong to nothing.
        end: Where the file should end for a decoder that would stumble over what follows, or take it for audio.
        fault: What is wrong with the file although its header promises no amount, and what shows it.
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
    made = bytearray(content[: layout.end])
    for at, piece, replaces in sorted(layout.patches, reverse=True):
        made[at : at + (len(piece) if replaces is None else replaces)] = piece
    return bytes(made)


def read_beyond(promised_s: float, held_s: float) -> str:
    """Return the note of a file that was read beyond what its header promises."""
    return f"the header promises {promised_s:.2f} s and the file holds {held_s:.2f} s, which were read"
