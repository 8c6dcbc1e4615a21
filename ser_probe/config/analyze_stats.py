"""The section `analyze.stats`."""

from __future__ import annotations

from ser_probe.config.sections import Section


class StatsConfig(Section):
    """Tests over the tables of the other analyses."""
