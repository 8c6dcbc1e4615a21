"""Analyses run by their entries in `config.analyses`, and the code that an entry names by text."""

from __future__ import annotations

import importlib
from typing import Any

from ser_probe.config.analyses import ANALYSES
from ser_probe.config.sections import Section
from ser_probe.steps.analyses.inputs import Inputs
from ser_probe.steps.outcome import Outcome


def load_named(place: str) -> Any:
    """Return what `module:name` names."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def run_analysis(name: str, inputs: Inputs, options: Section) -> Outcome:
    """Run an analysis.

    Args:
        name: A key of `ANALYSES`.
        inputs: What it looks at.
        options: Its section.

    Raises:
        SerProbeError: As the analysis says.
        RuntimeError: If it has written a table that its entry does not name: no report would show it.
    """
    analysis = ANALYSES[name]
    outcome: Outcome = load_named(analysis.run)(inputs, options)
    written = {path.stem for path in outcome.files if path.suffix == ".parquet"}
    if unnamed := sorted(written - {*analysis.tables}):
        raise RuntimeError(f"the entry of the analysis {name} in ANALYSES does not name its tables {unnamed}")
    return outcome
