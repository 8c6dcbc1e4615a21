"""The section `analyze.acoustics`."""

from __future__ import annotations

from ser_probe.config.sections import Section


class AcousticsConfig(Section):
    """What each layer keeps of the voice: every acoustic functional predicted from it."""
