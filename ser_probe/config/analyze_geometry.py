"""The section `analyze.geometry`."""

from __future__ import annotations

from ser_probe.config.sections import Section


class GeometryConfig(Section):
    """The shape of each layer: dimension, isotropy, and what its variance is about."""
