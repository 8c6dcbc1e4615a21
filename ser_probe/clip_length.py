"""The shortest clip that a model can use, and the one error for a shorter one. Layer 0."""

from __future__ import annotations

from typing import TypeVar

from ser_probe.errors import SerProbeError

Error = TypeVar("Error", bound=SerProbeError)

MIN_SAMPLES = 400
"""The receptive field of the convolutional front end that most published models share: fewer samples make no frame."""
MIN_DURATION_S = 0.025
"""The same in seconds: those models take 16 kHz."""


def too_short(kind: type[Error], *, where: object, least: str, found: object) -> Error:
    """Return the error for a clip of which a model makes no frame.

    Args:
        kind: Its class.
        where: The file, or the clip's place in a batch.
        least: The shortest length that makes a frame, with its unit.
        found: The clip's length.
    """
    return kind(
        "The clip is too short for one frame of the model", where=where, expected=f"at least {least}", found=found
    )
