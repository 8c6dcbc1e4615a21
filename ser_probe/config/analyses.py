"""All analyses: what a study runs, in its order, what `ser-probe analyze` offers, and what the report shows."""

from __future__ import annotations

import sys

from ser_probe.config import (
    analyze_acoustics,
    analyze_drift,
    analyze_geometry,
    analyze_probe,
    analyze_similarity,
    analyze_stats,
    analyze_umap,
)
from ser_probe.config.analysis import Analysis
from ser_probe.errors import ConfigError

__all__ = ["ANALYSES", "Analysis", "analysis_of_table", "register"]

ANALYSES: dict[str, Analysis] = {
    entry.name: entry
    for entry in (
        analyze_probe.ANALYSIS,
        analyze_similarity.ANALYSIS,
        analyze_drift.ANALYSIS,
        analyze_geometry.ANALYSIS,
        analyze_acoustics.ANALYSIS,
        analyze_umap.ANALYSIS,
        analyze_stats.ANALYSIS,
    )
}
"""By name, in the order in which a study runs them."""


def register(analysis: Analysis) -> None:
    """Add an analysis that is no part of ser-probe; it runs after those that are.

    Register it where the process begins, before a study is read: the sections of a study are settled then.

    Raises:
        ConfigError: If there is an analysis or a table of that name, or the sections are settled.
    """
    if "ser_probe.config.analyze" in sys.modules:
        raise ConfigError(
            f"The analysis {analysis.name!r} comes too late: the sections of a study are settled",
            fix="call register before anything that reads a study, such as ser_probe.config.StudyConfig, is imported",
        )
    if analysis.name in ANALYSES:
        raise ConfigError(f"There is an analysis {analysis.name!r} already", fix="give it another name")
    if taken := [table for table in analysis.tables if table in analysis_of_table()]:
        raise ConfigError(f"There is a table {taken[0]!r} already", fix=f"give that of {analysis.name} another name")
    ANALYSES[analysis.name] = analysis


def analysis_of_table() -> dict[str, str]:
    """Return the analysis that writes each table, by the table's name, in the report's order."""
    return {table: name for name, analysis in ANALYSES.items() for table in analysis.tables}
