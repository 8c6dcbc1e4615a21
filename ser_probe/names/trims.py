"""Ways to remove the silence around a clip."""

from __future__ import annotations

from ser_probe.names.named import Named

TRIMS: dict[str, Named] = {
    "energy": Named("by level", "what lies 40 dB under the loud parts, or within 10 dB of the noise"),
    "voice": Named("by voice activity", "what silero-vad does not call speech; needs the extra vad"),
}
"""What counts as silence before the first and after the last sound; pauses within a clip stay."""
